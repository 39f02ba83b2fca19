/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/hex.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

void hex_encode(const uint8_t *data, size_t size, char *ret) {
        for (size_t i = 0; i < size; i++) {
                *ret++ = digits[data[i] >> 4];
                *ret++ = digits[data[i] & 15];
        }
        *ret = '\0';
}

bool hex_decode(const char *text, uint8_t *ret, size_t size) {
        if (!text || strlen(text) != 2 * size)
                return false;
        for (size_t i = 0; i < 2 * size; i++) {
                const char *found = memchr(digits, text[i], 16);

                if (!found)
                        return false;
                ret[i / 2] = (uint8_t) (ret[i / 2] << 4 | (found - digits));
        }
        return true;
}
