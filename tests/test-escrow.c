/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "keys/escrow.h"
#include "tests/certs/certs.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct json *make(const char *const *names, size_t count, struct secret *passphrase) {
        struct certificate *certs[CMS_RECIPIENTS_MAX] = { NULL };
        struct json *token = NULL;
        struct error err = { 0 };

        for (size_t i = 0; i < count; i++)
                certs[i] = certs_certificate(names[i]);
        if (escrow_make(certs, count, 2, passphrase, &token, &err) < 0)
                fail_msg("%s", err.text);
        for (size_t i = 0; i < count; i++)
                certificate_free(certs[i]);
        return token;
}

static struct secret *passphrase_new(void) {
        struct secret *s = NULL;
        struct error err = { 0 };

        assert_int_equal(escrow_passphrase(&s, &err), 0);
        return s;
}

static void test_a_passphrase_is_256_bits_of_base32(void **state) {
        bool last[2] = { false, false };
        (void) state;

        for (unsigned i = 0; i < 64; i++) {
                _cleanup_(secret_freep) struct secret *a = passphrase_new(), *b = passphrase_new();
                const uint8_t *text = secret_data(a);

                assert_int_equal(secret_size(a), ESCROW_PASSPHRASE);
                assert_memory_not_equal(text, secret_data(b), ESCROW_PASSPHRASE);
                for (size_t k = 0; k < ESCROW_PASSPHRASE; k++)
                        assert_true(text[k] && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", text[k]));
                assert_true(text[51] == 'A' || text[51] == 'Q');
                last[text[51] == 'A'] = true;
        }
        assert_true(last[0] && last[1]); /* else one of 2^64 */
}

static void test_an_escrow_opens_for_its_recipients_only(void **state) {
        static const char *const names[] = { "rsa2048", "p384" };
        _cleanup_(secret_freep) struct secret *passphrase = passphrase_new(), *back = NULL;
        _cleanup_(json_freep) struct json *token = make(names, 2, passphrase);
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        _cleanup_(certificate_freep) struct certificate *second = certs_certificate("p384");
        _cleanup_(private_key_freep) struct private_key *good = certs_key("p384");
        _cleanup_(private_key_freep) struct private_key *other = certs_key("p256");
        struct error err = { 0 };
        uint8_t print[SHA256_SIZE];
        char now[TIME_TEXT];
        (void) state;

        assert_non_null(e);
        assert_true(escrow_is_one(token));
        assert_int_equal(escrow_parse(token, e, &err), 0);
        assert_int_equal(e->slot, 2);
        assert_int_equal(e->recipients, 2);
        certificate_fingerprint(second, print);
        assert_memory_equal(e->recipient[1], print, sizeof(print));
        time_text(now);
        assert_memory_equal(e->created, now, 10);

        assert_int_equal(escrow_open(e, other, &back, &err), CMS_OTHER_KEY);
        assert_null(back);
        assert_int_equal(escrow_open(e, good, &back, &err), CMS_OPEN);
        assert_int_equal(secret_size(back), ESCROW_PASSPHRASE);
        assert_memory_equal(secret_data(back), secret_data(passphrase), ESCROW_PASSPHRASE);
        back = secret_free(back);
        e->cms[e->size - 1] ^= 1;
        assert_int_equal(escrow_open(e, good, &back, &err), CMS_DAMAGED);
        assert_null(back);
}

static void test_a_token_for_one_fits_its_room(void **state) {
        static const char *const names[] = { "rsa2048", "p521", "rsa4096" };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(secret_freep) struct secret *passphrase = passphrase_new();
                _cleanup_(json_freep) struct json *token = make(&names[i], 1, passphrase);
                _cleanup_(freep) char *text = NULL;
                struct error err = { 0 };

                assert_int_equal(json_text(token, false, &text, &err), 0);
                assert_in_range(strlen(text), 500, 1400);
        }
}

static void test_only_passphrases_of_ours_are_put_there_or_come_out(void **state) {
        _cleanup_(secret_freep) struct secret *s = passphrase_new(), *shorter = NULL, *back = NULL;
        _cleanup_(certificate_freep) struct certificate *c = certs_certificate("p256");
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        struct json *token = NULL;
        struct error err = { 0 };
        (void) state;

        assert_non_null(e);
        assert_int_equal(escrow_make(&c, 1, LUKS_SLOTS_MAX, s, &token, &err), -EINVAL);
        assert_int_equal(escrow_make(&c, 0, 1, s, &token, &err), -EINVAL);
        assert_int_equal(crypto_random_secret(ESCROW_PASSPHRASE - 1, &shorter, &err), 0);
        assert_int_equal(escrow_make(&c, 1, 1, shorter, &token, &err), -EINVAL);
        for (size_t i = 0; i < 2; i++) {
                _cleanup_(freep) uint8_t *der = NULL;
                struct secret *bad = i ? shorter : s;

                secret_data(s)[5] = 'a';
                assert_int_equal(escrow_make(&c, 1, 1, bad, &token, &err), -EINVAL);
                /* By somebody else who has the certificate. */
                assert_int_equal(cms_encrypt(&c, 1, bad, &der, &e->size, &err), 0);
                memcpy(e->cms, der, e->size);
                assert_int_equal(escrow_open(e, k, &back, &err), CMS_DAMAGED);
                assert_null(back);
        }
        assert_null(token);
}

/* One for "p256", whose content is @text. */
static int open_text(const char *text) {
        _cleanup_(certificate_freep) struct certificate *c = certs_certificate("p256");
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(secret_freep) struct secret *s = NULL, *back = NULL;
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        _cleanup_(freep) uint8_t *der = NULL;
        struct error err = { 0 };
        int r;

        assert_non_null(e);
        assert_int_equal(secret_new(strlen(text), &s), 0);
        memcpy(secret_data(s), text, strlen(text));
        assert_int_equal(cms_encrypt(&c, 1, s, &der, &e->size, &err), 0);
        memcpy(e->cms, der, e->size);
        r = escrow_open(e, k, &back, &err);
        assert_true((r == CMS_OPEN) == (back != NULL));
        return r;
}

static void test_a_passphrase_is_52_letters_of_base32(void **state) {
#define P50 "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQR"
        static const char *const good[] = { P50 "SA", P50 "7Q" };
        static const char *const bad[] = {
                P50 "A",
                P50 "SAA",
                P50 "SA\n",
                P50 "SB",
                P50 "S=",
                P50 "S\n",
                P50 "sA",
                P50 "0A",
                P50 "1A",
                P50 "8A",
                P50 "9A",
                P50 " A",
                P50 "\x80"
                    "A",
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_int_equal(open_text(good[i]), CMS_OPEN);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (open_text(bad[i]) != CMS_DAMAGED)
                        fail_msg("%s", bad[i]);
}

/* One answer, whether the padding is wrong, or good by chance and the passphrase another. */
static void test_a_changed_content_is_damage_whatever_its_padding(void **state) {
        static const char *const names[] = { "p256" };
        _cleanup_(secret_freep) struct secret *passphrase = passphrase_new(), *back = NULL;
        _cleanup_(json_freep) struct json *token = make(names, 1, passphrase);
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        struct error err = { 0 };
        (void) state;

        assert_non_null(e);
        assert_int_equal(escrow_parse(token, e, &err), 0);
        for (unsigned change = 1; change < 256; change++)
                for (size_t block = 0; block < 4; block++) {
                        uint8_t *at = &e->cms[e->size - 1 - 16 * block];

                        *at ^= (uint8_t) change;
                        assert_int_equal(escrow_open(e, k, &back, &err), CMS_DAMAGED);
                        assert_null(back);
                        *at ^= (uint8_t) change;
                }
        assert_int_equal(escrow_open(e, k, &back, &err), CMS_OPEN);
}

/* What AES-CBC can't show: a bit of the IV. It's never the passphrase, and the keyslot says so. */
static void test_a_changed_iv_never_gives_the_passphrase(void **state) {
        static const char *const names[] = { "p256" };
        _cleanup_(secret_freep) struct secret *passphrase = passphrase_new();
        _cleanup_(json_freep) struct json *token = make(names, 1, passphrase);
        _cleanup_(private_key_freep) struct private_key *k = certs_key("p256");
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        unsigned count[CMS_DAMAGED + 1] = { 0 };
        struct error err = { 0 };
        (void) state;

        assert_non_null(e);
        assert_int_equal(escrow_parse(token, e, &err), 0);
        for (size_t bit = 0; bit < 128; bit++) {
                _cleanup_(secret_freep) struct secret *back = NULL;
                uint8_t *at = &e->cms[e->size - 64 - 2 - 16 + bit / 8];
                int r;

                *at ^= (uint8_t) (1u << (bit % 8));
                r = escrow_open(e, k, &back, &err);
                *at ^= (uint8_t) (1u << (bit % 8));
                assert_in_range(r, CMS_OPEN, CMS_DAMAGED);
                count[r]++;
                if (r == CMS_OPEN)
                        assert_memory_not_equal(secret_data(back), secret_data(passphrase), 16);
        }
        assert_int_equal(count[CMS_OTHER_KEY], 0);
        assert_true(count[CMS_DAMAGED] >= 32); /* bits 7 and 5 of each are in no other letter */
        assert_true(count[CMS_OPEN] > 0);
}

/* A good token with one member changed; NULL: without it. */
static int parse_with(const char *key, const char *value, struct escrow *ret) {
        static const char good[] =
                "{\"type\":\"diskseal-escrow\",\"keyslots\":[\"2\"],\"v\":1,\"created\":"
                "\"2026-11-24T16:00:00Z\",\"recipients\":[\"" HEX64 "\"],\"cms\":\"MAA=\"}";
        _cleanup_(json_freep) struct json *token = NULL, *wrap = NULL;
        struct error err = { 0 };
        char text[1024];

        assert_int_equal(json_parse(good, strlen(good), &token, &err), 0);
        if (value) {
                (void) snprintf(text, sizeof(text), "[%s]", value);
                assert_int_equal(json_parse(text, strlen(text), &wrap, &err), 0);
                assert_true(json_add(token, key, json_copy(json_at(wrap, 0))));
        } else {
                json_remove(token, key);
        }
        return escrow_parse(token, ret, &err);
}

static void test_what_is_not_an_escrow_of_ours_is_refused(void **state) {
#define H "\"" HEX64 "\""
        static const char *const bad[][2] = {
                { "type", NULL },
                { "type", "\"diskseal\"" },
                { "v", NULL },
                { "v", "2" },
                { "v", "\"1\"" },
                { "keyslots", NULL },
                { "keyslots", "{}" },
                { "keyslots", "[2]" },
                { "keyslots", "[\"32\"]" },
                { "keyslots", "[\"02\"]" },
                { "keyslots", "[\"-1\"]" },
                { "keyslots", "[\"1\",\"2\"]" },
                { "created", NULL },
                { "created", "\"2026-11-24T16:00:00\"" },
                { "created", "\"2026-11-24 16:00:00Z\"" },
                { "created", "\"2026-11-2xT16:00:00Z\"" },
                { "created", "\"2026-11-24T16:00:00ZZ\"" },
                { "recipients", NULL },
                { "recipients", "[]" },
                { "recipients", "[7]" },
                { "recipients", "[\"\"]" },
                { "recipients", "[\"0" HEX64 "\"]" },
                { "recipients",
                  "[\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"]" },
                { "recipients",
                  "[\"0123456789abcdeg0123456789abcdef0123456789abcdef0123456789abcdef\"]" },
                { "recipients", "[" H "," H "," H "," H "," H "," H "," H "," H "," H "]" },
                { "cms", NULL },
                { "cms", "\"\"" },
                { "cms", "\"MAA\"" },
                { "cms", "7" },
        };
        static const char *const good[][2] = {
                { "keyslots", "[]" },
                { "keyslots", "[\"0\"]" },
                { "keyslots", "[\"31\"]" },
                { "recipients", "[" H "," H "," H "," H "," H "," H "," H "," H "]" },
                { "x-other", "[1]" },
        };
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        (void) state;

        assert_non_null(e);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                if (parse_with(bad[i][0], bad[i][1], e) != -EBADMSG)
                        fail_msg("%s: %s", bad[i][0], bad[i][1]);
                assert_int_equal(e->size, 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                if (parse_with(good[i][0], good[i][1], e) != 0)
                        fail_msg("%s: %s", good[i][0], good[i][1]);
        assert_int_equal(e->slot, 2);
        assert_false(escrow_is_one(NULL));
}

static void test_a_large_one_is_refused(void **state) {
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        _cleanup_(freep) uint8_t *bytes = calloc(1, CMS_SIZE_MAX + 1);
        static const char *const names[] = { "p256" };
        _cleanup_(secret_freep) struct secret *passphrase = passphrase_new();
        _cleanup_(json_freep) struct json *token = make(names, 1, passphrase);
        struct error err = { 0 };
        (void) state;

        assert_non_null(e);
        assert_non_null(bytes);
        assert_true(json_add_bytes(token, "cms", bytes, CMS_SIZE_MAX));
        assert_int_equal(escrow_parse(token, e, &err), 0);
        assert_true(json_add_bytes(token, "cms", bytes, CMS_SIZE_MAX + 1));
        assert_int_equal(escrow_parse(token, e, &err), -EBADMSG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_passphrase_is_256_bits_of_base32),
                cmocka_unit_test(test_an_escrow_opens_for_its_recipients_only),
                cmocka_unit_test(test_a_token_for_one_fits_its_room),
                cmocka_unit_test(test_only_passphrases_of_ours_are_put_there_or_come_out),
                cmocka_unit_test(test_a_passphrase_is_52_letters_of_base32),
                cmocka_unit_test(test_a_changed_content_is_damage_whatever_its_padding),
                cmocka_unit_test(test_a_changed_iv_never_gives_the_passphrase),
                cmocka_unit_test(test_what_is_not_an_escrow_of_ours_is_refused),
                cmocka_unit_test(test_a_large_one_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
