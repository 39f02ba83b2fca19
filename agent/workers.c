/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/workers.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"

#define WORKERS_MAX 64
#define PER_CPU 2
#define KEY_MAX 64      /* bytes of one key */
#define STUCK 1000      /* ms after which the other disks of a busy worker go to idle ones */
#define FAREWELL 1000   /* ms that a worker without work has to end */
#define HEAP (64 << 20) /* bytes of free memory that a worker keeps */

/* To a worker, in front of the job's argument. Secrets are zero in a forked child, so they cross in
 * a socket: kernel memory, which is never paged out. At our ends it lies in a struct secret. */
struct order {
        worker_fn fn;
        size_t result_size;
        uint8_t size[WORKER_KEYS_MAX]; /* 0: no key */
        uint8_t key[WORKER_KEYS_MAX][KEY_MAX];
};

/* From a worker, in front of the job's result. */
struct answer {
        int outcome;
        struct refusal refusal;
        struct error error;
};

struct worker {
        pid_t pid;              /* 0: not running */
        int fd;                 /* our end of its socket */
        struct worker_job *job; /* NULL: idle */
        int64_t begun;          /* when it got that, ms */
};

struct workers {
        struct worker worker[WORKERS_MAX];
        size_t most;
        struct secret *order; /* one struct order, to send or to receive */
        void *message;        /* an argument or a result, in the child */
        size_t message_size;
        int lock_fd;
        /* Of the current run: */
        const struct workers_run *how;
        struct worker_job *jobs;
        size_t count, finished;
};

static struct order *order_of(const struct workers *p) {
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

static void work(const struct workers *p, void *result, struct answer *ret) {
        struct secret *key[WORKER_KEYS_MAX] = { 0 };
        struct order *o = order_of(p);
        worker_fn fn = o->fn;

        memset(result, 0, o->result_size);
        ret->outcome = take_keys(o, key, &ret->error);
        explicit_bzero(o, sizeof(*o));
        if (ret->outcome == 0)
                ret->outcome = fn(p->message, key, result, &ret->refusal, &ret->error);
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++)
                key[i] = secret_free(key[i]);
}

/* Zeros at the end of a result aren't sent: where it goes there are some already. */
static size_t filled(const uint8_t *result, size_t size) {
        while (size > 0 && result[size - 1] == 0)
                size--;
        return size;
}

static bool serve(const struct workers *p, int fd, void *result) {
        struct iovec in[] = { { order_of(p), sizeof(struct order) },
                              { p->message, p->message_size } };
        struct answer a = { 0 };
        struct iovec out[] = { { &a, sizeof(a) }, { result, 0 } };
        size_t size;

        if (recvmsg(fd, &(struct msghdr){ .msg_iov = in, .msg_iovlen = 2 }, 0) <
            (ssize_t) sizeof(struct order))
                return false;
        size = order_of(p)->result_size;
        work(p, result, &a);
        out[1].iov_len = filled(result, size);
        return sendmsg(fd, &(struct msghdr){ .msg_iov = out, .msg_iovlen = 2 }, MSG_NOSIGNAL) > 0;
}

static _Noreturn void child(const struct workers *p, int fd, pid_t parent) {
        void *result;

        /* ^C on a terminal reaches all of us: the parent decides what is still begun. */
        (void) signal(SIGINT, SIG_IGN);
        (void) signal(SIGTERM, SIG_IGN);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        for (size_t i = 0; i < p->most; i++)
                if (p->worker[i].pid)
                        (void) close(p->worker[i].fd);
        if (p->lock_fd >= 0)
                (void) close(p->lock_fd);
        /* Memory that is given back to the kernel after each disk is faulted in again for the next
         * one, page by page: a quarter of all that a rotation took. */
        (void) mallopt(M_TRIM_THRESHOLD, HEAP);
        (void) mallopt(M_MMAP_THRESHOLD, HEAP / 2);

        result = malloc(p->message_size);
        while (result && serve(p, fd, result))
                ;
        _exit(0);
}

/* --- in the parent --- */

static int start(struct workers *p, struct worker *w, struct error *err) {
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

/* Not waited for where it takes its time: a disk may hold it where no signal reaches it. Who adopts
 * it when we end reaps it. */
static void give_up(struct worker *w) {
        (void) close(w->fd);
        (void) kill(w->pid, SIGKILL);
        (void) waitpid(w->pid, NULL, WNOHANG);
        *w = (struct worker){ 0 };
}

static int hand_over(struct workers *p, struct worker *w, struct worker_job *job) {
        struct order *o = order_of(p);
        struct iovec out[1 + WORKER_PARTS] = { { o, sizeof(*o) } };
        size_t size = 0;
        ssize_t n;

        for (unsigned i = 0; i < WORKER_PARTS; i++) {
                out[1 + i] = job->arg[i];
                size += job->arg[i].iov_len;
        }
        assert(size <= p->message_size && job->result_size <= p->message_size);
        o->fn = p->how->fn;
        o->result_size = job->result_size;
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++) {
                struct secret *key = job->key[i];

                o->size[i] = key ? (uint8_t) secret_size(key) : 0;
                assert(!key || secret_size(key) <= KEY_MAX);
                if (key)
                        memcpy(o->key[i], secret_data(key), o->size[i]);
        }
        n = sendmsg(w->fd, &(struct msghdr){ .msg_iov = out, .msg_iovlen = ARRAY_SIZE(out) },
                    MSG_NOSIGNAL);
        explicit_bzero(o, sizeof(*o));
        if (n < 0)
                return -errno;
        if (job->home)
                *job->home = (unsigned) (w - p->worker) + 1;
        w->job = job;
        w->begun = clock_ms();
        return 0;
}

static void finished(struct workers *p, struct worker *w) {
        w->job = NULL;
        p->finished++;
        if (p->how->done)
                p->how->done(p->how->context, p->finished, p->count);
}

/* Takes what a worker answered; one that died took one job with it, and no other. */
static void collect(struct workers *p, struct worker *w) {
        struct worker_job *job = w->job;
        struct answer a = { 0 };
        struct iovec in[] = { { &a, sizeof(a) }, { job->result, job->result_size } };

        if (recvmsg(w->fd, &(struct msghdr){ .msg_iov = in, .msg_iovlen = 2 }, 0) >=
            (ssize_t) sizeof(a)) {
                job->outcome = a.outcome;
                job->refusal = a.refusal;
                job->error = a.error;
        } else {
                job->outcome =
                        error_set(&job->error, -EIO, "%.100s: its worker died", job->subject);
                give_up(w);
        }
        finished(p, w);
}

static void end_late(struct workers *p, struct worker *w) {
        w->job->outcome = error_set(&w->job->error, -ETIMEDOUT,
                                    "%.100s: it gave no answer within %u s, so it was left alone",
                                    w->job->subject, p->how->deadline / 1000);
        give_up(w);
        finished(p, w);
}

/* How long to wait for an answer until there's something to do without one, ms. */
static int patience(const struct workers *p) {
        int64_t least = INT_MAX, time = clock_ms();

        for (size_t i = 0; i < p->most; i++) {
                const struct worker *w = &p->worker[i];
                int64_t left = w->begun + p->how->deadline - time;

                if (!w->job)
                        continue;
                if (w->begun + STUCK > time)
                        left = w->begun + STUCK - time < left ? w->begun + STUCK - time : left;
                if (left < least)
                        least = left;
        }
        return least < 0 ? 0 : (int) least;
}

static int wait_some(struct workers *p, struct error *err) {
        struct pollfd polls[WORKERS_MAX];

        for (size_t i = 0; i < p->most; i++)
                polls[i] = (struct pollfd){ .fd = p->worker[i].job ? p->worker[i].fd : -1,
                                            .events = POLLIN };
        if (poll(polls, p->most, patience(p)) < 0)
                return errno == EINTR ? 0 : error_errno(err, -errno, "wait for workers");
        for (size_t i = 0; i < p->most; i++) {
                struct worker *w = &p->worker[i];

                if (polls[i].revents)
                        collect(p, w);
                else if (w->job && w->begun + p->how->deadline <= clock_ms())
                        end_late(p, w);
        }
        return 0;
}

static bool waits(const struct worker_job *job) {
        return job->outcome == -ECANCELED;
}

/* What this worker does next: a disk that it had before, else one that nobody has, or whose worker
 * is gone, or stuck with another. */
static struct worker_job *choose(const struct workers *p, const struct worker *w) {
        struct worker_job *other = NULL;

        for (size_t i = 0; i < p->count; i++) {
                struct worker_job *job = &p->jobs[i];
                const struct worker *home;

                if (!waits(job))
                        continue;
                if (!job->home || *job->home == 0) {
                        other = other ? other : job;
                        continue;
                }
                home = &p->worker[*job->home - 1];
                if (home == w)
                        return job;
                if (!other && (!home->pid || (home->job && home->begun + STUCK <= clock_ms())))
                        other = job;
        }
        return other;
}

/* To a new worker where there's none, or where this one died while it was idle. */
static int begin(struct workers *p, struct worker *w, struct worker_job *job, struct error *err) {
        int r = -EPIPE;

        if (w->pid && (r = hand_over(p, w, job)) == -EPIPE)
                give_up(w);
        if (r == -EPIPE) {
                r = start(p, w, err);
                if (r < 0)
                        return r;
                r = hand_over(p, w, job);
        }
        if (r < 0)
                return error_errno(err, r, "hand a job to a worker");
        job->outcome = -EINPROGRESS;
        return 0;
}

/* Hands a job to each idle worker, and starts those for which there's a place and work. */
static int hand_out(struct workers *p, bool *ret_busy, struct error *err) {
        *ret_busy = false;
        for (size_t i = 0; i < p->most; i++) {
                struct worker *w = &p->worker[i];
                struct worker_job *job;
                int r = 0;

                if (!w->job && !*p->how->stop && (job = choose(p, w)))
                        r = begin(p, w, job, err);
                if (r < 0)
                        return r;
                *ret_busy |= w->job != NULL;
        }
        return 0;
}

int workers_run(struct workers *p, struct worker_job *jobs, size_t count,
                const struct workers_run *how, struct error *err) {
        bool busy = true;
        int r = 0;

        p->how = how;
        p->jobs = jobs;
        p->count = count;
        p->finished = 0;
        for (size_t i = 0; i < count; i++)
                jobs[i].outcome = -ECANCELED;
        while (r == 0 && busy) {
                r = hand_out(p, &busy, err);
                if (r == 0 && busy)
                        r = wait_some(p, err);
        }
        /* After a fault nobody waits for what was begun. */
        for (size_t i = 0; i < p->most; i++)
                if (p->worker[i].job) {
                        p->worker[i].job->outcome = -EIO;
                        give_up(&p->worker[i]);
                }
        return r;
}

int workers_new(size_t jobs, size_t message, int lock_fd, struct workers **ret, struct error *err) {
        _cleanup_(workers_freep) struct workers *p = calloc(1, sizeof(*p));
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        int r;

        if (!p)
                return error_nomem(err);
        /* Much of a job's time is the disk's, so a CPU has several of them in hand. */
        p->most = cpus < 1                       ? 1
                  : PER_CPU * cpus > WORKERS_MAX ? WORKERS_MAX
                                                 : PER_CPU * (size_t) cpus;
        if (p->most > jobs)
                p->most = jobs;
        p->lock_fd = lock_fd;
        p->message_size = message;
        p->message = malloc(message + 1);
        if (!p->message)
                return error_nomem(err);
        r = secret_new(sizeof(struct order), &p->order);
        if (r < 0)
                return error_errno(err, r, "no locked memory for the workers' keys");
        *ret = TAKE(p);
        return 0;
}

/* Return: whether it ended in time. */
static bool ended(pid_t pid, int64_t until) {
        const struct timespec moment = { .tv_nsec = 200000 };

        for (;;) {
                pid_t r = waitpid(pid, NULL, WNOHANG);

                if (r == pid || (r < 0 && errno != EINTR))
                        return true;
                if (clock_ms() >= until)
                        return false;
                (void) nanosleep(&moment, NULL);
        }
}

struct workers *workers_free(struct workers *p) {
        int64_t until = clock_ms() + FAREWELL;

        if (!p)
                return NULL;
        /* None has work: each ends once its socket is closed. */
        for (size_t i = 0; i < p->most; i++)
                if (p->worker[i].pid)
                        (void) close(p->worker[i].fd);
        for (size_t i = 0; i < p->most; i++)
                if (p->worker[i].pid && !ended(p->worker[i].pid, until))
                        (void) kill(p->worker[i].pid, SIGKILL);
        p->order = secret_free(p->order);
        free(p->message);
        free(p);
        return NULL;
}
