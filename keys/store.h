/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "keys/kek.h"

/* What this machine knows of its KEKs: FOLDER/NAME.json, one file each, holding sealed, wrapped and
 * public parts only. The versions that disks have may be lost without harm: every disk's token has
 * all that it needs. With the retired ones (keys/archive.h) go disks that were away for longer. */

#define TIME_TEXT 24 /* "2026-11-24T16:00:00Z" and the NUL */

#define RETIRED_MAX 1000             /* versions in one record */
#define RETIRED_WRAPS 2              /* by the current version, and by the one that replaces it */
#define OTHERS_MAX 64                /* versions of other KEKs in one record */
#define RECORD_MAX (2 * 1024 * 1024) /* bytes of a record's file */

/* The key of a retired version, wrapped by a later one. */
struct retired_wrap {
        uint32_t by; /* version */
        struct gcm_box box;
};

struct retired {
        uint32_t version;
        char created[TIME_TEXT], retired[TIME_TEXT]; /* empty where it's not known */
        uint64_t le; /* value of the counter up to which it lived; 0: it had no counter */
        uint8_t object[SHA256_SIZE]; /* archive_object() */
        unsigned wraps;              /* none: no version opens it any more */
        struct retired_wrap wrap[RETIRED_WRAPS];
};

/* A version of another KEK, wrapped by versions of the record's: see keys/others.h. */
struct other_kek {
        char name[NAME_MAX_SIZE];
        uint32_t version;
        uint8_t object[SHA256_SIZE]; /* archive_object() */
        unsigned wraps;
        struct retired_wrap wrap[RETIRED_WRAPS];
};

struct record_mac {
        uint32_t by; /* version */
        uint8_t mac[SHA256_SIZE];
};

/* Large: not for the stack. */
struct kek_record {
        char name[NAME_MAX_SIZE];
        char policy[NAME_MAX_SIZE]; /* name of the one that it was made under; empty: of none */
        bool has_current, has_staged;
        struct kek current, staged;
        char current_created[TIME_TEXT], staged_created[TIME_TEXT];
        bool staged_slot; /* with it come new keyslots: depth "slot" */
        /* The newest version that was staged and given up, and the highest value of the counter
         * that any of them allows: the next one must be beyond both, or it doesn't end them. 0:
         * none. */
        uint32_t given_up;
        uint64_t given_up_le;

        uint64_t generation; /* of the record; it only grows. 0: written before there were any */
        unsigned macs;
        struct record_mac mac[RETIRED_WRAPS];
        size_t others_count;
        struct other_kek other[OTHERS_MAX]; /* none twice */
        size_t retired_count;
        struct retired retired[RETIRED_MAX]; /* by version; no object twice */
};

/* From hostile input: @size bytes of @text, the record of @name. Return: 0; -EBADMSG (what is wrong
 * is in @err), -ENOMEM. @ret is untouched on failure. */
int record_parse(const char *text, size_t size, const char *name, struct kek_record *ret,
                 struct error *err) _warn_unused_;
/* As text, with the members of @origin (a record's JSON, or NULL) that aren't ours. Those of a
 * version go with it as long as the record has that object. @ret: for free(). Return: 0, -ENOMEM.
 */
int record_print(const struct kek_record *record, const struct json *origin, char **ret,
                 struct error *err) _warn_unused_;

/* Return: 0; -ENOENT where there's no record; -EBADMSG where it's damaged; or another fault. */
int store_read(const char *folder, const char *name, struct kek_record *ret,
               struct error *err) _warn_unused_;

/* What is to stand in the file: @record, with what the file has of unknown members. A file that is
 * damaged is never replaced: -EBADMSG. Return: 0 and text for free(); or a fault. */
int store_text(const char *folder, const struct kek_record *record, char **ret,
               struct error *err) _warn_unused_;
/* Durable when it returns 0. Makes the folder. For agent/archive.c, which signs each change of a
 * record. */
int store_write_text(const char *folder, const char *name, const char *text,
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
/* The reverse, in seconds since 1970. Return: false where @text isn't such a time. */
bool time_seconds(const char *text, int64_t *ret);
