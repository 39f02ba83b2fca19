/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "luks/luks.h"
#include "tests/image.h"

/* New headers, what fits into them, and what needs device-mapper. */

struct fixture {
        struct image image;
        struct secret *volume_key, *slot_secret, *passphrase;
        struct luks *luks;
        struct luks_edit *edit;
};

static int setup(void **state) {
        static struct fixture f;

        memset(&f, 0, sizeof(f));
        image_make(&f.image, IMAGE_SIZE);
        f.volume_key = image_random(64);
        f.slot_secret = image_random(LUKS_SECRET_SIZE);
        f.passphrase = image_random(20);
        *state = &f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        f->edit = luks_edit_close(f->edit);
        f->luks = luks_close(f->luks);
        f->volume_key = secret_free(f->volume_key);
        f->slot_secret = secret_free(f->slot_secret);
        f->passphrase = secret_free(f->passphrase);
        image_done(&f->image);
        return 0;
}

static void format(struct fixture *f) {
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        if (luks_format(&(struct luks_source){ f->image.path, NULL }, f->volume_key, &f->edit, &why,
                        &err) != LUKS_OK)
                fail_msg("%s: %s %s", why.rule, why.text, err.text);
}

/* A header of cryptsetup, opened for changes with its volume key. */
static void format_foreign(struct fixture *f, const char *const *options) {
        const struct luks_key key = { 0, LUKS_SLOT_FOREIGN, f->passphrase };
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        image_cryptsetup_format(&f->image, f->passphrase, options);
        f->volume_key = secret_free(f->volume_key);
        if (luks_open(&(struct luks_source){ f->image.path, NULL }, &f->luks, &why, &err) !=
                    LUKS_OK ||
            luks_slot_open(f->luks, &key, &f->volume_key, &why, &err) != LUKS_OK ||
            luks_edit(f->luks, &f->edit, &why, &err) != LUKS_OK)
                fail_msg("%s: %s %s", why.rule, why.text, err.text);
}

static int room(struct fixture *f, struct luks_need need, unsigned *ret_slot, unsigned *ret_token,
                const char *rule) {
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        int r;

        r = luks_room(luks_edit_result(f->edit), &need, ret_slot, ret_token, &why, &err);
        if (r < 0)
                fail_msg("%s", err.text);
        if (r != LUKS_OK && strcmp(why.rule, rule) != 0)
                fail_msg("%s: %s, expected %s", why.rule, why.text, rule);
        return r;
}

static void add_slot(struct fixture *f, unsigned slot) {
        struct error err = { 0 };

        if (luks_slot_add(f->edit, &(struct luks_key){ slot, LUKS_SLOT_OURS, f->slot_secret },
                          f->volume_key, &err) < 0)
                fail_msg("%s", err.text);
}

/* A token of @size bytes of JSON. */
static void add_token(struct fixture *f, unsigned id, size_t size) {
        static const char frame[] = "{\"type\":\"x\",\"keyslots\":[],\"p\":\"\"}";
        _cleanup_(freep) char *fill = calloc(1, size);
        _cleanup_(json_freep) struct json *token = image_parse(frame);
        struct error err = { 0 };

        assert_non_null(fill);
        memset(fill, 'a', size - strlen(frame));
        assert_true(json_add_string(token, "p", fill));
        if (luks_token_set(f->edit, id, token, &err) < 0)
                fail_msg("%zu bytes: %s", size, err.text);
}

/* The most that luks_room() allows. */
static size_t largest(struct fixture *f, bool slot) {
        size_t low = 0, high = 1 << 20;

        while (high - low > 1) {
                size_t middle = (low + high) / 2;
                struct luks_need need = { .slot = slot, .token = true, .json = middle };

                if (room(f, need, NULL, NULL, "json-room") == LUKS_OK)
                        low = middle;
                else
                        high = middle;
        }
        return low;
}

static void test_what_has_room_can_be_written(void **state) {
        struct fixture *f = *state;
        struct luks_need slot = { .slot = true };
        unsigned free_slot = 99, free_token = 99;
        size_t size;

        format_foreign(f, image_pbkdf2);
        size = largest(f, true);
        assert_in_range(size, 10000, 12288);
        add_token(f, 0, size);
        add_slot(f, 1); /* the keyslot was counted in */

        size = largest(f, false);
        assert_true(size < 600);
        assert_int_equal(room(f, slot, &free_slot, &free_token, "json-room"), LUKS_NO_ROOM);
        assert_int_equal(free_slot, 99);
        add_token(f, 1, size);
        assert_int_equal(largest(f, false), 0);
        assert_int_equal(room(f, (struct luks_need){ .json = SIZE_MAX, .slot = true }, NULL, NULL,
                              "json-room"),
                         LUKS_NO_ROOM);
}

static void test_all_keyslots_may_be_used(void **state) {
        struct fixture *f = *state;
        struct luks_need need = { .slot = true };
        unsigned slot;

        format(f);
        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                assert_int_equal(room(f, need, &slot, NULL, ""), LUKS_OK);
                assert_int_equal(slot, i);
                add_slot(f, slot);
        }
        assert_int_equal(room(f, need, &slot, NULL, "slots"), LUKS_NO_ROOM);
        assert_int_equal(slot, 31);
        assert_int_equal(luks_facts(luks_edit_result(f->edit))->data_slots, UINT32_MAX);

        /* The first one that's free again is given out again. */
        {
                struct error err = { 0 };

                assert_int_equal(luks_slot_remove(f->edit, 7, &err), 0);
        }
        assert_int_equal(room(f, need, &slot, NULL, ""), LUKS_OK);
        assert_int_equal(slot, 7);
        add_slot(f, 7);
}

static void test_areas_may_run_out_before_keyslots(void **state) {
        static const char *const small[] = {
                "--luks2-keyslots-size",    "1m",   "--pbkdf", "pbkdf2",
                "--pbkdf-force-iterations", "1000", NULL
        };
        struct fixture *f = *state;
        struct luks_need need = { .slot = true };
        struct error err = { 0 };
        unsigned slot;

        format_foreign(f, small);
        for (unsigned i = 1; i < 4; i++) {
                assert_int_equal(room(f, need, &slot, NULL, ""), LUKS_OK);
                add_slot(f, slot);
        }
        assert_int_equal(room(f, need, &slot, NULL, "areas"), LUKS_NO_ROOM);
        assert_true(luks_slot_add(f->edit, &(struct luks_key){ 4, LUKS_SLOT_OURS, f->slot_secret },
                                  f->volume_key, &err) < 0);
}

static void test_all_tokens_may_be_used(void **state) {
        struct fixture *f = *state;
        struct luks_need need = { .token = true, .json = 40 };
        unsigned token;

        format(f);
        for (unsigned i = 0; i < LUKS_TOKENS_MAX; i++) {
                assert_int_equal(room(f, need, NULL, &token, ""), LUKS_OK);
                assert_int_equal(token, i);
                add_token(f, token, 40);
        }
        assert_int_equal(room(f, need, NULL, &token, "tokens"), LUKS_NO_ROOM);
        assert_int_equal(room(f, (struct luks_need){ .slot = true }, NULL, NULL, ""), LUKS_OK);
}

static void test_a_format_touches_nothing_but_the_header(void **state) {
        struct fixture *f = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct stat st;

        image_sum(&f->image, 16 << 20, before);
        format(f);
        image_sum(&f->image, 16 << 20, after);
        assert_memory_equal(before, after, sizeof(before));
        assert_int_equal(stat(f->image.path, &st), 0);
        assert_int_equal(st.st_size, IMAGE_SIZE);
        assert_int_equal(luks_facts(luks_edit_result(f->edit))->slots, 0);
        assert_int_equal(luks_facts(luks_edit_result(f->edit))->key_size, 0);
        assert_int_equal(image_cryptsetup_opens(&f->image, f->slot_secret), 1);
}

static void test_sectors_are_as_large_as_the_size_allows(void **state) {
        struct fixture *f = *state;

        format(f);
        assert_int_equal(luks_facts(luks_edit_result(f->edit))->sector_size, 4096);
        f->edit = luks_edit_close(f->edit);
        assert_int_equal(truncate(f->image.path, (off_t) IMAGE_SIZE + 512), 0);
        format(f);
        assert_int_equal(luks_facts(luks_edit_result(f->edit))->sector_size, 512);
        add_slot(f, 0);
}

static void test_a_small_device_is_not_formatted(void **state) {
        struct fixture *f = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        assert_int_equal(truncate(f->image.path, (17 << 20) - 1), 0);
        image_sum(&f->image, 0, before);
        assert_int_equal(luks_format(&(struct luks_source){ f->image.path, NULL }, f->volume_key,
                                     &f->edit, &why, &err),
                         LUKS_REFUSED);
        assert_string_equal(why.rule, "size");
        assert_null(f->edit);
        /* Nor with a key of another size. */
        assert_int_equal(luks_format(&(struct luks_source){ f->image.path, NULL }, f->slot_secret,
                                     &f->edit, &why, &err),
                         -EINVAL);
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));

        assert_int_equal(truncate(f->image.path, 17 << 20), 0);
        format(f);
}

static void test_names_of_mappings(void **state) {
        static const char *const bad[] = { "",     "-x",  ".x",      "a b",     "a/b",
                                           "../x", "a\n", "control", "\xc3\xa4" };
        struct fixture *f = *state;
        struct error err = { 0 };
        char longest[129];

        format(f);
        memset(longest, 'n', sizeof(longest));
        longest[128] = '\0';
        for (unsigned i = 0; i <= ARRAY_SIZE(bad); i++) {
                const char *name = i < ARRAY_SIZE(bad) ? bad[i] : longest;

                assert_int_equal(
                        luks_activate(luks_edit_result(f->edit), name, f->volume_key, &err),
                        -EINVAL);
                assert_int_equal(luks_deactivate(name, &err), -EINVAL);
                assert_false(luks_is_active(name));
        }
}

static void test_without_device_mapper_it_says_so(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };

        if (luks_have_dm())
                skip();
        format(f);
        assert_int_equal(luks_activate(luks_edit_result(f->edit), "alpha", f->volume_key, &err),
                         -ENODEV);
        assert_non_null(strstr(err.text, "device-mapper"));
        assert_int_equal(luks_deactivate("alpha", &err), -ENODEV);
        assert_false(luks_is_active("alpha"));
        assert_false(luks_is_active_of("alpha", "01234567-89ab-cdef-0123-456789abcdef"));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_what_has_room_can_be_written),
                TEST(test_all_keyslots_may_be_used),
                TEST(test_areas_may_run_out_before_keyslots),
                TEST(test_all_tokens_may_be_used),
                TEST(test_a_format_touches_nothing_but_the_header),
                TEST(test_sectors_are_as_large_as_the_size_allows),
                TEST(test_a_small_device_is_not_formatted),
                TEST(test_names_of_mappings),
                TEST(test_without_device_mapper_it_says_so),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
