/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include <blkid/blkid.h>

#include "luks/internal.h"

static void probe_freep(blkid_probe *p) {
        if (*p)
                blkid_free_probe(*p);
        *p = NULL;
}

static int prepare(blkid_probe p, int fd, bool luks) {
        static char crypto_luks[] = "crypto_LUKS";
        char *names[] = { crypto_luks, NULL };

        if (blkid_probe_set_device(p, fd, 0, 0) != 0 || blkid_probe_enable_superblocks(p, 1) != 0 ||
            blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_VERSION) != 0 ||
            blkid_probe_enable_partitions(p, 1) != 0)
                return -EIO;
        if (!luks && blkid_probe_filter_superblocks_type(p, BLKID_FLTR_NOTIN, names) != 0)
                return -EIO;
        return 0;
}

int probe_fd(int fd, bool luks, char ret[64], struct error *err) {
        _cleanup_(close_fdp) int own = -1;
        _cleanup_(probe_freep) blkid_probe p = blkid_new_probe();
        char path[32];
        const char *type = NULL, *version = NULL;
        char name[64];
        int r;

        if (!p)
                return error_nomem(err);
        /* libblkid reads without regard for the alignment that O_DIRECT asks for. */
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        own = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (own < 0)
                return error_errno(err, -errno, "look for signatures: open the device again");
        r = prepare(p, own, luks);
        if (r < 0)
                return error_set(err, r, "look for signatures: libblkid can't read the device");
        /* To libblkid an empty file is an error. */
        if (blkid_probe_get_size(p) <= 0)
                return 0;
        r = blkid_do_safeprobe(p);
        if (r == 1)
                return 0;
        if (r == -2) {
                (void) snprintf(ret, 64, "several signatures that exclude each other");
                return 1;
        }
        if (r != 0)
                return error_set(err, -EIO, "look for signatures: libblkid failed");
        if (blkid_probe_lookup_value(p, "TYPE", &type, NULL) == 0)
                (void) blkid_probe_lookup_value(p, "VERSION", &version, NULL);
        else
                (void) blkid_probe_lookup_value(p, "PTTYPE", &type, NULL);
        (void) snprintf(name, sizeof(name), "%.40s%s%.16s", type ? type : "an unknown signature",
                        version ? " " : "", version ? version : "");
        text_safe(ret, 64, name);
        return 1;
}

int luks_probe(const char *device, char ret[64], struct error *err) {
        _cleanup_(device_close) struct device d = DEVICE_INIT;
        int r;

        r = device_open(device, O_RDONLY, &d, err);
        if (r < 0)
                return r;
        return probe_fd(d.fd, true, ret, err);
}
