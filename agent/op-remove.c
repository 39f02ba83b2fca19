/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/disk.h"
#include "agent/op.h"
#include "agent/target.h"

/* A keyslot that was opened here before, and is still the same. */
static int find_proven(const struct luks *l, const struct state_disk *known, unsigned ours,
                       unsigned *ret, struct error *err) {
        for (unsigned slot = 0; known && slot < LUKS_SLOTS_MAX; slot++) {
                int r;

                if (slot == ours || !(known->proven & (1u << slot)) ||
                    !(luks_facts(l)->data_slots & (1u << slot)))
                        continue;
                r = disk_slot_is(l, slot, known->proven_hash[slot], err);
                if (r > 0)
                        *ret = slot;
                if (r != 0)
                        return r;
        }
        return 0;
}

/* A keyslot that the key file opens now. */
static int prove_other(struct luks *l, const char *key_file, unsigned ours, unsigned *ret,
                       struct error *err) {
        struct foreign other = { 0 };
        int r = disk_open_foreign(l, key_file, ours, &other, err);

        secret_free(other.volume_key);
        if (r < 0)
                return r;
        *ret = other.slot;
        return r == LUKS_OK;
}

static int check_other_key(const struct disk *d, const char *key_file,
                           const struct state_disk *known, struct op_removed *ret,
                           struct refusal *why, struct error *err) {
        unsigned ours = d->token->slot;
        int r = key_file ? prove_other(d->luks, key_file, ours, &ret->other_slot, err)
                         : find_proven(d->luks, known, ours, &ret->other_slot, err);

        if (r < 0)
                return r;
        if (r == 1)
                return OUTCOME_DONE;
        if (key_file)
                return refusal_set(why, REFUSAL_WRONG_KEY,
                                   "%s keeps its keyslot: the key file opens none of the others",
                                   d->token->name);
        return refusal_set(why, REFUSAL_LAST_KEY,
                           "%s keeps its keyslot: no other key is known to open the disk",
                           d->token->name);
}

/* The slot first: what a cut leaves is a token without a slot, which the next run removes. */
static int remove_ours(const struct disk *d, struct refusal *why, struct error *err) {
        _cleanup_(luks_edit_closep) struct luks_edit *edit = NULL;
        int r = disk_edit(d->luks, disk_subject(d), &edit, why, err);

        if (r != OUTCOME_DONE)
                return r;
        if ((luks_facts(d->luks)->slots & (1u << d->token->slot)) && disk_owns_slot(d) &&
            (r = luks_slot_remove(edit, d->token->slot, err)) < 0)
                return r;
        if ((r = luks_token_remove(edit, d->token_id, err)) < 0 || !d->older)
                return r;
        /* Of a rotation that was staged. */
        if (d->older->slot != d->token->slot &&
            (r = luks_slot_remove(edit, d->older->slot, err)) < 0)
                return r;
        return luks_token_remove(edit, d->older_id, err);
}

static int remove_and_forget(const struct context *c, const struct disk *d, struct state *s,
                             struct refusal *why, struct error *err) {
        const char *uuid = luks_facts(d->luks)->uuid;
        int r = remove_ours(d, why, err);

        if (r != OUTCOME_DONE)
                return r;
        if (state_by_uuid(s, uuid)) {
                state_drop(s, uuid);
                r = state_write(c->state_dir, s, err);
        }
        return r < 0 ? error_prefix(err, "the keyslot is gone, but the disk is still recorded")
                     : OUTCOME_DONE;
}

int op_remove(struct context *c, const struct op_disk *disk, const char *key_file,
              struct op_removed *ret, struct refusal *why, struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(state_done) struct state s = { 0 };
        struct audit_event e;
        struct target t;
        const char *uuid;
        int r;

        if ((!c->dry_run && (r = context_lock(c, err)) < 0) ||
            (r = state_read(c->state_dir, &s, err)) < 0)
                return r;
        if ((r = target_find(c, disk->what, disk->header, &t, why, err)) == OUTCOME_DONE)
                r = target_load(c, &t, &d, why, err);
        if (r != OUTCOME_DONE)
                return r;
        uuid = luks_facts(d.luks)->uuid;
        r = check_other_key(&d, key_file, state_by_uuid(&s, uuid), ret, why, err);
        if (r != OUTCOME_DONE)
                return r;
        (void) snprintf(ret->name, sizeof(ret->name), "%s", d.token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", uuid);
        ret->slot = d.token->slot;
        if (c->dry_run)
                return OUTCOME_DONE;

        e = (struct audit_event){ .event = "remove",
                                  .subject = ret->name,
                                  .result = "begin",
                                  .fact = { { "slot", NULL, ret->slot } } };
        r = audit(c, &e, err);
        return r < 0 ? r : audit_result(c, e, remove_and_forget(c, &d, &s, why, err), err);
}
