/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "luks/rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "luks/expect.h"
#include "luks/internal.h"

/* The rules for all but the keyslots: what cryptsetup and we write for one crypt segment behind its
 * header, and nothing that it could do besides. */

#define DIGEST_ITERATIONS_MIN 1000
/* cryptsetup measures what takes 125 ms: some 500,000 on a machine of 2020, 1,000,000 on the
 * fastest. This is twice that, and about a second in an ordinary VM. */
#define DIGEST_ITERATIONS_MAX 2000000
#define SALT_SIZE 32 /* bytes, the only size that libcryptsetup verifies with */

const struct json *rules_section(const struct json *metadata, const char *name) {
        const struct json *o;
        struct error err = { 0 };

        return json_get(metadata, name, &o, &err) < 0 ? NULL : o;
}

const struct json *rules_numbered(const struct json *metadata, const char *collection,
                                  unsigned number) {
        char name[16];

        (void) snprintf(name, sizeof(name), "%u", number);
        return rules_section(rules_section(metadata, collection), name);
}

bool rules_bound(const struct json *token_or_digest, unsigned slot) {
        const struct json *slots;
        struct error err = { 0 };
        char name[16];

        (void) snprintf(name, sizeof(name), "%u", slot);
        return json_get_array(token_or_digest, "keyslots", &slots, &err) == 0 &&
               json_lists(slots, name);
}

static const struct json *section(const struct rules_subject *s, const char *name) {
        return rules_section(s->metadata, name);
}

static const struct json *segment(const struct rules_subject *s) {
        return rules_numbered(s->metadata, "segments", 0);
}

static unsigned data_digests(const struct json *metadata, const struct json **ret) {
        const struct json *all = rules_section(metadata, "digests"), *segments;
        struct json_iter i = { 0 };
        struct error err = { 0 };
        unsigned n = 0;

        while (json_next(all, &i)) {
                if (json_get_array(i.value, "segments", &segments, &err) < 0 ||
                    !json_lists(segments, "0"))
                        continue;
                *ret = i.value;
                n++;
        }
        return n;
}

const struct json *rules_data_digest(const struct json *metadata) {
        const struct json *digest = NULL;

        return data_digests(metadata, &digest) == 1 ? digest : NULL;
}

static bool is_uuid(const char *u) {
        for (unsigned i = 0; i < 36; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (dash ? u[i] != '-' : !u[i] || !strchr("0123456789abcdef", u[i]))
                        return false;
        }
        return u[36] == '\0';
}

static bool uuid_is_one(const struct rules_subject *s, struct finding *f) {
        const char *uuid = s->uuid ? s->uuid : "";

        return expect(f, is_uuid(uuid), uuid, "a UUID in lower case");
}

static bool top_members(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "keyslots", "tokens", "segments",
                                             "digests",  "config", NULL };

        return expect_members(f, s->metadata, names);
}

static bool config_members(const struct rules_subject *s, struct finding *f) {
        /* The flags are the disk's wish; what's done at activation is ours to say. */
        static const char *const names[] = { "json_size", "keyslots_size", "?flags",
                                             "?requirements", NULL };

        return expect_members(f, section(s, "config"), names);
}

static bool json_size(const struct rules_subject *s, struct finding *f) {
        uint64_t size = s->metadata_size - HDR_BINARY;

        return expect_decimal(f, section(s, "config"), "json_size", size, size);
}

static bool keyslots_size(const struct rules_subject *s, struct finding *f) {
        uint64_t max = KEYSLOTS_AREA_MAX, used = 2 * s->metadata_size;

        if (s->header_size < used)
                max = 0;
        else if (s->header_size - used < max)
                max = s->header_size - used;
        return expect_decimal(f, section(s, "config"), "keyslots_size", 0, max);
}

static bool no_requirements(const struct rules_subject *s, struct finding *f) {
        const struct json *config = section(s, "config");
        const struct json *requirements = rules_section(config, "requirements"), *mandatory;
        struct error err = { 0 };
        size_t n = json_length(requirements);
        bool none;

        none = !json_has(config, "requirements") ||
               (requirements &&
                (n == 0 ||
                 (n == 1 && json_get_array(requirements, "mandatory", &mandatory, &err) == 0 &&
                  json_length(mandatory) == 0)));
        return expect_member(f, none, config, "requirements", "none");
}

static bool segments_one(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "0", NULL };

        if (!expect_only(f, section(s, "segments"), names))
                return false;
        return expect(f, true, "1 segment", "segment 0 alone");
}

static bool segment_members(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "type",       "offset",      "size", "iv_tweak",
                                             "encryption", "sector_size", NULL };

        return expect_members(f, segment(s), names);
}

static bool segment_type(const struct rules_subject *s, struct finding *f) {
        return expect_string(f, segment(s), "type", "crypt");
}

static bool segment_cipher(const struct rules_subject *s, struct finding *f) {
        return expect_string(f, segment(s), "encryption", CIPHER);
}

static bool segment_iv_tweak(const struct rules_subject *s, struct finding *f) {
        return expect_string(f, segment(s), "iv_tweak", "0");
}

static bool segment_size(const struct rules_subject *s, struct finding *f) {
        return expect_string(f, segment(s), "size", "dynamic");
}

static bool segment_sector_size(const struct rules_subject *s, struct finding *f) {
        uint64_t n = read_uint(segment(s), "sector_size", 4096, 0);

        return expect_member(f, n >= 512 && (n & (n - 1)) == 0, segment(s), "sector_size",
                             "512, 1024, 2048 or 4096");
}

/* Behind the header and its keyslots, where they are on the same device. */
static uint64_t data_offset_min(const struct rules_subject *s) {
        if (s->detached)
                return 0;
        return 2 * s->metadata_size + read_decimal(section(s, "config"), "keyslots_size",
                                                   KEYSLOTS_AREA_MAX, KEYSLOTS_AREA_MAX);
}

static bool segment_offset(const struct rules_subject *s, struct finding *f) {
        uint64_t min = data_offset_min(s), offset, sector;
        char found[60], expected[40];
        bool aligned;

        if (s->device_size <= min) {
                (void) snprintf(found, sizeof(found), "the device has %" PRIu64 " bytes",
                                s->device_size);
                (void) snprintf(expected, sizeof(expected), "more than %" PRIu64, min);
                return expect(f, false, found, expected);
        }
        if (!expect_decimal(f, segment(s), "offset", min, s->device_size - 1))
                return false;
        offset = read_decimal(segment(s), "offset", UINT64_MAX, 0);
        sector = read_uint(segment(s), "sector_size", 4096, 0);
        aligned = sector > 0 && offset % sector == 0;
        return expect(f, aligned, aligned ? "" : "an offset between sectors",
                      "a multiple of the sector size");
}

static bool digests_one(const struct rules_subject *s, struct finding *f) {
        const struct json *digest = NULL;
        unsigned n = data_digests(s->metadata, &digest);
        char found[40];

        (void) snprintf(found, sizeof(found), "%u digests of segment 0", n);
        return expect(f, n == 1, n == 1 ? "1 digest of segment 0" : found, "one");
}

static bool digest_members(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "type",       "keyslots", "segments", "hash",
                                             "iterations", "salt",     "digest",   NULL };

        return expect_members(f, rules_data_digest(s->metadata), names);
}

static bool digest_type(const struct rules_subject *s, struct finding *f) {
        return expect_string(f, rules_data_digest(s->metadata), "type", "pbkdf2");
}

static bool digest_segments(const struct rules_subject *s, struct finding *f) {
        const struct json *digest = rules_data_digest(s->metadata), *segments;
        struct error err = { 0 };

        /* It's the digest of the data because it has segment 0. */
        return expect_member(f,
                             json_get_array(digest, "segments", &segments, &err) == 0 &&
                                     json_length(segments) == 1,
                             digest, "segments", "segment 0 alone");
}

static bool digest_hash(const struct rules_subject *s, struct finding *f) {
        static const char *const hashes[] = { "sha256", "sha512", NULL };

        return expect_one_of(f, rules_data_digest(s->metadata), "hash", hashes);
}

static bool digest_iterations(const struct rules_subject *s, struct finding *f) {
        return expect_uint(f, rules_data_digest(s->metadata), "iterations", DIGEST_ITERATIONS_MIN,
                           DIGEST_ITERATIONS_MAX);
}

/* libcryptsetup must have been able to verify with this digest; what it can't use, it passes over
 * in silence. */
static bool digest_salt(const struct rules_subject *s, struct finding *f) {
        return expect_bytes(f, rules_data_digest(s->metadata), "salt", SALT_SIZE);
}

static bool digest_value(const struct rules_subject *s, struct finding *f) {
        const struct json *digest = rules_data_digest(s->metadata);
        const char *hash = NULL;
        struct error err = { 0 };

        if (json_get_string(digest, "hash", &hash, &err) < 0)
                hash = "";
        return expect_bytes(f, digest, "digest", strcmp(hash, "sha512") == 0 ? 64 : 32);
}

static bool is_number(const char *key) {
        char name[16];

        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                (void) snprintf(name, sizeof(name), "%u", i);
                if (strcmp(name, key) == 0)
                        return true;
        }
        return false;
}

/* Names are the numbers from 0 to 31, and what they name are objects. */
static bool numbered(const struct rules_subject *s, const char *collection, struct finding *f) {
        const struct json *all = section(s, collection);
        struct json_iter i = { 0 };
        char text[40];

        if (!all)
                return expect_member(f, false, s->metadata, collection, "an object");
        while (json_next(all, &i))
                if (!is_number(i.key) || !json_is_object(i.value))
                        return expect_member(f, false, all, i.key,
                                             "an object with a number from 0 to 31");
        (void) snprintf(text, sizeof(text), "%zu %s", json_length(all), collection);
        return expect(f, true, text, "numbers from 0 to 31");
}

static bool keyslots_numbered(const struct rules_subject *s, struct finding *f) {
        return numbered(s, "keyslots", f);
}

static bool tokens_numbered(const struct rules_subject *s, struct finding *f) {
        return numbered(s, "tokens", f);
}

const struct rule rules_header[] = {
        { "uuid", uuid_is_one },
        { "members", top_members },
        { "config-members", config_members },
        { "json-size", json_size },
        { "keyslots-size", keyslots_size },
        { "requirements", no_requirements },
        { "segments", segments_one },
        { "segment-type", segment_type },
        { "cipher", segment_cipher },
        { "segment-members", segment_members },
        { "iv-tweak", segment_iv_tweak },
        { "segment-size", segment_size },
        { "sector-size", segment_sector_size },
        { "data-offset", segment_offset },
        { "digests", digests_one },
        { "digest-type", digest_type },
        { "digest-members", digest_members },
        { "digest-segments", digest_segments },
        { "digest-hash", digest_hash },
        { "digest-iterations", digest_iterations },
        { "digest-salt", digest_salt },
        { "digest-value", digest_value },
        { "keyslots", keyslots_numbered },
        { "tokens", tokens_numbered },
};
const size_t rules_header_count = ARRAY_SIZE(rules_header);

static enum luks_verdict check(const struct rule *rules, size_t count,
                               const struct rules_subject *s, struct luks_reason *why) {
        for (size_t i = 0; i < count; i++) {
                struct finding f = { 0 };

                if (rules[i].holds(s, NULL))
                        continue;
                (void) rules[i].holds(s, &f);
                (void) luks_refuse(why, LUKS_REFUSED, rules[i].name, "found %s, expected %s",
                                   f.found, f.expected);
                return LUKS_REFUSED;
        }
        return LUKS_OK;
}

enum luks_verdict luks_rules_header(const struct rules_subject *s, struct luks_reason *why) {
        return check(rules_header, rules_header_count, s, why);
}

enum luks_verdict luks_rules_slot(const struct rules_subject *s, struct luks_reason *why) {
        return check(rules_slot, rules_slot_count, s, why);
}
