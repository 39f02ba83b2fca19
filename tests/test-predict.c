/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "policy/event.h"
#include "policy/predict.h"
#include "tests/make-log.h"
#include "tests/test.h"

/* The PCRs of the next boot. What is predicted is held against a log of that boot, made or real,
 * and what can't be known is said. */

#define BANK PCR_SHA384
#define MASK (1u << 4 | 1u << 7 | 1u << 9)

/* Too big for a stack: this boot, the next one, what an event says. */
static struct made now, then, content;
static struct eventlog now_log, then_log;
static struct predict_reason why;

static void digest_of(const char *text, uint8_t ret[PCR_SIZE_MAX]) {
        made_digest(BANK, text, strlen(text), ret);
}

static void start(uint32_t mask, struct prediction *ret) {
        made_parse(&now, &now_log);
        assert_int_equal(predict_start(&now_log, BANK, mask, ret, &why), PREDICT_OK);
}

/* It gives what the next boot's log does. */
static void assert_predicted(const struct prediction *p, bool same) {
        struct eventlog_finding f;
        struct error err = { 0 };
        struct pcrs next, want;

        made_parse(&then, &then_log);
        assert_int_equal(eventlog_replay(&then_log, BANK, p->mask, &want, &f, &err), EVENTLOG_OK);
        assert_int_equal(predict_result(p, &next, &err), 0);
        assert_int_equal(next.bank, BANK);
        assert_int_equal(next.mask, p->mask);
        assert_int_equal(memcmp(&next, &want, sizeof(next)) == 0, same);
}

static void assert_unknown(int r, const struct prediction *p, const struct prediction *before,
                           const char *words) {
        assert_int_equal(r, PREDICT_UNKNOWN);
        if (!strstr(why.text, words))
                fail_msg("'%s' isn't about '%s'", why.text, words);
        assert_memory_equal(p, before, sizeof(*p));
}

static void image(struct made *m, const char *path, const char *measured) {
        made_image(&content, path);
        made_event(m, 4, EV_EFI_BOOT_SERVICES_APPLICATION, content.data, content.size, measured);
}

static void tag(struct made *m, uint32_t id, const char *measured) {
        made_tag(&content, id, "a tag");
        made_event(m, 9, EV_EVENT_TAG, content.data, content.size, measured);
}

static void variable(struct made *m, uint32_t type, const char *name, const char *value) {
        made_variable(&content, SECURITY_GUID, name, value, strlen(value));
        made_event(m, 7, type, content.data, content.size, NULL);
}

/* A log of one boot; NULL: there is no such application. */
struct boot {
        const char *loader, *uki, *addon, *kernel;
};

static void boot(struct made *m, const struct boot *b) {
        made_header(m, IN_ALL);
        made_said(m, 0, EV_S_CRTM_VERSION, "1", NULL);
        made_said(m, 4, EV_EFI_ACTION, "Calling", NULL);
        made_said(m, 4, EV_SEPARATOR, "", NULL);
        if (b->loader)
                image(m, "\\EFI\\systemd\\systemd-bootx64.efi", b->loader);
        if (b->uki)
                image(m, "\\EFI\\Linux\\a.efi", b->uki);
        if (b->addon)
                image(m, "\\EFI\\Linux\\a.efi.extra.d\\x.ADDON.efi", b->addon);
        if (b->kernel)
                image(m, NULL, b->kernel);
        made_said(m, 5, EV_EFI_ACTION, "Exit", NULL);
}

/* --- start, values, digests --- */

static void test_without_changes_it_stays(void **state) {
        static const struct boot a = { "loader", "uki", NULL, "kernel" };
        struct prediction p;

        (void) state;
        boot(&now, &a);
        boot(&then, &a);
        start(MASK | 1u, &p);
        assert_predicted(&p, true);
        made_said(&then, 9, EV_EFI_ACTION, "one more", NULL);
        assert_predicted(&p, false);
}

static void test_a_bank_that_the_log_lacks(void **state) {
        struct prediction p = { .mask = 77 };

        (void) state;
        made_header(&now, IN_SHA1 | IN_SHA256);
        made_said(&now, 4, EV_EFI_ACTION, "Calling", NULL);
        made_parse(&now, &now_log);
        assert_int_equal(predict_start(&now_log, PCR_SHA384, 1u << 4, &p, &why), PREDICT_UNKNOWN);
        assert_non_null(strstr(why.text, "no digest in the bank sha384"));
        assert_int_equal(p.mask, 77);
        assert_int_equal(predict_start(&now_log, PCR_SHA384, 1u << 7, &p, &why), PREDICT_OK);
        assert_int_equal(predict_start(&now_log, PCR_SHA256, 1u << 4, &p, &why), PREDICT_OK);
}

static void test_a_value_is_taken_as_it_is(void **state) {
        static const struct boot a = { .uki = "uki" };
        uint8_t value[PCR_SIZE_MAX], other[PCR_SIZE_MAX];
        struct error err = { 0 };
        struct prediction p;
        struct pcrs next;

        (void) state;
        boot(&now, &a);
        made_said(&now, 11, EV_IPL, "x", NULL);
        digest_of("value", value);
        digest_of("other", other);
        start(1u << 4, &p);
        predict_value(&p, 11, other);
        predict_value(&p, 11, value);
        assert_int_equal(predict_result(&p, &next, &err), 0);
        assert_int_equal(next.mask, 1u << 4 | 1u << 11);
        assert_memory_equal(next.value[11], value, pcr_size(BANK));
}

static void test_a_digest_is_replaced_wherever_it_is(void **state) {
        uint8_t old[PCR_SIZE_MAX], new[PCR_SIZE_MAX];
        struct prediction p, before;

        (void) state;
        digest_of("old", old);
        digest_of("new", new);
        made_header(&now, IN_ALL);
        made_header(&then, IN_ALL);
        for (unsigned pcr = 8; pcr <= 9; pcr++) {
                made_said(&now, pcr, EV_IPL, "(hd0)/initrd", "old");
                made_said(&now, pcr, EV_IPL, "(hd0)/grub.cfg", "x");
                made_said(&now, pcr, EV_IPL, "(hd0)/initrd", "old");
                made_said(&then, pcr, EV_IPL, "", pcr == 9 ? "new" : "old");
                made_said(&then, pcr, EV_IPL, "", "x");
                made_said(&then, pcr, EV_IPL, "", pcr == 9 ? "new" : "old");
        }
        made_said(&now, 9, EV_NO_ACTION, "not measured", "old");
        start(1u << 8 | 1u << 9, &p);
        before = p;
        assert_unknown(predict_digest(&p, 9, new, old, &why), &p, &before, "PCR 9");
        assert_int_equal(predict_digest(&p, 4, new, old, &why), PREDICT_OK);
        assert_predicted(&p, false);
        assert_int_equal(predict_digest(&p, 9, old, new, &why), PREDICT_OK);
        assert_predicted(&p, true);
}

static void test_changes_are_bounded(void **state) {
        uint8_t old[PCR_SIZE_MAX], new[PCR_SIZE_MAX];
        struct prediction p, before;

        (void) state;
        digest_of("old", old);
        digest_of("new", new);
        made_header(&now, IN_ALL);
        for (unsigned i = 0; i < PREDICT_CHANGES_MAX; i++)
                made_said(&now, 9, EV_IPL, "", "old");
        start(MASK, &p);
        assert_int_equal(predict_digest(&p, 9, old, new, &why), PREDICT_OK);
        assert_int_equal(predict_digest(&p, 9, old, new, &why), PREDICT_OK);
        made_said(&now, 9, EV_IPL, "", "old");
        start(MASK, &p);
        before = p;
        assert_unknown(predict_digest(&p, 9, old, new, &why), &p, &before, "more than 32");
}

/* --- boot applications --- */

static void test_an_application_is_replaced(void **state) {
        static const struct boot a = { "loader", "uki", NULL, "kernel" },
                                 first = { "new", "uki", NULL, "kernel" },
                                 last = { "new", "uki", NULL, "new" };
        uint8_t new[PCR_SIZE_MAX];
        struct prediction p, before;

        (void) state;
        digest_of("new", new);
        boot(&now, &a);
        start(MASK, &p);
        assert_int_equal(predict_applications(&p), 3);
        before = p;
        assert_unknown(predict_application(&p, 3, new, &why), &p, &before, "no number 3");
        assert_int_equal(predict_application(&p, 0, new, &why), PREDICT_OK);
        boot(&then, &first);
        assert_predicted(&p, true);
        assert_int_equal(predict_application(&p, PREDICT_LAST, new, &why), PREDICT_OK);
        assert_predicted(&p, false);
        boot(&then, &last);
        assert_predicted(&p, true);

        start(1u << 7, &p);
        assert_int_equal(predict_application(&p, 99, new, &why), PREDICT_OK);
        assert_int_equal(p.changes, 0);
}

static void test_without_applications_nothing_is_known(void **state) {
        static const struct boot none = { .loader = NULL };
        struct prediction p, before;
        uint8_t new[PCR_SIZE_MAX];

        (void) state;
        digest_of("new", new);
        boot(&now, &none);
        made_said(&now, 2, EV_EFI_BOOT_SERVICES_APPLICATION, "an option ROM's", NULL);
        start(MASK, &p);
        assert_int_equal(predict_applications(&p), 0);
        before = p;
        assert_unknown(predict_application(&p, 0, new, &why), &p, &before, "no boot application");
        assert_unknown(predict_application(&p, PREDICT_LAST, new, &why), &p, &before,
                       "no boot application");
        assert_unknown(predict_uki(&p, new, new, &why), &p, &before, "no boot application");
        image(&now, NULL, "a kernel of no UKI");
        start(MASK, &p);
        before = p;
        assert_unknown(predict_uki(&p, new, new, &why), &p, &before, "no boot application");
        start(1u << 7, &p);
        assert_int_equal(predict_uki(&p, new, new, &why), PREDICT_OK);
}

static void test_a_uki_takes_the_place_of_what_was_booted(void **state) {
        static const struct {
                struct boot now, with_kernel, without;
        } cases[] = {
                /* The firmware starts a UKI. */
                { { NULL, "u", NULL, "k" }, { NULL, "U", NULL, "K" }, { NULL, "U", NULL, NULL } },
                { { NULL, "u", NULL, NULL }, { NULL, "U", NULL, "K" }, { NULL, "U", NULL, NULL } },
                /* A boot loader starts one; or, without that, it's a kernel that the loader is. */
                { { "l", "u", NULL, "k" }, { "l", "U", NULL, "K" }, { "l", "U", NULL, NULL } },
                { { "l", NULL, NULL, NULL }, { "U", NULL, NULL, "K" }, { "U", NULL, NULL, NULL } },
                /* Addons stand between it and its kernel. */
                { { "l", "u", "a", "k" }, { "l", "U", "a", "K" }, { "l", "U", "a", NULL } },
        };
        uint8_t uki[PCR_SIZE_MAX], kernel[PCR_SIZE_MAX], other[PCR_SIZE_MAX];

        (void) state;
        digest_of("U", uki);
        digest_of("K", kernel);
        digest_of("other", other);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct prediction p;

                boot(&now, &cases[i].now);
                start(MASK, &p);
                assert_int_equal(predict_uki(&p, other, other, &why), PREDICT_OK);
                assert_int_equal(predict_uki(&p, uki, kernel, &why), PREDICT_OK);
                boot(&then, &cases[i].with_kernel);
                assert_predicted(&p, true);
                assert_int_equal(predict_uki(&p, uki, NULL, &why), PREDICT_OK);
                assert_predicted(&p, false);
                boot(&then, &cases[i].without);
                assert_predicted(&p, true);

                start(MASK, &p);
                assert_int_equal(predict_uki(&p, uki, NULL, &why), PREDICT_OK);
                assert_predicted(&p, true);
        }
}

static void test_two_kernels_of_one_uki_are_no_boot_that_is_known(void **state) {
        static const struct boot a = { NULL, "uki", NULL, "kernel" };
        struct prediction p, before;
        uint8_t new[PCR_SIZE_MAX];

        (void) state;
        digest_of("new", new);
        boot(&now, &a);
        image(&now, NULL, "kernel");
        start(MASK, &p);
        before = p;
        assert_unknown(predict_uki(&p, new, new, &why), &p, &before, "two kernels");
        /* A UKI that failed, and the next one. */
        image(&now, "\\EFI\\Linux\\b.efi", "uki");
        image(&now, NULL, "kernel");
        start(MASK, &p);
        before = p;
        assert_unknown(predict_uki(&p, new, new, &why), &p, &before, "two kernels");
        boot(&now, &a);
        image(&now, "\\EFI\\Linux\\b.efi", "uki");
        image(&now, NULL, "kernel");
        start(MASK, &p);
        assert_int_equal(predict_uki(&p, new, new, &why), PREDICT_OK);
}

/* --- variables --- */

static int change(struct prediction *p, const char *name, bool authority, const char *value) {
        const struct predict_variable v = { (const uint8_t *) SECURITY_GUID, name, authority, value,
                                            value ? strlen(value) : 0 };
        struct error err = { 0 };

        return predict_variable(p, &v, &why, &err);
}

/* Secure Boot with a db, of which one entry was used. */
static void keys(struct made *m, const char *db, const char *entry) {
        made_header(m, IN_ALL);
        variable(m, EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot", "\x01");
        variable(m, EV_EFI_VARIABLE_DRIVER_CONFIG, "db", db);
        variable(m, EV_EFI_VARIABLE_DRIVER_CONFIG, "dbx", "bad");
        made_said(m, 7, EV_SEPARATOR, "", NULL);
        if (entry)
                variable(m, EV_EFI_VARIABLE_AUTHORITY, "db", entry);
}

static void test_a_variable_gets_another_value(void **state) {
        static const struct predict_variable other_guid = { (const uint8_t *) GLOBAL_GUID, "db",
                                                            false, "x", 1 };
        struct prediction p, before;
        struct error err = { 0 };

        (void) state;
        keys(&now, "one two", "two");
        keys(&then, "one two three", "two");
        start(MASK, &p);
        before = p;
        assert_unknown(change(&p, "dbt", false, "x"), &p, &before, "no measurement of dbt");
        assert_unknown(predict_variable(&p, &other_guid, &why, &err), &p, &before, "of db");
        assert_int_equal(change(&p, "db", false, "one two three"), PREDICT_OK);
        assert_predicted(&p, true);
        assert_int_equal(change(&p, "db", false, "two"), PREDICT_OK);
        assert_predicted(&p, false);
        keys(&then, "two", "two");
        assert_predicted(&p, true);

        start(1u << 4, &p);
        assert_int_equal(change(&p, "db", false, "x"), PREDICT_OK);
        assert_int_equal(p.changes, 0);
}

static void test_a_db_keeps_what_was_used(void **state) {
        static const struct predict_variable of_others = { (const uint8_t *) GLOBAL_GUID, "db",
                                                           false, NULL, 0 };
        struct prediction p, before;
        struct error err = { 0 };

        (void) state;
        keys(&now, "one two", "two");
        start(MASK, &p);
        before = p;
        assert_unknown(change(&p, "db", false, "one"), &p, &before, "lacks the entry");
        assert_unknown(change(&p, "db", false, NULL), &p, &before, "lacks the entry");
        /* Another variable may be empty, one of the same name too, and a db of which nothing was
         * used.
         */
        made_variable(&content, GLOBAL_GUID, "db", "x", 1);
        made_event(&now, 7, EV_EFI_VARIABLE_DRIVER_CONFIG, content.data, content.size, NULL);
        start(MASK, &p);
        assert_int_equal(predict_variable(&p, &of_others, &why, &err), PREDICT_OK);
        assert_int_equal(change(&p, "dbx", false, NULL), PREDICT_OK);
        keys(&now, "one two", NULL);
        start(MASK, &p);
        assert_int_equal(change(&p, "db", false, NULL), PREDICT_OK);
        keys(&then, "", NULL);
        assert_predicted(&p, true);
}

static void test_an_authority_gets_another_entry(void **state) {
        struct prediction p, before;

        (void) state;
        keys(&now, "one two", "two");
        keys(&then, "one two", "one");
        start(MASK, &p);
        assert_int_equal(change(&p, "db", true, "one"), PREDICT_OK);
        assert_predicted(&p, true);

        variable(&now, EV_EFI_VARIABLE_AUTHORITY, "db", "one");
        start(MASK, &p);
        before = p;
        assert_unknown(change(&p, "db", true, "one"), &p, &before, "several values");
        keys(&now, "one two", NULL);
        start(MASK, &p);
        before = p;
        assert_unknown(change(&p, "db", true, "one"), &p, &before, "no measurement of db");
}

static void test_secure_boot_is_not_switched(void **state) {
        struct prediction p, before;

        (void) state;
        keys(&now, "one", NULL);
        keys(&then, "one", NULL);
        start(MASK, &p);
        before = p;
        assert_unknown(change(&p, "SecureBoot", false, "\x02"), &p, &before, "switched");
        assert_unknown(change(&p, "SecureBoot", false, NULL), &p, &before, "switched");
        assert_int_equal(change(&p, "SecureBoot", false, "\x01"), PREDICT_OK);
        assert_predicted(&p, true);
}

static void test_a_variable_that_was_measured_often(void **state) {
        struct prediction p, before;

        (void) state;
        keys(&now, "one", NULL);
        variable(&now, EV_EFI_VARIABLE_DRIVER_CONFIG, "db", "one");
        keys(&then, "two", NULL);
        variable(&then, EV_EFI_VARIABLE_DRIVER_CONFIG, "db", "two");
        start(MASK, &p);
        assert_int_equal(change(&p, "db", false, "two"), PREDICT_OK);
        assert_predicted(&p, true);
        variable(&now, EV_EFI_VARIABLE_DRIVER_CONFIG, "db", "two");
        start(MASK, &p);
        before = p;
        assert_unknown(change(&p, "db", false, "two"), &p, &before, "several values");
}

static void test_a_variable_whose_event_lies(void **state) {
        struct prediction p, before;

        (void) state;
        made_header(&now, IN_ALL);
        made_variable(&content, SECURITY_GUID, "db", "a", 1);
        made_event(&now, 7, EV_EFI_VARIABLE_DRIVER_CONFIG, content.data, content.size, "x");
        start(MASK, &p);
        before = p;
        assert_unknown(change(&p, "db", false, "b"), &p, &before, "isn't what was measured");
}

static void test_boot_options_are_measured_in_two_forms(void **state) {
        const struct predict_variable v = { (const uint8_t *) GLOBAL_GUID, "BootOrder", false,
                                            "xyz", 3 };

        (void) state;
        for (unsigned whole = 0; whole < 2; whole++) {
                struct error err = { 0 };
                struct prediction p;

                made_header(&now, IN_ALL);
                made_variable(&content, GLOBAL_GUID, "BootOrder", "ab", 2);
                made_event(&now, 1, EV_EFI_VARIABLE_BOOT, content.data, content.size,
                           whole ? NULL : "ab");
                made_header(&then, IN_ALL);
                made_variable(&content, GLOBAL_GUID, "BootOrder", "xyz", 3);
                made_event(&then, 1, EV_EFI_VARIABLE_BOOT, content.data, content.size,
                           whole ? NULL : "xyz");
                start(1u << 1, &p);
                assert_int_equal(predict_variable(&p, &v, &why, &err), PREDICT_OK);
                assert_predicted(&p, true);
                start(1u << 7, &p);
                assert_int_equal(predict_variable(&p, &v, &why, &err), PREDICT_OK);
                assert_int_equal(p.changes, 0);
        }
}

/* --- command line, initrd --- */

/* GRUB's kernel and grub.cfg change together, and nobody says to what. */
static void test_files_that_the_loader_measured(void **state) {
        struct eventlog log;
        struct prediction p;

        (void) state;
        for (unsigned pcr = 8; pcr <= 9; pcr++) {
                made_header(&now, IN_ALL);
                made_said(&now, pcr, EV_IPL, "(hd0)/grub.cfg", "x");
                made_parse(&now, &log);
                for (unsigned mask = 1u << 4; mask <= 1u << 9; mask <<= 5) {
                        assert_int_equal(predict_start(&log, PCR_SHA256, mask, &p, &why),
                                         PREDICT_OK);
                        assert_int_equal(predict_loader_files(&p, &why), pcr == 9 && mask == 1u << 9
                                                                                 ? PREDICT_UNKNOWN
                                                                                 : PREDICT_OK);
                }
        }
        assert_non_null(strstr(why.text, "event 1"));
}

static int cmdline(struct prediction *p, const char *old, const char *new) {
        struct error err = { 0 };

        return predict_cmdline(p, old, new, &why, &err);
}

/* An event of the loader or the kernel about the command line. */
static void options(struct made *m, unsigned pcr, const char *text, unsigned nuls) {
        static struct made wide;

        wide.size = 0;
        made_wide(&wide, text, nuls);
        if (pcr == 12) {
                made_event(m, 12, EV_IPL, wide.data, wide.size, NULL);
                return;
        }
        /* The digest of one thing, the text of another. */
        made_event(m, 9, EV_EVENT_TAG, wide.data, wide.size, NULL);
        m->size -= wide.size + 4;
        made_tag(&content, EVENT_TAG_LOAD_OPTIONS, "LOADED_IMAGE::LoadOptions");
        made_number(m, content.size, 4);
        made_bytes(m, content.data, content.size);
}

static void test_a_command_line_is_replaced(void **state) {
        const uint32_t mask = MASK | 1u << 12;

        (void) state;
        for (unsigned nuls = 0; nuls < 2; nuls++)
                for (unsigned twelve = 0; twelve < 2; twelve++) {
                        struct prediction p, before;

                        made_header(&now, IN_ALL);
                        made_header(&then, IN_ALL);
                        options(&now, 9, "root=a quiet", nuls);
                        options(&then, 9, "root=b", nuls);
                        tag(&now, EVENT_TAG_INITRD, "initrd");
                        tag(&then, EVENT_TAG_INITRD, "initrd");
                        if (twelve) {
                                options(&now, 12, "root=a quiet", nuls);
                                options(&then, 12, "root=b", nuls);
                        }
                        start(mask, &p);
                        before = p;
                        assert_unknown(cmdline(&p, "root=a", "root=b"), &p, &before, "another");
                        assert_int_equal(cmdline(&p, "root=c", "root=c"), PREDICT_OK);
                        assert_predicted(&p, false);
                        assert_int_equal(cmdline(&p, "root=a quiet", "root=b"), PREDICT_OK);
                        assert_predicted(&p, true);
                }
}

static void test_a_command_line_that_is_not_known(void **state) {
        char much[PREDICT_CMDLINE_MAX + 2];
        struct prediction p, before;

        (void) state;
        made_header(&now, IN_ALL);
        options(&now, 9, "a", 1);
        start(MASK, &p);
        before = p;
        assert_unknown(cmdline(&p, "a", "\xc3\xa4"), &p, &before, "isn't ASCII");
        assert_unknown(cmdline(&p, "\xc3\xa4", "a"), &p, &before, "isn't ASCII");
        memset(much, 'x', sizeof(much) - 1);
        much[sizeof(much) - 1] = '\0';
        assert_unknown(cmdline(&p, "a", much), &p, &before, "4096");
        much[sizeof(much) - 2] = '\0';
        assert_int_equal(cmdline(&p, "a", much), PREDICT_OK);

        /* systemd-boot measured something, and not this. */
        options(&now, 12, "another", 1);
        start(MASK | 1u << 12, &p);
        before = p;
        assert_unknown(cmdline(&p, "a", "b"), &p, &before, "PCR 12");
        start(MASK, &p);
        assert_int_equal(cmdline(&p, "a", "b"), PREDICT_OK);

        /* GRUB measures into PCR 8. */
        made_said(&now, 8, EV_IPL, "grub_cmd: linux /vmlinuz a", NULL);
        start(MASK | 1u << 8, &p);
        before = p;
        assert_unknown(cmdline(&p, "a", "b"), &p, &before, "PCR 8");
        start(MASK, &p);
        assert_int_equal(cmdline(&p, "a", "b"), PREDICT_OK);

        /* A kernel that doesn't measure. */
        made_header(&now, IN_ALL);
        tag(&now, EVENT_TAG_INITRD, "initrd");
        start(MASK, &p);
        before = p;
        assert_unknown(cmdline(&p, "a", "b"), &p, &before, "didn't measure its command line");
        start(1u << 7, &p);
        assert_int_equal(cmdline(&p, "a", "b"), PREDICT_OK);
        start(1u << 12, &p);
        assert_int_equal(cmdline(&p, "a", "b"), PREDICT_OK);
        assert_int_equal(p.changes, 0);
}

static void test_an_initrd_is_replaced(void **state) {
        uint8_t old[PCR_SIZE_MAX], new[PCR_SIZE_MAX];
        struct prediction p, before;

        (void) state;
        digest_of("old", old);
        digest_of("new", new);
        for (unsigned i = 0; i < 2; i++) {
                struct made *m = i == 0 ? &now : &then;

                made_header(m, IN_ALL);
                made_said(m, 9, EV_IPL, "(hd0)/initrd", i == 0 ? "old" : "new"); /* GRUB's */
                options(m, 9, "a", 1);
                tag(m, EVENT_TAG_INITRD, i == 0 ? "old" : "new");
        }
        start(MASK, &p);
        before = p;
        assert_unknown(predict_initrd(&p, new, old, &why), &p, &before, "another initrd");
        assert_int_equal(predict_initrd(&p, old, new, &why), PREDICT_OK);
        assert_predicted(&p, true);
        start(1u << 4, &p);
        assert_int_equal(predict_initrd(&p, old, new, &why), PREDICT_OK);
        assert_int_equal(p.changes, 0);

        made_header(&now, IN_ALL);
        made_said(&now, 9, EV_IPL, "(hd0)/initrd", "old");
        start(MASK, &p);
        before = p;
        assert_unknown(predict_initrd(&p, old, new, &why), &p, &before,
                       "didn't measure its initrd");
}

/* --- real boots: from the one the other is predicted --- */

static void nth_digest(const struct eventlog *log, uint32_t pcr, uint32_t type, unsigned n,
                       uint8_t ret[PCR_SIZE_MAX]) {
        for (struct event e = { 0 }; eventlog_next(log, &e);)
                if (e.pcr == pcr && e.type == type && n-- == 0) {
                        memcpy(ret, e.digest[BANK], pcr_size(BANK));
                        return;
                }
        fail_msg("there is no such event");
}

#define OF_KERNEL "initrd=\\initrd console=ttyS0 quiet panic=-1 root=none"
#define OF_UKI "console=ttyS0 quiet panic=-1"

/* systemd-boot started the same kernel that is in the UKI. */
static void test_a_recorded_boot_is_predicted_from_the_other(void **state) {
        uint8_t loader[PCR_SIZE_MAX], kernel[PCR_SIZE_MAX], uki[PCR_SIZE_MAX], a[PCR_SIZE_MAX],
                b[PCR_SIZE_MAX];
        struct prediction p, before;
        struct error err = { 0 };
        struct pcrs next, want;

        (void) state;
        recorded_log("eventlog-kernel", &now, &now_log);
        recorded_log("eventlog-uki", &then, &then_log);
        recorded_pcrs("eventlog-uki", BANK, &want);
        nth_digest(&now_log, 4, EV_EFI_BOOT_SERVICES_APPLICATION, 0, loader);
        nth_digest(&now_log, 4, EV_EFI_BOOT_SERVICES_APPLICATION, 1, kernel);
        nth_digest(&then_log, 4, EV_EFI_BOOT_SERVICES_APPLICATION, 0, uki);
        nth_digest(&now_log, 9, EV_EVENT_TAG, 1, a);
        nth_digest(&then_log, 9, EV_EVENT_TAG, 1, b);

        start(MASK, &p);
        before = p;
        assert_unknown(cmdline(&p, OF_UKI, OF_KERNEL), &p, &before, "another command line");
        assert_int_equal(predict_application(&p, 0, uki, &why), PREDICT_OK);
        assert_int_equal(cmdline(&p, OF_KERNEL, OF_UKI), PREDICT_OK);
        assert_int_equal(predict_initrd(&p, a, b, &why), PREDICT_OK);
        assert_int_equal(predict_result(&p, &next, &err), 0);
        for (unsigned pcr = 4; pcr <= 9; pcr++)
                if (MASK & (1u << pcr))
                        assert_memory_equal(next.value[pcr], want.value[pcr], pcr_size(BANK));

        /* And back: the loader in the UKI's place. */
        made_parse(&then, &now_log);
        recorded_pcrs("eventlog-kernel", BANK, &want);
        assert_int_equal(predict_start(&now_log, BANK, MASK, &p, &why), PREDICT_OK);
        assert_int_equal(predict_uki(&p, loader, kernel, &why), PREDICT_OK);
        assert_int_equal(cmdline(&p, OF_UKI, OF_KERNEL), PREDICT_OK);
        assert_int_equal(predict_initrd(&p, b, a, &why), PREDICT_OK);
        assert_int_equal(predict_result(&p, &next, &err), 0);
        for (unsigned pcr = 4; pcr <= 9; pcr++)
                if (MASK & (1u << pcr))
                        assert_memory_equal(next.value[pcr], want.value[pcr], pcr_size(BANK));
}

static void test_a_recorded_command_line_in_pcr_12(void **state) {
        uint8_t value[2 * PCR_SIZE_MAX] = { 0 };
        struct error err = { 0 };
        struct prediction p;
        struct pcrs next;

        (void) state;
        recorded_log("eventlog-kernel", &now, &now_log);
        start(1u << 12, &p);
        assert_int_equal(cmdline(&p, OF_KERNEL, "other"), PREDICT_OK);
        assert_int_equal(predict_result(&p, &next, &err), 0);
        content.size = 0;
        made_wide(&content, "other", 1);
        made_digest(BANK, content.data, content.size, value + pcr_size(BANK));
        made_digest(BANK, value, 2 * pcr_size(BANK), value);
        assert_memory_equal(next.value[12], value, pcr_size(BANK));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_without_changes_it_stays),
                cmocka_unit_test(test_a_bank_that_the_log_lacks),
                cmocka_unit_test(test_a_value_is_taken_as_it_is),
                cmocka_unit_test(test_a_digest_is_replaced_wherever_it_is),
                cmocka_unit_test(test_changes_are_bounded),
                cmocka_unit_test(test_an_application_is_replaced),
                cmocka_unit_test(test_without_applications_nothing_is_known),
                cmocka_unit_test(test_a_uki_takes_the_place_of_what_was_booted),
                cmocka_unit_test(test_two_kernels_of_one_uki_are_no_boot_that_is_known),
                cmocka_unit_test(test_a_variable_gets_another_value),
                cmocka_unit_test(test_a_db_keeps_what_was_used),
                cmocka_unit_test(test_an_authority_gets_another_entry),
                cmocka_unit_test(test_secure_boot_is_not_switched),
                cmocka_unit_test(test_a_variable_that_was_measured_often),
                cmocka_unit_test(test_a_variable_whose_event_lies),
                cmocka_unit_test(test_boot_options_are_measured_in_two_forms),
                cmocka_unit_test(test_a_command_line_is_replaced),
                cmocka_unit_test(test_a_command_line_that_is_not_known),
                cmocka_unit_test(test_an_initrd_is_replaced),
                cmocka_unit_test(test_files_that_the_loader_measured),
                cmocka_unit_test(test_a_recorded_boot_is_predicted_from_the_other),
                cmocka_unit_test(test_a_recorded_command_line_in_pcr_12),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
