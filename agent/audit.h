/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/audit-chain.h"
#include "agent/context.h"
#include "base/error.h"

/* The audit log: STATE_DIR/audit.jsonl, and in STATE_DIR/audit.head its last number and hash, so
 * that a log that was cut off at its end is found. Both of mode 0600. */

/**
 * audit() - put one event at the end of the log
 * @e: what is about to be done, or what became of it; never a key, a passphrase or a PIN
 *
 * Durable when it returns 0, so an operation calls it before the effect that the event announces.
 * Waits for other processes that write to it. Never makes the folder. Where a power cut left half a
 * line, or the end of the log isn't what audit.head says, an event that says so comes first. Does
 * nothing in a dry run.
 *
 * Return: 0; -ENOENT (there's no state folder), -EROFS, -ENOSPC and so on: then the effect must not
 *         happen. The log is as it was, or its last line announces what didn't happen.
 */
int audit(const struct context *c, const struct audit_event *e, struct error *err) _warn_unused_;

/* Where nobody keeps a log, or nobody can: no state folder, or one that isn't ours to write to. */
bool audit_is_absent(int r);

/**
 * audit_result() - log what became of an operation whose beginning was logged
 * @outcome: OUTCOME_DONE; OUTCOME_REFUSED, which whoever reports it logs; or a fault, with @err
 *
 * Return: @outcome; or a fault where it was done and that couldn't be logged.
 */
int audit_result(const struct context *c, struct audit_event e, int outcome,
                 struct error *err) _warn_unused_;

/* A refusal, by its kind. @verb: what was asked for. */
int audit_refusal(const struct context *c, const char *verb, const char *subject,
                  const struct refusal *why, struct error *err) _warn_unused_;

void audit_path(const struct context *c, char ret[300]);

/* For readers. @locked: against writers, so not while a reader may wait for somebody else. Return:
 * 0; -ENOENT; or another fault. */
int audit_open_log(const struct context *c, bool locked, int *ret_fd,
                   struct error *err) _warn_unused_;
/* What audit.head says. @ret: seq 0 where it says nothing. @ret_damaged: it's there, and isn't one.
 */
int audit_read_head(const struct context *c, struct audit_head *ret, bool *ret_damaged,
                    struct error *err) _warn_unused_;

/* Lines of a file, of at most AUDIT_TORN_MAX bytes: from a longer one so much. For free(). */
struct audit_reader {
        int fd;
        off_t at; /* in the file: where the next line begins */
        size_t used, size;
        bool whole; /* the last one had a newline */
        char buffer[AUDIT_TORN_MAX];
};
/* Return: 1 and the next line, borrowed until the next call; 0 at the end; or a fault. */
int audit_read_line(struct audit_reader *r, const char **ret, size_t *ret_size,
                    struct error *err) _warn_unused_;
/* audit_walk() along all lines of the log. Return: 0; or a fault. */
int audit_walk_log(int fd, struct audit_walk *w, struct error *err) _warn_unused_;
