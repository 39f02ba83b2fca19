/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "keys/token.h"
#include "policy/policy.h"
#include "tests/test.h"

/* --- names, policies --- */

static void test_names(void **state) {
        static const char *const bad[] = { "",
                                           ".",
                                           "..",
                                           "-x",
                                           "_x",
                                           "a/b",
                                           "a b",
                                           "a\n",
                                           "../a",
                                           "\xc3\xa4",
                                           "a23456789012345678901234567890123" };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(name_valid(bad[i]));
        assert_true(name_valid("a"));
        assert_true(name_valid("0.x_y-z"));
        assert_true(name_valid("a2345678901234567890123456789012"));
}

static void test_policy_digest_is_what_a_tpm_computes(void **state) {
        /* tpm2_startauthsession; tpm2_policypcr -l sha256:7 with PCR 7 all zero, on swtpm 0.7.1. */
        static const uint8_t want[] = { 0x8b, 0x56, 0x82, 0xd8, 0x1b, 0x29, 0x43, 0x5d,
                                        0x08, 0xd7, 0x92, 0x78, 0x15, 0x06, 0x11, 0xdc,
                                        0x7e, 0x59, 0x23, 0xb2, 0xfe, 0xfc, 0xce, 0x68,
                                        0x4a, 0x09, 0x57, 0x7b, 0x40, 0x13, 0x0a, 0x8b };
        struct pcrs pcrs = { .mask = 1u << 7 };
        struct error err = { 0 };
        struct steps steps;
        uint8_t digest[POLICY_DIGEST_SIZE];
        (void) state;

        policy_steps(&(struct policy){ .pcr_mask = 1u << 7 }, NULL, &steps);
        assert_int_equal(policy_digest(&steps, &pcrs, digest, &err), 0);
        assert_memory_equal(digest, want, sizeof(want));
        policy_steps(&(struct policy){ .pcr_mask = 1u << 7 | 1u << 8 }, NULL, &steps);
        assert_int_equal(policy_digest(&steps, &pcrs, digest, &err), -EINVAL);
}

static void test_unmeasured_pcrs_are_seen(void **state) {
        struct pcrs pcrs = { .mask = 1u << 1 | 1u << 2 | 1u << 3 };
        (void) state;

        memset(pcrs.value[2], 0xff, PCR_SIZE_MAX);
        pcrs.value[3][31] = 1;
        assert_int_equal(policy_unmeasured(&pcrs), 1u << 1 | 1u << 2);
        pcrs.value[2][0] = 0xfe;
        assert_int_equal(policy_unmeasured(&pcrs), 1u << 1);
}

/* --- envelopes --- */

static void test_an_envelope_opens_for_its_disk_only(void **state) {
        const struct envelope_binding good = { "uuid", "disk", "data", "kek", 3 };
        const struct envelope_binding bad[] = {
                { "uuie", "disk", "data", "kek", 3 }, { "uuid", "disj", "data", "kek", 3 },
                { "uuid", "disk", "os", "kek", 3 },   { "uuid", "disk", "data", "kel", 3 },
                { "uuid", "disk", "data", "kek", 4 }, { "uuiddisk", "", "data", "kek", 3 },
                { "uuid", "diskdata", "", "kek", 3 }, { "uuid", "disk", "datakek", "", 3 },
        };
        _cleanup_(secret_freep) struct secret *kek = NULL, *secret = NULL, *back = NULL;
        struct error err = { 0 };
        struct gcm_box box;
        (void) state;

        assert_int_equal(crypto_random_secret(32, &kek, &err), 0);
        assert_int_equal(crypto_random_secret(32, &secret, &err), 0);
        assert_int_equal(envelope_seal(kek, &good, secret, &box, &err), 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(envelope_open(kek, &bad[i], &box, &back, &err), CRYPTO_FORGED);
        assert_null(back);
        assert_int_equal(envelope_open(kek, &good, &box, &back, &err), CRYPTO_GOOD);
        assert_memory_equal(secret_data(back), secret_data(secret), 32);
}

/* --- tokens --- */

static struct token *sample(void) {
        struct token *t = token_new();

        assert_non_null(t);
        (void) snprintf(t->name, sizeof(t->name), "alpha");
        (void) snprintf(t->role, sizeof(t->role), ROLE_DATA);
        t->epoch = 1;
        t->slot = 3;
        t->entries = 1;
        t->pinned = true;
        t->pin.rules = LUKS_PIN_RULES;
        (void) snprintf(t->entry[0].kek.name, NAME_MAX_SIZE, "default");
        t->entry[0].kek.version = 7;
        t->entry[0].kek.sealed.public.size = 80;
        t->entry[0].kek.sealed.pcrs.mask = 1u << 7;
        policy_steps(&(struct policy){ .pcr_mask = 1u << 7 }, NULL, &t->entry[0].kek.steps);
        t->entry[0].wrap.size = LUKS_SECRET_SIZE;
        return t;
}

static void test_a_token_comes_back_as_it_was(void **state) {
        _cleanup_(token_freep) struct token *t = sample(), *back = NULL;
        _cleanup_(json_freep) struct json *json = NULL, *again = NULL;
        struct token_entry newer = t->entry[0];
        struct error err = { 0 };
        (void) state;

        newer.kek.version = 8;
        token_push(t, &newer, 1);
        assert_int_equal(token_print(t, &json, &err), 0);
        assert_true(token_is_ours(json));
        /* Members of somebody else, in the token and in an entry. */
        assert_true(json_add_string(json, "x-other", "kept"));
        assert_int_equal(token_parse(json, &back, &err), 0);
        assert_string_equal(back->name, "alpha");
        assert_int_equal(back->slot, 3);
        assert_int_equal(back->entries, 2);
        assert_int_equal(back->entry[0].kek.version, 8);
        assert_int_equal(back->entry[1].kek.version, 7);
        assert_int_equal(token_find(back, &t->entry[1].kek), 1);
        assert_int_equal(token_print(back, &again, &err), 0);
        assert_true(json_equal(json, again));

        token_drop(back, 0);
        assert_int_equal(back->entries, 1);
        assert_int_equal(back->entry[0].kek.version, 7);
        assert_int_equal(token_find(back, &newer.kek), -1);
}

static void test_the_next_pin_comes_back_and_goes(void **state) {
        _cleanup_(token_freep) struct token *t = sample(), *back = NULL, *without = NULL;
        _cleanup_(json_freep) struct json *json = NULL, *again = NULL;
        struct error err = { 0 };
        (void) state;

        t->has_next = true;
        t->next = (struct luks_pin){ .rules = LUKS_PIN_RULES, .mac = { 1 }, .vmac = { 2 } };
        t->next.vk[LUKS_MAC_SIZE - 1] = 3;
        assert_int_equal(token_print(t, &json, &err), 0);
        assert_int_equal(token_parse(json, &back, &err), 0);
        assert_true(back->has_next);
        assert_memory_equal(&back->next, &t->next, sizeof(t->next));
        assert_memory_equal(&back->pin, &t->pin, sizeof(t->pin));

        back->has_next = false;
        assert_int_equal(token_print(back, &again, &err), 0);
        assert_false(json_has(again, "next"));
        assert_int_equal(token_parse(again, &without, &err), 0);
        assert_false(without->has_next);
}

static void test_what_is_not_a_token_of_ours_is_refused(void **state) {
        static const char *const bad[][2] = {
                { "v", "2" },
                { "v", "\"1\"" },
                { "name", "\"a/b\"" },
                { "name", "7" },
                { "role", "\"swap\"" },
                { "epoch", "-1" },
                { "epoch", "4294967296" },
                { "state", "\"done\"" },
                { "slot", "32" },
                { "slot", "\"3\"" },
                { "keyslots", "[\"4\"]" },
                { "keyslots", "[\"3\",\"4\"]" },
                { "keyslots", "{}" },
                { "keks", "[]" },
                { "keks", "[1]" },
                { "keks", "[{},{},{}]" },
                { "pin", "{}" },
                { "pin", "null" },
                { "next", "{}" },
                { "next", "[]" },
                { "next", "{\"rules\":1,\"mac\":\"AA==\",\"vmac\":\"AA==\",\"vk\":\"AA==\"}" },
        };
        _cleanup_(token_freep) struct token *t = sample();
        struct error err = { 0 };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_(json_freep) struct json *json = NULL, *value = NULL;
                char array[96];
                struct token *back = NULL;

                assert_int_equal(token_print(t, &json, &err), 0);
                (void) snprintf(array, sizeof(array), "[%s]", bad[i][1]);
                assert_int_equal(json_parse(array, strlen(array), &value, &err), 0);
                if (json_at(value, 0))
                        assert_true(json_add(json, bad[i][0], json_copy(json_at(value, 0))));
                else
                        json_remove(json, bad[i][0]);
                assert_int_equal(token_parse(json, &back, &err), -EBADMSG);
                assert_null(back);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_policy_digest_is_what_a_tpm_computes),
                cmocka_unit_test(test_unmeasured_pcrs_are_seen),
                cmocka_unit_test(test_an_envelope_opens_for_its_disk_only),
                cmocka_unit_test(test_a_token_comes_back_as_it_was),
                cmocka_unit_test(test_the_next_pin_comes_back_and_goes),
                cmocka_unit_test(test_what_is_not_a_token_of_ours_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
