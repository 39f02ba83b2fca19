/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/op.h"
#include "agent/target.h"

static int by_tpm(struct context *c, struct disk *d, struct op_unlocked *ret,
                  struct secret **ret_volume_key, struct refusal *why, struct error *err) {
        const struct token_entry *entry;
        struct tpm_way way = { 0 };
        int r = way_by_tpm(c, d, &way, why, err);

        context_release_tpm(c);
        if (r == OUTCOME_DONE)
                r = disk_volume_key(d, way.slot_secret, ret_volume_key, why, err);
        secret_free(way.slot_secret);
        if (r != OUTCOME_DONE)
                return r;
        entry = &d->token->entry[way.entry];
        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", entry->kek.name);
        ret->version = entry->kek.version;
        ret->slot = d->token->slot;
        return OUTCOME_DONE;
}

static int by_owner(const struct disk *d, const struct owner_key *owner, struct op_unlocked *ret,
                    struct secret **ret_volume_key, struct refusal *why, struct error *err) {
        struct owner_way way = { 0 };
        int r = way_by_owner(d, owner, &way, why, err);

        if (r != OUTCOME_DONE)
                return r;
        ret->slot = way.slot;
        *ret_volume_key = way.volume_key;
        return way_check_pin(d, way.volume_key, why, err);
}

static void fill(const struct disk *d, const struct target *t, struct op_unlocked *ret) {
        const struct luks_facts *f = luks_facts(d->luks);

        ret->degraded = f->degraded;
        (void) snprintf(ret->name, sizeof(ret->name), "%s", d->token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", f->uuid);
        (void) snprintf(ret->role, sizeof(ret->role), "%s", d->token->role);
        (void) snprintf(ret->degraded_text, sizeof(ret->degraded_text), "%s", f->degraded_text);
        if (t->clone)
                (void) snprintf(ret->clone_of, sizeof(ret->clone_of), "%s", t->known.device);
        target_resized(t, f, ret->resized);
}

static int activate(struct disk *d, struct secret *volume_key, struct error *err) {
        int r;

        if (!luks_have_dm())
                return error_set(
                        err, -ENODEV,
                        "its key opens %s, but this kernel has no device-mapper to show it "
                        "through; --test proves the key without it",
                        d->token->name);
        r = luks_activate(d->luks, d->token->name, volume_key, err);

        return r < 0 ? r : OUTCOME_DONE;
}

int op_unlock(struct context *c, const struct op_unlock *args, struct op_unlocked *ret,
              struct refusal *why, struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        struct target t;
        int r;

        if ((r = target_find(c, args->disk.what, args->disk.header, &t, why, err)) !=
                    OUTCOME_DONE ||
            (r = target_load(c, &t, &d, why, err)) != OUTCOME_DONE)
                return r;
        if (!args->test && (r = target_refuse_clone(&t, why)) != OUTCOME_DONE)
                return r;
        fill(&d, &t, ret);
        if (c->dry_run)
                return OUTCOME_DONE;
        r = args->owner ? by_owner(&d, args->owner, ret, &volume_key, why, err)
                        : by_tpm(c, &d, ret, &volume_key, why, err);
        if (r != OUTCOME_DONE || args->test)
                return r;
        return activate(&d, volume_key, err);
}

int op_lock(struct context *c, const char *name, struct refusal *why, struct error *err) {
        int r;

        if (!name_valid(name))
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "'%.60s' isn't the name of a disk",
                                   name);
        if (!luks_have_dm())
                return error_set(err, -ENODEV,
                                 "this kernel has no device-mapper, so no disk is open here");
        if (!luks_is_active(name))
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "%s isn't open", name);
        if (c->dry_run)
                return OUTCOME_DONE;
        r = luks_deactivate(name, err);
        return r < 0 ? r : OUTCOME_DONE;
}
