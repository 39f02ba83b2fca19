/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/workers.h"
#include "keys/kek.h"

/* What a rotation does to one disk. Each runs in a worker, does one durable change or none, and can
 * be repeated: the disk says by itself what is done already. */
struct rotate_job {
        char device[256], header[256]; /* header: empty where it's on the device */
        char uuid[40];
        const struct kek *live;   /* that opens the disk now; NULL where the target already does */
        const struct kek *target; /* the new version */
};

/* Keys: the live KEK (or none), the target as the TPM gave it back. Adds the target to the token;
 * the token, read back from the disk, is opened with it: what succeeds here is proven too. */
int rotate_stage(const void *job, struct secret *const key[WORKER_KEYS_MAX], struct refusal *why,
                 struct error *err);
/* Keys: none, the target. For disks that a run before this one staged: opens the token as it stands
 * on the disk now. */
int rotate_prove(const void *job, struct secret *const key[WORKER_KEYS_MAX], struct refusal *why,
                 struct error *err);
/* Keys: none, the target. Drops all but the target from the token. */
int rotate_retire(const void *job, struct secret *const key[WORKER_KEYS_MAX], struct refusal *why,
                  struct error *err);
