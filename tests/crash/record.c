/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tests/crash/record.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/preload.h"

/* Puts down what a program does to its disks, state files and the TPM's counter: for LD_PRELOAD, or
 * linked in. In the environment:
 *
 *   CRASH_LOG    where to
 *   CRASH_DISKS  the disks, with colons between
 *
 * The processes of a run share one log. Each event happens, and is put down, under a lock. */

#define LOG_FD 700 /* where no program of ours has anything open */
#define NV_INCREMENT 0x134

static struct {
        int log; /* -1: off */
        unsigned disks;
        struct preload_disk disk[CRASH_DISKS_MAX];
} to = { .log = -1 };

static bool add_disk(const char *path) {
        return to.disks < CRASH_DISKS_MAX && preload_disk(path, &to.disk[to.disks++]);
}

bool record_begin(int log, int disk) {
        char path[32];

        to.disks = 0;
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
        if (!add_disk(path))
                return false;
        to.log = log;
        return true;
}

void record_end(void) {
        to.log = -1;
}

__attribute__((constructor)) static void begin(void) {
        const char *log = getenv("CRASH_LOG"), *disks = getenv("CRASH_DISKS");
        char list[PATH_MAX], *save = NULL;
        int fd;

        if (!log || !disks)
                return;
        (void) snprintf(list, sizeof(list), "%s", disks);
        for (char *p = strtok_r(list, ":", &save); p; p = strtok_r(NULL, ":", &save))
                if (!add_disk(p))
                        abort();
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || dup3(fd, LOG_FD, O_CLOEXEC) < 0)
                abort();
        (void) close(fd);
        to.log = LOG_FD;
}

/* A lock of the process, not of the descriptor that forked ones share. */
static void turn(short how) {
        struct flock l = { .l_type = how, .l_whence = SEEK_SET };

        if (to.log == LOG_FD && fcntl(to.log, F_SETLKW, &l) < 0)
                abort();
}

static void put(enum crash_event event, unsigned disk, off_t offset, const void *data,
                size_t size) {
        ssize_t (*real)(int, const struct iovec *, int) = preload_next("writev");
        struct crash_record r = { event, disk, (uint64_t) offset, size };
        struct iovec from[] = { { &r, sizeof(r) }, { (void *) (uintptr_t) data, size } };

        if (real(to.log, from, 2) != (ssize_t) (sizeof(r) + size))
                abort();
}

/* Which disk, or -1. */
static int disk_of(int fd) {
        if (to.log < 0 || fd == to.log)
                return -1;
        for (unsigned i = 0; i < to.disks; i++)
                if (preload_is(&to.disk[i], fd))
                        return (int) i;
        return -1;
}

/* TCG TPM 2.0 Library Part 1, 18: tag, size, command code. */
static void look_at_command(const void *buf, size_t size) {
        const uint8_t *b = buf;

        if (to.log < 0 || size < 10 || b[0] != 0x80 || (b[1] != 1 && b[1] != 2) ||
            (b[6] << 24 | b[7] << 16 | b[8] << 8 | b[9]) != NV_INCREMENT)
                return;
        turn(F_WRLCK);
        put(CRASH_ADVANCE, 0, 0, NULL, 0);
        turn(F_UNLCK);
}

ssize_t write(int fd, const void *buf, size_t size) {
        ssize_t (*real)(int, const void *, size_t) = preload_next("write");
        int disk = disk_of(fd);
        off_t at;
        ssize_t n;

        if (disk < 0) {
                look_at_command(buf, size);
                return real(fd, buf, size);
        }
        turn(F_WRLCK);
        at = lseek(fd, 0, SEEK_CUR);
        n = real(fd, buf, size);
        if (n > 0)
                put(CRASH_WRITE, (unsigned) disk, at, buf, (size_t) n);
        turn(F_UNLCK);
        return n;
}

ssize_t send(int fd, const void *buf, size_t size, int flags) {
        ssize_t (*real)(int, const void *, size_t, int) = preload_next("send");

        look_at_command(buf, size);
        return real(fd, buf, size, flags);
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset) {
        ssize_t (*real)(int, const void *, size_t, off_t) = preload_next("pwrite");
        int disk = disk_of(fd);
        ssize_t n;

        if (disk < 0)
                return real(fd, buf, size, offset);
        turn(F_WRLCK);
        n = real(fd, buf, size, offset);
        if (n > 0)
                put(CRASH_WRITE, (unsigned) disk, offset, buf, (size_t) n);
        turn(F_UNLCK);
        return n;
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off_t offset);

ssize_t pwrite64(int fd, const void *buf, size_t size, off_t offset) {
        return pwrite(fd, buf, size, offset);
}

/* Nothing of ours or of libcryptsetup's writes to a disk this way: it would be missed. */
ssize_t writev(int fd, const struct iovec *from, int count) {
        ssize_t (*real)(int, const struct iovec *, int) = preload_next("writev");

        if (disk_of(fd) >= 0)
                abort();
        return real(fd, from, count);
}

static int flush(int fd, const char *name) {
        int (*real)(int) = preload_next(name);
        int disk = disk_of(fd), r;

        if (disk < 0)
                return real(fd);
        turn(F_WRLCK);
        r = real(fd);
        if (r == 0)
                put(CRASH_FLUSH, (unsigned) disk, 0, NULL, 0);
        turn(F_UNLCK);
        return r;
}

int fsync(int fd) {
        return flush(fd, "fsync");
}

int fdatasync(int fd) {
        return flush(fd, "fdatasync");
}

static void put_file(const char *path) {
        static char data[1 << 18];
        size_t n = strlen(path) + 1;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got;

        memcpy(data, path, n);
        got = fd < 0 ? -1 : read(fd, data + n, sizeof(data) - n);
        if (got < 0 || n + (size_t) got == sizeof(data))
                abort();
        (void) close(fd);
        put(CRASH_RENAME, 0, 0, data, n + (size_t) got);
}

int rename(const char *from, const char *into) {
        int (*real)(const char *, const char *) = preload_next("rename");
        int r;

        if (to.log < 0)
                return real(from, into);
        turn(F_WRLCK);
        r = real(from, into);
        if (r == 0)
                put_file(into);
        turn(F_UNLCK);
        return r;
}
