/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/enroll.h"
#include "agent/others.h"
#include "base/crypto.h"

#define VOLUME_KEY_SIZE 64

void enroll_done(struct enroll *w) {
        w->edit = luks_edit_close(w->edit);
        w->volume_key = secret_free(w->volume_key);
        disk_done(&w->disk);
        state_done(&w->state);
}

/* The name must be free, or belong to this very disk. */
int enroll_check_name(const struct enroll *w, const char *uuid) {
        const struct state_disk *d = state_by_name(&w->state, w->args->name);

        if (!d || (uuid && strcmp(d->uuid, uuid) == 0))
                return OUTCOME_DONE;
        return refusal_set(w->why, REFUSAL_NAME_TAKEN, "another disk here is named %s: %s",
                           w->args->name, d->device);
}

int enroll_begin(struct enroll *w) {
        int r;

        if (!w->c->dry_run && (r = context_lock(w->c, w->err)) < 0)
                return r;
        return state_read(w->c->state_dir, &w->state, w->err);
}

int enroll_open_kek(struct enroll *w) {
        int r;

        w->kek = (struct op_kek){ .name = w->args->kek, .policy = w->args->policy };
        r = op_kek_current(w->c, &w->kek, w->why, w->err);
        context_release_tpm(w->c);
        return r;
}

int enroll_record(struct enroll *w, const struct luks *l) {
        struct state_disk *d = &w->record;
        int r;

        w->ret->facts = *luks_facts(l);
        (void) snprintf(d->name, sizeof(d->name), "%s", w->args->name);
        (void) snprintf(d->uuid, sizeof(d->uuid), "%s", w->ret->facts.uuid);
        (void) snprintf(d->role, sizeof(d->role), "%s", w->args->role);
        (void) snprintf(d->kek, sizeof(d->kek), "%s", w->args->kek);
        if (w->ret->version) {
                d->version = w->ret->version;
                time_text(d->seen);
        }
        state_place(d, &(struct luks_source){ w->args->device, w->args->header });
        d->size = w->ret->facts.device_size;
        if ((r = disk_remember_header(l, w->ret->slot, w->c->state_dir, w->err)) < 0 ||
            (r = state_put(&w->state, d, w->err)) < 0 ||
            (r = state_write(w->c->state_dir, &w->state, w->err)) < 0)
                return error_prefix(w->err, "the disk is enrolled and opens, but isn't recorded");
        return others_refresh_all(w->c, w->err);
}

struct audit_event enroll_event(const struct enroll *w, const char *verb) {
        const struct kek *kek = w->disk.token ? &w->disk.token->entry[0].kek : &w->kek.kek;

        return (struct audit_event){ .event = verb,
                                     .subject = w->args->name,
                                     .result = "begin",
                                     .fact = { { "kek", kek->name, 0 },
                                               { "version", NULL, kek->version },
                                               { "role", w->args->role, 0 } } };
}

int enroll_write(struct enroll *w) {
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
        (void) policy_of_steps(&w->kek.kek.steps, &w->ret->policy);
        w->ret->second_factor = w->kek.kek.factor.kind != FACTOR_NONE;
        w->ret->kek_is_new = w->kek.is_new;
        return OUTCOME_DONE;
}

/* --- format --- */

/* Signatures are "ext4 1.0": a type, and where it has one, its version. */
static bool is_listed(const char *const *types, const char *signature) {
        for (; types && *types; types++)
                if (strncasecmp(signature, *types, strlen(*types)) == 0 &&
                    (signature[strlen(*types)] == '\0' || signature[strlen(*types)] == ' '))
                        return true;
        return false;
}

/* All of them, or where there's one that wasn't named, none. */
static int wipe(struct enroll *w) {
        char other[64] = "";
        int r = luks_wipe_signatures(w->args->device, w->args->wipe, other, w->err);

        if (r == -EEXIST) {
                *w->err = (struct error){ 0 };
                return refusal_set(w->why, REFUSAL_SIGNATURE,
                                   "%s was not formatted: there is also something else on it: %s",
                                   w->args->device, other);
        }
        return r;
}

static int check_empty(const char *path, const char *const *wipe, struct refusal *why,
                       struct error *err) {
        char signature[64];
        int r = luks_probe(path, signature, err);

        if (r > 0 && !is_listed(wipe, signature))
                return refusal_set(why, REFUSAL_SIGNATURE,
                                   "%s was not formatted: there is something on it: %s", path,
                                   signature);
        return r < 0 ? r : OUTCOME_DONE;
}

/* A detached header's file is made where it isn't there; what is on it is never wiped. */
int op_format_check(const struct op_enroll *args, struct refusal *why, struct error *err) {
        int r = check_empty(args->device, args->wipe, why, err);

        if (r != OUTCOME_DONE || !args->header)
                return r;
        r = check_empty(args->header, NULL, why, err);
        if (r != -ENOENT)
                return r;
        *err = (struct error){ 0 };
        return OUTCOME_DONE;
}

static int write_header(struct enroll *w) {
        struct luks_reason reason = { 0 };
        int r;

        r = crypto_random_secret(VOLUME_KEY_SIZE, &w->volume_key, w->err);
        if (r < 0)
                return r;
        r = luks_format(&(struct luks_source){ w->args->device, w->args->header }, w->volume_key,
                        &w->edit, &reason, w->err);
        if (r < 0)
                return r;
        return r == LUKS_OK ? OUTCOME_DONE : refuse_luks(w->why, w->args->device, r, &reason);
}

static int format(struct enroll *w) {
        int r;

        if ((w->args->wipe && (r = wipe(w)) != OUTCOME_DONE) ||
            (r = write_header(w)) != OUTCOME_DONE || (r = enroll_write(w)) != OUTCOME_DONE)
                return r;
        return enroll_record(w, luks_edit_result(w->edit));
}

int op_format(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
              struct refusal *why, struct error *err) {
        _cleanup_(enroll_done) struct enroll w = {
                .c = c, .args = args, .ret = ret, .why = why, .err = err
        };
        struct audit_event e;
        int r;

        if ((r = enroll_begin(&w)) != OUTCOME_DONE ||
            (r = enroll_check_name(&w, NULL)) != OUTCOME_DONE ||
            (r = op_format_check(args, why, err)) != OUTCOME_DONE || c->dry_run)
                return r;
        r = enroll_open_kek(&w);
        if (r != OUTCOME_DONE)
                return r;
        e = enroll_event(&w, "format");
        r = audit(c, &e, err);
        return r < 0 ? r : audit_result(c, e, format(&w), err);
}
