/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli.h"
#include "agent/op-log.h"

/* As it is; but nothing in it, should somebody have changed it, speaks to a terminal. */
static void print_raw(const char *line, size_t size) {
        for (size_t i = 0; i < size; i++)
                putchar(line[i] >= 0x20 && line[i] < 0x7f ? line[i] : '?');
        putchar('\n');
}

static int show(const char *line, size_t size, void *user, struct error *err) {
        const struct cli *cli = user;
        _cleanup_(audit_line_done) struct audit_line l = { 0 };
        struct error bad = { 0 };
        char words[AUDIT_WORDS];

        if (cli->json)
                print_raw(line, size);
        else if (audit_parse(line, size, &l, &bad) < 0)
                printf("  %zu bytes that are no event: see diskseal log --verify\n", size);
        else {
                make_printable(l.time);
                make_printable(l.event);
                make_printable(l.subject);
                audit_words(&l, words);
                printf("  %-20s  %-16s %-12s %s\n", l.time, l.event, l.subject, words);
        }
        return fflush(stdout) == 0 ? 0 : error_set(err, -EPIPE, "write to standard output");
}

static struct json *verified_json(const struct op_log_verified *v) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_string(o, "result", "verified") || !json_add_uint(o, "lines", v->head.seq) ||
            !json_add_string(o, "head", v->head.hash) ||
            !json_add_uint(o, "repaired", v->repaired) || !json_add_bool(o, "torn", v->torn) ||
            !json_add_uint(o, "behind", v->behind))
                return NULL;
        return TAKE(o);
}

static int verify(struct cli *cli) {
        struct op_log_verified v = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = op_log_verify(&cli->context, &v, &why, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(verified_json(&v));
        cli_say(cli, "  %" PRIu64 " event%s, the chain is whole%s%s", v.head.seq,
                v.head.seq == 1 ? "" : "s", v.head.seq ? "; head " : "", v.head.hash);
        if (v.repaired)
                cli_say(cli, "  Note: %u line%s torn by a power cut; the next one says so.",
                        v.repaired, v.repaired == 1 ? " was" : "s were");
        if (v.torn)
                cli_say(cli, "  Note: the last line was torn by a power cut; the next event moves "
                             "on over it.");
        if (v.behind)
                cli_say(cli,
                        "  Note: audit.head is %" PRIu64 " behind, as after a power cut; the next "
                        "event mends it.",
                        v.behind);
        return EXIT_DONE;
}

static int run(struct cli *cli) {
        const char *lines = cli_value(cli, "lines");
        struct op_log_show args = {
                .last = UINT64_MAX, .follow = cli_value(cli, "follow"), .show = show, .user = cli
        };
        struct error err = { 0 };
        char *end;
        int r;

        if (cli_value(cli, "verify")) {
                if (lines || args.follow)
                        return cli_usage(cli, "--verify walks the whole log, and then ends");
                return verify(cli);
        }
        if (lines) {
                args.last = strtoull(lines, &end, 10);
                if (*lines < '0' || *lines > '9' || *end)
                        return cli_usage(cli, "--lines: '%s' is no number", lines);
        }
        r = op_log_show(&cli->context, &args, &err);
        return r == OUTCOME_DONE ? EXIT_DONE : cli_failed(cli, r, NULL, &err);
}

static const struct cli_option options[] = {
        { "verify", 0, NULL, "walk along the whole chain: exit status 3 where it's broken" },
        { "lines", 'n', "N", "only the last N events" },
        { "follow", 'f', NULL, "go on with what is logged from now on" },
        { 0 },
};

const struct cli_verb verb_log = {
        .name = "log",
        .synopsis = "[--verify|-n N] [-f]",
        .summary = "Show what was done and refused here, or prove that the log is whole",
        .args_max = 0,
        .looks = true,
        .options = options,
        .examples = { "diskseal log -n 20 -f", "diskseal log --verify --json" },
        .run = run,
};
