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
        return rules_section(slot_of(s), name);
}

static bool ours(const struct rules_subject *s) {
        return s->kind == LUKS_SLOT_OURS;
}

uint64_t rules_area_size(uint64_t key_size) {
        return (key_size * STRIPES + 4095) / 4096 * 4096;
}

bool rules_area(const struct json *keyslot, uint64_t *ret_offset, uint64_t *ret_size) {
        const struct json *area = rules_section(keyslot, "area");
        struct error err = { 0 };

        return json_get_decimal(area, "offset", INT64_MAX, ret_offset, &err) == 0 &&
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

        return expect_member(
                f, !json_has(slot, "priority") || expect_uint(NULL, slot, "priority", 0, 2), slot,
                "priority", "none, or 0 to 2");
}

/* Keys of aes-xts: two of 128 or of 256 bits. */
static bool xts_key_size(const struct json *o, struct finding *f) {
        uint64_t n = read_uint(o, "key_size", 64, 0);

        return expect_member(f, n == 32 || n == 64, o, "key_size", "32 or 64");
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
        uint64_t size = rules_area_size(read_uint(slot_of(s), "key_size", 64, 64));

        return expect_decimal(f, part(s, "area"), "size", size, size);
}

static bool area_place(const struct rules_subject *s, struct finding *f) {
        const struct json *area = part(s, "area");
        uint64_t min = 2 * s->metadata_size, keyslots, offset, size;
        char most[40];

        if (!rules_area(slot_of(s), &offset, &size))
                return expect(f, false, "no area", "one in the area of keyslots");
        keyslots = read_decimal(rules_section(s->metadata, "config"), "keyslots_size",
                                KEYSLOTS_AREA_MAX, 0);
        if (size > keyslots) {
                (void) snprintf(most, sizeof(most), "at most %" PRIu64, keyslots);
                return expect_member(f, false, area, "size", most);
        }
        if (!expect_decimal(f, area, "offset", min, min + keyslots - size))
                return false;
        return expect(f, offset % 4096 == 0, offset % 4096 == 0 ? "" : "an offset between blocks",
                      "a multiple of 4096");
}

/* A foreign keyslot may be anything that libcryptsetup loads; but what's written to it must not
 * land in the one that's opened. */
static bool area_alone(const struct rules_subject *s, struct finding *f) {
        uint64_t offset, size, other, other_size;
        char found[60];

        if (!rules_area(slot_of(s), &offset, &size))
                return expect(f, false, "no area", "one of its own");
        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                const struct json *k = rules_numbered(s->metadata, "keyslots", i);

                if (!k || i == s->slot)
                        continue;
                if (rules_area(k, &other, &other_size) &&
                    (other + other_size <= offset || offset + size <= other))
                        continue;
                (void) snprintf(found, sizeof(found), "keyslot %u in the same place", i);
                return expect(f, false, found, "an area of its own");
        }
        (void) snprintf(found, sizeof(found), "bytes %" PRIu64 " to %" PRIu64, offset,
                        offset + size - 1);
        return expect(f, true, found, "an area of its own");
}

static bool kdf_pbkdf2(const struct rules_subject *s, const struct json *kdf, struct finding *f) {
        static const char *const names[] = { "type", "hash", "iterations", "salt", NULL };
        static const char *const hashes[] = { "sha256", "sha512", "sha1", NULL };

        return expect_only(f, kdf, names) &&
               (ours(s) ? expect_string(f, kdf, "hash", SLOT_HASH) &&
                                  expect_uint(f, kdf, "iterations", SLOT_ITERATIONS,
                                              SLOT_ITERATIONS)
                        : expect_one_of(f, kdf, "hash", hashes) &&
                                  expect_uint(f, kdf, "iterations", SLOT_ITERATIONS,
                                              PBKDF2_ITERATIONS_MAX));
}

static bool kdf_argon2(const struct json *kdf, struct finding *f) {
        static const char *const names[] = { "type", "time", "memory", "cpus", "salt", NULL };

        return expect_only(f, kdf, names) &&
               expect_uint(f, kdf, "memory", ARGON2_MEMORY_MIN, ARGON2_MEMORY_MAX) &&
               expect_uint(f, kdf, "cpus", 1, ARGON2_CPUS_MAX) &&
               expect_uint(f, kdf, "time", 1,
                           ARGON2_COST_MAX /
                                   read_uint(kdf, "memory", ARGON2_MEMORY_MAX, ARGON2_MEMORY_MAX));
}

static bool kdf_cost(const struct rules_subject *s, struct finding *f) {
        static const char *const types[] = { SLOT_PBKDF, "argon2id", "argon2i", NULL };
        const struct json *kdf = part(s, "kdf");

        if (ours(s))
                return expect_string(f, kdf, "type", SLOT_PBKDF) && kdf_pbkdf2(s, kdf, f);
        if (!expect_one_of(f, kdf, "type", types))
                return false;
        return expect_string(NULL, kdf, "type", SLOT_PBKDF) ? kdf_pbkdf2(s, kdf, f)
                                                            : kdf_argon2(kdf, f);
}

static bool kdf_salt(const struct rules_subject *s, struct finding *f) {
        return expect_bytes(f, part(s, "kdf"), "salt", SALT_SIZE);
}

static bool slot_digest(const struct rules_subject *s, struct finding *f) {
        const struct json *data = rules_data_digest(s->metadata);
        const struct json *all = rules_section(s->metadata, "digests");
        struct json_iter i = { 0 };
        unsigned bound = 0, others = 0;

        while (json_next(all, &i)) {
                if (!rules_bound(i.value, s->slot))
                        continue;
                if (i.value == data)
                        bound++;
                else
                        others++;
        }
        if (others > 0)
                return expect(f, false, "other digests", "that of segment 0 alone");
        return expect(f, bound == 1, bound == 1 ? "the digest of segment 0" : "no digest",
                      "that of segment 0 alone");
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
