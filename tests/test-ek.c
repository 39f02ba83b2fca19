/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/test.h"

#include <stdio.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "base/chain.h"
#include "base/hex.h"
#include "tests/ca.h"
#include "tests/swtpm.h"
#include "tpm/ek.h"

/* TPMs that were made as a maker makes them, each with certificates of its own, by one authority of
 * swtpm's and one of ours. */

enum { P256, RSA2048, P256_HIGH, RSA2048_HIGH, P384, RSA3072 };

/* What the makers' authorities are, and TPMs as they left the factory: copied for each test. */
static char factory[32];

enum model { FIRST, SECOND, LARGE, MODELS };

struct maker {
        struct swtpm *tpm;
        struct ca ca;
};

static bool in_factory(const char *command) {
        char line[1024];

        (void) snprintf(line, sizeof(line), "cd %s && { %s; } >log 2>&1", factory, command);
        return system(line) == 0;
}

static int factory_open(void **unused) {
        static const unsigned rsa_bits[MODELS] = { 2048, 2048, 3072 };

        (void) unused;
        (void) strcpy(factory, "/tmp/ek-XXXXXX");
        if (!mkdtemp(factory) ||
            !in_factory("mkdir ca roots && "
                        "printf '%s = %s\n' statedir $PWD/ca signingkey $PWD/ca/key.pem "
                        "issuercert $PWD/ca/issuer.pem certserial $PWD/ca/serial >ca.conf && "
                        ": >ca.options && "
                        "printf '%s=%s\n' create_certs_tool /usr/bin/swtpm_localca "
                        "create_certs_tool_config $PWD/ca.conf "
                        "create_certs_tool_options $PWD/ca.options >setup.conf"))
                return -1;
        for (unsigned i = 0; i < MODELS; i++) {
                char command[256];

                (void) snprintf(command, sizeof(command),
                                "mkdir state-%u && swtpm_setup --tpm2 --tpmstate state-%u "
                                "--create-ek-cert --rsa-keysize %u --config setup.conf",
                                i, i, rsa_bits[i]);
                if (!in_factory(command)) {
                        (void) in_factory("cat log >&2");
                        return -1;
                }
        }
        return in_factory("cp ca/issuer.pem ca/swtpm-localca-rootca-cert.pem roots") ? 0 : -1;
}

static int factory_close(void **unused) {
        char command[64];

        (void) unused;
        (void) snprintf(command, sizeof(command), "rm -rf %s", factory);
        return system(command);
}

/* Puts another TPM in the place of the one that's there. */
static bool replace(struct swtpm *s, enum model model) {
        char command[128];

        swtpm_kill(s);
        (void) snprintf(command, sizeof(command), "cp -r %s/state-%d state-%u", factory,
                        (int) model, s->states + 1);
        return swtpm_run(s, command) && swtpm_restart(s, true);
}

static int maker_start(void **state) {
        struct maker *m = calloc(1, sizeof(*m));
        struct ca_how how = ca_how_authority("ours");

        *state = m;
        m->ca = ca_new(NULL, &how);
        m->tpm = swtpm_new(SWTPM_NORMAL);
        return m->tpm && replace(m->tpm, FIRST) ? 0 : -1;
}

static int maker_stop(void **state) {
        struct maker *m = *state;

        swtpm_free(m->tpm);
        ca_done(&m->ca);
        free(m);
        return 0;
}

static struct chain *trust(const char *folder, const char *name) {
        struct chain *c = NULL;
        struct error err = { 0 };
        char path[96];

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        if (chain_read(path, &c, &err) < 0)
                fail_msg("%s", err.text);
        return c;
}

static struct chain *trust_swtpm(void) {
        return trust(factory, "roots");
}

static struct tpm *open_tpm(const struct maker *m) {
        struct tpm *t = NULL;
        struct error err = { 0 };

        if (tpm_open(m->tpm->tcti, &t, &err) < 0)
                fail_msg("%s", err.text);
        return t;
}

/* Reads one kind's certificate and has it checked. Return: the chain's verdict; -1: there's none.
 */
static int check(const struct maker *m, const struct chain *c, unsigned kind,
                 struct chain_ek *ret) {
        _cleanup_(tpm_closep) struct tpm *t = open_tpm(m);
        struct ek_certificate cert;
        struct error err = { 0 };
        char why[CHAIN_TEXT];
        int r = tpm_ek_read(t, kind, &cert, &err);

        if (r < 0)
                fail_msg("%s", err.text);
        return r == 0 ? -1 : chain_check(c, cert.der, cert.size, ret, why, &err);
}

static int prove(const struct maker *m, unsigned kind, const struct chain_ek *ek,
                 const struct tpm_bytes *srk, char why[EK_TEXT]) {
        const struct ek_claim claim = { kind, ek->key, ek->key_size, srk };
        _cleanup_(tpm_closep) struct tpm *t = open_tpm(m);
        struct error err = { 0 };
        int r = tpm_ek_prove(t, &claim, why, &err);

        if (r < 0)
                fail_msg("%s", err.text);
        t = tpm_close(t);
        assert_int_equal(swtpm_leftovers(m->tpm), 0);
        return r;
}

static struct tpm_bytes storage_key(const struct maker *m) {
        _cleanup_(tpm_closep) struct tpm *t = open_tpm(m);
        struct tpm_bytes name;
        struct error err = { 0 };

        if (tpm_srk_name(t, &name, &err) < 0)
                fail_msg("%s", err.text);
        return name;
}

/* Puts a certificate of @key, signed by our authority, into the TPM. */
static void put_certificate(const struct maker *m, EVP_PKEY *key, unsigned kind, unsigned padding) {
        struct ca_how how = ca_how_ek(EVP_PKEY_is_a(key, "EC"));
        _cleanup_(ca_x509_freep) X509 *x = ca_sign(&m->ca, key, &how);
        uint8_t der[2048];
        char path[64], command[256];
        size_t size = ca_der(x, der, sizeof(der));
        FILE *f;

        memset(der + size, 0xff, padding);
        (void) snprintf(path, sizeof(path), "%s/ek.der", m->tpm->dir);
        f = fopen(path, "w");
        assert_true(f && fwrite(der, size + padding, 1, f) == 1 && fclose(f) == 0);
        (void) snprintf(command, sizeof(command),
                        "{ tpm2_nvundefine -C p 0x%x 2>/dev/null || "
                        "tpm2_nvundefine 0x%x 2>/dev/null || true; } && "
                        "tpm2_nvdefine -C o -s %zu 0x%x && tpm2_nvwrite -C o -i ek.der 0x%x",
                        tpm_ek_index(kind), tpm_ek_index(kind), size + padding, tpm_ek_index(kind),
                        tpm_ek_index(kind));
        assert_true(swtpm_run(m->tpm, command));
}

/* What a command made of the endorsement key's public part. */
static EVP_PKEY *public_key(const struct maker *m, const char *command) {
        char path[64];
        EVP_PKEY *key;
        FILE *f;

        assert_true(swtpm_run(m->tpm, command));
        (void) snprintf(path, sizeof(path), "%s/ek.pem", m->tpm->dir);
        f = fopen(path, "r");
        assert_non_null(f);
        key = PEM_read_PUBKEY(f, NULL, NULL, NULL);
        (void) fclose(f);
        assert_non_null(key);
        return key;
}

/* The endorsement key as tpm2-tools derive it, by the template of the low range. */
static EVP_PKEY *low_key(const struct maker *m, const char *algorithm) {
        char command[128];

        (void) snprintf(command, sizeof(command),
                        "tpm2_createek -G %s -c ek.ctx -f pem -u ek.pem && tpm2_flushcontext -t",
                        algorithm);
        return public_key(m, command);
}

/* By the one of the high range: PolicyB of the EK Credential Profile, and nothing in unique. */
static EVP_PKEY *high_key(const struct maker *m, const char *algorithm) {
        static const char policy_b[] = "ca3d0a99a2b93906f7a3342414efcfb3"
                                       "a385d44cd1fd459089d19b5071c0b7a0";
        uint8_t digest[32];
        char command[512], path[64];
        FILE *f;

        (void) snprintf(path, sizeof(path), "%s/policy-b", m->tpm->dir);
        f = fopen(path, "w");
        assert_true(hex_decode(policy_b, digest, sizeof(digest)) && f &&
                    fwrite(digest, sizeof(digest), 1, f) == 1 && fclose(f) == 0);

        (void) snprintf(command, sizeof(command),
                        "tpm2_createprimary -C e -G %s:aes128cfb -L policy-b -c ek.ctx -a "
                        "'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|"
                        "restricted|decrypt' && tpm2_flushcontext -t && "
                        "tpm2_readpublic -c ek.ctx -f pem -o ek.pem && tpm2_flushcontext -t",
                        algorithm);
        return public_key(m, command);
}

static struct chain *trust_ours(const struct maker *m) {
        char path[64];

        assert_true(swtpm_run(m->tpm, "rm -f ours.pem"));
        (void) snprintf(path, sizeof(path), "%s/ours.pem", m->tpm->dir);
        ca_append(m->ca.cert, path);
        return trust(m->tpm->dir, "ours.pem");
}

/* --- the tests --- */

static void expect_proven(const struct maker *m, const struct chain *c, unsigned kind) {
        struct tpm_bytes srk = storage_key(m);
        char why[EK_TEXT] = "";
        struct chain_ek ek;

        assert_int_equal(check(m, c, kind, &ek), CHAIN_GOOD);
        if (prove(m, kind, &ek, &srk, why) != EK_PROVEN)
                fail_msg("%s: %s", tpm_ek_name(kind), why);
}

static void test_certificates_of_swtpm(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_swtpm();
        struct chain_ek ek;

        expect_proven(m, c, RSA2048);
        expect_proven(m, c, P384);
        assert_int_equal(check(m, c, P256, &ek), -1);
        assert_int_equal(check(m, c, RSA3072, &ek), -1);

        /* Another TPM of the same maker. */
        assert_true(replace(m->tpm, LARGE));
        expect_proven(m, c, RSA3072);
        assert_int_equal(check(m, c, RSA2048, &ek), -1);
}

static void test_each_storage_key(void **state) {
        static const char *const keys[] = { "ecc256:aes128cfb", "rsa2048:aes128cfb",
                                            "ecc384:aes128cfb" };
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_swtpm();
        char command[320];

        for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
                (void) snprintf(command, sizeof(command),
                                "tpm2_createprimary -C o -G %s -c srk.ctx -a 'fixedtpm|fixedparent|"
                                "sensitivedataorigin|userwithauth|restricted|decrypt|noda' && "
                                "tpm2_flushcontext -t && "
                                "tpm2_evictcontrol -C o -c srk.ctx 0x81000001 && "
                                "tpm2_flushcontext -t",
                                keys[i]);
                assert_true(swtpm_run(m->tpm, command));
                expect_proven(m, c, RSA2048);
                assert_true(swtpm_run(m->tpm, "tpm2_evictcontrol -C o -c 0x81000001"));
        }
}

static void test_low_range(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_ours(m);
        _cleanup_(ca_key_freep) EVP_PKEY *ecc = low_key(m, "ecc"), *rsa = low_key(m, "rsa");

        put_certificate(m, ecc, P256, 0);
        expect_proven(m, c, P256);
        put_certificate(m, rsa, RSA2048, 300); /* an index that is larger than its content */
        expect_proven(m, c, RSA2048);
}

static void test_high_range(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_ours(m);
        _cleanup_(ca_key_freep) EVP_PKEY *ecc = high_key(m, "ecc256"),
                                         *rsa = high_key(m, "rsa2048");
        struct tpm_bytes srk = storage_key(m);
        char why[EK_TEXT];
        struct chain_ek ek;

        put_certificate(m, ecc, P256_HIGH, 0);
        expect_proven(m, c, P256_HIGH);
        put_certificate(m, rsa, RSA2048_HIGH, 0);
        expect_proven(m, c, RSA2048_HIGH);
        /* The same kind of key by another template is another key. */
        assert_int_equal(check(m, c, P256_HIGH, &ek), CHAIN_GOOD);
        assert_int_equal(prove(m, P256, &ek, &srk, why), EK_MISMATCH);
}

static void test_another_authority(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_ours(m);
        struct chain_ek ek;

        assert_int_equal(check(m, c, RSA2048, &ek), CHAIN_UNTRUSTED);
        assert_int_equal(check(m, c, P384, &ek), CHAIN_UNTRUSTED);
}

/* A good certificate of a good TPM, copied into this one. */
static void test_the_certificate_of_another_tpm(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_swtpm();
        struct tpm_bytes srk;
        char why[EK_TEXT];
        struct chain_ek ek;

        assert_true(swtpm_run(m->tpm, "tpm2_nvread -C o -o other.der 0x01c00002 2>log"));
        assert_true(replace(m->tpm, SECOND));
        assert_true(swtpm_run(m->tpm, "tpm2_nvundefine -C p 0x01c00002 && "
                                      "tpm2_nvdefine -C o -s $(stat -c %s other.der) 0x01c00002 && "
                                      "tpm2_nvwrite -C o -i other.der 0x01c00002"));
        srk = storage_key(m);
        assert_int_equal(check(m, c, RSA2048, &ek), CHAIN_GOOD);
        assert_int_equal(prove(m, RSA2048, &ek, &srk, why), EK_MISMATCH);
        assert_non_null(strstr(why, "another endorsement key"));
        expect_proven(m, c, P384);
        /* Nor does a key of one kind pass for another. */
        assert_int_equal(check(m, c, P384, &ek), CHAIN_GOOD);
        assert_int_equal(prove(m, RSA2048, &ek, &srk, why), EK_MISMATCH);
}

static void test_the_storage_key_of_another_tpm(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_swtpm();
        struct tpm_bytes other = storage_key(m);
        char why[EK_TEXT];
        struct chain_ek ek;

        assert_true(replace(m->tpm, SECOND));
        assert_int_equal(check(m, c, RSA2048, &ek), CHAIN_GOOD);
        assert_int_equal(prove(m, RSA2048, &ek, &other, why), EK_MISMATCH);
        assert_non_null(strstr(why, "storage key"));
}

/* What the proof rests on: a TPM doesn't answer for a key of which it has the public part alone.
 * Whoever carries the traffic could make it load that of a storage key of his own. */
static void test_a_public_part_alone_answers_nothing(void **state) {
        struct maker *m = *state;

        assert_true(swtpm_run(
                m->tpm,
                "tpm2_createprimary -C o -G ecc256:aes128cfb -c p.ctx && "
                "tpm2_readpublic -c p.ctx -o p.pub -n p.name && "
                "tpm2_flushcontext -t && tpm2_createek -G rsa -c ek.ctx -u "
                "ek.pub && tpm2_flushcontext -t && head -c 16 /dev/urandom "
                ">text && tpm2_makecredential -e ek.pub -s text -n "
                "$(od -An -tx1 -v p.name | tr -d ' \\n') -o blob && tpm2_flushcontext -t && "
                "tpm2_loadexternal -C n -u p.pub -c public.ctx && "
                "tpm2_flushcontext -t"));
#define ACTIVATE(object)                                                                           \
        "tpm2_startauthsession --policy-session -S s.ctx && tpm2_policysecret -S s.ctx -c e && "   \
        "tpm2_activatecredential -c " object " -C ek.ctx -i blob -o got -P session:s.ctx; r=$?; "  \
        "tpm2_flushcontext -t; tpm2_flushcontext -l; exit $r"
        assert_true(swtpm_run(m->tpm, ACTIVATE("p.ctx")));
        assert_false(swtpm_run(m->tpm, ACTIVATE("public.ctx 2>error")));
        assert_true(swtpm_run(m->tpm, "grep -q 'is not available for selected entity' error"));
#undef ACTIVATE
}

static void test_no_certificate(void **state) {
        struct maker *m = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct ek_certificate cert;
        struct error err = { 0 };

        assert_true(swtpm_restart(m->tpm, true));
        t = open_tpm(m);
        for (unsigned kind = 0; kind < EK_KINDS; kind++)
                assert_int_equal(tpm_ek_read(t, kind, &cert, &err), 0);
        /* An index that nobody wrote to. */
        t = tpm_close(t);
        assert_true(swtpm_run(m->tpm, "tpm2_nvdefine -C o -s 900 0x01c00002"));
        t = open_tpm(m);
        assert_int_equal(tpm_ek_read(t, RSA2048, &cert, &err), 0);
}

static void test_garbage_in_place_of_a_certificate(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_ours(m);
        struct chain_ek ek;

        assert_true(swtpm_run(m->tpm, "head -c 2048 /dev/urandom >noise && "
                                      "tpm2_nvundefine -C p 0x01c00002 && "
                                      "tpm2_nvdefine -C o -s 2048 0x01c00002 && "
                                      "tpm2_nvwrite -C o -i noise 0x01c00002"));
        assert_int_equal(check(m, c, RSA2048, &ek), CHAIN_DAMAGED);
        assert_true(swtpm_run(m->tpm, "printf '\\060\\202\\377\\377' >head && "
                                      "tpm2_nvwrite -C o -i head 0x01c00002"));
        assert_int_equal(check(m, c, RSA2048, &ek), CHAIN_DAMAGED);
}

static void test_an_endorsement_hierarchy_with_a_password(void **state) {
        struct maker *m = *state;
        _cleanup_(chain_freep) struct chain *c = trust_swtpm();
        struct tpm_bytes srk = storage_key(m);
        char why[EK_TEXT];
        struct chain_ek ek;

        assert_true(swtpm_run(m->tpm, "tpm2_changeauth -c e secret"));
        assert_int_equal(check(m, c, RSA2048, &ek), CHAIN_GOOD);
        assert_int_equal(prove(m, RSA2048, &ek, &srk, why), EK_MISMATCH);
        assert_non_null(strstr(why, "password"));
        assert_true(swtpm_run(m->tpm, "tpm2_changeauth -c e -p secret"));
        assert_int_equal(prove(m, RSA2048, &ek, &srk, why), EK_PROVEN);
}

static void test_what_the_tpm_says_of_itself(void **state) {
        struct maker *m = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_info info;
        struct error err = { 0 };

        assert_true(swtpm_run(m->tpm, "tpm2_changeauth -c o mine && tpm2_changeauth -c l locks && "
                                      "tpm2_dictionarylockout -p locks -s -n 7 -t 20 -l 30 && "
                                      "tpm2_nvdefine -C p -s 8 0x01400001 -a "
                                      "'ppwrite|ppread|platformcreate|authread'"));
        t = open_tpm(m);
        assert_int_equal(tpm_info(t, &info, &err), 0);
        assert_int_equal(info.ek_certificates, 1u << RSA2048 | 1u << P384);
        assert_true(info.owner_auth && info.lockout_auth && !info.endorsement_auth);
        assert_true(info.owner_enabled && info.endorsement_enabled && info.hcl_report);
        assert_int_equal(info.guessing.max_tries, 7);
        assert_int_equal(info.guessing.interval, 20);
        assert_int_equal(info.guessing.recovery, 30);
        assert_int_equal(info.guessing.counter, 0);
        assert_true(info.banks & (1u << TPM_BANK_SHA256));
        t = tpm_close(t);

        assert_true(swtpm_restart(m->tpm, true));
        assert_true(swtpm_run(m->tpm, "tpm2_hierarchycontrol -C o shEnable clear && "
                                      "tpm2_hierarchycontrol -C e ehEnable clear"));
        t = open_tpm(m);
        assert_int_equal(tpm_info(t, &info, &err), 0);
        assert_int_equal(info.ek_certificates, 0);
        assert_false(info.owner_auth || info.lockout_auth || info.hcl_report);
        assert_false(info.owner_enabled || info.endorsement_enabled);
}

#define WITH_MAKER(f) cmocka_unit_test_setup_teardown(f, maker_start, maker_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_MAKER(test_certificates_of_swtpm),
                WITH_MAKER(test_each_storage_key),
                WITH_MAKER(test_low_range),
                WITH_MAKER(test_high_range),
                WITH_MAKER(test_another_authority),
                WITH_MAKER(test_the_certificate_of_another_tpm),
                WITH_MAKER(test_the_storage_key_of_another_tpm),
                WITH_MAKER(test_a_public_part_alone_answers_nothing),
                WITH_MAKER(test_no_certificate),
                WITH_MAKER(test_garbage_in_place_of_a_certificate),
                WITH_MAKER(test_an_endorsement_hierarchy_with_a_password),
                WITH_MAKER(test_what_the_tpm_says_of_itself),
        };

        if (system("command -v swtpm_setup swtpm_localca certtool >/dev/null") != 0) {
                puts("SKIP: swtpm_setup, swtpm_localca or certtool isn't installed");
                return 77;
        }
        return cmocka_run_group_tests(tests, factory_open, factory_close);
}
