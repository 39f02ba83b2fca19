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

/* @byte: of the key; less than none where there's none. @booted: NULL for none. */
static void holds(const struct kek *kek, int byte, const struct pcrs *booted) {
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct pcrs pcrs = { .mask = 1 };
        struct error err = { 0 };

        assert_int_equal(handover_get(kek, &got, &err), byte >= 0);
        assert_int_equal(handover_get_pcrs(kek, &pcrs, &err), byte >= 0);
        if (byte >= 0 && booted)
                assert_true(pcrs_equal(&pcrs, booted));
        else if (byte >= 0)
                assert_int_equal(pcrs.mask, 0);
        for (size_t i = 0; got && i < secret_size(got); i++)
                assert_int_equal(secret_data(got)[i], byte);
}

static void from_one_session_to_another(void **state) {
        _cleanup_(secret_freep) struct secret *one = key_of(1), *two = key_of(2);
        struct pcrs booted = { .mask = HANDOVER_PCRS_MASK };
        char name[40];
        struct error err = { 0 };
        struct kek kek, other;

        (void) state;
        (void) snprintf(name, sizeof(name), "%d", getpid());
        kek = of(name);
        for (unsigned i = 0; i < HANDOVER_PCRS; i++)
                memset(booted.value[i], (int) i, PCR_SIZE_MAX);
        other = of("another object");
        holds(&kek, -1, NULL);
        leave_session();
        assert_int_equal(handover_put(&kek, one, &booted, &err), 0);
        holds(&kek, 1, &booted);
        holds(&other, -1, NULL);
        leave_session();
        holds(&kek, 1, &booted);
        /* In the place of the one that's there. */
        assert_int_equal(handover_put(&kek, two, NULL, &err), 0);
        leave_session();
        holds(&kek, 2, NULL);
        leave_session();
        handover_drop(&kek);
        holds(&kek, -1, NULL);
        handover_drop(&kek);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(from_one_session_to_another) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
