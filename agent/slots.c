/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/slots.h"

#include <errno.h>

#include "keys/escrow.h"
#include "keys/recovery.h"
#include "luks/rules.h"

const char *slot_role_word(enum slot_role role) {
        static const char *const words[] = { [SLOT_NONE] = "none",
                                             [SLOT_AGENT] = "agent",
                                             [SLOT_RECOVERY] = "recovery",
                                             [SLOT_ESCROW] = "escrow",
                                             [SLOT_FOREIGN] = "foreign" };

        return words[role];
}

static enum slot_role role_of(const struct disk *d, unsigned slot) {
        enum slot_role role = SLOT_FOREIGN;

        if (d->token && slot == d->token->slot && disk_owns_slot(d))
                return SLOT_AGENT;
        if (d->older && slot == d->older->slot)
                return SLOT_AGENT;
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *token = luks_token(d->luks, id);
                unsigned marked;

                if (!token || !rules_bound(token, slot))
                        continue;
                if (escrow_is_one(token))
                        role = SLOT_ESCROW;
                else if (recovery_is_one(token, &marked) && role == SLOT_FOREIGN)
                        role = SLOT_RECOVERY;
        }
        return role;
}

void slot_roles(const struct disk *d, enum slot_role ret[LUKS_SLOTS_MAX]) {
        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++)
                ret[slot] =
                        luks_facts(d->luks)->slots & (1u << slot) ? role_of(d, slot) : SLOT_NONE;
}

int slot_of_role(const struct disk *d, enum slot_role role, int wanted) {
        enum slot_role roles[LUKS_SLOTS_MAX];
        int found = -ENOENT;

        slot_roles(d, roles);
        for (int slot = 0; slot < LUKS_SLOTS_MAX; slot++) {
                if (roles[slot] != role || (wanted >= 0 && slot != wanted))
                        continue;
                if (found >= 0)
                        return -ENOTUNIQ;
                found = slot;
        }
        return found;
}
