/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/openssl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

#include "base/file.h"

#define KEY_FILE_MAX (32 * 1024) /* bytes */
#define SECURE_HEAP (256 * 1024) /* bytes: an RSA key of 8192 bits takes 5 KiB */
#define SECURE_MIN 32            /* bytes of its smallest block */

static void info_freep(PKCS8_PRIV_KEY_INFO **i) {
        PKCS8_PRIV_KEY_INFO_free(*i); /* cleanses it */
}

static void sig_freep(X509_SIG **s) {
        X509_SIG_free(*s);
}

int error_openssl(struct error *err, const char *what) {
        char words[160];

        ERR_error_string_n(ERR_get_error(), words, sizeof(words));
        ERR_clear_error();
        return error_set(err, -EIO, "%s: %s", what, words);
}

bool openssl_number(const EVP_PKEY *key, const char *name, uint8_t *ret, size_t size) {
        _cleanup_(bn_freep) BIGNUM *n = NULL;

        return EVP_PKEY_get_bn_param(key, name, &n) == 1 &&
               BN_bn2binpad(n, ret, (int) size) == (int) size;
}

const struct openssl_curve *openssl_curve(const EVP_PKEY *key) {
        static const struct {
                const char *name;
                struct openssl_curve is;
        } curves[] = { { "prime256v1", { "P-256", 32 } },
                       { "secp384r1", { "P-384", 48 } },
                       { "secp521r1", { "P-521", 66 } } };
        char name[64];
        size_t n;

        if (!EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, name, sizeof(name),
                                            &n) ||
            strcmp(name, OSSL_PKEY_EC_ENCODING_GROUP) != 0 ||
            !EVP_PKEY_get_group_name(key, name, sizeof(name), &n))
                return NULL;
        for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
                if (strcmp(name, curves[i].name) == 0)
                        return &curves[i].is;
        return NULL;
}

int openssl_no_passphrase(char *buf, int size, int writing, void *unused) {
        (void) buf;
        (void) size;
        (void) writing;
        (void) unused;
        return -1;
}

/* --- private keys --- */

/* What the callback of a PEM file needs to know, and says. */
struct asked {
        const struct signer_ask *ask;
        const char *path;
        bool asked;
        struct error *err; /* filled where asking failed */
};

static int ask_passphrase(const struct asked *a, struct secret **ret) {
        char what[200];

        (void) snprintf(what, sizeof(what), "the key %s", a->path);
        make_printable(what);
        return a->ask->ask(a->ask->context, what, ret, a->err);
}

/* Instead of OpenSSL's, which asks at the terminal. */
static int give_passphrase(char *buf, int size, int writing, void *asked) {
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        struct asked *a = asked;

        (void) writing;
        a->asked = true;
        if (!a->ask || ask_passphrase(a, &passphrase) < 0 ||
            secret_size(passphrase) > (size_t) size)
                return -1;
        memcpy(buf, secret_data(passphrase), secret_size(passphrase));
        return (int) secret_size(passphrase);
}

/* @der: EncryptedPrivateKeyInfo (RFC 5958). NULL where it doesn't decrypt. */
static EVP_PKEY *decrypt_key(const uint8_t *der, size_t size, struct asked *a) {
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

static EVP_PKEY *decode_key(BIO *bio, struct asked *a) {
        unsigned char *der = NULL;
        const unsigned char *p;
        EVP_PKEY *key = NULL;
        char *kind = NULL;
        long size = 0;

        if (PEM_bytes_read_bio_secmem(&der, &size, &kind, PEM_STRING_EVP_PKEY, bio, give_passphrase,
                                      a) != 1)
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

int openssl_private_key(const char *path, const struct signer_ask *ask, EVP_PKEY **ret,
                        struct error *err) {
        _cleanup_(secret_freep) struct secret *pem = NULL;
        _cleanup_(bio_freep) BIO *bio = NULL;
        struct error fault = { 0 };
        struct asked asked = { .ask = ask, .path = path, .err = &fault };
        EVP_PKEY *key;
        int r;

        r = file_read_secret(path, KEY_FILE_MAX, &pem, err);
        if (r < 0)
                return r;
        /* Where the system grants no locked memory the key is in ordinary memory, and is cleansed.
         */
        if (!CRYPTO_secure_malloc_initialized())
                (void) CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_MIN);
        bio = BIO_new_mem_buf(secret_data(pem), (int) secret_size(pem));
        if (!bio)
                return error_nomem(err);
        key = decode_key(bio, &asked);
        ERR_clear_error();
        if (!key && fault.errnum) {
                *err = fault;
                return error_prefix(err, "%s", path);
        }
        if (!key && asked.asked)
                return error_set(err, -EBADMSG,
                                 ask ? "%s: damaged, or encrypted with another passphrase"
                                     : "%s: it's encrypted with a passphrase: decrypt it first "
                                       "(openssl pkey)",
                                 path);
        if (!key)
                return error_set(err, -EBADMSG, "%s: no private key in PEM there", path);
        *ret = key;
        return 0;
}
