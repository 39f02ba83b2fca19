/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/ek.h"
#include "agent/op.h"
#include "base/crypto.h"
#include "keys/store.h"

volatile sig_atomic_t op_stop;

/* Without a record, the KEK of a disk that is known to have it. Return: OUTCOME_DONE; -ENOENT. */
static int from_known_disks(struct context *c, const char *name, struct kek *ret,
                            struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        int r = state_read(c->state_dir, &s, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < s.count; i++) {
                _cleanup_(disk_done) struct disk d = DISK_INIT;
                struct refusal ignored_why;
                struct error ignored = { 0 };
                struct luks_source from = state_source(&s.disks[i]);

                if (strcmp(s.disks[i].kek, name) != 0 ||
                    disk_load_enrolled(&from, &d, &ignored_why, &ignored) != OUTCOME_DONE ||
                    strcmp(d.token->entry[0].kek.name, name) != 0)
                        continue;
                /* The older of two: the newer may be a rotation that wasn't proven. */
                *ret = d.token->entry[d.token->entries - 1].kek;
                return OUTCOME_DONE;
        }
        return error_set(err, -ENOENT, "no KEK named %s is known here", name);
}

/* The parent that it really has, not the one that a TPM showed before or after. */
int op_kek_check_tpm(struct context *c, const struct kek *kek, struct refusal *why,
                     struct error *err) {
        char subject[NAME_MAX_SIZE + 4];

        (void) snprintf(subject, sizeof(subject), "KEK %s", kek->name);
        return ek_check(c, subject, &kek->sealed.srk, NULL, why, err);
}

int op_kek_make(struct context *c, struct op_kek *k, uint32_t version, struct refusal *why,
                struct error *err) {
        _cleanup_(secret_freep) struct secret *made = NULL;
        struct kek_refusal reason = { 0 };
        int r;

        r = context_tpm(c, err);
        if (r < 0)
                return r;
        r = kek_create(c->tpm, &(struct kek_request){ k->name, version, k->pcr_mask }, &k->kek,
                       &made, &reason, err);
        if (r < 0)
                return r;
        if (r != KEK_OPEN)
                return refuse_kek(why, k->name, &k->kek, r, &reason);
        r = op_kek_check_tpm(c, &k->kek, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = context_kek_made(c, k->name, &k->kek, &k->key, why, err);
        if (r != OUTCOME_DONE)
                return r;
        if (!crypto_same(made, k->key))
                return error_set(err, -EIO, "the TPM gives back another key than was sealed");
        return OUTCOME_DONE;
}

/* A first version, in the store before any disk depends on it. */
static int create_first(struct context *c, struct op_kek *k, struct refusal *why,
                        struct error *err) {
        _cleanup_(freep) struct kek_record *record = calloc(1, sizeof(*record));
        char folder[300];
        int r;

        if (!record)
                return error_nomem(err);
        if (!k->pcr_mask)
                k->pcr_mask = PCRS_DEFAULT;
        k->is_new = true;
        r = op_kek_make(c, k, 1, why, err);
        if (r != OUTCOME_DONE)
                return r;
        (void) snprintf(record->name, sizeof(record->name), "%s", k->name);
        record->has_current = true;
        record->current = k->kek;
        time_text(record->current_created);
        context_store(c, folder);
        return store_write(folder, record, err);
}

/* Return: OUTCOME_DONE; -ENOENT where nothing here knows the KEK; or another fault. */
static int find_current(struct context *c, struct op_kek *k, struct error *err) {
        _cleanup_(freep) struct kek_record *record = calloc(1, sizeof(*record));
        char folder[300];
        int r;

        if (!record)
                return error_nomem(err);
        context_store(c, folder);
        r = store_read(folder, k->name, record, err);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r == -ENOENT || !record->has_current)
                return from_known_disks(c, k->name, &k->kek, err);
        k->kek = record->current;
        return OUTCOME_DONE;
}

int op_kek_current(struct context *c, struct op_kek *k, struct refusal *why, struct error *err) {
        char have[PCR_TEXT_MAX], want[PCR_TEXT_MAX];
        uint32_t mask;
        int r = find_current(c, k, err);

        if (r == -ENOENT)
                return create_first(c, k, why, err);
        if (r < 0)
                return r;

        mask = k->kek.steps.step[0].pcr_mask;
        if (k->pcr_mask && k->pcr_mask != mask) {
                pcr_mask_format(mask, have);
                pcr_mask_format(k->pcr_mask, want);
                return refusal_set(
                        why, REFUSAL_POLICY_DIFFERS,
                        "KEK %s is sealed to PCR %s; this disk was to be sealed to PCR %s", k->name,
                        have, want);
        }
        k->pcr_mask = mask;
        r = context_kek(c, k->name, &k->kek, &k->key, why, err);
        return r == OUTCOME_DONE ? op_kek_check_tpm(c, &k->kek, why, err) : r;
}
