/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/pcr.h"
#include "base/sign.h"

/* The operation behind `diskseal policy sign`. It needs no TPM, no disk and no state: it runs where
 * the key is. */

struct op_policy_sign {
        const char *key;              /* as signer_open() takes it */
        const struct signer_ask *ask; /* or NULL */
        const struct pcrs *states;    /* each is approved of: one for each phase of a boot, say */
        size_t count;
        const char *reference; /* what the approval is for (systemd's policyref), or NULL */
        const char *extend;    /* a file whose signatures are kept; it must be there. NULL: none */
        const char *output;    /* replaced at once, or not at all; may be @extend */
        bool allow_unmeasured; /* states with PCRs that are all 00 or all FF too */
        bool dry_run;          /* everything but the writing */
};

struct op_policy_signed {
        uint8_t fingerprint[SHA256_SIZE]; /* of the public key: pkfp in the file */
        size_t total;                     /* signatures in the file */
};

/* Writes systemd's tpm2-pcr-signature.json (policy/signature.h). Return: 0; -EINVAL (no state, or
 * one that wasn't measured); -EBADMSG (@extend is damaged); what signer_open() says; or a fault.
 * Then @output is as it was. */
int op_policy_sign(const struct op_policy_sign *args, struct op_policy_signed *ret,
                   struct error *err) _warn_unused_;
