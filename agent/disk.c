/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "base/file.h"
#include "keys/keyslots.h"

#define KEY_FILE_MAX (32 * 1024)

void disk_done(struct disk *d) {
        d->token = token_free(d->token);
        d->older = token_free(d->older);
        d->luks = luks_close(d->luks);
}

const char *disk_subject(const struct disk *d) {
        return d->token ? d->token->name : luks_facts(d->luks)->device;
}

bool disk_token_bound(const struct luks *l, unsigned id) {
        return keyslots_count(luks_token(l, id)) == 1;
}

bool disk_owns_slot(const struct disk *d) {
        return disk_token_bound(d->luks, d->token_id);
}

/* A token whose keyslot was destroyed opens nothing: any other counts more. */
static bool counts_more(const struct disk *d, const struct token *a, unsigned a_id,
                        const struct token *b, unsigned b_id) {
        bool bound = disk_token_bound(d->luks, a_id);

        return bound == disk_token_bound(d->luks, b_id) ? a->epoch > b->epoch : bound;
}

static void swap(struct token **a, unsigned *a_id, struct token **b, unsigned *b_id) {
        struct token *t = *a;
        unsigned id = *a_id;

        *a = *b;
        *a_id = *b_id;
        *b = t;
        *b_id = id;
}

void disk_use_older(struct disk *d) {
        d->stale |= 1u << d->token_id;
        d->stale &= ~(1u << d->older_id);
        swap(&d->token, &d->token_id, &d->older, &d->older_id);
}

/* Takes @t over. */
static void add_active(struct disk *d, struct token *t, unsigned id) {
        if (!d->token || counts_more(d, t, id, d->token, d->token_id))
                swap(&t, &id, &d->token, &d->token_id);
        if (!t)
                return;
        d->stale |= 1u << id;
        if (disk_token_bound(d->luks, id) &&
            (!d->older || counts_more(d, t, id, d->older, d->older_id)))
                swap(&t, &id, &d->older, &d->older_id);
        token_free(t);
}

static int read_tokens(struct disk *d, struct refusal *why, struct error *err) {
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                _cleanup_(token_freep) struct token *t = NULL;
                struct error bad = { 0 };
                int r;

                if (!token_is_ours(luks_token(d->luks, id)))
                        continue;
                r = token_parse(luks_token(d->luks, id), &t, &bad);
                if (r == -EBADMSG) {
                        refusal_set(why, REFUSAL_TOKEN_DAMAGED, "%s: its diskseal token is damaged",
                                    luks_facts(d->luks)->device);
                        refusal_detail(why, "token %u: %s", id, bad.text);
                        return OUTCOME_REFUSED;
                }
                if (r < 0) {
                        *err = bad;
                        return r;
                }
                if (t->state == TOKEN_PENDING) {
                        d->pending = true;
                        d->pending_id = id;
                } else {
                        add_active(d, TAKE(t), id);
                }
        }
        /* A rotation gives the new token a keyslot of its own: two for one are nothing of ours. */
        if (d->older && d->older->slot == d->token->slot)
                d->older = token_free(d->older);
        return OUTCOME_DONE;
}

int disk_take(struct luks *l, struct disk *ret, struct refusal *why, struct error *err) {
        _cleanup_(disk_done) struct disk d = { .luks = l };
        int r = read_tokens(&d, why, err);

        if (r != OUTCOME_DONE)
                return r;
        *ret = d;
        d = (struct disk) DISK_INIT;
        return OUTCOME_DONE;
}

int disk_load(const struct luks_source *from, struct disk *ret, struct refusal *why,
              struct error *err) {
        struct luks_reason reason = { 0 };
        struct luks *l = NULL;
        int r = luks_open(from, &l, &reason, err);

        if (r < 0)
                return r;
        return r == LUKS_OK ? disk_take(l, ret, why, err)
                            : refuse_luks(why, from->device, r, &reason);
}

int disk_load_enrolled(const struct luks_source *from, struct disk *ret, struct refusal *why,
                       struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        int r = disk_load(from, &d, why, err);

        if (r != OUTCOME_DONE)
                return r;
        if (!d.token)
                return refusal_set(why, REFUSAL_NO_TOKEN,
                                   "%s is a LUKS2 disk without a diskseal token%s", from->device,
                                   d.pending ? ": its adoption was cut off" : "");
        *ret = d;
        d = (struct disk) DISK_INIT;
        return OUTCOME_DONE;
}

static int check_pin(const struct disk *d, struct secret *secret, struct luks_reason *why,
                     struct error *err) {
        struct token *t = d->token;
        int r = luks_pin_check(d->luks, t->slot, secret, &t->pin, why, err);

        if (r == LUKS_REFUSED && t->has_next) {
                r = luks_pin_check(d->luks, t->slot, secret, &t->next, why, err);
                if (r == LUKS_OK)
                        t->pin = t->next;
        }
        if (r == LUKS_OK)
                t->has_next = false;
        return r;
}

int disk_unwrap(const struct disk *d, const struct token_entry *entry, struct secret *kek,
                struct secret **ret, struct refusal *why, struct error *err) {
        int r = token_unwrap(d->token, luks_facts(d->luks)->uuid, entry, kek, ret, err);

        if (r < 0)
                return r;
        if (r != CRYPTO_GOOD)
                return refusal_set(
                        why, REFUSAL_TOKEN_DAMAGED,
                        "%s stays locked: KEK %s v%u doesn't open its token: altered, or made "
                        "for another disk",
                        disk_subject(d), entry->kek.name, entry->kek.version);
        return OUTCOME_DONE;
}

int disk_secret(const struct disk *d, const struct token_entry *entry, struct secret *kek,
                struct secret **ret, struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *secret = NULL;
        struct luks_reason reason = { 0 };
        int r = disk_unwrap(d, entry, kek, &secret, why, err);

        if (r != OUTCOME_DONE)
                return r;
        r = check_pin(d, secret, &reason, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, disk_subject(d), r, &reason);
        *ret = TAKE(secret);
        return OUTCOME_DONE;
}

int disk_volume_key(struct disk *d, struct secret *slot_secret, struct secret **ret,
                    struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct luks_reason reason = { 0 };
        int r;

        r = luks_slot_open(d->luks,
                           &(struct luks_key){ d->token->slot, LUKS_SLOT_OURS, slot_secret }, &key,
                           &reason, err);
        if (r == LUKS_OK)
                r = luks_pin_check_key(d->luks, slot_secret, key, &d->token->pin, &reason, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, disk_subject(d), r, &reason);
        *ret = TAKE(key);
        return OUTCOME_DONE;
}

int disk_open_foreign(struct luks *l, const char *key_file, unsigned ours, struct foreign *ret,
                      struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        int r = file_read_secret(key_file, KEY_FILE_MAX, &key, err);

        if (r < 0)
                return r;
        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++) {
                struct luks_reason reason = { 0 };

                if (slot == ours || !(luks_facts(l)->data_slots & (1u << slot)))
                        continue;
                r = luks_slot_open(l, &(struct luks_key){ slot, LUKS_SLOT_FOREIGN, key },
                                   &ret->volume_key, &reason, err);
                if (r == LUKS_OK)
                        ret->slot = slot;
                if (r == LUKS_OK || r < 0)
                        return r;
                if (r == LUKS_REFUSED)
                        ret->tried = reason;
        }
        return LUKS_WRONG_KEY;
}

/* --- enrolment --- */

int disk_put_token(struct luks_edit *edit, unsigned id, const struct token *t, struct error *err) {
        _cleanup_(json_freep) struct json *json = NULL;
        int r = token_print(t, &json, err);

        return r < 0 ? r : luks_token_set(edit, id, json, err);
}

int disk_change_escrow(struct luks_edit *edit, const struct disk *d, const struct disk_keys *keys,
                       const struct luks_plan *plan, struct error *err) {
        const struct luks_pin_keys with = { d->token->slot, keys->slot_secret, keys->volume_key };
        struct token *t = d->token;
        int r;

        r = luks_pin_make(luks_edit_result(edit), &with, plan, &t->next, err);
        if (r < 0)
                return r;
        t->has_next = true;
        if ((r = disk_put_token(edit, d->token_id, t, err)) < 0)
                return r;
        r = plan->json ? luks_token_set(edit, plan->token, plan->json, err)
                       : luks_token_remove(edit, plan->token, err);
        if (r < 0)
                return r;
        t->pin = t->next;
        t->has_next = false;
        return disk_put_token(edit, d->token_id, t, err);
}

/* What the disk must have room for: the slot, the token, and its second entry during a rotation. */
static int enrolment_room(const struct luks *l, struct token *t, unsigned *ret_token,
                          struct refusal *why, struct error *err) {
        _cleanup_(json_freep) struct json *json = NULL;
        _cleanup_(freep) char *text = NULL;
        struct luks_need need = { .slot = true, .token = true };
        struct luks_reason reason = { 0 };
        int r;

        if ((r = token_print(t, &json, err)) < 0 || (r = json_text(json, false, &text, err)) < 0)
                return r;
        need.json = 2 * strlen(text) + 256;
        r = luks_room(l, &need, &t->slot, ret_token, &reason, err);
        if (r < 0)
                return r;
        return r == LUKS_OK ? OUTCOME_DONE : refuse_luks(why, t->name, r, &reason);
}

int disk_prove_slot(struct luks *l, const struct luks_key *key, struct secret *volume_key,
                    struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *found = NULL;
        struct luks_reason reason = { 0 };
        int r = luks_slot_open(l, key, &found, &reason, err);

        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, luks_facts(l)->device, r, &reason);
        if (!crypto_same(found, volume_key))
                return error_set(err, -EIO, "%s: the new keyslot gives back another volume key",
                                 luks_facts(l)->device);
        return OUTCOME_DONE;
}

static int new_token(const struct luks *l, const struct enrolment *what, struct secret *secret,
                     struct token **ret, struct error *err) {
        _cleanup_(token_freep) struct token *t = token_new();
        int r;

        if (!t)
                return error_nomem(err);
        (void) snprintf(t->name, sizeof(t->name), "%s", what->name);
        (void) snprintf(t->role, sizeof(t->role), "%s", what->role);
        t->epoch = what->epoch ? what->epoch : 1;
        t->state = TOKEN_PENDING;
        t->entries = 1;
        t->entry[0].kek = *what->kek;
        r = token_wrap(t, luks_facts(l)->uuid, what->kek_key, secret, &t->entry[0], err);
        if (r < 0)
                return r;
        *ret = TAKE(t);
        return 0;
}

/* Beside what was pinned before, what is pinned next: a cut leaves one of both. */
static int expect_enrolled(const struct luks *l, unsigned slot, const char *state_dir,
                           struct error *err) {
        _cleanup_(freep) char *known = NULL, *then = NULL;
        const char *uuid = luks_facts(l)->uuid;
        int r;

        if ((r = luks_covered(l, (int) slot, NULL, &then, err)) < 0 ||
            (r = state_read_header(state_dir, uuid, &known, err)) < 0)
                return r;
        if (!known)
                return 0;
        known[strcspn(known, "\n")] = '\0';
        return state_write_header(state_dir, uuid, known, then, err);
}

struct pending {
        struct token *token;
        struct secret *secret;
};

static void pending_done(struct pending *p) {
        p->token = token_free(p->token);
        p->secret = secret_free(p->secret);
}

/* The secret as the KEK gives it back from the token as it stands on the disk. */
static int read_pending(const struct luks *l, unsigned id, const struct enrolment *what,
                        struct pending *ret, struct refusal *why, struct error *err) {
        int r;

        ret->secret = secret_free(ret->secret);
        ret->token = token_free(ret->token);
        r = token_parse(luks_token(l, id), &ret->token, err);
        if (r < 0)
                return r;
        if (!kek_equal(&ret->token->entry[0].kek, what->kek))
                r = CRYPTO_FORGED;
        else
                r = token_unwrap(ret->token, luks_facts(l)->uuid, &ret->token->entry[0],
                                 what->kek_key, &ret->secret, err);
        if (r < 0)
                return r;
        if (r != CRYPTO_GOOD)
                return refusal_set(why, REFUSAL_TOKEN_DAMAGED,
                                   "%s: KEK %s v%u doesn't open its pending token", what->name,
                                   what->kek->name, what->kek->version);
        return OUTCOME_DONE;
}

static int bind_token(struct luks_edit *edit, unsigned id, struct pending *p,
                      const struct enrolment *what, struct error *err) {
        const struct luks_pin_keys keys = { p->token->slot, p->secret, what->volume_key };
        struct luks *now = luks_edit_result(edit);
        int r = luks_pin_make(now, &keys, NULL, &p->token->pin, err);

        if (r < 0 || (what->state_dir &&
                      (r = expect_enrolled(now, p->token->slot, what->state_dir, err)) < 0))
                return r;
        p->token->pinned = true;
        p->token->state = TOKEN_ACTIVE;
        return disk_put_token(edit, id, p->token, err);
}

int disk_enroll_pending(struct luks_edit *edit, unsigned id, const struct enrolment *what,
                        unsigned *ret_slot, struct refusal *why, struct error *err) {
        _cleanup_(pending_done) struct pending p = { 0 };
        struct luks *now = luks_edit_result(edit);
        struct luks_key key = { .kind = LUKS_SLOT_OURS };
        int r = read_pending(now, id, what, &p, why, err);

        if (r != OUTCOME_DONE)
                return r;
        key.slot = p.token->slot;
        key.key = p.secret;
        if (!(luks_facts(now)->slots & (1u << key.slot))) {
                if ((r = luks_slot_add(edit, &key, what->volume_key, err)) < 0 ||
                    (r = read_pending(luks_edit_result(edit), id, what, &p, why, err)) !=
                            OUTCOME_DONE)
                        return r;
                key.key = p.secret;
        }
        r = disk_prove_slot(luks_edit_result(edit), &key, what->volume_key, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = bind_token(edit, id, &p, what, err);
        if (r == 0)
                *ret_slot = key.slot;
        return r;
}

int disk_enroll(struct luks_edit *edit, const struct enrolment *what, unsigned *ret_slot,
                struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *secret = NULL;
        _cleanup_(token_freep) struct token *t = NULL;
        struct luks *now = luks_edit_result(edit);
        unsigned id;
        int r;

        if ((r = crypto_random_secret(LUKS_SECRET_SIZE, &secret, err)) < 0 ||
            (r = new_token(now, what, secret, &t, err)) < 0)
                return r;
        r = enrolment_room(now, t, &id, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = disk_put_token(edit, id, t, err);
        return r < 0 ? r : disk_enroll_pending(edit, id, what, ret_slot, why, err);
}

int disk_edit(struct luks *l, const char *subject, struct luks_edit **ret, struct refusal *why,
              struct error *err) {
        struct luks_reason reason = { 0 };
        int r = luks_edit(l, ret, &reason, err);

        if (r < 0)
                return r;
        return r == LUKS_OK ? OUTCOME_DONE : refuse_luks(why, subject, r, &reason);
}

int disk_clean_pending(struct luks_edit *edit, const struct disk *d, struct secret *kek_key,
                       struct error *err) {
        _cleanup_(token_freep) struct token *t = NULL;
        _cleanup_(secret_freep) struct secret *secret = NULL, *key = NULL;
        struct luks *now = luks_edit_result(edit);
        struct luks_reason reason = { 0 };
        int r;

        r = token_parse(luks_token(now, d->pending_id), &t, err);
        if (r < 0)
                return r;
        if (luks_facts(now)->slots & (1u << t->slot)) {
                r = token_unwrap(t, luks_facts(now)->uuid, &t->entry[0], kek_key, &secret, err);
                if (r == CRYPTO_GOOD)
                        r = luks_slot_open(now,
                                           &(struct luks_key){ t->slot, LUKS_SLOT_OURS, secret },
                                           &key, &reason, err);
                if (r < 0)
                        return r;
                if (key && (r = luks_slot_remove(edit, t->slot, err)) < 0)
                        return r;
        }
        return luks_token_remove(edit, d->pending_id, err);
}

int disk_remember_header(const struct luks *l, unsigned slot, const char *state_dir,
                         struct error *err) {
        _cleanup_(freep) char *covered = NULL, *known = NULL;
        const char *uuid = luks_facts(l)->uuid;
        int r;

        if ((r = luks_covered(l, (int) slot, NULL, &covered, err)) < 0 ||
            (r = state_read_header(state_dir, uuid, &known, err)) < 0)
                return r;
        if (known && strcmp(known, covered) == 0)
                return 0;
        return state_write_header(state_dir, uuid, covered, NULL, err);
}

int disk_expect_header(const struct luks *l, unsigned slot, const struct luks_plan *plan,
                       const char *state_dir, struct error *err) {
        _cleanup_(freep) char *now = NULL, *then = NULL;
        int r;

        if ((r = luks_covered(l, (int) slot, NULL, &now, err)) < 0 ||
            (r = luks_covered(l, (int) slot, plan, &then, err)) < 0)
                return r;
        return state_write_header(state_dir, luks_facts(l)->uuid, now, then, err);
}

int disk_slot_hash(const struct luks *l, unsigned slot, uint8_t ret[32], struct error *err) {
        _cleanup_(freep) char *text = NULL;
        const struct json *slots, *item;
        char number[12];
        int r;

        (void) snprintf(number, sizeof(number), "%u", slot);
        if ((r = json_get(luks_metadata(l), "keyslots", &slots, err)) < 0)
                return r;
        if ((r = json_get(slots, number, &item, err)) < 0)
                return error_set(err, -ENOENT, "no keyslot %u", slot);
        if ((r = json_canonical(item, &text, err)) < 0)
                return r;
        return crypto_sha256(text, strlen(text), ret, err);
}

int disk_slot_is(const struct luks *l, unsigned slot, const uint8_t hash[32], struct error *err) {
        uint8_t now[32];
        int r = disk_slot_hash(l, slot, now, err);

        return r < 0 ? r : memcmp(now, hash, sizeof(now)) == 0;
}
