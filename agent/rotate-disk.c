/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotate-disk.h"

#include <errno.h>
#include <string.h>

#include "agent/disk.h"

struct rotate_kept {
        struct disk disk;       /* its header is the edit's where there's one */
        struct luks_edit *edit; /* begun by the first change */
};

static void forget(struct rotate_kept *k) {
        if (k->edit)
                k->disk.luks = NULL;
        k->edit = luks_edit_close(k->edit);
        disk_done(&k->disk);
        k->disk = (struct disk) DISK_INIT;
}

struct rotate_kept *rotate_kept_new(size_t count) {
        return calloc(count + 1, sizeof(struct rotate_kept));
}

struct rotate_kept *rotate_kept_free(struct rotate_kept *k) {
        free(k);
        return NULL;
}

struct rotate_kept *rotate_kept_at(struct rotate_kept *k, size_t i) {
        return k + i;
}

static int open_disk(const struct rotate_job *job, struct disk *ret, struct refusal *why,
                     struct error *err) {
        const struct luks_source from = { job->at.device,
                                          job->at.header[0] ? job->at.header : NULL };
        int r = disk_load_enrolled(&from, ret, why, err);

        if (r != OUTCOME_DONE)
                return r;
        if (strcmp(luks_facts(ret->luks)->uuid, job->at.uuid) != 0)
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "%s holds another disk than %s",
                                   job->at.device, job->at.name);
        return OUTCOME_DONE;
}

/* The disk as it was kept, if that's what stands there still; else opened anew. */
static int disk_now(const struct rotate_job *job, struct refusal *why, struct error *err) {
        struct rotate_kept *k = job->at.kept;
        struct luks_reason reason = { 0 };

        if (k->disk.luks) {
                if ((k->edit ? luks_edit_unchanged(k->edit, &reason, err)
                             : luks_unchanged(k->disk.luks, &reason, err)) == LUKS_OK)
                        return OUTCOME_DONE;
                *err = (struct error){ 0 };
                forget(k);
        }
        return open_disk(job, &k->disk, why, err);
}

/* The secret by the target's own entry: it opens the token, and the token's pin holds. */
static int secret_by_target(const struct disk *d, const struct rotate_job *job,
                            struct secret *target_key, struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *secret = NULL;
        int entry = token_find(d->token, &job->target);

        if (entry < 0)
                return error_set(err, -EIO, "%s: the new version isn't in its token",
                                 d->token->name);
        return disk_secret(d, &d->token->entry[entry], target_key, &secret, why, err);
}

/* What was written, as it was read back from the disk: the target opens it. */
static int prove_written(struct rotate_kept *k, const struct rotate_job *job,
                         struct secret *target_key, struct refusal *why, struct error *err) {
        struct token *token = NULL;
        int r;

        k->disk.luks = luks_edit_result(k->edit);
        r = token_parse(luks_token(k->disk.luks, k->disk.token_id), &token, err);
        if (r < 0)
                return r;
        k->disk.token = token_free(k->disk.token);
        k->disk.token = token;
        return secret_by_target(&k->disk, job, target_key, why, err);
}

/* The edit is begun by the first change, once the pin was found to hold. */
static int begin_edit(struct rotate_kept *k, struct refusal *why, struct error *err) {
        struct luks_reason reason = { 0 };
        int r;

        if (k->edit)
                return OUTCOME_DONE;
        r = luks_edit(k->disk.luks, &k->edit, &reason, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, k->disk.token->name, r, &reason);
        luks_edit_own(k->edit);
        k->disk.luks = luks_edit_result(k->edit);
        return OUTCOME_DONE;
}

static int write_token(struct rotate_kept *k, const struct rotate_job *job,
                       struct secret *target_key, struct refusal *why, struct error *err) {
        _cleanup_(json_freep) struct json *json = NULL;
        _cleanup_(freep) char *now = NULL, *then = NULL;
        struct disk *d = &k->disk;
        struct luks_reason reason = { 0 };
        struct luks_need need = { 0 };
        int r;

        if ((r = token_print(d->token, &json, err)) < 0 ||
            (r = json_text(json, false, &now, err)) < 0 ||
            (r = json_text(luks_token(d->luks, d->token_id), false, &then, err)) < 0)
                return r;
        if (strlen(now) > strlen(then))
                need.json = strlen(now) - strlen(then);
        r = luks_room(d->luks, &need, NULL, NULL, &reason, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, d->token->name, r, &reason);
        r = begin_edit(k, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = luks_token_set(k->edit, d->token_id, json, err);
        return r < 0 ? r : prove_written(k, job, target_key, why, err);
}

/* Drops every entry of the token but the one at @keep. */
static void keep_entry(struct token *t, int keep) {
        while (t->entries > 1) {
                token_drop(t, keep == 0 ? 1 : 0);
                keep = 0;
        }
}

static void add_keks(const struct token *t, struct rotate_found *ret) {
        for (unsigned i = 0; t && i < t->entries && ret->keks < ARRAY_SIZE(ret->kek); i++)
                ret->kek[ret->keks++] = t->entry[i].kek;
}

static int look(const struct rotate_job *job, struct rotate_found *ret, struct refusal *why,
                struct error *err) {
        const struct disk *d = &job->at.kept->disk;
        uint32_t ours;
        int r = disk_now(job, why, err);

        if (r != OUTCOME_DONE)
                return r;
        add_keks(d->token, ret);
        add_keks(d->older, ret);
        ours = 1u << d->token->slot | (d->older ? 1u << d->older->slot : 0);
        ret->other_way = luks_facts(d->luks)->data_slots & ~ours;
        ret->slot = d->older || d->pending;
        luks_rest(d->luks);
        return OUTCOME_DONE;
}

static bool has_target(const struct rotate_job *job) {
        return token_find(job->at.kept->disk.token, &job->target) >= 0;
}

/* An edit that begins compares what was kept with the disk by itself. */
static int stage(const struct rotate_job *job, struct secret *const key[WORKER_KEYS_MAX],
                 struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *secret = NULL;
        struct token_entry fresh = { .kek = job->target };
        const struct rotate_kept *k = job->at.kept;
        struct token *t;
        int live, r = OUTCOME_DONE;

        if (!k->disk.luks || k->edit || has_target(job))
                r = disk_now(job, why, err);
        if (r != OUTCOME_DONE)
                return r;
        t = job->at.kept->disk.token;
        if (has_target(job))
                return secret_by_target(&job->at.kept->disk, job, key[1], why, err);

        live = job->live.version ? token_find(t, &job->live) : -1;
        if (live < 0)
                return error_set(err, -EAGAIN, "%s: its token changed meanwhile", t->name);
        r = disk_secret(&job->at.kept->disk, &t->entry[live], key[0], &secret, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = token_wrap(t, job->at.uuid, key[1], secret, &fresh, err);
        if (r < 0)
                return r;
        /* Beside the new one stays the one that was just shown to open the disk, and no other. */
        keep_entry(t, live);
        token_push(t, &fresh, 1);
        return write_token(job->at.kept, job, key[1], why, err);
}

static int prove(const struct rotate_job *job, struct secret *target_key, struct refusal *why,
                 struct error *err) {
        int r = disk_now(job, why, err);

        return r == OUTCOME_DONE ? secret_by_target(&job->at.kept->disk, job, target_key, why, err)
                                 : r;
}

static int retire(const struct rotate_job *job, struct secret *target_key, struct refusal *why,
                  struct error *err) {
        struct token *t;
        int r = prove(job, target_key, why, err);

        if (r != OUTCOME_DONE)
                return r;
        t = job->at.kept->disk.token;
        if (t->entries == 1)
                return OUTCOME_DONE;
        keep_entry(t, token_find(t, &job->target));
        return write_token(job->at.kept, job, target_key, why, err);
}

/* Whatever went wrong with what was kept, the next step begins with the disk itself. */
static int ended(const struct rotate_job *job, int r) {
        if (r != OUTCOME_DONE)
                forget(job->at.kept);
        return r;
}

int rotate_look(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                struct refusal *why, struct error *err) {
        (void) key;
        return ended(job, look(job, result, why, err));
}

int rotate_stage(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                 struct refusal *why, struct error *err) {
        const struct rotate_job *j = job;
        bool kept = j->at.kept->disk.luks;
        int r = ended(job, stage(job, key, why, err));

        (void) result;
        if (r != OUTCOME_REFUSED || why->kind != REFUSAL_CHANGED || !kept)
                return r;
        /* Not what was kept: it's opened and checked anew, once. */
        *why = (struct refusal){ 0 };
        return ended(job, stage(job, key, why, err));
}

int rotate_prove(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                 struct refusal *why, struct error *err) {
        (void) result;
        return ended(job, prove(job, key[1], why, err));
}

int rotate_retire(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                  struct refusal *why, struct error *err) {
        (void) result;
        return ended(job, retire(job, key[1], why, err));
}
