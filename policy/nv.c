/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/nv.h"

#include <string.h>

#include "base/crypto.h"

/* args = H(operandB || offset || operation)
 * policyDigest' = H(policyDigest || TPM_CC_PolicyNV || args || Name of the index) */
int policy_nv_digest(const struct step *step, uint8_t digest[POLICY_DIGEST_SIZE],
                     struct error *err) {
        static const uint8_t command[] = { 0, 0, 0x01, 0x49 };
        uint8_t args[8 + 2 + 2] = { [8] = 0,
                                    0, /* from the counter's first byte on */
                                    0,
                                    9 /* TPM_EO_UNSIGNED_LE */ };
        uint8_t all[POLICY_DIGEST_SIZE + sizeof(command) + SHA256_SIZE + TPM_NAME_SIZE], *p = all;
        int r;

        for (unsigned i = 0; i < 8; i++)
                args[i] = (uint8_t) (step->nv.le >> (56 - 8 * i));
        memcpy(p, digest, POLICY_DIGEST_SIZE);
        p += POLICY_DIGEST_SIZE;
        memcpy(p, command, sizeof(command));
        p += sizeof(command);
        r = crypto_sha256(args, sizeof(args), p, err);
        if (r < 0)
                return r;
        p += SHA256_SIZE;
        memcpy(p, step->nv.name, TPM_NAME_SIZE);
        return crypto_sha256(all, sizeof(all), digest, err);
}
