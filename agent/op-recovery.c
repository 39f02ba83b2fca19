/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/change.h"
#include "agent/op.h"
#include "keys/keyslots.h"
#include "keys/recovery.h"

#define TOKEN_JSON 160 /* bytes that the token of a recovery slot takes */

static void fill(const struct change *w, unsigned slot, struct op_slot *ret) {
        (void) snprintf(ret->name, sizeof(ret->name), "%s", w->disk.token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", luks_facts(w->disk.luks)->uuid);
        ret->slot = slot;
}

/* What nobody saw opens nothing. */
static int take_back(struct change *w, unsigned slot, int fault) {
        struct error ignored = { 0 };

        if (luks_slot_remove(w->edit, slot, &ignored) < 0)
                return error_prefix(w->err, "keyslot %u stays, with a passphrase nobody saw", slot);
        return fault;
}

/* The keyslot, proven from what's on the disk, then the passphrase shown, then the token that marks
 * it: what a cut leaves is a keyslot that is shown as foreign. One that counts as a way back, for
 * the removal of another key, is one whose passphrase somebody was told. */
static int add(struct change *w, const struct op_recovery_add *args, const struct op_slot *s,
               unsigned id) {
        _cleanup_(json_freep) struct json *token = recovery_token(s->slot);
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        struct luks_key key = { s->slot, LUKS_SLOT_FOREIGN, NULL };
        int r;

        if (!token)
                return error_nomem(w->err);
        r = recovery_make(&passphrase, w->err);
        if (r < 0)
                return r;
        key.key = passphrase;
        if ((r = change_edit(w)) != OUTCOME_DONE ||
            (r = luks_slot_add(w->edit, &key, w->volume_key, w->err)) < 0 ||
            (r = disk_prove_slot(luks_edit_result(w->edit), &key, w->volume_key, w->why, w->err)) !=
                    OUTCOME_DONE)
                return r;
        r = args->show(s, passphrase, args->user, w->err);
        if (r < 0)
                return take_back(w, s->slot, r);
        r = luks_token_set(w->edit, id, token, w->err);
        if (r < 0)
                return error_prefix(w->err, "the passphrase opens keyslot %u, which isn't marked",
                                    s->slot);
        return change_record(w, luks_edit_result(w->edit), s->slot, false);
}

static struct audit_event event(const char *verb, const struct op_slot *s) {
        return (struct audit_event){ .event = verb,
                                     .subject = s->name,
                                     .result = "begin",
                                     .fact = { { "slot", NULL, s->slot } } };
}

int op_recovery_add(struct context *c, const struct op_recovery_add *args, struct op_slot *ret,
                    struct refusal *why, struct error *err) {
        _cleanup_(change_done) struct change w = { .c = c, .why = why, .err = err };
        const struct luks_need need = { .slot = true, .token = true, .json = TOKEN_JSON };
        struct luks_reason reason = { 0 };
        struct audit_event e;
        unsigned slot, id;
        int r;

        r = change_find(&w, args->disk.what, args->disk.header);
        if (r != OUTCOME_DONE)
                return r;
        r = luks_room(w.disk.luks, &need, &slot, &id, &reason, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, disk_subject(&w.disk), r, &reason);
        fill(&w, slot, ret);
        if (c->dry_run)
                return OUTCOME_DONE;

        r = change_open(&w);
        if (r != OUTCOME_DONE)
                return r;
        e = event("recovery-add", ret);
        r = audit(c, &e, err);
        return r < 0 ? r : audit_result(c, e, add(&w, args, ret, id), err);
}

int op_owner_verify(struct context *c, const struct op_disk *disk, const struct owner_key *owner,
                    struct op_slot *ret, struct refusal *why, struct error *err) {
        _cleanup_(change_done) struct change w = { .c = c, .why = why, .err = err };
        struct owner_way way = { 0 };
        int r;

        if ((r = target_find(c, disk->what, disk->header, &w.target, why, err)) != OUTCOME_DONE ||
            (r = target_load(c, &w.target, &w.disk, why, err)) != OUTCOME_DONE ||
            (r = way_by_owner(&w.disk, owner, &way, why, err)) != OUTCOME_DONE)
                return r;
        w.volume_key = way.volume_key;
        r = way_check_pin(&w.disk, w.volume_key, why, err);
        if (r != OUTCOME_DONE)
                return r;
        fill(&w, way.slot, ret);
        return c->dry_run ? OUTCOME_DONE : change_record(&w, w.disk.luks, way.slot, false);
}

/* This TPM opens the disk, so that our own keyslot is known to work; then the recovery passphrase
 * isn't the last key. */
static int remove_slot(struct change *w, unsigned slot) {
        int r;

        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *token = luks_token(luks_edit_result(w->edit), id);
                unsigned marked;

                if (!token || !recovery_is_one(token, &marked) || marked != slot)
                        continue;
                /* Its area is wiped before its metadata goes: from here on it counts for nothing.
                 */
                if ((r = change_record(w, luks_edit_result(w->edit), slot, true)) < 0 ||
                    (r = luks_slot_remove(w->edit, slot, w->err)) < 0)
                        return r;
                return luks_token_remove(w->edit, id, w->err);
        }
        return error_set(w->err, -EIO, "no token marks keyslot %u any more", slot);
}

/* A token whose keyslot is gone: a removal was cut off between both. */
static bool is_orphan(const struct luks *l, unsigned id) {
        const struct json *token = luks_token(l, id);
        unsigned marked;

        return recovery_is_one(token, &marked) && keyslots_count(token) == 0;
}

static bool has_orphans(const struct luks *l) {
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++)
                if (is_orphan(l, id))
                        return true;
        return false;
}

static int remove_orphans(struct change *w) {
        int r;

        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++)
                if (is_orphan(luks_edit_result(w->edit), id) &&
                    (r = luks_token_remove(w->edit, id, w->err)) < 0)
                        return r;
        return OUTCOME_DONE;
}

static int remove_logged(struct change *w, const struct op_slot *s) {
        struct audit_event e = event("recovery-remove", s);
        int r;

        if (s->slot == LUKS_SLOTS_MAX)
                e.fact[0] = (struct audit_fact){ "leftover", "token", 0 };
        if (w->c->dry_run)
                return OUTCOME_DONE;
        if ((r = change_open(w)) != OUTCOME_DONE || (r = change_edit(w)) != OUTCOME_DONE ||
            (r = audit(w->c, &e, w->err)) < 0)
                return r;
        r = s->slot == LUKS_SLOTS_MAX ? remove_orphans(w) : remove_slot(w, s->slot);
        return audit_result(w->c, e, r, w->err);
}

int op_recovery_remove(struct context *c, const struct op_disk *disk, int slot, struct op_slot *ret,
                       struct refusal *why, struct error *err) {
        _cleanup_(change_done) struct change w = { .c = c, .why = why, .err = err };
        int r = change_find(&w, disk->what, disk->header);

        if (r != OUTCOME_DONE)
                return r;
        slot = slot_of_role(&w.disk, SLOT_RECOVERY, slot);
        if (slot == -ENOTUNIQ)
                return refusal_set(why, REFUSAL_WHICH_SLOT, "%s has several recovery keyslots",
                                   disk_subject(&w.disk));
        if (slot < 0 && has_orphans(w.disk.luks)) {
                fill(&w, LUKS_SLOTS_MAX, ret);
                return remove_logged(&w, ret);
        }
        if (slot < 0)
                return refusal_set(why, REFUSAL_NO_SLOT, "%s has no such recovery keyslot",
                                   disk_subject(&w.disk));
        fill(&w, (unsigned) slot, ret);
        return remove_logged(&w, ret);
}
