/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/others.h"

/* One look for the key of a retired version. */
struct search {
        struct context *c;
        const char *subject;
        const struct kek *kek;
        struct secret **ret;
        struct refusal *why;
        struct error *err;
};

static bool in_use(const struct kek_record *r, const struct kek *kek) {
        return (r->has_current && kek_equal(&r->current, kek)) ||
               (r->has_staged && kek_equal(&r->staged, kek));
}

/* By one version of the record, which must be allowed as any KEK, and vouch for the record. */
static int open_by(struct search *s, const struct kek_record *record, size_t index,
                   const struct kek *by) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct archive_key wrapping = { by, NULL };
        int r = context_kek_by_tpm(s->c, s->subject, by, &wrapping.key, s->why, s->err);

        if (r == OUTCOME_REFUSED)
                r = others_key(s->c, s->subject, by, &wrapping.key, s->why, s->err);
        if (r != OUTCOME_DONE)
                return r;
        r = archive_check(record, &wrapping, s->err);
        if (r < 0)
                return r;
        if (r != ARCHIVE_GOOD)
                return refusal_set(s->why, REFUSAL_ARCHIVE,
                                   "the archive of KEK %s is damaged: it isn't what this machine "
                                   "wrote",
                                   record->name);
        r = archive_open(record, index, &wrapping, &key, s->err);
        if (r < 0)
                return r;
        if (r != ARCHIVE_GOOD)
                return refusal_set(s->why, REFUSAL_ARCHIVE,
                                   "the archive of KEK %s is damaged: v%u doesn't open v%u",
                                   record->name, by->version, s->kek->version);
        r = context_keep(s->c, s->kek, key, s->err);
        *s->ret = TAKE(key); /* the context's, or gone with it */
        if (r < 0) {
                *s->ret = NULL;
                return r;
        }
        s->c->opened[s->c->open - 1].archived = true;
        return OUTCOME_DONE;
}

/* The staged version first: where it wraps, it was proven; and the current one may be dead by now.
 */
static int open_in(struct search *s, const struct kek_record *record, size_t index) {
        const struct kek *by[] = { record->has_staged ? &record->staged : NULL,
                                   record->has_current ? &record->current : NULL };
        int r = OUTCOME_REFUSED;

        for (size_t i = 0; r == OUTCOME_REFUSED && i < ARRAY_SIZE(by); i++)
                if (by[i] && archive_wrapped_by(&record->retired[index], by[i]->version))
                        r = open_by(s, record, index, by[i]);
        if (r == OUTCOME_REFUSED && s->why->kind == REFUSAL_NONE)
                return refusal_set(s->why, REFUSAL_ARCHIVE,
                                   "no version of KEK %s that is known here opens v%u any more: "
                                   "the archive was made with another TPM",
                                   record->name, s->kek->version);
        return r;
}

int archive_key_retired(struct context *c, const char *subject, const struct kek *kek,
                        struct secret **ret, struct refusal *why, struct error *err) {
        struct search s = { c, subject, kek, ret, why, err };
        _cleanup_(freep) struct kek_record *record = NULL;
        size_t index;
        int r;

        *why = (struct refusal){ 0 };
        r = context_record(c, kek->name, &record, err);
        if (r == -EBADMSG) {
                *err = (struct error){ 0 };
                return OUTCOME_REFUSED;
        }
        if (r < 0)
                return r;
        if (in_use(record, kek) || (r = archive_find(record, kek, &index, err)) == 0)
                return OUTCOME_REFUSED;
        return r < 0 ? r : open_in(&s, record, index);
}

/* In the mirror's record, where that's newer than what's here. @damage: of the one here. */
static int by_mirror(struct search *s, const struct kek_record *here, const struct error *damage) {
        _cleanup_(freep) struct kek_record *mirror = NULL;
        bool missing = !damage->errnum && !here->has_current;
        struct error fault = { 0 };
        size_t index;
        int r = context_mirror(s->c, s->kek->name, &mirror, &fault);

        if (r == -ENOENT)
                return OUTCOME_REFUSED;
        if (r < 0)
                return refusal_set(s->why, REFUSAL_ARCHIVE,
                                   "the archive's mirror can't be used: %s", fault.text);
        if (!damage->errnum && !missing && mirror->generation <= here->generation &&
            archive_newest(mirror) <= archive_newest(here))
                return OUTCOME_REFUSED;
        r = archive_find(mirror, s->kek, &index, s->err);
        if (r == 0)
                return refusal_set(s->why, REFUSAL_ARCHIVE,
                                   "v%u isn't in the archive, nor in its mirror: it was "
                                   "forgotten, or wasn't retained",
                                   s->kek->version);
        if (r > 0)
                r = open_in(s, mirror, index);
        if (r == OUTCOME_DONE)
                archive_adopt(s->c, mirror,
                              damage->errnum ? "damaged"
                              : missing      ? ARCHIVE_MISSING
                                             : ARCHIVE_OLDER);
        return r;
}

/* Where the record has it in use: a rotation was cut off after the counter, and before its end. */
static int in_record(struct search *s, const struct kek_record *record) {
        size_t index;
        int r = archive_find(record, s->kek, &index, s->err);

        if (r > 0)
                return open_in(s, record, index);
        if (r == 0 && record->has_current && record->current.version > s->kek->version)
                return refusal_set(s->why, REFUSAL_ARCHIVE,
                                   "v%u isn't in the archive: it was forgotten, or wasn't retained",
                                   s->kek->version);
        if (r == 0 && !record->has_current)
                return refusal_set(s->why, REFUSAL_ARCHIVE,
                                   "this machine has no record of KEK %s, and so no archive",
                                   s->kek->name);
        return r < 0 ? r : OUTCOME_REFUSED;
}

int archive_key_fallback(struct context *c, const char *subject, const struct kek *kek,
                         struct secret **ret, struct refusal *why, struct error *err) {
        struct search s = { c, subject, kek, ret, why, err };
        _cleanup_(freep) struct kek_record *record = NULL;
        struct error damage = { 0 };
        struct refusal here = *why;
        int r = context_record(c, kek->name, &record, &damage);

        if (r == -EBADMSG)
                refusal_set(&here, REFUSAL_ARCHIVE, "the archive is damaged: %s", damage.text);
        else if (r < 0) {
                *err = damage;
                return r;
        } else if (!here.kind) {
                r = in_record(&s, record);
                if (r != OUTCOME_REFUSED)
                        return r;
                here = *why;
        }
        *why = (struct refusal){ 0 };
        r = by_mirror(&s, record, &damage);
        if (r == OUTCOME_REFUSED && !why->kind)
                *why = here;
        return r;
}
