/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/second-factor.h"
#include "base/file.h"
#include "tests/test.h"

#define SOON 5000 /* ms: what is killed is gone by then, also under valgrind */

static char dir[64]; /* of the test, below $TMPDIR */
static const struct factor_request request = { .subject = "data1" };

static const char *in_dir(const char *name) {
        static char paths[4][128];
        static unsigned next;
        char *path = paths[next++ % 4];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
        return path;
}

static void put(const char *name, const void *data, size_t size, mode_t mode) {
        struct error err = { 0 };

        assert_int_equal(file_write(in_dir(name), data, size, mode, &err), 0);
}

/* What a program of the test wrote, waited for. For free(). */
static char *written(const char *name, size_t *ret_size) {
        struct error err = { 0 };
        char *text = NULL;
        size_t size = 0;

        for (unsigned i = 0; i < SOON / 10; i++) {
                if (file_read(in_dir(name), 65536, &text, &size, &err) == 0 && size > 0)
                        break;
                free(text);
                text = NULL;
                (void) usleep(10000);
        }
        assert_non_null(text);
        if (ret_size)
                *ret_size = size;
        return text;
}

static void assert_dies(const char *pid_file) {
        _cleanup_(freep) char *text = written(pid_file, NULL);
        pid_t pid = atoi(text);

        assert_true(pid > 1);
        for (unsigned i = 0; i < SOON / 10; i++) {
                char stat[64];
                _cleanup_(freep) char *line = NULL;
                struct error err = { 0 };
                size_t size;

                /* Dead, or a zombie that nobody here has to reap. */
                (void) snprintf(stat, sizeof(stat), "/proc/%d/stat", pid);
                if (file_read(stat, 4096, &line, &size, &err) < 0 || strstr(line, ") Z "))
                        return;
                (void) usleep(10000);
        }
        fail_msg("process %d still runs", pid);
}

static int setup(void **state) {
        const char *tmp = getenv("TMPDIR");
        (void) state;

        (void) snprintf(dir, sizeof(dir), "%.40s/factor-XXXXXX", tmp ? tmp : "/tmp");
        return mkdtemp(dir) ? unsetenv("CREDENTIALS_DIRECTORY") : -1;
}

static int teardown(void **state) {
        DIR *d = opendir(dir);
        (void) state;

        for (struct dirent *e; d && (e = readdir(d));)
                (void) unlinkat(dirfd(d), e->d_name, 0);
        closedirp(&d);
        return rmdir(dir);
}

/* --- SecondFactor= --- */

static void test_sources_are_read(void **state) {
        static const struct {
                const char *text;
                enum factor_from from;
                enum factor_kind kind;
                const char *first;
                unsigned words;
        } good[] = {
                { "", FROM_NONE, FACTOR_NONE, "", 0 },
                { "none", FROM_NONE, FACTOR_NONE, "", 0 },
                { "pin", FROM_PIN, FACTOR_PIN, "", 0 },
                { "file:/etc/a key", FROM_FILE, FACTOR_KEY, "/etc/a key", 0 },
                { "credential:disk.key-1_x", FROM_CREDENTIAL, FACTOR_KEY, "disk.key-1_x", 0 },
                { "helper:/usr/bin/x", FROM_HELPER, FACTOR_KEY, "/usr/bin/x", 1 },
                { "helper:/x  --a  b ", FROM_HELPER, FACTOR_KEY, "/x", 3 },
                { "helper:/x 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", FROM_HELPER, FACTOR_KEY, "/x",
                  16 },
        };
        struct error err = { 0 };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                struct factor_source s;

                assert_int_equal(factor_source_parse(good[i].text, &s, &err), 0);
                assert_int_equal(s.from, good[i].from);
                assert_int_equal(factor_source_kind(&s), good[i].kind);
                assert_string_equal(s.text, good[i].first);
                assert_int_equal(s.words, good[i].words);
                assert_int_equal(s.deadline, s.from == FROM_HELPER ? FACTOR_DEADLINE : 0);
        }
}

static void test_what_is_no_source_is_refused(void **state) {
        static const char *const bad[] = {
                "PIN",
                "pin ",
                "pine",
                "yes",
                "file",
                "file:",
                "file:x",
                "file: /x",
                "file:../x",
                "file:/x\n",
                "file:/\xc3\xa4",
                "file:/\x1b[2J",
                "credential:",
                "credential:a/b",
                "credential:..",
                "credential:.a",
                "credential:-a",
                "credential:a b",
                "credential:a:b",
                "helper:",
                "helper:x",
                "helper: /x",
                "helper:/x 'a b'",
                "helper:/x \"a\"",
                "helper:/x a\\ b",
                "helper:/x\ta",
                "helper:/x 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        };
        struct factor_source s = { .from = FROM_PIN, .text = "as it was" }, untouched = s;
        struct error err = { 0 };
        char text[FACTOR_TEXT_MAX + 1] = "file:/";
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(factor_source_parse(bad[i], &s, &err), -EBADMSG);
        memset(text + 6, 'x', sizeof(text) - 7);
        assert_int_equal(strlen(text), FACTOR_TEXT_MAX);
        assert_int_equal(factor_source_parse(text, &s, &err), -EBADMSG);
        assert_memory_equal(&s, &untouched, sizeof(s));
        text[FACTOR_TEXT_MAX - 1] = '\0';
        assert_int_equal(factor_source_parse(text, &s, &err), 0);
        memcpy(text, "helper:/ /", 10); /* as many bytes, in words */
        assert_int_equal(factor_source_parse(text, &s, &err), 0);
        assert_int_equal(s.words, 2);
}

/* --- files and credentials --- */

static int get(const char *source, struct secret **ret, struct refusal *why) {
        struct factor_source s;
        struct error err = { 0 };
        int r;

        assert_int_equal(factor_source_parse(source, &s, &err), 0);
        s.deadline = 20000;
        r = second_factor_get(&s, &request, ret, why, &err);
        if (r < 0)
                print_error("%s: %s\n", source, err.text);
        return r;
}

static void assert_refused(const char *source, const char *words) {
        struct refusal why = { 0 };
        struct secret *s = NULL;

        assert_int_equal(get(source, &s, &why), OUTCOME_REFUSED);
        assert_null(s);
        assert_int_equal(why.kind, REFUSAL_SECOND_FACTOR);
        assert_string_equal(refusal_id(why.kind), "second-factor");
        assert_ptr_equal(strstr(why.what, "data1: its second factor, "), why.what);
        if (!strstr(why.what, words))
                fail_msg("'%s' isn't in '%s'", words, why.what);
}

static const char *source(const char *kind, const char *name) {
        static char text[160];

        (void) snprintf(text, sizeof(text), "%s:%s", kind, in_dir(name));
        return text;
}

static void assert_gives(const char *from, const void *data, size_t size) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        struct refusal why = { 0 };

        assert_int_equal(get(from, &s, &why), OUTCOME_DONE);
        assert_int_equal(secret_size(s), size);
        assert_memory_equal(secret_data(s), data, size);
}

static void test_none_is_nothing(void **state) {
        struct secret *s = (struct secret *) 1;
        struct refusal why = { 0 };
        (void) state;

        assert_int_equal(get("none", &s, &why), OUTCOME_DONE);
        assert_null(s);
}

static void test_a_file_counts_byte_for_byte(void **state) {
        static char most[FACTOR_KEY_MAX + 1];
        (void) state;

        memset(most, 'm', sizeof(most));
        put("key", "0123456789abcd\0\n", 16, 0600);
        assert_gives(source("file", "key"), "0123456789abcd\0\n", 16);
        put("key", most, FACTOR_KEY_MAX, 0600);
        assert_gives(source("file", "key"), most, FACTOR_KEY_MAX);

        put("key", most, FACTOR_KEY_MAX + 1, 0600);
        assert_refused(source("file", "key"), "longer than 4096 bytes");
        put("key", most, 15, 0600);
        assert_refused(source("file", "key"), "15 bytes, where at least 16");
        put("key", most, 0, 0600);
        assert_refused(source("file", "key"), "0 bytes, where at least 16");
        assert_refused(source("file", "nowhere"), "No such file");
        assert_refused(source("file", "key/x"), "Not a directory");
        assert_refused(source("file", "."), "isn't a regular file");
        assert_refused("file:/dev/zero", "isn't a regular file");
        assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
        assert_refused(source("file", "fifo"), "isn't a regular file"); /* and nobody waits */
}

static void test_a_credential_comes_from_its_folder(void **state) {
        (void) state;

        put("disk.key", "0123456789abcdef", 16, 0400);
        assert_refused("credential:disk.key", "there are no credentials");
        assert_int_equal(setenv("CREDENTIALS_DIRECTORY", ".", 1), 0);
        assert_refused("credential:disk.key", "there are no credentials");
        assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
        assert_gives("credential:disk.key", "0123456789abcdef", 16);
        assert_refused("credential:other", "the credential other: No such file");
        assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

/* --- programs --- */

/* A program of the test: a shell script. The source that runs it, with arguments. */
static const char *script(const char *arguments, const char *body) {
        static char from[256];
        char text[1024];
        int n = snprintf(text, sizeof(text), "#!/bin/sh\ncd %s\n%s\n", dir, body);

        put("program", text, (size_t) n, 0700);
        (void) snprintf(from, sizeof(from), "helper:%s %s", in_dir("program"), arguments);
        return from;
}

static void test_a_program_gives_what_it_writes(void **state) {
        static const char exact[] = "0123456789abcde\n\0x";
        static char most[FACTOR_KEY_MAX];
        (void) state;

        memset(most, 'm', sizeof(most));
        assert_gives(script("", "printf '0123456789abcde\\n\\0x'"), exact, 18);
        assert_gives(script("", "printf 01234567; sleep 0.1; printf 89abcdef"), "0123456789abcdef",
                     16);
        assert_gives(script("", "head -c 4096 /dev/zero | tr '\\0' m"), most, sizeof(most));
        /* What it says beside that isn't part of it, however much. */
        assert_gives(script("", "head -c 1000000 /dev/zero >&2; printf 0123456789abcdef; "
                                "echo words >&2"),
                     "0123456789abcdef", 16);
        /* Arguments mean themselves. */
        put("argument", "", 0, 0600);
        assert_gives(script("* $HOME; `id`", "printf '%s|' \"$@\"; printf 0123456789"),
                     "*|$HOME;|`id`|0123456789", 24);
}

static void test_a_program_that_fails_is_refused(void **state) {
        (void) state;

        assert_refused(script("", "printf 0123456789abcde"), "wrote 15 bytes, where a key has");
        assert_refused(script("", ":"), "wrote 0 bytes");
        assert_refused(script("", "head -c 4097 /dev/zero"), "wrote more than 4096 bytes");
        assert_refused(script("", "exec cat /dev/zero"), "wrote more than 4096 bytes");
        assert_refused(script("", "printf 0123456789abcdef; exit 1"), "ended with status 1");
        assert_refused(script("", "printf 0123456789abcdef; kill -TERM $$"),
                       "was ended by signal 15");
        assert_refused(source("helper", "nowhere"), "can't be run: No such file");
        put("data", "data", 4, 0600);
        assert_refused(source("helper", "data"), "can't be run: Permission denied");
        put("program", "#!/no/such/shell\n", 17, 0700);
        assert_refused(source("helper", "program"), "ended with status 127");
        assert_refused("helper:/proc", "ended with status 127");
}

static void test_what_a_failing_program_says_is_shown(void **state) {
        struct refusal why = { 0 };
        struct secret *s = NULL;
        (void) state;

        assert_int_equal(
                get(script("", "printf '\\n\\033[2Jno\\303\\244 key\\nmore\\n' >&2; exit 3"), &s,
                    &why),
                OUTCOME_REFUSED);
        assert_non_null(strstr(why.what, "ended with status 3"));
        assert_int_equal(why.details, 1);
        assert_string_equal(why.detail[0], "it said: ?[2Jno?? key");

        assert_int_equal(
                get(script("", "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3"), &s, &why),
                OUTCOME_REFUSED);
        assert_true(strlen(why.detail[0]) < 180);
}

static void assert_hangs(const char *body) {
        struct timespec before, after;
        struct factor_source s;
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct secret *key = NULL;

        assert_int_equal(factor_source_parse(script("", body), &s, &err), 0);
        s.deadline = 400;
        (void) clock_gettime(CLOCK_MONOTONIC, &before);
        assert_int_equal(second_factor_get(&s, &request, &key, &why, &err), OUTCOME_REFUSED);
        (void) clock_gettime(CLOCK_MONOTONIC, &after);
        assert_true(after.tv_sec - before.tv_sec < SOON / 1000);
        assert_non_null(strstr(why.what, "didn't end within 0.4 s"));
        assert_null(key);
}

static void test_a_program_that_hangs_is_killed(void **state) {
        (void) state;

        assert_hangs("echo $$ >pid; exec sleep 1000");
        assert_dies("pid");
        assert_int_equal(unlink(in_dir("pid")), 0);
        /* Also one that has closed everything, or doesn't want to, or leaves it to others. */
        assert_hangs("printf 0123456789abcdef; echo $$ >pid; exec sleep 1000 >&- 2>&-");
        assert_dies("pid");
        assert_int_equal(unlink(in_dir("pid")), 0);
        assert_hangs("trap '' TERM INT HUP; echo $$ >pid; while :; do sleep 1000; done");
        assert_dies("pid");
        assert_int_equal(unlink(in_dir("pid")), 0);
        assert_hangs("sleep 1000 & echo $! >pid; wait");
        assert_dies("pid");
        assert_int_equal(unlink(in_dir("pid")), 0);
        assert_hangs("while :; do echo again; done >&2");
}

static void test_what_a_program_leaves_behind_is_killed(void **state) {
        (void) state;

        /* It holds the pipe, and isn't waited for. */
        assert_gives(script("", "sleep 1000 & echo $! >pid; printf 0123456789abcdef"),
                     "0123456789abcdef", 16);
        assert_dies("pid");
        assert_int_equal(unlink(in_dir("pid")), 0);
}

static void test_a_program_dies_with_us(void **state) {
        const char *from = script("", "echo $$ >pid; exec sleep 1000");
        pid_t pid = fork();
        (void) state;

        if (pid == 0) {
                struct refusal why = { 0 };
                struct secret *key = NULL;

                _exit(get(from, &key, &why) + 1);
        }
        free(written("pid", NULL));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_dies("pid");
        assert_int_equal(unlink(in_dir("pid")), 0);
}

static void test_a_program_inherits_nothing(void **state) {
        static const char environment[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
        _cleanup_(close_fdp) int leaked = open("/dev/zero", O_RDONLY); /* no O_CLOEXEC */
        _cleanup_(freep) char *seen = NULL, *fds = NULL, *ids = NULL, *where = NULL;
        size_t size;
        int pid, group, session;
        void (*old)(int) = signal(SIGPIPE, SIG_IGN);
        (void) state;

        assert_true(leaked >= 0);
        assert_int_equal(setenv("DISKSEAL_TCTI", "a secret of sorts", 1), 0);
        assert_gives(script("", "pwd >cwd; cat /proc/$$/environ >environ\n"
                                "ls -l /proc/self/fd >fds\n"
                                "cut -d ' ' -f 1,5,6 /proc/$$/stat >ids\n"
                                "grep SigIgn /proc/self/status >ignored; cat\n"
                                "printf 0123456789abcdef"),
                     "0123456789abcdef", 16);
        (void) signal(SIGPIPE, old);
        assert_int_equal(unsetenv("DISKSEAL_TCTI"), 0);

        seen = written("environ", &size);
        assert_int_equal(size, sizeof(environment));
        assert_memory_equal(seen, environment, size);
        fds = written("fds", NULL);
        assert_null(strstr(fds, "/dev/zero"));
        assert_non_null(strstr(fds, "0 -> /dev/null"));
        ids = written("ids", NULL);
        assert_int_equal(sscanf(ids, "%d %d %d", &pid, &group, &session), 3);
        assert_int_equal(pid, group);
        assert_int_equal(pid, session);
        where = written("ignored", NULL);
        assert_string_equal(where, "SigIgn:\t0000000000000000\n");
}

/* --- no key where none belongs --- */

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHADOWS 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SHADOWS 1
#endif

#define RUN 32           /* of a byte that doesn't come so often in a row */
#define REGION (8 << 20) /* bytes: larger ones are valgrind's own */

/* Whether there are RUN @c in a row in memory of ours that can be written to, but for @except. */
static unsigned runs_in_memory(uint8_t c, const uint8_t *except) {
        _cleanup_(fclosep) FILE *maps = fopen("/proc/self/maps", "re");
        _cleanup_(close_fdp) int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        static uint8_t page[4096];
        unsigned found = 0, run = 0;
        char line[512];

        assert_non_null(maps);
        while (fgets(line, sizeof(line), maps)) {
                unsigned long from, to;
                char mode[5];

                assert_int_equal(sscanf(line, "%lx-%lx %4s", &from, &to, mode), 3);
                if (mode[1] != 'w' || to - from > REGION)
                        continue;
                for (run = 0; from < to; from += sizeof(page)) {
                        if (from == (unsigned long) page / 4096 * 4096 ||
                            pread(mem, page, sizeof(page), (off_t) from) != sizeof(page))
                                continue;
                        for (size_t i = 0; i < sizeof(page); i++) {
                                run = page[i] == c && (!except || from + i < (uintptr_t) except ||
                                                       from + i >= (uintptr_t) except + RUN)
                                              ? run + 1
                                              : 0;
                                found += run == RUN;
                        }
                        explicit_bzero(page, sizeof(page));
                }
        }
        return found;
}

static void test_a_key_is_in_its_secret_alone(void **state) {
        const char *const from[] = { "helper", "file", "pin" };
        (void) state;

#ifdef SHADOWS
        print_message("SKIP: copies in memory aren't looked for with a sanitizer\n");
        return;
#endif
        /* Made by others, so that this program has never seen it. */
        (void) script("", "head -c 32 /dev/zero | tr '\\0' K");
        assert_int_equal(chdir(dir), 0);
        assert_int_equal(system("./program >key"), 0); /* NOLINT */
        for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
                const struct factor_request q = { .subject = "data1", .pin_file = "key" };
                _cleanup_(secret_freep) struct secret *key = NULL;
                struct factor_source s = { .from = FROM_PIN };
                struct refusal why = { 0 };
                struct error err = { 0 };

                if (i < 2)
                        assert_int_equal(factor_source_parse(source(from[i], i ? "key" : "program"),
                                                             &s, &err),
                                         0);
                assert_int_equal(second_factor_get(&s, &q, &key, &why, &err), OUTCOME_DONE);
                assert_int_equal(secret_size(key), RUN);
                assert_int_equal(secret_data(key)[0], 'K');
                assert_int_equal(runs_in_memory('K', NULL), 1);
                assert_int_equal(runs_in_memory('K', secret_data(key)), 0);
        }
        assert_int_equal(runs_in_memory('K', NULL), 0);
        assert_int_equal(chdir("/"), 0);
}

/* --- PINs --- */

static void assert_pin(const struct factor_request *q, const char *text) {
        _cleanup_(secret_freep) struct secret *pin = NULL;
        struct refusal why = { 0 };
        struct error err = { 0 };

        assert_int_equal(second_factor_pin(q, &pin, &why, &err), OUTCOME_DONE);
        assert_int_equal(secret_size(pin), strlen(text));
        assert_memory_equal(secret_data(pin), text, strlen(text));
}

static void assert_no_pin(const struct factor_request *q, const char *words) {
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct secret *pin = NULL;

        assert_int_equal(second_factor_pin(q, &pin, &why, &err), OUTCOME_REFUSED);
        assert_null(pin);
        assert_int_equal(why.kind, REFUSAL_SECOND_FACTOR);
        if (!strstr(why.what, words))
                fail_msg("'%s' isn't in '%s'", words, why.what);
}

static void test_a_pin_from_a_file_is_its_first_line(void **state) {
        const struct factor_request q = { .subject = "data1", .pin_file = in_dir("pin") };
        static char most[513];
        (void) state;

        put("pin", "1234", 4, 0600);
        assert_pin(&q, "1234");
        put("pin", "1 2\n", 4, 0600);
        assert_pin(&q, "1 2");
        put("pin", "1\n2\n", 4, 0600);
        assert_pin(&q, "1");
        memset(most, '7', sizeof(most));
        most[511] = '\n';
        put("pin", most, 512, 0600);
        most[511] = '\0';
        assert_pin(&q, most);

        most[511] = '7';
        put("pin", most, 512, 0600);
        assert_no_pin(&q, "its first line is too long");
        put("pin", most, 513, 0600);
        assert_no_pin(&q, "longer than 512 bytes");
        put("pin", "", 0, 0600);
        assert_no_pin(&q, "0 bytes");
        put("pin", "\n1234", 5, 0600);
        assert_no_pin(&q, "its first line is empty");
        assert_int_equal(unlink(in_dir("pin")), 0);
        assert_no_pin(&q, "No such file");
}

static void test_a_pin_file_goes_before_a_credential(void **state) {
        const struct factor_request q = { .subject = "data1", .pin_file = in_dir("pin") };
        (void) state;

        put(PIN_CREDENTIAL, "4321\n", 5, 0600);
        put("pin", "1234", 4, 0600);
        assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
        assert_pin(&request, "4321");
        assert_pin(&q, "1234");
        put(PIN_CREDENTIAL, "\n", 1, 0600);
        assert_no_pin(&request, "the credential diskseal.pin: its first line is empty");
        assert_int_equal(unlink(in_dir(PIN_CREDENTIAL)), 0);
        assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void test_without_a_terminal_nobody_is_asked(void **state) {
        pid_t pid = fork();
        int status;
        (void) state;

        if (pid == 0) {
                struct refusal why = { 0 };
                struct error err = { 0 };
                struct secret *pin = NULL;
                int r;

                (void) setsid(); /* no terminal any more */
                r = second_factor_pin(&request, &pin, &why, &err);
                _exit(r == OUTCOME_REFUSED && why.kind == REFUSAL_SECOND_FACTOR && !pin &&
                                      why.details == 1 &&
                                      strcmp(why.what, "data1: a PIN is needed, and nobody is "
                                                       "there to type it") == 0
                              ? 0
                              : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

/* Reads what is shown on the terminal until @text stands there. */
static void expect(int fd, const char *text, char *seen, size_t size) {
        size_t used = strlen(seen);

        while (!strstr(seen, text)) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                ssize_t n;

                assert_int_equal(poll(&p, 1, SOON), 1);
                n = read(fd, seen + used, size - 1 - used);
                assert_true(n > 0);
                used += (size_t) n;
                seen[used] = '\0';
        }
}

/* Types into a terminal of a child that asks for a PIN. @ret: what was shown. Return: what became
 * of it, 0 where the PIN was @pin; else the refusal's words in @ret too. */
static int type(bool new_pin, const char *const *lines, const char *pin, char ret[2048]) {
        const struct factor_request q = { .subject = "data1", .new_pin = new_pin };
        int fd = -1, status;
        pid_t pid = forkpty(&fd, NULL, NULL, NULL);

        if (pid == 0) {
                struct refusal why = { 0 };
                struct error err = { 0 };
                struct secret *got = NULL;
                int r = second_factor_pin(&q, &got, &why, &err);

                printf("%s\n", why.what);
                printf("END");
                (void) fflush(stdout);
                _exit(r != OUTCOME_DONE ? 10 + r
                                        : secret_size(got) != strlen(pin) ||
                                                  memcmp(secret_data(got), pin, strlen(pin)) != 0);
        }
        assert_true(pid > 0);
        ret[0] = '\0';
        for (unsigned i = 0; lines[i]; i++) {
                expect(fd, i == 0 ? "PIN of data1: " : "The same PIN again: ", ret, 2048);
                assert_int_equal(write(fd, lines[i], strlen(lines[i])), strlen(lines[i]));
        }
        expect(fd, "END", ret, 2048);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        (void) close(fd); /* not before: that hangs up on it */
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void test_a_pin_is_typed_unseen(void **state) {
        char seen[2048];
        (void) state;

        assert_int_equal(type(false, (const char *[]){ "12 34\n", NULL }, "12 34", seen), 0);
        assert_null(strstr(seen, "12"));
        assert_null(strstr(seen, "New PIN"));
        assert_int_equal(type(true, (const char *[]){ "9876\n", "9876\n", NULL }, "9876", seen), 0);
        assert_null(strstr(seen, "98"));
        assert_non_null(strstr(seen, "New PIN of data1: "));

        assert_int_equal(type(true, (const char *[]){ "9876\n", "9875\n", NULL }, "", seen), 11);
        assert_non_null(strstr(seen, "two different ones"));
        assert_int_equal(type(false, (const char *[]){ "\n", NULL }, "", seen), 11);
        assert_non_null(strstr(seen, "none was typed"));
        assert_int_equal(type(false, (const char *[]){ "\4", NULL }, "", seen), 11); /* ^D */
        assert_non_null(strstr(seen, "none was typed"));
}

static void test_a_pin_that_is_too_long_is_not_cut(void **state) {
        char line[602], most[512], seen[2048];
        (void) state;

        memset(line, '5', sizeof(line));
        memcpy(line + 600, "\n", 2);
        assert_int_equal(type(false, (const char *[]){ line, NULL }, "", seen), 11);
        assert_non_null(strstr(seen, "too long"));

        memcpy(line + 511, "\n", 2);
        memset(most, '5', 511);
        most[511] = '\0';
        assert_int_equal(type(false, (const char *[]){ line, NULL }, most, seen), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sources_are_read),
                cmocka_unit_test(test_what_is_no_source_is_refused),
                cmocka_unit_test(test_none_is_nothing),
                cmocka_unit_test(test_a_file_counts_byte_for_byte),
                cmocka_unit_test(test_a_credential_comes_from_its_folder),
                cmocka_unit_test(test_a_program_gives_what_it_writes),
                cmocka_unit_test(test_a_program_that_fails_is_refused),
                cmocka_unit_test(test_what_a_failing_program_says_is_shown),
                cmocka_unit_test(test_a_program_that_hangs_is_killed),
                cmocka_unit_test(test_what_a_program_leaves_behind_is_killed),
                cmocka_unit_test(test_a_program_dies_with_us),
                cmocka_unit_test(test_a_program_inherits_nothing),
                cmocka_unit_test(test_a_key_is_in_its_secret_alone),
                cmocka_unit_test(test_a_pin_from_a_file_is_its_first_line),
                cmocka_unit_test(test_a_pin_file_goes_before_a_credential),
                cmocka_unit_test(test_without_a_terminal_nobody_is_asked),
                cmocka_unit_test(test_a_pin_is_typed_unseen),
                cmocka_unit_test(test_a_pin_that_is_too_long_is_not_cut),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
