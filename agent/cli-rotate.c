/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"

static const char *word(enum rotated what) {
        switch (what) {
        case ROTATED_DONE: return "rotated";
        case ROTATED_ABSENT: return "absent";
        case ROTATED_FAILED: return "failed";
        case ROTATED_PENDING: break;
        }
        return "pending";
}

static const char *reason(const struct op_rotated_disk *d) {
        return d->refusal.kind ? d->refusal.what : d->error.text;
}

static bool disks_json(const struct op_rotated *r, struct json *disks) {
        for (size_t i = 0; i < r->count; i++) {
                const struct op_rotated_disk *d = &r->disks[i];
                struct json *o = json_new_object();

                if (!json_append(disks, o) || !json_add_string(o, "name", d->known.name) ||
                    !json_add_string(o, "result", word(d->what)) ||
                    !json_add_uint(o, "version", d->version) ||
                    (d->what == ROTATED_FAILED && !json_add_string(o, "reason", reason(d))))
                        return false;
        }
        return true;
}

static struct json *as_json(const struct cli *cli, const struct op_rotated *r) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *disks = json_new_array();

        if (!disks_json(r, disks) ||
            !json_add_string(o, "result", cli->dry_run ? "would-do" : "done") ||
            !json_add_string(o, "kek", r->kek) || !json_add_uint(o, "from", r->from) ||
            !json_add_uint(o, "to", r->to) || !json_add_bool(o, "resumed", r->resumed) ||
            !cli_add_policy(o, &r->policy) ||
            (r->counter && !json_add_uint(o, "counter", r->counter)) ||
            !json_add(o, "disks", TAKE(disks)))
                return NULL;
        return TAKE(o);
}

/* Failures that are faults weigh more than refusals: the exit status is the worst. */
static int status_of(const struct op_rotated *r) {
        int status = EXIT_DONE;

        for (size_t i = 0; i < r->count; i++) {
                if (r->disks[i].what != ROTATED_FAILED)
                        continue;
                if (!r->disks[i].refusal.kind)
                        return EXIT_FAULT;
                status = EXIT_REFUSED;
        }
        return status;
}

static void print_plan(const struct cli *cli, const struct op_rotated *r) {
        static const char *const words[] = { "add to its token", "prove that it opens with",
                                             "leave nothing in its token but" };
        char policy[POLICY_TEXT_MAX];
        unsigned step = 1;

        policy_text(&r->policy, policy);
        cli_say(cli, "would do, in this order:");
        if (!r->resumed)
                cli_say(cli, "  %u  create KEK %s v%u in the TPM, sealed to %s", step++, r->kek,
                        r->to, policy);
        for (size_t stage = 0; stage < ARRAY_SIZE(words); stage++)
                for (size_t i = 0; i < r->count; i++)
                        if (r->disks[i].what == ROTATED_PENDING)
                                cli_say(cli, "  %u  %s: %s v%u", step++, r->disks[i].known.name,
                                        words[stage], r->to);
        cli_say(cli, "No keyslot and no data would be written.");
}

static void print_counts(const struct cli *cli, const struct op_rotated *r) {
        size_t done = 0, all = 0;

        for (size_t i = 0; i < r->count; i++) {
                all += r->disks[i].what != ROTATED_ABSENT;
                done += r->disks[i].what == ROTATED_DONE;
        }
        cli_say(cli, "  rotated  %zu of %zu   %.2f s", done, all, r->seconds);
        for (size_t i = 0; i < r->count; i++) {
                const struct op_rotated_disk *d = &r->disks[i];

                if (d->what == ROTATED_ABSENT)
                        cli_say(cli, "  absent   %s (keeps its version, catches up when it's back)",
                                d->known.name);
                if (d->what == ROTATED_FAILED)
                        fprintf(stderr,
                                "diskseal: %s was not rotated: %s.\n  It opens as before. Run "
                                "diskseal rotate again once that is mended.\n",
                                d->known.name, reason(d));
        }
        if (r->counter)
                cli_say(cli, "  retired  v%u: the TPM unseals it no more, also from an old header",
                        r->from);
        else if (r->from && done > 0)
                cli_say(cli,
                        "  v%u still unseals, since not every disk has v%u: rotate again when "
                        "all are here",
                        r->from, r->to);
        cli_say(cli, "No keyslot and no data was read or written. Open disks stayed open.");
}

static void stop(int signal) {
        op_stop = signal;
}

void cli_catch_stop(void) {
        const struct sigaction action = { .sa_handler = stop };

        (void) sigaction(SIGINT, &action, NULL);
        (void) sigaction(SIGTERM, &action, NULL);
}

int cli_print_rotated(const struct cli *cli, const struct op_rotated *r) {
        char policy[POLICY_TEXT_MAX];
        int e;

        if (cli->json) {
                e = cli_print_json(as_json(cli, r));
                return e == EXIT_DONE ? status_of(r) : e;
        }
        if (cli->dry_run) {
                print_plan(cli, r);
                return EXIT_DONE;
        }
        policy_text(&r->policy, policy);
        cli_say(cli, "  KEK %s v%u -> v%u, %zu disk%s, %s%s", r->kek, r->from, r->to, r->count,
                r->count == 1 ? "" : "s", policy,
                r->resumed ? " (finishing an interrupted rotation)" : "");
        print_counts(cli, r);
        return status_of(r);
}

static int run(struct cli *cli) {
        const char *kek = cli_value(cli, "kek") ? cli_value(cli, "kek") : KEK_DEFAULT;
        _cleanup_(op_rotated_done) struct op_rotated r = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int e;

        if (!name_valid(kek))
                return cli_usage(cli, "--kek: '%s' can't name a KEK", kek);
        cli_catch_stop();
        e = op_rotate(&cli->context, &(struct op_rotate){ .kek = kek }, &r, &why, &err);
        return e == OUTCOME_DONE ? cli_print_rotated(cli, &r) : cli_failed(cli, e, &why, &err);
}

static const struct cli_option options[] = {
        { "kek", 0, "NAME", "which KEK (default)" },
        { 0 },
};

const struct cli_verb verb_rotate = {
        .name = "rotate",
        .synopsis = "[--kek=NAME]",
        .summary = "Make a new version of a KEK and rewrap its disks' keys; data stays as it is",
        .args_max = 0,
        .options = options,
        .examples = { "diskseal rotate", "diskseal rotate --kek backup --dry-run" },
        .run = run,
};
