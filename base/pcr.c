/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/pcr.h"

#include <stdio.h>
#include <string.h>

static const struct {
        const char *name;
        uint16_t id;
        size_t size;
} banks[PCR_BANKS] = {
        [PCR_SHA256] = { "sha256", 0x000b, 32 },
        [PCR_SHA384] = { "sha384", 0x000c, 48 },
};

size_t pcr_size(enum pcr_bank bank) {
        return banks[bank].size;
}

uint16_t pcr_bank_id(enum pcr_bank bank) {
        return banks[bank].id;
}

const char *pcr_bank_name(enum pcr_bank bank) {
        return banks[bank].name;
}

bool pcr_bank_parse(const char *name, enum pcr_bank *ret) {
        for (unsigned i = 0; i < PCR_BANKS; i++)
                if (strcmp(name, banks[i].name) == 0) {
                        *ret = (enum pcr_bank) i;
                        return true;
                }
        return false;
}

bool pcrs_equal(const struct pcrs *a, const struct pcrs *b) {
        if (a->bank != b->bank || a->mask != b->mask)
                return false;
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if ((a->mask & (1u << n)) &&
                    memcmp(a->value[n], b->value[n], pcr_size(a->bank)) != 0)
                        return false;
        return true;
}

bool pcr_mask_parse(const char *text, uint32_t *ret) {
        uint32_t mask = 0;

        for (;;) {
                unsigned n = 0, digits = 0;

                for (; *text >= '0' && *text <= '9' && digits < 2; text++, digits++)
                        n = n * 10 + (unsigned) (*text - '0');
                if (digits == 0 || n >= PCR_COUNT || (mask & (1u << n)))
                        return false;
                mask |= 1u << n;
                if (*text == '\0')
                        break;
                if (*text++ != ',')
                        return false;
        }

        *ret = mask;
        return true;
}

void pcr_mask_format(uint32_t mask, char buf[PCR_TEXT_MAX]) {
        int used = 0;

        buf[0] = '\0';
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (mask & (1u << n))
                        used += snprintf(buf + used, (size_t) (PCR_TEXT_MAX - used), "%s%u",
                                         used ? "," : "", n);
}
