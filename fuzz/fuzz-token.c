/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "fuzz/fuzz.h"
#include "keys/token.h"

/* A token from a disk: what is read is what is written again, with or without what it came from. */

static struct json *printed(const struct token *t) {
        struct json *j = NULL;
        struct error err = { 0 };

        MUST(token_print(t, &j, &err) == 0);
        return j;
}

static struct token *parsed(const struct json *j) {
        struct token *t = NULL;
        struct error err = { 0 };

        if (token_parse(j, &t, &err) < 0) {
                (void) fprintf(stderr, "%s\n", err.text);
                abort();
        }
        return t;
}

static void same_meaning(const struct token *a, const struct token *b) {
        MUST(strcmp(a->name, b->name) == 0 && strcmp(a->role, b->role) == 0);
        MUST(a->epoch == b->epoch && a->state == b->state && a->slot == b->slot);
        MUST(a->entries == b->entries && a->pinned == b->pinned);
        MUST(memcmp(&a->pin, &b->pin, sizeof(a->pin)) == 0);
        MUST(a->has_next == b->has_next && memcmp(&a->next, &b->next, sizeof(a->next)) == 0);
        for (unsigned i = 0; i < a->entries; i++) {
                MUST(kek_equal(&a->entry[i].kek, &b->entry[i].kek));
                MUST(memcmp(&a->entry[i].wrap, &b->entry[i].wrap, sizeof(a->entry[i].wrap)) == 0);
        }
}

static void is_sound(const struct token *t) {
        MUST(name_valid(t->name) && role_valid(t->role) && t->slot < LUKS_SLOTS_MAX);
        MUST(t->entries >= 1 && t->entries <= TOKEN_KEKS_MAX);
        for (unsigned i = 0; i < t->entries; i++) {
                MUST(name_valid(t->entry[i].kek.name));
                MUST(t->entry[i].kek.version > 0 && t->entry[i].kek.version <= KEK_VERSION_MAX);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) struct json *j = NULL, *once = NULL, *twice = NULL, *bare = NULL;
        _cleanup_(token_freep) struct token *t = NULL, *again = NULL, *from_bare = NULL;
        struct error err = { 0 };

        if (json_parse((const char *) data, size, &j, &err) < 0)
                return 0;
        (void) token_is_ours(j);
        if (token_parse(j, &t, &err) < 0) {
                MUST(err.text[0]);
                return 0;
        }
        is_sound(t);
        once = printed(t);
        again = parsed(once);
        same_meaning(t, again);
        twice = printed(again);
        MUST(json_equal(once, twice));

        /* As if it had been made here. */
        t->origin = json_free(t->origin);
        for (unsigned i = 0; i < t->entries; i++)
                t->entry[i].origin = json_free(t->entry[i].origin);
        bare = printed(t);
        from_bare = parsed(bare);
        same_meaning(t, from_bare);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        return json_mutate(data, size, max, seed);
}
