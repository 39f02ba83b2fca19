/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/kek.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/public.h"
#include "keys/fields.h"

#define SEED_SIZE 32

bool name_valid(const char *name) {
        size_t n = strlen(name);

        if (n == 0 || n >= NAME_MAX_SIZE || strchr("_.-", name[0]))
                return false;
        return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
               n;
}

static bool bytes_equal(const struct tpm_bytes *a, const struct tpm_bytes *b) {
        return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

bool kek_equal(const struct kek *a, const struct kek *b) {
        return a->version == b->version && strcmp(a->name, b->name) == 0 &&
               bytes_equal(&a->sealed.public, &b->sealed.public) &&
               bytes_equal(&a->sealed.private, &b->sealed.private);
}

const struct step *kek_counter(const struct kek *kek) {
        for (unsigned i = 0; i < kek->steps.count; i++)
                if (kek->steps.step[i].kind == STEP_NV)
                        return &kek->steps.step[i];
        return NULL;
}

static void counter_binding(const struct kek *kek, struct fields *ret) {
        const struct step *s = kek_counter(kek);

        fields_add(ret, "diskseal/1 counter");
        fields_add(ret, kek->name);
        fields_add_number(ret, kek->version);
        fields_add_number(ret, s ? s->nv.index : 0);
}

int kek_counter_key(const struct kek *kek, struct secret *key, struct secret **ret,
                    struct error *err) {
        struct fields aad = { 0 };

        counter_binding(kek, &aad);
        return crypto_open(key, aad.data, aad.size, &kek->counter_key, ret, err);
}

/* --- making one --- */

static int seal_counter_key(struct kek *kek, struct secret *key, struct secret *counter_key,
                            struct error *err) {
        struct fields aad = { 0 };

        counter_binding(kek, &aad);
        kek->has_counter = true;
        return crypto_seal(key, aad.data, aad.size, counter_key, &kek->counter_key, err);
}

/* The signature has to be for the PCRs in @now. Return: KEK_OPEN; KEK_REFUSED; or a fault. */
static int take_origin(const struct kek_request *q, const struct pcrs *now, struct kek *kek,
                       struct kek_refusal *why, struct error *err) {
        uint8_t approved[POLICY_DIGEST_SIZE];
        int r = policy_pcr_digest(now, q->policy->signed_mask, approved, err);

        if (r < 0)
                return r;
        if (q->signature && memcmp(q->signature->approved, approved, sizeof(approved)) == 0) {
                kek->origin = *q->signature;
                return KEK_OPEN;
        }
        *why = (struct kek_refusal){ TPM_UNSIGNED,
                                     { .pcrs = q->policy->signed_mask, .now = *now } };
        return KEK_REFUSED;
}

static int add_states(const struct kek_request *q, const struct pcrs *now, struct steps *steps,
                      struct error *err) {
        int r = policy_add_alternative(steps, now, err);

        for (size_t i = 0; r == 0 && i < q->states_count; i++)
                r = policy_add_alternative(steps, &q->states[i], err);
        for (unsigned i = 0; r == 0 && q->keep && i < q->keep->alternatives.count; i++)
                r = policy_add_digest(steps, q->keep->alternatives.digest[i]);
        return r == POLICY_FULL ? KEK_FULL : r;
}

/* The policy for this machine as it is now. */
static int make_policy(struct tpm *tpm, const struct kek_request *q, struct kek *kek,
                       struct pcrs *ret_now, struct kek_refusal *why, struct error *err) {
        uint32_t empty;
        int r;

        policy_steps(q->policy, q->counter, &kek->steps);
        r = tpm_pcr_read(tpm, q->policy->bank, steps_recorded(&kek->steps), ret_now, err);
        if (r < 0)
                return r;
        empty = policy_unmeasured(ret_now);
        if (empty && !q->allow_unmeasured) {
                *why = (struct kek_refusal){ TPM_UNMEASURED, { .pcrs = empty, .now = *ret_now } };
                return KEK_REFUSED;
        }
        switch (q->policy->kind) {
        case POLICY_SIGNED: return take_origin(q, ret_now, kek, why, err);
        case POLICY_PREDICTED: return add_states(q, ret_now, &kek->steps, err);
        case POLICY_LITERAL:
        case POLICY_KINDS: break;
        }
        return KEK_OPEN;
}

static int derive(struct secret *seed, struct secret *salt, const struct kek *kek,
                  struct secret **ret, struct error *err) {
        struct fields info = { 0 };

        fields_add(&info, factor_label(kek->factor.kind));
        fields_add(&info, kek->name);
        fields_add_number(&info, kek->version);
        return crypto_hkdf_salted(seed, salt, info.data, info.size, ret, err);
}

/* Seals a new seed, and derives the key. */
static int make_key(struct tpm *tpm, const struct kek_request *q, const struct pcrs *now,
                    struct kek *kek, struct secret **ret_key, struct error *err) {
        _cleanup_(secret_freep) struct secret *seed = NULL, *auth = NULL, *salt = NULL, *key = NULL;
        uint8_t digest[POLICY_DIGEST_SIZE];
        int r;

        r = factor_derive(&kek->factor, q->factor_input, &auth, &salt, err);
        if (r > 0)
                return error_set(err, -EINVAL, "KEK %s v%u: the second factor is too %s", q->name,
                                 q->version, r == FACTOR_SHORT ? "short" : "long");
        if (r < 0 || (r = policy_digest(&kek->steps, now, digest, err)) < 0 ||
            (r = crypto_random_secret(SEED_SIZE, &seed, err)) < 0)
                return r;
        r = tpm_seal(tpm, &(struct tpm_sealing){ seed, digest, now, auth }, &kek->sealed, err);
        if (r < 0)
                return error_prefix(err, "seal KEK %s v%u", q->name, q->version);
        if (r != TPM_GRANTED)
                return r;
        r = derive(seed, salt, kek, &key, err);
        if (r == 0 && q->counter)
                r = seal_counter_key(kek, key, q->counter_key, err);
        if (r == 0)
                *ret_key = TAKE(key);
        return r;
}

int kek_create(struct tpm *tpm, const struct kek_request *request, struct kek *ret,
               struct secret **ret_key, struct kek_refusal *why, struct error *err) {
        _cleanup_(freep) struct kek *kek = calloc(1, sizeof(*kek));
        struct pcrs now = { 0 };
        int r;

        if (!kek)
                return error_nomem(err);
        kek->version = request->version;
        (void) snprintf(kek->name, sizeof(kek->name), "%s", request->name);
        if (request->factor)
                kek->factor = *request->factor;
        r = make_policy(tpm, request, kek, &now, why, err);
        if (r != KEK_OPEN)
                return r;
        r = make_key(tpm, request, &now, kek, ret_key, err);
        if (r > 0) {
                *why = (struct kek_refusal){ r, { .pcrs = now.mask, .now = now } };
                return KEK_REFUSED;
        }
        if (r == 0)
                *ret = *kek;
        return r;
}

int kek_check_request(struct tpm *tpm, const struct kek_request *request, struct kek_refusal *why,
                      struct error *err) {
        _cleanup_(freep) struct kek *ignored = calloc(1, sizeof(*ignored));
        struct pcrs now = { 0 };

        return ignored ? make_policy(tpm, request, ignored, &now, why, err) : error_nomem(err);
}

/* --- opening one --- */

static int unproven(struct kek_refusal *why, const char *text) {
        *why = (struct kek_refusal){ .verdict = TPM_UNPROVEN };
        (void) snprintf(why->tpm.text, sizeof(why->tpm.text), "%s", text);
        return KEK_REFUSED;
}

/* Of the state that it was sealed in: a signed policy opens whatever anybody sealed to it, a
 * predicted one whatever was sealed in a state of its own choice. So the key must have signed that
 * state, and the list must have it. Return: KEK_OPEN; KEK_REFUSED; KEK_INCONSISTENT; or a fault. */
static int check_origin(const struct kek *kek, struct kek_refusal *why, struct error *err) {
        uint8_t what[POLICY_DIGEST_SIZE];
        const struct steps *steps = &kek->steps;
        struct policy policy;
        int r = 0;

        if (!policy_of_steps(steps, &policy))
                return KEK_INCONSISTENT;
        switch (policy.kind) {
        case POLICY_SIGNED:
                r = policy_pcr_digest(&kek->sealed.pcrs, policy.signed_mask, what, err);
                if (r == 0)
                        r = public_verify(steps->authorize.key, steps->authorize.key_size,
                                          &(struct public_signed){ what, sizeof(what),
                                                                   kek->origin.data,
                                                                   kek->origin.size },
                                          err);
                if (r == CRYPTO_FORGED)
                        return unproven(why, "it was sealed in a state that the policy's key "
                                             "didn't sign");
                break;
        case POLICY_PREDICTED:
                r = policy_has_alternative(steps, &kek->sealed.pcrs, err);
                if (r == 0)
                        return unproven(why, "it was sealed in a state that its policy doesn't "
                                             "have");
                break;
        case POLICY_LITERAL:
        case POLICY_KINDS: break;
        }
        if (r == -EINVAL || r == -EBADMSG || r == -EOPNOTSUPP)
                return KEK_INCONSISTENT;
        return r < 0 ? r : KEK_OPEN;
}

/* All that can be said without the TPM. */
static int check_policy(const struct kek *kek, struct kek_refusal *why, struct error *err) {
        uint8_t computed[POLICY_DIGEST_SIZE], sealed[POLICY_DIGEST_SIZE];
        int r = policy_digest(&kek->steps, &kek->sealed.pcrs, computed, err);

        if (r == -EINVAL || (r == 0 && (!tpm_sealed_policy(&kek->sealed, sealed) ||
                                        memcmp(computed, sealed, sizeof(sealed)) != 0)))
                return KEK_INCONSISTENT;
        return r < 0 ? r : check_origin(kek, why, err);
}

/* What a wrong second factor makes is a key like any other. What it should be shows where it opens
 * the counter's key. */
static int check_key(const struct kek *kek, struct secret *key, struct error *err) {
        _cleanup_(secret_freep) struct secret *counter_key = NULL;
        int r = kek->has_counter ? kek_counter_key(kek, key, &counter_key, err) : 0;

        if (r == CRYPTO_FORGED)
                return kek->factor.kind == FACTOR_NONE ? KEK_INCONSISTENT : KEK_WRONG_FACTOR;
        return r;
}

int kek_open(struct tpm *tpm, const struct kek *kek, const struct kek_means *means,
             struct secret **ret, struct kek_refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *seed = NULL, *auth = NULL, *salt = NULL, *key = NULL;
        struct tpm_opener opener = { .steps = &kek->steps, .signature = means->signature };
        int r = check_policy(kek, why, err);

        if (r != KEK_OPEN)
                return r;
        if (kek->factor.kind != FACTOR_NONE && !means->factor_input)
                return KEK_WRONG_FACTOR;
        r = factor_derive(&kek->factor, means->factor_input, &auth, &salt, err);
        if (r != FACTOR_DERIVED)
                return r < 0 ? r : KEK_WRONG_FACTOR;
        opener.auth = auth;
        r = tpm_unseal(tpm, &kek->sealed, &opener, &seed, &why->tpm, err);
        if (r < 0)
                return error_prefix(err, "unseal KEK %s v%u", kek->name, kek->version);
        if (r != TPM_GRANTED) {
                why->verdict = r;
                return KEK_REFUSED;
        }
        if (secret_size(seed) != SEED_SIZE)
                return KEK_INCONSISTENT;
        r = derive(seed, salt, kek, &key, err);
        if (r == 0)
                r = check_key(kek, key, err);
        if (r == 0)
                *ret = TAKE(key);
        return r;
}
