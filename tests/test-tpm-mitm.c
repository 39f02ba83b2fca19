/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/p256.h"
#include "tests/mitm.h"
#include "tests/swtpm.h"
#include "tpm/nv.h"
#include "tpm/tpm.h"

/* Each thing that somebody between us and the TPM can do, at each command: what comes of it, in
 * which words, within the deadline; and that the key is never on the wire, nothing stays in the
 * TPM, and it isn't locked afterwards. */

#define MASK (1u << 7)
#define DEADLINE 300u /* ms */
/* Of one operation: one deadline, and what a loaded machine needs for the rest. */
#define PATIENCE (DEADLINE + 5000u)

static const struct steps steps = { .count = 1,
                                    .step = { { .kind = STEP_PCR, .pcr_mask = MASK } } };
static const struct tpm_opener opener = { .steps = &steps };

enum {
        CC_CREATE_PRIMARY = 0x131,
        CC_NV_INCREMENT = 0x134,
        CC_CERTIFY_CREATION = 0x14a,
        CC_CREATE = 0x153,
        CC_LOAD = 0x157,
        CC_UNSEAL = 0x15e,
        CC_FLUSH = 0x165,
        CC_READ_PUBLIC = 0x173,
        CC_START_SESSION = 0x176,
        CC_POLICY_PCR = 0x17f,
        CC_READ_CLOCK = 0x181,
};

struct rig {
        struct swtpm *tpm;
        struct mitm *m;
        char tcti[128];
        struct secret *key;
        struct sealed object;
};

struct trial {
        struct mitm_plan plan;
        int result;
        const char *words; /* in the error's text; NULL where there's no error */
};

static int64_t now_ms(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Seals the key, or, with @seal clear, unseals it, in a connection of its own. */
static int operate(struct rig *rig, bool seal, struct error *err) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct tpm_refusal why;
        struct sealed object;
        int r;

        *err = (struct error){ 0 };
        r = tpm_open(rig->tcti, &t, err);
        if (r < 0)
                return r;
        if (seal)
                return swtpm_seal(t, rig->key, MASK, &object, err);
        r = tpm_unseal(t, &rig->object, &opener, &got, &why, err);
        assert_int_equal(got != NULL, r == TPM_GRANTED);
        if (got)
                assert_memory_equal(secret_data(got), secret_data(rig->key), 32);
        return r;
}

static int setup(void **state) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct rig *rig = calloc(1, sizeof(*rig));
        struct error err = { 0 };
        char socket[64];

        if (!rig)
                return -1;
        rig->tpm = swtpm_new(SWTPM_NORMAL);
        if (!rig->tpm)
                return -1;
        (void) snprintf(socket, sizeof(socket), "%s/mitm", rig->tpm->dir);
        (void) snprintf(rig->tcti, sizeof(rig->tcti), "swtpm:path=%s", socket);
        rig->m = mitm_new(socket, rig->tpm->socket);
        if (!rig->m || !mitm_start(rig->m))
                return -1;
        tpm_set_deadline(0);
        if (crypto_random_secret(32, &rig->key, &err) < 0 || tpm_open(rig->tcti, &t, &err) < 0 ||
            swtpm_seal(t, rig->key, MASK, &rig->object, &err) != TPM_GRANTED) {
                print_message("%s\n", err.text);
                return -1;
        }
        *state = rig;
        return 0;
}

static int teardown(void **state) {
        struct rig *rig = *state;

        mitm_free(rig->m);
        swtpm_free(rig->tpm);
        secret_free(rig->key);
        free(rig);
        return 0;
}

static bool is_on_the_wire(const struct rig *rig) {
        for (size_t i = 0; i + 8 <= secret_size(rig->key); i++)
                if (memmem(rig->m->seen, rig->m->seen_size, secret_data(rig->key) + i, 8))
                        return true;
        return false;
}

static void one_trial(struct rig *rig, bool seal, const struct trial *trial) {
        const char *mode = mitm_mode_name(trial->plan.mode);
        struct error err;
        int64_t took;
        int r;

        mitm_set(rig->m, trial->plan);
        tpm_set_deadline(DEADLINE);
        took = now_ms();
        r = operate(rig, seal, &err);
        took = now_ms() - took;
        tpm_set_deadline(0);
        if (r != trial->result || (r < 0) != (err.text[0] != '\0') ||
            (trial->words && !strstr(err.text, trial->words)))
                fail_msg("%s, command 0x%x: %d, not %d: '%s'", mode, trial->plan.code, r,
                         trial->result, err.text);
        if (took > PATIENCE)
                fail_msg("%s, command 0x%x: took %ld ms", mode, trial->plan.code, (long) took);
        if (is_on_the_wire(rig))
                fail_msg("%s, command 0x%x: the key is on the wire", mode, trial->plan.code);
        if (rig->m->done == 0)
                fail_msg("%s, command 0x%x: nobody was in the middle", mode, trial->plan.code);

        /* As if nothing had been. */
        mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_PASS });
        r = operate(rig, seal, &err);
        if (r != TPM_GRANTED)
                fail_msg("after %s, command 0x%x: %d: %s", mode, trial->plan.code, r, err.text);
        assert_false(is_on_the_wire(rig));
        assert_int_equal(swtpm_leftovers(rig->tpm), 0);
}

/* Done to whatever command, and each must be able to bear it. */
static const struct trial any[] = {
        { { .mode = MITM_TRUNCATE }, -EMSGSIZE, "cut short" },
        { { .mode = MITM_OVERSIZE }, -EMSGSIZE, "longer" },
        { { .mode = MITM_TRAILING }, -EMSGSIZE, "longer" },
        { { .mode = MITM_STALL }, -ETIMEDOUT, "didn't answer within 0.3 s" },
        { { .mode = MITM_CLOSE }, -ECONNRESET, "closed before it answered" },
        { { .mode = MITM_LOSE }, -ECONNRESET, "closed before it answered" },
        { { .mode = MITM_FLIP, .byte = 1 }, -EPROTO, "don't fit" },   /* the tag */
        { { .mode = MITM_FLIP, .byte = 4 }, -EMSGSIZE, "answer is" }, /* the size, by 256 */
        { { .mode = MITM_FAIL, .times = 3, .rc = 0x922 }, 0, NULL },  /* RETRY */
        { { .mode = MITM_FAIL, .times = 2, .rc = 0x908 }, 0, NULL },  /* YIELDED */
        { { .mode = MITM_FAIL, .times = 2, .rc = 0x90a }, 0, NULL },  /* TESTING */
        { { .mode = MITM_FAIL, .rc = 0x922 }, -EIO, "busy" },         /* for ever */
        { { .mode = MITM_FAIL, .times = 1, .rc = 0x101 }, -EIO, "0x00000101" }, /* FAILURE */
};

static void at_each(struct rig *rig, bool seal, const uint32_t *codes, size_t count) {
        for (unsigned i = 0; i < ARRAY_SIZE(any); i++)
                for (size_t k = 0; k < count; k++) {
                        struct trial t = any[i];

                        t.plan.code = codes[k];
                        one_trial(rig, seal, &t);
                }
}

static void test_any_command_of_unseal(void **state) {
        static const uint32_t codes[] = { CC_READ_CLOCK, CC_READ_PUBLIC,   CC_CREATE_PRIMARY,
                                          CC_LOAD,       CC_START_SESSION, CC_CERTIFY_CREATION,
                                          CC_POLICY_PCR, CC_UNSEAL };
        at_each(*state, false, codes, ARRAY_SIZE(codes));
}

static void test_any_command_of_seal(void **state) {
        static const uint32_t codes[] = { CC_READ_CLOCK, CC_READ_PUBLIC, CC_CREATE_PRIMARY,
                                          CC_START_SESSION, CC_CREATE };
        at_each(*state, true, codes, ARRAY_SIZE(codes));
}

static void test_a_flush_that_fails_is_no_fault(void **state) {
        static const struct trial trials[] = {
                { { .mode = MITM_CLOSE, .code = CC_FLUSH }, TPM_GRANTED, NULL },
                { { .mode = MITM_LOSE, .code = CC_FLUSH }, TPM_GRANTED, NULL },
                { { .mode = MITM_STALL, .code = CC_FLUSH }, TPM_GRANTED, NULL },
                { { .mode = MITM_TRUNCATE, .code = CC_FLUSH }, TPM_GRANTED, NULL },
        };
        for (unsigned i = 0; i < ARRAY_SIZE(trials); i++) {
                one_trial(*state, false, &trials[i]);
                one_trial(*state, true, &trials[i]);
        }
}

static const struct trial unsealing[] = {
        { { .mode = MITM_FLIP, .code = CC_UNSEAL, .byte = 17 },
          -EPROTO,
          "doesn't verify" }, /* the key */
        { { .mode = MITM_FLIP, .code = CC_UNSEAL, .byte = -1 },
          -EPROTO,
          "doesn't verify" }, /* its HMAC */
        { { .mode = MITM_FLIP, .code = CC_CERTIFY_CREATION, .byte = 20 },
          -EPROTO,
          "doesn't verify" },
        { { .mode = MITM_FLIP, .code = CC_CERTIFY_CREATION, .byte = -1 },
          -EPROTO,
          "doesn't verify" },
        { { .mode = MITM_FLIP, .code = CC_CREATE_PRIMARY, .byte = 70 }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_FLIP, .code = CC_LOAD, .byte = 20 },
          -EPROTO,
          "doesn't verify" }, /* the Name */
        { { .mode = MITM_FLIP, .code = CC_START_SESSION, .byte = 20 },
          -EPROTO,
          "our session" }, /* nonce */
        { { .mode = MITM_STRIP, .code = CC_UNSEAL }, -EPROTO, "our session" },
        { { .mode = MITM_STRIP, .code = CC_CERTIFY_CREATION }, -EPROTO, "our session" },
        { { .mode = MITM_SWAP, .code = CC_CREATE_PRIMARY, .times = 1 }, TPM_OTHER, NULL },
        { { .mode = MITM_SWAP, .code = CC_CREATE_PRIMARY }, -EPROTO, "made another" }, /* no RSA */
        { { .mode = MITM_REPLAY, .code = CC_UNSEAL }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_REPLAY, .code = CC_CERTIFY_CREATION }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_REPLAY, .code = CC_START_SESSION }, -EIO, "is gone, without a reset" },
        { { .mode = MITM_RESET, .code = CC_LOAD }, -ESTALE, "was reset meanwhile" },
        { { .mode = MITM_RESET, .code = CC_START_SESSION }, -ESTALE, "was reset meanwhile" },
        { { .mode = MITM_RESET, .code = CC_CERTIFY_CREATION }, -ESTALE, "was reset meanwhile" },
        { { .mode = MITM_RESET, .code = CC_POLICY_PCR }, -ESTALE, "was reset meanwhile" },
        { { .mode = MITM_RESET, .code = CC_UNSEAL }, -ESTALE, "was reset meanwhile" },
        { { .mode = MITM_FAIL, .code = CC_UNSEAL, .rc = 0x921 }, TPM_LOCKED_OUT, NULL },
        { { .mode = MITM_FAIL, .code = CC_LOAD, .rc = 0x921 }, -EIO, "0x00000921" },
};

static const struct trial sealing[] = {
        { { .mode = MITM_FLIP, .code = CC_CREATE, .byte = 20 }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_FLIP, .code = CC_CREATE, .byte = -1 }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_FLIP, .code = CC_CREATE_PRIMARY, .byte = 70 }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_STRIP, .code = CC_CREATE }, -EPROTO, "our session" },
        { { .mode = MITM_SWAP, .code = CC_CREATE_PRIMARY }, -EPROTO, "our session" },
        { { .mode = MITM_REPLAY, .code = CC_CREATE }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_RESET, .code = CC_START_SESSION }, -ESTALE, "was reset meanwhile" },
        { { .mode = MITM_RESET, .code = CC_CREATE }, -ESTALE, "was reset meanwhile" },
};

static void test_what_is_done_to_unseal(void **state) {
        for (unsigned i = 0; i < ARRAY_SIZE(unsealing); i++)
                one_trial(*state, false, &unsealing[i]);
}

static void test_what_is_done_to_seal(void **state) {
        struct rig *rig = *state;
        struct error err;

        assert_int_equal(operate(rig, true, &err), TPM_GRANTED); /* something to replay */
        for (unsigned i = 0; i < ARRAY_SIZE(sealing); i++)
                one_trial(rig, true, &sealing[i]);
}

static void test_a_persistent_key_swapped(void **state) {
        static const struct trial trials[] = {
                { { .mode = MITM_SWAP, .code = CC_READ_PUBLIC }, TPM_OTHER, NULL },
                { { .mode = MITM_FLIP, .code = CC_READ_PUBLIC, .byte = -40 }, -EPROTO, "alters" },
        };
        static const struct trial seal = { { .mode = MITM_SWAP, .code = CC_READ_PUBLIC },
                                           -EPROTO,
                                           "our session" };
        struct rig *rig = *state;
        struct error err;

        assert_true(swtpm_run(
                rig->tpm, "tpm2_createprimary -C o -G ecc384:aes128cfb -a 'fixedtpm|fixedparent|"
                          "sensitivedataorigin|userwithauth|restricted|decrypt|noda' -c s.ctx &&"
                          "tpm2_flushcontext -t && tpm2_evictcontrol -c s.ctx 0x81000001 &&"
                          "tpm2_flushcontext -t"));
        {
                _cleanup_(tpm_closep) struct tpm *t = NULL;

                assert_int_equal(tpm_open(rig->tcti, &t, &err), 0);
                assert_int_equal(swtpm_seal(t, rig->key, MASK, &rig->object, &err), TPM_GRANTED);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(trials); i++)
                one_trial(rig, false, &trials[i]);
        one_trial(rig, true, &seal);
}

/* Each of these fails an authorization in the TPM, or ends it without a shutdown. */
static void test_fifty_in_a_row_lock_nobody_out(void **state) {
        static const struct mitm_plan plans[] = {
                { .mode = MITM_STRIP, .code = CC_UNSEAL },
                { .mode = MITM_FLIP, .code = CC_START_SESSION, .byte = 20 },
                { .mode = MITM_RESET, .code = CC_UNSEAL },
                { .mode = MITM_STRIP, .code = CC_CERTIFY_CREATION },
                { .mode = MITM_CLOSE, .code = CC_UNSEAL },
        };
        struct rig *rig = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_info info;
        struct error err;

        for (unsigned i = 0; i < 50; i++) {
                mitm_set(rig->m, plans[i % ARRAY_SIZE(plans)]);
                assert_true(operate(rig, false, &err) < 0);
        }
        mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_PASS });
        assert_int_equal(operate(rig, false, &err), TPM_GRANTED);
        assert_int_equal(tpm_open(rig->tcti, &t, &err), 0);
        assert_int_equal(tpm_info(t, &info, &err), 0);
        assert_false(info.lockout);
        assert_int_equal(swtpm_leftovers(rig->tpm), 0);
}

/* It's an operation of its own, on a connection where nobody asked for the counts before. */
static void test_a_reset_while_a_counter_goes_on(void **state) {
        static const uint32_t commands[] = { CC_START_SESSION, CC_NV_INCREMENT };
        struct rig *rig = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct tpm_counter c = { 0 };
        struct error err = { 0 };

        assert_int_equal(p256_make(&key, &err), 0);
        for (unsigned i = 0; i <= ARRAY_SIZE(commands); i++) {
                _cleanup_(tpm_closep) struct tpm *t = NULL;

                assert_int_equal(tpm_open(rig->tcti, &t, &err), 0);
                if (i == 0) {
                        assert_int_equal(tpm_counter_make(t, TPM_COUNTER_BASE, key, &c, &err),
                                         TPM_COUNTER_GOOD);
                        continue;
                }
                mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_RESET, .code = commands[i - 1] });
                assert_int_equal(tpm_counter_advance(t, &c, key, c.value + 1, &err), -ESTALE);
                assert_non_null(strstr(err.text, "was reset meanwhile"));
                mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_PASS });
        }
        assert_int_equal(swtpm_leftovers(rig->tpm), 0);
}

static void test_a_dead_connection_answers_at_once(void **state) {
        struct rig *rig = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_info info;
        struct error err = { 0 };
        int64_t took;

        tpm_set_deadline(DEADLINE);
        assert_int_equal(tpm_open(rig->tcti, &t, &err), 0);
        mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_STALL });
        assert_int_equal(tpm_info(t, &info, &err), -ETIMEDOUT);
        took = now_ms();
        for (unsigned i = 0; i < 100; i++)
                assert_int_equal(tpm_info(t, &info, &err), -ETIMEDOUT);
        assert_true(now_ms() - took < DEADLINE);
        assert_int_equal(rig->m->count, 1);
        tpm_set_deadline(0);
}

static void test_a_reset_between_two_operations(void **state) {
        struct rig *rig = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *a = NULL, *b = NULL;
        struct tpm_refusal why;
        struct error err = { 0 };

        assert_int_equal(tpm_open(rig->tcti, &t, &err), 0);
        assert_int_equal(tpm_unseal(t, &rig->object, &opener, &a, &why, &err), TPM_GRANTED);
        assert_int_equal(tpm_unseal(t, &rig->object, &opener, &b, &why, &err), TPM_GRANTED);
        b = secret_free(b);
        mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_RESET, .at = 1 });
        assert_int_equal(tpm_unseal(t, &rig->object, &opener, &b, &why, &err), -ESTALE);
        assert_non_null(strstr(err.text, "was reset meanwhile"));
}

#define IN_THE_MIDDLE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                IN_THE_MIDDLE(test_any_command_of_unseal),
                IN_THE_MIDDLE(test_any_command_of_seal),
                IN_THE_MIDDLE(test_a_flush_that_fails_is_no_fault),
                IN_THE_MIDDLE(test_what_is_done_to_unseal),
                IN_THE_MIDDLE(test_what_is_done_to_seal),
                IN_THE_MIDDLE(test_a_persistent_key_swapped),
                IN_THE_MIDDLE(test_fifty_in_a_row_lock_nobody_out),
                IN_THE_MIDDLE(test_a_reset_while_a_counter_goes_on),
                IN_THE_MIDDLE(test_a_dead_connection_answers_at_once),
                IN_THE_MIDDLE(test_a_reset_between_two_operations),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
