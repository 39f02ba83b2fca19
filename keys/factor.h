/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/argon2.h"
#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"

/* The second factor of a KEK: what the host lacks, mixed into the key, so that what the TPM unseals
 * isn't enough.
 *
 *   KEK = HKDF-SHA256(32 sealed bytes, salt = second factor or nothing,
 *                     info = factor_label(), KEK name, version)
 */

enum factor_kind {
        FACTOR_NONE,
        FACTOR_PIN, /* what a human types: through argon2id first */
        FACTOR_KEY, /* random bytes: a file, a credential, what a program gave */
};

#define FACTOR_SALT_MIN 16 /* bytes: RFC 9106, section 3.1 */
#define FACTOR_SALT_MAX 32
#define FACTOR_KEY_MIN 16 /* bytes: 128 bits */
#define FACTOR_KEY_MAX 4096
#define FACTOR_AUTH_SIZE 32

/* As it stands in the token of a disk. Public, and from hostile input: that a factor is wanted at
 * all is for the policy to say. Without one in the token the KEK only comes out wrong. */
struct factor {
        enum factor_kind kind;
        size_t salt_size; /* this and what follows: FACTOR_PIN */
        uint8_t salt[FACTOR_SALT_MAX];
        struct argon2_cost cost;
};

/* Twice the memory that RFC 9106 recommends where there's little of it, and a pass more: some
 * tenths of a second, and yet any machine that boots has so much. */
#define FACTOR_COST_DEFAULT                                                                        \
        { .memory = 128 * 1024, .time = 4, .lanes = 1 }

/* Whether a PIN may be stretched at this cost: argon2_cost_valid(), and no less than RFC 9106's
 * recommendation for little memory (64 MiB, 3 passes). A host that writes less into a token would
 * have the PIN's auth value in the traffic to the TPM, and try PINs on it for nothing. */
bool factor_cost_valid(const struct argon2_cost *cost);

/* A new factor; for a PIN with a salt of its own. @cost: NULL for the default; not looked at unless
 * it's a PIN. Return: 0; -EINVAL (the cost); -EIO. */
int factor_new(enum factor_kind kind, const struct argon2_cost *cost, struct factor *ret,
               struct error *err) _warn_unused_;

enum factor_verdict {
        FACTOR_DERIVED = 0,
        FACTOR_SHORT, /* an empty PIN, or a key of less than FACTOR_KEY_MIN bytes */
        FACTOR_LONG,  /* a key of more than FACTOR_KEY_MAX bytes */
};

/**
 * factor_derive() - make of a factor what the TPM and the KEK want of it
 * @f:        of any cost that argon2 takes: factor_new() and factor_parse() have held it to more
 * @input:    what was typed, without newline; or the key; borrowed. NULL for FACTOR_NONE
 * @ret_auth: the auth value of the TPM's object, FACTOR_AUTH_SIZE bytes; NULL where there's none
 * @ret_salt: the salt for the KEK; NULL for FACTOR_NONE. Both the caller's; untouched unless
 *            FACTOR_DERIVED
 *
 * A PIN: argon2id to 32 bytes, of which HKDF makes two keys by two labels. What HKDF gives for one
 * label tells nothing of the other's (RFC 5869, 3.2), so neither does the auth value, which the TPM
 * knows, of the salt, which it doesn't. (Who knows one of them can still try PINs on it, at the
 * cost of argon2id each.) The auth value never ends in a zero: the TPM cuts those off (TPM 2.0 Part
 * 1, "Authorization Values"), and not every program that talks to it does.
 *
 * A key: its bytes as they are, and no auth value.
 *
 * Return: a verdict; -EINVAL (cost or salt out of bounds), -ENOMEM, -EPERM, -EAGAIN, -EIO.
 */
int factor_derive(const struct factor *f, struct secret *input, struct secret **ret_auth,
                  struct secret **ret_salt, struct error *err) _warn_unused_;

/* The first field of HKDF's info, before KEK name and version. A string of its own for each kind,
 * so that no KEK of one kind is ever one of another: "diskseal/1 kek", "diskseal/1 kek pin",
 * "diskseal/1 kek key". */
const char *factor_label(enum factor_kind kind);

/* From and to the member "factor" of a token's KEK, which isn't there for FACTOR_NONE:
 *
 *   {"kind":"pin","salt":"<base64>","argon2id":{"memory":131072,"time":4,"lanes":1}}
 *   {"kind":"key"}
 *
 * Members that aren't known are refused, since they would change what is derived. factor_parse()
 * returns 0; -EBADMSG (not a factor of ours, or out of bounds), -ENOMEM. factor_print() returns
 * false when out of memory. */
int factor_parse(const struct json *entry, struct factor *ret, struct error *err) _warn_unused_;
bool factor_print(const struct factor *f, struct json *entry) _warn_unused_;
