/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define PIPE_SIZE (64 * 1024) /* bytes: pipe(7) */
#define WORDS_SIZE 512        /* of one read from standard error */

struct run {
        const struct helper *helper;
        struct helper_failure *why;
        pid_t pid; /* 0: not running, and not to be waited for */
        int pidfd, out, said;
        struct secret *buffer; /* one byte more than may come */
        size_t used;
        size_t words; /* bytes of why->said */
        bool line;    /* that line is complete */
        int64_t end;  /* ms */
};

/* Its group is its own from setsid() on, before which it has started nobody. It isn't reaped yet,
 * so no number here has passed to anybody else. */
static void kill_all(const struct run *r) {
        (void) kill(-r->pid, SIGKILL);
        (void) kill(r->pid, SIGKILL);
}

static int reap(struct run *r) {
        int status = 0;

        while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
                ;
        r->pid = 0;
        return status;
}

static void run_done(struct run *r) {
        if (r->pid) {
                kill_all(r);
                (void) reap(r);
        }
        close_fdp(&r->pidfd);
        close_fdp(&r->out);
        close_fdp(&r->said);
        r->buffer = secret_free(r->buffer);
}

static _printf_(2, 3) int failed(struct run *r, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(r->why->what, sizeof(r->why->what), fmt, ap);
        va_end(ap);
        return HELPER_FAILED;
}

/* --- in the child --- */

static _Noreturn void child(const struct helper *h, int out, int said, pid_t parent) {
        static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
        char *const environment[] = { path, NULL };
        const struct rlimit none = { 0 };
        sigset_t signals;
        int in;

        (void) setsid();
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(127);
        for (int s = 1; s < NSIG; s++)
                (void) signal(s, SIG_DFL);
        (void) sigemptyset(&signals);
        (void) sigprocmask(SIG_SETMASK, &signals, NULL);
        (void) setrlimit(RLIMIT_CORE, &none);

        /* Out of the way first: where a standard stream was closed, one of these has its number. */
        out = fcntl(out, F_DUPFD_CLOEXEC, 3);
        said = fcntl(said, F_DUPFD_CLOEXEC, 3);
        in = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (out < 0 || said < 0 || in < 0 || (in = fcntl(in, F_DUPFD_CLOEXEC, 3)) < 0 ||
            dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
            dup2(said, STDERR_FILENO) < 0 || close_range(3, UINT_MAX, 0) < 0 || chdir("/") < 0)
                _exit(127);
        (void) execve(h->argv[0], (char *const *) h->argv, environment);
        (void) dprintf(STDERR_FILENO, "%s\n", strerror(errno));
        _exit(127);
}

/* --- in the parent --- */

static int start(struct run *r, struct error *err) {
        _cleanup_(close_fdp) int out = -1, said = -1;
        pid_t parent = getpid(), pid;
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "make a pipe");
        r->out = fds[0];
        out = fds[1];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "make a pipe");
        r->said = fds[0];
        said = fds[1];
        if (fcntl(r->out, F_SETFL, O_NONBLOCK) < 0 || fcntl(r->said, F_SETFL, O_NONBLOCK) < 0)
                return error_errno(err, -errno, "set up a pipe");

        pid = fork();
        if (pid < 0)
                return error_errno(err, -errno, "start a process");
        if (pid == 0)
                child(r->helper, out, said, parent);
        r->pid = pid;
        r->pidfd = pidfd_open(pid, 0);
        if (r->pidfd < 0)
                return error_errno(err, -errno, "watch a process");
        return 0;
}

/* Return: whether there may be more; or a fault. */
static int take_output(struct run *r, struct error *err) {
        size_t room = secret_size(r->buffer) - r->used;
        ssize_t n;

        if (r->out < 0 || room == 0)
                return false;
        n = read(r->out, secret_data(r->buffer) + r->used, room);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n < 0)
                return error_errno(err, -errno, "read from a pipe");
        if (n == 0)
                close_fdp(&r->out);
        r->used += (size_t) n;
        return n > 0;
}

/* All is read, or the program would wait for us; one line is kept. */
static bool take_words(struct run *r) {
        char text[WORDS_SIZE];
        ssize_t n;

        if (r->said < 0)
                return false;
        n = read(r->said, text, sizeof(text));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0)
                close_fdp(&r->said);
        for (ssize_t i = 0; i < n && !r->line; i++) {
                if (text[i] == '\n')
                        r->line = r->words > 0;
                else if (r->words + 1 < sizeof(r->why->said))
                        r->why->said[r->words++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
        }
        return n > 0;
}

/* Until it ends, says too much, or its time is over. */
static int watch(struct run *r, struct error *err) {
        for (;;) {
                struct pollfd polls[] = { { .fd = r->out, .events = POLLIN },
                                          { .fd = r->said, .events = POLLIN },
                                          { .fd = r->pidfd, .events = POLLIN } };
                int64_t left = r->end - clock_ms();

                if (left <= 0)
                        return failed(r, "didn't end within %g s", r->helper->deadline / 1000.0);
                if (poll(polls, 3, left > INT_MAX ? INT_MAX : (int) left) < 0) {
                        if (errno == EINTR)
                                continue;
                        return error_errno(err, -errno, "wait for a process");
                }
                if (polls[0].revents && take_output(r, err) < 0)
                        return err->errnum;
                if (polls[1].revents)
                        (void) take_words(r);
                if (r->used > r->helper->max)
                        return failed(r, "wrote more than %zu bytes", r->helper->max);
                if (polls[2].revents)
                        return HELPER_DONE;
        }
}

/* Of what it wrote, what is still in the pipes. One that left its group could write for ever: more
 * than a pipe holds isn't read. */
static int take_rest(struct run *r, struct error *err) {
        int n;

        while ((n = take_output(r, err)) > 0)
                ;
        for (unsigned i = 0; i < PIPE_SIZE / WORDS_SIZE && take_words(r); i++)
                ;
        return n;
}

static int judge(struct run *r, int status) {
        const struct helper *h = r->helper;

        if (WIFSIGNALED(status))
                return failed(r, "was ended by signal %d", WTERMSIG(status));
        if (WEXITSTATUS(status) != 0)
                return failed(r, "ended with status %d", WEXITSTATUS(status));
        if (r->used < h->min)
                return failed(r, "wrote %zu bytes, where a key has at least %zu", r->used, h->min);
        if (r->used > h->max)
                return failed(r, "wrote more than %zu bytes", h->max);
        return HELPER_DONE;
}

int helper_run(const struct helper *h, struct secret **ret, struct helper_failure *why,
               struct error *err) {
        _cleanup_(run_done) struct run run = {
                .helper = h, .why = why, .pidfd = -1, .out = -1, .said = -1
        };
        _cleanup_(secret_freep) struct secret *exact = NULL;
        int r;

        *why = (struct helper_failure){ 0 };
        if (access(h->argv[0], X_OK) < 0)
                return failed(&run, "can't be run: %s", strerror(errno));
        r = secret_new(h->max + 1, &run.buffer);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a key of %zu bytes", h->max);
        run.end = clock_ms() + h->deadline;
        if ((r = start(&run, err)) < 0 || (r = watch(&run, err)) != HELPER_DONE)
                return r;
        kill_all(&run);
        r = take_rest(&run, err);
        if (r < 0)
                return r;
        r = judge(&run, reap(&run));
        if (r != HELPER_DONE)
                return r;

        r = secret_new(run.used, &exact);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a key of %zu bytes", run.used);
        memcpy(secret_data(exact), secret_data(run.buffer), run.used);
        *ret = TAKE(exact);
        return HELPER_DONE;
}
