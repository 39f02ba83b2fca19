/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "agent/refusal.h"
#include "base/error.h"

/* Azure Disk Encryption hands a disk's passphrase over in a file on a small volume of its own,
 * labelled "BEK VOLUME". */

#define BEK_AUTO "auto"
#define BEK_FILES_MAX 16

struct bek {
        size_t count;
        char file[BEK_FILES_MAX][512]; /* paths, sorted */
};

/* The passphrase files in @folder; for BEK_AUTO where the volume is mounted, else in
 * /mnt/azure_bek_disk. Return: OUTCOME_DONE with at least one; OUTCOME_REFUSED, saying where was
 * looked; or a fault. */
int bek_find(const char *folder, struct bek *ret, struct refusal *why,
             struct error *err) _warn_unused_;
