/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"
#include "keys/archive.h"
#include "keys/kek.h"
#include "keys/store.h"

/* Other KEKs in the record of the OS disk's: the version that each of them has now, wrapped by the
 * OS disk's KEK, so that whoever has that needs no other from the TPM. Pure, as keys/archive.h, and
 * covered by the same MAC.
 *
 *   wrap  AES-256-GCM of the other version's key (32 bytes) under HKDF-SHA256(key of the record's
 *         version that wraps, info = "diskseal/1 other kek"); associated data:
 *         "diskseal/1 other kek", the record's KEK and the version that wraps, name and version of
 *         the other KEK, its object in base64, each with its length (32 bits, big endian), numbers
 *         in decimal */

/* The entry of this very object under this name. Return: 1, and its index; 0 where there's none; or
 * a fault. */
int others_find(const struct kek_record *r, const struct kek *kek, size_t *ret,
                struct error *err) _warn_unused_;
/* Whether it's there, and wrapped by @version. Return: 1, 0; or a fault. */
int others_has(const struct kek_record *r, const struct kek *kek, uint32_t version,
               struct error *err) _warn_unused_;

/* Puts @other in, wrapped by @by too. Return: ARCHIVE_GOOD, ARCHIVE_FULL; or a fault. */
int others_put(struct kek_record *r, const struct archive_key *other, const struct archive_key *by,
               struct error *err) _warn_unused_;
/* All that @old wraps and @new doesn't is wrapped by @new, too. Return: ARCHIVE_GOOD; or a fault.
 */
int others_rewrap(struct kek_record *r, const struct archive_key *old,
                  const struct archive_key *new, struct error *err) _warn_unused_;
/* Drops the entry at @index. */
void others_drop(struct kek_record *r, size_t index);

/* The key of the entry at @index. Only of a record that archive_check() took. Return: as
 * archive_open(). */
int others_open(const struct kek_record *r, size_t index, const struct archive_key *by,
                struct secret **ret, struct error *err) _warn_unused_;
