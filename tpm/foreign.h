/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"
#include "tpm/tpm.h"

/* Objects that other programs sealed: systemd-cryptenroll, and clevis by way of tpm2-tools. */

enum foreign_parent {
        FOREIGN_PARENT_NAMED, /* the storage key with this Name, as for objects of ours */
        /* The primary keys of tpm2-tools' default template, which systemd up to 253 has too: that
         * of the Provisioning Guidance without noDA. Nothing records their Names. */
        FOREIGN_PARENT_ECC,
        FOREIGN_PARENT_RSA,
};

enum foreign_bank { FOREIGN_SHA256, FOREIGN_SHA1 };

/* From a token, so hostile. */
struct foreign_object {
        enum foreign_parent parent;
        struct tpm_bytes srk; /* FOREIGN_PARENT_NAMED: its Name */
        struct tpm_bytes public, private;
        enum foreign_bank bank;
        uint32_t pcr_mask;  /* 0: no PCR */
        bool has_policy;    /* … and the policy is said to be: */
        uint8_t policy[32]; /* SHA-256 */
};

/**
 * tpm_unseal_foreign() - recover what another program sealed
 * @ret: on TPM_GRANTED a new secret, now the caller's; untouched otherwise
 * @why: filled in on TPM_PCR_MISMATCH: all PCRs of the policy, since what they were isn't recorded
 *
 * One salted session that encrypts the response; no object and no session is left behind, whatever
 * the result. Opened are objects under one TPM2_PolicyPCR, under an empty policy, or under an empty
 * auth value if no dictionary attack protection can come of that.
 *
 * Nothing shows who sealed the object, or in which state of the machine: what comes out is good for
 * one try on the keyslot that the token names, and for nothing else.
 *
 * Return: TPM_GRANTED; TPM_PCR_MISMATCH; TPM_OTHER (the parent isn't there); TPM_DAMAGED (altered,
 *         or sealed by another TPM: without a Name for the parent the two look the same; or sealed
 *         in another way); TPM_LOCKED_OUT; or -EIO, -ENOMEM, -EPERM.
 */
int tpm_unseal_foreign(struct tpm *t, const struct foreign_object *object, struct secret **ret,
                       struct tpm_refusal *why, struct error *err) _warn_unused_;
