/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _warn_unused_ __attribute__((warn_unused_result))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))

/* Defines f##p() for use with _cleanup_() from a destructor that accepts NULL and returns NULL. */
#define DEFINE_CLEANUP(type, f)                                                                    \
        static inline void f##p(type *p) {                                                         \
                if (*p)                                                                            \
                        *p = f(*p);                                                                \
        }                                                                                          \
        struct swallow_semicolon_

/* Hand a pointer to the caller, and leave nothing behind for the cleanup to free. */
#define TAKE(p)                                                                                    \
        ({                                                                                         \
                __typeof__(p) *_pp = &(p), _t = *_pp;                                              \
                *_pp = NULL;                                                                       \
                _t;                                                                                \
        })

/* The same for file descriptors, whose "nothing" is -1. */
#define TAKE_FD(fd)                                                                                \
        ({                                                                                         \
                int *_pf = &(fd), _f = *_pf;                                                       \
                *_pf = -1;                                                                         \
                _f;                                                                                \
        })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline void close_fdp(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
        *fd = -1;
}

static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void fclosep(FILE **f) {
        if (*f)
                (void) fclose(*f);
        *f = NULL;
}

static inline void closedirp(DIR **d) {
        if (*d)
                (void) closedir(*d);
        *d = NULL;
}
