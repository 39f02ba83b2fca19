/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "agent/cli.h"
#include "agent/config.h"
#include "agent/process.h"

static const struct cli_verb *const verbs[] = {
        &verb_format, &verb_adopt,  &verb_enroll, &verb_unlock, &verb_lock,
        &verb_remove, &verb_rotate, &verb_status, &verb_kek,    &verb_recovery,
        &verb_escrow, &verb_header, &verb_policy, &verb_doctor, &verb_log,
};

static const struct cli_option globals[] = {
        { "tcti", 0, "T", "TPM to use, as in tpm2-tss (swtpm:path=…); also DISKSEAL_TCTI" },
        { "state-dir", 0, "D", "where disks and KEKs are recorded (" STATE_DIR ")" },
        { "config-dir", 0, "D", "where agent.conf is (" CONFIG_DIR ")" },
        { "pin-file", 0, "FILE", "the PIN, where a policy wants one; - for standard input" },
        { "json", 0, NULL, "print one JSON object and nothing else" },
        { "dry-run", 'n', NULL, "say what would be done; change nothing" },
        { "quiet", 'q', NULL, "print no more than errors" },
        { "help", 'h', NULL, "this text" },
        { "version", 0, NULL, "print the version" },
        { 0 },
};

enum { GLOBALS = ARRAY_SIZE(globals) - 1, FIRST_VERB_OPTION = 1000, FIRST_GLOBAL = 2000 };

static void print_options(const struct cli_option *o) {
        for (; o->name; o++) {
                char left[40];
                int n = 0;

                if (o->letter)
                        n = snprintf(left, sizeof(left), "-%c, ", o->letter);
                (void) snprintf(left + n, sizeof(left) - (size_t) n, "--%s%s%s", o->name,
                                o->value ? "=" : "", o->value ? o->value : "");
                printf("  %-20s %s\n", left, o->help);
        }
}

static void print_help(const struct cli_verb *verb) {
        if (verb) {
                printf("Usage: diskseal %s%s%s\n%s.\n\n", verb->name, verb->synopsis[0] ? " " : "",
                       verb->synopsis, verb->summary);
                if (verb->options[0].name)
                        printf("Options:\n");
                print_options(verb->options);
                printf("Global options: diskseal --help\n\nExamples:\n  %s\n  %s\n",
                       verb->examples[0], verb->examples[1]);
                return;
        }
        printf("Usage: diskseal [OPTION…] VERB [ARGUMENT…]\n"
               "Disk keys of confidential VMs, sealed to the TPM.\n\nVerbs:\n");
        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
                printf("  %-20s %s\n", verbs[i]->name, verbs[i]->summary);
        printf("\nOptions, before or behind the verb:\n");
        print_options(globals);
        printf("\nExit: 0 done  1 fault, nothing lost  2 usage  3 refused  4 interrupted and safe, "
               "run again\n"
               "diskseal VERB --help and diskseal(8) say more.\n");
}

static bool copy_path(char *ret, size_t size, const char *value) {
        return (size_t) snprintf(ret, size, "%s", value) < size;
}

/* Return: -1 to go on, else the exit status. */
static int take_global(struct cli *cli, unsigned index, const char *value) {
        const char *name = globals[index].name;
        bool fits = true;

        if (strcmp(name, "tcti") == 0)
                fits = copy_path(cli->context.tcti, sizeof(cli->context.tcti), value);
        else if (strcmp(name, "state-dir") == 0)
                fits = copy_path(cli->context.state_dir, sizeof(cli->context.state_dir), value);
        else if (strcmp(name, "config-dir") == 0)
                fits = copy_path(cli->context.config_dir, sizeof(cli->context.config_dir), value);
        else if (strcmp(name, "pin-file") == 0)
                cli->context.pin_file = value;
        else if (strcmp(name, "json") == 0)
                cli->json = true;
        else if (strcmp(name, "dry-run") == 0)
                cli->dry_run = true;
        else if (strcmp(name, "quiet") == 0)
                cli->quiet = true;
        else if (strcmp(name, "help") == 0) {
                print_help(cli->verb);
                return EXIT_DONE;
        } else {
                printf("diskseal " VERSION "\n");
                return EXIT_DONE;
        }
        return fits ? -1 : cli_usage(cli, "--%s: too long", name);
}

static unsigned add_options(struct option *to, char *letters, const struct cli_option *from,
                            int first) {
        unsigned n = 0;

        for (; from[n].name; n++) {
                assert(n < CLI_OPTIONS_MAX);
                to[n] = (struct option){ from[n].name,
                                         from[n].value ? required_argument : no_argument, NULL,
                                         first + (int) n };
                /* What a verb has comes first: there it hides a global one. */
                if (from[n].letter && !strchr(letters, from[n].letter)) {
                        (void) strncat(letters, &from[n].letter, 1);
                        if (from[n].value)
                                (void) strcat(letters, ":");
                }
        }
        return n;
}

/* getopt's value for an option by its letter, as for one by its name. */
static int by_letter(const struct cli_option *verb, int letter) {
        for (int i = 0; verb[i].name; i++)
                if (verb[i].letter == letter)
                        return FIRST_VERB_OPTION + i;
        for (int i = 0; i < GLOBALS; i++)
                if (globals[i].letter == letter)
                        return FIRST_GLOBAL + i;
        abort(); /* getopt takes those only */
}

/* Options from optind on, up to the verb (@verb NULL: stops there) or to the end.
 * Return: -1 to go on, else the exit status. */
static int parse_options(struct cli *cli, int argc, char **argv) {
        static const struct cli_option none[] = { { 0 } };
        struct option long_options[GLOBALS + CLI_OPTIONS_MAX + 1] = { 0 };
        const struct cli_option *verb = cli->verb ? cli->verb->options : none;
        char letters[2 * (GLOBALS + CLI_OPTIONS_MAX) + 3] = "";
        unsigned n;
        int o, status;

        (void) strcat(letters, cli->verb ? ":" : "+:");
        n = add_options(long_options, letters, verb, FIRST_VERB_OPTION);
        (void) add_options(long_options + n, letters, globals, FIRST_GLOBAL);
        opterr = 0;
        while ((o = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
                if (o == '?')
                        return cli_usage(cli, "unknown option %s", argv[optind - 1]);
                if (o == ':')
                        return cli_usage(cli, "%s needs a value", argv[optind - 1]);
                if (o < FIRST_VERB_OPTION)
                        o = by_letter(verb, o);
                if (o < FIRST_GLOBAL) {
                        o -= FIRST_VERB_OPTION;
                        if (cli->givens == CLI_GIVEN_MAX)
                                return cli_usage(cli, "too many options");
                        cli->given[cli->givens].option = (unsigned) o;
                        cli->given[cli->givens++].value = optarg;
                        cli->value[o] = optarg ? optarg : "";
                        continue;
                }
                status = take_global(cli, (unsigned) (o - FIRST_GLOBAL), optarg);
                if (status >= 0)
                        return status;
        }
        return -1;
}

static int parse(struct cli *cli, int argc, char **argv) {
        int status = parse_options(cli, argc, argv);

        if (status >= 0)
                return status;
        if (optind == argc)
                return cli_usage(cli, "which verb?");
        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
                if (strcmp(verbs[i]->name, argv[optind]) == 0)
                        cli->verb = verbs[i];
        if (!cli->verb)
                return cli_usage(cli, "there is no verb '%s'", argv[optind]);

        /* The verb stands where a program's own name would. */
        argc -= optind;
        argv += optind;
        optind = 0;
        status = parse_options(cli, argc, argv);
        if (status >= 0)
                return status;
        for (; optind < argc; optind++) {
                if (cli->args == CLI_ARGS_MAX || cli->args == cli->verb->args_max)
                        return cli_usage(cli, "'%s' is one too many", argv[optind]);
                cli->arg[cli->args++] = argv[optind];
        }
        if (cli->args < cli->verb->args_min)
                return cli_usage(cli, "something is missing");
        return -1;
}

static void look_at_terminal(struct cli *cli) {
        struct winsize size = { 0 };
        const char *term = getenv("TERM");

        if (!isatty(STDOUT_FILENO))
                return;
        cli->width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
        cli->colour = !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

static int run(struct cli *cli, int argc, char **argv) {
        struct error err = { 0 };
        const char *tcti = getenv("DISKSEAL_TCTI");
        int r = parse(cli, argc, argv);

        if (r >= 0)
                return r;
        if (!cli->context.tcti[0] && tcti && !copy_path(cli->context.tcti, 256, tcti))
                return cli_usage(cli, "DISKSEAL_TCTI: too long");
        r = config_read(&cli->context, &err);
        if (r < 0)
                return cli_failed(cli, r, NULL, &err);
        cli->context.dry_run = cli->dry_run;
        look_at_terminal(cli);
        return cli->verb->run(cli);
}

int main(int argc, char **argv) {
        struct cli cli = { .context = CONTEXT_INIT };
        int status;

        process_harden();
        (void) copy_path(cli.context.state_dir, sizeof(cli.context.state_dir), STATE_DIR);
        (void) copy_path(cli.context.config_dir, sizeof(cli.context.config_dir), CONFIG_DIR);
        status = run(&cli, argc, argv);
        cli_note(&cli);
        context_done(&cli.context);
        if (fflush(stdout) != 0 && status == EXIT_DONE) {
                perror("diskseal: standard output");
                status = EXIT_FAULT;
        }
        return status;
}
