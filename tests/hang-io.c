/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/preload.h"

/* A disk that never answers one certain request, or breaks the process that makes it, for
 * LD_PRELOAD. In the environment:
 *
 *   HANG_DISK   the disk
 *   HANG_CALL   "fsync" or "pread", …
 *   HANG_AT     … and which of them, counted from 1 in each process
 *   HANG_HOW    "hang", or "die" */

static struct {
        bool on, die;
        struct preload_disk disk;
        const char *call;
        unsigned at;
} hang;

static atomic_uint calls;

__attribute__((constructor)) static void begin(void) {
        const char *disk = getenv("HANG_DISK"), *at = getenv("HANG_AT"), *how = getenv("HANG_HOW");

        hang.call = getenv("HANG_CALL");
        if (!disk || !at || !how || !hang.call || !preload_disk(disk, &hang.disk))
                return;
        hang.at = (unsigned) strtoul(at, NULL, 10);
        hang.die = strcmp(how, "die") == 0;
        hang.on = true;
}

static void perhaps(const char *call, int fd) {
        if (!hang.on || strcmp(call, hang.call) != 0 || !preload_is(&hang.disk, fd) ||
            atomic_fetch_add(&calls, 1) + 1 != hang.at)
                return;
        if (hang.die)
                (void) raise(SIGKILL);
        for (;;)
                (void) pause();
}

int fsync(int fd) {
        int (*real)(int) = preload_next("fsync");

        perhaps("fsync", fd);
        return real(fd);
}

ssize_t pread(int fd, void *buf, size_t size, off_t offset);
ssize_t pread64(int fd, void *buf, size_t size, off_t offset);
ssize_t __pread_chk(int fd, void *buf, size_t size, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t size, off_t offset, size_t room);

ssize_t pread(int fd, void *buf, size_t size, off_t offset) {
        ssize_t (*real)(int, void *, size_t, off_t) = preload_next("pread");

        perhaps("pread", fd);
        return real(fd, buf, size, offset);
}

ssize_t pread64(int fd, void *buf, size_t size, off_t offset) {
        return pread(fd, buf, size, offset);
}

ssize_t __pread_chk(int fd, void *buf, size_t size, off_t offset, size_t room) {
        return size > room ? (abort(), -1) : pread(fd, buf, size, offset);
}

ssize_t __pread64_chk(int fd, void *buf, size_t size, off_t offset, size_t room) {
        return __pread_chk(fd, buf, size, offset, room);
}
