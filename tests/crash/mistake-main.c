/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A rotation of depth "slot" of all known disks of the KEK "default", with one of the mistakes of
 * mistakes.h: crash-mistake TCTI STATE MISTAKE. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/kek-policy.h"
#include "agent/op.h"
#include "agent/rotate-slot.h"
#include "tests/crash/mistakes.h"

struct rotation {
        struct context c;
        struct kek_record *record;
        struct named_policy policy;
        struct op_kek kek;
        struct secret *old_key;
        struct state state;
        struct rotate_slot_job *job;
        struct workers *workers;
        struct refusal why;
        struct error err;
};

static int begin(struct rotation *r) {
        int e;

        if ((e = context_lock(&r->c, &r->err)) < 0 ||
            (e = context_record(&r->c, "default", &r->record, &r->err)) < 0 ||
            (e = state_read(r->c.state_dir, &r->state, &r->err)) < 0 ||
            (e = workers_new(r->state.count, sizeof(struct rotate_slot_job), r->c.lock_fd,
                             &r->workers, &r->err)) < 0 ||
            (e = context_kek(&r->c, "it", &r->record->current, &r->old_key, &r->why, &r->err)) ||
            (e = kek_policy_next(&r->c, r->record, &r->record->current, &r->policy, &r->why,
                                 &r->err)))
                return e;
        r->kek = (struct op_kek){ .name = "default",
                                  .policy = &r->policy,
                                  .before = &r->record->current,
                                  .before_key = r->old_key,
                                  .le_seen = kek_counter(&r->record->current)->nv.le };
        e = op_kek_make(&r->c, &r->kek, r->record->current.version + 1, &r->why, &r->err);
        context_release_tpm(&r->c);
        return e;
}

static int stage(struct rotation *r) {
        const struct archive_staging what = { .new = { &r->kek.kek, r->kek.key },
                                              .policy = r->policy.name,
                                              .slot = true };

        return archive_stage(&r->c, r->record, &what, &r->why, &r->err);
}

static int on_disks(struct rotation *r, worker_fn fn) {
        _cleanup_(freep) struct worker_job *work = calloc(r->state.count, sizeof(*work));
        int e;

        for (size_t i = 0; i < r->state.count; i++) {
                struct rotate_job *job = &r->job[i].disk;

                (void) snprintf(job->at.device, sizeof(job->at.device), "%s",
                                r->state.disks[i].device);
                (void) snprintf(job->at.uuid, sizeof(job->at.uuid), "%s", r->state.disks[i].uuid);
                job->live = r->record->current;
                job->target = r->kek.kek;
                (void) snprintf(r->job[i].state_dir, sizeof(r->job[i].state_dir), "%s",
                                r->c.state_dir);
                work[i] = (struct worker_job){ .subject = r->state.disks[i].name,
                                               .arg = { { &r->job[i], sizeof(r->job[i]) } },
                                               .key = { r->old_key, r->kek.key } };
        }
        e = workers_run(
                r->workers, work, r->state.count,
                &(struct workers_run){ .fn = fn, .stop = &op_stop, .deadline = WORKERS_DEADLINE },
                &r->err);
        for (size_t i = 0; e == 0 && i < r->state.count; i++)
                if (work[i].outcome != OUTCOME_DONE) {
                        r->why = work[i].refusal;
                        r->err = work[i].error;
                        e = work[i].outcome;
                }
        return e;
}

static int rotate(struct rotation *r, worker_fn mistake) {
        int e;

        if ((e = begin(r)) != OUTCOME_DONE || (e = stage(r)) != OUTCOME_DONE)
                return e;
        r->job = calloc(r->state.count, sizeof(*r->job));
        return r->job ? on_disks(r, mistake) : error_nomem(&r->err);
}

int main(int argc, char **argv) {
        struct rotation r = { .c = CONTEXT_INIT };
        int e;

        if (argc != 4 || !mistake_find(argv[3]))
                return 2;
        (void) snprintf(r.c.tcti, sizeof(r.c.tcti), "%s", argv[1]);
        (void) snprintf(r.c.state_dir, sizeof(r.c.state_dir), "%s", argv[2]);
        (void) snprintf(r.c.config_dir, sizeof(r.c.config_dir), "%s/none", argv[2]);
        e = rotate(&r, mistake_find(argv[3]));
        if (e != OUTCOME_DONE)
                fprintf(stderr, "crash-mistake: %d: %s%s\n", e, r.err.text, r.why.what);
        r.workers = workers_free(r.workers);
        free(r.job);
        free(r.record);
        state_done(&r.state);
        context_done(&r.c);
        return e != OUTCOME_DONE;
}
