/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/op.h"

void op_status_done(struct op_status *s) {
        free(s->kek);
        free(s->disk);
        *s = (struct op_status){ 0 };
}

/* "verified" is more than the rules: the covered form is the one that was pinned with a key at
 * hand. */
static int judge_header(const struct context *c, const struct disk *d, struct op_status_disk *ret,
                        struct error *err) {
        const struct luks_facts *f = luks_facts(d->luks);
        _cleanup_(freep) char *covered = NULL, *pinned = NULL;
        int r;

        if (f->degraded) {
                (void) snprintf(ret->header, sizeof(ret->header), "degraded");
                (void) snprintf(ret->reason, sizeof(ret->reason), "%s", f->degraded_text);
                return 0;
        }
        (void) snprintf(ret->header, sizeof(ret->header), "rules-ok");
        if (!d->token || !disk_owns_slot(d))
                return 0;
        if ((r = state_read_header(c->state_dir, f->uuid, &pinned, err)) < 0)
                return r;
        if (!pinned)
                return 0;
        r = luks_covered(d->luks, (int) d->token->slot, NULL, &covered, err);
        if (r < 0)
                return r;
        if (strcmp(covered, pinned) == 0) {
                (void) snprintf(ret->header, sizeof(ret->header), "verified");
        } else {
                ret->state = DISK_REFUSED;
                (void) snprintf(ret->header, sizeof(ret->header), "refused");
                (void) snprintf(ret->reason, sizeof(ret->reason),
                                "its covered part isn't what was pinned here");
        }
        return 0;
}

static void refused(struct op_status_disk *ret, const char *text) {
        ret->state = DISK_REFUSED;
        (void) snprintf(ret->header, sizeof(ret->header), "refused");
        (void) snprintf(ret->reason, sizeof(ret->reason), "%s", text);
}

static int look_at(const struct context *c, struct op_status_disk *ret, struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct refusal why = { 0 };
        struct error fault = { 0 };
        int r;

        if (access(ret->known.device, F_OK) < 0) {
                ret->state = DISK_ABSENT;
                (void) snprintf(ret->header, sizeof(ret->header), "unknown");
                return 0;
        }
        r = disk_load(ret->known.device, &d, &why, &fault);
        if (r != OUTCOME_DONE) {
                refused(ret, r < 0 ? fault.text : why.details > 0 ? why.detail[0] : why.what);
                return 0;
        }
        ret->facts = *luks_facts(d.luks);
        if (strcmp(ret->facts.uuid, ret->known.uuid) != 0) {
                refused(ret, "another disk is there now");
                return 0;
        }
        ret->state = luks_is_active(ret->known.name) ? DISK_OPEN : DISK_LOCKED;
        if (!d.token) {
                refused(ret, d.pending ? "its adoption was cut off" : "its diskseal token is gone");
                return 0;
        }
        ret->slot = d.token->slot;
        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", d.token->entry[0].kek.name);
        ret->version = d.token->entry[d.token->entries - 1].kek.version;
        if (d.token->entries > 1)
                ret->staged = d.token->entry[0].kek.version;
        return judge_header(c, &d, ret, err);
}

static bool wanted(char *const *names, const char *name) {
        if (!names)
                return true;
        for (; *names; names++)
                if (strcmp(*names, name) == 0)
                        return true;
        return false;
}

static int read_keks(const struct context *c, struct op_status *ret, struct error *err) {
        char folder[300], **names = NULL;
        size_t count = 0;
        int r;

        context_store(c, folder);
        r = store_names(folder, &names, &count, err);
        if (r < 0)
                return r;
        ret->kek = calloc(count + 1, sizeof(*ret->kek));
        if (!ret->kek)
                r = error_nomem(err);
        for (size_t i = 0; r == 0 && i < count; i++) {
                r = store_read(folder, names[i], &ret->kek[ret->keks], err);
                ret->keks += r == 0;
        }
        store_names_free(names, count);
        return r;
}

int op_status_known(struct context *c, struct op_status *ret, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        int r;

        if ((r = state_read(c->state_dir, &s, err)) < 0 || (r = read_keks(c, ret, err)) < 0)
                return r;
        ret->disk = calloc(s.count + 1, sizeof(*ret->disk));
        if (!ret->disk)
                return error_nomem(err);
        for (; ret->disks < s.count; ret->disks++)
                ret->disk[ret->disks].known = s.disks[ret->disks];
        return OUTCOME_DONE;
}

static void look_at_tpm(struct context *c, struct op_status *ret) {
        struct error fault = { 0 };
        int r = context_tpm(c, &fault);

        if (r == 0)
                r = tpm_info(c->tpm, &ret->tpm, &fault);
        context_release_tpm(c);
        ret->tpm_present = r == 0;
        (void) snprintf(ret->tpm_fault, sizeof(ret->tpm_fault), "%s", fault.text);
}

/* Keeps the disks that were asked for. */
static int select_disks(struct op_status *s, char *const *names, struct refusal *why) {
        size_t kept = 0;

        for (char *const *n = names; n && *n; n++) {
                bool known = false;

                for (size_t i = 0; i < s->disks; i++)
                        known |= strcmp(s->disk[i].known.name, *n) == 0;
                if (!known)
                        return refusal_set(why, REFUSAL_UNKNOWN_DISK,
                                           "no disk named '%.60s' is known here", *n);
        }
        for (size_t i = 0; i < s->disks; i++)
                if (wanted(names, s->disk[i].known.name))
                        s->disk[kept++] = s->disk[i];
        s->disks = kept;
        return OUTCOME_DONE;
}

int op_status(struct context *c, char *const *names, struct op_status *ret, struct refusal *why,
              struct error *err) {
        int r = op_status_known(c, ret, err);

        if (r == OUTCOME_DONE)
                r = select_disks(ret, names, why);
        if (r != OUTCOME_DONE)
                return r;
        look_at_tpm(c, ret);
        for (size_t i = 0; i < ret->disks; i++) {
                r = look_at(c, &ret->disk[i], err);
                if (r < 0)
                        return r;
        }
        return OUTCOME_DONE;
}
