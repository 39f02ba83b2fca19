/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/cleanup.h"

/* A certification authority of one's own, and whatever certificates it is told to sign. */
struct ca {
        X509 *cert;
        EVP_PKEY *key;
};

#define CA_EK_SAN "critical,dirName:maker"

struct ca_how {
        const char *name;                           /* CN */
        int from, until;                            /* days from now */
        const char *basic, *usage, *extended, *san; /* extensions in OpenSSL's words; NULL: none */
        bool sha1;                                  /* the signature's hash */
        bool stranger; /* an extension that's critical, and nobody knows */
};

/* As a TPM's maker does it. @ec: the key that it is for. */
struct ca_how ca_how_ek(bool ec);
struct ca_how ca_how_authority(const char *name);

/* "RSA" with @bits, or a curve. Aborts where it can't. */
EVP_PKEY *ca_key_new(const char *curve, unsigned bits);
/* @issuer: NULL for one that signs itself, with @key. */
X509 *ca_sign(const struct ca *issuer, EVP_PKEY *key, const struct ca_how *how);
/* A new key and its certificate. */
struct ca ca_new(const struct ca *issuer, const struct ca_how *how);
void ca_done(struct ca *ca);

size_t ca_der(const X509 *x, uint8_t *ret, size_t max);
/* Adds it to the end of a file. */
void ca_append(const X509 *x, const char *path);

static inline void ca_x509_freep(X509 **x) {
        X509_free(*x);
}

static inline void ca_key_freep(EVP_PKEY **k) {
        EVP_PKEY_free(*k);
}
