/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/handover.h"
#include "agent/kek-policy.h"
#include "agent/mirror.h"
#include "agent/others.h"
#include "base/file.h"

void context_done(struct context *c) {
        context_release_tpm(c);
        while (c->open > 0)
                secret_free(c->opened[--c->open].key);
        c->factor_input = secret_free(c->factor_input);
        context_forget_records(c);
        close_fdp(&c->lock_fd);
}

struct context context_like(const struct context *c) {
        struct context like = *c;

        like.tpm = NULL;
        like.open = 0;
        like.record = like.mirror_record = (struct seen_record){ 0 };
        like.factor_input = NULL;
        like.lock_fd = -1;
        return like;
}

int context_tpm(struct context *c, struct error *err) {
        return c->tpm ? 0 : tpm_open(c->tcti[0] ? c->tcti : NULL, &c->tpm, err);
}

void context_release_tpm(struct context *c) {
        c->tpm = tpm_close(c->tpm);
}

int context_keep(struct context *c, const struct kek *kek, struct secret *key, struct error *err) {
        if (c->open == KEKS_OPEN_MAX) {
                secret_free(key);
                return error_set(err, -EMFILE, "more than %d KEK versions in one run",
                                 KEKS_OPEN_MAX);
        }
        c->opened[c->open].kek = *kek;
        c->opened[c->open].archived = false;
        c->opened[c->open++].key = key;
        return 0;
}

/* --- records --- */

static int read_here(const struct context *c, const char *name, struct kek_record *ret,
                     struct error *err) {
        char folder[300];
        int r;

        context_store(c, folder);
        r = store_read(folder, name, ret, err);
        if (r != -ENOENT)
                return r;
        *err = (struct error){ 0 };
        (void) snprintf(ret->name, sizeof(ret->name), "%s", name);
        return 0;
}

static void forget(struct seen_record *s) {
        free(s->record);
        *s = (struct seen_record){ 0 };
}

void context_forget_records(struct context *c) {
        forget(&c->record);
        forget(&c->mirror_record);
}

/* A copy of what @read gives, or gave. */
static int recall(const struct context *c, struct seen_record *s,
                  int (*read)(const struct context *, const char *, struct kek_record *,
                              struct error *),
                  const char *name, struct kek_record **ret, struct error *err) {
        _cleanup_(freep) struct kek_record *copy = calloc(1, sizeof(*copy));

        if (!s->known || strcmp(s->name, name) != 0) {
                forget(s);
                s->record = calloc(1, sizeof(*s->record));
                if (!s->record)
                        return error_nomem(err);
                (void) snprintf(s->name, sizeof(s->name), "%s", name);
                s->result = read(c, name, s->record, &s->err);
                s->known = true;
        }
        if (s->result < 0) {
                *err = s->err;
                return s->result;
        }
        if (!copy)
                return error_nomem(err);
        /* Most of a record is room for more retired versions. */
        memcpy(copy, s->record,
               offsetof(struct kek_record, retired) +
                       s->record->retired_count * sizeof(s->record->retired[0]));
        *ret = TAKE(copy);
        return 0;
}

int context_record(struct context *c, const char *name, struct kek_record **ret,
                   struct error *err) {
        return recall(c, &c->record, read_here, name, ret, err);
}

int context_mirror(struct context *c, const char *name, struct kek_record **ret,
                   struct error *err) {
        return recall(c, &c->mirror_record, mirror_read, name, ret, err);
}

/* --- keys --- */

/* What the boot handed over. Return: 1; 0 where it isn't there; or a fault. */
static int take_over(struct context *c, const struct kek *kek, struct secret **ret,
                     struct error *err) {
        struct secret *key = NULL;
        int r = c->tpm_only ? 0 : handover_get(kek, &key, err);

        if (r <= 0)
                return r;
        r = context_keep(c, kek, key, err);
        if (r < 0)
                return r;
        *ret = key;
        return 1;
}

static bool find_open(const struct context *c, const struct kek *kek, struct secret **ret) {
        for (unsigned i = 0; i < c->open; i++)
                if (kek_equal(&c->opened[i].kek, kek)) {
                        *ret = c->opened[i].key;
                        return true;
                }
        return false;
}

int context_kek_by_tpm(struct context *c, const char *subject, const struct kek *kek,
                       struct secret **ret, struct refusal *why, struct error *err) {
        int r;

        if (find_open(c, kek, ret))
                return OUTCOME_DONE;
        r = kek_policy_check(c, subject, kek, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = take_over(c, kek, ret, err);
        if (r != 0)
                return r < 0 ? r : OUTCOME_DONE;
        return context_kek_made(c, subject, kek, ret, why, err);
}

/* Whether the archive may know better than what the TPM said. */
static bool is_final(const struct refusal *why) {
        switch (why->kind) {
        case REFUSAL_TPM_LOCKOUT:
        case REFUSAL_OTHER_TPM:
        case REFUSAL_LATCHED:
        case REFUSAL_WRONG_PIN:
        case REFUSAL_SECOND_FACTOR: return true;
        default: return false;
        }
}

int context_kek_own(struct context *c, const char *subject, const struct kek *kek,
                    struct secret **ret, struct refusal *why, struct error *err) {
        struct refusal archived = { 0 };
        int r;

        if (find_open(c, kek, ret))
                return OUTCOME_DONE;
        r = archive_key_retired(c, subject, kek, ret, &archived, err);
        if (r != OUTCOME_REFUSED)
                return r;
        r = context_kek_by_tpm(c, subject, kek, ret, why, err);
        if (r != OUTCOME_REFUSED || is_final(why))
                return r;
        r = archive_key_fallback(c, subject, kek, ret, &archived, err);
        if (r == OUTCOME_REFUSED && archived.kind &&
            (why->kind == REFUSAL_RETIRED || why->kind == REFUSAL_COUNTER)) {
                refusal_detail(why, "%.190s", archived.what);
                for (unsigned i = 0; i < archived.details; i++)
                        refusal_detail(why, "%s", archived.detail[i]);
        }
        return r;
}

int context_kek(struct context *c, const char *subject, const struct kek *kek, struct secret **ret,
                struct refusal *why, struct error *err) {
        int r = context_kek_own(c, subject, kek, ret, why, err);

        return r == OUTCOME_REFUSED ? others_key(c, subject, kek, ret, why, err) : r;
}

/* What the dictionary attack protection of the TPM still allows. */
static void add_tries_left(struct context *c, struct refusal *why) {
        struct tpm_info info;
        struct error ignored = { 0 };
        unsigned left;

        if (tpm_info(c->tpm, &info, &ignored) < 0)
                return;
        left = info.guessing.counter < info.guessing.max_tries
                       ? info.guessing.max_tries - info.guessing.counter
                       : 0;
        if (left > 0)
                refusal_detail(why,
                               "the TPM takes %u more wrong one%s before it locks itself for a "
                               "while",
                               left, left == 1 ? "" : "s");
        else
                refusal_detail(why,
                               "the TPM has locked itself: it takes no PIN, and forgets one wrong "
                               "one in %u s",
                               info.guessing.interval);
}

/* Where the counter isn't what it was, the TPM can't tell whether it's for that version that it's
 * beyond; our record can. */
static int refuse_version(struct context *c, const char *subject, const struct kek *kek,
                          int verdict, const struct kek_refusal *reason, struct refusal *why) {
        _cleanup_(freep) struct kek_record *record = NULL;
        struct error ignored = { 0 };

        refuse_kek(why, subject, kek, verdict, reason);
        if (why->kind == REFUSAL_COUNTER && context_record(c, kek->name, &record, &ignored) == 0 &&
            record->has_current && record->current.version > kek->version) {
                refusal_set(why, REFUSAL_RETIRED,
                            "%s stays locked: KEK %s v%u was retired here: the current one is v%u",
                            subject, kek->name, kek->version, record->current.version);
                refusal_detail(why, "its counter in the TPM: %s", reason->tpm.text);
        }
        if (why->kind == REFUSAL_WRONG_PIN)
                add_tries_left(c, why);
        return OUTCOME_REFUSED;
}

int context_kek_made(struct context *c, const char *subject, const struct kek *kek,
                     struct secret **ret, struct refusal *why, struct error *err) {
        struct signature signature;
        struct kek_refusal reason = { 0 };
        struct kek_means means = { 0 };
        struct secret *key = NULL;
        int r;

        r = kek_policy_factor(c, subject, kek, &means.factor_input, why, err);
        if (r != OUTCOME_DONE)
                return r;
        if ((r = context_tpm(c, err)) < 0 ||
            (r = kek_policy_signature(c, kek, &signature, err)) < 0)
                return r;
        means.signature = r > 0 ? &signature : NULL;
        r = kek_open(c->tpm, kek, &means, &key, &reason, err);
        if (r < 0)
                return r;
        if (r != KEK_OPEN)
                return refuse_version(c, subject, kek, r, &reason, why);
        r = context_keep(c, kek, key, err);
        if (r < 0)
                return r;
        *ret = key;
        return OUTCOME_DONE;
}

int context_lock(struct context *c, struct error *err) {
        char path[300];
        int r;

        if (c->lock_fd >= 0)
                return 0;
        r = file_mkdir(c->state_dir, 0700, err);
        if (r < 0)
                return r;
        (void) snprintf(path, sizeof(path), "%s/lock", c->state_dir);
        context_forget_records(c); /* until now others may have written */
        return file_lock(path, &c->lock_fd, err);
}

int context_lock_shared(struct context *c, struct error *err) {
        char path[300];
        int r;

        if (c->lock_fd >= 0)
                return 0;
        (void) snprintf(path, sizeof(path), "%s/lock", c->state_dir);
        context_forget_records(c);
        r = file_lock_shared(path, &c->lock_fd, err);
        if (r != -ENOENT)
                return r;
        *err = (struct error){ 0 };
        return 0;
}

void context_store(const struct context *c, char ret[300]) {
        (void) snprintf(ret, 300, "%s/keks", c->state_dir);
}
