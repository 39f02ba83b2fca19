/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "luks/luks.h"
#include "tests/image.h"

/* A disk of ours, as enrolment leaves it: one keyslot, one token. */
struct disk_of_ours {
        struct image image;
        struct secret *volume_key, *slot_secret;
        struct luks_pin pin;
};

#define TOKEN                                                                                      \
        "{\"type\":\"diskseal\",\"keyslots\":[\"0\"],\"v\":1,\"later\":{\"x\":[1,\"two\",null]}}"

static int setup(void **state) {
        static struct disk_of_ours d;
        _cleanup_(luks_edit_closep) struct luks_edit *e = NULL;
        _cleanup_(json_freep) struct json *token = image_parse(TOKEN);
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        image_make(&d.image, IMAGE_SIZE);
        d.volume_key = image_random(64);
        d.slot_secret = image_random(LUKS_SECRET_SIZE);
        if (luks_format(&(struct luks_source){ d.image.path, NULL }, d.volume_key, &e, &why,
                        &err) != LUKS_OK ||
            luks_slot_add(e, &(struct luks_key){ 0, LUKS_SLOT_OURS, d.slot_secret }, d.volume_key,
                          &err) != 0 ||
            luks_token_set(e, 0, token, &err) != 0 ||
            luks_pin_make(luks_edit_result(e),
                          &(struct luks_pin_keys){ 0, d.slot_secret, d.volume_key }, NULL, &d.pin,
                          &err) != 0)
                fail_msg("%s %s %s", why.rule, why.text, err.text);
        *state = &d;
        return 0;
}

static int teardown(void **state) {
        struct disk_of_ours *d = *state;

        image_done(&d->image);
        d->volume_key = secret_free(d->volume_key);
        d->slot_secret = secret_free(d->slot_secret);
        return 0;
}

static int open_slot(struct luks *l, unsigned slot, enum luks_slot_kind kind, struct secret *key,
                     struct secret **ret, struct luks_reason *why) {
        const struct luks_key k = { slot, kind, key };
        struct error err = { 0 };
        int r;

        r = luks_slot_open(l, &k, ret, why, &err);
        if (r < 0)
                print_message("fault: %s\n", err.text);
        return r;
}

static void test_what_was_made_opens(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = image_open(&d->image);
        _cleanup_(secret_freep) struct secret *got = NULL;
        const struct luks_facts *f = luks_facts(l);
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        assert_int_equal(luks_pin_check(l, 0, d->slot_secret, &d->pin, &why, &err), LUKS_OK);
        assert_int_equal(open_slot(l, 0, LUKS_SLOT_OURS, d->slot_secret, &got, &why), LUKS_OK);
        assert_int_equal(secret_size(got), 64);
        assert_true(crypto_equal(secret_data(got), secret_data(d->volume_key), 64));
        assert_int_equal(luks_pin_check_key(l, d->slot_secret, got, &d->pin, &why, &err), LUKS_OK);

        assert_string_equal(f->cipher, "aes-xts-plain64");
        assert_int_equal(f->key_size, 64);
        assert_int_equal(f->sector_size, 4096);
        assert_int_equal(f->data_offset, 16 << 20);
        assert_int_equal(f->metadata_size, 65536);
        assert_int_equal(f->keyslots_size, (16 << 20) - 2 * 65536);
        assert_int_equal(f->slots, 1);
        assert_int_equal(f->data_slots, 1);
        assert_false(f->degraded);
        assert_string_equal(f->device, d->image.path);
        assert_int_equal(strlen(f->uuid), 36);
}

static void test_cryptsetup_reads_and_opens_it(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(secret_freep) struct secret *wrong = image_random(LUKS_SECRET_SIZE);
        const char *const dump[] = { "cryptsetup", "luksDump", d->image.path, NULL };

        assert_int_equal(image_run(dump), 0);
        assert_int_equal(image_cryptsetup_opens(&d->image, d->slot_secret), 0);
        assert_int_equal(image_cryptsetup_opens(&d->image, wrong), 2);
}

static void test_another_key_is_a_wrong_key(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = image_open(&d->image);
        _cleanup_(secret_freep) struct secret *wrong = image_random(LUKS_SECRET_SIZE), *got = NULL;
        struct luks_reason why = { 0 };

        assert_int_equal(open_slot(l, 0, LUKS_SLOT_OURS, wrong, &got, &why), LUKS_WRONG_KEY);
        assert_null(got);
        assert_string_equal(why.rule, "key");
}

static void test_no_slot_but_the_named_one(void **state) {
        static const unsigned absent[] = { 1, 31, 32, UINT32_MAX };
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = image_open(&d->image);
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct luks_reason why = { 0 };

        for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
                assert_int_equal(
                        open_slot(l, absent[i], LUKS_SLOT_OURS, d->slot_secret, &got, &why),
                        LUKS_REFUSED);
        assert_null(got);
        assert_string_equal(why.rule, "slot");
}

static void test_the_area_is_read_once(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = image_open(&d->image), *later = NULL;
        _cleanup_(secret_freep) struct secret *got = NULL, *again = NULL;
        struct luks_reason why = { 0 };
        uint8_t zero[4096] = { 0 };

        assert_int_equal(open_slot(l, 0, LUKS_SLOT_OURS, d->slot_secret, &got, &why), LUKS_OK);
        image_write(&d->image, 2 * 65536, zero, sizeof(zero));
        assert_int_equal(open_slot(l, 0, LUKS_SLOT_OURS, d->slot_secret, &again, &why), LUKS_OK);
        later = image_open(&d->image);
        assert_int_equal(open_slot(later, 0, LUKS_SLOT_OURS, d->slot_secret, &got, &why),
                         LUKS_WRONG_KEY);
}

static void test_the_header_is_read_once(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = image_open(&d->image), *later = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        image_forge_value(&d->image, IMAGE_BOTH, "segments.0.sector_size", "512");
        assert_int_equal(luks_facts(l)->sector_size, 4096);
        assert_int_equal(luks_pin_check(l, 0, d->slot_secret, &d->pin, &why, &err), LUKS_OK);
        later = image_open(&d->image);
        assert_int_equal(luks_pin_check(later, 0, d->slot_secret, &d->pin, &why, &err),
                         LUKS_REFUSED);
}

static void test_unknown_members_of_a_token_stay(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = image_open(&d->image);
        _cleanup_(json_freep) struct json *expected = image_parse(TOKEN);

        assert_true(json_equal(luks_token(l, 0), expected));
        for (unsigned id = 1; id < 40; id++)
                assert_null(luks_token(l, id));
}

/* Changes the header and says what the pin thinks of it. */
static int pinned_after(struct disk_of_ours *d, const char *path, const char *value,
                        struct luks_reason *why) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct error err = { 0 };
        int r, vk;

        image_forge_value(&d->image, IMAGE_BOTH, path, value);
        r = luks_open(&(struct luks_source){ d->image.path, NULL }, &l, why, &err);
        if (r != LUKS_OK)
                fail_msg("%s: %s %s", why->rule, why->text, err.text);
        r = luks_pin_check(l, 0, d->slot_secret, &d->pin, why, &err);
        vk = luks_pin_check_key(l, d->slot_secret, d->volume_key, &d->pin, why, &err);
        /* The way in with the volume key sees all but the keyslot. */
        assert_true(vk == r || strncmp(path, "keyslots", 8) == 0);
        assert_int_equal(err.errnum, 0);
        return r;
}

#define SALT "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\""
#define ESCROW "{\"type\":\"diskseal-escrow\",\"keyslots\":[],\"v\":1}"

static void test_the_pin_sees_what_it_covers(void **state) {
        static const struct {
                const char *path, *value;
        } changes[] = {
                { "segments.0.sector_size", "512" },
                { "segments.0.offset", "\"16781312\"" },
                { "digests.0.iterations", "1001" },
                { "digests.0.salt", SALT },
                { "keyslots.0.kdf.salt", SALT },
                { "config.keyslots_size", "\"8388608\"" },
                { "tokens.3", ESCROW },
        };
        struct disk_of_ours *d = *state;
        struct luks_reason why = { 0 };

        for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
                _cleanup_(json_freep) struct json *before = image_json(&d->image);
                _cleanup_(freep) char *text = NULL;
                struct error err = { 0 };

                assert_int_equal(pinned_after(d, changes[i].path, changes[i].value, &why),
                                 LUKS_REFUSED);
                assert_string_equal(why.rule, "pin");
                assert_int_equal(json_text(before, false, &text, &err), 0);
                image_forge(&d->image, IMAGE_BOTH, text, 0);
        }
}

static void test_the_pin_lets_pass_what_it_does_not_cover(void **state) {
        static const struct {
                const char *path, *value;
        } changes[] = {
                { "keyslots.0.priority", "2" },
                { "tokens.3", "{\"type\":\"x-admin\",\"keyslots\":[],\"p\":[1e308,-0]}" },
                { "config.flags", "[\"allow-discards\"]" },
                { "config.requirements", "{\"mandatory\":[]}" },
        };
        struct disk_of_ours *d = *state;
        struct luks_reason why = { 0 };

        for (unsigned i = 0; i < ARRAY_SIZE(changes); i++)
                assert_int_equal(pinned_after(d, changes[i].path, changes[i].value, &why), LUKS_OK);
}

static void test_a_pin_is_for_one_secret_slot_and_version(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = image_open(&d->image);
        _cleanup_(secret_freep) struct secret *other = image_random(32),
                                              *other_vk = image_random(64);
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        struct luks_pin pin = d->pin;

        assert_int_equal(luks_pin_check(l, 0, other, &pin, &why, &err), LUKS_REFUSED);
        assert_int_equal(luks_pin_check(l, 1, d->slot_secret, &pin, &why, &err), LUKS_REFUSED);
        assert_int_equal(luks_pin_check_key(l, d->slot_secret, other_vk, &pin, &why, &err),
                         LUKS_REFUSED);
        pin.vmac[0] ^= 1;
        assert_int_equal(luks_pin_check(l, 0, d->slot_secret, &pin, &why, &err), LUKS_OK);
        assert_int_equal(luks_pin_check_key(l, d->slot_secret, d->volume_key, &pin, &why, &err),
                         LUKS_REFUSED);
        pin = d->pin;
        pin.vk[31] ^= 1;
        assert_int_equal(luks_pin_check_key(l, d->slot_secret, d->volume_key, &pin, &why, &err),
                         LUKS_REFUSED);
        pin = d->pin;
        pin.rules = 2;
        assert_int_equal(luks_pin_check(l, 0, d->slot_secret, &pin, &why, &err), LUKS_REFUSED);
        assert_non_null(strstr(why.text, "version 2"));
        assert_int_equal(err.errnum, 0);
}

/* The text and the MACs of LUKS_PIN_RULES 1, computed by other means. Once disks carry pins, this
 * test may grow, and never change. */
#define VECTOR_SALT "h4vHNcASwzt0gH7KAPVc5xIOAY9QGyfPMfjzzmQDxeE="
#define VECTOR_DIGEST "UV8TP3yEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define VECTOR_UUID "0f3a8f0e-6d0b-4f0e-9d57-1c2a3b4c5d6e"
#define VECTOR_SEGMENT                                                                             \
        "\"segments\":{\"0\":{\"encryption\":\"aes-xts-plain64\",\"iv_tweak\":\"0\","              \
        "\"offset\":\"16777216\",\"sector_size\":4096,\"size\":\"dynamic\",\"type\":\"crypt\"}}"
#define VECTOR_KEYSLOT                                                                             \
        "{\"af\":{\"hash\":\"sha512\",\"stripes\":4000,\"type\":\"luks1\"},\"area\":"              \
        "{\"encryption\":\"aes-xts-plain64\",\"key_size\":64,\"offset\":\"131072\","               \
        "\"size\":\"258048\",\"type\":\"raw\"},\"kdf\":{\"hash\":\"sha512\",\"iterations\":1000,"  \
        "\"salt\":\"" VECTOR_SALT "\",\"type\":\"pbkdf2\"},\"key_size\":64"
#define VECTOR_HEAD                                                                                \
        "{\"config\":{\"json_size\":\"61440\",\"keyslots_size\":\"16646144\","                     \
        "\"requirements\":{}},\"digest\":{\"digest\":\"" VECTOR_DIGEST "\",\"hash\":\"sha256\","   \
        "\"iterations\":1000,\"salt\":\"" VECTOR_SALT "\",\"segments\":[\"0\"],"                   \
        "\"type\":\"pbkdf2\"},\"escrow\":["                                                        \
        "\"93bd906ba172b00fa7d73d8da694770eddc542f8520bc7bc562e1e1dcab5859b\"],"

static const char vector_json[] =
        "{\"keyslots\":{\"0\":" VECTOR_KEYSLOT ",\"priority\":2,\"type\":\"luks2\"}},"
        "\"tokens\":{\"4\":{\"type\":\"diskseal-escrow\",\"keyslots\":[\"0\"],\"v\":1},"
        "\"2\":{\"type\":\"diskseal\",\"keyslots\":[\"0\"],\"v\":1}}," VECTOR_SEGMENT
        ",\"digests\":{\"0\":{\"type\":\"pbkdf2\",\"keyslots\":[\"0\"],\"segments\":[\"0\"],"
        "\"hash\":\"sha256\",\"iterations\":1000,\"salt\":\"" VECTOR_SALT
        "\",\"digest\":\"" VECTOR_DIGEST
        "\"}},\"config\":{\"json_size\":\"61440\",\"keyslots_size\":\"16646144\","
        "\"flags\":[\"allow-discards\"]}}";

static const char vector_covered[] =
        VECTOR_HEAD "\"keyslot\":" VECTOR_KEYSLOT ",\"type\":\"luks2\"}," VECTOR_SEGMENT
                    ",\"uuid\":\"" VECTOR_UUID "\"}";
static const char vector_covered_vk[] = VECTOR_HEAD VECTOR_SEGMENT ",\"uuid\":\"" VECTOR_UUID "\"}";

static const struct luks_pin vector_pin = {
        .rules = 1,
        .mac = { 0x9f, 0x79, 0x8c, 0xde, 0x3b, 0xcf, 0x5e, 0xe9, 0xa5, 0xef, 0x16,
                 0x52, 0x8f, 0x3a, 0x76, 0xde, 0xcd, 0x8a, 0xa5, 0x27, 0xbf, 0xf2,
                 0xb3, 0x8b, 0xd0, 0xb6, 0x69, 0xa0, 0xb4, 0x2f, 0x5a, 0x35 },
        .vmac = { 0x8d, 0x5b, 0xba, 0x29, 0x24, 0x29, 0xfc, 0x2a, 0x9a, 0x88, 0xa6,
                  0x96, 0x70, 0x5a, 0xef, 0x67, 0xef, 0x5d, 0x9d, 0x40, 0xea, 0xfa,
                  0x76, 0x08, 0x8c, 0x7f, 0x96, 0x73, 0x5a, 0x6e, 0x21, 0x12 },
        .vk = { 0x81, 0x0d, 0x55, 0xcc, 0x33, 0xe9, 0xe2, 0x12, 0x75, 0xec, 0xe0,
                0x4a, 0xb1, 0x25, 0xd7, 0x29, 0xb9, 0x08, 0xdc, 0xbf, 0x6d, 0x24,
                0x1c, 0xc9, 0x1a, 0xd6, 0x9e, 0xe0, 0x34, 0xec, 0xaa, 0xdf }
};

static void test_the_covered_form_is_what_it_was(void **state) {
        struct disk_of_ours *d = *state;
        _cleanup_(luks_closep) struct luks *l = NULL;
        _cleanup_(freep) char *covered = NULL, *covered_vk = NULL;
        struct error err = { 0 };
        struct luks_pin pin;

        image_write(&d->image, 168, VECTOR_UUID, sizeof(VECTOR_UUID));
        image_write(&d->image, 65536 + 168, VECTOR_UUID, sizeof(VECTOR_UUID));
        image_forge(&d->image, IMAGE_BOTH, vector_json, 0);
        l = image_open(&d->image);
        assert_int_equal(luks_covered(l, 0, NULL, &covered, &err), 0);
        assert_string_equal(covered, vector_covered);
        assert_int_equal(luks_covered(l, -1, NULL, &covered_vk, &err), 0);
        assert_string_equal(covered_vk, vector_covered_vk);

        memset(secret_data(d->slot_secret), 0x11, 32);
        memset(secret_data(d->volume_key), 0x22, 64);
        assert_int_equal(luks_pin_make(l,
                                       &(struct luks_pin_keys){ 0, d->slot_secret, d->volume_key },
                                       NULL, &pin, &err),
                         0);
        assert_int_equal(pin.rules, vector_pin.rules);
        assert_memory_equal(pin.mac, vector_pin.mac, LUKS_MAC_SIZE);
        assert_memory_equal(pin.vmac, vector_pin.vmac, LUKS_MAC_SIZE);
        assert_memory_equal(pin.vk, vector_pin.vk, LUKS_MAC_SIZE);
}

static void foreign(const struct image *i, const char *const *options, uint32_t key_size) {
        _cleanup_(secret_freep) struct secret *key = image_random(20), *wrong = image_random(20);
        _cleanup_(secret_freep) struct secret *got = NULL, *none = NULL;
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct luks_reason why = { 0 };

        image_cryptsetup_format(i, key, options);
        l = image_open(i);
        assert_int_equal(luks_facts(l)->key_size, key_size);
        assert_int_equal(luks_facts(l)->metadata_size, 16384);
        assert_int_equal(open_slot(l, 0, LUKS_SLOT_OURS, key, &none, &why), LUKS_REFUSED);
        assert_int_equal(open_slot(l, 0, LUKS_SLOT_FOREIGN, wrong, &none, &why), LUKS_WRONG_KEY);
        assert_null(none);
        assert_int_equal(open_slot(l, 0, LUKS_SLOT_FOREIGN, key, &got, &why), LUKS_OK);
        assert_int_equal(secret_size(got), key_size);
}

static void test_keyslots_of_cryptsetup_open(void **state) {
        static const char *const argon2id[] = { "--pbkdf-force-iterations",
                                                "4",
                                                "--pbkdf-memory",
                                                "32",
                                                "--pbkdf-parallel",
                                                "1",
                                                NULL };
        static const char *const argon2i[] = { "--pbkdf",
                                               "argon2i",
                                               "--pbkdf-force-iterations",
                                               "4",
                                               "--pbkdf-memory",
                                               "64",
                                               "--pbkdf-parallel",
                                               "2",
                                               NULL };
        static const char *const small[] = {
                "--key-size", "256",    "--pbkdf", "pbkdf2", "--pbkdf-force-iterations",
                "1000",       "--hash", "sha256",  NULL
        };
        /* As it comes, but for the time that it measures for. */
        static const char *const plain[] = { "--iter-time", "100", NULL };
        const struct disk_of_ours *d = *state;

        foreign(&d->image, argon2id, 64);
        foreign(&d->image, argon2i, 64);
        foreign(&d->image, small, 32);
        foreign(&d->image, plain, 64);
}

/* A disk that's adopted: its volume key is of 256 bits, our keyslot stands beside the other one. */
static void test_ours_beside_a_foreign_keyslot(void **state) {
        static const char *const small[] = {
                "--key-size", "256", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", NULL
        };
        struct disk_of_ours *d = *state;
        _cleanup_(secret_freep) struct secret *key = image_random(20), *vk = NULL, *got = NULL;
        _cleanup_(luks_closep) struct luks *l = NULL;
        _cleanup_(luks_edit_closep) struct luks_edit *e = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        image_cryptsetup_format(&d->image, key, small);
        l = image_open(&d->image);
        assert_int_equal(open_slot(l, 0, LUKS_SLOT_FOREIGN, key, &vk, &why), LUKS_OK);
        assert_int_equal(luks_edit(l, &e, &why, &err), LUKS_OK);
        if (luks_slot_add(e, &(struct luks_key){ 5, LUKS_SLOT_OURS, d->slot_secret }, vk, &err) < 0)
                fail_msg("%s", err.text);
        assert_int_equal(
                open_slot(luks_edit_result(e), 5, LUKS_SLOT_OURS, d->slot_secret, &got, &why),
                LUKS_OK);
        assert_true(crypto_equal(secret_data(got), secret_data(vk), 32));
        assert_int_equal(image_cryptsetup_opens(&d->image, key), 0);
        assert_int_equal(image_cryptsetup_opens(&d->image, d->slot_secret), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_what_was_made_opens, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cryptsetup_reads_and_opens_it, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_another_key_is_a_wrong_key, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_slot_but_the_named_one, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_area_is_read_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_header_is_read_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unknown_members_of_a_token_stay, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_the_pin_sees_what_it_covers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_pin_lets_pass_what_it_does_not_cover,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_pin_is_for_one_secret_slot_and_version,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_covered_form_is_what_it_was, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_keyslots_of_cryptsetup_open, setup, teardown),
                cmocka_unit_test_setup_teardown(test_ours_beside_a_foreign_keyslot, setup,
                                                teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
