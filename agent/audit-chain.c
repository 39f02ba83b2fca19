/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/audit-chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "base/hex.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define REPAIRED "repaired"
#define GAP "gap"

static int hash_of(const void *data, size_t size, char ret[AUDIT_HASH], struct error *err) {
        uint8_t sum[SHA256_SIZE];
        int r = crypto_sha256(data, size, sum, err);

        if (r == 0)
                hex_encode(sum, sizeof(sum), ret);
        return r;
}

static const char *prev_of(const struct audit_head *head) {
        return head->seq ? head->hash : ZEROS;
}

/* --- writing --- */

static bool add_text(struct json *o, const char *key, const char *text) {
        char clean[AUDIT_TEXT];

        (void) snprintf(clean, sizeof(clean), "%s", text ? text : "");
        make_printable(clean);
        return json_add_string(o, key, clean);
}

static struct json *data_of(const struct audit_event *e) {
        _cleanup_(json_freep) struct json *data = json_new_object();

        if (!data || (e->result && !add_text(data, "result", e->result)))
                return NULL;
        for (size_t i = 0; i < AUDIT_FACTS_MAX && e->fact[i].key; i++) {
                const struct audit_fact *f = &e->fact[i];

                if (!(f->text ? add_text(data, f->key, f->text)
                              : json_add_uint(data, f->key, f->number)))
                        return NULL;
        }
        return TAKE(data);
}

struct audit_event audit_gap(const struct audit_head *known) {
        return (struct audit_event){ .event = GAP,
                                     .subject = "audit.jsonl",
                                     .result = known->hash[0] ? "cut" : "unknown",
                                     .fact = { { "seq", NULL, known->seq },
                                               { "hash", known->hash, 0 } } };
}

int audit_format(const struct audit_event *e, const struct audit_torn *torn, const char *time,
                 struct audit_head *head, char ret[AUDIT_LINE_MAX + 2], struct error *err) {
        struct audit_event repaired = { .event = REPAIRED, .subject = "audit.jsonl" };
        _cleanup_(json_freep) struct json *o = json_new_object();
        _cleanup_(freep) char *text = NULL;
        size_t size;
        int r;

        if (torn) {
                repaired.fact[0] = (struct audit_fact){ "bytes", NULL, torn->size };
                repaired.fact[1] = (struct audit_fact){ "hash", torn->hash, 0 };
                repaired.fact[2] = (struct audit_fact){ "before", prev_of(head), 0 };
                e = &repaired;
        }
        if (head->seq >= AUDIT_SEQ_MAX)
                return error_set(err, -EOVERFLOW, "the audit log has no numbers left");
        if (!json_add(o, "data", data_of(e)) || !json_add_string(o, "event", e->event) ||
            !json_add_string(o, "prev", torn ? torn->hash : prev_of(head)) ||
            !json_add_uint(o, "seq", head->seq + 1) || !add_text(o, "subject", e->subject) ||
            !json_add_string(o, "time", time))
                return error_nomem(err);
        r = json_canonical(o, &text, err);
        if (r < 0)
                return r;
        size = strlen(text);
        if (size > AUDIT_LINE_MAX)
                return error_set(err, -EOVERFLOW, "a line of the audit log would have %zu bytes",
                                 size);
        r = hash_of(text, size, head->hash, err);
        if (r < 0)
                return r;
        head->seq++;
        (void) snprintf(ret, AUDIT_LINE_MAX + 2, "%s\n", text);
        return 0;
}

/* --- reading --- */

void audit_line_done(struct audit_line *l) {
        l->data = json_free(l->data);
}

static int take_members(const struct json *o, struct audit_line *l, struct error *err) {
        uint8_t sum[SHA256_SIZE];
        const struct json *data;
        int r;

        if (!json_is_object(o) || json_length(o) != 6)
                return error_set(err, -EBADMSG, "it isn't a line of the audit log");
        if ((r = json_get(o, "data", &data, err)) < 0 ||
            (r = json_get_uint(o, "seq", AUDIT_SEQ_MAX, &l->head.seq, err)) < 0 ||
            (r = json_get_text(o, "prev", l->prev, sizeof(l->prev), err)) < 0 ||
            (r = json_get_text(o, "time", l->time, sizeof(l->time), err)) < 0 ||
            (r = json_get_text(o, "event", l->event, sizeof(l->event), err)) < 0 ||
            (r = json_get_text(o, "subject", l->subject, sizeof(l->subject), err)) < 0)
                return r;
        if (!json_is_object(data) || l->head.seq == 0 || !hex_decode(l->prev, sum, sizeof(sum)))
                return error_set(err, -EBADMSG, "it isn't a line of the audit log");
        l->data = json_copy(data);
        return l->data ? 0 : error_nomem(err);
}

int audit_parse(const char *line, size_t size, struct audit_line *ret, struct error *err) {
        _cleanup_(audit_line_done) struct audit_line l = { 0 };
        _cleanup_(json_freep) struct json *o = NULL;
        _cleanup_(freep) char *text = NULL;
        int r;

        if (size > AUDIT_LINE_MAX)
                return error_set(err, -EBADMSG, "longer than %d bytes", AUDIT_LINE_MAX);
        if ((r = json_parse(line, size, &o, err)) < 0 || (r = take_members(o, &l, err)) < 0 ||
            (r = json_canonical(o, &text, err)) < 0)
                return r;
        if (strlen(text) != size || memcmp(text, line, size) != 0)
                return error_set(err, -EBADMSG, "it isn't in canonical form");
        r = hash_of(line, size, l.head.hash, err);
        if (r < 0)
                return r;
        *ret = l;
        l.data = NULL;
        return 0;
}

/* Return: how much of @ret is used. */
static size_t add_words(char ret[AUDIT_WORDS], size_t used, const char *key,
                        const struct json *value) {
        const char *text = json_string(value);
        uint64_t n;
        int k;

        if (text)
                k = snprintf(ret + used, AUDIT_WORDS - used, "%s%s %s", used ? ", " : "", key,
                             text);
        else if (json_uint(value, UINT64_MAX >> 1, &n))
                k = snprintf(ret + used, AUDIT_WORDS - used, "%s%s %" PRIu64, used ? ", " : "", key,
                             n);
        else
                return used;
        return k < 0 || (size_t) k >= AUDIT_WORDS - used ? AUDIT_WORDS - 1 : used + (size_t) k;
}

void audit_words(const struct audit_line *l, char ret[AUDIT_WORDS]) {
        const char *result;
        struct error ignored = { 0 };
        struct json_iter i = { 0 };
        size_t used = 0;

        ret[0] = '\0';
        if (json_get_string(l->data, "result", &result, &ignored) == 0)
                used = strlen(strncat(ret, result, AUDIT_TEXT - 1));
        while (json_next(l->data, &i))
                if (strcmp(i.key, "result") != 0)
                        used = add_words(ret, used, i.key, i.value);
        make_printable(ret);
}

/* --- the walk --- */

static void found(struct audit_walk *w, const char *what) {
        if (w->bad)
                return;
        w->bad = true;
        (void) snprintf(w->what, sizeof(w->what), "%s", what);
}

static void found_at(struct audit_walk *w, uint64_t line, const char *what) {
        char text[sizeof(w->what)];

        (void) snprintf(text, sizeof(text), "line %" PRIu64 " %.160s", line, what);
        found(w, text);
}

static void add_torn(struct audit_walk *w, const char *line, size_t size) {
        size_t newline = w->torn ? 1 : 0;

        if (!w->torn)
                w->torn_line = w->lines;
        w->torn = true;
        if (size + newline > sizeof(w->torn_bytes) - w->torn_size) {
                found_at(w, w->torn_line, "was changed: it isn't one of ours");
                return;
        }
        if (newline)
                w->torn_bytes[w->torn_size++] = '\n';
        memcpy(w->torn_bytes + w->torn_size, line, size);
        w->torn_size += size;
}

int audit_walk_torn(const struct audit_walk *w, struct audit_torn *ret, struct error *err) {
        ret->size = w->torn_size;
        return hash_of(w->torn_bytes, w->torn_size, ret->hash, err);
}

/* Whether @l accounts for what was torn before it. */
static int check_repaired(struct audit_walk *w, const struct audit_line *l, struct error *err) {
        char hash[AUDIT_HASH], before[AUDIT_HASH];
        struct audit_torn torn;
        struct error ignored = { 0 };
        uint64_t bytes;
        int r = audit_walk_torn(w, &torn, err);

        if (r < 0)
                return r;
        return strcmp(l->event, REPAIRED) == 0 && l->head.seq == w->head.seq + 1 &&
               json_get_uint(l->data, "bytes", AUDIT_TORN_MAX, &bytes, &ignored) == 0 &&
               json_get_text(l->data, "hash", hash, sizeof(hash), &ignored) == 0 &&
               json_get_text(l->data, "before", before, sizeof(before), &ignored) == 0 &&
               bytes == torn.size && strcmp(hash, torn.hash) == 0 &&
               strcmp(l->prev, torn.hash) == 0 && strcmp(before, prev_of(&w->head)) == 0;
}

/* Where the chain doesn't go on: which line it is. */
static void judge_break(struct audit_walk *w, const struct audit_line *l) {
        uint64_t wanted = w->head.seq + 1;
        char text[sizeof(w->what)];

        if (l->head.seq == wanted) {
                /* Its own number is right: so what its prev covers isn't what it was. */
                if (wanted == 1)
                        found_at(w, w->lines, "was changed: something was before it");
                else
                        found_at(w, w->lines - 1, "was changed, or the prev of the one behind it");
                return;
        }
        if (l->head.seq < wanted) {
                (void) snprintf(text, sizeof(text),
                                "out of order: it has number %" PRIu64 ", behind %" PRIu64,
                                l->head.seq, w->head.seq);
                found_at(w, w->lines, text);
                return;
        }
        if (l->head.seq == wanted + 1)
                (void) snprintf(text, sizeof(text), "number %" PRIu64 " is missing", wanted);
        else
                (void) snprintf(text, sizeof(text),
                                "numbers %" PRIu64 " to %" PRIu64 " are missing", wanted,
                                l->head.seq - 1);
        if (!w->bad)
                w->missing = wanted;
        found(w, text);
}

static void judge_gap(struct audit_walk *w, const struct audit_line *l) {
        char text[sizeof(w->what)];
        struct error ignored = { 0 };
        uint64_t seq = 0;

        if (json_get_uint(l->data, "seq", AUDIT_SEQ_MAX, &seq, &ignored) == 0 && seq > 0)
                (void) snprintf(text, sizeof(text),
                                "says that before it the log was cut or rewritten: it had been at "
                                "number %" PRIu64,
                                seq);
        else
                (void) snprintf(text, sizeof(text),
                                "says that before it audit.head was lost: whether the log was cut "
                                "isn't known");
        found_at(w, w->lines, text);
}

static int follow_line(struct audit_walk *w, const struct audit_line *l, struct error *err) {
        bool good = l->head.seq == w->head.seq + 1 && strcmp(l->prev, prev_of(&w->head)) == 0;
        int r;

        if (w->torn) {
                r = check_repaired(w, l, err);
                if (r < 0)
                        return r;
                good = r > 0;
                if (good)
                        w->repaired++;
                else
                        found_at(w, w->torn_line, "was changed: it isn't one of ours");
                w->torn = false;
                w->torn_size = 0;
        } else if (!good)
                judge_break(w, l);
        if (good && strcmp(l->event, GAP) == 0)
                judge_gap(w, l);
        if (w->missing && l->head.seq == w->missing) {
                (void) snprintf(w->what, sizeof(w->what),
                                "number %" PRIu64 " is out of order: it stands on line %" PRIu64,
                                w->missing, w->lines);
                w->missing = 0;
        }
        w->head = l->head;
        if (w->expect.seq && w->head.seq == w->expect.seq &&
            strcmp(w->head.hash, w->expect.hash) == 0)
                w->expect_met = true;
        return 0;
}

int audit_walk(struct audit_walk *w, const char *line, size_t size, struct error *err) {
        _cleanup_(audit_line_done) struct audit_line l = { 0 };
        struct error bad = { 0 };
        int r = audit_parse(line, size, &l, &bad);

        w->lines++;
        if (r == -EBADMSG) {
                add_torn(w, line, size);
                return 0;
        }
        if (r < 0) {
                *err = bad;
                return r;
        }
        return follow_line(w, &l, err);
}

void audit_walk_end(struct audit_walk *w, bool head_damaged) {
        char text[sizeof(w->what)];

        if (w->bad || w->expect_met)
                return;
        if (w->expect.seq > w->head.seq) {
                (void) snprintf(text, sizeof(text),
                                "it was cut off at its end: it has %" PRIu64
                                " lines, audit.head knows of %" PRIu64,
                                w->head.seq, w->expect.seq);
                found(w, text);
        } else if (w->expect.seq) {
                (void) snprintf(text, sizeof(text),
                                "number %" PRIu64 " isn't the one that audit.head knows: the log "
                                "was rewritten up to there",
                                w->expect.seq);
                found(w, text);
        } else if (w->head.seq > 1 && head_damaged)
                found(w, "audit.head is damaged; the log is whole, but whether it was cut off at "
                         "its end can't be said");
        else if (w->head.seq > 1)
                found(w, "audit.head is missing; the log is whole, but whether it was cut off at "
                         "its end can't be said");
}

/* --- audit.head --- */

#define HEAD_TEXT 85 /* "SEQ HASH" */
#define HEAD_SUM 16  /* digits */

int audit_head_print(const struct audit_head *head, char ret[AUDIT_RECORD + 1], struct error *err) {
        char text[HEAD_TEXT + 1], sum[AUDIT_HASH];
        int r;

        (void) snprintf(text, sizeof(text), "%020" PRIu64 " %.64s", head->seq, prev_of(head));
        r = hash_of(text, HEAD_TEXT, sum, err);
        if (r < 0)
                return r;
        (void) snprintf(ret, AUDIT_RECORD + 1, "%s %.*s%*s\n", text, HEAD_SUM, sum,
                        AUDIT_RECORD - HEAD_TEXT - HEAD_SUM - 2, "");
        return 0;
}

static int parse_record(const char *record, struct audit_head *ret, struct error *err) {
        char again[AUDIT_RECORD + 1];
        struct audit_head head = { 0 };
        uint8_t sum[SHA256_SIZE];
        int r;

        for (unsigned i = 0; i < 20; i++) {
                if (record[i] < '0' || record[i] > '9' || head.seq > AUDIT_SEQ_MAX)
                        return 0;
                head.seq = head.seq * 10 + (uint64_t) (record[i] - '0');
        }
        memcpy(head.hash, record + 21, AUDIT_HASH - 1);
        if (head.seq > AUDIT_SEQ_MAX || !hex_decode(head.hash, sum, sizeof(sum)))
                return 0;
        r = audit_head_print(&head, again, err);
        if (r < 0 || memcmp(again, record, AUDIT_RECORD) != 0)
                return r;
        *ret = head;
        return 1;
}

int audit_head_parse(const char *file, size_t size, struct audit_head *ret, struct error *err) {
        struct audit_head head;
        bool any = false;

        for (size_t at = 0; at < AUDIT_HEAD_SIZE && at + AUDIT_RECORD <= size; at += AUDIT_RECORD) {
                int r = parse_record(file + at, &head, err);

                if (r < 0)
                        return r;
                if (r == 0 || (any && head.seq < ret->seq))
                        continue;
                *ret = head;
                any = true;
        }
        return any;
}
