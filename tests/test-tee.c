/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/test.h"

#include <stdio.h>

#include "agent/tee.h"
#include "base/cleanup.h"

/* Systems, as folders with what each would show. */
struct tree {
        char root[32];
};

static int tree_new(void **state) {
        struct tree *t = calloc(1, sizeof(*t));

        *state = t;
        (void) strcpy(t->root, "/tmp/tee-XXXXXX");
        return mkdtemp(t->root) ? 0 : -1;
}

static int tree_done(void **state) {
        struct tree *t = *state;
        char command[64];

        (void) snprintf(command, sizeof(command), "rm -rf %s", t->root);
        assert_int_equal(system(command), 0);
        free(t);
        return 0;
}

/* Builds one anew: shell commands in its root. */
static void build(const struct tree *t, const char *commands) {
        char line[512];

        (void) snprintf(line, sizeof(line),
                        "cd %s && rm -rf * && mkdir -p sys/class/tpm/tpm0/device proc && { %s; }",
                        t->root, commands);
        assert_int_equal(system(line), 0);
}

#define DRIVER(name) "ln -s ../../../bus/any/drivers/" name " sys/class/tpm/tpm0/device/driver"
#define VM "printf 'processor : 0\\nflags : fpu hypervisor lahf\\n' >proc/cpuinfo"
#define BOARD "printf 'processor : 0\\nflags : fpu lahf\\n' >proc/cpuinfo"
#define SNP "mkdir -p sys/class/misc/sev-guest"
#define TDX "mkdir -p sys/class/misc/tdx_guest"

struct expected {
        const char *build, *tcti, *manufacturer;
        bool hcl_report;
        enum tee_place place;
        const char *words;
};

static void test_places(void **state) {
        static const struct expected all[] = {
                { DRIVER("tpm-svsm") " && " VM " && " SNP, NULL, "IBM", false, TEE_INSIDE,
                  "not proven" },
                { DRIVER("tpm-svsm"), "device:/dev/tpm0", "MSFT", true, TEE_INSIDE, "SVSM" },
                /* The TPM says so itself, the driver doesn't: that's the kernel's to say. */
                { DRIVER("tpm_crb") " && " VM, NULL, "SVSM", false, TEE_HOST, "host carries" },
                { DRIVER("tpm_crb") " && " VM, NULL, "MSFT", true, TEE_PARAVISOR,
                  "manufacturer says; not proven" },
                { DRIVER("tpm_crb") " && " VM, NULL, "MSFT", false, TEE_HOST, "host carries" },
                { DRIVER("tpm_crb") " && " VM, NULL, "IBM", true, TEE_HOST, "host carries" },
                { DRIVER("tpm_tis") " && " VM, "", "IBM", false, TEE_HOST, "driver tpm_tis, in" },
                { DRIVER("tpm_tis") " && " VM " && " SNP, NULL, "IBM", false, TEE_HOST, "SEV-SNP" },
                { DRIVER("tpm_crb") " && " TDX, NULL, "IBM", false, TEE_HOST, "TDX" },
                { DRIVER("tpm_tis") " && mkdir -p sys/firmware/qemu_fw_cfg", NULL, "IBM", false,
                  TEE_HOST, "host" },
                { DRIVER("tpm_tis") " && " BOARD, NULL, "IFX", false, TEE_UNKNOWN,
                  "no hypervisor" },
                { DRIVER("tpm_vtpm_proxy") " && " VM, NULL, "IBM", false, TEE_UNKNOWN,
                  "driver tpm_vtpm_proxy" },
                { VM, NULL, "IBM", false, TEE_UNKNOWN, "no driver" },
                { DRIVER("tpm-svsm"), "device:/dev/tpmrm1", "IBM", false, TEE_UNKNOWN,
                  "no driver" },
                { DRIVER("tpm-svsm"), "swtpm:path=/run/tpm", "IBM", false, TEE_HOST, "simulator" },
                { DRIVER("tpm-svsm"), "mssim:host=localhost", "MSFT", true, TEE_HOST, "simulator" },
                { DRIVER("tpm-svsm"), "tabrmd", "IBM", false, TEE_UNKNOWN, "not a device" },
                { DRIVER("tpm-svsm"), "device:/dev/tpmrm0/../x", "IBM", false, TEE_UNKNOWN,
                  "not a device" },
        };
        const struct tree *t = *state;

        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                struct tee_facts f;
                char text[TEE_TEXT];

                build(t, all[i].build);
                tee_look(t->root, all[i].tcti, &f);
                (void) snprintf(f.manufacturer, sizeof(f.manufacturer), "%s", all[i].manufacturer);
                f.hcl_report = all[i].hcl_report;
                if (tee_place(&f, text) != all[i].place || !strstr(text, all[i].words))
                        fail_msg("system %zu: %s", i, text);
        }
}

static void test_guests(void **state) {
        const struct tree *t = *state;
        struct tee_facts f;

        build(t, SNP);
        tee_look(t->root, NULL, &f);
        assert_string_equal(f.guest, "SEV-SNP");
        build(t, TDX);
        tee_look(t->root, NULL, &f);
        assert_string_equal(f.guest, "TDX");
        build(t, VM);
        tee_look(t->root, NULL, &f);
        assert_string_equal(f.guest, "");
        assert_true(f.vm);
        build(t, BOARD);
        tee_look(t->root, NULL, &f);
        assert_false(f.vm);
        build(t, "rm -r sys proc");
        tee_look(t->root, NULL, &f);
        assert_false(f.vm || f.guest[0] || f.driver[0]);
}

/* Whatever a driver is called, nothing is written beyond its place. */
static void test_long_names(void **state) {
        const struct tree *t = *state;
        struct tee_facts f;
        char text[TEE_TEXT];

        build(t, "ln -s ../$(printf %0200d 7) sys/class/tpm/tpm0/device/driver");
        tee_look(t->root, NULL, &f);
        assert_int_equal(strlen(f.driver), sizeof(f.driver) - 1);
        assert_int_equal(tee_place(&f, text), TEE_UNKNOWN);
}

static void test_words(void **unused) {
        (void) unused;
        assert_string_equal(tee_place_word(TEE_INSIDE), "tee");
        assert_string_equal(tee_place_word(TEE_UNKNOWN), "unknown");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_guests),
                cmocka_unit_test(test_long_names),
                cmocka_unit_test(test_words),
        };

        return cmocka_run_group_tests(tests, tree_new, tree_done);
}
