/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/preload.h"

/* A disk whose host answers each read as it likes, for LD_PRELOAD. In the environment:
 *
 *   SWAP_DISK   the disk; reads of any other file are left alone
 *   SWAP_EVIL   a file with the host's other answers
 *   SWAP_HOW    which reads get those, counted from 1 over all processes of one run:
 *               from:N  the N-th and all later ones    until:N  all before the N-th
 *               only:N  the N-th                       odd      every other one
 *               again   of each place all but the first
 *               never   none: only counts
 *   SWAP_COUNT  a file that gets the number of reads when a process ends */

#define PLACES 256

static struct shared {
        atomic_uint reads;
        atomic_ullong place[PLACES]; /* offset + 1 of what was read once, from the front */
} * shared;

static struct {
        bool on;
        struct preload_disk disk;
        int evil;
        const char *how, *count;
        unsigned n;
} swap = { .evil = -1 };

__attribute__((constructor)) static void begin(void) {
        const char *disk = getenv("SWAP_DISK"), *evil = getenv("SWAP_EVIL");
        const char *colon;

        swap.how = getenv("SWAP_HOW");
        swap.count = getenv("SWAP_COUNT");
        if (!disk || !evil || !swap.how || !preload_disk(disk, &swap.disk))
                return;
        swap.evil = open(evil, O_RDONLY | O_CLOEXEC);
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (swap.evil < 0 || shared == MAP_FAILED)
                abort();
        colon = strchr(swap.how, ':');
        swap.n = colon ? (unsigned) strtoul(colon + 1, NULL, 10) : 0;
        swap.on = true;
}

__attribute__((destructor)) static void end(void) {
        if (swap.on && swap.count)
                preload_put(swap.count, atomic_load(&shared->reads));
}

static bool seen(off_t offset) {
        unsigned long long wanted = (unsigned long long) offset + 1;

        for (unsigned i = 0; i < PLACES; i++) {
                unsigned long long none = 0;

                if (atomic_compare_exchange_strong(&shared->place[i], &none, wanted))
                        return false;
                if (none == wanted)
                        return true;
        }
        return true;
}

static bool is(const char *how) {
        return strncmp(swap.how, how, strlen(how)) == 0;
}

static bool evil_now(off_t offset) {
        unsigned n = atomic_fetch_add(&shared->reads, 1) + 1;

        if (is("from:"))
                return n >= swap.n;
        if (is("until:"))
                return n < swap.n;
        if (is("only:"))
                return n == swap.n;
        if (is("odd"))
                return n % 2 == 0;
        if (is("again"))
                return seen(offset);
        return false;
}

static bool of_disk(int fd) {
        return swap.on && preload_is(&swap.disk, fd);
}

/* What was read is replaced where it stands. */
static void answer(off_t offset, const struct iovec *to, int count, ssize_t size) {
        ssize_t (*real)(int, void *, size_t, off_t) = preload_next("pread");

        if (size <= 0 || !evil_now(offset))
                return;
        for (int i = 0; i < count && size > 0; i++) {
                size_t n = to[i].iov_len < (size_t) size ? to[i].iov_len : (size_t) size;

                if (real(swap.evil, to[i].iov_base, n, offset) < 0)
                        abort();
                offset += (off_t) n;
                size -= (ssize_t) n;
        }
}

ssize_t pread(int fd, void *buf, size_t size, off_t offset);
ssize_t pread64(int fd, void *buf, size_t size, off_t offset);
ssize_t __pread_chk(int fd, void *buf, size_t size, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t size, off_t offset, size_t room);
ssize_t __read_chk(int fd, void *buf, size_t size, size_t room);
ssize_t preadv64(int fd, const struct iovec *to, int count, off_t offset);

ssize_t pread(int fd, void *buf, size_t size, off_t offset) {
        ssize_t (*real)(int, void *, size_t, off_t) = preload_next("pread");
        ssize_t r = real(fd, buf, size, offset);

        if (of_disk(fd))
                answer(offset, &(struct iovec){ buf, size }, 1, r);
        return r;
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

ssize_t read(int fd, void *buf, size_t size) {
        ssize_t (*real)(int, void *, size_t) = preload_next("read");
        bool ours = of_disk(fd);
        off_t offset = ours ? lseek(fd, 0, SEEK_CUR) : 0;
        ssize_t r = real(fd, buf, size);

        if (ours)
                answer(offset, &(struct iovec){ buf, size }, 1, r);
        return r;
}

ssize_t __read_chk(int fd, void *buf, size_t size, size_t room) {
        return size > room ? (abort(), -1) : read(fd, buf, size);
}

ssize_t readv(int fd, const struct iovec *to, int count) {
        ssize_t (*real)(int, const struct iovec *, int) = preload_next("readv");
        bool ours = of_disk(fd);
        off_t offset = ours ? lseek(fd, 0, SEEK_CUR) : 0;
        ssize_t r = real(fd, to, count);

        if (ours)
                answer(offset, to, count, r);
        return r;
}

ssize_t preadv(int fd, const struct iovec *to, int count, off_t offset) {
        ssize_t (*real)(int, const struct iovec *, int, off_t) = preload_next("preadv");
        ssize_t r = real(fd, to, count, offset);

        if (of_disk(fd))
                answer(offset, to, count, r);
        return r;
}

ssize_t preadv64(int fd, const struct iovec *to, int count, off_t offset) {
        return preadv(fd, to, count, offset);
}
