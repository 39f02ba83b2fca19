/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/policy.h"

#include <errno.h>
#include <string.h>

#include "base/crypto.h"

void policy_literal(uint32_t pcr_mask, struct steps *ret) {
        *ret = (struct steps){ .count = 1, .step[0] = { .kind = STEP_PCR, .pcr_mask = pcr_mask } };
}

/* policyDigest' = H(policyDigest || TPM_CC_PolicyPCR || TPML_PCR_SELECTION || H(values in order))
 */
static int extend_pcr(uint32_t mask, const struct pcrs *pcrs, uint8_t digest[POLICY_DIGEST_SIZE],
                      struct error *err) {
        static const uint8_t command[] = { 0, 0, 0x01, 0x7f };
        const uint8_t selection[] = { 0,
                                      0,
                                      0,
                                      1, /* one bank */
                                      0,
                                      (uint8_t) pcr_bank_id(pcrs->bank),
                                      3, /* three bytes of bits follow */
                                      (uint8_t) mask,
                                      (uint8_t) (mask >> 8),
                                      (uint8_t) (mask >> 16) };
        uint8_t values[PCR_COUNT * PCR_SIZE_MAX], *v = values;
        size_t size = pcr_size(pcrs->bank);
        uint8_t all[POLICY_DIGEST_SIZE + sizeof(command) + sizeof(selection) + SHA256_SIZE];
        uint8_t *p = all;
        int r;

        if (mask & ~pcrs->mask)
                return error_set(err, -EINVAL, "policy names a PCR whose value isn't known");
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (mask & (1u << n)) {
                        memcpy(v, pcrs->value[n], size);
                        v += size;
                }

        memcpy(p, digest, POLICY_DIGEST_SIZE);
        p += POLICY_DIGEST_SIZE;
        memcpy(p, command, sizeof(command));
        p += sizeof(command);
        memcpy(p, selection, sizeof(selection));
        p += sizeof(selection);
        r = crypto_sha256(values, (size_t) (v - values), p, err);
        if (r < 0)
                return r;
        return crypto_sha256(all, sizeof(all), digest, err);
}

int policy_digest(const struct steps *steps, const struct pcrs *pcrs,
                  uint8_t ret[POLICY_DIGEST_SIZE], struct error *err) {
        uint8_t digest[POLICY_DIGEST_SIZE] = { 0 };

        for (unsigned i = 0; i < steps->count; i++) {
                int r = extend_pcr(steps->step[i].pcr_mask, pcrs, digest, err);

                if (r < 0)
                        return r;
        }
        memcpy(ret, digest, sizeof(digest));
        return 0;
}

uint32_t policy_unmeasured(const struct pcrs *pcrs) {
        uint32_t mask = 0;

        for (unsigned n = 0; n < PCR_COUNT; n++) {
                const uint8_t *v = pcrs->value[n];

                if ((pcrs->mask & (1u << n)) && (v[0] == 0x00 || v[0] == 0xff) &&
                    memcmp(v, v + 1, pcr_size(pcrs->bank) - 1) == 0)
                        mask |= 1u << n;
        }
        return mask;
}
