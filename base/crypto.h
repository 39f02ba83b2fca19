/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"
#include "base/secret.h"

/* A door to OpenSSL, as some other files of base/: tests/check-layers has the table. Every function
 * returns 0 or -EIO (OpenSSL refused: the text says what), unless it says otherwise. What OpenSSL
 * copies of a key is cleansed before the call returns. */

#define SHA256_SIZE 32
#define GCM_IV_SIZE 12
#define GCM_TAG_SIZE 16

/* What OpenSSL sets up when something is used for the first time: for who is about to fork, so that
 * each child has it already. What fails here fails again, and is told, when it's needed. */
void crypto_set_up(void);

int crypto_random(void *buf, size_t size, struct error *err) _warn_unused_;

/* A new secret of @size random bytes. Return: 0; -EIO; or what secret_new() says. */
int crypto_random_secret(size_t size, struct secret **ret, struct error *err) _warn_unused_;

int crypto_sha256(const void *data, size_t size, uint8_t ret[SHA256_SIZE],
                  struct error *err) _warn_unused_;

/* A piece of what is hashed. Without @data: so many zeros. */
struct chunk {
        const void *data;
        size_t size; /* bytes */
};

/* The digest of @n chunks as if they were one, under the hash of @bank: pcr_size(@bank) bytes of
 * @ret are written. */
int crypto_hash(enum pcr_bank bank, const struct chunk *chunks, size_t n, uint8_t ret[PCR_SIZE_MAX],
                struct error *err) _warn_unused_;

/* HMAC-SHA256 (RFC 2104). */
int crypto_hmac(struct secret *key, const void *data, size_t size, uint8_t ret[SHA256_SIZE],
                struct error *err) _warn_unused_;

/* HKDF-SHA256 (RFC 5869), with no salt, to a new secret of 32 bytes. @info is what the key is for.
 */
int crypto_hkdf(struct secret *key, const void *info, size_t info_size, struct secret **ret,
                struct error *err) _warn_unused_;
/* The same with a salt, where that is a secret too: who lacks one of the two learns nothing. NULL:
 * none, as crypto_hkdf(). */
int crypto_hkdf_salted(struct secret *key, struct secret *salt, const void *info, size_t info_size,
                       struct secret **ret, struct error *err) _warn_unused_;

struct gcm_box {
        uint8_t iv[GCM_IV_SIZE]; /* random: see crypto_seal() */
        uint8_t tag[GCM_TAG_SIZE];
        uint8_t text[64];
        size_t size; /* of text */
};

enum crypto_verdict { CRYPTO_GOOD = 0, CRYPTO_FORGED = 1 };

/**
 * crypto_seal() - AES-256-GCM (NIST SP 800-38D)
 * @key:   32 bytes; borrowed
 * @aad:   associated data, @aad_size bytes: not encrypted, but any change shows
 * @plain: at most 64 bytes; borrowed
 *
 * The IV is random: a key may seal 2^32 times (section 8.3), which one KEK version never comes
 * near.
 */
int crypto_seal(struct secret *key, const void *aad, size_t aad_size, struct secret *plain,
                struct gcm_box *ret, struct error *err) _warn_unused_;

/* The reverse. Return: CRYPTO_GOOD and a new secret; CRYPTO_FORGED (other key, other associated
 * data, or altered), @ret untouched; or -EIO, -ENOMEM, -EPERM. */
int crypto_open(struct secret *key, const void *aad, size_t aad_size, const struct gcm_box *box,
                struct secret **ret, struct error *err) _warn_unused_;

/* What others sealed: as a gcm_box, of any size. All borrowed. */
struct gcm_text {
        const void *aad;
        size_t aad_size;
        const uint8_t *iv, *tag; /* GCM_IV_SIZE, GCM_TAG_SIZE */
        const uint8_t *text;
        size_t size;
};

/* As crypto_open(). */
int crypto_open_text(struct secret *key, const struct gcm_text *in, struct secret **ret,
                     struct error *err) _warn_unused_;

/* Whether @size bytes are equal, in a time that tells nothing about them. */
bool crypto_equal(const void *a, const void *b, size_t size);

/* Whether two secrets are the same, in a time that tells their sizes alone. */
bool crypto_same(struct secret *a, struct secret *b);

/* Base64 (RFC 4648, section 4, with padding). Encoding needs base64_size(size) bytes with the NUL.
 */
#define base64_size(n) (((size_t) (n) + 2) / 3 * 4 + 1)
int base64_encode(const uint8_t *data, size_t size, char *ret, size_t max,
                  struct error *err) _warn_unused_;
/* Strict: no white space, no missing padding, no stray bits. Return: 0; -EBADMSG, -ENOBUFS. */
int base64_decode(const char *text, uint8_t *ret, size_t max, size_t *ret_size,
                  struct error *err) _warn_unused_;

/* Base64url (RFC 4648, section 5, without padding: as JOSE has it) of @length characters; just as
 * strict, and no copy is made on the way. */
int base64url_decode(const char *text, size_t length, uint8_t *ret, size_t max, size_t *ret_size,
                     struct error *err) _warn_unused_;
