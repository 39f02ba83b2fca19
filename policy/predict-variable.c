/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <string.h>

#include "base/crypto.h"
#include "policy/event.h"
#include "policy/predict-change.h"

/* d719b2cb-3d3a-4596-a3bc-dad00e67656f: of db */
static const uint8_t security_guid[EVENT_GUID_SIZE] = {
        0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45,
        0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
};

/* All events of one variable say the same, or it's not known which of them will change. */
struct found {
        unsigned events;
        struct event first;
        struct event_variable variable; /* of the first */
};

static bool is_events(const struct event *e, const struct predict_variable *v,
                      struct event_variable *ret) {
        return event_variable(e, ret) && (e->type == EV_EFI_VARIABLE_AUTHORITY) == v->authority &&
               memcmp(ret->guid, v->guid, EVENT_GUID_SIZE) == 0 &&
               event_text_is(&ret->name, v->name);
}

static bool is_value(const struct event_variable *v, const void *data, size_t size) {
        return v->size == size && (size == 0 || memcmp(v->data, data, size) == 0);
}

/* The digest of the event with another value: in the form that the old one's digest has. */
static int new_digest(const struct prediction *p, const struct event *e,
                      const struct event_variable *is, const struct predict_variable *v,
                      uint8_t ret[PCR_SIZE_MAX], struct error *err) {
        const struct chunk old[] = { { is->data, is->size } };
        uint8_t size[8], value_only[PCR_SIZE_MAX];
        const struct chunk all[] = {
                { e->data, EVENT_VARIABLE_HEAD - sizeof(size) },
                { size, sizeof(size) },
                { is->name.data, 2 * is->name.units },
                { v->data, v->size },
        };
        bool whole;
        int r;

        for (unsigned i = 0; i < sizeof(size); i++)
                size[i] = (uint8_t) ((uint64_t) v->size >> 8 * i);
        r = crypto_hash(p->bank, old, 1, value_only, err);
        if (r < 0)
                return r;
        whole = memcmp(value_only, e->digest[p->bank], pcr_size(p->bank)) != 0;
        return crypto_hash(p->bank, whole ? all : all + 3, whole ? 4 : 1, ret, err);
}

/* One event of the variable, in a PCR that's wanted. */
static int change_event(struct prediction *p, const struct event *e,
                        const struct predict_variable *v, struct found *f,
                        struct predict_reason *why, struct error *err) {
        uint8_t digest[PCR_SIZE_MAX];
        struct event_variable is;
        int r;

        if (!is_events(e, v, &is))
                return PREDICT_OK;
        r = event_data_check(e, p->bank, err);
        if (r < 0)
                return r;
        if (r != EVENT_DATA_PROVEN)
                return predict_unknown(why, "event %u isn't what was measured of %s", e->number,
                                       v->name);
        if (f->events++ == 0) {
                f->first = *e;
                f->variable = is;
        } else if (!is_value(&f->variable, is.data, is.size))
                return predict_unknown(why,
                                       "%s was measured with several values, in events %u and %u",
                                       v->name, f->first.number, e->number);
        r = new_digest(p, e, &is, v, digest, err);
        if (r < 0)
                return r;
        return predict_change(p, e, PREDICT_REPLACE, digest, why);
}

/* Whether a new db still has each entry that allowed something to run. */
static int keeps_authorities(const struct prediction *p, const struct predict_variable *v,
                             struct predict_reason *why) {
        struct predict_variable authority = *v;

        authority.authority = true;
        for (struct event e = { 0 }; eventlog_next(p->log, &e);) {
                struct event_variable entry;

                if (!is_events(&e, &authority, &entry) ||
                    (v->size > 0 && memmem(v->data, v->size, entry.data, entry.size)))
                        continue;
                return predict_unknown(why,
                                       "the new %s lacks the entry that allowed what was booted "
                                       "to run (event %u)",
                                       v->name, e.number);
        }
        return PREDICT_OK;
}

/* Boot options are PCR 1's, and the rest PCR 7's. */
static unsigned pcr_of(const struct predict_variable *v) {
        return strncmp(v->name, "Boot", 4) == 0 ? 1 : 7;
}

static bool switches_secure_boot(const struct predict_variable *v, const struct found *f) {
        return !v->authority && strcmp(v->name, "SecureBoot") == 0 &&
               !is_value(&f->variable, v->data, v->size);
}

static bool is_db(const struct predict_variable *v) {
        return !v->authority && strcmp(v->name, "db") == 0 &&
               memcmp(v->guid, security_guid, EVENT_GUID_SIZE) == 0;
}

int predict_variable(struct prediction *p, const struct predict_variable *v,
                     struct predict_reason *why, struct error *err) {
        struct prediction next = *p;
        struct found f = { 0 };
        int r = PREDICT_OK;

        if (!(p->mask & (1u << pcr_of(v))))
                return PREDICT_OK;
        for (struct event e = { 0 }; r == PREDICT_OK && eventlog_next(p->log, &e);)
                if (e.pcr == pcr_of(v))
                        r = change_event(&next, &e, v, &f, why, err);
        if (r == PREDICT_OK && f.events == 0)
                return predict_unknown(why, "the event log has no measurement of %s", v->name);
        if (r == PREDICT_OK && switches_secure_boot(v, &f))
                return predict_unknown(why, "with Secure Boot switched on or off, other things are "
                                            "measured too");
        if (r == PREDICT_OK && is_db(v))
                r = keeps_authorities(p, v, why);
        if (r == PREDICT_OK)
                *p = next;
        return r;
}
