/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "keys/kek.h"
#include "keys/store.h"
#include "luks/luks.h"

/* What this machine knows of its disks: STATE_DIR/state.json, and the pinned covered forms in
 * STATE_DIR/headers/UUID.json. May be lost without harm: then disks are named by their device. */

struct state_disk {
        char name[NAME_MAX_SIZE];
        char uuid[40];
        char device[256];
        char header[256]; /* of a detached header; empty where it's on the device */
        uint64_t size;    /* of the device when it was last enrolled, bytes; 0: not known */
        char role[8];
        char kek[NAME_MAX_SIZE];
        /* The newest version of it that stood on the disk when it was last seen by a rotation, and
         * when that was; 0 and empty where none did. */
        uint32_t version;
        char seen[TIME_TEXT];
        /* Bit n: a key that isn't ours opened keyslot n here, and the slot's JSON had this hash. */
        uint32_t proven;
        uint8_t proven_hash[32][32];
        /* Bit n: adopt --replace destroys keyslot n, whose JSON has this hash. It may look whole,
         * and open with no key any more. */
        uint32_t replacing;
};

/* Where it was, for as long as @d lives. */
static inline struct luks_source state_source(const struct state_disk *d) {
        return (struct luks_source){ d->device, d->header[0] ? d->header : NULL };
}

/* Records where it is: the paths that will still mean it when the working directory is another. */
void state_place(struct state_disk *d, const struct luks_source *at);

struct state {
        size_t count;
        struct state_disk *disks;
};

/* Return: 0, with no disks where there's no state yet; -EBADMSG (damaged); or another fault. */
int state_read(const char *state_dir, struct state *ret, struct error *err) _warn_unused_;
int state_write(const char *state_dir, const struct state *state, struct error *err) _warn_unused_;
void state_done(struct state *s);

/* NULL where there's none. Borrowed until the state changes. */
struct state_disk *state_by_name(const struct state *s, const char *name);
struct state_disk *state_by_uuid(const struct state *s, const char *uuid);

/* Puts a copy of @disk in, in place of the one with its UUID. Return: 0; -ENOMEM. */
int state_put(struct state *s, const struct state_disk *disk, struct error *err) _warn_unused_;
void state_drop(struct state *s, const char *uuid);

/* The covered form of a header that was pinned here with a key at hand; while that's being changed,
 * behind a newline what it will be: @next, else NULL. Reading: NULL in @ret where there's none. */
int state_write_header(const char *state_dir, const char *uuid, const char *covered,
                       const char *next, struct error *err) _warn_unused_;
int state_read_header(const char *state_dir, const char *uuid, char **ret,
                      struct error *err) _warn_unused_;
/* Whether @covered is one of those forms in @known. */
bool state_header_known(const char *known, const char *covered);
