/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>

#include "luks/internal.h"

int luks_refuse(struct luks_reason *why, int verdict, const char *rule, const char *fmt, ...) {
        char text[sizeof(why->text)];
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);

        text_safe(why->rule, sizeof(why->rule), rule);
        text_safe(why->text, sizeof(why->text), text);
        return verdict;
}

void text_safe(char *ret, size_t max, const char *text) {
        size_t n = 0;

        for (; text[n] && n + 1 < max; n++)
                ret[n] = text[n] >= 0x20 && text[n] <= 0x7e ? text[n] : '?';
        ret[n] = '\0';
}
