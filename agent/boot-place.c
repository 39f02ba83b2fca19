/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/timespan.h"
#include "base/clock.h"
#include "base/file.h"

#define LOOK_AGAIN_MS 100
#define TPM_DEVICE "/dev/tpmrm0"
#define UUID_TAG "UUID="

/* Of a LUKS2 header, or of FAT. */
static bool uuid_valid(const char *text) {
        return *text && strspn(text, "0123456789abcdefABCDEF-") == strlen(text) &&
               strlen(text) < 40;
}

/* Return: false once @timeout seconds since @begun are over. */
static bool wait_a_little(int64_t begun, uint64_t timeout) {
        const struct timespec t = { .tv_nsec = LOOK_AGAIN_MS * 1000000L };

        if (timeout != TIMESPAN_INFINITY && (uint64_t) (clock_ms() - begun) / 1000 >= timeout)
                return false;
        (void) nanosleep(&t, NULL);
        return true;
}

/* The UUID that is meant; empty where it's a path. */
static int resolve(const struct context *c, const char *disk, char ret_uuid[40],
                   struct refusal *why, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        const struct state_disk *found = NULL;
        int r;

        ret_uuid[0] = '\0';
        if (strncmp(disk, UUID_TAG, strlen(UUID_TAG)) == 0) {
                if (!uuid_valid(disk + strlen(UUID_TAG)))
                        return refusal_set(why, REFUSAL_UNKNOWN_DISK,
                                           "'%.60s' isn't the UUID of a disk",
                                           disk + strlen(UUID_TAG));
                (void) snprintf(ret_uuid, 40, "%s", disk + strlen(UUID_TAG));
                return OUTCOME_DONE;
        }
        if (disk[0] == '/')
                return OUTCOME_DONE;
        r = state_read(c->state_dir, &s, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < s.count; i++) {
                if (disk[0] ? strcmp(s.disks[i].name, disk) != 0
                            : strcmp(s.disks[i].role, ROLE_OS) != 0)
                        continue;
                if (found)
                        return refusal_set(why, REFUSAL_UNKNOWN_DISK,
                                           "%s and %s are both known as OS disks: diskseal.disk= "
                                           "on the kernel command line says which",
                                           found->name, s.disks[i].name);
                found = &s.disks[i];
        }
        if (!found && !disk[0])
                return refusal_set(why, REFUSAL_UNKNOWN_DISK,
                                   "nothing says which disk is to be opened: not the kernel "
                                   "command line (diskseal.disk=), not agent.conf ([Boot] Disk=)");
        if (!found)
                return refusal_set(why, REFUSAL_UNKNOWN_DISK,
                                   "no disk named '%.60s' is known in this initrd", disk);
        (void) snprintf(ret_uuid, 40, "%s", found->uuid);
        return OUTCOME_DONE;
}

int boot_find_disk(const struct context *c, const char *disk, uint64_t timeout, char ret[256],
                   struct refusal *why, struct error *err) {
        int64_t begun = clock_ms();
        char uuid[40], path[256];
        int r = resolve(c, disk, uuid, why, err);

        if (r != OUTCOME_DONE)
                return r;
        (void) snprintf(path, sizeof(path), "%s", disk);
        do {
                struct stat st;

                r = uuid[0] ? luks_find(uuid, path, err) : stat(path, &st) == 0;
                if (r < 0)
                        return r;
                if (r > 0) {
                        (void) snprintf(ret, 256, "%s", path);
                        return OUTCOME_DONE;
                }
        } while (wait_a_little(begun, timeout));
        return error_set(err, -ENODEV, "no disk %s%.100s after %llu s", uuid[0] ? "with UUID " : "",
                         uuid[0] ? uuid : disk, (unsigned long long) timeout);
}

void boot_wait_tpm(const struct context *c, uint64_t timeout) {
        int64_t begun = clock_ms();

        while (!c->tcti[0] && access(TPM_DEVICE, F_OK) < 0 && wait_a_little(begun, timeout))
                ;
}

static void mirror_mount(const struct context *c, char ret[300]) {
        (void) snprintf(ret, 300, "%s/mirror", c->run_dir);
}

int boot_mount_mirror(const struct context *c, char ret[256]) {
        struct error ignored = { 0 };
        char uuid[40], device[256], at[300];
        const char *path = strchr(c->boot_mirror, '/');
        size_t n = path ? (size_t) (path - c->boot_mirror) : 0;

        /* agent.conf's reader saw to the prefix. */
        if (n <= strlen(UUID_TAG) || n - strlen(UUID_TAG) >= sizeof(uuid))
                return 0;
        (void) snprintf(uuid, sizeof(uuid), "%.*s", (int) (n - strlen(UUID_TAG)),
                        c->boot_mirror + strlen(UUID_TAG));
        mirror_mount(c, at);
        if (!uuid_valid(uuid) || luks_find(uuid, device, &ignored) <= 0 ||
            file_mkdir(at, 0700, &ignored) < 0 ||
            mount(device, at, "vfat", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
                return 0;
        return snprintf(ret, 256, "%s%s", at, path) < 256;
}

void boot_umount_mirror(const struct context *c) {
        char at[300];

        mirror_mount(c, at);
        (void) umount2(at, MNT_DETACH);
        (void) rmdir(at);
}
