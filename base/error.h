/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* One fault and where it arose. Lives on the caller's stack and never allocates, so it can report
 * -ENOMEM. Never holds key bytes.
 *
 * A fault (negative errno) says that something broke; it climbs to the caller with more context at
 * each layer. What was decided (a policy, a header, a key that doesn't fit) is a positive verdict
 * of the function that decided, and never lands here. */
struct error {
        int errnum;      /* negative errno, 0 while unset */
        uint32_t tpm_rc; /* the TSS2_RC behind it, 0 if none */
        char text[256];  /* one line without newline: "what: why" */
};

/* Fills in @e from @errnum (negative) and the message. Return: @errnum. */
int error_set(struct error *e, int errnum, const char *fmt, ...) _printf_(3, 4);

/* As error_set(), with ": " and the words for @errnum behind the message. */
int error_errno(struct error *e, int errnum, const char *fmt, ...) _printf_(3, 4);

/* Puts "context: " before the text of a fault on its way up. Return: its errnum. */
int error_prefix(struct error *e, const char *fmt, ...) _printf_(2, 3);

/* Return: -ENOMEM, and @e says so. */
int error_nomem(struct error *e);

/* Puts '?' in the place of whatever isn't printable ASCII: for words that came from outside, before
 * they reach a terminal. */
void make_printable(char *text);
