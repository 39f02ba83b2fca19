/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>

#include "tests/nv.h"

/* Counters, when the line is cut, and when somebody carries it who means ill. */

static void test_a_signature_is_good_once(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };
        struct error err = { 0 };

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        tap(t);
        line.target = CC_POLICY_SIGNED;
        line.keep = true;
        assert_int_equal(advance(t, &c, key, 2), TPM_COUNTER_GOOD);
        /* Behind two handles: nonceTPM and cpHashA, neither of them empty. */
        assert_memory_equal(line.kept + 18, "\0\x20", 2);
        assert_memory_equal(line.kept + 18 + 34, "\0\x20", 2);
        line.keep = false;
        line.replay = true; /* to the same handles, with the nonce of then */
        assert_int_equal(tpm_counter_advance(t, &c, key, 3, &err), -EIO);
        assert_int_equal(rc_base(err.tpm_rc), TPM2_RC_NONCE);
        t = reopen(s, t);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 2);
        assert_int_equal(advance(t, &c, key, 3), TPM_COUNTER_GOOD);

        /* The command itself, in a session that has moved on. */
        tap(t);
        line.target = CC_NV_INCREMENT;
        line.keep = true;
        assert_int_equal(advance(t, &c, key, 4), TPM_COUNTER_GOOD);
        line.keep = false;
        line.replay = true;
        assert_int_equal(tpm_counter_advance(t, &c, key, 5, &err), -EPROTO);
        t = reopen(s, t);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 4);
        close_clean(s, t);
}

/* Cut before or after each command: the same call again ends where it should. */
static void test_cut_while_it_is_made(void **state) {
        const struct swtpm *s = *state;
        uint64_t value = 0;
        unsigned cuts = 0;

        for (unsigned tick = 2;; tick++) {
                _cleanup_(secret_freep) struct secret *key = key_new();
                struct tpm *t = open_tpm(s);
                struct tpm_counter c = { 0 };
                struct error err = { 0 };
                int r;

                tap(t);
                line.cut_at = tick / 2;
                line.answer_only = tick % 2;
                r = tpm_counter_make(t, BASE, key, &c, &err);
                assert_true(r == TPM_COUNTER_GOOD || r == -EIO);
                cuts += line.dead;
                if (!line.dead) {
                        assert_int_equal(r, TPM_COUNTER_GOOD);
                        close_clean(s, t);
                        break;
                }
                t = reopen(s, t);
                assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
                assert_int_equal(c.index, BASE);
                assert_int_equal(c.value, value + 1);
                value = c.value;
                close_clean(s, t);
                assert_true(undefine(s, BASE));
        }
        assert_true(cuts > 20);
}

static void test_cut_while_it_is_advanced(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };
        uint64_t to = 1;
        unsigned cuts = 0;

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        for (unsigned tick = 2;; tick++) {
                struct error err = { 0 };
                bool cut;
                int r;

                to += 2;
                tap(t);
                line.cut_at = tick / 2;
                line.answer_only = tick % 2;
                r = tpm_counter_advance(t, &c, key, to, &err);
                assert_true(r == TPM_COUNTER_GOOD || r == -EIO);
                cut = line.dead;
                t = reopen(s, t);
                cuts += cut;
                if (!cut)
                        break;
                assert_int_equal(advance(t, &c, key, to), TPM_COUNTER_GOOD);
                assert_int_equal(c.value, to); /* never beyond */
        }
        assert_int_equal(c.value, to);
        assert_true(cuts > 20);
        close_clean(s, t);
}

/* The TPM refuses a step, and the connection lives on. */
static void test_a_refused_step_is_no_step(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };
        struct error err = { 0 };

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        /* It was done all the same: only the answer is another one. */
        tap(t);
        line.target = CC_NV_INCREMENT;
        line.answer = TPM2_RC_NV_RATE;
        line.answers = 1;
        assert_int_equal(tpm_counter_advance(t, &c, key, 2, &err), -EIO);
        assert_int_equal(err.tpm_rc, TPM2_RC_NV_RATE);
        assert_non_null(strstr(err.text, "counter 0x0180d5e0: "));
        t = reopen(s, t);
        assert_int_equal(advance(t, &c, key, 2), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 2);
        close_clean(s, t);
}

static void expect_fault(const struct swtpm *s, struct tpm_counter c, uint32_t target, int flip,
                         uint32_t answer, unsigned answers) {
        struct tpm *t = open_tpm(s);
        struct error err = { 0 };
        uint64_t before = c.value;
        int r;

        tap(t);
        line.target = target;
        line.flip = flip;
        line.answer = answer;
        line.answers = answers;
        r = tpm_counter_read(t, &c, &err);
        assert_true(line.seen > 0);
        if (r != -EIO && r != -EPROTO)
                fail_msg("0x%x, %d, 0x%x: %d, value %lu", target, flip, answer, r,
                         (unsigned long) c.value);
        assert_int_equal(c.value, before);
        t = reopen(s, t);
        close_clean(s, t);
}

static void test_whoever_carries_the_answers_cannot_alter_them(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };
        struct error err = { 0 };

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        close_clean(s, t);

        /* From the end: the session's part, 69 bytes; that of the empty password, 5 bytes of which
         * nothing depends on; the value, encrypted, with its size. */
        for (int at = 1; at <= 69; at++)
                expect_fault(s, c, CC_NV_READ, at, 0, 0);
        for (int at = 75; at <= 75 + 9; at++)
                expect_fault(s, c, CC_NV_READ, at, 0, 0);
        /* "There is nothing", "something else is there". */
        expect_fault(s, c, CC_NV_READ_PUBLIC, 0, TPM2_RC_HANDLE | TPM2_RC_1, 1);
        expect_fault(s, c, CC_NV_READ_PUBLIC, 1, 0, 0);
        expect_fault(s, c, CC_NV_READ, 0, TPM2_RC_NV_UNINITIALIZED, 1);

        /* Something else is there, "it is the one". */
        c.name[5] ^= 1;
        t = open_tpm(s);
        assert_int_equal(tpm_counter_read(t, &c, &err), TPM_COUNTER_OTHER);
        close_clean(s, t);
        expect_fault(s, c, CC_NV_READ_PUBLIC, TPM_NAME_SIZE - 5, 0, 0);
}

#define ON_TPM(f) cmocka_unit_test_setup_teardown(f, swtpm_start, swtpm_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                ON_TPM(test_a_signature_is_good_once),
                ON_TPM(test_cut_while_it_is_made),
                ON_TPM(test_cut_while_it_is_advanced),
                ON_TPM(test_a_refused_step_is_no_step),
                ON_TPM(test_whoever_carries_the_answers_cannot_alter_them),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
