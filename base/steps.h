/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pcr.h"

/* A policy, as the list of what the TPM executes, in this order (TPM 2.0 Part 3, section 23):
 * computed by policy/, executed by tpm/, kept in tokens by keys/. */

#define POLICY_DIGEST_SIZE 32
#define TPM_NAME_SIZE 34 /* of a Name under SHA-256: the algorithm, the digest */

enum step_kind {
        STEP_PCR,
        STEP_AUTHORIZE, /* whatever policy the key signed stands for what came before */
        STEP_OR,        /* one of these digests stands for what came before */
        STEP_NV,        /* a counter is no higher than it was */
        STEP_AUTH,      /* the object's auth value is known */
};

/* The PCR that ends a boot: a policy that names it and has no value for it wants it to be zero. */
#define PCR_LATCH 15

struct step {
        enum step_kind kind;
        uint32_t pcr_mask; /* STEP_PCR: which PCRs */
        struct {
                uint32_t index;
                uint8_t name[TPM_NAME_SIZE]; /* of the index, once it was written */
                uint64_t le;                 /* the counter's highest value that passes */
        } nv;                                /* STEP_NV */
};

#define STEPS_MAX 8
#define STEP_KEY_MAX 600 /* bytes: RSA-4096 is 550 */
#define STEP_REF_MAX 64
#define STEP_OR_MAX 64

struct steps {
        enum pcr_bank bank; /* of all its PCRs */
        unsigned count;
        struct step step[STEPS_MAX];
        /* STEP_AUTHORIZE, of which there is one at most. */
        struct {
                uint16_t key_size, ref_size;
                uint8_t key[STEP_KEY_MAX]; /* SubjectPublicKeyInfo (RFC 5280), DER */
                uint8_t ref[STEP_REF_MAX]; /* policyRef */
        } authorize;
        /* STEP_OR, of which there is one at most. More than eight digests are a tree. */
        struct {
                unsigned count;
                uint8_t digest[STEP_OR_MAX][POLICY_DIGEST_SIZE];
        } alternatives;
};

/* Which PCRs the steps look at. */
static inline uint32_t steps_pcrs(const struct steps *s) {
        uint32_t mask = 0;

        for (unsigned i = 0; i < s->count; i++)
                if (s->step[i].kind == STEP_PCR)
                        mask |= s->step[i].pcr_mask;
        return mask;
}

/* The PCRs whose values stand in creation data: all but the latch, whose value is known. */
static inline uint32_t steps_recorded(const struct steps *s) {
        return steps_pcrs(s) & ~(1u << PCR_LATCH);
}

/* Whether a step behind @i starts the digest anew: then what the PCRs are at @i isn't said by the
 * policy, but by the key or the list that comes after it. */
static inline bool steps_floats(const struct steps *s, unsigned i) {
        for (unsigned k = i + 1; k < s->count; k++)
                if (s->step[k].kind == STEP_AUTHORIZE || s->step[k].kind == STEP_OR)
                        return true;
        return false;
}

/* TPM2_PolicyOR takes two to eight digests; more are a tree of two levels. @count digests in their
 * order fall into so many groups, of sizes that differ by one at most: each is one TPM2_PolicyOR,
 * and where there are several, their results are the digests of one more. */
unsigned steps_or_groups(unsigned count);
void steps_or_group(unsigned count, unsigned group, unsigned *ret_first, unsigned *ret_count);
/* What one TPM2_PolicyOR makes of at most eight digests (TPM 2.0 Part 3, section 23.6). */
int steps_or_digest(const uint8_t (*digests)[POLICY_DIGEST_SIZE], unsigned count,
                    uint8_t ret[POLICY_DIGEST_SIZE], struct error *err) _warn_unused_;

/* A signature for STEP_AUTHORIZE: the holder of the key approves of one state of the PCRs. */
#define SIGNATURE_MAX 512 /* bytes: RSA-4096 */

struct signature {
        uint32_t pcr_mask;
        uint8_t approved[POLICY_DIGEST_SIZE]; /* the digest of one STEP_PCR */
        size_t size;
        uint8_t data[SIGNATURE_MAX]; /* RSA: PKCS#1 1.5; EC: DER; over SHA-256(approved || ref) */
};
