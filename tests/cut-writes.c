/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/preload.h"

/* Cuts the power before one certain write, for LD_PRELOAD. What counts as a write, in this order of
 * the program's: each write, fsync and fdatasync of the disk, and each rename of any file, which is
 * how the state is written. In the environment:
 *
 *   CUT_DISK   the disk
 *   CUT_AT     before which write the process is killed, counted from 1; 0: it's only counted
 *   CUT_HALF   where not empty, the first half of that write still reaches the disk, in whole
 *              blocks
 *   CUT_COUNT  a file that gets the number of writes when a process ends
 */

#define BLOCK 4096 /* bytes; libcryptsetup writes with O_DIRECT */

static atomic_uint writes;

static struct {
        bool on, half;
        struct preload_disk disk;
        const char *count;
        unsigned at;
} cut;

__attribute__((constructor)) static void begin(void) {
        const char *disk = getenv("CUT_DISK"), *at = getenv("CUT_AT");
        const char *half = getenv("CUT_HALF");

        if (!disk || !at || !preload_disk(disk, &cut.disk))
                return;
        cut.at = (unsigned) strtoul(at, NULL, 10);
        cut.half = half && half[0];
        cut.count = getenv("CUT_COUNT");
        cut.on = true;
}

__attribute__((destructor)) static void end(void) {
        if (cut.on && cut.count)
                preload_put(cut.count, atomic_load(&writes));
}

static bool of_disk(int fd) {
        return cut.on && preload_is(&cut.disk, fd);
}

static bool now(void) {
        return atomic_fetch_add(&writes, 1) + 1 == cut.at;
}

static void die(void) {
        (void) raise(SIGKILL);
}

/* How much of a write that the cut falls into is still done. */
static size_t half_of(size_t size) {
        return cut.half ? size / 2 / BLOCK * BLOCK : 0;
}

ssize_t write(int fd, const void *buf, size_t size) {
        ssize_t (*real)(int, const void *, size_t) = preload_next("write");

        if (of_disk(fd) && now()) {
                if (half_of(size) > 0 && real(fd, buf, half_of(size)) < 0)
                        abort();
                die();
        }
        return real(fd, buf, size);
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset) {
        ssize_t (*real)(int, const void *, size_t, off_t) = preload_next("pwrite");

        if (of_disk(fd) && now()) {
                if (half_of(size) > 0 && real(fd, buf, half_of(size), offset) < 0)
                        abort();
                die();
        }
        return real(fd, buf, size, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off_t offset);

ssize_t pwrite64(int fd, const void *buf, size_t size, off_t offset) {
        return pwrite(fd, buf, size, offset);
}

ssize_t writev(int fd, const struct iovec *from, int count) {
        ssize_t (*real)(int, const struct iovec *, int) = preload_next("writev");

        if (of_disk(fd) && now())
                die();
        return real(fd, from, count);
}

int fsync(int fd) {
        int (*real)(int) = preload_next("fsync");

        if (of_disk(fd) && now())
                die();
        return real(fd);
}

int fdatasync(int fd) {
        int (*real)(int) = preload_next("fdatasync");

        if (of_disk(fd) && now())
                die();
        return real(fd);
}

int rename(const char *from, const char *to) {
        int (*real)(const char *, const char *) = preload_next("rename");

        if (cut.on && now())
                die();
        return real(from, to);
}
