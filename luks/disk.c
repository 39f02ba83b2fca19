/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "luks/internal.h"

#define ALIGN 4096                  /* bytes: no sector is larger */
#define LOCKS_DIR "/run/cryptsetup" /* of libcryptsetup, as every distribution builds it */

static int identify(struct device *d, const char *path, struct error *err) {
        struct stat st;

        if (fstat(d->fd, &st) < 0)
                return error_errno(err, -errno, "look at %.100s", path);
        if (S_ISBLK(st.st_mode)) {
                if (ioctl(d->fd, BLKGETSIZE64, &d->size) < 0)
                        return error_errno(err, -errno, "size of %.100s", path);
                d->block = true;
                d->dev = st.st_rdev;
                return 0;
        }
        if (!S_ISREG(st.st_mode))
                return error_set(err, -ENOTBLK, "%.100s is no block device and no regular file",
                                 path);
        d->size = (uint64_t) st.st_size;
        d->dev = st.st_dev;
        d->inode = st.st_ino;
        return 0;
}

int device_open(const char *path, int flags, struct device *ret, struct error *err) {
        struct device d = DEVICE_INIT;
        int r;

        /* Without O_NONBLOCK a FIFO in the place of the disk would hold us for ever. */
        d.fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (d.fd < 0)
                return error_errno(err, -errno, "open %.100s%s", path,
                                   flags == O_RDWR ? " for writing" : "");
        r = identify(&d, path, err);
        if (r < 0) {
                device_close(&d);
                return r;
        }
        /* What we read is to be what's on the disk, not what the page cache hopes for. Where a file
         * system doesn't have that, its cache is all there is. */
        (void) fcntl(d.fd, F_SETFL, flags | O_DIRECT);
        *ret = d;
        return 0;
}

void device_close(struct device *d) {
        close_fdp(&d->fd);
}

bool device_same(const struct device *a, const struct device *b) {
        return a->block == b->block && a->dev == b->dev && a->inode == b->inode;
}

void *device_buffer(size_t size) {
        void *buf = aligned_alloc(ALIGN, size);

        return buf ? memset(buf, 0, size) : NULL;
}

int device_read(const struct device *d, uint64_t offset, void *buf, size_t size,
                struct error *err) {
        size_t done = 0;

        while (done < size) {
                ssize_t n = pread(d->fd, (char *) buf + done, size - done, (off_t) (offset + done));
                int flags;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EINVAL) {
                        /* Some devices take O_DIRECT when opened, and refuse when read. */
                        flags = fcntl(d->fd, F_GETFL);
                        if (flags >= 0 && flags & O_DIRECT &&
                            fcntl(d->fd, F_SETFL, flags & ~O_DIRECT) == 0)
                                continue;
                        errno = EINVAL;
                }
                if (n < 0)
                        return error_errno(err, -errno, "read %zu bytes at %" PRIu64, size, offset);
                if (n == 0)
                        return error_set(err, -ENODATA,
                                         "read %zu bytes at %" PRIu64 ": the device ends before",
                                         size, offset);
                done += (size_t) n;
        }
        return 0;
}

/* The protocol of lib/utils_device_locking.c: a regular file is locked itself, a block device by a
 * file that's named after its number and removed by whoever is last. */

static void lock_name(const struct device *d, char ret[32]) {
        (void) snprintf(ret, 32, "L_%u:%u", major(d->dev), minor(d->dev));
}

static int flock_wait(int fd, int how) {
        while (flock(fd, how) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

static int locks_dir(int *ret, struct error *err) {
        int fd;

        /* Many an initrd doesn't have the folder yet. */
        if (mkdir(LOCKS_DIR, 0700) < 0 && errno != EEXIST)
                return error_errno(err, -errno, "make %s", LOCKS_DIR);
        fd = open(LOCKS_DIR, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(err, -errno, "open %s", LOCKS_DIR);
        *ret = fd;
        return 0;
}

/* Whether the lock file is still the one that others find under its name. */
static bool lock_current(int dir, int fd, const char *name) {
        struct stat ours, there;

        return fstat(fd, &ours) == 0 && fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
               ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static int lock_block(struct device_lock *l, struct error *err) {
        char name[32];
        int r;

        lock_name(l->disk, name);
        r = locks_dir(&l->dir, err);
        if (r < 0)
                return r;
        for (;;) {
                l->fd = openat(l->dir, name, O_CREAT | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0644);
                if (l->fd < 0)
                        return error_errno(err, -errno, "open lock %s/%s", LOCKS_DIR, name);
                r = flock_wait(l->fd, LOCK_SH);
                if (r < 0)
                        return error_errno(err, r, "take lock %s/%s", LOCKS_DIR, name);
                if (lock_current(l->dir, l->fd, name))
                        return 0;
                /* The holder before us removed it while we waited. */
                close_fdp(&l->fd);
        }
}

int device_lock(const struct device *d, struct device_lock *ret, struct error *err) {
        struct device_lock l = { .disk = d, .dir = -1, .fd = -1 };
        int r;

        if (d->block) {
                r = lock_block(&l, err);
        } else {
                r = flock_wait(d->fd, LOCK_SH);
                if (r < 0)
                        (void) error_errno(err, r, "take the lock of the file");
        }
        if (r < 0) {
                close_fdp(&l.fd);
                close_fdp(&l.dir);
                return r;
        }
        *ret = l;
        return 0;
}

void device_unlock(struct device_lock *l) {
        char name[32];

        if (!l->disk)
                return;
        if (!l->disk->block) {
                (void) flock(l->disk->fd, LOCK_UN);
        } else {
                lock_name(l->disk, name);
                if (flock(l->fd, LOCK_EX | LOCK_NB) == 0 && lock_current(l->dir, l->fd, name))
                        (void) unlinkat(l->dir, name, 0);
        }
        close_fdp(&l->fd);
        close_fdp(&l->dir);
        l->disk = NULL;
}
