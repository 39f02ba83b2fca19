/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Digits of base 16, in small letters. Not for secrets: they're looked up in a table. */

/* Writes 2 * @size digits and a NUL. */
void hex_encode(const uint8_t *data, size_t size, char *ret);

/* Return: whether @text is exactly 2 * @size digits; NULL isn't. */
bool hex_decode(const char *text, uint8_t *ret, size_t size) _warn_unused_;
