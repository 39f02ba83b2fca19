/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "luks/rules.h"

/* What rules are made of. Each returns whether the metadata is as expected, and, where @f isn't
 * NULL, writes both sides into it: behind what's there if so, in place of it if not. A missing
 * object has no members. */

/* Return: @holds. @found may come from the header. */
bool expect(struct finding *f, bool holds, const char *found, const char *expected);
/* The same, found is the member @key of @o. */
bool expect_member(struct finding *f, bool holds, const struct json *o, const char *key,
                   const char *expected);

/* The object @o has the members that are listed and no others; a '?' in front of a name says that
 * it may be missing. The list begins with one that may not, and ends with NULL. */
bool expect_members(struct finding *f, const struct json *o, const char *const *names);
/* The same, but nothing is written where it's so. */
bool expect_only(struct finding *f, const struct json *o, const char *const *names);
/* A member is one of these strings, as a whole. The list ends with NULL. */
bool expect_one_of(struct finding *f, const struct json *o, const char *key,
                   const char *const *values);
bool expect_string(struct finding *f, const struct json *o, const char *key, const char *value);
bool expect_uint(struct finding *f, const struct json *o, const char *key, uint64_t min,
                 uint64_t max);
/* A decimal number in a string, as LUKS2 writes what may need 64 bits. */
bool expect_decimal(struct finding *f, const struct json *o, const char *key, uint64_t min,
                    uint64_t max);
/* Base64 of exactly @size bytes, at most 64. */
bool expect_bytes(struct finding *f, const struct json *o, const char *key, size_t size);

/* The member's number if it's one from 0 to @max, else @otherwise. */
uint64_t read_uint(const struct json *o, const char *key, uint64_t max, uint64_t otherwise);
uint64_t read_decimal(const struct json *o, const char *key, uint64_t max, uint64_t otherwise);
