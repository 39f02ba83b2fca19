/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotate-disks.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/rotate-slot.h"
#include "base/crypto.h"

void rotate_disks_done(struct rotate_disks *d) {
        d->workers = workers_free(d->workers);
        d->kept = rotate_kept_free(d->kept);
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

/* What is to be done, as the workers want it. */
struct work {
        size_t count;
        struct rotate_place *place;
        struct worker_job *worker;
        struct candidate **who;
};

static void work_done(struct work *w) {
        free(w->place);
        free(w->worker);
        free(w->who);
}

static int work_new(size_t count, struct work *ret, struct error *err) {
        ret->place = calloc(count + 1, sizeof(*ret->place));
        ret->worker = calloc(count + 1, sizeof(*ret->worker));
        ret->who = calloc(count + 1, sizeof(struct candidate *));
        return ret->place && ret->worker && ret->who ? 0 : error_nomem(err);
}

static struct worker_job *add(struct work *w, const struct rotate_disks *all, struct candidate *d) {
        struct rotate_place *place = &w->place[w->count];
        struct worker_job *job = &w->worker[w->count];
        const struct state_disk *known = &d->report->known;

        place->kept = rotate_kept_at(all->kept, (size_t) (d - all->disk));
        (void) snprintf(place->device, sizeof(place->device), "%s", known->device);
        (void) snprintf(place->header, sizeof(place->header), "%s", known->header);
        (void) snprintf(place->uuid, sizeof(place->uuid), "%s", known->uuid);
        (void) snprintf(place->name, sizeof(place->name), "%s", known->name);
        job->subject = place->name;
        job->arg[0] = (struct iovec){ place, offsetof(struct rotate_job, target) };
        job->arg[3] = (struct iovec){ (void *) all->state_dir, sizeof(all->state_dir) };
        job->home = &d->home;
        w->who[w->count++] = d;
        return job;
}

/* Runs what was added; who fails drops out. */
static int run(const struct rotate_disks *d, struct work *w, worker_fn fn, struct error *err) {
        const struct workers_run how = { .fn = fn,
                                         .stop = &op_stop,
                                         .deadline = WORKERS_DEADLINE,
                                         .done = d->progress,
                                         .context = d->progress_context };
        int r = workers_run(d->workers, w->worker, w->count, &how, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < w->count; i++) {
                const struct worker_job *done = &w->worker[i];

                if (done->outcome != OUTCOME_DONE && done->outcome != -ECANCELED)
                        rotate_disk_drop(w->who[i], done->outcome, &done->refusal, &done->error);
        }
        return 0;
}

/* --- what stands on the disks --- */

static int look_at_all(struct rotate_disks *d, struct error *err) {
        _cleanup_(work_done) struct work w = { 0 };
        int r = work_new(d->count, &w, err);

        for (size_t i = 0; r == 0 && i < d->count; i++) {
                struct op_rotated_disk *report = d->disk[i].report;
                struct worker_job *job;

                report->what = ROTATED_PENDING;
                if (access(report->known.device, F_OK) < 0) {
                        report->what = ROTATED_ABSENT;
                        continue;
                }
                job = add(&w, d, &d->disk[i]);
                job->result = &d->disk[i].found;
                job->result_size = sizeof(d->disk[i].found);
        }
        if (r == 0)
                r = run(d, &w, rotate_look, err);
        if (r == 0 && op_stop)
                return error_set(err, -EINTR, "stopped by a signal");
        for (size_t i = 0; r == 0 && i < w.count; i++) {
                struct candidate *one = w.who[i];

                if (w.worker[i].outcome != OUTCOME_DONE || one->keks > TOKEN_KEKS_MAX)
                        one->keks = 0;
                if (one->keks > 0)
                        one->report->version = one->kek[0].version;
        }
        return r;
}

static int start_workers(const struct context *c, struct rotate_disks *d, struct error *err) {
        size_t most = sizeof(struct rotate_slot_job) > sizeof(struct rotate_found)
                              ? sizeof(struct rotate_slot_job)
                              : sizeof(struct rotate_found);

        d->kept = rotate_kept_new(d->count);
        if (!d->kept)
                return error_nomem(err);
        crypto_set_up();
        luks_set_up();
        return workers_new(d->count, most, c->lock_fd, &d->workers, err);
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
                ret->count++;
        }
        reports->count = ret->count;
        (void) snprintf(ret->state_dir, sizeof(ret->state_dir), "%s", c->state_dir);
        if (ret->count == 0)
                return 0;
        r = start_workers(c, ret, err);
        return r < 0 ? r : look_at_all(ret, err);
}

/* --- one effect on all of them --- */

/* To go back at depth "kek" is to retire the new version in favour of the old one. */
static worker_fn function_of(enum rotation_effect effect, bool slot) {
        switch (effect) {
        case ROTATION_STAGE: return slot ? rotate_slot_stage : rotate_stage;
        case ROTATION_PROVE: return slot ? rotate_slot_prove : rotate_prove;
        case ROTATION_UNSTAGE: return slot ? rotate_slot_abort : rotate_retire;
        default: return slot ? rotate_slot_retire : rotate_retire;
        }
}

/* What one disk is told beyond where it is. */
static void tell(struct worker_job *job, const struct candidate *d,
                 const struct rotate_target *target, enum rotation_effect effect) {
        static const struct kek none;
        bool live = d->live && (effect == ROTATION_STAGE || effect == ROTATION_UNSTAGE);
        bool back = live && effect == ROTATION_UNSTAGE && !d->slot;
        const struct kek *to = back ? d->live : target->kek;

        job->arg[1] = (struct iovec){ (void *) to, sizeof(*to) };
        job->arg[2] = (struct iovec){ (void *) (live ? d->live : &none), sizeof(none) };
        job->key[0] = live ? d->live_key : NULL;
        job->key[1] = back ? d->live_key : target->key;
}

/* One depth at a time. Return: how many it succeeded on; or a fault. */
static int run_depth(struct rotate_disks *d, enum rotation_effect effect, bool slot,
                     const struct rotate_target *target, struct error *err) {
        _cleanup_(work_done) struct work w = { 0 };
        int r = work_new(d->count, &w, err), good = 0;

        if (r < 0)
                return r;
        for (size_t i = 0; i < d->count; i++) {
                struct candidate *one = &d->disk[i];

                if (!rotate_disk_in_run(one) || one->slot != slot)
                        continue;
                if (effect == ROTATION_PROVE && one->proven)
                        good++;
                else
                        tell(add(&w, d, one), one, target, effect);
        }
        if (w.count > 0)
                r = run(d, &w, function_of(effect, slot), err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < w.count; i++)
                if (w.worker[i].outcome == OUTCOME_DONE) {
                        w.who[i]->proven = effect != ROTATION_UNSTAGE;
                        good++;
                }
        return good;
}

int rotate_disks_run(struct rotate_disks *d, enum rotation_effect effect,
                     const struct rotate_target *target, struct error *err) {
        int kek = run_depth(d, effect, false, target, err), slot;

        if (kek < 0)
                return kek;
        slot = run_depth(d, effect, true, target, err);
        if (slot < 0)
                return slot;
        return op_stop ? error_set(err, -EINTR, "stopped by a signal") : kek + slot;
}
