/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/json.h"

#define DIFFERENCE_SIZE 200 /* bytes of one line with its NUL */

/* What differs between two JSON values, one line for each place: "segments.0.size: "1" -> "2"".
 * Their texts may come from a hostile header: what isn't printable ASCII becomes '?'. @from: NULL
 * lists all of @to. Return: how many lines were filled in, at most @max; the last says if there are
 * more. */
size_t differ(const struct json *from, const struct json *to, char (*ret)[DIFFERENCE_SIZE],
              size_t max);
