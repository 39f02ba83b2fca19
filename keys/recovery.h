/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"

/* Recovery passphrases: 256 random bits in modhex, 8 groups of 8 letters with dashes between them,
 * as systemd-cryptenroll makes them; their keyslots are marked by a token "systemd-recovery", as it
 * does, so that both know each other's. */

#define RECOVERY_TYPE "systemd-recovery"
#define RECOVERY_SIZE 71 /* bytes: 64 letters, 7 dashes */

/* A new passphrase of RECOVERY_SIZE bytes, without NUL. */
int recovery_make(struct secret **ret, struct error *err) _warn_unused_;

/* What somebody typed or a file holds, as the keyslot wants it: a recovery passphrase in any case
 * of letters, with or without dashes, blanks and a newline at its end, is put into its form;
 * anything else is taken as it is, up to the first newline. Return: 0 and a new secret; -EINVAL
 * where it's empty; or what secret_new() says. */
int recovery_normalize(struct secret *typed, struct secret **ret, struct error *err) _warn_unused_;

/* The token that marks @slot. NULL: out of memory. */
struct json *recovery_token(unsigned slot);
/* Whether @token is one, and the slot that it marks (LUKS_SLOTS_MAX: none). */
bool recovery_is_one(const struct json *token, unsigned *ret_slot);
