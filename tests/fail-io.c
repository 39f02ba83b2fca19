/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/preload.h"

/* Lets the I/O of a program and of its children fail at one certain point, or from there on, for
 * LD_PRELOAD. A point is a write, a sync, a rename or an opening for writing of what is under a
 * folder. In the environment:
 *
 *   FAIL_UNDER  the folder
 *   FAIL_AT     which point, counted from 1 over all processes; 0: they're only counted
 *   FAIL_KIND   eio, enospc: every point counts; short: writes count, and only half of one is done;
 *               fsync: fsync and fdatasync count, and fail by EIO
 *   FAIL_ON     once, or on: that one and all later ones
 *   FAIL_COUNT  a file that gets the number of points when the program ends
 *
 * A sync that fails is told once to each file descriptor that was open, as Linux does it: who drops
 * the error of one (libcryptsetup) doesn't take it from another.
 */

#define BLOCK 4096 /* bytes; what is written with O_DIRECT is written in these */

enum kind { KIND_EIO, KIND_ENOSPC, KIND_SHORT, KIND_FSYNC };

static struct {
        bool on; /* this is at work at all */
        const char *under, *count;
        unsigned at;
        enum kind kind;
        bool for_ever;
        pid_t first;
} f;

static atomic_uint *points;  /* shared with children */
static char unsynced[4096];  /* the file that a sync failed of … */
static int unsynced_fd = -1; /* … and by which descriptor; -1: none */

__attribute__((constructor)) static void begin(void) {
        const char *at = getenv("FAIL_AT"), *kind = getenv("FAIL_KIND"), *on = getenv("FAIL_ON");

        f.under = getenv("FAIL_UNDER");
        if (!f.under || !at || !kind || !on)
                return;
        points = mmap(NULL, sizeof(*points), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (points == MAP_FAILED)
                abort();
        f.at = (unsigned) strtoul(at, NULL, 10);
        f.kind = strcmp(kind, "enospc") == 0  ? KIND_ENOSPC
                 : strcmp(kind, "short") == 0 ? KIND_SHORT
                 : strcmp(kind, "fsync") == 0 ? KIND_FSYNC
                                              : KIND_EIO;
        f.for_ever = strcmp(on, "on") == 0;
        f.count = getenv("FAIL_COUNT");
        f.first = getpid();
        f.on = true;
}

__attribute__((destructor)) static void end(void) {
        if (!f.on || !f.count || getpid() != f.first)
                return;
        f.on = false;
        preload_put(f.count, atomic_load(points));
}

static bool under(const char *path) {
        return strncmp(path, f.under, strlen(f.under)) == 0;
}

static bool path_of(int fd, char ret[4096]) {
        char link[64];
        ssize_t n;

        (void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, ret, 4095);
        if (n <= 0)
                return false;
        ret[n] = '\0';
        return under(ret);
}

/* A point is passed. Return: whether it fails. */
static bool now(void) {
        unsigned n = atomic_fetch_add(points, 1) + 1;

        return f.at > 0 && (f.for_ever ? n >= f.at : n == f.at);
}

static int fail_errno(void) {
        errno = f.kind == KIND_ENOSPC ? ENOSPC : EIO;
        return -1;
}

static bool fails_wholly(void) {
        return f.on && f.kind != KIND_SHORT && f.kind != KIND_FSYNC;
}

/* Return: how many of @size bytes are to be written; -1: it fails. */
static ssize_t fail_write(int fd, size_t size) {
        char path[4096];
        size_t half;

        if (!f.on || f.kind == KIND_FSYNC || !path_of(fd, path) || !now())
                return (ssize_t) size;
        half = fcntl(fd, F_GETFL) & O_DIRECT ? size / 2 / BLOCK * BLOCK : size / 2;
        return f.kind == KIND_SHORT && half > 0 ? (ssize_t) half : fail_errno();
}

ssize_t write(int fd, const void *buf, size_t size) {
        ssize_t (*real)(int, const void *, size_t) = preload_next("write");
        ssize_t n = fail_write(fd, size);

        return n < 0 ? n : real(fd, buf, (size_t) n);
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset) {
        ssize_t (*real)(int, const void *, size_t, off_t) = preload_next("pwrite");
        ssize_t n = fail_write(fd, size);

        return n < 0 ? n : real(fd, buf, (size_t) n, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off_t offset);

ssize_t pwrite64(int fd, const void *buf, size_t size, off_t offset) {
        return pwrite(fd, buf, size, offset);
}

static bool fail_sync(int fd) {
        char path[4096];

        if (!f.on || f.kind == KIND_SHORT || !path_of(fd, path))
                return false;
        if (unsynced_fd >= 0 && unsynced_fd != fd && strcmp(path, unsynced) == 0) {
                unsynced_fd = -1;
                return true;
        }
        if (!now())
                return false;
        unsynced_fd = fd;
        (void) snprintf(unsynced, sizeof(unsynced), "%s", path);
        return true;
}

int fsync(int fd) {
        int (*real)(int) = preload_next("fsync");

        return fail_sync(fd) ? fail_errno() : real(fd);
}

int fdatasync(int fd) {
        int (*real)(int) = preload_next("fdatasync");

        return fail_sync(fd) ? fail_errno() : real(fd);
}

int rename(const char *from, const char *to) {
        int (*real)(const char *, const char *) = preload_next("rename");

        return fails_wholly() && under(to) && now() ? fail_errno() : real(from, to);
}

static bool fail_open(const char *path, int flags) {
        return fails_wholly() && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && under(path) && now();
}

int open(const char *path, int flags, ...) {
        int (*real)(const char *, int, ...) = preload_next("open");
        mode_t mode = 0;
        va_list ap;

        if (flags & (O_CREAT | O_TMPFILE)) {
                va_start(ap, flags);
                mode = va_arg(ap, mode_t);
                va_end(ap);
        }
        return fail_open(path, flags) ? fail_errno() : real(path, flags, mode);
}

int open64(const char *path, int flags, ...);

int open64(const char *path, int flags, ...) {
        mode_t mode = 0;
        va_list ap;

        if (flags & (O_CREAT | O_TMPFILE)) {
                va_start(ap, flags);
                mode = va_arg(ap, mode_t);
                va_end(ap);
        }
        return open(path, flags, mode);
}

/* What open() becomes where the C library checks more. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

int __open_2(const char *path, int flags) {
        return open(path, flags);
}

int __open64_2(const char *path, int flags) {
        return open(path, flags);
}

int mkostemp(char *path, int flags) {
        int (*real)(char *, int) = preload_next("mkostemp");

        return fail_open(path, O_CREAT) ? fail_errno() : real(path, flags);
}

int mkostemp64(char *path, int flags);

int mkostemp64(char *path, int flags) {
        return mkostemp(path, flags);
}
