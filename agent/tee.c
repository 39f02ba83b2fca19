/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/tee.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* --- what the system says --- */

static bool exists(const char *root, const char *path) {
        char whole[PATH_MAX];

        return snprintf(whole, sizeof(whole), "%s%s", root, path) < (int) sizeof(whole) &&
               access(whole, F_OK) == 0;
}

/* On x86 a flag of the processor that hypervisors set; else where they leave traces. */
static bool is_vm(const char *root) {
        _cleanup_(fclosep) FILE *f = NULL;
        char path[PATH_MAX], line[8192];

        if (exists(root, "/sys/hypervisor/type") || exists(root, "/sys/firmware/qemu_fw_cfg") ||
            exists(root, "/sys/bus/vmbus"))
                return true;
        if (snprintf(path, sizeof(path), "%s/proc/cpuinfo", root) >= (int) sizeof(path))
                return false;
        f = fopen(path, "re");
        while (f && fgets(line, sizeof(line), f))
                if (strncmp(line, "flags", 5) == 0)
                        return strstr(line, " hypervisor") != NULL;
        return false;
}

/* Drivers for guests of a TEE make these; a paravisor hides the TEE from the guest. */
static const char *guest_of(const char *root) {
        if (exists(root, "/sys/class/misc/sev-guest") ||
            exists(root, "/sys/devices/platform/sev-guest") || exists(root, "/dev/sev-guest"))
                return "SEV-SNP";
        if (exists(root, "/sys/class/misc/tdx_guest") || exists(root, "/dev/tdx_guest"))
                return "TDX";
        return "";
}

/* The number of the TPM: of "device:/dev/tpmrm0" and "device:/dev/tpm0"; -1 where it's neither. */
static int tpm_number(const char *tcti) {
        const char *name = strncmp(tcti, "device:/dev/tpm", 15) == 0 ? tcti + 15 : "";
        char *end;
        long n;

        if (strncmp(name, "rm", 2) == 0)
                name += 2;
        if (*name < '0' || *name > '9')
                return -1;
        n = strtol(name, &end, 10);
        return *end || n > 1000 ? -1 : (int) n;
}

static void driver_of(const char *root, int number, char *ret, size_t size) {
        char path[PATH_MAX], target[PATH_MAX];
        const char *name;
        ssize_t n;

        if (snprintf(path, sizeof(path), "%s/sys/class/tpm/tpm%d/device/driver", root, number) >=
            (int) sizeof(path))
                return;
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return;
        target[n] = '\0';
        name = strrchr(target, '/');
        (void) snprintf(ret, size, "%.*s", (int) size - 1, name ? name + 1 : target);
}

void tee_look(const char *root, const char *tcti, struct tee_facts *ret) {
        int number = tpm_number(tcti && *tcti ? tcti : "device:/dev/tpmrm0");

        *ret = (struct tee_facts){ .device = number >= 0, .vm = is_vm(root) };
        if (tcti && (strncmp(tcti, "swtpm", 5) == 0 || strncmp(tcti, "mssim", 5) == 0))
                ret->simulator = true;
        (void) snprintf(ret->guest, sizeof(ret->guest), "%s", guest_of(root));
        if (ret->device)
                driver_of(root, number, ret->driver, sizeof(ret->driver));
}

/* --- what follows --- */

const char *tee_place_word(enum tee_place place) {
        static const char *const words[] = { [TEE_UNKNOWN] = "unknown",
                                             [TEE_INSIDE] = "tee",
                                             [TEE_PARAVISOR] = "paravisor",
                                             [TEE_HOST] = "host" };

        return words[place];
}

static enum tee_place because(enum tee_place place, char ret_text[TEE_TEXT], const char *what,
                              const char *why) {
        (void) snprintf(ret_text, TEE_TEXT, "%s (%s)", what, why);
        return place;
}

/* Interfaces that a hypervisor emulates or passes through. */
static bool is_emulated(const char *driver) {
        static const char *const drivers[] = { "tpm_tis",     "tpm_crb",     "tpm_tis_spi",
                                               "tpm_tis_i2c", "tpm_ibmvtpm", "vtpm" };

        for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
                if (strcmp(driver, drivers[i]) == 0)
                        return true;
        return false;
}

enum tee_place tee_place(const struct tee_facts *f, char ret_text[TEE_TEXT]) {
        const char *host = "the host carries its traffic";
        char why[80];

        if (f->simulator)
                return because(TEE_HOST, ret_text, host, "a simulator behind a socket");
        if (!f->device)
                return because(TEE_UNKNOWN, ret_text, "unknown where it is", "not a device here");
        /* The kernel makes this device only where an SVSM answered it, in its own memory. */
        if (strcmp(f->driver, "tpm-svsm") == 0)
                return because(TEE_INSIDE, ret_text, "inside the TEE (SVSM)",
                               "as the kernel's driver says; not proven");
        /* Hyper-V's TPMs all call themselves so; those of its paravisor have a report besides. */
        if (strcmp(f->manufacturer, "MSFT") == 0 && f->hcl_report)
                return because(TEE_PARAVISOR, ret_text, "paravisor",
                               "as the manufacturer says; not proven");
        if (is_emulated(f->driver) && (f->vm || f->guest[0])) {
                (void) snprintf(why, sizeof(why), "driver %s, in a VM%s%s", f->driver,
                                f->guest[0] ? " under " : "", f->guest);
                return because(TEE_HOST, ret_text, host, why);
        }
        if (is_emulated(f->driver))
                return because(TEE_UNKNOWN, ret_text, "unknown who carries its traffic",
                               "no hypervisor is seen");
        (void) snprintf(why, sizeof(why), "%s%s", f->driver[0] ? "driver " : "no driver is seen",
                        f->driver);
        return because(TEE_UNKNOWN, ret_text, "unknown where it is", why);
}
