/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luks/luks.h"
#include "tests/image.h"
#include "tests/test.h"

/* JSON that two readers could understand in two ways, and keyslots that we never open. */

static int setup(void **state) {
        struct image *i = calloc(1, sizeof(*i));
        _cleanup_(secret_freep) struct secret *key = image_random(32);

        assert_non_null(i);
        image_make(i, IMAGE_SIZE);
        image_cryptsetup_format(i, key, image_pbkdf2);
        *state = i;
        return 0;
}

static int teardown(void **state) {
        image_done(*state);
        free(*state);
        return 0;
}

static char *text_of(const struct image *i) {
        _cleanup_(json_freep) struct json *json = image_json(i);
        struct error err = { 0 };
        char *text;

        assert_int_equal(json_text(json, false, &text, &err), 0);
        return text;
}

/* @text with the first @from as @to. */
static char *with(const char *text, const char *from, const char *to) {
        const char *at = strstr(text, from);
        char *ret;

        assert_non_null(at);
        assert_true(asprintf(&ret, "%.*s%s%s", (int) (at - text), text, to, at + strlen(from)) > 0);
        return ret;
}

static int look(const struct image *i, struct luks_reason *why) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct error err = { 0 };
        int r = luks_open(&(struct luks_source){ i->path, NULL }, &l, why, &err);

        if (r < 0)
                fail_msg("%s", err.text);
        return r;
}

static void test_other_forms_of_the_same_json_are_refused(void **state) {
        static const char *const forms[][2] = {
                { "{", "{ " },
                { "{", "{/* a comment */" },
                { "\"crypt\"", "\"\\u0063rypt\"" },
                { "\"encryption\":", "\"encrypt\\u0069on\":" },
                { "\"segments\":{", "\"segments\":{},\"segments\":{" },
                { "\"stripes\":4000", "\"stripes\":4000,\"stripes\":4000" },
                { "\"type\":\"pbkdf2\",", "\"type\":\"pbkdf2\",\"dropped\":1," },
                { "\"offset\"", "'offset'" },
        };
        const struct image *i = *state;
        _cleanup_(freep) char *honest = text_of(i);
        struct luks_reason why;

        for (size_t n = 0; n < ARRAY_SIZE(forms); n++) {
                _cleanup_(freep) char *text = with(honest, forms[n][0], forms[n][1]);

                image_forge(i, IMAGE_BOTH, text, 0);
                why = (struct luks_reason){ 0 };
                if (look(i, &why) != LUKS_REFUSED ||
                    (strcmp(why.rule, "text") != 0 && strcmp(why.rule, "load") != 0))
                        fail_msg("%s: %s %s", forms[n][1], why.rule, why.text);
        }
        image_forge(i, IMAGE_BOTH, honest, 0);
        assert_int_equal(look(i, &why), LUKS_OK);
}

static void test_escaped_slashes_are_an_older_form(void **state) {
        const struct image *i = *state;
        _cleanup_(freep) char *honest = NULL, *text = NULL;
        struct luks_reason why = { 0 };

        image_forge_value(i, IMAGE_BOTH, "tokens.0",
                          "{\"type\":\"x\",\"keyslots\":[],\"a\":\"b/c\"}");
        honest = text_of(i);
        text = with(honest, "b/c", "b\\/c");
        image_forge(i, IMAGE_BOTH, text, 0);
        if (look(i, &why) != LUKS_OK)
                fail_msg("%s: %s", why.rule, why.text);
}

static void test_a_keyslot_that_opens_the_data_is_an_honest_one(void **state) {
        static const struct {
                const char *path, *value, *rule;
        } changes[] = {
                { "keyslots.0.area.encryption", "\"cipher_null-ecb\"", "slot-area-cipher" },
                { "keyslots.0.kdf.iterations", "2147483647", "slot-kdf" },
                { "keyslots.0.af.stripes", "1", "slot-af" },
        };
        const struct image *i = *state;
        _cleanup_(freep) char *honest = text_of(i);

        for (size_t n = 0; n < ARRAY_SIZE(changes); n++) {
                struct luks_reason why = { 0 };

                image_forge_value(i, IMAGE_BOTH, changes[n].path, changes[n].value);
                assert_int_equal(look(i, &why), LUKS_REFUSED);
                assert_string_equal(why.rule, changes[n].rule);
                assert_non_null(strstr(why.text, "keyslot 0: "));
                image_forge(i, IMAGE_BOTH, honest, 0);
        }
}

/* One that opens nothing may be anything that libcryptsetup loads. */
static void test_a_keyslot_that_opens_nothing_is_nobodys_business(void **state) {
        const struct image *i = *state;
        _cleanup_(secret_freep) struct secret *key = image_random(32);
        const char *const add[] = {
                "cryptsetup",   "luksAddKey",
                "--batch-mode", "--unbound",
                "--key-size",   "256",
                "--pbkdf",      "pbkdf2",
                "--key-slot",   "5",
                "--key-file",   image_key_file(i, key),
                i->path,        image_key_file(i, key),
                NULL,
        };
        struct luks_reason why = { 0 };

        assert_int_equal(image_run(add), 0);
        image_forge_value(i, IMAGE_BOTH, "keyslots.5.area.encryption", "\"cipher_null-ecb\"");
        if (look(i, &why) != LUKS_OK)
                fail_msg("%s: %s", why.rule, why.text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_other_forms_of_the_same_json_are_refused,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(test_escaped_slashes_are_an_older_form, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_a_keyslot_that_opens_the_data_is_an_honest_one,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_a_keyslot_that_opens_nothing_is_nobodys_business, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
