/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/disk.h"

/* What each keyslot is for. Only our own is vouched for by the pin, and escrow's token; what a
 * header says of the others is a name to show, and never a reason to open anything. */

enum slot_role {
        SLOT_NONE,
        SLOT_AGENT,    /* ours */
        SLOT_RECOVERY, /* a recovery passphrase, marked by a token systemd-recovery */
        SLOT_ESCROW,   /* of a token diskseal-escrow */
        SLOT_FOREIGN,  /* somebody else's */
};

/* "agent", "recovery", "escrow", "foreign"; "none". */
const char *slot_role_word(enum slot_role role);

void slot_roles(const struct disk *d, enum slot_role ret[LUKS_SLOTS_MAX]);

/* Of the keyslots with this role: the one with the number @wanted, or, where that's negative, the
 * only one. Return: its number; -ENOENT; -ENOTUNIQ. */
int slot_of_role(const struct disk *d, enum slot_role role, int wanted);
