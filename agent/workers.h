/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>
#include <stddef.h>

#include "agent/refusal.h"
#include "base/error.h"
#include "base/secret.h"

/* Work on disks, in processes of their own: libcryptsetup isn't thread-safe, and a disk that breaks
 * its worker must not take others along. A worker has one disk at a time and goes on to the next;
 * where it dies, another takes its place. It dies with its parent. (A process for each disk cost
 * four times the work itself: most of a fork's price is paid page by page.) */

#define WORKER_KEYS_MAX 2

/* The work on one disk, in the child. @key: the child's own copies of what the job has, NULL where
 * it has none. Return: OUTCOME_DONE, OUTCOME_REFUSED; or a fault. */
typedef int (*worker_fn)(const void *arg, struct secret *const key[WORKER_KEYS_MAX],
                         struct refusal *why, struct error *err);

struct worker_job {
        const void *arg;
        struct secret *
                key[WORKER_KEYS_MAX]; /* at most 64 bytes each; borrowed, handed over in a socket */
        int outcome;                  /* as worker_fn; -ECANCELED: not started */
        struct refusal refusal;
        struct error error;
};

/* Runs @fn for each job, several at once. No new one is started once *@stop is
 * set. Return: 0, with each job's outcome; or a fault of the machinery. */
int workers_run(struct worker_job *jobs, size_t count, worker_fn fn,
                const volatile sig_atomic_t *stop, struct error *err) _warn_unused_;
