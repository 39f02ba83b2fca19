/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/* Time that passes evenly (CLOCK_MONOTONIC), from a moment that means nothing: for deadlines in
 * milliseconds, and for how long something took, in seconds. */
int64_t clock_ms(void);
double clock_seconds(void);
