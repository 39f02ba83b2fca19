/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tpm/internal.h"

/* Salted: the TPM alone can decrypt the salt, so whoever carries the traffic doesn't learn the
 * session key, which encrypts the first parameter (Part 1, sections 19.6.8 and 21). Without
 * continueSession in @attributes the session ends with the first command that it authorises. */
int session_start(struct tpm *t, TPM2_SE kind, const struct handle *salt_key,
                  TPMA_SESSION attributes, struct handle *ret, struct error *err) {
        const TPMT_SYM_DEF aes = { .algorithm = TPM2_ALG_AES,
                                   .keyBits.aes = 128,
                                   .mode.aes = TPM2_ALG_CFB };
        bool tried = false;
        ESYS_TR tr;
        TSS2_RC rc;

        do
                rc = Esys_StartAuthSession(t->esys, salt_key->tr, ESYS_TR_NONE, NO_SESSIONS, NULL,
                                           kind, &aes, TPM2_ALG_SHA256, &tr);
        while (lock_made_room(t, rc, &tried));
        if (rc)
                return tpm_fault(t, rc, "start session", err);
        handle_hold(ret, tr);

        return session_set(t, ret, attributes, err);
}

int session_set(struct tpm *t, const struct handle *session, TPMA_SESSION attributes,
                struct error *err) {
        TSS2_RC rc = Esys_TRSess_SetAttributes(t->esys, session->tr, attributes, 0xff);

        return rc ? tpm_fault(t, rc, "set session attributes", err) : 0;
}
