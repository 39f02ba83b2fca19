/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/sign.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include "base/crypto.h"
#include "base/file.h"
#include "base/pkcs11.h"
#include "base/public.h"

#define KEY_FILE_MAX (32 * 1024) /* bytes */
#define SECURE_HEAP (256 * 1024) /* bytes: as base/cms.c has it */
#define SECURE_MIN 32

struct signer {
        EVP_PKEY *key;         /* of a file */
        struct pkcs11 *pkcs11; /* of a token */
        uint8_t public[STEP_KEY_MAX];
        size_t public_size;
};

static void bio_freep(BIO **b) {
        BIO_free_all(*b);
}

static void digest_freep(EVP_MD_CTX **c) {
        EVP_MD_CTX_free(*c);
}

static void info_freep(PKCS8_PRIV_KEY_INFO **i) {
        PKCS8_PRIV_KEY_INFO_free(*i); /* cleanses it */
}

static void sig_freep(X509_SIG **s) {
        X509_SIG_free(*s);
}

static void openssl_freep(void *p) {
        OPENSSL_free(*(void **) p);
}

static int error_openssl(struct error *err, const char *what) {
        char words[160];

        ERR_error_string_n(ERR_get_error(), words, sizeof(words));
        ERR_clear_error();
        return error_set(err, -EIO, "%s: %s", what, words);
}

struct signer *signer_free(struct signer *s) {
        if (!s)
                return NULL;
        EVP_PKEY_free(s->key); /* cleanses it */
        pkcs11_free(s->pkcs11);
        free(s);
        return NULL;
}

/* --- files --- */

/* What the callback of a PEM file needs to know, and says. */
struct pem_asked {
        const struct signer_ask *ask;
        const char *path;
        bool asked;
        struct error *err; /* filled where asking failed */
};

static int ask_passphrase(const struct pem_asked *a, struct secret **ret) {
        char what[200];

        (void) snprintf(what, sizeof(what), "the key %s", a->path);
        for (char *c = what; *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
        return a->ask->ask(a->ask->context, what, ret, a->err);
}

/* Instead of OpenSSL's, which asks at the terminal. */
static int give_passphrase(char *buf, int size, int writing, void *asked) {
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        struct pem_asked *a = asked;

        (void) writing;
        a->asked = true;
        if (!a->ask || ask_passphrase(a, &passphrase) < 0 ||
            secret_size(passphrase) > (size_t) size)
                return -1;
        memcpy(buf, secret_data(passphrase), secret_size(passphrase));
        return (int) secret_size(passphrase);
}

/* @der: EncryptedPrivateKeyInfo (RFC 5958). NULL where it doesn't decrypt. */
static EVP_PKEY *decrypt_key(const uint8_t *der, size_t size, struct pem_asked *a) {
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        _cleanup_(info_freep) PKCS8_PRIV_KEY_INFO *info = NULL;
        _cleanup_(sig_freep) X509_SIG *sig = NULL;
        const unsigned char *p = der;

        a->asked = true;
        if (!a->ask)
                return NULL;
        sig = d2i_X509_SIG(NULL, &p, (long) size);
        if (!sig || p != der + size || ask_passphrase(a, &passphrase) < 0)
                return NULL;
        info = PKCS8_decrypt(sig, (const char *) secret_data(passphrase),
                             (int) secret_size(passphrase));
        return info ? EVP_PKCS82PKEY(info) : NULL;
}

static EVP_PKEY *decode_key(struct secret *pem, struct pem_asked *a) {
        _cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(secret_data(pem), (int) secret_size(pem));
        unsigned char *der = NULL;
        const unsigned char *p;
        EVP_PKEY *key = NULL;
        char *kind = NULL;
        long size = 0;

        if (!bio || PEM_bytes_read_bio_secmem(&der, &size, &kind, PEM_STRING_EVP_PKEY, bio,
                                              give_passphrase, a) != 1)
                return NULL;
        p = der;
        if (strcmp(kind, PEM_STRING_PKCS8) == 0) {
                key = decrypt_key(der, (size_t) size, a);
        } else {
                key = d2i_AutoPrivateKey(NULL, &p, size);
                if (key && p != der + size) {
                        EVP_PKEY_free(key);
                        key = NULL;
                }
        }
        OPENSSL_secure_clear_free(der, (size_t) size);
        OPENSSL_secure_free(kind);
        return key;
}

static int open_file(const char *path, const struct signer_ask *ask, struct signer *s,
                     struct error *err) {
        _cleanup_(openssl_freep) unsigned char *der = NULL;
        _cleanup_(secret_freep) struct secret *pem = NULL;
        struct error fault = { 0 };
        struct pem_asked asked = { .ask = ask, .path = path, .err = &fault };
        int n, r;

        r = file_read_secret(path, KEY_FILE_MAX, &pem, err);
        if (r < 0)
                return r;
        /* Where the system grants no locked memory the key is in ordinary memory, and is cleansed.
         */
        if (!CRYPTO_secure_malloc_initialized())
                (void) CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_MIN);
        s->key = decode_key(pem, &asked);
        ERR_clear_error();
        if (!s->key && fault.errnum) {
                *err = fault;
                return error_prefix(err, "%s", path);
        }
        if (!s->key && asked.asked)
                return error_set(err, -EBADMSG,
                                 ask ? "%s: damaged, or encrypted with another passphrase"
                                     : "%s: it's encrypted with a passphrase: decrypt it first "
                                       "(openssl pkey)",
                                 path);
        if (!s->key)
                return error_set(err, -EBADMSG, "%s: no private key in PEM there", path);
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
