/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/audit.h"
#include "agent/disk.h"
#include "agent/ek.h"
#include "agent/handover.h"
#include "agent/kek-policy.h"
#include "agent/machine.h"
#include "agent/op.h"
#include "base/crypto.h"
#include "base/p256.h"
#include "tpm/nv.h"

volatile sig_atomic_t op_stop;

/* Without a record, the KEK of a disk that is known to have it. Return: OUTCOME_DONE; -ENOENT. */
static int from_known_disks(struct context *c, const char *name, struct kek *ret,
                            struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        int r = state_read(c->state_dir, &s, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < s.count; i++) {
                _cleanup_(disk_done) struct disk d = DISK_INIT;
                struct refusal ignored_why;
                struct error ignored = { 0 };
                struct luks_source from = state_source(&s.disks[i]);

                if (strcmp(s.disks[i].kek, name) != 0 ||
                    disk_load_enrolled(&from, &d, &ignored_why, &ignored) != OUTCOME_DONE ||
                    strcmp(d.token->entry[0].kek.name, name) != 0)
                        continue;
                /* The older of two: the newer may be a rotation that wasn't proven. */
                *ret = d.token->entry[d.token->entries - 1].kek;
                return OUTCOME_DONE;
        }
        return error_set(err, -ENOENT, "no KEK named %s is known here", name);
}

/* The parent that it really has, not the one that a TPM showed before or after. */
int op_kek_check_tpm(struct context *c, const struct kek *kek, struct refusal *why,
                     struct error *err) {
        char subject[NAME_MAX_SIZE + 4];

        (void) snprintf(subject, sizeof(subject), "KEK %s", kek->name);
        return ek_check(c, subject, &kek->sealed.srk, NULL, why, err);
}

static uint32_t counter_base(const struct context *c) {
        return c->counter_index ? c->counter_index : TPM_COUNTER_BASE;
}

/* A version that is being made. */
struct making {
        uint32_t version;
        struct secret *key; /* of the KEK */
        struct policy_counter counter;
        struct secret *counter_key;
        bool has_new_counter; /* or part of one: no version before has it */
};

static void making_done(struct making *m) {
        m->key = secret_free(m->key);
        m->counter_key = secret_free(m->counter_key);
}

/* The version wasn't recorded, so nothing that's kept depends on the counter that was made for it,
 * and a TPM has few places for them. What it doesn't remove now, or a power cut leaves, stays: its
 * key is lost then, so nobody can tell it from the counter of a disk that is away, and whoever has
 * it undefined may end that. */
static void drop_counter(struct context *c, const struct making *m) {
        struct error ignored = { 0 };

        if (m->has_new_counter && c->tpm)
                (void) !tpm_counter_remove(c->tpm, counter_base(c), m->counter_key, &ignored);
}

/* The counter of the version before goes on. Return: 1; 0 where there's none, or the TPM lost it;
 * or a fault. */
static int continue_counter(struct context *c, const struct op_kek *k, struct making *m,
                            struct error *err) {
        const struct step *old =
                k->before && k->before->has_counter ? kek_counter(k->before) : NULL;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct tpm_counter counter = { 0 };
        int r;

        if (!old)
                return 0;
        counter.index = old->nv.index;
        memcpy(counter.name, old->nv.name, sizeof(counter.name));
        r = kek_counter_key(k->before, k->before_key, &key, err);
        if (r == CRYPTO_FORGED)
                return 0;
        if (r == 0)
                r = tpm_counter_read(c->tpm, &counter, err);
        if (r != TPM_COUNTER_GOOD)
                return r < 0 ? r : 0;
        m->counter = (struct policy_counter){
                .index = counter.index,
                .le = (counter.value > k->le_seen ? counter.value : k->le_seen) + 1
        };
        memcpy(m->counter.name, counter.name, sizeof(m->counter.name));
        m->counter_key = TAKE(key);
        return 1;
}

/* A new one; after an error, too, to be removed again if @m says so. */
static int make_counter(struct context *c, struct making *m, struct error *err) {
        struct tpm_counter counter = { 0 };
        int r = p256_make(&m->counter_key, err);

        if (r < 0)
                return r;
        m->has_new_counter = true;
        r = tpm_counter_make(c->tpm, counter_base(c), m->counter_key, &counter, err);
        if (r < 0)
                return r;
        if (r != TPM_COUNTER_GOOD)
                return error_set(err, -EIO, "the TPM doesn't keep a counter");
        m->counter = (struct policy_counter){ .index = counter.index, .le = counter.value };
        memcpy(m->counter.name, counter.name, sizeof(m->counter.name));
        return 0;
}

/* Return: OUTCOME_DONE; KEK_REFUSED, which a TPM without a new counter can tell already; or a
 * fault. */
static int prepare_counter(struct context *c, const struct op_kek *k, const struct kek_request *q,
                           struct making *m, struct kek_refusal *why, struct error *err) {
        int r = continue_counter(c, k, m, err);

        if (r != 0)
                return r < 0 ? r : OUTCOME_DONE;
        r = kek_check_request(c->tpm, q, why, err);
        return r != KEK_OPEN ? r : make_counter(c, m, err);
}

/* The states that the version before opens in, where they are states of the same PCRs: all of them
 * for a rotation, none where the list is begun anew; and where a next boot is predicted those that
 * were predicted in this one, since two kernels may be installed before it ends. */
static int keep_states(struct context *c, const struct op_kek *k, const struct steps **ret,
                       struct error *err) {
        const struct kek *before = k->before;
        struct policy old;
        struct pcrs now;
        int r;

        if (!before || !policy_of_steps(&before->steps, &old) ||
            !policy_same(&old, &k->policy->policy) || old.kind != POLICY_PREDICTED ||
            (k->states && k->states_count == 0))
                return 0;
        if (k->states) {
                r = tpm_pcr_read(c->tpm, before->sealed.pcrs.bank, before->sealed.pcrs.mask, &now,
                                 err);
                if (r < 0 || !pcrs_equal(&now, &before->sealed.pcrs))
                        return r;
        }
        *ret = &before->steps;
        return 0;
}

/* What the policy wants beside PCRs, and the counter; then the version itself. */
static int create(struct context *c, struct op_kek *k, struct making *m, struct refusal *why,
                  struct error *err) {
        const struct named_policy *p = k->policy;
        struct signature signature;
        struct kek_refusal reason = { 0 };
        struct factor factor = { 0 };
        struct kek_request q = { .name = k->name,
                                 .version = m->version,
                                 .policy = &p->policy,
                                 .allow_unmeasured = p->allow_unmeasured,
                                 .states = k->states,
                                 .states_count = k->states_count,
                                 .factor = &factor };
        int r;

        if ((r = kek_policy_new_factor(c, p, k->name, &q.factor_input, why, err)) != OUTCOME_DONE ||
            (r = factor_new(factor_source_kind(&p->factor), NULL, &factor, err)) < 0)
                return r;
        if ((r = context_tpm(c, err)) < 0 || (r = keep_states(c, k, &q.keep, err)) < 0 ||
            (r = machine_signature(c, p->signature_file, &p->policy, &signature, err)) < 0)
                return r;
        q.signature = r > 0 ? &signature : NULL;
        r = prepare_counter(c, k, &q, m, &reason, err);
        if (r == OUTCOME_DONE) {
                q.counter = &m->counter;
                q.counter_key = m->counter_key;
                r = kek_create(c->tpm, &q, &k->kek, &m->key, &reason, err);
        }
        return r > 0 ? refuse_kek(why, k->name, &k->kek, r, &reason) : r;
}

/* What a literal or a predicted policy takes for the state of a boot is what was there when the
 * disk was opened, not what the running system made of it since: as the boot handed it over, or as
 * it's known of the version that it opened. */
static int is_booted_state(const struct op_kek *k, struct error *err) {
        const struct pcrs *now = &k->kek.sealed.pcrs;
        const struct kek *before = k->before;
        struct pcrs booted = { 0 };
        struct policy policy;
        int r;

        if (!policy_of_steps(&k->kek.steps, &policy))
                return error_set(err, -EBADMSG, "KEK %s v%u has steps of no policy", k->name,
                                 k->kek.version);
        if (policy.kind == POLICY_SIGNED)
                return 1;
        r = handover_get_pcrs(before, &booted, err);
        if (r < 0)
                return r;
        if (r > 0 && booted.bank == now->bank && (booted.mask & now->mask) == now->mask) {
                booted.mask = now->mask;
                return pcrs_equal(&booted, now);
        }
        if (policy.kind == POLICY_PREDICTED)
                return policy_has_alternative(&before->steps, now, err);
        return pcrs_equal(&before->sealed.pcrs, now);
}

/* The latch is shut: the next boot has to show that the TPM gives it back. */
static int let_wait(struct context *c, struct op_kek *k, struct secret **made, struct refusal *why,
                    struct error *err) {
        int r = k->by_owner ? 1 : is_booted_state(k, err);

        if (r < 0)
                return r;
        if (r == 0) {
                refusal_set(why, REFUSAL_LATCHED,
                            "KEK %s can't be sealed now: the latch is shut, and its PCRs aren't "
                            "what they were when the disks were opened",
                            k->name);
                refusal_detail(why, "what runs now has extended them; rotate after the next boot");
                return OUTCOME_REFUSED;
        }
        k->key = *made;
        k->waits = true;
        return context_keep(c, &k->kek, TAKE(*made), err);
}

static int make_and_open(struct context *c, struct op_kek *k, struct making *m, struct refusal *why,
                         struct error *err) {
        const struct named_policy *said = c->policy;
        int r = create(c, k, m, why, err);

        if (r == OUTCOME_DONE) {
                c->policy = k->policy; /* nothing is recorded yet */
                r = context_kek_made(c, k->name, &k->kek, &k->key, why, err);
                c->policy = said;
        }
        if (r == OUTCOME_REFUSED && why->kind == REFUSAL_LATCHED && k->may_wait &&
            (k->before || k->by_owner)) {
                r = let_wait(c, k, &m->key, why, err);
                if (r == OUTCOME_DONE)
                        *why = (struct refusal){ 0 };
        } else if (r == OUTCOME_DONE && !crypto_same(m->key, k->key))
                r = error_set(err, -EIO, "the TPM gives back another key than was sealed");
        return r == OUTCOME_DONE ? op_kek_check_tpm(c, &k->kek, why, err) : r;
}

int op_kek_make(struct context *c, struct op_kek *k, uint32_t version, struct refusal *why,
                struct error *err) {
        _cleanup_(making_done) struct making m = { .version = version };
        int r = make_and_open(c, k, &m, why, err);

        if (r != OUTCOME_DONE)
                drop_counter(c, &m);
        return r;
}

static int make_and_record(struct context *c, struct op_kek *k, uint32_t version,
                           struct refusal *why, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        int r = archive_record(c, k->name, &record, why, err);

        if (r != OUTCOME_DONE)
                return r;
        r = op_kek_make(c, k, version, why, err);
        if (r != OUTCOME_DONE)
                return r;
        k->is_new = true;
        (void) snprintf(record->policy, sizeof(record->policy), "%s", k->policy->name);
        return archive_begin(c, record, &(struct archive_key){ &k->kek, k->key }, why, err);
}

int op_kek_new(struct context *c, struct op_kek *k, uint32_t version, struct refusal *why,
               struct error *err) {
        const struct audit_event e = { .event = "kek-new",
                                       .subject = k->name,
                                       .result = "begin",
                                       .fact = { { "version", NULL, version },
                                                 { "policy", k->policy->name, 0 } } };
        int r = audit(c, &e, err);

        return r < 0 ? r : audit_result(c, e, make_and_record(c, k, version, why, err), err);
}

/* What becomes of a counter's verdict where the counter has to be there. */
static int refuse_counter(struct refusal *why, const struct kek *kek, int verdict) {
        static const char *const words[] = {
                [TPM_COUNTER_MISSING] = "it isn't there: somebody removed it, or cleared the TPM",
                [TPM_COUNTER_UNWRITTEN] = "it was removed and made again, and never written",
                [TPM_COUNTER_OTHER] = "something else stands in its place",
                [TPM_COUNTER_WRONG_KEY] = "the key in the token isn't its key",
                [TPM_COUNTER_OTHER_TPM] = "this is another TPM",
        };

        refusal_set(why, REFUSAL_COUNTER, "KEK %s v%u: its counter in the TPM is not as it was",
                    kek->name, kek->version);
        refusal_detail(why, "%s", words[verdict]);
        return OUTCOME_REFUSED;
}

int op_kek_revoke(struct context *c, const struct kek *kek, struct secret *key, uint64_t *ret,
                  struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *counter_key = NULL;
        const struct step *s = kek_counter(kek);
        struct tpm_counter counter = { .index = s->nv.index };
        int r;

        memcpy(counter.name, s->nv.name, sizeof(counter.name));
        r = kek_counter_key(kek, key, &counter_key, err);
        if (r == CRYPTO_FORGED)
                return refuse_counter(why, kek, TPM_COUNTER_WRONG_KEY);
        if (r < 0 || (r = context_tpm(c, err)) < 0 ||
            (r = tpm_counter_advance(c->tpm, &counter, counter_key, s->nv.le, err)) < 0)
                return r;
        if (r != TPM_COUNTER_GOOD)
                return refuse_counter(why, kek, r);
        if (counter.value > s->nv.le) {
                refusal_set(why, REFUSAL_COUNTER,
                            "KEK %s v%u: its counter in the TPM is beyond this version already",
                            kek->name, kek->version);
                refusal_detail(why, "somebody delayed or repeated what was sent to the TPM");
                return OUTCOME_REFUSED;
        }
        *ret = counter.value;
        return OUTCOME_DONE;
}

static int create_first(struct context *c, struct op_kek *k, struct refusal *why,
                        struct error *err) {
        struct named_policy standard;
        int r;

        if (!k->policy) {
                r = named_policy_find(c, POLICY_DEFAULT, &standard, why, err);
                if (r != OUTCOME_DONE)
                        return r;
                k->policy = &standard;
        }
        r = op_kek_new(c, k, 1, why, err);
        if (k->policy == &standard)
                k->policy = NULL;
        return r;
}

/* Return: OUTCOME_DONE; -ENOENT where nothing here knows the KEK; or another fault. */
static int find_current(struct context *c, struct op_kek *k, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        int r = context_record(c, k->name, &record, err);

        if (r < 0)
                return r;
        if (!record->has_current)
                return from_known_disks(c, k->name, &k->kek, err);
        k->kek = record->current;
        return OUTCOME_DONE;
}

int op_kek_current(struct context *c, struct op_kek *k, struct refusal *why, struct error *err) {
        char have[POLICY_TEXT_MAX], want[POLICY_TEXT_MAX];
        struct policy has;
        int r = find_current(c, k, err);

        if (r == -ENOENT) {
                *err = (struct error){ 0 };
                return create_first(c, k, why, err);
        }
        if (r < 0)
                return r;

        if (k->policy && policy_of_steps(&k->kek.steps, &has) &&
            !policy_same(&has, &k->policy->policy)) {
                policy_text(&has, have);
                policy_text(&k->policy->policy, want);
                return refusal_set(why, REFUSAL_POLICY_DIFFERS,
                                   "KEK %s is sealed to %.80s; this disk was to be sealed to %.80s",
                                   k->name, have, want);
        }
        r = context_kek(c, k->name, &k->kek, &k->key, why, err);
        return r == OUTCOME_DONE ? op_kek_check_tpm(c, &k->kek, why, err) : r;
}
