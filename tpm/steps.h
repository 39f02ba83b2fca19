/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tpm/internal.h"

/* A policy's steps, executed in a session. Of tpm/ alone. */

struct run {
        struct tpm *tpm;
        const struct handle *session, *object;
        const struct tpm_opener *opener;
        const struct pcrs *recorded; /* values for the steps that are about certain ones */
        struct error *err;
        unsigned at; /* which step is being asserted; the last one that was, where one failed */
        bool key_refused; /* the TPM has no use for a key of this kind or size */
};

/* Whether the TPM can be asked to execute them. */
bool steps_sound(const struct steps *steps);

/* For unseal_under(): all steps of a struct run, in order. TPM2_RC_POLICY_FAIL also where the TPM
 * needn't be asked: no signature, no alternative for what the PCRs are, no auth value. */
TSS2_RC steps_assert(void *run);
