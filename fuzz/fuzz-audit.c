/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "agent/audit-chain.h"
#include "fuzz/fuzz.h"

/* An audit log, as somebody may have left it, and audit.head. Whatever a walk approves of can be
 * written on, and is approved of then, too. */

static void walk_lines(struct audit_walk *w, const char *text, size_t size) {
        struct error err = { 0 };

        while (size > 0) {
                const char *newline = memchr(text, '\n', size);
                size_t n = newline ? (size_t) (newline - text) : size;

                if (n > AUDIT_TORN_MAX)
                        n = AUDIT_TORN_MAX;
                MUST(audit_walk(w, text, n, &err) == 0);
                n += newline == text + n;
                text += n;
                size -= n;
        }
}

/* A line that is taken has words that a terminal can be given, and is written again the same. */
static void use_line(const char *line, size_t size) {
        struct audit_line l = { 0 };
        struct error err = { 0 };
        char words[AUDIT_WORDS];

        if (audit_parse(line, size, &l, &err) < 0) {
                MUST(err.text[0] && printable(err.text));
                return;
        }
        MUST(size <= AUDIT_LINE_MAX && l.head.seq > 0 && strlen(l.prev) == AUDIT_HASH - 1);
        audit_words(&l, words);
        MUST(printable(words));
        audit_line_done(&l);
}

static void go_on(struct audit_walk *w) {
        const struct audit_event e = { .event = "fuzz", .subject = "fuzz", .result = "begin" };
        struct audit_head head = w->head;
        struct audit_torn torn;
        struct error err = { 0 };
        char line[AUDIT_LINE_MAX + 2];

        if (w->bad || head.seq > AUDIT_SEQ_MAX - 2)
                return;
        if (w->torn) {
                MUST(audit_walk_torn(w, &torn, &err) == 0);
                MUST(audit_format(NULL, &torn, "2026-11-24T16:00:00Z", &head, line, &err) == 0);
                MUST(audit_walk(w, line, strlen(line) - 1, &err) == 0 && !w->bad && !w->torn);
        }
        MUST(audit_format(&e, NULL, "2026-11-24T16:00:00Z", &head, line, &err) == 0);
        MUST(audit_walk(w, line, strlen(line) - 1, &err) == 0 && !w->bad);
        w->expect = w->head;
        w->expect_met = true;
        audit_walk_end(w, false);
        MUST(!w->bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct audit_walk *w = calloc(1, sizeof(*w));
        struct audit_head head = { 0 };
        struct error err = { 0 };
        const char *text = (const char *) data;
        const char *newline = memchr(text, '\n', size);

        MUST(w);
        if (audit_head_parse(text, size, &head, &err) == 1)
                MUST(head.seq <= AUDIT_SEQ_MAX && strlen(head.hash) == AUDIT_HASH - 1);
        use_line(text, newline ? (size_t) (newline - text) : size);
        walk_lines(w, text, size);
        MUST(printable(w->what));
        go_on(w);
        free(w);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        return json_mutate(data, size, max, seed);
}
