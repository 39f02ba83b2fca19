/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "agent/audit.h"
#include "agent/mirror.h"
#include "agent/others.h"
#include "agent/state.h"
#include "base/file.h"
#include "keys/others.h"
#include "keys/wraps.h"

static struct archive_key opened(const struct context *c, unsigned i) {
        return (struct archive_key){ &c->opened[i].kek, c->opened[i].key };
}

static bool in_use(const struct kek_record *r, const struct kek *kek) {
        return (r->has_current && kek_equal(&r->current, kek)) ||
               (r->has_staged && kek_equal(&r->staged, kek));
}

/* --- who vouches --- */

/* By what the TPM gave in this run: a key from an archive says nothing about archives. Return: an
 * archive_verdict; or a fault. */
static int vouched(const struct context *c, const struct kek_record *record, struct error *err) {
        int verdict = ARCHIVE_UNSIGNED;

        for (unsigned i = 0; i < c->open; i++) {
                struct archive_key by = opened(c, i);
                int r;

                if (c->opened[i].archived || strcmp(by.kek->name, record->name) != 0)
                        continue;
                r = archive_check(record, &by, err);
                if (r < 0 || r == ARCHIVE_GOOD)
                        return r;
                if (r == ARCHIVE_DAMAGED)
                        verdict = r;
        }
        return verdict;
}

static int refuse(struct refusal *why, const char *kek, int verdict) {
        return refusal_set(why, REFUSAL_ARCHIVE, "the archive of KEK %s is %s", kek,
                           verdict == ARCHIVE_DAMAGED
                                   ? "damaged: it isn't what this machine wrote"
                                   : "damaged or rolled back: no version that opens here vouches "
                                     "for it");
}

int archive_prove(struct context *c, const struct kek_record *record, struct refusal *why,
                  struct error *err) {
        const struct kek *tried[] = { record->has_staged ? &record->staged : NULL,
                                      record->has_current ? &record->current : NULL };
        struct secret *key;
        int verdict = vouched(c, record, err);

        for (size_t i = 0; verdict == ARCHIVE_UNSIGNED && i < ARRAY_SIZE(tried); i++) {
                struct refusal refused = { 0 };
                int r;

                if (!tried[i])
                        continue;
                r = context_kek_by_tpm(c, record->name, tried[i], &key, &refused, err);
                if (r < 0)
                        return r;
                if (r == OUTCOME_DONE)
                        verdict = vouched(c, record, err);
        }
        if (verdict == ARCHIVE_GOOD || verdict < 0)
                return verdict;
        return refuse(why, record->name, verdict);
}

/* Return: OUTCOME_DONE, with the mirror's record; OUTCOME_REFUSED where there's none that's newer
 * than @than and proven; or a fault. */
static int newer_mirror(struct context *c, const char *kek, uint64_t than, struct kek_record *ret,
                        struct error *err) {
        _cleanup_(freep) struct kek_record *mirror = calloc(1, sizeof(*mirror));
        struct refusal ignored = { 0 };
        struct error fault = { 0 };
        int r;

        if (!mirror)
                return error_nomem(err);
        if (mirror_read(c, kek, mirror, &fault) < 0 || mirror->generation <= than)
                return OUTCOME_REFUSED;
        r = archive_prove(c, mirror, &ignored, err);
        if (r == OUTCOME_DONE)
                *ret = *mirror;
        return r;
}

int archive_vouch(struct context *c, struct kek_record *record, struct refusal *why,
                  struct error *err) {
        struct refusal refused = { 0 };
        int r = OUTCOME_DONE, m;

        if (!archive_is_plain(record))
                r = archive_prove(c, record, &refused, err);
        if (r < 0)
                return r;
        m = newer_mirror(c, record->name, r == OUTCOME_DONE ? record->generation : 0, record, err);
        if (m != OUTCOME_REFUSED)
                return m;
        if (r == OUTCOME_REFUSED)
                *why = refused;
        return r;
}

/* --- writing --- */

static int read_back(const char *folder, const char *name, const char *text, struct error *err) {
        _cleanup_(freep) char *there = NULL;
        char path[PATH_MAX];
        size_t size;
        int r;

        (void) snprintf(path, sizeof(path), "%s/%s.json", folder, name);
        r = file_read(path, RECORD_MAX, &there, &size, err);
        if (r == 0 && (size != strlen(text) || memcmp(there, text, size) != 0))
                r = error_set(err, -EIO, "%s: reads back as something else than was written", path);
        return r;
}

static int sign(const struct context *c, struct kek_record *record, struct error *err) {
        if (record->generation >= INT64_MAX - 1)
                return error_set(err, -EOVERFLOW, "KEK %s: its record has no generations left",
                                 record->name);
        record->generation++;
        archive_unsign(record);
        for (unsigned i = 0; i < c->open; i++) {
                struct archive_key by = opened(c, i);
                int r;

                if (c->opened[i].archived || !in_use(record, by.kek))
                        continue;
                r = archive_sign(record, &by, err);
                if (r < 0)
                        return r;
        }
        if (record->macs == 0)
                return error_set(err, -ENOKEY,
                                 "KEK %s: no version is open that could vouch for "
                                 "its record",
                                 record->name);
        return 0;
}

/* The mirror first: what was forgotten is to be forgotten there, whatever happens next. @ret_text:
 * what stands in both, or NULL. */
static int write_both(struct context *c, struct kek_record *record, char **ret_text,
                      struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char folder[300];
        int r, wanted;

        context_store(c, folder);
        context_forget_records(c);
        if ((r = sign(c, record, err)) < 0 || (r = store_text(folder, record, &text, err)) < 0)
                return r;
        if ((wanted = mirror_wanted(c, record->name, err)) < 0)
                return wanted;
        if (wanted && (r = mirror_write(c, record->name, text, err)) < 0)
                return error_prefix(err, "mirror of the archive");
        if ((r = store_write_text(folder, record->name, text, err)) < 0 ||
            (r = read_back(folder, record->name, text, err)) < 0)
                return r;
        if (ret_text)
                *ret_text = TAKE(text);
        return 0;
}

static int open_others(const struct kek_record *record, const struct archive_key *by,
                       struct error *err) {
        for (size_t i = 0; i < record->others_count; i++) {
                _cleanup_(secret_freep) struct secret *key = NULL;
                const struct other_kek *o = &record->other[i];
                int r;

                if (!wraps_by(o->wrap, o->wraps, by->kek->version))
                        continue;
                r = others_open(record, i, by, &key, err);
                if (r < 0)
                        return r;
                if (r != ARCHIVE_GOOD)
                        return error_set(err, -EIO,
                                         "KEK %s: v%u doesn't open KEK %s v%u as written",
                                         record->name, by->kek->version, o->name, o->version);
        }
        return 0;
}

/* What was written, and read back as that: the version opens every entry that it wraps. */
static int open_all(const char *text, const char *name, const struct archive_key *by,
                    struct error *err) {
        _cleanup_(freep) struct kek_record *record = calloc(1, sizeof(*record));
        int r;

        if (!record)
                return error_nomem(err);
        if ((r = record_parse(text, strlen(text), name, record, err)) < 0 ||
            (r = archive_check(record, by, err)) < 0)
                return r;
        if (r != ARCHIVE_GOOD)
                return error_set(err, -EIO, "KEK %s: v%u doesn't vouch for what was written", name,
                                 by->kek->version);
        for (size_t i = 0; i < record->retired_count; i++) {
                _cleanup_(secret_freep) struct secret *key = NULL;

                if (!archive_wrapped_by(&record->retired[i], by->kek->version))
                        continue;
                r = archive_open(record, i, by, &key, err);
                if (r < 0)
                        return r;
                if (r != ARCHIVE_GOOD)
                        return error_set(err, -EIO, "KEK %s: v%u doesn't open v%u as written", name,
                                         by->kek->version, record->retired[i].version);
        }
        return open_others(record, by, err);
}

int archive_write(struct context *c, struct kek_record *record, const struct archive_key *by,
                  struct error *err) {
        _cleanup_(freep) char *text = NULL;
        int r = write_both(c, record, &text, err);

        if (r == 0)
                r = open_all(text, record->name, by, err);
        return r < 0 ? r : OUTCOME_DONE;
}

/* As far as it's the record of another KEK than the OS disk's. */
static int write_other(struct context *c, struct kek_record *record, const struct archive_key *by,
                       struct error *err) {
        int r = by ? archive_write(c, record, by, err) : write_both(c, record, NULL, err);

        return r < 0 ? r : others_refresh_one(c, record, err);
}

/* --- what changes a record --- */

/* Keeps the file as it is, beside it. */
static int keep_file(struct context *c, const struct kek_record *record, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char folder[300], from[PATH_MAX], to[PATH_MAX];
        size_t size;
        int r;

        context_store(c, folder);
        (void) snprintf(from, sizeof(from), "%s/%s.json", folder, record->name);
        (void) snprintf(to, sizeof(to), "%s/%s.json.v%u", folder, record->name,
                        record->current.version);
        r = file_read(from, RECORD_MAX, &text, &size, err);
        return r < 0 ? r : file_write(to, text, size, 0600, err);
}

int archive_begin(struct context *c, struct kek_record *record, const struct archive_key *first,
                  struct refusal *why, struct error *err) {
        char when[TIME_TEXT];
        int r = OUTCOME_DONE;

        (void) why;
        time_text(when);
        if (record->has_current && !kek_equal(&record->current, first->kek)) {
                r = keep_file(c, record, err);
                if (r == 0)
                        r = archive_add_lost(record, &record->current, when, err);
                if (r == ARCHIVE_FULL)
                        r = error_set(err, -ENOSPC, "the archive of KEK %s is full", record->name);
                if (r < 0)
                        return r;
                record->others_count = 0; /* what opened them is gone */
        }
        record->has_current = true;
        record->current = *first->kek;
        record->has_staged = false;
        (void) snprintf(record->current_created, TIME_TEXT, "%s", when);
        r = write_both(c, record, NULL, err);
        return r < 0 ? r : others_refresh(c, record, err);
}

/* A number and a value of the counter that no later version may have, too. */
static void give_up_staged(struct kek_record *record) {
        const struct step *s = record->has_staged ? kek_counter(&record->staged) : NULL;

        if (record->has_staged && record->staged.version > record->given_up)
                record->given_up = record->staged.version;
        if (s && s->nv.le > record->given_up_le)
                record->given_up_le = s->nv.le;
        record->has_staged = record->staged_slot = false;
}

/* What there is of other KEKs is wrapped by @new, too, as far as the current version opens: before
 * a boot has @new alone. A wrap of that number may be by another object, which a cut left. */
static int rewrap_others(struct context *c, struct kek_record *record,
                         const struct archive_key *new, struct error *err) {
        struct archive_key old = { &record->current, NULL };
        struct refusal ignored = { 0 };
        bool behind = false;
        int r;

        for (size_t i = 0; i < record->others_count && !behind; i++) {
                _cleanup_(secret_freep) struct secret *key = NULL;

                r = others_open(record, i, new, &key, err);
                if (r < 0)
                        return r;
                behind = r != ARCHIVE_GOOD;
        }
        if (!behind || !record->has_current)
                return 0;
        r = context_kek_own(c, record->name, old.kek, &old.key, &ignored, err);
        if (r == OUTCOME_DONE)
                r = others_rewrap(record, &old, new, err);
        return r < 0 ? r : 0;
}

int archive_stage(struct context *c, struct kek_record *record, const struct archive_staging *what,
                  struct refusal *why, struct error *err) {
        int r = archive_vouch(c, record, why, err);

        if (r != OUTCOME_DONE)
                return r;
        if ((r = rewrap_others(c, record, &what->new, err)) < 0)
                return r;
        give_up_staged(record);
        record->has_staged = true;
        record->staged_slot = what->slot;
        record->staged = *what->new.kek;
        time_text(record->staged_created);
        (void) snprintf(record->policy, sizeof(record->policy), "%s", what->policy);
        return write_other(c, record, record->others_count > 0 ? &what->new : NULL, err);
}

/* What was to be retired stays the current one. */
static int drop_current(struct kek_record *record, struct error *err) {
        size_t at;
        int r = archive_find(record, &record->current, &at, err);

        if (r > 0)
                archive_drop(record, at);
        return r < 0 ? r : 0;
}

int archive_unstage(struct context *c, struct kek_record *record, struct refusal *why,
                    struct error *err) {
        int r = archive_vouch(c, record, why, err);

        if (r != OUTCOME_DONE)
                return r;
        give_up_staged(record);
        if (record->has_current) {
                archive_keep_only(record, record->current.version);
                r = drop_current(record, err);
        }
        return r < 0 ? r : write_other(c, record, NULL, err);
}

/* Puts both versions where the record has them: what wraps an entry must be in the record. */
static void place_versions(struct kek_record *record, const struct archive_key *old,
                           const struct archive_key *new) {
        if (!record->has_current) {
                record->has_current = true;
                record->current = *old->kek;
                record->current_created[0] = '\0';
        }
        if (kek_equal(&record->current, new->kek) ||
            (record->has_staged && kek_equal(&record->staged, new->kek)))
                return;
        record->has_staged = true;
        record->staged = *new->kek;
        time_text(record->staged_created);
}

/* The version that wraps the archive so far, where that's another than the one that ends: a disk
 * may have had an older one. What it can't open any more stays as it is. */
static int add_current(struct context *c, struct kek_record *record, const struct archive_key *old,
                       const struct archive_key *new, const char *when, struct error *err) {
        struct archive_key current = { &record->current, NULL };
        struct refusal ignored = { 0 };
        int r;

        if (kek_equal(&record->current, old->kek) || kek_equal(&record->current, new->kek))
                return ARCHIVE_GOOD;
        r = context_kek_by_tpm(c, record->name, &record->current, &current.key, &ignored, err);
        if (r == OUTCOME_REFUSED)
                return ARCHIVE_GOOD;
        return r < 0 ? r : archive_add(record, &current, new, when, err);
}

int archive_retire(struct context *c, struct kek_record *record, const struct archive_key *old,
                   const struct archive_key *new, struct refusal *why, struct error *err) {
        char when[TIME_TEXT];
        int r = archive_vouch(c, record, why, err);

        if (r != OUTCOME_DONE)
                return r;
        time_text(when);
        place_versions(record, old, new);
        r = add_current(c, record, old, new, when, err);
        if (r == ARCHIVE_GOOD)
                r = archive_add(record, old, new, when, err);
        if (r == ARCHIVE_FULL)
                return error_set(err, -ENOSPC, "the archive of KEK %s is full: %d retired versions",
                                 record->name, RETIRED_MAX);
        return r < 0 ? r : write_other(c, record, new, err);
}

/* What disks were last seen with: one that is away opens by the archive when it's back. */
static int prune(struct context *c, struct kek_record *record, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        _cleanup_(freep) uint32_t *needed = NULL;
        struct archive_retention keep = c->retain;
        int r = state_read(c->state_dir, &s, err);

        if (r < 0)
                return r;
        needed = calloc(s.count + 1, sizeof(*needed));
        if (!needed)
                return error_nomem(err);
        for (size_t i = 0; i < s.count; i++)
                if (strcmp(s.disks[i].kek, record->name) == 0)
                        needed[keep.needed_count++] = s.disks[i].version;
        keep.needed = needed;
        (void) archive_prune(record, &keep, (int64_t) time(NULL));
        return 0;
}

int archive_settle(struct context *c, struct kek_record *record, const struct archive_key *new,
                   struct refusal *why, struct error *err) {
        int r = archive_vouch(c, record, why, err);

        if (r != OUTCOME_DONE)
                return r;
        if (!record->has_current || !kek_equal(&record->current, new->kek)) {
                if ((r = rewrap_others(c, record, new, err)) < 0)
                        return r;
                if (record->has_staged && kek_equal(&record->staged, new->kek))
                        (void) snprintf(record->current_created, TIME_TEXT, "%s",
                                        record->staged_created);
                else
                        time_text(record->current_created);
                record->current = *new->kek;
                record->has_current = true;
        }
        if (record->has_staged && kek_equal(&record->staged, new->kek))
                record->has_staged = record->staged_slot = false;
        archive_keep_only(record, new->kek->version);
        r = prune(c, record, err);
        if (r == 0)
                r = archive_write(c, record, new, err);
        return r < 0 ? r : others_refresh(c, record, err);
}

/* What vouched for the record must vouch for what is left: the boot that proves a staged version
 * has that one alone. */
static int open_staged(struct context *c, const struct kek_record *record, struct refusal *why,
                       struct error *err) {
        struct secret *key = NULL;
        int r;

        if (!record->has_staged || !archive_signed_by(record, record->staged.version))
                return OUTCOME_DONE;
        r = context_kek_by_tpm(c, record->name, &record->staged, &key, why, err);
        if (r == OUTCOME_REFUSED)
                refusal_detail(why,
                               "its v%u is staged, and must vouch for what is left: forget "
                               "after the boot that proves it",
                               record->staged.version);
        return r;
}

int archive_forget(struct context *c, struct kek_record *record,
                   const struct archive_versions *versions, size_t *ret, struct refusal *why,
                   struct error *err) {
        size_t dropped = 0;
        int r = archive_vouch(c, record, why, err);

        if (r == OUTCOME_DONE)
                r = open_staged(c, record, why, err);
        if (r != OUTCOME_DONE)
                return r;
        for (size_t i = record->retired_count; i-- > 0;)
                for (size_t k = 0; k < versions->count; k++)
                        if (versions->version[k] == record->retired[i].version) {
                                archive_drop(record, i);
                                dropped++;
                                break;
                        }
        r = write_both(c, record, NULL, err);
        if (r < 0)
                return r;
        *ret = dropped;
        return OUTCOME_DONE;
}

/* --- the mirror's record --- */

/* Whoever changes records now is left alone: that run knows more. A shared lock becomes a full one,
 * for the rest of this run. Return: false where there's one. */
static bool lock_if_free(struct context *c) {
        struct error ignored = { 0 };
        char path[300];
        int fd;

        if (c->lock_fd >= 0) {
                if (flock(c->lock_fd, LOCK_EX | LOCK_NB) == 0)
                        return true;
                (void) flock(c->lock_fd, LOCK_SH); /* the try may have cost it */
                return false;
        }
        if (file_mkdir(c->state_dir, 0700, &ignored) < 0)
                return false;
        (void) snprintf(path, sizeof(path), "%s/lock", c->state_dir);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
                c->lock_fd = fd;
        else if (fd >= 0)
                (void) close(fd);
        return c->lock_fd >= 0;
}

/* Announced before it's done. What's damaged is kept beside it. */
static int put_back(struct context *c, const struct kek_record *mirror, const char *folder,
                    const char *was, struct error *err) {
        const struct audit_event e = { .event = "kek-put-back",
                                       .subject = mirror->name,
                                       .result = "begin",
                                       .fact = { { "was", was, 0 },
                                                 { "generation", NULL, mirror->generation } } };
        _cleanup_(freep) char *text = NULL;
        char path[400], aside[420];
        int r = audit(c, &e, err);

        if (r < 0)
                return r;
        (void) snprintf(path, sizeof(path), "%s/%s.json", folder, mirror->name);
        (void) snprintf(aside, sizeof(aside), "%s.damaged", path);
        r = store_text(folder, mirror, &text, err);
        if (r == -EBADMSG) {
                *err = (struct error){ 0 };
                (void) rename(path, aside);
                r = store_text(folder, mirror, &text, err);
        }
        if (r == 0)
                r = store_write_text(folder, mirror->name, text, err);
        return audit_result(c, e, r, err);
}

void archive_adopt(struct context *c, const struct kek_record *mirror, const char *what) {
        bool had_lock = c->lock_fd >= 0, done = false;
        char folder[300], from[MIRROR_PATH] = "";
        struct error fault = { 0 };

        context_store(c, folder);
        (void) mirror_folder(c, from);
        if (!c->dry_run && lock_if_free(c)) {
                done = put_back(c, mirror, folder, what, &fault) == 0;
                context_forget_records(c);
                if (!had_lock)
                        close_fdp(&c->lock_fd);
        }
        (void) snprintf(c->note, sizeof(c->note),
                        "the record of KEK %s in %.80s is %s; %s from its mirror in %.80s "
                        "(generation %llu)",
                        mirror->name, folder, what, done ? "it was put back" : "this run works",
                        from, (unsigned long long) mirror->generation);
}

int archive_record_newest(struct context *c, const char *name, struct kek_record **ret,
                          struct refusal *why, struct error *err) {
        _cleanup_(freep) struct kek_record *mirror = calloc(1, sizeof(*mirror));
        int r = mirror ? archive_record(c, name, ret, why, err) : error_nomem(err);

        if (r != OUTCOME_DONE)
                return r;
        r = newer_mirror(c, name, (*ret)->generation, mirror, err);
        if (r == OUTCOME_REFUSED)
                return OUTCOME_DONE;
        if (r < 0)
                return r;
        archive_adopt(c, mirror, (*ret)->has_current ? ARCHIVE_OLDER : ARCHIVE_MISSING);
        free(*ret);
        *ret = TAKE(mirror);
        return OUTCOME_DONE;
}

int archive_record(struct context *c, const char *name, struct kek_record **ret,
                   struct refusal *why, struct error *err) {
        _cleanup_(freep) struct kek_record *mirror = NULL;
        struct error damage = { 0 };
        int r = context_record(c, name, ret, &damage);

        if (r != -EBADMSG) {
                if (r < 0)
                        *err = damage;
                return r;
        }
        mirror = calloc(1, sizeof(*mirror));
        if (!mirror)
                return error_nomem(err);
        r = newer_mirror(c, name, 0, mirror, err);
        if (r == OUTCOME_REFUSED) {
                refusal_set(why, REFUSAL_ARCHIVE, "the record of KEK %s is damaged", name);
                refusal_detail(why, "%s", damage.text);
        }
        if (r != OUTCOME_DONE)
                return r;
        archive_adopt(c, mirror, "damaged");
        *ret = TAKE(mirror);
        return OUTCOME_DONE;
}
