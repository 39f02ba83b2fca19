/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/predict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/event.h"
#include "policy/extend.h"
#include "policy/predict-change.h"

static bool wanted(const struct prediction *p, unsigned pcr) {
        return p->mask & (1u << pcr);
}

int predict_unknown(struct predict_reason *why, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(why->text, sizeof(why->text), fmt, ap);
        va_end(ap);
        return PREDICT_UNKNOWN;
}

/* The change of this event that's there already: what comes behind an event is another. */
static unsigned find_change(const struct prediction *p, unsigned event, bool after) {
        unsigned n = 0;

        while (n < p->changes &&
               (p->change[n].event != event || (p->change[n].how == PREDICT_AFTER) != after))
                n++;
        return n;
}

int predict_change(struct prediction *p, const struct event *e, enum predict_how how,
                   const uint8_t *digest, struct predict_reason *why) {
        unsigned n = find_change(p, e->number, how == PREDICT_AFTER);

        if (n == PREDICT_CHANGES_MAX)
                return predict_unknown(why, "more than %u events would change",
                                       PREDICT_CHANGES_MAX);
        p->change[n].event = e->number;
        p->change[n].how = how;
        if (digest)
                memcpy(p->change[n].digest, digest, pcr_size(p->bank));
        if (n == p->changes)
                p->changes++;
        return PREDICT_OK;
}

int predict_start(const struct eventlog *log, enum pcr_bank bank, uint32_t mask,
                  struct prediction *ret, struct predict_reason *why) {
        struct eventlog_finding f;

        if (!eventlog_has_digests(log, bank, mask, &f))
                return predict_unknown(why, "%s", f.text);
        *ret = (struct prediction){ .log = log, .bank = bank, .mask = mask };
        return PREDICT_OK;
}

static bool is_application(const struct event *e) {
        return e->pcr == 4 && e->type == EV_EFI_BOOT_SERVICES_APPLICATION;
}

unsigned predict_applications(const struct prediction *p) {
        unsigned n = 0;

        for (struct event e = { 0 }; eventlog_next(p->log, &e);)
                n += is_application(&e);
        return n;
}

bool predict_booted(const struct prediction *p, const uint8_t *digest) {
        for (struct event e = { 0 }; eventlog_next(p->log, &e);)
                if (is_application(&e) && memcmp(e.digest[p->bank], digest, pcr_size(p->bank)) == 0)
                        return true;
        return false;
}

int predict_application(struct prediction *p, unsigned which, const uint8_t *digest,
                        struct predict_reason *why) {
        unsigned all = predict_applications(p), n = 0;

        if (!wanted(p, 4))
                return PREDICT_OK;
        if (all == 0)
                return predict_unknown(why, "the event log has no boot application");
        if (which == PREDICT_LAST)
                which = all - 1;
        for (struct event e = { 0 }; eventlog_next(p->log, &e);)
                if (is_application(&e) && n++ == which)
                        return predict_change(p, &e, PREDICT_REPLACE, digest, why);
        return predict_unknown(why, "the event log has %u boot applications, and no number %u", all,
                               which);
}

static bool is_addon(const struct event_image *image) {
        return event_text_ends(&image->path, ".addon.efi");
}

/* What was booted, and the kernel of a UKI behind it: their number is 0 where there is none. */
static int find_uki(const struct prediction *p, struct event *ret_booted, struct event *ret_kernel,
                    struct predict_reason *why) {
        struct event booted = { 0 }, kernel = { 0 };

        for (struct event e = { 0 }; eventlog_next(p->log, &e);) {
                struct event_image image = { 0 };

                if (!is_application(&e) || (event_image(&e, &image) && is_addon(&image)))
                        continue;
                if (!image.stub_payload) {
                        booted = e;
                        kernel.number = 0;
                } else if (kernel.number > 0)
                        return predict_unknown(why,
                                               "the event log has two kernels of one UKI, in "
                                               "events %u and %u",
                                               kernel.number, e.number);
                else
                        kernel = e;
        }
        if (booted.number == 0)
                return predict_unknown(why, "the event log has no boot application");
        *ret_booted = booted;
        *ret_kernel = kernel;
        return PREDICT_OK;
}

/* The kernel of a UKI, behind it or in the place of the one that's there. */
static int change_kernel(struct prediction *p, const struct event *booted,
                         const struct event *measured, const uint8_t *kernel,
                         struct predict_reason *why) {
        unsigned before = find_change(p, booted->number, true);

        if (measured->number > 0)
                return predict_change(p, measured, kernel ? PREDICT_REPLACE : PREDICT_DROP, kernel,
                                      why);
        if (kernel)
                return predict_change(p, booted, PREDICT_AFTER, kernel, why);
        /* An earlier prediction may have wanted one. */
        if (before < p->changes)
                p->change[before] = p->change[--p->changes];
        return PREDICT_OK;
}

int predict_uki(struct prediction *p, const uint8_t *uki, const uint8_t *kernel,
                struct predict_reason *why) {
        struct prediction next = *p;
        struct event booted, measured;
        int r;

        if (!wanted(p, 4))
                return PREDICT_OK;
        r = find_uki(p, &booted, &measured, why);
        if (r == PREDICT_OK)
                r = predict_change(&next, &booted, PREDICT_REPLACE, uki, why);
        if (r == PREDICT_OK)
                r = change_kernel(&next, &booted, &measured, kernel, why);
        if (r == PREDICT_OK)
                *p = next;
        return r;
}

int predict_digest(struct prediction *p, unsigned pcr, const uint8_t *old, const uint8_t *new,
                   struct predict_reason *why) {
        struct prediction next = *p;
        bool found = false;

        if (!wanted(p, pcr))
                return PREDICT_OK;
        for (struct event e = { 0 }; eventlog_next(p->log, &e);) {
                int r;

                if (!event_measured(&e) || e.pcr != pcr ||
                    memcmp(e.digest[p->bank], old, pcr_size(p->bank)) != 0)
                        continue;
                r = predict_change(&next, &e, PREDICT_REPLACE, new, why);
                if (r != PREDICT_OK)
                        return r;
                found = true;
        }
        if (!found)
                return predict_unknown(why, "nothing of that digest was measured into PCR %u", pcr);
        *p = next;
        return PREDICT_OK;
}

void predict_value(struct prediction *p, unsigned pcr, const uint8_t value[PCR_SIZE_MAX]) {
        p->mask |= 1u << pcr;
        p->given |= 1u << pcr;
        memcpy(p->value[pcr], value, pcr_size(p->bank));
}

/* Extends @value as this event will: itself or what replaces it, then what comes behind it. */
static int extend_event(const struct prediction *p, const struct event *e,
                        uint8_t value[PCR_SIZE_MAX], struct error *err) {
        const uint8_t *digest = e->digest[p->bank];
        int r = 0;

        for (unsigned i = 0; i < p->changes; i++)
                if (p->change[i].event == e->number && p->change[i].how != PREDICT_AFTER)
                        digest = p->change[i].how == PREDICT_DROP ? NULL : p->change[i].digest;
        if (digest)
                r = pcr_extend(p->bank, value, digest, err);
        for (unsigned i = 0; i < p->changes && r == 0; i++)
                if (p->change[i].event == e->number && p->change[i].how == PREDICT_AFTER)
                        r = pcr_extend(p->bank, value, p->change[i].digest, err);
        return r;
}

int predict_result(const struct prediction *p, struct pcrs *ret, struct error *err) {
        struct pcrs next = { .bank = p->bank, .mask = p->mask };

        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (p->given & (1u << n))
                        memcpy(next.value[n], p->value[n], pcr_size(p->bank));
                else if (wanted(p, n))
                        eventlog_initial(p->log, p->bank, n, next.value[n]);
        for (struct event e = { 0 }; eventlog_next(p->log, &e);) {
                int r;

                if (!event_measured(&e) || !wanted(p, e.pcr) || (p->given & (1u << e.pcr)))
                        continue;
                r = extend_event(p, &e, next.value[e.pcr], err);
                if (r < 0)
                        return r;
        }
        *ret = next;
        return 0;
}
