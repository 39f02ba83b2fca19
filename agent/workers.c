/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/workers.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WORKERS_MAX 64
#define JOBS_PER_CPU 4
#define KEY_MAX 64 /* bytes of one key */

/* To a worker. Secrets are zero in a forked child, so they cross in a socket: kernel memory, which
 * is never paged out. At our ends it lies in a struct secret. */
struct order {
        size_t job;
        uint8_t size[WORKER_KEYS_MAX]; /* 0: no key */
        uint8_t key[WORKER_KEYS_MAX][KEY_MAX];
};

struct answer {
        int outcome;
        struct refusal refusal;
        struct error error;
};

struct worker {
        pid_t pid;              /* 0: not running */
        int fd;                 /* our end of its socket */
        struct worker_job *job; /* NULL: idle */
};

struct pool {
        struct worker worker[WORKERS_MAX];
        size_t most;
        struct secret *order; /* one struct order, to send or to receive */
        struct worker_job *jobs;
        worker_fn fn;
};

static struct order *order_of(const struct pool *p) {
        return (struct order *) (void *) secret_data(p->order);
}

/* --- in the child --- */

static int take_keys(const struct order *o, struct secret *key[WORKER_KEYS_MAX],
                     struct error *err) {
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++) {
                int r;

                if (o->size[i] == 0)
                        continue;
                r = secret_new(o->size[i], &key[i]);
                if (r < 0)
                        return error_errno(err, r, "no locked memory for a worker's key");
                memcpy(secret_data(key[i]), o->key[i], o->size[i]);
        }
        return 0;
}

static void work(const struct pool *p, struct answer *ret) {
        struct secret *key[WORKER_KEYS_MAX] = { 0 };
        struct order *o = order_of(p);
        size_t job = o->job;

        ret->outcome = take_keys(o, key, &ret->error);
        explicit_bzero(o, sizeof(*o));
        if (ret->outcome == 0)
                ret->outcome = p->fn(p->jobs[job].arg, key, &ret->refusal, &ret->error);
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++)
                key[i] = secret_free(key[i]);
}

static _Noreturn void child(const struct pool *p, int fd, pid_t parent) {
        /* ^C on a terminal reaches all of us: the parent decides what is still begun. */
        (void) signal(SIGINT, SIG_IGN);
        (void) signal(SIGTERM, SIG_IGN);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        for (size_t i = 0; i < p->most; i++)
                if (p->worker[i].pid)
                        (void) close(p->worker[i].fd);

        while (recv(fd, order_of(p), sizeof(struct order), 0) == sizeof(struct order)) {
                struct answer a = { 0 };

                work(p, &a);
                if (send(fd, &a, sizeof(a), MSG_NOSIGNAL) != sizeof(a))
                        break;
        }
        _exit(0);
}

/* --- in the parent --- */

static int start(struct pool *p, struct worker *w, struct error *err) {
        _cleanup_(close_fdp) int ours = -1, theirs = -1;
        pid_t parent = getpid(), pid;
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return error_errno(err, -errno, "start worker");
        ours = fds[0];
        theirs = fds[1];
        pid = fork();
        if (pid < 0)
                return error_errno(err, -errno, "start worker");
        if (pid == 0) {
                (void) close(ours);
                child(p, theirs, parent);
        }
        *w = (struct worker){ .pid = pid, .fd = TAKE_FD(ours) };
        return 0;
}

static void stop(struct worker *w) {
        (void) close(w->fd);
        while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        *w = (struct worker){ 0 };
}

static int give(struct pool *p, struct worker *w, size_t job, struct error *err) {
        struct order *o = order_of(p);
        ssize_t n;

        o->job = job;
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++) {
                struct secret *key = p->jobs[job].key[i];

                o->size[i] = key ? (uint8_t) secret_size(key) : 0;
                assert(o->size[i] <= KEY_MAX);
                if (key)
                        memcpy(o->key[i], secret_data(key), o->size[i]);
        }
        n = send(w->fd, o, sizeof(*o), MSG_NOSIGNAL);
        explicit_bzero(o, sizeof(*o));
        if (n != sizeof(*o))
                return error_errno(err, -errno, "hand a job to a worker");
        w->job = &p->jobs[job];
        return 0;
}

/* Takes what a worker answered; one that died took one job with it, and no other. */
static void collect(struct worker *w) {
        struct answer a = { 0 };

        if (recv(w->fd, &a, sizeof(a), 0) == sizeof(a)) {
                w->job->outcome = a.outcome;
                w->job->refusal = a.refusal;
                w->job->error = a.error;
                w->job = NULL;
        } else {
                w->job->outcome = error_set(&w->job->error, -EIO, "its worker died");
                stop(w);
        }
}

static int wait_some(struct pool *p, struct error *err) {
        struct pollfd polls[WORKERS_MAX];

        for (size_t i = 0; i < p->most; i++)
                polls[i] = (struct pollfd){ .fd = p->worker[i].job ? p->worker[i].fd : -1,
                                            .events = POLLIN };
        if (poll(polls, p->most, -1) < 0)
                return errno == EINTR ? 0 : error_errno(err, -errno, "wait for workers");
        for (size_t i = 0; i < p->most; i++)
                if (polls[i].revents)
                        collect(&p->worker[i]);
        return 0;
}

/* An idle worker, started if there's a place for one. Return: 0 and it, or NULL; or a fault. */
static int find_idle(struct pool *p, struct worker **ret, struct error *err) {
        *ret = NULL;
        for (size_t i = 0; i < p->most; i++) {
                struct worker *w = &p->worker[i];
                int r;

                if (w->job)
                        continue;
                r = w->pid ? 0 : start(p, w, err);
                if (r == 0)
                        *ret = w;
                return r;
        }
        return 0;
}

static bool is_busy(const struct pool *p) {
        for (size_t i = 0; i < p->most; i++)
                if (p->worker[i].job)
                        return true;
        return false;
}

static int run(struct pool *p, size_t count, const volatile sig_atomic_t *stopped,
               struct error *err) {
        size_t next = 0;
        int r = 0;

        for (;;) {
                struct worker *w = NULL;
                bool more = next < count && r == 0 && !*stopped;

                if (more)
                        r = find_idle(p, &w, err);
                if (r == 0 && w) {
                        r = give(p, w, next++, err);
                        continue;
                }
                if (!is_busy(p))
                        return r;
                if (wait_some(p, err) < 0)
                        return err->errnum;
        }
}

int workers_run(struct worker_job *jobs, size_t count, worker_fn fn,
                const volatile sig_atomic_t *stopped, struct error *err) {
        struct pool p = { .jobs = jobs, .fn = fn };
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        int r;

        for (size_t i = 0; i < count; i++)
                jobs[i].outcome = -ECANCELED;
        /* Most of a job's time is the disk's, so a CPU has several of them in hand. */
        p.most = cpus < 1                            ? 1
                 : JOBS_PER_CPU * cpus > WORKERS_MAX ? WORKERS_MAX
                                                     : JOBS_PER_CPU * (size_t) cpus;
        if (p.most > count)
                p.most = count;
        r = secret_new(sizeof(struct order), &p.order);
        if (r < 0)
                return error_errno(err, r, "no locked memory for the workers' keys");

        r = run(&p, count, stopped, err);
        for (size_t i = 0; i < p.most; i++)
                if (p.worker[i].pid)
                        stop(&p.worker[i]);
        p.order = secret_free(p.order);
        return r;
}
