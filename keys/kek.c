/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/kek.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "keys/fields.h"
#include "policy/policy.h"

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

static int derive(struct secret *seed, const struct kek *kek, struct secret **ret,
                  struct error *err) {
        struct fields info = { 0 };

        fields_add(&info, "diskseal/1 kek");
        fields_add(&info, kek->name);
        fields_add_number(&info, kek->version);
        return crypto_hkdf(seed, info.data, info.size, ret, err);
}

int kek_create(struct tpm *tpm, const struct kek_request *request, struct kek *ret,
               struct secret **ret_key, struct kek_refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *seed = NULL;
        struct kek kek = { .version = request->version };
        uint8_t digest[POLICY_DIGEST_SIZE];
        struct pcrs now = { 0 };
        int r;

        (void) snprintf(kek.name, sizeof(kek.name), "%s", request->name);
        r = tpm_pcr_read(tpm, PCR_SHA256, request->pcr_mask, &now, err);
        if (r < 0)
                return r;
        if (policy_unmeasured(&now)) {
                *why = (struct kek_refusal){ TPM_UNMEASURED,
                                             { .pcrs = policy_unmeasured(&now), .now = now } };
                return KEK_REFUSED;
        }

        policy_literal(request->pcr_mask, &kek.steps);
        r = policy_digest(&kek.steps, &now, digest, err);
        if (r < 0)
                return r;
        r = crypto_random_secret(SEED_SIZE, &seed, err);
        if (r < 0)
                return r;
        r = tpm_seal(tpm, seed, digest, &now, &kek.sealed, err);
        if (r < 0)
                return error_prefix(err, "seal KEK %s v%u", request->name, request->version);
        if (r != TPM_GRANTED) {
                *why = (struct kek_refusal){ r, { .pcrs = request->pcr_mask, .now = now } };
                return KEK_REFUSED;
        }

        r = derive(seed, &kek, ret_key, err);
        if (r < 0)
                return r;
        *ret = kek;
        return KEK_OPEN;
}

int kek_open(struct tpm *tpm, const struct kek *kek, struct secret **ret, struct kek_refusal *why,
             struct error *err) {
        _cleanup_(secret_freep) struct secret *seed = NULL;
        uint8_t computed[POLICY_DIGEST_SIZE], sealed[POLICY_DIGEST_SIZE];
        int r;

        r = policy_digest(&kek->steps, &kek->sealed.pcrs, computed, err);
        if (r == -EINVAL || (r == 0 && (!tpm_sealed_policy(&kek->sealed, sealed) ||
                                        memcmp(computed, sealed, sizeof(sealed)) != 0)))
                return KEK_INCONSISTENT;
        if (r < 0)
                return r;

        r = tpm_unseal(tpm, &kek->sealed, &kek->steps, &seed, &why->tpm, err);
        if (r < 0)
                return error_prefix(err, "unseal KEK %s v%u", kek->name, kek->version);
        if (r != TPM_GRANTED) {
                why->verdict = r;
                return KEK_REFUSED;
        }
        if (secret_size(seed) != SEED_SIZE)
                return KEK_INCONSISTENT;
        return derive(seed, kek, ret, err);
}
