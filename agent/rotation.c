/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotation.h"

/* What to do in a state, by event. */
#define ON(go, held, trust, anew, give_up, too_late)                                               \
        {                                                                                          \
                [ROTATION_GO] = ROTATION_##go, [ROTATION_HELD] = ROTATION_##held,                  \
                [ROTATION_TRUST] = ROTATION_##trust, [ROTATION_ANEW] = ROTATION_##anew,            \
                [ROTATION_GIVE_UP] = ROTATION_##give_up, [ROTATION_TOO_LATE] = ROTATION_##too_late \
        }

static const enum rotation_effect table[ROTATION_STATES][ROTATION_EVENTS] = {
        /* go, held, trust, anew, give-up, too-late */
        [ROTATION_IDLE] = ON(SEAL, END, SEAL, SEAL, END, END),
        [ROTATION_SEALED] = ON(STAGE, STAGE, STAGE, SEAL, UNSTAGE, REFUSE),
        [ROTATION_STAGED] = ON(PROVE, END, ARCHIVE, SEAL, UNSTAGE, REFUSE),
        [ROTATION_PROVEN] = ON(ARCHIVE, END, ARCHIVE, REFUSE, UNSTAGE, REFUSE),
        [ROTATION_ARCHIVED] = ON(REVOKE, END, REVOKE, REFUSE, UNSTAGE, REFUSE),
        [ROTATION_REVOKED] = ON(RETIRE, RETIRE, RETIRE, REFUSE, REFUSE, REFUSE),
        [ROTATION_RETIRED] = ON(SETTLE, SETTLE, SETTLE, SETTLE, REFUSE, REFUSE),
        [ROTATION_DROPPED] = ON(UNRECORD, UNRECORD, UNRECORD, UNRECORD, UNRECORD, REFUSE),
};

static const struct {
        const char *name, *text;
} states[ROTATION_STATES] = {
        [ROTATION_IDLE] = { "idle", "every disk that is here has the current version alone" },
        [ROTATION_SEALED] = { "sealed", "a new version is sealed, and recorded as staged" },
        [ROTATION_STAGED] = { "staged", "every disk that is here has it beside its old one" },
        [ROTATION_PROVEN] = { "proven", "unsealed by the TPM, it opened each of them, read anew" },
        [ROTATION_ARCHIVED] = { "archived", "the old versions are in the archive, wrapped by it" },
        [ROTATION_REVOKED] = { "revoked",
                               "the TPM unseals them no more, unless a disk here needs one yet" },
        [ROTATION_RETIRED] = { "retired", "they are gone from the disks" },
        [ROTATION_DROPPED] = { "dropped", "given up: the new version is gone from the disks" },
};

static const char *const events[ROTATION_EVENTS] = {
        [ROTATION_GO] = "go",     [ROTATION_HELD] = "held",       [ROTATION_TRUST] = "trust",
        [ROTATION_ANEW] = "anew", [ROTATION_GIVE_UP] = "give-up", [ROTATION_TOO_LATE] = "too-late",
};

static const struct {
        const char *name, *text;
        enum rotation_state next; /* ROTATION_STATES: as it was */
} effects[ROTATION_EFFECTS] = {
        [ROTATION_SEAL] = { "seal", "make the next version, seal it, record it as staged",
                            ROTATION_SEALED },
        [ROTATION_STAGE] = { "stage", "add it to the disks", ROTATION_STAGED },
        [ROTATION_PROVE] = { "prove", "read the disks anew, open them with what the TPM gives back",
                             ROTATION_PROVEN },
        [ROTATION_ARCHIVE] = { "archive", "wrap the old versions with it, durable and read back",
                               ROTATION_ARCHIVED },
        [ROTATION_REVOKE] = { "revoke", "advance the counter, if no disk here needs an old version",
                              ROTATION_REVOKED },
        [ROTATION_RETIRE] = { "retire", "drop the old versions from the disks", ROTATION_RETIRED },
        [ROTATION_SETTLE] = { "settle", "make it the current one, tidy the archive",
                              ROTATION_IDLE },
        [ROTATION_UNSTAGE] = { "unstage", "drop it from the disks, once the old one opened them",
                               ROTATION_DROPPED },
        [ROTATION_UNRECORD] = { "unrecord", "note that its number was given up", ROTATION_IDLE },
        [ROTATION_END] = { "end", "nothing more in this run", ROTATION_STATES },
        [ROTATION_REFUSE] = { "refuse", "say why that can't be had", ROTATION_STATES },
};

enum rotation_state rotation_resume(const struct rotation_facts *facts) {
        if (!facts->recorded)
                return ROTATION_IDLE;
        if (facts->staged < facts->disks)
                return ROTATION_SEALED;
        if (facts->retired < facts->disks)
                return ROTATION_STAGED;
        return ROTATION_RETIRED;
}

struct rotation_step rotation_step(enum rotation_state state, enum rotation_event event) {
        enum rotation_effect effect = table[state][event];
        enum rotation_state next = effects[effect].next;

        return (struct rotation_step){ effect, next == ROTATION_STATES ? state : next };
}

const char *rotation_state_name(enum rotation_state state) {
        return states[state].name;
}

const char *rotation_state_text(enum rotation_state state) {
        return states[state].text;
}

const char *rotation_event_name(enum rotation_event event) {
        return events[event];
}

const char *rotation_effect_name(enum rotation_effect effect) {
        return effects[effect].name;
}

const char *rotation_effect_text(enum rotation_effect effect) {
        return effects[effect].text;
}
