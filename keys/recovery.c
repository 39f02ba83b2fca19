/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/recovery.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "keys/keyslots.h"

#define LETTERS 64
#define GROUP 8 /* letters between dashes */

/* Stand in the same place on all keyboards of Latin letters. */
static const char modhex[] = "cbdefghijklnrtuv";

/* Puts letter @i in its place, and the dash in front of its group. */
static void place(struct secret *s, size_t i, char letter) {
        uint8_t *at = secret_data(s) + i + i / GROUP;

        if (i > 0 && i % GROUP == 0)
                at[-1] = '-';
        *at = (uint8_t) letter;
}

static int new_secret(size_t size, struct secret **ret, struct error *err) {
        int r = secret_new(size, ret);

        return r < 0 ? error_errno(err, r, "no locked memory for a passphrase") : 0;
}

int recovery_make(struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *random = NULL, *text = NULL;
        int r;

        if ((r = crypto_random_secret(LETTERS / 2, &random, err)) < 0 ||
            (r = new_secret(RECOVERY_SIZE, &text, err)) < 0)
                return r;
        for (size_t i = 0; i < LETTERS; i++)
                place(text, i, modhex[(secret_data(random)[i / 2] >> (i % 2 ? 0 : 4)) & 15]);
        *ret = TAKE(text);
        return 0;
}

/* Whether the line is a recovery passphrase; then @form is it. */
static bool is_recovery(const uint8_t *line, size_t size, struct secret *form) {
        size_t letters = 0;

        for (size_t i = 0; i < size; i++) {
                char c = (char) tolower(line[i]);

                if (c == '-' || c == ' ' || c == '\t' || c == '\r')
                        continue;
                if (!c || !strchr(modhex, c) || letters == LETTERS)
                        return false;
                place(form, letters++, c);
        }
        return letters == LETTERS;
}

int recovery_normalize(struct secret *typed, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *form = NULL, *line = NULL;
        const uint8_t *data = secret_data(typed);
        const uint8_t *newline = memchr(data, '\n', secret_size(typed));
        size_t size = newline ? (size_t) (newline - data) : secret_size(typed);
        int r;

        if (size == 0)
                return error_set(err, -EINVAL, "the passphrase is empty");
        r = new_secret(RECOVERY_SIZE, &form, err);
        if (r < 0)
                return r;
        if (is_recovery(data, size, form)) {
                *ret = TAKE(form);
                return 0;
        }
        r = new_secret(size, &line, err);
        if (r < 0)
                return r;
        memcpy(secret_data(line), data, size);
        *ret = TAKE(line);
        return 0;
}

struct json *recovery_token(unsigned slot) {
        _cleanup_(json_freep) struct json *token = json_new_object(), *slots = json_new_array();
        char number[12];

        (void) snprintf(number, sizeof(number), "%u", slot);
        if (!json_append_string(slots, number) || !json_add_string(token, "type", RECOVERY_TYPE) ||
            !json_add(token, "keyslots", TAKE(slots)))
                return NULL;
        return TAKE(token);
}

bool recovery_is_one(const struct json *token, unsigned *ret_slot) {
        struct error ignored = { 0 };
        const char *type;

        if (!token || json_get_string(token, "type", &type, &ignored) < 0 ||
            strcmp(type, RECOVERY_TYPE) != 0)
                return false;
        if (keyslots_one(token, ret_slot, &ignored) < 0)
                *ret_slot = LUKS_SLOTS_MAX;
        return true;
}
