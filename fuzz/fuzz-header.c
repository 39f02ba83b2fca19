/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "fuzz/fuzz.h"
#include "luks/rules.h"

/* The metadata of a header through all rules, and each keyslot through those of both templates.
 * What passes must be what libcryptsetup may be given: said here once more, in other words. */

#define METADATA_SIZE 16384
#define DEVICE_SIZE (32ULL << 20)
#define UUID "0f3a8f0e-6d0b-4f0e-9d57-1c2a3b4c5d6e"

static const struct json *member(const struct json *o, const char *key) {
        struct json_iter i = { 0 };

        while (json_next(o, &i))
                if (strcmp(i.key, key) == 0)
                        return i.value;
        return NULL;
}

static bool is(const struct json *o, const char *key, const char *value) {
        const char *s = json_string(member(o, key));

        return s && strcmp(s, value) == 0;
}

static void header_is_sound(const struct rules_subject *s) {
        const struct json *segments = member(s->metadata, "segments"), *one = member(segments, "0");
        const struct json *digest = rules_data_digest(s->metadata);
        struct error err = { 0 };
        uint64_t offset, n;

        MUST(json_length(segments) == 1);
        MUST(json_length(one) == 6);
        MUST(is(one, "type", "crypt"));
        MUST(is(one, "encryption", "aes-xts-plain64"));
        MUST(is(one, "size", "dynamic"));
        MUST(is(one, "iv_tweak", "0"));
        MUST(json_get_decimal(one, "offset", UINT64_MAX, &offset, &err) == 0);
        MUST(s->detached || (offset >= 2 * s->metadata_size && offset < s->device_size));
        MUST(is(digest, "type", "pbkdf2"));
        MUST(json_uint(member(digest, "iterations"), 2000000, &n) && n >= 1000);
        MUST(json_length(member(s->metadata, "keyslots")) <= LUKS_SLOTS_MAX);
        MUST(json_length(member(s->metadata, "tokens")) <= LUKS_TOKENS_MAX);
}

static void slot_is_sound(const struct rules_subject *s) {
        const struct json *slot = rules_numbered(s->metadata, "keyslots", s->slot);
        const struct json *kdf = member(slot, "kdf");
        uint64_t offset, size, n, memory;

        MUST(is(slot, "type", "luks2"));
        MUST(is(member(slot, "area"), "encryption", "aes-xts-plain64"));
        MUST(rules_area(slot, &offset, &size));
        MUST(offset >= 2 * s->metadata_size && size <= 256 * 1024);
        if (is(kdf, "type", "pbkdf2")) {
                MUST(json_uint(member(kdf, "iterations"), 50000000, &n) && n >= 1000);
                MUST(s->kind != LUKS_SLOT_OURS || n == 1000);
        } else {
                MUST(s->kind == LUKS_SLOT_FOREIGN);
                MUST(json_uint(member(kdf, "memory"), 4 << 20, &memory) && memory >= 32);
                MUST(json_uint(member(kdf, "time"), UINT32_MAX, &n) && n * memory <= 64ULL << 20);
                MUST(json_uint(member(kdf, "cpus"), 4, &n) && n > 0);
        }
}

static void refused_in_words(const struct luks_reason *why) {
        MUST(why->rule[0] && why->text[0]);
        MUST(printable(why->rule) && printable(why->text));
}

static void look(struct rules_subject *s) {
        struct luks_reason why = { 0 };
        bool sound = luks_rules_header(s, &why) == LUKS_OK;

        if (sound)
                header_is_sound(s);
        else
                refused_in_words(&why);
        for (s->slot = 0; s->slot < LUKS_SLOTS_MAX; s->slot++)
                for (unsigned kind = LUKS_SLOT_OURS; kind <= LUKS_SLOT_FOREIGN; kind++) {
                        s->kind = (enum luks_slot_kind) kind;
                        why = (struct luks_reason){ 0 };
                        if (luks_rules_slot(s, &why) != LUKS_OK)
                                refused_in_words(&why);
                        else if (sound)
                                slot_is_sound(s);
                }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) struct json *j = NULL;
        struct error err = { 0 };
        struct rules_subject s = { .uuid = UUID,
                                   .metadata_size = METADATA_SIZE,
                                   .device_size = DEVICE_SIZE,
                                   .header_size = DEVICE_SIZE };

        if (json_parse((const char *) data, size, &j, &err) < 0)
                return 0;
        s.metadata = j;
        look(&s);
        s.detached = true;
        s.device_size = 1 << 20;
        look(&s);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        return json_mutate(data, size, max, seed);
}
