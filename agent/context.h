/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/refusal.h"
#include "base/error.h"
#include "base/secret.h"
#include "keys/kek.h"
#include "tpm/tpm.h"

/* What an operation works with. One for each run; everything in it is released by context_done().
 */

#define KEKS_OPEN_MAX 16
#define PCRS_DEFAULT (1u << 7)

struct context {
        char tcti[256]; /* empty: the default */
        char state_dir[256];
        char config_dir[256];
        char ek_roots[256]; /* trusted to certify TPMs; empty: nothing is checked */
        bool dry_run;
        uint32_t policy; /* PCRs that the user says a KEK is sealed to; 0: as it's recorded */

        struct tpm *tpm; /* connected when first needed */
        /* KEKs that were unsealed or made in this run: none is unsealed twice. */
        unsigned open;
        struct {
                struct kek kek;
                struct secret *key;
        } opened[KEKS_OPEN_MAX];
        int lock_fd; /* -1 unless context_lock() was called */
};

#define CONTEXT_INIT                                                                               \
        { .lock_fd = -1 }

void context_done(struct context *c);

/* Connects where it isn't yet. The TPM stays locked against others until context_release_tpm(). */
int context_tpm(struct context *c, struct error *err) _warn_unused_;
void context_release_tpm(struct context *c);

/* The KEK, from this run's memory or from the TPM. Borrowed. @subject is for the refusal.
 * Return: OUTCOME_DONE, OUTCOME_REFUSED; or a fault. */
int context_kek(struct context *c, const char *subject, const struct kek *kek, struct secret **ret,
                struct refusal *why, struct error *err) _warn_unused_;

/* The same from the TPM, and under whatever policy, for one that was made in this run. */
int context_kek_made(struct context *c, const char *subject, const struct kek *kek,
                     struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;

/* Gives the context a KEK that this run made; owned by it from then on, also on failure. */
int context_keep(struct context *c, const struct kek *kek, struct secret *key,
                 struct error *err) _warn_unused_;

/* One change at a time for each state folder: waits for the others. Held until context_done(). */
int context_lock(struct context *c, struct error *err) _warn_unused_;

/* STATE_DIR/keks */
void context_store(const struct context *c, char ret[300]);
