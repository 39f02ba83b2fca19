/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* What the kernel command line says to us (kernel-command-line(7)): "diskseal.disk=",
 * "diskseal.timeout=". The host may have written it; it's no more than where to look. */

#define BOOT_LINE_MAX (64 * 1024) /* bytes; the kernel's own limit is below that */

struct boot_args {
        char disk[256]; /* UUID=…, /dev/…, or a name; empty where it isn't said */
        bool has_timeout;
        uint64_t timeout; /* seconds; TIMESPAN_INFINITY */
};

/**
 * boot_args_parse() - read what is ours
 * @line: /proc/cmdline; words between white space, which double quotes protect
 *
 * The last of several counts; what isn't ours is none of our business. Return: 0; -EBADMSG where
 * something of ours has no meaning, then @ret is untouched.
 */
int boot_args_parse(const char *line, size_t size, struct boot_args *ret,
                    struct error *err) _warn_unused_;
