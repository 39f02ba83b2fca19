/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/crypto.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "base/openssl.h"

static void kdf_ctx_freep(EVP_KDF_CTX **c) {
        EVP_KDF_CTX_free(*c); /* cleanses its copy of the key */
}

int crypto_random(void *buf, size_t size, struct error *err) {
        if (size > INT_MAX || RAND_priv_bytes(buf, (int) size) != 1)
                return error_openssl(err, "get random bytes");
        return 0;
}

int crypto_random_secret(size_t size, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        int r;

        r = secret_new(size, &s);
        if (r < 0)
                return error_errno(err, r, "no locked memory for %zu bytes", size);
        r = crypto_random(secret_data(s), size, err);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

int crypto_sha256(const void *data, size_t size, uint8_t ret[SHA256_SIZE], struct error *err) {
        /* Looked up once: to find it costs more than to hash a page. It lasts as long as we do. */
        static EVP_MD *sha256;

        if (!sha256)
                sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        if (!sha256 || EVP_Digest(data, size, ret, NULL, sha256, NULL) != 1)
                return error_openssl(err, "SHA-256");
        return 0;
}

static bool hash_chunk(EVP_MD_CTX *ctx, const struct chunk *c) {
        static const uint8_t zeros[4096];
        size_t left = c->size;

        if (c->data)
                return EVP_DigestUpdate(ctx, c->data, c->size) == 1;
        while (left > 0) {
                size_t some = left < sizeof(zeros) ? left : sizeof(zeros);

                if (EVP_DigestUpdate(ctx, zeros, some) != 1)
                        return false;
                left -= some;
        }
        return true;
}

int crypto_hash(enum pcr_bank bank, const struct chunk *chunks, size_t n, uint8_t ret[PCR_SIZE_MAX],
                struct error *err) {
        _cleanup_(digest_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t digest[PCR_SIZE_MAX];

        if (!ctx ||
            EVP_DigestInit_ex(ctx, bank == PCR_SHA384 ? EVP_sha384() : EVP_sha256(), NULL) != 1)
                return error_openssl(err, "hash");
        for (size_t i = 0; i < n; i++)
                if (!hash_chunk(ctx, &chunks[i]))
                        return error_openssl(err, "hash");
        if (EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
                return error_openssl(err, "hash");
        memcpy(ret, digest, pcr_size(bank));
        return 0;
}

int crypto_hmac(struct secret *key, const void *data, size_t size, uint8_t ret[SHA256_SIZE],
                struct error *err) {
        size_t written;

        if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret_data(key), secret_size(key), data,
                       size, ret, SHA256_SIZE, &written))
                return error_openssl(err, "HMAC-SHA256");
        return 0;
}

int crypto_hkdf_salted(struct secret *key, struct secret *salt, const void *info, size_t info_size,
                       struct secret **ret, struct error *err) {
        static EVP_KDF *kdf; /* looked up once, as SHA-256 */
        _cleanup_(kdf_ctx_freep) EVP_KDF_CTX *ctx = NULL;
        _cleanup_(secret_freep) struct secret *out = NULL;
        char digest[] = "SHA256";
        OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret_data(key),
                                                  secret_size(key)),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info, info_size),
                OSSL_PARAM_construct_end(), /* or the salt */
                OSSL_PARAM_construct_end(),
        };
        int r;

        if (salt)
                params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
                                                              secret_data(salt), secret_size(salt));
        if (!kdf)
                kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        if (kdf)
                ctx = EVP_KDF_CTX_new(kdf);
        if (!ctx)
                return error_openssl(err, "HKDF");
        r = secret_new(SHA256_SIZE, &out);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a derived key");
        if (EVP_KDF_derive(ctx, secret_data(out), SHA256_SIZE, params) != 1)
                return error_openssl(err, "HKDF");
        *ret = TAKE(out);
        return 0;
}

int crypto_hkdf(struct secret *key, const void *info, size_t info_size, struct secret **ret,
                struct error *err) {
        return crypto_hkdf_salted(key, NULL, info, info_size, ret, err);
}

int crypto_seal(struct secret *key, const void *aad, size_t aad_size, struct secret *plain,
                struct gcm_box *ret, struct error *err) {
        _cleanup_(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = NULL;
        struct gcm_box box = { .size = secret_size(plain) };
        int n, r;

        if (secret_size(key) != 32 || box.size > sizeof(box.text) || aad_size > INT_MAX)
                return error_set(err, -EINVAL, "AES-256-GCM: sizes out of range");
        r = crypto_random(box.iv, sizeof(box.iv), err);
        if (r < 0)
                return r;

        ctx = EVP_CIPHER_CTX_new();
        if (!ctx ||
            EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, secret_data(key), box.iv) != 1 ||
            EVP_EncryptUpdate(ctx, NULL, &n, aad, (int) aad_size) != 1 ||
            EVP_EncryptUpdate(ctx, box.text, &n, secret_data(plain), (int) box.size) != 1 ||
            EVP_EncryptFinal_ex(ctx, box.text + n, &n) != 1 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_SIZE, box.tag) != 1)
                return error_openssl(err, "AES-256-GCM");

        *ret = box;
        return 0;
}

int crypto_open_text(struct secret *key, const struct gcm_text *in, struct secret **ret,
                     struct error *err) {
        _cleanup_(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = NULL;
        _cleanup_(secret_freep) struct secret *plain = NULL;
        int n, r;

        if (secret_size(key) != 32 || in->size == 0 || in->size > INT_MAX || in->aad_size > INT_MAX)
                return error_set(err, -EINVAL, "AES-256-GCM: sizes out of range");
        r = secret_new(in->size, &plain);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a key");

        ctx = EVP_CIPHER_CTX_new();
        if (!ctx ||
            EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, secret_data(key), in->iv) != 1 ||
            EVP_DecryptUpdate(ctx, NULL, &n, in->aad, (int) in->aad_size) != 1 ||
            EVP_DecryptUpdate(ctx, secret_data(plain), &n, in->text, (int) in->size) != 1 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_SIZE, (void *) in->tag) != 1)
                return error_openssl(err, "AES-256-GCM");
        if (EVP_DecryptFinal_ex(ctx, secret_data(plain) + n, &n) != 1) {
                ERR_clear_error();
                return CRYPTO_FORGED;
        }

        *ret = TAKE(plain);
        return CRYPTO_GOOD;
}

int crypto_open(struct secret *key, const void *aad, size_t aad_size, const struct gcm_box *box,
                struct secret **ret, struct error *err) {
        const struct gcm_text in = { aad, aad_size, box->iv, box->tag, box->text, box->size };

        if (box->size > sizeof(box->text))
                return error_set(err, -EINVAL, "AES-256-GCM: sizes out of range");
        return crypto_open_text(key, &in, ret, err);
}

void crypto_set_up(void) {
        _cleanup_(secret_freep) struct secret *key = NULL, *derived = NULL;
        struct gcm_box box;
        uint8_t sum[SHA256_SIZE];
        struct error ignored = { 0 };

        if (crypto_sha256("", 0, sum, &ignored) < 0 ||
            crypto_random_secret(32, &key, &ignored) < 0 ||
            crypto_hkdf(key, "", 0, &derived, &ignored) < 0 ||
            crypto_hmac(derived, "", 0, sum, &ignored) < 0 ||
            crypto_seal(key, "", 0, derived, &box, &ignored) < 0)
                return;
}

bool crypto_equal(const void *a, const void *b, size_t size) {
        return CRYPTO_memcmp(a, b, size) == 0;
}

bool crypto_same(struct secret *a, struct secret *b) {
        return secret_size(a) == secret_size(b) &&
               crypto_equal(secret_data(a), secret_data(b), secret_size(a));
}

int base64_encode(const uint8_t *data, size_t size, char *ret, size_t max, struct error *err) {
        if (size > INT_MAX / 2 || max < base64_size(size))
                return error_set(err, -ENOBUFS, "base64: no room for %zu bytes", size);
        (void) EVP_EncodeBlock((unsigned char *) ret, data, (int) size);
        return 0;
}

int base64_decode(const char *text, uint8_t *ret, size_t max, size_t *ret_size, struct error *err) {
        size_t length = strlen(text), size;
        _cleanup_(freep) uint8_t *raw = NULL;
        _cleanup_(freep) char *again = NULL;

        if (length % 4 || length > INT_MAX / 2)
                return error_set(err, -EBADMSG, "base64: %zu characters", length);
        size = length / 4 * 3;
        for (size_t i = 0; i < 2 && i < length && text[length - 1 - i] == '='; i++)
                size--;
        if (size > max)
                return error_set(err, -ENOBUFS, "base64: %zu bytes where %zu fit", size, max);

        raw = calloc(1, length / 4 * 3 + 1);
        again = calloc(1, length + 1);
        if (!raw || !again)
                return error_nomem(err);
        /* EVP_DecodeBlock() is lenient: only what encodes to the same text again is taken. */
        if (length > 0 &&
            (EVP_DecodeBlock(raw, (const unsigned char *) text, (int) length) < 0 ||
             EVP_EncodeBlock((unsigned char *) again, raw, (int) size) != (int) length ||
             memcmp(again, text, length) != 0)) {
                ERR_clear_error();
                return error_set(err, -EBADMSG, "not base64");
        }
        if (size > 0)
                memcpy(ret, raw, size);
        *ret_size = size;
        return 0;
}

/* Return: the six bits that @c stands for, or -1. */
static int base64url_digit(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int base64url_decode(const char *text, size_t length, uint8_t *ret, size_t max, size_t *ret_size,
                     struct error *err) {
        size_t size = length / 4 * 3 + (length % 4 ? length % 4 - 1 : 0), n = 0;
        uint32_t bits = 0;
        unsigned have = 0;

        if (length % 4 == 1)
                return error_set(err, -EBADMSG, "base64url: %zu characters", length);
        if (size > max)
                return error_set(err, -ENOBUFS, "base64url: %zu bytes where %zu fit", size, max);
        for (size_t i = 0; i < length; i++) {
                int digit = base64url_digit(text[i]);

                if (digit < 0)
                        return error_set(err, -EBADMSG, "not base64url");
                bits = (bits << 6 | (uint32_t) digit) & 0xfff;
                have += 6;
                if (have >= 8) {
                        have -= 8;
                        ret[n++] = (uint8_t) (bits >> have);
                }
        }
        /* Bits that stand for nothing must be zero, or two texts would mean the same. */
        if (bits & ((1u << have) - 1))
                return error_set(err, -EBADMSG, "not base64url");
        *ret_size = size;
        return 0;
}
