/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

/* JSON, strictly: types are never converted, sizes and ranges are checked, what is missing is an
 * error unless it's asked for with _has. json-c does the work, and is seen in base/json.c only. */
struct json; /* one value; reference counted underneath, owned by whoever made it */

#define JSON_DEPTH_MAX 16

/* Parses one value, of at most @size bytes and JSON_DEPTH_MAX levels, with nothing behind it.
 * json-c's strict mode, which still takes comments and single quotes: text that anybody signs or
 * pins goes through json_canonical(). Return: 0 and a value for json_free(); -EBADMSG, -ENOMEM. */
int json_parse(const char *text, size_t size, struct json **ret, struct error *err) _warn_unused_;
struct json *json_free(struct json *j);
DEFINE_CLEANUP(struct json *, json_free);

/* A second owner of the same value. */
struct json *json_ref(struct json *j);
/* A copy that shares nothing. NULL when out of memory. */
struct json *json_copy(const struct json *j);

/* As text for a file or a pipe: compact, or indented for people. Return: 0 and text for free();
 * -ENOMEM. */
int json_text(const struct json *j, bool pretty, char **ret, struct error *err) _warn_unused_;

/* The canonical form (what MACs cover): members sorted by bytes, no white space, integers in
 * decimal, strings with minimal escapes (\" \\ and \u00XX below 0x20). Return: 0 and text for
 * free(); -EBADMSG (a number with a fraction), -ENOMEM. */
int json_canonical(const struct json *j, char **ret, struct error *err) _warn_unused_;

bool json_equal(const struct json *a, const struct json *b);

/* Reading. All borrow: what they return lives as long as @o. A member that is missing or of another
 * type is -EBADMSG, with the member's name in @err. */
bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);
bool json_has(const struct json *o, const char *key);
int json_get(const struct json *o, const char *key, const struct json **ret,
             struct error *err) _warn_unused_;
int json_get_array(const struct json *o, const char *key, const struct json **ret,
                   struct error *err) _warn_unused_;
int json_get_string(const struct json *o, const char *key, const char **ret,
                    struct error *err) _warn_unused_;
/* A copy of it, with its NUL; -EBADMSG where it's longer. */
int json_get_text(const struct json *o, const char *key, char *ret, size_t size,
                  struct error *err) _warn_unused_;
/* An integer from 0 to @max. */
int json_get_uint(const struct json *o, const char *key, uint64_t max, uint64_t *ret,
                  struct error *err) _warn_unused_;
/* The same where LUKS2 writes integers as decimal strings ("offset": "16777216"). */
int json_get_decimal(const struct json *o, const char *key, uint64_t max, uint64_t *ret,
                     struct error *err) _warn_unused_;
/* Base64, strictly, of at most @max bytes into @buf. */
int json_get_bytes(const struct json *o, const char *key, uint8_t *buf, size_t max,
                   size_t *ret_size, struct error *err) _warn_unused_;

/* … of exactly @size bytes. */
int json_get_exactly(const struct json *o, const char *key, uint8_t *buf, size_t size,
                     struct error *err) _warn_unused_;

size_t json_length(const struct json *array_or_object);
const struct json *json_at(const struct json *array, size_t i);
/* NULL where @j isn't a string, or has a NUL in it. */
const char *json_string(const struct json *j);
/* Whether @j is an integer from 0 to @max; then @ret is it. */
bool json_uint(const struct json *j, uint64_t max, uint64_t *ret);
/* Whether @array has the string @s. */
bool json_lists(const struct json *array, const char *s);

/* The members of an object, in its order: struct json_iter i = { 0 }; while (json_next(o, &i)) … */
struct json_iter {
        const char *key;
        const struct json *value;
        const void *entry; /* private */
};
bool json_next(const struct json *o, struct json_iter *i);

/* Building. Each returns false when out of memory (or when given NULL for @o or @value), so that a
 * chain of && ends in one check. json_add() and json_append() own @value from then on, also when
 * they fail. */
struct json *json_new_object(void);
struct json *json_new_array(void);
bool json_add(struct json *o, const char *key, struct json *value) _warn_unused_;
bool json_append(struct json *array, struct json *value) _warn_unused_;
bool json_add_string(struct json *o, const char *key, const char *value) _warn_unused_;
bool json_add_uint(struct json *o, const char *key, uint64_t value) _warn_unused_;
bool json_add_bool(struct json *o, const char *key, bool value) _warn_unused_;
bool json_add_bytes(struct json *o, const char *key, const uint8_t *data,
                    size_t size) _warn_unused_;
bool json_append_string(struct json *array, const char *value) _warn_unused_;
bool json_append_uint(struct json *array, uint64_t value) _warn_unused_;
void json_remove(struct json *o, const char *key);
