/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/secret.h"

/* A program of the admin's that gives a key on its standard output. */

struct helper {
        const char *const *argv; /* the first is its absolute path; NULL at the end */
        unsigned deadline;       /* ms, until it has ended */
        size_t min, max;         /* bytes that it must write, no less and no more */
};

enum helper_verdict {
        HELPER_DONE = 0,
        HELPER_FAILED, /* it isn't there, or didn't do its part: see struct helper_failure */
};

struct helper_failure {
        char what[120]; /* "ended with status 1", behind its name */
        char said[160]; /* the first line that it wrote to standard error, printable; may be empty
                         */
};

/**
 * helper_run() - run a program, and take what it writes
 * @ret: its output, byte for byte; the caller's. Untouched unless HELPER_DONE
 * @why: filled in on HELPER_FAILED
 *
 * No shell. It inherits resource limits and umask, and little else: PATH is all of its environment,
 * it has standard input from /dev/null, no other descriptor, no ignored signal, no terminal, and
 * leaves no core. It and all that it started (in its session and process group) are gone when this
 * returns, and it dies with the thread that called this. Its output lies in a pipe and in locked
 * memory.
 *
 * Return: a verdict; or a fault (no process, no memory).
 */
int helper_run(const struct helper *h, struct secret **ret, struct helper_failure *why,
               struct error *err) _warn_unused_;
