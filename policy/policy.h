/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/steps.h"

/* Policies, computed: nothing here talks to a TPM or reads a file. */

enum policy_kind {
        POLICY_LITERAL,   /* the PCRs have the values that they had */
        POLICY_SIGNED,    /* some of them have values that a key signed */
        POLICY_PREDICTED, /* they have the values of one of several states */
        POLICY_KINDS
};

/* "literal" … */
const char *policy_kind_name(enum policy_kind kind);
bool policy_kind_parse(const char *name, enum policy_kind *ret);

/* What a KEK is to be sealed to. */
struct policy {
        enum policy_kind kind;
        enum pcr_bank bank;
        uint32_t pcr_mask;    /* literal and predicted ones; POLICY_SIGNED may have none */
        uint32_t signed_mask; /* POLICY_SIGNED: those that the key signs */
        bool latch;           /* PCR 15 must be zero */
        bool pin;             /* an auth value must be known */
        uint16_t key_size;    /* POLICY_SIGNED: SubjectPublicKeyInfo, DER */
        uint8_t key[STEP_KEY_MAX];
};

/* The counter that a KEK's versions hang on, as a step wants it. */
struct policy_counter {
        uint32_t index;
        uint8_t name[TPM_NAME_SIZE];
        uint64_t le;
};

/**
 * policy_steps() - the steps that a policy stands for
 * @counter: NULL for none
 *
 * In this order: pcr, authorize or or (both start the digest anew), pcr (of what is literal beside
 * them, and of the latch), nv, auth. The alternatives of POLICY_PREDICTED are left empty.
 */
void policy_steps(const struct policy *policy, const struct policy_counter *counter,
                  struct steps *ret);

/* The reverse, as far as steps say it: the policy of which @steps are. Return: false where they are
 * of none. */
bool policy_of_steps(const struct steps *steps, struct policy *ret);

/* Whether steps of the one differ from steps of the other only in what every version has anew: the
 * counter's value, and the alternatives. */
bool policy_same(const struct policy *a, const struct policy *b);

/* Adds one state, or the digest of one, to the alternatives; a second time is once. The first
 * stands there twice until there is another: TPM2_PolicyOR takes no less than two. Return: 0;
 * POLICY_FULL: it would be more than STEP_OR_MAX; or -EIO. */
#define POLICY_FULL 1
int policy_add_alternative(struct steps *steps, const struct pcrs *state,
                           struct error *err) _warn_unused_;
int policy_add_digest(struct steps *steps, const uint8_t digest[POLICY_DIGEST_SIZE]) _warn_unused_;
/* Whether that state is among them. Return: 1, 0; -EINVAL, -EIO. */
int policy_has_alternative(const struct steps *steps, const struct pcrs *state,
                           struct error *err) _warn_unused_;

/* What one TPM2_PolicyPCR makes of an empty policy: what a key signs, and what an alternative is.
 * Return: 0; -EINVAL where a PCR's value isn't known; or -EIO. */
int policy_pcr_digest(const struct pcrs *pcrs, uint32_t mask, uint8_t ret[POLICY_DIGEST_SIZE],
                      struct error *err) _warn_unused_;

/**
 * policy_digest() - the authPolicy that @steps produce where the PCRs are @pcrs
 *
 * A PCR of the latch that has no value is taken as zero. TPM 2.0 Part 3: TPM2_PolicyPCR,
 * TPM2_PolicyAuthorize, TPM2_PolicyOR, TPM2_PolicyNV, TPM2_PolicyAuthValue.
 *
 * Return: 0; -EINVAL where a step names a PCR that @pcrs doesn't have, or the public key is none;
 *         or -EIO.
 */
int policy_digest(const struct steps *steps, const struct pcrs *pcrs,
                  uint8_t ret[POLICY_DIGEST_SIZE], struct error *err) _warn_unused_;

/* Name of the public key that signs (Part 1, section 16), as tpm/ loads it: both under
 * SHA-256, for signing alone. Return: 0; -EINVAL; or -EIO. */
int policy_key_name(const uint8_t *der, size_t size, uint8_t ret[TPM_NAME_SIZE],
                    struct error *err) _warn_unused_;

/* Which of @pcrs are all 00 or all FF: nothing was measured into them, so they say nothing. */
uint32_t policy_unmeasured(const struct pcrs *pcrs);
