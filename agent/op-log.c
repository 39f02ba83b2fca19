/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/op-log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

int op_log_verify(struct context *c, struct op_log_verified *ret, struct refusal *why,
                  struct error *err) {
        _cleanup_(freep) struct audit_walk *w = calloc(1, sizeof(*w));
        _cleanup_(close_fdp) int fd = -1;
        bool damaged;
        int r;

        if (!w)
                return error_nomem(err);
        r = audit_open_log(c, true, &fd, err);
        if (r == -ENOENT)
                *err = (struct error){ 0 };
        else if (r < 0)
                return r;
        if ((r = audit_read_head(c, &w->expect, &damaged, err)) < 0 ||
            (fd >= 0 && (r = audit_walk_log(fd, w, err)) < 0))
                return r;
        audit_walk_end(w, damaged);
        if (w->bad)
                return refusal_set(why, REFUSAL_LOG, "the audit log isn't as it was written: %s",
                                   w->what);
        *ret = (struct op_log_verified){ .head = w->head,
                                         .repaired = w->repaired,
                                         .torn = w->torn,
                                         .behind = w->head.seq - w->expect.seq };
        return OUTCOME_DONE;
}

/* Shows what is whole from where the reader is; but for the first @skip. */
static int show_more(struct audit_reader *reader, const struct op_log_show *args, uint64_t skip,
                     struct error *err) {
        const char *line;
        size_t size;
        int r;

        while ((r = audit_read_line(reader, &line, &size, err)) > 0) {
                if (!reader->whole && size < AUDIT_TORN_MAX) {
                        reader->at -= (off_t) reader->used; /* it may yet become whole */
                        break;
                }
                if (skip > 0) {
                        skip--;
                        continue;
                }
                r = args->show(line, size, args->user, err);
                if (r < 0)
                        return r;
        }
        reader->used = reader->size = 0;
        return r < 0 ? r : 0;
}

static int count_line(const char *line, size_t size, void *user, struct error *err) {
        uint64_t *lines = user;

        (void) line;
        (void) size;
        (void) err;
        (*lines)++;
        return 0;
}

static int show_file(struct context *c, struct audit_reader *reader, const struct op_log_show *args,
                     struct error *err) {
        uint64_t lines = 0;
        const struct op_log_show count = { .show = count_line, .user = &lines };
        struct stat st;
        int r;

        if (reader->fd >= 0) {
                /* An event that couldn't be made durable was taken back. */
                if (fstat(reader->fd, &st) == 0 && st.st_size < reader->at)
                        reader->at = st.st_size;
                return show_more(reader, args, 0, err);
        }
        r = audit_open_log(c, false, &reader->fd, err);
        if (r == -ENOENT) {
                *err = (struct error){ 0 };
                return 0;
        }
        if (r < 0 || (r = show_more(reader, &count, 0, err)) < 0)
                return r;
        reader->at = 0;
        return show_more(reader, args, lines > args->last ? lines - args->last : 0, err);
}

int op_log_show(struct context *c, const struct op_log_show *args, struct error *err) {
        _cleanup_(freep) struct audit_reader *reader = calloc(1, sizeof(*reader));
        _cleanup_(close_fdp) int watch = -1, file = -1;
        char events[4096];
        int r;

        if (!reader)
                return error_nomem(err);
        reader->fd = -1;
        if (args->follow) {
                watch = inotify_init1(IN_CLOEXEC);
                if (watch < 0 || inotify_add_watch(watch, c->state_dir, IN_MODIFY | IN_CREATE) < 0)
                        return error_errno(err, -errno, "watch %s", c->state_dir);
        }
        do {
                r = show_file(c, reader, args, err);
                file = reader->fd;
        } while (r == 0 && args->follow &&
                 (read(watch, events, sizeof(events)) >= 0 || errno == EINTR));
        return r < 0 ? r : OUTCOME_DONE;
}
