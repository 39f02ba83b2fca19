/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "keys/kek.h"
#include "luks/luks.h"

/* The LUKS2 token of type "diskseal", version 1: all that's needed to open the disk, the TPM aside.
 * It comes from a disk, so it's hostile; it's rewritten with what it has of unknown members. */

#define TOKEN_TYPE "diskseal"
#define TOKEN_KEKS_MAX 2 /* one, or two while a rotation is staged */
#define ROLE_OS "os"
#define ROLE_DATA "data"

enum token_state {
        TOKEN_ACTIVE,
        TOKEN_PENDING, /* the keyslot is only intended: the token was written before it */
};

/* One KEK version that opens the disk, with the slot secret under it. */
struct token_entry {
        struct kek kek;
        struct gcm_box wrap;
        struct json *origin; /* as it stood on the disk, or NULL for a new one; owned */
};

struct token {
        char name[NAME_MAX_SIZE];
        char role[8];
        uint32_t epoch;
        enum token_state state;
        unsigned slot;
        unsigned entries;
        struct token_entry entry[TOKEN_KEKS_MAX]; /* newest version first */
        bool pinned;                              /* not while pending */
        struct luks_pin pin;
        /* While an escrow is added or removed: the pin of the header as it will be. Either holds.
         */
        bool has_next;
        struct luks_pin next;
        struct json *origin; /* as it stood on the disk, or NULL; owned */
};

bool role_valid(const char *role);

/* Whether the token is of our type; nothing else about it is said. */
bool token_is_ours(const struct json *json);

/* Return: 0 and a token for token_free(); -EBADMSG (what is wrong is in @err), -ENOMEM. */
int token_parse(const struct json *json, struct token **ret, struct error *err) _warn_unused_;
/* An empty one to fill in. Return: NULL when out of memory. */
struct token *token_new(void);
struct token *token_free(struct token *t);
DEFINE_CLEANUP(struct token *, token_free);

/* As JSON, with the members that it had on the disk and that aren't ours. Return: 0, -ENOMEM. */
int token_print(const struct token *t, struct json **ret, struct error *err) _warn_unused_;

/* Puts @entry (its origin becomes the token's) first, and drops what is behind @keep others. */
void token_push(struct token *t, const struct token_entry *entry, unsigned keep);
/* Drops the entry at @index. */
void token_drop(struct token *t, unsigned index);
/* The index of the entry with this very object, or -1. */
int token_find(const struct token *t, const struct kek *kek);

/* Wraps and unwraps the slot secret of this disk. Return: as envelope_seal() and envelope_open().
 */
int token_wrap(const struct token *t, const char *uuid, struct secret *kek, struct secret *secret,
               struct token_entry *entry, struct error *err) _warn_unused_;
int token_unwrap(const struct token *t, const char *uuid, const struct token_entry *entry,
                 struct secret *kek, struct secret **ret, struct error *err) _warn_unused_;
