/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include <tss2/tss2_rc.h>

#include "tpm/internal.h"

TSS2_RC rc_base(TSS2_RC rc) {
        if (rc & TSS2_RC_LAYER_MASK || !(rc & TPM2_RC_FMT1))
                return rc;
        return rc & ~(TSS2_RC) (TPM2_RC_N_MASK | TPM2_RC_P);
}

bool rc_is_about_input(TSS2_RC rc) {
        if (rc & TSS2_RC_LAYER_MASK || !(rc & TPM2_RC_FMT1))
                return false;
        return (rc & TPM2_RC_P) || !(rc & TPM2_RC_S);
}

/* Whether the TPM's answer said "success" and tpm2-tss could make nothing of it: HMACs that aren't
 * right, a Name that isn't that of its public area, sizes that don't fit. What isn't about an
 * answer but about us is left aside. */
static bool is_bad_answer(struct tpm *t, TSS2_RC rc) {
        if (!(rc & TSS2_RC_LAYER_MASK) || !wire_succeeded(t->wire))
                return false;
        if ((rc & TSS2_RC_LAYER_MASK) == TSS2_MU_RC_LAYER)
                return true;
        switch (rc & ~(TSS2_RC) TSS2_RC_LAYER_MASK) {
        case TSS2_BASE_RC_RSP_AUTH_FAILED:
        case TSS2_BASE_RC_MALFORMED_RESPONSE:
        case TSS2_BASE_RC_INSUFFICIENT_RESPONSE:
        case TSS2_BASE_RC_GENERAL_FAILURE: return true;
        default: return false;
        }
}

/* Whether the TPM refuses a session of ours, not a password: its HMAC, its nonce, or its
 * attributes, which always suit the command; or the salt, which was encrypted to a key that isn't
 * there. */
static bool is_bad_command(struct tpm *t, TSS2_RC rc) {
        if (wire_code(t->wire) == TPM2_CC_StartAuthSession)
                return rc_is_about_input(rc) && (rc & TPM2_RC_P) &&
                       (rc & TPM2_RC_N_MASK) == TPM2_RC_2;
        switch (rc_base(rc)) {
        case TPM2_RC_ATTRIBUTES:
        case TPM2_RC_AUTH_FAIL:
        case TPM2_RC_BAD_AUTH:
        case TPM2_RC_NONCE: break;
        default: return false;
        }
        return (rc & TPM2_RC_S) && !(rc & TPM2_RC_P) &&
               wire_has_session(t->wire, (rc & TPM2_RC_N_MASK & ~TPM2_RC_S) >> 8);
}

/* Whether an object or a session isn't in the TPM, that we loaded into it. */
static bool is_gone(TSS2_RC rc) {
        return (rc >= TPM2_RC_REFERENCE_H0 && rc <= TPM2_RC_REFERENCE_H6) ||
               (rc >= TPM2_RC_REFERENCE_S0 && rc <= TPM2_RC_REFERENCE_S6);
}

int tpm_fault(struct tpm *t, TSS2_RC rc, const char *what, struct error *err) {
        bool bad_answer = is_bad_answer(t, rc), bad_command = is_bad_command(t, rc);
        /* Only TPM2_Create uses our session for the parent, which could have a password. */
        bool parent = wire_code(t->wire) == TPM2_CC_Create;

        /* The TPM may have done what it was asked for, and we don't know the handle. */
        if (rc & TSS2_RC_LAYER_MASK)
                t->dirty = true;

        err->tpm_rc = rc;
        if (wire_fault(t->wire))
                return wire_say(t->wire, what, err);
        if (bad_answer)
                return error_set(err, -EPROTO,
                                 "%s: the TPM's answer doesn't verify; somebody between us and the "
                                 "TPM alters the traffic (0x%08x)",
                                 what, rc);
        if (clock_moved(t, rc))
                return error_set(err, -ESTALE, "%s: the TPM was reset meanwhile (0x%08x)", what,
                                 rc);
        if (bad_command)
                return error_set(err, -EPROTO,
                                 "%s: the TPM doesn't take our session; somebody between us and "
                                 "the TPM alters the traffic%s (0x%08x)",
                                 what, parent ? ", or the storage key has a password" : "", rc);
        if (is_gone(rc))
                return error_set(err, -EIO,
                                 "%s: what we had in the TPM is gone, without a reset; somebody "
                                 "else works in it, or alters the traffic (0x%08x)",
                                 what, rc);
        if (rc == TPM2_RC_LOCKOUT)
                return error_set(err, -EIO,
                                 "%s: the TPM's protection from dictionary attacks is active "
                                 "(0x%08x)",
                                 what, rc);
        if (rc == TPM2_RC_INITIALIZE)
                return error_set(err, -EIO,
                                 "%s: the TPM was not started up; its firmware or emulator has to "
                                 "send TPM2_Startup (0x%08x)",
                                 what, rc);
        return error_set(err, -EIO, "%s: %s (0x%08x)", what, Tss2_RC_Decode(rc), rc);
}
