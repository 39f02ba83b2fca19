/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* The log, locked, and what stands at its end. */
struct log {
        const struct context *c;
        int fd;
        off_t size;
        bool open_line; /* no newline at its end */
        struct audit_head last;
        struct audit_torn torn;
        bool is_torn;
        struct audit_head known; /* by audit.head */
        bool gap;                /* … which doesn't fit */
        bool head_written;
};

static void log_done(struct log *l) {
        close_fdp(&l->fd);
}

void audit_path(const struct context *c, char ret[300]) {
        (void) snprintf(ret, 300, "%s/audit.jsonl", c->state_dir);
}

static void head_path(const struct context *c, char ret[300]) {
        (void) snprintf(ret, 300, "%s/audit.head", c->state_dir);
}

static int lock(int fd, int how, const char *path, struct error *err) {
        while (flock(fd, how) < 0)
                if (errno != EINTR)
                        return error_errno(err, -errno, "take lock %s", path);
        return 0;
}

/* --- reading --- */

int audit_open_log(const struct context *c, bool locked, int *ret_fd, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;
        char path[300];
        int r;

        audit_path(c, path);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_errno(err, -errno, "open %s", path);
        r = locked ? lock(fd, LOCK_SH, path, err) : 0;
        if (r == 0)
                *ret_fd = TAKE_FD(fd);
        return r;
}

int audit_read_head(const struct context *c, struct audit_head *ret, bool *ret_damaged,
                    struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[300];
        size_t size;
        int r;

        head_path(c, path);
        *ret = (struct audit_head){ 0 };
        *ret_damaged = false;
        r = file_read(path, AUDIT_HEAD_SIZE, &text, &size, err);
        if (r == -ENOENT || r == -EFBIG) {
                *err = (struct error){ 0 };
                *ret_damaged = r == -EFBIG;
                return 0;
        }
        if (r < 0)
                return r;
        r = audit_head_parse(text, size, ret, err);
        *ret_damaged = r == 0;
        return r < 0 ? r : 0;
}

int audit_read_line(struct audit_reader *r, const char **ret, size_t *ret_size, struct error *err) {
        char *newline;
        ssize_t n;

        memmove(r->buffer, r->buffer + r->used, r->size - r->used);
        r->size -= r->used;
        r->used = 0;
        while (!(newline = memchr(r->buffer, '\n', r->size)) && r->size < sizeof(r->buffer)) {
                n = pread(r->fd, r->buffer + r->size, sizeof(r->buffer) - r->size,
                          r->at + (off_t) r->size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "read the audit log");
                if (n == 0)
                        break;
                r->size += (size_t) n;
        }
        if (r->size == 0)
                return 0;
        r->whole = newline != NULL;
        *ret = r->buffer;
        *ret_size = newline ? (size_t) (newline - r->buffer) : r->size;
        r->used = *ret_size + r->whole;
        r->at += (off_t) r->used;
        return 1;
}

int audit_walk_log(int fd, struct audit_walk *w, struct error *err) {
        _cleanup_(freep) struct audit_reader *reader = calloc(1, sizeof(*reader));
        const char *line;
        size_t size;
        int r;

        if (!reader)
                return error_nomem(err);
        reader->fd = fd;
        while ((r = audit_read_line(reader, &line, &size, err)) > 0)
                if ((r = audit_walk(w, line, size, err)) < 0)
                        return r;
        return r;
}

/* --- the end of the log, before something is added to it --- */

/* From the last line that is whole: what follows it was torn. Return: whether there's any. */
static int find_last(struct log *l, const char *tail, size_t size, struct audit_walk *w,
                     struct error *err) {
        size_t end = size;

        while (end > 0) {
                const char *newline = memrchr(tail, '\n', end - 1);
                size_t begin = newline ? (size_t) (newline - tail) + 1 : 0;
                struct audit_line line = { 0 };
                struct error bad = { 0 };
                size_t newline_size = tail[end - 1] == '\n';
                int r = audit_parse(tail + begin, end - newline_size - begin, &line, &bad);

                l->last = line.head;
                audit_line_done(&line);
                if (r == 0)
                        break;
                if (r != -EBADMSG) {
                        *err = bad;
                        return r;
                }
                l->last = (struct audit_head){ 0 };
                end = begin;
        }
        if (end == 0 && l->size > (off_t) size)
                return error_set(err, -EBADMSG,
                                 "the end of the audit log isn't one: see diskseal log --verify, "
                                 "and move audit.jsonl and audit.head away to begin a new one");
        if (end == size)
                return 0;
        l->is_torn = true;
        w->torn_size = size - end - (tail[size - 1] == '\n');
        memcpy(w->torn_bytes, tail + end, w->torn_size);
        return audit_walk_torn(w, &l->torn, err);
}

/* Whether audit.head is of this log, all of which is read for that. */
static int find_known(struct log *l, struct audit_walk *w, struct error *err) {
        int r;

        *w = (struct audit_walk){ .expect = l->known };
        r = audit_walk_log(l->fd, w, err);
        l->gap = !w->expect_met;
        return r;
}

static int look(struct log *l, struct error *err) {
        _cleanup_(freep) struct audit_walk *w = calloc(1, sizeof(*w));
        _cleanup_(freep) char *tail = malloc(AUDIT_TORN_MAX);
        size_t size = l->size < AUDIT_TORN_MAX ? (size_t) l->size : AUDIT_TORN_MAX;
        ssize_t n;
        bool damaged;
        int r;

        if (!w || !tail)
                return error_nomem(err);
        n = pread(l->fd, tail, size, l->size - (off_t) size);
        if (n != (ssize_t) size)
                return error_errno(err, n < 0 ? -errno : -EIO, "read the audit log");
        l->open_line = size > 0 && tail[size - 1] != '\n';
        if ((r = find_last(l, tail, size, w, err)) < 0 ||
            (r = audit_read_head(l->c, &l->known, &damaged, err)) < 0)
                return r;
        if (l->known.seq == l->last.seq && strcmp(l->known.hash, l->last.hash) == 0)
                return 0;
        if (l->known.seq == 0) {
                /* Of the first line, its head may not have come so far. */
                l->gap = l->last.seq > 1;
                return 0;
        }
        return find_known(l, w, err);
}

/* --- writing --- */

/* In one write, and durable; else the log is as it was. A failed fdatasync(2) may have lost what
 * was in memory: cut off and written again, it's written for sure. */
static int append(struct log *l, const char *line, struct error *err) {
        size_t size = strlen(line);
        ssize_t n;
        int r = 0;

        do
                n = write(l->fd, line, size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                r = error_errno(err, -errno, "write the audit log");
        else if ((size_t) n < size)
                r = error_set(err, -ENOSPC, "write the audit log: %zd of %zu bytes", n, size);
        else if (fdatasync(l->fd) < 0)
                r = error_errno(err, -errno, "make the audit log durable");
        if (r < 0) {
                if (ftruncate(l->fd, l->size) < 0)
                        return error_prefix(err, "half a line stays, which the next one mends");
                return r;
        }
        l->size += n;
        return 0;
}

static int append_event(struct log *l, const struct audit_event *e, const struct audit_torn *torn,
                        struct error *err) {
        char text[AUDIT_LINE_MAX + 3], time[TIME_TEXT];
        struct audit_head head = l->last;
        int r;

        time_text(time);
        text[0] = '\n';
        r = audit_format(e, torn, time, &head, text + 1, err);
        if (r == 0)
                r = append(l, text + !l->open_line, err);
        if (r < 0)
                return r;
        l->open_line = false;
        l->last = head;
        return 0;
}

/* In place, and not synced but for the first time: after a power cut it may be older than the log,
 * and is never newer. Of its two records the one of the line before stays as it is. */
static int write_head(struct log *l, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;
        char record[AUDIT_RECORD + 1], path[300];
        struct stat st;
        off_t at;
        ssize_t n;
        int r = audit_head_print(&l->last, record, err);

        if (r < 0)
                return r;
        head_path(l->c, path);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(err, -errno, "write %s", path);
        for (unsigned i = 0; i < 2; i++) {
                at = (off_t) ((l->last.seq + i) % 2) * AUDIT_RECORD;
                n = pwrite(fd, record, AUDIT_RECORD, at);
                if (n != AUDIT_RECORD)
                        return error_errno(err, n < 0 ? -errno : -EIO, "write %s", path);
                l->head_written = true;
                if ((size_t) st.st_size >= AUDIT_HEAD_SIZE && !l->gap)
                        return 0;
        }
        return fsync(fd) < 0 ? error_errno(err, -errno, "make %s durable", path) : 0;
}

static int sync_folder(const struct context *c, struct error *err) {
        _cleanup_(close_fdp) int fd = open(c->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return error_errno(err, -errno, "make the folder of the audit log durable");
        return 0;
}

static int open_log(struct log *l, struct error *err) {
        char path[300];
        struct stat st;
        int r;

        audit_path(l->c, path);
        l->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (l->fd < 0)
                return error_errno(err, -errno, "open %s", path);
        r = lock(l->fd, LOCK_EX, path, err);
        if (r < 0)
                return r;
        if (fstat(l->fd, &st) < 0)
                return error_errno(err, -errno, "look at %s", path);
        if (!S_ISREG(st.st_mode))
                return error_set(err, -EINVAL, "%s isn't a file", path);
        l->size = st.st_size;
        return 0;
}

static int add(struct log *l, const struct audit_event *e, struct error *err) {
        bool is_new = l->size == 0;
        off_t before = l->size;
        struct audit_event gap;
        int r = look(l, err);

        if (r == 0 && l->is_torn)
                r = append_event(l, NULL, &l->torn, err);
        if (r == 0 && l->gap) {
                gap = audit_gap(&l->known);
                r = append_event(l, &gap, NULL, err);
        }
        if (r == 0)
                r = append_event(l, e, NULL, err);
        if (r == 0)
                r = write_head(l, err);
        if (r == 0 && (is_new || l->gap))
                r = sync_folder(l->c, err);
        if (r < 0 && !l->head_written && ftruncate(l->fd, before) < 0)
                return error_prefix(err, "a line stays that announces what doesn't happen");
        return r;
}

int audit(const struct context *c, const struct audit_event *e, struct error *err) {
        _cleanup_(log_done) struct log l = { .c = c, .fd = -1 };
        int r;

        if (c->dry_run || c->unlogged)
                return 0;
        r = open_log(&l, err);
        return r == 0 ? add(&l, e, err) : r;
}

bool audit_is_absent(int r) {
        return r == -ENOENT || r == -ENOTDIR || r == -EROFS || r == -EACCES || r == -EPERM;
}

static void add_fact(struct audit_event *e, const char *key, const char *text) {
        for (size_t i = 0; i < AUDIT_FACTS_MAX; i++)
                if (!e->fact[i].key) {
                        e->fact[i] = (struct audit_fact){ key, text, 0 };
                        return;
                }
}

static const char *error_name(int errnum) {
        const char *name = strerrorname_np(errnum);

        return name ? name : "?";
}

int audit_result(const struct context *c, struct audit_event e, int outcome, struct error *err) {
        struct error unlogged = { 0 };
        int r;

        if (outcome == OUTCOME_REFUSED)
                return outcome;
        e.result = outcome == OUTCOME_DONE ? "done" : outcome == -EINTR ? "interrupted" : "fault";
        if (outcome < 0)
                add_fact(&e, "error", error_name(-outcome));
        r = audit(c, &e, &unlogged);
        if (r == 0 || outcome < 0)
                return outcome;
        *err = unlogged;
        return error_prefix(err, "it was done, but the log doesn't say so");
}

int audit_refusal(const struct context *c, const char *verb, const char *subject,
                  const struct refusal *why, struct error *err) {
        return audit(c,
                     &(struct audit_event){ .event = verb,
                                            .subject = subject,
                                            .result = "refused",
                                            .fact = { { "refusal", refusal_id(why->kind), 0 } } },
                     err);
}
