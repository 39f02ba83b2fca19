/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, int errnum, const char *fmt, ...) {
        va_list ap;

        assert(errnum < 0);

        e->errnum = errnum;
        va_start(ap, fmt);
        (void) vsnprintf(e->text, sizeof(e->text), fmt, ap);
        va_end(ap);

        return errnum;
}

int error_errno(struct error *e, int errnum, const char *fmt, ...) {
        const char *words = strerrordesc_np(-errnum);
        size_t used;
        va_list ap;

        assert(errnum < 0);

        e->errnum = errnum;
        va_start(ap, fmt);
        (void) vsnprintf(e->text, sizeof(e->text), fmt, ap);
        va_end(ap);

        used = strlen(e->text);
        (void) snprintf(e->text + used, sizeof(e->text) - used, ": %s", words ? words : "error");

        return errnum;
}

int error_prefix(struct error *e, const char *fmt, ...) {
        char head[sizeof(e->text)], tail[sizeof(e->text)];
        va_list ap;

        assert(e->errnum < 0);

        va_start(ap, fmt);
        (void) vsnprintf(head, sizeof(head), fmt, ap);
        va_end(ap);

        memcpy(tail, e->text, sizeof(tail));
        /* Truncation cuts the cause's tail; the code in errnum survives. */
        (void) snprintf(e->text, sizeof(e->text), "%.100s: %.150s", head, tail);

        return e->errnum;
}

int error_nomem(struct error *e) {
        return error_set(e, -ENOMEM, "out of memory");
}

void make_printable(char *text) {
        for (char *c = text; *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
}
