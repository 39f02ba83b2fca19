/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libcryptsetup.h>

#include "luks/internal.h"

#define DM_CONTROL "/dev/mapper/control"
#define NAME_MAX_SIZE 127 /* bytes, of a device-mapper name */

static void crypt_freep(struct crypt_device **cd) {
        crypt_free(*cd);
        *cd = NULL;
}

bool luks_have_dm(void) {
        _cleanup_(close_fdp) int fd = open(DM_CONTROL, O_RDWR | O_CLOEXEC | O_NONBLOCK);

        /* Where the kernel has no device-mapper the node may still be there: it opens with ENODEV,
         * or ENXIO. */
        return fd >= 0;
}

/* Names end in paths, command lines and the journal: letters that mean nothing to any of them. */
static bool name_valid(const char *name) {
        size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789_.-");

        return n > 0 && n <= NAME_MAX_SIZE && name[n] == '\0' && name[0] != '-' && name[0] != '.' &&
               strcmp(name, "control") != 0;
}

static int check(const char *name, struct error *err) {
        if (!name_valid(name))
                return error_set(err, -EINVAL,
                                 "the name of a mapping is 1 to %d of A-Z a-z 0-9 _ . -",
                                 NAME_MAX_SIZE);
        if (!luks_have_dm())
                return error_set(err, -ENODEV, "this kernel has no device-mapper");
        return 0;
}

int luks_activate(struct luks *l, const char *name, struct secret *volume_key, struct error *err) {
        struct lib *c;
        char path[32];
        int r;

        r = check(name, err);
        if (r == 0)
                r = luks_lib(l, err);
        if (r < 0)
                return error_prefix(err, "activate %.100s", l->facts.device);
        c = l->lib;
        c->said[0] = '\0';
        /* The disk that was checked, whatever its path leads to by now. */
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", l->at.data.fd);
        r = crypt_set_data_device(c->cd, path);
        if (r == 0)
                r = crypt_activate_by_volume_key(
                        c->cd, name, (const char *) secret_data(volume_key),
                        secret_size(volume_key), CRYPT_ACTIVATE_IGNORE_PERSISTENT);
        if (r < 0) {
                (void) lib_fault(c, r, "activate", err);
                return error_prefix(err, "%.100s as %s", l->facts.device, name);
        }
        return 0;
}

int luks_deactivate(const char *name, struct error *err) {
        _cleanup_(crypt_freep) struct crypt_device *cd = NULL;
        int r;

        r = check(name, err);
        if (r < 0)
                return error_prefix(err, "deactivate");
        if (!luks_is_active(name))
                return error_set(err, -ENOENT, "deactivate: %s isn't active", name);
        /* A context without a device: one by name would load the header from the disk again. */
        r = crypt_init(&cd, NULL);
        if (r == 0)
                r = crypt_deactivate_by_name(cd, name, 0);
        if (r < 0)
                return error_errno(err, r, "deactivate %s", name);
        return 0;
}

/* One line of /sys/block/@device/dm/@file. */
static bool read_dm(const char *device, const char *file, char ret[256]) {
        _cleanup_(close_fdp) int fd = -1;
        char path[320];
        ssize_t n;

        if (snprintf(path, sizeof(path), "/sys/block/%s/dm/%s", device, file) >= (int) sizeof(path))
                return false;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, ret, 255);
        if (n <= 0)
                return false;
        ret[n] = '\0';
        ret[strcspn(ret, "\n")] = '\0';
        return true;
}

/* libcryptsetup names what it opens "CRYPT-LUKS2-", the UUID without its dashes, "-", the name. */
static void dm_uuid(const char *name, const char *uuid, char ret[256]) {
        char bare[40];
        size_t n = 0;

        for (; *uuid && n < sizeof(bare) - 1; uuid++)
                if (*uuid != '-')
                        bare[n++] = *uuid;
        bare[n] = '\0';
        (void) snprintf(ret, 256, "CRYPT-LUKS2-%s-%s", bare, name);
}

bool luks_is_active_of(const char *name, const char *uuid) {
        _cleanup_(closedirp) DIR *dir = NULL;
        char want[256], found[256];
        const struct dirent *d;

        if (!luks_is_active(name))
                return false;
        dm_uuid(name, uuid, want);
        dir = opendir("/sys/block");
        while (dir && (d = readdir(dir)))
                if (read_dm(d->d_name, "name", found) && strcmp(found, name) == 0)
                        return read_dm(d->d_name, "uuid", found) && strcmp(found, want) == 0;
        return false;
}

bool luks_is_active(const char *name) {
        crypt_status_info status;

        if (!name_valid(name) || !luks_have_dm())
                return false;
        status = crypt_status(NULL, name);
        return status == CRYPT_ACTIVE || status == CRYPT_BUSY;
}
