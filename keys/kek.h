/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/steps.h"
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
};

/* Whether both are the same sealed object, not only the same number. */
bool kek_equal(const struct kek *a, const struct kek *b);

enum kek_verdict {
        KEK_OPEN = 0,
        KEK_REFUSED,      /* the TPM refused: see struct kek_refusal */
        KEK_INCONSISTENT, /* the recorded policy and PCR values aren't what the object was sealed to
                           */
};

struct kek_refusal {
        int verdict; /* enum tpm_verdict */
        struct tpm_refusal tpm;
};

struct kek_request {
        const char *name;
        uint32_t version;
        uint32_t pcr_mask; /* which PCRs, SHA-256 bank */
};

/**
 * kek_create() - make a new version, sealed to the PCRs as they are now
 * @ret:     its public part; untouched unless KEK_OPEN
 * @ret_key: the key itself, 32 bytes, the caller's
 *
 * KEK = HKDF-SHA256(32 random bytes, info = "diskseal/1 kek", name, version).
 *
 * Return: KEK_OPEN; KEK_REFUSED (a PCR is unmeasured, or moved meanwhile); or a fault.
 */
int kek_create(struct tpm *tpm, const struct kek_request *request, struct kek *ret,
               struct secret **ret_key, struct kek_refusal *why, struct error *err) _warn_unused_;

/* Unseals a version. Its policy is computed and compared before the TPM is asked. */
int kek_open(struct tpm *tpm, const struct kek *kek, struct secret **ret, struct kek_refusal *why,
             struct error *err) _warn_unused_;

/* To and from the members of a token's entry: name, version, provider, tpm. From hostile input.
 * kek_parse() returns 0; -EBADMSG (not an entry of ours), -ENOMEM. */
int kek_parse(const struct json *entry, struct kek *ret, struct error *err) _warn_unused_;
bool kek_print(const struct kek *kek, struct json *entry) _warn_unused_;

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
