/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "agent/refusal.h"
#include "agent/state.h"
#include "base/error.h"
#include "base/secret.h"
#include "keys/token.h"
#include "luks/luks.h"

/* One disk with our token: its checked header and what the token says. Nothing here needs a TPM, so
 * that all of it can run in a child process that was handed the KEK. */
struct disk {
        struct luks *luks;
        struct token *token; /* NULL where the disk has none that is active */
        unsigned token_id;
        /* Another active one with a keyslot of its own: a rotation of the keyslot is staged, and
         * either opens the disk. NULL where there's none. */
        struct token *older;
        unsigned older_id;
        uint32_t stale; /* bit n: token n is ours, active, and not the one that counts */
        /* A token that was written before its keyslot; an enrolment was cut off. */
        bool pending;
        unsigned pending_id;
};

#define DISK_INIT                                                                                  \
        { 0 }

void disk_done(struct disk *d);

/* What to call the disk in messages: the name in its token, else the path. */
const char *disk_subject(const struct disk *d);

/* Copies and checks a disk's header and reads our tokens. Of several active ones that with the
 * highest epoch counts; one that is bound to no keyslot any more, only where it's alone. Return:
 * OUTCOME_DONE (a token may still be missing), OUTCOME_REFUSED; or a fault. */
int disk_load(const struct luks_source *from, struct disk *ret, struct refusal *why,
              struct error *err) _warn_unused_;
/* The same with a header that was checked already; it's @ret's from then on, or closed. */
int disk_take(struct luks *l, struct disk *ret, struct refusal *why,
              struct error *err) _warn_unused_;
/* The same, and the disk must have an active token. */
int disk_load_enrolled(const struct luks_source *from, struct disk *ret, struct refusal *why,
                       struct error *err) _warn_unused_;

/* From here on the older token is the one that counts, and the newer one the other. */
void disk_use_older(struct disk *d);

/* Whether the token is bound to the keyslot that it names. It isn't once that was destroyed: the
 * number may be another's by now. */
bool disk_owns_slot(const struct disk *d);
bool disk_token_bound(const struct luks *l, unsigned id);

/* Unwraps the slot secret with the KEK of one entry; the header may be any. */
int disk_unwrap(const struct disk *d, const struct token_entry *entry, struct secret *kek,
                struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;

/* The same, and checks the pin with it: from then on the
 * header is what it was when it was pinned. Where the token has two pins (a change to an escrow was
 * cut off), the one that holds becomes the pin, and whoever writes the token next settles it. */
int disk_secret(const struct disk *d, const struct token_entry *entry, struct secret *kek,
                struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;

/* Opens our keyslot and compares the volume key with its pinned identity. */
int disk_volume_key(struct disk *d, struct secret *slot_secret, struct secret **ret,
                    struct refusal *why, struct error *err) _warn_unused_;

/* A key of somebody else, and what it opened. */
struct foreign {
        unsigned slot;
        struct secret *volume_key; /* the caller's */
        struct luks_reason
                tried; /* why a slot was left out by a rule; its rule is empty if none was */
};

/**
 * disk_open_foreign() - find the keyslot that a key of somebody else opens
 * @ours:  a slot to leave out, or LUKS_SLOTS_MAX
 *
 * One slot after the other by its number, never "any". Return: LUKS_OK, with the slot and the
 * volume key; LUKS_WRONG_KEY; or a fault.
 */
int disk_open_foreign(struct luks *l, const char *key_file, unsigned ours, struct foreign *ret,
                      struct error *err) _warn_unused_;

/* What a new disk of ours is to be. */
struct enrolment {
        const char *name, *role;
        const struct kek *kek;
        struct secret *kek_key;
        struct secret *volume_key;
        uint32_t epoch;        /* 0: the first; else above that of the token that it's to replace */
        const char *state_dir; /* where the header is recorded as it was before; NULL: nowhere */
};

/**
 * disk_enroll() - give a disk a keyslot and a token of ours
 * @edit: on its header; closed by the caller, whatever happens
 *
 * The order that survives every cut: a pending token without keyslots, the keyslot, a proof (the
 * slot read back from the disk opens with the secret that the KEK unwraps from the token, and to
 * the same volume key), then the token active, bound and pinned.
 */
int disk_enroll(struct luks_edit *edit, const struct enrolment *what, unsigned *ret_slot,
                struct refusal *why, struct error *err) _warn_unused_;

/* Goes on from the pending token @id, which has its keyslot or doesn't yet: all but the first step
 * of disk_enroll(). OUTCOME_REFUSED, nothing written: the KEK doesn't open the token, or what
 * stands in its keyslot isn't what belongs there. */
int disk_enroll_pending(struct luks_edit *edit, unsigned id, const struct enrolment *what,
                        unsigned *ret_slot, struct refusal *why, struct error *err) _warn_unused_;

/* A new keyslot, read back from the disk: its key must open it, to the very same volume key. */
int disk_prove_slot(struct luks *l, const struct luks_key *key, struct secret *volume_key,
                    struct refusal *why, struct error *err) _warn_unused_;

/* Writes the token @t to the place of number @id. */
int disk_put_token(struct luks_edit *edit, unsigned id, const struct token *t,
                   struct error *err) _warn_unused_;

/* What changes an escrow token: the secrets that the pin is made with. */
struct disk_keys {
        struct secret *slot_secret, *volume_key; /* borrowed */
};

/**
 * disk_change_escrow() - set or remove an escrow token, which the pin covers
 *
 * In three writes: our token with the pin of the header as it is and as it will be, the change
 * itself, our token with the new pin alone. After a cut between any two one of both pins holds.
 * @d->token is as it was last written.
 */
int disk_change_escrow(struct luks_edit *edit, const struct disk *d, const struct disk_keys *keys,
                       const struct luks_plan *plan, struct error *err) _warn_unused_;

/* The context on the disk itself, for changes to the header that was checked. @subject is for the
 * refusal. */
int disk_edit(struct luks *l, const char *subject, struct luks_edit **ret, struct refusal *why,
              struct error *err) _warn_unused_;

/* Removes what a cut enrolment left: the pending token, and its keyslot if the KEK proves that it's
 * ours. */
int disk_clean_pending(struct luks_edit *edit, const struct disk *d, struct secret *kek_key,
                       struct error *err) _warn_unused_;

/* Records in @state_dir what was pinned with a key at hand, for status to compare with. */
int disk_remember_header(const struct luks *l, unsigned slot, const char *state_dir,
                         struct error *err) _warn_unused_;

/* The same before @plan is carried out: the header as it is and as it will be. The one as it is was
 * proven with a key. */
int disk_expect_header(const struct luks *l, unsigned slot, const struct luks_plan *plan,
                       const char *state_dir, struct error *err) _warn_unused_;

/* SHA-256 over one keyslot as the header describes it. Return: 0; -ENOENT. */
int disk_slot_hash(const struct luks *l, unsigned slot, uint8_t ret[32],
                   struct error *err) _warn_unused_;
/* Whether the keyslot is the one that had this hash. Return: 1, 0; or a fault. */
int disk_slot_is(const struct luks *l, unsigned slot, const uint8_t hash[32],
                 struct error *err) _warn_unused_;
