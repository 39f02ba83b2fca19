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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "luks/luks.h"
#include "tests/image.h"

/* Stands in for the one of the C library, in libcryptsetup too: there a failure is dropped. */
static struct {
        int errnum;                /* what the next fsync()s fail with; 0: they don't */
        const struct image *image; /* whose header a host changes right after the next fsync() */
        unsigned calls;
} on_fsync;

int fsync(int fd) {
        const struct image *image = on_fsync.image;
        long r;

        on_fsync.calls++;
        if (on_fsync.errnum) {
                errno = on_fsync.errnum;
                return -1;
        }
        r = syscall(SYS_fsync, fd);
        /* The third of a commit is ours: libcryptsetup calls it once for each copy. */
        if (image && on_fsync.calls == 3)
                image_forge_value(image, IMAGE_BOTH, "config.flags", "[\"allow-discards\"]");
        return (int) r;
}

struct fixture {
        struct image image;
        struct secret *volume_key, *slot_secret;
        struct luks *luks;
        struct luks_edit *edit;
        struct json *token;
};

#define TOKEN "{\"type\":\"diskseal\",\"keyslots\":[],\"v\":1}"

static struct luks_edit *edit_ok(struct luks *l) {
        struct luks_edit *e = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        if (luks_edit(l, &e, &why, &err) != LUKS_OK)
                fail_msg("%s: %s %s", why.rule, why.text, err.text);
        return e;
}

static int setup(void **state) {
        static struct fixture f;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        memset(&on_fsync, 0, sizeof(on_fsync));
        memset(&f, 0, sizeof(f));
        image_make(&f.image, IMAGE_SIZE);
        f.volume_key = image_random(64);
        f.slot_secret = image_random(LUKS_SECRET_SIZE);
        f.token = image_parse(TOKEN);
        if (luks_format(&(struct luks_source){ f.image.path, NULL }, f.volume_key, &f.edit, &why,
                        &err) != LUKS_OK)
                fail_msg("%s: %s %s", why.rule, why.text, err.text);
        f.edit = luks_edit_close(f.edit);
        f.luks = image_open(&f.image);
        *state = &f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        f->edit = luks_edit_close(f->edit);
        f->luks = luks_close(f->luks);
        f->volume_key = secret_free(f->volume_key);
        f->slot_secret = secret_free(f->slot_secret);
        f->token = json_free(f->token);
        image_done(&f->image);
        return 0;
}

static int opens(struct luks *l, unsigned slot, struct secret *key) {
        const struct luks_key k = { slot, LUKS_SLOT_OURS, key };
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        return luks_slot_open(l, &k, &got, &why, &err);
}

static void done(int r, const struct error *err) {
        if (r != 0)
                fail_msg("%d %s", r, err->text);
        assert_int_equal(err->errnum, 0);
}

static void test_each_change_is_on_the_disk(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };
        struct luks *now;

        f->edit = edit_ok(f->luks);
        assert_int_equal(luks_facts(luks_edit_result(f->edit))->slots, 0);
        done(luks_slot_add(f->edit, &(struct luks_key){ 3, LUKS_SLOT_OURS, f->slot_secret },
                           f->volume_key, &err),
             &err);
        now = luks_edit_result(f->edit);
        assert_int_equal(luks_facts(now)->slots, 8);
        assert_int_equal(luks_facts(now)->data_slots, 8);
        assert_int_equal(opens(now, 3, f->slot_secret), LUKS_OK);
        assert_int_equal(image_cryptsetup_opens(&f->image, f->slot_secret), 0);

        done(luks_token_set(f->edit, 9, f->token, &err), &err);
        assert_true(json_equal(luks_token(luks_edit_result(f->edit), 9), f->token));
        image_set(f->token, "keyslots", "[\"3\"]");
        done(luks_token_set(f->edit, 9, f->token, &err), &err);
        assert_true(json_equal(luks_token(luks_edit_result(f->edit), 9), f->token));

        done(luks_slot_remove(f->edit, 3, &err), &err);
        now = luks_edit_result(f->edit);
        assert_int_equal(luks_facts(now)->slots, 0);
        assert_int_equal(opens(now, 3, f->slot_secret), LUKS_REFUSED);
        assert_int_not_equal(image_cryptsetup_opens(&f->image, f->slot_secret), 0);
        assert_non_null(luks_token(now, 9)); /* that's the caller's to remove */
        done(luks_token_remove(f->edit, 9, &err), &err);
        assert_null(luks_token(luks_edit_result(f->edit), 9));
        assert_false(luks_facts(luks_edit_result(f->edit))->degraded);
}

static uint64_t kdf_value(struct luks *l, unsigned slot, const char *key) {
        const struct json *all, *one, *kdf;
        struct error err = { 0 };
        char number[12];
        uint64_t n = 0;

        (void) snprintf(number, sizeof(number), "%u", slot);
        assert_int_equal(json_get(luks_metadata(l), "keyslots", &all, &err), 0);
        assert_int_equal(json_get(all, number, &one, &err), 0);
        assert_int_equal(json_get(one, "kdf", &kdf, &err), 0);
        if (json_get_uint(kdf, key, UINT64_MAX, &n, &err) < 0)
                fail_msg("%s", err.text);
        return n;
}

static void test_a_passphrase_gets_a_keyslot_of_argon2id(void **state) {
        struct fixture *f = *state;
        _cleanup_(secret_freep) struct secret *passphrase = image_random(12), *got = NULL;
        const struct luks_key typed = { 4, LUKS_SLOT_FOREIGN, passphrase };
        const struct luks_key ours = { 5, LUKS_SLOT_OURS, f->slot_secret };
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        struct luks *now;

        f->edit = edit_ok(f->luks);
        done(luks_slot_add(f->edit, &typed, f->volume_key, &err), &err);
        now = luks_edit_result(f->edit);
        assert_int_equal(kdf_value(now, 4, "time"), 4);
        assert_int_equal(kdf_value(now, 4, "memory"), 65536);
        assert_in_range(kdf_value(now, 4, "cpus"), 1, 4);
        assert_int_equal(luks_slot_open(now, &typed, &got, &why, &err), LUKS_OK);
        assert_true(crypto_equal(secret_data(got), secret_data(f->volume_key), 64));
        assert_int_equal(opens(now, 4, passphrase), LUKS_REFUSED); /* it's none of ours */
        assert_int_equal(image_cryptsetup_opens(&f->image, passphrase), 0);

        /* The next one of ours is as cheap as ever. */
        done(luks_slot_add(f->edit, &ours, f->volume_key, &err), &err);
        now = luks_edit_result(f->edit);
        assert_int_equal(kdf_value(now, 5, "iterations"), 1000);
        assert_int_equal(opens(now, 5, f->slot_secret), LUKS_OK);
}

#define ESCROW(n) "{\"type\":\"diskseal-escrow\",\"keyslots\":[],\"n\":" #n "}"

static char *covered(struct luks_edit *e, int slot, const struct luks_plan *plan) {
        struct error err = { 0 };
        char *text = NULL;

        done(luks_covered(luks_edit_result(e), slot, plan, &text, &err), &err);
        return text;
}

/* What is planned and then done is covered as it was planned. */
static void comes_true(struct luks_edit *e, unsigned id, const char *text, bool changes) {
        _cleanup_(json_freep) struct json *token = text ? image_parse(text) : NULL;
        const struct luks_plan plan = { id, token };
        _cleanup_(freep) char *before = covered(e, 0, NULL), *planned = covered(e, 0, &plan);
        _cleanup_(freep) char *planned_vk = covered(e, -1, &plan), *after = NULL, *after_vk = NULL;
        struct error err = { 0 };

        done(token ? luks_token_set(e, id, token, &err) : luks_token_remove(e, id, &err), &err);
        after = covered(e, 0, NULL);
        after_vk = covered(e, -1, NULL);
        assert_string_equal(planned, after);
        assert_string_equal(planned_vk, after_vk);
        assert_int_equal(strcmp(before, after) != 0, changes);
}

static void test_a_plan_is_covered_as_what_comes_of_it(void **state) {
        struct fixture *f = *state;
        const struct luks_key key = { 0, LUKS_SLOT_OURS, f->slot_secret };
        struct error err = { 0 };

        f->edit = edit_ok(f->luks);
        done(luks_slot_add(f->edit, &key, f->volume_key, &err), &err);
        comes_true(f->edit, 5, ESCROW(1), true);
        comes_true(f->edit, 2, ESCROW(2), true); /* in front of the other */
        comes_true(f->edit, 5, ESCROW(3), true);
        comes_true(f->edit, 5, TOKEN, true); /* an escrow that becomes something else */
        comes_true(f->edit, 5, ESCROW(3), true);
        comes_true(f->edit, 31, TOKEN, false);
        comes_true(f->edit, 31, NULL, false);
        comes_true(f->edit, 2, NULL, true);
        comes_true(f->edit, 5, NULL, true);
}

static void test_a_pin_may_be_made_ahead(void **state) {
        struct fixture *f = *state;
        const struct luks_key key = { 0, LUKS_SLOT_OURS, f->slot_secret };
        const struct luks_pin_keys keys = { 0, f->slot_secret, f->volume_key };
        _cleanup_(json_freep) struct json *token = image_parse(ESCROW(1));
        const struct luks_plan plan = { 3, token };
        struct luks_pin now, next;
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        struct luks *l;

        f->edit = edit_ok(f->luks);
        done(luks_slot_add(f->edit, &key, f->volume_key, &err), &err);
        l = luks_edit_result(f->edit);
        done(luks_pin_make(l, &keys, NULL, &now, &err), &err);
        done(luks_pin_make(l, &keys, &plan, &next, &err), &err);
        assert_int_equal(luks_pin_check(l, 0, f->slot_secret, &now, &why, &err), LUKS_OK);
        assert_int_equal(luks_pin_check(l, 0, f->slot_secret, &next, &why, &err), LUKS_REFUSED);
        assert_int_equal(luks_pin_check_owner(l, f->volume_key, &now, &why, &err), LUKS_OK);
        assert_int_equal(luks_pin_check_owner(l, f->volume_key, &next, &why, &err), LUKS_REFUSED);

        done(luks_token_set(f->edit, 3, token, &err), &err);
        l = luks_edit_result(f->edit);
        assert_int_equal(luks_pin_check(l, 0, f->slot_secret, &now, &why, &err), LUKS_REFUSED);
        assert_int_equal(luks_pin_check(l, 0, f->slot_secret, &next, &why, &err), LUKS_OK);
        assert_int_equal(luks_pin_check_key(l, f->slot_secret, f->volume_key, &next, &why, &err),
                         LUKS_OK);
        assert_int_equal(luks_pin_check_owner(l, f->volume_key, &now, &why, &err), LUKS_REFUSED);
        assert_int_equal(luks_pin_check_owner(l, f->volume_key, &next, &why, &err), LUKS_OK);
        /* Another key, and another version of the rules. */
        assert_int_equal(luks_pin_check_owner(l, f->slot_secret, &next, &why, &err), LUKS_REFUSED);
        next.rules = 2;
        assert_int_equal(luks_pin_check_owner(l, f->volume_key, &next, &why, &err), LUKS_REFUSED);
        assert_int_equal(err.errnum, 0);
}

static void test_data_and_older_copies_stay_as_they_are(void **state) {
        struct fixture *f = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct error err = { 0 };

        f->edit = edit_ok(f->luks);
        image_sum(&f->image, 16 << 20, before);
        done(luks_slot_add(f->edit, &(struct luks_key){ 0, LUKS_SLOT_OURS, f->slot_secret },
                           f->volume_key, &err),
             &err);
        done(luks_token_set(f->edit, 0, f->token, &err), &err);
        done(luks_slot_remove(f->edit, 0, &err), &err);
        image_sum(&f->image, 16 << 20, after);
        assert_memory_equal(before, after, sizeof(before));
        assert_int_equal(luks_facts(f->luks)->slots, 0);
        assert_null(luks_token(f->luks, 0));
}

static void test_what_makes_no_sense_is_refused_without_a_write(void **state) {
        struct fixture *f = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct error err = { 0 };

        f->edit = edit_ok(f->luks);
        done(luks_slot_add(f->edit, &(struct luks_key){ 0, LUKS_SLOT_OURS, f->slot_secret },
                           f->volume_key, &err),
             &err);
        image_sum(&f->image, 0, before);
        assert_int_equal(luks_slot_add(f->edit,
                                       &(struct luks_key){ 0, LUKS_SLOT_OURS, f->slot_secret },
                                       f->volume_key, &err),
                         -EEXIST);
        assert_int_equal(luks_slot_add(f->edit,
                                       &(struct luks_key){ 32, LUKS_SLOT_OURS, f->slot_secret },
                                       f->volume_key, &err),
                         -EEXIST);
        assert_int_equal(luks_slot_remove(f->edit, 1, &err), -ENOENT);
        assert_int_equal(luks_slot_remove(f->edit, UINT32_MAX, &err), -ENOENT);
        assert_int_equal(luks_token_set(f->edit, 32, f->token, &err), -EINVAL);
        assert_int_equal(luks_token_set(f->edit, UINT32_MAX, f->token, &err), -EINVAL);
        assert_int_equal(luks_token_remove(f->edit, 0, &err), -ENOENT);
        assert_int_equal(luks_token_remove(f->edit, UINT32_MAX, &err), -ENOENT);
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));
}

static void test_another_volume_key_gets_no_keyslot(void **state) {
        struct fixture *f = *state;
        _cleanup_(secret_freep) struct secret *other = image_random(64);
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct error err = { 0 };

        f->edit = edit_ok(f->luks);
        image_sum(&f->image, 0, before);
        assert_true(luks_slot_add(f->edit, &(struct luks_key){ 0, LUKS_SLOT_OURS, f->slot_secret },
                                  other, &err) < 0);
        assert_non_null(strstr(err.text, "Volume key does not match"));
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));
}

/* Whatever changed since it was checked, luks_edit() says so and leaves the disk alone. */
static void is_changed(struct fixture *f) {
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];

        image_sum(&f->image, 0, before);
        assert_int_equal(luks_edit(f->luks, &f->edit, &why, &err), LUKS_CHANGED);
        assert_null(f->edit);
        assert_int_equal(err.errnum, 0);
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));
}

static void test_a_header_that_changed_is_not_edited(void **state) {
        struct fixture *f = *state;

        image_forge_value(&f->image, IMAGE_BOTH, "segments.0.sector_size", "512");
        is_changed(f);
        image_forge_value(&f->image, IMAGE_BOTH, "segments.0.sector_size", "4096");
        image_forge(&f->image, IMAGE_BOTH, NULL, 1); /* the same words, written again */
        is_changed(f);
        image_forge(&f->image, IMAGE_BOTH, NULL, -1);
        image_damage(&f->image, IMAGE_SECOND);
        is_changed(f);
        image_damage(&f->image, IMAGE_FIRST);
        is_changed(f);
        image_damage(&f->image, IMAGE_BOTH);
        image_forge_value(&f->image, IMAGE_BOTH, "segments.0.encryption", "\"cipher_null-ecb\"");
        is_changed(f);
        image_forge_value(&f->image, IMAGE_BOTH, "segments.0.encryption", "\"aes-xts-plain64\"");
        f->edit = edit_ok(f->luks);
}

static void test_another_disk_at_the_path_is_not_edited(void **state) {
        struct fixture *f = *state;
        char other[100];
        const char *const copy[] = { "cp", "--sparse=always", f->image.path, other, NULL };

        (void) snprintf(other, sizeof(other), "%s/key", f->image.dir);
        assert_int_equal(image_run(copy), 0);
        assert_int_equal(rename(other, f->image.path), 0);
        is_changed(f);
}

static void test_a_change_in_between_is_a_fault(void **state) {
        struct fixture *f = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct error err = { 0 };

        f->edit = edit_ok(f->luks);
        image_forge(&f->image, IMAGE_BOTH, NULL, 1);
        image_sum(&f->image, 0, before);
        assert_true(luks_token_set(f->edit, 0, f->token, &err) < 0);
        assert_non_null(strstr(err.text, "concurrent"));
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));
}

static void test_a_failing_fsync_is_a_fault(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };

        f->edit = edit_ok(f->luks);
        on_fsync.errnum = EIO;
        assert_int_equal(luks_token_set(f->edit, 0, f->token, &err), -EIO);
        assert_non_null(strstr(err.text, "durable"));
        assert_true(on_fsync.calls >= 3); /* libcryptsetup's own failed as well */

        /* And then nobody builds on it. */
        on_fsync.errnum = 0;
        assert_int_equal(luks_slot_add(f->edit,
                                       &(struct luks_key){ 0, LUKS_SLOT_OURS, f->slot_secret },
                                       f->volume_key, &err),
                         -ESTALE);
        assert_int_equal(luks_token_set(f->edit, 0, f->token, &err), -ESTALE);
        assert_int_equal(luks_slot_remove(f->edit, 0, &err), -ESTALE);
        assert_int_equal(luks_token_remove(f->edit, 0, &err), -ESTALE);
        f->edit = luks_edit_close(f->edit);
        f->luks = luks_close(f->luks);
        f->luks = image_open(&f->image);
        f->edit = edit_ok(f->luks);
        err = (struct error){ 0 };
        done(luks_slot_add(f->edit, &(struct luks_key){ 0, LUKS_SLOT_OURS, f->slot_secret },
                           f->volume_key, &err),
             &err);
}

static void test_what_reads_back_otherwise_is_a_fault(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };

        f->edit = edit_ok(f->luks);
        on_fsync.calls = 0;
        on_fsync.image = &f->image;
        assert_int_equal(luks_token_set(f->edit, 0, f->token, &err), -EIO);
        assert_non_null(strstr(err.text, "isn't what was written"));
}

static void test_a_format_that_does_not_last_is_a_fault(void **state) {
        struct fixture *f = *state;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        on_fsync.errnum = EIO;
        assert_int_equal(luks_format(&(struct luks_source){ f->image.path, NULL }, f->volume_key,
                                     &f->edit, &why, &err),
                         -EIO);
        assert_null(f->edit);
}

static void mended(struct fixture *f) {
        struct error err = { 0 };

        f->luks = luks_close(f->luks);
        f->luks = image_open(&f->image);
        assert_true(luks_facts(f->luks)->degraded);
        f->edit = edit_ok(f->luks);
        assert_false(luks_facts(luks_edit_result(f->edit))->degraded);
        done(luks_token_set(f->edit, 0, f->token, &err), &err);
        f->edit = luks_edit_close(f->edit);
        f->luks = luks_close(f->luks);
        f->luks = image_open(&f->image);
        assert_false(luks_facts(f->luks)->degraded);
}

static void test_the_next_write_mends_a_degraded_header(void **state) {
        struct fixture *f = *state;

        image_damage(&f->image, IMAGE_FIRST);
        mended(f);
        image_damage(&f->image, IMAGE_SECOND);
        mended(f);
        image_forge(&f->image, IMAGE_FIRST, NULL, 1);
        mended(f);
}

static int as_nobody(const struct image *i) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct luks_edit *e = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
                return 1;
        if (luks_open(&(struct luks_source){ i->path, NULL }, &l, &why, &err) != LUKS_OK)
                return 2;
        if (luks_edit(l, &e, &why, &err) != -EACCES)
                return 3;
        return e != NULL || err.errnum != -EACCES || !strstr(err.text, "for writing") ? 4 : 0;
}

static void test_a_disk_that_cannot_be_written_stays_as_it_is(void **state) {
        struct fixture *f = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        int status;
        pid_t pid;

        if (geteuid() != 0)
                skip();
        assert_int_equal(chmod(f->image.dir, 0755), 0);
        assert_int_equal(chmod(f->image.path, 0444), 0);
        image_sum(&f->image, 0, before);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(as_nobody(&f->image));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_each_change_is_on_the_disk),
                TEST(test_a_passphrase_gets_a_keyslot_of_argon2id),
                TEST(test_a_plan_is_covered_as_what_comes_of_it),
                TEST(test_a_pin_may_be_made_ahead),
                TEST(test_data_and_older_copies_stay_as_they_are),
                TEST(test_what_makes_no_sense_is_refused_without_a_write),
                TEST(test_another_volume_key_gets_no_keyslot),
                TEST(test_a_header_that_changed_is_not_edited),
                TEST(test_another_disk_at_the_path_is_not_edited),
                TEST(test_a_change_in_between_is_a_fault),
                TEST(test_a_failing_fsync_is_a_fault),
                TEST(test_what_reads_back_otherwise_is_a_fault),
                TEST(test_a_format_that_does_not_last_is_a_fault),
                TEST(test_the_next_write_mends_a_degraded_header),
                TEST(test_a_disk_that_cannot_be_written_stays_as_it_is),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
