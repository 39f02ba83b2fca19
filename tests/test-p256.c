/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/crypto.h"
#include "base/p256.h"
#include "tests/test.h"

/* Of RFC 6979, A.2.5. */
#define KEY "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
#define KEY_X "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
#define KEY_Y "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"

#define ONE "0000000000000000000000000000000000000000000000000000000000000001"
#define LAST "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550"

static void unhex(const char *text, uint8_t *ret) {
        for (size_t i = 0; text[2 * i]; i++)
                assert_int_equal(sscanf(text + 2 * i, "%2hhx", &ret[i]), 1);
}

static struct secret *secret_of(const char *text) {
        struct secret *s;

        assert_int_equal(secret_new(strlen(text) / 2, &s), 0);
        unhex(text, secret_data(s));
        return s;
}

/* A peer: OpenSSL by its other way in, with the public key alone. */
static bool verifies(const struct p256_point *p, const uint8_t digest[32],
                     const struct p256_signature *s) {
        uint8_t point[65] = { 4 }, *der = NULL;
        char curve[] = "P-256";
        OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
                OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
                OSSL_PARAM_construct_end(),
        };
        EVP_PKEY_CTX *make = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL), *ctx;
        ECDSA_SIG *sig = ECDSA_SIG_new();
        EVP_PKEY *key = NULL;
        int size, r;

        memcpy(point + 1, p->x, 32);
        memcpy(point + 33, p->y, 32);
        assert_int_equal(EVP_PKEY_fromdata_init(make), 1);
        assert_int_equal(EVP_PKEY_fromdata(make, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
        assert_int_equal(ECDSA_SIG_set0(sig, BN_bin2bn(s->r, 32, NULL), BN_bin2bn(s->s, 32, NULL)),
                         1);
        size = i2d_ECDSA_SIG(sig, &der);
        assert_true(size > 0);
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
        r = EVP_PKEY_verify(ctx, der, (size_t) size, digest, 32);
        OPENSSL_free(der);
        ECDSA_SIG_free(sig);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_CTX_free(make);
        EVP_PKEY_free(key);
        return r == 1;
}

static void test_the_public_key_is_that_of_rfc6979(void **state) {
        _cleanup_(secret_freep) struct secret *key = secret_of(KEY);
        struct error err = { 0 };
        struct p256_point p;
        uint8_t want[32];

        (void) state;
        assert_int_equal(p256_public(key, &p, &err), 0);
        unhex(KEY_X, want);
        assert_memory_equal(p.x, want, 32);
        unhex(KEY_Y, want);
        assert_memory_equal(p.y, want, 32);
}

/* Also where r or s begins with a zero, as in one signature of 128: both have a fixed size. */
static void test_others_verify_what_we_sign(void **state) {
        unsigned zeros = 0;

        (void) state;
        for (unsigned i = 0; i < 50 || (zeros == 0 && i < 20000); i++) {
                _cleanup_(secret_freep) struct secret *key = NULL;
                struct p256_signature s;
                struct error err = { 0 };
                struct p256_point p;
                uint8_t digest[32];

                assert_int_equal(p256_make(&key, &err), 0);
                assert_int_equal(secret_size(key), 32);
                assert_int_equal(p256_public(key, &p, &err), 0);
                assert_int_equal(crypto_random(digest, sizeof(digest), &err), 0);
                assert_int_equal(p256_sign(key, digest, &s, &err), 0);
                assert_true(verifies(&p, digest, &s));
                zeros += s.r[0] == 0 || s.s[0] == 0;
                s.r[31] ^= 1;
                assert_false(verifies(&p, digest, &s));
                s.r[31] ^= 1;
                digest[0] ^= 0x80;
                assert_false(verifies(&p, digest, &s));
        }
        assert_true(zeros > 0);
}

static void test_two_keys_and_two_signatures_differ(void **state) {
        _cleanup_(secret_freep) struct secret *a = NULL, *b = NULL;
        struct p256_signature first, second;
        const uint8_t digest[32] = { 1 };
        struct error err = { 0 };
        struct p256_point p;

        (void) state;
        assert_int_equal(p256_make(&a, &err), 0);
        assert_int_equal(p256_make(&b, &err), 0);
        assert_false(crypto_same(a, b));
        assert_int_equal(p256_sign(a, digest, &first, &err), 0);
        assert_int_equal(p256_sign(a, digest, &second, &err), 0);
        assert_memory_not_equal(&first, &second, sizeof(first));
        assert_int_equal(p256_public(b, &p, &err), 0);
        assert_false(verifies(&p, digest, &first));
}

static void test_what_is_no_scalar_is_refused(void **state) {
        static const struct {
                const char *key;
                int result;
        } cases[] = {
                { ONE, 0 },
                { LAST, 0 },
                { "0000000000000000000000000000000000000000000000000000000000000000", -EINVAL },
                { "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", -EINVAL },
                { "ffffffff00000000ffffffffffffffffbce6faada7179e85f3b9cac2fc632550", -EINVAL },
                { "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", -EINVAL },
                { "00000000000000000000000000000000000000000000000000000000000001", -EINVAL },
                { ONE "00", -EINVAL },
        };

        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(secret_freep) struct secret *key = secret_of(cases[i].key);
                struct p256_point p = { { 7 }, { 8 } };
                struct p256_signature s = { { 9 }, { 10 } };
                const uint8_t digest[32] = { 1 };
                struct error err = { 0 };

                assert_int_equal(p256_public(key, &p, &err), cases[i].result);
                assert_int_equal(err.errnum, cases[i].result);
                assert_int_equal(p256_sign(key, digest, &s, &err), cases[i].result);
                if (cases[i].result == 0) {
                        assert_true(verifies(&p, digest, &s));
                        continue;
                }
                assert_int_equal(p.x[0] + p.y[0], 15); /* untouched */
                assert_int_equal(s.r[0] + s.s[0], 19);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_public_key_is_that_of_rfc6979),
                cmocka_unit_test(test_others_verify_what_we_sign),
                cmocka_unit_test(test_two_keys_and_two_signatures_differ),
                cmocka_unit_test(test_what_is_no_scalar_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
