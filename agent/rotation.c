/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotation.h"

static const struct {
        const char *name, *text;
        struct rotation_step on[ROTATION_EVENTS];
} table[ROTATION_STATES] = {
        [ROTATION_IDLE] = { "idle",
                            "every disk that is here has the current version alone",
                            {
                                    [ROTATION_GO] = { ROTATION_SEAL, ROTATION_SEALED },
                                    [ROTATION_HELD] = { ROTATION_END, ROTATION_IDLE },
                                    [ROTATION_TRUST] = { ROTATION_SEAL, ROTATION_SEALED },
                                    [ROTATION_ANEW] = { ROTATION_SEAL, ROTATION_SEALED },
                                    [ROTATION_GIVE_UP] = { ROTATION_END, ROTATION_IDLE },
                                    [ROTATION_TOO_LATE] = { ROTATION_END, ROTATION_IDLE },
                            } },
        [ROTATION_SEALED] = { "sealed",
                              "a new version is sealed, and recorded as staged",
                              {
                                      [ROTATION_GO] = { ROTATION_STAGE, ROTATION_STAGED },
                                      [ROTATION_HELD] = { ROTATION_STAGE, ROTATION_STAGED },
                                      [ROTATION_TRUST] = { ROTATION_STAGE, ROTATION_STAGED },
                                      [ROTATION_ANEW] = { ROTATION_SEAL, ROTATION_SEALED },
                                      [ROTATION_GIVE_UP] = { ROTATION_UNSTAGE, ROTATION_DROPPED },
                                      [ROTATION_TOO_LATE] = { ROTATION_REFUSE, ROTATION_SEALED },
                              } },
        [ROTATION_STAGED] = { "staged",
                              "every disk that is here has it beside its old one",
                              {
                                      [ROTATION_GO] = { ROTATION_PROVE, ROTATION_PROVEN },
                                      [ROTATION_HELD] = { ROTATION_END, ROTATION_STAGED },
                                      [ROTATION_TRUST] = { ROTATION_ARCHIVE, ROTATION_ARCHIVED },
                                      [ROTATION_ANEW] = { ROTATION_SEAL, ROTATION_SEALED },
                                      [ROTATION_GIVE_UP] = { ROTATION_UNSTAGE, ROTATION_DROPPED },
                                      [ROTATION_TOO_LATE] = { ROTATION_REFUSE, ROTATION_STAGED },
                              } },
        [ROTATION_PROVEN] = { "proven",
                              "unsealed by the TPM, it opened each of them, read anew",
                              {
                                      [ROTATION_GO] = { ROTATION_ARCHIVE, ROTATION_ARCHIVED },
                                      [ROTATION_HELD] = { ROTATION_END, ROTATION_PROVEN },
                                      [ROTATION_TRUST] = { ROTATION_ARCHIVE, ROTATION_ARCHIVED },
                                      [ROTATION_ANEW] = { ROTATION_REFUSE, ROTATION_PROVEN },
                                      [ROTATION_GIVE_UP] = { ROTATION_UNSTAGE, ROTATION_DROPPED },
                                      [ROTATION_TOO_LATE] = { ROTATION_REFUSE, ROTATION_PROVEN },
                              } },
        [ROTATION_ARCHIVED] = { "archived",
                                "the old versions are in the archive, wrapped by it",
                                {
                                        [ROTATION_GO] = { ROTATION_REVOKE, ROTATION_REVOKED },
                                        [ROTATION_HELD] = { ROTATION_END, ROTATION_ARCHIVED },
                                        [ROTATION_TRUST] = { ROTATION_REVOKE, ROTATION_REVOKED },
                                        [ROTATION_ANEW] = { ROTATION_REFUSE, ROTATION_ARCHIVED },
                                        [ROTATION_GIVE_UP] = { ROTATION_UNSTAGE, ROTATION_DROPPED },
                                        [ROTATION_TOO_LATE] = { ROTATION_REFUSE,
                                                                ROTATION_ARCHIVED },
                                } },
        [ROTATION_REVOKED] = { "revoked",
                               "the TPM unseals them no more, unless a disk here needs one yet",
                               {
                                       [ROTATION_GO] = { ROTATION_RETIRE, ROTATION_RETIRED },
                                       [ROTATION_HELD] = { ROTATION_RETIRE, ROTATION_RETIRED },
                                       [ROTATION_TRUST] = { ROTATION_RETIRE, ROTATION_RETIRED },
                                       [ROTATION_ANEW] = { ROTATION_REFUSE, ROTATION_REVOKED },
                                       [ROTATION_GIVE_UP] = { ROTATION_REFUSE, ROTATION_REVOKED },
                                       [ROTATION_TOO_LATE] = { ROTATION_REFUSE, ROTATION_REVOKED },
                               } },
        [ROTATION_RETIRED] = { "retired",
                               "they are gone from the disks",
                               {
                                       [ROTATION_GO] = { ROTATION_SETTLE, ROTATION_IDLE },
                                       [ROTATION_HELD] = { ROTATION_SETTLE, ROTATION_IDLE },
                                       [ROTATION_TRUST] = { ROTATION_SETTLE, ROTATION_IDLE },
                                       [ROTATION_ANEW] = { ROTATION_SETTLE, ROTATION_IDLE },
                                       [ROTATION_GIVE_UP] = { ROTATION_REFUSE, ROTATION_RETIRED },
                                       [ROTATION_TOO_LATE] = { ROTATION_REFUSE, ROTATION_RETIRED },
                               } },
        [ROTATION_DROPPED] = { "dropped",
                               "given up: the new version is gone from the disks",
                               {
                                       [ROTATION_GO] = { ROTATION_UNRECORD, ROTATION_IDLE },
                                       [ROTATION_HELD] = { ROTATION_UNRECORD, ROTATION_IDLE },
                                       [ROTATION_TRUST] = { ROTATION_UNRECORD, ROTATION_IDLE },
                                       [ROTATION_ANEW] = { ROTATION_UNRECORD, ROTATION_IDLE },
                                       [ROTATION_GIVE_UP] = { ROTATION_UNRECORD, ROTATION_IDLE },
                                       [ROTATION_TOO_LATE] = { ROTATION_REFUSE, ROTATION_DROPPED },
                               } },
};

static const char *const events[ROTATION_EVENTS] = {
        [ROTATION_GO] = "go",     [ROTATION_HELD] = "held",       [ROTATION_TRUST] = "trust",
        [ROTATION_ANEW] = "anew", [ROTATION_GIVE_UP] = "give-up", [ROTATION_TOO_LATE] = "too-late",
};

static const struct {
        const char *name, *text;
} effects[ROTATION_EFFECTS] = {
        [ROTATION_SEAL] = { "seal", "make the next version, seal it, record it as staged" },
        [ROTATION_STAGE] = { "stage", "add it to the disks" },
        [ROTATION_PROVE] = { "prove",
                             "read the disks anew, open them with what the TPM gives back" },
        [ROTATION_ARCHIVE] = { "archive", "wrap the old versions with it, durable and read back" },
        [ROTATION_REVOKE] = { "revoke",
                              "advance the counter, if no disk here needs an old version" },
        [ROTATION_RETIRE] = { "retire", "drop the old versions from the disks" },
        [ROTATION_SETTLE] = { "settle", "make it the current one, tidy the archive" },
        [ROTATION_UNSTAGE] = { "unstage", "drop it from the disks, once the old one opened them" },
        [ROTATION_UNRECORD] = { "unrecord", "note that its number was given up" },
        [ROTATION_END] = { "end", "nothing more in this run" },
        [ROTATION_REFUSE] = { "refuse", "say why that can't be had" },
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
        return table[state].on[event];
}

const char *rotation_state_name(enum rotation_state state) {
        return table[state].name;
}

const char *rotation_state_text(enum rotation_state state) {
        return table[state].text;
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
