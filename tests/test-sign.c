/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/public.h"
#include "base/sign.h"
#include "tests/test.h"

/* Keys that sign policies, and what they sign. The keys are openssl's and SoftHSM's own; so is the
 * second opinion on each signature. */

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"

static char dir[] = "/tmp/diskseal-sign-XXXXXX";

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *where) {
        (void) s;
        (void) kind;
        (void) where;
        return remove(path);
}

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...) {
        char command[4096];
        va_list args;
        int n;

        n = snprintf(command, sizeof(command), "cd %s && exec >log 2>&1; ", dir);
        va_start(args, fmt);
        (void) vsnprintf(command + n, sizeof(command) - (size_t) n, fmt, args);
        va_end(args);
        return system(command);
}

static const char *in_dir(const char *name) {
        static char path[4][128];
        static unsigned next;
        char *p = path[next++ % 4];

        (void) snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
        return p;
}

static const char *const kinds[] = { "rsa2048", "rsa3072", "rsa4096", "p256", "p384" };

static int set_up(void **state) {
        (void) state;
        if (!mkdtemp(dir))
                return -1;
        if (run("set -e; for n in 2048 3072 4096; do openssl genpkey -algorithm RSA -pkeyopt "
                "rsa_keygen_bits:$n -out rsa$n.pem; done; "
                "for n in 256 384 521; do openssl genpkey -algorithm EC -pkeyopt "
                "ec_paramgen_curve:P-$n -out p$n.pem; done; "
                "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.pem; "
                "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa1024.pem; "
                "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt "
                "rsa_keygen_pubexp:3 -out e3.pem; "
                "openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out pss.pem; "
                "openssl genpkey -algorithm ED25519 -out ed25519.pem; "
                "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt "
                "ec_param_enc:explicit -out explicit.pem; "
                "for k in *.pem; do openssl pkey -in $k -pubout -out ${k%%.pem}.pub; done; "
                "openssl ec -in p256.pem -pubout -conv_form compressed -out compressed.pub; "
                "openssl pkey -in p256.pem -aes256 -passout pass:open -out locked.pem; "
                "openssl pkey -in p256.pem -aes256 -passout pass:open -traditional -out old.pem") !=
            0)
                return -1;
        return 0;
}

static int tear_down(void **state) {
        (void) state;
        return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static size_t read_whole(const char *path, char *buf, size_t max) {
        FILE *f = fopen(path, "r");
        size_t n;

        assert_non_null(f);
        n = fread(buf, 1, max, f);
        assert_int_equal(fclose(f), 0);
        return n;
}

static void write_whole(const char *name, const void *data, size_t size) {
        FILE *f = fopen(in_dir(name), "w");

        assert_non_null(f);
        assert_int_equal(fwrite(data, 1, size, f), size);
        assert_int_equal(fclose(f), 0);
}

static int read_public(const char *name, uint8_t der[STEP_KEY_MAX], size_t *size) {
        struct error err = { 0 };
        char pem[PUBLIC_PEM_MAX];
        size_t n = read_whole(in_dir(name), pem, sizeof(pem));
        int r = public_from_pem(pem, n, der, size, &err);

        assert_true(r == 0 || (err.errnum == r && err.text[0]));
        return r;
}

static int verify(const uint8_t *der, size_t n, const void *data, size_t size, const uint8_t *sig,
                  size_t sig_size) {
        struct error err = { 0 };
        struct public_signed what = { data, size, sig, sig_size };

        return public_verify(der, n, &what, &err);
}

/* --- public keys --- */

static void the_kinds_of_public_keys_that_sign_are_read(void **state) {
        static const unsigned bits[] = { 2048, 3072, 4096, 256, 384 };
        uint8_t der[STEP_KEY_MAX], again[STEP_KEY_MAX];
        struct public_parts parts;
        struct error err = { 0 };
        char name[32];
        size_t n, m;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                (void) snprintf(name, sizeof(name), "%s.pub", kinds[i]);
                assert_int_equal(read_public(name, der, &n), 0);
                assert_int_equal(public_parse(der, n, &parts, &err), 0);
                assert_int_equal(parts.bits, bits[i]);
                assert_int_equal(parts.size, bits[i] / 8);
                assert_int_equal(parts.kind, i < 3 ? PUBLIC_RSA : PUBLIC_EC);
                assert_int_equal(parts.exponent, i < 3 ? 65537 : 0);
                assert_int_equal(public_from_parts(&parts, again, &m, &err), 0);
                assert_int_equal(m, n);
                assert_memory_equal(again, der, n);
        }
}

static void other_public_keys_are_refused(void **state) {
        static const char *const others[] = { "rsa1024.pub", "e3.pub",   "pss.pub",
                                              "ed25519.pub", "p521.pub", "explicit.pub" };
        uint8_t der[STEP_KEY_MAX];
        struct error err = { 0 };
        char pem[PUBLIC_PEM_MAX + 1];
        size_t n = 77;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
                assert_int_equal(read_public(others[i], der, &n), -EOPNOTSUPP);
        assert_int_equal(read_public("compressed.pub", der, &n), -EBADMSG);
        assert_int_equal(read_public("p256.pem", der, &n), -EBADMSG);
        assert_int_equal(run("openssl req -x509 -key p256.pem -subj /CN=x -out cert.pub"), 0);
        assert_int_equal(read_public("cert.pub", der, &n), -EBADMSG);
        assert_int_equal(run("cat p256.pub rsa2048.pub >two.pub"), 0);
        assert_int_equal(read_public("two.pub", der, &n), -EBADMSG);
        memset(pem, '\n', sizeof(pem));
        (void) read_whole(in_dir("p256.pub"), pem, sizeof(pem));
        assert_int_equal(public_from_pem(pem, sizeof(pem), der, &n, &err), -EBADMSG);
        assert_int_equal(public_from_pem(pem, 0, der, &n, &err), -EBADMSG);
        assert_int_equal(n, 77);
        assert_int_equal(public_from_pem(pem, PUBLIC_PEM_MAX, der, &n, &err), 0);
}

static void a_damaged_public_key_is_refused(void **state) {
        uint8_t der[STEP_KEY_MAX];
        struct public_parts parts;
        struct error err = { 0 };
        size_t n;

        (void) state;
        assert_int_equal(read_public("p256.pub", der, &n), 0);
        for (size_t i = 0; i < n; i++) {
                assert_true(public_parse(der, i, &parts, &err) < 0);
                der[i] ^= 1; /* the point leaves its curve, too */
                assert_true(public_parse(der, n, &parts, &err) < 0);
                der[i] ^= 1;
        }
        der[n] = 0;
        assert_int_equal(public_parse(der, n + 1, &parts, &err), -EBADMSG);
        assert_int_equal(public_parse(der, 0, &parts, &err), -EBADMSG);
        assert_int_equal(public_parse(der, n, &parts, &err), 0);
}

static void the_fingerprint_is_that_of_systemd(void **state) {
        uint8_t der[STEP_KEY_MAX], fp[SHA256_SIZE];
        char name[32], hex[2 * SHA256_SIZE + 1], theirs[2 * SHA256_SIZE + 1];
        struct error err = { 0 };
        size_t n;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                (void) snprintf(name, sizeof(name), "%s.pub", kinds[i]);
                assert_int_equal(read_public(name, der, &n), 0);
                assert_int_equal(public_fingerprint(der, n, fp, &err), 0);
                hex_encode(fp, sizeof(fp), hex);
                if (i < 3)
                        assert_int_equal(run("openssl rsa -pubin -in %s -RSAPublicKey_out -outform "
                                             "DER | sha256sum >sum",
                                             name),
                                         0);
                else
                        assert_int_equal(run("openssl pkey -pubin -in %s -outform DER | tail -c %d "
                                             "| sha256sum >sum",
                                             name, i == 3 ? 65 : 97),
                                         0);
                assert_int_equal(read_whole(in_dir("sum"), theirs, sizeof(theirs)), sizeof(theirs));
                theirs[sizeof(theirs) - 1] = '\0';
                assert_string_equal(hex, theirs);
        }
}

/* --- signatures --- */

/* Signs, and holds it against openssl and its own opposites. */
static void check_signer(struct signer *s, const char *public) {
        static const char data[] = "what is signed";
        uint8_t sig[SIGNATURE_MAX], der[STEP_KEY_MAX], other[STEP_KEY_MAX];
        size_t n, m, other_size;
        struct error err = { 0 };
        const uint8_t *own;

        assert_int_equal(signer_sign(s, data, sizeof(data), sig, &n, &err), 0);
        assert_int_equal(read_public(public, der, &m), 0);
        own = signer_public(s, &other_size);
        assert_int_equal(other_size, m);
        assert_memory_equal(own, der, m);
        write_whole("data", data, sizeof(data));
        write_whole("sig", sig, n);
        assert_int_equal(run("openssl dgst -sha256 -verify %s -signature sig data", public), 0);

        assert_int_equal(verify(der, m, data, sizeof(data), sig, n), CRYPTO_GOOD);
        assert_int_equal(verify(der, m, data, sizeof(data) - 1, sig, n), CRYPTO_FORGED);
        assert_int_equal(verify(der, m, data, sizeof(data), sig, n - 1), CRYPTO_FORGED);
        assert_int_equal(verify(der, m, data, sizeof(data), sig, 0), CRYPTO_FORGED);
        for (size_t i = 0; i < n; i += 7) {
                sig[i] ^= 0x10;
                assert_int_equal(verify(der, m, data, sizeof(data), sig, n), CRYPTO_FORGED);
                sig[i] ^= 0x10;
        }
        assert_int_equal(read_public("other.pub", other, &other_size), 0);
        assert_int_equal(verify(other, other_size, data, sizeof(data), sig, n), CRYPTO_FORGED);
}

static void keys_in_files_sign(void **state) {
        char name[32], public[32];
        struct error err = { 0 };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                _cleanup_(signer_freep) struct signer *s = NULL;

                (void) snprintf(name, sizeof(name), "%s.pem", kinds[i]);
                (void) snprintf(public, sizeof(public), "%s.pub", kinds[i]);
                assert_int_equal(signer_open(in_dir(name), NULL, &s, &err), 0);
                check_signer(s, public);
        }
}

static void other_private_keys_are_refused(void **state) {
        static const char *const others[] = { "rsa1024.pem", "e3.pem",   "pss.pem",
                                              "ed25519.pem", "p521.pem", "explicit.pem" };
        struct signer *s = NULL;
        struct error err = { 0 };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                assert_int_equal(signer_open(in_dir(others[i]), NULL, &s, &err), -EOPNOTSUPP);
                assert_null(s);
        }
        assert_int_equal(signer_open(in_dir("p256.pub"), NULL, &s, &err), -EBADMSG);
        assert_int_equal(signer_open(in_dir("nowhere"), NULL, &s, &err), -ENOENT);
        assert_null(s);
}

/* --- passphrases and PINs --- */

struct answer {
        const char *text, *what;
        unsigned asked;
};

static int give(void *context, const char *what, struct secret **ret, struct error *err) {
        struct answer *a = context;

        a->asked++;
        assert_non_null(strstr(what, a->what));
        if (!a->text)
                return error_set(err, -ECANCELED, "nobody is there");
        assert_int_equal(secret_new(strlen(a->text), ret), 0);
        memcpy(secret_data(*ret), a->text, strlen(a->text));
        return 0;
}

static void an_encrypted_key_is_opened_by_its_passphrase_alone(void **state) {
        static const char *const names[] = { "locked.pem", "old.pem" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(signer_freep) struct signer *s = NULL;
                struct answer a = { .text = "wrong", .what = names[i] };
                struct signer_ask ask = { give, &a };
                struct signer *no = NULL;
                struct error err = { 0 };

                assert_int_equal(signer_open(in_dir(names[i]), NULL, &no, &err), -EBADMSG);
                assert_non_null(strstr(err.text, "passphrase"));
                assert_int_equal(signer_open(in_dir(names[i]), &ask, &no, &err), -EBADMSG);
                a.text = NULL;
                assert_int_equal(signer_open(in_dir(names[i]), &ask, &no, &err), -ECANCELED);
                a.text = "open";
                assert_int_equal(a.asked, 2);
                assert_int_equal(signer_open(in_dir(names[i]), &ask, &s, &err), 0);
                assert_int_equal(a.asked, 3);
                check_signer(s, "p256.pub");
        }
}

/* --- tokens --- */

static int set_up_token(void **state) {
        (void) state;
        if (access(MODULE, R_OK) < 0)
                return 0;
        (void) setenv("SOFTHSM2_CONF", in_dir("softhsm.conf"), 1);
        return run("set -e; mkdir tokens; echo directories.tokendir = $PWD/tokens >softhsm.conf; "
                   "softhsm2-util --init-token --free --label Policy --so-pin 0000 --pin 1234; "
                   "softhsm2-util --init-token --free --label Policy2 --so-pin 0000 --pin 1234; "
                   "i=0; for k in rsa2048 rsa4096 p256 p384; do i=$((i + 1)); softhsm2-util "
                   "--import $k.pem --token Policy --label $k --id 0$i --pin 1234; done; "
                   "softhsm2-util --import rsa1024.pem --token Policy --label small --id 09 --pin "
                   "1234; "
                   "t='pkcs11-tool --module " MODULE
                   " --token-label Policy2 --login --pin 1234 --id 0a'; "
                   "softhsm2-util --import p256.pem --token Policy2 --label mixed --id 0a --pin "
                   "1234; "
                   "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out x.pem; "
                   "openssl pkey -in x.pem -pubout -outform DER -out x.der; "
                   "$t --delete-object --type pubkey; $t --write-object x.der --type pubkey; "
                   "printf '1234\\n' >pin; printf 4321 >wrong") == 0
                       ? 0
                       : -1;
}

static int open_token(const char *rest, const struct signer_ask *ask, struct signer **ret,
                      struct error *err) {
        char uri[512];

        if (access(MODULE, R_OK) < 0)
                skip();
        (void) snprintf(uri, sizeof(uri), "pkcs11:%s", rest);
        return signer_open(uri, ask, ret, err);
}

static void keys_in_a_token_sign(void **state) {
        static const char *const names[] = { "rsa2048", "rsa4096", "p256", "p384" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(signer_freep) struct signer *s = NULL;
                struct error err = { 0 };
                char rest[256], public[32];

                (void) snprintf(rest, sizeof(rest),
                                "token=Policy;object=%s?module-path=" MODULE "&pin-source=%s",
                                names[i], in_dir("pin"));
                (void) snprintf(public, sizeof(public), "%s.pub", names[i]);
                assert_int_equal(open_token(rest, NULL, &s, &err), 0);
                check_signer(s, public);
        }
}

static void the_modules_of_p11_kit_are_found_and_the_pin_asked_for(void **state) {
        _cleanup_(signer_freep) struct signer *s = NULL;
        struct answer a = { .text = "1234", .what = "the token Policy" };
        struct signer_ask ask = { give, &a };
        struct error err = { 0 };

        (void) state;
        assert_int_equal(open_token("token=Policy;id=%03;type=private", &ask, &s, &err), 0);
        assert_int_equal(a.asked, 1);
        check_signer(s, "p256.pub");
}

static void a_pin_is_wanted_and_tried_once(void **state) {
        struct answer a = { .text = "4321", .what = "the token Policy" };
        struct signer_ask ask = { give, &a };
        struct signer *s = NULL;
        struct error err = { 0 };
        char rest[256];

        (void) state;
        assert_int_equal(open_token("token=Policy;object=p256", NULL, &s, &err), -EKEYREJECTED);
        assert_int_equal(open_token("token=Policy;object=p256", &ask, &s, &err), -EKEYREJECTED);
        assert_int_equal(a.asked, 1);
        a.text = NULL;
        assert_int_equal(open_token("token=Policy;object=p256", &ask, &s, &err), -ECANCELED);
        (void) snprintf(rest, sizeof(rest), "token=Policy;object=p256?pin-source=file:%s",
                        in_dir("wrong"));
        assert_int_equal(open_token(rest, &ask, &s, &err), -EKEYREJECTED);
        assert_int_equal(open_token("token=Policy;object=p256?pin-value=4321", &ask, &s, &err),
                         -EKEYREJECTED);
        assert_int_equal(open_token("token=Policy;object=p256?pin-source=pin", &ask, &s, &err),
                         -EBADMSG);
        assert_int_equal(a.asked, 2);
        assert_null(s);
        assert_int_equal(open_token("token=Policy;object=p256?pin-value=1234", &ask, &s, &err), 0);
        s = signer_free(s);
}

/* As a token does whose computer was disturbed: its signature isn't one of the public key. */
static void a_faulty_signature_never_comes_out(void **state) {
        _cleanup_(signer_freep) struct signer *s = NULL;
        uint8_t sig[SIGNATURE_MAX];
        struct error err = { 0 };
        size_t n = 77;

        (void) state;
        assert_int_equal(open_token("token=Policy2;object=mixed?pin-value=1234", NULL, &s, &err),
                         0);
        assert_int_equal(signer_sign(s, "x", 1, sig, &n, &err), -EIO);
        assert_non_null(strstr(err.text, "isn't one of its own"));
        assert_int_equal(n, 77);
}

static void one_key_of_one_token_must_fit(void **state) {
        static const struct {
                const char *uri, *says;
                int r;
        } cases[] = {
                { "token=Other;object=p256", "no PKCS #11 token", -EBADMSG },
                { "object=p256", "several PKCS #11 tokens", -EBADMSG },
                { "token=Policy;object=none", "no private key", -EBADMSG },
                { "token=Policy2;object=p256", "no private key", -EBADMSG },
                { "token=Policy", "several private keys", -EBADMSG },
                { "token=Policy;object=p256;type=public", "something else", -EBADMSG },
                { "token=Policy;object=p256;colour=red", "isn't known", -EBADMSG },
                { "token=Policy;object=%zz", "not a PKCS #11 URI", -EBADMSG },
                { "token=Policy;object=small", "RSA of 2048", -EOPNOTSUPP },
        };
        char rest[256];

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct signer *s = NULL;
                struct error err = { 0 };

                (void) snprintf(rest, sizeof(rest), "%s?pin-value=1234", cases[i].uri);
                assert_int_equal(open_token(rest, NULL, &s, &err), cases[i].r);
                if (!strstr(err.text, cases[i].says))
                        fail_msg("%s: %s", cases[i].uri, err.text);
                assert_null(s);
        }
        {
                struct signer *s = NULL;
                struct error err = { 0 };

                assert_int_equal(open_token("object=p256?module-path=/nowhere.so", NULL, &s, &err),
                                 -EBADMSG);
                assert_int_equal(open_token("object=p256?module-name=none", NULL, &s, &err),
                                 -EBADMSG);
        }
}

/* --- the numbers of an ECDSA signature --- */

static void the_parts_of_a_signature_are_taken_and_joined(void **state) {
        uint8_t r[48], s[48], r2[48], s2[48], der[SIGNATURE_MAX];
        struct error err = { 0 };
        size_t n;

        (void) state;
        memset(r, 0xff, sizeof(r)); /* needs a zero byte in DER */
        memset(s, 0, sizeof(s));    /* loses 47 there */
        s[47] = 1;
        assert_int_equal(public_signature_join(r, s, 48, der, &n, &err), 0);
        assert_int_equal(n, 2 + 2 + 49 + 3);
        assert_int_equal(public_signature_parts(der, n, 48, r2, s2, &err), 0);
        assert_memory_equal(r, r2, 48);
        assert_memory_equal(s, s2, 48);
        assert_int_equal(public_signature_parts(der, n, 47, r2, s2, &err), -EBADMSG);
        assert_int_equal(public_signature_parts(der, n - 1, 48, r2, s2, &err), -EBADMSG);
        assert_int_equal(public_signature_parts(der, n, 0, r2, s2, &err), -EINVAL);
        assert_int_equal(public_signature_parts(der, n, 67, r2, s2, &err), -EINVAL);
        der[n] = 0;
        assert_int_equal(public_signature_parts(der, n + 1, 48, r2, s2, &err), -EBADMSG);
        s[47] = 0;
        assert_int_equal(public_signature_join(r, s, 48, der, &n, &err), 0);
        assert_int_equal(public_signature_parts(der, n, 48, r2, s2, &err), -EBADMSG);
        assert_int_equal(public_signature_join(r, s, 67, der, &n, &err), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_kinds_of_public_keys_that_sign_are_read),
                cmocka_unit_test(other_public_keys_are_refused),
                cmocka_unit_test(a_damaged_public_key_is_refused),
                cmocka_unit_test(the_fingerprint_is_that_of_systemd),
                cmocka_unit_test(keys_in_files_sign),
                cmocka_unit_test(other_private_keys_are_refused),
                cmocka_unit_test(an_encrypted_key_is_opened_by_its_passphrase_alone),
                cmocka_unit_test_setup(keys_in_a_token_sign, set_up_token),
                cmocka_unit_test(the_modules_of_p11_kit_are_found_and_the_pin_asked_for),
                cmocka_unit_test(a_pin_is_wanted_and_tried_once),
                cmocka_unit_test(a_faulty_signature_never_comes_out),
                cmocka_unit_test(one_key_of_one_token_must_fit),
                cmocka_unit_test(the_parts_of_a_signature_are_taken_and_joined),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
