/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "base/secret.h"

#define TERMINAL_LINE_MAX 512 /* bytes, with the newline */

/* In its place in an initrd, with the prompt as its argument: it writes what was typed to its
 * standard output. */
#define TERMINAL_ASK_PROGRAM "/usr/lib/diskseal/ask"

/* Asks on the terminal itself (standard output may lead elsewhere), without an echo. @ret: the line
 * as it was typed, with its newline; the caller's. Return: 0; -ENOTTY (there's no terminal),
 * -ENODATA (nothing was typed), -EFBIG (longer than TERMINAL_LINE_MAX), or what secret_new() says.
 */
int terminal_ask(const char *prompt, struct secret **ret, struct error *err) _warn_unused_;
