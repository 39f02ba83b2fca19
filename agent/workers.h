/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <sys/uio.h>

#include "agent/refusal.h"
#include "base/error.h"
#include "base/secret.h"

/* Work on disks, in processes of their own: libcryptsetup isn't thread-safe, and a disk that breaks
 * its worker, or never answers, must not take others along. A worker has one disk at a time and
 * goes on to the next; where it dies, another takes its place. It dies with its parent. (A process
 * for each disk cost four times the work itself: most of a fork's price is paid page by page.)
 *
 * A pool lasts for a whole operation of several steps. A worker gets the same disks in each of
 * them, so what it keeps of a disk in one step is at hand in the next; it must do without, too.
 *
 * What a job gets and gives crosses in a socket, not in memory that both share: a worker that was
 * broken by one disk reaches neither the parent nor what others were told. */
struct workers;

#define WORKER_KEYS_MAX 2
#define WORKER_PARTS 4
#define WORKERS_DEADLINE 30000 /* ms that one step may take on one disk */

/* The work on one disk, in the child. @arg: a copy of what the job has, which stays the same until
 * the work is done. @key: the child's own copies, NULL where the job has none. @result: zeroed, of
 * the size that the job has. Return: OUTCOME_DONE, OUTCOME_REFUSED; or a fault. */
typedef int (*worker_fn)(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                         struct refusal *why, struct error *err);

struct worker_job {
        const char *subject; /* the disk, for what is said of a worker that died or hangs */
        /* The argument, one part behind the other; handed over by value. */
        struct iovec arg[WORKER_PARTS];
        void *result; /* zeroed; what the worker made; NULL if @result_size is 0 */
        size_t result_size;
        struct secret *
                key[WORKER_KEYS_MAX]; /* at most 64 bytes each; borrowed, handed over in a socket */
        unsigned *home; /* 0, or which worker had this disk last; set when it's handed over. NULL:
                           any worker will do */
        int outcome;    /* as worker_fn; -ECANCELED: not started; -ETIMEDOUT; -EIO: it died */
        struct refusal refusal;
        struct error error;
};

struct workers_run {
        worker_fn fn;
        const volatile sig_atomic_t *stop; /* no job is begun once it's set */
        unsigned deadline;                 /* ms for each job */
        /* Called for each job that ended, however it did; NULL for none. */
        void (*done)(void *context, size_t finished, size_t of);
        void *context;
};

/**
 * workers_new() - a pool for at most so many jobs at a time
 * @message: the most bytes that any argument or result has
 * @lock_fd: of a lock that the parent holds, or -1: a worker that the kernel doesn't let die must
 *           not hold it for ever
 *
 * Workers are started when there's work for them. Return: 0; or a fault.
 */
int workers_new(size_t jobs, size_t message, int lock_fd, struct workers **ret,
                struct error *err) _warn_unused_;
/* Ends those that are idle; one that hangs is killed, and left to the kernel. Always NULL. */
struct workers *workers_free(struct workers *w);
DEFINE_CLEANUP(struct workers *, workers_free);

/* Runs @how->fn for each job, several at once. A worker that is past its deadline is killed and not
 * waited for: a disk may hold it where no signal reaches it. Return: 0, with each job's outcome; or
 * a fault of the machinery. */
int workers_run(struct workers *w, struct worker_job *jobs, size_t count,
                const struct workers_run *how, struct error *err) _warn_unused_;
