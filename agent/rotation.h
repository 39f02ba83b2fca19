/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The rotation of a KEK as a pure state machine: no I/O, no clock, no allocation. The shell finds
 * out what stands on the disks, in the store and in the TPM, asks where in the machine that is,
 * says what happened or is wanted, performs the one effect that it's told, makes it durable, and
 * asks again. Nothing else is remembered: after a crash the same questions lead on from the same
 * place. At every state each disk opens with a live key. */
enum rotation_state {
        ROTATION_IDLE,     /* every disk that is here has the current version alone */
        ROTATION_SEALED,   /* a new version is sealed, and recorded as staged */
        ROTATION_STAGED,   /* every disk that is here has it beside its old one */
        ROTATION_PROVEN,   /* unsealed by the TPM, it opened each of them, read anew */
        ROTATION_ARCHIVED, /* the old versions are in the archive, wrapped by it */
        ROTATION_REVOKED,  /* the TPM unseals them no more, unless a disk here needs one yet */
        ROTATION_RETIRED,  /* they are gone from the disks */
        ROTATION_DROPPED,  /* given up: the new version is gone from the disks */
        ROTATION_STATES
};

enum rotation_event {
        ROTATION_GO,       /* on: a rotation is wanted, or the effect before succeeded */
        ROTATION_HELD,     /* the proof is the next boot: --staged, or the latch is shut */
        ROTATION_TRUST,    /* --retire-now: without a proof */
        ROTATION_ANEW,     /* a newer version is to take the place of the one that waits */
        ROTATION_GIVE_UP,  /* --abort */
        ROTATION_TOO_LATE, /* --abort, and the TPM unseals the old versions no more */
        ROTATION_EVENTS
};

enum rotation_effect {
        ROTATION_SEAL,     /* make the next version, seal it, record it as staged */
        ROTATION_STAGE,    /* add it to the disks */
        ROTATION_PROVE,    /* read the disks anew, open them with it as the TPM gives it back */
        ROTATION_ARCHIVE,  /* wrap the old versions with it, durable and read back */
        ROTATION_REVOKE,   /* advance the counter, if no disk that is here needs an old version */
        ROTATION_RETIRE,   /* drop the old versions from the disks */
        ROTATION_SETTLE,   /* it's the current one; drop what the old one wraps in the archive */
        ROTATION_UNSTAGE,  /* drop it from the disks, once the old one was shown to open them */
        ROTATION_UNRECORD, /* note that its number was given up */
        ROTATION_END,      /* nothing more in this run */
        ROTATION_REFUSE,   /* say why that can't be had */
        ROTATION_EFFECTS
};

/* What stands on the disks and in the store. */
struct rotation_facts {
        bool recorded; /* there's a version to go to: staged, or the current one of which disks that
                        * were away know nothing */
        size_t disks;  /* that are here */
        size_t staged; /* of these, have that version (alone, or beside another) */
        size_t retired; /* of these, have it alone */
};

/* Where a machine that finds this goes on. ROTATION_IDLE: no rotation was interrupted. Never
 * ROTATION_PROVEN, ROTATION_ARCHIVED or ROTATION_REVOKED: a proof isn't remembered, it's made
 * again, and what comes after it does nothing a second time. */
enum rotation_state rotation_resume(const struct rotation_facts *facts);

struct rotation_step {
        enum rotation_effect effect;
        enum rotation_state
                next; /* once the effect succeeded; where it didn't: the state as it was */
};

/* What to do in @state when @event happens. Every state has an answer to every event. */
struct rotation_step rotation_step(enum rotation_state state, enum rotation_event event);

/* For people and for graphs: "staged"; "every disk that is here …". */
const char *rotation_state_name(enum rotation_state state);
const char *rotation_state_text(enum rotation_state state);
const char *rotation_event_name(enum rotation_event event);
const char *rotation_effect_name(enum rotation_effect effect);
const char *rotation_effect_text(enum rotation_effect effect);
