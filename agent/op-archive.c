/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/op-archive.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive.h"
#include "agent/audit.h"
#include "agent/mirror.h"
#include "agent/others.h"
#include "base/cms.h"
#include "base/crypto.h"
#include "base/hex.h"

/* --- show --- */

const char *op_mirror_name(enum op_mirror m) {
        static const char *const names[] = {
                [OP_MIRROR_NONE] = "none",       [OP_MIRROR_NOT_NEEDED] = "not needed",
                [OP_MIRROR_MISSING] = "missing", [OP_MIRROR_SAME] = "same",
                [OP_MIRROR_OLDER] = "older",     [OP_MIRROR_NEWER] = "newer",
                [OP_MIRROR_DAMAGED] = "damaged",
        };

        return names[m];
}

/* How it stands to the record here. */
static enum op_mirror look_at_mirror(const struct context *c, const char *kek, uint64_t generation,
                                     uint64_t *ret_generation) {
        _cleanup_(freep) struct kek_record *mirror = calloc(1, sizeof(*mirror));
        struct error ignored = { 0 };
        char folder[MIRROR_PATH];
        int r;

        if (!mirror_folder(c, folder))
                return OP_MIRROR_NONE;
        if (mirror_wanted(c, kek, &ignored) <= 0)
                return OP_MIRROR_NOT_NEEDED;
        r = mirror ? mirror_read(c, kek, mirror, &ignored) : -ENOMEM;
        if (r == -ENOENT)
                return OP_MIRROR_MISSING;
        if (r < 0)
                return OP_MIRROR_DAMAGED;
        *ret_generation = mirror->generation;
        return mirror->generation < generation   ? OP_MIRROR_OLDER
               : mirror->generation > generation ? OP_MIRROR_NEWER
                                                 : OP_MIRROR_SAME;
}

/* The disks of a KEK, with the versions that they have. @ret: for free(). */
static int find_disks(const struct op_status *s, const char *kek, size_t *ret_count,
                      struct op_kek_disk **ret, struct error *err) {
        struct op_kek_disk *disk = calloc(s->disks + 1, sizeof(*disk));
        size_t n = 0;

        if (!disk)
                return error_nomem(err);
        for (size_t i = 0; i < s->disks; i++) {
                const struct op_status_disk *d = &s->disk[i];
                bool present = d->version > 0;

                if (strcmp(present ? d->kek : d->known.kek, kek) != 0)
                        continue;
                (void) snprintf(disk[n].name, sizeof(disk[n].name), "%s", d->known.name);
                disk[n].present = present;
                disk[n].version = present ? d->version : d->known.version;
                disk[n++].other_way = present ? op_has_other_way(d) : d->known.proven != 0;
        }
        *ret = disk;
        *ret_count = n;
        return 0;
}

static int unknown_kek(struct refusal *why, const char *kek) {
        return refusal_set(why, REFUSAL_NO_VERSION, "no KEK named %.40s is known here", kek);
}

void op_kek_show_done(struct op_kek_show *s) {
        free(s->record);
        free(s->disk);
        *s = (struct op_kek_show){ 0 };
}

int op_kek_show(struct context *c, const char *kek, struct op_kek_show *ret, struct refusal *why,
                struct error *err) {
        _cleanup_(op_status_done) struct op_status s = { 0 };
        struct error damage = { 0 };
        int r;

        if (!name_valid(kek))
                return unknown_kek(why, kek);
        r = context_record(c, kek, &ret->record, &damage);
        if (r == -EBADMSG) {
                refusal_set(why, REFUSAL_ARCHIVE, "the record of KEK %s is damaged", kek);
                refusal_detail(why, "%s", damage.text);
                return OUTCOME_REFUSED;
        }
        if (r < 0) {
                *err = damage;
                return r;
        }
        if (!ret->record->has_current)
                return unknown_kek(why, kek);
        if ((r = op_status(c, NULL, &s, why, err)) != OUTCOME_DONE ||
            (!s.counter && (r = op_counters(c, &s, err)) != OUTCOME_DONE))
                return r;
        for (size_t i = 0; i < s.keks; i++)
                if (strcmp(s.kek[i].name, kek) == 0) {
                        ret->counter = s.counter[i];
                        ret->due = s.due[i];
                }
        (void) mirror_folder(c, ret->mirror_folder);
        ret->mirror = look_at_mirror(c, kek, ret->record->generation, &ret->mirror_generation);
        return find_disks(&s, kek, &ret->disks, &ret->disk, err);
}

/* --- forget --- */

void op_forgotten_done(struct op_forgotten *f) {
        free(f->disk);
        f->disk = NULL;
}

static bool is_meant(const struct op_forget *args, uint32_t version) {
        return args->all || version == args->version || version < args->before;
}

static bool has(const struct op_forgotten *f, uint32_t version) {
        for (size_t i = 0; i < f->count; i++)
                if (f->version[i] == version)
                        return true;
        return false;
}

static void select_versions(const struct op_forget *args, const struct kek_record *record,
                            struct op_forgotten *ret) {
        for (size_t i = 0; i < record->retired_count && ret->count < RETIRED_MAX; i++) {
                uint32_t v = record->retired[i].version;

                if (is_meant(args, v) && !has(ret, v))
                        ret->version[ret->count++] = v;
        }
}

static int check_selection(const struct op_forget *args, const struct kek_record *record,
                           const struct op_forgotten *ret, struct refusal *why) {
        if (args->version == 0 || ret->count > 0)
                return OUTCOME_DONE;
        if (args->version == record->current.version ||
            (record->has_staged && args->version == record->staged.version))
                return refusal_set(why, REFUSAL_NO_VERSION,
                                   "KEK %s v%u is in use: diskseal rotate retires it first",
                                   args->kek, args->version);
        return refusal_set(why, REFUSAL_NO_VERSION, "the archive of KEK %s has no v%u", args->kek,
                           args->version);
}

/* Those disks that may need one of them; where it isn't known which a disk has, that's any. */
static int select_disks(struct context *c, const struct op_forget *args, struct op_forgotten *ret,
                        struct refusal *why, struct error *err) {
        _cleanup_(op_status_done) struct op_status s = { 0 };
        size_t count = 0, n = 0;
        bool needed = false;
        int r = op_status(c, NULL, &s, why, err);

        if (r == OUTCOME_DONE)
                r = find_disks(&s, args->kek, &count, &ret->disk, err);
        if (r != OUTCOME_DONE)
                return r;
        for (size_t i = 0; i < count; i++)
                if (ret->count > 0 && (ret->disk[i].version == 0 || has(ret, ret->disk[i].version)))
                        ret->disk[n++] = ret->disk[i];
        ret->disks = n;
        for (size_t i = 0; i < n && !args->force; i++) {
                const struct op_kek_disk *d = &ret->disk[i];
                char version[16] = "one of them";

                if (d->other_way)
                        continue;
                if (!needed)
                        refusal_set(why, REFUSAL_NEEDED,
                                    "a disk may need what was to be forgotten of KEK %s, and has "
                                    "no other key that is known here",
                                    args->kek);
                needed = true;
                if (d->version)
                        (void) snprintf(version, sizeof(version), "v%u", d->version);
                refusal_detail(why, "%s %s %s", d->name, d->present ? "has" : "was last seen with",
                               version);
        }
        return needed ? OUTCOME_REFUSED : OUTCOME_DONE;
}

void op_forgotten_text(const struct op_forgotten *f, char ret[OP_VERSIONS_TEXT]) {
        size_t used = 0, i = 0;

        ret[0] = '\0';
        for (; i < f->count && used < OP_VERSIONS_TEXT - 40; i++)
                used += (size_t) snprintf(ret + used, OP_VERSIONS_TEXT - used, "%sv%u",
                                          used ? " " : "", f->version[i]);
        if (i < f->count)
                (void) snprintf(ret + used, OP_VERSIONS_TEXT - used, " and %zu more", f->count - i);
}

static int forget_logged(struct context *c, struct kek_record *record, const struct op_forgotten *f,
                         struct refusal *why, struct error *err) {
        const struct archive_versions versions = { f->count, f->version };
        char text[OP_VERSIONS_TEXT];
        const struct audit_event e = { .event = "kek-forget",
                                       .subject = record->name,
                                       .result = "begin",
                                       .fact = { { "versions", text, 0 } } };
        size_t dropped;
        int r;

        op_forgotten_text(f, text);
        r = audit(c, &e, err);
        if (r < 0)
                return r;
        r = others_forget(c, record, &versions, why, err);
        if (r == OUTCOME_DONE)
                r = archive_forget(c, record, &versions, &dropped, why, err);
        return audit_result(c, e, r, err);
}

int op_kek_forget(struct context *c, const struct op_forget *args, struct op_forgotten *ret,
                  struct refusal *why, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        struct secret *key;
        int r;

        if (!name_valid(args->kek))
                return unknown_kek(why, args->kek);
        if (!c->dry_run && (r = context_lock(c, err)) < 0)
                return r;
        if ((r = archive_record(c, args->kek, &record, why, err)) != OUTCOME_DONE)
                return r;
        if (!record->has_current)
                return unknown_kek(why, args->kek);
        /* After a cut the mirror is ahead, and takes its place: what is still here is meant, too.
         */
        select_versions(args, record, ret);
        r = context_kek_by_tpm(c, args->kek, &record->current, &key, why, err);
        if (r == OUTCOME_DONE)
                r = archive_vouch(c, record, why, err);
        context_release_tpm(c);
        if (r != OUTCOME_DONE)
                return r;
        select_versions(args, record, ret);
        if ((r = check_selection(args, record, ret, why)) != OUTCOME_DONE ||
            (r = select_disks(c, args, ret, why, err)) != OUTCOME_DONE || ret->count == 0 ||
            c->dry_run)
                return r;
        if (args->agree && !args->agree(ret, args->user))
                return refusal_set(why, REFUSAL_UNCONFIRMED,
                                   "nothing of KEK %s was forgotten: not confirmed", args->kek);
        return forget_logged(c, record, ret, why, err);
}

/* --- export --- */

#define EXPORT_MAX 400  /* keys: they are in one block of locked memory */
#define EXPORT_HEAD 160 /* bytes of text at most: before the keys and behind them */
#define EXPORT_KEY 160  /* … and for each */

/* JSON, put together in locked memory alone. */
struct export {
        struct secret *text;
        size_t size;
        struct op_exported *ret;
};

static void add_text(struct export *e, const char *text) {
        size_t n = strlen(text);

        memcpy(secret_data(e->text) + e->size, text, n);
        e->size += n;
}

/* A key: {"version":3,"object":"…","key":"…"} */
static int add_key(struct export *e, uint32_t version, const uint8_t object[SHA256_SIZE],
                   struct secret *key, struct error *err) {
        char head[EXPORT_KEY], hash[base64_size(SHA256_SIZE)];
        int r = base64_encode(object, SHA256_SIZE, hash, sizeof(hash), err);

        if (r < 0)
                return r;
        (void) snprintf(head, sizeof(head), "%s{\"version\":%u,\"object\":\"%s\",\"key\":\"",
                        e->ret->keys ? "," : "", version, hash);
        add_text(e, head);
        r = base64_encode(secret_data(key), secret_size(key),
                          (char *) secret_data(e->text) + e->size, base64_size(BOX_SIZE), err);
        if (r < 0)
                return r;
        e->size += base64_size(BOX_SIZE) - 1;
        add_text(e, "\"}");
        e->ret->keys++;
        return 0;
}

static int add_retired(struct export *e, const struct kek_record *record, size_t index,
                       const struct archive_key *by, struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        int r = archive_open(record, index, by, &key, err);

        if (r == ARCHIVE_GOOD)
                return add_key(e, record->retired[index].version, record->retired[index].object,
                               key, err);
        e->ret->lost += r == ARCHIVE_NOT_HERE;
        return r < 0 ? r : 0;
}

/* @ret_plain: the text, in a secret of its size. */
static int collect(const struct op_export *args, const struct kek_record *record,
                   const struct archive_key *by, struct export *e, struct secret **ret_plain,
                   struct error *err) {
        uint8_t object[SHA256_SIZE];
        char head[EXPORT_HEAD];
        int r = secret_new(EXPORT_HEAD + EXPORT_MAX * EXPORT_KEY, &e->text);

        if (r < 0)
                return error_errno(err, r, "no locked memory for the keys");
        if ((r = archive_object(by->kek, object, err)) < 0)
                return r;
        (void) snprintf(head, sizeof(head),
                        "{\"type\":\"diskseal-keks\",\"v\":1,\"name\":\"%s\","
                        "\"keks\":[",
                        record->name);
        add_text(e, head);
        if (args->version == 0 || args->version == by->kek->version)
                r = add_key(e, by->kek->version, object, by->key, err);
        for (size_t i = 0; r == 0 && i < record->retired_count && e->ret->keys < EXPORT_MAX; i++)
                if (args->version == 0 || args->version == record->retired[i].version)
                        r = add_retired(e, record, i, by, err);
        if (r < 0)
                return r;
        if (e->ret->keys == EXPORT_MAX)
                return error_set(err, -EFBIG, "more than %d keys: export them by --version",
                                 EXPORT_MAX - 1);
        add_text(e, "]}\n");
        if ((r = secret_new(e->size, ret_plain)) < 0)
                return error_errno(err, r, "no locked memory for the keys");
        memcpy(secret_data(*ret_plain), secret_data(e->text), e->size);
        return 0;
}

static int check_certs(struct certificate *const *certs, size_t count, struct refusal *why) {
        for (size_t i = 0; i < count; i++) {
                char subject[CERTIFICATE_SUBJECT], from[24], until[24];
                enum certificate_time t = certificate_time(certs[i], from, until);

                if (t == CERTIFICATE_VALID)
                        continue;
                certificate_subject(certs[i], subject);
                return refusal_set(why, REFUSAL_CERTIFICATE_EXPIRED, "the certificate of %s %s %s",
                                   subject, t == CERTIFICATE_EXPIRED ? "expired on" : "begins on",
                                   t == CERTIFICATE_EXPIRED ? until : from);
        }
        return OUTCOME_DONE;
}

struct recipients {
        struct certificate *cert[CMS_RECIPIENTS_MAX];
        size_t count;
};

static void recipients_done(struct recipients *r) {
        while (r->count > 0)
                certificate_free(r->cert[--r->count]);
}

/* Before anybody has them. */
static int log_export(const struct context *c, const char *kek, const struct certificate *to,
                      size_t keys, struct error *err) {
        uint8_t sum[SHA256_SIZE];
        char fingerprint[2 * SHA256_SIZE + 1];
        const struct audit_event e = { .event = "kek-export",
                                       .subject = kek,
                                       .result = "begin",
                                       .fact = { { "keys", NULL, keys },
                                                 { "certificate", fingerprint, 0 } } };

        certificate_fingerprint(to, sum);
        hex_encode(sum, sizeof(sum), fingerprint);
        return audit(c, &e, err);
}

int op_kek_export(struct context *c, const struct op_export *args, struct op_exported *ret,
                  struct refusal *why, struct error *err) {
        _cleanup_(recipients_done) struct recipients to = { 0 };
        _cleanup_(freep) struct kek_record *record = NULL;
        _cleanup_(secret_freep) struct secret *plain = NULL;
        struct archive_key by = { 0 };
        struct export e = { .ret = ret };
        int r;

        if (!name_valid(args->kek))
                return unknown_kek(why, args->kek);
        if ((r = certificates_read(args->certs, to.cert, ARRAY_SIZE(to.cert), &to.count, err)) <
                    0 ||
            (r = check_certs(to.cert, to.count, why)) != OUTCOME_DONE ||
            (r = archive_record(c, args->kek, &record, why, err)) != OUTCOME_DONE)
                return r;
        if (!record->has_current)
                return unknown_kek(why, args->kek);
        if ((r = context_kek_by_tpm(c, args->kek, &record->current, &by.key, why, err)) !=
                    OUTCOME_DONE ||
            (r = archive_vouch(c, record, why, err)) != OUTCOME_DONE)
                return r;
        context_release_tpm(c);
        by.kek = &record->current;
        r = collect(args, record, &by, &e, &plain, err);
        secret_free(e.text);
        if (r < 0)
                return r;
        if (ret->keys == 0)
                return refusal_set(why, REFUSAL_NO_VERSION, "nothing here opens KEK %s v%u",
                                   args->kek, args->version);
        r = c->dry_run ? 0 : log_export(c, args->kek, to.cert[0], ret->keys, err);
        if (r == 0)
                r = cms_encrypt_text(to.cert, to.count, plain, &ret->cms, &ret->size, err);
        return r < 0 ? r : OUTCOME_DONE;
}

/* --- findings --- */

static _printf_(5, 6) void found(struct op_archive_findings *f, const char *kek,
                                 enum op_level level, const char *advice, const char *fmt, ...) {
        struct op_archive_finding *one;
        va_list ap;

        if (f->count == OP_ARCHIVE_FINDINGS)
                return;
        one = &f->finding[f->count++];
        (void) snprintf(one->kek, sizeof(one->kek), "%s", kek);
        one->level = level;
        one->advice = advice;
        va_start(ap, fmt);
        (void) vsnprintf(one->found, sizeof(one->found), fmt, ap);
        va_end(ap);
}

#define PUT_BACK "Put the newer file back, from a backup or its mirror."

static uint32_t newest_on_disks(const struct op_status *s, const char *kek) {
        uint32_t newest = 0;

        for (size_t i = 0; i < s->disks; i++) {
                const struct op_status_disk *d = &s->disk[i];
                uint32_t version = d->version ? d->version : d->known.version;

                if (strcmp(d->version ? d->kek : d->known.kek, kek) == 0 && version > newest)
                        newest = version;
        }
        return newest;
}

static size_t lost_entries(const struct kek_record *r) {
        size_t lost = 0;

        for (size_t i = 0; i < r->retired_count; i++)
                lost += !archive_wrapped_by(&r->retired[i], r->current.version) &&
                        !(r->has_staged && archive_wrapped_by(&r->retired[i], r->staged.version));
        return lost;
}

static void look_at_age(struct context *c, const struct op_status *s,
                        const struct kek_record *record, const struct op_counter *counter,
                        struct op_archive_findings *ret) {
        uint32_t on_disk = newest_on_disks(s, record->name);
        const struct step *staged = record->has_staged ? kek_counter(&record->staged) : NULL;
        uint64_t mirror = 0;
        enum op_mirror m = look_at_mirror(c, record->name, record->generation, &mirror);

        if (on_disk > archive_newest(record))
                found(ret, record->name, OP_BAD, PUT_BACK,
                      "the archive is rolled back: it ends at v%u, and a disk has v%u",
                      archive_newest(record), on_disk);
        if (counter && counter->state == OP_COUNTER_RETIRED &&
            (!staged || staged->nv.le < counter->value))
                found(ret, record->name, OP_BAD, PUT_BACK,
                      "the archive is rolled back: its v%u lived up to %llu of the TPM's counter, "
                      "which is at %llu",
                      record->current.version, (unsigned long long) counter->le,
                      (unsigned long long) counter->value);
        if (m == OP_MIRROR_NEWER)
                found(ret, record->name, OP_BAD, "The next unlock or rotate takes the mirror's.",
                      "the archive is rolled back: generation %llu, its mirror has %llu",
                      (unsigned long long) record->generation, (unsigned long long) mirror);
        else if (record->retired_count > 0 &&
                 (m == OP_MIRROR_MISSING || m == OP_MIRROR_OLDER || m == OP_MIRROR_DAMAGED))
                found(ret, record->name, OP_WARN, "The next rotate writes it.",
                      "the archive's mirror is %s", op_mirror_name(m));
        if (lost_entries(record) > 0)
                found(ret, record->name, OP_WARN,
                      "Disks that need them: diskseal enroll. Then diskseal kek forget.",
                      "nothing here opens %zu of %zu retired versions: made with another TPM",
                      lost_entries(record), record->retired_count);
}

/* By the MAC, where the version opens without its owner. */
static int prove_one(struct context *c, const struct kek_record *record,
                     struct op_archive_findings *ret, struct error *err) {
        struct archive_key by = { &record->current, NULL };
        struct refusal ignored = { 0 };
        int r;

        if (archive_is_plain(record) || record->current.factor.kind != FACTOR_NONE)
                return 0;
        r = context_kek_by_tpm(c, record->name, &record->current, &by.key, &ignored, err);
        context_release_tpm(c);
        if (r == OUTCOME_DONE)
                r = archive_check(record, &by, err);
        else if (r == OUTCOME_REFUSED)
                return 0;
        if (r == ARCHIVE_UNSIGNED || r == ARCHIVE_DAMAGED)
                found(ret, record->name, OP_BAD, PUT_BACK,
                      "the archive is damaged: it isn't what this machine wrote");
        if (r < 0) { /* no TPM: said elsewhere */
                *err = (struct error){ 0 };
        }
        return r == -ENOMEM ? r : 0;
}

static int look_at_record(struct context *c, const struct op_status *s, size_t index, bool prove,
                          struct op_archive_findings *ret, struct error *err) {
        const struct kek_record *record = &s->kek[index];
        _cleanup_(freep) struct kek_record *again = NULL;
        struct error damage = { 0 };

        if (!record->has_current) {
                if (context_record(c, record->name, &again, &damage) == -EBADMSG)
                        found(ret, record->name, OP_BAD, PUT_BACK, "the archive is damaged: %s",
                              damage.text);
                return 0;
        }
        look_at_age(c, s, record, &s->counter[index], ret);
        if (s->others[index] == OTHERS_MISSING)
                found(ret, record->name, OP_WARN,
                      "The next rotate puts it there, where the TPM gives both.",
                      "its v%u isn't in the record of the OS disk's KEK %s: once the latch is "
                      "shut, what was handed over doesn't open its disks",
                      record->current.version, s->os_kek);
        return prove ? prove_one(c, record, ret, err) : 0;
}

static bool is_recorded(const struct op_status *s, const char *kek) {
        for (size_t i = 0; i < s->keks; i++)
                if (strcmp(s->kek[i].name, kek) == 0)
                        return true;
        return false;
}

/* Of KEKs that disks have, and nothing here knows: once each. */
static void look_for_missing(const struct op_status *s, struct op_archive_findings *ret) {
        for (size_t i = 0; i < s->disks; i++) {
                const char *kek = s->disk[i].version ? s->disk[i].kek : s->disk[i].known.kek;
                bool said = is_recorded(s, kek) || newest_on_disks(s, kek) == 0;

                for (size_t k = 0; k < ret->count && !said; k++)
                        said = strcmp(ret->finding[k].kek, kek) == 0;
                if (!said)
                        found(ret, kek, OP_WARN,
                              "Put it back from a backup; else what was away needs its owner's "
                              "key.",
                              "the archive is missing: a disk has v%u, and nothing is recorded "
                              "here",
                              newest_on_disks(s, kek));
        }
}

int op_archive_look(struct context *c, struct op_status *s, bool prove,
                    struct op_archive_findings *ret, struct error *err) {
        int r = s->counter ? OUTCOME_DONE : op_counters(c, s, err);

        for (size_t i = 0; r == OUTCOME_DONE && i < s->keks; i++)
                r = look_at_record(c, s, i, prove, ret, err);
        if (r == OUTCOME_DONE)
                look_for_missing(s, ret);
        return r;
}
