/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/chain.h"
#include "base/credential.h"
#include "tests/ca.h"

/* A root, an authority below it, and what is trusted of them. */
struct world {
        char dir[32];
        struct ca root, sub;
        EVP_PKEY *rsa, *ec;
        struct chain *trusted;
};

static void path_of(const struct world *w, const char *name, char ret[64]) {
        (void) snprintf(ret, 64, "%s/%s", w->dir, name);
}

static struct chain *read_good(const char *path) {
        struct chain *c = NULL;
        struct error err = { 0 };

        if (chain_read(path, &c, &err) < 0)
                fail_msg("%s", err.text);
        return c;
}

static int world_new(void **state) {
        struct world *w = calloc(1, sizeof(*w));
        struct ca_how root = ca_how_authority("root"), sub = ca_how_authority("sub");
        char path[64];

        (void) strcpy(w->dir, "/tmp/chain-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        w->root = ca_new(NULL, &root);
        w->sub = ca_new(&w->root, &sub);
        w->rsa = ca_key_new(NULL, 2048);
        w->ec = ca_key_new("P-256", 0);
        path_of(w, "root.pem", path);
        ca_append(w->root.cert, path);
        path_of(w, "sub.crt", path);
        ca_append(w->sub.cert, path);
        w->trusted = read_good(w->dir);
        *state = w;
        return 0;
}

static int world_done(void **state) {
        struct world *w = *state;
        char command[64];

        (void) snprintf(command, sizeof(command), "rm -rf %s", w->dir);
        assert_int_equal(system(command), 0);
        chain_free(w->trusted);
        EVP_PKEY_free(w->rsa);
        EVP_PKEY_free(w->ec);
        ca_done(&w->sub);
        ca_done(&w->root);
        free(w);
        return 0;
}

/* Checks one, and takes what it says. */
static void expect_der(const struct chain *c, const uint8_t *der, size_t size, int verdict) {
        struct chain_ek ek, before;
        char why[CHAIN_TEXT] = "";
        struct error err = { 0 };
        int r;

        memset(&ek, 0xa5, sizeof(ek));
        before = ek;
        r = chain_check(c, der, size, &ek, why, &err);
        if (r != verdict)
                fail_msg("verdict %d, not %d: %s %s", r, verdict, why, err.text);
        assert_int_equal(why[0] != '\0', verdict != CHAIN_GOOD);
        if (verdict != CHAIN_GOOD)
                assert_memory_equal(&ek, &before, sizeof(ek)); /* untouched */
}

static void expect(const struct chain *c, const struct ca *issuer, EVP_PKEY *key,
                   const struct ca_how *how, int verdict) {
        _cleanup_(ca_x509_freep) X509 *x = ca_sign(issuer, key, how);
        uint8_t der[8192];

        expect_der(c, der, ca_der(x, der, sizeof(der)), verdict);
}

static void test_an_endorsement_key_below_a_trusted_root(void **state) {
        const struct world *w = *state;

        for (unsigned ec = 0; ec < 2; ec++) {
                struct ca_how how = ca_how_ek(ec);
                _cleanup_(ca_x509_freep) X509 *x = ca_sign(&w->sub, ec ? w->ec : w->rsa, &how);
                struct credential_key key = { 0 };
                struct chain_ek ek = { 0 };
                char why[CHAIN_TEXT];
                struct error err = { 0 };
                uint8_t der[4096];
                size_t size = ca_der(x, der, sizeof(der));

                assert_int_equal(chain_check(w->trusted, der, size, &ek, why, &err), CHAIN_GOOD);
                assert_string_equal(ek.maker, "IBM, swtpm");
                assert_int_equal(credential_key_read(ek.key, ek.key_size, &key, &err), 0);
                assert_int_equal(key.ec, ec);
                assert_int_equal(key.size, ec ? 32 : 256);
        }
}

static void test_says_no_maker_where_the_certificate_has_none(void **state) {
        const struct world *w = *state;
        struct ca_how how = ca_how_ek(false);

        how.san = NULL;
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_GOOD);
        how.san = "DNS:example.org";
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_GOOD);
}

static void test_authorities_that_nobody_trusts(void **state) {
        const struct world *w = *state;
        struct ca_how same = ca_how_authority("root"), ek = ca_how_ek(false);
        struct ca_how leaf_how = ca_how_ek(true);
        struct ca other = ca_new(NULL, &same), leaf;
        char path[64], command[160];
        struct chain *only;

        expect(w->trusted, &other, w->rsa, &ek, CHAIN_UNTRUSTED); /* same name, another key */

        /* Without what stands between. */
        path_of(w, "root.pem", path);
        only = read_good(path);
        expect(only, &w->root, w->rsa, &ek, CHAIN_GOOD);
        expect(only, &w->sub, w->rsa, &ek, CHAIN_UNTRUSTED);
        chain_free(only);

        /* One that an endorsement key signed. */
        leaf = ca_new(&w->root, &leaf_how);
        (void) snprintf(command, sizeof(command), "mkdir %s/more && cp %s/root.pem %s/more", w->dir,
                        w->dir, w->dir);
        assert_int_equal(system(command), 0);
        path_of(w, "more/leaf.pem", path);
        ca_append(leaf.cert, path);
        path_of(w, "more", path);
        only = read_good(path);
        expect(only, &leaf, w->rsa, &ek, CHAIN_UNTRUSTED);
        chain_free(only);
        ca_done(&leaf);
        ca_done(&other);
}

static void test_weak_or_unknown(void **state) {
        const struct world *w = *state;
        struct ca_how how = ca_how_ek(false);

        how.sha1 = true;
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_UNTRUSTED);
        how = ca_how_ek(false);
        how.stranger = true;
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_UNTRUSTED);
}

static void test_time(void **state) {
        const struct world *w = *state;
        struct ca_how how = ca_how_ek(false), old = ca_how_authority("old");
        struct ca past;
        char path[64];
        struct chain *c;

        how.until = 0; /* the second that is over */
        how.from = -2;
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_EXPIRED);
        how.from = 1;
        how.until = 2;
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_EXPIRED);

        old.until = -1;
        past = ca_new(NULL, &old);
        path_of(w, "past.txt", path);
        ca_append(past.cert, path);
        c = read_good(path);
        how = ca_how_ek(false);
        expect(c, &past, w->rsa, &how, CHAIN_EXPIRED);
        chain_free(c);
        ca_done(&past);
}

static void test_certificates_of_other_keys(void **state) {
        const struct world *w = *state;
        const struct ca_how good = ca_how_ek(false);
        struct ca_how how = good;

        how.extended = NULL;
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_NOT_AN_EK);
        how.extended = "serverAuth,2.23.133.8.3";
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_NOT_AN_EK);
        how.extended = "serverAuth,2.23.133.8.1";
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_GOOD);
        how = good;
        how.usage = NULL;
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_NOT_AN_EK);
        how.usage = "digitalSignature";
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_NOT_AN_EK);
        how.usage = "keyAgreement";
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_NOT_AN_EK);
        expect(w->trusted, &w->root, w->ec, &how, CHAIN_GOOD);
        how = good;
        expect(w->trusted, &w->root, w->ec, &how, CHAIN_NOT_AN_EK);
        how.basic = "CA:TRUE";
        expect(w->trusted, &w->root, w->rsa, &how, CHAIN_NOT_AN_EK);
        how = good;
        expect(w->trusted, NULL, w->rsa, &how, CHAIN_NOT_AN_EK); /* signs itself */
}

static void test_kinds_of_keys(void **state) {
        static const struct {
                const char *curve;
                unsigned bits;
                int verdict;
        } keys[] = { { "P-384", 0, CHAIN_GOOD },
                     { "P-521", 0, CHAIN_NOT_AN_EK },
                     { "secp256k1", 0, CHAIN_NOT_AN_EK },
                     { NULL, 1024, CHAIN_NOT_AN_EK },
                     { NULL, 2056, CHAIN_NOT_AN_EK } };
        const struct world *w = *state;

        for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
                _cleanup_(ca_key_freep) EVP_PKEY *key = ca_key_new(keys[i].curve, keys[i].bits);
                struct ca_how how = ca_how_ek(keys[i].curve);

                expect(w->trusted, &w->root, key, &how, keys[i].verdict);
        }
}

static void test_damage(void **state) {
        const struct world *w = *state;
        struct ca_how how = ca_how_ek(true);
        _cleanup_(ca_x509_freep) X509 *x = ca_sign(&w->sub, w->ec, &how);
        uint8_t der[CHAIN_DER_MAX + 2] = { 0 };
        size_t size = ca_der(x, der, sizeof(der));

        expect_der(w->trusted, der, size, CHAIN_GOOD);
        expect_der(w->trusted, der, size + 1, CHAIN_DAMAGED); /* something behind it */
        expect_der(w->trusted, der, CHAIN_DER_MAX + 1, CHAIN_DAMAGED);
        for (size_t n = 0; n < size; n++)
                expect_der(w->trusted, der, n, CHAIN_DAMAGED);
        for (size_t bit = 0; bit < size * 8; bit += 3) {
                struct chain_ek ek;
                char why[CHAIN_TEXT];
                struct error err = { 0 };
                int r;

                der[bit / 8] ^= (uint8_t) (1u << bit % 8);
                r = chain_check(w->trusted, der, size, &ek, why, &err);
                if (r <= CHAIN_GOOD)
                        fail_msg("bit %zu: %d %s", bit, r, err.text);
                for (const char *c = why; *c; c++)
                        assert_in_range(*c, ' ', '~');
                der[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
}

static void refuse_read(const struct world *w, const char *name, const char *command, int errnum,
                        const char *words) {
        struct chain *c = NULL;
        struct error err = { 0 };
        char path[64], line[256];

        (void) snprintf(line, sizeof(line), "cd %s && %s", w->dir, command);
        assert_int_equal(system(line), 0);
        path_of(w, name, path);
        assert_int_equal(chain_read(path, &c, &err), errnum);
        assert_null(c);
        if (!strstr(err.text, words))
                fail_msg("'%s' isn't in '%s'", words, err.text);
}

static void test_trust_that_cannot_be_read(void **state) {
        const struct world *w = *state;

        refuse_read(w, "none", "true", -ENOENT, "none");
        refuse_read(w, "empty", "mkdir empty", -EBADMSG, "no root");
        refuse_read(w, "hidden", "mkdir hidden && cp root.pem hidden/.x.pem", -EBADMSG, "no root");
        refuse_read(w, "sub.crt", "true", -EBADMSG, "no root");
        refuse_read(w, "words", "echo words >words", -EBADMSG, "no certificate");
        refuse_read(w, "cut", "head -c 300 root.pem >cut", -EBADMSG, "damaged");
        refuse_read(w, "two", "mkdir two && cp root.pem two && echo words >two/x.pem", -EBADMSG,
                    "two/x.pem");
}

static void test_credentials_that_nobody_can_use(void **state) {
        const struct world *w = *state;
        static const uint8_t name[CREDENTIAL_NAME_MAX + 1] = { 0, 11 }, text[33] = { 1 };
        struct credential_request q = {
                .name = name, .name_size = 34, .challenge = text, .challenge_size = 32
        };
        struct credential made = { 0 };
        struct error err = { 0 };
        unsigned char *spki = NULL;
        int n = i2d_PUBKEY(w->rsa, &spki);

        q.spki = spki;
        q.spki_size = (size_t) n;
        assert_int_equal(credential_make(&q, &made, &err), 0);
        assert_int_equal(made.blob_size, 2 + 32 + 2 + 32);
        assert_int_equal(made.secret_size, 256);
        q.challenge_size = 33;
        assert_int_equal(credential_make(&q, &made, &err), -EINVAL);
        q.challenge_size = 32;
        q.name_size = sizeof(name);
        assert_int_equal(credential_make(&q, &made, &err), -EINVAL);
        q.name_size = 34;
        q.spki_size--;
        assert_int_equal(credential_make(&q, &made, &err), -EBADMSG);
        OPENSSL_free(spki);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_an_endorsement_key_below_a_trusted_root),
                cmocka_unit_test(test_says_no_maker_where_the_certificate_has_none),
                cmocka_unit_test(test_authorities_that_nobody_trusts),
                cmocka_unit_test(test_weak_or_unknown),
                cmocka_unit_test(test_time),
                cmocka_unit_test(test_certificates_of_other_keys),
                cmocka_unit_test(test_kinds_of_keys),
                cmocka_unit_test(test_damage),
                cmocka_unit_test(test_trust_that_cannot_be_read),
                cmocka_unit_test(test_credentials_that_nobody_can_use),
        };

        return cmocka_run_group_tests(tests, world_new, world_done);
}
