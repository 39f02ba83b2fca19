/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"
#include "agent/disk.h"
#include "agent/target.h"
#include "agent/ways.h"
#include "base/error.h"

/* A change to one known disk, as the verbs about its keyslots make it: found, checked, opened, then
 * written to. */
struct change {
        struct context *c;
        struct refusal *why;
        struct error *err;
        struct target target;
        struct disk disk;
        struct secret *slot_secret; /* NULL where the owner's key opened it */
        struct secret *volume_key;
        struct luks_edit *edit;
};

void change_done(struct change *w);

/* Waits for its turn, finds the disk, checks its header and opens nothing. */
int change_find(struct change *w, const char *what, const char *header) _warn_unused_;

/* By this TPM, down to the volume key: from then on the header is proven. */
int change_open(struct change *w) _warn_unused_;

/* The context on the disk itself. */
int change_edit(struct change *w) _warn_unused_;

/* Refuses while two keyslots of ours are pinned: a rotation is staged, and a change to one pin
 * would leave the other keyslot, which may be the one that the next boot needs, refused. */
int change_settled(const struct change *w) _warn_unused_;

/* Records that keyslot @slot of @l was opened here by a key that isn't ours; where @gone, that it's
 * no more. Does nothing for a disk that isn't recorded. */
int change_record(struct change *w, const struct luks *l, unsigned slot, bool gone) _warn_unused_;

/* Before the pin of an opened disk changes: records both headers, so that a cut in between leaves
 * one that's known. */
int change_expect(struct change *w, const struct luks_plan *plan) _warn_unused_;

/* Records the header as it's pinned now. */
int change_remember(struct change *w, const struct luks *l) _warn_unused_;
