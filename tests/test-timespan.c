/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "agent/timespan.h"
#include "tests/test.h"

#define DAY UINT64_C(86400)

static void spans_are_read_as_systemd_reads_them(void **state) {
        static const struct {
                const char *text;
                uint64_t seconds;
        } good[] = {
                { "30d", 30 * DAY },
                { "1h 30min", 5400 },
                { "1h30min", 5400 },
                { "2w", 14 * DAY },
                { " 2 weeks ", 14 * DAY },
                { "90", 90 },
                { "0", 0 },
                { "5m", 300 },
                { "1M", 2629800 },
                { "1y 12months", 2 * UINT64_C(31557600) },
                { "1d\t1s", DAY + 1 },
                { "20 30", 50 },
                { "18446744073709551614", UINT64_MAX - 1 },
                { "infinity", TIMESPAN_INFINITY },
                { " infinity ", TIMESPAN_INFINITY },
        };

        (void) state;
        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                uint64_t seconds = 7;

                assert_int_equal(timespan_parse(good[i].text, &seconds), 0);
                assert_int_equal(seconds, good[i].seconds);
        }
}

static void what_is_none_is_refused_and_changes_nothing(void **state) {
        static const char *const bad[] = {
                "",
                " ",
                "d",
                "-1d",
                "+1d",
                "1.5h",
                "1x",
                "1D",
                "10ms",
                "infinity 1d",
                "inf",
                "infinityx",
                "1d infinity",
                "18446744073709551615",
                "1d\n",
                "0x10",
                "18446744073709551616",
                "213503982334602d",
                "99999999999999999999999",
        };

        (void) state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                uint64_t seconds = 7;

                assert_int_equal(timespan_parse(bad[i], &seconds), -EINVAL);
                assert_int_equal(seconds, 7);
        }
}

static void spans_are_said_in_their_largest_unit(void **state) {
        static const struct {
                uint64_t seconds;
                const char *text;
        } said[] = {
                { 0, "0 seconds" },        { 1, "1 second" },
                { 59, "59 seconds" },      { 60, "1 minute" },
                { 7199, "1 hour" },        { 7200, "2 hours" },
                { DAY, "1 day" },          { 19 * DAY - 1, "18 days" },
                { 400 * DAY, "400 days" }, { TIMESPAN_INFINITY, "infinity" },
        };
        char text[TIMESPAN_TEXT];

        (void) state;
        for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
                timespan_text(said[i].seconds, text);
                assert_string_equal(text, said[i].text);
        }
        timespan_text(UINT64_MAX - 1, text);
        assert_string_equal(text, "213503982334601 days");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(spans_are_read_as_systemd_reads_them),
                cmocka_unit_test(what_is_none_is_refused_and_changes_nothing),
                cmocka_unit_test(spans_are_said_in_their_largest_unit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
