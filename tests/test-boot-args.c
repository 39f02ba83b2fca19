/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/boot-args.h"

#include <errno.h>

#include "agent/timespan.h"
#include "tests/test.h"

static int parse(const char *line, struct boot_args *ret) {
        struct error err = { 0 };

        *ret = (struct boot_args){ .disk = "untouched" };
        return boot_args_parse(line, strlen(line), ret, &err);
}

static void what_is_ours_is_taken(void **state) {
        struct boot_args a;

        (void) state;
        assert_int_equal(parse("root=/dev/mapper/root diskseal.disk=UUID=1-2 quiet\n", &a), 0);
        assert_string_equal(a.disk, "UUID=1-2");
        assert_false(a.has_timeout);
        assert_int_equal(parse("diskseal.timeout=1min30s", &a), 0);
        assert_string_equal(a.disk, "");
        assert_true(a.has_timeout);
        assert_int_equal(a.timeout, 90);
        assert_int_equal(parse("diskseal.timeout=infinity", &a), 0);
        assert_true(a.timeout == TIMESPAN_INFINITY);
}

static void the_last_one_counts_and_quotes_protect(void **state) {
        struct boot_args a;

        (void) state;
        assert_int_equal(parse("diskseal.disk=a diskseal.disk=b", &a), 0);
        assert_string_equal(a.disk, "b");
        assert_int_equal(parse("x=\"diskseal.disk=evil\" diskseal.disk=\"a b\"", &a), 0);
        assert_string_equal(a.disk, "a b");
        assert_int_equal(parse("\"diskseal.disk=all quoted\"", &a), 0);
        assert_string_equal(a.disk, "all quoted");
        assert_int_equal(parse("xdiskseal.disk=a ydiskseal.timeout=no", &a), 0);
        assert_string_equal(a.disk, "");
}

static void what_has_no_meaning_is_said(void **state) {
        static const char *const bad[] = {
                "diskseal.disk=",      "diskseal.disk",    "diskseal.timeout=soon",
                "diskseal.timeout=-1", "diskseal.other=1", "diskseal.disk=\x1b[2J",
                "diskseal.",
        };
        struct boot_args a;
        char line[600];

        (void) state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                assert_int_equal(parse(bad[i], &a), -EBADMSG);
                assert_string_equal(a.disk, "untouched");
        }
        (void) snprintf(line, sizeof(line), "diskseal.disk=%0500d", 0);
        assert_int_equal(parse(line, &a), -EBADMSG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_ours_is_taken),
                cmocka_unit_test(the_last_one_counts_and_quotes_protect),
                cmocka_unit_test(what_has_no_meaning_is_said),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
