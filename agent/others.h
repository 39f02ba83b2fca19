/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/archive.h"
#include "agent/context.h"
#include "agent/refusal.h"
#include "base/error.h"
#include "keys/store.h"

/* The versions that other KEKs have now, in the record of the OS disk's KEK (keys/others.h): one
 * unseal at a boot opens all that comes later. The OS disk's KEK is the one that the state knows a
 * disk of role "os" to have. Where none has that role, or several do with different KEKs, nothing
 * of this happens.
 *
 * Never there is a KEK with a second factor: nothing but that factor is to open it. */

/* Return: 1, and its name; 0 where there's none; or a fault. */
int others_os_kek(const struct context *c, char ret[NAME_MAX_SIZE],
                  struct error *err) _warn_unused_;

/**
 * others_refresh() - bring what the OS disk's record has of others up to what their records say
 * @changed: a record as it was just written
 *
 * Puts in what's missing as far as both keys are at hand, from this run, what was handed over, or
 * the TPM, without asking anybody; drops what no record has any more. Where @changed is the OS
 * disk's own, of all KEKs, and @changed is as it's written then; else of that one. What isn't at
 * hand is left out, and so is all of it where nobody vouches for the OS disk's record: see
 * others_look(). Durable, with the mirror, and read back, when it returns OUTCOME_DONE.
 *
 * All three want context_lock() held. The TPM is let go. Return: OUTCOME_DONE; or a fault.
 */
int others_refresh(struct context *c, struct kek_record *changed, struct error *err) _warn_unused_;
/* The same, and nothing where it's the OS disk's own. */
int others_refresh_one(struct context *c, struct kek_record *changed,
                       struct error *err) _warn_unused_;
/* The same of all KEKs: a disk was enrolled. */
int others_refresh_all(struct context *c, struct error *err) _warn_unused_;

/* Whether the record can follow a rotation of this KEK, whose versions it has: or its disks would
 * stay locked in boots that have the OS disk's KEK alone. Return: 1, also where it has none; 0; or
 * a fault. */
int others_ready(struct context *c, const char *kek, struct error *err) _warn_unused_;

/* Drops versions of the KEK of @record which aren't its current one. Return: OUTCOME_DONE;
 * OUTCOME_REFUSED, where one is there and the OS disk's KEK doesn't open; or a fault. */
int others_forget(struct context *c, const struct kek_record *record,
                  const struct archive_versions *versions, struct refusal *why,
                  struct error *err) _warn_unused_;

/**
 * others_key() - for context_kek(): by the OS disk's KEK, what the TPM refuses because of the latch
 * @why: in: what the TPM said; out, where it's refused all the same: and why this doesn't help
 *
 * The latch is the one thing in a policy that this stands in for; and of the signed PCRs, which
 * move on after a boot, where both KEKs have the same policy. A version that the KEK's counter in
 * the TPM ended stays ended, so that an old record revives nothing. @ret: the context's.
 *
 * Return: OUTCOME_DONE; OUTCOME_REFUSED; -ENOMEM.
 */
int others_key(struct context *c, const char *subject, const struct kek *kek, struct secret **ret,
               struct refusal *why, struct error *err) _warn_unused_;

enum others_state {
        OTHERS_NO_OS,   /* there's no OS disk's KEK */
        OTHERS_IS_OS,   /* it's this one */
        OTHERS_THERE,   /* its current version is there */
        OTHERS_FACTOR,  /* it has a second factor, and is never there */
        OTHERS_MISSING, /* it isn't there, or an older version is */
};

/* How a KEK stands to the OS disk's, @os_kek: as others_os_kek() says, empty where there's none.
 * Believes the files. */
int others_look(struct context *c, const char *os_kek, const struct kek_record *record,
                enum others_state *ret, struct error *err) _warn_unused_;
