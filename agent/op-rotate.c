/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/audit.h"
#include "agent/due.h"
#include "agent/kek-policy.h"
#include "agent/others.h"
#include "agent/rotate-run.h"
#include "base/clock.h"

static void rotation_done(struct rotation *r) {
        free(r->record);
        rotate_disks_done(&r->disks);
}

void op_rotated_done(struct op_rotated *r) {
        free(r->disks);
        *r = (struct op_rotated){ 0 };
}

bool rotation_is_target(const struct rotation *r, const struct kek *kek) {
        return r->has_target && kek_equal(&r->target, kek);
}

/* --- what stands on the disks and in the store --- */

/* The disks that weren't asked for stay as they are. */
static int select_disks(struct rotation *r) {
        const char *const *names = r->args->disks;
        size_t found = 0, wanted = 0;

        if (!names)
                return OUTCOME_DONE;
        for (; names[wanted]; wanted++)
                ;
        for (size_t i = 0; i < r->disks.count; i++) {
                struct op_rotated_disk *d = r->disks.disk[i].report;
                bool named = false;

                for (size_t n = 0; n < wanted; n++)
                        named |= strcmp(names[n], d->known.name) == 0;
                found += named;
                if (!named)
                        d->what = ROTATED_LEFT;
        }
        if (found == wanted)
                return OUTCOME_DONE;
        refusal_set(r->why, REFUSAL_UNKNOWN_DISK, "not every disk that was named has KEK %s",
                    r->args->kek);
        refusal_detail(r->why, "diskseal status says which disk has which");
        return OUTCOME_REFUSED;
}

static bool is_behind(const struct rotation *r) {
        for (size_t i = 0; i < r->disks.count; i++) {
                const struct candidate *d = &r->disks.disk[i];

                if (rotate_disk_in_run(d) &&
                    (d->keks != 1 || !rotate_disk_has(d, &r->record->current)))
                        return true;
        }
        return false;
}

/* The version that an interrupted rotation was on the way to: as recorded, or, where the record was
 * lost, the newer of two that stand on a disk. Where nothing new is wanted, the current one, for
 * disks that were away. */
static void find_target(struct rotation *r) {
        if (r->record->has_staged) {
                r->target = r->record->staged;
                r->has_target = true;
                return;
        }
        for (size_t i = 0; i < r->disks.count; i++) {
                const struct candidate *d = &r->disks.disk[i];

                if (!rotate_disk_in_run(d) || d->keks < 2 ||
                    (r->has_target && d->kek[0].version <= r->target.version))
                        continue;
                r->target = d->kek[0];
                r->has_target = true;
        }
        if (r->record->has_current && kek_equal(&r->target, &r->record->current))
                r->is_current = r->has_target;
        if (r->has_target || r->args->mode != ROTATE_FINISH || !r->record->has_current ||
            !is_behind(r))
                return;
        r->target = r->record->current;
        r->has_target = r->is_current = true;
}

uint32_t rotation_newest(const struct rotation *r) {
        const struct kek_record *k = r->record;
        uint32_t newest = k->has_current ? k->current.version : 0;

        if (k->has_staged && k->staged.version > newest)
                newest = k->staged.version;
        if (k->given_up > newest)
                newest = k->given_up;
        for (size_t i = 0; i < r->disks.count; i++)
                if (r->disks.disk[i].report->version > newest)
                        newest = r->disks.disk[i].report->version;
        return newest;
}

static enum rotation_state where(const struct rotation *r) {
        struct rotation_facts facts = { .recorded = r->has_target };

        for (size_t i = 0; i < r->disks.count; i++) {
                const struct candidate *d = &r->disks.disk[i];

                if (!rotate_disk_in_run(d))
                        continue;
                facts.disks++;
                if (r->has_target && rotate_disk_has(d, &r->target)) {
                        facts.staged++;
                        facts.retired += d->keks == 1;
                }
        }
        return rotation_resume(&facts);
}

/* What the KEK has now: as recorded, else as the first disk has it. */
static const struct kek *any_version(const struct rotation *r) {
        if (r->record->has_current)
                return &r->record->current;
        for (size_t i = 0; i < r->disks.count; i++)
                if (r->disks.disk[i].keks > 0)
                        return &r->disks.disk[i].kek[0];
        return NULL;
}

int rotation_policy(const struct rotation *r, struct named_policy *ret) {
        if (r->args->policy) {
                *ret = *r->args->policy;
                return OUTCOME_DONE;
        }
        return kek_policy_next(r->c, r->record, any_version(r), ret, r->why, r->err);
}

/* --- the TPM's part: every key that the run needs, then the TPM is let go --- */

/* Of the disks that still need it: the newest version that opens, and isn't the target. */
static int open_live(struct rotation *r, struct candidate *d) {
        struct refusal why = { 0 }, later = { 0 };
        bool tried = false;

        for (unsigned i = 0; i < d->keks; i++) {
                int e;

                if (rotation_is_target(r, &d->kek[i]))
                        continue;
                e = context_kek(r->c, d->report->known.name, &d->kek[i], &d->live_key,
                                tried ? &later : &why, r->err);
                if (e < 0)
                        return e;
                if (e == OUTCOME_DONE) {
                        d->live = &d->kek[i];
                        return OUTCOME_DONE;
                }
                tried = true;
        }
        /* A disk that has nothing but the target needs no other. */
        if (tried)
                rotate_disk_drop(d, OUTCOME_REFUSED, &why, r->err);
        return OUTCOME_DONE;
}

/* @all: also of the disks that have the target already. */
static int open_all_live(struct rotation *r, bool all) {
        const struct refusal *first = NULL;
        bool any = false;

        for (size_t i = 0; i < r->disks.count; i++) {
                struct candidate *d = &r->disks.disk[i];
                int e;

                if (!rotate_disk_in_run(d))
                        continue;
                if (all || !r->has_target || !rotate_disk_has(d, &r->target)) {
                        e = open_live(r, d);
                        if (e < 0)
                                return e;
                }
                if (rotate_disk_in_run(d))
                        any = true;
                else if (!first)
                        first = &d->report->refusal;
        }
        if (any || !first)
                return OUTCOME_DONE;
        *r->why = *first;
        return OUTCOME_REFUSED;
}

static void hold(struct rotation *r, const char *words) {
        r->held = true;
        (void) snprintf(r->ret->kept, sizeof(r->ret->kept), "%s", words);
}

static bool makes_new(enum rotate_mode mode) {
        return mode == ROTATE_ALL || mode == ROTATE_STAGE || mode == ROTATE_TRUST;
}

/* The version that waits gives its place to a new one, and stays on each disk until that one is
 * there. */
static void replace_target(struct rotation *r) {
        r->ret->replaced = r->target.version;
        r->anew = true;
}

/* Return: OUTCOME_DONE; OUTCOME_REFUSED where this TPM, as it is now, opens nothing. A staged
 * object that is damaged is given up for a new one; and one that can't be proven before the next
 * boot, if a new one is wanted now. */
static int open_target(struct rotation *r) {
        struct refusal why = { 0 };
        int e;

        if (!r->has_target || r->args->mode == ROTATE_ABORT)
                return OUTCOME_DONE;
        if (r->args->mode == ROTATE_STAGE && !r->is_current) {
                replace_target(r);
                return OUTCOME_DONE;
        }
        /* A proof that the TPM gives it back isn't one that the OS disk's KEK opens it. */
        e = (r->is_current ? context_kek : context_kek_own)(r->c, r->ret->kek, &r->target,
                                                            &r->target_key, &why, r->err);
        if (e != OUTCOME_REFUSED)
                return e;
        if (why.kind == REFUSAL_LATCHED && !makes_new(r->args->mode)) {
                hold(r, "the latch forbids to unseal now");
                return OUTCOME_DONE;
        }
        if (why.kind == REFUSAL_OBJECT_DAMAGED || why.kind == REFUSAL_TOKEN_DAMAGED ||
            why.kind == REFUSAL_LATCHED) {
                replace_target(r);
                return OUTCOME_DONE;
        }
        *r->why = why;
        return OUTCOME_REFUSED;
}

/* What the OS disk's KEK opens, it goes on opening: else both versions stay on the disks. */
static int check_others(struct rotation *r) {
        bool retires =
                r->args->mode == ROTATE_ALL || (r->args->mode == ROTATE_FINISH && r->has_target);
        int e = retires && !r->held ? others_ready(r->c, r->ret->kek, r->err) : 1;

        if (e == 0)
                hold(r, "the OS disk's KEK isn't at hand, which has to open the new version, too");
        return e < 0 ? e : OUTCOME_DONE;
}

static int prepare(struct rotation *r, enum rotation_state *ret_state) {
        bool needs_old = r->args->mode == ROTATE_ABORT;
        int e = open_target(r);

        if (e == OUTCOME_DONE)
                e = check_others(r);
        if (e != OUTCOME_DONE)
                return e;
        if (!r->held || r->target_key || makes_new(r->args->mode)) {
                e = open_all_live(r, needs_old || r->anew);
                if (e != OUTCOME_DONE)
                        return e;
        }
        r->ret->resumed = r->has_target && !r->anew;
        *ret_state = where(r);
        r->ret->to = r->ret->resumed ? r->target.version : rotation_newest(r) + 1;
        return OUTCOME_DONE;
}

/* --- the run --- */

/* What is wanted, or what happened. */
static int event(struct rotation *r, enum rotation_state state, enum rotation_event *ret) {
        int revoked;

        if (r->anew) {
                *ret = ROTATION_ANEW;
                return 0;
        }
        switch (r->args->mode) {
        case ROTATE_ABORT:
                revoked = r->has_target ? rotation_is_revoked(r) : 0;
                *ret = revoked > 0 ? ROTATION_TOO_LATE : ROTATION_GIVE_UP;
                return revoked < 0 ? revoked : 0;
        case ROTATE_FINISH:
                *ret = r->held || state == ROTATION_IDLE ? ROTATION_HELD : ROTATION_GO;
                return 0;
        case ROTATE_TRUST: *ret = ROTATION_TRUST; break;
        case ROTATE_STAGE: *ret = r->is_current ? ROTATION_GO : ROTATION_HELD; break;
        case ROTATE_ALL: *ret = r->held ? ROTATION_HELD : ROTATION_GO; break;
        }
        if (state == ROTATION_IDLE)
                *ret = ROTATION_GO;
        return 0;
}

static void end(struct rotation *r, enum rotation_state state, enum rotation_effect last) {
        struct op_rotated *ret = r->ret;
        bool through = last == ROTATION_SETTLE || last == ROTATION_UNRECORD;

        if (last == ROTATION_SETTLE)
                ret->end = ROTATED_RETIRED;
        else if (last == ROTATION_UNRECORD)
                ret->end = ROTATED_ABORTED;
        else
                ret->end = state == ROTATION_IDLE ? ROTATED_NOTHING : ROTATED_STAGED;
        if (ret->end == ROTATED_STAGED && !ret->kept[0])
                (void) snprintf(ret->kept, sizeof(ret->kept), "as it was asked for");
        for (size_t i = 0; through && i < ret->count; i++)
                if (rotate_disk_in_run(&r->disks.disk[i])) {
                        ret->disks[i].what = ROTATED_DONE;
                        ret->disks[i].version = r->has_target ? r->target.version : 0;
                }
}

static int too_late(struct rotation *r) {
        refusal_set(r->why, REFUSAL_RETIRED,
                    "KEK %s can't go back to v%u: the TPM unseals it no more", r->ret->kek,
                    r->ret->from);
        refusal_detail(r->why, "finish the rotation: diskseal rotate --complete");
        return OUTCOME_REFUSED;
}

static int run(struct rotation *r, enum rotation_state state) {
        enum rotation_effect last = ROTATION_END;

        do {
                struct rotation_step step;
                enum rotation_event what = ROTATION_GO;
                bool some = true;
                int e = event(r, state, &what);

                if (e < 0)
                        return e;
                step = rotation_step(state, what);
                if (step.effect == ROTATION_REFUSE)
                        return too_late(r);
                if (step.effect == ROTATION_END)
                        break;
                if (op_stop)
                        return error_set(r->err, -EINTR, "stopped by a signal");
                e = rotation_perform(r, step.effect, &some);
                if (e != OUTCOME_DONE)
                        return e;
                /* Every disk dropped out: the store keeps what is staged, the reports say why. */
                if (!some) {
                        r->ret->end = ROTATED_STUCK;
                        return OUTCOME_DONE;
                }
                last = step.effect;
                state = step.next;
        } while (state != ROTATION_IDLE);
        end(r, state, last);
        return OUTCOME_DONE;
}

/* A version that no disk could take would only age in the store. */
static bool any_in_run(const struct rotation *r, struct refusal *why) {
        const struct op_rotated *ret = r->ret;

        for (size_t i = 0; i < ret->count; i++)
                if (rotate_disk_in_run(&r->disks.disk[i]))
                        return true;
        if (ret->count == 0)
                refusal_set(why, REFUSAL_UNKNOWN_DISK, "no disk here has a KEK named %s", ret->kek);
        else
                refusal_set(why, REFUSAL_UNKNOWN_DISK,
                            "none of the disks of KEK %s can be rotated now", ret->kek);
        for (size_t i = 0; i < ret->count; i++) {
                const struct op_rotated_disk *d = &ret->disks[i];

                if (d->what != ROTATED_LEFT)
                        refusal_detail(why, "%s: %s", d->known.name,
                                       d->what == ROTATED_ABSENT ? "its device isn't there"
                                       : d->refusal.kind         ? d->refusal.what
                                                                 : d->error.text);
        }
        return false;
}

static bool any_failed(const struct op_rotated *ret) {
        for (size_t i = 0; i < ret->count; i++)
                if (ret->disks[i].what == ROTATED_FAILED)
                        return true;
        return false;
}

#define NOTHING_TO_DO 2 /* beside outcomes */

/* A version that waits for a boot is as old as it is: else each time that somebody looks would
 * replace it. */
static int check_due(struct rotation *r) {
        _cleanup_(freep) struct kek_record *waiting = NULL;
        const struct kek_record *record = r->record;
        struct due due = { .state = DUE_NOW };
        int e = 0;

        if (record->has_staged) {
                waiting = calloc(1, sizeof(*waiting));
                if (!waiting)
                        return error_nomem(r->err);
                waiting->has_current = true;
                waiting->current = record->staged;
                (void) snprintf(waiting->name, sizeof(waiting->name), "%s", record->name);
                (void) snprintf(waiting->current_created, TIME_TEXT, "%s", record->staged_created);
                record = waiting;
        }
        if (record->has_current)
                e = due_of(r->c, record, &due, r->err);
        if (e < 0)
                return e;
        if (due.state != DUE_NOW) {
                due_text(&due, r->ret->kept);
                return NOTHING_TO_DO;
        }
        if (!due.attended || r->c->pin_file)
                return OUTCOME_DONE;
        refusal_set(r->why, REFUSAL_SECOND_FACTOR,
                    "KEK %s is due for rotation, which wants its PIN", r->ret->kek);
        refusal_detail(r->why, "nobody but you can do it: diskseal rotate --kek %s", r->ret->kek);
        return OUTCOME_REFUSED;
}

static int look(struct rotation *r) {
        struct op_rotated *ret = r->ret;
        struct named_policy policy;
        int e;

        e = rotate_disks_survey(r->c, ret->kek, ret, &r->disks, r->err);
        if (e < 0)
                return e;
        e = archive_record_newest(r->c, ret->kek, &r->record, r->why, r->err);
        if (e != OUTCOME_DONE)
                return e;
        e = select_disks(r);
        if (e != OUTCOME_DONE)
                return e;
        if (!any_in_run(r, r->why))
                return r->args->mode == ROTATE_FINISH && !any_failed(ret) ? NOTHING_TO_DO
                                                                          : OUTCOME_REFUSED;
        ret->from = r->record->has_current ? r->record->current.version : rotation_newest(r);
        if (r->args->if_due && (e = check_due(r)) != OUTCOME_DONE)
                return e;
        e = rotation_policy(r, &policy);
        if (e == OUTCOME_DONE) {
                ret->policy = policy.policy;
                ret->second_factor = policy.factor.from != FROM_NONE;
                find_target(r);
        }
        return e;
}

static void progress(void *context, size_t finished, size_t of) {
        const struct rotation *r = context;

        if (r->args->progress && r->disks.count > 0 && r->looked)
                r->args->progress(r->args->progress_context, r->effect, finished, of);
}

static int rotate(struct rotation *r) {
        enum rotation_state state;
        int e;

        if (!r->c->dry_run && (e = context_lock(r->c, r->err)) < 0)
                return e;
        e = look(r);
        if (e == NOTHING_TO_DO) {
                *r->why = (struct refusal){ 0 };
                r->ret->end = ROTATED_NOTHING;
                return OUTCOME_DONE;
        }
        if (e != OUTCOME_DONE)
                return e;
        r->looked = true;
        if (r->c->dry_run) {
                r->ret->resumed = r->has_target && r->args->mode != ROTATE_STAGE;
                r->ret->to = r->ret->resumed ? r->target.version : rotation_newest(r) + 1;
                if (!r->has_target && !makes_new(r->args->mode))
                        r->ret->end = ROTATED_NOTHING;
                return OUTCOME_DONE;
        }
        e = prepare(r, &state);
        if (e != OUTCOME_DONE)
                return e;
        if (state != ROTATION_IDLE)
                context_release_tpm(r->c);
        /* What waits for the next boot can't even be written to one more disk. */
        if (r->held && r->has_target && !r->anew && !r->target_key) {
                end(r, state, ROTATION_END);
                return OUTCOME_DONE;
        }
        return run(r, state);
}

/* How it ended, where anything was announced. */
static int log_end(struct rotation *r, int outcome) {
        static const char *const words[] = {
                [ROTATED_RETIRED] = "done",    [ROTATED_STAGED] = "waits",
                [ROTATED_ABORTED] = "aborted", [ROTATED_NOTHING] = "nothing",
                [ROTATED_STUCK] = "fault",
        };
        struct audit_event e = { .event = "rotate",
                                 .subject = r->ret->kek,
                                 .fact = { { "from", NULL, r->ret->from },
                                           { "to", NULL, r->ret->to },
                                           { "counter", NULL, r->ret->counter } } };

        if (r->c->dry_run || r->ret->end == ROTATED_NOTHING)
                return outcome;
        if (outcome != OUTCOME_DONE)
                return audit_result(r->c, e, outcome, r->err);
        e.result = words[r->ret->end];
        outcome = audit(r->c, &e, r->err);
        return outcome < 0 ? outcome : OUTCOME_DONE;
}

int op_rotate(struct context *c, const struct op_rotate *args, struct op_rotated *ret,
              struct refusal *why, struct error *err) {
        _cleanup_(rotation_done) struct rotation r = {
                .c = c, .args = args, .ret = ret, .why = why, .err = err
        };
        double begun = clock_seconds();
        int e;

        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", args->kek);
        ret->mode = args->mode;
        ret->slot = args->slot;
        r.disks.progress = progress;
        r.disks.progress_context = &r;
        e = rotate(&r);
        if (r.looked)
                e = log_end(&r, e);
        ret->seconds = clock_seconds() - begun;
        return e;
}
