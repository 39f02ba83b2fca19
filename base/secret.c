/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct secret {
        uint8_t *map; /* guard page, data pages, guard page */
        size_t map_size;
        uint8_t *data; /* ends where the upper guard page begins */
        size_t size;
};

int secret_new(size_t size, struct secret **ret) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        size_t page = (size_t) sysconf(_SC_PAGESIZE), body;

        if (size == 0 || size > 64 * 1024)
                return -EINVAL;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;

        body = (size + page - 1) / page * page;
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

        s->size = size;
        s->data = s->map + page + body - size;
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
        if (s->data)
                explicit_bzero(s->data, s->size);
        if (s->map)
                (void) munmap(s->map, s->map_size); /* drops the lock too */
        free(s);
        return NULL;
}
