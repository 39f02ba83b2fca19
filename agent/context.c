/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "keys/store.h"

void context_done(struct context *c) {
        context_release_tpm(c);
        while (c->open > 0)
                secret_free(c->opened[--c->open].key);
        close_fdp(&c->lock_fd);
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
        c->opened[c->open++].key = key;
        return 0;
}

/* The PCRs of a KEK's record; 0 where there's none that can be read. */
static int recorded_mask(const struct context *c, const char *name, uint32_t *ret,
                         struct error *err) {
        _cleanup_(freep) struct kek_record *record = calloc(1, sizeof(*record));
        char folder[300];
        int r;

        if (!record)
                return error_nomem(err);
        context_store(c, folder);
        r = store_read(folder, name, record, err);
        if (r < 0 && r != -ENOENT && r != -EBADMSG)
                return r;
        *ret = r == 0 && record->has_current ? record->current.steps.step[0].pcr_mask : 0;
        *err = (struct error){ 0 };
        return 0;
}

/* Those of any KEK that's recorded: @mask itself if one has that, 0 if there's no record. */
static int any_mask(const struct context *c, uint32_t mask, uint32_t *ret, struct error *err) {
        char folder[300], **names = NULL;
        size_t count = 0;
        int r;

        context_store(c, folder);
        r = store_names(folder, &names, &count, err);
        for (size_t i = 0; r == 0 && i < count && *ret != mask; i++) {
                uint32_t one;

                r = recorded_mask(c, names[i], &one, err);
                if (r == 0 && one)
                        *ret = one;
        }
        store_names_free(names, count);
        return r;
}

/* Which PCRs a KEK must be sealed to never comes from the disk: somebody who can seal to this TPM
 * would choose ones that say nothing. It's what was recorded when the KEK was made here; of one
 * that isn't recorded what the user says, else what other KEKs here are sealed to; and where
 * nothing is recorded, no less than the default. */
static int check_policy(const struct context *c, const char *subject, const struct kek *kek,
                        struct refusal *why, struct error *err) {
        uint32_t mask = kek->steps.step[0].pcr_mask, must = 0;
        char has[PCR_TEXT_MAX], wanted[PCR_TEXT_MAX];
        int r = recorded_mask(c, kek->name, &must, err);

        if (r == 0 && !must)
                must = c->policy;
        if (r == 0 && !must)
                r = any_mask(c, mask, &must, err);
        if (r < 0)
                return r;
        if (must ? mask == must : (mask & PCRS_DEFAULT) == PCRS_DEFAULT)
                return OUTCOME_DONE;
        pcr_mask_format(mask, has);
        pcr_mask_format(must ? must : PCRS_DEFAULT, wanted);
        return refusal_set(why, REFUSAL_POLICY,
                           "%s stays locked: KEK %s v%u is sealed to PCR %s, not to this machine's "
                           "policy, PCR %s",
                           subject, kek->name, kek->version, has, wanted);
}

int context_kek(struct context *c, const char *subject, const struct kek *kek, struct secret **ret,
                struct refusal *why, struct error *err) {
        int r;

        for (unsigned i = 0; i < c->open; i++)
                if (kek_equal(&c->opened[i].kek, kek)) {
                        *ret = c->opened[i].key;
                        return OUTCOME_DONE;
                }
        r = check_policy(c, subject, kek, why, err);
        return r == OUTCOME_DONE ? context_kek_made(c, subject, kek, ret, why, err) : r;
}

int context_kek_made(struct context *c, const char *subject, const struct kek *kek,
                     struct secret **ret, struct refusal *why, struct error *err) {
        struct kek_refusal reason = { 0 };
        struct secret *key = NULL;
        int r;

        r = context_tpm(c, err);
        if (r < 0)
                return r;
        r = kek_open(c->tpm, kek, &key, &reason, err);
        if (r < 0)
                return r;
        if (r != KEK_OPEN)
                return refuse_kek(why, subject, kek, r, &reason);
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
        return file_lock(path, &c->lock_fd, err);
}

void context_store(const struct context *c, char ret[300]) {
        (void) snprintf(ret, 300, "%s/keks", c->state_dir);
}
