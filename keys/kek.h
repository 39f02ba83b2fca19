/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/steps.h"
#include "keys/factor.h"
#include "policy/policy.h"
#include "tpm/tpm.h"

/* A key-encrypting key: one for many disks, in versions that only grow. It's derived from 32 bytes
 * that a provider (the TPM) seals, and never leaves memory. */

#define NAME_MAX_SIZE 33 /* of a KEK or a disk, with the NUL */
#define KEK_VERSION_MAX 1000000000u

/* Whether @name can name a KEK or a disk: 1 to 32 of a-z A-Z 0-9 _ . -, a letter or digit first. It
 * becomes a file name, a device-mapper name and associated data. */
bool name_valid(const char *name);

/* One version of a KEK, as it stands in the tokens of its disks and in the store. Public. */
struct kek {
        char name[NAME_MAX_SIZE];
        uint32_t version;
        struct sealed sealed; /* provider "tpm", the only one so far */
        struct steps steps;
        /* Under a signed policy: the signature of its key for the state in which it was sealed. */
        struct signature origin;
        struct factor factor;
        /* Where the steps have a counter: the key that may advance it, wrapped by this version. */
        bool has_counter;
        struct gcm_box counter_key;
};

/* Whether both are the same sealed object, not only the same number. */
bool kek_equal(const struct kek *a, const struct kek *b);
/* Its step on a counter; NULL where it has none. */
const struct step *kek_counter(const struct kek *kek);

enum kek_verdict {
        KEK_OPEN = 0,
        KEK_REFUSED,      /* the TPM refused: see struct kek_refusal */
        KEK_INCONSISTENT, /* the recorded policy and PCR values aren't what the object was sealed to
                           */
        KEK_WRONG_FACTOR, /* what was given as second factor isn't the right one, or it's missing */
        KEK_FULL,         /* more states were predicted than a policy takes: STEP_OR_MAX */
};

struct kek_refusal {
        int verdict; /* enum tpm_verdict */
        struct tpm_refusal tpm;
};

/* What a version is to be sealed under. All borrowed. */
struct kek_request {
        const char *name;
        uint32_t version;
        const struct policy *policy;
        bool allow_unmeasured;                /* PCRs that say nothing are taken, too */
        const struct policy_counter *counter; /* NULL: it never dies in the TPM */
        struct secret *counter_key;           /* … with a counter, the key that advances it */
        const struct pcrs *states;            /* predicted: the states beside the one of now */
        size_t states_count;
        const struct steps *keep;          /* predicted: and these of an older version; or NULL */
        const struct signature *signature; /* signed: by the policy's key, for the state of now */
        const struct factor *factor;       /* NULL: none */
        struct secret *factor_input;       /* what factor_derive() takes */
};

/**
 * kek_create() - make a new version, sealed to the PCRs as they are now
 * @ret:     its public part; untouched unless KEK_OPEN
 * @ret_key: the key itself, 32 bytes, the caller's
 *
 * KEK = HKDF-SHA256(32 random bytes, salt = the second factor, info = "diskseal/1 kek", name,
 * version); see factor.h for what becomes of the factor.
 *
 * Return: KEK_OPEN; KEK_REFUSED (a PCR is unmeasured, or moved meanwhile; no signature is for this
 *         state); KEK_FULL; or a fault.
 */
int kek_create(struct tpm *tpm, const struct kek_request *request, struct kek *ret,
               struct secret **ret_key, struct kek_refusal *why, struct error *err) _warn_unused_;

/* What kek_create() would refuse without sealing anything; for a caller who makes the counter only
 * if it doesn't: @request has none yet. Return: KEK_OPEN; KEK_REFUSED; KEK_FULL; or a fault. */
int kek_check_request(struct tpm *tpm, const struct kek_request *request, struct kek_refusal *why,
                      struct error *err) _warn_unused_;

/* What opens a version beside its TPM. All borrowed. */
struct kek_means {
        const struct signature *signature; /* for the PCRs as they are; NULL: none at hand */
        struct secret *factor_input;       /* NULL: none at hand */
};

/* Unseals a version. Its policy is computed and compared before the TPM is asked. */
int kek_open(struct tpm *tpm, const struct kek *kek, const struct kek_means *means,
             struct secret **ret, struct kek_refusal *why, struct error *err) _warn_unused_;

/* The key that advances its counter. Return: CRYPTO_GOOD; CRYPTO_FORGED; or a fault. */
int kek_counter_key(const struct kek *kek, struct secret *key, struct secret **ret,
                    struct error *err) _warn_unused_;

/* To and from the members of a token's entry: name, version, provider, tpm. From hostile input.
 * kek_parse() returns 0; -EBADMSG (not an entry of ours), -ENOMEM. */
int kek_parse(const struct json *entry, struct kek *ret, struct error *err) _warn_unused_;
bool kek_print(const struct kek *kek, struct json *entry) _warn_unused_;

#define BOX_SIZE 32 /* bytes: every key that we wrap */

/* A box of BOX_SIZE bytes as a JSON object: alg, iv, ct, tag. Return: 0; -EBADMSG. */
int box_parse(const struct json *o, struct gcm_box *ret, struct error *err) _warn_unused_;
bool box_print(const struct gcm_box *box, struct json *o) _warn_unused_;

/* What an envelope is bound to: it opens for this disk, in this role, under this KEK only. */
struct envelope_binding {
        const char *uuid, *disk, *role, *kek;
        uint32_t version;
};

/* Wraps a slot secret: AES-256-GCM under the KEK. Return: 0, or a fault. */
int envelope_seal(struct secret *kek, const struct envelope_binding *binding, struct secret *secret,
                  struct gcm_box *ret, struct error *err) _warn_unused_;
/* Return: CRYPTO_GOOD; CRYPTO_FORGED; or a fault. */
int envelope_open(struct secret *kek, const struct envelope_binding *binding,
                  const struct gcm_box *box, struct secret **ret, struct error *err) _warn_unused_;
