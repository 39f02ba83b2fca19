/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli.h"

struct cell {
        enum table_tone tone;
        char text[160];
};

struct table {
        unsigned columns;
        size_t count, room;
        struct cell *cell;
        bool failed; /* out of memory once: prints what there is */
};

static const char *const colours[] = {
        [TONE_PLAIN] = "",        [TONE_GOOD] = "\033[32m", [TONE_BAD] = "\033[1;31m",
        [TONE_WARN] = "\033[33m", [TONE_FAINT] = "\033[2m",
};

struct table *table_new(unsigned columns, const char *const *heads) {
        struct table *t = calloc(1, sizeof(*t));

        if (!t)
                return NULL;
        t->columns = columns;
        for (unsigned i = 0; i < columns; i++)
                table_cell(t, TONE_FAINT, "%s", heads[i]);
        return t;
}

struct table *table_free(struct table *t) {
        if (!t)
                return NULL;
        free(t->cell);
        free(t);
        return NULL;
}

void table_cell(struct table *t, enum table_tone tone, const char *fmt, ...) {
        struct cell *more;
        va_list ap;

        if (!t)
                return;
        if (t->count == t->room) {
                more = reallocarray(t->cell, t->room * 2 + 64, sizeof(*more));
                if (!more) {
                        t->failed = true;
                        return;
                }
                t->cell = more;
                t->room = t->room * 2 + 64;
        }
        t->cell[t->count].tone = tone;
        va_start(ap, fmt);
        (void) vsnprintf(t->cell[t->count].text, sizeof(t->cell->text), fmt, ap);
        va_end(ap);
        t->count++;
}

/* Columns on the screen: UTF-8 continuation bytes take none. */
static unsigned text_width(const char *s) {
        unsigned n = 0;

        for (; *s; s++)
                n += ((unsigned char) *s & 0xc0) != 0x80;
        return n;
}

static void print_cell(const struct cell *c, unsigned room, unsigned pad, const struct cli *cli) {
        const char *colour = cli->colour ? colours[c->tone] : "";
        unsigned width = text_width(c->text), shown = 0;

        printf("%s", colour);
        if (room == 0 || width <= room) {
                printf("%s", c->text);
        } else {
                for (const char *s = c->text; *s; s++) {
                        if (((unsigned char) *s & 0xc0) != 0x80 && ++shown >= room)
                                break;
                        putchar(*s);
                }
                printf("…");
        }
        printf("%s", *colour ? "\033[0m" : "");
        if (width < pad)
                printf("%*s", (int) (pad - width), "");
}

void table_print(const struct table *t, const struct cli *cli) {
        unsigned width[TABLE_COLUMNS_MAX] = { 0 }, before = 2;

        if (!t)
                return;
        for (size_t i = 0; i < t->count; i++) {
                unsigned w = text_width(t->cell[i].text);

                if (w > width[i % t->columns])
                        width[i % t->columns] = w;
        }
        for (unsigned i = 0; i + 1 < t->columns; i++)
                before += width[i] + 3;

        for (size_t i = 0; i < t->count; i++) {
                unsigned column = (unsigned) (i % t->columns);
                bool last = column + 1 == t->columns;
                unsigned room = last && cli->width > before ? cli->width - before : 0;

                printf("%s", column == 0 ? "  " : "   ");
                print_cell(&t->cell[i], room, last ? 0 : width[column], cli);
                if (last)
                        putchar('\n');
        }
}
