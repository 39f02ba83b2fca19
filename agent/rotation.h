/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The rotation of a KEK as a pure state machine: no I/O, no clock, no allocation. The shell finds
 * out what stands on the disks and in the store, asks where in the machine that is, performs the
 * one effect that it's told, makes it durable, and asks again. Nothing else is remembered: after a
 * crash the same questions lead on from the same place. At every state each disk opens with a live
 * key. */
enum rotation_state {
        ROTATION_IDLE,     /* every disk has one version, the current one */
        ROTATION_RECORDED, /* a new version is sealed, and durable in the store */
        ROTATION_STAGED,   /* every disk that is present has it beside its old one */
        ROTATION_PROVEN,   /* unsealed by the TPM, it opened the token of each of them, read anew */
        ROTATION_REVOKED,  /* the TPM unseals the old version no more, unless a disk needs it yet */
        ROTATION_RETIRED,  /* it's gone from their tokens */
        ROTATION_STATES
};

enum rotation_effect {
        ROTATION_SEAL,    /* make the next version, seal it, record it as staged */
        ROTATION_STAGE,   /* add it to the tokens */
        ROTATION_PROVE,   /* read the tokens anew, open them with it as the TPM gives it back */
        ROTATION_REVOKE,  /* advance the counter, if every disk that is known has the new version */
        ROTATION_RETIRE,  /* drop the old version from the tokens */
        ROTATION_PUBLISH, /* the new version is the current one of the store */
        ROTATION_EFFECTS
};

/* What stands on the disks and in the store. */
struct rotation_facts {
        bool recorded;  /* the store has a staged version */
        size_t disks;   /* that are present */
        size_t staged;  /* of these, have the staged version (alone, or beside another) */
        size_t retired; /* of these, have it alone */
};

/* Where a machine that finds this goes on. ROTATION_IDLE: no rotation was interrupted. Never
 * ROTATION_PROVEN or later, as long as a disk has the old version: a proof isn't remembered, it's
 * made again. */
enum rotation_state rotation_resume(const struct rotation_facts *facts);

/* The one effect that leads on from @state. */
enum rotation_effect rotation_effect(enum rotation_state state);

/* The state once that effect was tried. @some: it succeeded for at least one disk. A disk that
 * failed keeps what opens it, and is left to the next run; the others go on. Where it failed for
 * all: stay. */
enum rotation_state rotation_next(enum rotation_state state, bool some);

/* For people: "staged", "stage". */
const char *rotation_state_name(enum rotation_state state);
const char *rotation_effect_name(enum rotation_effect effect);
