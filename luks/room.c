/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "luks/internal.h"
#include "luks/rules.h"

#define SLOT_JSON 600 /* bytes that a keyslot takes, and its number in the digest: about 340 */
#define MARGIN 64     /* bytes for a token's number, and numbers that grow a digit */

static bool first_free(uint32_t used, unsigned *ret) {
        for (unsigned i = 0; i < 32; i++) {
                if (used & 1u << i)
                        continue;
                *ret = i;
                return true;
        }
        return false;
}

static uint32_t tokens_used(const struct luks *l) {
        uint32_t used = 0;

        for (unsigned i = 0; i < LUKS_TOKENS_MAX; i++)
                if (luks_token(l, i))
                        used |= 1u << i;
        return used;
}

struct area {
        uint64_t offset, size;
};

static int by_offset(const void *a, const void *b) {
        uint64_t x = ((const struct area *) a)->offset, y = ((const struct area *) b)->offset;

        return (x > y) - (x < y);
}

/* Whether libcryptsetup will find a gap between the areas of the keyslots. An area that makes no
 * sense could be anywhere: then there is none. */
static bool area_free(const struct luks *l) {
        const struct luks_facts *f = &l->facts;
        uint64_t from = 2 * f->metadata_size, end = from + f->keyslots_size, size;
        struct area areas[LUKS_SLOTS_MAX];
        size_t n = 0;

        size = rules_area_size(f->key_size ? f->key_size : 64);
        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                if (!(f->slots & 1u << i))
                        continue;
                if (!rules_area(rules_numbered(l->metadata, "keyslots", i), &areas[n].offset,
                                &areas[n].size))
                        return false;
                n++;
        }
        qsort(areas, n, sizeof(areas[0]), by_offset);
        for (size_t i = 0; i < n; i++) {
                if (areas[i].offset >= from && areas[i].offset - from >= size)
                        return true;
                if (areas[i].offset + areas[i].size > from)
                        from = (areas[i].offset + areas[i].size + 4095) / 4096 * 4096;
        }
        return from <= end && end - from >= size;
}

static int json_free_bytes(const struct luks *l, size_t *ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        size_t area = (size_t) l->facts.metadata_size - HDR_BINARY, used = l->text_size;
        int r;

        if (used == 0) {
                r = json_text(l->metadata, false, &text, err);
                if (r < 0)
                        return r;
                used = strlen(text);
        }
        used += 1 + MARGIN;
        *ret = used < area ? area - used : 0;
        return 0;
}

int luks_room(const struct luks *l, const struct luks_need *need, unsigned *ret_slot,
              unsigned *ret_token, struct luks_reason *why, struct error *err) {
        unsigned slot = 0, token = 0;
        size_t room, wanted;
        int r;

        r = json_free_bytes(l, &room, err);
        if (r < 0)
                return r;
        if (!first_free(l->facts.slots, &slot) && need->slot)
                return luks_refuse(why, LUKS_NO_ROOM, "slots", "all %d keyslots are used",
                                   LUKS_SLOTS_MAX);
        if (need->slot && !area_free(l))
                return luks_refuse(why, LUKS_NO_ROOM, "areas",
                                   "no area is left for another keyslot");
        if (!first_free(tokens_used(l), &token) && need->token)
                return luks_refuse(why, LUKS_NO_ROOM, "tokens", "all %d tokens are used",
                                   LUKS_TOKENS_MAX);
        if (__builtin_add_overflow(need->json, need->slot ? SLOT_JSON : 0, &wanted) ||
            wanted > room)
                return luks_refuse(why, LUKS_NO_ROOM, "json-room",
                                   "%zu bytes are left in the header, needed are %zu", room,
                                   wanted);
        if (need->slot && ret_slot)
                *ret_slot = slot;
        if (need->token && ret_token)
                *ret_token = token;
        return LUKS_OK;
}
