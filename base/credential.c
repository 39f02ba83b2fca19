/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/credential.h"

#include <errno.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "base/openssl.h"

#define HASH_MAX 48
#define LABEL "IDENTITY" /* with its NUL: Part 1, 24.3 */

static const struct kind {
        const char *hash;
        size_t hash_size;
        const char *cipher;
        size_t cipher_key; /* bytes */
} kinds[] = {
        [CREDENTIAL_SHA256_AES128] = { "SHA256", 32, "AES-128-CFB", 16 },
        [CREDENTIAL_SHA384_AES256] = { "SHA384", 48, "AES-256-CFB", 32 },
};

static void cipher_freep(EVP_CIPHER **c) {
        EVP_CIPHER_free(*c);
}

static void md_freep(EVP_MD **m) {
        EVP_MD_free(*m);
}

/* --- the key --- */

static bool read_rsa(const EVP_PKEY *key, struct credential_key *ret) {
        _cleanup_(bn_freep) BIGNUM *e = NULL;
        int bits = EVP_PKEY_get_bits(key);

        ret->size = (size_t) bits / 8;
        return (bits == 2048 || bits == 3072 || bits == 4096) &&
               EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_word(e, 65537) &&
               openssl_number(key, OSSL_PKEY_PARAM_RSA_N, ret->x, ret->size);
}

static bool read_ec(const EVP_PKEY *key, struct credential_key *ret) {
        const struct openssl_curve *curve = openssl_curve(key);

        if (!curve || curve->size > sizeof(ret->y))
                return false;
        ret->ec = true;
        ret->size = curve->size;
        return openssl_number(key, OSSL_PKEY_PARAM_EC_PUB_X, ret->x, ret->size) &&
               openssl_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, ret->y, ret->size);
}

static int decode(const uint8_t *spki, size_t size, EVP_PKEY **ret_key, struct credential_key *ret,
                  struct error *err) {
        _cleanup_(pkey_freep) EVP_PKEY *key = NULL;
        struct credential_key k = { 0 };
        const unsigned char *p = spki;

        if (size <= 1024) /* larger than any that is taken */
                key = d2i_PUBKEY(NULL, &p, (long) size);
        if (!key || p != spki + size ||
            !(EVP_PKEY_is_a(key, "RSA")  ? read_rsa(key, &k)
              : EVP_PKEY_is_a(key, "EC") ? read_ec(key, &k)
                                         : false)) {
                ERR_clear_error();
                return error_set(err, -EBADMSG,
                                 "the endorsement key is neither RSA of 2048, 3072 or 4096 bits "
                                 "nor EC on P-256 or P-384");
        }
        *ret = k;
        if (ret_key)
                *ret_key = TAKE(key);
        return 0;
}

int credential_key_read(const uint8_t *spki, size_t size, struct credential_key *ret,
                        struct error *err) {
        return decode(spki, size, NULL, ret, err);
}

/* --- key derivation (Part 1, 11.4.10), of one block: no key here is longer than its hash --- */

struct bytes {
        const void *data;
        size_t size;
};

/* As many bytes as fit; what doesn't would be a mistake of ours. */
struct block {
        uint8_t data[256];
        size_t size;
        bool full;
};

static void put(struct block *b, struct bytes in) {
        if (in.size > sizeof(b->data) - b->size) {
                b->full = true;
                return;
        }
        if (in.size > 0)
                memcpy(b->data + b->size, in.data, in.size);
        b->size += in.size;
}

static void put_u32(struct block *b, uint32_t n) {
        const uint8_t be[] = { (uint8_t) (n >> 24), (uint8_t) (n >> 16), (uint8_t) (n >> 8),
                               (uint8_t) n };

        put(b, (struct bytes){ be, sizeof(be) });
}

static void put_u16(struct block *b, size_t n) {
        const uint8_t be[] = { (uint8_t) (n >> 8), (uint8_t) n };

        put(b, (struct bytes){ be, sizeof(be) });
}

/* HMAC over the counter, the label with its NUL, the context and the number of bits. What @size
 * doesn't ask for of @ret is more of the same key. */
static bool kdf_a(const struct kind *k, struct bytes key, const char *label, struct bytes context,
                  size_t size, uint8_t ret[HASH_MAX]) {
        struct block b = { 0 };
        size_t n;

        put_u32(&b, 1);
        put(&b, (struct bytes){ label, strlen(label) + 1 });
        put(&b, context);
        put_u32(&b, (uint32_t) (8 * size));
        return !b.full && EVP_Q_mac(NULL, "HMAC", NULL, k->hash, NULL, key.data, key.size, b.data,
                                    b.size, ret, HASH_MAX, &n);
}

/* The hash over the counter, the shared x, the label with its NUL, and both sides' x. */
static bool kdf_e(const struct kind *k, struct bytes z, struct bytes ours, struct bytes theirs,
                  uint8_t ret[HASH_MAX]) {
        struct block b = { 0 };
        bool done;

        put_u32(&b, 1);
        put(&b, z);
        put(&b, (struct bytes){ LABEL, sizeof(LABEL) });
        put(&b, ours);
        put(&b, theirs);
        done = !b.full && EVP_Q_digest(NULL, k->hash, NULL, b.data, b.size, ret, NULL);
        OPENSSL_cleanse(&b, sizeof(b));
        return done;
}

/* --- the seed, and the way in which it reaches the TPM (Part 1, annexes B.10.4 and C.6.4) --- */

static bool seed_rsa(const struct kind *k, EVP_PKEY *key, uint8_t seed[HASH_MAX],
                     struct credential *ret) {
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        _cleanup_(md_freep) EVP_MD *md = EVP_MD_fetch(NULL, k->hash, NULL);
        struct error ignored = { 0 };
        void *label;

        if (!ctx || !md || crypto_random(seed, k->hash_size, &ignored) < 0 ||
            EVP_PKEY_encrypt_init(ctx) <= 0 ||
            EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) <= 0 ||
            EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) <= 0 ||
            EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) <= 0)
                return false;
        label = OPENSSL_memdup(LABEL, sizeof(LABEL));
        if (!label || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label, sizeof(LABEL)) <= 0) {
                OPENSSL_free(label);
                return false;
        }
        ret->secret_size = sizeof(ret->secret);
        return EVP_PKEY_encrypt(ctx, ret->secret, &ret->secret_size, seed, k->hash_size) > 0;
}

/* ECDH of @key and a key that is made for this once. */
static bool share(EVP_PKEY *key, size_t size, struct credential_key *ret_ours, uint8_t *ret_z) {
        _cleanup_(pkey_freep) EVP_PKEY *ours = NULL;
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
        size_t n = size;

        ours = EVP_PKEY_Q_keygen(NULL, NULL, "EC", openssl_curve(key)->group);
        if (ours)
                ctx = EVP_PKEY_CTX_new_from_pkey(NULL, ours, NULL);
        return ctx && read_ec(ours, ret_ours) && EVP_PKEY_derive_init(ctx) > 0 &&
               EVP_PKEY_derive_set_peer(ctx, key) > 0 && EVP_PKEY_derive(ctx, ret_z, &n) > 0 &&
               n == size;
}

static bool seed_ec(const struct kind *k, EVP_PKEY *key, const struct credential_key *theirs,
                    uint8_t seed[HASH_MAX], struct credential *ret) {
        struct credential_key ours = { 0 };
        const struct bytes x = { ours.x, theirs->size }, y = { ours.y, theirs->size };
        struct block point = { 0 };
        uint8_t z[48];
        bool done;

        done = share(key, theirs->size, &ours, z) &&
               kdf_e(k, (struct bytes){ z, theirs->size }, x,
                     (struct bytes){ theirs->x, theirs->size }, seed);
        OPENSSL_cleanse(z, sizeof(z));
        if (!done)
                return false;
        put_u16(&point, x.size);
        put(&point, x);
        put_u16(&point, y.size);
        put(&point, y);
        memcpy(ret->secret, point.data, point.size);
        ret->secret_size = point.size;
        return !point.full;
}

/* --- the credential --- */

/* CFB with an IV of zeros: the key is used this once. */
static bool encrypt(const struct kind *k, const uint8_t *key, struct bytes in, uint8_t *ret) {
        _cleanup_(cipher_freep) EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, k->cipher, NULL);
        _cleanup_(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        static const uint8_t iv[16];
        int n;

        return cipher && ctx && EVP_EncryptInit_ex2(ctx, cipher, key, iv, NULL) == 1 &&
               EVP_EncryptUpdate(ctx, ret, &n, in.data, (int) in.size) == 1 && n == (int) in.size;
}

/* The challenge with its size, encrypted; before it an HMAC over that and the Name. */
static bool wrap(const struct credential_request *q, struct bytes seed, struct credential *ret) {
        const struct kind *k = &kinds[q->kind];
        const struct bytes name = { q->name, q->name_size };
        uint8_t key[HASH_MAX], mac[HASH_MAX], text[2 + CREDENTIAL_CHALLENGE_MAX];
        struct block plain = { 0 }, covered = { 0 }, blob = { 0 };
        size_t n;
        bool done;

        put_u16(&plain, q->challenge_size);
        put(&plain, (struct bytes){ q->challenge, q->challenge_size });
        done = kdf_a(k, seed, "STORAGE", name, k->cipher_key, key) &&
               encrypt(k, key, (struct bytes){ plain.data, plain.size }, text) &&
               kdf_a(k, seed, "INTEGRITY", (struct bytes){ 0 }, k->hash_size, key);
        put(&covered, (struct bytes){ text, plain.size });
        put(&covered, name);
        done = done && !covered.full &&
               EVP_Q_mac(NULL, "HMAC", NULL, k->hash, NULL, key, k->hash_size, covered.data,
                         covered.size, mac, sizeof(mac), &n);
        OPENSSL_cleanse(key, sizeof(key));
        OPENSSL_cleanse(&plain, sizeof(plain));
        if (!done)
                return false;
        put_u16(&blob, k->hash_size);
        put(&blob, (struct bytes){ mac, k->hash_size });
        put(&blob, (struct bytes){ text, 2 + q->challenge_size });
        memcpy(ret->blob, blob.data, blob.size);
        ret->blob_size = blob.size;
        return true;
}

int credential_make(const struct credential_request *q, struct credential *ret, struct error *err) {
        const struct kind *k = &kinds[q->kind];
        _cleanup_(pkey_freep) EVP_PKEY *key = NULL;
        struct credential_key theirs;
        struct credential made = { 0 };
        uint8_t seed[HASH_MAX];
        bool done;
        int r;

        if (q->name_size == 0 || q->name_size > CREDENTIAL_NAME_MAX || q->challenge_size == 0 ||
            q->challenge_size > CREDENTIAL_CHALLENGE_MAX)
                return error_set(err, -EINVAL, "make a credential: sizes out of range");
        r = decode(q->spki, q->spki_size, &key, &theirs, err);
        if (r < 0)
                return r;
        done = (theirs.ec ? seed_ec(k, key, &theirs, seed, &made)
                          : seed_rsa(k, key, seed, &made)) &&
               wrap(q, (struct bytes){ seed, k->hash_size }, &made);
        OPENSSL_cleanse(seed, sizeof(seed));
        if (!done)
                return error_openssl(err, "make a credential");
        *ret = made;
        return 0;
}
