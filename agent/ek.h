/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"
#include "agent/refusal.h"
#include "base/chain.h"
#include "tpm/ek.h"

/* Whether this machine's TPM is one that somebody trusted has certified. */

struct ek_proof {
        unsigned kind; /* of tpm/ek.h */
        char maker[CHAIN_TEXT];
};

/**
 * ek_check() - hold a storage key against the certificates in its TPM, where EKRoots= is set
 * @subject: what isn't done if it doesn't hold, for the refusal
 * @srk:     Name of the storage key, as in struct sealed
 * @ret:     which certificate did; filled in on OUTCOME_DONE where EKRoots= is set; may be NULL
 *
 * Return: OUTCOME_DONE, also where EKRoots= isn't set; OUTCOME_REFUSED; or a fault.
 */
int ek_check(struct context *c, const char *subject, const struct tpm_bytes *srk,
             struct ek_proof *ret, struct refusal *why, struct error *err) _warn_unused_;
