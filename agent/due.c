/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/due.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "base/file.h"
#include "policy/policy.h"

#define MACHINE_ID "/etc/machine-id"

void due_decide(const struct due_input *in, struct due *ret) {
        uint64_t delay = in->delay == UINT64_MAX ? in->random : in->random % (in->delay + 1);
        bool early = in->created > in->now;

        *ret = (struct due){ .at = UINT64_MAX, .age = early ? 0 : in->now - in->created };
        if (early && in->created - in->now > DUE_SKEW) {
                ret->state = DUE_CLOCK;
                return;
        }
        if (in->every == TIMESPAN_INFINITY)
                return;
        ret->state = DUE_LATER;
        if (__builtin_add_overflow(in->created, in->every, &ret->at) ||
            __builtin_add_overflow(ret->at, delay, &ret->at))
                ret->at = UINT64_MAX;
        if (ret->at == UINT64_MAX)
                ret->left = UINT64_MAX;
        else if (in->now < ret->at)
                ret->left = ret->at - in->now;
        else {
                ret->state = DUE_NOW;
                ret->over = in->now - ret->at;
        }
}

/* Of time_text(). Return: 0; -EBADMSG. */
static int parse_time(const char *text, uint64_t *ret, struct error *err) {
        struct tm tm = { 0 };
        const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        time_t t = end && *end == '\0' ? timegm(&tm) : -1;

        if (t < 0)
                return error_set(err, -EBADMSG, "'%.23s' isn't a time", text);
        *ret = (uint64_t) t;
        return 0;
}

/* An image that wasn't booted yet has "uninitialized" there. */
static bool machine_id(char ret[33]) {
        _cleanup_(freep) char *text = NULL;
        struct error ignored = { 0 };
        size_t size;

        if (file_read(MACHINE_ID, 64, &text, &size, &ignored) < 0 ||
            strspn(text, "0123456789abcdef") != 32)
                return false;
        (void) snprintf(ret, 33, "%.32s", text);
        return true;
}

static int stable_random(const struct kek *kek, uint64_t *ret, struct error *err) {
        uint8_t sum[PCR_SIZE_MAX];
        char id[33] = "";
        bool has_id = machine_id(id);
        const struct tpm_bytes *object = &kek->sealed.public;
        const struct chunk chunks[] = {
                { has_id ? (const void *) id : object->data, has_id ? sizeof(id) : object->size },
                { kek->name, strlen(kek->name) + 1 },
                { &kek->version, sizeof(kek->version) },
        };
        int r = crypto_hash(PCR_SHA256, chunks, ARRAY_SIZE(chunks), sum, err);

        if (r == 0)
                memcpy(ret, sum, sizeof(*ret));
        return r;
}

/* Where its steps aren't a policy of ours, nobody says that it could be done alone. */
static bool is_attended(const struct kek *kek) {
        struct policy policy = { 0 };

        return !policy_of_steps(&kek->steps, &policy) || policy.pin ||
               kek->factor.kind == FACTOR_PIN;
}

int due_of(const struct context *c, const struct kek_record *record, struct due *ret,
           struct error *err) {
        struct due_input in = { .now = (uint64_t) time(NULL),
                                .every = c->rotate_every,
                                .delay = c->rotate_delay };
        int r;

        if ((r = parse_time(record->current_created, &in.created, err)) < 0 ||
            (r = stable_random(&record->current, &in.random, err)) < 0)
                return error_prefix(err, "when KEK %s is due", record->name);
        due_decide(&in, ret);
        ret->attended = is_attended(&record->current);
        return 0;
}

void due_text(const struct due *d, char ret[DUE_TEXT]) {
        char age[TIMESPAN_TEXT], other[TIMESPAN_TEXT];

        timespan_text(d->age, age);
        timespan_text(d->state == DUE_NOW ? d->over : d->left, other);
        switch (d->state) {
        case DUE_OFF: (void) snprintf(ret, DUE_TEXT, "%s old", age); break;
        case DUE_LATER:
                (void) snprintf(ret, DUE_TEXT, "%s old, next rotation in %s", age, other);
                break;
        case DUE_NOW:
                (void) snprintf(ret, DUE_TEXT, "%s old, rotation due since %s", age, other);
                break;
        case DUE_CLOCK:
                (void) snprintf(ret, DUE_TEXT, "made in the future, as this clock has it");
                break;
        }
}

void due_word(const struct due *d, char ret[TIMESPAN_TEXT + 4]) {
        char left[TIMESPAN_TEXT];

        timespan_text(d->left, left);
        if (d->state == DUE_LATER)
                (void) snprintf(ret, TIMESPAN_TEXT + 4, "in %s", left);
        else
                (void) snprintf(ret, TIMESPAN_TEXT + 4, "%s",
                                d->state == DUE_NOW     ? "overdue"
                                : d->state == DUE_CLOCK ? "?"
                                                        : "-");
}
