/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Several strings as one, so that no two lists give the same bytes: each with its length in front,
 * 32 bits big endian. Numbers in decimal. For associated data and for what a derived key is for. */
struct fields {
        size_t size;
        uint8_t data[320];
};

static inline void fields_add(struct fields *f, const char *text) {
        size_t n = strlen(text);

        assert(f->size + 4 + n <= sizeof(f->data)); /* callers pass names of bounded length */
        for (unsigned i = 0; i < 4; i++)
                f->data[f->size++] = (uint8_t) (n >> (24 - 8 * i));
        memcpy(f->data + f->size, text, n);
        f->size += n;
}

static inline void fields_add_number(struct fields *f, uint32_t number) {
        char text[12];

        (void) snprintf(text, sizeof(text), "%u", number);
        fields_add(f, text);
}
