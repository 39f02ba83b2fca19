/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/cli.h"

#include "agent/audit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Return: false where the verb doesn't take it. */
static bool find_value(const struct cli *cli, const char *option, const char **ret) {
        for (unsigned i = 0; cli->verb->options[i].name; i++)
                if (strcmp(cli->verb->options[i].name, option) == 0) {
                        *ret = cli->value[i];
                        return true;
                }
        return false;
}

const char *cli_value(const struct cli *cli, const char *option) {
        const char *value;

        if (!find_value(cli, option, &value))
                abort(); /* a verb asked for an option that isn't in its own table */
        return value;
}

const char *cli_value_if_any(const struct cli *cli, const char *option) {
        const char *value;

        return find_value(cli, option, &value) ? value : NULL;
}

unsigned cli_values(const struct cli *cli, const char *option, const char *ret[CLI_GIVEN_MAX + 1]) {
        unsigned n = 0;

        for (unsigned i = 0; i < cli->givens; i++)
                if (strcmp(cli->verb->options[cli->given[i].option].name, option) == 0)
                        ret[n++] = cli->given[i].value;
        ret[n] = NULL;
        return n;
}

int cli_subverb(struct cli *cli, const struct cli_subverb *all) {
        const struct op_disk disk = { cli->arg[1], cli_value(cli, "header") };

        for (; all->name; all++) {
                if (strcmp(cli->arg[0], all->name) != 0)
                        continue;
                if (cli->args > 2 && !all->files)
                        return cli_usage(cli, "'%s' is one too many", cli->arg[2]);
                return all->run(cli, &disk);
        }
        return cli_usage(cli, "%s has no '%s'", cli->verb->name, cli->arg[0]);
}

int cli_slot(const struct cli *cli) {
        const char *value = cli_value(cli, "slot");
        char *end;
        long n;

        if (!value)
                return -1;
        n = strtol(value, &end, 10);
        return *value >= '0' && *value <= '9' && *end == '\0' && n < LUKS_SLOTS_MAX ? (int) n : -2;
}

void cli_note(const struct cli *cli) {
        if (cli->context.note[0] && !cli->quiet)
                fprintf(stderr, "diskseal: note: %s\n", cli->context.note);
}

void cli_say(const struct cli *cli, const char *fmt, ...) {
        va_list ap;

        if (cli->quiet || cli->json)
                return;
        va_start(ap, fmt);
        (void) vprintf(fmt, ap);
        va_end(ap);
        putchar('\n');
}

static int print_json(struct json *json, bool pretty) {
        _cleanup_(json_freep) struct json *owned = json;
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };

        if (!owned || json_text(owned, pretty, &text, &err) < 0) {
                fprintf(stderr, "diskseal: out of memory\n");
                return EXIT_FAULT;
        }
        printf("%s\n", text);
        return EXIT_DONE;
}

int cli_print_json(struct json *json) {
        return print_json(json, true);
}

int cli_print_json_line(struct json *json) {
        return print_json(json, false);
}

int cli_usage(const struct cli *cli, const char *fmt, ...) {
        va_list ap;

        fprintf(stderr, "diskseal: ");
        va_start(ap, fmt);
        (void) vfprintf(stderr, fmt, ap);
        va_end(ap);
        if (cli->verb)
                fprintf(stderr, "\nUsage: diskseal %s%s%s\nMore: diskseal %s --help\n",
                        cli->verb->name, cli->verb->synopsis[0] ? " " : "", cli->verb->synopsis,
                        cli->verb->name);
        else
                fprintf(stderr, "\nMore: diskseal --help\n");
        return EXIT_USAGE;
}

static void print_refusal_json(const struct refusal *why) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *details = json_new_array();

        for (unsigned i = 0; i < why->details; i++)
                if (!json_append_string(details, why->detail[i]))
                        return;
        if (json_add_string(o, "result", "refused") &&
            json_add_string(o, "refusal", refusal_id(why->kind)) &&
            json_add_string(o, "what", why->what) && json_add(o, "details", TAKE(details)) &&
            json_add_string(o, "advice", refusal_advice(why->kind)))
                (void) cli_print_json(TAKE(o));
}

/* Of a path, the name that's recorded for it. */
static void name_of_path(const struct cli *cli, const char *path, char ret[AUDIT_TEXT]) {
        _cleanup_(state_done) struct state s = { 0 };
        _cleanup_(freep) char *real = realpath(path, NULL);
        struct error ignored = { 0 };

        (void) snprintf(ret, AUDIT_TEXT, "%s", path);
        if (state_read(cli->context.state_dir, &s, &ignored) < 0)
                return;
        for (size_t i = 0; i < s.count; i++)
                if (strcmp(s.disks[i].device, path) == 0 ||
                    (real && strcmp(s.disks[i].device, real) == 0))
                        (void) snprintf(ret, AUDIT_TEXT, "%s", s.disks[i].name);
}

/* What was asked for ("recovery-add"), and of which disk or KEK. Verbs of a verb are what its
 * synopsis begins with, in small letters. */
static void find_subject(const struct cli *cli, char verb[AUDIT_WORD], char subject[AUDIT_TEXT]) {
        const char *name = cli_value_if_any(cli, "name"), *kek = cli_value_if_any(cli, "kek");
        bool has_verbs = cli->verb->synopsis[0] >= 'a';
        const char *what = cli->arg[has_verbs];

        (void) snprintf(verb, AUDIT_WORD, "%s%s%s", cli->verb->name, has_verbs ? "-" : "",
                        has_verbs ? cli->arg[0] : "");
        if (name || !what)
                (void) snprintf(subject, AUDIT_TEXT, "%s", name ? name : kek ? kek : KEK_DEFAULT);
        else
                name_of_path(cli, what, subject);
}

/* The one place where verbs that are refused end, so that each refusal is one event. It stands,
 * also where it can't be logged. */
static void log_refusal(const struct cli *cli, const struct refusal *why) {
        char verb[AUDIT_WORD], subject[AUDIT_TEXT];
        struct error err = { 0 };
        int r;

        if (!cli->verb || cli->verb->looks)
                return;
        find_subject(cli, verb, subject);
        r = audit_refusal(&cli->context, verb, subject, why, &err);
        if (r < 0 && !audit_is_absent(r))
                fprintf(stderr, "diskseal: this refusal isn't in the audit log: %s.\n", err.text);
}

static int failed_by_refusal(const struct cli *cli, const struct refusal *why) {
        log_refusal(cli, why);
        if (cli->json)
                print_refusal_json(why);
        fprintf(stderr, "diskseal: %s.\n", why->what);
        for (unsigned i = 0; i < why->details; i++)
                fprintf(stderr, "  %s\n", why->detail[i]);
        fprintf(stderr, "  The data is safe: nothing on the disk was changed. %s\n",
                refusal_advice(why->kind));
        fprintf(stderr, "  See diskseal(8), REFUSALS, %s.\n", refusal_id(why->kind));
        return EXIT_REFUSED;
}

/* What to do about a fault, by its kind; the text of the fault says what and why. */
static const char *fault_advice(int errnum) {
        switch (-errnum) {
        case ENODEV: return "Is there a TPM, or device-mapper? See diskseal doctor.";
        case EROFS:
        case EACCES:
        case EPERM: return "Run it with the rights to write there, then again.";
        case EKEYREJECTED: return "Check the PIN; wrong ones count. Then run it again.";
        case ENOENT: return "Check the path.";
        case ENOSPC:
        case EDQUOT: return "Make room, then run it again.";
        case EBADMSG: return "See diskseal doctor.";
        case EBUSY: return "Something still uses it: close that first (lsof, dmsetup info).";
        default: return "Run it again; if it stays, see diskseal doctor.";
        }
}

int cli_failed(const struct cli *cli, int outcome, const struct refusal *why,
               const struct error *err) {
        if (outcome == OUTCOME_REFUSED)
                return failed_by_refusal(cli, why);

        if (cli->json) {
                _cleanup_(json_freep) struct json *o = json_new_object();

                if (json_add_string(o, "result", outcome == -EINTR ? "interrupted" : "fault") &&
                    json_add_string(o, "what", err->text))
                        (void) cli_print_json(TAKE(o));
        }
        if (outcome == -EINTR) {
                fprintf(stderr,
                        "diskseal: %s.\n  Every disk opens as before, nothing is lost. Run it "
                        "again to finish.\n",
                        err->text);
                return EXIT_INTERRUPTED;
        }
        fprintf(stderr, "diskseal: %s.\n  The data is safe. %s\n", err->text,
                fault_advice(outcome));
        return EXIT_FAULT;
}
