/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "luks/luks.h"
#include "tests/image.h"

/* What the rules say of a header, one by one: the same as luks_open(), and to the end. */

struct fixture {
        struct image image;
        struct luks_source source;
        struct secret *key;
        struct luks_examined *examined;
        struct luks_reason why;
};

static int setup(void **state) {
        static struct fixture f;

        memset(&f, 0, sizeof(f));
        image_make(&f.image, IMAGE_SIZE);
        f.source = (struct luks_source){ f.image.path, NULL };
        f.key = image_random(20);
        image_cryptsetup_format(&f.image, f.key, image_pbkdf2);
        *state = &f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        f->examined = luks_examined_free(f->examined);
        f->key = secret_free(f->key);
        image_done(&f->image);
        return 0;
}

static void is_printable(const char *text) {
        assert_string_not_equal(text, "");
        for (; *text; text++)
                assert_in_range(*text, 0x20, 0x7e);
}

/* Whatever is found, luks_open() finds the same first, and the disk isn't written. */
static int examine(struct fixture *f) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        int r;

        f->examined = luks_examined_free(f->examined);
        f->why = (struct luks_reason){ 0 };
        image_sum(&f->image, 0, before);
        r = luks_examine(&f->source, &f->examined, &f->why, &err);
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));
        assert_int_equal(luks_open(&f->source, &l, &why, &err), r);
        assert_int_equal(err.errnum, 0);
        assert_string_equal(f->why.rule, why.rule);
        assert_string_equal(f->why.text, why.text);
        if (r != LUKS_OK && r != LUKS_REFUSED)
                return r;
        for (size_t i = 0; i < luks_examined_count(f->examined); i++) {
                const struct luks_finding *one = luks_examined_at(f->examined, i);

                is_printable(one->rule);
                is_printable(one->found);
                if (one->verdict != LUKS_SKIPPED)
                        is_printable(one->expected);
        }
        assert_null(luks_examined_at(f->examined, luks_examined_count(f->examined)));
        return r;
}

static const struct luks_finding *finding(struct fixture *f, const char *rule, int slot) {
        for (size_t i = 0; i < luks_examined_count(f->examined); i++) {
                const struct luks_finding *one = luks_examined_at(f->examined, i);

                if (one->slot == slot && strcmp(one->rule, rule) == 0)
                        return one;
        }
        fail_msg("no finding for %s", rule);
        return NULL;
}

static void says(struct fixture *f, const char *rule, int slot, const char *found,
                 const char *expected) {
        const struct luks_finding *one = finding(f, rule, slot);

        if (strcmp(one->found, found) != 0 || strcmp(one->expected, expected) != 0)
                fail_msg("%s: '%s' '%s', expected '%s' '%s'", rule, one->found, one->expected,
                         found, expected);
}

static size_t count(struct fixture *f, int verdict) {
        size_t n = 0;

        for (size_t i = 0; i < luks_examined_count(f->examined); i++)
                n += (int) luks_examined_at(f->examined, i)->verdict == verdict;
        return n;
}

static void test_an_honest_header_holds_in_words(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };
        size_t n;

        assert_int_equal(examine(f), LUKS_OK);
        n = luks_examined_count(f->examined);
        assert_int_equal(count(f, LUKS_HOLDS), n);
        assert_string_equal(luks_examined_at(f->examined, 0)->rule, "copies");
        says(f, "copies", -1, "two equal copies",
             "two equal copies, or one that's good and at most one update ahead");
        says(f, "cipher", -1, "encryption \"aes-xts-plain64\"", "\"aes-xts-plain64\"");
        says(f, "segments", -1, "1 segment", "segment 0 alone");
        says(f, "members", -1, "keyslots, tokens, segments, digests, config",
             "keyslots, tokens, segments, digests, config");
        says(f, "config-members", -1, "json_size, keyslots_size",
             "json_size, keyslots_size, maybe flags, maybe requirements");
        says(f, "requirements", -1, "no requirements", "none");
        says(f, "data-offset", -1, "offset \"16777216\"",
             "16777216 to 25165823, a multiple of the sector size");
        says(f, "keyslots", -1, "1 keyslots", "numbers from 0 to 31");
        assert_true(json_has(luks_examined_metadata(f->examined), "segments"));

        assert_int_equal(luks_examine_slot(f->examined, 0, LUKS_SLOT_FOREIGN, &err), LUKS_OK);
        assert_int_equal(count(f, LUKS_HOLDS), luks_examined_count(f->examined));
        assert_true(luks_examined_count(f->examined) > n);
        says(f, "slot", 0, "keyslot 0", "one to open");
        says(f, "slot-kdf", 0, "type \"pbkdf2\", hash \"sha256\", iterations 1000",
             "\"pbkdf2\" or \"argon2id\" or \"argon2i\", \"sha256\" or \"sha512\" or \"sha1\", "
             "1000 to 50000000");
        says(f, "slot-digest", 0, "the digest of segment 0", "that of segment 0 alone");
        says(f, "slot-area-alone", 0, "bytes 32768 to 290815", "an area of its own");
}

static void test_it_goes_on_behind_the_first_refusal(void **state) {
        struct fixture *f = *state;

        image_forge_value(&f->image, IMAGE_BOTH, "segments.0.encryption", "\"cipher_null-ecb\"");
        image_forge_value(&f->image, IMAGE_BOTH, "digests.0.iterations", "2000001");
        assert_int_equal(examine(f), LUKS_REFUSED);
        assert_string_equal(f->why.rule, "cipher");
        assert_int_equal(count(f, LUKS_BREAKS), 2);
        assert_int_equal(count(f, LUKS_SKIPPED), 0);
        says(f, "cipher", -1, "encryption \"cipher_null-ecb\"", "\"aes-xts-plain64\"");
        says(f, "digest-iterations", -1, "iterations 2000001", "1000 to 2000000");
}

static void test_a_slot_is_held_against_both_templates(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };

        assert_int_equal(examine(f), LUKS_OK);
        assert_int_equal(luks_examine_slot(f->examined, 0, LUKS_SLOT_OURS, &err), LUKS_REFUSED);
        assert_int_equal(finding(f, "slot-af", 0)->verdict, LUKS_BREAKS);
        says(f, "slot-af", 0, "hash \"sha256\"", "\"sha512\"");
        assert_int_equal(finding(f, "slot-type", 0)->verdict, LUKS_HOLDS);
}

static void test_a_slot_that_is_not_there_breaks(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };
        size_t n;

        assert_int_equal(examine(f), LUKS_OK);
        assert_int_equal(luks_examine_slot(f->examined, 3, LUKS_SLOT_OURS, &err), LUKS_REFUSED);
        says(f, "slot", 3, "no keyslot 3", "one to open");
        assert_int_equal(finding(f, "slot", 3)->verdict, LUKS_BREAKS);
        assert_int_equal(finding(f, "slot-kdf", 3)->verdict, LUKS_SKIPPED);
        n = count(f, LUKS_BREAKS);
        assert_int_equal(n, 1);
        assert_int_equal(luks_examine_slot(f->examined, 99, LUKS_SLOT_OURS, &err), LUKS_REFUSED);
        assert_int_equal(count(f, LUKS_BREAKS), 2);
}

static void test_copies_come_before_all_rules(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };

        image_damage(&f->image, IMAGE_SECOND);
        assert_int_equal(examine(f), LUKS_OK);
        assert_int_equal(finding(f, "copies", -1)->verdict, LUKS_HOLDS);
        assert_non_null(strstr(finding(f, "copies", -1)->found, "second copy"));

        image_damage(&f->image, IMAGE_FIRST);
        assert_int_equal(examine(f), LUKS_REFUSED);
        assert_int_equal(count(f, LUKS_BREAKS), 1);
        assert_int_equal(count(f, LUKS_HOLDS), 0);
        assert_non_null(strstr(finding(f, "copies", -1)->found, "damaged"));
        assert_int_equal(finding(f, "load", -1)->verdict, LUKS_SKIPPED);
        assert_int_equal(finding(f, "cipher", -1)->verdict, LUKS_SKIPPED);
        assert_null(luks_examined_metadata(f->examined));
        assert_int_equal(luks_examine_slot(f->examined, 0, LUKS_SLOT_OURS, &err), LUKS_REFUSED);
        assert_int_equal(finding(f, "slot-kdf", 0)->verdict, LUKS_SKIPPED);
}

static void test_a_version_of_tomorrow_is_about_the_copies(void **state) {
        struct fixture *f = *state;
        const uint8_t version[] = { 0, 3 };

        image_write(&f->image, 6, version, sizeof(version));
        image_write(&f->image, 16384 + 6, version, sizeof(version));
        assert_int_equal(examine(f), LUKS_REFUSED);
        assert_string_equal(f->why.rule, "version");
        assert_non_null(strstr(finding(f, "copies", -1)->found, "version 3"));
}

static void test_what_is_not_loaded_skips_the_rules(void **state) {
        struct fixture *f = *state;

        image_forge_value(&f->image, IMAGE_BOTH, "segments", NULL);
        assert_int_equal(examine(f), LUKS_REFUSED);
        assert_int_equal(finding(f, "copies", -1)->verdict, LUKS_HOLDS);
        assert_int_equal(finding(f, "load", -1)->verdict, LUKS_BREAKS);
        assert_int_equal(finding(f, "json", -1)->verdict, LUKS_SKIPPED);
        assert_int_equal(finding(f, "uuid", -1)->verdict, LUKS_SKIPPED);
        assert_null(luks_examined_metadata(f->examined));
}

/* Deeper than our own parser goes, and so than what the helpers here can build. */
static void forge_deep(const struct image *i) {
        static const char mark[] = "\"DEEP\"", deep[] = "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]";
        _cleanup_(json_freep) struct json *j = image_json(i);
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };
        char all[8192];
        const char *at;

        image_set(j, "tokens.0", "{\"type\":\"x\",\"keyslots\":[],\"d\":\"DEEP\"}");
        assert_int_equal(json_text(j, false, &text, &err), 0);
        at = strstr(text, mark);
        assert_non_null(at);
        (void) snprintf(all, sizeof(all), "%.*s%s%s", (int) (at - text), text, deep,
                        at + strlen(mark));
        image_forge(i, IMAGE_BOTH, all, 0);
}

static void test_json_that_is_too_deep_is_shown_as_such(void **state) {
        struct fixture *f = *state;

        image_forge_value(&f->image, IMAGE_BOTH, "tokens.0",
                          "{\"type\":\"x\",\"keyslots\":[],\"d\":[[[[[[[[[[1]]]]]]]]]]}");
        assert_int_equal(examine(f), LUKS_OK);
        forge_deep(&f->image);
        assert_int_equal(examine(f), LUKS_REFUSED);
        assert_string_equal(f->why.rule, "json");
        assert_int_equal(finding(f, "load", -1)->verdict, LUKS_HOLDS);
        assert_int_equal(finding(f, "json", -1)->verdict, LUKS_BREAKS);
        assert_int_equal(finding(f, "uuid", -1)->verdict, LUKS_SKIPPED);
}

static void test_hostile_text_is_shown_in_ascii(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };

        image_forge_value(&f->image, IMAGE_BOTH, "segments.0.encryption",
                          "\"\xc3\xa4\xe2\x80\xae\\u001b[2J\x7f\"");
        image_forge_value(&f->image, IMAGE_BOTH, "keyslots.0.area.encryption", "\"\xc3\xa4\x7f\"");
        assert_int_equal(examine(f), LUKS_REFUSED); /* which looks at each letter */
        assert_int_equal(luks_examine_slot(f->examined, 0, LUKS_SLOT_FOREIGN, &err), LUKS_REFUSED);
        is_printable(finding(f, "slot-area-cipher", 0)->found);
}

static void test_what_is_no_luks2_is_not_examined(void **state) {
        struct fixture *f = *state;
        struct luks_source nothing = { "/nonexistent", NULL };
        struct error err = { 0 };

        assert_int_equal(truncate(f->image.path, 0), 0);
        assert_int_equal(truncate(f->image.path, IMAGE_SIZE), 0);
        assert_int_equal(examine(f), LUKS_NONE);
        assert_null(f->examined);
        assert_int_equal(luks_examine(&nothing, &f->examined, &f->why, &err), -ENOENT);
        assert_null(f->examined);
        assert_null(luks_examined_free(NULL));
}

static void test_a_detached_header_is_examined_as_one(void **state) {
        struct fixture *f = *state;
        struct image header;
        const char *options[] = { "--header", NULL, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations",
                                  "1000",     NULL };

        image_header(&f->image, &header);
        options[1] = header.path;
        image_cryptsetup_format(&f->image, f->key, options);
        f->source.header = header.path;
        assert_int_equal(examine(f), LUKS_OK);
        assert_string_equal(luks_examined_at(f->examined, 0)->rule, "header");
        says(f, "data-offset", -1, "offset \"0\"", "0 to 25165823, a multiple of the sector size");

        f->source.header = f->image.path;
        assert_int_equal(examine(f), LUKS_REFUSED);
        assert_int_equal(finding(f, "header", -1)->verdict, LUKS_BREAKS);
        assert_int_equal(finding(f, "copies", -1)->verdict, LUKS_SKIPPED);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_an_honest_header_holds_in_words),
                TEST(test_it_goes_on_behind_the_first_refusal),
                TEST(test_a_slot_is_held_against_both_templates),
                TEST(test_a_slot_that_is_not_there_breaks),
                TEST(test_copies_come_before_all_rules),
                TEST(test_a_version_of_tomorrow_is_about_the_copies),
                TEST(test_what_is_not_loaded_skips_the_rules),
                TEST(test_json_that_is_too_deep_is_shown_as_such),
                TEST(test_hostile_text_is_shown_in_ascii),
                TEST(test_what_is_no_luks2_is_not_examined),
                TEST(test_a_detached_header_is_examined_as_one),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
