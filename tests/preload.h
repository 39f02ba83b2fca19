/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For libraries that stand before the C library by LD_PRELOAD; _GNU_SOURCE comes before it. */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The function of that name that is called where there's no such library. */
static inline void *preload_next(const char *name) {
        void *f = dlsym(RTLD_NEXT, name);

        if (!f)
                abort();
        return f;
}

/* A disk, by whatever name or descriptor. */
struct preload_disk {
        dev_t dev;
        ino_t ino;
};

static inline bool preload_disk(const char *path, struct preload_disk *ret) {
        struct stat st;

        if (stat(path, &st) < 0)
                return false;
        *ret = (struct preload_disk){ st.st_dev, st.st_ino };
        return true;
}

static inline bool preload_is(const struct preload_disk *disk, int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 && st.st_dev == disk->dev && st.st_ino == disk->ino;
}

/* A number into a file. */
static inline void preload_put(const char *path, unsigned n) {
        FILE *f = fopen(path, "we");

        if (!f)
                return;
        (void) fprintf(f, "%u\n", n);
        (void) fclose(f);
}
