/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/crash/mistakes.h"

#include <stdio.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/rotate-slot.h"
#include "base/crypto.h"

/* One disk: open, by the old version, with a token for the new one. */
struct wrong {
        struct disk disk;
        struct luks_edit *edit;
        struct secret *volume_key, *secret;
        struct token *token; /* pending, for keyslot 2: keyslot 1 is somebody else's */
        struct enrolment what;
        unsigned slot;
};

static void wrong_done(struct wrong *w) {
        w->edit = luks_edit_close(w->edit);
        w->volume_key = secret_free(w->volume_key);
        w->secret = secret_free(w->secret);
        w->token = token_free(w->token);
        disk_done(&w->disk);
}

static int begin(struct wrong *w, const struct rotate_job *job, struct secret *const key[],
                 struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *old = NULL;
        struct disk *d = &w->disk;
        int r;

        if ((r = disk_load_enrolled(&(struct luks_source){ job->at.device, NULL }, d, why, err)) ||
            (r = disk_secret(d, &d->token->entry[0], key[0], &old, why, err)) ||
            (r = disk_volume_key(d, old, &w->volume_key, why, err)) ||
            (r = disk_edit(d->luks, "it", &w->edit, why, err)) ||
            (r = crypto_random_secret(LUKS_SECRET_SIZE, &w->secret, err)) < 0)
                return r;
        w->what = (struct enrolment){ .name = d->token->name,
                                      .role = d->token->role,
                                      .kek = &job->target,
                                      .kek_key = key[1],
                                      .volume_key = w->volume_key,
                                      .epoch = d->token->epoch + 1 };
        w->token = token_new();
        if (!w->token)
                return error_nomem(err);
        (void) snprintf(w->token->name, sizeof(w->token->name), "%s", d->token->name);
        (void) snprintf(w->token->role, sizeof(w->token->role), "%s", d->token->role);
        w->token->epoch = w->what.epoch;
        w->token->state = TOKEN_PENDING;
        w->token->slot = 2;
        w->token->entries = 1;
        w->token->entry[0].kek = job->target;
        return token_wrap(w->token, job->at.uuid, key[1], w->secret, &w->token->entry[0], err);
}

static int destroy_first(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                         struct refusal *why, struct error *err) {
        const struct rotate_slot_job *job = arg;
        _cleanup_(wrong_done) struct wrong w = { 0 };
        int r;

        (void) result;
        if ((r = begin(&w, &job->disk, key, why, err)) ||
            (r = luks_slot_remove(w.edit, w.disk.token->slot, err)) ||
            (r = disk_enroll(w.edit, &w.what, &w.slot, why, err)))
                return r;
        return luks_token_remove(w.edit, w.disk.token_id, err);
}

static int token_replaced(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                          struct refusal *why, struct error *err) {
        const struct rotate_slot_job *job = arg;
        _cleanup_(wrong_done) struct wrong w = { 0 };
        int r;

        (void) result;
        if ((r = begin(&w, &job->disk, key, why, err)) ||
            (r = disk_put_token(w.edit, w.disk.token_id, w.token, err)) ||
            (r = disk_enroll_pending(w.edit, w.disk.token_id, &w.what, &w.slot, why, err)))
                return r;
        return luks_slot_remove(w.edit, w.disk.token->slot, err);
}

static int dropped_early(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                         struct refusal *why, struct error *err) {
        const struct rotate_slot_job *job = arg;
        const unsigned id = 7;
        _cleanup_(wrong_done) struct wrong w = { 0 };
        int r;

        (void) result;
        if ((r = begin(&w, &job->disk, key, why, err)) ||
            (r = disk_put_token(w.edit, id, w.token, err)) ||
            (r = luks_slot_add(w.edit,
                               &(struct luks_key){ w.token->slot, LUKS_SLOT_OURS, w.secret },
                               w.volume_key, err)) ||
            (r = luks_slot_remove(w.edit, w.disk.token->slot, err)) ||
            (r = luks_token_remove(w.edit, w.disk.token_id, err)))
                return r;
        return disk_enroll_pending(w.edit, id, &w.what, &w.slot, why, err);
}

worker_fn mistake_find(const char *name) {
        return strcmp(name, "destroy-first") == 0    ? destroy_first
               : strcmp(name, "token-replaced") == 0 ? token_replaced
               : strcmp(name, "dropped-early") == 0  ? dropped_early
                                                     : NULL;
}
