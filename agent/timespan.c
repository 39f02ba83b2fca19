/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/timespan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MINUTE 60u
#define HOUR 3600u
#define DAY 86400u
#define MONTH 2629800u /* 30.4375 days */
#define YEAR 31557600u /* 365.25 days */

static const struct unit {
        const char *name;
        uint32_t seconds;
} units[] = {
        { "", 1 },
        { "s", 1 },
        { "sec", 1 },
        { "second", 1 },
        { "seconds", 1 },
        { "m", MINUTE },
        { "min", MINUTE },
        { "minute", MINUTE },
        { "minutes", MINUTE },
        { "h", HOUR },
        { "hr", HOUR },
        { "hour", HOUR },
        { "hours", HOUR },
        { "d", DAY },
        { "day", DAY },
        { "days", DAY },
        { "w", 7 * DAY },
        { "week", 7 * DAY },
        { "weeks", 7 * DAY },
        { "M", MONTH },
        { "month", MONTH },
        { "months", MONTH },
        { "y", YEAR },
        { "year", YEAR },
        { "years", YEAR },
};

static const char *skip_blanks(const char *p) {
        return p + strspn(p, " \t");
}

/* Behind the digits. NULL where there are none, or too many. */
static const char *take_number(const char *p, uint64_t *ret) {
        uint64_t n = 0;

        if (*p < '0' || *p > '9')
                return NULL;
        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(n, UINT64_C(10), &n) ||
                    __builtin_add_overflow(n, (uint64_t) (*p - '0'), &n))
                        return NULL;
        *ret = n;
        return p;
}

/* Behind the letters. NULL where they're no unit. */
static const char *take_unit(const char *p, uint32_t *ret) {
        size_t length = strcspn(p, " \t0123456789");

        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
                if (strlen(units[i].name) == length && strncmp(units[i].name, p, length) == 0) {
                        *ret = units[i].seconds;
                        return p + length;
                }
        return NULL;
}

int timespan_parse(const char *text, uint64_t *ret_seconds) {
        const char *p = skip_blanks(text);
        uint64_t sum = 0, n;
        uint32_t unit;

        if (strncmp(p, "infinity", 8) == 0 && *skip_blanks(p + 8) == '\0') {
                *ret_seconds = TIMESPAN_INFINITY;
                return 0;
        }
        do {
                p = take_number(p, &n);
                p = p ? take_unit(skip_blanks(p), &unit) : NULL;
                if (!p || __builtin_mul_overflow(n, (uint64_t) unit, &n) ||
                    __builtin_add_overflow(sum, n, &sum))
                        return -EINVAL;
                p = skip_blanks(p);
        } while (*p);
        if (sum == TIMESPAN_INFINITY)
                return -EINVAL;
        *ret_seconds = sum;
        return 0;
}

void timespan_text(uint64_t seconds, char ret[TIMESPAN_TEXT]) {
        static const struct unit words[] = {
                { "day", DAY }, { "hour", HOUR }, { "minute", MINUTE }, { "second", 1 }
        };
        size_t i = 0;
        uint64_t n;

        if (seconds == TIMESPAN_INFINITY) {
                (void) snprintf(ret, TIMESPAN_TEXT, "infinity");
                return;
        }
        while (words[i].seconds > seconds && words[i].seconds > 1)
                i++;
        n = seconds / words[i].seconds;
        (void) snprintf(ret, TIMESPAN_TEXT, "%" PRIu64 " %s%s", n, words[i].name,
                        n == 1 ? "" : "s");
}
