/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/change.h"
#include "agent/differ.h"
#include "agent/op.h"
#include "base/crypto.h"
#include "keys/escrow.h"
#include "luks/rules.h"

/* --- check and show --- */

void op_header_done(struct op_header *h) {
        h->examined = luks_examined_free(h->examined);
}

/* The keyslots that would be opened by us, which are held against rules of their own. A token that
 * can't be read names none. */
static int find_ours(const struct json *metadata, uint32_t *ret, struct error *err) {
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));

        if (!e)
                return error_nomem(err);
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                _cleanup_(token_freep) struct token *t = NULL;
                const struct json *json = rules_numbered(metadata, "tokens", id);
                struct error bad = { 0 };

                if (!json)
                        continue;
                if (token_is_ours(json) && token_parse(json, &t, &bad) == 0)
                        *ret |= t->state == TOKEN_ACTIVE ? 1u << t->slot : 0;
                else if (escrow_is_one(json) && escrow_parse(json, e, &bad) == 0 &&
                         e->slot < LUKS_SLOTS_MAX)
                        *ret |= 1u << e->slot;
        }
        return 0;
}

int op_header_examine(struct context *c, const struct op_disk *disk, struct op_header *ret,
                      struct refusal *why, struct error *err) {
        struct luks_reason reason = { 0 };
        const struct json *metadata;
        struct luks_source from;
        uint32_t ours = 0;
        struct target t;
        int r = target_find(c, disk->what, disk->header, &t, why, err);

        if (r != OUTCOME_DONE)
                return r;
        (void) snprintf(ret->device, sizeof(ret->device), "%s", t.device);
        from = target_source(&t);
        r = luks_examine(&from, &ret->examined, &reason, err);
        if (r < 0)
                return r;
        if (r == LUKS_NONE)
                return refuse_luks(why, t.device, r, &reason);
        metadata = luks_examined_metadata(ret->examined);
        if (!metadata)
                return OUTCOME_DONE;
        r = find_ours(metadata, &ours, err);
        for (unsigned slot = 0; r >= 0 && slot < LUKS_SLOTS_MAX; slot++)
                if (rules_numbered(metadata, "keyslots", slot))
                        r = luks_examine_slot(
                                ret->examined, slot,
                                ours & (1u << slot) ? LUKS_SLOT_OURS : LUKS_SLOT_FOREIGN, err);
        return r < 0 ? r : OUTCOME_DONE;
}

/* --- approve --- */

/* What changed since the header was pinned here, as far as that's recorded. */
static int compare(struct change *w, struct op_approval *ret) {
        _cleanup_(freep) char *now_text = NULL, *then_text = NULL;
        _cleanup_(json_freep) struct json *now = NULL, *then = NULL;
        int r;

        (void) snprintf(ret->name, sizeof(ret->name), "%s", w->disk.token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", luks_facts(w->disk.luks)->uuid);
        if ((r = luks_covered(w->disk.luks, (int) w->disk.token->slot, NULL, &now_text, w->err)) <
                    0 ||
            (r = json_parse(now_text, strlen(now_text), &now, w->err)) < 0 ||
            (r = state_read_header(w->c->state_dir, ret->uuid, &then_text, w->err)) < 0)
                return r;
        if (then_text && (r = json_parse(then_text, strcspn(then_text, "\n"), &then, w->err)) < 0)
                return error_prefix(w->err, "the header that is recorded here");
        ret->known = then != NULL;
        ret->count = differ(then, now, ret->difference, OP_DIFFERENCES_MAX);
        return 0;
}

/* The owner is who holds a key of the same volume key, or has the disk open. */
static int check_owner(struct change *w, const struct owner_key *owner) {
        struct owner_way way = { 0 };
        bool same;
        int r;

        if (!owner) {
                if (luks_is_active_of(w->disk.token->name, luks_facts(w->disk.luks)->uuid))
                        return OUTCOME_DONE;
                return refusal_set(w->why, REFUSAL_NOT_OPEN,
                                   "%s isn't open: its header can be approved only with a "
                                   "recovery key",
                                   w->disk.token->name);
        }
        r = way_by_owner(&w->disk, owner, &way, w->why, w->err);
        if (r != OUTCOME_DONE)
                return r;
        same = crypto_same(way.volume_key, w->volume_key);
        secret_free(way.volume_key);
        return same ? OUTCOME_DONE
                    : refusal_set(w->why, REFUSAL_PIN,
                                  "%s: this key opens another volume key than ours",
                                  w->disk.token->name);
}

/* Our own keyslot by its own rules, the pin aside; the volume key's identity still holds. */
static int open_unpinned(struct change *w) {
        const struct token *t = w->disk.token;
        struct luks_reason reason = { 0 };
        struct luks_pin now;
        struct tpm_way way = { .unpinned = true };
        int r = way_by_tpm(w->c, &w->disk, &way, w->why, w->err);

        context_release_tpm(w->c);
        if (r != OUTCOME_DONE)
                return r;
        w->slot_secret = way.slot_secret;
        r = luks_slot_open(w->disk.luks,
                           &(struct luks_key){ t->slot, LUKS_SLOT_OURS, w->slot_secret },
                           &w->volume_key, &reason, w->err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(w->why, t->name, r, &reason);
        r = luks_pin_make(w->disk.luks,
                          &(struct luks_pin_keys){ t->slot, w->slot_secret, w->volume_key }, NULL,
                          &now, w->err);
        if (r < 0)
                return r;
        if (!crypto_equal(now.vk, t->pin.vk, sizeof(now.vk)))
                return refusal_set(w->why, REFUSAL_PIN,
                                   "%s: its keyslot gives another volume key than was pinned; that "
                                   "can't be approved",
                                   t->name);
        w->disk.token->pin = now;
        w->disk.token->has_next = false;
        return OUTCOME_DONE;
}

int op_header_approve(struct context *c, const struct op_approve *args, struct op_approval *ret,
                      struct refusal *why, struct error *err) {
        _cleanup_(change_done) struct change w = { .c = c, .why = why, .err = err };
        struct audit_event e;
        int r = change_find(&w, args->disk.what, args->disk.header);

        if (r != OUTCOME_DONE || (r = change_settled(&w)) != OUTCOME_DONE ||
            (r = compare(&w, ret)) < 0 || c->dry_run)
                return r;
        if ((r = open_unpinned(&w)) != OUTCOME_DONE ||
            (r = check_owner(&w, args->owner)) != OUTCOME_DONE)
                return r;
        if (!args->agree(ret, args->user))
                return refusal_set(why, REFUSAL_UNCONFIRMED, "%s: its header was not approved",
                                   ret->name);
        e = (struct audit_event){ .event = "header-approve",
                                  .subject = ret->name,
                                  .result = "begin",
                                  .fact = { { "differences", NULL, ret->count },
                                            { "by", args->owner ? "owner" : "open", 0 } } };
        if ((r = change_edit(&w)) != OUTCOME_DONE || (r = audit(c, &e, err)) < 0)
                return r;
        r = disk_put_token(w.edit, w.disk.token_id, w.disk.token, err);
        if (r == 0)
                r = change_remember(&w, luks_edit_result(w.edit));
        return audit_result(c, e, r, err);
}
