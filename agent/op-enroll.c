/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/op.h"
#include "base/crypto.h"

#define VOLUME_KEY_SIZE 64

/* format and adopt are the same but for where the volume key comes from. */
struct work {
        struct context *c;
        const struct op_enroll *args;
        struct op_enrolled *ret;
        struct state state;
        struct state_disk record;
        struct op_kek kek;
        struct disk disk; /* adopt: as it was */
        struct secret *volume_key;
        struct luks_edit *edit;
        struct refusal *why;
        struct error *err;
};

static void work_done(struct work *w) {
        w->edit = luks_edit_close(w->edit);
        w->volume_key = secret_free(w->volume_key);
        disk_done(&w->disk);
        state_done(&w->state);
}

/* The name must be free, or belong to this very disk. */
static int check_name(const struct work *w, const char *uuid) {
        const struct state_disk *d = state_by_name(&w->state, w->args->name);

        if (!d || (uuid && strcmp(d->uuid, uuid) == 0))
                return OUTCOME_DONE;
        return refusal_set(w->why, REFUSAL_NAME_TAKEN, "another disk here is named %s: %s",
                           w->args->name, d->device);
}

static int begin(struct work *w) {
        int r;

        if (!w->c->dry_run && (r = context_lock(w->c, w->err)) < 0)
                return r;
        return state_read(w->c->state_dir, &w->state, w->err);
}

static int open_kek(struct work *w) {
        int r;

        w->kek = (struct op_kek){ .name = w->args->kek, .pcr_mask = w->args->pcr_mask };
        r = op_kek_current(w->c, &w->kek, w->why, w->err);
        context_release_tpm(w->c);
        return r;
}

/* The path that will still mean this disk when the working directory is another. */
static void absolute_path(const char *device, char ret[256]) {
        _cleanup_(freep) char *real = NULL;

        /* Links below /dev are often stable where what they point to isn't. */
        if (strncmp(device, "/dev/", 5) != 0)
                real = realpath(device, NULL);
        (void) snprintf(ret, 256, "%s", real && strlen(real) < 256 ? real : device);
}

static int record(struct work *w, const struct luks *l) {
        struct state_disk *d = &w->record;
        int r;

        w->ret->facts = *luks_facts(l);
        (void) snprintf(d->name, sizeof(d->name), "%s", w->args->name);
        (void) snprintf(d->uuid, sizeof(d->uuid), "%s", w->ret->facts.uuid);
        (void) snprintf(d->role, sizeof(d->role), "%s", w->args->role);
        (void) snprintf(d->kek, sizeof(d->kek), "%s", w->args->kek);
        absolute_path(w->args->device, d->device);
        if ((r = disk_remember_header(l, w->ret->slot, w->c->state_dir, w->err)) < 0 ||
            (r = state_put(&w->state, d, w->err)) < 0 ||
            (r = state_write(w->c->state_dir, &w->state, w->err)) < 0)
                return error_prefix(w->err, "the disk is enrolled and opens, but isn't recorded");
        return OUTCOME_DONE;
}

static int enroll(struct work *w) {
        struct enrolment what = { .name = w->args->name,
                                  .role = w->args->role,
                                  .kek = &w->kek.kek,
                                  .kek_key = w->kek.key,
                                  .volume_key = w->volume_key };
        int r = disk_enroll(w->edit, &what, &w->ret->slot, w->why, w->err);

        if (r != OUTCOME_DONE)
                return r;
        (void) snprintf(w->ret->kek, sizeof(w->ret->kek), "%s", w->kek.kek.name);
        w->ret->version = w->kek.kek.version;
        w->ret->pcr_mask = w->kek.pcr_mask;
        w->ret->kek_is_new = w->kek.is_new;
        return OUTCOME_DONE;
}

/* --- format --- */

int op_format_check(const struct op_enroll *args, struct refusal *why, struct error *err) {
        char signature[64];
        int r = luks_probe(args->device, signature, err);

        if (r < 0)
                return r;
        if (r > 0)
                return refusal_set(why, REFUSAL_SIGNATURE,
                                   "%s was not formatted: there is something on it: %s",
                                   args->device, signature);
        return OUTCOME_DONE;
}

static int write_header(struct work *w) {
        struct luks_reason reason = { 0 };
        int r;

        r = crypto_random_secret(VOLUME_KEY_SIZE, &w->volume_key, w->err);
        if (r < 0)
                return r;
        r = luks_format(&(struct luks_source){ w->args->device, NULL }, w->volume_key, &w->edit,
                        &reason, w->err);
        if (r < 0)
                return r;
        return r == LUKS_OK ? OUTCOME_DONE : refuse_luks(w->why, w->args->device, r, &reason);
}

int op_format(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
              struct refusal *why, struct error *err) {
        _cleanup_(work_done) struct work w = {
                .c = c, .args = args, .ret = ret, .why = why, .err = err
        };
        int r;

        if ((r = begin(&w)) != OUTCOME_DONE || (r = check_name(&w, NULL)) != OUTCOME_DONE ||
            (r = op_format_check(args, why, err)) != OUTCOME_DONE || c->dry_run)
                return r;
        if ((r = open_kek(&w)) != OUTCOME_DONE || (r = write_header(&w)) != OUTCOME_DONE ||
            (r = enroll(&w)) != OUTCOME_DONE)
                return r;
        return record(&w, luks_edit_result(w.edit));
}

/* --- adopt --- */

/* Which slot the key file opens, and the hash by which it's known again. Our own, where there is
 * one, is left out: it's no other key. */
static int prove_key_file(struct work *w) {
        unsigned ours = w->disk.token ? w->disk.token->slot : LUKS_SLOTS_MAX;
        struct foreign f = { 0 };
        int r = disk_open_foreign(w->disk.luks, w->args->key_file, ours, &f, w->err);

        if (r < 0)
                return r;
        if (r != LUKS_OK) {
                refuse_luks(w->why, w->args->device, r, &f.tried);
                if (f.tried.rule[0])
                        refusal_detail(w->why, "a keyslot was not tried, rule %s: %s", f.tried.rule,
                                       f.tried.text);
                return OUTCOME_REFUSED;
        }
        w->volume_key = f.volume_key;
        w->ret->foreign_slot = f.slot;
        w->record.proven |= 1u << f.slot;
        return disk_slot_hash(w->disk.luks, f.slot, w->record.proven_hash[f.slot], w->err);
}

/* A disk of ours is taken once more only as what it is, and only where it isn't recorded. */
static int check_again(const struct work *w) {
        const struct token *t = w->disk.token;

        if (!t || (strcmp(t->name, w->args->name) == 0 && strcmp(t->role, w->args->role) == 0 &&
                   strcmp(t->entry[0].kek.name, w->args->kek) == 0 &&
                   !state_by_uuid(&w->state, luks_facts(w->disk.luks)->uuid)))
                return OUTCOME_DONE;
        return refusal_set(w->why, REFUSAL_ENROLLED,
                           "%s is a disk of diskseal already: %s, role %s, KEK %s", w->args->device,
                           t->name, t->role, t->entry[0].kek.name);
}

/* The disk was enrolled here before, and isn't recorded: a cut, or a lost state. Its own token says
 * the rest, once this TPM has opened it. */
static int adopt_again(struct work *w) {
        const struct token_entry *e = &w->disk.token->entry[0];
        _cleanup_(secret_freep) struct secret *secret = NULL, *volume_key = NULL;
        struct secret *kek;
        int r;

        r = context_kek(w->c, w->args->name, &e->kek, &kek, w->why, w->err);
        context_release_tpm(w->c);
        if (r != OUTCOME_DONE ||
            (r = disk_secret(&w->disk, e, kek, &secret, w->why, w->err)) != OUTCOME_DONE ||
            (r = disk_volume_key(&w->disk, secret, &volume_key, w->why, w->err)) != OUTCOME_DONE)
                return r;

        w->ret->slot = w->disk.token->slot;
        (void) snprintf(w->ret->kek, sizeof(w->ret->kek), "%s", e->kek.name);
        w->ret->version = e->kek.version;
        w->ret->pcr_mask = e->kek.steps.step[0].pcr_mask;
        return w->c->dry_run ? OUTCOME_DONE : record(w, w->disk.luks);
}

static int adopt_edit(struct work *w) {
        struct luks_reason reason = { 0 };
        int r = luks_edit(w->disk.luks, &w->edit, &reason, w->err);

        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(w->why, w->args->device, r, &reason);
        return w->disk.pending ? disk_clean_pending(w->edit, &w->disk, w->kek.key, w->err)
                               : OUTCOME_DONE;
}

/* Up to the first write: whose disk it is, and that the key opens it. */
static int adopt_prepare(struct work *w) {
        int r;

        if ((r = begin(w)) != OUTCOME_DONE ||
            (r = disk_load(w->args->device, &w->disk, w->why, w->err)) != OUTCOME_DONE ||
            (r = check_name(w, luks_facts(w->disk.luks)->uuid)) != OUTCOME_DONE ||
            (r = check_again(w)) != OUTCOME_DONE)
                return r;
        w->ret->foreign_slot = LUKS_SLOTS_MAX;
        if (w->args->key_file)
                return prove_key_file(w);
        if (!w->disk.token)
                return error_set(w->err, -ENOKEY, "adopting %s needs a key that opens it",
                                 w->args->device);
        return OUTCOME_DONE;
}

int op_adopt(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
             struct refusal *why, struct error *err) {
        _cleanup_(work_done) struct work w = {
                .c = c, .args = args, .ret = ret, .why = why, .err = err
        };
        int r = adopt_prepare(&w);

        if (r != OUTCOME_DONE)
                return r;
        if (w.disk.token)
                return adopt_again(&w);
        if (c->dry_run)
                return OUTCOME_DONE;
        if ((r = open_kek(&w)) != OUTCOME_DONE || (r = adopt_edit(&w)) != OUTCOME_DONE ||
            (r = enroll(&w)) != OUTCOME_DONE)
                return r;
        return record(&w, luks_edit_result(w.edit));
}
