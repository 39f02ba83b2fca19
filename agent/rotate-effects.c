/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/audit.h"
#include "agent/handover.h"
#include "agent/mirror.h"
#include "agent/rotate-run.h"
#include "tpm/nv.h"

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

/* Once for each version, and never for what the archive has under the target. */
static int archive_one(struct rotation *r, const struct kek *old) {
        const struct archive_key new = { &r->target, r->target_key };
        struct archive_key opened = { .kek = old };
        size_t at;
        int e;

        if (kek_equal(old, &r->target))
                return OUTCOME_DONE;
        e = archive_find(r->record, old, &at, r->err);
        if (e < 0)
                return e;
        if (e > 0 && archive_wrapped_by(&r->record->retired[at], r->target.version))
                return OUTCOME_DONE;
        e = context_kek(r->c, r->ret->kek, old, &opened.key, r->why, r->err);
        return e == OUTCOME_DONE ? archive_retire(r->c, r->record, &opened, &new, r->why, r->err)
                                 : e;
}

/* Of one disk: what it was opened with, where it had to be; else all that stands on it. */
static int archive_disk(struct rotation *r, const struct candidate *d) {
        int e = OUTCOME_DONE;

        if (d->live)
                return archive_one(r, d->live);
        for (unsigned i = 0; e == OUTCOME_DONE && i < d->keks; i++)
                e = archive_one(r, &d->kek[i]);
        return e;
}

/* Also what the store has as current: a disk that is away may have that. */
static int archive_old(struct rotation *r) {
        _cleanup_(freep) struct kek *current = calloc(1, sizeof(*current));
        int e = OUTCOME_DONE;

        if (!current)
                return error_nomem(r->err);
        if (r->record->has_current) {
                *current = r->record->current;
                e = archive_one(r, current);
        }
        for (size_t i = 0; e == OUTCOME_DONE && i < r->disks.count; i++) {
                e = archive_disk(r, &r->disks.disk[i]);
                /* What opens no more can't be archived, and stops none of the other disks. */
                if (e == OUTCOME_REFUSED && !rotate_disk_in_run(&r->disks.disk[i])) {
                        *r->why = (struct refusal){ 0 };
                        e = OUTCOME_DONE;
                }
        }
        context_release_tpm(r->c);
        return e;
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
        r->target = k.kek;
        r->target_key = k.key;
        r->has_target = true;
        r->anew = r->is_current = false;
        if (k.waits) {
                r->held = true;
                (void) snprintf(r->ret->kept, sizeof(r->ret->kept),
                                "the latch forbids to unseal now");
        }
        e = archive_stage(r->c, r->record,
                          &(struct archive_staging){ .new = { &r->target, r->target_key },
                                                     .policy = policy.name,
                                                     .slot = r->args->slot },
                          r->why, r->err);
        /* The boot that proves it has the key of the new version alone. */
        if (e == OUTCOME_DONE && (r->held || r->args->mode == ROTATE_STAGE))
                e = archive_old(r);
        context_release_tpm(r->c);
        return e;
}

/* --- revoke --- */

static bool is_archived(const struct kek_record *record, uint32_t version) {
        for (size_t i = 0; i < record->retired_count; i++)
                if (record->retired[i].version == version)
                        return true;
        return false;
}

/* Whether a disk that has this version opens once the counter is advanced. */
static bool outlives(const struct rotation *r, uint32_t version) {
        return version >= r->target.version || is_archived(r->record, version);
}

static _printf_(2, 3) bool keep(struct rotation *r, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(r->ret->kept, sizeof(r->ret->kept), fmt, ap);
        va_end(ap);
        return false;
}

/* A disk that keeps an old version opens by the archive: but one that is left out by request shall
 * open as it did; of one that was never seen by a rotation nobody knows what it has; and an OS disk
 * that is put back from its own snapshot brings an old archive with it. */
static bool may_revoke(struct rotation *r) {
        char folder[MIRROR_PATH];
        bool mirror = mirror_folder(r->c, folder);

        if (!r->target.has_counter)
                return keep(r, "it has no counter in the TPM");
        for (size_t i = 0; i < r->disks.count; i++) {
                const struct candidate *d = &r->disks.disk[i];
                const struct state_disk *known = &d->report->known;

                if (d->report->what == ROTATED_LEFT)
                        return keep(r, "%s was left out", known->name);
                /* What has ended can't be kept, and keeps nothing. */
                if (d->report->refusal.kind == REFUSAL_RETIRED)
                        continue;
                if (!outlives(r, d->keks > 0 ? d->kek[0].version : known->version))
                        return keep(r,
                                    "%s may have a version that isn't in the archive: rotate again "
                                    "when it's here",
                                    known->name);
                if (!mirror && rotate_disk_in_run(d) && !d->other_way &&
                    strcmp(known->role, ROLE_OS) == 0)
                        return keep(r,
                                    "%s has neither recovery nor escrow, and there's no mirror of "
                                    "the archive: see Mirror= in diskseal-rotation(7)",
                                    known->name);
        }
        return true;
}

static bool replaces(const struct rotation *r, const struct kek *kek) {
        return kek->version < r->target.version && strcmp(kek->name, r->target.name) == 0;
}

/* What the boot handed over opens the disks until the next one, so the new version has to be there
 * before they have it alone. It could be that no boot did. What wants a second factor now goes on
 * wanting it. */
static void hand_over_new(struct rotation *r) {
        struct pcrs booted = { 0 };
        struct error err = { 0 };
        int there = 0, e = 0;

        for (size_t i = 0; i < r->disks.count; i++)
                for (unsigned k = 0; k < r->disks.disk[i].keks && there == 0; k++) {
                        const struct kek *kek = &r->disks.disk[i].kek[k];

                        if (replaces(r, kek) && kek->factor.kind == r->target.factor.kind)
                                there = handover_get_pcrs(kek, &booted, &err);
                }
        if (there > 0)
                e = handover_put(&r->target, r->target_key,
                                 booted.mask && booted.bank == r->target.sealed.pcrs.bank ? &booted
                                                                                          : NULL,
                                 &err);
        if (there < 0 || e < 0)
                (void) snprintf(r->c->note, sizeof(r->c->note), "%.200s", err.text);
}

static void take_back_old(const struct rotation *r) {
        for (size_t i = 0; i < r->disks.count; i++)
                for (unsigned k = 0; k < r->disks.disk[i].keks; k++)
                        if (replaces(r, &r->disks.disk[i].kek[k]))
                                handover_drop(&r->disks.disk[i].kek[k]);
}

static int end_old(struct rotation *r) {
        int e;

        hand_over_new(r);
        if (!may_revoke(r))
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

/* What each disk was last seen with, for when it's away: before the archive is tidied by it. */
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
        const struct archive_key new = { &r->target, r->target_key };
        int e = remember(r);

        if (e < 0)
                return e;
        e = archive_settle(r->c, r->record, &new, r->why, r->err);
        context_release_tpm(r->c);
        if (e == OUTCOME_DONE)
                take_back_old(r);
        r->ret->archived = is_archived(r->record, r->ret->from);
        return e;
}

/* A disk that a rotation of the keyslot was begun on goes on with that. */
static int on_disks(struct rotation *r, enum rotation_effect effect, bool *ret_some) {
        const struct rotate_target target = { &r->target, r->target_key };
        int e;

        for (size_t i = 0; effect == ROTATION_STAGE && i < r->disks.count; i++)
                if (!rotate_disk_has(&r->disks.disk[i], &r->target))
                        r->disks.disk[i].slot |= r->args->slot || r->record->staged_slot;
        for (size_t i = 0; i < r->disks.count; i++)
                r->ret->slot |= rotate_disk_in_run(&r->disks.disk[i]) && r->disks.disk[i].slot;
        e = rotate_disks_run(&r->disks, effect, &target, r->err);
        *ret_some = e > 0;
        return e < 0 ? e : OUTCOME_DONE;
}

/* What changes a disk or the TPM is announced before; the archive's part belongs to what follows
 * it.
 */
static int announce(const struct rotation *r, enum rotation_effect effect) {
        const struct audit_event e = { .event = "rotate",
                                       .subject = r->ret->kek,
                                       .result = rotation_effect_name(effect),
                                       .fact = { { "from", NULL, r->ret->from },
                                                 { "to", NULL, r->ret->to },
                                                 { "disks", NULL, r->disks.count } } };

        switch (effect) {
        case ROTATION_SEAL:
        case ROTATION_STAGE:
        case ROTATION_REVOKE:
        case ROTATION_RETIRE:
        case ROTATION_UNSTAGE: return audit(r->c, &e, r->err);
        default: return 0;
        }
}

int rotation_perform(struct rotation *r, enum rotation_effect effect, bool *ret_some) {
        int e = announce(r, effect);

        if (e < 0)
                return e;
        r->effect = effect;
        *ret_some = true;
        switch (effect) {
        case ROTATION_SEAL: return seal(r);
        case ROTATION_STAGE:
        case ROTATION_PROVE:
        case ROTATION_RETIRE:
        case ROTATION_UNSTAGE: return on_disks(r, effect, ret_some);
        case ROTATION_ARCHIVE: return archive_old(r);
        case ROTATION_REVOKE: return end_old(r);
        case ROTATION_SETTLE: return settle(r);
        case ROTATION_UNRECORD: return archive_unstage(r->c, r->record, r->why, r->err);
        case ROTATION_END:
        case ROTATION_REFUSE:
        case ROTATION_EFFECTS: break;
        }
        abort();
}
