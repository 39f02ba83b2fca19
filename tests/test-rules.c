/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "luks/rules.h"
#include "tests/image.h"

#define METADATA_SIZE 16384     /* bytes, of the header below */
#define DEVICE_SIZE (32U << 20) /* bytes */
#define UUID "0f3a8f0e-6d0b-4f0e-9d57-1c2a3b4c5d6e"

#define SALT "\"h4vHNcASwzt0gH7KAPVc5xIOAY9QGyfPMfjzzmQDxeE=\""
#define DIGEST64                                                                                   \
        "\"Qv6q0e2UhhkNKIYp3+GRq5IMfYTtVSIsSuXWUlbjPNuKxf1oVVvQ0Tg5o1VQeTB6t4cc6lHJGAtpVKz1w2DuRA" \
        "==\""

/* Keyslot 0 is ours, keyslot 1 of `cryptsetup luksAddKey`, keyslot 2 of nobody that we know. */
static const char honest[] =
        "{\"keyslots\":{"
        "\"0\":{\"type\":\"luks2\",\"key_size\":64,"
        "\"af\":{\"type\":\"luks1\",\"stripes\":4000,\"hash\":\"sha512\"},"
        "\"area\":{\"type\":\"raw\",\"offset\":\"32768\",\"size\":\"258048\","
        "\"encryption\":\"aes-xts-plain64\",\"key_size\":64},"
        "\"kdf\":{\"type\":\"pbkdf2\",\"hash\":\"sha512\",\"iterations\":1000,\"salt\":" SALT "}},"
        "\"1\":{\"type\":\"luks2\",\"key_size\":64,"
        "\"af\":{\"type\":\"luks1\",\"stripes\":4000,\"hash\":\"sha256\"},"
        "\"area\":{\"type\":\"raw\",\"offset\":\"290816\",\"size\":\"258048\","
        "\"encryption\":\"aes-xts-plain64\",\"key_size\":64},"
        "\"kdf\":{\"type\":\"argon2id\",\"time\":4,\"memory\":1048576,\"cpus\":4,\"salt\":" SALT
        "}},"
        "\"2\":{\"type\":\"x-unknown\",\"key_size\":1,\"area\":{\"offset\":\"548864\","
        "\"size\":\"4096\"}}},"
        "\"tokens\":{\"7\":{\"type\":\"x-unknown\",\"keyslots\":[]}},"
        "\"segments\":{\"0\":{\"type\":\"crypt\",\"offset\":\"16777216\",\"size\":\"dynamic\","
        "\"iv_tweak\":\"0\",\"encryption\":\"aes-xts-plain64\",\"sector_size\":4096}},"
        "\"digests\":{\"0\":{\"type\":\"pbkdf2\",\"keyslots\":[\"0\",\"1\"],\"segments\":[\"0\"],"
        "\"hash\":\"sha512\",\"iterations\":1000,\"salt\":" SALT ",\"digest\":" DIGEST64 "},"
        "\"1\":{\"type\":\"pbkdf2\",\"keyslots\":[],\"segments\":[],\"hash\":\"sha1\","
        "\"iterations\":99999999,\"salt\":\"\",\"digest\":\"\"}},"
        "\"config\":{\"json_size\":\"12288\",\"keyslots_size\":\"16744448\"}}";

struct change {
        const char *rule; /* that refuses it; NULL: it's fine */
        const char *path, *value;
};

static struct json *header_new(const struct change *c) {
        struct json *j = NULL;
        struct error err = { 0 };

        if (json_parse(honest, strlen(honest), &j, &err) < 0)
                fail_msg("%s", err.text);
        if (c)
                image_set(j, c->path, c->value);
        return j;
}

static struct rules_subject subject_of(const struct json *j) {
        return (struct rules_subject){
                .metadata = j,
                .uuid = UUID,
                .metadata_size = METADATA_SIZE,
                .device_size = DEVICE_SIZE,
                .header_size = DEVICE_SIZE,
        };
}

/* With and without words; and where there are words, there are both. */
static void looks_the_same(const struct rule *rule, const struct rules_subject *s) {
        struct finding f = { 0 };

        assert_int_equal(rule->holds(s, NULL), rule->holds(s, &f));
        if (!f.expected[0])
                fail_msg("%s: nothing is expected", rule->name);
        for (const char *p = f.found; *p; p++)
                assert_in_range(*p, 0x20, 0x7e);
}

static void each_rule_looks_the_same_both_ways(const struct rules_subject *s) {
        for (size_t k = 0; k < rules_header_count; k++)
                looks_the_same(&rules_header[k], s);
        for (size_t k = 0; k < rules_slot_count; k++)
                looks_the_same(&rules_slot[k], s);
}

static void verdict_is(const struct change *c, enum luks_verdict got,
                       const struct luks_reason *why) {
        const char *rule = c->rule ? c->rule : "";

        if (got != (c->rule ? LUKS_REFUSED : LUKS_OK) || strcmp(why->rule, rule) != 0)
                fail_msg("%s = %s: '%s' '%s', expected '%s'", c->path, c->value ? c->value : "none",
                         why->rule, why->text, rule);
        if (c->rule)
                assert_non_null(strstr(why->text, ", expected "));
}

static void header(const struct change *c) {
        _cleanup_(json_freep) struct json *j = header_new(c);
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        verdict_is(c, luks_rules_header(&s, &why), &why);
        each_rule_looks_the_same_both_ways(&s);
}

static void slot(unsigned number, enum luks_slot_kind kind, const struct change *c) {
        _cleanup_(json_freep) struct json *j = header_new(c);
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        s.slot = number;
        s.kind = kind;
        verdict_is(c, luks_rules_slot(&s, &why), &why);
        each_rule_looks_the_same_both_ways(&s);
}

static const struct change header_changes[] = {
        { NULL, "config.requirements", "{}" },
        { NULL, "config.requirements", "{\"mandatory\":[]}" },
        { NULL, "config.flags", "[\"allow-discards\"]" },
        { NULL, "digests.1.segments", NULL },
        { NULL, "digests.0.iterations", "1000" },
        { NULL, "keyslots.31", "{}" },
        { NULL, "tokens.31", "{}" },
        { NULL, "segments.0.offset", "\"33550336\"" }, /* the last sector */
        { NULL, "segments.0.sector_size", "512" },
        { NULL, "segments.0.sector_size", "1024" },
        { NULL, "segments.0.sector_size", "2048" },
        { NULL, "segments.0.offset", "\"16781312\"" },
        { NULL, "digests.0.iterations", "2000000" },
        { NULL, "keyslots", "{}" },
        { NULL, "tokens", "{}" },
        { NULL, "keyslots.2.area.offset", "\"0\"" }, /* not ours to judge until it's opened */
        { "members", "x-host", "{\"a\":1}" },
        { "members", "tokens", NULL },
        { "config-members", "config.x-host", "1" },
        { "config-members", "config.json_size", NULL },
        { "json-size", "config.json_size", "\"12287\"" },
        { "json-size", "config.json_size", "\"12289\"" },
        { "json-size", "config.json_size", "12288" },
        { "keyslots-size", "config.keyslots_size", "\"134217729\"" },
        { "keyslots-size", "config.keyslots_size", "\"33521665\"" }, /* the device is smaller */
        { "keyslots-size", "config.keyslots_size", "\"-1\"" },
        { "keyslots-size", "config.keyslots_size", "\"18446744073709551616\"" },
        { "requirements", "config.requirements", "{\"mandatory\":[\"online-reencrypt-v2\"]}" },
        { "requirements", "config.requirements", "{\"mandatory\":[],\"x\":1}" },
        { "requirements", "config.requirements", "[]" },
        { "requirements", "config.requirements", "{\"optional\":[]}" },
        { "requirements", "config.requirements", "{\"mandatory\":{}}" },
        { "segments", "segments.1", "{\"type\":\"linear\"}" },
        { "segments", "segments.0", NULL },
        { "segment-type", "segments.0.type", "\"linear\"" },
        { "segment-type", "segments.0.type", "\"crypt\\u0000\"" },
        { "segment-type", "segments.0.type", NULL },
        { "cipher", "segments.0.encryption", "\"cipher_null-ecb\"" },
        { "cipher", "segments.0.encryption", "\"aes-xts-plain64 \"" },
        { "cipher", "segments.0.encryption", "\"aes-xts-plain64\\u0000\"" },
        { "cipher", "segments.0.encryption", "\"AES-xts-plain64\"" },
        { "cipher", "segments.0.encryption", "\"aes-xts-plain64 00 0 /dev/vda 0\"" },
        { "segment-members", "segments.0.integrity", "{\"type\":\"hmac(sha256)\"}" },
        { "segment-members", "segments.0.flags", "[]" },
        { "iv-tweak", "segments.0.iv_tweak", "\"1\"" },
        { "iv-tweak", "segments.0.iv_tweak", "0" },
        { "segment-size", "segments.0.size", "\"4096\"" },
        { "sector-size", "segments.0.sector_size", "0" },
        { "sector-size", "segments.0.sector_size", "256" },
        { "sector-size", "segments.0.sector_size", "1536" },
        { "sector-size", "segments.0.sector_size", "8192" },
        { "sector-size", "segments.0.sector_size", "-512" },
        { "sector-size", "segments.0.sector_size", "4096.0" },
        { "sector-size", "segments.0.sector_size", "\"4096\"" },
        { "data-offset", "segments.0.offset", "\"0\"" },
        { "data-offset", "segments.0.offset", "\"16773120\"" },
        { "data-offset", "segments.0.offset", "\"16777215\"" },
        { "data-offset", "segments.0.offset", "\"16777728\"" },
        { "data-offset", "segments.0.offset", "\"33554432\"" }, /* where the device ends */
        { "data-offset", "segments.0.offset", "\"9223372036854775808\"" },
        { "digests", "digests.0.segments", "[]" },
        { "digests", "digests.1.segments", "[\"0\"]" },
        { "digests", "digests", "{}" },
        { "digest-type", "digests.0.type", "\"x-host\"" },
        { "digest-members", "digests.0.digest", NULL },
        { "digest-members", "digests.0.salt", NULL },
        { "digest-members", "digests.0.x-host", "1" },
        { "digest-segments", "digests.0.segments", "[\"0\",\"1\"]" },
        { "digest-hash", "digests.0.hash", "\"sha1\"" },
        { "digest-hash", "digests.0.hash", "\"md4\"" },
        { "digest-iterations", "digests.0.iterations", "999" },
        { "digest-iterations", "digests.0.iterations", "2000001" },
        { "digest-iterations", "digests.0.iterations", "-1000" },
        { "digest-iterations", "digests.0.iterations", "4294968296" }, /* 2^32 + 1000 */
        { "digest-salt", "digests.0.salt", "\"\"" },
        { "digest-salt", "digests.0.salt", "\"AAAA\"" },
        { "digest-salt", "digests.0.salt", DIGEST64 },
        { "digest-value", "digests.0.digest", "\"\"" },
        { "digest-value", "digests.0.digest", "\"QQ==\"" },
        { "digest-value", "digests.0.digest", SALT }, /* SHA-512 with 32 bytes */
        { "digest-value", "digests.0.digest", "\"!\"" },
        { "keyslots", "keyslots.32", "{}" },
        { "keyslots", "keyslots.00", "{}" },
        { "keyslots", "keyslots.-1", "{}" },
        { "keyslots", "keyslots.3", "[]" },
        { "keyslots", "keyslots.3", "3" },
        { "keyslots", "keyslots", "[]" },
        { "tokens", "tokens.99", "{}" },
};

static void test_the_honest_header_is_fine(void **state) {
        _cleanup_(json_freep) struct json *j = header_new(NULL);
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        (void) state;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_OK);
        s.kind = LUKS_SLOT_OURS;
        assert_int_equal(luks_rules_slot(&s, &why), LUKS_OK);
        s.kind = LUKS_SLOT_FOREIGN;
        assert_int_equal(luks_rules_slot(&s, &why), LUKS_OK);
        s.slot = 1;
        assert_int_equal(luks_rules_slot(&s, &why), LUKS_OK);
        assert_string_equal(why.rule, "");
}

static void test_each_rule_of_the_header_refuses(void **state) {
        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(header_changes); i++)
                header(&header_changes[i]);
}

static void test_sha256_wants_a_digest_of_32_bytes(void **state) {
        _cleanup_(json_freep) struct json *j = header_new(NULL);
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        (void) state;
        image_set(j, "digests.0.hash", "\"sha256\"");
        assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
        assert_string_equal(why.rule, "digest-value");
        image_set(j, "digests.0.digest", SALT);
        assert_int_equal(luks_rules_header(&s, &why), LUKS_OK);
}

static const struct change sizes_header[] = {
        { NULL, "config.keyslots_size", "\"134217728\"" }, /* 128 MiB, and no more */
        { "keyslots-size", "config.keyslots_size", "\"134217729\"" },
};

static void test_the_area_of_keyslots_ends_somewhere(void **state) {
        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(sizes_header); i++) {
                _cleanup_(json_freep) struct json *j = header_new(&sizes_header[i]);
                struct rules_subject s = subject_of(j);
                struct luks_reason why = { 0 };

                s.header_size = s.device_size = 1ULL << 40;
                s.detached = true;
                verdict_is(&sizes_header[i], luks_rules_header(&s, &why), &why);
        }
}

/* What holds the header bounds the areas, what holds the data its offset. */
static void test_a_detached_header_has_two_sizes(void **state) {
        static const struct change zero = { NULL, "segments.0.offset", "\"0\"" };
        _cleanup_(json_freep) struct json *j = header_new(&zero);
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        (void) state;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
        assert_string_equal(why.rule, "data-offset");
        s.detached = true;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_OK);
        each_rule_looks_the_same_both_ways(&s);
        s.header_size = 16 << 20;
        s.device_size = 1;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_OK);
        s.device_size = 0;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
        assert_string_equal(why.rule, "data-offset");
        each_rule_looks_the_same_both_ways(&s);
        s.device_size = DEVICE_SIZE;
        s.header_size = (16 << 20) - 1;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
        assert_string_equal(why.rule, "keyslots-size");
        s.header_size = METADATA_SIZE;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
}

static const char *const leaves[] = {
        "config.json_size",
        "config.keyslots_size",
        "segments.0.type",
        "segments.0.offset",
        "segments.0.size",
        "segments.0.iv_tweak",
        "segments.0.encryption",
        "segments.0.sector_size",
        "digests.0.type",
        "digests.0.keyslots",
        "digests.0.segments",
        "digests.0.hash",
        "digests.0.iterations",
        "digests.0.salt",
        "digests.0.digest",
        "keyslots.0.type",
        "keyslots.0.key_size",
        "keyslots.0.af",
        "keyslots.0.af.type",
        "keyslots.0.af.stripes",
        "keyslots.0.af.hash",
        "keyslots.0.area",
        "keyslots.0.area.type",
        "keyslots.0.area.offset",
        "keyslots.0.area.size",
        "keyslots.0.area.encryption",
        "keyslots.0.area.key_size",
        "keyslots.0.kdf",
        "keyslots.0.kdf.type",
        "keyslots.0.kdf.hash",
        "keyslots.0.kdf.iterations",
        "keyslots.0.kdf.salt",
};

static bool is_refused(const struct json *j, enum luks_slot_kind kind) {
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        s.kind = kind;
        each_rule_looks_the_same_both_ways(&s);
        return luks_rules_header(&s, &why) == LUKS_REFUSED ||
               luks_rules_slot(&s, &why) == LUKS_REFUSED;
}

static void test_nothing_may_be_missing_or_of_another_type(void **state) {
        static const char *const values[] = { NULL, "true", "[]",    "{}",    "\"\"",
                                              "-1", "1.5",  "\"x\"", "\"-1\"" };

        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
                for (unsigned k = 0; k < ARRAY_SIZE(values); k++) {
                        const struct change c = { "", leaves[i], values[k] };
                        _cleanup_(json_freep) struct json *j = header_new(&c);

                        if (!is_refused(j, LUKS_SLOT_OURS) || !is_refused(j, LUKS_SLOT_FOREIGN))
                                fail_msg("%s: %s", leaves[i], values[k] ? values[k] : "missing");
                }
}

static void test_the_uuid_is_one(void **state) {
        static const char *const bad[] = { "",
                                           "0f3a8f0e-6d0b-4f0e-9d57-1c2a3b4c5d6",
                                           UUID "0",
                                           "0F3A8F0E-6D0B-4F0E-9D57-1C2A3B4C5D6E",
                                           "0f3a8f0e06d0b-4f0e-9d57-1c2a3b4c5d6e",
                                           "../../../../../../../../../../../etc" };
        _cleanup_(json_freep) struct json *j = header_new(NULL);
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
                s.uuid = bad[i];
                assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
                assert_string_equal(why.rule, "uuid");
        }
        s.uuid = NULL;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
}

/* What is refused in a keyslot of either kind. */
static const struct change slot_changes[] = {
        { NULL, "keyslots.0.priority", "0" },
        { NULL, "keyslots.0.priority", "2" },
        { NULL, "keyslots.2.area.offset", "\"16773120\"" },
        { NULL, "keyslots.2.area.size", "\"0\"" },
        { NULL, "keyslots.1.area.offset", "\"548864\"" },
        { NULL, "keyslots.0.area.offset", "\"16519168\"" }, /* the last that fits */
        { "slot-type", "keyslots.0", NULL },
        { "slot-type", "keyslots.0.type", "\"reencrypt\"" },
        { "slot-members", "keyslots.0.x-host", "1" },
        { "slot-members", "keyslots.0.kdf", NULL },
        { "slot-priority", "keyslots.0.priority", "3" },
        { "slot-priority", "keyslots.0.priority", "-1" },
        { "slot-key-size", "keyslots.0.key_size", "0" },
        { "slot-key-size", "keyslots.0.key_size", "4" },
        { "slot-key-size", "keyslots.0.key_size", "65" },
        { "slot-key-size", "keyslots.0.key_size", "\"64\"" },
        { "slot-af-members", "keyslots.0.af.x-host", "1" },
        { "slot-af", "keyslots.0.af.stripes", "1" },
        { "slot-af", "keyslots.0.af.type", "\"luks2\"" },
        { "slot-af", "keyslots.0.af.hash", "\"md5\"" },
        { "slot-area-members", "keyslots.0.area.x-host", "1" },
        { "slot-area-cipher", "keyslots.0.area.encryption", "\"cipher_null-ecb\"" },
        { "slot-area-cipher", "keyslots.0.area.encryption", "\"null\"" },
        { "slot-area-cipher", "keyslots.0.area.type", "\"journal\"" },
        { "slot-area-cipher", "keyslots.0.area.key_size", "2147483647" },
        { "slot-area-cipher", "keyslots.0.area.key_size", "1" },
        { "slot-area-size", "keyslots.0.area.size", "\"4096\"" },
        { "slot-area-size", "keyslots.0.area.size", "\"258049\"" },
        { "slot-area-size", "keyslots.0.key_size", "32" },
        { "slot-area-place", "keyslots.0.area.offset", "\"4096\"" },
        { "slot-area-place", "keyslots.0.area.offset", "\"32769\"" },
        { "slot-area-place", "keyslots.0.area.offset", "\"16519169\"" },
        { "slot-area-place", "keyslots.0.area.offset", "\"18446744073709551615\"" },
        { "slot-area-alone", "keyslots.0.area.offset", "\"36864\"" },
        { "slot-area-alone", "keyslots.2.area.offset", "\"32768\"" },
        { "slot-area-alone", "keyslots.2.area.offset", "\"286720\"" }, /* the last block */
        { "slot-area-alone", "keyslots.2.area.size", "\"-1\"" },
        { "slot-area-alone", "keyslots.2.area", NULL },
        { "slot-kdf", "keyslots.0.kdf.type", "\"x-host\"" },
        { "slot-kdf", "keyslots.0.kdf.hash", "\"md4\"" },
        { "slot-kdf", "keyslots.0.kdf.iterations", "999" },
        { "slot-kdf", "keyslots.0.kdf.iterations", "2147483647" },
        { "slot-kdf", "keyslots.0.kdf.iterations", "-1" },
        { "slot-kdf", "keyslots.0.kdf.iterations", "1099511627776" },
        { "slot-kdf", "keyslots.0.kdf.x-host", "1" },
        { "slot-kdf-salt", "keyslots.0.kdf.salt", "\"\"" },
        { "slot-kdf-salt", "keyslots.0.kdf.salt", DIGEST64 },
        { "slot-digest", "digests.0.keyslots", "[\"1\"]" },
        { "slot-digest", "digests.1.keyslots", "[\"0\"]" },
};

/* What is refused in ours alone. */
static const struct change ours_changes[] = {
        { "slot-af", "keyslots.0.af.hash", "\"sha256\"" },
        { "slot-area-cipher", "keyslots.0.area.key_size", "32" },
        { "slot-kdf", "keyslots.0.kdf.hash", "\"sha256\"" },
        { "slot-kdf", "keyslots.0.kdf.iterations", "1001" },
        { "slot-kdf", "keyslots.0.kdf",
          "{\"type\":\"argon2id\",\"time\":4,\"memory\":32,\"cpus\":1,\"salt\":" SALT "}" },
};

/* What argon2 may cost. */
static const struct change argon2_changes[] = {
        { NULL, "keyslots.1.kdf.type", "\"argon2i\"" },
        { NULL, "keyslots.1.kdf.time", "64" },
        { NULL, "keyslots.1.kdf.time", "1" },
        { NULL, "keyslots.1.kdf.cpus", "1" },
        { NULL, "keyslots.1.kdf.memory", "4194304" },
        { NULL, "keyslots.1.kdf.memory", "32" },
        { "slot-kdf", "keyslots.1.kdf.type", "\"argon2d\"" },
        { "slot-kdf", "keyslots.1.kdf.time", "65" }, /* times 1 GiB */
        { "slot-kdf", "keyslots.1.kdf.time", "0" },
        { "slot-kdf", "keyslots.1.kdf.time", "2147483648" },
        { "slot-kdf", "keyslots.1.kdf.memory", "4194305" },
        { "slot-kdf", "keyslots.1.kdf.memory", "31" },
        { "slot-kdf", "keyslots.1.kdf.memory", "0" },
        { "slot-kdf", "keyslots.1.kdf.memory", "4294967295" },
        { "slot-kdf", "keyslots.1.kdf.cpus", "0" },
        { "slot-kdf", "keyslots.1.kdf.cpus", "5" },
        { "slot-kdf", "keyslots.1.kdf.hash", "\"sha256\"" },
        { "slot-kdf-salt", "keyslots.1.kdf.salt", "\"AAAA\"" },
};

static void test_each_rule_of_a_keyslot_refuses(void **state) {
        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(slot_changes); i++) {
                slot(0, LUKS_SLOT_OURS, &slot_changes[i]);
                slot(0, LUKS_SLOT_FOREIGN, &slot_changes[i]);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(argon2_changes); i++)
                slot(1, LUKS_SLOT_FOREIGN, &argon2_changes[i]);
}

static void test_ours_is_exactly_what_we_make(void **state) {
        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(ours_changes); i++) {
                struct change fine = ours_changes[i];

                slot(0, LUKS_SLOT_OURS, &ours_changes[i]);
                fine.rule = NULL;
                slot(0, LUKS_SLOT_FOREIGN, &fine);
        }
}

static bool is_tried(const char *rule, const struct change *changes, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (changes[i].rule && strcmp(changes[i].rule, rule) == 0)
                        return true;
        return false;
}

static void test_no_rule_is_left_out_here(void **state) {
        (void) state;
        for (size_t i = 0; i < rules_header_count; i++)
                if (strcmp(rules_header[i].name, "uuid") != 0 &&
                    !is_tried(rules_header[i].name, header_changes, ARRAY_SIZE(header_changes)))
                        fail_msg("%s", rules_header[i].name);
        for (size_t i = 0; i < rules_slot_count; i++)
                if (!is_tried(rules_slot[i].name, slot_changes, ARRAY_SIZE(slot_changes)))
                        fail_msg("%s", rules_slot[i].name);
}

/* The table is printed rule by rule, for any header. */
static void test_each_rule_stands_alone(void **state) {
        static const char nulls[] = "{\"segments\":{\"0\":null},\"keyslots\":{\"0\":null},"
                                    "\"digests\":{\"0\":{\"segments\":[\"0\"]}},\"config\":null}";
        static const char *const texts[] = { "{}", "[]", "{\"segments\":[],\"digests\":1}", nulls };

        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(json_freep) struct json *j = NULL;
                struct rules_subject s;
                struct error err = { 0 };
                assert_int_equal(json_parse(texts[i], strlen(texts[i]), &j, &err), 0);
                s = subject_of(j);
                s.device_size = s.header_size = 0;
                each_rule_looks_the_same_both_ways(&s);
        }
}

static void test_what_a_header_says_is_shown_in_ascii(void **state) {
        const struct change c = { "cipher", "segments.0.encryption",
                                  "\"\xc3\xa4\xe2\x80\xae\\u001b[2J\\n\x7f\"" };
        _cleanup_(json_freep) struct json *j = header_new(&c);
        struct rules_subject s = subject_of(j);
        struct luks_reason why = { 0 };

        (void) state;
        assert_int_equal(luks_rules_header(&s, &why), LUKS_REFUSED);
        for (const char *p = why.text; *p; p++)
                assert_true(*p >= 0x20 && *p <= 0x7e);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_honest_header_is_fine),
                cmocka_unit_test(test_each_rule_of_the_header_refuses),
                cmocka_unit_test(test_sha256_wants_a_digest_of_32_bytes),
                cmocka_unit_test(test_the_area_of_keyslots_ends_somewhere),
                cmocka_unit_test(test_a_detached_header_has_two_sizes),
                cmocka_unit_test(test_nothing_may_be_missing_or_of_another_type),
                cmocka_unit_test(test_the_uuid_is_one),
                cmocka_unit_test(test_each_rule_of_a_keyslot_refuses),
                cmocka_unit_test(test_ours_is_exactly_what_we_make),
                cmocka_unit_test(test_no_rule_is_left_out_here),
                cmocka_unit_test(test_each_rule_stands_alone),
                cmocka_unit_test(test_what_a_header_says_is_shown_in_ascii),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
