/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotation.h"

static const struct {
        const char *name;
        enum rotation_effect effect;
        enum rotation_state next;
} table[ROTATION_STATES] = {
        [ROTATION_IDLE] = { "idle", ROTATION_SEAL, ROTATION_RECORDED },
        [ROTATION_RECORDED] = { "recorded", ROTATION_STAGE, ROTATION_STAGED },
        [ROTATION_STAGED] = { "staged", ROTATION_PROVE, ROTATION_PROVEN },
        [ROTATION_PROVEN] = { "proven", ROTATION_REVOKE, ROTATION_REVOKED },
        [ROTATION_REVOKED] = { "revoked", ROTATION_RETIRE, ROTATION_RETIRED },
        [ROTATION_RETIRED] = { "retired", ROTATION_PUBLISH, ROTATION_IDLE },
};

static const char *const effects[ROTATION_EFFECTS] = {
        [ROTATION_SEAL] = "seal",     [ROTATION_STAGE] = "stage",   [ROTATION_PROVE] = "prove",
        [ROTATION_REVOKE] = "revoke", [ROTATION_RETIRE] = "retire", [ROTATION_PUBLISH] = "publish",
};

enum rotation_state rotation_resume(const struct rotation_facts *facts) {
        if (!facts->recorded)
                return ROTATION_IDLE;
        if (facts->staged < facts->disks)
                return ROTATION_RECORDED;
        if (facts->retired < facts->disks)
                return ROTATION_STAGED;
        return ROTATION_RETIRED;
}

enum rotation_effect rotation_effect(enum rotation_state state) {
        return table[state].effect;
}

enum rotation_state rotation_next(enum rotation_state state, bool some) {
        return some ? table[state].next : state;
}

const char *rotation_state_name(enum rotation_state state) {
        return table[state].name;
}

const char *rotation_effect_name(enum rotation_effect effect) {
        return effects[effect];
}
