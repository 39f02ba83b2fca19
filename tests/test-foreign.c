/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "keys/other-token.h"
#include "tests/swtpm.h"
#include "tests/test.h"

/* Objects that tpm2-tools seals, as clevis has them sealed; tests/cli-adopt takes those of
 * systemd and clevis themselves. */

#define KEY "sealed by another program"

static struct tpm_bytes read_bytes(const struct swtpm *s, const char *name) {
        _cleanup_(freep) char *data = NULL;
        struct tpm_bytes b = { 0 };
        struct error err = { 0 };
        char path[80];
        size_t size;

        (void) snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        assert_int_equal(file_read(path, sizeof(b.data), &data, &size, &err), 0);
        memcpy(b.data, data, size);
        b.size = (uint16_t) size;
        return b;
}

/* @algorithm: of the parent; @create: more options of tpm2_create. */
static struct foreign_object seal(const struct swtpm *s, const char *algorithm,
                                  const char *create) {
        struct foreign_object f = { 0 };
        char command[600];

        (void) snprintf(command, sizeof(command),
                        "printf '%s' >key && tpm2_createprimary -Q -C o -G %s -c parent && "
                        "tpm2_flushcontext -t && "
                        "tpm2_create -Q -C parent -i key -u public -r private %s && "
                        "tpm2_flushcontext -t && tpm2_flushcontext -l",
                        KEY, algorithm, create);
        assert_true(swtpm_run(s, command));
        f.parent = strcmp(algorithm, "rsa") == 0 ? FOREIGN_PARENT_RSA : FOREIGN_PARENT_ECC;
        f.public = read_bytes(s, "public");
        f.private = read_bytes(s, "private");
        return f;
}

static struct foreign_object seal_to_pcrs(const struct swtpm *s, const char *algorithm,
                                          const char *pcrs) {
        char command[200];

        (void) snprintf(command, sizeof(command),
                        "tpm2_createpolicy -Q --policy-pcr -l %s -L policy && tpm2_flushcontext -l",
                        pcrs);
        assert_true(swtpm_run(s, command));
        return seal(s, algorithm, "-L policy -a 'fixedtpm|fixedparent|adminwithpolicy|noda'");
}

/* Return: the verdict; what is granted must be the key. */
static int unseal(const struct swtpm *s, const struct foreign_object *f, uint32_t *ret_pcrs) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_refusal why = { 0 };
        struct error err = { 0 };
        int r;

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        r = tpm_unseal_foreign(t, f, &key, &why, &err);
        t = tpm_close(t);
        if (r < 0)
                fail_msg("%s", err.text);
        assert_int_equal(r == TPM_GRANTED, key != NULL);
        if (key) {
                assert_int_equal(secret_size(key), strlen(KEY));
                assert_memory_equal(secret_data(key), KEY, strlen(KEY));
        }
        if (ret_pcrs)
                *ret_pcrs = why.pcrs;
        assert_int_equal(swtpm_leftovers(s), 0);
        return r;
}

static void unseals_what_the_pcrs_still_allow(void **state) {
        const struct swtpm *s = *state;
        struct foreign_object f;
        uint32_t pcrs;

        assert_true(swtpm_extend(s, 7));
        f = seal_to_pcrs(s, "ecc", "sha256:4,7");
        f.pcr_mask = 1u << 4 | 1u << 7;
        assert_int_equal(unseal(s, &f, NULL), TPM_GRANTED);
        f.bank = FOREIGN_SHA1;
        assert_int_equal(unseal(s, &f, &pcrs), TPM_PCR_MISMATCH);
        f.bank = FOREIGN_SHA256;
        f.pcr_mask = 1u << 7;
        assert_int_equal(unseal(s, &f, NULL), TPM_PCR_MISMATCH);
        f.pcr_mask |= 1u << 4;
        assert_true(swtpm_extend(s, 9));
        assert_int_equal(unseal(s, &f, NULL), TPM_GRANTED);
        assert_true(swtpm_extend(s, 7));
        assert_int_equal(unseal(s, &f, &pcrs), TPM_PCR_MISMATCH);
        assert_int_equal(pcrs, f.pcr_mask);
}

static void reads_the_bank_and_the_parent_that_are_named(void **state) {
        const struct swtpm *s = *state;
        struct foreign_object f = seal_to_pcrs(s, "rsa", "sha1:7");

        f.pcr_mask = 1u << 7;
        f.bank = FOREIGN_SHA1;
        assert_int_equal(unseal(s, &f, NULL), TPM_GRANTED);
        f.bank = FOREIGN_SHA256;
        assert_int_equal(unseal(s, &f, NULL), TPM_PCR_MISMATCH);
        f.bank = FOREIGN_SHA1;
        f.parent = FOREIGN_PARENT_ECC;
        assert_int_equal(unseal(s, &f, NULL), TPM_DAMAGED);
        f.parent = FOREIGN_PARENT_NAMED;
        f.srk = (struct tpm_bytes){ .size = 34, .data = { 0x00, 0x0b } };
        assert_int_equal(unseal(s, &f, NULL), TPM_OTHER);
}

static void takes_no_altered_object(void **state) {
        const struct swtpm *s = *state;
        struct foreign_object f = seal_to_pcrs(s, "ecc", "sha256:7"), bad;

        f.pcr_mask = 1u << 7;
        for (unsigned i = 0; i < f.private.size; i += 13) {
                bad = f;
                bad.private.data[i] ^= 1;
                assert_int_equal(unseal(s, &bad, NULL), TPM_DAMAGED);
        }
        for (unsigned i = 0; i < f.public.size; i += 7) {
                bad = f;
                bad.public.data[i] ^= 1;
                assert_int_equal(unseal(s, &bad, NULL), TPM_DAMAGED);
        }
        bad = f;
        bad.private.size--;
        assert_int_equal(unseal(s, &bad, NULL), TPM_DAMAGED);
        bad = f;
        bad.pcr_mask = 1u << 24;
        assert_int_equal(unseal(s, &bad, NULL), TPM_DAMAGED);
        bad = f;
        bad.has_policy = true; /* another one than the object's */
        assert_int_equal(unseal(s, &bad, NULL), TPM_DAMAGED);
        assert_int_equal(unseal(s, &f, NULL), TPM_GRANTED);
}

static void tries_no_auth_value_that_counts(void **state) {
        const struct swtpm *s = *state;
        struct foreign_object f;

        f = seal(s, "ecc", "-a 'fixedtpm|fixedparent|userwithauth|noda'");
        assert_int_equal(unseal(s, &f, NULL), TPM_GRANTED);
        f = seal(s, "ecc", "-a 'fixedtpm|fixedparent|userwithauth|noda' -p secret");
        assert_int_equal(unseal(s, &f, NULL), TPM_DAMAGED);
        f = seal(s, "ecc", "-a 'fixedtpm|fixedparent|userwithauth' -p secret");
        assert_int_equal(unseal(s, &f, NULL), TPM_DAMAGED);
        assert_true(swtpm_run(s, "tpm2_getcap properties-variable | "
                                 "grep -q 'TPM2_PT_LOCKOUT_COUNTER: 0x0$'"));
}

static void another_tpm_takes_nothing(void **state) {
        struct swtpm *s = *state;
        struct foreign_object f = seal_to_pcrs(s, "ecc", "sha256:7");

        f.pcr_mask = 1u << 7;
        assert_true(swtpm_restart(s, true));
        assert_int_equal(unseal(s, &f, NULL), TPM_DAMAGED);
}

/* --- tokens --- */

static int parse(const char *text, struct other_token *ret, char why[OTHER_WHY_MAX]) {
        _cleanup_(json_freep) struct json *token = NULL;
        struct error err = { 0 };

        assert_int_equal(json_parse(text, strlen(text), &token, &err), 0);
        return other_token_parse(token, ret, why, &err);
}

#define BLOB "\"tpm2-blob\":\"AAEAAAEA\""
#define HASH "\"tpm2-policy-hash\":\"" ZEROS ZEROS "\""
#define ZEROS "00000000000000000000000000000000"
#define SYSTEMD(slots, rest) "{\"type\":\"systemd-tpm2\",\"keyslots\":" slots "," rest "}"

static void reads_a_systemd_token(void **state) {
        static const struct {
                int verdict;
                const char *text;
        } cases[] = {
                { OTHER_GOOD, SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[7]") },
                { OTHER_GOOD,
                  SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[],\"tpm2-pin\":false") },
                { OTHER_UNUSABLE,
                  SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[],\"tpm2-pin\":true") },
                { OTHER_UNUSABLE,
                  SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[],\"tpm2_pubkey\":\"AA==\"") },
                { OTHER_UNUSABLE,
                  SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[],\"tpm2-pin\":1") },
                { OTHER_UNUSABLE, SYSTEMD("[\"3\"]", "\"tpm2-blob\":[]") },
                { OTHER_DAMAGED, SYSTEMD("[]", BLOB "," HASH ",\"tpm2-pcrs\":[7]") },
                { OTHER_DAMAGED, SYSTEMD("[\"1\",\"2\"]", BLOB "," HASH ",\"tpm2-pcrs\":[7]") },
                { OTHER_DAMAGED, SYSTEMD("[\"32\"]", BLOB "," HASH ",\"tpm2-pcrs\":[7]") },
                { OTHER_DAMAGED, SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[24]") },
                { OTHER_DAMAGED, SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[7,7]") },
                { OTHER_DAMAGED, SYSTEMD("[\"3\"]", BLOB ",\"tpm2-pcrs\":[7]") },
                { OTHER_DAMAGED, SYSTEMD("[\"3\"]", HASH ",\"tpm2-pcrs\":[7]") },
                { OTHER_DAMAGED,
                  SYSTEMD("[\"3\"]", "\"tpm2-blob\":\"AAEAAAE=\"," HASH ",\"tpm2-pcrs\":[7]") },
                { OTHER_DAMAGED,
                  SYSTEMD("[\"3\"]", "\"tpm2-blob\":\"AAEAAAEAAA==\"," HASH ",\"tpm2-pcrs\":[]") },
                { OTHER_DAMAGED,
                  SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[],\"tpm2_srk\":\"AA==\"") },
                { OTHER_DAMAGED,
                  SYSTEMD("[\"3\"]",
                          BLOB "," HASH ",\"tpm2-pcrs\":[],\"tpm2_srk\":\"gQAAAf//AA==\"") },
                { OTHER_UNUSABLE,
                  SYSTEMD("[\"3\"]", BLOB "," HASH ",\"tpm2-pcrs\":[],\"tpm2-pcr-bank\":\"sm3\"") },
        };
        _cleanup_(freep) struct other_token *o = calloc(1, sizeof(*o));
        char why[OTHER_WHY_MAX];

        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                int r = parse(cases[i].text, o, why);

                if (r != cases[i].verdict)
                        fail_msg("%s: %d", cases[i].text, r);
        }
        assert_int_equal(parse(cases[0].text, o, why), OTHER_GOOD);
        assert_int_equal(o->slot, 3);
        assert_int_equal(o->object.pcr_mask, 1u << 7);
        assert_int_equal(o->object.private.size, 3);
        assert_int_equal(o->object.public.size, 3);
        assert_null(other_token_type(NULL));
}

static void reads_base64url_strictly(void **state) {
        static const char *const good[] = { "", "AA", "AAA", "AAAA", "-_-_", "_w" };
        static const char *const bad[] = { "A", "AB", "AAB", "AA==", "AA+A", "AAAAA", "A A" };
        struct error err = { 0 };
        uint8_t out[3];
        size_t size;

        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
                assert_int_equal(
                        base64url_decode(good[i], strlen(good[i]), out, sizeof(out), &size, &err),
                        0);
        assert_int_equal(size, 1);
        assert_int_equal(out[0], 0xff);
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(
                        base64url_decode(bad[i], strlen(bad[i]), out, sizeof(out), &size, &err) < 0,
                        1);
        assert_int_equal(base64url_decode("AAAAAA", 6, out, sizeof(out), &size, &err), -ENOBUFS);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(unseals_what_the_pcrs_still_allow, swtpm_start,
                                                swtpm_stop),
                cmocka_unit_test_setup_teardown(reads_the_bank_and_the_parent_that_are_named,
                                                swtpm_start, swtpm_stop),
                cmocka_unit_test_setup_teardown(takes_no_altered_object, swtpm_start, swtpm_stop),
                cmocka_unit_test_setup_teardown(tries_no_auth_value_that_counts, swtpm_start,
                                                swtpm_stop),
                cmocka_unit_test_setup_teardown(another_tpm_takes_nothing, swtpm_start, swtpm_stop),
                cmocka_unit_test(reads_a_systemd_token),
                cmocka_unit_test(reads_base64url_strictly),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
