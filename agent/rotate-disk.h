/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/workers.h"
#include "keys/token.h"

/* What a rotation does to one disk. Each runs in a worker, does one durable change or none, and can
 * be repeated: the disk says by itself what is done already.
 *
 * What one step opened and checked the worker keeps for the next, so that a rotation opens each
 * disk once. Before it's used again both copies of the header are compared, byte for byte, with
 * what stands on the disk; where they differ, or another worker has the disk now, it's opened and
 * checked anew. */
struct rotate_kept;

/* For so many disks, made before there are workers: each process has its own. */
struct rotate_kept *rotate_kept_new(size_t count);
struct rotate_kept *rotate_kept_free(struct rotate_kept *k); /* in the process that made it */
struct rotate_kept *rotate_kept_at(struct rotate_kept *k, size_t i);

struct rotate_place {
        struct rotate_kept *kept;      /* the worker's own */
        char device[256], header[256]; /* header: empty where it's on the device */
        char uuid[40], name[NAME_MAX_SIZE];
};

/* Handed over by value, and in parts: many disks have the same versions. */
struct rotate_job {
        struct rotate_place at;
        struct kek target; /* the new version; to look at a disk none is needed */
        struct kek
                live; /* that opens the disk now; its version is 0 where the target already does */
};

/* What a look at a disk found. */
struct rotate_found {
        unsigned keks;
        struct kek kek[TOKEN_KEKS_MAX]; /* newest first */
        bool other_way;                 /* a keyslot that isn't ours may open the data, too */
        bool slot;                      /* a rotation of its keyslot was begun: see rotate-slot.h */
};

/* Each is a worker_fn of a struct rotate_job. */

/* Keys: none. Result: a struct rotate_found. */
int rotate_look(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                struct refusal *why, struct error *err);
/* Keys: the live KEK (or none), the target as the TPM gave it back. Adds the target to the token;
 * the token, read back from the disk, is opened with it: what succeeds here is proven too. */
int rotate_stage(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                 struct refusal *why, struct error *err);
/* Keys: none, the target. For disks that a run before this one staged: opens the token as it stands
 * on the disk now. */
int rotate_prove(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                 struct refusal *why, struct error *err);
/* Keys: none, the target. Drops all but the target from the token. */
int rotate_retire(const void *job, struct secret *const key[WORKER_KEYS_MAX], void *result,
                  struct refusal *why, struct error *err);
