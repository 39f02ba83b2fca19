/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "agent/op.h"
#include "base/crypto.h"
#include "base/p256.h"
#include "keys/kek.h"
#include "policy/policy.h"
#include "tests/swtpm.h"
#include "tests/test.h"
#include "tpm/nv.h"

/* A KEK under each kind of policy, on a TPM: what opens it, and what doesn't. */

#define LITERAL (1u << 7)
#define SIGNED (1u << 11)

static int create(const struct swtpm *s, const struct kek_request *request, struct kek *ret,
                  struct kek_refusal *why) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        int r = tpm_open(s->tcti, &t, &err);

        if (r == 0)
                r = kek_create(t, request, ret, &key, why, &err);
        if (r < 0)
                print_message("create: %s\n", err.text);
        assert_int_equal(key != NULL, r == KEK_OPEN);
        t = tpm_close(t);
        assert_int_equal(swtpm_leftovers(s), 0);
        return r;
}

static int open_with(const struct swtpm *s, const struct kek *kek, const struct kek_means *means,
                     struct kek_refusal *why) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        int r = tpm_open(s->tcti, &t, &err);

        *why = (struct kek_refusal){ 0 };
        if (r == 0)
                r = kek_open(t, kek, means, &key, why, &err);
        if (r < 0)
                fail_msg("open: %s", err.text);
        assert_int_equal(key != NULL, r == KEK_OPEN);
        t = tpm_close(t);
        assert_int_equal(swtpm_leftovers(s), 0);
        return r;
}

static int open_plain(const struct swtpm *s, const struct kek *kek, struct kek_refusal *why) {
        return open_with(s, kek, &(struct kek_means){ 0 }, why);
}

static void expect_refused(const struct swtpm *s, const struct kek *kek,
                           const struct kek_means *means, int verdict) {
        struct kek_refusal why;

        assert_int_equal(open_with(s, kek, means, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, verdict);
}

static struct pcrs now(const struct swtpm *s, enum pcr_bank bank, uint32_t mask) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        struct pcrs pcrs = { 0 };

        if (tpm_open(s->tcti, &t, &err) < 0 || tpm_pcr_read(t, bank, mask, &pcrs, &err) < 0)
                fail_msg("%s", err.text);
        return pcrs;
}

/* As firmware leaves it; what is measured here is extended anew at each boot. */
static void boot(struct swtpm *s, unsigned kernels) {
        assert_true(swtpm_restart(s, false));
        assert_true(swtpm_extend(s, 7));
        for (unsigned i = 0; i < kernels; i++)
                assert_true(swtpm_extend(s, 11));
}

/* --- literal --- */

static void test_the_latch_ends_it(void **state) {
        struct swtpm *s = *state;
        const struct policy policy = { .pcr_mask = LITERAL, .latch = true };
        const struct kek_request q = { .name = "a", .version = 1, .policy = &policy };
        struct kek_refusal why;
        struct kek kek;

        boot(s, 0);
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
        assert_int_equal(kek.sealed.pcrs.mask, LITERAL);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
        assert_true(swtpm_extend(s, PCR_LATCH));
        assert_int_equal(open_plain(s, &kek, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_PCR_MISMATCH);
        assert_int_equal(why.tpm.pcrs, 1u << PCR_LATCH);
        boot(s, 0);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
}

static void test_the_other_bank(void **state) {
        struct swtpm *s = *state;
        const struct policy policy = { .pcr_mask = LITERAL, .bank = PCR_SHA384, .latch = true };
        const struct kek_request q = { .name = "a", .version = 1, .policy = &policy };
        char extend[160];
        struct kek_refusal why;
        struct kek kek;

        (void) snprintf(extend, sizeof(extend), "tpm2_pcrextend 7:sha384=%096d", 7);
        boot(s, 0);
        assert_int_equal(create(s, &q, &kek, &why), KEK_REFUSED); /* it's empty in that bank */
        assert_int_equal(why.verdict, TPM_UNMEASURED);
        assert_true(swtpm_run(s, extend));
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
        assert_true(swtpm_extend(s, 7)); /* in the bank that doesn't count */
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
        assert_true(swtpm_run(s, extend));
        expect_refused(s, &kek, &(struct kek_means){ 0 }, TPM_PCR_MISMATCH);
        kek.steps.bank = PCR_SHA256;
        assert_int_equal(open_plain(s, &kek, &why), KEK_INCONSISTENT);
}

static void test_empty_pcrs_only_where_allowed(void **state) {
        struct swtpm *s = *state;
        const struct policy policy = { .pcr_mask = LITERAL | 1u << 8 };
        struct kek_request q = { .name = "a", .version = 1, .policy = &policy };
        struct kek_refusal why;
        struct kek kek;

        boot(s, 0);
        assert_int_equal(create(s, &q, &kek, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_UNMEASURED);
        assert_int_equal(why.tpm.pcrs, 1u << 8);
        q.allow_unmeasured = true;
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
}

/* --- signed --- */

static EVP_PKEY *make_signer(const char *kind) {
        EVP_PKEY *key = strcmp(kind, "rsa") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen(kind);

        assert_non_null(key);
        return key;
}

static void public_of_signer(EVP_PKEY *key, struct policy *policy) {
        uint8_t *der = NULL;
        int size = i2d_PUBKEY(key, &der);

        assert_in_range(size, 1, STEP_KEY_MAX);
        memcpy(policy->key, der, (size_t) size);
        policy->key_size = (uint16_t) size;
        OPENSSL_free(der);
}

static struct signature sign(EVP_PKEY *key, const struct pcrs *pcrs) {
        struct signature ret = { .pcr_mask = SIGNED, .size = sizeof(ret.data) };
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        struct error err = { 0 };

        assert_int_equal(policy_pcr_digest(pcrs, SIGNED, ret.approved, &err), 0);
        assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
        assert_int_equal(
                EVP_DigestSign(ctx, ret.data, &ret.size, ret.approved, sizeof(ret.approved)), 1);
        EVP_MD_CTX_free(ctx);
        return ret;
}

static void signed_opens_what_its_key_signed(struct swtpm *s, const char *kind) {
        struct policy policy = {
                .kind = POLICY_SIGNED, .pcr_mask = LITERAL, .signed_mask = SIGNED, .latch = true
        };
        EVP_PKEY *key = make_signer(kind), *other = make_signer(kind);
        struct kek_request q = { .name = "a", .version = 1, .policy = &policy };
        struct kek_means means = { 0 };
        struct signature one, two, forged;
        struct kek_refusal why;
        struct kek kek;

        public_of_signer(key, &policy);
        boot(s, 1);
        one = sign(key, (struct pcrs[]){ now(s, PCR_SHA256, SIGNED) });
        assert_int_equal(create(s, &q, &kek, &why), KEK_REFUSED); /* without a signature */
        assert_int_equal(why.verdict, TPM_UNSIGNED);
        q.signature = &one;
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
        means.signature = &one;
        assert_int_equal(open_with(s, &kek, &means, &why), KEK_OPEN);
        expect_refused(s, &kek, &(struct kek_means){ 0 }, TPM_UNSIGNED);

        boot(s, 2); /* the next kernel: nothing is sealed anew */
        expect_refused(s, &kek, &means, TPM_UNSIGNED);
        forged = sign(other, (struct pcrs[]){ now(s, PCR_SHA256, SIGNED) });
        means.signature = &forged;
        expect_refused(s, &kek, &means, TPM_UNSIGNED);
        two = sign(key, (struct pcrs[]){ now(s, PCR_SHA256, SIGNED) });
        means.signature = &two;
        assert_int_equal(open_with(s, &kek, &means, &why), KEK_OPEN);

        assert_true(swtpm_extend(s, 7)); /* the literal part still counts */
        expect_refused(s, &kek, &means, TPM_PCR_MISMATCH);
        boot(s, 2);
        assert_true(swtpm_extend(s, PCR_LATCH));
        expect_refused(s, &kek, &means, TPM_PCR_MISMATCH);
        EVP_PKEY_free(key);
        EVP_PKEY_free(other);
}

static void test_signed_by_rsa(void **state) {
        signed_opens_what_its_key_signed(*state, "rsa");
}

static void test_signed_by_ec(void **state) {
        signed_opens_what_its_key_signed(*state, "P-256");
        signed_opens_what_its_key_signed(*state, "P-384");
}

/* Another system on this machine seals its own key to the same policy: its state has no signature.
 */
static void test_what_was_sealed_in_an_unsigned_state_is_unproven(void **state) {
        struct swtpm *s = *state;
        struct policy policy = { .kind = POLICY_SIGNED,
                                 .pcr_mask = LITERAL,
                                 .signed_mask = SIGNED };
        EVP_PKEY *key = make_signer("P-256"), *evil = make_signer("P-256");
        struct signature good, bad;
        struct kek_request q = { .name = "a", .version = 1, .policy = &policy, .signature = &bad };
        struct kek_means means = { .signature = &good };
        struct kek_refusal why;
        struct kek kek;

        public_of_signer(key, &policy);
        boot(s, 1);
        good = sign(key, (struct pcrs[]){ now(s, PCR_SHA256, SIGNED) });
        boot(s, 3);
        bad = sign(evil, (struct pcrs[]){ now(s, PCR_SHA256, SIGNED) });
        /* Sealing doesn't look at who signed. */
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
        boot(s, 1);
        assert_int_equal(open_with(s, &kek, &means, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_UNPROVEN);
        assert_non_null(strstr(why.tpm.text, "didn't sign"));
        kek.origin = good;
        expect_refused(s, &kek, &means, TPM_UNPROVEN);
        EVP_PKEY_free(key);
        EVP_PKEY_free(evil);
}

/* --- predicted --- */

static void test_predicted_states_open_and_no_other(void **state) {
        struct swtpm *s = *state;
        const struct policy policy = { .kind = POLICY_PREDICTED,
                                       .pcr_mask = LITERAL | SIGNED,
                                       .latch = true };
        struct kek_request q = { .name = "a", .version = 1, .policy = &policy };
        struct kek_means none = { 0 };
        struct kek_refusal why;
        struct pcrs next;
        struct kek kek, evil;

        boot(s, 2);
        next = now(s, PCR_SHA256, policy.pcr_mask);
        boot(s, 1);
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN); /* the state of now alone */
        assert_int_equal(kek.steps.alternatives.count, 2);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
        boot(s, 2);
        expect_refused(s, &kek, &none, TPM_PCR_MISMATCH);

        boot(s, 1);
        q.states = &next;
        q.states_count = 1;
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
        assert_int_equal(kek.steps.alternatives.count, 2);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
        boot(s, 2);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
        assert_true(swtpm_extend(s, PCR_LATCH));
        expect_refused(s, &kek, &none, TPM_PCR_MISMATCH);
        boot(s, 3);
        expect_refused(s, &kek, &none, TPM_PCR_MISMATCH);

        /* Made in a state that its own list doesn't have. */
        evil = kek;
        evil.sealed.pcrs.value[11][0] ^= 1;
        boot(s, 1);
        expect_refused(s, &evil, &none, TPM_UNPROVEN);
}

static void test_many_alternatives(void **state) {
        static const unsigned counts[] = { 2, 3, 8, 9, 10, 17, 63, 64 };
        struct swtpm *s = *state;
        const struct policy policy = { .kind = POLICY_PREDICTED, .pcr_mask = LITERAL | SIGNED };
        struct pcrs states[STEP_OR_MAX] = { 0 };
        struct kek_request q = { .name = "a", .version = 1, .policy = &policy, .states = states };
        struct context c = CONTEXT_INIT;
        struct named_policy p = { .name = "many", .policy = policy };
        struct op_kek k = { .name = "a", .policy = &p, .states = states };
        struct refusal said = { 0 };
        struct error err = { 0 };
        struct kek_refusal why;
        struct kek kek;

        boot(s, 1);
        for (unsigned i = 0; i < STEP_OR_MAX; i++) {
                states[i] = now(s, PCR_SHA256, policy.pcr_mask);
                states[i].value[11][0] ^= (uint8_t) (i + 1);
        }
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
                unsigned n = counts[i];

                /* The one of the next boot at another place each time. */
                boot(s, 2);
                states[(n - 2) / 2] = now(s, PCR_SHA256, policy.pcr_mask);
                boot(s, 1);
                q.states_count = n - 1;
                assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
                assert_int_equal(kek.steps.alternatives.count, n);
                assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
                boot(s, 2);
                assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);
                boot(s, 3);
                expect_refused(s, &kek, &(struct kek_means){ 0 }, TPM_PCR_MISMATCH);
                boot(s, 1);
                states[(n - 2) / 2] = now(s, PCR_SHA256, policy.pcr_mask);
                states[(n - 2) / 2].value[11][1] ^= (uint8_t) (i + 1);
        }
        q.states_count = k.states_count = STEP_OR_MAX;
        assert_int_equal(create(s, &q, &kek, &why), KEK_FULL);
        (void) snprintf(c.tcti, sizeof(c.tcti), "%s", s->tcti);
        assert_int_equal(op_kek_make(&c, &k, 1, &said, &err), OUTCOME_REFUSED);
        assert_string_equal(refusal_id(said.kind), "too-many-states");
        context_done(&c);
}

/* --- counter --- */

static void test_a_version_dies_with_its_counter(void **state) {
        struct swtpm *s = *state;
        const struct policy policy = { .pcr_mask = LITERAL };
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_counter c = { 0 };
        struct policy_counter limit;
        struct kek_request q = { .name = "a", .version = 1, .policy = &policy, .counter = &limit };
        struct kek_means none = { 0 };
        struct error err = { 0 };
        struct kek_refusal why;
        struct kek kek;
        char command[160];

        boot(s, 0);
        assert_int_equal(p256_make(&key, &err), 0);
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_counter_make(t, TPM_COUNTER_BASE, key, &c, &err), TPM_COUNTER_GOOD);
        t = tpm_close(t);
        limit = (struct policy_counter){ .index = c.index, .le = c.value };
        memcpy(limit.name, c.name, sizeof(limit.name));
        q.counter_key = key;
        assert_int_equal(create(s, &q, &kek, &why), KEK_OPEN);
        assert_int_equal(open_plain(s, &kek, &why), KEK_OPEN);

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_counter_advance(t, &c, key, c.value + 1, &err), TPM_COUNTER_GOOD);
        t = tpm_close(t);
        assert_int_equal(open_plain(s, &kek, &why), KEK_REFUSED);
        assert_int_equal(why.verdict, TPM_RETIRED);
        assert_int_equal(why.tpm.counter, c.value);

        (void) snprintf(command, sizeof(command), "tpm2_nvundefine 0x%x", c.index);
        assert_true(swtpm_run(s, command));
        expect_refused(s, &kek, &none, TPM_NO_COUNTER);
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_counter_make(t, TPM_COUNTER_BASE, key, &c, &err), TPM_COUNTER_GOOD);
        t = tpm_close(t);
        expect_refused(s, &kek, &none, TPM_RETIRED); /* the same one again: above all of before */

        assert_true(swtpm_run(s, command));
        (void) snprintf(command, sizeof(command),
                        "tpm2_nvdefine 0x%x -s 8 -a 'ownerread|ownerwrite|nt=counter' && "
                        "tpm2_nvincrement 0x%x -C o",
                        c.index, c.index);
        assert_true(swtpm_run(s, command));
        expect_refused(s, &kek, &none, TPM_NO_COUNTER);
}

/* --- second factor --- */

static struct secret *secret_of(const void *data, size_t size) {
        struct secret *s = NULL;

        assert_int_equal(secret_new(size, &s), 0);
        memcpy(secret_data(s), data, size);
        return s;
}

/* Who carries the traffic of the TPM runs the policy himself and gets all that is sealed. With a
 * factor of 128 bits that he lacks it isn't the key, and no part of it. */
static void test_a_stolen_seed_is_no_key(void **state) {
        struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *factor_input = secret_of("sixteen bytes...", 16),
                                              *wrong = secret_of("fifteen bytes..!", 16),
                                              *seed = NULL, *key = NULL, *guess = NULL;
        const struct policy policy = { .pcr_mask = LITERAL };
        const struct factor factor = { .kind = FACTOR_KEY };
        const struct kek_request q = { .name = "a",
                                       .version = 1,
                                       .policy = &policy,
                                       .factor = &factor,
                                       .factor_input = factor_input };
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_refusal why_tpm;
        struct kek_refusal why;
        struct error err = { 0 };
        struct tpm_opener opener;
        struct kek kek, bare;

        boot(s, 0);
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(kek_create(t, &q, &kek, &key, &why, &err), KEK_OPEN);
        opener = (struct tpm_opener){ .steps = &kek.steps };
        assert_int_equal(tpm_unseal(t, &kek.sealed, &opener, &seed, &why_tpm, &err), TPM_GRANTED);
        assert_int_equal(secret_size(seed), 32);
        assert_false(crypto_same(seed, key));

        bare = kek; /* as if the token didn't name one */
        bare.factor = (struct factor){ 0 };
        assert_int_equal(kek_open(t, &bare, &(struct kek_means){ 0 }, &guess, &why, &err),
                         KEK_OPEN);
        assert_false(crypto_same(guess, key));
        guess = secret_free(guess);
        assert_int_equal(
                kek_open(t, &kek, &(struct kek_means){ .factor_input = wrong }, &guess, &why, &err),
                KEK_OPEN);
        assert_false(crypto_same(guess, key));
        guess = secret_free(guess);
        assert_int_equal(kek_open(t, &kek, &(struct kek_means){ 0 }, &guess, &why, &err),
                         KEK_WRONG_FACTOR);
        assert_int_equal(kek_open(t, &kek, &(struct kek_means){ .factor_input = factor_input },
                                  &guess, &why, &err),
                         KEK_OPEN);
        assert_true(crypto_same(guess, key));
}

#define WITH_TPM(f) cmocka_unit_test_setup_teardown(f, swtpm_start, swtpm_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_TPM(test_the_latch_ends_it),
                WITH_TPM(test_the_other_bank),
                WITH_TPM(test_empty_pcrs_only_where_allowed),
                WITH_TPM(test_signed_by_rsa),
                WITH_TPM(test_signed_by_ec),
                WITH_TPM(test_what_was_sealed_in_an_unsigned_state_is_unproven),
                WITH_TPM(test_predicted_states_open_and_no_other),
                WITH_TPM(test_many_alternatives),
                WITH_TPM(test_a_version_dies_with_its_counter),
                WITH_TPM(test_a_stolen_seed_is_no_key),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
