/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "agent/boot-args.h"
#include "agent/boot-record.h"
#include "agent/boot.h"
#include "agent/config.h"
#include "agent/process.h"
#include "agent/terminal.h"
#include "base/file.h"

/* diskseal-boot(8): a program of its own, so that an initrd has no more than it needs. */

#define CREDENTIAL "diskseal.recovery"
#define PASSPHRASE_MAX 4096

enum { EXIT_DONE = 0, EXIT_FAULT = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };
enum { SHUT = 1, EMBED, PHASE, POWER_OFF, CMDLINE, TCTI, STATE, CONFIG, RUN, HELP, VERSION_ };

struct boot_program {
        struct context c;
        const char *embed, *cmdline;
        bool shut, phase, power_off, said, had_credential;
        unsigned asked;
};

/* On the console, and in the kernel's log, which the system finds when it's up: there may be no
 * other. */
static _printf_(1, 2) void say(const char *fmt, ...) {
        _cleanup_(close_fdp) int log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
        char text[600], line[640];
        va_list ap;
        int n;

        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        fprintf(stderr, "diskseal: %s\n", text);
        /* One write(2) is one message; dprintf(3) would look for the end of that log first. */
        n = snprintf(line, sizeof(line), "<4>diskseal: %s\n", text);
        if (log >= 0)
                (void) !write(log, line, (size_t) n);
}

static void say_why(const struct refusal *why, const struct error *err) {
        if (!why->kind) {
                say("%s.", err->text);
                return;
        }
        say("%s.", why->what);
        for (unsigned i = 0; i < why->details; i++)
                fprintf(stderr, "  %s\n", why->detail[i]);
        fprintf(stderr, "  The data is safe. %s\n", refusal_advice(why->kind));
}

/* --- the owner's passphrase: a credential, then whoever sits at the console --- */

static int from_credential(struct secret **ret, struct error *err) {
        const char *folder = getenv("CREDENTIALS_DIRECTORY");
        char path[300];

        if (!folder)
                return -ENODATA;
        (void) snprintf(path, sizeof(path), "%s/%s", folder, CREDENTIAL);
        return file_read_secret(path, PASSPHRASE_MAX, ret, err);
}

static int ask(void *context, const struct op_booted *so_far, struct secret **ret,
               struct error *err) {
        struct boot_program *p = context;
        const char *name = so_far->disk.name[0] ? so_far->disk.name : so_far->device;
        char prompt[160];
        int r;

        if (!p->said)
                say_why(&so_far->why, &so_far->fault);
        p->said = true;
        if (!p->had_credential) {
                p->had_credential = true;
                r = from_credential(ret, err);
                if (r == 0)
                        return 0;
                *err = (struct error){ 0 };
        }
        if (p->asked++ == BOOT_ATTEMPTS)
                return -ENODATA;
        (void) snprintf(prompt, sizeof(prompt), "%sRecovery passphrase of %.60s: ",
                        p->asked > 1 ? "That one didn't open it. " : "", name);
        r = terminal_ask(prompt, ret, err);
        return r < 0 ? -ENODATA : 0;
}

/* --- and now --- */

/* Nothing that's in memory by now may meet a TPM that still unseals. */
static int stop(const struct boot_program *p) {
        say("The boot must not go on: a key was unsealed, and the latch isn't shut.%s",
            p->power_off ? " Switching off." : "");
        if (p->power_off) {
                sync();
                (void) reboot(RB_POWER_OFF);
        }
        return EXIT_FAULT;
}

static void record(const struct boot_program *p, int outcome, const struct op_booted *b) {
        struct boot_record record = { .end = outcome != OUTCOME_DONE ? BOOT_REFUSED
                                             : b->recovered          ? BOOT_RECOVERED
                                                                     : BOOT_OPENED,
                                      .version = b->disk.version,
                                      .ms = (uint64_t) (b->seconds * 1000) };
        struct error err = { 0 };

        (void) snprintf(record.disk, sizeof(record.disk), "%s", b->disk.name);
        (void) snprintf(record.kek, sizeof(record.kek), "%s", b->disk.kek);
        if (record.end != BOOT_OPENED) {
                (void) snprintf(record.id, sizeof(record.id), "%s",
                                b->why.kind ? refusal_id(b->why.kind) : "");
                (void) snprintf(record.why, sizeof(record.why), "%s",
                                b->why.kind ? b->why.what : b->fault.text);
        }
        time_text(record.time);
        if (boot_record_write(&p->c, &record, &err) < 0)
                say("%s.", err.text);
}

static int read_args(const struct boot_program *p, struct boot_args *ret, struct error *err) {
        _cleanup_(freep) char *line = NULL;
        size_t size;
        int r = file_read(p->cmdline, BOOT_LINE_MAX, &line, &size, err);

        return r < 0 ? r : boot_args_parse(line, size, ret, err);
}

static int open_disk(struct boot_program *p) {
        struct boot_args line = { 0 };
        struct op_booted b = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct op_boot args = { .phase = p->phase, .ask = ask, .ask_context = p };
        int r;

        /* What isn't understood is said, and the boot goes on as configured. */
        if (read_args(p, &line, &err) < 0)
                say("%s.", err.text);
        err = (struct error){ 0 };
        args.disk = line.disk[0] ? line.disk : p->c.boot_disk;
        args.timeout = line.has_timeout ? line.timeout : p->c.boot_timeout;
        r = op_boot(&p->c, &args, &b, &why, &err);
        record(p, r, &b);
        if (r != OUTCOME_DONE && (!p->said || b.disk.must_stop))
                say_why(&why, &err);
        if (b.disk.must_stop)
                return stop(p);
        if (r != OUTCOME_DONE) {
                say("The OS disk stays closed.");
                return r < 0 ? EXIT_FAULT : EXIT_REFUSED;
        }
        if (b.disk.kept_back[0])
                say("a KEK isn't handed over: %s.", b.disk.kept_back);
        if (b.disk.degraded)
                say("one copy of the header of %s needs repair: %s.", b.disk.name,
                    b.disk.degraded_text);
        say("%s is open%s, %.0f ms.", b.disk.name,
            b.recovered ? " by the owner's key, and this boot unseals nothing" : "",
            b.seconds * 1000);
        return EXIT_DONE;
}

static int run(struct boot_program *p) {
        struct error err = { 0 };
        int r = config_read(&p->c, &err);

        if (r == 0 && p->embed) {
                r = op_boot_embed(&p->c, p->embed, &err);
        } else if (r == 0 && p->shut) {
                r = op_boot_shut(&p->c, &err);
                if (r < 0) {
                        say("%s.", err.text);
                        return stop(p);
                }
        } else if (r == 0)
                return open_disk(p);
        if (r < 0)
                say("%s.", err.text);
        return r < 0 ? EXIT_FAULT : EXIT_DONE;
}

static void help(void) {
        printf("Usage: diskseal-boot [OPTION…]\n"
               "Open the OS disk in the initrd, if this machine is in the measured state.\n\n"
               "  --phase           measure into PCR 11 that this is the initrd: where no systemd "
               "does\n"
               "  --shut            shut the latch and open nothing: before a shell\n"
               "  --power-off       where the latch can't be shut, switch the machine off\n"
               "  --embed=ROOT      write what it needs below ROOT, a tree that becomes an initrd\n"
               "  --cmdline=FILE    the kernel command line (/proc/cmdline)\n"
               "  --run-dir=D       where it's noted how the boot went (" RUN_DIR ")\n"
               "  --tcti=T          TPM to use, as in tpm2-tss; also DISKSEAL_TCTI\n"
               "  --state-dir=D     where disks and KEKs are recorded (" STATE_DIR ")\n"
               "  --config-dir=D    where agent.conf is (" CONFIG_DIR ")\n"
               "  --help, --version\n\n"
               "Exit: 0 open  1 fault  2 usage  3 refused. diskseal-boot(8) says more.\n");
}

static bool copy_path(char ret[256], const char *value) {
        return (size_t) snprintf(ret, 256, "%s", value) < 256;
}

/* Return: -1 to go on, else the exit status. */
static int take(struct boot_program *p, int option) {
        bool fits = true;

        switch (option) {
        case SHUT: p->shut = true; break;
        case EMBED: p->embed = optarg; break;
        case PHASE: p->phase = true; break;
        case POWER_OFF: p->power_off = true; break;
        case CMDLINE: p->cmdline = optarg; break;
        case TCTI: fits = copy_path(p->c.tcti, optarg); break;
        case STATE: fits = copy_path(p->c.state_dir, optarg); break;
        case CONFIG: fits = copy_path(p->c.config_dir, optarg); break;
        case RUN: fits = copy_path(p->c.run_dir, optarg); break;
        case HELP: help(); return EXIT_DONE;
        case VERSION_: printf("diskseal-boot " VERSION "\n"); return EXIT_DONE;
        default: return EXIT_USAGE; /* getopt said why */
        }
        if (!fits)
                fprintf(stderr, "diskseal-boot: a path is too long\n");
        return fits ? -1 : EXIT_USAGE;
}

static int parse(struct boot_program *p, int argc, char **argv) {
        static const struct option options[] = {
                { "shut", no_argument, NULL, SHUT },
                { "embed", required_argument, NULL, EMBED },
                { "phase", no_argument, NULL, PHASE },
                { "power-off", no_argument, NULL, POWER_OFF },
                { "cmdline", required_argument, NULL, CMDLINE },
                { "tcti", required_argument, NULL, TCTI },
                { "state-dir", required_argument, NULL, STATE },
                { "config-dir", required_argument, NULL, CONFIG },
                { "run-dir", required_argument, NULL, RUN },
                { "help", no_argument, NULL, HELP },
                { "version", no_argument, NULL, VERSION_ },
                { 0 },
        };
        const char *tcti = getenv("DISKSEAL_TCTI");
        int o;

        while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
                int status = take(p, o);

                if (status >= 0)
                        return status;
        }
        if (optind < argc) {
                fprintf(stderr, "diskseal-boot: '%s' is one too many\n", argv[optind]);
                return EXIT_USAGE;
        }
        if (!p->c.tcti[0] && tcti && !copy_path(p->c.tcti, tcti))
                return EXIT_USAGE;
        return -1;
}

int main(int argc, char **argv) {
        struct boot_program p = { .c = CONTEXT_INIT, .cmdline = "/proc/cmdline" };
        int status;

        process_harden();
        (void) copy_path(p.c.state_dir, STATE_DIR);
        (void) copy_path(p.c.config_dir, CONFIG_DIR);
        p.c.unlogged = true;
        status = parse(&p, argc, argv);
        if (status < 0)
                status = run(&p);
        context_done(&p.c);
        return status;
}
