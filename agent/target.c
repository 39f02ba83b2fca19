/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int copy_path(char ret[256], const char *path, struct error *err) {
        if (strlen(path) >= 256)
                return error_set(err, -ENAMETOOLONG, "the path is too long: %.60s…", path);
        (void) snprintf(ret, 256, "%s", path);
        return 0;
}

int target_find(const struct context *c, const char *what, const char *header, struct target *ret,
                struct refusal *why, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        const struct state_disk *d;
        int r;

        *ret = (struct target){ 0 };
        r = copy_path(ret->header, header ? header : "", err);
        if (r < 0)
                return r;
        if (strchr(what, '/'))
                return copy_path(ret->device, what, err);

        /* A name that is known means that disk, whatever file of this name is here. */
        r = state_read(c->state_dir, &s, err);
        if (r < 0 && r != -EBADMSG)
                return r;
        d = state_by_name(&s, what);
        if (!d && access(what, F_OK) == 0) {
                *err = (struct error){ 0 };
                return copy_path(ret->device, what, err);
        }
        if (r < 0)
                return r;
        if (!d)
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "no disk named '%.60s' is known here",
                                   what);
        ret->by_name = true;
        ret->known = *d;
        (void) snprintf(ret->device, sizeof(ret->device), "%s", d->device);
        if (!header)
                (void) snprintf(ret->header, sizeof(ret->header), "%s", d->header);
        return OUTCOME_DONE;
}

struct luks_source target_source(const struct target *t) {
        return (struct luks_source){ t->device, t->header[0] ? t->header : NULL };
}

static bool same_path(const char *a, const char *b) {
        _cleanup_(freep) char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);

        return real_a && real_b ? strcmp(real_a, real_b) == 0 : strcmp(a, b) == 0;
}

/* Whether the recorded disk is at its place, too. */
static bool still_there(const struct state_disk *d) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct luks_source from = state_source(d);
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        return luks_open(&from, &l, &why, &err) == LUKS_OK &&
               strcmp(luks_facts(l)->uuid, d->uuid) == 0;
}

static int find_record(const struct context *c, struct target *t, const char *uuid,
                       struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        const struct state_disk *d;
        int r = state_read(c->state_dir, &s, err);

        /* What can't be read is as good as lost: the disk has all that it needs. */
        if (r == -EBADMSG) {
                *err = (struct error){ 0 };
                return 0;
        }
        if (r < 0)
                return r;
        d = state_by_uuid(&s, uuid);
        if (!d)
                return 0;
        t->known = *d;
        t->clone = !same_path(d->device, t->device) && still_there(d);
        return 0;
}

int target_load(const struct context *c, struct target *t, struct disk *ret, struct refusal *why,
                struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct luks_source from = target_source(t);
        const char *uuid;
        int r = disk_load_enrolled(&from, &d, why, err);

        if (r != OUTCOME_DONE)
                return r;
        uuid = luks_facts(d.luks)->uuid;
        if (t->by_name && strcmp(uuid, t->known.uuid) != 0) {
                refusal_set(why, REFUSAL_OTHER_DISK,
                            "%s stays locked: another disk is in its place", t->known.name);
                refusal_detail(why, "expected UUID %s", t->known.uuid);
                refusal_detail(why, "found    UUID %s, named %s", uuid, d.token->name);
                return OUTCOME_REFUSED;
        }
        if (!t->by_name && (r = find_record(c, t, uuid, err)) < 0)
                return r;
        if (t->known.name[0] && (strcmp(d.token->name, t->known.name) != 0 ||
                                 strcmp(d.token->role, t->known.role) != 0)) {
                refusal_set(why, REFUSAL_OTHER_DISK,
                            "%s stays locked: its token makes it another disk", t->known.name);
                refusal_detail(why, "expected %s, role %s", t->known.name, t->known.role);
                refusal_detail(why, "found    %s, role %s", d.token->name, d.token->role);
                return OUTCOME_REFUSED;
        }
        *ret = d;
        d = (struct disk) DISK_INIT;
        return OUTCOME_DONE;
}

int target_refuse_clone(const struct target *t, struct refusal *why) {
        if (!t->clone)
                return OUTCOME_DONE;
        refusal_set(why, REFUSAL_CLONE, "%.100s stays locked: it's a copy of %s", t->device,
                    t->known.name);
        refusal_detail(why, "%s is at %.160s, with the same UUID", t->known.name, t->known.device);
        return OUTCOME_REFUSED;
}

void target_resized(const struct target *t, const struct luks_facts *f, char ret[120]) {
        uint64_t before = t->known.size, now = f->device_size;

        ret[0] = '\0';
        if (before && before != now)
                (void) snprintf(ret, 120, "the device was %s from %" PRIu64 " to %" PRIu64 " bytes",
                                before < now ? "enlarged" : "cut down", before, now);
}
