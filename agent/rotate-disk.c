/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotate-disk.h"

#include <errno.h>
#include <string.h>

#include "agent/disk.h"

static int open_disk(const struct rotate_job *job, struct disk *ret, struct refusal *why,
                     struct error *err) {
        const struct luks_source from = { job->device, job->header[0] ? job->header : NULL };
        int r = disk_load_enrolled(&from, ret, why, err);

        if (r != OUTCOME_DONE)
                return r;
        if (strcmp(luks_facts(ret->luks)->uuid, job->uuid) != 0)
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "%s holds another disk than it did",
                                   job->device);
        return OUTCOME_DONE;
}

/* The secret by the target's own entry: it opens the token, and the token's pin holds. */
static int secret_by_target(const struct disk *d, const struct rotate_job *job,
                            struct secret *target_key, struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *secret = NULL;
        int entry = token_find(d->token, job->target);

        if (entry < 0)
                return error_set(err, -EIO, "%s: the new version isn't in its token",
                                 d->token->name);
        return disk_secret(d, &d->token->entry[entry], target_key, &secret, why, err);
}

/* What was written, as it was read back from the disk: the target opens it. */
static int prove_written(struct luks_edit *edit, const struct disk *d, const struct rotate_job *job,
                         struct secret *target_key, struct refusal *why, struct error *err) {
        struct disk written = { .luks = luks_edit_result(edit), .token_id = d->token_id };
        _cleanup_(token_freep) struct token *token = NULL;
        int r = token_parse(luks_token(written.luks, d->token_id), &token, err);

        if (r < 0)
                return r;
        written.token = token;
        return secret_by_target(&written, job, target_key, why, err);
}

static int write_token(struct disk *d, const struct rotate_job *job, struct secret *target_key,
                       struct refusal *why, struct error *err) {
        _cleanup_(luks_edit_closep) struct luks_edit *edit = NULL;
        _cleanup_(json_freep) struct json *json = NULL;
        _cleanup_(freep) char *now = NULL, *then = NULL;
        struct luks_reason reason = { 0 };
        struct luks_need need = { 0 };
        int r;

        if ((r = token_print(d->token, &json, err)) < 0 ||
            (r = json_text(json, false, &now, err)) < 0 ||
            (r = json_text(luks_token(d->luks, d->token_id), false, &then, err)) < 0)
                return r;
        if (strlen(now) > strlen(then))
                need.json = strlen(now) - strlen(then);
        if ((r = luks_room(d->luks, &need, NULL, NULL, &reason, err)) == LUKS_OK)
                r = luks_edit(d->luks, &edit, &reason, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, d->token->name, r, &reason);
        r = luks_token_set(edit, d->token_id, json, err);
        return r < 0 ? r : prove_written(edit, d, job, target_key, why, err);
}

int rotate_stage(const void *arg, struct secret *const key[WORKER_KEYS_MAX], struct refusal *why,
                 struct error *err) {
        const struct rotate_job *job = arg;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(secret_freep) struct secret *secret = NULL;
        struct token_entry fresh = { .kek = *job->target };
        int live, r;

        r = open_disk(job, &d, why, err);
        if (r != OUTCOME_DONE)
                return r;
        if (token_find(d.token, job->target) >= 0)
                return secret_by_target(&d, job, key[1], why, err);

        live = job->live ? token_find(d.token, job->live) : -1;
        if (live < 0)
                return error_set(err, -EAGAIN, "%s: its token changed meanwhile", d.token->name);
        r = disk_secret(&d, &d.token->entry[live], key[0], &secret, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = token_wrap(d.token, job->uuid, key[1], secret, &fresh, err);
        if (r < 0)
                return r;

        /* Beside the new one stays the one that was just shown to open the disk, and no other. */
        while (d.token->entries > 1) {
                token_drop(d.token, live == 0 ? 1 : 0);
                live = 0;
        }
        token_push(d.token, &fresh, 1);
        return write_token(&d, job, key[1], why, err);
}

int rotate_prove(const void *arg, struct secret *const key[WORKER_KEYS_MAX], struct refusal *why,
                 struct error *err) {
        const struct rotate_job *job = arg;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        int r = open_disk(job, &d, why, err);

        return r == OUTCOME_DONE ? secret_by_target(&d, job, key[1], why, err) : r;
}

int rotate_retire(const void *arg, struct secret *const key[WORKER_KEYS_MAX], struct refusal *why,
                  struct error *err) {
        const struct rotate_job *job = arg;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        int target, r;

        r = open_disk(job, &d, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = secret_by_target(&d, job, key[1], why, err);
        if (r != OUTCOME_DONE || d.token->entries == 1)
                return r;
        target = token_find(d.token, job->target);
        while (d.token->entries > 1) {
                token_drop(d.token, target == 0 ? 1 : 0);
                target = 0;
        }
        return write_token(&d, job, key[1], why, err);
}
