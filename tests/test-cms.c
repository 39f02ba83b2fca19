/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "base/cms-shape.h"
#include "base/cms.h"
#include "tests/certs/certs.h"

#define TEXT "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRST"
/* Where the shortest form of a length changes. */
#define LONGEST 256
/* What ends the DER of TEXT: the IV, the head of the content, four blocks of it. */
#define CONTENT 64
#define IV_AT(m) ((m)->size - CONTENT - 2 - 16)
/* Beside the verdicts: open, but not TEXT. */
#define OPEN_TO_OTHER 50

struct made {
        uint8_t *der;
        size_t size;
};

static void made_done(struct made *m) {
        free(m->der);
}

static struct secret *secret_of(const char *text) {
        struct secret *s = NULL;

        assert_int_equal(secret_new(strlen(text), &s), 0);
        memcpy(secret_data(s), text, strlen(text));
        return s;
}

/* For one certificate, or two where @second isn't NULL. */
static struct made encrypt(const char *first, const char *second) {
        _cleanup_(certificate_freep) struct certificate *a = certs_certificate(first), *b = NULL;
        _cleanup_(secret_freep) struct secret *plain = secret_of(TEXT);
        struct certificate *both[2] = { a };
        struct error err = { 0 };
        struct made m = { 0 };

        if (second)
                both[1] = b = certs_certificate(second);
        if (cms_encrypt(both, second ? 2 : 1, plain, &m.der, &m.size, &err) < 0)
                fail_msg("%s", err.text);
        return m;
}

/* Return: the verdict, where CMS_OPEN says that it's TEXT; or OPEN_TO_OTHER. */
static int open_it(const struct made *m, const struct private_key *k) {
        _cleanup_(secret_freep) struct secret *back = NULL;
        struct error err = { 0 };
        int r = cms_decrypt(m->der, m->size, k, &back, &err);

        if (r < 0)
                fail_msg("%s", err.text);
        assert_true((r == CMS_OPEN) == (back != NULL));
        if (back && (secret_size(back) != strlen(TEXT) ||
                     memcmp(secret_data(back), TEXT, strlen(TEXT)) != 0))
                return OPEN_TO_OTHER;
        return r;
}

static int open_as(const struct made *m, const char *name) {
        _cleanup_(private_key_freep) struct private_key *k = certs_key(name);

        return open_it(m, k);
}

/* --- certificates --- */

static void test_certificates_are_told_by_name_print_and_time(void **state) {
        _cleanup_(certificate_freep) struct certificate *good = certs_certificate("p256");
        _cleanup_(certificate_freep) struct certificate *old = certs_certificate("expired");
        _cleanup_(certificate_freep) struct certificate *future = certs_certificate("future");
        _cleanup_(certificate_freep) struct certificate *odd = certs_certificate("odd");
        uint8_t a[SHA256_SIZE], b[SHA256_SIZE];
        char subject[CERTIFICATE_SUBJECT], from[24], until[24];
        (void) state;

        assert_int_equal(certificate_time(good, from, until), CERTIFICATE_VALID);
        assert_string_equal(from, "2026-01-01T00:00:00Z");
        assert_string_equal(until, "2126-01-01T00:00:00Z");
        assert_int_equal(certificate_time(old, NULL, until), CERTIFICATE_EXPIRED);
        assert_string_equal(until, "2021-01-01T00:00:00Z");
        assert_int_equal(certificate_time(future, from, NULL), CERTIFICATE_NOT_YET);
        assert_string_equal(from, "2125-01-01T00:00:00Z");

        certificate_subject(good, subject);
        assert_string_equal(subject, "O=Example,CN=Escrow p256");
        certificate_subject(odd, subject);
        for (const char *c = subject; *c; c++)
                assert_true(*c >= ' ' && *c <= '~');
        assert_non_null(strstr(subject, "C3"));

        certificate_fingerprint(good, a);
        certificate_fingerprint(old, b);
        assert_memory_not_equal(a, b, sizeof(a));
}

static void write_file(const char *path, const char *text) {
        FILE *f = fopen(path, "w");

        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
}

static void test_what_is_no_certificate_is_refused(void **state) {
        static const char *const files[][2] = {
                { "weak.pem", "neither RSA" },    { "k256.pem", "neither RSA" },
                { "ed25519.pem", "neither RSA" }, { "p256.key", "no certificate" },
                { "make", "no certificate" },
        };
        static const char *const texts[] = {
                "",
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                "-----BEGIN CERTIFICATE-----\nMIIB\n",
                ("-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: "
                 "AES-128-CBC,00\n\nMIIB\n-----END CERTIFICATE-----\n"),
        };
        struct certificate *c[8] = { NULL };
        struct error err = { 0 };
        char path[] = "/tmp/diskseal-test-XXXXXX";
        size_t n = 77;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                assert_int_equal(certificates_read(certs_path(files[i][0]), c, 8, &n, &err),
                                 -EBADMSG);
                assert_non_null(strstr(err.text, files[i][1]));
        }
        close(mkstemp(path));
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                write_file(path, texts[i]);
                assert_int_equal(certificates_read(path, c, 8, &n, &err), -EBADMSG);
        }
        (void) unlink(path);
        assert_int_equal(certificates_read(path, c, 8, &n, &err), -ENOENT);
        assert_int_equal(certificates_read(certs_path("two.pem"), c, 1, &n, &err), -EBADMSG);
        assert_non_null(strstr(err.text, "more than 1"));
        assert_null(c[0]);
        assert_int_equal(n, 77);

        assert_int_equal(certificates_read(certs_path("two.pem"), c, 2, &n, &err), 0);
        assert_int_equal(n, 2);
        certificate_free(c[0]);
        certificate_free(c[1]);
}

/* --- keys --- */

static void test_what_is_no_private_key_is_refused(void **state) {
        static const char *const files[][2] = {
                { "encrypted.key", "openssl pkey" }, { "encrypted-old.key", "openssl pkey" },
                { "weak.key", "neither RSA" },       { "k256.key", "neither RSA" },
                { "ed25519.key", "neither RSA" },    { "p256.pem", "no private key" },
                { "make", "no private key" },
        };
        _cleanup_(private_key_freep) struct private_key *old = certs_key("old");
        struct private_key *k = NULL;
        struct error err = { 0 };
        struct made m = encrypt("p256", NULL);
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                assert_int_equal(private_key_read(certs_path(files[i][0]), &k, &err), -EBADMSG);
                assert_non_null(strstr(err.text, files[i][1]));
        }
        assert_int_equal(private_key_read(certs_path("nothing"), &k, &err), -ENOENT);
        assert_null(k);
        assert_int_equal(open_it(&m, old), CMS_OPEN); /* the older form of a key */
        made_done(&m);
}

/* --- encryption --- */

static void test_each_kind_of_key_opens_what_is_its_own(void **state) {
        static const char *const names[] = { "rsa2048", "rsa4096", "p256",   "p384",
                                             "p521",    "noid",    "noid-ec" };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(made_done) struct made m = encrypt(names[i], NULL);

                /* 1.1 to 1.4 KiB of base64 is what a token has room for. */
                assert_in_range(m.size, 200, 1050);
                for (size_t j = 0; j < ARRAY_SIZE(names); j++)
                        assert_int_equal(open_as(&m, names[j]), i == j ? CMS_OPEN : CMS_OTHER_KEY);
        }
}

static void test_each_of_two_recipients_opens_alone(void **state) {
        _cleanup_(made_done) struct made m = encrypt("rsa2048", "p256"),
                                         same = encrypt("noid", "rsa2048");
        (void) state;

        assert_int_equal(open_as(&m, "rsa2048"), CMS_OPEN);
        assert_int_equal(open_as(&m, "p256"), CMS_OPEN);
        assert_int_equal(open_as(&m, "noid"), CMS_OTHER_KEY);
        assert_int_equal(open_as(&m, "expired"), CMS_OTHER_KEY);
        /* Both of one size. */
        assert_int_equal(open_as(&same, "rsa2048"), CMS_OPEN);
        assert_int_equal(open_as(&same, "noid"), CMS_OPEN);
}

static void test_sizes_are_bounded(void **state) {
        _cleanup_(certificate_freep) struct certificate *c = certs_certificate("p256");
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        struct certificate *many[CMS_RECIPIENTS_MAX + 1];
        struct error err = { 0 };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(many); i++)
                many[i] = c;
        for (size_t size = 1; size <= LONGEST + 1; size += size < 2 ? 1 : 5) {
                _cleanup_(secret_freep) struct secret *plain = NULL, *back = NULL;
                _cleanup_(made_done) struct made m = { 0 };
                int want = size <= LONGEST ? 0 : -EINVAL;

                assert_int_equal(crypto_random_secret(size, &plain, &err), 0);
                assert_int_equal(cms_encrypt(many, 1, plain, &m.der, &m.size, &err), want);
                if (want < 0)
                        continue;
                assert_int_equal(cms_decrypt(m.der, m.size, k, &back, &err), CMS_OPEN);
                assert_int_equal(secret_size(back), size);
                assert_memory_equal(secret_data(back), secret_data(plain), size);
        }
        {
                _cleanup_(secret_freep) struct secret *plain = secret_of(TEXT);
                _cleanup_(made_done) struct made m = { 0 };

                assert_int_equal(cms_encrypt(many, 0, plain, &m.der, &m.size, &err), -EINVAL);
                assert_int_equal(
                        cms_encrypt(many, CMS_RECIPIENTS_MAX + 1, plain, &m.der, &m.size, &err),
                        -EINVAL);
                assert_null(m.der);
                assert_int_equal(
                        cms_encrypt(many, CMS_RECIPIENTS_MAX, plain, &m.der, &m.size, &err), 0);
                assert_int_equal(open_as(&m, "p256"), CMS_OPEN);
        }
}

/* --- hostile input --- */

/* Whether byte @at names a recipient: that isn't protected, and changes nothing. */
static bool names_somebody(const struct made *m, size_t at) {
        const struct cms_recipient *r;
        struct cms_shape s;

        assert_true(cms_shape(m->der, m->size, &s));
        assert_int_equal(s.recipients, 1);
        r = &s.recipient[0];
        return m->der + at >= r->id && m->der + at < r->id + r->id_size;
}

static void check_change(struct made *m, const struct private_key *k, size_t at, uint8_t change) {
        bool iv = at >= IV_AT(m) && at < IV_AT(m) + 16;
        int want = names_somebody(m, at) ? CMS_OPEN : iv ? OPEN_TO_OTHER : CMS_DAMAGED;
        int r;

        m->der[at] ^= change;
        r = open_it(m, k);
        m->der[at] ^= change;
        /* A changed block may have good padding. */
        if (r == OPEN_TO_OTHER && at >= m->size - CONTENT)
                return;
        if (r != want)
                fail_msg("change %02x of byte %zu: verdict %d", change, at, r);
}

static void test_any_changed_bit_shows_or_gives_something_else(void **state) {
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(made_done) struct made m = encrypt("p256", NULL);
        (void) state;

        for (size_t i = 0; i < 8 * m.size; i++)
                check_change(&m, k, i / 8, (uint8_t) (1u << (i % 8)));
        assert_int_equal(open_it(&m, k), CMS_OPEN);
}

static void test_for_rsa_too(void **state) {
        _cleanup_(private_key_freep) struct private_key *k = certs_key("rsa2048");
        _cleanup_(made_done) struct made m = encrypt("rsa2048", NULL);
        (void) state;

        /* Its private key is slow: one bit of each byte. */
        for (size_t i = 0; i < m.size; i++)
                check_change(&m, k, i, (uint8_t) (1u << (i % 8)));
        assert_int_equal(open_it(&m, k), CMS_OPEN);
}

/* The last block is of padding alone. Whatever it's made, by a change of the block before: it's
 * damage, or a longer content. */
static void test_padding_is_read_to_its_end(void **state) {
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(certificate_freep) struct certificate *c = certs_certificate("p256");
        struct error err = { 0 };
        (void) state;

        for (size_t size = 240; size <= LONGEST; size += 16) {
                _cleanup_(secret_freep) struct secret *plain = NULL;
                _cleanup_(made_done) struct made m = { 0 };

                assert_int_equal(crypto_random_secret(size, &plain, &err), 0);
                assert_int_equal(cms_encrypt(&c, 1, plain, &m.der, &m.size, &err), 0);
                for (unsigned pad = 0; pad < 256; pad++) {
                        _cleanup_(secret_freep) struct secret *back = NULL;
                        bool good = pad == 16 || (pad == 1 && size + 15 <= LONGEST);

                        m.der[m.size - 17] ^= (uint8_t) (16 ^ pad);
                        assert_int_equal(cms_decrypt(m.der, m.size, k, &back, &err),
                                         good ? CMS_OPEN : CMS_DAMAGED);
                        m.der[m.size - 17] ^= (uint8_t) (16 ^ pad);
                        if (good)
                                assert_int_equal(secret_size(back), size + 16 - pad);
                }
        }
}

static void test_an_empty_content_is_damage(void **state) {
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(certificate_freep) struct certificate *c = certs_certificate("p256");
        _cleanup_(secret_freep) struct secret *plain = secret_of("x");
        _cleanup_(made_done) struct made m = { 0 };
        struct error err = { 0 };
        uint8_t *iv;
        (void) state;

        assert_int_equal(cms_encrypt(&c, 1, plain, &m.der, &m.size, &err), 0);
        assert_int_equal(open_it(&m, k), OPEN_TO_OTHER);
        iv = m.der + m.size - 16 - 2 - 16;
        for (size_t i = 0; i < 16; i++)
                iv[i] ^= (uint8_t) (16 ^ (i ? 15 : 'x'));
        assert_int_equal(open_it(&m, k), CMS_DAMAGED);
}

static void test_what_is_cut_or_longer_is_damaged(void **state) {
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(made_done) struct made m = encrypt("p256", NULL);
        uint8_t buf[CMS_SIZE_MAX + 64] = { 0 };
        struct made longer = { buf, m.size + 1 };
        struct cms_shape s;
        (void) state;

        for (size_t size = 0; size < m.size; size++) {
                struct made cut = { malloc(size + 1), size }; /* so that a read behind it shows */

                assert_non_null(cut.der);
                memcpy(cut.der, m.der, size);
                assert_int_equal(open_it(&cut, k), CMS_DAMAGED);
                free(cut.der);
        }
        memcpy(buf, m.der, m.size);
        assert_true(cms_shape(buf, m.size, &s));
        assert_false(cms_shape(buf, m.size + 1, &s));
        assert_int_equal(open_it(&longer, k), CMS_DAMAGED);
        longer.size = CMS_SIZE_MAX + 1;
        assert_int_equal(open_it(&longer, k), CMS_DAMAGED);
}

/* Bytes of @from replaced by those of @to, of the same length, once. */
static void replace(struct made *m, const void *from, const void *to, size_t size) {
        for (size_t at = 0; at + size <= m->size; at++)
                if (memcmp(m->der + at, from, size) == 0) {
                        memcpy(m->der + at, to, size);
                        return;
                }
        fail();
}

static void test_other_algorithms_are_refused_before_the_key_is_used(void **state) {
        static const char *const swaps[][2] = {
                /* AES-256-CBC: -GCM, AES-128-CBC */
                { "\x60\x86\x48\x01\x65\x03\x04\x01\x2a", "\x60\x86\x48\x01\x65\x03\x04\x01\x2e" },
                { "\x60\x86\x48\x01\x65\x03\x04\x01\x2a", "\x60\x86\x48\x01\x65\x03\x04\x01\x02" },
                /* EnvelopedData: digested data */
                { "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x05" },
                /* RSAES-OAEP: RSA with PKCS #1 v1.5 */
                { "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07", "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" },
                /* SHA-256: SHA-512 */
                { "\x60\x86\x48\x01\x65\x03\x04\x02\x01", "\x60\x86\x48\x01\x65\x03\x04\x02\x03" },
                /* The content is data: signed data */
                { "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(swaps); i++) {
                _cleanup_(made_done) struct made m = encrypt("rsa2048", NULL);
                struct cms_shape s;

                assert_true(cms_shape(m.der, m.size, &s));
                replace(&m, swaps[i][0], swaps[i][1], 9);
                assert_false(cms_shape(m.der, m.size, &s));
                assert_int_equal(open_as(&m, "rsa2048"), CMS_DAMAGED);
        }
        {
                _cleanup_(made_done) struct made m = encrypt("p256", NULL);
                struct cms_shape s;

                /* ECDH with SHA-256: with SHA-512; then another curve's point. */
                replace(&m, "\x2b\x81\x04\x01\x0b\x01", "\x2b\x81\x04\x01\x0b\x03", 6);
                assert_false(cms_shape(m.der, m.size, &s));
                assert_int_equal(open_as(&m, "p256"), CMS_DAMAGED);
        }
}

static void test_damage_behind_a_nameless_recipient_is_seen(void **state) {
        static const char *const names[] = { "noid", "noid-ec" };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(made_done) struct made m = encrypt(names[i], NULL);

                m.der[m.size - 20] ^= 1; /* in the padding, too */
                assert_int_equal(open_as(&m, names[i]), CMS_DAMAGED);
                assert_int_equal(open_as(&m, i ? "p256" : "rsa2048"), CMS_OTHER_KEY);
        }
}

#define NUMBER(m) ((m)->der[4 + 11 + 4 + 4 + 2]) /* the version, where lengths are of 2 bytes */

static void test_the_version_follows_from_the_recipients(void **state) {
        static const struct {
                const char *first, *second;
                uint8_t version;
        } cases[] = {
                { "noid", NULL, 0 },   { "rsa2048", NULL, 2 },   { "noid-ec", NULL, 2 },
                { "p256", NULL, 2 },   { "noid", "rsa2048", 2 }, { "noid", "noid-ec", 2 },
                { "noid", "noid", 0 },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(made_done) struct made m = encrypt(cases[i].first, cases[i].second);

                assert_int_equal(NUMBER(&m), cases[i].version);
                for (uint8_t v = 0; v < 6; v++) {
                        struct cms_shape s;

                        NUMBER(&m) = v;
                        assert_true(cms_shape(m.der, m.size, &s) == (v == cases[i].version));
                        if (v != cases[i].version)
                                assert_int_equal(open_as(&m, cases[i].first), CMS_DAMAGED);
                }
        }
}

/* The lengths of what the content stands in. The last is of one byte. */
static void lengthen(const struct made *m, uint8_t *der, size_t more) {
        const size_t lengths[] = { 2, 17, 21 };

        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
                size_t at = lengths[i], n;

                assert_int_equal(der[at - 1], 0x82);
                n = ((size_t) der[at] << 8 | der[at + 1]) + more;
                der[at] = (uint8_t) (n >> 8);
                der[at + 1] = (uint8_t) n;
        }
        der += m->size - CONTENT - 2 - 31 - 11 - 1;
        assert_int_equal(*der, 11 + 31 + 2 + CONTENT);
        *der = (uint8_t) (*der + more);
        assert_true(*der < 0x80);
}

static void test_the_content_is_whole_blocks(void **state) {
        _cleanup_(made_done) struct made m = encrypt("rsa2048", NULL);
        (void) state;

        for (size_t size = 0; size <= CONTENT + 16; size++) {
                uint8_t buf[1024] = { 0 };
                struct made other = { buf, m.size - CONTENT + size };
                bool good = size >= 16 && size % 16 == 0;
                struct cms_shape s;

                memcpy(buf, m.der, m.size);
                lengthen(&m, buf, size - CONTENT);
                buf[m.size - CONTENT - 1] = (uint8_t) size;
                assert_true(cms_shape(buf, other.size, &s) == good);
                if (!good)
                        assert_int_equal(open_as(&other, "rsa2048"), CMS_DAMAGED);
                else
                        assert_int_equal(s.content, size);
        }
}

/* Behind the content EnvelopedData may have attributes: not ours. */
static void test_nothing_follows_the_content(void **state) {
        _cleanup_(made_done) struct made m = encrypt("rsa2048", NULL);
        uint8_t buf[1024] = { 0 };
        struct made more = { buf, m.size + 2 };
        struct cms_shape s;
        (void) state;

        memcpy(buf, m.der, m.size);
        lengthen(&m, buf, 2);
        buf[m.size - CONTENT - 2 - 31 - 11 - 1] -= 2;
        buf[m.size] = 0xa1;
        assert_false(cms_shape(buf, more.size, &s));
        assert_int_equal(open_as(&more, "rsa2048"), CMS_DAMAGED);
}

/* BER allows what DER doesn't: the content, which is last, with a length of other forms. */
static void test_only_the_shortest_lengths_are_taken(void **state) {
        static const struct {
                const char *head;
                size_t size; /* of the head */
                size_t more; /* bytes than of the shortest form, zeros at the end included */
                bool good;
        } forms[] = {
                { "\x80\x40", 2, 0, true },          { "\x80\x81\x40", 3, 1, false },
                { "\x80\x82\0\x40", 4, 2, false },   { "\x80\x83\0\0\x40", 5, 3, false },
                { "\x80\x80", 2, 2, false },         { "\xa0\x42\x04\x40", 4, 2, false },
                { "\xa0\x80\x04\x40", 4, 4, false },
        };
        _cleanup_(made_done) struct made m = encrypt("p256", NULL);
        size_t body = m.size - CONTENT - 2;
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                uint8_t buf[1024] = { 0 };
                size_t head = forms[i].size;
                struct cms_shape s;

                memcpy(buf, m.der, body);
                lengthen(&m, buf, forms[i].more);
                memcpy(buf + body, forms[i].head, head);
                memcpy(buf + body + head, m.der + m.size - CONTENT, CONTENT);
                assert_int_equal(cms_shape(buf, m.size + forms[i].more, &s), forms[i].good);
        }
}

static void test_recipients_stand_in_their_order(void **state) {
        _cleanup_(made_done) struct made m = encrypt("p256", "noid-ec");
        _cleanup_(freep) uint8_t *copy = malloc(m.size);
        struct cms_shape s;
        size_t set, first, second;
        (void) state;

        /* ContentInfo, its type and [0], EnvelopedData and its version; lengths of 2 bytes. */
        set = 4 + 11 + 4 + 4 + 3;
        assert_non_null(copy);
        assert_true(cms_shape(m.der, m.size, &s));
        assert_int_equal(m.der[set], 0x31);
        assert_int_equal(m.der[set + 1], 0x82);
        set += 4;
        assert_int_equal(m.der[set + 1], 0x81);
        first = 3u + m.der[set + 2];
        assert_int_equal(m.der[set + first + 1], 0x81);
        second = 3u + m.der[set + first + 2];
        memcpy(copy, m.der, m.size);
        memcpy(m.der + set, copy + set + first, second);
        memcpy(m.der + set + second, copy + set, first);
        assert_false(cms_shape(m.der, m.size, &s));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_certificates_are_told_by_name_print_and_time),
                cmocka_unit_test(test_what_is_no_certificate_is_refused),
                cmocka_unit_test(test_what_is_no_private_key_is_refused),
                cmocka_unit_test(test_each_kind_of_key_opens_what_is_its_own),
                cmocka_unit_test(test_each_of_two_recipients_opens_alone),
                cmocka_unit_test(test_sizes_are_bounded),
                cmocka_unit_test(test_any_changed_bit_shows_or_gives_something_else),
                cmocka_unit_test(test_for_rsa_too),
                cmocka_unit_test(test_padding_is_read_to_its_end),
                cmocka_unit_test(test_an_empty_content_is_damage),
                cmocka_unit_test(test_what_is_cut_or_longer_is_damaged),
                cmocka_unit_test(test_other_algorithms_are_refused_before_the_key_is_used),
                cmocka_unit_test(test_damage_behind_a_nameless_recipient_is_seen),
                cmocka_unit_test(test_the_version_follows_from_the_recipients),
                cmocka_unit_test(test_the_content_is_whole_blocks),
                cmocka_unit_test(test_nothing_follows_the_content),
                cmocka_unit_test(test_only_the_shortest_lengths_are_taken),
                cmocka_unit_test(test_recipients_stand_in_their_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
