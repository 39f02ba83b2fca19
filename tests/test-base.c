/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/argon2.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/pcr.h"
#include "tests/test.h"

/* --- crypto: the vectors of the specifications --- */

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

static void assert_hex(const uint8_t *data, size_t size, const char *text) {
        uint8_t want[128];

        assert_int_equal(strlen(text), 2 * size);
        unhex(text, want);
        assert_memory_equal(data, want, size);
}

static void test_hkdf_is_rfc5869(void **state) {
        /* Test case 3 of appendix A: no salt. Its info is empty, its first 32 bytes are what we
         * ask. */
        _cleanup_(secret_freep) struct secret *ikm =
                secret_of("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
        _cleanup_(secret_freep) struct secret *okm = NULL;
        struct error err = { 0 };
        (void) state;

        assert_int_equal(crypto_hkdf(ikm, "", 0, &okm, &err), 0);
        assert_hex(secret_data(okm), 32,
                   "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

static void test_hkdf_takes_a_salt(void **state) {
        /* Test case 1 of appendix A: what comes first doesn't depend on how much is asked for. */
        _cleanup_(secret_freep) struct secret *ikm =
                secret_of("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
        _cleanup_(secret_freep) struct secret *salt = secret_of("000102030405060708090a0b0c");
        _cleanup_(secret_freep) struct secret *okm = NULL, *none = NULL, *plain = NULL;
        struct error err = { 0 };
        uint8_t info[10];
        (void) state;

        unhex("f0f1f2f3f4f5f6f7f8f9", info);
        assert_int_equal(crypto_hkdf_salted(ikm, salt, info, sizeof(info), &okm, &err), 0);
        assert_hex(secret_data(okm), 32,
                   "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        assert_int_equal(crypto_hkdf_salted(ikm, NULL, info, sizeof(info), &none, &err), 0);
        assert_int_equal(crypto_hkdf(ikm, info, sizeof(info), &plain, &err), 0);
        assert_true(crypto_same(none, plain));
        assert_false(crypto_same(none, okm));
}

static void test_argon2id_is_rfc9106(void **state) {
        /* Section 5.3. */
        _cleanup_(secret_freep) struct secret *password = NULL, *key = NULL, *out = NULL;
        const struct argon2_cost cost = { .memory = 32, .time = 3, .lanes = 4 };
        uint8_t salt[16], data[12];
        struct argon2_input in = { .salt = salt, .salt_size = 16, .data = data, .data_size = 12 };
        struct error err = { 0 };
        (void) state;

        assert_int_equal(secret_new(32, &password), 0);
        assert_int_equal(secret_new(8, &key), 0);
        memset(secret_data(password), 1, 32);
        memset(salt, 2, sizeof(salt));
        memset(secret_data(key), 3, 8);
        memset(data, 4, sizeof(data));
        in.password = password;
        in.key = key;
        assert_int_equal(argon2_derive(&in, &cost, 32, &out, &err), 0);
        assert_hex(secret_data(out), 32,
                   "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
        for (unsigned i = 0; i < 32; i++) /* neither wiped nor written to */
                assert_int_equal(secret_data(password)[i], 1);
}

static void test_argon2id_is_what_others_make_of_it(void **state) {
        /* What OpenSSL 4.0 makes of it: no secret value, no associated data, 64 bytes. */
        _cleanup_(secret_freep) struct secret *password = NULL, *out = NULL;
        const struct argon2_cost cost = { .memory = 32, .time = 3, .lanes = 4 };
        uint8_t salt[16];
        struct argon2_input in = { .salt = salt, .salt_size = sizeof(salt) };
        struct error err = { 0 };
        (void) state;

        assert_int_equal(secret_new(32, &password), 0);
        memset(secret_data(password), 1, 32);
        memset(salt, 2, sizeof(salt));
        in.password = password;
        assert_int_equal(argon2_derive(&in, &cost, 64, &out, &err), 0);
        assert_hex(secret_data(out), 64,
                   "b62e1d3d11eb77dd876adf4c1830678b6c6cd53f3f41f5fb1304b1e8fe6ade1c"
                   "63dea6061cd244feb46a0b3abe43321bddc005931a2c53b86d67b93fcee75df8");
}

static void test_argon2id_is_bounded(void **state) {
        static const struct argon2_cost bad[] = {
                { 0, 0, 0 },
                { 31, 3, 4 }, /* 8 KiB a lane */
                { 32, 0, 4 },
                { 32, 17, 4 },
                { 32, 3, 0 },
                { 64, 3, 5 },
                { 1024 * 1024 + 1, 1, 1 },
                { UINT32_MAX, UINT32_MAX, UINT32_MAX },
                { 32, 3, UINT32_MAX / 8 + 2 }, /* 8 times that is 8, if it runs over */
        };
        static const struct argon2_cost good[] = { { 8, 1, 1 }, { 1024 * 1024, 16, 4 } };
        static const uint8_t salt[65];
        _cleanup_(secret_freep) struct secret *password = secret_of("00");
        struct argon2_input in = { .password = password, .salt = salt, .salt_size = 16 };
        struct secret *out = NULL;
        struct error err = { 0 };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(argon2_cost_valid(&good[i]));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_false(argon2_cost_valid(&bad[i]));
                assert_int_equal(argon2_derive(&in, &bad[i], 32, &out, &err), -EINVAL);
        }
        assert_int_equal(argon2_derive(&in, &good[0], 3, &out, &err), -EINVAL);
        assert_int_equal(argon2_derive(&in, &good[0], 65, &out, &err), -EINVAL);
        in.salt_size = 7;
        assert_int_equal(argon2_derive(&in, &good[0], 32, &out, &err), -EINVAL);
        in.salt_size = 65;
        assert_int_equal(argon2_derive(&in, &good[0], 32, &out, &err), -EINVAL);
        assert_null(out);
}

/* What can't be locked isn't used. The limit holds for who is neither root nor has the capability,
 * so the child gives both up. */
static void test_argon2id_wants_its_memory_locked(void **state) {
#ifdef __SANITIZE_ADDRESS__
        (void) state;
        print_message("SKIP: a sanitizer only says that it locks memory\n");
#else
        static const struct argon2_cost cost = { .memory = 4096, .time = 1, .lanes = 1 };
        static const uint8_t salt[16];
        pid_t pid = fork();
        int status;
        (void) state;

        if (pid == 0) {
                const struct rlimit limit = { 64 * 1024, 64 * 1024 };
                struct argon2_input in = { .salt = salt, .salt_size = sizeof(salt) };
                struct secret *out = NULL;
                struct error err = { 0 };
                int r;

                if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || (geteuid() == 0 && setuid(65534) < 0))
                        _exit(2);
                if (secret_new(8, &in.password) < 0)
                        _exit(3);
                r = argon2_derive(&in, &cost, 32, &out, &err);
                _exit((r == -ENOMEM || r == -EPERM || r == -EAGAIN) && !out &&
                                      strstr(err.text, "locked memory")
                              ? 0
                              : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
#endif
}

static void test_hmac_is_rfc4231(void **state) {
        _cleanup_(secret_freep) struct secret *key = secret_of("4a656665"); /* "Jefe" */
        struct error err = { 0 };
        uint8_t mac[SHA256_SIZE];
        (void) state;

        assert_int_equal(crypto_hmac(key, "what do ya want for nothing?", 28, mac, &err), 0);
        assert_hex(mac, sizeof(mac),
                   "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void test_gcm_opens_only_what_it_sealed(void **state) {
        _cleanup_(secret_freep) struct secret *key = NULL, *other = NULL, *plain = NULL;
        struct error err = { 0 };
        struct gcm_box box;
        (void) state;

        assert_int_equal(crypto_random_secret(32, &key, &err), 0);
        assert_int_equal(crypto_random_secret(32, &other, &err), 0);
        assert_int_equal(crypto_random_secret(32, &plain, &err), 0);
        assert_int_equal(crypto_seal(key, "aad", 3, plain, &box, &err), 0);
        {
                _cleanup_(secret_freep) struct secret *back = NULL;

                assert_int_equal(crypto_open(key, "aad", 3, &box, &back, &err), CRYPTO_GOOD);
                assert_memory_equal(secret_data(back), secret_data(plain), 32);
        }
        /* Every bit of it counts, and so do key and associated data. */
        for (size_t i = 0; i < 8 * (GCM_IV_SIZE + GCM_TAG_SIZE + 32); i++) {
                struct secret *back = NULL;
                struct gcm_box bad = box;

                ((uint8_t *) &bad)[i / 8] ^= (uint8_t) (1u << (i % 8));
                assert_int_equal(crypto_open(key, "aad", 3, &bad, &back, &err), CRYPTO_FORGED);
                assert_null(back);
        }
        {
                struct secret *back = NULL;

                assert_int_equal(crypto_open(other, "aad", 3, &box, &back, &err), CRYPTO_FORGED);
                assert_int_equal(crypto_open(key, "aae", 3, &box, &back, &err), CRYPTO_FORGED);
                assert_int_equal(crypto_open(key, "aad", 2, &box, &back, &err), CRYPTO_FORGED);
                box.size = 65;
                assert_int_equal(crypto_open(key, "aad", 3, &box, &back, &err), -EINVAL);
                assert_null(back);
        }
}

static void test_secrets_are_the_same_by_size_and_bytes(void **state) {
        _cleanup_(secret_freep) struct secret *a = secret_of("00112233445566778899aabbccddeeff");
        _cleanup_(secret_freep) struct secret *b = secret_of("00112233445566778899aabbccddeeff");
        _cleanup_(secret_freep) struct secret *longer = NULL;
        (void) state;

        longer = secret_of("00112233445566778899aabbccddeeff00");
        assert_true(crypto_same(a, b));
        assert_false(crypto_same(a, longer));
        assert_false(crypto_same(longer, a));
        for (size_t bit = 0; bit < 8 * secret_size(b); bit++) {
                secret_data(b)[bit / 8] ^= (uint8_t) (1 << bit % 8);
                assert_false(crypto_same(a, b));
                secret_data(b)[bit / 8] ^= (uint8_t) (1 << bit % 8);
        }
}

static void test_base64_is_strict(void **state) {
        static const char *const bad[] = { "Zg=",      "Zg",   "Zh==", "Zg==\n", " Zg==", "Z g=",
                                           "Zg==Zg==", "====", "A===", "Zm9=",   "Zm-v" };
        struct error err = { 0 };
        uint8_t buf[8];
        char text[16];
        size_t n;
        (void) state;

        assert_int_equal(base64_encode((const uint8_t *) "foob", 4, text, sizeof(text), &err), 0);
        assert_string_equal(text, "Zm9vYg==");
        assert_int_equal(base64_decode("Zm9vYg==", buf, sizeof(buf), &n, &err), 0);
        assert_int_equal(n, 4);
        assert_memory_equal(buf, "foob", 4);
        assert_int_equal(base64_decode("", buf, sizeof(buf), &n, &err), 0);
        assert_int_equal(n, 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(base64_decode(bad[i], buf, sizeof(buf), &n, &err), -EBADMSG);
        assert_int_equal(base64_decode("Zm9vYmFyYmF6", buf, sizeof(buf), &n, &err), -ENOBUFS);
}

/* --- JSON --- */

static void test_canonical_form(void **state) {
        static const struct {
                const char *in, *out;
        } vectors[] = {
                { "{}", "{}" },
                { "512", "512" },
                { " true ", "true" },
                { "{ \"b\" : 1 , \"a\" : [ ] }", "{\"a\":[],\"b\":1}" },
                { "{\"B\":1,\"a\":2,\"aa\":3,\"\":4}", "{\"\":4,\"B\":1,\"a\":2,\"aa\":3}" },
                { "[true,false,null,-1,18446744073709551615]",
                  "[true,false,null,-1,18446744073709551615]" },
                { "[\"\\/\\u0041\\\"\\\\\\n\\u001f\\u00e9\"]",
                  "[\"/A\\\"\\\\\\u000a\\u001f\xc3\xa9\"]" },
                { "{\"x\":{\"d\":{\"c\":[1,{\"b\":2,\"a\":1}]}}}",
                  "{\"x\":{\"d\":{\"c\":[1,{\"a\":1,\"b\":2}]}}}" },
        };
        struct error err = { 0 };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
                _cleanup_(json_freep) struct json *j = NULL;
                _cleanup_(freep) char *text = NULL;

                assert_int_equal(json_parse(vectors[i].in, strlen(vectors[i].in), &j, &err), 0);
                assert_int_equal(json_canonical(j, &text, &err), 0);
                assert_string_equal(text, vectors[i].out);
        }
        {
                _cleanup_(json_freep) struct json *j = NULL;
                char *text = NULL;

                assert_int_equal(json_parse("[1.5]", 5, &j, &err), 0);
                assert_int_equal(json_canonical(j, &text, &err), -EBADMSG);
                assert_null(text);
        }
}

static void test_json_refuses_what_is_not_json(void **state) {
        static const char *const bad[] = { "",        "{",     "{}x", "[1,]",
                                           "{\"a\"}", "{} {}", "nul", "[\"\xff\"]" };
        char deep[2 * JSON_DEPTH_MAX + 8];
        struct error err = { 0 };
        struct json *j = NULL;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(json_parse(bad[i], strlen(bad[i]), &j, &err), -EBADMSG);
        memset(deep, '[', JSON_DEPTH_MAX + 2);
        memset(deep + JSON_DEPTH_MAX + 2, ']', JSON_DEPTH_MAX + 2);
        assert_int_equal(json_parse(deep, 2 * JSON_DEPTH_MAX + 4, &j, &err), -EBADMSG);
        assert_null(j);
}

static void test_json_getters_convert_nothing(void **state) {
        static const char text[] =
                "{\"s\":\"x\",\"n\":7,\"neg\":-1,\"big\":4294967296,\"d\":\"12\","
                "\"d0\":\"012\",\"dx\":\"1x\",\"dbig\":\"18446744073709551616\","
                "\"nul\":\"a\\u0000b\",\"f\":1.0,\"b\":true,\"null\":null}";
        _cleanup_(json_freep) struct json *j = NULL;
        struct error err = { 0 };
        const struct json *o;
        const char *s;
        uint64_t n;
        (void) state;

        assert_int_equal(json_parse(text, strlen(text), &j, &err), 0);
        assert_int_equal(json_get_string(j, "s", &s, &err), 0);
        assert_string_equal(s, "x");
        assert_int_equal(json_get_string(j, "n", &s, &err), -EBADMSG);
        assert_int_equal(json_get_string(j, "nul", &s, &err), -EBADMSG);
        assert_int_equal(json_get_string(j, "missing", &s, &err), -EBADMSG);
        assert_non_null(strstr(err.text, "missing"));
        assert_int_equal(json_get_uint(j, "n", 7, &n, &err), 0);
        assert_int_equal(n, 7);
        assert_int_equal(json_get_uint(j, "n", 6, &n, &err), -EBADMSG);
        assert_int_equal(json_get_uint(j, "neg", 7, &n, &err), -EBADMSG);
        assert_int_equal(json_get_uint(j, "big", UINT32_MAX, &n, &err), -EBADMSG);
        assert_int_equal(json_get_uint(j, "d", 100, &n, &err), -EBADMSG);
        assert_int_equal(json_get_uint(j, "f", 100, &n, &err), -EBADMSG);
        assert_int_equal(json_get_uint(j, "b", 100, &n, &err), -EBADMSG);
        assert_int_equal(json_get_decimal(j, "d", 12, &n, &err), 0);
        assert_int_equal(n, 12);
        assert_int_equal(json_get_decimal(j, "d", 11, &n, &err), -EBADMSG);
        assert_int_equal(json_get_decimal(j, "n", 100, &n, &err), -EBADMSG);
        assert_int_equal(json_get_decimal(j, "d0", 100, &n, &err), -EBADMSG);
        assert_int_equal(json_get_decimal(j, "dx", 100, &n, &err), -EBADMSG);
        assert_int_equal(json_get_decimal(j, "dbig", UINT64_MAX, &n, &err), -EBADMSG);
        assert_int_equal(json_get(j, "null", &o, &err), -EBADMSG);
        assert_int_equal(json_get_array(j, "s", &o, &err), -EBADMSG);
}

/* --- files --- */

static void test_file_write_replaces_whole_or_not_at_all(void **state) {
        char folder[] = "/tmp/diskseal-test-XXXXXX", path[64], other[80];
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };
        struct stat st;
        size_t n;
        (void) state;

        assert_non_null(mkdtemp(folder));
        (void) snprintf(path, sizeof(path), "%s/a/b", folder);
        assert_int_equal(file_mkdir(path, 0700, &err), 0);
        assert_int_equal(file_mkdir(path, 0700, &err), 0);
        (void) snprintf(other, sizeof(other), "%s/file", path);
        assert_int_equal(file_write(other, "one", 3, 0600, &err), 0);
        assert_int_equal(file_write(other, "second", 6, 0640, &err), 0);
        assert_int_equal(stat(other, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
        assert_int_equal(file_read(other, 6, &text, &n, &err), 0);
        assert_string_equal(text, "second");
        assert_int_equal(file_read(other, 5, &text, &n, &err), -EFBIG);
        assert_int_equal(file_read(path, 5, &text, &n, &err), -EISDIR);

        /* A folder in its place: the old content stays, and no temporary file is left. */
        assert_int_equal(unlink(other), 0);
        assert_int_equal(mkdir(other, 0700), 0);
        assert_true(file_write(other, "third", 5, 0600, &err) < 0);
        assert_int_equal(rmdir(other), 0);
        assert_int_equal(rmdir(path), 0);
        (void) snprintf(path, sizeof(path), "rm -rf %s", folder);
        assert_int_equal(system(path), 0);
}

static void test_pcr_lists(void **state) {
        static const char *const bad[] = { "",   "24", "7,", ",7",   "7,7",
                                           "7 ", "-1", "a",  "1,,2", "007" };
        uint32_t mask = 0xdead;
        char text[PCR_TEXT_MAX];
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(pcr_mask_parse(bad[i], &mask));
        assert_int_equal(mask, 0xdead);
        assert_true(pcr_mask_parse("23,0,7", &mask));
        assert_int_equal(mask, 1u << 23 | 1u << 7 | 1u);
        pcr_mask_format(mask, text);
        assert_string_equal(text, "0,7,23");
        pcr_mask_format(0xffffff, text);
        assert_string_equal(text + strlen(text) - 3, ",23");
}

static void test_hex_is_taken_only_as_it_is_written(void **state) {
        static const uint8_t data[] = { 0x00, 0x9f, 0xff };
        static const char *const bad[] = { "009ff", "009fff0", "009FFF", "009fg0", "", "0x9fff" };
        uint8_t back[3];
        char text[7];
        (void) state;

        hex_encode(data, sizeof(data), text);
        assert_string_equal(text, "009fff");
        assert_true(hex_decode(text, back, sizeof(back)));
        assert_memory_equal(back, data, sizeof(data));
        assert_false(hex_decode(NULL, back, sizeof(back)));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(hex_decode(bad[i], back, sizeof(back)));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hex_is_taken_only_as_it_is_written),
                cmocka_unit_test(test_hkdf_is_rfc5869),
                cmocka_unit_test(test_hkdf_takes_a_salt),
                cmocka_unit_test(test_argon2id_is_rfc9106),
                cmocka_unit_test(test_argon2id_is_what_others_make_of_it),
                cmocka_unit_test(test_argon2id_is_bounded),
                cmocka_unit_test(test_argon2id_wants_its_memory_locked),
                cmocka_unit_test(test_hmac_is_rfc4231),
                cmocka_unit_test(test_gcm_opens_only_what_it_sealed),
                cmocka_unit_test(test_secrets_are_the_same_by_size_and_bytes),
                cmocka_unit_test(test_base64_is_strict),
                cmocka_unit_test(test_canonical_form),
                cmocka_unit_test(test_json_refuses_what_is_not_json),
                cmocka_unit_test(test_json_getters_convert_nothing),
                cmocka_unit_test(test_file_write_replaces_whole_or_not_at_all),
                cmocka_unit_test(test_pcr_lists),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
