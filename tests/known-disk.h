/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/disk.h"
#include "tests/image.h"

/* Disks of ours for tests that need no TPM: KEKs whose keys are known, and images that are enrolled
 * under them. Whatever fails here fails the test. */

/* A version whose sealed object says nothing but its number; and its key, the caller's. */
struct kek known_kek(uint32_t version);
struct secret *known_kek_key(uint32_t version);

/* Formats the image and enrolls it under @version as "d". Return: the volume key. */
struct secret *known_disk_make(const struct image *i, uint32_t version);
/* The disk as it stands. */
void known_disk_load(const struct image *i, struct disk *ret);
