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
        case ROTATED_LEFT: return "left";
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

static const char *end_word(const struct cli *cli, const struct op_rotated *r) {
        static const char *const words[] = {
                [ROTATED_RETIRED] = "done",    [ROTATED_STAGED] = "staged",
                [ROTATED_ABORTED] = "aborted", [ROTATED_NOTHING] = "nothing-to-do",
                [ROTATED_STUCK] = "failed",
        };

        return cli->dry_run ? "would-do" : words[r->end];
}

static struct json *as_json(const struct cli *cli, const struct op_rotated *r) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *disks = json_new_array();

        if (!disks_json(r, disks) || !json_add_string(o, "event", "result") ||
            !json_add_string(o, "result", end_word(cli, r)) || !json_add_string(o, "kek", r->kek) ||
            !json_add_string(o, "depth", r->slot ? "slot" : "kek") ||
            !json_add_uint(o, "from", r->from) || !json_add_uint(o, "to", r->to) ||
            !json_add_bool(o, "resumed", r->resumed) ||
            !cli_add_sealing(o, &r->policy, r->second_factor) ||
            (r->replaced && !json_add_uint(o, "replaced", r->replaced)) ||
            (r->kept[0] && !json_add_string(o, "kept", r->kept)) ||
            (r->counter && !json_add_uint(o, "counter", r->counter)) ||
            !json_add(o, "disks", TAKE(disks)))
                return NULL;
        return TAKE(o);
}

/* All: done. Some: run it again. None: why the first wasn't, faults before refusals. */
static int status_of(const struct op_rotated *r) {
        bool some = false;
        int none = EXIT_DONE;

        for (size_t i = 0; i < r->count; i++) {
                const struct op_rotated_disk *d = &r->disks[i];

                if (d->what == ROTATED_FAILED && none != EXIT_FAULT)
                        none = d->refusal.kind ? EXIT_REFUSED : EXIT_FAULT;
                some |= d->what == ROTATED_DONE || d->what == ROTATED_PENDING;
        }
        return none != EXIT_DONE && some ? EXIT_INTERRUPTED : none;
}

/* Nothing new: disks that were away get what is current. */
static bool catches_up(const struct op_rotated *r) {
        return r->from == r->to;
}

/* What would be done, line by line. */
struct plan {
        const struct cli *cli;
        const struct op_rotated *r;
        unsigned step;
};

static void plan_disks(struct plan *p, const char *words, uint32_t version) {
        for (size_t i = 0; i < p->r->count; i++)
                if (p->r->disks[i].what == ROTATED_PENDING)
                        cli_say(p->cli, "  %u  %s: %s v%u", ++p->step, p->r->disks[i].known.name,
                                words, version);
                else if (p->r->disks[i].what == ROTATED_ABSENT)
                        cli_say(p->cli, "     %s is absent: skipped", p->r->disks[i].known.name);
}

static void plan_retirement(struct plan *p) {
        const struct op_rotated *r = p->r;

        if (r->mode != ROTATE_TRUST)
                plan_disks(p, "prove that it opens with", r->to);
        if (!catches_up(r)) {
                cli_say(p->cli, "  %u  wrap v%u by v%u in the archive", ++p->step, r->from, r->to);
                cli_say(p->cli, "  %u  advance the counter in the TPM: it ends v%u", ++p->step,
                        r->from);
        }
        plan_disks(p, "leave nothing in its token but", r->to);
}

static void print_plan(const struct cli *cli, const struct op_rotated *r) {
        struct plan plan = { .cli = cli, .r = r };
        char policy[POLICY_TEXT_MAX];

        if (r->end == ROTATED_NOTHING) {
                cli_say(cli, "would do nothing: nothing was begun");
                return;
        }
        cli_sealing_text(&r->policy, r->second_factor, policy);
        cli_say(cli, "would do, in this order:");
        if (r->mode == ROTATE_ABORT) {
                plan_disks(&plan, "leave nothing in its token but", r->from);
        } else {
                if (!r->resumed)
                        cli_say(cli, "  %u  create KEK %s v%u in the TPM, sealed to %s",
                                ++plan.step, r->kek, r->to, policy);
                plan_disks(&plan, r->slot ? "a new keyslot, for" : "add to its token", r->to);
                if (r->mode != ROTATE_STAGE)
                        plan_retirement(&plan);
        }
        cli_say(cli,
                r->slot ? "No data would be written." : "No keyslot and no data would be written.");
}

static void print_disk(const struct cli *cli, const struct op_rotated_disk *d) {
        if (d->what == ROTATED_ABSENT && d->known.version)
                cli_say(cli, "  absent   %s (keeps v%u, catches up when it's back)", d->known.name,
                        d->known.version);
        else if (d->what == ROTATED_ABSENT)
                cli_say(cli, "  absent   %s (keeps its version, catches up when it's back)",
                        d->known.name);
        if (d->what == ROTATED_FAILED)
                fprintf(stderr,
                        "diskseal: %s was not rotated: %s.\n  Nothing that opens it was taken "
                        "away. Run this again once that is mended.\n",
                        d->known.name, reason(d));
}

/* What it means for the old version, and what comes next. */
static void print_end(const struct cli *cli, const struct op_rotated *r, size_t done) {
        switch (r->end) {
        case ROTATED_STAGED:
                cli_say(cli, "  proven   at the next boot (%s); until then v%u and v%u both open",
                        r->kept, r->from, r->to);
                break;
        case ROTATED_ABORTED:
                cli_say(cli,
                        "  dropped  v%u: no disk has it any more; the TPM forgets it when v%u is "
                        "retired",
                        r->to, r->from);
                break;
        case ROTATED_RETIRED:
                if (catches_up(r))
                        break;
                if (r->counter)
                        cli_say(cli, "  retired  v%u: the TPM unseals it no more, %s", r->from,
                                r->archived ? "the archive opens what still has it"
                                            : "also from an old header");
                else if (r->from && done > 0)
                        cli_say(cli, "  v%u still unseals, since %s", r->from, r->kept);
                break;
        case ROTATED_NOTHING:
        case ROTATED_STUCK: break;
        }
}

static void print_counts(const struct cli *cli, const struct op_rotated *r) {
        size_t done = 0, all = 0;

        for (size_t i = 0; i < r->count; i++) {
                const struct op_rotated_disk *d = &r->disks[i];

                all += d->what != ROTATED_ABSENT && d->what != ROTATED_LEFT;
                done += d->what == ROTATED_DONE ||
                        (d->what == ROTATED_PENDING && r->end == ROTATED_STAGED);
        }
        cli_say(cli, "  %-8s %zu of %zu   %.2f s",
                r->end == ROTATED_STAGED    ? "staged"
                : r->end == ROTATED_ABORTED ? "restored"
                                            : "rotated",
                done, all, r->seconds);
        for (size_t i = 0; i < r->count; i++)
                print_disk(cli, &r->disks[i]);
        print_end(cli, r, done);
        cli_say(cli,
                r->slot ? "No data was read or written. Open disks stayed open."
                        : "No keyslot and no data was read or written. Open disks stayed open.");
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
        char versions[32], policy[POLICY_TEXT_MAX];
        int e;

        if (cli->json) {
                e = cli_print_json_line(as_json(cli, r));
                return e == EXIT_DONE ? status_of(r) : e;
        }
        if (cli->dry_run) {
                print_plan(cli, r);
                return EXIT_DONE;
        }
        if (r->end == ROTATED_NOTHING) {
                cli_say(cli, "  KEK %s: %s", r->kek,
                        r->kept[0] ? r->kept : "nothing was begun, so there is nothing to finish");
                return status_of(r);
        }
        cli_sealing_text(&r->policy, r->second_factor, policy);
        if (catches_up(r))
                (void) snprintf(versions, sizeof(versions), "v%u", r->to);
        else
                (void) snprintf(versions, sizeof(versions), "v%u -> v%u", r->from, r->to);
        cli_say(cli, "  KEK %s %s, %zu disk%s, %s%s", r->kek, versions, r->count,
                r->count == 1 ? "" : "s", policy,
                catches_up(r)                             ? " (catching up)"
                : r->end != ROTATED_ABORTED && r->resumed ? " (finishing what was begun)"
                                                          : "");
        if (r->replaced)
                cli_say(cli, "  replaced v%u, which waited for a boot", r->replaced);
        print_counts(cli, r);
        return status_of(r);
}
