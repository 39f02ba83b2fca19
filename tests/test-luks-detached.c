/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
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

/* Headers that don't stand on the disk that they're for. */

#define DATA_SIZE (20ULL << 20) /* bytes */
#define HEADER_SIZE (16 << 20)

struct fixture {
        struct image data, header;
        struct luks_source both;
        struct secret *volume_key, *slot_secret;
        struct luks *luks;
        struct luks_edit *edit;
        uint8_t sum[SHA256_SIZE]; /* of the data */
};

static int setup(void **state) {
        static struct fixture f;

        memset(&f, 0, sizeof(f));
        image_make(&f.data, DATA_SIZE);
        image_header(&f.data, &f.header);
        f.both = (struct luks_source){ f.data.path, f.header.path };
        f.volume_key = image_random(64);
        f.slot_secret = image_random(LUKS_SECRET_SIZE);
        image_sum(&f.data, 0, f.sum);
        *state = &f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        f->edit = luks_edit_close(f->edit);
        f->luks = luks_close(f->luks);
        f->volume_key = secret_free(f->volume_key);
        f->slot_secret = secret_free(f->slot_secret);
        image_done(&f->data);
        return 0;
}

static void same_data(const struct fixture *f) {
        uint8_t now[SHA256_SIZE];

        image_sum(&f->data, 0, now);
        assert_memory_equal(f->sum, now, sizeof(now));
}

static void done(int r, const struct error *err) {
        if (r != 0)
                fail_msg("%d %s", r, err->text);
}

static void open_ok(struct fixture *f) {
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        f->luks = luks_close(f->luks);
        if (luks_open(&f->both, &f->luks, &why, &err) != LUKS_OK)
                fail_msg("%s: %s %s", why.rule, why.text, err.text);
}

static void format_ok(struct fixture *f) {
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        if (luks_format(&f->both, f->volume_key, &f->edit, &why, &err) != LUKS_OK)
                fail_msg("%s: %s %s", why.rule, why.text, err.text);
}

/* cryptsetup luksFormat --header HEADER DATA */
static void cryptsetup_format(struct fixture *f) {
        const char *const options[] = {
                "--header", f->header.path, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
                NULL
        };

        image_cryptsetup_format(&f->data, f->slot_secret, options);
}

static int cryptsetup_opens(struct fixture *f, struct secret *key) {
        const char *file = image_key_file(&f->data, key);
        const char *const argv[] = { "cryptsetup",   "open",       "--test-passphrase",
                                     "--key-file",   file,         "--header",
                                     f->header.path, f->data.path, NULL };

        return image_run(argv);
}

static void refused(const struct luks_source *from, const char *rule, const char *part) {
        struct luks *l = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        assert_int_equal(luks_open(from, &l, &why, &err), LUKS_REFUSED);
        assert_null(l);
        if (strcmp(why.rule, rule) != 0 || !strstr(why.text, part))
                fail_msg("%s: %s, expected %s: %s", why.rule, why.text, rule, part);
}

static void test_a_header_of_cryptsetup_opens_and_is_edited(void **state) {
        struct fixture *f = *state;
        const struct luks_key theirs = { 0, LUKS_SLOT_FOREIGN, f->slot_secret };
        _cleanup_(secret_freep) struct secret *vk = NULL, *again = NULL, *second = image_random(32);
        const struct luks_key ours = { 1, LUKS_SLOT_OURS, second };
        const struct luks_facts *facts;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        cryptsetup_format(f);
        open_ok(f);
        facts = luks_facts(f->luks);
        assert_int_equal(facts->data_offset, 0);
        assert_int_equal(facts->device_size, DATA_SIZE);
        assert_string_equal(facts->device, f->data.path);
        assert_string_equal(facts->header, f->header.path);
        assert_int_equal(luks_slot_open(f->luks, &theirs, &vk, &why, &err), LUKS_OK);

        done(luks_edit(f->luks, &f->edit, &why, &err), &err);
        done(luks_slot_add(f->edit, &ours, vk, &err), &err);
        assert_int_equal(luks_slot_open(luks_edit_result(f->edit), &ours, &again, &why, &err),
                         LUKS_OK);
        assert_true(crypto_equal(secret_data(vk), secret_data(again), 64));
        assert_int_equal(cryptsetup_opens(f, second), 0);
        done(luks_slot_remove(f->edit, 0, &err), &err);
        assert_int_not_equal(cryptsetup_opens(f, f->slot_secret), 0);
        same_data(f);
}

static void test_a_new_header_is_a_file_of_its_own(void **state) {
        struct fixture *f = *state;
        const struct luks_key key = { 0, LUKS_SLOT_OURS, f->slot_secret };
        const struct luks_facts *facts;
        struct error err = { 0 };
        struct stat st;

        format_ok(f); /* there was no file */
        done(luks_slot_add(f->edit, &key, f->volume_key, &err), &err);
        facts = luks_facts(luks_edit_result(f->edit));
        assert_int_equal(facts->data_offset, 0);
        assert_int_equal(facts->sector_size, 4096);
        assert_int_equal(facts->metadata_size, 65536);
        assert_int_equal(facts->keyslots_size, HEADER_SIZE - 2 * 65536);
        assert_int_equal(stat(f->header.path, &st), 0);
        assert_int_equal(st.st_size, HEADER_SIZE);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(cryptsetup_opens(f, f->slot_secret), 0);
        same_data(f);
        open_ok(f);
}

static void test_a_small_file_grows_into_a_header(void **state) {
        static const off_t sizes[] = { 0, 4096, HEADER_SIZE - 1, HEADER_SIZE, HEADER_SIZE + 4096 };
        struct fixture *f = *state;
        struct stat st;

        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
                close(open(f->header.path, O_CREAT | O_WRONLY, 0640));
                assert_int_equal(truncate(f->header.path, sizes[i]), 0);
                format_ok(f);
                f->edit = luks_edit_close(f->edit);
                assert_int_equal(stat(f->header.path, &st), 0);
                assert_int_equal(st.st_size, sizes[i] > HEADER_SIZE ? sizes[i] : HEADER_SIZE);
                open_ok(f);
                assert_int_equal(unlink(f->header.path), 0);
        }
        same_data(f);
}

static void test_sectors_are_as_large_as_the_data_allows(void **state) {
        struct fixture *f = *state;

        assert_int_equal(truncate(f->data.path, (1 << 20) + 512), 0);
        format_ok(f);
        assert_int_equal(luks_facts(luks_edit_result(f->edit))->sector_size, 512);
}

static void not_formatted(struct fixture *f, const struct luks_source *to, const char *rule) {
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        assert_int_equal(luks_format(to, f->volume_key, &f->edit, &why, &err), LUKS_REFUSED);
        assert_string_equal(why.rule, rule);
        assert_null(f->edit);
}

static void test_what_is_not_formatted_leaves_nothing_behind(void **state) {
        struct fixture *f = *state;
        const struct luks_source same = { f->data.path, f->data.path };
        const struct luks_source nothing = { "/nonexistent", f->header.path };
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        not_formatted(f, &same, "header");
        same_data(f);
        assert_int_equal(luks_format(&nothing, f->volume_key, &f->edit, &why, &err), -ENOENT);
        assert_int_equal(access(f->header.path, F_OK), -1);
        assert_int_equal(truncate(f->data.path, (1 << 20) - 1), 0);
        not_formatted(f, &f->both, "size");
        assert_int_equal(access(f->header.path, F_OK), -1);
        assert_int_equal(truncate(f->data.path, 1 << 20), 0);
        format_ok(f);
}

static void test_the_header_is_not_the_data(void **state) {
        struct fixture *f = *state;
        const struct luks_source same = { f->header.path, f->header.path };
        struct luks_source linked = { f->header.path, NULL };
        char link_path[96];

        cryptsetup_format(f);
        refused(&same, "header", "the same file");
        (void) snprintf(link_path, sizeof(link_path), "%s/key", f->data.dir);
        (void) unlink(link_path);
        assert_int_equal(symlink(f->header.path, link_path), 0);
        linked.header = link_path;
        refused(&linked, "header", "the same file");
}

static void test_a_detached_header_alone_is_no_disk(void **state) {
        struct fixture *f = *state;
        const struct luks_source alone = { f->header.path, NULL };

        cryptsetup_format(f);
        refused(&alone, "data-offset", "");
}

static void test_a_header_that_was_cut_is_refused(void **state) {
        struct fixture *f = *state;
        struct luks *l = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        cryptsetup_format(f);
        assert_int_equal(truncate(f->header.path, HEADER_SIZE - 1), 0);
        refused(&f->both, "keyslots-size", "");
        assert_int_equal(truncate(f->header.path, 16384), 0);
        refused(&f->both, "keyslots-size", "");
        assert_int_equal(truncate(f->header.path, 8192), 0);
        refused(&f->both, "copies", "damaged");
        assert_int_equal(truncate(f->header.path, 0), 0);
        assert_int_equal(luks_open(&f->both, &l, &why, &err), LUKS_NONE);
        assert_int_equal(unlink(f->header.path), 0);
        assert_int_equal(luks_open(&f->both, &l, &why, &err), -ENOENT);
        assert_non_null(strstr(err.text, "detached header"));
}

static void test_the_data_begins_on_the_device(void **state) {
        struct fixture *f = *state;

        cryptsetup_format(f);
        image_forge_value(&f->header, IMAGE_BOTH, "segments.0.offset", "\"16777216\"");
        open_ok(f);
        image_forge_value(&f->header, IMAGE_BOTH, "segments.0.offset", "\"20967424\"");
        open_ok(f);
        image_forge_value(&f->header, IMAGE_BOTH, "segments.0.offset", "\"20971520\"");
        refused(&f->both, "data-offset", "20971519");
        image_forge_value(&f->header, IMAGE_BOTH, "segments.0.offset", "\"0\"");
        open_ok(f);
        assert_int_equal(truncate(f->data.path, 0), 0);
        refused(&f->both, "data-offset", "");
}

/* A copy of a disk's own header, as `cryptsetup luksHeaderBackup` makes it. */
static void test_a_header_with_an_offset_fits_a_large_enough_device(void **state) {
        struct fixture *f = *state;
        const struct luks_source plain = { f->header.path, NULL };
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        close(open(f->header.path, O_CREAT | O_WRONLY, 0600));
        assert_int_equal(truncate(f->header.path, (off_t) DATA_SIZE), 0);
        done(luks_format(&plain, f->volume_key, &f->edit, &why, &err), &err);
        open_ok(f);
        assert_int_equal(luks_facts(f->luks)->data_offset, HEADER_SIZE);
        assert_int_equal(truncate(f->data.path, HEADER_SIZE), 0);
        refused(&f->both, "data-offset", "");
}

static void is_changed(struct fixture *f) {
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        assert_int_equal(luks_edit(f->luks, &f->edit, &why, &err), LUKS_CHANGED);
        assert_null(f->edit);
}

static void swap(const struct image *i) {
        char other[100];
        const char *const copy[] = { "cp", "--sparse=always", i->path, other, NULL };

        (void) snprintf(other, sizeof(other), "%s/key", i->dir);
        assert_int_equal(image_run(copy), 0);
        assert_int_equal(rename(other, i->path), 0);
}

static void test_another_header_or_disk_at_the_path_is_not_edited(void **state) {
        struct fixture *f = *state;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        cryptsetup_format(f);
        open_ok(f);
        swap(&f->header);
        is_changed(f);
        open_ok(f);
        swap(&f->data);
        is_changed(f);
        open_ok(f);
        assert_int_equal(unlink(f->header.path), 0);
        assert_int_equal(symlink(f->data.path, f->header.path), 0);
        is_changed(f);
        assert_int_equal(unlink(f->header.path), 0);
        assert_int_equal(luks_edit(f->luks, &f->edit, &why, &err), -ENOENT);
        same_data(f);
}

static void test_a_change_of_the_header_is_seen(void **state) {
        struct fixture *f = *state;
        _cleanup_(json_freep) struct json *token = image_parse("{\"type\":\"x\",\"keyslots\":[]}");
        struct error err = { 0 };

        format_ok(f);
        f->edit = luks_edit_close(f->edit);
        open_ok(f);
        image_forge(&f->header, IMAGE_BOTH, NULL, 1);
        is_changed(f);

        /* And another disk in between two changes. */
        open_ok(f);
        done(luks_edit(f->luks, &f->edit, &(struct luks_reason){ 0 }, &err), &err);
        swap(&f->data);
        assert_int_equal(luks_token_set(f->edit, 0, token, &err), -EIO);
}

static void test_a_damaged_copy_is_mended(void **state) {
        struct fixture *f = *state;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        cryptsetup_format(f);
        image_damage(&f->header, IMAGE_FIRST);
        open_ok(f);
        assert_true(luks_facts(f->luks)->degraded);
        done(luks_edit(f->luks, &f->edit, &why, &err), &err);
        assert_false(luks_facts(luks_edit_result(f->edit))->degraded);
        open_ok(f);
        assert_false(luks_facts(f->luks)->degraded);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_a_header_of_cryptsetup_opens_and_is_edited),
                TEST(test_a_new_header_is_a_file_of_its_own),
                TEST(test_a_small_file_grows_into_a_header),
                TEST(test_sectors_are_as_large_as_the_data_allows),
                TEST(test_what_is_not_formatted_leaves_nothing_behind),
                TEST(test_the_header_is_not_the_data),
                TEST(test_a_detached_header_alone_is_no_disk),
                TEST(test_a_header_that_was_cut_is_refused),
                TEST(test_the_data_begins_on_the_device),
                TEST(test_a_header_with_an_offset_fits_a_large_enough_device),
                TEST(test_another_header_or_disk_at_the_path_is_not_edited),
                TEST(test_a_change_of_the_header_is_seen),
                TEST(test_a_damaged_copy_is_mended),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
