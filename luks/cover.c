/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "luks/internal.h"
#include "luks/rules.h"

/* The covered form: what must not change behind our back, and nothing that may. Its text goes into
 * MACs that stand on disks for years: any change here is a new LUKS_PIN_RULES. */

#define ESCROW_TYPE "diskseal-escrow"

static int hash_token(const struct json *token, char ret[2 * SHA256_SIZE + 1], struct error *err) {
        _cleanup_(freep) char *text = NULL;
        uint8_t sum[SHA256_SIZE];
        int r;

        r = json_canonical(token, &text, err);
        if (r < 0)
                return r;
        r = crypto_sha256(text, strlen(text), sum, err);
        if (r < 0)
                return r;
        hex_encode(sum, sizeof(sum), ret);
        return 0;
}

static int add_escrow(struct json *o, const struct luks *l, const struct luks_plan *plan,
                      struct error *err) {
        _cleanup_(json_freep) struct json *list = json_new_array();
        char hex[2 * SHA256_SIZE + 1];
        int r;

        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *token =
                        plan && plan->token == id ? plan->json : luks_token(l, id);
                struct error ignored = { 0 };
                const char *type;

                if (!token || json_get_string(token, "type", &type, &ignored) < 0 ||
                    strcmp(type, ESCROW_TYPE) != 0)
                        continue;
                r = hash_token(token, hex, err);
                if (r < 0)
                        return error_prefix(err, "escrow token %u", id);
                if (!json_append_string(list, hex))
                        return error_nomem(err);
        }
        return json_add(o, "escrow", TAKE(list)) ? 0 : error_nomem(err);
}

/* Requirements that are missing, and none, are the same. */
static int add_config(struct json *o, const struct luks *l, struct error *err) {
        _cleanup_(json_freep) struct json *covered = json_new_object();
        const struct json *config, *requirements = NULL;
        const char *json_size, *keyslots_size;
        struct error ignored = { 0 };
        struct json_iter i = { 0 };
        bool none = true;
        int r;

        r = json_get(l->metadata, "config", &config, err);
        if (r == 0)
                r = json_get_string(config, "json_size", &json_size, err);
        if (r == 0)
                r = json_get_string(config, "keyslots_size", &keyslots_size, err);
        if (r < 0)
                return r;
        if (json_get(config, "requirements", &requirements, &ignored) == 0)
                while (json_next(requirements, &i))
                        none = none && json_is_array(i.value) && json_length(i.value) == 0;
        if (!json_add_string(covered, "json_size", json_size) ||
            !json_add_string(covered, "keyslots_size", keyslots_size) ||
            !json_add(covered, "requirements", none ? json_new_object() : json_copy(requirements)))
                return error_nomem(err);
        return json_add(o, "config", TAKE(covered)) ? 0 : error_nomem(err);
}

/* A copy of @from without its member @without. */
static int add_without(struct json *o, const char *name, const struct json *from,
                       const char *without, struct error *err) {
        _cleanup_(json_freep) struct json *copy = NULL;

        if (!from)
                return error_set(err, -EBADMSG, "the header has no %s", name);
        copy = json_copy(from);
        if (!copy)
                return error_nomem(err);
        json_remove(copy, without);
        return json_add(o, name, TAKE(copy)) ? 0 : error_nomem(err);
}

static int add_rest(struct json *o, const struct luks *l, int slot, struct error *err) {
        const struct json *segments;
        int r;

        r = add_without(o, "digest", rules_data_digest(l->metadata), "keyslots", err);
        if (r == 0 && slot >= 0)
                r = add_without(o, "keyslot",
                                rules_numbered(l->metadata, "keyslots", (unsigned) slot),
                                "priority", err);
        if (r == 0)
                r = json_get(l->metadata, "segments", &segments, err);
        if (r < 0)
                return r;
        return json_add(o, "segments", json_copy(segments)) &&
                               json_add_string(o, "uuid", l->facts.uuid)
                       ? 0
                       : error_nomem(err);
}

int luks_covered(const struct luks *l, int slot, const struct luks_plan *plan, char **ret,
                 struct error *err) {
        _cleanup_(json_freep) struct json *o = json_new_object();
        int r;

        r = add_config(o, l, err);
        if (r == 0)
                r = add_escrow(o, l, plan, err);
        if (r == 0)
                r = add_rest(o, l, slot, err);
        if (r == 0)
                r = json_canonical(o, ret, err);
        if (r < 0)
                return error_prefix(err, "covered form");
        return 0;
}
