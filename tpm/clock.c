/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "tpm/internal.h"

/* A reset of the TPM under a running system zeroes its PCRs, and whoever did it can extend them
 * again as he likes; so it's said, and not taken for a TPM that forgets. resetCount and
 * restartCount (Part 1, section 36) show it.
 *
 * That an operation succeeded shows by itself that there was no reset inside: what it loaded and
 * the session that it ended with don't survive one, and the session's HMAC is the TPM's. So the
 * counts are read before an operation, and after it only where it failed, to say why. The answers
 * of TPM2_ReadClock are not protected: who alters the traffic can hide a reset from us, or pretend
 * one, and gets an operation that fails, for another reason.
 *
 * The counts stand in what TPM2_CertifyCreation attests, too, under the HMAC of our session and at
 * no cost. They are no use as the ones before: for a signer outside of the endorsement and platform
 * hierarchies, and ours is none at all, the TPM adds a secret number to them (swtpm says 1012378724
 * for 1). So they compare only with one another, and an operation certifies once. */

static TSS2_RC read_counts(struct tpm *t, uint32_t *ret_resets, uint32_t *ret_restarts) {
        _cleanup_(esys_freep) TPMS_TIME_INFO *now = NULL;
        TSS2_RC rc = Esys_ReadClock(t->esys, NO_SESSIONS, &now);

        if (rc)
                return rc;
        *ret_resets = now->clockInfo.resetCount;
        *ret_restarts = now->clockInfo.restartCount;
        return TSS2_RC_SUCCESS;
}

int clock_check(struct tpm *t, struct error *err) {
        uint32_t resets = 0, restarts = 0;
        TSS2_RC rc = read_counts(t, &resets, &restarts);

        if (rc)
                return tpm_fault(t, rc, "read the TPM's clock", err);
        if (t->clock_known && (t->resets != resets || t->restarts != restarts))
                return error_set(err, -ESTALE,
                                 "the TPM was reset meanwhile: it counts %u resets and %u "
                                 "restarts, and counted %u and %u",
                                 resets, restarts, t->resets, t->restarts);
        t->resets = resets;
        t->restarts = restarts;
        t->clock_known = true;
        return 0;
}

bool clock_moved(struct tpm *t, TSS2_RC rc) {
        uint32_t resets = 0, restarts = 0;

        if (!t->clock_known || wire_fault(t->wire))
                return false;
        t->clock_known = false; /* asked once */
        if (rc == TPM2_RC_INITIALIZE)
                return true; /* and nobody started it up */
        return read_counts(t, &resets, &restarts) == TSS2_RC_SUCCESS &&
               (t->resets != resets || t->restarts != restarts);
}
