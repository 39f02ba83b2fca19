/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "agent/context.h"
#include "base/error.h"
#include "keys/store.h"

/* The mirror of KEK records: a folder outside of the OS disk, by which an OS disk that was put back
 * from its own snapshot still opens. The host can write to it, so what's read there is hostile, and
 * what's written there are sealed, wrapped and public parts. It may be FAT. */

#define MIRROR_NONE "none"
#define MIRROR_PATH 300

/* Where it is: Mirror= of agent.conf, else diskseal/ on the EFI system partition where that's
 * mounted (FAT, at /efi, /boot/efi or /boot). Return: false where there's none. */
bool mirror_folder(const struct context *c, char ret[MIRROR_PATH]);

/* Whether this KEK's record belongs there: an OS disk has it, or it's there already. Return: 1; 0,
 * also where there's no mirror; or a fault. */
int mirror_wanted(const struct context *c, const char *kek, struct error *err) _warn_unused_;

/* Return: 0; -ENOENT where there's no mirror, or nothing of this KEK in it; -EBADMSG where it's
 * damaged; or another fault. */
int mirror_read(const struct context *c, const char *kek, struct kek_record *ret,
                struct error *err) _warn_unused_;

/* Durable, and read back, when it returns 0. */
int mirror_write(const struct context *c, const char *kek, const char *text,
                 struct error *err) _warn_unused_;
