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
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "luks/luks.h"
#include "tests/image.h"

/* Removing what was on a disk before: what is named, all of it, and nothing else. */

static int fail_fsync; /* an errno, or 0 */

int fsync(int fd) {
        if (fail_fsync) {
                errno = fail_fsync;
                return -1;
        }
        return (int) syscall(SYS_fsync, fd);
}

static int setup(void **state) {
        static struct image i;

        fail_fsync = 0;
        image_make(&i, IMAGE_SIZE);
        *state = &i;
        return 0;
}

static int teardown(void **state) {
        image_done(*state);
        return 0;
}

static void make_ext4(const struct image *i) {
        const char *const argv[] = { "mke2fs", "-q", "-F", "-t", "ext4", i->path, NULL };

        assert_int_equal(image_run(argv), 0);
}

static void make_luks(const struct image *i, const char *type) {
        _cleanup_(secret_freep) struct secret *key = image_random(20);
        const char *const options[] = {
                "--type", type, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", NULL
        };

        image_cryptsetup_format(i, key, options);
}

static void holds(const struct image *i, const char *expected) {
        struct error err = { 0 };
        char name[64] = "";
        int r = luks_probe(i->path, name, &err);

        if (r != (*expected != '\0') || strncmp(name, expected, strlen(expected)) != 0)
                fail_msg("%d %s %s, expected %s", r, name, err.text, expected);
}

static void removed(const struct image *i, const char *type) {
        const char *const types[] = { "x", type, NULL };
        struct error err = { 0 };
        char other[64] = "untouched";
        struct stat before, after;

        assert_int_equal(stat(i->path, &before), 0);
        if (luks_wipe_signatures(i->path, types, other, &err) != 0)
                fail_msg("%s", err.text);
        assert_string_equal(other, "untouched");
        holds(i, "");
        assert_int_equal(stat(i->path, &after), 0);
        assert_int_equal(before.st_size, after.st_size);
}

static void not_removed(const struct image *i, const char *type, const char *name) {
        const char *const types[] = { type, NULL };
        struct error err = { 0 };
        char other[64] = "";
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];

        image_sum(i, 0, before);
        assert_int_equal(luks_wipe_signatures(i->path, types, other, &err), -EEXIST);
        if (strncmp(other, name, strlen(name)) != 0)
                fail_msg("%s, expected %s", other, name);
        assert_non_null(strstr(err.text, other));
        image_sum(i, 0, after);
        assert_memory_equal(before, after, sizeof(before));
}

static void test_what_is_named_is_removed(void **state) {
        const struct image *i = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];

        make_ext4(i);
        image_sum(i, 4096, before);
        holds(i, "ext4 1.0");
        removed(i, "EXT4"); /* in any case of letters */
        image_sum(i, 4096, after);
        assert_memory_equal(before, after, sizeof(before)); /* the signature, and no more */
        make_ext4(i);
        removed(i, "ext4 1.0"); /* as luks_probe() says it */
}

static void test_what_is_not_named_stays(void **state) {
        const struct image *i = *state;

        make_ext4(i);
        not_removed(i, "xfs", "ext4");
        not_removed(i, "ext", "ext4");
        not_removed(i, "ext4 2.0", "ext4");
        not_removed(i, "", "ext4");
        not_removed(i, NULL, "ext4");
        holds(i, "ext4 1.0");
}

static void test_both_headers_of_luks_go(void **state) {
        const struct image *i = *state;

        make_luks(i, "luks2");
        not_removed(i, "crypto_LUKS 1", "crypto_LUKS 2");
        removed(i, "crypto_LUKS 2");
        make_luks(i, "luks2");
        image_write(i, 0, "\0\0\0\0\0\0", 6); /* the second alone */
        removed(i, "crypto_luks");
        make_luks(i, "luks1");
        removed(i, "crypto_LUKS");
}

static uint32_t crc32(const uint8_t *p, size_t size) {
        uint32_t crc = UINT32_MAX;

        while (size-- > 0) {
                crc ^= *p++;
                for (unsigned k = 0; k < 8; k++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
        }
        return ~crc;
}

static void put(uint8_t *p, unsigned bytes, uint64_t n) {
        for (; bytes > 0; bytes--, n >>= 8)
                *p++ = (uint8_t) n;
}

#define SECTORS (IMAGE_SIZE / 512)
#define ENTRIES 32 /* sectors */

/* UEFI 2.10, section 5.3.2: at sector @at, the other one at @other, its entries at @entries. */
static void make_gpt_header(const struct image *i, uint64_t at, uint64_t other, uint64_t entries) {
        static const uint8_t none[ENTRIES * 512];
        uint8_t h[512] = "EFI PART";

        put(h + 10, 2, 1);
        put(h + 12, 4, 92);
        put(h + 24, 8, at);
        put(h + 32, 8, other);
        put(h + 40, 8, 2 + ENTRIES);
        put(h + 48, 8, SECTORS - ENTRIES - 2);
        memset(h + 56, 0x5a, 16);
        put(h + 72, 8, entries);
        put(h + 80, 4, 128);
        put(h + 84, 4, 128);
        put(h + 88, 4, crc32(none, sizeof(none)));
        put(h + 16, 4, crc32(h, 92));
        image_write(i, at * 512, h, sizeof(h));
}

/* No partition, a protective MBR, and the backup at the end. */
static void make_gpt(const struct image *i) {
        uint8_t mbr[512] = { 0 };

        put(mbr + 450, 1, 0xee);
        put(mbr + 454, 4, 1);
        put(mbr + 458, 4, SECTORS - 1);
        put(mbr + 510, 2, 0xaa55);
        image_write(i, 0, mbr, sizeof(mbr));
        make_gpt_header(i, 1, SECTORS - 1, 2);
        make_gpt_header(i, SECTORS - 1, 1, SECTORS - 1 - ENTRIES);
}

static void test_a_gpt_goes_with_its_backup(void **state) {
        const struct image *i = *state;
        uint8_t end[512];

        make_gpt(i);
        holds(i, "gpt");
        image_read(i, IMAGE_SIZE - 512, end, sizeof(end));
        assert_memory_equal(end, "EFI PART", 8);
        not_removed(i, "dos", "gpt");
        removed(i, "gpt");
        image_read(i, IMAGE_SIZE - 512, end, sizeof(end));
        assert_true(memcmp(end, "EFI PART", 8) != 0);
}

/* As a disk is left whose first MiB was zeroed: what reads it next may put the backup back. */
static void test_the_backup_of_a_gpt_alone_is_one(void **state) {
        const struct image *i = *state;
        uint8_t zero[4096] = { 0 }, end[512];

        make_gpt(i);
        image_write(i, 0, zero, sizeof(zero));
        not_removed(i, "ext4", "gpt");
        removed(i, "gpt");
        image_read(i, IMAGE_SIZE - 512, end, sizeof(end));
        assert_true(memcmp(end, "EFI PART", 8) != 0);
}

static void test_all_are_looked_at_before_one_is_removed(void **state) {
        const struct image *i = *state;
        const char *const both[] = { "swap", "ext4", NULL };
        struct error err = { 0 };
        char other[64];

        make_ext4(i);
        image_write(i, 4096 - 10, "SWAPSPACE2", 10);
        image_write(i, 1024, "\1\0\0\0\xff\0\0\0", 8); /* version, and its last page */
        not_removed(i, "ext4", "swap");
        not_removed(i, "swap", "ext4");
        assert_int_equal(luks_wipe_signatures(i->path, both, other, &err), 0);
        holds(i, "");
}

static void test_nothing_is_nothing_to_remove(void **state) {
        const struct image *i = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];

        image_sum(i, 0, before);
        removed(i, "ext4");
        image_sum(i, 0, after);
        assert_memory_equal(before, after, sizeof(before));
        assert_int_equal(truncate(i->path, 0), 0);
        removed(i, "ext4");
}

static void test_a_removal_that_does_not_last_is_a_fault(void **state) {
        const struct image *i = *state;
        const char *const types[] = { "ext4", NULL };
        struct error err = { 0 };
        char other[64];

        make_ext4(i);
        fail_fsync = EIO;
        assert_int_equal(luks_wipe_signatures(i->path, types, other, &err), -EIO);
        assert_int_equal(luks_wipe_signatures("/nonexistent", types, other, &err), -ENOENT);
        assert_int_equal(luks_wipe_signatures("/dev/null", types, other, &err), -ENOTBLK);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_what_is_named_is_removed),
                TEST(test_what_is_not_named_stays),
                TEST(test_both_headers_of_luks_go),
                TEST(test_a_gpt_goes_with_its_backup),
                TEST(test_the_backup_of_a_gpt_alone_is_one),
                TEST(test_all_are_looked_at_before_one_is_removed),
                TEST(test_nothing_is_nothing_to_remove),
                TEST(test_a_removal_that_does_not_last_is_a_fault),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
