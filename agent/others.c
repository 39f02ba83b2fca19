/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/others.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/state.h"
#include "keys/others.h"
#include "keys/token.h"
#include "keys/wraps.h"
#include "tpm/nv.h"

int others_os_kek(const struct context *c, char ret[NAME_MAX_SIZE], struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        const char *name = NULL;
        int r = state_read(c->state_dir, &s, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < s.count; i++) {
                if (strcmp(s.disks[i].role, ROLE_OS) != 0 || !name_valid(s.disks[i].kek))
                        continue;
                if (name && strcmp(name, s.disks[i].kek) != 0)
                        return 0;
                name = s.disks[i].kek;
        }
        if (!name)
                return 0;
        (void) snprintf(ret, NAME_MAX_SIZE, "%s", name);
        return 1;
}

/* --- what is to be there --- */

/* Versions of one KEK. */
struct wanted {
        unsigned count;
        const struct kek *kek[2]; /* the current one first */
};

/* The current version; and the staged one from when it wraps the archive, which is before the
 * current one ends. */
static int find_wanted(const struct kek_record *record, struct wanted *ret, struct error *err) {
        const struct kek *staged = &record->staged;
        size_t at;
        int r;

        *ret = (struct wanted){ 0 };
        if (!record->has_current)
                return 0;
        if (record->current.factor.kind == FACTOR_NONE)
                ret->kek[ret->count++] = &record->current;
        if (!record->has_staged || staged->factor.kind != FACTOR_NONE)
                return 0;
        r = archive_find(record, &record->current, &at, err);
        if (r > 0 && archive_wrapped_by(&record->retired[at], staged->version))
                ret->kek[ret->count++] = staged;
        return r < 0 ? r : 0;
}

static bool is_wanted(const struct wanted *w, const struct other_kek *entry) {
        struct error ignored = { 0 };
        uint8_t object[SHA256_SIZE];

        for (unsigned i = 0; i < w->count; i++)
                if (w->kek[i]->version == entry->version &&
                    archive_object(w->kek[i], object, &ignored) == 0 &&
                    memcmp(object, entry->object, sizeof(object)) == 0)
                        return true;
        return false;
}

/* Return: 1 where the OS disk's record has to be changed for this KEK; 0; or a fault. */
static int is_behind(const struct kek_record *os, const struct kek_record *record,
                     struct error *err) {
        struct wanted w;
        int r = find_wanted(record, &w, err);

        for (unsigned i = 0; r == 0 && i < w.count; i++) {
                r = others_has(os, w.kek[i], os->current.version, err);
                if (r <= 0)
                        return r < 0 ? r : 1;
                r = 0;
        }
        for (size_t i = 0; r == 0 && i < os->others_count; i++)
                if (strcmp(os->other[i].name, record->name) == 0 && !is_wanted(&w, &os->other[i]))
                        return 1;
        return r;
}

/* --- keeping it so --- */

struct refresh {
        struct context *c;
        struct kek_record *os;
        /* The OS disk's KEK, once it's open: its current version; and the staged one, where that
         * vouches for the record, too. */
        unsigned open;
        struct archive_key by[2];
        bool changed;
        struct error *err;
};

/* From this run; else the current version from what was handed over or the TPM, in a context of its
 * own, since one holds only so many. Return: 1, with @one filled in; 0 where it isn't at hand; or a
 * fault. */
static int at_hand(struct refresh *f, const struct kek *kek, bool ask, struct context *one,
                   struct secret **ret) {
        struct refusal ignored = { 0 };
        struct error fault = { 0 };
        int r;

        for (unsigned i = 0; i < f->c->open; i++)
                if (!f->c->opened[i].archived && kek_equal(&f->c->opened[i].kek, kek)) {
                        *ret = f->c->opened[i].key;
                        return 1;
                }
        if (!ask)
                return 0;
        *one = context_like(f->c);
        one->policy = NULL;
        r = context_kek_by_tpm(one, kek->name, kek, ret, &ignored, &fault);
        context_release_tpm(one);
        if (r == -ENOMEM)
                *f->err = fault;
        return r == OUTCOME_DONE ? 1 : r == -ENOMEM ? r : 0;
}

static int put(struct refresh *f, const struct kek *kek, bool ask) {
        _cleanup_(context_done) struct context one = CONTEXT_INIT;
        struct archive_key other = { kek, NULL };
        int r = others_has(f->os, kek, f->os->current.version, f->err);

        if (r != 0)
                return r < 0 ? r : 0;
        if ((r = at_hand(f, kek, ask, &one, &other.key)) <= 0)
                return r;
        for (unsigned i = 0; i < f->open; i++) {
                r = others_put(f->os, &other, &f->by[i], f->err);
                if (r < 0)
                        return r;
                f->changed |= r == ARCHIVE_GOOD;
        }
        return 0;
}

static int refresh_of(struct refresh *f, const struct kek_record *record) {
        struct wanted w;
        int r = find_wanted(record, &w, f->err);

        if (r < 0)
                return r;
        for (size_t i = f->os->others_count; i-- > 0;)
                if (strcmp(f->os->other[i].name, record->name) == 0 &&
                    !is_wanted(&w, &f->os->other[i])) {
                        others_drop(f->os, i);
                        f->changed = true;
                }
        for (unsigned i = 0; r == 0 && i < w.count; i++)
                r = put(f, w.kek[i], w.kek[i] == &record->current);
        return r;
}

/* What is written anew is vouched for by what is open: all that did before must be, or a boot that
 * has the other version alone would have a record that nobody vouches for. */
static int open_versions(struct refresh *f) {
        const struct kek_record *os = f->os;
        const struct kek *kek[] = { &os->current,
                                    os->has_staged && archive_signed_by(os, os->staged.version)
                                            ? &os->staged
                                            : NULL };
        struct refusal ignored = { 0 };
        int r = archive_vouch(f->c, f->os, &ignored, f->err);

        for (size_t i = 0; r == OUTCOME_DONE && i < ARRAY_SIZE(kek) && kek[i]; i++) {
                f->by[i].kek = kek[i];
                r = context_kek_by_tpm(f->c, os->name, kek[i], &f->by[i].key, &ignored, f->err);
                f->open = (unsigned) i + 1;
        }
        return r == OUTCOME_DONE ? 1 : r == OUTCOME_REFUSED ? 0 : r;
}

/* Without asking anybody. Return: 1; 0 where it isn't at hand, or nobody vouches for its record; or
 * a fault. */
static int open_os(struct refresh *f) {
        bool unattended = f->c->unattended;
        int r;

        context_release_tpm(f->c);
        f->c->unattended = true;
        r = open_versions(f);
        context_release_tpm(f->c);
        f->c->unattended = unattended;
        return r;
}

/* Calls @each with the record of every KEK but the OS disk's; what's damaged is left out. @each
 * returns 0 to go on. */
static int each_other(struct refresh *f, int (*each)(struct refresh *, const struct kek_record *)) {
        char folder[300], **names = NULL;
        size_t count = 0;
        int r;

        context_store(f->c, folder);
        r = store_names(folder, &names, &count, f->err);
        for (size_t i = 0; r == 0 && i < count; i++) {
                _cleanup_(freep) struct kek_record *record = NULL;

                if (strcmp(names[i], f->os->name) == 0)
                        continue;
                r = context_record(f->c, names[i], &record, f->err);
                if (r == -EBADMSG) {
                        *f->err = (struct error){ 0 };
                        r = 0;
                } else if (r == 0)
                        r = each(f, record);
        }
        store_names_free(names, count);
        return r;
}

static int check_one(struct refresh *f, const struct kek_record *record) {
        return is_behind(f->os, record, f->err);
}

/* Of a KEK that isn't recorded here, and that no disk has. */
static int drop_orphans(struct refresh *f) {
        _cleanup_(state_done) struct state s = { 0 };
        int r = state_read(f->c->state_dir, &s, f->err);

        for (size_t i = f->os->others_count; r == 0 && i-- > 0;) {
                _cleanup_(freep) struct kek_record *record = NULL;
                struct error ignored = { 0 };
                bool known = context_record(f->c, f->os->other[i].name, &record, &ignored) < 0 ||
                             record->has_current;

                for (size_t d = 0; d < s.count; d++)
                        known |= strcmp(s.disks[d].kek, f->os->other[i].name) == 0;
                if (!known) {
                        others_drop(f->os, i);
                        f->changed = true;
                }
        }
        return r;
}

/* @only: NULL for all. */
static int refresh(struct refresh *f, const struct kek_record *only) {
        int r;

        if (!f->os->has_current)
                return OUTCOME_DONE;
        r = only ? is_behind(f->os, only, f->err) : each_other(f, check_one);
        if (r <= 0 || (r = open_os(f)) <= 0)
                return r < 0 ? r : OUTCOME_DONE;
        if (only)
                r = refresh_of(f, only);
        else if ((r = each_other(f, refresh_of)) == 0)
                r = drop_orphans(f);
        if (r < 0 || !f->changed)
                return r < 0 ? r : OUTCOME_DONE;
        r = archive_write(f->c, f->os, &f->by[0], f->err);
        return r < 0 ? error_prefix(f->err, "the record of the OS disk's KEK") : r;
}

/* @changed: NULL for all. */
static int refresh_from_file(struct context *c, const char *os, const struct kek_record *changed,
                             struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        struct refresh f = { .c = c, .err = err };
        int r = context_record(c, os, &record, err);

        if (r == -EBADMSG) { /* said by status */
                *err = (struct error){ 0 };
                return OUTCOME_DONE;
        }
        if (r < 0)
                return r;
        f.os = record;
        return refresh(&f, changed);
}

int others_refresh(struct context *c, struct kek_record *changed, struct error *err) {
        struct refresh f = { .c = c, .os = changed, .err = err };
        char os[NAME_MAX_SIZE];
        int r = others_os_kek(c, os, err);

        if (r <= 0)
                return r < 0 ? r : OUTCOME_DONE;
        return strcmp(os, changed->name) == 0 ? refresh(&f, NULL)
                                              : refresh_from_file(c, os, changed, err);
}

int others_refresh_one(struct context *c, struct kek_record *changed, struct error *err) {
        char os[NAME_MAX_SIZE];
        int r = others_os_kek(c, os, err);

        if (r <= 0 || strcmp(os, changed->name) == 0)
                return r < 0 ? r : OUTCOME_DONE;
        return refresh_from_file(c, os, changed, err);
}

int others_refresh_all(struct context *c, struct error *err) {
        char os[NAME_MAX_SIZE];
        int r = others_os_kek(c, os, err);

        return r <= 0 ? (r < 0 ? r : OUTCOME_DONE) : refresh_from_file(c, os, NULL, err);
}

static bool has_any(const struct kek_record *os, const char *kek) {
        for (size_t i = 0; i < os->others_count; i++)
                if (strcmp(os->other[i].name, kek) == 0)
                        return true;
        return false;
}

int others_ready(struct context *c, const char *kek, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        struct refresh f = { .c = c, .err = err };
        char os[NAME_MAX_SIZE];
        int r = others_os_kek(c, os, err);

        if (r <= 0 || strcmp(os, kek) == 0)
                return r < 0 ? r : 1;
        r = context_record(c, os, &record, err);
        if (r == -EBADMSG) { /* nothing opens by that */
                *err = (struct error){ 0 };
                return 1;
        }
        if (r < 0 || !has_any(record, kek))
                return r < 0 ? r : 1;
        f.os = record;
        return open_os(&f);
}

/* --- forgetting --- */

static bool is_forgotten(const struct other_kek *entry, const struct kek_record *record,
                         const struct archive_versions *versions) {
        const struct wanted current = { record->has_current, { &record->current } };

        if (strcmp(entry->name, record->name) != 0 || is_wanted(&current, entry))
                return false;
        for (size_t i = 0; i < versions->count; i++)
                if (versions->version[i] == entry->version)
                        return true;
        return false;
}

static size_t drop_forgotten(struct kek_record *os, const struct kek_record *record,
                             const struct archive_versions *versions) {
        size_t before = os->others_count;

        for (size_t i = os->others_count; i-- > 0;)
                if (is_forgotten(&os->other[i], record, versions))
                        others_drop(os, i);
        return before - os->others_count;
}

int others_forget(struct context *c, const struct kek_record *record,
                  const struct archive_versions *versions, struct refusal *why, struct error *err) {
        _cleanup_(freep) struct kek_record *os = NULL;
        struct archive_key by = { 0 };
        char name[NAME_MAX_SIZE];
        bool any = false;
        int r = others_os_kek(c, name, err);

        if (r <= 0 || strcmp(name, record->name) == 0)
                return r < 0 ? r : OUTCOME_DONE;
        if ((r = archive_record(c, name, &os, why, err)) != OUTCOME_DONE)
                return r;
        for (size_t i = 0; i < os->others_count; i++)
                any |= is_forgotten(&os->other[i], record, versions);
        if (!any)
                return OUTCOME_DONE;
        if ((r = archive_vouch(c, os, why, err)) != OUTCOME_DONE ||
            (r = context_kek_by_tpm(c, name, &os->current, &by.key, why, err)) != OUTCOME_DONE) {
                if (r == OUTCOME_REFUSED)
                        refusal_detail(why, "it also has what was to be forgotten of KEK %s",
                                       record->name);
                return r;
        }
        context_release_tpm(c);
        by.kek = &os->current;
        (void) drop_forgotten(os, record, versions);
        return archive_write(c, os, &by, err);
}

/* --- using it --- */

/* One look for a key. What keeps it is a detail of what the TPM said. */
struct search {
        struct context *c;
        const char *subject;
        const struct kek *kek;
        struct kek_record *os;
        struct refusal *why;
        struct error *err;
};

static int keep_out(struct search *s, const struct refusal *because, const char *text) {
        refusal_detail(s->why, "%.60s%.130s", text, because->what);
        for (unsigned i = 0; i < because->details; i++)
                refusal_detail(s->why, "%s", because->detail[i]);
        return OUTCOME_REFUSED;
}

/* The record, as a version that's at hand vouches for it. */
static int vouch(struct search *s) {
        const struct kek *by[] = { s->os->has_staged ? &s->os->staged : NULL, &s->os->current };
        struct refusal away = { 0 }, why = { 0 };
        struct secret *ignored;
        int opened = OUTCOME_REFUSED, r;

        for (size_t i = 0; opened == OUTCOME_REFUSED && i < ARRAY_SIZE(by); i++)
                if (by[i])
                        opened = context_kek_by_tpm(s->c, s->os->name, by[i], &ignored, &away,
                                                    s->err);
        if (opened < 0)
                return opened;
        r = archive_vouch(s->c, s->os, &why, s->err);
        if (r != OUTCOME_REFUSED)
                return r;
        return opened == OUTCOME_REFUSED ? keep_out(s, &away, "the OS disk's KEK isn't at hand: ")
                                         : keep_out(s, &why, "");
}

/* After the initrd signed PCRs move on, and who has the OS disk's KEK met the policy in this boot.
 */
static bool same_signed_policy(const struct search *s) {
        struct policy one, other;

        return policy_of_steps(&s->kek->steps, &one) &&
               policy_of_steps(&s->os->current.steps, &other) && one.kind == POLICY_SIGNED &&
               policy_same(&one, &other);
}

/* Return: 1, and the index; 0, said; or a fault. */
static int find(struct search *s, size_t *ret) {
        uint32_t has = 0;
        int r = others_find(s->os, s->kek, ret, s->err);

        if (r != 0)
                return r;
        for (size_t i = 0; i < s->os->others_count; i++)
                if (strcmp(s->os->other[i].name, s->kek->name) == 0)
                        has = s->os->other[i].version;
        if (has)
                refusal_detail(s->why,
                               "the record of the OS disk's KEK %s has another version: v%u, not "
                               "v%u",
                               s->os->name, has, s->kek->version);
        else
                refusal_detail(s->why, "KEK %s isn't in the record of the OS disk's KEK %s",
                               s->kek->name, s->os->name);
        return 0;
}

/* By the version that's at hand; one that was staged meanwhile has the current one in its archive.
 */
static int open_entry(struct search *s, size_t index, struct secret **ret) {
        const struct other_kek *e = &s->os->other[index];
        const struct kek *by[] = { s->os->has_staged ? &s->os->staged : NULL, &s->os->current };
        struct refusal ignored = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(by); i++) {
                struct archive_key wrapping = { by[i], NULL };
                int r;

                if (!by[i] || !wraps_by(e->wrap, e->wraps, by[i]->version))
                        continue;
                r = context_kek_own(s->c, s->os->name, by[i], &wrapping.key, &ignored, s->err);
                if (r == OUTCOME_DONE)
                        r = others_open(s->os, index, &wrapping, ret, s->err);
                if (r < 0 || (r == ARCHIVE_GOOD && *ret))
                        return r;
        }
        refusal_detail(s->why, "KEK %s doesn't open what its record has of KEK %s v%u", s->os->name,
                       e->name, e->version);
        return OUTCOME_REFUSED;
}

/* The TPM unseals nothing now, and counts all the same. */
static int check_counter(struct search *s) {
        const struct step *step = kek_counter(s->kek);
        struct tpm_counter counter = { .srk = s->kek->sealed.srk };
        int r;

        if (!step)
                return OUTCOME_DONE;
        counter.index = step->nv.index;
        memcpy(counter.name, step->nv.name, sizeof(counter.name));
        if ((r = context_tpm(s->c, s->err)) < 0 ||
            (r = tpm_counter_read(s->c->tpm, &counter, s->err)) < 0)
                return r;
        if (r == TPM_COUNTER_GOOD && counter.value <= step->nv.le)
                return OUTCOME_DONE;
        if (r == TPM_COUNTER_GOOD)
                refusal_detail(s->why,
                               "KEK %s v%u was retired: its counter is at %llu, beyond %llu",
                               s->kek->name, s->kek->version, (unsigned long long) counter.value,
                               (unsigned long long) step->nv.le);
        else
                refusal_detail(s->why, "KEK %s v%u: its counter in the TPM is not as it was",
                               s->kek->name, s->kek->version);
        return OUTCOME_REFUSED;
}

static int by_record(struct search *s, struct secret **ret) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        size_t index;
        int r = vouch(s);

        if (r != OUTCOME_DONE)
                return r;
        if (s->why->kind == REFUSAL_UNSIGNED && !same_signed_policy(s))
                return OUTCOME_REFUSED;
        r = find(s, &index);
        if (r <= 0)
                return r < 0 ? r : OUTCOME_REFUSED;
        if ((r = open_entry(s, index, &key)) != OUTCOME_DONE ||
            (r = check_counter(s)) != OUTCOME_DONE)
                return r;
        *ret = key;
        r = context_keep(s->c, s->kek, TAKE(key), s->err);
        if (r < 0)
                *ret = NULL;
        return r < 0 ? r : OUTCOME_DONE;
}

/* Return: as others_key(); or another fault. */
static int search(struct search *s, const char *os, struct secret **ret) {
        _cleanup_(freep) struct kek_record *record = NULL;
        struct refusal damaged = { 0 };
        int r = archive_record(s->c, os, &record, &damaged, s->err);

        if (r == OUTCOME_REFUSED)
                return keep_out(s, &damaged, "");
        if (r < 0)
                return r;
        if (!record->has_current) {
                refusal_detail(s->why, "nothing is recorded here of the OS disk's KEK %s", os);
                return OUTCOME_REFUSED;
        }
        s->os = record;
        return by_record(s, ret);
}

int others_key(struct context *c, const char *subject, const struct kek *kek, struct secret **ret,
               struct refusal *why, struct error *err) {
        struct error fault = { 0 };
        struct search s = { .c = c, .subject = subject, .kek = kek, .why = why, .err = &fault };
        bool unattended = c->unattended;
        char os[NAME_MAX_SIZE];
        int r;

        if ((why->kind != REFUSAL_LATCHED && why->kind != REFUSAL_UNSIGNED) || c->tpm_only ||
            kek->factor.kind != FACTOR_NONE || others_os_kek(c, os, &fault) <= 0 ||
            strcmp(os, kek->name) == 0)
                return OUTCOME_REFUSED;
        c->unattended = true;
        r = search(&s, os, ret);
        c->unattended = unattended;
        if (r == OUTCOME_DONE)
                *why = (struct refusal){ 0 };
        if (r == -ENOMEM)
                *err = fault;
        if (r >= 0 || r == -ENOMEM)
                return r;
        refusal_detail(why, "nor does the OS disk's KEK %s open it: %.150s", os, fault.text);
        return OUTCOME_REFUSED;
}

/* --- how it stands --- */

int others_look(struct context *c, const char *os_kek, const struct kek_record *record,
                enum others_state *ret, struct error *err) {
        _cleanup_(freep) struct kek_record *os = NULL;
        bool is_os = strcmp(os_kek, record->name) == 0;
        int r;

        if (!os_kek[0] || is_os || record->current.factor.kind != FACTOR_NONE) {
                *ret = !os_kek[0] ? OTHERS_NO_OS : is_os ? OTHERS_IS_OS : OTHERS_FACTOR;
                return 0;
        }
        r = context_record(c, os_kek, &os, err);
        if (r == -EBADMSG) {
                *err = (struct error){ 0 };
                *ret = OTHERS_MISSING;
                return 0;
        }
        if (r < 0)
                return r;
        r = os->has_current ? others_has(os, &record->current, os->current.version, err) : 0;
        if (r >= 0)
                *ret = r > 0 ? OTHERS_THERE : OTHERS_MISSING;
        return r < 0 ? r : 0;
}
