/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotate-disks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/rotate-disk.h"

void rotate_disks_done(struct rotate_disks *d) {
        free(d->disk);
        *d = (struct rotate_disks){ 0 };
}

bool rotate_disk_in_run(const struct candidate *d) {
        return d->report->what == ROTATED_PENDING;
}

void rotate_disk_drop(struct candidate *d, int outcome, const struct refusal *why,
                      const struct error *err) {
        d->report->what = ROTATED_FAILED;
        if (outcome == OUTCOME_REFUSED)
                d->report->refusal = *why;
        else
                d->report->error = *err;
}

bool rotate_disk_has(const struct candidate *d, const struct kek *kek) {
        for (unsigned i = 0; i < d->keks; i++)
                if (kek_equal(&d->kek[i], kek))
                        return true;
        return false;
}

static void survey_disk(struct candidate *d) {
        _cleanup_(disk_done) struct disk disk = DISK_INIT;
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct luks_source from;
        int r;

        d->report->what = ROTATED_PENDING;
        if (access(d->report->known.device, F_OK) < 0) {
                d->report->what = ROTATED_ABSENT;
                return;
        }
        from = state_source(&d->report->known);
        r = disk_load_enrolled(&from, &disk, &why, &err);
        if (r == OUTCOME_DONE && strcmp(luks_facts(disk.luks)->uuid, d->report->known.uuid) != 0)
                r = refusal_set(&why, REFUSAL_UNKNOWN_DISK, "%s holds another disk than %s",
                                d->report->known.device, d->report->known.name);
        if (r != OUTCOME_DONE) {
                rotate_disk_drop(d, r, &why, &err);
                return;
        }
        for (; d->keks < disk.token->entries; d->keks++)
                d->kek[d->keks] = disk.token->entry[d->keks].kek;
        d->report->version = d->kek[0].version;
}

int rotate_disks_survey(const struct context *c, const char *kek, struct op_rotated *reports,
                        struct rotate_disks *ret, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        int r = state_read(c->state_dir, &s, err);

        if (r < 0)
                return r;
        reports->disks = calloc(s.count + 1, sizeof(*reports->disks));
        ret->disk = calloc(s.count + 1, sizeof(*ret->disk));
        if (!reports->disks || !ret->disk)
                return error_nomem(err);
        for (size_t i = 0; i < s.count; i++) {
                if (strcmp(s.disks[i].kek, kek) != 0)
                        continue;
                reports->disks[ret->count].known = s.disks[i];
                ret->disk[ret->count].report = &reports->disks[ret->count];
                survey_disk(&ret->disk[ret->count++]);
        }
        reports->count = ret->count;
        return 0;
}

/* What is to be done, as the workers want it. */
struct work {
        size_t count;
        struct rotate_job *job;
        struct worker_job *worker;
        struct candidate **who;
};

static void work_done(struct work *w) {
        free(w->job);
        free(w->worker);
        free(w->who);
}

/* To go back is to retire the new version in favour of the old one. */
static void add(struct work *w, struct candidate *d, const struct rotate_target *target,
                enum rotation_effect effect) {
        bool stage = effect == ROTATION_STAGE, back = effect == ROTATION_UNSTAGE;
        struct rotate_job *job = &w->job[w->count];
        struct worker_job *worker = &w->worker[w->count];
        const struct state_disk *known = &d->report->known;

        (void) snprintf(job->device, sizeof(job->device), "%s", known->device);
        (void) snprintf(job->header, sizeof(job->header), "%s", known->header);
        (void) snprintf(job->uuid, sizeof(job->uuid), "%s", known->uuid);
        job->live = stage ? d->live : NULL;
        job->target = back ? d->live : target->kek;
        worker->arg = job;
        worker->key[0] = stage && d->live ? d->live_key : NULL;
        worker->key[1] = back ? d->live_key : target->key;
        w->who[w->count++] = d;
}

static worker_fn function_of(enum rotation_effect effect) {
        switch (effect) {
        case ROTATION_STAGE: return rotate_stage;
        case ROTATION_PROVE: return rotate_prove;
        default: return rotate_retire;
        }
}

int rotate_disks_run(struct rotate_disks *d, enum rotation_effect effect,
                     const struct rotate_target *target, struct error *err) {
        _cleanup_(work_done) struct work w = {
                .job = calloc(d->count + 1, sizeof(*w.job)),
                .worker = calloc(d->count + 1, sizeof(*w.worker)),
                .who = calloc(d->count + 1, sizeof(struct candidate *)),
        };
        int r, good = 0;

        if (!w.job || !w.worker || !w.who)
                return error_nomem(err);
        for (size_t i = 0; i < d->count; i++) {
                struct candidate *one = &d->disk[i];

                if (!rotate_disk_in_run(one))
                        continue;
                if (effect == ROTATION_PROVE && one->proven)
                        good++;
                else
                        add(&w, one, target, effect);
        }
        r = workers_run(w.worker, w.count, function_of(effect), &op_stop, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < w.count; i++) {
                const struct worker_job *done = &w.worker[i];

                if (done->outcome == OUTCOME_DONE) {
                        w.who[i]->proven = effect != ROTATION_UNSTAGE;
                        good++;
                } else if (done->outcome != -ECANCELED)
                        rotate_disk_drop(w.who[i], done->outcome, &done->refusal, &done->error);
        }
        return op_stop ? error_set(err, -EINTR, "stopped by a signal") : good;
}
