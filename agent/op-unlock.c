/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/op.h"

/* The newest entry first, then the older one: while a rotation is staged each alone is enough. What
 * is reported is why the newest didn't open. */
static int open_secret(struct context *c, const struct disk *d, struct secret **ret,
                       unsigned *ret_entry, struct refusal *why, struct error *err) {
        struct refusal later = { 0 };

        for (unsigned i = 0; i < d->token->entries; i++) {
                const struct token_entry *e = &d->token->entry[i];
                struct refusal *say = i == 0 ? why : &later;
                struct secret *kek;
                int r = context_kek(c, d->token->name, &e->kek, &kek, say, err);

                if (r == OUTCOME_DONE)
                        r = disk_secret(d, e, kek, ret, say, err);
                if (r < 0)
                        return r;
                if (r == OUTCOME_DONE) {
                        *ret_entry = i;
                        return OUTCOME_DONE;
                }
        }
        return OUTCOME_REFUSED;
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

int op_unlock(struct context *c, const char *device, bool test, struct op_unlocked *ret,
              struct refusal *why, struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(secret_freep) struct secret *secret = NULL, *volume_key = NULL;
        const struct luks_facts *f;
        unsigned entry;
        int r;

        r = disk_load_enrolled(device, &d, why, err);
        if (r != OUTCOME_DONE || c->dry_run)
                return r;
        r = open_secret(c, &d, &secret, &entry, why, err);
        context_release_tpm(c);
        if (r != OUTCOME_DONE)
                return r;
        r = disk_volume_key(&d, secret, &volume_key, why, err);
        if (r != OUTCOME_DONE)
                return r;

        f = luks_facts(d.luks);
        *ret = (struct op_unlocked){ .version = d.token->entry[entry].kek.version,
                                     .slot = d.token->slot,
                                     .degraded = f->degraded };
        (void) snprintf(ret->name, sizeof(ret->name), "%s", d.token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", f->uuid);
        (void) snprintf(ret->role, sizeof(ret->role), "%s", d.token->role);
        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", d.token->entry[entry].kek.name);
        (void) snprintf(ret->degraded_text, sizeof(ret->degraded_text), "%s", f->degraded_text);
        return test ? OUTCOME_DONE : activate(&d, volume_key, err);
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
