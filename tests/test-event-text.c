/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "policy/event.h"
#include "policy/eventlog.h"
#include "tests/make-log.h"
#include "tests/test.h"

/* Events in words: short, printable, and never more than the event has. */

static struct made content;

static void assert_words(uint32_t pcr, uint32_t type, const char *want) {
        /* A copy of just this size, so that a read behind it shows under a sanitizer. */
        _cleanup_(freep) uint8_t *data = malloc(content.size + 1);
        struct event e = { .number = 1, .pcr = pcr, .type = type, .size = content.size };
        char text[EVENT_TEXT_MAX];

        assert_non_null(data);
        memcpy(data + 1, content.data, content.size);
        e.data = data + 1;
        event_describe(&e, text);
        assert_string_equal(text, want);
}

static void assert_text_words(uint32_t pcr, uint32_t type, const char *text, const char *want) {
        content.size = 0;
        made_bytes(&content, text, strlen(text));
        assert_words(pcr, type, want);
}

static void assert_wide_words(uint32_t pcr, uint32_t type, const char *text, const char *want) {
        content.size = 0;
        made_wide(&content, text, 1);
        assert_words(pcr, type, want);
}

static void variable(const char *name, const void *data, size_t size) {
        made_variable(&content, GLOBAL_GUID, name, data, size);
}

static void test_firmware(void **state) {
        (void) state;
        assert_text_words(0, EV_SEPARATOR, "", "separator");
        assert_text_words(0, EV_NO_ACTION, "StartupLocality", "a remark: StartupLocality");
        assert_text_words(4, EV_EFI_ACTION, "Calling EFI Application from Boot Option",
                          "Calling EFI Application from Boot Option");
        assert_text_words(4, EV_ACTION, "", "an event without words");
        assert_text_words(4, EV_ACTION, "   ", "an event without words");
        assert_wide_words(0, EV_S_CRTM_VERSION, "1.2", "firmware version 1.2");
        assert_wide_words(0, EV_S_CRTM_VERSION, "", "firmware version");
        assert_text_words(0, EV_S_CRTM_CONTENTS, "x", "first part of the firmware");
        assert_text_words(0, EV_EFI_HCRTM_EVENT, "HCRTM", "first part of the firmware");
        assert_text_words(0, EV_POST_CODE, "ACPI DATA", "firmware ACPI DATA");
        assert_text_words(0, EV_EFI_PLATFORM_FIRMWARE_BLOB2, "x", "firmware");
        assert_text_words(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, "x", "firmware");
        content.size = 0;
        made_number(&content, 0x1000, 8);
        made_number(&content, 1, 8);
        assert_words(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, "firmware, 1 byte");
        assert_text_words(1, EV_EFI_HANDOFF_TABLES, "x", "tables of the firmware");
        assert_text_words(1, EV_EFI_HANDOFF_TABLES2, "x", "tables of the firmware");
        assert_text_words(1, EV_PLATFORM_CONFIG_FLAGS, "x", "settings of the firmware");
        assert_text_words(1, 0x80000abc, "x", "an event of type 0x80000abc");
}

static void test_nothing_but_printable_ascii_comes_out(void **state) {
        char text[EVENT_TEXT_MAX], want[EVENT_TEXT_MAX];

        (void) state;
        assert_text_words(4, EV_EFI_ACTION, "a\x1b[2J\x80\xff\x7f~", "a?[2J???~");
        content.size = 0;
        made_wide(&content, "x", 0);
        made_number(&content, 0x1b, 2);
        made_number(&content, 0x263a, 2);
        made_number(&content, 0x0141, 2);
        made_wide(&content, "y", 0);
        assert_words(8, EV_IPL, "x???y");

        /* What is too long is cut, and shows it. */
        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        memcpy(want, text, sizeof(want));
        memcpy(want + sizeof(want) - 4, "...", 4);
        assert_text_words(4, EV_EFI_ACTION, text, want);
        text[sizeof(text) - 4] = '\0';
        assert_text_words(4, EV_EFI_ACTION, text, text);
        assert_wide_words(8, EV_IPL, text, text);
        text[sizeof(text) - 4] = 'a';
        assert_wide_words(8, EV_IPL, text, want);
}

static void test_secure_boot(void **state) {
        static const uint8_t x509[] = "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0"
                                      "\x72";
        static struct made db;

        (void) state;
        variable("SecureBoot", "\x01", 1);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot = 1");
        variable("PK", NULL, 0);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "PK, empty");
        variable("XX", "ab", 2);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "XX, 2 bytes");

        /* Two lists: three certificates of 20 bytes behind a header of two, a hash of 48. */
        db.size = 0;
        made_bytes(&db, x509, 16);
        made_number(&db, 28 + 2 + 3 * 20, 4);
        made_number(&db, 2, 4);
        made_number(&db, 20, 4);
        for (unsigned i = 0; i < 62; i++)
                made_number(&db, i, 1);
        variable("db", db.data, db.size);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "db, 3 certificates");
        made_bytes(&db, "another type....", 16);
        made_number(&db, 28 + 48, 4);
        made_number(&db, 0, 4);
        made_number(&db, 48, 4);
        for (unsigned i = 0; i < 48; i++)
                made_number(&db, i, 1);
        variable("db", db.data, db.size);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "db, 3 certificates, 1 hash");
        variable("dbx", db.data + 90, db.size - 90);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "dbx, 1 hash");
}

static void test_lists_that_are_none(void **state) {
        static const struct {
                uint32_t size, head, one;
                unsigned bytes;
                const char *want;
        } cases[] = {
                { 48, 0, 20, 20, "db, 1 hash" },
                { 27, 0, 20, 20, "db, 48 bytes" },
                { 49, 0, 20, 20, "db, 48 bytes" },
                { 48, 0, 0, 20, "db, 48 bytes" },
                { 48, 21, 20, 20, "db, 48 bytes" },
                { 48, 0, 19, 20, "db, 48 bytes" },
                { 48, 0, 20, 21, "db, 49 bytes" },
                { 28, 0, 20, 0, "db" },
                { 48, 0xffffffff, 20, 20, "db, 48 bytes" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                static struct made db;

                db.size = 0;
                made_bytes(&db, "another type....", 16);
                made_number(&db, cases[i].size, 4);
                made_number(&db, cases[i].head, 4);
                made_number(&db, cases[i].one, 4);
                for (unsigned n = 0; n < cases[i].bytes; n++)
                        made_number(&db, n, 1);
                variable("db", db.data, db.size);
                assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, cases[i].want);
        }
}

static void test_variables_that_are_cut(void **state) {
        (void) state;
        variable("SecureBoot", "\x01", 1);
        while (content.size > 0) {
                content.size--;
                assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "a variable that can't be read");
        }
        variable("SecureBoot", "\x01", 1);
        made_number(&content, 0, 1); /* more than it says */
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "a variable that can't be read");
        variable("SecureBoot", "\x01", 1);
        memset(content.data + 16, 0xff, 8);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "a variable that can't be read");
        memset(content.data + 16, 0, 8);
        memset(content.data + 24, 0xff, 8);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "a variable that can't be read");

        /* Sums that wrap around. */
        variable("SecureBoot", "\x01", 1);
        memset(content.data + 16, 0, 16);
        content.data[23] = 0x80;
        content.data[24] = (uint8_t) (content.size - EVENT_VARIABLE_HEAD);
        assert_words(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "a variable that can't be read");
}

static void test_authorities_and_boot_options(void **state) {
        static const char order[] = { 1, 0, 0, 0, 10, 1 };

        (void) state;
        variable("db", "\x30\x82 a certificate", 16);
        assert_words(7, EV_EFI_VARIABLE_AUTHORITY, "authority db, 16 bytes");
        variable("SbatLevel", "sbat,1,2021030218\nx", 19);
        assert_words(7, EV_EFI_VARIABLE_AUTHORITY, "authority SbatLevel sbat,1,2021030218?x");
        variable("MokListTrusted", "\x01", 1);
        assert_words(7, EV_EFI_VARIABLE_AUTHORITY, "MokListTrusted = 1");
        variable("db", NULL, 0);
        assert_words(7, EV_EFI_VARIABLE_AUTHORITY, "authority db, 0 bytes");

        variable("BootOrder", order, sizeof(order));
        assert_words(1, EV_EFI_VARIABLE_BOOT, "BootOrder 0001,0000,010A");
        variable("BootOrder", order, 5);
        assert_words(1, EV_EFI_VARIABLE_BOOT2, "BootOrder 0001,0000");
        variable("Boot0001", "......D\0e\0b\0\0\0more", 18);
        assert_words(1, EV_EFI_VARIABLE_BOOT2, "Boot0001 Deb");
        variable("Boot0001", "......", 6);
        assert_words(1, EV_EFI_VARIABLE_BOOT, "Boot0001");
}

static void test_images(void **state) {
        (void) state;
        made_image(&content, "\\EFI\\Linux\\a.efi");
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application \\EFI\\Linux\\a.efi");
        assert_words(2, EV_EFI_BOOT_SERVICES_DRIVER, "firmware driver \\EFI\\Linux\\a.efi");
        while (content.size > 0) {
                content.size--;
                assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application");
        }
        made_image(&content, NULL);
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION,
                     "boot application, the kernel in the UKI");
        content.data[40]++; /* another GUID */
        assert_words(4, EV_EFI_RUNTIME_SERVICES_DRIVER, "firmware driver");
}

static void test_paths_that_are_none(void **state) {
        (void) state;
        made_image(&content, "\\a");
        content.data[32 + 2] = 3; /* a node shorter than its head */
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application");
        content.data[32 + 2] = 0xff; /* … longer than the path */
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application");
        content.data[32 + 2] = 10;
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application \\a");
        content.data[32] = 1; /* of another type */
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application");
        /* A vendor's node too short for a GUID. */
        content.data[32] = 4;
        content.data[33] = 3;
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application");
        made_number(&content, 0, 3); /* a rest that is no node */
        content.data[24] += 3;
        assert_words(4, EV_EFI_BOOT_SERVICES_APPLICATION, "boot application");
}

static void test_loaders(void **state) {
        (void) state;
        made_tag(&content, EVENT_TAG_INITRD, "Linux initrd");
        assert_words(9, EV_EVENT_TAG, "initrd of the kernel");
        made_tag(&content, EVENT_TAG_LOAD_OPTIONS, "LOADED_IMAGE::LoadOptions");
        assert_words(9, EV_EVENT_TAG, "command line of the kernel");
        made_tag(&content, EVENT_TAG_UKI_PROFILE, "x");
        assert_words(12, EV_EVENT_TAG, "profile of the UKI");
        made_tag(&content, 0x1234, "something");
        assert_words(9, EV_EVENT_TAG, "tag 0x00001234 something");
        content.size--;
        assert_words(9, EV_EVENT_TAG, "a tag that can't be read");
        content.size = 7;
        assert_words(9, EV_EVENT_TAG, "a tag that can't be read");

        assert_text_words(8, EV_IPL, "grub_cmd: set root", "grub_cmd: set root");
        assert_wide_words(11, EV_IPL, ".linux", "UKI section .linux");
        assert_wide_words(12, EV_IPL, "root=/dev/vda2", "boot options root=/dev/vda2");
        assert_text_words(12, EV_IPL, "", "boot options");
        assert_text_words(9, EV_IPL, "x", "x");

        content.size = 0;
        for (unsigned i = 0; i < 92; i++)
                made_number(&content, 0, 1);
        assert_words(5, EV_EFI_GPT_EVENT, "partition table");
        made_number(&content, 2, 8);
        assert_words(5, EV_EFI_GPT_EVENT, "partition table, 2 partitions");
}

static void test_a_recorded_boot_in_words(void **state) {
        static const char *const want[] = {
                [1] = "firmware version",
                [3] = "firmware, 12582912 bytes",
                [4] = "SecureBoot = 0",
                [5] = "PK, empty",
                [9] = "separator",
                [10] = "BootOrder 0001,0000,0002",
                [11] = "Boot0001 UEFI Non-Block Boot Device",
                [14] = "Calling EFI Application from Boot Option",
                [22] = "boot application \\EFI\\BOOT\\BOOTX64.EFI",
                [23] = "UKI section .linux",
                [31] = "boot application, the kernel in the UKI",
                [32] = "command line of the kernel",
                [33] = "initrd of the kernel",
                [35] = "Exit Boot Services Returned with Success",
        };
        static struct made made;
        struct eventlog log;

        (void) state;
        recorded_log("eventlog-uki", &made, &log);
        assert_int_equal(log.events + 1, ARRAY_SIZE(want));
        for (struct event e = { 0 }; eventlog_next(&log, &e);) {
                char text[EVENT_TEXT_MAX];

                event_describe(&e, text);
                if (want[e.number])
                        assert_string_equal(text, want[e.number]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_firmware),
                cmocka_unit_test(test_nothing_but_printable_ascii_comes_out),
                cmocka_unit_test(test_secure_boot),
                cmocka_unit_test(test_lists_that_are_none),
                cmocka_unit_test(test_variables_that_are_cut),
                cmocka_unit_test(test_authorities_and_boot_options),
                cmocka_unit_test(test_images),
                cmocka_unit_test(test_paths_that_are_none),
                cmocka_unit_test(test_loaders),
                cmocka_unit_test(test_a_recorded_boot_in_words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
