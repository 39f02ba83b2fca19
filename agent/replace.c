/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/replace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/ways.h"
#include "base/crypto.h"
#include "keys/keyslots.h"
#include "keys/other-token.h"
#include "keys/recovery.h"
#include "luks/rules.h"

/* A token of a kind that opens or marks one keyslot, and has none any more. Others' tokens may well
 * be bound to none. */
static bool is_orphan(const struct json *token) {
        unsigned marked;

        return (other_token_type(token) || recovery_is_one(token, &marked)) &&
               keyslots_count(token) == 0;
}

/* What goes with keyslot @slot. */
static uint32_t find_tokens(const struct luks *l, unsigned slot) {
        uint32_t mask = 0;

        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *token = luks_token(l, id);

                if (!token || token_is_ours(token))
                        continue;
                if (is_orphan(token) || (slot < LUKS_SLOTS_MAX && keyslots_count(token) == 1 &&
                                         rules_bound(token, slot)))
                        mask |= 1u << id;
        }
        return mask;
}

/* libcryptsetup wipes a keyslot's area before it takes the keyslot out of the header. */
int replace_has_begun(struct enroll *w) {
        const struct state_disk *d = &w->record;
        uint32_t slots = luks_facts(w->disk.luks)->slots;

        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++) {
                int r;

                if (!(d->replacing & slots & (1u << slot)))
                        continue;
                r = disk_slot_is(w->disk.luks, slot, d->proven_hash[slot], w->err);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                w->ret->foreign_slot = slot;
                (void) snprintf(w->ret->foreign_by, sizeof(w->ret->foreign_by), "an earlier run");
                return 1;
        }
        return ((d->proven | d->replacing) & ~slots) != 0;
}

/* The owner must be able to come in without this TPM. Whose passphrase another keyslot has isn't
 * known here; that it's one of the data, and honest, is. */
int replace_check(const struct enroll *w) {
        unsigned ours = w->disk.token ? w->disk.token->slot : LUKS_SLOTS_MAX;
        uint32_t others = luks_facts(w->disk.luks)->data_slots;

        if (w->ret->foreign_slot == LUKS_SLOTS_MAX)
                return OUTCOME_DONE; /* no keyslot goes */
        others &= ~(1u << w->ret->foreign_slot);
        if (ours < LUKS_SLOTS_MAX)
                others &= ~(1u << ours);
        if (others)
                return OUTCOME_DONE;
        refusal_set(w->why, REFUSAL_LAST_KEY,
                    "%s keeps keyslot %u: without it only this TPM would open the disk",
                    w->args->device, w->ret->foreign_slot);
        refusal_detail(w->why,
                       "adopt it without --replace, then: diskseal recovery add %s; then --replace",
                       w->args->name);
        return OUTCOME_REFUSED;
}

/* As at a boot: nothing that this run has in memory is used but the volume key to compare with. */
static int prove(struct enroll *w, struct disk *ret) {
        _cleanup_(context_done) struct context fresh = context_like(w->c);
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        const struct luks_source from = { w->args->device, w->args->header };
        struct tpm_way way = { 0 };
        int r;

        context_release_tpm(w->c);
        r = disk_load_enrolled(&from, ret, w->why, w->err);
        if (r == OUTCOME_DONE)
                r = way_by_tpm(&fresh, ret, &way, w->why, w->err);
        if (r == OUTCOME_DONE)
                r = disk_volume_key(ret, way.slot_secret, &volume_key, w->why, w->err);
        way.slot_secret = secret_free(way.slot_secret);
        if (r != OUTCOME_DONE)
                return r;
        if (!crypto_same(volume_key, w->volume_key))
                return error_set(w->err, -EIO, "%s: its new keyslot opens another volume key",
                                 w->args->device);
        return OUTCOME_DONE;
}

static int remove_old(struct enroll *w, struct disk *d) {
        _cleanup_(luks_edit_closep) struct luks_edit *edit = NULL;
        unsigned slot = w->ret->foreign_slot;
        uint32_t tokens = find_tokens(d->luks, slot);
        int r = disk_edit(d->luks, w->args->device, &edit, w->why, w->err);

        if (r != OUTCOME_DONE)
                return r;
        if (slot < LUKS_SLOTS_MAX && slot != d->token->slot) {
                w->record.replacing = 1u << slot;
                r = enroll_record(w, luks_edit_result(edit));
                if (r != OUTCOME_DONE)
                        return r;
                r = luks_slot_remove(edit, slot, w->err);
                if (r < 0)
                        return r;
                w->ret->slots_removed++;
        }
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++)
                if (tokens & (1u << id)) {
                        r = luks_token_remove(edit, id, w->err);
                        if (r < 0)
                                return r;
                        w->ret->tokens_removed++;
                }
        w->record.replacing = 0;
        return enroll_record(w, luks_edit_result(edit));
}

int replace_old(struct enroll *w) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        int r;

        w->edit = luks_edit_close(w->edit);
        r = prove(w, &d);
        if (r != OUTCOME_DONE)
                return r;
        w->record.proven &= luks_facts(d.luks)->slots;
        if (w->ret->foreign_slot < LUKS_SLOTS_MAX)
                w->record.proven &= ~(1u << w->ret->foreign_slot);
        return remove_old(w, &d);
}
