/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"
#include "keys/kek.h"
#include "keys/store.h"

/* The archive: retired versions of a KEK, in its record (struct kek_record), so that a disk that
 * was detached during rotations, or a snapshot, still opens. Pure: what's read and written is the
 * caller's.
 *
 *   wrap  AES-256-GCM of the retired version's key (32 bytes) under
 *         HKDF-SHA256(key of the wrapping version, info = "diskseal/1 archive"); associated data:
 *         "diskseal/1 archive", KEK name, retired version, wrapping version, the retired version's
 *         object in base64, each with its length (32 bits, big endian), numbers in decimal
 *   mac   HMAC-SHA256 under HKDF-SHA256(key of the version that vouches, info =
 *         "diskseal/1 archive mac") over the canonical form of archive_covered()
 *
 * A record comes from a disk, or from a partition that the host can write to: nothing in it is
 * believed before archive_check(), and an entry opens for exactly its object. */

enum archive_verdict {
        ARCHIVE_GOOD = 0,
        ARCHIVE_UNSIGNED, /* that version doesn't vouch for the record */
        ARCHIVE_DAMAGED,  /* it does, for another record: an entry was changed, removed, moved */
        ARCHIVE_NOT_HERE, /* no such entry, or none that this version opens */
        ARCHIVE_FULL,     /* RETIRED_MAX, OTHERS_MAX */
};

/* A version, open. Both borrowed. */
struct archive_key {
        const struct kek *kek;
        struct secret *key;
};

/* What a version is told from others by: SHA-256 of its TPM2B_PUBLIC, as it stands in tokens. */
int archive_object(const struct kek *kek, uint8_t ret[SHA256_SIZE],
                   struct error *err) _warn_unused_;
/* Whether both are the same object. Return: 1, 0; or a fault. */
int archive_same(const struct kek *a, const struct kek *b, struct error *err) _warn_unused_;
/* The retired entry of this object. Return: 1, and its index; 0 where there's none; or a fault. */
int archive_find(const struct kek_record *r, const struct kek *kek, size_t *ret,
                 struct error *err) _warn_unused_;

/* Whether it's a record without an archive, which nobody needs to vouch for: as they were written
 * before there were any. */
bool archive_is_plain(const struct kek_record *r);
/* The highest version that the record knows. */
uint32_t archive_newest(const struct kek_record *r);

/* What the MAC covers: name, policy, generation, what was given up, version, object and time of
 * current and staged, and the whole of each retired entry and of each other KEK's, but for members
 * that aren't ours. For free(). */
int archive_covered(const struct kek_record *r, char **ret, struct error *err) _warn_unused_;
/* Puts a MAC by this version in, beside that of another version of the record. Any change to the
 * record must come before. */
/* Whether it has a MAC by that version, good or not. */
bool archive_signed_by(const struct kek_record *r, uint32_t version);
int archive_sign(struct kek_record *r, const struct archive_key *by,
                 struct error *err) _warn_unused_;
/* Drops the MACs: before the first archive_sign() of a changed record. */
void archive_unsign(struct kek_record *r);
/* Return: ARCHIVE_GOOD, _UNSIGNED, _DAMAGED; or a fault. */
int archive_check(const struct kek_record *r, const struct archive_key *by,
                  struct error *err) _warn_unused_;

/**
 * archive_add() - @old becomes a retired version, and all of them are wrapped by @new, and so is
 *                 what there is of other KEKs
 * @when: the time now, as time_text() writes it
 *
 * What @old wraps stays. An entry that neither opens stays as it is. A second time changes nothing.
 * Return: ARCHIVE_GOOD, _FULL; or a fault, after which the record isn't to be used.
 */
int archive_add(struct kek_record *r, const struct archive_key *old, const struct archive_key *new,
                const char *when, struct error *err) _warn_unused_;
/* The version alone, wrapped by nobody: its key isn't known here. Return: as archive_add(). */
int archive_add_lost(struct kek_record *r, const struct kek *old, const char *when,
                     struct error *err) _warn_unused_;
/* Drops the wraps by other versions where there's one by @version. */
void archive_keep_only(struct kek_record *r, uint32_t version);
/* Whether an entry has a wrap by this version. */
bool archive_wrapped_by(const struct retired *e, uint32_t version);
/* Drops the entry at @index. */
void archive_drop(struct kek_record *r, size_t index);

struct archive_retention {
        uint32_t versions; /* the newest so many stay */
        uint64_t seconds;  /* since they were retired; UINT64_MAX: for ever */
        /* Those that disks which are away have, as far as it's known: they stay in any case. */
        const uint32_t *needed;
        size_t needed_count;
};

/* Drops what needn't be retained at @now (seconds since 1970). An entry without a time has no age.
 * Return: how many. */
size_t archive_prune(struct kek_record *r, const struct archive_retention *keep, int64_t now);

/* The key of the entry at @index, which @by wraps. Only of a record that archive_check() took.
 * Return: ARCHIVE_GOOD and a new secret; ARCHIVE_NOT_HERE, where @by has no wrap of it or doesn't
 * open it; or a fault. */
int archive_open(const struct kek_record *r, size_t index, const struct archive_key *by,
                 struct secret **ret, struct error *err) _warn_unused_;
