/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/sign.h"

/* What the doors to OpenSSL share. For them alone: tests/check-layers has the list. */

static inline void bio_freep(BIO **b) {
        BIO_free_all(*b);
}

static inline void bn_freep(BIGNUM **n) {
        BN_clear_free(*n);
}

static inline void cipher_ctx_freep(EVP_CIPHER_CTX **c) {
        EVP_CIPHER_CTX_free(*c); /* cleanses the key schedule */
}

static inline void digest_freep(EVP_MD_CTX **c) {
        EVP_MD_CTX_free(*c);
}

static inline void ecdsa_freep(ECDSA_SIG **s) {
        ECDSA_SIG_free(*s);
}

static inline void openssl_freep(void *p) {
        OPENSSL_free(*(void **) p);
}

static inline void pkey_freep(EVP_PKEY **p) {
        EVP_PKEY_free(*p); /* cleanses a private half */
}

static inline void pkey_ctx_freep(EVP_PKEY_CTX **c) {
        EVP_PKEY_CTX_free(*c);
}

static inline void pubkey_freep(X509_PUBKEY **p) {
        X509_PUBKEY_free(*p);
}

static inline void x509_freep(X509 **x) {
        X509_free(*x);
}

/* Takes OpenSSL's oldest complaint, and forgets the others. Return: -EIO, and @err says @what and
 * why. */
int error_openssl(struct error *err, const char *what);

/* The number of @key that OpenSSL calls @name, big-endian with zeros before it. Return: whether
 * it's there and fits into @size bytes. */
bool openssl_number(const EVP_PKEY *key, const char *name, uint8_t *ret, size_t size) _warn_unused_;

struct openssl_curve {
        const char *group; /* "P-256", "P-384", "P-521" */
        size_t size;       /* bytes of a coordinate */
};

/* Which curve an EC key is on; NULL for another one, and for one that is spelled out instead of
 * named (RFC 5480, 2.1.1): its parameters may say anything. */
const struct openssl_curve *openssl_curve(const EVP_PKEY *key);

/* For readers of PEM that must not ask at the terminal, as OpenSSL does by itself. */
int openssl_no_passphrase(char *buf, int size, int writing, void *unused);

/* Reads the private key of a PEM file ("-": standard input). @ask: as signer_open() has it. Return:
 * 0; -EBADMSG (no key there, a damaged one, or encrypted and there's no passphrase for it); or a
 * fault. */
int openssl_private_key(const char *path, const struct signer_ask *ask, EVP_PKEY **ret,
                        struct error *err) _warn_unused_;
