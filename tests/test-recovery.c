/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "keys/recovery.h"
#include "luks/luks.h"
#include "tests/test.h"

#define FORM "cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv"
#define BARE "cbdefghijklnrtuvcbdefghijklnrtuvcbdefghijklnrtuvcbdefghijklnrtuv"

static struct secret *secret_of(const char *text) {
        struct secret *s = NULL;

        assert_int_equal(secret_new(strlen(text), &s), 0);
        memcpy(secret_data(s), text, strlen(text));
        return s;
}

static struct secret *normalize(const char *text) {
        _cleanup_(secret_freep) struct secret *typed = secret_of(text);
        struct secret *s = NULL;
        struct error err = { 0 };

        assert_int_equal(recovery_normalize(typed, &s, &err), 0);
        return s;
}

static void becomes(const char *text, const char *want) {
        _cleanup_(secret_freep) struct secret *s = normalize(text);

        assert_int_equal(secret_size(s), strlen(want));
        assert_memory_equal(secret_data(s), want, strlen(want));
}

static void test_a_passphrase_is_eight_groups_of_modhex(void **state) {
        _cleanup_(secret_freep) struct secret *a = NULL, *b = NULL;
        struct error err = { 0 };
        bool seen[128] = { false };
        size_t kinds = 0;
        (void) state;

        assert_int_equal(recovery_make(&a, &err), 0);
        assert_int_equal(recovery_make(&b, &err), 0);
        assert_int_equal(secret_size(a), RECOVERY_SIZE);
        assert_memory_not_equal(secret_data(a), secret_data(b), RECOVERY_SIZE);
        for (size_t i = 0; i < RECOVERY_SIZE; i++) {
                uint8_t c = secret_data(a)[i];

                if (i % 9 == 8) {
                        assert_int_equal(c, '-');
                        continue;
                }
                assert_true(c && strchr("cbdefghijklnrtuv", c));
                kinds += !seen[c];
                seen[c] = true;
        }
        assert_in_range(kinds, 8, 16); /* fewer in one of 2^60 */
}

static void test_what_was_typed_comes_into_its_form(void **state) {
        static const char *const typed[] = {
                FORM,
                BARE,
                FORM "\n",
                BARE "\r\n",
                FORM " \nmore",
                "  CBDEFGHI JKLNRTUV cbdefghi-jklnrtuv\tCBDEFGHI-jklnrtuv-cbdefghijklnrtuv",
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(typed); i++)
                becomes(typed[i], FORM);
}

static void test_anything_else_is_taken_as_it_is(void **state) {
        static const char *const typed[] = {
                "a passphrase of mine ",
                "-",
                FORM "c",
                "bdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv",
                "abdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv",
                "x",
                BARE BARE,
        };
        _cleanup_(secret_freep) struct secret *empty = secret_of("\n" FORM), *nul = secret_of(FORM);
        _cleanup_(secret_freep) struct secret *back = NULL;
        struct secret *none = NULL;
        struct error err = { 0 };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(typed); i++)
                becomes(typed[i], typed[i]);
        becomes("pass\nword", "pass");
        assert_int_equal(recovery_normalize(empty, &none, &err), -EINVAL);
        assert_null(none);

        secret_data(nul)[3] = '\0';
        assert_int_equal(recovery_normalize(nul, &back, &err), 0);
        assert_int_equal(secret_size(back), RECOVERY_SIZE);
        assert_memory_equal(secret_data(back), secret_data(nul), RECOVERY_SIZE);
}

static void test_a_token_marks_its_keyslot(void **state) {
        static const struct {
                const char *text;
                bool is;
                unsigned slot;
        } others[] = {
                { "{\"type\":\"systemd-recovery\",\"keyslots\":[\"31\"],\"x\":1}", true, 31 },
                { "{\"type\":\"systemd-recovery\",\"keyslots\":[]}", true, LUKS_SLOTS_MAX },
                { "{\"type\":\"systemd-recovery\"}", true, LUKS_SLOTS_MAX },
                { "{\"type\":\"systemd-recovery\",\"keyslots\":[\"1\",\"2\"]}", true,
                  LUKS_SLOTS_MAX },
                { "{\"type\":\"systemd-recovery\",\"keyslots\":[\"32\"]}", true, LUKS_SLOTS_MAX },
                { "{\"type\":\"systemd-recovery\",\"keyslots\":[\"01\"]}", true, LUKS_SLOTS_MAX },
                { "{\"type\":\"systemd-tpm2\",\"keyslots\":[\"1\"]}", false, 77 },
                { "{\"type\":1}", false, 77 },
                { "[]", false, 77 },
        };
        _cleanup_(json_freep) struct json *token = recovery_token(7);
        unsigned slot = 77;
        (void) state;

        assert_true(recovery_is_one(token, &slot));
        assert_int_equal(slot, 7);
        slot = 77;
        assert_false(recovery_is_one(NULL, &slot));
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                _cleanup_(json_freep) struct json *j = NULL;
                struct error err = { 0 };

                slot = 77;
                assert_int_equal(json_parse(others[i].text, strlen(others[i].text), &j, &err), 0);
                assert_int_equal(recovery_is_one(j, &slot), others[i].is);
                assert_int_equal(slot, others[i].slot);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_passphrase_is_eight_groups_of_modhex),
                cmocka_unit_test(test_what_was_typed_comes_into_its_form),
                cmocka_unit_test(test_anything_else_is_taken_as_it_is),
                cmocka_unit_test(test_a_token_marks_its_keyslot),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
