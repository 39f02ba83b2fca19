/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/audit.h"
#include "agent/change.h"
#include "agent/kek-policy.h"
#include "agent/op.h"
#include "agent/others.h"

struct work {
        struct change w;
        const struct op_reenroll *args;
        struct op_reenrolled *ret;
        struct op_kek kek;
};

static void work_done(struct work *k) {
        change_done(&k->w);
}

static uint32_t newer(uint32_t version, uint32_t than) {
        return version > than ? version : than;
}

/* A version above all that this disk and this machine know, in the place of one that this TPM
 * doesn't open: other disks that have that one stay with it until they are enrolled, too. */
static int replace_kek(struct work *k) {
        _cleanup_(freep) struct kek_record *record = NULL;
        const struct token *t = k->w.disk.token;
        struct named_policy policy;
        uint32_t version;
        int r = context_record(k->w.c, k->kek.name, &record, k->w.err);

        if (r < 0)
                return r;
        if (!k->kek.policy) {
                r = kek_policy_next(k->w.c, record, &t->entry[0].kek, &policy, k->w.why, k->w.err);
                if (r != OUTCOME_DONE)
                        return r;
        } else
                policy = *k->kek.policy;
        version = archive_newest(record);
        for (unsigned i = 0; i < t->entries; i++)
                if (strcmp(t->entry[i].kek.name, k->kek.name) == 0)
                        version = newer(version, t->entry[i].kek.version);
        if (version == KEK_VERSION_MAX)
                return error_set(k->w.err, -EOVERFLOW, "KEK %s has no versions left", k->kek.name);
        k->kek.policy = &policy;
        r = op_kek_new(k->w.c, &k->kek, version + 1, k->w.why, k->w.err);
        k->kek.policy = NULL;
        return r;
}

/* The KEK as this TPM opens it now, else a new version of it: the owner's key was shown before. */
static int open_kek(struct work *k) {
        static const enum refusal_kind final[] = { REFUSAL_TPM_LOCKOUT,   REFUSAL_POLICY_DIFFERS,
                                                   REFUSAL_UNMEASURED,    REFUSAL_NO_POLICY,
                                                   REFUSAL_SECOND_FACTOR, REFUSAL_EK };
        const struct kek *old = &k->w.disk.token->entry[0].kek;
        struct refusal why = { 0 };
        int r;

        k->kek = (struct op_kek){
                .name = old->name, .policy = k->args->policy, .may_wait = true, .by_owner = true
        };
        r = op_kek_current(k->w.c, &k->kek, &why, k->w.err);
        for (size_t i = 0; i < ARRAY_SIZE(final); i++)
                if (r == OUTCOME_REFUSED && why.kind == final[i] &&
                    !(k->args->all_disks && why.kind == REFUSAL_POLICY_DIFFERS)) {
                        *k->w.why = why;
                        context_release_tpm(k->w.c);
                        return r;
                }
        if (r == OUTCOME_REFUSED)
                r = replace_kek(k);
        context_release_tpm(k->w.c);
        return r;
}

/* A token is a claim: the slot that the owner just used isn't ours, whatever it says. */
static int drop_token(struct work *k, unsigned id) {
        const struct luks *now = luks_edit_result(k->w.edit);
        _cleanup_(token_freep) struct token *t = NULL;
        int r = token_parse(luks_token(now, id), &t, k->w.err);

        if (r < 0)
                return r;
        if (disk_token_bound(now, id) && t->slot != k->ret->owner_slot && t->slot != k->ret->slot &&
            (luks_facts(now)->slots & (1u << t->slot))) {
                r = luks_slot_remove(k->w.edit, t->slot, k->w.err);
                if (r < 0)
                        return r;
                k->ret->old_slot = t->slot;
        }
        return luks_token_remove(k->w.edit, id, k->w.err);
}

/* What the new one replaces, and what a run that was cut off here left. */
static int drop_old(struct work *k) {
        uint32_t old = k->w.disk.stale | 1u << k->w.disk.token_id;
        int r = 0;

        k->ret->old_slot = LUKS_SLOTS_MAX;
        for (unsigned id = 0; r == 0 && id < LUKS_TOKENS_MAX; id++)
                if (old & (1u << id))
                        r = drop_token(k, id);
        return r;
}

static int record(struct work *k) {
        _cleanup_(state_done) struct state s = { 0 };
        struct luks *now = luks_edit_result(k->w.edit);
        struct state_disk d = k->w.target.known;
        int r = state_read(k->w.c->state_dir, &s, k->w.err);

        if (r < 0)
                return r;
        (void) snprintf(d.name, sizeof(d.name), "%s", k->ret->name);
        (void) snprintf(d.uuid, sizeof(d.uuid), "%s", k->ret->uuid);
        (void) snprintf(d.role, sizeof(d.role), "%s", k->ret->role);
        (void) snprintf(d.kek, sizeof(d.kek), "%s", k->ret->kek);
        d.version = k->ret->version;
        time_text(d.seen);
        state_place(&d, &(struct luks_source){ k->w.target.device, k->w.target.header });
        d.size = luks_facts(now)->device_size;
        d.proven |= 1u << k->ret->owner_slot;
        if ((r = disk_slot_hash(now, k->ret->owner_slot, d.proven_hash[k->ret->owner_slot],
                                k->w.err)) < 0 ||
            (r = disk_remember_header(now, k->ret->slot, k->w.c->state_dir, k->w.err)) < 0 ||
            (r = state_put(&s, &d, k->w.err)) < 0 ||
            (r = state_write(k->w.c->state_dir, &s, k->w.err)) < 0)
                return error_prefix(k->w.err, "the disk is enrolled and opens, but isn't recorded");
        return others_refresh_all(k->w.c, k->w.err);
}

static int write_all(struct work *k) {
        const struct token *t = k->w.disk.token;
        struct enrolment what = { .name = t->name,
                                  .role = t->role,
                                  .kek = &k->kek.kek,
                                  .kek_key = k->kek.key,
                                  .volume_key = k->w.volume_key,
                                  .epoch = t->epoch + 1,
                                  .state_dir = k->w.c->state_dir };
        int r = change_edit(&k->w);

        if (r == OUTCOME_DONE && k->w.disk.pending)
                r = disk_clean_pending(k->w.edit, &k->w.disk, k->kek.key, k->w.err);
        if (r == OUTCOME_DONE)
                r = disk_enroll(k->w.edit, &what, &k->ret->slot, k->w.why, k->w.err);
        if (r != OUTCOME_DONE)
                return r;
        (void) snprintf(k->ret->kek, sizeof(k->ret->kek), "%s", k->kek.kek.name);
        k->ret->version = k->kek.kek.version;
        k->ret->kek_is_new = k->kek.is_new;
        k->ret->waits = k->kek.waits;
        (void) policy_of_steps(&k->kek.kek.steps, &k->ret->policy);
        k->ret->second_factor = k->kek.kek.factor.kind != FACTOR_NONE;
        r = drop_old(k);
        return r < 0 ? r : record(k);
}

/* A name that another disk here has can't be had twice. */
static int check_name(const struct work *k) {
        _cleanup_(state_done) struct state s = { 0 };
        const struct state_disk *other;
        int r = state_read(k->w.c->state_dir, &s, k->w.err);

        if (r < 0)
                return r;
        other = state_by_name(&s, k->ret->name);
        if (!other || strcmp(other->uuid, k->ret->uuid) == 0)
                return OUTCOME_DONE;
        return refusal_set(k->w.why, REFUSAL_NAME_TAKEN, "another disk here is named %s: %s",
                           k->ret->name, other->device);
}

int op_reenroll(struct context *c, const struct op_reenroll *args, struct op_reenrolled *ret,
                struct refusal *why, struct error *err) {
        _cleanup_(work_done) struct work k = { .w = { .c = c, .why = why, .err = err },
                                               .args = args,
                                               .ret = ret };
        struct change *w = &k.w;
        struct owner_way way = { 0 };
        struct audit_event e;
        int r = change_find(w, args->disk.what, args->disk.header);

        if (r != OUTCOME_DONE)
                return r;
        (void) snprintf(ret->name, sizeof(ret->name), "%s", w->disk.token->name);
        (void) snprintf(ret->role, sizeof(ret->role), "%s", w->disk.token->role);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", luks_facts(w->disk.luks)->uuid);
        if ((r = check_name(&k)) != OUTCOME_DONE ||
            (r = way_by_owner(&w->disk, args->owner, &way, why, err)) != OUTCOME_DONE)
                return r;
        w->volume_key = way.volume_key;
        ret->owner_slot = way.slot;
        r = way_check_pin(&w->disk, w->volume_key, why, err);
        if (r != OUTCOME_DONE || c->dry_run)
                return r;
        r = open_kek(&k);
        if (r != OUTCOME_DONE)
                return r;
        e = (struct audit_event){ .event = "enroll",
                                  .subject = ret->name,
                                  .result = "begin",
                                  .fact = { { "kek", k.kek.kek.name, 0 },
                                            { "version", NULL, k.kek.kek.version },
                                            { "by", "owner", 0 },
                                            { "slot", NULL, ret->owner_slot } } };
        r = audit(c, &e, err);
        return r < 0 ? r : audit_result(c, e, write_all(&k), err);
}
