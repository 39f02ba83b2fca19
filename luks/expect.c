/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "luks/expect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "luks/internal.h"

#define TEXT_MAX sizeof(((struct finding *) NULL)->found)

static void add(char text[TEXT_MAX], const char *separator, const char *more) {
        size_t n = strlen(text);

        if (n > 0 && *more) {
                text_safe(text + n, TEXT_MAX - n, separator);
                n = strlen(text);
        }
        text_safe(text + n, TEXT_MAX - n, more);
}

bool expect(struct finding *f, bool holds, const char *found, const char *expected) {
        if (!f)
                return holds;
        if (!holds)
                *f = (struct finding){ 0 };
        add(f->found, ", ", found);
        add(f->expected, ", ", expected);
        return holds;
}

/* The value of a member as JSON, or that there is none. */
static void describe(const struct json *o, const char *key, char ret[TEXT_MAX]) {
        _cleanup_(freep) char *text = NULL;
        struct json_iter i = { 0 };
        struct error err = { 0 };

        (void) snprintf(ret, TEXT_MAX, "no %s", key);
        while (json_next(o, &i)) {
                if (strcmp(i.key, key) != 0)
                        continue;
                if (json_text(i.value, false, &text, &err) == 0)
                        (void) snprintf(ret, TEXT_MAX, "%s %s", key, text);
                return;
        }
}

bool expect_member(struct finding *f, bool holds, const struct json *o, const char *key,
                   const char *expected) {
        char found[TEXT_MAX];

        if (!f)
                return holds;
        describe(o, key, found);
        return expect(f, holds, found, expected);
}

static bool optional(const char *name) {
        return *name == '?';
}

static bool listed(const char *const *names, const char *key) {
        for (; *names; names++)
                if (strcmp(*names + optional(*names), key) == 0)
                        return true;
        return false;
}

/* The first member that isn't listed, or NULL. */
static const char *surplus(const struct json *o, const char *const *names) {
        struct json_iter i = { 0 };

        while (json_next(o, &i))
                if (!listed(names, i.key))
                        return i.key;
        return NULL;
}

/* The first name that is missing, or NULL. */
static const char *missing(const struct json *o, const char *const *names) {
        for (; *names; names++)
                if (!optional(*names) && !json_has(o, *names))
                        return *names;
        return NULL;
}

static bool tell_members(struct finding *f, const struct json *o, const char *const *names) {
        struct finding all = { 0 };
        struct json_iter i = { 0 };

        if (!f)
                return true;
        while (json_next(o, &i))
                add(all.found, ", ", i.key);
        for (; *names; names++) {
                add(all.expected, ", ", optional(*names) ? "maybe " : *names);
                if (optional(*names))
                        add(all.expected, "", *names + 1);
        }
        return expect(f, true, all.found, all.expected);
}

bool expect_members(struct finding *f, const struct json *o, const char *const *names) {
        if (!expect_only(f, o, names))
                return false;
        return tell_members(f, o, names);
}

bool expect_only(struct finding *f, const struct json *o, const char *const *names) {
        const char *extra = surplus(o, names), *none = missing(o, names);
        char found[TEXT_MAX];

        if (extra) {
                (void) snprintf(found, sizeof(found), "member %s", extra);
                return expect(f, false, found, "no such member");
        }
        if (none)
                return expect_member(f, false, o, none, none);
        return true;
}

bool expect_one_of(struct finding *f, const struct json *o, const char *key,
                   const char *const *values) {
        struct finding all = { 0 };
        struct error err = { 0 };
        const char *s;
        bool holds = false;

        if (json_get_string(o, key, &s, &err) < 0)
                s = "";
        for (unsigned i = 0; values[i] && !holds; i++)
                holds = strcmp(s, values[i]) == 0;
        if (!f)
                return holds;
        for (; *values; values++) {
                add(all.expected, " or ", "\"");
                add(all.expected, "", *values);
                add(all.expected, "", "\"");
        }
        return expect_member(f, holds, o, key, all.expected);
}

bool expect_string(struct finding *f, const struct json *o, const char *key, const char *value) {
        const char *const values[] = { value, NULL };

        return expect_one_of(f, o, key, values);
}

static bool tell_range(struct finding *f, bool holds, const struct json *o, const char *key,
                       uint64_t min, uint64_t max) {
        char expected[TEXT_MAX];

        if (!f)
                return holds;
        if (min == max)
                (void) snprintf(expected, sizeof(expected), "%" PRIu64, min);
        else
                (void) snprintf(expected, sizeof(expected), "%" PRIu64 " to %" PRIu64, min, max);
        return expect_member(f, holds, o, key, expected);
}

bool expect_uint(struct finding *f, const struct json *o, const char *key, uint64_t min,
                 uint64_t max) {
        struct error err = { 0 };
        uint64_t n;

        return tell_range(f, json_get_uint(o, key, max, &n, &err) == 0 && n >= min, o, key, min,
                          max);
}

bool expect_decimal(struct finding *f, const struct json *o, const char *key, uint64_t min,
                    uint64_t max) {
        struct error err = { 0 };
        uint64_t n;

        return tell_range(f, json_get_decimal(o, key, max, &n, &err) == 0 && n >= min, o, key, min,
                          max);
}

bool expect_bytes(struct finding *f, const struct json *o, const char *key, size_t size) {
        struct error err = { 0 };
        uint8_t buf[64];
        char expected[40];
        size_t n;

        (void) snprintf(expected, sizeof(expected), "%zu bytes of base64", size);
        return expect_member(f,
                             json_get_bytes(o, key, buf, sizeof(buf), &n, &err) == 0 && n == size,
                             o, key, expected);
}

uint64_t read_uint(const struct json *o, const char *key, uint64_t max, uint64_t otherwise) {
        struct error err = { 0 };
        uint64_t n;

        return json_get_uint(o, key, max, &n, &err) < 0 ? otherwise : n;
}

uint64_t read_decimal(const struct json *o, const char *key, uint64_t max, uint64_t otherwise) {
        struct error err = { 0 };
        uint64_t n;

        return json_get_decimal(o, key, max, &n, &err) < 0 ? otherwise : n;
}
