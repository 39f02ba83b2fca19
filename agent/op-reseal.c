/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/audit.h"
#include "agent/kek-policy.h"
#include "agent/op.h"
#include "base/clock.h"

/* The state of the next boot, for a policy that can have it. */
static int next_state(struct context *c, const struct op_reseal *args, struct pcrs *ret,
                      struct refusal *why, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        struct named_policy policy;
        int r;

        if (args->policy)
                policy = *args->policy;
        else {
                r = context_record(c, args->kek, &record, err);
                if (r < 0)
                        return r;
                if (!record->has_current)
                        return refusal_set(why, REFUSAL_UNKNOWN_DISK,
                                           "no KEK named %s is known here", args->kek);
                r = kek_policy_next(c, record, &record->current, &policy, why, err);
                if (r != OUTCOME_DONE)
                        return r;
        }
        if (policy.policy.kind != POLICY_PREDICTED)
                return refusal_set(why, REFUSAL_NO_POLICY,
                                   "KEK %s has a %s policy: nothing of it is sealed to a next boot",
                                   args->kek, policy_kind_name(policy.policy.kind));
        *ret = (struct pcrs){ .bank = policy.policy.bank, .mask = policy.policy.pcr_mask };
        return op_predict(c, args->next, ret, why, err);
}

/* What the rotation before left unfinished is finished, and then it's done again: that one was
 * sealed to what was then. */
static int by_kek(struct context *c, const struct op_rotate *args, struct op_rotated *ret,
                  struct refusal *why, struct error *err) {
        int r = op_rotate(c, args, ret, why, err);

        if (r != OUTCOME_DONE || !ret->resumed || c->dry_run)
                return r;
        op_rotated_done(ret);
        return op_rotate(c, args, ret, why, err);
}

static void enroll_one(struct context *c, const struct op_reseal *args, struct op_rotated *all,
                       struct op_rotated_disk *d) {
        struct op_reenroll one = { .disk = { d->known.name, NULL },
                                   .owner = args->owner,
                                   .policy = args->policy,
                                   .all_disks = true };
        struct op_reenrolled done = { 0 };
        struct error unlogged = { 0 };
        int r;

        if (access(d->known.device, F_OK) < 0) {
                d->what = ROTATED_ABSENT;
                return;
        }
        r = op_reenroll(c, &one, &done, &d->refusal, &d->error);
        /* It stands in a report, and isn't what the verb ends with. */
        if (r == OUTCOME_REFUSED &&
            audit_refusal(c, "enroll", d->known.name, &d->refusal, &unlogged) < 0)
                refusal_detail(&d->refusal, "it isn't in the audit log: %.150s", unlogged.text);
        d->what = r != OUTCOME_DONE ? ROTATED_FAILED : c->dry_run ? ROTATED_PENDING : ROTATED_DONE;
        if (d->what != ROTATED_DONE)
                return;
        d->version = all->to = done.version;
        all->policy = done.policy;
        all->second_factor = done.second_factor;
}

/* What the disks came to. Nothing was retired: a new version has a counter of its own. */
static void end_by_owner(struct op_rotated *r) {
        r->end = ROTATED_STUCK;
        for (size_t i = 0; i < r->count; i++)
                if (r->disks[i].what == ROTATED_DONE || r->disks[i].what == ROTATED_PENDING)
                        r->end = ROTATED_RETIRED;
        r->slot = r->end == ROTATED_RETIRED;
        if (r->slot && r->from && r->to != r->from)
                (void) snprintf(r->kept, sizeof(r->kept),
                                "a key of the owner's, not the TPM, replaced it");
}

/* With a key of the owner each disk is enrolled anew: whatever the TPM says of the old version. */
static int by_owner(struct context *c, const struct op_reseal *args, struct op_rotated *ret,
                    struct refusal *why, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        _cleanup_(freep) struct kek_record *record = NULL;
        double begun = clock_seconds();
        int r = state_read(c->state_dir, &s, err);

        if (r < 0 || (r = context_record(c, args->kek, &record, err)) < 0)
                return r;
        if (record->has_current) {
                ret->from = ret->to = record->current.version;
                (void) policy_of_steps(&record->current.steps, &ret->policy);
                ret->second_factor = record->current.factor.kind != FACTOR_NONE;
        }
        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", args->kek);
        ret->disks = calloc(s.count + 1, sizeof(*ret->disks));
        if (!ret->disks)
                return error_nomem(err);
        for (size_t i = 0; i < s.count; i++)
                if (strcmp(s.disks[i].kek, args->kek) == 0)
                        ret->disks[ret->count++].known = s.disks[i];
        if (ret->count == 0)
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "no disk here has a KEK named %s",
                                   args->kek);
        for (size_t i = 0; i < ret->count; i++)
                enroll_one(c, args, ret, &ret->disks[i]);
        end_by_owner(ret);
        ret->seconds = clock_seconds() - begun;
        return OUTCOME_DONE;
}

/* Another policy for a KEK that opens is a rotation, and no disk is enrolled anew for it. */
static int opens(struct context *c, const char *kek, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        struct refusal ignored = { 0 };
        struct secret *key;
        int r = context_record(c, kek, &record, err);

        if (r < 0 || !record->has_current)
                return r < 0 ? r : false;
        r = context_kek_own(c, kek, &record->current, &key, &ignored, err);
        context_release_tpm(c);
        return r < 0 ? r : r == OUTCOME_DONE;
}

int op_reseal(struct context *c, const struct op_reseal *args, struct op_rotated *ret,
              struct refusal *why, struct error *err) {
        struct op_rotate rotate = { .kek = args->kek, .policy = args->policy };
        bool by_tpm = !args->owner;
        struct audit_event e;
        struct pcrs next;
        int r;

        if (args->next) {
                r = next_state(c, args, &next, why, err);
                context_release_tpm(c);
                if (r != OUTCOME_DONE)
                        return r;
                rotate.states_count = 1;
        }
        rotate.states = &next; /* none of those that it has */
        if (!c->dry_run && (r = context_lock(c, err)) < 0)
                return r;
        if (args->owner && args->policy && (r = opens(c, args->kek, err)) != 0) {
                if (r < 0)
                        return r;
                by_tpm = true;
        }
        e = (struct audit_event){ .event = "policy-reseal",
                                  .subject = args->kek,
                                  .result = "begin",
                                  .fact = { { "by", by_tpm ? "tpm" : "owner", 0 } } };
        if (args->policy)
                e.fact[1] = (struct audit_fact){ "policy", args->policy->name, 0 };
        r = audit(c, &e, err);
        if (r < 0)
                return r;
        r = by_tpm ? by_kek(c, &rotate, ret, why, err) : by_owner(c, args, ret, why, err);
        /* What this boot was sealed to says nothing of other PCRs: the owner does. */
        if (by_tpm && args->owner && r == OUTCOME_REFUSED && why->kind == REFUSAL_LATCHED) {
                op_rotated_done(ret);
                *why = (struct refusal){ 0 };
                r = by_owner(c, args, ret, why, err);
        }
        return audit_result(c, e, r, err);
}
