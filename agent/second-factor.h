/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "agent/refusal.h"
#include "base/error.h"
#include "base/secret.h"
#include "keys/factor.h"

/* Where the second factor of a KEK comes from, and getting it. What is made of it: keys/factor.h.
 */

enum factor_from { FROM_NONE, FROM_PIN, FROM_FILE, FROM_CREDENTIAL, FROM_HELPER };

#define FACTOR_TEXT_MAX 256
#define FACTOR_WORDS_MAX 16
#define FACTOR_DEADLINE 30000u /* ms */
#define PIN_CREDENTIAL "diskseal.pin"

/* SecondFactor= of a policy. */
struct factor_source {
        enum factor_from from;
        char text[FACTOR_TEXT_MAX]; /* the path; the name; or the program's words, each with a NUL
                                     */
        unsigned words;             /* FROM_HELPER: 1, and its arguments */
        unsigned deadline;          /* FROM_HELPER: ms; FACTOR_DEADLINE unless changed */
};

/**
 * factor_source_parse() - read the value of SecondFactor=
 * @text: "none" or nothing; "pin"; "file:/PATH"; "credential:NAME"; "helper:/PATH [ARGUMENT…]"
 *
 * Pure. Printable ASCII only, paths absolute. NAME: letters, digits and _ . - with a letter or
 * digit first. Arguments are what stands between blanks; quotes and backslashes are refused, so
 * that nobody takes them for a shell's, and nothing else means anything but itself.
 *
 * Return: 0; -EBADMSG, and @err says what is wrong, without repeating @text.
 */
int factor_source_parse(const char *text, struct factor_source *ret,
                        struct error *err) _warn_unused_;

/* What the token says of it. */
enum factor_kind factor_source_kind(const struct factor_source *s);

/* Who wants it, and what the command line says. All borrowed. */
struct factor_request {
        const char *subject;  /* the disk or the KEK: for the prompt and for refusals */
        const char *pin_file; /* --pin-file; "-" is standard input; NULL where it wasn't given */
        bool new_pin;         /* one that is being set: a terminal asks for it twice */
};

/**
 * second_factor_pin() - get a PIN
 * @ret: its bytes, without newline: the first line, not empty. The caller's
 *
 * From --pin-file; else from the credential PIN_CREDENTIAL, where $CREDENTIALS_DIRECTORY has one;
 * else from the terminal, without an echo.
 *
 * Return: OUTCOME_DONE; OUTCOME_REFUSED (REFUSAL_SECOND_FACTOR: none of the three is there, or the
 * PIN is empty or too long, or was typed differently the second time); or a fault.
 */
int second_factor_pin(const struct factor_request *q, struct secret **ret, struct refusal *why,
                      struct error *err) _warn_unused_;

/**
 * second_factor_get() - get a second factor from where the policy says it is
 * @ret: for factor_derive(); the caller's. NULL for FROM_NONE
 *
 * A key has FACTOR_KEY_MIN to FACTOR_KEY_MAX bytes, and all of them count: also a newline at the
 * end of a file. What isn't a regular file is refused, since it might never end.
 *
 * Return: OUTCOME_DONE; OUTCOME_REFUSED (REFUSAL_SECOND_FACTOR: it isn't there, is too short or too
 * long, or the program failed); or a fault.
 */
int second_factor_get(const struct factor_source *s, const struct factor_request *q,
                      struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;
