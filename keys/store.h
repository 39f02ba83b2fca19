/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "keys/kek.h"

/* What this machine knows of its KEKs: FOLDER/NAME.json, one file each, holding sealed and public
 * parts only. It may be lost without harm: every disk's token has all that it needs. */

#define TIME_TEXT 24 /* "2026-11-24T16:00:00Z" and the NUL */

struct kek_record {
        char name[NAME_MAX_SIZE];
        char policy[NAME_MAX_SIZE]; /* name of the one that it was made under; empty: of none */
        bool has_current, has_staged;
        struct kek current, staged;
        char current_created[TIME_TEXT], staged_created[TIME_TEXT];
        /* The newest version that was staged and given up, and the highest value of the counter
         * that any of them allows: the next one must be beyond both, or it doesn't end them. 0:
         * none. */
        uint32_t given_up;
        uint64_t given_up_le;
};

/* Return: 0; -ENOENT where there's no record; -EBADMSG where it's damaged; or another fault. */
int store_read(const char *folder, const char *name, struct kek_record *ret,
               struct error *err) _warn_unused_;

/* Durable when it returns 0. Makes the folder. */
int store_write(const char *folder, const struct kek_record *record,
                struct error *err) _warn_unused_;

/* The names that have a record, sorted; for store_names_free(). No folder is no name. */
int store_names(const char *folder, char ***ret, size_t *ret_count,
                struct error *err) _warn_unused_;
/* The same for any folder: names before @suffix that name_valid() takes. */
int folder_names(const char *folder, const char *suffix, char ***ret, size_t *ret_count,
                 struct error *err) _warn_unused_;
void store_names_free(char **names, size_t count);

/* The time now, in UTC, as records hold it. */
void time_text(char ret[TIME_TEXT]);
