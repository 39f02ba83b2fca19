/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/p256.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>

#include "base/crypto.h"
#include "base/openssl.h"
#include "base/public.h"

#define DER_MAX 72 /* of a signature: two integers of 33 bytes, and six bytes around them */

/* How many points the curve has (SP 800-186, 3.2.1.3). */
static const uint8_t order[P256_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                          0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };

static void numbers_freep(BN_CTX **c) {
        BN_CTX_free(*c);
}

static void group_freep(EC_GROUP **g) {
        EC_GROUP_free(*g);
}

static void point_freep(EC_POINT **p) {
        EC_POINT_clear_free(*p);
}

/* OpenSSL's fast code for this curve keeps the scalar in arrays on its stack. */
static __attribute__((noinline)) void wipe_dead_stack(void) {
        uint8_t dead[32 * 1024];

        explicit_bzero(dead, sizeof(dead));
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
        _cleanup_(bn_freep) BIGNUM *d = number_of(key);
        _cleanup_(bn_freep) BIGNUM *x = BN_new();
        _cleanup_(bn_freep) BIGNUM *y = BN_new();
        struct p256_point made;

        if (!point || !space || !d || !x || !y ||
            EC_POINT_mul(group, point, d, NULL, NULL, space) != 1 ||
            EC_POINT_get_affine_coordinates(group, point, x, y, space) != 1 ||
            BN_bn2binpad(x, made.x, P256_SIZE) != P256_SIZE ||
            BN_bn2binpad(y, made.y, P256_SIZE) != P256_SIZE)
                return error_openssl(err, "P-256: public key");
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
        _cleanup_(bn_freep) BIGNUM *d = number_of(key);
        char curve[] = "P-256";
        OSSL_PARAM params[3];
        int r;

        r = secret_new(P256_SIZE, &native);
        if (r < 0)
                return error_errno(err, r, "P-256: no locked memory for a key");
        if (!ctx || !d || BN_bn2nativepad(d, secret_data(native), P256_SIZE) != P256_SIZE)
                return error_openssl(err, "P-256: private key");

        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0);
        params[1] =
                OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, secret_data(native), P256_SIZE);
        params[2] = OSSL_PARAM_construct_end();
        if (EVP_PKEY_fromdata_init(ctx) != 1 ||
            EVP_PKEY_fromdata(ctx, ret, EVP_PKEY_KEYPAIR, params) != 1)
                return error_openssl(err, "P-256: private key");
        return 0;
}

static int sign(struct secret *key, const uint8_t *digest, struct p256_signature *ret,
                struct error *err) {
        _cleanup_(pkey_freep) EVP_PKEY *pkey = NULL;
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *ctx = NULL;
        struct p256_signature made;
        uint8_t der[DER_MAX];
        size_t size = sizeof(der);
        int r;

        r = import(key, &pkey, err);
        if (r < 0)
                return r;
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
        if (!ctx || EVP_PKEY_sign_init(ctx) != 1 ||
            EVP_PKEY_sign(ctx, der, &size, digest, P256_SIZE) != 1)
                return error_openssl(err, "P-256: sign");
        r = public_signature_parts(der, size, P256_SIZE, made.r, made.s, err);
        if (r < 0)
                return r;
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
