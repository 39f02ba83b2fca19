/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/refusal.h"
#include "agent/state.h"
#include "base/crypto.h"
#include "base/file.h"
#include "tests/test.h"

static char folder[] = "/tmp/diskseal-test-XXXXXX";

static int make_folder(void **state) {
        (void) state;
        return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state) {
        char command[64];

        (void) state;
        (void) snprintf(command, sizeof(command), "rm -rf %s", folder);
        return system(command);
}

/* --- state --- */

static struct state_disk sample(const char *name, const char *uuid) {
        struct state_disk d = { .role = "data", .kek = "default", .device = "/dev/vdb" };

        (void) snprintf(d.name, sizeof(d.name), "%s", name);
        (void) snprintf(d.uuid, sizeof(d.uuid), "%s", uuid);
        d.proven = 1u << 31 | 1u;
        memset(d.proven_hash[31], 0x5a, 32);
        return d;
}

static void test_state_comes_back_as_it_was(void **unused) {
        _cleanup_(state_done) struct state s = { 0 }, back = { 0 };
        struct state_disk a = sample("a", "1"), b = sample("b", "2");
        struct error err = { 0 };
        (void) unused;

        assert_int_equal(state_read(folder, &s, &err), 0);
        assert_int_equal(s.count, 0);
        assert_int_equal(state_put(&s, &a, &err), 0);
        assert_int_equal(state_put(&s, &b, &err), 0);
        (void) snprintf(a.device, sizeof(a.device), "/dev/vdc");
        assert_int_equal(state_put(&s, &a, &err), 0);
        assert_int_equal(s.count, 2);
        assert_int_equal(state_write(folder, &s, &err), 0);
        assert_int_equal(state_read(folder, &back, &err), 0);
        assert_int_equal(back.count, 2);
        assert_memory_equal(state_by_name(&back, "a"), &a, sizeof(a));
        assert_memory_equal(state_by_uuid(&back, "2"), &b, sizeof(b));
        state_drop(&back, "1");
        state_drop(&back, "1");
        assert_int_equal(back.count, 1);
        assert_null(state_by_name(&back, "a"));
}

static void test_damaged_state_is_said_and_not_taken(void **unused) {
        static const char *const bad[] = {
                "",
                "{",
                "{\"disks\":{}}",
                "{\"disks\":[1]}",
                "{\"disks\":[{}]}",
                "{\"disks\":[{\"name\":\"../x\",\"uuid\":\"1\",\"device\":\"/d\",\"role\":\"os\","
                "\"kek\":\"k\",\"proven\":[]}]}",
                "{\"disks\":[{\"name\":\"x\",\"uuid\":\"1\",\"device\":\"/d\",\"role\":\"os\","
                "\"kek\":\"k\",\"proven\":[{\"slot\":32,\"sha256\":\"\"}]}]}",
        };
        struct error err = { 0 };
        char path[64];
        (void) unused;

        (void) snprintf(path, sizeof(path), "%s/state.json", folder);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct state s = { 0 };

                assert_int_equal(file_write(path, bad[i], strlen(bad[i]), 0600, &err), 0);
                assert_int_equal(state_read(folder, &s, &err), -EBADMSG);
                assert_null(s.disks);
                assert_non_null(strstr(err.text, "state.json"));
        }
        assert_int_equal(unlink(path), 0);
}

static void test_a_uuid_from_a_disk_is_no_path(void **unused) {
        struct error err = { 0 };
        char *text = NULL;
        (void) unused;

        assert_int_equal(state_write_header(folder, "../../../../../etc/passwd-and-more-123456",
                                            "{}", NULL, &err),
                         -EINVAL);
        assert_int_equal(state_read_header(folder, "", &text, &err), -EINVAL);
        assert_int_equal(state_write_header(folder, "01234567-89ab-cdef-0123-456789abcdef", "{}",
                                            NULL, &err),
                         0);
        assert_int_equal(
                state_read_header(folder, "01234567-89ab-cdef-0123-456789abcdef", &text, &err), 0);
        assert_string_equal(text, "{}");
        free(text);
        text = NULL;
        assert_int_equal(
                state_read_header(folder, "11234567-89ab-cdef-0123-456789abcdef", &text, &err), 0);
        assert_null(text);
}

static void test_a_header_is_known_as_a_whole(void **unused) {
        (void) unused;

        assert_true(state_header_known("{a}", "{a}"));
        assert_true(state_header_known("{a}\n{bc}", "{a}"));
        assert_true(state_header_known("{a}\n{bc}", "{bc}"));
        assert_false(state_header_known("{a}\n{bc}", "{b}"));
        assert_false(state_header_known("{a}\n{bc}", "{a}\n{bc}"));
        assert_false(state_header_known("{a}", ""));
        assert_false(state_header_known("", "{a}"));
}

/* --- configuration --- */

static void test_configuration(void **unused) {
        struct context c = CONTEXT_INIT;
        struct error err = { 0 };
        char path[64];
        (void) unused;

        (void) snprintf(c.config_dir, sizeof(c.config_dir), "%s", folder);
        (void) snprintf(path, sizeof(path), "%s/agent.conf", folder);
        assert_int_equal(config_read(&c, &err), 0);
        assert_int_equal(file_write(path, "# x\n[TPM]\nTCTI = swtpm:path=/x\n", 31, 0600, &err), 0);
        assert_int_equal(config_read(&c, &err), 0);
        assert_string_equal(c.tcti, "swtpm:path=/x");
        assert_int_equal(file_write(path, "[TPM]\nTCTI=other\n", 17, 0600, &err), 0);
        assert_int_equal(config_read(&c, &err), 0);
        assert_string_equal(c.tcti, "swtpm:path=/x"); /* what was given first stays */
        assert_int_equal(file_write(path, "[TPM]\nTcti=x\n", 13, 0600, &err), 0);
        assert_int_equal(config_read(&c, &err), -EBADMSG);
        assert_non_null(strstr(err.text, "line 2"));
        assert_int_equal(file_write(path, "[TPM]\nEKRoots=/etc/tpm-roots\n", 29, 0600, &err), 0);
        assert_int_equal(config_read(&c, &err), 0);
        assert_string_equal(c.ek_roots, "/etc/tpm-roots");
        /* Nothing there would read like a check that's on. */
        assert_int_equal(file_write(path, "[TPM]\nEKRoots=\n", 15, 0600, &err), 0);
        assert_int_equal(config_read(&c, &err), -EBADMSG);
        assert_int_equal(unlink(path), 0);
}

static void test_every_refusal_has_a_heading_and_advice(void **unused) {
        (void) unused;

        for (int kind = REFUSAL_NONE + 1; kind < REFUSAL_KINDS; kind++) {
                assert_non_null(refusal_id((enum refusal_kind) kind));
                assert_true(strlen(refusal_advice((enum refusal_kind) kind)) > 10);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_state_comes_back_as_it_was),
                cmocka_unit_test(test_damaged_state_is_said_and_not_taken),
                cmocka_unit_test(test_a_uuid_from_a_disk_is_no_path),
                cmocka_unit_test(test_a_header_is_known_as_a_whole),
                cmocka_unit_test(test_configuration),
                cmocka_unit_test(test_every_refusal_has_a_heading_and_advice),
        };

        return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
