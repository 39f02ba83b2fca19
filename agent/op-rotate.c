/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/kek-policy.h"
#include "agent/op.h"
#include "agent/rotate-disks.h"
#include "base/crypto.h"

struct rotation {
        struct context *c;
        const struct op_rotate *args;
        struct op_rotated *ret;
        struct kek_record *record;
        struct rotate_disks disks;
        bool has_target;
        struct kek target;
        struct secret *target_key; /* borrowed; as the TPM gave it back */
        struct refusal *why;
        struct error *err;
};

static void rotation_done(struct rotation *r) {
        free(r->record);
        rotate_disks_done(&r->disks);
}

void op_rotated_done(struct op_rotated *r) {
        free(r->disks);
        *r = (struct op_rotated){ 0 };
}

/* --- what stands on the disks and in the store --- */

/* The version that an interrupted rotation was on the way to: as recorded, or, where the record was
 * lost, the newer of two that stand on a disk. */
static void find_target(struct rotation *r) {
        if (r->record->has_staged) {
                r->target = r->record->staged;
                r->has_target = true;
                return;
        }
        for (size_t i = 0; i < r->ret->count; i++) {
                const struct candidate *d = &r->disks.disk[i];

                if (!rotate_disk_in_run(d) || d->keks < 2 ||
                    (r->has_target && d->kek[0].version <= r->target.version))
                        continue;
                r->target = d->kek[0];
                r->has_target = true;
        }
}

static uint32_t newest_version(const struct rotation *r) {
        uint32_t newest = r->record->has_current ? r->record->current.version : 0;

        if (r->record->has_staged && r->record->staged.version > newest)
                newest = r->record->staged.version;
        for (size_t i = 0; i < r->ret->count; i++)
                if (r->ret->disks[i].version > newest)
                        newest = r->ret->disks[i].version;
        return newest;
}

static enum rotation_state where(const struct rotation *r) {
        struct rotation_facts facts = { .recorded = r->has_target };

        for (size_t i = 0; i < r->ret->count; i++) {
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

/* --- the TPM's part: every key that the run needs, then the TPM is let go --- */

/* The key of a disk that doesn't have the target yet: the newest of its versions that opens. */
static int open_live(struct rotation *r, struct candidate *d) {
        struct refusal why = { 0 }, later = { 0 };

        for (unsigned i = 0; i < d->keks; i++) {
                int e = context_kek(r->c, d->report->known.name, &d->kek[i], &d->live_key,
                                    i == 0 ? &why : &later, r->err);

                if (e < 0)
                        return e;
                if (e == OUTCOME_DONE) {
                        d->live = &d->kek[i];
                        return OUTCOME_DONE;
                }
        }
        rotate_disk_drop(d, OUTCOME_REFUSED, &why, r->err);
        return OUTCOME_DONE;
}

static int open_all_live(struct rotation *r) {
        const struct refusal *first = NULL;
        bool any = false;

        for (size_t i = 0; i < r->ret->count; i++) {
                struct candidate *d = &r->disks.disk[i];
                int e;

                if (!rotate_disk_in_run(d))
                        continue;
                if (!r->has_target || !rotate_disk_has(d, &r->target)) {
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

/* Return: OUTCOME_DONE; OUTCOME_REFUSED where this TPM, as it is now, opens nothing. A staged
 * object that is damaged is given up for a new one. */
static int open_target(struct rotation *r) {
        struct refusal why = { 0 };
        int e;

        if (!r->has_target)
                return OUTCOME_DONE;
        e = context_kek(r->c, r->ret->kek, &r->target, &r->target_key, &why, r->err);
        if (e != OUTCOME_REFUSED)
                return e;
        if (why.kind != REFUSAL_OBJECT_DAMAGED && why.kind != REFUSAL_TOKEN_DAMAGED) {
                *r->why = why;
                return OUTCOME_REFUSED;
        }
        r->has_target = false;
        return OUTCOME_DONE;
}

/* --- effects --- */

static int write_record(struct rotation *r) {
        char folder[300];

        context_store(r->c, folder);
        return store_write(folder, r->record, r->err);
}

/* The version that the next one follows: one that opened, with a counter if there's such a one. */
static const struct candidate *predecessor(const struct rotation *r) {
        const struct candidate *found = NULL;

        for (size_t i = 0; i < r->ret->count; i++) {
                const struct candidate *d = &r->disks.disk[i];

                if (d->live && (!found || (!found->live->has_counter && d->live->has_counter)))
                        found = d;
        }
        return found;
}

static void raise_le(const struct kek *kek, uint64_t *ret) {
        const struct step *s = kek_counter(kek);

        if (s && s->nv.le > *ret)
                *ret = s->nv.le;
}

/* The highest value of the counter that any version allows that is known here. */
static uint64_t highest_le(const struct rotation *r) {
        uint64_t le = 0;

        if (r->record->has_current)
                raise_le(&r->record->current, &le);
        if (r->record->has_staged)
                raise_le(&r->record->staged, &le);
        for (size_t i = 0; i < r->ret->count; i++)
                for (unsigned k = 0; k < r->disks.disk[i].keks; k++)
                        raise_le(&r->disks.disk[i].kek[k], &le);
        return le;
}

/* What the KEK has now: as recorded, else as the first disk has it. */
static const struct kek *any_version(const struct rotation *r) {
        if (r->record->has_current)
                return &r->record->current;
        for (size_t i = 0; i < r->ret->count; i++)
                if (r->disks.disk[i].keks > 0)
                        return &r->disks.disk[i].kek[0];
        return NULL;
}

static int next_policy(const struct rotation *r, struct named_policy *ret) {
        if (r->args->policy) {
                *ret = *r->args->policy;
                return OUTCOME_DONE;
        }
        return kek_policy_next(r->c, r->record, any_version(r), ret, r->why, r->err);
}

static int seal(struct rotation *r) {
        const struct candidate *old = predecessor(r);
        struct named_policy policy;
        struct op_kek k = { .name = r->ret->kek,
                            .policy = &policy,
                            .before = old ? old->live : NULL,
                            .before_key = old ? old->live_key : NULL,
                            .le_seen = highest_le(r),
                            .states = r->args->states,
                            .states_count = r->args->states_count };
        int e = next_policy(r, &policy);

        if (e != OUTCOME_DONE ||
            (e = op_kek_make(r->c, &k, newest_version(r) + 1, r->why, r->err)) != OUTCOME_DONE)
                return e;
        r->target = k.kek;
        r->target_key = k.key;
        r->has_target = true;
        r->record->staged = k.kek;
        r->record->has_staged = true;
        (void) snprintf(r->record->policy, sizeof(r->record->policy), "%s", policy.name);
        time_text(r->record->staged_created);
        return write_record(r);
}

/* Until there's an archive, an old version that any disk still needs must not die. */
static bool all_have_target(const struct rotation *r) {
        for (size_t i = 0; i < r->ret->count; i++)
                if (!rotate_disk_in_run(&r->disks.disk[i]) || !r->disks.disk[i].proven)
                        return false;
        return true;
}

static int end_old(struct rotation *r) {
        int e;

        if (!all_have_target(r) || !r->target.has_counter)
                return OUTCOME_DONE;
        e = op_kek_revoke(r->c, &r->target, r->target_key, &r->ret->counter, r->why, r->err);
        context_release_tpm(r->c);
        return e;
}

static int publish(struct rotation *r) {
        char created[TIME_TEXT];

        time_text(created);
        r->record->current = r->target;
        (void) snprintf(r->record->current_created, TIME_TEXT, "%s",
                        r->record->has_staged ? r->record->staged_created : created);
        r->record->has_current = true;
        r->record->has_staged = false;
        return write_record(r);
}

static int on_disks(struct rotation *r, enum rotation_effect effect) {
        const struct rotate_target target = { &r->target, r->target_key };

        return rotate_disks_run(&r->disks, effect, &target, r->err);
}

static int perform(struct rotation *r, enum rotation_effect effect) {
        switch (effect) {
        case ROTATION_SEAL: return seal(r);
        case ROTATION_STAGE: return on_disks(r, effect);
        case ROTATION_PROVE: return on_disks(r, effect);
        case ROTATION_REVOKE: return end_old(r);
        case ROTATION_RETIRE: return on_disks(r, effect);
        case ROTATION_PUBLISH: return publish(r);
        case ROTATION_EFFECTS: break;
        }
        abort();
}

static bool is_per_disk(enum rotation_effect effect) {
        return effect == ROTATION_STAGE || effect == ROTATION_PROVE || effect == ROTATION_RETIRE;
}

static int run(struct rotation *r, enum rotation_state state) {
        do {
                enum rotation_effect effect = rotation_effect(state);
                bool needed = !is_per_disk(effect);
                int e;

                if (op_stop)
                        return error_set(r->err, -EINTR, "stopped by a signal");
                e = perform(r, effect);
                if (e < 0 || (needed && e != OUTCOME_DONE))
                        return e;
                if (effect == ROTATION_SEAL)
                        context_release_tpm(r->c);
                /* Every disk dropped out: the store keeps what is staged, the reports say why. */
                if (!needed && e == 0)
                        return OUTCOME_DONE;
                state = rotation_next(state, true);
        } while (state != ROTATION_IDLE);

        for (size_t i = 0; i < r->ret->count; i++)
                if (rotate_disk_in_run(&r->disks.disk[i])) {
                        r->ret->disks[i].what = ROTATED_DONE;
                        r->ret->disks[i].version = r->target.version;
                }
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

                refusal_detail(why, "%s: %s", d->known.name,
                               d->what == ROTATED_ABSENT ? "its device isn't there"
                               : d->refusal.kind         ? d->refusal.what
                                                         : d->error.text);
        }
        return false;
}

static double seconds_since(const struct timespec *start) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (double) (now.tv_sec - start->tv_sec) +
               (double) (now.tv_nsec - start->tv_nsec) / 1e9;
}

static int prepare(struct rotation *r, enum rotation_state *ret_state) {
        int e;

        if ((e = open_target(r)) != OUTCOME_DONE || (e = open_all_live(r)) != OUTCOME_DONE)
                return e;
        r->ret->resumed = r->has_target;
        *ret_state = where(r);
        r->ret->to = r->has_target ? r->target.version : newest_version(r) + 1;
        return OUTCOME_DONE;
}

int op_rotate(struct context *c, const struct op_rotate *args, struct op_rotated *ret,
              struct refusal *why, struct error *err) {
        _cleanup_(rotation_done) struct rotation r = {
                .c = c, .args = args, .ret = ret, .why = why, .err = err
        };
        const char *kek = args->kek;
        struct named_policy policy;
        enum rotation_state state;
        struct timespec start;
        int e;

        (void) clock_gettime(CLOCK_MONOTONIC, &start);
        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", kek);
        if ((!c->dry_run && (e = context_lock(c, err)) < 0) ||
            (e = rotate_disks_survey(c, kek, ret, &r.disks, err)) < 0 ||
            (e = context_record(c, kek, &r.record, err)) < 0)
                return e;
        if (!any_in_run(&r, why))
                return OUTCOME_REFUSED;
        ret->from = r.record->has_current ? r.record->current.version : newest_version(&r);
        if ((e = next_policy(&r, &policy)) != OUTCOME_DONE)
                return e;
        ret->policy = policy.policy;
        find_target(&r);
        if (c->dry_run) {
                ret->resumed = r.has_target;
                ret->to = r.has_target ? r.target.version : newest_version(&r) + 1;
                return OUTCOME_DONE;
        }

        if ((e = prepare(&r, &state)) == OUTCOME_DONE) {
                if (state != ROTATION_IDLE)
                        context_release_tpm(c);
                e = run(&r, state);
        }
        ret->seconds = seconds_since(&start);
        return e;
}
