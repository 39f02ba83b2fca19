/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/change.h"

#include <string.h>

void change_done(struct change *w) {
        w->edit = luks_edit_close(w->edit);
        w->slot_secret = secret_free(w->slot_secret);
        w->volume_key = secret_free(w->volume_key);
        disk_done(&w->disk);
}

int change_find(struct change *w, const char *what, const char *header) {
        int r;

        if (!w->c->dry_run && (r = context_lock(w->c, w->err)) < 0)
                return r;
        r = target_find(w->c, what, header, &w->target, w->why, w->err);
        if (r == OUTCOME_DONE)
                r = target_load(w->c, &w->target, &w->disk, w->why, w->err);
        return r;
}

int change_open(struct change *w) {
        struct tpm_way way = { 0 };
        int r = way_by_tpm(w->c, &w->disk, &way, w->why, w->err);

        context_release_tpm(w->c);
        if (r != OUTCOME_DONE)
                return r;
        w->slot_secret = way.slot_secret;
        return disk_volume_key(&w->disk, w->slot_secret, &w->volume_key, w->why, w->err);
}

int change_edit(struct change *w) {
        return disk_edit(w->disk.luks, disk_subject(&w->disk), &w->edit, w->why, w->err);
}

int change_settled(const struct change *w) {
        if (!w->disk.older)
                return OUTCOME_DONE;
        refusal_set(w->why, REFUSAL_CHANGED,
                    "%s stays as it is: a rotation of its keyslot is staged",
                    disk_subject(&w->disk));
        refusal_detail(w->why, "diskseal rotate ends it");
        return OUTCOME_REFUSED;
}

int change_record(struct change *w, const struct luks *l, unsigned slot, bool gone) {
        _cleanup_(state_done) struct state s = { 0 };
        struct state_disk *d;
        int r = context_lock(w->c, w->err);

        if (r == 0)
                r = state_read(w->c->state_dir, &s, w->err);
        if (r < 0)
                return r;
        d = state_by_uuid(&s, luks_facts(l)->uuid);
        if (!d)
                return 0;
        d->proven &= ~(1u << slot);
        if (!gone) {
                r = disk_slot_hash(l, slot, d->proven_hash[slot], w->err);
                if (r < 0)
                        return r;
                d->proven |= 1u << slot;
        }
        return state_write(w->c->state_dir, &s, w->err);
}

int change_expect(struct change *w, const struct luks_plan *plan) {
        return disk_expect_header(luks_edit_result(w->edit), w->disk.token->slot, plan,
                                  w->c->state_dir, w->err);
}

int change_remember(struct change *w, const struct luks *l) {
        return disk_remember_header(l, w->disk.token->slot, w->c->state_dir, w->err);
}
