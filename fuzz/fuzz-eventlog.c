/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "policy/event.h"
#include "policy/predict.h"

/* An event log: what is taken is within it, replays to one state, and is told in printable words;
 * what is predicted from it is that state, but for what changed. */

#define MASK_ALL 0xffffffu
#define PREDICTED_EVENTS 16 /* more of them take time, and nothing else */

static void within(const struct event *e, const void *data, size_t size) {
        const uint8_t *p = data;

        if (size > 0)
                MUST(p >= e->data && size <= e->size && (size_t) (p - e->data) <= e->size - size);
}

static void event_is_sound(const struct eventlog *log, const struct event *e) {
        struct event_variable v;
        struct event_image image;
        struct event_tag tag;
        char text[EVENT_TEXT_MAX];
        struct error err = { 0 };

        MUST(e->end <= log->size && e->size <= e->end && e->data == log->data + e->end - e->size);
        MUST(!event_measured(e) || (e->pcr < PCR_COUNT && (log->pcrs & (1u << e->pcr))));
        for (unsigned bank = 0; bank < PCR_BANKS; bank++) {
                MUST(!e->digest[bank] ||
                     (e->digest[bank] > log->data && e->digest[bank] + pcr_size(bank) < e->data));
                MUST(event_data_check(e, bank, &err) >= 0);
        }
        if (event_variable(e, &v)) {
                within(e, v.guid, EVENT_GUID_SIZE);
                within(e, v.name.data, 2 * v.name.units);
                within(e, v.data, v.size);
        }
        if (event_tag(e, &tag))
                within(e, tag.data, tag.size);
        if (event_image(e, &image))
                within(e, image.path.data, 2 * image.path.units);
        memset(text, 'x', sizeof(text));
        event_describe(e, text);
        MUST(memchr(text, 0, sizeof(text)) && text[0] && printable(text));
}

/* With one bit of another value it's no longer the log of these PCRs. */
static void parts_from_others(const struct eventlog *log, const struct pcrs *pcrs) {
        struct pcrs other = *pcrs;
        struct eventlog_finding f;
        struct error err = { 0 };

        MUST(eventlog_check(log, MASK_ALL, pcrs, &f, &err) == EVENTLOG_OK);
        for (unsigned n = (unsigned) log->size % 8; n < PCR_COUNT; n += 8) {
                other.value[n][0] ^= 1;
                MUST(eventlog_check(log, MASK_ALL, &other, &f, &err) == EVENTLOG_DIFFERS);
                MUST(f.mask == 1u << n && f.pcr == n && f.event <= log->events);
                MUST((f.event > 0) == ((log->pcrs & (1u << n)) != 0));
                MUST(f.how == EVENTLOG_FALSE || f.how == EVENTLOG_LACKS);
                MUST(f.text[0] && printable(f.text));
                other.value[n][0] ^= 1;
        }
}

/* A refused change leaves all as it was. */
static void changed(int r, const struct prediction *p, const struct prediction *before,
                    const struct predict_reason *why) {
        MUST(r == PREDICT_OK || r == PREDICT_UNKNOWN);
        if (r == PREDICT_UNKNOWN)
                MUST(why->text[0] && printable(why->text) && memcmp(p, before, sizeof(*p)) == 0);
        MUST(p->changes <= PREDICT_CHANGES_MAX);
}

/* The first event of each kind gives what is asked for. */
static void predict_event(struct prediction *p, const struct event *e) {
        static const uint8_t digest[PCR_SIZE_MAX] = "another";
        struct prediction before = *p;
        struct predict_reason why = { "" };
        struct error err = { 0 };
        struct event_variable v;
        char name[64] = "";

        if (!event_measured(e))
                return;
        changed(predict_digest(p, e->pcr, e->digest[p->bank], digest, &why), p, &before, &why);
        before = *p;
        changed(predict_initrd(p, e->digest[p->bank], digest, &why), p, &before, &why);
        if (!event_variable(e, &v))
                return;
        for (size_t i = 0; i < v.name.units && i < sizeof(name) - 1; i++)
                name[i] = (char) (v.name.data[2 * i] & 0x7f);
        if (!printable(name))
                return;
        for (unsigned authority = 0; authority < 2; authority++) {
                const struct predict_variable new = { v.guid, name, authority, v.data, v.size / 2 };

                before = *p;
                changed(predict_variable(p, &new, &why, &err), p, &before, &why);
        }
}

static void predict(const struct eventlog *log, const struct pcrs *pcrs) {
        static const uint8_t uki[PCR_SIZE_MAX] = "uki", kernel[PCR_SIZE_MAX] = "kernel";
        struct predict_reason why = { "" };
        struct prediction p, before;
        struct error err = { 0 };
        struct pcrs next;

        MUST(predict_start(log, pcrs->bank, MASK_ALL, &p, &why) == PREDICT_OK);
        MUST(predict_result(&p, &next, &err) == 0);
        MUST(memcmp(&next, pcrs, sizeof(next)) == 0);
        before = p;
        changed(predict_cmdline(&p, "a", "b", &why, &err), &p, &before, &why);
        changed(predict_application(&p, PREDICT_LAST, uki, &why), &p, &before, &why);
        before = p;
        changed(predict_uki(&p, uki, kernel, &why), &p, &before, &why);
        MUST(predict_result(&p, &next, &err) == 0);
        for (unsigned n = 0; n < PCR_COUNT; n++)
                MUST(n == 4 || memcmp(next.value[n], pcrs->value[n], PCR_SIZE_MAX) == 0);
        before = p;
        changed(predict_uki(&p, uki, NULL, &why), &p, &before, &why);
        for (struct event e = { 0 }; eventlog_next(log, &e) && e.number < PREDICTED_EVENTS;)
                predict_event(&p, &e);
        MUST(predict_result(&p, &next, &err) == 0);
        MUST(next.mask == MASK_ALL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct eventlog_finding why = { 0 };
        struct error err = { 0 };
        struct eventlog log;
        struct pcrs pcrs;
        unsigned events = 0;

        if (eventlog_parse(data, size, &log, &err) < 0) {
                MUST(err.errnum == -EBADMSG && err.text[0] && printable(err.text));
                return 0;
        }
        for (struct event e = { 0 }; eventlog_next(&log, &e);) {
                MUST(e.number == ++events);
                event_is_sound(&log, &e);
        }
        MUST(events == log.events && events <= EVENTLOG_EVENTS_MAX);
        MUST((eventlog_boot_pcrs(&log) & ~log.pcrs & (1u << 4 | 1u << 9)) == 0);
        MUST(!eventlog_has_uki(&log) || (log.pcrs & 1u << 11));
        for (unsigned bank = 0; bank < PCR_BANKS; bank++) {
                int r = eventlog_replay(&log, bank, MASK_ALL, &pcrs, &why, &err);

                MUST(r == EVENTLOG_OK || r == EVENTLOG_NO_BANK);
                if (r == EVENTLOG_NO_BANK) {
                        MUST(why.event > 0 && why.text[0] && printable(why.text));
                        continue;
                }
                parts_from_others(&log, &pcrs);
                predict(&log, &pcrs);
        }
        return 0;
}

static void put(uint8_t *p, uint32_t n) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t) (n >> 8 * i);
}

/* Moves what is behind an event's data, so that it may be of another size. Return: the new size. */
static size_t mutate_data(uint8_t *data, size_t size, size_t max, const struct event *e) {
        size_t at = (size_t) (e->data - data), rest = size - e->end, room = max - at - rest, n;
        static uint8_t tail[1u << 20];

        if (rest > sizeof(tail))
                return LLVMFuzzerMutate(data, size, max);
        memcpy(tail, data + e->end, rest);
        n = LLVMFuzzerMutate(data + at, e->size, room);
        put(data + at - 4, (uint32_t) n);
        memcpy(data + at + n, tail, rest);
        return at + n + rest;
}

/* Mostly one event: its data with the size beside it, its PCR or its type; or it's taken out. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        static const uint32_t types[] = {
                EV_NO_ACTION,
                EV_SEPARATOR,
                EV_EVENT_TAG,
                EV_IPL,
                EV_EFI_ACTION,
                EV_EFI_VARIABLE_DRIVER_CONFIG,
                EV_EFI_VARIABLE_BOOT,
                EV_EFI_VARIABLE_AUTHORITY,
                EV_EFI_BOOT_SERVICES_APPLICATION,
                EV_EFI_GPT_EVENT,
                EV_S_CRTM_VERSION,
                EV_EFI_PLATFORM_FIRMWARE_BLOB,
        };
        struct error err = { 0 };
        struct event e = { 0 };
        struct eventlog log;
        size_t begin;

        if (seed % 8 == 0 || eventlog_parse(data, size, &log, &err) < 0 || log.events == 0)
                return LLVMFuzzerMutate(data, size, max);
        begin = log.first;
        for (unsigned n = seed / 64 % log.events + 1; n > 0 && eventlog_next(&log, &e); n--)
                begin = n > 1 ? e.end : begin;
        switch (seed / 8 % 8) {
        case 0: memmove(data + begin, data + e.end, size - e.end); return size - (e.end - begin);
        case 1: put(data + begin, seed / 4096 % PCR_COUNT); return size;
        case 2: put(data + begin + 4, types[seed / 4096 % ARRAY_SIZE(types)]); return size;
        default: return mutate_data(data, size, max, &e);
        }
}
