/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>

#include <blkid/blkid.h>

#include "luks/internal.h"

static void probe_freep(blkid_probe *p) {
        if (*p)
                blkid_free_probe(*p);
        *p = NULL;
}

/* What the probe found last: "ext4 1.0", and without its version "ext4". */
struct name {
        char full[64], type[64];
};

static struct name name_of(blkid_probe p) {
        const char *type = NULL, *version = NULL;
        char full[64];
        struct name n;

        if (blkid_probe_lookup_value(p, "TYPE", &type, NULL) == 0)
                (void) blkid_probe_lookup_value(p, "VERSION", &version, NULL);
        else
                (void) blkid_probe_lookup_value(p, "PTTYPE", &type, NULL);
        (void) snprintf(full, sizeof(full), "%.40s%s%.16s", type ? type : "an unknown signature",
                        version ? " " : "", version ? version : "");
        text_safe(n.full, sizeof(n.full), full);
        text_safe(n.type, sizeof(n.type), type ? type : "");
        return n;
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
        (void) snprintf(ret, 64, "%s", name_of(p).full);
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

#define SIGNATURES_MAX 256 /* more is no disk but a trap */

static int prepare_wipe(blkid_probe p, int fd) {
        /* Where a backup of a GPT is all that's left, it's found as well. */
        if (blkid_probe_set_device(p, fd, 0, 0) != 0 || blkid_probe_enable_superblocks(p, 1) != 0 ||
            blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_VERSION |
                                                         BLKID_SUBLKS_MAGIC) != 0 ||
            blkid_probe_enable_partitions(p, 1) != 0 ||
            blkid_probe_set_partitions_flags(p, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT) != 0)
                return -EIO;
        return 0;
}

static bool is_listed(const char *const *types, const struct name *n) {
        for (; *types; types++)
                if (strcasecmp(*types, n->full) == 0 || strcasecmp(*types, n->type) == 0 ||
                    /* The MBR that protects a GPT belongs to it. */
                    (strcasecmp(*types, "gpt") == 0 && strcmp(n->type, "PMBR") == 0))
                        return true;
        return false;
}

/* Without its place nothing can be removed. */
static bool has_place(blkid_probe p) {
        return blkid_probe_has_value(p, "SBMAGIC_OFFSET") ||
               blkid_probe_has_value(p, "PTMAGIC_OFFSET");
}

static int look_at(blkid_probe p, const char *const *types, char ret_other[64], struct error *err) {
        struct name n = name_of(p);

        if (!is_listed(types, &n)) {
                (void) snprintf(ret_other, 64, "%s", n.full);
                return error_set(err, -EEXIST, "there is another signature: %s", n.full);
        }
        if (!has_place(p))
                return error_set(err, -EOPNOTSUPP, "nothing says where %s stands", n.full);
        return 0;
}

/* Goes through all signatures, those too that come to light once others are gone. @dry: they are
 * only hidden from the probe. */
static int wipe_all(int fd, bool dry, const char *const *types, char ret_other[64],
                    struct error *err) {
        _cleanup_(probe_freep) blkid_probe p = blkid_new_probe();
        int r;

        if (!p)
                return error_nomem(err);
        r = prepare_wipe(p, fd);
        if (r < 0)
                return error_set(err, r, "libblkid can't read the device");
        if (blkid_probe_get_size(p) <= 0)
                return 0;
        for (unsigned i = 0; i < SIGNATURES_MAX; i++) {
                r = blkid_do_probe(p);
                if (r == 1)
                        return 0;
                if (r != 0)
                        return error_set(err, -EIO, "libblkid failed");
                r = look_at(p, types, ret_other, err);
                if (r < 0)
                        return r;
                if (blkid_do_wipe(p, dry) != 0)
                        return error_set(err, -EIO, "libblkid can't remove %s", name_of(p).full);
        }
        return error_set(err, -ELOOP, "there are more than %d signatures", SIGNATURES_MAX);
}

static int wipe_fd(int fd, const char *const *types, char ret_other[64], struct error *err) {
        char left[64];
        int r;

        r = wipe_all(fd, true, types, ret_other, err);
        if (r == 0)
                r = wipe_all(fd, false, types, ret_other, err);
        if (r < 0)
                return r;
        if (fsync(fd) < 0)
                return error_errno(err, -errno, "make it durable");
        r = probe_fd(fd, true, left, err);
        if (r == 1)
                return error_set(err, -EIO, "afterwards there is still: %s", left);
        return r;
}

int luks_wipe_signatures(const char *device, const char *const *types, char ret_other[64],
                         struct error *err) {
        _cleanup_(device_close) struct device d = DEVICE_INIT;
        _cleanup_(close_fdp) int own = -1;
        char path[32];
        int r;

        r = device_open(device, O_RDWR, &d, err);
        if (r < 0)
                return r;
        /* Without O_DIRECT, as in probe_fd(); and a device that's in use stays as it is. */
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", d.fd);
        own = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | (d.block ? O_EXCL : 0));
        if (own < 0)
                return error_errno(err, -errno, "open %.100s alone", device);
        r = wipe_fd(own, types, ret_other, err);
        if (r < 0)
                return error_prefix(err, "remove the signatures of %.100s", device);
        /* The kernel forgets partitions that are no more. Where it can't, a reboot does it. */
        if (d.block)
                (void) ioctl(own, BLKRRPART);
        return 0;
}

int luks_find(const char *uuid, char ret[256], struct error *err) {
        _cleanup_(freep) char *device = blkid_evaluate_tag("UUID", uuid, NULL);

        if (!device)
                return 0;
        if ((size_t) snprintf(ret, 256, "%s", device) >= 256)
                return error_set(err, -ENAMETOOLONG, "UUID %.60s: its path is too long", uuid);
        return 1;
}

bool luks_uuid_of(const char *device, char ret[40]) {
        _cleanup_(freep) char *uuid = blkid_get_tag_value(NULL, "UUID", device);

        return uuid && (size_t) snprintf(ret, 40, "%s", uuid) < 40;
}
