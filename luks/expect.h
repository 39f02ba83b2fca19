/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "luks/rules.h"

/* What rules are made of. Each says whether the metadata is as expected, and writes both sides into
 * @f if it isn't. A missing object has no members. */

/* Fills in @f. Return: false. @found may come from the header. */
bool expect_failed(struct finding *f, const char *found, const char *fmt, ...) _printf_(3, 4);

/* The object @o has the members that are listed and no others; a '?' in front of a name says that
 * it may be missing. The list ends with NULL. */
bool expect_members(struct finding *f, const struct json *o, const char *const *names);
/* A member is one of these strings, as a whole. The list ends with NULL. */
bool expect_one_of(struct finding *f, const struct json *o, const char *key,
                   const char *const *values);
bool expect_string(struct finding *f, const struct json *o, const char *key, const char *value);
bool expect_uint(struct finding *f, const struct json *o, const char *key, uint64_t min,
                 uint64_t max);
/* A decimal number in a string, as LUKS2 writes what may need 64 bits. */
bool expect_decimal(struct finding *f, const struct json *o, const char *key, uint64_t min,
                    uint64_t max);
/* Base64 of exactly @size bytes. */
bool expect_bytes(struct finding *f, const struct json *o, const char *key, size_t size);
