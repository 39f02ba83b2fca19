/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>

#include "base/json.h"
#include "luks/luks.h"
#include "luks/rules.h"

/* How many keyslots a token is bound to; -1 where it has no list of them. */
static inline int keyslots_count(const struct json *token) {
        const struct json *slots;
        struct error ignored = { 0 };

        return json_get_array(token, "keyslots", &slots, &ignored) == 0 ? (int) json_length(slots)
                                                                        : -1;
}

/* The keyslot that a token is bound to, where it's one at most: LUKS_SLOTS_MAX where it's none.
 * Return: 0; -EBADMSG, @ret untouched. */
static inline int keyslots_one(const struct json *token, unsigned *ret, struct error *err) {
        const struct json *slots;
        int r = json_get_array(token, "keyslots", &slots, err);

        if (r < 0)
                return r;
        if (json_length(slots) == 0) {
                *ret = LUKS_SLOTS_MAX;
                return 0;
        }
        for (unsigned slot = 0; json_length(slots) == 1 && slot < LUKS_SLOTS_MAX; slot++)
                if (rules_bound(token, slot)) {
                        *ret = slot;
                        return 0;
                }
        return error_set(err, -EBADMSG, "bound to more than one keyslot, or to none that there is");
}
