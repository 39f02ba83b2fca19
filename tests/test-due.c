/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "agent/due.h"
#include "tests/test.h"

#define DAY UINT64_C(86400)
#define NOW (20000 * DAY)

static struct due decide(uint64_t created, uint64_t every, uint64_t delay, uint64_t random) {
        struct due d;

        due_decide(&(struct due_input){ created, NOW, every, delay, random }, &d);
        return d;
}

static void it_is_due_when_it_is_old_enough(void **state) {
        struct due d = decide(NOW - 12 * DAY, 30 * DAY, 0, 77);
        char text[DUE_TEXT], word[TIMESPAN_TEXT + 4];

        (void) state;
        assert_int_equal(d.state, DUE_LATER);
        assert_int_equal(d.left, 18 * DAY);
        due_text(&d, text);
        assert_string_equal(text, "12 days old, next rotation in 18 days");
        due_word(&d, word);
        assert_string_equal(word, "in 18 days");

        d = decide(NOW - 30 * DAY + 1, 30 * DAY, 0, 77);
        assert_int_equal(d.state, DUE_LATER);
        assert_int_equal(d.left, 1);
        d = decide(NOW - 30 * DAY, 30 * DAY, 0, 77);
        assert_int_equal(d.state, DUE_NOW);
        assert_int_equal(d.over, 0);
        d = decide(NOW - 33 * DAY, 30 * DAY, 0, 77);
        due_text(&d, text);
        assert_string_equal(text, "33 days old, rotation due since 3 days");
        due_word(&d, word);
        assert_string_equal(word, "overdue");
}

static void it_is_off_unless_asked_for(void **state) {
        struct due d = decide(0, TIMESPAN_INFINITY, 0, 77);
        char text[DUE_TEXT];

        (void) state;
        assert_int_equal(d.state, DUE_OFF);
        assert_int_equal(d.at, UINT64_MAX);
        due_text(&d, text);
        assert_string_equal(text, "20000 days old");
        /* What can't be reckoned with is never, not at once. */
        d = decide(NOW - DAY, UINT64_MAX - 1, 0, 77);
        assert_int_equal(d.state, DUE_LATER);
        d = decide(NOW - DAY, UINT64_MAX - NOW, UINT64_MAX, UINT64_MAX);
        assert_int_equal(d.state, DUE_LATER);
}

static void the_delay_is_bounded_and_stable(void **state) {
        (void) state;
        for (uint64_t random = 0; random < 1000; random++) {
                struct due d = decide(NOW, 30 * DAY, 100, random);

                assert_true(d.at >= NOW + 30 * DAY && d.at <= NOW + 30 * DAY + 100);
                assert_int_equal(d.at, decide(NOW - 0, 30 * DAY, 100, random).at);
        }
        assert_int_equal(decide(NOW, 30 * DAY, 100, 100).at, NOW + 30 * DAY + 100);
        assert_int_equal(decide(NOW, 30 * DAY, 100, 101).at, NOW + 30 * DAY);
}

/* A clock that went back, or was far ahead for once. */
static void a_time_in_the_future_never_rotates(void **state) {
        struct due d;
        char text[DUE_TEXT];

        (void) state;
        for (uint64_t ahead = DUE_SKEW + 1; ahead < UINT64_MAX / 4; ahead *= 3) {
                d = decide(NOW + ahead, 30 * DAY, 100, 5);
                assert_int_equal(d.state, DUE_CLOCK);
                assert_int_equal(d.at, UINT64_MAX);
                due_text(&d, text);
                assert_non_null(strstr(text, "made in the future"));
        }
        d = decide(NOW + DUE_SKEW, 30 * DAY, 0, 5);
        assert_int_equal(d.state, DUE_LATER);
        assert_int_equal(d.age, 0);
}

static struct kek_record record_of(const char *name, uint32_t version, const char *created) {
        struct kek_record r = { .has_current = true };

        (void) snprintf(r.name, sizeof(r.name), "%s", name);
        (void) snprintf(r.current.name, sizeof(r.current.name), "%s", name);
        (void) snprintf(r.current_created, sizeof(r.current_created), "%s", created);
        r.current.version = version;
        return r;
}

static void a_record_has_one_time_that_depends_on_name_and_version(void **state) {
        struct context c = CONTEXT_INIT;
        struct kek_record a = record_of("a", 1, "2020-01-01T00:00:00Z");
        struct kek_record b = record_of("b", 1, "2020-01-01T00:00:00Z");
        struct kek_record a2 = record_of("a", 2, "2020-01-01T00:00:00Z");
        struct error err = { 0 };
        struct due d[4];

        (void) state;
        assert_int_equal(due_of(&c, &a, &d[0], &err), 0);
        assert_int_equal(d[0].state, DUE_OFF);
        c.rotate_every = 30 * DAY;
        c.rotate_delay = UINT64_C(1) << 40;
        assert_int_equal(due_of(&c, &a, &d[0], &err), 0);
        assert_int_equal(due_of(&c, &a, &d[1], &err), 0);
        assert_int_equal(due_of(&c, &b, &d[2], &err), 0);
        assert_int_equal(due_of(&c, &a2, &d[3], &err), 0);
        assert_int_equal(d[0].at, d[1].at);
        assert_int_not_equal(d[0].at, d[2].at);
        assert_int_not_equal(d[0].at, d[3].at);
        assert_true(d[0].at >= 1577836800 + 30 * DAY);
}

static void no_time_is_no_due_time(void **state) {
        static const char *const bad[] = { "",
                                           "2020",
                                           "2020-13-01T00:00:00Z",
                                           "2020-01-01T00:00:00",
                                           "2020-01-01T00:00:00Zx",
                                           "1960-01-01T00:00:00Z" };
        struct context c = CONTEXT_INIT;

        (void) state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                struct kek_record r = record_of("a", 1, bad[i]);
                struct error err = { 0 };
                struct due d;

                assert_int_equal(due_of(&c, &r, &d, &err), -EBADMSG);
                assert_non_null(strstr(err.text, "KEK a"));
        }
}

static void a_pin_needs_its_owner(void **state) {
        struct context c = CONTEXT_INIT;
        struct kek_record r = record_of("a", 1, "2020-01-01T00:00:00Z");
        struct policy policy = { .kind = POLICY_LITERAL, .bank = PCR_SHA256, .pcr_mask = 1u << 7 };
        struct error err = { 0 };
        struct due d;

        (void) state;
        policy_steps(&policy, NULL, &r.current.steps);
        assert_int_equal(due_of(&c, &r, &d, &err), 0);
        assert_false(d.attended);
        policy.pin = true;
        policy_steps(&policy, NULL, &r.current.steps);
        assert_int_equal(due_of(&c, &r, &d, &err), 0);
        assert_true(d.attended);
        policy.pin = false;
        policy_steps(&policy, NULL, &r.current.steps);
        r.current.factor.kind = FACTOR_PIN;
        assert_int_equal(due_of(&c, &r, &d, &err), 0);
        assert_true(d.attended);
        r.current.factor.kind = FACTOR_KEY;
        assert_int_equal(due_of(&c, &r, &d, &err), 0);
        assert_false(d.attended);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(it_is_due_when_it_is_old_enough),
                cmocka_unit_test(it_is_off_unless_asked_for),
                cmocka_unit_test(the_delay_is_bounded_and_stable),
                cmocka_unit_test(a_time_in_the_future_never_rotates),
                cmocka_unit_test(a_record_has_one_time_that_depends_on_name_and_version),
                cmocka_unit_test(no_time_is_no_due_time),
                cmocka_unit_test(a_pin_needs_its_owner),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
