/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "agent/context.h"
#include "agent/disk.h"
#include "agent/refusal.h"
#include "agent/state.h"
#include "base/error.h"

/* Which disk a user means, and whether what's there now is that disk. */

struct target {
        char device[256];
        char header[256];        /* a detached header; empty where it's on the device */
        bool by_name;            /* asked for by the name of a known disk */
        struct state_disk known; /* what's recorded of it: by its name, or once it was loaded by its
                                    UUID; no name where nothing is */
        bool clone;              /* … and the disk that's recorded is still where it was */
};

/* @what: a path, or the name of a known disk. @header: of a detached header, or NULL. */
int target_find(const struct context *c, const char *what, const char *header, struct target *ret,
                struct refusal *why, struct error *err) _warn_unused_;

struct luks_source target_source(const struct target *t);

/* Loads the disk, which must be enrolled, and holds it against what's recorded: whoever asks for a
 * name gets the disk of that name, role and UUID or none. */
int target_load(const struct context *c, struct target *t, struct disk *ret, struct refusal *why,
                struct error *err) _warn_unused_;

/* The second copy of a recorded disk opens for a test, never beside the first. */
int target_refuse_clone(const struct target *t, struct refusal *why);

/* What a device that changed its size is to be told of; empty where it didn't. */
void target_resized(const struct target *t, const struct luks_facts *f, char ret[120]);
