/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "luks/expect.h"
#include "luks/internal.h"
#include "luks/rules.h"

/* The rules for one keyslot that's about to be opened. Ours is exactly what luks_slot_add() makes;
 * a foreign one is what any cryptsetup makes for aes-xts, at a cost that ends. */

#define SALT_SIZE 32 /* bytes */
/* cryptsetup measures what takes 2 s by default: up to 16,000,000 on the fastest machines. */
#define PBKDF2_ITERATIONS_MAX 50000000
/* libcryptsetup's own limits. */
#define ARGON2_MEMORY_MIN 32         /* KiB */
#define ARGON2_MEMORY_MAX (4U << 20) /* KiB */
#define ARGON2_CPUS_MAX 4
/* Passes times KiB: 64 GiB to go through, ten times and more of what cryptsetup's 2 s come to. */
#define ARGON2_COST_MAX (64ULL << 20)

static const struct json *slot_of(const struct rules_subject *s) {
        return rules_numbered(s->metadata, "keyslots", s->slot);
}

static const struct json *part(const struct rules_subject *s, const char *name) {
        const struct json *o;
        struct error err = { 0 };

        return json_get(slot_of(s), name, &o, &err) < 0 ? NULL : o;
}

static bool ours(const struct rules_subject *s) {
        return s->kind == LUKS_SLOT_OURS;
}

uint64_t rules_area_size(uint64_t key_size) {
        return (key_size * STRIPES + 4095) / 4096 * 4096;
}

bool rules_area(const struct json *keyslot, uint64_t *ret_offset, uint64_t *ret_size) {
        const struct json *area;
        struct error err = { 0 };

        return json_get(keyslot, "area", &area, &err) == 0 &&
               json_get_decimal(area, "offset", INT64_MAX, ret_offset, &err) == 0 &&
               json_get_decimal(area, "size", INT64_MAX, ret_size, &err) == 0;
}

static bool slot_members(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "type", "key_size",  "af", "area",
                                             "kdf",  "?priority", NULL };

        return expect_members(f, slot_of(s), names);
}

static bool slot_type(const struct rules_subject *s, struct finding *f) {
        return expect_string(f, slot_of(s), "type", "luks2");
}

static bool slot_priority(const struct rules_subject *s, struct finding *f) {
        const struct json *slot = slot_of(s);

        return !json_has(slot, "priority") || expect_uint(f, slot, "priority", 0, 2);
}

/* Keys of aes-xts: two of 128 or of 256 bits. */
static bool xts_key_size(const struct json *o, struct finding *f) {
        struct error err = { 0 };
        uint64_t n;

        if (json_get_uint(o, "key_size", 64, &n, &err) == 0 && (n == 32 || n == 64))
                return true;
        return expect_uint(f, o, "key_size", 64, 64);
}

static bool slot_key_size(const struct rules_subject *s, struct finding *f) {
        return xts_key_size(slot_of(s), f);
}

static bool af_members(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "type", "stripes", "hash", NULL };

        return expect_members(f, part(s, "af"), names);
}

static bool af_values(const struct rules_subject *s, struct finding *f) {
        static const char *const hashes[] = { "sha256", "sha512", "sha1", NULL };
        const struct json *af = part(s, "af");

        return expect_string(f, af, "type", "luks1") &&
               expect_uint(f, af, "stripes", STRIPES, STRIPES) &&
               (ours(s) ? expect_string(f, af, "hash", SLOT_HASH)
                        : expect_one_of(f, af, "hash", hashes));
}

static bool area_members(const struct rules_subject *s, struct finding *f) {
        static const char *const names[] = { "type",       "offset",   "size",
                                             "encryption", "key_size", NULL };

        return expect_members(f, part(s, "area"), names);
}

static bool area_cipher(const struct rules_subject *s, struct finding *f) {
        const struct json *area = part(s, "area");

        return expect_string(f, area, "type", "raw") &&
               expect_string(f, area, "encryption", CIPHER) &&
               (ours(s) ? expect_uint(f, area, "key_size", SLOT_CIPHER_KEY, SLOT_CIPHER_KEY)
                        : xts_key_size(area, f));
}

static bool area_size(const struct rules_subject *s, struct finding *f) {
        struct error err = { 0 };
        uint64_t key_size;

        if (json_get_uint(slot_of(s), "key_size", 64, &key_size, &err) < 0)
                key_size = 64;
        return expect_decimal(f, part(s, "area"), "size", rules_area_size(key_size),
                              rules_area_size(key_size));
}

static bool area_place(const struct rules_subject *s, struct finding *f) {
        const struct json *area = part(s, "area"), *config;
        uint64_t min = 2 * s->metadata_size, keyslots, offset, size;
        struct error err = { 0 };

        if (!rules_area(slot_of(s), &offset, &size) ||
            json_get(s->metadata, "config", &config, &err) < 0 ||
            json_get_decimal(config, "keyslots_size", KEYSLOTS_AREA_MAX, &keyslots, &err) < 0)
                return expect_failed(f, "no area", "one in the area of keyslots");
        if (size > keyslots)
                return expect_failed(f, "a larger area", "one of at most %" PRIu64 " bytes",
                                     keyslots);
        if (!expect_decimal(f, area, "offset", min, min + keyslots - size))
                return false;
        if (offset % 4096 == 0)
                return true;
        return expect_failed(f, "an offset between blocks", "a multiple of 4096");
}

/* A foreign keyslot may be anything that libcryptsetup loads; but what's written to it must not
 * land in the one that's opened. */
static bool area_alone(const struct rules_subject *s, struct finding *f) {
        uint64_t offset, size, other, other_size;
        char found[40];

        if (!rules_area(slot_of(s), &offset, &size))
                return expect_failed(f, "no area", "one of its own");
        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                const struct json *k = rules_numbered(s->metadata, "keyslots", i);

                if (!k || i == s->slot)
                        continue;
                if (rules_area(k, &other, &other_size) &&
                    (other + other_size <= offset || offset + size <= other))
                        continue;
                (void) snprintf(found, sizeof(found), "keyslot %u in the same place", i);
                return expect_failed(f, found, "an area of its own");
        }
        return true;
}

static bool kdf_pbkdf2(const struct rules_subject *s, const struct json *kdf, struct finding *f) {
        static const char *const names[] = { "type", "hash", "iterations", "salt", NULL };
        static const char *const hashes[] = { "sha256", "sha512", "sha1", NULL };

        return expect_members(f, kdf, names) &&
               (ours(s) ? expect_string(f, kdf, "hash", SLOT_HASH) &&
                                  expect_uint(f, kdf, "iterations", SLOT_ITERATIONS,
                                              SLOT_ITERATIONS)
                        : expect_one_of(f, kdf, "hash", hashes) &&
                                  expect_uint(f, kdf, "iterations", SLOT_ITERATIONS,
                                              PBKDF2_ITERATIONS_MAX));
}

static bool kdf_argon2(const struct json *kdf, struct finding *f) {
        static const char *const names[] = { "type", "time", "memory", "cpus", "salt", NULL };
        struct error err = { 0 };
        uint64_t memory;

        if (!expect_members(f, kdf, names) ||
            !expect_uint(f, kdf, "memory", ARGON2_MEMORY_MIN, ARGON2_MEMORY_MAX) ||
            !expect_uint(f, kdf, "cpus", 1, ARGON2_CPUS_MAX))
                return false;
        return json_get_uint(kdf, "memory", ARGON2_MEMORY_MAX, &memory, &err) == 0 &&
               expect_uint(f, kdf, "time", 1, ARGON2_COST_MAX / memory);
}

static bool kdf_cost(const struct rules_subject *s, struct finding *f) {
        static const char *const types[] = { SLOT_PBKDF, "argon2id", "argon2i", NULL };
        const struct json *kdf = part(s, "kdf");
        const char *type;
        struct error err = { 0 };

        if (ours(s) ? !expect_string(f, kdf, "type", SLOT_PBKDF)
                    : !expect_one_of(f, kdf, "type", types))
                return false;
        if (json_get_string(kdf, "type", &type, &err) == 0 && strcmp(type, SLOT_PBKDF) == 0)
                return kdf_pbkdf2(s, kdf, f);
        return kdf_argon2(kdf, f);
}

static bool kdf_salt(const struct rules_subject *s, struct finding *f) {
        return expect_bytes(f, part(s, "kdf"), "salt", SALT_SIZE);
}

static bool slot_digest(const struct rules_subject *s, struct finding *f) {
        const struct json *data = rules_data_digest(s->metadata), *all, *slots;
        struct json_iter i = { 0 };
        struct error err = { 0 };
        unsigned bound = 0;
        bool to_data = false;
        char name[16];

        (void) snprintf(name, sizeof(name), "%u", s->slot);
        if (json_get(s->metadata, "digests", &all, &err) < 0)
                return expect_failed(f, "no digests", "one");
        while (json_next(all, &i)) {
                if (json_get_array(i.value, "keyslots", &slots, &err) < 0 ||
                    !json_lists(slots, name))
                        continue;
                bound++;
                to_data = to_data || i.value == data;
        }
        if (bound == 1 && to_data)
                return true;
        return expect_failed(f, bound == 0 ? "no digest" : "other digests",
                             "the digest of segment 0 alone");
}

const struct rule rules_slot[] = {
        { "slot-type", slot_type },
        { "slot-members", slot_members },
        { "slot-priority", slot_priority },
        { "slot-key-size", slot_key_size },
        { "slot-af-members", af_members },
        { "slot-af", af_values },
        { "slot-area-members", area_members },
        { "slot-area-cipher", area_cipher },
        { "slot-area-size", area_size },
        { "slot-area-place", area_place },
        { "slot-area-alone", area_alone },
        { "slot-kdf", kdf_cost },
        { "slot-kdf-salt", kdf_salt },
        { "slot-digest", slot_digest },
};
const size_t rules_slot_count = ARRAY_SIZE(rules_slot);
