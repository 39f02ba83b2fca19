/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/eventlog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/event.h"
#include "policy/extend.h"

bool eventlog_has_digests(const struct eventlog *log, enum pcr_bank bank, uint32_t mask,
                          struct eventlog_finding *why) {
        char what[EVENT_TEXT_MAX];

        for (struct event e = { 0 }; eventlog_next(log, &e);) {
                if (!event_measured(&e) || !(mask & (1u << e.pcr)) || e.digest[bank])
                        continue;
                event_describe(&e, what);
                *why = (struct eventlog_finding){ 1u << e.pcr, e.pcr, e.number, EVENTLOG_LACKS,
                                                  "" };
                (void) snprintf(why->text, sizeof(why->text),
                                "event %u of the event log (%s) has no digest in the bank %s",
                                e.number, what, pcr_bank_name(bank));
                return false;
        }
        return true;
}

int eventlog_replay(const struct eventlog *log, enum pcr_bank bank, uint32_t mask, struct pcrs *ret,
                    struct eventlog_finding *why, struct error *err) {
        struct pcrs pcrs = { .bank = bank, .mask = mask };

        if (!eventlog_has_digests(log, bank, mask, why))
                return EVENTLOG_NO_BANK;
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (mask & (1u << n))
                        eventlog_initial(log, bank, n, pcrs.value[n]);
        for (struct event e = { 0 }; eventlog_next(log, &e);) {
                int r;

                if (!event_measured(&e) || !(mask & (1u << e.pcr)))
                        continue;
                r = pcr_extend(bank, pcrs.value[e.pcr], e.digest[bank], err);
                if (r < 0)
                        return r;
        }
        *ret = pcrs;
        return EVENTLOG_OK;
}

/* What is found on the way through the events of one PCR. */
struct walk {
        struct event last;  /* number 0: it has none */
        struct event more;  /* the first one behind what the TPM has; number 0: no prefix is that */
        struct event wrong; /* the first one whose data is false; number 0: there is none */
};

/* One event of the PCR, whose @value so far is either what the TPM has, or not. */
static int step(const struct event *e, const struct pcrs *now, uint8_t value[PCR_SIZE_MAX],
                struct walk *w, struct error *err) {
        int r;

        if (memcmp(value, now->value[e->pcr], pcr_size(now->bank)) == 0)
                w->more = *e;
        if (w->wrong.number == 0) {
                r = event_data_check(e, now->bank, err);
                if (r < 0)
                        return r;
                if (r == EVENT_DATA_FALSE)
                        w->wrong = *e;
        }
        w->last = *e;
        return pcr_extend(now->bank, value, e->digest[now->bank], err);
}

static int walk_pcr(const struct eventlog *log, unsigned pcr, const struct pcrs *now,
                    struct walk *ret, struct error *err) {
        uint8_t value[PCR_SIZE_MAX];
        struct walk w = { 0 };

        eventlog_initial(log, now->bank, pcr, value);
        for (struct event e = { 0 }; eventlog_next(log, &e);) {
                int r;

                if (!event_measured(&e) || e.pcr != pcr)
                        continue;
                r = step(&e, now, value, &w, err);
                if (r < 0)
                        return r;
        }
        *ret = w;
        return 0;
}

/* Where one PCR parts. A prefix that holds says most: whatever its events are, they're right. */
static int explain(const struct eventlog *log, const struct pcrs *now, struct eventlog_finding *why,
                   struct error *err) {
        const struct event *at;
        const char *words;
        char what[EVENT_TEXT_MAX];
        struct walk w = { 0 };
        int r;

        r = walk_pcr(log, why->pcr, now, &w, err);
        if (r < 0)
                return r;
        if (w.more.number > 0) {
                why->how = EVENTLOG_MORE;
                at = &w.more;
                words = "and what follows it in the event log wasn't measured";
        } else if (w.wrong.number > 0) {
                why->how = EVENTLOG_FALSE;
                at = &w.wrong;
                words = "isn't what was measured: its digest is of something else";
        } else {
                why->how = EVENTLOG_LACKS;
                at = &w.last;
                words = "is the event log's last one, and something else was measured too, or "
                        "instead";
        }
        why->event = at->number;
        if (at->number == 0) {
                (void) snprintf(why->text, sizeof(why->text),
                                "PCR %u: something was measured, and the event log has nothing",
                                why->pcr);
                return 0;
        }
        event_describe(at, what);
        (void) snprintf(why->text, sizeof(why->text), "PCR %u: event %u (%s) %s", why->pcr,
                        at->number, what, words);
        return 0;
}

int eventlog_check(const struct eventlog *log, uint32_t mask, const struct pcrs *now,
                   struct eventlog_finding *why, struct error *err) {
        struct eventlog_finding f = { 0 };
        struct pcrs replayed;
        int r;

        if (mask & ~now->mask)
                return error_set(err, -EINVAL, "compare the event log: a PCR's value isn't known");
        r = eventlog_replay(log, now->bank, mask, &replayed, &f, err);
        if (r == EVENTLOG_NO_BANK)
                *why = f;
        if (r != EVENTLOG_OK)
                return r;
        for (unsigned n = PCR_COUNT; n-- > 0;)
                if ((mask & (1u << n)) &&
                    memcmp(replayed.value[n], now->value[n], pcr_size(now->bank)) != 0) {
                        f.mask |= 1u << n;
                        f.pcr = n;
                }
        if (f.mask == 0)
                return EVENTLOG_OK;
        r = explain(log, now, &f, err);
        if (r < 0)
                return r;
        *why = f;
        return EVENTLOG_DIFFERS;
}
