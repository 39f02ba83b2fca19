/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/audit.h"
#include "agent/op-log.h"
#include "base/file.h"
#include "tests/test.h"

/* A state folder of its own for each test. */
static struct context c = CONTEXT_INIT;
static char path[300], head[300];

static int begin(void **state) {
        char folder[] = "/tmp/diskseal-audit-XXXXXX";

        (void) state;
        if (!mkdtemp(folder))
                return -1;
        (void) snprintf(c.state_dir, sizeof(c.state_dir), "%s", folder);
        (void) snprintf(path, sizeof(path), "%s/audit.jsonl", folder);
        (void) snprintf(head, sizeof(head), "%s/audit.head", folder);
        return 0;
}

static int end(void **state) {
        (void) state;
        (void) unlink(path);
        (void) unlink(head);
        return rmdir(c.state_dir);
}

static void log_one(const char *subject) {
        const struct audit_event e = { .event = "unlock",
                                       .subject = subject,
                                       .result = "opened",
                                       .fact = { { "kek", "default", 0 },
                                                 { "version", NULL, 3 } } };
        struct error err = { 0 };

        assert_int_equal(audit(&c, &e, &err), 0);
}

static void log_five(void) {
        static const char *const names[] = { "one", "two", "three", "four", "five" };

        for (size_t i = 0; i < 5; i++)
                log_one(names[i]);
}

static char *slurp(const char *file, size_t *size) {
        struct error err = { 0 };
        char *text = NULL;

        assert_int_equal(file_read(file, 1 << 20, &text, size, &err), 0);
        return text;
}

static void spill(const char *file, const char *text, size_t size) {
        FILE *f = fopen(file, "w");

        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, size, f), size);
        assert_int_equal(fclose(f), 0);
}

static char *line_of(char *text, unsigned n) {
        while (--n)
                text = strchr(text, '\n') + 1;
        return text;
}

static void verified(uint64_t lines, unsigned repaired) {
        struct op_log_verified v = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = op_log_verify(&c, &v, &why, &err);

        if (r)
                print_message("%s%s\n", why.what, err.text);
        assert_int_equal(r, OUTCOME_DONE);
        assert_int_equal(v.head.seq, lines);
        assert_int_equal(v.repaired, repaired);
}

static void refused(const char *words) {
        struct op_log_verified v = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };

        assert_int_equal(op_log_verify(&c, &v, &why, &err), OUTCOME_REFUSED);
        assert_int_equal(why.kind, REFUSAL_LOG);
        if (!strstr(why.what, words))
                print_message("'%s' isn't in '%s'\n", words, why.what);
        assert_non_null(strstr(why.what, words));
}

/* --- */

static void a_line_is_canonical_and_bounded(void **state) {
        struct audit_event e = { .event = "format",
                                 .subject = "data1\033[2J\n\"",
                                 .result = "begin",
                                 .fact = { { "version", NULL, 1 } } };
        char line[AUDIT_LINE_MAX + 2], longest[5000];
        struct audit_head h = { 0 };
        struct audit_line l = { 0 };
        struct error err = { 0 };

        (void) state;
        assert_int_equal(audit_format(&e, NULL, "2026-11-24T16:00:00Z", &h, line, &err), 0);
        assert_string_equal(line,
                            "{\"data\":{\"result\":\"begin\",\"version\":1},\"event\":\"format\","
                            "\"prev\":\"00000000000000000000000000000000000000000000000000000000000"
                            "00000\",\"seq\":1,\"subject\":\"data1?[2J?\\\"\","
                            "\"time\":\"2026-11-24T16:00:00Z\"}\n");
        assert_int_equal(h.seq, 1);
        assert_int_equal(audit_parse(line, strlen(line) - 1, &l, &err), 0);
        assert_string_equal(l.head.hash, h.hash);
        audit_line_done(&l);
        assert_int_equal(audit_parse(line, strlen(line), &l, &err), -EBADMSG);
        line[0] = ' ';
        assert_int_equal(audit_parse(line, strlen(line) - 1, &l, &err), -EBADMSG);

        memset(longest, '"', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = '\0';
        e.subject = longest;
        for (size_t i = 0; i < AUDIT_FACTS_MAX; i++)
                e.fact[i] = (struct audit_fact){ "key", longest, 0 };
        assert_int_equal(audit_format(&e, NULL, "2026-11-24T16:00:00Z", &h, line, &err), 0);
        assert_true(strlen(line) < AUDIT_LINE_MAX);
        h.seq = AUDIT_SEQ_MAX;
        assert_int_equal(audit_format(&e, NULL, "2026-11-24T16:00:00Z", &h, line, &err),
                         -EOVERFLOW);
}

static void a_log_verifies_and_only_its_owner_reads_it(void **state) {
        struct stat st;

        (void) state;
        verified(0, 0);
        log_five();
        verified(5, 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(stat(head, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        c.dry_run = true;
        log_one("six");
        c.dry_run = false;
        verified(5, 0);
}

/* Every byte of the log, each in two ways. */
static void any_changed_byte_is_found(void **state) {
        _cleanup_(freep) char *good = NULL, *bad = NULL;
        size_t size;

        (void) state;
        log_five();
        good = slurp(path, &size);
        bad = malloc(size);
        for (size_t i = 0; i < size; i++)
                for (unsigned bit = 0; bit < 8; bit += 7) {
                        struct op_log_verified v = { 0 };
                        struct refusal why = { 0 };
                        struct error err = { 0 };

                        memcpy(bad, good, size);
                        bad[i] = (char) (bad[i] ^ (1 << bit));
                        spill(path, bad, size);
                        assert_int_equal(op_log_verify(&c, &v, &why, &err), OUTCOME_REFUSED);
                }
        spill(path, good, size);
        verified(5, 0);
}

static void a_changed_line_is_named(void **state) {
        _cleanup_(freep) char *text = NULL;
        size_t size;

        (void) state;
        log_five();
        text = slurp(path, &size);
        memcpy(strstr(text, "three"), "THREE", 5);
        spill(path, text, size);
        refused("line 3 was changed");
        log_one("six"); /* nothing that comes later makes it good */
        refused("line 3 was changed");
}

static void a_missing_line_is_named(void **state) {
        _cleanup_(freep) char *text = NULL;
        size_t size;
        char *two, *three, *four;

        (void) state;
        log_five();
        text = slurp(path, &size);
        two = line_of(text, 2);
        three = line_of(text, 3);
        four = line_of(text, 4);
        memmove(two, three, size - (size_t) (three - text));
        spill(path, text, size - (size_t) (three - two));
        refused("number 2 is missing");
        (void) four;
}

static void reordered_and_doubled_lines_are_named(void **state) {
        _cleanup_(freep) char *text = NULL, *other = NULL;
        size_t size, one, two;
        char *a, *b, *d;

        (void) state;
        log_five();
        text = slurp(path, &size);
        other = malloc(2 * size);
        a = line_of(text, 2);
        b = line_of(text, 3);
        d = line_of(text, 4);
        one = (size_t) (b - a);
        two = (size_t) (d - b);
        memcpy(other, text, size);
        memcpy(other + (a - text), b, two);
        memcpy(other + (a - text) + two, a, one);
        spill(path, other, size);
        refused("number 2 is out of order: it stands on line 3");

        memcpy(other, text, size);
        memcpy(other + size, a, one);
        spill(path, other, size + one);
        refused("line 6 out of order: it has number 2, behind 5");
}

/* Its end alone, all of it, and what is written then doesn't hide it. */
static void a_log_that_was_cut_off_is_found(void **state) {
        _cleanup_(freep) char *text = NULL;
        size_t size;

        (void) state;
        log_five();
        text = slurp(path, &size);
        spill(path, text, (size_t) (line_of(text, 4) - text));
        refused("it has 3 lines, audit.head knows of 5");
        log_one("six");
        log_one("seven");
        refused("line 4 says that before it the log was cut or rewritten: it had been at number 5");

        spill(path, text, size);
        refused("it has 5 lines, audit.head knows of 6");
        assert_int_equal(unlink(path), 0);
        refused("it has 0 lines");
        log_one("six");
        refused("line 1 says that before it the log was cut");
}

static void which_of_both_is_wrong_is_said(void **state) {
        _cleanup_(freep) char *known = NULL;
        size_t size;

        (void) state;
        log_five();
        known = slurp(head, &size);
        assert_int_equal(size, AUDIT_HEAD_SIZE);
        assert_int_equal(unlink(head), 0);
        refused("audit.head is missing; the log is whole");
        spill(head, "what", 4);
        refused("audit.head is damaged; the log is whole");
        spill(head, known, size);
        verified(5, 0);
        assert_int_equal(unlink(head), 0);
        log_one("six");
        refused("line 6 says that before it audit.head was lost");
}

/* All of it written anew, and as long: its chain is whole. */
static void a_rewritten_log_is_found(void **state) {
        _cleanup_(freep) char *known = NULL;
        size_t size;

        (void) state;
        log_five();
        known = slurp(head, &size);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(unlink(head), 0);
        for (unsigned i = 0; i < 5; i++)
                log_one("other");
        verified(5, 0);
        spill(head, known, size);
        refused("number 5 isn't the one that audit.head knows");
}

/* A power cut may keep the record of the line before, or tear the one that was written. */
static void an_older_head_is_a_note(void **state) {
        _cleanup_(freep) char *known = NULL, *now = NULL;
        struct op_log_verified v = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        size_t size;

        (void) state;
        log_five();
        known = slurp(head, &size);
        log_one("six");
        log_one("seven");
        now = slurp(head, &size);
        spill(head, known, size);
        assert_int_equal(op_log_verify(&c, &v, &why, &err), OUTCOME_DONE);
        assert_int_equal(v.behind, 2);
        memset(now + AUDIT_RECORD + 10, 0, 30); /* of the seventh */
        spill(head, now, size);
        assert_int_equal(op_log_verify(&c, &v, &why, &err), OUTCOME_DONE);
        assert_int_equal(v.behind, 1);
        log_one("eight");
        verified(8, 0);
}

/* Each length of what was left of the sixth line, also with zeros at its end, and twice. */
static void a_torn_line_is_moved_on_over(void **state) {
        _cleanup_(freep) char *five = NULL, *known = NULL, *six = NULL, *torn = NULL;
        size_t size, head_size, all;

        (void) state;
        log_five();
        five = slurp(path, &size);
        known = slurp(head, &head_size);
        log_one("six");
        six = slurp(path, &all);
        torn = calloc(1, 2 * all);
        for (size_t n = size + 1; n < all - 1; n += n + 9 < all ? 7 : 1)
                for (unsigned how = 0; how < 3; how++) {
                        struct op_log_verified v = { 0 };
                        struct refusal why = { 0 };
                        struct error err = { 0 };
                        size_t end = n;

                        memcpy(torn, six, all);
                        if (how == 1) { /* the file had grown already */
                                memset(torn + n, 0, all - n);
                                end = all;
                        } else if (how == 2) { /* torn, and torn again */
                                torn[n] = '\n';
                                memcpy(torn + n + 1, six + size, 9);
                                end = n + 10;
                        }
                        spill(path, torn, end);
                        spill(head, known, head_size);
                        assert_int_equal(op_log_verify(&c, &v, &why, &err), OUTCOME_DONE);
                        assert_int_equal(v.head.seq, 5);
                        assert_true(v.torn);
                        log_one("again");
                        verified(7, 1);
                }
}

static void only_what_is_accounted_for_counts_as_torn(void **state) {
        _cleanup_(freep) char *text = NULL;
        char *torn;
        size_t size;
        FILE *f;

        (void) state;
        log_five();
        f = fopen(path, "a");
        assert_non_null(f);
        assert_true(fputs("{\"data\":{", f) >= 0);
        assert_int_equal(fclose(f), 0);
        log_one("six");
        verified(7, 1);
        text = slurp(path, &size);
        torn = line_of(text, 6);
        torn[3] = 'X';
        spill(path, text, size);
        refused("line 6 was changed");
}

/* The line that moves on over what was torn has to name all of it, and what was before. */
static void what_a_repair_says_is_checked(void **state) {
        static const char whole[] = "2026-11-24T16:00:00Z", bytes[] = "{\"data\"";
        const struct audit_event e = { .event = "lock", .subject = "a", .result = "closed" };
        char first[AUDIT_LINE_MAX + 2], repair[AUDIT_LINE_MAX + 2];
        struct error err = { 0 };

        (void) state;
        for (unsigned wrong = 0; wrong < 4; wrong++) {
                _cleanup_(freep) struct audit_walk *w = calloc(1, sizeof(*w));
                struct audit_head h = { 0 };
                struct audit_torn torn;

                assert_int_equal(audit_format(&e, NULL, whole, &h, first, &err), 0);
                assert_int_equal(audit_walk(w, first, strlen(first) - 1, &err), 0);
                assert_int_equal(audit_walk(w, bytes, strlen(bytes), &err), 0);
                assert_int_equal(audit_walk_torn(w, &torn, &err), 0);
                torn.size += wrong == 1;
                torn.hash[5] = (char) (wrong == 2 ? torn.hash[5] ^ 1 : torn.hash[5]);
                h.hash[5] = (char) (wrong == 3 ? h.hash[5] ^ 1 : h.hash[5]);
                assert_int_equal(audit_format(NULL, &torn, whole, &h, repair, &err), 0);
                assert_int_equal(audit_walk(w, repair, strlen(repair) - 1, &err), 0);
                assert_int_equal(w->bad, wrong != 0);
        }
}

/* It's whole, and the next one ends it. */
static void a_line_without_its_newline_counts(void **state) {
        _cleanup_(freep) char *text = NULL, *known = NULL;
        size_t size, head_size;

        (void) state;
        log_five();
        known = slurp(head, &head_size);
        log_one("six");
        text = slurp(path, &size);
        spill(path, text, size - 1);
        spill(head, known, head_size);
        log_one("seven");
        verified(7, 0);
}

/* Where the disk is full: the log is as it was, and nobody is told that it's in there. */
static void no_room_is_a_fault_and_leaves_no_half_line(void **state) {
        const struct audit_event e = { .event = "format", .subject = "six", .result = "begin" };
        struct rlimit old, tight;
        struct error err = { 0 };
        struct stat st;

        (void) state;
        log_five();
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        tight = (struct rlimit){ (rlim_t) st.st_size + 10, old.rlim_max };
        (void) signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
        assert_int_equal(audit(&c, &e, &err), -ENOSPC);
        assert_true(err.text[0] != '\0');
        tight.rlim_cur = (rlim_t) st.st_size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
        assert_int_equal(audit(&c, &e, &err), -EFBIG);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        verified(5, 0);
        log_one("six");
        verified(6, 0);
}

static void no_folder_is_told_apart(void **state) {
        const struct audit_event e = { .event = "unlock", .subject = "a", .result = "opened" };
        struct context none = CONTEXT_INIT;
        struct op_log_verified v = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct stat st;

        (void) state;
        (void) snprintf(none.state_dir, sizeof(none.state_dir), "%.200s/none", c.state_dir);
        assert_int_equal(audit(&none, &e, &err), -ENOENT);
        assert_true(audit_is_absent(-ENOENT) && audit_is_absent(-EROFS));
        assert_false(audit_is_absent(-ENOSPC) || audit_is_absent(-EIO));
        assert_int_equal(stat(none.state_dir, &st), -1);
        assert_int_equal(op_log_verify(&none, &v, &why, &err), OUTCOME_DONE);
        assert_int_equal(v.head.seq, 0);
}

static void processes_take_turns(void **state) {
        (void) state;
        for (unsigned p = 0; p < 8; p++)
                if (fork() == 0) {
                        for (unsigned i = 0; i < 25; i++)
                                log_one("many");
                        _exit(0);
                }
        for (unsigned p = 0; p < 8; p++) {
                int status;

                assert_true(wait(&status) > 0);
                assert_int_equal(status, 0);
        }
        verified(200, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(a_line_is_canonical_and_bounded),
                TEST(a_log_verifies_and_only_its_owner_reads_it),
                TEST(any_changed_byte_is_found),
                TEST(a_changed_line_is_named),
                TEST(a_missing_line_is_named),
                TEST(reordered_and_doubled_lines_are_named),
                TEST(a_log_that_was_cut_off_is_found),
                TEST(which_of_both_is_wrong_is_said),
                TEST(a_rewritten_log_is_found),
                TEST(an_older_head_is_a_note),
                TEST(a_torn_line_is_moved_on_over),
                TEST(only_what_is_accounted_for_counts_as_torn),
                TEST(what_a_repair_says_is_checked),
                TEST(a_line_without_its_newline_counts),
                TEST(no_room_is_a_fault_and_leaves_no_half_line),
                TEST(no_folder_is_told_apart),
                TEST(processes_take_turns),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
