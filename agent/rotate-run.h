/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/op.h"
#include "agent/rotate-disks.h"
#include "agent/rotation.h"

/* A run of a rotation, for its shell alone: op-rotate.c asks the machine, rotate-effects.c does
 * what it says. */
struct rotation {
        struct context *c;
        const struct op_rotate *args;
        struct op_rotated *ret;
        struct kek_record *record;
        struct rotate_disks disks;
        bool has_target, is_current; /* is_current: it's the store's, of which some disks know
                                      * nothing yet */
        struct kek target;
        struct secret *target_key;   /* borrowed; as the TPM gave it back, unless it's held */
        bool anew;                   /* the target waits, and is to be replaced by a new one */
        bool looked;                 /* what stands there is known, and something may be done */
        enum rotation_effect effect; /* that's being done */
        bool held;                   /* the TPM gives it back at the next boot only */
        struct refusal *why;
        struct error *err;
};

/* Whether a version is the one that's being gone to. */
bool rotation_is_target(const struct rotation *r, const struct kek *kek);

/* The newest number that any version here has or had. */
uint32_t rotation_newest(const struct rotation *r);
/* The policy that the next version gets. Return: as named_policy_find(). */
int rotation_policy(const struct rotation *r, struct named_policy *ret) _warn_unused_;

/* Whether the TPM unseals the old versions no more: then there's no way back. Return: 1, 0; or a
 * fault. */
int rotation_is_revoked(struct rotation *r) _warn_unused_;

/**
 * rotation_perform() - do the one effect
 * @ret_some: false where it succeeded on no disk
 *
 * Return: OUTCOME_DONE, OUTCOME_REFUSED; or a fault, -EINTR where a signal asked to stop.
 */
int rotation_perform(struct rotation *r, enum rotation_effect effect, bool *ret_some) _warn_unused_;
