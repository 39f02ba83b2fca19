/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool role_valid(const char *role) {
        return strcmp(role, ROLE_OS) == 0 || strcmp(role, ROLE_DATA) == 0;
}

bool token_is_ours(const struct json *json) {
        struct error ignored = { 0 };
        const char *type;

        return json && json_get_string(json, "type", &type, &ignored) == 0 &&
               strcmp(type, TOKEN_TYPE) == 0;
}

struct token *token_new(void) {
        return calloc(1, sizeof(struct token));
}

struct token *token_free(struct token *t) {
        if (!t)
                return NULL;
        for (unsigned i = 0; i < t->entries; i++)
                json_free(t->entry[i].origin);
        json_free(t->origin);
        free(t);
        return NULL;
}

void token_drop(struct token *t, unsigned index) {
        json_free(t->entry[index].origin);
        t->entries--;
        memmove(&t->entry[index], &t->entry[index + 1], (t->entries - index) * sizeof(t->entry[0]));
}

void token_push(struct token *t, const struct token_entry *entry, unsigned keep) {
        while (t->entries > keep)
                token_drop(t, t->entries - 1);
        memmove(&t->entry[1], &t->entry[0], t->entries * sizeof(t->entry[0]));
        t->entry[0] = *entry;
        t->entries++;
}

int token_find(const struct token *t, const struct kek *kek) {
        for (unsigned i = 0; i < t->entries; i++)
                if (kek_equal(&t->entry[i].kek, kek))
                        return (int) i;
        return -1;
}

static struct envelope_binding binding_of(const struct token *t, const char *uuid,
                                          const struct token_entry *entry) {
        return (struct envelope_binding){ .uuid = uuid,
                                          .disk = t->name,
                                          .role = t->role,
                                          .kek = entry->kek.name,
                                          .version = entry->kek.version };
}

int token_wrap(const struct token *t, const char *uuid, struct secret *kek, struct secret *secret,
               struct token_entry *entry, struct error *err) {
        struct envelope_binding b = binding_of(t, uuid, entry);

        return envelope_seal(kek, &b, secret, &entry->wrap, err);
}

int token_unwrap(const struct token *t, const char *uuid, const struct token_entry *entry,
                 struct secret *kek, struct secret **ret, struct error *err) {
        struct envelope_binding b = binding_of(t, uuid, entry);

        return envelope_open(kek, &b, &entry->wrap, ret, err);
}

/* --- reading --- */

static int parse_wrap(const struct json *entry, struct gcm_box *ret, struct error *err) {
        const struct json *wrap;
        int r = json_get(entry, "wrap", &wrap, err);

        return r < 0 ? r : box_parse(wrap, ret, err);
}

static int parse_entries(const struct json *json, struct token *t, struct error *err) {
        const struct json *keks;
        int r;

        r = json_get_array(json, "keks", &keks, err);
        if (r < 0)
                return r;
        if (json_length(keks) == 0 || json_length(keks) > TOKEN_KEKS_MAX)
                return error_set(err, -EBADMSG, "%zu KEKs where 1 or 2 belong", json_length(keks));

        for (size_t i = 0; i < json_length(keks); i++) {
                const struct json *item = json_at(keks, i);
                struct token_entry *e = &t->entry[t->entries];

                if ((r = kek_parse(item, &e->kek, err)) < 0 ||
                    (r = parse_wrap(item, &e->wrap, err)) < 0)
                        return r;
                e->origin = json_copy(item);
                if (!e->origin)
                        return error_nomem(err);
                t->entries++;
        }

        /* Readers try the newest version first, in whatever order they stand on the disk. */
        if (t->entries == 2 && t->entry[0].kek.version < t->entry[1].kek.version) {
                struct token_entry older = t->entry[0];

                t->entry[0] = t->entry[1];
                t->entry[1] = older;
        }
        return 0;
}

static int parse_pin(const struct json *json, const char *key, struct luks_pin *ret,
                     struct error *err) {
        const struct json *pin;
        uint64_t rules;
        int r;

        if ((r = json_get(json, key, &pin, err)) < 0 ||
            (r = json_get_uint(pin, "rules", UINT32_MAX, &rules, err)) < 0)
                return r;
        if (rules != LUKS_PIN_RULES)
                return error_set(err, -EBADMSG, "pinned by rules of another version");
        ret->rules = LUKS_PIN_RULES;
        if ((r = json_get_exactly(pin, "mac", ret->mac, sizeof(ret->mac), err)) < 0 ||
            (r = json_get_exactly(pin, "vmac", ret->vmac, sizeof(ret->vmac), err)) < 0 ||
            (r = json_get_exactly(pin, "vk", ret->vk, sizeof(ret->vk), err)) < 0)
                return r;
        return 0;
}

static int parse_state(const struct json *json, struct token *t, struct error *err) {
        const struct json *slots;
        const char *state;
        char number[12];
        uint64_t slot;
        int r;

        if ((r = json_get_string(json, "state", &state, err)) < 0 ||
            (r = json_get_uint(json, "slot", LUKS_SLOTS_MAX - 1, &slot, err)) < 0 ||
            (r = json_get_array(json, "keyslots", &slots, err)) < 0)
                return r;
        t->slot = (unsigned) slot;
        (void) snprintf(number, sizeof(number), "%u", t->slot);

        if (strcmp(state, "active") == 0) {
                t->state = TOKEN_ACTIVE;
                /* libcryptsetup drops a destroyed slot from the token, so none is possible too. */
                if (json_length(slots) > 1 ||
                    (json_length(slots) == 1 && !json_lists(slots, number)))
                        return error_set(err, -EBADMSG, "bound to another keyslot than its own");
                t->pinned = true;
                t->has_next = json_has(json, "next");
                r = parse_pin(json, "pin", &t->pin, err);
                return r < 0 || !t->has_next ? r : parse_pin(json, "next", &t->next, err);
        }
        if (strcmp(state, "pending") == 0) {
                t->state = TOKEN_PENDING;
                return 0;
        }
        return error_set(err, -EBADMSG, "a state that this version doesn't know");
}

int token_parse(const struct json *json, struct token **ret, struct error *err) {
        _cleanup_(token_freep) struct token *t = token_new();
        const char *name, *role;
        uint64_t version, epoch;
        int r;

        if (!t)
                return error_nomem(err);
        if ((r = json_get_uint(json, "v", UINT32_MAX, &version, err)) < 0)
                return r;
        if (version != 1)
                return error_set(err, -EBADMSG, "written by another version of diskseal");
        if ((r = json_get_string(json, "name", &name, err)) < 0 ||
            (r = json_get_string(json, "role", &role, err)) < 0 ||
            (r = json_get_uint(json, "epoch", UINT32_MAX, &epoch, err)) < 0)
                return r;
        if (!name_valid(name) || !role_valid(role))
                return error_set(err, -EBADMSG, "a name or a role that no disk has");
        (void) snprintf(t->name, sizeof(t->name), "%s", name);
        (void) snprintf(t->role, sizeof(t->role), "%s", role);
        t->epoch = (uint32_t) epoch;

        if ((r = parse_state(json, t, err)) < 0 || (r = parse_entries(json, t, err)) < 0)
                return r;
        t->origin = json_copy(json);
        if (!t->origin)
                return error_nomem(err);
        *ret = TAKE(t);
        return 0;
}

/* --- writing --- */

static struct json *print_entry(const struct token_entry *e) {
        _cleanup_(json_freep) struct json *wrap = json_new_object();
        _cleanup_(json_freep) struct json *entry =
                e->origin ? json_copy(e->origin) : json_new_object();

        if (e->origin)
                return TAKE(entry);
        if (!kek_print(&e->kek, entry) || !box_print(&e->wrap, wrap) ||
            !json_add(entry, "wrap", TAKE(wrap)))
                return NULL;
        return TAKE(entry);
}

static bool print_pin(const struct luks_pin *p, const char *key, struct json *token) {
        _cleanup_(json_freep) struct json *pin = json_new_object();

        return json_add_uint(pin, "rules", p->rules) &&
               json_add_bytes(pin, "mac", p->mac, sizeof(p->mac)) &&
               json_add_bytes(pin, "vmac", p->vmac, sizeof(p->vmac)) &&
               json_add_bytes(pin, "vk", p->vk, sizeof(p->vk)) && json_add(token, key, TAKE(pin));
}

int token_print(const struct token *t, struct json **ret, struct error *err) {
        _cleanup_(json_freep) struct json *token =
                t->origin ? json_copy(t->origin) : json_new_object();
        _cleanup_(json_freep) struct json *slots = json_new_array(), *keks = json_new_array();
        char number[12];

        (void) snprintf(number, sizeof(number), "%u", t->slot);
        if (t->state == TOKEN_ACTIVE && !json_append_string(slots, number))
                return error_nomem(err);
        for (unsigned i = 0; i < t->entries; i++)
                if (!json_append(keks, print_entry(&t->entry[i])))
                        return error_nomem(err);

        if (!json_add_string(token, "type", TOKEN_TYPE) ||
            !json_add(token, "keyslots", TAKE(slots)) || !json_add_uint(token, "v", 1) ||
            !json_add_string(token, "name", t->name) || !json_add_string(token, "role", t->role) ||
            !json_add_uint(token, "epoch", t->epoch) ||
            !json_add_string(token, "state", t->state == TOKEN_ACTIVE ? "active" : "pending") ||
            !json_add_uint(token, "slot", t->slot) || !json_add(token, "keks", TAKE(keks)) ||
            (t->pinned && !print_pin(&t->pin, "pin", token)))
                return error_nomem(err);
        json_remove(token, "next"); /* of the origin */
        if (t->has_next && !print_pin(&t->next, "next", token))
                return error_nomem(err);
        *ret = TAKE(token);
        return 0;
}
