/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "luks/luks.h"

/* The keyslot that a token is bound to, where it's one at most: LUKS_SLOTS_MAX where it's none.
 * Return: 0; -EBADMSG, @ret untouched. */
static inline int keyslots_one(const struct json *token, unsigned *ret, struct error *err) {
        const struct json *slots;
        char number[12];
        int r;

        r = json_get_array(token, "keyslots", &slots, err);
        if (r < 0)
                return r;
        if (json_length(slots) == 0) {
                *ret = LUKS_SLOTS_MAX;
                return 0;
        }
        for (unsigned i = 0; json_length(slots) == 1 && i < LUKS_SLOTS_MAX; i++) {
                (void) snprintf(number, sizeof(number), "%u", i);
                if (json_lists(slots, number)) {
                        *ret = i;
                        return 0;
                }
        }
        return error_set(err, -EBADMSG, "bound to more than one keyslot, or to none that there is");
}
