/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/op.h"
#include "agent/rotate-disk.h"
#include "agent/rotation.h"

/* The disks of a rotation: what stands on each of them, and one effect on all of them at once. A
 * disk that fails or is refused drops out, with the reason in its report, and the others go on. */

struct candidate {
        struct op_rotated_disk *report; /* ROTATED_PENDING: still in the run */
        union {
                struct rotate_found found; /* as a worker told it; the same */
                struct {
                        unsigned keks;
                        struct kek kek[TOKEN_KEKS_MAX]; /* newest first */
                        bool other_way;
                        bool slot; /* it gets a new keyslot, too, or that was begun */
                };
        };
        const struct kek *live;  /* the one that opened, where it was needed */
        struct secret *live_key; /* borrowed from the context */
        bool proven;             /* in this run, by what the TPM gave back */
        unsigned home;           /* the worker that has it open; see workers.h */
};

struct rotate_disks {
        size_t count;
        struct candidate *disk;
        char state_dir[256]; /* where it's recorded what is pinned */
        /* Set before the survey by whoever wants to know how far a step on the disks is; NULL for
         * nobody. Called in this process, for each disk that a step is done with. */
        void (*progress)(void *context, size_t finished, size_t of);
        void *progress_context;
        struct workers *workers;  /* for all steps of one operation … */
        struct rotate_kept *kept; /* … and what they keep of each disk between them */
};

/* The version that is rotated to. */
struct rotate_target {
        const struct kek *kek;
        struct secret *key; /* as the TPM gave it back; borrowed */
};

/**
 * rotate_disks_survey() - read what stands on every known disk of a KEK
 * @ret:     zeroed, its progress aside; for rotate_disks_done(), whatever happens
 * @reports: one for each disk, for free(), of which @ret keeps pointers
 *
 * The disks are opened in processes of their own, which begin here: the fewer secrets and
 * connections there are by then, the better. Return: 0; or a fault.
 */
int rotate_disks_survey(const struct context *c, const char *kek, struct op_rotated *reports,
                        struct rotate_disks *ret, struct error *err) _warn_unused_;
void rotate_disks_done(struct rotate_disks *d);

bool rotate_disk_in_run(const struct candidate *d);
void rotate_disk_drop(struct candidate *d, int outcome, const struct refusal *why,
                      const struct error *err);
bool rotate_disk_has(const struct candidate *d, const struct kek *kek);

/* One effect (ROTATION_STAGE, ROTATION_PROVE, ROTATION_RETIRE, ROTATION_UNSTAGE) on every disk that
 * is still in the run. Return: how many it succeeded on; -EINTR where op_stop was set; or another
 * fault. */
int rotate_disks_run(struct rotate_disks *d, enum rotation_effect effect,
                     const struct rotate_target *target, struct error *err) _warn_unused_;
