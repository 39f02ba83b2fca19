/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "luks/luks.h"

/* What a header may say. Pure: the parsed metadata of a header goes in, a verdict comes out; no
 * I/O, no libcryptsetup. Each rule stands alone and looks at whatever it gets, so that a table can
 * be printed rule by rule for a header that breaks several. */

struct rules_subject {
        const struct json *metadata;
        const char *uuid;         /* from the binary header */
        uint64_t metadata_size;   /* of one copy, bytes, from the binary header */
        uint64_t device_size;     /* of what holds the data, bytes */
        uint64_t header_size;     /* of what holds the header, bytes */
        bool detached;            /* they aren't the same */
        unsigned slot;            /* for the rules about a keyslot */
        enum luks_slot_kind kind; /* the same */
};

struct finding {
        char found[96];    /* printable ASCII */
        char expected[96]; /* … */
};

struct rule {
        const char *name;
        /* Whether the rule holds. Fills in @f, zeroed before, in either case; NULL is faster. */
        bool (*holds)(const struct rules_subject *s, struct finding *f);
};

extern const struct rule rules_header[];
extern const size_t rules_header_count;
extern const struct rule rules_slot[];
extern const size_t rules_slot_count;

/* Return: LUKS_OK; or LUKS_REFUSED, and @why names the first rule that doesn't hold. */
enum luks_verdict luks_rules_header(const struct rules_subject *s, struct luks_reason *why);
/* The same for one keyslot that's about to be opened; the rules of the header hold. */
enum luks_verdict luks_rules_slot(const struct rules_subject *s, struct luks_reason *why);

/* The digest that's bound to the data segment, or NULL unless there's exactly one. */
const struct json *rules_data_digest(const struct json *metadata);
/* The object @metadata[@name], or NULL; @metadata may be NULL. */
const struct json *rules_section(const struct json *metadata, const char *name);
/* The object @collection[@number], or NULL. */
const struct json *rules_numbered(const struct json *metadata, const char *collection,
                                  unsigned number);
/* Whether a token or a digest, which may be NULL, lists keyslot @slot. */
bool rules_bound(const struct json *token_or_digest, unsigned slot);
/* The size of the area that libcryptsetup gives a keyslot for a volume key of @key_size bytes. */
uint64_t rules_area_size(uint64_t key_size);
/* Reads offset and size of a keyslot's area. Return: false where they aren't honest numbers. */
bool rules_area(const struct json *keyslot, uint64_t *ret_offset, uint64_t *ret_size);
