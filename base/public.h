/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/steps.h"

/* A public key that signs policies: RSA of 2048 to 4096 bits with an exponent from 65537 to 2^32,
 * or EC on P-256 or P-384. As SubjectPublicKeyInfo (RFC 5280, section 4.1) in DER, of at most
 * STEP_KEY_MAX bytes, and in one encoding only: keys are compared, and hashed, by their bytes.
 *
 * All input is hostile. Return, unless it says otherwise: 0; -EBADMSG (damaged); -EOPNOTSUPP (a key
 * of another kind); or a fault. */

enum public_kind { PUBLIC_RSA, PUBLIC_EC };

struct public_parts {
        enum public_kind kind;
        unsigned bits;        /* of the RSA modulus, or of the curve's field */
        uint32_t exponent;    /* RSA */
        size_t size;          /* bytes of n, or of x and of y each */
        uint8_t n[512];       /* RSA: the modulus, big-endian */
        uint8_t x[66], y[66]; /* EC: big-endian, with leading zeros */
};

#define PUBLIC_PEM_MAX 8192

/* @pem: the whole text of a file, of at most PUBLIC_PEM_MAX bytes, in which one "PUBLIC KEY" stands
 * and nothing else in PEM; a certificate isn't taken. @ret: room for STEP_KEY_MAX bytes. */
int public_from_pem(const char *pem, size_t size, uint8_t *ret, size_t *ret_size,
                    struct error *err) _warn_unused_;

int public_parse(const uint8_t *der, size_t size, struct public_parts *ret,
                 struct error *err) _warn_unused_;

/* Checks a signature over SHA-256 of @data: RSA by PKCS #1 v1.5 (RFC 8017, section 8.2), EC by
 * ECDSA in DER (RFC 3279, section 2.2.3). Return: CRYPTO_GOOD; CRYPTO_FORGED, also for what isn't
 * a signature at all; or as above, where the key is bad. */
struct public_signed {
        const void *data;
        size_t size;
        const uint8_t *signature;
        size_t signature_size;
};
int public_verify(const uint8_t *der, size_t der_size, const struct public_signed *what,
                  struct error *err) _warn_unused_;

/* The two numbers of an ECDSA signature in DER, big-endian, each with leading zeros to @part bytes
 * (the size of struct public_parts, at most 66), as a TPM takes them. -EBADMSG also where one is
 * zero or doesn't fit. */
int public_signature_parts(const uint8_t *signature, size_t size, size_t part, uint8_t *ret_r,
                           uint8_t *ret_s, struct error *err) _warn_unused_;

/* The reverse: the signature in DER, of at most SIGNATURE_MAX bytes. -EINVAL where @part is 0 or
 * over 66. */
int public_signature_join(const uint8_t *r, const uint8_t *s, size_t part, uint8_t *ret,
                          size_t *ret_size, struct error *err) _warn_unused_;

/* The key that @parts are (.bits needn't be set), as public_from_pem() returns it. */
int public_from_parts(const struct public_parts *parts, uint8_t *ret, size_t *ret_size,
                      struct error *err) _warn_unused_;

/* What systemd calls pkfp, and its tpm2-pcr-signature.json finds signatures by: SHA-256, not of
 * SubjectPublicKeyInfo, but of the key alone that stands in it. For RSA that's RSAPublicKey (RFC
 * 8017, A.1.1) in DER, for EC the uncompressed point (RFC 5480, section 2.2). */
int public_fingerprint(const uint8_t *der, size_t size, uint8_t ret[SHA256_SIZE],
                       struct error *err) _warn_unused_;
