/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>
#include <json-c/linkhash.h>

#include "base/crypto.h"

#define J(x) ((struct json_object *) (x))
#define OURS(x) ((struct json *) (x))

static void tokener_freep(struct json_tokener **t) {
        if (*t)
                json_tokener_free(*t);
}

int json_parse(const char *text, size_t size, struct json **ret, struct error *err) {
        _cleanup_(tokener_freep) struct json_tokener *t = json_tokener_new_ex(JSON_DEPTH_MAX);
        _cleanup_(json_freep) struct json *j = NULL;
        size_t end = 0;

        if (!t)
                return error_nomem(err);
        if (size > INT_MAX)
                return error_set(err, -EBADMSG, "JSON of %zu bytes", size);
        json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        j = OURS(json_tokener_parse_ex(t, text, (int) size));
        /* A number or a literal at the very end waits for more; a NUL behind it ends it. */
        if (json_tokener_get_error(t) == json_tokener_continue) {
                j = OURS(json_tokener_parse_ex(t, "", 1));
                end = size;
        }
        if (json_tokener_get_error(t) != json_tokener_success)
                return error_set(err, -EBADMSG, "not JSON: %s at byte %zu",
                                 json_tokener_error_desc(json_tokener_get_error(t)),
                                 json_tokener_get_parse_end(t));
        for (end = end ? end : json_tokener_get_parse_end(t); end < size; end++)
                if (!strchr(" \t\r\n", text[end]))
                        return error_set(err, -EBADMSG,
                                         "not JSON: more behind the value, at byte %zu", end);
        if (!j)
                return error_set(err, -EBADMSG, "not JSON: null");
        *ret = TAKE(j);
        return 0;
}

struct json *json_free(struct json *j) {
        if (j)
                json_object_put(J(j));
        return NULL;
}

struct json *json_ref(struct json *j) {
        return OURS(json_object_get(J(j)));
}

struct json *json_copy(const struct json *j) {
        struct json_object *copy = NULL;

        if (json_object_deep_copy(J(j), &copy, NULL) < 0)
                return NULL;
        return OURS(copy);
}

int json_text(const struct json *j, bool pretty, char **ret, struct error *err) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;
        const char *text;
        char *copy;

        if (pretty)
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
        text = j ? json_object_to_json_string_ext(J(j), flags) : NULL;
        copy = text ? strdup(text) : NULL;
        if (!copy)
                return error_nomem(err);
        *ret = copy;
        return 0;
}

bool json_equal(const struct json *a, const struct json *b) {
        return json_object_equal(J(a), J(b));
}

bool json_is_object(const struct json *j) {
        return json_object_is_type(J(j), json_type_object);
}

bool json_is_array(const struct json *j) {
        return json_object_is_type(J(j), json_type_array);
}

static struct json_object *member(const struct json *o, const char *key) {
        struct json_object *value = NULL;

        if (!json_is_object(o))
                return NULL;
        json_object_object_get_ex(J(o), key, &value);
        return value;
}

bool json_has(const struct json *o, const char *key) {
        return json_is_object(o) && json_object_object_get_ex(J(o), key, NULL);
}

static int wrong(struct error *err, const char *key, const char *what) {
        return error_set(err, -EBADMSG, "member '%s' isn't %s", key, what);
}

int json_get(const struct json *o, const char *key, const struct json **ret, struct error *err) {
        struct json_object *v = member(o, key);

        if (!json_object_is_type(v, json_type_object))
                return wrong(err, key, "an object");
        *ret = OURS(v);
        return 0;
}

int json_get_array(const struct json *o, const char *key, const struct json **ret,
                   struct error *err) {
        struct json_object *v = member(o, key);

        if (!json_object_is_type(v, json_type_array))
                return wrong(err, key, "an array");
        *ret = OURS(v);
        return 0;
}

const char *json_string(const struct json *j) {
        const char *s;

        if (!json_object_is_type(J(j), json_type_string))
                return NULL;
        s = json_object_get_string(J(j));
        return strlen(s) == (size_t) json_object_get_string_len(J(j)) ? s : NULL;
}

int json_get_string(const struct json *o, const char *key, const char **ret, struct error *err) {
        const char *s = json_string(OURS(member(o, key)));

        if (!s)
                return wrong(err, key, "a string");
        *ret = s;
        return 0;
}

bool json_uint(const struct json *j, uint64_t max, uint64_t *ret) {
        uint64_t n;

        /* json-c clamps negative numbers to 0 and huge ones to the largest: both are told apart. */
        if (!json_object_is_type(J(j), json_type_int) || json_object_get_int64(J(j)) < 0)
                return false;
        errno = 0;
        n = json_object_get_uint64(J(j));
        if (errno || n > max)
                return false;
        *ret = n;
        return true;
}

int json_get_text(const struct json *o, const char *key, char *ret, size_t size,
                  struct error *err) {
        const char *text;
        int r = json_get_string(o, key, &text, err);

        if (r < 0)
                return r;
        if (strlen(text) >= size)
                return error_set(err, -EBADMSG, "member '%s' is too long", key);
        (void) snprintf(ret, size, "%s", text);
        return 0;
}

int json_get_uint(const struct json *o, const char *key, uint64_t max, uint64_t *ret,
                  struct error *err) {
        if (!json_uint(OURS(member(o, key)), max, ret))
                return error_set(err, -EBADMSG, "member '%s' isn't an integer from 0 to %" PRIu64,
                                 key, max);
        return 0;
}

int json_get_decimal(const struct json *o, const char *key, uint64_t max, uint64_t *ret,
                     struct error *err) {
        const char *s = json_string(OURS(member(o, key)));
        uint64_t n = 0;

        if (!s || !*s || (s[0] == '0' && s[1]))
                return wrong(err, key, "a decimal number in a string");
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return wrong(err, key, "a decimal number in a string");
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n))
                        return error_set(err, -EBADMSG, "member '%s' is above %" PRIu64, key, max);
        }
        if (n > max)
                return error_set(err, -EBADMSG, "member '%s' is above %" PRIu64, key, max);
        *ret = n;
        return 0;
}

int json_get_bytes(const struct json *o, const char *key, uint8_t *buf, size_t max,
                   size_t *ret_size, struct error *err) {
        const char *s = NULL;
        int r;

        r = json_get_string(o, key, &s, err);
        if (r < 0)
                return r;
        r = base64_decode(s, buf, max, ret_size, err);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                (void) error_prefix(err, "member '%s'", key);
                return err->errnum = -EBADMSG;
        }
        return 0;
}

int json_get_exactly(const struct json *o, const char *key, uint8_t *buf, size_t size,
                     struct error *err) {
        size_t n;
        int r = json_get_bytes(o, key, buf, size, &n, err);

        if (r < 0)
                return r;
        if (n != size)
                return error_set(err, -EBADMSG, "member '%s' has %zu bytes where %zu belong", key,
                                 n, size);
        return 0;
}

size_t json_length(const struct json *j) {
        if (json_is_array(j))
                return json_object_array_length(J(j));
        if (json_is_object(j))
                return (size_t) json_object_object_length(J(j));
        return 0;
}

const struct json *json_at(const struct json *array, size_t i) {
        return json_is_array(array) ? OURS(json_object_array_get_idx(J(array), i)) : NULL;
}

bool json_lists(const struct json *array, const char *s) {
        for (size_t i = 0; i < json_length(array); i++) {
                const char *item = json_string(json_at(array, i));

                if (item && strcmp(item, s) == 0)
                        return true;
        }
        return false;
}

bool json_next(const struct json *o, struct json_iter *i) {
        const struct lh_entry *e;

        if (!json_is_object(o))
                return false;
        e = i->key ? ((const struct lh_entry *) i->entry)->next
                   : json_object_get_object(J(o))->head;
        if (!e)
                return false;
        *i = (struct json_iter){ .key = lh_entry_k(e), .value = lh_entry_v(e), .entry = e };
        return true;
}

struct json *json_new_object(void) {
        return OURS(json_object_new_object());
}

struct json *json_new_array(void) {
        return OURS(json_object_new_array());
}

bool json_add(struct json *o, const char *key, struct json *value) {
        if (!value)
                return false;
        if (!o || json_object_object_add(J(o), key, J(value)) < 0) {
                json_free(value);
                return false;
        }
        return true;
}

bool json_append(struct json *array, struct json *value) {
        if (!value)
                return false;
        if (!array || json_object_array_add(J(array), J(value)) < 0) {
                json_free(value);
                return false;
        }
        return true;
}

bool json_add_string(struct json *o, const char *key, const char *value) {
        return json_add(o, key, OURS(json_object_new_string(value)));
}

bool json_add_uint(struct json *o, const char *key, uint64_t value) {
        return json_add(o, key, OURS(json_object_new_uint64(value)));
}

bool json_add_bool(struct json *o, const char *key, bool value) {
        return json_add(o, key, OURS(json_object_new_boolean(value)));
}

bool json_add_bytes(struct json *o, const char *key, const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = malloc(base64_size(size));
        struct error err = { 0 };

        return text && base64_encode(data, size, text, base64_size(size), &err) == 0 &&
               json_add_string(o, key, text);
}

bool json_append_string(struct json *array, const char *value) {
        return json_append(array, OURS(json_object_new_string(value)));
}

bool json_append_uint(struct json *array, uint64_t value) {
        return json_append(array, OURS(json_object_new_uint64(value)));
}

void json_remove(struct json *o, const char *key) {
        json_object_object_del(J(o), key);
}

/* --- the canonical form --- */

static int canonical(FILE *f, struct json_object *v, struct error *err);

static void canonical_string(FILE *f, const char *s, size_t size) {
        fputc('"', f);
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char) s[i];

                if (c == '"' || c == '\\')
                        fprintf(f, "\\%c", c);
                else if (c < 0x20)
                        fprintf(f, "\\u%04x", c);
                else
                        fputc(c, f);
        }
        fputc('"', f);
}

static int compare_keys(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int canonical_object(FILE *f, struct json_object *o, struct error *err) {
        _cleanup_(freep) const char **keys = NULL;
        struct json_iter i = { 0 };
        size_t n = 0;
        int r;

        keys = calloc((size_t) json_object_object_length(o) + 1, sizeof(*keys));
        if (!keys)
                return error_nomem(err);
        while (json_next(OURS(o), &i))
                keys[n++] = i.key;
        qsort(keys, n, sizeof(*keys), compare_keys);

        fputc('{', f);
        for (size_t k = 0; k < n; k++) {
                if (k > 0)
                        fputc(',', f);
                canonical_string(f, keys[k], strlen(keys[k]));
                fputc(':', f);
                r = canonical(f, member(OURS(o), keys[k]), err);
                if (r < 0)
                        return r;
        }
        fputc('}', f);
        return 0;
}

static int canonical_array(FILE *f, struct json_object *a, struct error *err) {
        fputc('[', f);
        for (size_t i = 0; i < json_object_array_length(a); i++) {
                int r;

                if (i > 0)
                        fputc(',', f);
                r = canonical(f, json_object_array_get_idx(a, i), err);
                if (r < 0)
                        return r;
        }
        fputc(']', f);
        return 0;
}

static int canonical(FILE *f, struct json_object *v, struct error *err) {
        switch (json_object_get_type(v)) {
        case json_type_null: fputs("null", f); return 0;
        case json_type_boolean: fputs(json_object_get_boolean(v) ? "true" : "false", f); return 0;
        case json_type_int:
                if (json_object_get_int64(v) < 0)
                        fprintf(f, "%" PRId64, json_object_get_int64(v));
                else
                        fprintf(f, "%" PRIu64, json_object_get_uint64(v));
                return 0;
        case json_type_string:
                canonical_string(f, json_object_get_string(v),
                                 (size_t) json_object_get_string_len(v));
                return 0;
        case json_type_array: return canonical_array(f, v, err);
        case json_type_object: return canonical_object(f, v, err);
        case json_type_double: break;
        }
        return error_set(err, -EBADMSG, "a number with a fraction has no canonical form");
}

int json_canonical(const struct json *j, char **ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(fclosep) FILE *f = NULL;
        size_t size;
        int r;

        f = open_memstream(&text, &size);
        if (!f)
                return error_nomem(err);
        r = canonical(f, J(j), err);
        if (r < 0)
                return r;
        if (fflush(f) != 0 || ferror(f))
                return error_nomem(err);
        *ret = strdup(text);
        return *ret ? 0 : error_nomem(err);
}
