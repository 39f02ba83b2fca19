/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

#define TIMESPAN_INFINITY UINT64_MAX

/**
 * timespan_parse() - a span of time as systemd writes it
 * @text:        "30d", "1h 30min", "2w", "90" (seconds), "infinity"; see systemd.time(7), PARSING
 *               TIME SPANS. Units from s to y, also in words; what is shorter than a second isn't
 *               taken, nor is a fraction. A month is 30.44 days and a year 365.25, as there.
 * @ret_seconds: TIMESPAN_INFINITY for "infinity"; untouched on failure
 *
 * Pure.
 * Return: 0; -EINVAL where it's none, or doesn't fit.
 */
int timespan_parse(const char *text, uint64_t *ret_seconds) _warn_unused_;

#define TIMESPAN_TEXT 40

/* "18 days", "5 hours", "1 minute": the largest unit of which there's at least one, rounded down;
 * days are the largest. "infinity" for TIMESPAN_INFINITY. */
void timespan_text(uint64_t seconds, char ret[TIMESPAN_TEXT]);
