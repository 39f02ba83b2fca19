/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/eventlog.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "policy/event.h"

/* TCG_PCClientPCREvent, of which the header is one: PCR, type, a SHA-1 digest, a size. */
#define HEADER_FIXED 32
#define AT_TYPE 4
#define AT_SIZE 28
/* TCG_EfiSpecIDEvent. */
#define SPEC_ID_FIXED 28
#define AT_ALGORITHMS 24

static const uint8_t spec_id[16] = "Spec ID Event03";
static const uint8_t startup_locality[16] = "StartupLocality";

struct cursor {
        const uint8_t *p;
        size_t left;
};

/* The next @n bytes, or NULL where they aren't there. */
static const uint8_t *take(struct cursor *c, size_t n) {
        const uint8_t *p = c->p;

        if (c->left < n)
                return NULL;
        c->p += n;
        c->left -= n;
        return p;
}

static const struct eventlog_algorithm *find_algorithm(const struct eventlog *log, uint16_t id) {
        for (unsigned i = 0; i < log->algorithms; i++)
                if (log->algorithm[i].id == id)
                        return &log->algorithm[i];
        return NULL;
}

/* Whether it's a size that a digest can have, and the right one of the banks that we know. */
static bool size_is_right(const struct eventlog_algorithm *a) {
        for (unsigned bank = 0; bank < PCR_BANKS; bank++)
                if (a->id == pcr_bank_id(bank))
                        return a->size == pcr_size(bank);
        return a->size > 0 && a->size <= EVENTLOG_DIGEST_MAX;
}

/* Each of these returns what is wrong, or NULL. */
static const char *read_algorithms(struct cursor *c, uint32_t n, struct eventlog *log) {
        if (n == 0 || n > EVENTLOG_ALGORITHMS_MAX)
                return "no number of digests that can be";
        for (uint32_t i = 0; i < n; i++) {
                struct eventlog_algorithm *a = &log->algorithm[i];
                const uint8_t *p = take(c, 4);

                if (!p)
                        return "a header that is cut off";
                *a = (struct eventlog_algorithm){ event_u16(p), event_u16(p + 2) };
                if (find_algorithm(log, a->id))
                        return "a digest twice in its header";
                if (!size_is_right(a))
                        return "a digest of a size that can't be";
                log->algorithms = i + 1;
        }
        return NULL;
}

static const char *read_header(struct cursor *c, struct eventlog *log) {
        const uint8_t *fixed = take(c, HEADER_FIXED), *data, *p;
        struct cursor in;
        const char *bad;

        if (!fixed)
                return "no header";
        in.left = event_u32(fixed + AT_SIZE);
        data = in.p = take(c, in.left);
        if (!data)
                return "a header that is cut off";
        p = take(&in, SPEC_ID_FIXED);
        if (event_u32(fixed + AT_TYPE) != EV_NO_ACTION || !p ||
            memcmp(p, spec_id, sizeof(spec_id)) != 0)
                return "no header of a crypto-agile log";
        bad = read_algorithms(&in, event_u32(p + AT_ALGORITHMS), log);
        if (bad)
                return bad;
        p = take(&in, 1); /* what the vendor adds, which some firmware forgets to count */
        if (!p || !take(&in, *p))
                return "a header that is cut off";
        return NULL;
}

static const char *read_digests(const struct eventlog *log, struct cursor *c, struct event *e) {
        bool seen[EVENTLOG_ALGORITHMS_MAX] = { false };
        const uint8_t *p = take(c, 4);
        uint32_t n;

        if (!p)
                return "is cut off";
        n = event_u32(p);
        if (n == 0 || n > log->algorithms)
                return "hasn't as many digests as the header says";
        while (n-- > 0) {
                const struct eventlog_algorithm *a;
                const uint8_t *digest;

                p = take(c, 2);
                if (!p)
                        return "is cut off";
                a = find_algorithm(log, event_u16(p));
                if (!a)
                        return "has a digest that the header doesn't have";
                if (seen[a - log->algorithm])
                        return "has a digest twice";
                seen[a - log->algorithm] = true;
                digest = take(c, a->size);
                if (!digest)
                        return "is cut off";
                for (unsigned bank = 0; bank < PCR_BANKS; bank++)
                        if (a->id == pcr_bank_id(bank))
                                e->digest[bank] = digest;
        }
        return NULL;
}

/* The event after @e, whose end and number are set. */
static const char *read_event(const struct eventlog *log, struct event *e) {
        struct cursor c = { log->data + e->end, log->size - e->end };
        struct event next = { .number = e->number + 1 };
        const uint8_t *p = take(&c, 8);
        const char *bad;

        if (!p)
                return "is cut off";
        next.pcr = event_u32(p);
        next.type = event_u32(p + 4);
        /* What isn't measured has no PCR, or a number that stands for that. */
        if (next.pcr >= PCR_COUNT && event_measured(&next))
                return "is of a PCR that can't be";
        bad = read_digests(log, &c, &next);
        if (bad)
                return bad;
        p = take(&c, 4);
        if (!p)
                return "is cut off";
        next.size = event_u32(p);
        next.data = take(&c, next.size);
        if (!next.data)
                return "is cut off";
        next.end = (size_t) (c.p - log->data);
        *e = next;
        return NULL;
}

/* PCR 0 starts with the locality of TPM2_Startup, which must be known before its first event. */
static const char *note_event(struct eventlog *log, const struct event *e, bool *located) {
        if (event_measured(e)) {
                log->pcrs |= 1u << e->pcr;
                return NULL;
        }
        if (e->pcr != 0 || e->size != sizeof(startup_locality) + 1 ||
            memcmp(e->data, startup_locality, sizeof(startup_locality)) != 0)
                return NULL;
        if (*located || (log->pcrs & 1))
                return "tells the locality of the start too late";
        log->locality = e->data[sizeof(startup_locality)];
        if (log->locality != 0 && log->locality != 3 && log->locality != 4)
                return "tells a locality of the start that can't be";
        *located = true;
        return NULL;
}

int eventlog_parse(const void *data, size_t size, struct eventlog *ret, struct error *err) {
        struct eventlog log = { .data = data, .size = size };
        struct cursor c = { data, size };
        struct event e = { 0 };
        bool located = false;
        const char *bad;

        if (size > EVENTLOG_SIZE_MAX)
                return error_set(err, -EBADMSG, "the event log is over %u bytes",
                                 EVENTLOG_SIZE_MAX);
        bad = read_header(&c, &log);
        if (bad)
                return error_set(err, -EBADMSG, "the event log has %s", bad);
        log.first = e.end = size - c.left;
        while (e.end < size) {
                bad = read_event(&log, &e);
                if (!bad)
                        bad = note_event(&log, &e, &located);
                if (bad)
                        return error_set(err, -EBADMSG, "the event log's event %u %s",
                                         log.events + 1, bad);
                if (++log.events > EVENTLOG_EVENTS_MAX)
                        return error_set(err, -EBADMSG, "the event log has over %u events",
                                         EVENTLOG_EVENTS_MAX);
        }

        *ret = log;
        return 0;
}

bool eventlog_next(const struct eventlog *log, struct event *e) {
        struct event next = *e;
        const char *bad;

        if (e->number == 0)
                next.end = log->first;
        if (next.end == log->size)
                return false;
        bad = read_event(log, &next);
        assert(!bad); /* it was parsed once */
        *e = next;
        return true;
}

bool event_measured(const struct event *e) {
        return e->type != EV_NO_ACTION;
}

uint32_t eventlog_boot_pcrs(const struct eventlog *log) {
        for (struct event e = { 0 }; eventlog_next(log, &e);)
                if (e.pcr == 4 && e.type == EV_EFI_BOOT_SERVICES_APPLICATION)
                        return 1u << 4 | 1u << 7 | (log->pcrs & 1u << 9);
        return 0;
}

bool eventlog_has_uki(const struct eventlog *log) {
        for (struct event e = { 0 }; eventlog_next(log, &e);) {
                const struct event_text name = { e.data, e.size / 2 };

                if (e.pcr == 11 && e.type == EV_IPL && event_text_is(&name, ".linux"))
                        return true;
        }
        return false;
}

void eventlog_initial(const struct eventlog *log, enum pcr_bank bank, unsigned pcr,
                      uint8_t ret[PCR_SIZE_MAX]) {
        /* Those that only a dynamic launch resets start with ones. */
        memset(ret, pcr >= 17 && pcr <= 22 ? 0xff : 0, pcr_size(bank));
        if (pcr == 0)
                ret[pcr_size(bank) - 1] = log->locality;
}
