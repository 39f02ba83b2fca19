/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "base/public.h"
#include "policy/policy.h"

/* Command codes (TPM 2.0 Part 2, TPM_CC). */
#define CC_POLICY_NV 0x149u
#define CC_POLICY_AUTHORIZE 0x16au
#define CC_POLICY_AUTH_VALUE 0x16bu
#define CC_POLICY_PCR 0x17fu

/* Bytes on their way into a digest, in the TPM's encoding. The largest is a public key's area. */
struct bytes {
        size_t size;
        uint8_t data[1280];
};

static void put(struct bytes *b, const void *data, size_t size) {
        assert(b->size + size <= sizeof(b->data));
        memcpy(b->data + b->size, data, size);
        b->size += size;
}

static void put_number(struct bytes *b, uint64_t number, size_t size) {
        uint8_t bytes[8];

        for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t) (number >> (8 * (size - 1 - i)));
        put(b, bytes, size);
}

static void put_sized(struct bytes *b, const void *data, size_t size) {
        put_number(b, size, 2);
        put(b, data, size);
}

static int finish(const struct bytes *b, uint8_t ret[POLICY_DIGEST_SIZE], struct error *err) {
        return crypto_sha256(b->data, b->size, ret, err);
}

/* policyDigest' = H(policyDigest || command || …): what comes first. */
static void begin(struct bytes *b, const uint8_t digest[POLICY_DIGEST_SIZE], uint32_t command) {
        put(b, digest, POLICY_DIGEST_SIZE);
        put_number(b, command, 4);
}

static const uint8_t zeros[POLICY_DIGEST_SIZE];

/* H(values in the order of their numbers): always under SHA-256, the hash of the session, whatever
 * the bank. */
static int values_digest(const struct pcrs *pcrs, uint32_t mask, uint8_t ret[POLICY_DIGEST_SIZE],
                         struct error *err) {
        static const uint8_t latch[PCR_SIZE_MAX];
        struct bytes values = { 0 };

        for (unsigned n = 0; n < PCR_COUNT; n++) {
                if (!(mask & (1u << n)))
                        continue;
                if (pcrs->mask & (1u << n))
                        put(&values, pcrs->value[n], pcr_size(pcrs->bank));
                else if (n == PCR_LATCH)
                        put(&values, latch, pcr_size(pcrs->bank));
                else
                        return error_set(err, -EINVAL,
                                         "policy names a PCR whose value isn't known");
        }
        return finish(&values, ret, err);
}

/* … || TPML_PCR_SELECTION || H(values) */
static int extend_pcr(const struct pcrs *pcrs, uint32_t mask, uint8_t digest[POLICY_DIGEST_SIZE],
                      struct error *err) {
        uint8_t values[POLICY_DIGEST_SIZE];
        struct bytes b = { 0 };
        int r = values_digest(pcrs, mask, values, err);

        if (r < 0)
                return r;
        begin(&b, digest, CC_POLICY_PCR);
        put_number(&b, 1, 4); /* one bank */
        put_number(&b, pcr_bank_id(pcrs->bank), 2);
        put_number(&b, PCR_COUNT / 8, 1);
        for (unsigned i = 0; i < PCR_COUNT / 8; i++)
                put_number(&b, (mask >> (8 * i)) & 0xff, 1);
        put(&b, values, sizeof(values));
        return finish(&b, digest, err);
}

int policy_pcr_digest(const struct pcrs *pcrs, uint32_t mask, uint8_t ret[POLICY_DIGEST_SIZE],
                      struct error *err) {
        uint8_t digest[POLICY_DIGEST_SIZE] = { 0 };
        int r = extend_pcr(pcrs, mask, digest, err);

        if (r == 0)
                memcpy(ret, digest, sizeof(digest));
        return r;
}

/* TPMT_PUBLIC: no authPolicy, no symmetric algorithm, no scheme, no key derivation. */
static void put_public(struct bytes *b, const struct public_parts *key) {
        const bool rsa = key->kind == PUBLIC_RSA;

        put_number(b, rsa ? 0x0001 : 0x0023, 2); /* TPM_ALG_RSA, TPM_ALG_ECC */
        put_number(b, 0x000b, 2);                /* TPM_ALG_SHA256 */
        put_number(b, 0x00040040, 4);            /* sign, userWithAuth */
        put_number(b, 0, 2);
        put_number(b, 0x0010, 2); /* TPM_ALG_NULL */
        put_number(b, 0x0010, 2);
        if (rsa) {
                put_number(b, key->bits, 2);
                put_number(b, key->exponent == 65537 ? 0 : key->exponent, 4); /* 0: the default */
                put_sized(b, key->n, key->size);
        } else {
                put_number(b, key->bits == 256 ? 0x0003 : 0x0004, 2); /* TPM_ECC_NIST_P256, _P384 */
                put_number(b, 0x0010, 2);
                put_sized(b, key->x, key->size);
                put_sized(b, key->y, key->size);
        }
}

int policy_key_name(const uint8_t *der, size_t size, uint8_t ret[TPM_NAME_SIZE],
                    struct error *err) {
        struct public_parts key;
        struct bytes b = { 0 };
        uint8_t name[TPM_NAME_SIZE] = { 0x00, 0x0b };
        int r = public_parse(der, size, &key, err);

        if (r < 0)
                return error_set(err, -EINVAL, "policy names a public key that a TPM doesn't take");
        put_public(&b, &key);
        r = finish(&b, name + 2, err);
        if (r == 0)
                memcpy(ret, name, sizeof(name));
        return r;
}

/* Starts anew: H(H(0 || command || Name of the key) || policyRef). */
static int extend_authorize(const struct steps *steps, uint8_t digest[POLICY_DIGEST_SIZE],
                            struct error *err) {
        uint8_t name[TPM_NAME_SIZE];
        struct bytes b = { 0 };
        int r = policy_key_name(steps->authorize.key, steps->authorize.key_size, name, err);

        if (r < 0)
                return r;
        begin(&b, zeros, CC_POLICY_AUTHORIZE);
        put(&b, name, sizeof(name));
        r = finish(&b, digest, err);
        if (r < 0)
                return r;
        b.size = 0;
        put(&b, digest, POLICY_DIGEST_SIZE);
        put(&b, steps->authorize.ref, steps->authorize.ref_size);
        return finish(&b, digest, err);
}

/* Starts anew: H(0 || command || digests), where they are many twice over. */
static int extend_or(const struct steps *steps, uint8_t digest[POLICY_DIGEST_SIZE],
                     struct error *err) {
        uint8_t group[STEP_OR_MAX / 8][POLICY_DIGEST_SIZE];
        unsigned count = steps->alternatives.count, groups = steps_or_groups(count);

        if (count < 2 || count > STEP_OR_MAX)
                return error_set(err, -EINVAL, "policy has %u alternatives", count);
        for (unsigned i = 0; i < groups; i++) {
                unsigned first, n;
                int r;

                steps_or_group(count, i, &first, &n);
                r = steps_or_digest(steps->alternatives.digest + first, n, group[i], err);
                if (r < 0)
                        return r;
        }
        if (groups > 1)
                return steps_or_digest(group, groups, digest, err);
        memcpy(digest, group[0], POLICY_DIGEST_SIZE);
        return 0;
}

/* … || H(operandB || offset || operation) || Name */
static int extend_nv(const struct step *step, uint8_t digest[POLICY_DIGEST_SIZE],
                     struct error *err) {
        struct bytes b = { 0 };
        uint8_t args[POLICY_DIGEST_SIZE];
        int r;

        put_number(&b, step->nv.le, 8);
        put_number(&b, 0, 2);
        put_number(&b, 0x0009, 2); /* TPM_EO_UNSIGNED_LE */
        r = finish(&b, args, err);
        if (r < 0)
                return r;
        b.size = 0;
        begin(&b, digest, CC_POLICY_NV);
        put(&b, args, sizeof(args));
        put(&b, step->nv.name, sizeof(step->nv.name));
        return finish(&b, digest, err);
}

static int extend(const struct steps *steps, unsigned i, const struct pcrs *pcrs,
                  uint8_t digest[POLICY_DIGEST_SIZE], struct error *err) {
        const struct step *step = &steps->step[i];
        struct bytes b = { 0 };

        switch (step->kind) {
        case STEP_PCR:
                /* Whatever it makes, it's started anew behind it. */
                return steps_floats(steps, i) ? 0 : extend_pcr(pcrs, step->pcr_mask, digest, err);
        case STEP_AUTHORIZE: return extend_authorize(steps, digest, err);
        case STEP_OR: return extend_or(steps, digest, err);
        case STEP_NV: return extend_nv(step, digest, err);
        case STEP_AUTH: begin(&b, digest, CC_POLICY_AUTH_VALUE); return finish(&b, digest, err);
        }
        return error_set(err, -EINVAL, "policy has a step of no known kind");
}

int policy_digest(const struct steps *steps, const struct pcrs *pcrs,
                  uint8_t ret[POLICY_DIGEST_SIZE], struct error *err) {
        uint8_t digest[POLICY_DIGEST_SIZE] = { 0 };

        if (steps->bank != pcrs->bank)
                return error_set(err, -EINVAL, "policy is about another bank of PCRs");
        for (unsigned i = 0; i < steps->count; i++) {
                int r = extend(steps, i, pcrs, digest, err);

                if (r < 0)
                        return r;
        }
        memcpy(ret, digest, sizeof(digest));
        return 0;
}
