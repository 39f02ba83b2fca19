/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/rotate-disk.h"

/* A rotation that gives one disk a new keyslot as well, with a new secret: depth "slot". The
 * interface is that of rotate-disk.h: for a worker, repeatable, and the disk says by itself what is
 * done already.
 *
 * Five durable changes, in this order: (1) a pending token, which names the keyslot that it's for;
 * (2) the keyslot; (3) that token active, bound and pinned, after the keyslot as it stands on the
 * disk gave the volume key to the secret that the new version unwraps from that token; here two
 * tokens are active, and either opens the disk; (4) the old keyslot destroyed; (5) the old token
 * removed. Nothing of others is ever written to: an old keyslot is destroyed only if a token of
 * ours alone is bound to it, and it's what luks_slot_add() makes. */
struct rotate_slot_job {
        struct rotate_job disk; /* what it keeps isn't used: each step reads the disk anew */
        char state_dir[256];    /* where it's recorded what is pinned; empty: nowhere */
};

/* Keys: the live KEK (where there's one: also for a disk that has the target already), the target.
 * Changes 1 to 3. What an earlier run left is taken up where it was for this target, and removed,
 * once the live KEK has opened the disk, where it was for another. Refused before the first write
 * where there's no room. */
int rotate_slot_stage(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                      struct refusal *why, struct error *err);
/* Keys: none, the target. Reads the disk anew; the target opens its token, and that the keyslot, to
 * the volume key that was pinned. */
int rotate_slot_prove(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                      struct refusal *why, struct error *err);
/* Keys: none, the target. Proves, and changes 4 and 5: each after another proof. What it leaves is
 * the target's token and keyslot, alone of ours. */
int rotate_slot_retire(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                       struct refusal *why, struct error *err);
/* Keys: the live KEK, none. The same in the other direction: proves that the live KEK opens the
 * disk, then removes the keyslot and the token of what was staged. */
int rotate_slot_abort(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                      struct refusal *why, struct error *err);
