/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/extend.h"

#include "base/crypto.h"

int pcr_extend(enum pcr_bank bank, uint8_t value[PCR_SIZE_MAX], const uint8_t digest[PCR_SIZE_MAX],
               struct error *err) {
        const struct chunk both[] = { { value, pcr_size(bank) }, { digest, pcr_size(bank) } };

        return crypto_hash(bank, both, 2, value, err);
}
