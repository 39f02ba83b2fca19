/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>

#include "base/crypto.h"
#include "tests/mitm.h"
#include "tests/swtpm.h"
#include "tests/test.h"
#include "tpm/tpm.h"

/* The latch: what it measures, in which banks; what it ends; and that nobody in between can leave
 * it out unnoticed. */

#define LATCH (1u << PCR_LATCH)
#define MASK (1u << 7)
#define DEADLINE 300u /* ms */

enum {
        CC_CREATE_PRIMARY = 0x131,
        CC_PCR_EVENT = 0x13c,
        CC_START_SESSION = 0x176,
        CC_GET_CAPABILITY = 0x17a,
        CC_PCR_READ = 0x17e,
};

enum { SHA1 = 0x4, SHA256 = 0xb, SHA384 = 0xc, SHA512 = 0xd };

static const uint16_t banks[] = { SHA1, SHA256, SHA384, SHA512 };
static const uint8_t value[32] = { 0x5e, 0xc7, 1, 2, 3, 4, 5, 6, 7, 8, 9, [31] = 0x77 };

enum state { ABSENT, ZERO, USED };

/* The PCR in the bank of @hash, past everything of ours. */
static enum state latch_in(const struct swtpm *s, uint16_t hash) {
        const uint8_t command[] = { 0x80, 1, 0,    0,    0, 20,
                                    0,    0, 1,    0x7e, /* TPM2_PCR_Read */
                                    0,    0, 0,    1,    0, (uint8_t) hash,
                                    3,    0, 0x80, 0 };
        uint8_t reply[256] = { 0 };
        size_t size = swtpm_command(s, command, sizeof(command), reply, sizeof(reply));

        assert_true(size >= 28 && memcmp(reply + 6, "\0\0\0", 4) == 0);
        if (reply[27] == 0)
                return ABSENT;
        for (size_t i = 30; i < size; i++)
                if (reply[i])
                        return USED;
        return ZERO;
}

static void expect_all(const struct swtpm *s, enum state wanted) {
        for (size_t i = 0; i < ARRAY_SIZE(banks); i++)
                assert_int_equal(latch_in(s, banks[i]), wanted);
}

static int latch_at(const char *tcti, const struct tpm_bytes *srk, struct error *err) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        int r;

        *err = (struct error){ 0 };
        r = tpm_open(tcti, &t, err);
        return r < 0 ? r : tpm_latch(t, srk, value, err);
}

static void latch(const struct swtpm *s) {
        struct error err;

        if (latch_at(s->tcti, NULL, &err) != TPM_GRANTED)
                fail_msg("%s", err.text);
        assert_int_equal(swtpm_leftovers(s), 0);
}

static void read_latch(const struct swtpm *s, struct pcrs *ret) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, LATCH, ret, &err), 0);
}

/* H(old, H(value)) */
static void expect_extended(const struct swtpm *s, const uint8_t old[32]) {
        uint8_t both[64], want[32];
        struct error err = { 0 };
        struct pcrs now;

        memcpy(both, old, 32);
        assert_int_equal(crypto_sha256(value, sizeof(value), both + 32, &err), 0);
        assert_int_equal(crypto_sha256(both, sizeof(both), want, &err), 0);
        read_latch(s, &now);
        assert_memory_equal(now.value[PCR_LATCH], want, sizeof(want));
}

static void test_every_bank_is_extended(void **state) {
        static const uint8_t zero[32];
        const struct swtpm *s = *state;

        expect_all(s, ZERO);
        latch(s);
        expect_all(s, USED);
        expect_extended(s, zero);
}

static void test_banks_that_are_not_there_are_no_fault(void **state) {
        struct swtpm *s = *state;

        assert_true(swtpm_run(s, "tpm2_pcrallocate sha1:none+sha256:all+sha384:none+sha512:all"));
        assert_true(swtpm_restart(s, false));
        assert_int_equal(latch_in(s, SHA1), ABSENT);
        assert_int_equal(latch_in(s, SHA384), ABSENT);
        assert_int_equal(latch_in(s, SHA256), ZERO);
        assert_int_equal(latch_in(s, SHA512), ZERO);
        latch(s);
        assert_int_equal(latch_in(s, SHA256), USED);
        assert_int_equal(latch_in(s, SHA512), USED);
}

static void test_what_is_used_already_is_extended_too(void **state) {
        const struct swtpm *s = *state;
        struct pcrs before;

        assert_true(swtpm_extend(s, PCR_LATCH)); /* in one bank; the others are zero */
        read_latch(s, &before);
        latch(s);
        expect_all(s, USED);
        expect_extended(s, before.value[PCR_LATCH]);
        read_latch(s, &before);
        latch(s);
        expect_extended(s, before.value[PCR_LATCH]);
}

/* --- what it ends --- */

static const struct steps steps = { .count = 1,
                                    .step = { { .kind = STEP_PCR, .pcr_mask = MASK | LATCH } } };
static const struct tpm_opener opener = { .steps = &steps };

/* To PCR 7 as it is, and PCR 15 as it is before it's latched. */
static void seal(const struct swtpm *s, struct sealed *ret) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct error err = { 0 };
        uint8_t policy[32];
        struct pcrs pcrs;

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, MASK | LATCH, &pcrs, &err), 0);
        swtpm_policy_pcr(&pcrs, MASK | LATCH, policy);
        pcrs.mask = MASK;
        assert_int_equal(crypto_random_secret(32, &key, &err), 0);
        assert_int_equal(tpm_seal(t, &(struct tpm_sealing){ key, policy, &pcrs, NULL }, ret, &err),
                         TPM_GRANTED);
}

static int unseal(const struct swtpm *s, const struct sealed *object, struct tpm_refusal *why) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct error err = { 0 };

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        return tpm_unseal(t, object, &opener, &key, why, &err);
}

static void test_nothing_unseals_until_the_next_boot(void **state) {
        struct swtpm *s = *state;
        struct tpm_refusal why = { 0 };
        struct sealed object;

        seal(s, &object);
        assert_int_equal(unseal(s, &object, &why), TPM_GRANTED);
        assert_int_equal(unseal(s, &object, &why), TPM_GRANTED); /* to unseal latches nothing */
        expect_all(s, ZERO);
        latch(s);
        assert_int_equal(unseal(s, &object, &why), TPM_PCR_MISMATCH);
        assert_int_equal(why.pcrs, LATCH);
        assert_true(swtpm_restart(s, false));
        assert_int_equal(unseal(s, &object, &why), TPM_GRANTED);
}

static void test_another_tpm_is_not_latched(void **state) {
        struct swtpm *s = *state;
        struct sealed object;
        struct error err;

        seal(s, &object);
        assert_true(swtpm_restart(s, true));
        assert_int_equal(latch_at(s->tcti, &object.srk, &err), TPM_OTHER);
        expect_all(s, ZERO);
        assert_int_equal(swtpm_leftovers(s), 0);
        seal(s, &object);
        assert_int_equal(latch_at(s->tcti, &object.srk, &err), TPM_GRANTED);
        expect_all(s, USED);
}

/* --- somebody in the middle --- */

struct rig {
        struct swtpm *tpm;
        struct mitm *m;
        char tcti[128];
        struct sealed object;
};

static int setup(void **state) {
        struct rig *rig = calloc(1, sizeof(*rig));
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
        seal(rig->tpm, &rig->object);
        *state = rig;
        return 0;
}

static int teardown(void **state) {
        struct rig *rig = *state;

        tpm_set_deadline(0);
        mitm_free(rig->m);
        swtpm_free(rig->tpm);
        free(rig);
        return 0;
}

struct trial {
        struct mitm_plan plan;
        int result;
        const char *words; /* in the error's text */
};

/* As at a boot, with something to replay from the boot before. @ret: whether it was latched. */
static bool one_trial(struct rig *rig, const struct trial *trial) {
        const char *mode = mitm_mode_name(trial->plan.mode);
        struct error err;
        bool used;
        int r;

        mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_PASS });
        assert_int_equal(latch_at(rig->tcti, &rig->object.srk, &err), TPM_GRANTED);
        assert_true(swtpm_restart(rig->tpm, false));
        expect_all(rig->tpm, ZERO);

        mitm_set(rig->m, trial->plan);
        tpm_set_deadline(DEADLINE);
        r = latch_at(rig->tcti, &rig->object.srk, &err);
        tpm_set_deadline(0);
        used = latch_in(rig->tpm, SHA256) == USED;
        if (r != trial->result || (trial->words && !strstr(err.text, trial->words)))
                fail_msg("%s, command 0x%x, byte %d: %d, not %d: '%s'", mode, trial->plan.code,
                         trial->plan.byte, r, trial->result, err.text);
        if (rig->m->done == 0)
                fail_msg("%s, command 0x%x: nobody was in the middle", mode, trial->plan.code);
        if (r == TPM_GRANTED && !used)
                fail_msg("%s, command 0x%x: it only says so", mode, trial->plan.code);
        mitm_set(rig->m, (struct mitm_plan){ .mode = MITM_PASS });
        assert_int_equal(latch_at(rig->tcti, &rig->object.srk, &err), TPM_GRANTED);
        assert_int_equal(swtpm_leftovers(rig->tpm), 0);
        return used;
}

static const struct trial dropping[] = {
        { { .mode = MITM_FAIL, .code = CC_PCR_EVENT }, -EPROTO, "don't fit" }, /* "success" */
        { { .mode = MITM_REPLAY, .code = CC_PCR_EVENT }, -EPROTO, "doesn't verify" },
        { { .mode = MITM_FAIL, .code = CC_PCR_EVENT, .rc = 0x922 }, -EIO, "busy" },
        { { .mode = MITM_FAIL, .code = CC_PCR_EVENT, .rc = 0x101 }, -EIO, "0x00000101" },
        { { .mode = MITM_CLOSE, .code = CC_PCR_EVENT }, -ECONNRESET, "measure into it" },
        { { .mode = MITM_RESET, .code = CC_PCR_EVENT }, -ESTALE, "was reset meanwhile" },
        { { .mode = MITM_SWAP, .code = CC_CREATE_PRIMARY }, -EPROTO, "made another" },
        { { .mode = MITM_SWAP, .code = CC_CREATE_PRIMARY, .times = 1 }, TPM_OTHER, NULL },
        { { .mode = MITM_FLIP, .code = CC_START_SESSION, .byte = 20 }, -EPROTO, "our session" },
        { { .mode = MITM_CLOSE, .code = CC_START_SESSION }, -ECONNRESET, "latch PCR 15" },
};

static void test_what_was_dropped_is_a_fault(void **state) {
        for (unsigned i = 0; i < ARRAY_SIZE(dropping); i++)
                assert_false(one_trial(*state, &dropping[i]));
}

/* It was done, and that isn't known: so it's a fault as well. */
static const struct trial falsifying[] = {
        { { .mode = MITM_LOSE, .code = CC_PCR_EVENT }, -ECONNRESET, "measure into it" },
        { { .mode = MITM_STALL, .code = CC_PCR_EVENT }, -ETIMEDOUT, "measure into it" },
        { { .mode = MITM_TRUNCATE, .code = CC_PCR_EVENT }, -EMSGSIZE, "cut short" },
        { { .mode = MITM_FLIP, .code = CC_GET_CAPABILITY, .byte = 25 }, -EPROTO, "verify" },
        { { .mode = MITM_FLIP, .code = CC_GET_CAPABILITY, .byte = -1 }, -EPROTO, "verify" },
        { { .mode = MITM_REPLAY, .code = CC_GET_CAPABILITY }, -EPROTO, "verify" },
        { { .mode = MITM_FAIL, .code = CC_GET_CAPABILITY, .rc = 0x101 }, -EIO, "list the banks" },
        { { .mode = MITM_FLIP, .code = CC_PCR_READ, .byte = 45 }, -EPROTO, "verify" },
        { { .mode = MITM_FLIP, .code = CC_PCR_READ, .byte = -1 }, -EPROTO, "verify" },
        { { .mode = MITM_REPLAY, .code = CC_PCR_READ }, -EPROTO, "verify" },
        { { .mode = MITM_FAIL, .code = CC_PCR_READ, .rc = 0x101 }, -EIO, "read it back" },
        { { .mode = MITM_RESET, .code = CC_PCR_READ }, -ESTALE, "was reset meanwhile" },
};

static void test_answers_that_are_altered_are_a_fault(void **state) {
        for (unsigned i = 0; i < ARRAY_SIZE(falsifying); i++)
                assert_int_equal(one_trial(*state, &falsifying[i]),
                                 falsifying[i].plan.mode != MITM_RESET);
        /* The digests, from byte 14 on; from the end, what the session says. */
        for (int byte = 20; byte < 190; byte += 17)
                assert_true(one_trial(
                        *state,
                        &(struct trial){ { .mode = MITM_FLIP, .code = CC_PCR_EVENT, .byte = byte },
                                         -EPROTO,
                                         NULL }));
        for (int byte = -1; byte >= -69; byte -= 4)
                assert_true(one_trial(
                        *state,
                        &(struct trial){ { .mode = MITM_FLIP, .code = CC_PCR_EVENT, .byte = byte },
                                         -EPROTO,
                                         NULL }));
}

static void test_what_is_measured_is_not_on_the_wire(void **state) {
        struct rig *rig = *state;
        struct error err;

        assert_int_equal(latch_at(rig->tcti, NULL, &err), TPM_GRANTED);
        assert_true(rig->m->seen_size > 1000);
        assert_null(memmem(rig->m->seen, rig->m->seen_size, value, 8));
}

#define ON_TPM(f) cmocka_unit_test_setup_teardown(f, swtpm_start, swtpm_stop)
#define IN_THE_MIDDLE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                ON_TPM(test_every_bank_is_extended),
                ON_TPM(test_banks_that_are_not_there_are_no_fault),
                ON_TPM(test_what_is_used_already_is_extended_too),
                ON_TPM(test_nothing_unseals_until_the_next_boot),
                ON_TPM(test_another_tpm_is_not_latched),
                IN_THE_MIDDLE(test_what_was_dropped_is_a_fault),
                IN_THE_MIDDLE(test_answers_that_are_altered_are_a_fault),
                IN_THE_MIDDLE(test_what_is_measured_is_not_on_the_wire),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
