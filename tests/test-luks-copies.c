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

/* What luks_open() and luks_probe() make of any file, and that they never write to it. */

static int setup(void **state) {
        static struct image i;
        _cleanup_(secret_freep) struct secret *key = image_random(32);

        image_make(&i, IMAGE_SIZE);
        image_cryptsetup_format(&i, key, image_pbkdf2);
        *state = &i;
        return 0;
}

static int setup_blank(void **state) {
        static struct image i;

        image_make(&i, IMAGE_SIZE);
        *state = &i;
        return 0;
}

static int teardown(void **state) {
        image_done(*state);
        return 0;
}

struct outcome {
        int verdict;
        bool degraded;
        char degraded_text[120];
        uint32_t sector_size;
        struct luks_reason why;
        struct error err;
};

/* Opens the image, and sees to it that no byte of it changed. */
static struct outcome look(const struct image *i) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct outcome o = { 0 };

        image_sum(i, 0, before);
        o.verdict = luks_open(&(struct luks_source){ i->path, NULL }, &l, &o.why, &o.err);
        image_sum(i, 0, after);
        assert_memory_equal(before, after, sizeof(before));
        assert_int_equal(o.err.errnum, o.verdict < 0 ? o.verdict : 0);
        assert_true((o.verdict == LUKS_OK) == (l != NULL));
        if (l) {
                o.degraded = luks_facts(l)->degraded;
                o.sector_size = luks_facts(l)->sector_size;
                memcpy(o.degraded_text, luks_facts(l)->degraded_text, sizeof(o.degraded_text));
        } else if (o.verdict > 0) {
                assert_string_not_equal(o.why.rule, "");
                assert_string_not_equal(o.why.text, "");
        }
        return o;
}

static void refused(const struct image *i, int verdict, const char *rule, const char *words) {
        struct outcome o = look(i);

        if (o.verdict != verdict || strcmp(o.why.rule, rule) != 0 || !strstr(o.why.text, words))
                fail_msg("%d %s: %s %s; expected %s", o.verdict, o.why.rule, o.why.text, o.err.text,
                         words);
}

static void degraded(const struct image *i, const char *words) {
        struct outcome o = look(i);

        if (o.verdict != LUKS_OK)
                fail_msg("%s %s %s", o.why.rule, o.why.text, o.err.text);
        assert_true(o.degraded);
        assert_non_null(strstr(o.degraded_text, words));
}

static void test_equal_copies_are_fine(void **state) {
        struct outcome o = look(*state);

        assert_int_equal(o.verdict, LUKS_OK);
        assert_false(o.degraded);
        assert_string_equal(o.degraded_text, "");
}

static void test_one_damaged_copy_is_degraded(void **state) {
        const struct image *i = *state;
        uint8_t zero[16384] = { 0 };

        image_damage(i, IMAGE_FIRST);
        degraded(i, "first copy");
        image_damage(i, IMAGE_FIRST); /* once more mends it */
        image_damage(i, IMAGE_SECOND);
        degraded(i, "second copy");
        image_damage(i, IMAGE_SECOND);
        image_write(i, 0, zero, sizeof(zero));
        degraded(i, "first copy");
}

static void test_a_cut_between_two_writes_is_degraded(void **state) {
        const struct image *i = *state;
        struct outcome o;

        image_forge(i, IMAGE_FIRST, NULL, 1);
        degraded(i, "second copy");
        image_forge(i, IMAGE_SECOND, NULL, 2);
        degraded(i, "first copy");

        /* What libcryptsetup chooses counts: the newer one. */
        image_forge_value(i, IMAGE_SECOND, "segments.0.sector_size", "512");
        o = look(i);
        assert_int_equal(o.verdict, LUKS_OK);
        assert_int_equal(o.sector_size, 512);
        image_forge_value(i, IMAGE_SECOND, "segments.0.encryption", "\"cipher_null-ecb\"");
        refused(i, LUKS_REFUSED, "cipher", "cipher_null-ecb");
}

static void test_copies_further_apart_are_refused(void **state) {
        const struct image *i = *state;

        image_forge(i, IMAGE_SECOND, NULL, 2);
        refused(i, LUKS_REFUSED, "copies", "one apart");
        image_forge(i, IMAGE_SECOND, NULL, -4);
        refused(i, LUKS_REFUSED, "copies", "ids");
}

static void test_copies_of_one_id_that_differ_are_refused(void **state) {
        const struct image *i = *state;
        const char label[] = "evil";

        image_write(i, 24, label, sizeof(label)); /* in the binary header, not in the JSON */
        image_forge(i, IMAGE_FIRST, NULL, 0);
        refused(i, LUKS_REFUSED, "copies", "differ");
        image_write(i, 24, "\0\0\0\0", 4);
        image_forge_value(i, IMAGE_FIRST, "segments.0.sector_size", "512");
        refused(i, LUKS_REFUSED, "copies", "differ");
}

static void test_an_id_that_could_wrap_is_refused(void **state) {
        const struct image *i = *state;

        image_forge(i, IMAGE_BOTH, NULL, -3); /* 2^64 and something */
        image_forge(i, IMAGE_BOTH, NULL, -3);
        refused(i, LUKS_REFUSED, "copies", "long enough");
}

static void test_two_damaged_copies_are_refused(void **state) {
        image_damage(*state, IMAGE_BOTH);
        refused(*state, LUKS_REFUSED, "copies", "both copies");
}

static void test_a_disk_that_was_given_away_is_refused(void **state) {
        const struct image *i = *state;
        const char *const mkfs[] = { "mke2fs", "-q", "-F", i->path, "8000", NULL };
        _cleanup_(freep) void *second = malloc(16384);

        assert_non_null(second);
        image_read(i, 16384, second, 16384);
        assert_int_equal(image_run(mkfs), 0);
        image_write(i, 16384, second, 16384);
        refused(i, LUKS_REFUSED, "copies", "ext2");
}

static void test_luks1_is_no_luks2(void **state) {
        const struct image *i = *state;
        static const char *const luks1[] = { "--type", "luks1", "--pbkdf-force-iterations", "1000",
                                             NULL };
        _cleanup_(secret_freep) struct secret *key = image_random(32);
        struct error err = { 0 };
        char name[64];

        image_cryptsetup_format(i, key, luks1);
        refused(i, LUKS_NONE, "header", "LUKS1");
        refused(i, LUKS_NONE, "header", "cryptsetup convert --type luks2 DEVICE");
        assert_int_equal(luks_probe(i->path, name, &err), 1);
        assert_string_equal(name, "crypto_LUKS 1");
}

static void test_a_luks1_header_over_luks2_is_refused(void **state) {
        image_write(*state, 6, "\0\1", 2);
        refused(*state, LUKS_REFUSED, "copies", "version 1");
}

static void test_a_luks_of_tomorrow_is_refused(void **state) {
        image_write(*state, 6, "\0\3", 2);
        image_damage(*state, IMAGE_SECOND);
        refused(*state, LUKS_REFUSED, "version", "version 3");
}

static void test_the_device_must_hold_what_the_header_says(void **state) {
        const struct image *i = *state;

        assert_int_equal(truncate(i->path, 16 << 20), 0);
        refused(i, LUKS_REFUSED, "data-offset", "the device");
        assert_int_equal(truncate(i->path, 32768), 0);
        refused(i, LUKS_REFUSED, "keyslots-size", "expected 0");
        assert_int_equal(truncate(i->path, 20000), 0); /* in the second copy */
        refused(i, LUKS_REFUSED, "keyslots-size", "expected 0");
}

static void probed(const struct image *i, const char *const *argv, const char *expected) {
        struct error err = { 0 };
        char name[64] = "untouched";
        uint8_t zero[65536] = { 0 };

        image_write(i, 0, zero, sizeof(zero));
        assert_int_equal(luks_probe(i->path, name, &err), 0);
        assert_string_equal(name, "untouched");
        assert_int_equal(image_run(argv), 0);
        assert_int_equal(luks_probe(i->path, name, &err), 1);
        if (strncmp(name, expected, strlen(expected)) != 0)
                fail_msg("%s, expected %s", name, expected);
        refused(i, LUKS_NONE, "header", expected);
}

static void test_what_else_is_there_is_named(void **state) {
        const struct image *i = *state;
        const char *const ext4[] = { "mke2fs", "-q", "-F", "-t", "ext4", i->path, NULL };
        const char *const swap[] = { "mkswap", i->path, NULL };
        struct error err = { 0 };
        uint8_t gpt[512] = { 0 };
        char name[64];

        refused(i, LUKS_NONE, "header", "blank: its first MiB is all zero");
        probed(i, ext4, "ext4");
        probed(i, swap, "swap");

        /* A protective MBR. */
        memset(gpt, 0, sizeof(gpt));
        gpt[450] = 0xee;
        gpt[454] = 1;
        gpt[458] = 0xff;
        gpt[510] = 0x55;
        gpt[511] = 0xaa;
        {
                uint8_t zero[65536] = { 0 };

                image_write(i, 0, zero, sizeof(zero));
        }
        image_write(i, 0, gpt, sizeof(gpt));
        assert_int_equal(luks_probe(i->path, name, &err), 1);
        refused(i, LUKS_NONE, "header", name);

        memset(gpt, 0x5a, sizeof(gpt));
        image_write(i, 0, gpt, sizeof(gpt));
        assert_int_equal(luks_probe(i->path, name, &err), 0);
        refused(i, LUKS_NONE, "header", "no signature, and not all zero");
}

static void test_luks2_is_a_signature(void **state) {
        const struct image *i = *state;
        struct error err = { 0 };
        char name[64];

        assert_int_equal(luks_probe(i->path, name, &err), 1);
        assert_string_equal(name, "crypto_LUKS 2");
        image_write(i, 0, "\0\0\0\0\0\0", 6);
        assert_int_equal(luks_probe(i->path, name, &err), 1); /* by the second copy */
}

static void test_small_files_are_no_disks(void **state) {
        static const off_t sizes[] = { 0, 1, 100, 511, 512, 4095, 4096, 16384, 20000 };
        const struct image *i = *state;
        struct error err = { 0 };
        char name[64];

        for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++) {
                assert_int_equal(truncate(i->path, sizes[k]), 0);
                refused(i, LUKS_NONE, "header", sizes[k] < 4096 ? "no LUKS2" : "blank");
                assert_int_equal(luks_probe(i->path, name, &err), 0);
        }
}

static void fault(const char *path, int errnum) {
        struct luks *l = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        char name[64];

        assert_int_equal(luks_open(&(struct luks_source){ path, NULL }, &l, &why, &err), errnum);
        assert_null(l);
        assert_int_equal(err.errnum, errnum);
        assert_string_not_equal(err.text, "");
        assert_int_equal(luks_probe(path, name, &err), errnum);
}

static void test_what_is_no_disk_is_a_fault(void **state) {
        const struct image *i = *state;
        char fifo[100], longest[400];

        (void) snprintf(fifo, sizeof(fifo), "%s/fifo", i->dir);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        fault(fifo, -ENOTBLK); /* and nobody waits for a writer */
        assert_int_equal(unlink(fifo), 0);
        fault(fifo, -ENOENT);
        fault(i->dir, -ENOTBLK);
        fault("/dev/null", -ENOTBLK);

        memset(longest, 'x', sizeof(longest));
        longest[sizeof(longest) - 1] = '\0';
        fault(longest, -ENAMETOOLONG);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BLANK(test) cmocka_unit_test_setup_teardown(test, setup_blank, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                PLAIN(test_equal_copies_are_fine),
                PLAIN(test_one_damaged_copy_is_degraded),
                PLAIN(test_a_cut_between_two_writes_is_degraded),
                PLAIN(test_copies_further_apart_are_refused),
                PLAIN(test_copies_of_one_id_that_differ_are_refused),
                PLAIN(test_an_id_that_could_wrap_is_refused),
                PLAIN(test_two_damaged_copies_are_refused),
                PLAIN(test_a_disk_that_was_given_away_is_refused),
                BLANK(test_luks1_is_no_luks2),
                PLAIN(test_a_luks1_header_over_luks2_is_refused),
                PLAIN(test_a_luks_of_tomorrow_is_refused),
                PLAIN(test_the_device_must_hold_what_the_header_says),
                BLANK(test_what_else_is_there_is_named),
                PLAIN(test_luks2_is_a_signature),
                BLANK(test_small_files_are_no_disks),
                BLANK(test_what_is_no_disk_is_a_fault),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
