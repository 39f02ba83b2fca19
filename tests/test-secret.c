/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/secret.h"

static void test_refuses_empty_and_huge(void **state) {
        struct secret *s = (struct secret *) 1;
        (void) state;
        assert_int_equal(secret_new(0, &s), -EINVAL);
        assert_int_equal(secret_new(SIZE_MAX, &s), -EINVAL);
        assert_ptr_equal(s, (struct secret *) 1); /* untouched on failure */
}

static void test_child_sees_zeros(void **state) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        int status;
        (void) state;
        assert_int_equal(secret_new(32, &s), 0);
        memset(secret_data(s), 0xa5, 32);
        pid_t pid = fork();
        if (pid == 0)
                _exit(secret_data(s)[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(secret_data(s)[0], 0xa5);
}

/* Bytes that this process has locked, by the kernel's word. */
static unsigned long locked_kib(void) {
        unsigned long kib = 0;
        char line[128];
        FILE *f = fopen("/proc/self/status", "re");

        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "VmLck: %lu", &kib) == 1)
                        break;
        if (f)
                (void) fclose(f);
        return kib;
}

static void test_one_that_was_given_back_is_as_new(void **state) {
        struct secret *s = NULL;
        bool locks;
        int status;
        (void) state;
        assert_int_equal(secret_new(64, &s), 0);
        locks = locked_kib() > 0; /* sanitizers only say that they do */
        memset(secret_data(s), 0xa5, 64);
        s = secret_free(s);
        assert_int_equal(secret_new(4096, &s), 0);
        for (size_t i = 0; i < 4096; i++)
                assert_int_equal(secret_data(s)[i], 0);
        assert_int_equal(secret_size(s), 4096);
        s = secret_free(s);

        /* A child has no locks of its parent: one that it makes there is locked anew. */
        pid_t pid = fork();
        if (pid == 0) {
                unsigned long before = locked_kib();

                _exit(before == 0 && secret_new(32, &s) == 0 && locked_kib() == (locks ? 4 : 0)
                              ? 0
                              : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static void test_overrun_faults(void **state) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        int status;
        (void) state;
        assert_int_equal(secret_new(33, &s), 0);
        pid_t pid = fork();
        if (pid == 0) {
                signal(SIGSEGV, SIG_DFL);
                ((volatile uint8_t *) secret_data(s))[33] = 1;
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void test_error(void **state) {
        struct error e = { 0 };
        (void) state;
        assert_int_equal(error_set(&e, -EIO, "read %d", 3), -EIO);
        assert_int_equal(error_prefix(&e, "slot %d", 1), -EIO);
        assert_string_equal(e.text, "slot 1: read 3");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refuses_empty_and_huge),
                cmocka_unit_test(test_child_sees_zeros),
                cmocka_unit_test(test_one_that_was_given_back_is_as_new),
                cmocka_unit_test(test_overrun_faults),
                cmocka_unit_test(test_error),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
