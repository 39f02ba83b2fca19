/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/steps.h"

#include <assert.h>
#include <string.h>

#include "base/crypto.h"

/* As many digests as one TPM2_PolicyOR takes (Part 2, TPML_DIGEST). */
#define OR_FAN 8

unsigned steps_or_groups(unsigned count) {
        return count <= OR_FAN ? 1 : (count + OR_FAN - 1) / OR_FAN;
}

void steps_or_group(unsigned count, unsigned group, unsigned *ret_first, unsigned *ret_count) {
        unsigned groups = steps_or_groups(count), rest = count % groups;

        assert(group < groups);
        *ret_count = count / groups + (group < rest);
        *ret_first = group * (count / groups) + (group < rest ? group : rest);
}

int steps_or_digest(const uint8_t (*digests)[POLICY_DIGEST_SIZE], unsigned count,
                    uint8_t ret[POLICY_DIGEST_SIZE], struct error *err) {
        uint8_t all[POLICY_DIGEST_SIZE + 4 + OR_FAN * POLICY_DIGEST_SIZE] = { 0 };
        uint8_t *p = all + POLICY_DIGEST_SIZE;

        assert(count <= OR_FAN);
        p[2] = 0x01; /* TPM_CC_PolicyOR */
        p[3] = 0x71;
        p += 4;
        for (unsigned i = 0; i < count; i++, p += POLICY_DIGEST_SIZE)
                memcpy(p, digests[i], POLICY_DIGEST_SIZE);
        return crypto_sha256(all, (size_t) (p - all), ret, err);
}
