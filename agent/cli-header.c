/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli.h"
#include "agent/differ.h"

/* --- check --- */

/* Rules about a keyslot that opens nothing refuse nothing. */
static bool refuses(const struct luks_finding *f) {
        return f->verdict == LUKS_BREAKS && f->decides;
}

static const char *verdict_word(const struct luks_finding *f) {
        if (f->verdict == LUKS_HOLDS)
                return "ok";
        if (f->verdict == LUKS_SKIPPED)
                return "skipped";
        return refuses(f) ? "REFUSED" : "not opened";
}

static size_t count_refusals(const struct op_header *h) {
        size_t n = 0;

        for (size_t i = 0; i < luks_examined_count(h->examined); i++)
                n += refuses(luks_examined_at(h->examined, i));
        return n;
}

static struct json *check_json(const struct op_header *h) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *rules = json_new_array();

        for (size_t i = 0; i < luks_examined_count(h->examined); i++) {
                const struct luks_finding *f = luks_examined_at(h->examined, i);
                struct json *r = json_new_object();

                if (!json_append(rules, r) || !json_add_string(r, "rule", f->rule) ||
                    (f->slot >= 0 && !json_add_uint(r, "slot", (unsigned) f->slot)) ||
                    !json_add_string(r, "found", f->found) ||
                    !json_add_string(r, "expected", f->expected) ||
                    !json_add_bool(r, "holds", f->verdict == LUKS_HOLDS) ||
                    !json_add_bool(r, "skipped", f->verdict == LUKS_SKIPPED) ||
                    !json_add_bool(r, "refuses", refuses(f)))
                        return NULL;
        }
        if (!json_add_string(o, "device", h->device) ||
            !json_add_string(o, "result", count_refusals(h) ? "refused" : "ok") ||
            !json_add(o, "rules", TAKE(rules)))
                return NULL;
        return TAKE(o);
}

static void check_table(const struct cli *cli, const struct op_header *h) {
        static const char *const heads[] = { "RULE", "FOUND", "VERDICT" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);

        for (size_t i = 0; i < luks_examined_count(h->examined); i++) {
                const struct luks_finding *f = luks_examined_at(h->examined, i);
                bool bad = f->verdict == LUKS_BREAKS;

                if (f->slot >= 0)
                        table_cell(t, TONE_PLAIN, "keyslot %d %s", f->slot, f->rule);
                else
                        table_cell(t, TONE_PLAIN, "%s", f->rule);
                table_cell(t, TONE_PLAIN, "%s", f->found);
                table_cell(t,
                           refuses(f) ? TONE_BAD
                           : bad      ? TONE_WARN
                                      : TONE_GOOD,
                           "%s%s%s", verdict_word(f), bad ? "  expected " : "",
                           bad ? f->expected : "");
        }
        table_print(t, cli);
}

static int print_check(const struct cli *cli, const struct op_header *h) {
        size_t all = luks_examined_count(h->examined), refused = count_refusals(h);
        int status = refused ? EXIT_REFUSED : EXIT_DONE;

        if (cli->json) {
                int r = cli_print_json(check_json(h));

                return r == EXIT_DONE ? status : r;
        }
        if (!cli->quiet)
                check_table(cli, h);
        cli_say(cli,
                "\n  %zu of %zu rules refuse%s. Nothing was opened, nothing was sent to the "
                "TPM.",
                refused, all, refused == 1 ? "s" : "");
        if (refused)
                fprintf(stderr,
                        "diskseal: %s: its LUKS2 header is refused.\n  See diskseal(8), "
                        "REFUSALS, header-refused.\n",
                        h->device);
        return status;
}

/* --- show --- */

#define LINES_MAX 1024

/* One line for each value, as differ() writes them: printable ASCII, whatever the header holds. */
static int print_show(const struct cli *cli, const struct op_header *h) {
        const struct json *metadata = luks_examined_metadata(h->examined);
        _cleanup_(freep) char(*line)[DIFFERENCE_SIZE] = calloc(LINES_MAX, DIFFERENCE_SIZE);
        size_t n;

        if (!metadata) {
                fprintf(stderr,
                        "diskseal: %s: its LUKS2 header can't be read.\n  The data is safe: "
                        "nothing was changed. diskseal header check says what is wrong.\n",
                        h->device);
                return EXIT_REFUSED;
        }
        if (cli->json)
                return cli_print_json(json_copy(metadata));
        if (!line)
                return EXIT_FAULT;
        n = differ(NULL, metadata, line, LINES_MAX);
        for (size_t i = 0; i < n; i++)
                printf("  %s\n", line[i]);
        return EXIT_DONE;
}

/* --- approve --- */

static void print_approval(const struct cli *cli, const struct op_approval *a) {
        if (cli->json)
                return;
        if (a->known)
                fprintf(stderr, "  What changed in the header of %s since it was pinned here:\n",
                        a->name);
        else
                fprintf(stderr,
                        "  Nothing is recorded here of the header of %s as it was pinned. What it "
                        "says now:\n",
                        a->name);
        for (size_t i = 0; i < a->count; i++)
                fprintf(stderr, "    %s\n", a->difference[i]);
        if (a->count == 0)
                fprintf(stderr, "    nothing\n");
}

static bool agree(const struct op_approval *a, void *user) {
        const struct cli *cli = user;
        char answer[8] = "";

        print_approval(cli, a);
        if (cli_value(cli, "yes"))
                return true;
        if (!isatty(STDIN_FILENO))
                return false;
        fprintf(stderr, "Type yes to pin it as it is now: ");
        return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

static struct json *approval_json(const struct cli *cli, const struct op_approval *a) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *list = json_new_array();

        for (size_t i = 0; i < a->count; i++)
                if (!json_append_string(list, a->difference[i]))
                        return NULL;
        if (!json_add_string(o, "result", cli->dry_run ? "would-do" : "done") ||
            !json_add_string(o, "name", a->name) || !json_add_string(o, "uuid", a->uuid) ||
            !json_add_bool(o, "known", a->known) || !json_add(o, "differences", TAKE(list)))
                return NULL;
        return TAKE(o);
}

static int approve(struct cli *cli, const struct op_disk *disk) {
        _cleanup_(cli_owner_done) struct cli_owner owner = { 0 };
        struct op_approve args = { .disk = *disk, .agree = agree, .user = cli };
        struct op_approval a = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = cli_owner(cli, false, &owner, &err);

        if (owner.key.passphrase || owner.key.escrow)
                args.owner = &owner.key;
        if (r == 0)
                r = op_header_approve(&cli->context, &args, &a, &why, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(approval_json(cli, &a));
        if (cli->dry_run)
                print_approval(cli, &a);
        cli_say(cli, "  the header of %s %s", a.name,
                cli->dry_run ? "would be pinned as it is now" : "is pinned as it is now");
        return EXIT_DONE;
}

static int examine(struct cli *cli, const struct op_disk *disk,
                   int (*print)(const struct cli *cli, const struct op_header *h)) {
        _cleanup_(op_header_done) struct op_header h = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = op_header_examine(&cli->context, disk, &h, &why, &err);

        return r == OUTCOME_DONE ? print(cli, &h) : cli_failed(cli, r, &why, &err);
}

static int check(struct cli *cli, const struct op_disk *disk) {
        return examine(cli, disk, print_check);
}

static int show(struct cli *cli, const struct op_disk *disk) {
        return examine(cli, disk, print_show);
}

static int run(struct cli *cli) {
        static const struct cli_subverb verbs[] = { { "check", false, check },
                                                    { "show", false, show },
                                                    { "approve", false, approve },
                                                    { 0 } };

        return cli_subverb(cli, verbs);
}

static const struct cli_option options[] = {
        CLI_OWNER_OPTIONS,
        CLI_HEADER_OPTION,
        { "yes", 'y', NULL, "approve: don't ask" },
        { 0 },
};

const struct cli_verb verb_header = {
        .name = "header",
        .synopsis = "check|show|approve DEVICE|NAME [--recovery-key-file=FILE|--key=FILE] [--yes] "
                    "[--header=FILE]",
        .summary = "Hold a LUKS2 header against the rules, show it, or pin a changed one anew",
        .args_min = 2,
        .args_max = 2,
        .options = options,
        .examples = { "diskseal header check /dev/vdb",
                      "diskseal header approve data1 --recovery-key-file key.txt" },
        .run = run,
};
