/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/p256.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>

#include "base/crypto.h"

#define DER_MAX 72 /* of a signature: two integers of 33 bytes, and six bytes around them */

/* How many points the curve has (SP 800-186, 3.2.1.3). */
static const uint8_t order[P256_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                          0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };

static void number_freep(BIGNUM **n) {
        BN_clear_free(*n);
}

static void numbers_freep(BN_CTX **c) {
        BN_CTX_free(*c);
}

static void group_freep(EC_GROUP **g) {
        EC_GROUP_free(*g);
}

static void point_freep(EC_POINT **p) {
        EC_POINT_clear_free(*p);
}

static void pkey_freep(EVP_PKEY **p) {
        EVP_PKEY_free(*p); /* cleanses the scalar */
}

static void pkey_ctx_freep(EVP_PKEY_CTX **c) {
        EVP_PKEY_CTX_free(*c);
}

static void sig_freep(ECDSA_SIG **s) {
        ECDSA_SIG_free(*s);
}

/* OpenSSL's fast code for this curve keeps the scalar in arrays on its stack. */
static __attribute__((noinline)) void wipe_dead_stack(void) {
        uint8_t dead[32 * 1024];

        explicit_bzero(dead, sizeof(dead));
}

static int error_openssl(struct error *err, const char *what) {
        char words[160];

        ERR_error_string_n(ERR_get_error(), words, sizeof(words));
        ERR_clear_error();
        return error_set(err, -EIO, "P-256: %s: %s", what, words);
}

/* Whether 0 < @d < order, in a time that tells nothing about it. */
static bool is_scalar(const uint8_t *d) {
        unsigned borrow = 0, any = 0;

        for (unsigned i = P256_SIZE; i-- > 0;) {
                borrow = ((unsigned) d[i] - order[i] - borrow) >> 8 & 1;
                any |= d[i];
        }
        return borrow && any;
}

static int check_key(struct secret *key, struct error *err) {
        if (secret_size(key) != P256_SIZE || !is_scalar(secret_data(key)))
                return error_set(err, -EINVAL, "P-256: this is no private key");
        return 0;
}

/* Candidates that are too large are thrown away, one in 2^32 (FIPS 186-5, A.2.2). */
int p256_make(struct secret **ret, struct error *err) {
        for (;;) {
                _cleanup_(secret_freep) struct secret *key = NULL;
                int r = crypto_random_secret(P256_SIZE, &key, err);

                if (r < 0)
                        return r;
                if (!is_scalar(secret_data(key)))
                        continue;
                *ret = TAKE(key);
                return 0;
        }
}

static BIGNUM *number_of(struct secret *key) {
        BIGNUM *d = BN_secure_new();

        if (!d || !BN_bin2bn(secret_data(key), P256_SIZE, d)) {
                BN_clear_free(d);
                return NULL;
        }
        BN_set_flags(d, BN_FLG_CONSTTIME);
        return d;
}

static int multiply(struct secret *key, struct p256_point *ret, struct error *err) {
        _cleanup_(group_freep) EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
        _cleanup_(point_freep) EC_POINT *point = group ? EC_POINT_new(group) : NULL;
        _cleanup_(numbers_freep) BN_CTX *space = BN_CTX_secure_new();
        _cleanup_(number_freep) BIGNUM *d = number_of(key);
        _cleanup_(number_freep) BIGNUM *x = BN_new();
        _cleanup_(number_freep) BIGNUM *y = BN_new();
        struct p256_point made;

        if (!point || !space || !d || !x || !y ||
            EC_POINT_mul(group, point, d, NULL, NULL, space) != 1 ||
            EC_POINT_get_affine_coordinates(group, point, x, y, space) != 1 ||
            BN_bn2binpad(x, made.x, P256_SIZE) != P256_SIZE ||
            BN_bn2binpad(y, made.y, P256_SIZE) != P256_SIZE)
                return error_openssl(err, "public key");
        *ret = made;
        return 0;
}

int p256_public(struct secret *key, struct p256_point *ret, struct error *err) {
        int r;

        r = check_key(key, err);
        if (r < 0)
                return r;
        r = multiply(key, ret, err);
        wipe_dead_stack();
        return r;
}

/* The key as OpenSSL wants it, without its public half: signing has no use for that. */
static int import(struct secret *key, EVP_PKEY **ret, struct error *err) {
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
        _cleanup_(secret_freep) struct secret *native = NULL;
        _cleanup_(number_freep) BIGNUM *d = number_of(key);
        char curve[] = "P-256";
        OSSL_PARAM params[3];
        int r;

        r = secret_new(P256_SIZE, &native);
        if (r < 0)
                return error_errno(err, r, "P-256: no locked memory for a key");
        if (!ctx || !d || BN_bn2nativepad(d, secret_data(native), P256_SIZE) != P256_SIZE)
                return error_openssl(err, "private key");

        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0);
        params[1] =
                OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, secret_data(native), P256_SIZE);
        params[2] = OSSL_PARAM_construct_end();
        if (EVP_PKEY_fromdata_init(ctx) != 1 ||
            EVP_PKEY_fromdata(ctx, ret, EVP_PKEY_KEYPAIR, params) != 1)
                return error_openssl(err, "private key");
        return 0;
}

static int sign(struct secret *key, const uint8_t *digest, struct p256_signature *ret,
                struct error *err) {
        _cleanup_(pkey_freep) EVP_PKEY *pkey = NULL;
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
        _cleanup_(sig_freep) ECDSA_SIG *sig = NULL;
        struct p256_signature made;
        uint8_t der[DER_MAX];
        const uint8_t *at = der;
        size_t size = sizeof(der);
        int r;

        r = import(key, &pkey, err);
        if (r < 0)
                return r;
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        if (!ctx || EVP_PKEY_sign_init(ctx) != 1 ||
            EVP_PKEY_sign(ctx, der, &size, digest, P256_SIZE) != 1)
                return error_openssl(err, "sign");
        sig = d2i_ECDSA_SIG(NULL, &at, (long) size);
        if (!sig || BN_bn2binpad(ECDSA_SIG_get0_r(sig), made.r, P256_SIZE) != P256_SIZE ||
            BN_bn2binpad(ECDSA_SIG_get0_s(sig), made.s, P256_SIZE) != P256_SIZE)
                return error_openssl(err, "sign");
        *ret = made;
        return 0;
}

int p256_sign(struct secret *key, const uint8_t digest[P256_SIZE], struct p256_signature *ret,
              struct error *err) {
        int r;

        r = check_key(key, err);
        if (r < 0)
                return r;
        r = sign(key, digest, ret, err);
        wipe_dead_stack();
        return r;
}
