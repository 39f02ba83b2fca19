/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/sign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/openssl.h"
#include "base/pkcs11.h"
#include "base/public.h"

struct signer {
        EVP_PKEY *key;         /* of a file */
        struct pkcs11 *pkcs11; /* of a token */
        uint8_t public[STEP_KEY_MAX];
        size_t public_size;
};

struct signer *signer_free(struct signer *s) {
        if (!s)
                return NULL;
        EVP_PKEY_free(s->key); /* cleanses it */
        pkcs11_free(s->pkcs11);
        free(s);
        return NULL;
}

/* --- files --- */

static int open_file(const char *path, const struct signer_ask *ask, struct signer *s,
                     struct error *err) {
        _cleanup_(openssl_freep) unsigned char *der = NULL;
        int n, r;

        r = openssl_private_key(path, ask, &s->key, err);
        if (r < 0)
                return r;
        n = i2d_PUBKEY(s->key, &der);
        if (n <= 0)
                return error_openssl(err, path);
        if ((size_t) n > sizeof(s->public))
                return error_set(err, -EOPNOTSUPP, "%s: the key is too large", path);
        memcpy(s->public, der, (size_t) n);
        s->public_size = (size_t) n;
        return 0;
}

static int sign_by_file(EVP_PKEY *key, const void *data, size_t size, uint8_t *ret,
                        size_t *ret_size, struct error *err) {
        _cleanup_(digest_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        size_t n = SIGNATURE_MAX;

        if (!ctx || EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) != 1 ||
            EVP_DigestSign(ctx, ret, &n, data, size) != 1)
                return error_openssl(err, "sign");
        *ret_size = n;
        return 0;
}

/* --- tokens --- */

static int open_token(const char *uri, const struct signer_ask *ask, struct signer *s,
                      struct error *err) {
        int r = pkcs11_open(uri, ask, &s->pkcs11, err);

        if (r < 0)
                return r;
        return public_from_parts(pkcs11_public(s->pkcs11), s->public, &s->public_size, err);
}

static int sign_by_token(struct pkcs11 *p, const void *data, size_t size, uint8_t *ret,
                         size_t *ret_size, struct error *err) {
        const struct public_parts *parts = pkcs11_public(p);
        uint8_t hash[SHA256_SIZE], raw[SIGNATURE_MAX];
        size_t n;
        int r;

        r = crypto_sha256(data, size, hash, err);
        if (r < 0)
                return r;
        if (parts->kind == PUBLIC_RSA)
                return pkcs11_sign(p, hash, ret, ret_size, err);
        r = pkcs11_sign(p, hash, raw, &n, err);
        if (r < 0)
                return r;
        if (n != 2 * parts->size)
                return error_set(err, -EIO, "the token signs with %zu bytes instead of %zu", n,
                                 2 * parts->size);
        return public_signature_join(raw, raw + parts->size, parts->size, ret, ret_size, err);
}

/* --- both --- */

int signer_open(const char *key, const struct signer_ask *ask, struct signer **ret,
                struct error *err) {
        _cleanup_(signer_freep) struct signer *s = calloc(1, sizeof(*s));
        struct public_parts parts;
        int r;

        if (!s)
                return error_nomem(err);
        r = strncmp(key, "pkcs11:", 7) == 0 ? open_token(key, ask, s, err)
                                            : open_file(key, ask, s, err);
        if (r < 0)
                return r;
        r = public_parse(s->public, s->public_size, &parts, err);
        if (r < 0)
                return error_prefix(err, "a key to sign with");
        *ret = TAKE(s);
        return 0;
}

const uint8_t *signer_public(const struct signer *s, size_t *ret_size) {
        *ret_size = s->public_size;
        return s->public;
}

int signer_sign(struct signer *s, const void *data, size_t size, uint8_t *ret, size_t *ret_size,
                struct error *err) {
        struct public_signed what = { .data = data, .size = size };
        uint8_t sig[SIGNATURE_MAX];
        size_t n;
        int r;

        r = s->key ? sign_by_file(s->key, data, size, sig, &n, err)
                   : sign_by_token(s->pkcs11, data, size, sig, &n, err);
        if (r < 0)
                return r;
        what.signature = sig;
        what.signature_size = n;
        r = public_verify(s->public, s->public_size, &what, err);
        if (r < 0)
                return r;
        if (r != CRYPTO_GOOD)
                return error_set(err, -EIO, "the key made a signature that isn't one of its own");
        memcpy(ret, sig, n);
        *ret_size = n;
        return 0;
}
