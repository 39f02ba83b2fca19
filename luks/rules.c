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

const struct json *rules_numbered(const struct json *metadata, const char *collection,
                                  unsigned number) {
        const struct json *all, *one;
        struct error err = { 0 };
        char name[16];

        (void) snprintf(name, sizeof(name), "%u", number);
        if (json_get(metadata, collection, &all, &err) < 0 || json_get(all, name, &one, &err) < 0)
                return NULL;
        return one;
}

static const struct json *section(const struct rules_subject *s, const char *name) {
        const struct json *o;
        struct error err = { 0 };

        return json_get(s->metadata, name, &o, &err) < 0 ? NULL : o;
}

static const struct json *segment(const struct rules_subject *s) {
        return rules_numbered(s->metadata, "segments", 0);
}

static unsigned data_digests(const struct json *metadata, const struct json **ret) {
        const struct json *all, *segments;
        struct json_iter i = { 0 };
        struct error err = { 0 };
        unsigned n = 0;

        if (json_get(metadata, "digests", &all, &err) < 0)
                return 0;
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

static bool uuid_is_one(const struct rules_subject *s, struct finding *f) {
        const char *u = s->uuid ? s->uuid : "";

        for (unsigned i = 0; i < 36; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (dash ? u[i] != '-' : !u[i] || !strchr("0123456789abcdef", u[i]))
                        return expect_failed(f, u, "a UUID in lower case");
        }
        return u[36] == '\0' || expect_failed(f, u, "a UUID of 36 characters");
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

        if (s->device_size < used)
                max = 0;
        else if (s->device_size - used < max)
                max = s->device_size - used;
        return expect_decimal(f, section(s, "config"), "keyslots_size", 0, max);
}

static bool no_requirements(const struct rules_subject *s, struct finding *f) {
        const struct json *config = section(s, "config"), *requirements, *mandatory;
        struct error err = { 0 };

        if (!json_has(config, "requirements"))
                return true;
        if (json_get(config, "requirements", &requirements, &err) == 0 &&
            (json_length(requirements) == 0 ||
             (json_length(requirements) == 1 &&
              json_get_array(requirements, "mandatory", &mandatory, &err) == 0 &&
              json_length(mandatory) == 0)))
                return true;
        return expect_failed(f, "requirements", "none");
}

static bool segments_one(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "0", NULL };

        return expect_members(f, section(s, "segments"), names);
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
        struct error err = { 0 };
        uint64_t n;

        if (json_get_uint(segment(s), "sector_size", 4096, &n, &err) == 0 && n >= 512 &&
            (n & (n - 1)) == 0)
                return true;
        if (!expect_uint(f, segment(s), "sector_size", 512, 4096))
                return false;
        return expect_failed(f, "no power of two", "512, 1024, 2048 or 4096");
}

static bool segment_offset(const struct rules_subject *s, struct finding *f) {
        struct error err = { 0 };
        uint64_t min, offset, sector;

        if (json_get_decimal(section(s, "config"), "keyslots_size", KEYSLOTS_AREA_MAX, &min, &err) <
            0)
                min = KEYSLOTS_AREA_MAX;
        min += 2 * s->metadata_size;
        if (s->device_size <= min)
                return expect_failed(f, "the device", "more than %" PRIu64 " bytes", min);
        if (!expect_decimal(f, segment(s), "offset", min, s->device_size - 1))
                return false;
        if (json_get_decimal(segment(s), "offset", UINT64_MAX, &offset, &err) == 0 &&
            json_get_uint(segment(s), "sector_size", 4096, &sector, &err) == 0 && sector > 0 &&
            offset % sector == 0)
                return true;
        return expect_failed(f, "an offset between sectors", "a multiple of the sector size");
}

static bool digests_one(const struct rules_subject *s, struct finding *f) {
        const struct json *digest = NULL;
        unsigned n = data_digests(s->metadata, &digest);
        char found[40];

        if (n == 1)
                return true;
        (void) snprintf(found, sizeof(found), "%u digests", n);
        return expect_failed(f, found, "one digest of segment 0");
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
        const struct json *segments;
        struct error err = { 0 };

        if (json_get_array(rules_data_digest(s->metadata), "segments", &segments, &err) == 0 &&
            json_length(segments) == 1 && json_lists(segments, "0"))
                return true;
        return expect_failed(f, "another list of segments", "segment 0 alone");
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

/* Names are the numbers from 0 to 31, and what they name are objects. */
static bool numbered(const struct rules_subject *s, const char *collection, struct finding *f) {
        const struct json *all = section(s, collection);
        struct json_iter i = { 0 };
        unsigned n = 0;

        if (!all)
                return expect_failed(f, "nothing", "an object");
        while (json_next(all, &i)) {
                unsigned k = 0;
                char name[16];

                do
                        (void) snprintf(name, sizeof(name), "%u", k);
                while (strcmp(name, i.key) != 0 && ++k < LUKS_SLOTS_MAX);
                if (k == LUKS_SLOTS_MAX || !json_is_object(i.value) || ++n > LUKS_SLOTS_MAX)
                        return expect_failed(f, i.key, "an object with a number from 0 to 31");
        }
        return true;
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

                if (rules[i].holds(s, &f))
                        continue;
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
