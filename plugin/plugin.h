/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "agent/refusal.h"
#include "base/error.h"
#include "base/secret.h"

/* The plugin that libcryptsetup loads for tokens of type "diskseal". It lives in processes of other
 * people: no global state, no signal handler, nothing set for the whole process, and no symbol but
 * those of the ABI, which plugin/plugin.map lists. */

/**
 * plugin_secret() - the slot secret of a disk, after the checks that can be made from in here
 * @context: the struct crypt_device of whoever loaded us; asked, never changed
 * @device:  what to call the disk where its name isn't known yet
 * @ret:     on OUTCOME_DONE the slot secret, the caller's; untouched otherwise
 *
 * Header and keyslot hold by the rules, the KEK is unsealed, the secret unwrapped, and the pin's
 * MAC is that of the header. Disks of role "os" are refused before the TPM is asked.
 *
 * Return: OUTCOME_DONE, OUTCOME_REFUSED; -ENOENT where this token isn't the one that opens the
 *         disk; or another fault.
 */
int plugin_secret(void *context, const char *device, int token, struct secret **ret,
                  struct refusal *why, struct error *err) _warn_unused_;

/* The ABI, <libcryptsetup.h>, CRYPT_TOKEN_ABI_*. */
struct crypt_device;
int cryptsetup_token_open(struct crypt_device *cd, int token, char **ret, size_t *ret_size,
                          void *user);
int cryptsetup_token_open_pin(struct crypt_device *cd, int token, const char *pin, size_t pin_size,
                              char **ret, size_t *ret_size, void *user);
void cryptsetup_token_buffer_free(void *buffer, size_t size);
int cryptsetup_token_validate(struct crypt_device *cd, const char *json);
void cryptsetup_token_dump(struct crypt_device *cd, const char *json);
const char *cryptsetup_token_version(void);
