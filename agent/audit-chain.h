/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "keys/store.h"

/* Lines of the audit log and their chain, without I/O and without a clock. A line is one JSON
 * object in canonical form: data, event, prev, seq, subject, time. prev is the SHA-256 of the line
 * before, without its newline, in hex; of the first line 64 zeros.
 *
 * The chain has no key: it finds what was changed by accident or without care. Who can write to the
 * folder can write a whole new log. */

#define AUDIT_LINE_MAX 4096        /* bytes of a line, without its newline */
#define AUDIT_TORN_MAX (16 * 1024) /* bytes that power cuts may leave behind the last line */
#define AUDIT_HASH 65              /* 64 digits and the NUL */
#define AUDIT_WORD 33              /* an event or a result, with the NUL */
#define AUDIT_TEXT 129             /* a subject or the text of a fact, with the NUL */
#define AUDIT_FACTS_MAX 8
#define AUDIT_SEQ_MAX ((uint64_t) 1 << 53)

/* A short public fact: a version, a kind of refusal. Without @text it's a number. */
struct audit_fact {
        const char *key;
        const char *text;
        uint64_t number;
};

/* All borrowed. What isn't printable ASCII becomes '?', what is too long is cut. */
struct audit_event {
        const char *event;   /* "unlock" */
        const char *subject; /* of a disk or a KEK: its name */
        const char *result;  /* "begin", "done", "refused", "fault", "interrupted" … */
        struct audit_fact fact[AUDIT_FACTS_MAX]; /* up to the first without a key */
};

/* The last line: 0 and "" where there's none yet. */
struct audit_head {
        uint64_t seq;
        char hash[AUDIT_HASH];
};

/* What a power cut left behind the last line, and what the line that moves on over it says. */
struct audit_torn {
        size_t size;
        char hash[AUDIT_HASH];
};

/**
 * audit_format() - the line that follows @head
 * @torn:     what stands between; or NULL. Then @e is ignored: the line is event "repaired"
 * @time:     as time_text() writes it
 * @ret:      the line, its newline and a NUL
 * @ret_head: the same as @head, of this line
 *
 * Return: 0; -EOVERFLOW (too long, or no numbers are left); or another fault.
 */
int audit_format(const struct audit_event *e, const struct audit_torn *torn, const char *time,
                 struct audit_head *head, char ret[AUDIT_LINE_MAX + 2],
                 struct error *err) _warn_unused_;

/* The event that says that the log no longer had the line that @known is of, or another one. An
 * empty hash in @known: that nothing was known of the end of a log that had one. */
struct audit_event audit_gap(const struct audit_head *known);

struct audit_line {
        struct audit_head head;
        char prev[AUDIT_HASH], time[TIME_TEXT], event[AUDIT_WORD], subject[AUDIT_TEXT];
        struct json *data; /* owned */
};

/* Return: 0; -EBADMSG where it isn't a line as audit_format() writes them; or another fault. */
int audit_parse(const char *line, size_t size, struct audit_line *ret,
                struct error *err) _warn_unused_;
void audit_line_done(struct audit_line *l);

/* "begin, kek default, version 3": the data for people. */
#define AUDIT_WORDS 600
void audit_words(const struct audit_line *l, char ret[AUDIT_WORDS]);

/* --- the walk along a whole log --- */

struct audit_walk {
        struct audit_head expect; /* in: what audit.head says; seq 0: nothing */
        bool expect_met;          /* a line is that one */
        uint64_t lines;           /* that were read, also what isn't one */
        struct audit_head head;   /* of the last good one */
        unsigned repaired;        /* lines that a power cut tore, and that are accounted for */
        bool torn;                /* what follows the last good line isn't one, so far */
        size_t torn_size;
        uint64_t torn_line; /* its first */
        char torn_bytes[AUDIT_TORN_MAX];
        bool bad;         /* something is wrong; the first thing: */
        char what[200];   /* … in words */
        uint64_t missing; /* … a line that comes later would show that it's the order; 0: none */
};

/* The next line, without its newline. Return: 0; or a fault. What is wrong with it, is in @w. */
int audit_walk(struct audit_walk *w, const char *line, size_t size,
               struct error *err) _warn_unused_;
/* Behind the last one: what stands behind the last good line. Return: as above. */
int audit_walk_torn(const struct audit_walk *w, struct audit_torn *ret,
                    struct error *err) _warn_unused_;
/* Whether the log and what audit.head says fit: else that is wrong with it. */
void audit_walk_end(struct audit_walk *w, bool head_damaged);

/* --- audit.head: two records, written in turn, so that one torn leaves the other --- */

#define AUDIT_RECORD 128                            /* bytes */
#define AUDIT_HEAD_SIZE (2 * (size_t) AUDIT_RECORD) /* of the file */

int audit_head_print(const struct audit_head *head, char ret[AUDIT_RECORD + 1],
                     struct error *err) _warn_unused_;
/* The newer of those that are sound. Return: 1; 0 where none is; or a fault. */
int audit_head_parse(const char *file, size_t size, struct audit_head *ret,
                     struct error *err) _warn_unused_;
