/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

/* TPM2_MakeCredential (TPM 2.0 Part 1, section 24; Part 3, 12.6) in software, so that nobody but
 * the TPM that has the private part of a public key can answer. A door to OpenSSL, see
 * base/crypto.h. */

/* A public key, as the TPM shows it too. */
struct credential_key {
        bool ec;
        size_t size;    /* bytes of the modulus (RSA, exponent 65537), of a coordinate (EC) */
        uint8_t x[512]; /* the modulus; the x coordinate */
        uint8_t y[48];
};

/* From SubjectPublicKeyInfo in DER. Return: 0; -EBADMSG where it's neither RSA of 2048, 3072 or
 * 4096 bits with exponent 65537, nor EC on P-256 or P-384. */
int credential_key_read(const uint8_t *spki, size_t size, struct credential_key *ret,
                        struct error *err) _warn_unused_;

/* What an endorsement key's template uses inside. */
enum credential_kind {
        CREDENTIAL_SHA256_AES128,
        CREDENTIAL_SHA384_AES256,
};

#define CREDENTIAL_NAME_MAX 66
#define CREDENTIAL_CHALLENGE_MAX 32

struct credential_request {
        const uint8_t *spki; /* the endorsement key, from its certificate */
        size_t spki_size;
        enum credential_kind kind;
        const uint8_t *name; /* of the object that must be in the same TPM */
        size_t name_size;
        const uint8_t *challenge; /* what TPM2_ActivateCredential is to give back */
        size_t challenge_size;
};

struct credential {
        uint8_t blob[128]; /* TPMS_ID_OBJECT: what is in a TPM2B_ID_OBJECT */
        size_t blob_size;
        uint8_t secret[512]; /* what is in a TPM2B_ENCRYPTED_SECRET */
        size_t secret_size;
};

/* Return: 0; -EBADMSG (the key), -EINVAL (sizes), -EIO. */
int credential_make(const struct credential_request *q, struct credential *ret,
                    struct error *err) _warn_unused_;
