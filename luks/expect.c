/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "luks/expect.h"
#include "luks/internal.h"

bool expect_failed(struct finding *f, const char *found, const char *fmt, ...) {
        va_list ap;

        text_safe(f->found, sizeof(f->found), found);
        va_start(ap, fmt);
        (void) vsnprintf(f->expected, sizeof(f->expected), fmt, ap);
        va_end(ap);
        return false;
}

/* The value of a member as JSON, or "nothing". */
static void describe(const struct json *o, const char *key, char ret[80]) {
        _cleanup_(freep) char *text = NULL;
        struct json_iter i = { 0 };
        struct error err = { 0 };

        while (json_next(o, &i)) {
                if (strcmp(i.key, key) != 0)
                        continue;
                if (!i.value || json_text(i.value, false, &text, &err) < 0)
                        break;
                (void) snprintf(ret, 80, "%s %s", key, text);
                return;
        }
        (void) snprintf(ret, 80, "no %s", key);
}

static bool failed_member(struct finding *f, const struct json *o, const char *key,
                          const char *expected) {
        char found[80];

        describe(o, key, found);
        return expect_failed(f, found, "%s", expected);
}

static bool listed(const char *const *names, const char *key) {
        for (; *names; names++)
                if (strcmp(**names == '?' ? *names + 1 : *names, key) == 0)
                        return true;
        return false;
}

bool expect_members(struct finding *f, const struct json *o, const char *const *names) {
        struct json_iter i = { 0 };
        char found[80];

        if (!json_is_object(o))
                return expect_failed(f, "nothing", "an object with %s", names[0]);
        while (json_next(o, &i)) {
                if (listed(names, i.key))
                        continue;
                (void) snprintf(found, sizeof(found), "member %s", i.key);
                return expect_failed(f, found, "no such member");
        }
        for (; *names; names++)
                if (**names != '?' && !json_has(o, *names))
                        return failed_member(f, o, *names, *names);
        return true;
}

bool expect_one_of(struct finding *f, const struct json *o, const char *key,
                   const char *const *values) {
        struct error err = { 0 };
        char expected[80] = "";
        const char *s = NULL;

        if (json_get_string(o, key, &s, &err) < 0)
                s = NULL;
        for (unsigned i = 0; values[i]; i++) {
                size_t used = strlen(expected);

                if (s && strcmp(s, values[i]) == 0)
                        return true;
                (void) snprintf(expected + used, sizeof(expected) - used, "%s\"%s\"",
                                i == 0 ? "" : " or ", values[i]);
        }
        return failed_member(f, o, key, expected);
}

bool expect_string(struct finding *f, const struct json *o, const char *key, const char *value) {
        const char *const values[] = { value, NULL };

        return expect_one_of(f, o, key, values);
}

static bool failed_range(struct finding *f, const struct json *o, const char *key, uint64_t min,
                         uint64_t max) {
        char expected[80];

        if (min == max)
                (void) snprintf(expected, sizeof(expected), "%" PRIu64, min);
        else
                (void) snprintf(expected, sizeof(expected), "%" PRIu64 " to %" PRIu64, min, max);
        return failed_member(f, o, key, expected);
}

bool expect_uint(struct finding *f, const struct json *o, const char *key, uint64_t min,
                 uint64_t max) {
        struct error err = { 0 };
        uint64_t n;

        if (json_get_uint(o, key, max, &n, &err) < 0 || n < min)
                return failed_range(f, o, key, min, max);
        return true;
}

bool expect_decimal(struct finding *f, const struct json *o, const char *key, uint64_t min,
                    uint64_t max) {
        struct error err = { 0 };
        uint64_t n;

        if (json_get_decimal(o, key, max, &n, &err) < 0 || n < min)
                return failed_range(f, o, key, min, max);
        return true;
}

bool expect_bytes(struct finding *f, const struct json *o, const char *key, size_t size) {
        struct error err = { 0 };
        uint8_t buf[64];
        char expected[40];
        size_t n;

        if (size <= sizeof(buf) && json_get_bytes(o, key, buf, sizeof(buf), &n, &err) == 0 &&
            n == size)
                return true;
        (void) snprintf(expected, sizeof(expected), "%zu bytes of base64", size);
        return failed_member(f, o, key, expected);
}
