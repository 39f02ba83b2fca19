/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/differ.h"

#include <stdio.h>
#include <string.h>

struct walk {
        char (*line)[DIFFERENCE_SIZE];
        size_t max, count;
};

static void text_of(const struct json *j, char ret[72]) {
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };

        if (!j)
                (void) snprintf(ret, 72, "nothing");
        else if (json_text(j, false, &text, &err) < 0)
                (void) snprintf(ret, 72, "?");
        else if (snprintf(ret, 72, "%s", text) >= 72)
                memcpy(ret + 66, "[...]", 6);
}

static void add_line(struct walk *w, const char *path, const struct json *from,
                     const struct json *to) {
        char a[72], b[72], *line;

        if (w->count == w->max) {
                (void) snprintf(w->line[w->max - 1], DIFFERENCE_SIZE, "and more");
                return;
        }
        line = w->line[w->count++];
        text_of(from, a);
        text_of(to, b);
        if (from)
                (void) snprintf(line, DIFFERENCE_SIZE, "%.50s: %s -> %s", path, a, b);
        else
                (void) snprintf(line, DIFFERENCE_SIZE, "%.50s: %s", path, b);
        make_printable(line);
}

static const struct json *member(const struct json *o, const char *key) {
        struct json_iter i = { 0 };

        while (o && json_next(o, &i))
                if (strcmp(i.key, key) == 0)
                        return i.value;
        return NULL;
}

static void walk(struct walk *w, const char *path, const struct json *from, const struct json *to) {
        struct json_iter i = { 0 };
        char below[64];

        if (from && to && json_equal(from, to))
                return;
        if (!to || !json_is_object(to) || (from && !json_is_object(from))) {
                add_line(w, path, from, to);
                return;
        }
        while (json_next(to, &i)) {
                (void) snprintf(below, sizeof(below), "%s%s%.20s", path, *path ? "." : "", i.key);
                walk(w, below, member(from, i.key), i.value);
        }
        i = (struct json_iter){ 0 };
        while (from && json_next(from, &i)) {
                if (member(to, i.key))
                        continue;
                (void) snprintf(below, sizeof(below), "%s%s%.20s", path, *path ? "." : "", i.key);
                add_line(w, below, i.value, NULL);
        }
}

size_t differ(const struct json *from, const struct json *to, char (*ret)[DIFFERENCE_SIZE],
              size_t max) {
        struct walk w = { ret, max, 0 };

        walk(&w, "", from, to);
        return w.count;
}
