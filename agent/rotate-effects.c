/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rotate-run.h"
#include "tpm/nv.h"

static int write_record(struct rotation *r) {
        char folder[300];

        context_store(r->c, folder);
        return store_write(folder, r->record, r->err);
}

/* --- seal --- */

/* The version that the next one follows: one that opened, with a counter if there's such a one. */
static const struct candidate *predecessor(const struct rotation *r) {
        const struct candidate *found = NULL;

        for (size_t i = 0; i < r->disks.count; i++) {
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

/* The highest value of the counter that any version allows that is known here: also one that was
 * given up, since only a counter beyond that ends it. */
static uint64_t highest_le(const struct rotation *r) {
        uint64_t le = r->record->given_up_le;

        if (r->record->has_current)
                raise_le(&r->record->current, &le);
        if (r->record->has_staged)
                raise_le(&r->record->staged, &le);
        for (size_t i = 0; i < r->disks.count; i++)
                for (unsigned k = 0; k < r->disks.disk[i].keks; k++)
                        raise_le(&r->disks.disk[i].kek[k], &le);
        return le;
}

static void give_up(struct kek_record *record, const struct kek *kek) {
        if (kek->version > record->given_up)
                record->given_up = kek->version;
        raise_le(kek, &record->given_up_le);
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
                            .states_count = r->args->states_count,
                            .may_wait = true };
        int e = rotation_policy(r, &policy);

        if (e != OUTCOME_DONE ||
            (e = op_kek_make(r->c, &k, rotation_newest(r) + 1, r->why, r->err)) != OUTCOME_DONE)
                return e;
        if (r->anew)
                give_up(r->record, &r->target);
        r->target = k.kek;
        r->target_key = k.key;
        r->has_target = true;
        r->anew = r->is_current = false;
        if (k.waits) {
                r->held = true;
                (void) snprintf(r->ret->held, sizeof(r->ret->held),
                                "the latch forbids to unseal now");
        }
        r->record->staged = k.kek;
        r->record->has_staged = true;
        (void) snprintf(r->record->policy, sizeof(r->record->policy), "%s", policy.name);
        time_text(r->record->staged_created);
        e = write_record(r);
        context_release_tpm(r->c);
        return e;
}

/* --- revoke --- */

static bool all_have_target(const struct rotation *r) {
        for (size_t i = 0; i < r->disks.count; i++)
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

int rotation_is_revoked(struct rotation *r) {
        const struct step *s = kek_counter(&r->target);
        struct tpm_counter counter = { 0 };
        int e;

        if (r->is_current)
                return 1;
        if (!s)
                return 0;
        counter.index = s->nv.index;
        memcpy(counter.name, s->nv.name, sizeof(counter.name));
        if ((e = context_tpm(r->c, r->err)) < 0 ||
            (e = tpm_counter_read(r->c->tpm, &counter, r->err)) < 0)
                return e;
        context_release_tpm(r->c);
        return e != TPM_COUNTER_GOOD || counter.value >= s->nv.le;
}

/* --- the ends --- */

/* What each disk was last seen with, for when it's away. */
static int remember(struct rotation *r) {
        _cleanup_(state_done) struct state s = { 0 };
        int e = state_read(r->c->state_dir, &s, r->err);

        if (e < 0)
                return e;
        for (size_t i = 0; i < r->disks.count; i++) {
                const struct candidate *d = &r->disks.disk[i];
                struct state_disk *known = state_by_uuid(&s, d->report->known.uuid);

                if (!known || !rotate_disk_in_run(d))
                        continue;
                known->version = r->target.version;
                time_text(known->seen);
        }
        return state_write(r->c->state_dir, &s, r->err);
}

static int settle(struct rotation *r) {
        char created[TIME_TEXT];
        int e;

        if (!r->is_current) {
                time_text(created);
                r->record->current = r->target;
                (void) snprintf(r->record->current_created, TIME_TEXT, "%s",
                                r->record->has_staged ? r->record->staged_created : created);
                r->record->has_current = true;
                r->record->has_staged = false;
                e = write_record(r);
                if (e < 0)
                        return e;
        }
        return remember(r);
}

static int unrecord(struct rotation *r) {
        give_up(r->record, &r->target);
        r->record->has_staged = false;
        return write_record(r);
}

static int on_disks(struct rotation *r, enum rotation_effect effect, bool *ret_some) {
        const struct rotate_target target = { &r->target, r->target_key };
        int e = rotate_disks_run(&r->disks, effect, &target, r->err);

        *ret_some = e > 0;
        return e < 0 ? e : OUTCOME_DONE;
}

int rotation_perform(struct rotation *r, enum rotation_effect effect, bool *ret_some) {
        *ret_some = true;
        switch (effect) {
        case ROTATION_SEAL: return seal(r);
        case ROTATION_STAGE:
        case ROTATION_PROVE:
        case ROTATION_RETIRE:
        case ROTATION_UNSTAGE: return on_disks(r, effect, ret_some);
        case ROTATION_ARCHIVE: return OUTCOME_DONE;
        case ROTATION_REVOKE: return end_old(r);
        case ROTATION_SETTLE: return settle(r);
        case ROTATION_UNRECORD: return unrecord(r);
        case ROTATION_END:
        case ROTATION_REFUSE:
        case ROTATION_EFFECTS: break;
        }
        abort();
}
