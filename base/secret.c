/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/secret.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Small ones that were given back wait here, wiped and locked, for the next: to map, fence, lock
 * and unmap one costs as much as to open an envelope with it. */
#define SPARE 8

struct secret {
        uint8_t *map; /* guard page, data pages, guard page */
        size_t map_size;
        uint8_t *data; /* ends where the upper guard page begins */
        size_t size;
        pid_t locker; /* a child that is forked doesn't have the lock */
};

static _Atomic(struct secret *) spare[SPARE];

static size_t page_size(void) {
        return (size_t) sysconf(_SC_PAGESIZE);
}

static void drop(struct secret *s) {
        if (s->map)
                (void) munmap(s->map, s->map_size); /* drops the lock too */
        free(s);
}

static void place(struct secret *s, size_t size) {
        s->size = size;
        s->data = s->map + s->map_size - page_size() - size;
}

static struct secret *take_spare(void) {
        for (size_t i = 0; i < SPARE; i++) {
                struct secret *s = atomic_exchange(&spare[i], NULL);

                if (s && s->locker == getpid())
                        return s;
                if (s)
                        drop(s);
        }
        return NULL;
}

static bool is_small(const struct secret *s) {
        return s->map_size == 3 * page_size();
}

/* Return: whether it was taken. */
static bool keep_spare(struct secret *s) {
        for (size_t i = 0; is_small(s) && i < SPARE; i++) {
                struct secret *none = NULL;

                if (atomic_compare_exchange_strong(&spare[i], &none, s))
                        return true;
        }
        return false;
}

static int map(size_t size, struct secret *s) {
        size_t page = page_size(), body = (size + page - 1) / page * page;

        s->map_size = body + 2 * page;
        s->map = mmap(NULL, s->map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (s->map == MAP_FAILED) {
                s->map = NULL;
                return -ENOMEM;
        }
        if (mprotect(s->map + page, body, PROT_READ | PROT_WRITE) < 0 ||
            madvise(s->map + page, body, MADV_DONTDUMP) < 0 ||
            madvise(s->map + page, body, MADV_WIPEONFORK) < 0 || mlock(s->map + page, body) < 0)
                return -errno;
        s->locker = getpid();
        place(s, size);
        return 0;
}

int secret_new(size_t size, struct secret **ret) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        int r;

        if (size == 0 || size > 64 * 1024)
                return -EINVAL;
        if (size <= page_size() && (s = take_spare())) {
                place(s, size);
        } else {
                s = calloc(1, sizeof(*s));
                if (!s)
                        return -ENOMEM;
                r = map(size, s);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(s);
        return 0;
}

uint8_t *secret_data(struct secret *s) {
        return s->data;
}

size_t secret_size(const struct secret *s) {
        return s->size;
}

struct secret *secret_free(struct secret *s) {
        if (!s)
                return NULL;
        if (s->data) {
                explicit_bzero(s->data, s->size);
                if (keep_spare(s))
                        return NULL;
        }
        drop(s);
        return NULL;
}
