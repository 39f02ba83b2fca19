/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotate-slot.h"

#include <errno.h>
#include <string.h>

#include "agent/disk.h"
#include "base/crypto.h"
#include "luks/rules.h"

/* One disk, and what opened it. */
struct work {
        const struct rotate_slot_job *job;
        struct disk disk; /* its token: the one that opened, and that stays */
        struct luks_edit *edit;
        const struct kek *kek; /* that opened */
        struct secret *key;    /* … and its key; borrowed */
        struct secret *volume_key;
        struct refusal *why;
        struct error *err;
};

static void work_done(struct work *w) {
        w->volume_key = secret_free(w->volume_key);
        w->edit = luks_edit_close(w->edit);
        disk_done(&w->disk);
}

static int find(struct work *w) {
        const struct rotate_job *job = &w->job->disk;
        const struct luks_source from = { job->at.device,
                                          job->at.header[0] ? job->at.header : NULL };
        int r = disk_load_enrolled(&from, &w->disk, w->why, w->err);

        if (r != OUTCOME_DONE)
                return r;
        if (strcmp(luks_facts(w->disk.luks)->uuid, job->at.uuid) != 0)
                return refusal_set(w->why, REFUSAL_UNKNOWN_DISK, "%s holds another disk than %s",
                                   job->at.device, job->at.name);
        return OUTCOME_DONE;
}

/* The volume key by one entry of the token that counts: it unwraps, the pin holds, the keyslot
 * opens, to the key that was pinned. */
static int open_token(const struct work *w, struct disk *d, struct secret **ret) {
        _cleanup_(secret_freep) struct secret *secret = NULL;
        int entry = token_find(d->token, w->kek), r;

        if (entry < 0)
                return error_set(w->err, -EIO, "%s: KEK %s v%u isn't in its token", disk_subject(d),
                                 w->kek->name, w->kek->version);
        r = disk_secret(d, &d->token->entry[entry], w->key, &secret, w->why, w->err);
        return r == OUTCOME_DONE ? disk_volume_key(d, secret, ret, w->why, w->err) : r;
}

/* By whichever active token has @kek. */
static int open_by(struct work *w, const struct kek *kek, struct secret *key) {
        struct disk *d = &w->disk;

        if (!kek || !key ||
            (token_find(d->token, kek) < 0 && (!d->older || token_find(d->older, kek) < 0)))
                return error_set(w->err, -EAGAIN, "%s: its tokens changed meanwhile",
                                 disk_subject(d));
        if (token_find(d->token, kek) < 0)
                disk_use_older(d);
        w->kek = kek;
        w->key = key;
        return open_token(w, d, &w->volume_key);
}

static int begin(struct work *w) {
        return w->edit ? OUTCOME_DONE
                       : disk_edit(w->disk.luks, disk_subject(&w->disk), &w->edit, w->why, w->err);
}

/* From the disk as the last change left it. */
static int prove_again(const struct work *w) {
        _cleanup_(token_freep) struct token *token = NULL;
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        struct disk now = { .luks = luks_edit_result(w->edit), .token_id = w->disk.token_id };
        int r = token_parse(luks_token(now.luks, now.token_id), &token, w->err);

        if (r < 0)
                return r;
        now.token = token;
        r = open_token(w, &now, &volume_key);
        if (r != OUTCOME_DONE)
                return r;
        if (!crypto_same(volume_key, w->volume_key))
                return error_set(w->err, -EIO, "%s: its keyslot gives another volume key",
                                 token->name);
        return OUTCOME_DONE;
}

/* A token is a claim. Which keyslot is ours shows what it's like, and that no other token is bound
 * to it: not an escrow's, and not a mark of a recovery passphrase. */
static bool is_ours(const struct luks *l, unsigned id, unsigned slot) {
        struct luks_reason ignored = { 0 };

        for (unsigned other = 0; other < LUKS_TOKENS_MAX; other++) {
                const struct json *token = luks_token(l, other);

                if (other != id && token && rules_bound(token, slot))
                        return false;
        }
        return luks_slot_check(l, slot, LUKS_SLOT_OURS, &ignored) == LUKS_OK;
}

static int drop_slot(const struct work *w, unsigned id, const struct token *t) {
        const struct luks *now = luks_edit_result(w->edit);
        bool bound = disk_token_bound(now, id);
        int r;

        if (!(luks_facts(now)->slots & (1u << t->slot)) || (t->state == TOKEN_ACTIVE && !bound))
                return OUTCOME_DONE;
        if (!is_ours(now, id, t->slot)) {
                /* What a pending token was meant for went to somebody else meanwhile. */
                if (t->state == TOKEN_PENDING)
                        return OUTCOME_DONE;
                refusal_set(w->why, REFUSAL_TOKEN_DAMAGED,
                            "%s keeps its older token: keyslot %u, which that names, isn't ours",
                            disk_subject(&w->disk), t->slot);
                refusal_detail(w->why, "it's token %u, and the disk opens by token %u", id,
                               w->disk.token_id);
                return OUTCOME_REFUSED;
        }
        r = prove_again(w);
        return r == OUTCOME_DONE ? luks_slot_remove(w->edit, t->slot, w->err) : r;
}

/* The keyslot before its token: what a cut leaves of it still says whose it was. */
static int drop(const struct work *w, unsigned id) {
        _cleanup_(token_freep) struct token *t = NULL;
        int r = token_parse(luks_token(luks_edit_result(w->edit), id), &t, w->err);

        if (r < 0 || (r = drop_slot(w, id, t)) != OUTCOME_DONE ||
            (r = prove_again(w)) != OUTCOME_DONE)
                return r;
        return luks_token_remove(w->edit, id, w->err);
}

/* All of ours but what opened. */
static int drop_others(struct work *w) {
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                int r;

                if (id == w->disk.token_id || !token_is_ours(luks_token(w->disk.luks, id)))
                        continue;
                if ((r = begin(w)) != OUTCOME_DONE || (r = drop(w, id)) != OUTCOME_DONE)
                        return r;
        }
        return OUTCOME_DONE;
}

static int remember(const struct work *w) {
        const struct luks *now = w->edit ? luks_edit_result(w->edit) : w->disk.luks;

        return w->job->state_dir[0]
                       ? disk_remember_header(now, w->disk.token->slot, w->job->state_dir, w->err)
                       : 0;
}

static const struct kek *live_of(const struct rotate_job *job) {
        return job->live.version ? &job->live : NULL;
}

/* --- stage --- */

/* Alone in its token: one that stands beside another was put there by a rotation of depth "kek". */
static bool is_staged(const struct work *w) {
        const struct kek *target = &w->job->disk.target;
        const struct disk *d = &w->disk;

        return (d->token->entries == 1 && token_find(d->token, target) == 0) ||
               (d->older && d->older->entries == 1 && token_find(d->older, target) == 0);
}

static int next_epoch(const struct work *w, uint32_t *ret) {
        uint32_t newest = 0;

        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                _cleanup_(token_freep) struct token *t = NULL;
                int r;

                if (!token_is_ours(luks_token(w->disk.luks, id)))
                        continue;
                if ((r = token_parse(luks_token(w->disk.luks, id), &t, w->err)) < 0)
                        return r;
                if (t->epoch > newest)
                        newest = t->epoch;
        }
        if (newest == UINT32_MAX)
                return error_set(w->err, -EOVERFLOW, "%s: its token has the highest epoch there is",
                                 disk_subject(&w->disk));
        *ret = newest + 1;
        return 0;
}

/* Where a run before this one was cut off between the pending token and the active one. */
static int take_up(struct work *w, const struct enrolment *what, bool *ret_done) {
        _cleanup_(token_freep) struct token *t = NULL;
        struct refusal other = { 0 };
        unsigned slot;
        int r;

        *ret_done = false;
        if (!w->disk.pending)
                return OUTCOME_DONE;
        r = token_parse(luks_token(w->disk.luks, w->disk.pending_id), &t, w->err);
        if (r < 0 || t->epoch <= w->disk.token->epoch || (r = begin(w)) != OUTCOME_DONE)
                return r;
        r = disk_enroll_pending(w->edit, w->disk.pending_id, what, &slot, &other, w->err);
        *ret_done = r == OUTCOME_DONE;
        return r < 0 ? r : OUTCOME_DONE;
}

int rotate_slot_stage(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                      struct refusal *why, struct error *err) {
        _cleanup_(work_done) struct work w = { .job = arg, .why = why, .err = err };
        const struct rotate_job *job = &w.job->disk;
        struct enrolment what = { .kek = &job->target,
                                  .kek_key = key[1],
                                  .state_dir = w.job->state_dir[0] ? w.job->state_dir : NULL };
        unsigned slot;
        bool done;
        int r = find(&w);

        (void) result;
        if (r != OUTCOME_DONE)
                return r;
        if (is_staged(&w)) {
                r = open_by(&w, &job->target, key[1]);
                if (r != OUTCOME_REFUSED || !job->live.version || !w.disk.older)
                        return r;
                /* An abort that was cut off left a token whose keyslot opens no more. */
                *why = (struct refusal){ 0 };
        }
        if ((r = open_by(&w, live_of(job), key[0])) != OUTCOME_DONE ||
            (r = next_epoch(&w, &what.epoch)) < 0 || (r = remember(&w)) < 0)
                return r;
        what.name = w.disk.token->name;
        what.role = w.disk.token->role;
        what.volume_key = w.volume_key;
        if ((r = take_up(&w, &what, &done)) != OUTCOME_DONE || done)
                return r;
        if ((r = drop_others(&w)) != OUTCOME_DONE || (r = begin(&w)) != OUTCOME_DONE)
                return r;
        return disk_enroll(w.edit, &what, &slot, why, err);
}

/* --- prove, retire, abort --- */

int rotate_slot_prove(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                      struct refusal *why, struct error *err) {
        _cleanup_(work_done) struct work w = { .job = arg, .why = why, .err = err };
        int r = find(&w);

        (void) result;
        return r == OUTCOME_DONE ? open_by(&w, &w.job->disk.target, key[1]) : r;
}

static int keep_only(const struct rotate_slot_job *job, const struct kek *kek, struct secret *key,
                     struct refusal *why, struct error *err) {
        _cleanup_(work_done) struct work w = { .job = job, .why = why, .err = err };
        int r = find(&w);

        if (r != OUTCOME_DONE || (r = open_by(&w, kek, key)) != OUTCOME_DONE ||
            (r = drop_others(&w)) != OUTCOME_DONE)
                return r;
        return remember(&w);
}

int rotate_slot_retire(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                       struct refusal *why, struct error *err) {
        const struct rotate_slot_job *job = arg;

        (void) result;
        return keep_only(job, &job->disk.target, key[1], why, err);
}

int rotate_slot_abort(const void *arg, struct secret *const key[WORKER_KEYS_MAX], void *result,
                      struct refusal *why, struct error *err) {
        const struct rotate_slot_job *job = arg;

        (void) result;
        return keep_only(job, live_of(&job->disk), key[0], why, err);
}
