/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/handover.h"

#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/test.h"

/* As systemd does for a service: a session keyring of its own, that doesn't lead to the user's. */
static void leave_session(void) {
        assert_true(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0);
}

static struct kek of(const char *object) {
        struct kek kek = { .name = "test-handover", .version = 3 };

        kek.sealed.public.size = (uint16_t) strlen(object);
        memcpy(kek.sealed.public.data, object, strlen(object));
        return kek;
}

static struct secret *key_of(uint8_t byte) {
        struct secret *key = NULL;

        assert_int_equal(secret_new(32, &key), 0);
        memset(secret_data(key), byte, 32);
        return key;
}

static void holds(const struct kek *kek, int byte) {
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct error err = { 0 };

        assert_int_equal(handover_get(kek, &got, &err), byte >= 0);
        for (size_t i = 0; got && i < secret_size(got); i++)
                assert_int_equal(secret_data(got)[i], byte);
}

static void from_one_session_to_another(void **state) {
        _cleanup_(secret_freep) struct secret *one = key_of(1), *two = key_of(2);
        char name[40];
        struct error err = { 0 };
        struct kek kek, other;

        (void) state;
        (void) snprintf(name, sizeof(name), "%d", getpid());
        kek = of(name);
        other = of("another object");
        holds(&kek, -1);
        leave_session();
        assert_int_equal(handover_put(&kek, one, &err), 0);
        holds(&kek, 1);
        holds(&other, -1);
        leave_session();
        holds(&kek, 1);
        /* In the place of the one that's there. */
        assert_int_equal(handover_put(&kek, two, &err), 0);
        leave_session();
        holds(&kek, 2);
        leave_session();
        handover_drop(&kek);
        holds(&kek, -1);
        handover_drop(&kek);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(from_one_session_to_another) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
