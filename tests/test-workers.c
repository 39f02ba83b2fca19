/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/workers.h"
#include "tests/test.h"

#include <cmocka.h>

/* What a job does, and what it says. */
enum kind { FINE, REFUSED, FAULT, DIES, KEYS, HANGS, LARGE };

#define TEXT 20000

struct order {
        enum kind kind;
        unsigned number;
        char text[TEXT];
};

#define AT_TEXT offsetof(struct order, text)

struct made {
        pid_t pid;
        unsigned number, seen; /* how many jobs this process had before */
        char text[TEXT];
};

static int check_keys(struct secret *const key[WORKER_KEYS_MAX]) {
        uint8_t sum = 0;

        /* The keys arrived, and they are this process' own. */
        for (unsigned i = 0; i < 32; i++)
                sum |= secret_data(key[0])[i] ^ 0x5a;
        return sum || secret_size(key[1]) != 1 ? -EIO : OUTCOME_DONE;
}

static int job(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
               struct refusal *why, struct error *err) {
        static unsigned seen;
        const struct order *o = arg;
        struct made *made = result;

        made->pid = getpid();
        made->number = o->number;
        made->seen = seen++;
        switch (o->kind) {
        case FINE: return key[0] || key[1] ? -EIO : OUTCOME_DONE;
        case REFUSED: return refusal_set(why, REFUSAL_NO_ROOM, "full");
        case FAULT: return error_set(err, -ENOSPC, "no space");
        case DIES: (void) kill(getpid(), SIGKILL); break;
        case KEYS: return check_keys(key);
        case HANGS: (void) pause(); break;
        case LARGE: memcpy(made->text, o->text, sizeof(made->text)); return OUTCOME_DONE;
        }
        return -EIO;
}

#define JOBS 20

struct many {
        struct workers *workers;
        struct order order[JOBS];
        struct made made[JOBS];
        unsigned home[JOBS];
        struct worker_job job[JOBS];
        volatile sig_atomic_t stop;
        size_t told, of;
        struct workers_run how;
};

static void tell(void *context, size_t finished, size_t of) {
        struct many *m = context;

        assert_int_equal(finished, m->told + 1);
        m->told = finished;
        m->of = of;
}

static void begin(struct many *m) {
        struct error err = { 0 };

        *m = (struct many){ 0 };
        m->how = (struct workers_run){
                .fn = job, .stop = &m->stop, .deadline = 30000, .done = tell, .context = m
        };
        for (unsigned i = 0; i < JOBS; i++) {
                m->order[i].number = i;
                m->job[i] = (struct worker_job){ .subject = "disk7",
                                                 .arg = { { &m->order[i], AT_TEXT },
                                                          { m->order[i].text, 1 },
                                                          { m->order[i].text + 1, TEXT - 1 } },
                                                 .result = &m->made[i],
                                                 .result_size = sizeof(m->made[i]),
                                                 .home = &m->home[i] };
        }
        assert_int_equal(workers_new(JOBS, sizeof(struct made), -1, &m->workers, &err), 0);
}

static void run(struct many *m) {
        struct error err = { 0 };

        m->told = 0;
        assert_int_equal(workers_run(m->workers, m->job, JOBS, &m->how, &err), 0);
}

static double seconds(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void test_each_job_brings_back_what_happened(void **unused) {
        static const enum kind kinds[] = { FINE, REFUSED, FAULT, DIES, KEYS };
        _cleanup_(secret_freep) struct secret *key = NULL, *small = NULL;
        static struct many m;
        (void) unused;

        begin(&m);
        assert_int_equal(secret_new(32, &key), 0);
        assert_int_equal(secret_new(1, &small), 0);
        memset(secret_data(key), 0x5a, 32);
        for (size_t i = 0; i < JOBS; i++) {
                m.order[i].kind = kinds[i % 5];
                if (i % 5 == 4) {
                        m.job[i].key[0] = key;
                        m.job[i].key[1] = small;
                }
        }
        run(&m);
        for (size_t i = 0; i < JOBS; i += 5) {
                assert_int_equal(m.job[i].outcome, OUTCOME_DONE);
                assert_int_equal(m.made[i].number, i);
                assert_int_equal(m.job[i + 1].outcome, OUTCOME_REFUSED);
                assert_int_equal(m.job[i + 1].refusal.kind, REFUSAL_NO_ROOM);
                assert_string_equal(m.job[i + 1].refusal.what, "full");
                assert_int_equal(m.job[i + 2].outcome, -ENOSPC);
                assert_string_equal(m.job[i + 2].error.text, "no space");
                assert_int_equal(m.job[i + 3].outcome, -EIO);
                assert_string_equal(m.job[i + 3].error.text, "disk7: its worker died");
                assert_int_equal(m.job[i + 4].outcome, OUTCOME_DONE);
        }
        /* Those that failed are told of, too. */
        assert_int_equal(m.told, JOBS);
        assert_int_equal(m.of, JOBS);

        m.stop = 1;
        run(&m);
        for (size_t i = 0; i < JOBS; i++)
                assert_int_equal(m.job[i].outcome, -ECANCELED);
        assert_int_equal(m.told, 0);
        m.workers = workers_free(m.workers);
}

static void test_a_disk_stays_with_its_worker(void **unused) {
        static struct many m;
        pid_t first[JOBS];
        (void) unused;

        begin(&m);
        run(&m);
        for (size_t i = 0; i < JOBS; i++)
                first[i] = m.made[i].pid;
        run(&m);
        for (size_t i = 0; i < JOBS; i++) {
                assert_int_equal(m.made[i].pid, first[i]);
                assert_true(m.made[i].seen > 0);
        }

        /* One that is gone leaves its disks to others, also where nobody was there to see. */
        assert_int_equal(kill(first[0], SIGKILL), 0);
        assert_int_equal(waitid(P_PID, (id_t) first[0], &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
        run(&m);
        for (size_t i = 0; i < JOBS; i++) {
                assert_int_equal(m.job[i].outcome, OUTCOME_DONE);
                assert_int_equal(m.made[i].pid == first[i], first[i] != first[0]);
        }
        m.workers = workers_free(m.workers);
}

static void test_arguments_and_results_cross_whole(void **unused) {
        static struct many m;
        (void) unused;

        begin(&m);
        for (unsigned i = 0; i < JOBS; i++) {
                m.order[i].kind = LARGE;
                memset(m.order[i].text, (int) i + 1, sizeof(m.order[i].text));
        }
        run(&m);
        for (unsigned i = 0; i < JOBS; i++) {
                assert_int_equal(m.job[i].outcome, OUTCOME_DONE);
                assert_memory_equal(m.made[i].text, m.order[i].text, sizeof(m.made[i].text));
        }
        m.workers = workers_free(m.workers);
}

static void test_one_that_hangs_stops_nobody(void **unused) {
        static struct many m;
        double start = seconds();
        (void) unused;

        begin(&m);
        run(&m); /* each has its worker now */
        m.order[3].kind = HANGS;
        m.how.deadline = 2500;
        run(&m);
        /* The deadline, and not one more for each disk that the same worker had. */
        assert_true(seconds() - start >= 2.5);
        assert_true(seconds() - start < 4.5);
        for (size_t i = 0; i < JOBS; i++)
                assert_int_equal(m.job[i].outcome, i == 3 ? -ETIMEDOUT : OUTCOME_DONE);
        assert_non_null(strstr(m.job[3].error.text, "disk7: it gave no answer within 2 s"));
        assert_int_equal(m.told, JOBS);

        /* And it's no worker any more. */
        m.order[3].kind = FINE;
        run(&m);
        for (size_t i = 0; i < JOBS; i++)
                assert_int_equal(m.job[i].outcome, OUTCOME_DONE);
        start = seconds();
        m.workers = workers_free(m.workers);
        assert_true(seconds() - start < 1);
}

static void test_a_worker_holds_no_lock_of_its_parent(void **unused) {
        _cleanup_(close_fdp) int lock = memfd_create("lock", MFD_CLOEXEC), other = -1;
        struct workers *w = NULL;
        struct order order = { .kind = FINE };
        struct made made;
        struct worker_job one = { .subject = "disk7",
                                  .arg = { { &order, sizeof(order) } },
                                  .result = &made,
                                  .result_size = sizeof(made) };
        volatile sig_atomic_t stop = 0;
        const struct workers_run how = { .fn = job, .stop = &stop, .deadline = 30000 };
        char path[40];
        struct error err = { 0 };
        (void) unused;

        assert_true(lock >= 0);
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", lock);
        other = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
        assert_int_equal(workers_new(1, sizeof(made), lock, &w, &err), 0);
        assert_int_equal(workers_run(w, &one, 1, &how, &err), 0);
        assert_int_equal(one.outcome, OUTCOME_DONE);
        /* It's still there, and idle. */
        assert_int_equal(kill(made.pid, 0), 0);
        assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
        close_fdp(&lock);
        assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
        w = workers_free(w);
}

/* The worker writes its number into a pipe, and hangs; what reads it back kills the parent. */
static int pipe_in[2];

static int say_and_hang(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                        struct refusal *why, struct error *err) {
        pid_t self = getpid();

        (void) arg, (void) key, (void) result, (void) why, (void) err;
        (void) !write(pipe_in[1], &self, sizeof(self));
        (void) pause();
        return -EIO;
}

static _Noreturn void parent(void) {
        struct workers *w = NULL;
        struct worker_job one = { .subject = "disk7" };
        volatile sig_atomic_t stop = 0;
        const struct workers_run how = { .fn = say_and_hang, .stop = &stop, .deadline = 30000 };
        struct error err = { 0 };

        if (workers_new(1, 1, -1, &w, &err) == 0)
                (void) !workers_run(w, &one, 1, &how, &err);
        _exit(1);
}

static void test_workers_die_with_their_parent(void **unused) {
        pid_t child, worker = 0;
        (void) unused;

        assert_int_equal(pipe2(pipe_in, O_CLOEXEC), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
                parent();
        (void) close(pipe_in[1]);
        assert_int_equal(read(pipe_in[0], &worker, sizeof(worker)), sizeof(worker));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        /* Its end of the pipe is closed when it's gone, whoever reaps it. */
        assert_int_equal(read(pipe_in[0], &worker, 1), 0);
        (void) close(pipe_in[0]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_job_brings_back_what_happened),
                cmocka_unit_test(test_a_disk_stays_with_its_worker),
                cmocka_unit_test(test_arguments_and_results_cross_whole),
                cmocka_unit_test(test_one_that_hangs_stops_nobody),
                cmocka_unit_test(test_a_worker_holds_no_lock_of_its_parent),
                cmocka_unit_test(test_workers_die_with_their_parent),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
