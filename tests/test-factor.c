/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "base/crypto.h"
#include "keys/factor.h"
#include "keys/fields.h"
#include "tests/test.h"

/* The vectors come from Python: cryptography's Argon2id, and HKDF out of hmac. */
static const struct argon2_cost cheap = { .memory = 64, .time = 3, .lanes = 1 };

static struct secret *secret_of(const void *data, size_t size) {
        struct secret *s;

        assert_int_equal(secret_new(size, &s), 0);
        memcpy(secret_data(s), data, size);
        return s;
}

static struct secret *counting(uint8_t from, size_t size) {
        struct secret *s;

        assert_int_equal(secret_new(size, &s), 0);
        for (size_t i = 0; i < size; i++)
                secret_data(s)[i] = (uint8_t) (from + i);
        return s;
}

static struct factor pin_factor(const struct argon2_cost *cost) {
        struct factor f = { .kind = FACTOR_PIN, .salt_size = 16, .cost = *cost };

        for (uint8_t i = 0; i < 16; i++)
                f.salt[i] = i;
        return f;
}

static void assert_hex(struct secret *s, const char *text) {
        char have[2 * 64 + 1] = "";

        assert_non_null(s);
        for (size_t i = 0; i < secret_size(s); i++)
                (void) snprintf(have + 2 * i, 3, "%02x", secret_data(s)[i]);
        assert_string_equal(have, text);
}

/* As a KEK is derived. */
static struct secret *kek_of(enum factor_kind kind, struct secret *salt) {
        _cleanup_(secret_freep) struct secret *seed = counting(0, 32);
        struct fields info = { 0 };
        struct error err = { 0 };
        struct secret *kek = NULL;

        fields_add(&info, factor_label(kind));
        fields_add(&info, "default");
        fields_add_number(&info, 3);
        assert_int_equal(crypto_hkdf_salted(seed, salt, info.data, info.size, &kek, &err), 0);
        return kek;
}

/* --- derivation --- */

static void test_no_factor_is_the_kek_as_it_was(void **state) {
        _cleanup_(secret_freep) struct secret *kek = NULL;
        struct secret *auth = (struct secret *) 1, *salt = (struct secret *) 1;
        struct factor f = { 0 };
        struct error err = { 0 };
        (void) state;

        assert_int_equal(factor_derive(&f, NULL, &auth, &salt, &err), FACTOR_DERIVED);
        assert_null(auth);
        assert_null(salt);
        assert_string_equal(factor_label(FACTOR_NONE), "diskseal/1 kek");
        kek = kek_of(FACTOR_NONE, salt);
        assert_hex(kek, "606a8d766c035528dcfbf9133ca43ea2165eeee17c847f1c3f0551b7a4ff5788");
}

static void test_a_pin_gives_two_secrets(void **state) {
        _cleanup_(secret_freep) struct secret *pin = secret_of("123456", 6), *auth = NULL,
                                              *salt = NULL, *kek = NULL;
        struct factor f = pin_factor(&cheap);
        struct error err = { 0 };
        (void) state;

        assert_int_equal(factor_derive(&f, pin, &auth, &salt, &err), FACTOR_DERIVED);
        /* 52 at the end, where its last bit would be as it came. */
        assert_hex(auth, "f7aff126ae0010757eba5a2b1e1f88543f1997239413fccac439f60f69472353");
        assert_hex(salt, "c4cdb03fe5f6e27f3aeb85a4fa9702a0455e093a89476eda02c579891288dee8");
        kek = kek_of(FACTOR_PIN, salt);
        assert_hex(kek, "bc0ae364cfef674f644e81b55a96eaa3be0f91018dfa7a234818d0a7bd5027c3");
        assert_memory_equal(secret_data(pin), "123456", 6); /* borrowed, not wiped */
}

static void test_a_pin_depends_on_all_that_there_is(void **state) {
        static const struct argon2_cost costs[] = { { 65, 3, 1 }, { 64, 4, 1 }, { 64, 3, 2 } };
        _cleanup_(secret_freep) struct secret *pin = secret_of("123456", 6),
                                              *other = secret_of("123457", 6), *auth = NULL,
                                              *salt = NULL;
        struct factor f = pin_factor(&cheap);
        struct error err = { 0 };
        (void) state;

        assert_int_equal(factor_derive(&f, pin, &auth, &salt, &err), FACTOR_DERIVED);
        for (unsigned i = 0; i < 5; i++) {
                _cleanup_(secret_freep) struct secret *a = NULL, *s = NULL;
                struct factor g = f;

                if (i < ARRAY_SIZE(costs))
                        g.cost = costs[i];
                else if (i == 3)
                        g.salt[15] ^= 1;
                assert_int_equal(factor_derive(&g, i == 4 ? other : pin, &a, &s, &err),
                                 FACTOR_DERIVED);
                assert_false(crypto_same(a, auth));
                assert_false(crypto_same(s, salt));
        }
}

static void test_an_auth_value_never_ends_in_zero(void **state) {
        /* This one would. */
        static const struct argon2_cost cost = { 8, 1, 1 };
        _cleanup_(secret_freep) struct secret *pin = secret_of("000070", 6), *auth = NULL,
                                              *salt = NULL;
        struct factor f = pin_factor(&cost);
        struct error err = { 0 };
        (void) state;

        assert_int_equal(factor_derive(&f, pin, &auth, &salt, &err), FACTOR_DERIVED);
        assert_hex(auth, "c09618aa936176cc723b281967a29dc8ef0b134e372b87c1fdf122b9b2cb4601");
}

static void test_a_key_is_taken_as_it_is(void **state) {
        _cleanup_(secret_freep) struct secret *key = counting(0x80, 48), *salt = NULL, *kek = NULL;
        struct secret *auth = (struct secret *) 1;
        struct factor f = { .kind = FACTOR_KEY };
        struct error err = { 0 };
        (void) state;

        assert_int_equal(factor_derive(&f, key, &auth, &salt, &err), FACTOR_DERIVED);
        assert_null(auth);
        assert_true(crypto_same(key, salt));
        assert_ptr_not_equal(key, salt);
        kek = kek_of(FACTOR_KEY, salt);
        assert_hex(kek, "507ed53861fdc2c63f62723bf3e31f6f242b2216c568666a4272b3699fe33330");
}

static void test_the_same_bytes_are_another_kek_as_another_kind(void **state) {
        _cleanup_(secret_freep) struct secret *salt = counting(0, 32), *a = NULL, *b = NULL,
                                              *c = NULL;
        (void) state;

        a = kek_of(FACTOR_NONE, salt);
        b = kek_of(FACTOR_PIN, salt);
        c = kek_of(FACTOR_KEY, salt);
        assert_false(crypto_same(a, b));
        assert_false(crypto_same(a, c));
        assert_false(crypto_same(b, c));
}

static void test_what_is_no_factor_is_refused(void **state) {
        _cleanup_(secret_freep) struct secret *short_key = counting(0, FACTOR_KEY_MIN - 1),
                                              *least = counting(0, FACTOR_KEY_MIN),
                                              *most = counting(0, FACTOR_KEY_MAX),
                                              *long_key = counting(0, FACTOR_KEY_MAX + 1);
        struct factor key = { .kind = FACTOR_KEY }, pin = pin_factor(&cheap);
        struct secret *auth = NULL, *salt = NULL;
        struct error err = { 0 };
        (void) state;

        assert_int_equal(factor_derive(&key, NULL, &auth, &salt, &err), FACTOR_SHORT);
        assert_int_equal(factor_derive(&key, short_key, &auth, &salt, &err), FACTOR_SHORT);
        assert_int_equal(factor_derive(&key, long_key, &auth, &salt, &err), FACTOR_LONG);
        assert_int_equal(factor_derive(&pin, NULL, &auth, &salt, &err), FACTOR_SHORT);
        pin.salt_size = FACTOR_SALT_MIN - 1;
        assert_int_equal(factor_derive(&pin, least, &auth, &salt, &err), -EINVAL);
        pin.salt_size = FACTOR_SALT_MAX + 1;
        assert_int_equal(factor_derive(&pin, least, &auth, &salt, &err), -EINVAL);
        pin = pin_factor(&(struct argon2_cost){ 64, 17, 1 });
        assert_int_equal(factor_derive(&pin, least, &auth, &salt, &err), -EINVAL);
        pin.kind = 3;
        assert_int_equal(factor_derive(&pin, least, &auth, &salt, &err), -EINVAL);
        assert_null(auth);
        assert_null(salt);

        assert_int_equal(factor_derive(&key, least, &auth, &salt, &err), FACTOR_DERIVED);
        salt = secret_free(salt);
        assert_int_equal(factor_derive(&key, most, &auth, &salt, &err), FACTOR_DERIVED);
        salt = secret_free(salt);
}

/* --- new ones --- */

static void test_a_new_factor(void **state) {
        static const struct argon2_cost floor = { 64 * 1024, 3, 1 };
        static const struct argon2_cost bad[] = {
                { 0, 0, 0 },           { 64, 3, 1 },         { 64 * 1024 - 1, 16, 1 },
                { 64 * 1024, 2, 1 },   { 96 * 1024, 1, 1 },  { 64 * 1024, 3, 0 },
                { 2048 * 1024, 3, 1 }, { 64 * 1024, 17, 1 }, { 64 * 1024, 3, 5 },
        };
        struct factor f = { 0 }, g = { 0 };
        struct error err = { 0 };
        (void) state;

        assert_int_equal(factor_new(FACTOR_PIN, NULL, &f, &err), 0);
        assert_int_equal(f.kind, FACTOR_PIN);
        assert_int_equal(f.salt_size, 16);
        assert_true(factor_cost_valid(&f.cost));
        assert_int_equal(factor_new(FACTOR_PIN, &floor, &g, &err), 0);
        assert_memory_equal(&g.cost, &floor, sizeof(floor));
        assert_memory_not_equal(f.salt, g.salt, 16);

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(factor_new(FACTOR_PIN, &bad[i], &g, &err), -EINVAL);
        assert_memory_equal(&g.cost, &floor, sizeof(floor));

        assert_int_equal(factor_new(FACTOR_KEY, &bad[0], &g, &err), 0);
        assert_int_equal(g.kind, FACTOR_KEY);
        assert_int_equal(g.salt_size, 0);
}

/* At a cost that a token may have: whether so much memory can be locked depends on who we are. */
static void test_a_pin_at_its_least_cost(void **state) {
        _cleanup_(secret_freep) struct secret *pin = secret_of("123456", 6), *auth = NULL,
                                              *salt = NULL;
        struct factor f = pin_factor(&(struct argon2_cost){ 64 * 1024, 3, 1 });
        struct error err = { 0 };
        int r;
        (void) state;

        assert_true(factor_cost_valid(&f.cost));
        r = factor_derive(&f, pin, &auth, &salt, &err);
        if (r == -EPERM || r == -ENOMEM || r == -EAGAIN) {
                print_message("SKIP: a PIN at its least cost: %s\n", err.text);
                return;
        }
        assert_int_equal(r, FACTOR_DERIVED);
        assert_hex(salt, "f580a5678ce9028bf5c00fc980f55628652c0c75be098ff93ba451114b861dce");
}

/* --- in a token --- */

static int parse(const char *text, struct factor *ret) {
        _cleanup_(json_freep) struct json *entry = NULL;
        struct error err = { 0 };

        assert_int_equal(json_parse(text, strlen(text), &entry, &err), 0);
        return factor_parse(entry, ret, &err);
}

static void assert_prints(const struct factor *f, const char *text) {
        _cleanup_(json_freep) struct json *entry = json_new_object();
        _cleanup_(freep) char *have = NULL;
        struct error err = { 0 };

        assert_true(factor_print(f, entry));
        assert_int_equal(json_text(entry, false, &have, &err), 0);
        assert_string_equal(have, text);
}

static void test_a_factor_comes_back_from_its_token(void **state) {
        static const char *const texts[] = {
                "{}",
                "{\"factor\":{\"kind\":\"key\"}}",
                "{\"factor\":{\"kind\":\"pin\",\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\","
                "\"argon2id\":{\"memory\":65536,\"time\":3,\"lanes\":1}}}",
                "{\"factor\":{\"kind\":\"pin\","
                "\"salt\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\","
                "\"argon2id\":{\"memory\":1048576,\"time\":16,\"lanes\":4}}}",
        };
        static const enum factor_kind kinds[] = { FACTOR_NONE, FACTOR_KEY, FACTOR_PIN, FACTOR_PIN };
        struct factor f, made = pin_factor(&(struct argon2_cost){ 65536, 3, 1 });
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                memset(&f, 0xff, sizeof(f));
                assert_int_equal(parse(texts[i], &f), 0);
                assert_int_equal(f.kind, kinds[i]);
                assert_prints(&f, texts[i]);
        }
        assert_prints(&made, texts[2]);
        assert_int_equal(parse(texts[2], &f), 0);
        assert_int_equal(f.salt_size, made.salt_size);
        assert_memory_equal(f.salt, made.salt, made.salt_size);
        assert_memory_equal(&f.cost, &made.cost, sizeof(f.cost));
}

#define SALT "\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\""
#define COST "\"argon2id\":{\"memory\":65536,\"time\":3,\"lanes\":1}"

static void test_what_is_not_a_factor_is_refused(void **state) {
        static const char *const bad[] = {
                "null",
                "7",
                "[]",
                "{}",
                "\"pin\"",
                "{\"kind\":7}",
                "{\"kind\":\"none\"}",
                "{\"kind\":\"PIN\"}",
                "{\"kind\":\"fido2\"}",
                "{\"kind\":\"key\",\"salt\":\"\"}",
                "{\"kind\":\"pin\"}",
                "{\"kind\":\"pin\"," SALT "}",
                "{\"kind\":\"pin\"," COST "}",
                "{\"kind\":\"pin\"," SALT "," COST ",\"pepper\":1}",
                "{\"kind\":\"pin\",\"salt\":7," COST "}",
                "{\"kind\":\"pin\",\"salt\":\"\"," COST "}",
                "{\"kind\":\"pin\",\"salt\":\"AAECAwQFBgcICQoLDA0O\"," COST "}", /* 15 bytes */
                "{\"kind\":\"pin\",\"salt\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\"," COST
                "}", /* 33 */
                "{\"kind\":\"pin\",\"salt\":\"AAECAwQFBgcICQoLDA0ODw\"," COST "}",
                "{\"kind\":\"pin\"," SALT ",\"argon2id\":[]}",
                "{\"kind\":\"pin\"," SALT ",\"argon2id\":{\"memory\":65536,\"time\":3}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":65536,\"time\":2,\"lanes\":1}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":65535,\"time\":9,\"lanes\":1}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":65536,\"time\":3,\"lanes\":0}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":65536,\"time\":3,\"lanes\":5}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":65536,\"time\":17,\"lanes\":1}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":1048577,\"time\":3,\"lanes\":1}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":4295032832,\"time\":3,\"lanes\":1}}", /* 2^32 more */
                "{\"kind\":\"pin\"," SALT ",\"argon2id\":{\"memory\":-1,\"time\":3,\"lanes\":1}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":65536,\"time\":3.5,\"lanes\":1}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":\"65536\",\"time\":3,\"lanes\":1}}",
                "{\"kind\":\"pin\"," SALT
                ",\"argon2id\":{\"memory\":65536,\"time\":3,\"lanes\":1,\"version\":16}}",
        };
        struct factor f = { .kind = FACTOR_KEY }, untouched = f;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char text[256];

                (void) snprintf(text, sizeof(text), "{\"factor\":%s}", bad[i]);
                assert_int_equal(parse(text, &f), -EBADMSG);
                assert_memory_equal(&f, &untouched, sizeof(f));
        }
        assert_int_equal(parse("{\"factor\":{\"kind\":\"pin\"," SALT "," COST "}}", &f), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_no_factor_is_the_kek_as_it_was),
                cmocka_unit_test(test_a_pin_gives_two_secrets),
                cmocka_unit_test(test_a_pin_depends_on_all_that_there_is),
                cmocka_unit_test(test_an_auth_value_never_ends_in_zero),
                cmocka_unit_test(test_a_key_is_taken_as_it_is),
                cmocka_unit_test(test_the_same_bytes_are_another_kek_as_another_kind),
                cmocka_unit_test(test_what_is_no_factor_is_refused),
                cmocka_unit_test(test_a_new_factor),
                cmocka_unit_test(test_a_pin_at_its_least_cost),
                cmocka_unit_test(test_a_factor_comes_back_from_its_token),
                cmocka_unit_test(test_what_is_not_a_factor_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
