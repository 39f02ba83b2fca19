/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "agent/refusal.h"
#include "base/crypto.h"
#include "keys/kek.h"
#include "policy/policy.h"
#include "tests/swtpm.h"
#include "tests/test.h"

/* What becomes of a TPM's verdict on its way to whoever reads it. */

#define MASK (1u << 7)

static int open_kek(const struct swtpm *s, const struct kek *kek, struct kek_refusal *why) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        int r;

        r = tpm_open(s->tcti, &t, &err);
        if (r == 0)
                r = kek_open(t, kek, &(struct kek_means){ 0 }, &key, why, &err);
        if (r < 0)
                fail_msg("open: %s", err.text);
        assert_int_equal(key != NULL, r == KEK_OPEN);
        assert_int_equal(swtpm_leftovers(s), 0);
        return r;
}

static struct kek kek_for(const struct swtpm *s) {
        const struct policy policy = { .pcr_mask = MASK };
        const struct kek_request request = { .name = "default", .version = 3, .policy = &policy };
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct kek_refusal why = { 0 };
        struct kek kek = { 0 };
        struct error err = { 0 };

        if (tpm_open(s->tcti, &t, &err) < 0 ||
            kek_create(t, &request, &kek, &key, &why, &err) != KEK_OPEN)
                fail_msg("create: %s", err.text);
        return kek;
}

/* A version that another state of this machine made, to the policy of @good: consistent in itself.
 */
static struct kek kek_of_evil(const struct swtpm *s, const struct kek *good) {
        _cleanup_(secret_freep) struct secret *seed = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        struct kek kek = *good;
        uint8_t policy[32];
        struct pcrs now;

        if (crypto_random_secret(32, &seed, &err) < 0 || tpm_open(s->tcti, &t, &err) < 0 ||
            tpm_pcr_read(t, PCR_SHA256, MASK, &now, &err) < 0 ||
            policy_digest(&good->steps, &good->sealed.pcrs, policy, &err) < 0 ||
            tpm_seal(t, &(struct tpm_sealing){ seed, policy, &now, NULL }, &kek.sealed, &err) !=
                    TPM_GRANTED)
                fail_msg("seal: %s", err.text);
        kek.sealed.pcrs = good->sealed.pcrs;
        return kek;
}

static void test_a_kek_of_another_state_is_refused_in_words(void **state) {
        struct swtpm *s = *state;
        struct kek_refusal why = { 0 };
        struct refusal refusal;
        struct kek good, evil;
        char advice[256];

        assert_true(swtpm_extend(s, 7));
        good = kek_for(s);
        assert_int_equal(open_kek(s, &good, &why), KEK_OPEN);
        assert_true(swtpm_extend(s, 7));
        evil = kek_of_evil(s, &good);
        assert_true(swtpm_restart(s, false));
        assert_true(swtpm_extend(s, 7));

        assert_int_equal(open_kek(s, &evil, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_UNPROVEN);
        assert_int_equal(refuse_kek(&refusal, "alpha", &evil, KEK_REFUSED, &why), OUTCOME_REFUSED);
        assert_string_equal(refusal_id(refusal.kind), "not-made-here");
        assert_string_equal(refusal.what, "alpha stays locked: nothing shows that this TPM sealed "
                                          "KEK default v3 in the state that its policy demands");
        assert_int_equal(refusal.details, 1);
        assert_string_equal(refusal.detail[0], "it was sealed while PCR 7 had another value");
        (void) snprintf(advice, sizeof(advice), "%s", refusal_advice(refusal.kind));
        assert_non_null(strstr(advice, "don't open it"));

        assert_int_equal(open_kek(s, &good, &why), KEK_OPEN);
}

/* Its policy is in order, so it isn't the token that contradicts itself. */
static void test_an_object_that_may_leave_is_unproven(void **state) {
        const struct swtpm *s = *state;
        struct kek_refusal why = { 0 };
        struct kek kek;

        assert_true(swtpm_extend(s, 7));
        kek = kek_for(s);
        kek.sealed.public.data[9] ^= 1u << 1; /* fixedTPM */
        assert_int_equal(open_kek(s, &kek, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_UNPROVEN);
        assert_non_null(strstr(why.tpm.text, "imported"));
        kek.sealed.public.data[9] ^= 1u << 1;
        assert_int_equal(open_kek(s, &kek, &why), KEK_OPEN);
}

static void test_other_verdicts_stay_what_they_were(void **state) {
        struct swtpm *s = *state;
        struct kek_refusal why = { 0 };
        struct refusal refusal;
        struct kek kek, other;

        assert_true(swtpm_extend(s, 7));
        kek = other = kek_for(s);
        other.sealed.pcrs.value[7][0] ^= 1;
        assert_int_equal(open_kek(s, &other, &why), KEK_INCONSISTENT);
        other = kek;
        other.sealed.private.data[20] ^= 1;
        assert_int_equal(open_kek(s, &other, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_DAMAGED);
        (void) refuse_kek(&refusal, "alpha", &other, KEK_REFUSED, &why);
        assert_string_equal(refusal_id(refusal.kind), "object-damaged");

        assert_true(swtpm_extend(s, 7));
        assert_int_equal(open_kek(s, &kek, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_PCR_MISMATCH);

        assert_true(swtpm_run(s, "tpm2_clear"));
        assert_int_equal(open_kek(s, &kek, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_OTHER);
        (void) refuse_kek(&refusal, "alpha", &kek, KEK_REFUSED, &why);
        assert_string_equal(refusal_id(refusal.kind), "other-tpm");
}

#define WITH_TPM(f) cmocka_unit_test_setup_teardown(f, swtpm_start, swtpm_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_TPM(test_a_kek_of_another_state_is_refused_in_words),
                WITH_TPM(test_an_object_that_may_leave_is_unproven),
                WITH_TPM(test_other_verdicts_stay_what_they_were),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
