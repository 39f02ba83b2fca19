/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/file.h"

#define WORKERS_MAX 64

/* What comes back; smaller than PIPE_BUF, so that it's written at once or not at all. */
struct answer {
        int outcome;
        struct refusal refusal;
        struct error error;
};

struct worker {
        pid_t pid; /* 0: free */
        int answer_fd;
        struct worker_job *job;
};

/* Secrets are zero in a forked child, so they cross in a pipe: kernel memory, never paged out. */
static int send_keys(int fd, const struct worker_job *job, struct error *err) {
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++) {
                uint8_t size = job->key[i] ? (uint8_t) secret_size(job->key[i]) : 0;
                int r = fd_write_all(fd, &size, 1, "key to worker", err);

                if (r == 0 && size > 0)
                        r = fd_write_all(fd, secret_data(job->key[i]), size, "key to worker", err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int receive_keys(int fd, struct secret *key[WORKER_KEYS_MAX], struct error *err) {
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++) {
                uint8_t size;
                int r = fd_read_all(fd, &size, 1, "key for worker", err);

                if (r < 0)
                        return r;
                if (size == 0)
                        continue;
                r = secret_new(size, &key[i]);
                if (r < 0)
                        return error_errno(err, r, "no locked memory for a worker's key");
                r = fd_read_all(fd, secret_data(key[i]), size, "key for worker", err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static _Noreturn void child(const struct worker_job *job, worker_fn fn, int keys_fd, int answer_fd,
                            pid_t parent) {
        struct secret *key[WORKER_KEYS_MAX] = { 0 };
        struct answer a = { 0 };

        /* ^C on a terminal reaches all of us: the parent decides what is still begun. */
        (void) signal(SIGINT, SIG_IGN);
        (void) signal(SIGTERM, SIG_IGN);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);

        a.outcome = receive_keys(keys_fd, key, &a.error);
        (void) close(keys_fd);
        if (a.outcome == 0)
                a.outcome = fn(job->arg, key, &a.refusal, &a.error);
        for (unsigned i = 0; i < WORKER_KEYS_MAX; i++)
                key[i] = secret_free(key[i]);
        _exit(fd_write_all(answer_fd, &a, sizeof(a), "answer", &a.error) < 0);
}

static int start(struct worker *w, struct worker_job *job, worker_fn fn, struct error *err) {
        _cleanup_(close_fdp) int keys_in = -1, keys_out = -1, answer_in = -1, answer_out = -1;
        pid_t parent = getpid();
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "start worker");
        keys_in = fds[0];
        keys_out = fds[1];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "start worker");
        answer_in = fds[0];
        answer_out = fds[1];

        r = send_keys(keys_out, job, err);
        if (r < 0)
                return r;
        w->pid = fork();
        if (w->pid < 0) {
                w->pid = 0;
                return error_errno(err, -errno, "start worker");
        }
        if (w->pid == 0)
                child(job, fn, keys_in, answer_out, parent);
        w->answer_fd = TAKE_FD(answer_in);
        w->job = job;
        return 0;
}

static void collect(struct worker *w, int status) {
        struct answer a = { 0 };
        struct error ignored = { 0 };

        if (fd_read_all(w->answer_fd, &a, sizeof(a), "answer", &ignored) == 0) {
                w->job->outcome = a.outcome;
                w->job->refusal = a.refusal;
                w->job->error = a.error;
        } else {
                w->job->outcome =
                        error_set(&w->job->error, -EIO, "its worker died (status 0x%x)", status);
        }
        close_fdp(&w->answer_fd);
        w->pid = 0;
}

static int wait_one(struct worker *workers, size_t count, struct error *err) {
        for (;;) {
                int status;
                pid_t pid = waitpid(-1, &status, 0);

                if (pid < 0 && errno == EINTR)
                        continue;
                if (pid < 0)
                        return error_errno(err, -errno, "wait for worker");
                for (size_t i = 0; i < count; i++)
                        if (workers[i].pid == pid) {
                                collect(&workers[i], status);
                                return 0;
                        }
        }
}

int workers_run(struct worker_job *jobs, size_t count, worker_fn fn,
                const volatile sig_atomic_t *stop, struct error *err) {
        struct worker workers[WORKERS_MAX] = { 0 };
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        size_t most = cpus < 1 ? 1 : cpus > WORKERS_MAX ? WORKERS_MAX : (size_t) cpus;
        size_t next = 0, running = 0;
        int r = 0;

        for (size_t i = 0; i < count; i++)
                jobs[i].outcome = -ECANCELED;

        while (running > 0 || (next < count && r == 0 && !*stop)) {
                if (next < count && r == 0 && !*stop && running < most) {
                        size_t free_place = 0;

                        while (workers[free_place].pid)
                                free_place++;
                        r = start(&workers[free_place], &jobs[next], fn, err);
                        if (r == 0) {
                                next++;
                                running++;
                        }
                        continue;
                }
                if (wait_one(workers, most, err) < 0)
                        return err->errnum;
                running--;
        }
        return r;
}
