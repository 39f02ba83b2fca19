/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/policy-sign.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/public.h"
#include "policy/signature.h"
#include "tests/test.h"

/* systemd's tpm2-pcr-signature.json: what we write, read back, and what of others is refused. The
 * keys are openssl's. tests/sign-peer has systemd's own programs on the other side. */

static char dir[] = "/tmp/diskseal-signature-XXXXXX";
static const char *const kinds[] = { "rsa2048", "rsa3072", "rsa4096", "p256", "p384" };

static const char *in_dir(const char *name) {
        static char path[4][128];
        static unsigned next;
        char *p = path[next++ % 4];

        (void) snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
        return p;
}

static int set_up(void **state) {
        char command[1024];

        (void) state;
        if (!mkdtemp(dir))
                return -1;
        (void) snprintf(command, sizeof(command),
                        "cd %s && exec 2>log && set -e; for n in 2048 3072 4096; do openssl "
                        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:$n -out rsa$n; done; "
                        "for n in 256 384; do openssl genpkey -algorithm EC -pkeyopt "
                        "ec_paramgen_curve:P-$n -out p$n; done; openssl genpkey -algorithm EC "
                        "-pkeyopt ec_paramgen_curve:P-256 -out other",
                        dir);
        return system(command);
}

static int tear_down(void **state) {
        char command[128];

        (void) state;
        (void) snprintf(command, sizeof(command), "rm -rf %s", dir);
        return system(command);
}

static void state_of(uint32_t mask, uint8_t seed, struct pcrs *ret) {
        *ret = (struct pcrs){ .bank = PCR_SHA256, .mask = mask };
        for (unsigned n = 0; n < PCR_COUNT; n++)
                for (unsigned i = 0; i < PCR_SIZE_MAX; i++)
                        ret->value[n][i] = (uint8_t) (seed + n + i);
}

/* The policy of whoever trusts the key. */
static void trust(const char *key, const char *reference, struct steps *ret) {
        _cleanup_(signer_freep) struct signer *s = NULL;
        struct error err = { 0 };
        const uint8_t *der;
        size_t size;

        memset(ret, 0, sizeof(*ret));
        assert_int_equal(signer_open(in_dir(key), NULL, &s, &err), 0);
        der = signer_public(s, &size);
        memcpy(ret->authorize.key, der, size);
        ret->authorize.key_size = (uint16_t) size;
        assert_int_equal(signature_reference(reference, ret, &err), 0);
}

static int sign(const char *key, const struct pcrs *states, size_t count, const char *reference,
                const char *extend) {
        const struct op_policy_sign args = {
                .key = in_dir(key),
                .states = states,
                .count = count,
                .reference = reference,
                .extend = extend ? in_dir(extend) : NULL,
                .output = in_dir("out"),
        };
        struct op_policy_signed done;
        struct error err = { 0 };
        int r = op_policy_sign(&args, &done, &err);

        assert_true(r == 0 || (r == err.errnum && err.text[0]));
        return r;
}

static struct signatures *read_out(void) {
        _cleanup_(freep) char *text = NULL;
        struct signatures *s = NULL;
        struct error err = { 0 };
        size_t size;

        assert_int_equal(file_read(in_dir("out"), SIGNATURES_SIZE_MAX, &text, &size, &err), 0);
        assert_int_equal(signatures_parse(text, size, &s, &err), 0);
        return s;
}

static int find(const struct signatures *s, const struct steps *steps, const struct pcrs *pcrs,
                struct signature *ret) {
        uint8_t approved[POLICY_DIGEST_SIZE];
        struct error err = { 0 };

        assert_int_equal(signature_approved(pcrs, approved, &err), 0);
        return signatures_find(s, steps, pcrs->mask, approved, ret, &err);
}

static void write_text(const char *name, const char *text) {
        struct error err = { 0 };

        assert_int_equal(file_write(in_dir(name), text, strlen(text), 0600, &err), 0);
}

/* --- what we make --- */

static void each_kind_of_key_approves_of_its_states_alone(void **state) {
        struct pcrs pcrs[3];

        (void) state;
        state_of(1u << 11, 1, &pcrs[0]);
        state_of(1u << 11, 2, &pcrs[1]);
        state_of(1u << 11, 3, &pcrs[2]);
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                _cleanup_(signatures_freep) struct signatures *s = NULL;
                struct signature sig = { .size = 0 };
                struct steps steps, stranger;

                trust(kinds[i], NULL, &steps);
                trust("other", NULL, &stranger);
                assert_int_equal(sign(kinds[i], pcrs, 2, NULL, NULL), 0);
                s = read_out();
                assert_int_equal(signatures_count(s), 2);
                for (unsigned n = 0; n < 2; n++) {
                        struct error err = { 0 };

                        assert_int_equal(find(s, &steps, &pcrs[n], &sig), SIGNATURE_FOUND);
                        assert_int_equal(signature_check(&steps, &sig, &err), CRYPTO_GOOD);
                        assert_int_equal(signature_check(&stranger, &sig, &err), CRYPTO_FORGED);
                        sig.approved[0] ^= 1;
                        assert_int_equal(signature_check(&steps, &sig, &err), CRYPTO_FORGED);
                }
                sig.size = 0;
                assert_int_equal(find(s, &steps, &pcrs[2], &sig), SIGNATURE_NO_STATE);
                assert_int_equal(find(s, &stranger, &pcrs[0], &sig), SIGNATURE_NO_KEY);
                steps.bank = PCR_SHA384;
                assert_int_equal(find(s, &steps, &pcrs[0], &sig), SIGNATURE_NO_STATE);
                assert_int_equal(sig.size, 0);
        }
}

static void the_digest_is_that_of_one_policypcr(void **state) {
        /* sha256(zeros || 0000017f || 00000001 000b 03 000800 || sha256(32 times 0xab)) */
        static const char want[] =
                "523d74b27852b0f697aebfb8274749478304b5745146d8449ea0733e729c4b6b";
        struct pcrs pcrs = { .bank = PCR_SHA256, .mask = 1u << 11 };
        uint8_t approved[POLICY_DIGEST_SIZE];
        char hex[2 * POLICY_DIGEST_SIZE + 1];
        struct error err = { 0 };

        (void) state;
        memset(pcrs.value[11], 0xab, 32);
        assert_int_equal(signature_approved(&pcrs, approved, &err), 0);
        hex_encode(approved, sizeof(approved), hex);
        assert_string_equal(hex, want);
}

static void a_reference_is_a_hash_of_its_name_and_must_be_the_same(void **state) {
        /* sha256("initrd"), as systemd 262 has it */
        static const char want[] =
                "09e6c018d2c8c4903308613dd1b72484d57eadf12ec50ddc8f52e5accce470f2";
        struct steps none, initrd, other;
        struct signature sig;
        struct pcrs pcrs;
        char hex[2 * SHA256_SIZE + 1];

        (void) state;
        state_of(1u << 11, 1, &pcrs);
        trust("p256", NULL, &none);
        trust("p256", "initrd", &initrd);
        trust("p256", "other", &other);
        hex_encode(initrd.authorize.ref, initrd.authorize.ref_size, hex);
        assert_string_equal(hex, want);
        assert_int_equal(none.authorize.ref_size, 0);
        {
                _cleanup_(signatures_freep) struct signatures *s = NULL;

                assert_int_equal(sign("p256", &pcrs, 1, "initrd", NULL), 0);
                s = read_out();
                assert_int_equal(find(s, &initrd, &pcrs, &sig), SIGNATURE_FOUND);
                assert_int_equal(find(s, &none, &pcrs, &sig), SIGNATURE_NO_STATE);
                assert_int_equal(find(s, &other, &pcrs, &sig), SIGNATURE_NO_STATE);
        }
        {
                _cleanup_(signatures_freep) struct signatures *s = NULL;

                assert_int_equal(sign("p256", &pcrs, 1, NULL, "out"), 0);
                s = read_out();
                assert_int_equal(signatures_count(s), 2);
                assert_int_equal(find(s, &initrd, &pcrs, &sig), SIGNATURE_FOUND);
                assert_int_equal(find(s, &none, &pcrs, &sig), SIGNATURE_FOUND);
        }
}

static void what_a_signature_claims_beside_it_decides_nothing(void **state) {
        _cleanup_(freep) char *text = NULL;
        struct steps none, initrd;
        struct signature sig;
        struct error err = { 0 };
        struct pcrs pcrs;
        size_t size;
        char *at;

        (void) state;
        state_of(1u << 11, 1, &pcrs);
        trust("p256", NULL, &none);
        trust("p256", "initrd", &initrd);
        assert_int_equal(sign("p256", &pcrs, 1, "initrd", NULL), 0);
        assert_int_equal(file_read(in_dir("out"), SIGNATURES_SIZE_MAX, &text, &size, &err), 0);
        {
                _cleanup_(signatures_freep) struct signatures *s = NULL;

                at = strstr(text, "\"ref\"");
                assert_non_null(at);
                at[1] = 'x'; /* the reference is gone */
                assert_int_equal(signatures_parse(text, size, &s, &err), 0);
                assert_int_equal(find(s, &none, &pcrs, &sig), SIGNATURE_FORGED);
                assert_int_equal(find(s, &initrd, &pcrs, &sig), SIGNATURE_NO_STATE);
                at[1] = 'r';
        }
        {
                _cleanup_(signatures_freep) struct signatures *s = NULL;

                at = strstr(text, "\"sig\":\"") + 7 + 20;
                *at = *at == 'A' ? 'B' : 'A';
                assert_int_equal(signatures_parse(text, size, &s, &err), 0);
                assert_int_equal(find(s, &initrd, &pcrs, &sig), SIGNATURE_FORGED);
        }
}

/* A forged entry before the good one hides nothing. */
static void the_first_good_signature_is_taken(void **state) {
        _cleanup_(freep) char *good = NULL, *both = NULL;
        _cleanup_(signatures_freep) struct signatures *s = NULL;
        struct signature sig;
        struct error err = { 0 };
        struct steps steps;
        struct pcrs pcrs;
        size_t size;
        char *entry, *copy;
        int n;

        (void) state;
        state_of(1u << 11, 1, &pcrs);
        trust("p384", NULL, &steps);
        assert_int_equal(sign("p384", &pcrs, 1, NULL, NULL), 0);
        assert_int_equal(file_read(in_dir("out"), SIGNATURES_SIZE_MAX, &good, &size, &err), 0);
        entry = strchr(good, '[') + 1;
        n = (int) (strrchr(good, ']') - entry);
        assert_true(asprintf(&both, "{\"sha256\":[%.*s,%.*s]}", n, entry, n, entry) > 0);
        copy = strstr(both, "\"sig\":\"") + 7 + 20;
        *copy = *copy == 'A' ? 'B' : 'A';
        assert_int_equal(signatures_parse(both, strlen(both), &s, &err), 0);
        assert_int_equal(find(s, &steps, &pcrs, &sig), SIGNATURE_FOUND);
}

static void several_pcrs_and_the_other_bank_are_signed_too(void **state) {
        _cleanup_(signatures_freep) struct signatures *s = NULL;
        struct signature sig;
        struct steps steps;
        struct pcrs pcrs[2];

        (void) state;
        state_of(1u << 4 | 1u << 7 | 1u << 11, 1, &pcrs[0]);
        state_of(1u << 4 | 1u << 7 | 1u << 11, 1, &pcrs[1]);
        pcrs[1].bank = PCR_SHA384;
        trust("rsa2048", NULL, &steps);
        assert_int_equal(sign("rsa2048", pcrs, 2, NULL, NULL), 0);
        s = read_out();
        assert_int_equal(find(s, &steps, &pcrs[0], &sig), SIGNATURE_FOUND);
        assert_int_equal(sig.pcr_mask, pcrs[0].mask);
        steps.bank = PCR_SHA384;
        assert_int_equal(find(s, &steps, &pcrs[1], &sig), SIGNATURE_FOUND);
}

/* --- extending --- */

static void a_file_is_extended_and_nothing_in_it_is_lost(void **state) {
        static const char before[] =
                "{\"sha1\":[{\"pcrs\":[11],\"what\":1.50}],\"note\":{\"a\":[null,true]},"
                "\"sha256\":[{\"pcrs\":[11],\"comment\":\"not one of ours\"}]}";
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };
        struct pcrs pcrs;
        struct stat st;
        size_t size;

        (void) state;
        state_of(1u << 11, 1, &pcrs);
        write_text("before", before);
        assert_int_equal(sign("p256", &pcrs, 1, NULL, "before"), 0);
        assert_int_equal(file_read(in_dir("out"), SIGNATURES_SIZE_MAX, &text, &size, &err), 0);
        /* All but the two closing brackets stands there as it did. */
        assert_memory_equal(text, before, sizeof(before) - 1 - 2);
        assert_int_equal(text[size - 1], '\n');
        assert_int_equal(stat(in_dir("out"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
}

/* ECDSA signs anew each time, and an entry more a build would fill the file. */
static void a_state_is_signed_once(void **state) {
        _cleanup_(signatures_freep) struct signatures *s = NULL;
        struct signature sig;
        struct steps steps;
        struct pcrs pcrs[2];

        (void) state;
        state_of(1u << 11, 1, &pcrs[0]);
        state_of(1u << 11, 2, &pcrs[1]);
        trust("p256", NULL, &steps);
        assert_int_equal(sign("p256", pcrs, 1, NULL, NULL), 0);
        assert_int_equal(sign("p256", pcrs, 2, NULL, "out"), 0);
        assert_int_equal(sign("p256", pcrs, 2, NULL, "out"), 0);
        s = read_out();
        assert_int_equal(signatures_count(s), 2);
        assert_int_equal(find(s, &steps, &pcrs[1], &sig), SIGNATURE_FOUND);
}

static void an_entry_that_waits_is_signed_where_it_stands(void **state) {
        _cleanup_(signatures_freep) struct signatures *s = NULL, *out = NULL;
        _cleanup_(freep) char *text = NULL, *after = NULL;
        uint8_t approved[POLICY_DIGEST_SIZE], fp[SHA256_SIZE];
        char pol[2 * POLICY_DIGEST_SIZE + 1], pkfp[2 * SHA256_SIZE + 1];
        struct signature sig;
        struct error err = { 0 };
        struct steps steps;
        struct pcrs pcrs;
        size_t size;

        (void) state;
        state_of(1u << 11, 1, &pcrs);
        trust("p256", NULL, &steps);
        assert_int_equal(signature_approved(&pcrs, approved, &err), 0);
        assert_int_equal(
                public_fingerprint(steps.authorize.key, steps.authorize.key_size, fp, &err), 0);
        hex_encode(approved, sizeof(approved), pol);
        hex_encode(fp, sizeof(fp), pkfp);
        assert_true(asprintf(&text,
                             "{\"sha256\":[{\"pcrs\":[11],\"pkfp\":\"%s\",\"pol\":\"%s\","
                             "\"tbs\":\"%s\",\"kept\":1}]}",
                             pkfp, pol, pol) > 0);
        assert_int_equal(signatures_parse(text, strlen(text), &s, &err), 0);
        assert_int_equal(signatures_count(s), 0);
        assert_int_equal(find(s, &steps, &pcrs, &sig), SIGNATURE_NO_KEY);
        write_text("waits", text);
        assert_int_equal(sign("p256", &pcrs, 1, NULL, "waits"), 0);
        out = read_out();
        assert_int_equal(signatures_count(out), 1);
        assert_int_equal(find(out, &steps, &pcrs, &sig), SIGNATURE_FOUND);
        assert_int_equal(file_read(in_dir("out"), SIGNATURES_SIZE_MAX, &after, &size, &err), 0);
        assert_null(strstr(after, "tbs"));
        assert_non_null(strstr(after, "\"kept\":1"));
}

static void what_cannot_be_signed_leaves_the_file_alone(void **state) {
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };
        struct pcrs pcrs, none = { .bank = PCR_SHA256 },
                          zero = { .bank = PCR_SHA256, .mask = 1u << 11 };
        size_t size;

        (void) state;
        state_of(1u << 11, 1, &pcrs);
        write_text("out", "as it was");
        write_text("broken", "{\"sha256\":[1]}");
        assert_int_equal(sign("p256", &pcrs, 0, NULL, NULL), -EINVAL);
        assert_int_equal(sign("p256", &none, 1, NULL, NULL), -EINVAL);
        assert_int_equal(sign("p256", &zero, 1, NULL, NULL), -EINVAL);
        assert_int_equal(sign("p256", &pcrs, 1, NULL, "broken"), -EBADMSG);
        assert_int_equal(sign("p256", &pcrs, 1, NULL, "nowhere"), -ENOENT);
        assert_int_equal(sign("nowhere", &pcrs, 1, NULL, NULL), -ENOENT);
        {
                const struct op_policy_sign args = { .key = in_dir("p256"),
                                                     .states = &zero,
                                                     .count = 1,
                                                     .allow_unmeasured = true,
                                                     .output = in_dir("out"),
                                                     .dry_run = true };
                struct op_policy_signed done;

                assert_int_equal(op_policy_sign(&args, &done, &err), 0);
                assert_int_equal(done.total, 1);
        }
        assert_int_equal(file_read(in_dir("out"), SIGNATURES_SIZE_MAX, &text, &size, &err), 0);
        assert_string_equal(text, "as it was");
}

/* --- what others make --- */

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ENTRY "\"pcrs\":[11],\"pkfp\":\"" HASH "\",\"pol\":\"" HASH "\""

static int parse(const char *text) {
        _cleanup_(signatures_freep) struct signatures *s = NULL;
        struct error err = { 0 };
        int r = signatures_parse(text, strlen(text), &s, &err);

        assert_true((r == 0) == (s != NULL));
        assert_true(r == 0 || (r == err.errnum && err.text[0]));
        return r;
}

static void damaged_files_are_refused(void **state) {
        static const char *const damaged[] = {
                "",
                "[]",
                "{",
                "{\"sha256\":{}}",
                "{\"sha256\":[1]}",
                "{\"sha256\":[[]]}",
                "{\"sha256\":[{" ENTRY ",\"sig\":1}]}",
                "{\"sha256\":[{" ENTRY ",\"sig\":\"\"}]}",
                "{\"sha256\":[{" ENTRY ",\"sig\":\"AAA\"}]}",
                "{\"sha256\":[{" ENTRY ",\"sig\":\"AA\\u0000=\"}]}",
                "{\"sha384\":[{" ENTRY ",\"ref\":1}]}",
                "{\"sha256\":[{" ENTRY ",\"ref\":\"\"}]}",
                "{\"sha256\":[{" ENTRY ",\"ref\":\"a\\u0000b\"}]}",
                "{\"sha256\":[{\"pcrs\":[24],\"pkfp\":\"" HASH "\",\"pol\":\"" HASH "\"}]}",
                "{\"sha256\":[{\"pcrs\":[-1],\"pkfp\":\"" HASH "\",\"pol\":\"" HASH "\"}]}",
                "{\"sha256\":[{\"pcrs\":[11,11],\"pkfp\":\"" HASH "\",\"pol\":\"" HASH "\"}]}",
                "{\"sha256\":[{\"pcrs\":[],\"pkfp\":\"" HASH "\",\"pol\":\"" HASH "\"}]}",
                "{\"sha256\":[{\"pcrs\":11,\"pkfp\":\"" HASH "\",\"pol\":\"" HASH "\"}]}",
                "{\"sha256\":[{\"pcrs\":[11],\"pkfp\":\"01\",\"pol\":\"" HASH "\"}]}",
                "{\"sha256\":[{\"pcrs\":[11],\"pkfp\":\"" HASH "\",\"pol\":\"" HASH "00\"}]}",
                "{\"sha256\":[{" ENTRY "}]} x",
        };

        (void) state;
        assert_int_equal(parse("{}"), 0);
        assert_int_equal(parse("{\"sha256\":[{" ENTRY ",\"sig\":\"AAAA\"}],\"sha1\":7}"), 0);
        assert_int_equal(parse("{\"sha384\":[{" ENTRY "},{}]}"), 0);
        for (size_t i = 0; i < ARRAY_SIZE(damaged); i++)
                if (parse(damaged[i]) != -EBADMSG)
                        fail_msg("taken: %s", damaged[i]);
}

static void members_that_are_doubled_are_refused(void **state) {
        static const char *const doubled[] = {
                "{\"sha256\":[],\"sha256\":[]}",
                "{\"sha256\":[{" ENTRY ",\"pcrs\":[12]}]}",
                "{\"sha1\":[{\"a\":1,\"a\":2}]}",
                "{\"a\":1, /*\"*/ \"a\":2 /*\"*/ }", /* a comment hides the second colon */
                "{\"a\":1/* : */}",
        };

        (void) state;
        assert_int_equal(parse("{\"a:\":{\"a\":\":\\\":\",\"b\":[{\"a\":1},{\"a\":1}]}}"), 0);
        assert_int_equal(parse("{\"a\":\"/* \\\\\"}"), 0);
        for (size_t i = 0; i < ARRAY_SIZE(doubled); i++)
                if (parse(doubled[i]) != -EBADMSG)
                        fail_msg("taken: %s", doubled[i]);
}

#define TEXT_MAX (SIGNATURES_SIZE_MAX + 2)

/* A file of @count entries in @text, which has room for TEXT_MAX bytes. */
static void entries(char *text, unsigned count) {
        size_t n = 0;

        for (unsigned i = 0; i < count; i++)
                n += (size_t) snprintf(text + n, TEXT_MAX - n, "%s{" ENTRY "}",
                                       i ? "," : "{\"sha256\":[");
        (void) snprintf(text + n, TEXT_MAX - n, "]}");
}

static void large_files_are_refused(void **state) {
        static char text[TEXT_MAX];

        (void) state;
        memset(text, ' ', SIGNATURES_SIZE_MAX + 1);
        memcpy(text, "{}", 2);
        assert_int_equal(parse(text), -EBADMSG);
        text[SIGNATURES_SIZE_MAX] = '\0';
        assert_int_equal(parse(text), 0);

        entries(text, SIGNATURES_MAX);
        assert_int_equal(parse(text), 0);
        entries(text, SIGNATURES_MAX + 1);
        assert_true(strlen(text) < SIGNATURES_SIZE_MAX);
        assert_int_equal(parse(text), -EBADMSG);
}

static void a_full_file_takes_no_more(void **state) {
        static char text[TEXT_MAX];
        struct pcrs pcrs;

        (void) state;
        state_of(1u << 11, 1, &pcrs);
        entries(text, SIGNATURES_MAX);
        write_text("full", text);
        assert_int_equal(sign("p256", &pcrs, 1, NULL, "full"), -EFBIG);

        memset(text, 'x', SIGNATURES_SIZE_MAX - 100);
        memcpy(text, "{\"x\":\"", 6);
        memcpy(text + SIGNATURES_SIZE_MAX - 100, "\"}", 3);
        write_text("full", text);
        assert_int_equal(sign("p256", &pcrs, 1, NULL, "full"), -EFBIG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_kind_of_key_approves_of_its_states_alone),
                cmocka_unit_test(the_digest_is_that_of_one_policypcr),
                cmocka_unit_test(a_reference_is_a_hash_of_its_name_and_must_be_the_same),
                cmocka_unit_test(what_a_signature_claims_beside_it_decides_nothing),
                cmocka_unit_test(the_first_good_signature_is_taken),
                cmocka_unit_test(several_pcrs_and_the_other_bank_are_signed_too),
                cmocka_unit_test(a_file_is_extended_and_nothing_in_it_is_lost),
                cmocka_unit_test(a_state_is_signed_once),
                cmocka_unit_test(an_entry_that_waits_is_signed_where_it_stands),
                cmocka_unit_test(what_cannot_be_signed_leaves_the_file_alone),
                cmocka_unit_test(damaged_files_are_refused),
                cmocka_unit_test(members_that_are_doubled_are_refused),
                cmocka_unit_test(large_files_are_refused),
                cmocka_unit_test(a_full_file_takes_no_more),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
