/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/context.h"
#include "agent/timespan.h"
#include "base/error.h"
#include "keys/store.h"

/* When a KEK is to be rotated for its age: agent.conf, [Rotation], RotateEvery= after its current
 * version was made, and up to RandomizedDelaySec= later, so that not all machines do it at once. */

enum due_state {
        DUE_OFF,   /* RotateEvery= is infinity, the default */
        DUE_LATER, /* not yet */
        DUE_NOW,
        DUE_CLOCK, /* the version was made in the future, as this clock has it: never by age */
};

struct due {
        enum due_state state;
        bool attended; /* its policy wants a PIN that is typed: nobody else can rotate it */
        uint64_t age;  /* of the current version, seconds; 0 where DUE_CLOCK */
        uint64_t at;   /* when, seconds since 1970; UINT64_MAX: never */
        uint64_t left; /* seconds until then; 0 unless DUE_LATER */
        uint64_t over; /* seconds since then; 0 unless DUE_NOW */
};

/* Clocks of virtual machines that are moved differ by so much, and nobody is told. */
#define DUE_SKEW 3600u /* seconds */

struct due_input {
        uint64_t created, now; /* seconds since 1970 */
        uint64_t every;        /* seconds; TIMESPAN_INFINITY: never */
        uint64_t delay;        /* seconds, at most */
        uint64_t random;       /* the same for as long as this version is the current one */
};

/* Pure. What doesn't fit 64 bits is never. */
void due_decide(const struct due_input *in, struct due *ret);

/**
 * due_of() - whether the current version of a recorded KEK is to be rotated now
 * @record: with a current version
 *
 * The delay comes from the machine's id, where it has none from the sealed object, and from the
 * name and version. Whoever rotates unattended leaves one that is attended alone.
 *
 * Return: 0; -EBADMSG (the time in the record isn't one); or another fault.
 */
int due_of(const struct context *c, const struct kek_record *record, struct due *ret,
           struct error *err) _warn_unused_;

/* "12 days old, next rotation in 18 days". */
#define DUE_TEXT 120
void due_text(const struct due *d, char ret[DUE_TEXT]);
/* "in 18 days", "overdue", "-", "?": for a table. */
void due_word(const struct due *d, char ret[TIMESPAN_TEXT + 4]);
