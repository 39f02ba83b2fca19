/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"
#include "agent/disk.h"
#include "base/cms.h"

/* The ways into a disk: by this TPM; or by the owner, who needs neither this TPM nor this machine,
 * with a passphrase of the disk or the private key of an escrow certificate. */

struct tpm_way {
        bool unpinned;              /* in: leave the pin out, for whoever makes it anew */
        struct secret *slot_secret; /* the caller's */
        unsigned entry;             /* of the token, that opened */
};

/**
 * way_by_tpm() - recover the slot secret
 * @d: its token becomes the one that opened, where there are two
 *
 * Unseals the KEK and unwraps the slot secret by whichever entry of the token opens, the newest
 * first: each alone is enough. Where a rotation of the keyslot is staged, the newer of both tokens
 * is tried first, down to the volume key, and then the older one. What's reported is why the newest
 * didn't open; @why is filled in as well where an older token did (its details say which).
 */
int way_by_tpm(struct context *c, struct disk *d, struct tpm_way *ret, struct refusal *why,
               struct error *err) _warn_unused_;

/* The same by the token that counts, and no other; opens no keyslot. */
int way_by_token(struct context *c, const struct disk *d, struct tpm_way *ret, struct refusal *why,
                 struct error *err) _warn_unused_;

struct owner_key {
        struct secret *passphrase;        /* as it was typed or read; NULL where there's an … */
        const struct private_key *escrow; /* … escrow key; both borrowed */
};

struct owner_way {
        unsigned slot;             /* that was opened */
        struct secret *volume_key; /* the caller's */
};

/**
 * way_by_owner() - recover the volume key with a key of the owner
 *
 * A passphrase is tried on one keyslot after the other, never on ours and never on an escrow's; an
 * escrow key on the keyslots of escrow tokens. Return: OUTCOME_DONE, OUTCOME_REFUSED; or a fault.
 */
int way_by_owner(const struct disk *d, const struct owner_key *key, struct owner_way *ret,
                 struct refusal *why, struct error *err) _warn_unused_;

/* The header is the one that was pinned, by the MAC that the volume key makes. */
int way_check_pin(const struct disk *d, struct secret *volume_key, struct refusal *why,
                  struct error *err) _warn_unused_;
