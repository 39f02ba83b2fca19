/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "keys/store.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "keys/wraps.h"

void time_text(char ret[TIME_TEXT]) {
        time_t now = time(NULL);
        struct tm utc;

        if (!gmtime_r(&now, &utc) || strftime(ret, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
                ret[0] = '\0';
}

bool time_seconds(const char *text, int64_t *ret) {
        struct tm utc = { 0 };
        const char *end;

        if (strlen(text) != 20)
                return false;
        end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &utc);
        if (!end || *end)
                return false;
        *ret = (int64_t) timegm(&utc);
        return true;
}

static int record_path(const char *folder, const char *name, char ret[PATH_MAX],
                       struct error *err) {
        int n = snprintf(ret, PATH_MAX, "%s/%s.json", folder, name);

        if (!name_valid(name) || n < 0 || n >= PATH_MAX)
                return error_set(err, -EINVAL, "no record of a KEK can be named '%.40s'", name);
        return 0;
}

static int parse_version(const struct json *record, const char *key, const char *name,
                         struct kek *ret, char created[TIME_TEXT], struct error *err) {
        const struct json *o;
        const char *when;
        int r;

        if ((r = json_get(record, key, &o, err)) < 0 || (r = kek_parse(o, ret, err)) < 0 ||
            (r = json_get_string(o, "created", &when, err)) < 0)
                return r;
        if (strcmp(ret->name, name) != 0)
                return error_set(err, -EBADMSG, "holds another KEK");
        (void) snprintf(created, TIME_TEXT, "%s", when);
        return 0;
}

static int parse_depth(const struct json *record, struct kek_record *ret, struct error *err) {
        const char *depth;
        int r;

        if (!json_has(record, "depth"))
                return 0;
        r = json_get_string(record, "depth", &depth, err);
        if (r < 0)
                return r;
        ret->staged_slot = strcmp(depth, "slot") == 0;
        return ret->staged_slot ? 0 : error_set(err, -EBADMSG, "member 'depth' isn't 'slot'");
}

static int parse_given_up(const struct json *record, struct kek_record *ret, struct error *err) {
        const struct json *o;
        uint64_t version;
        int r;

        if (!json_has(record, "given-up"))
                return 0;
        if ((r = json_get(record, "given-up", &o, err)) < 0 ||
            (r = json_get_uint(o, "version", KEK_VERSION_MAX, &version, err)) < 0 ||
            (r = json_get_uint(o, "le", INT64_MAX, &ret->given_up_le, err)) < 0)
                return r;
        ret->given_up = (uint32_t) version;
        return 0;
}

static bool print_given_up(const struct kek_record *record, struct json *json) {
        struct json *o;

        if (!record->given_up)
                return true;
        o = json_new_object();
        return json_add(json, "given-up", o) && json_add_uint(o, "version", record->given_up) &&
               json_add_uint(o, "le", record->given_up_le);
}

/* --- retired versions --- */

static int parse_time(const struct json *o, const char *key, char ret[TIME_TEXT],
                      struct error *err) {
        const char *text;
        int64_t ignored;
        int r = json_get_string(o, key, &text, err);

        if (r < 0)
                return r;
        if (text[0] && !time_seconds(text, &ignored))
                return error_set(err, -EBADMSG, "member '%s' isn't a time", key);
        (void) snprintf(ret, TIME_TEXT, "%s", text);
        return 0;
}

static int parse_by(const struct json *o, uint32_t *ret, struct error *err) {
        uint64_t by;
        int r = json_get_uint(o, "by", KEK_VERSION_MAX, &by, err);

        if (r < 0)
                return r;
        *ret = (uint32_t) by;
        return 0;
}

static int parse_wraps(const struct json *o, struct retired_wrap ret[RETIRED_WRAPS],
                       unsigned *ret_count, struct error *err) {
        const struct json *wraps;
        int r = json_get_array(o, "wraps", &wraps, err);

        if (r < 0)
                return r;
        if (json_length(wraps) > RETIRED_WRAPS)
                return error_set(err, -EBADMSG, "a version is wrapped more than twice");
        for (unsigned i = 0; i < json_length(wraps); i++) {
                if ((r = parse_by(json_at(wraps, i), &ret[i].by, err)) < 0 ||
                    (r = box_parse(json_at(wraps, i), &ret[i].box, err)) < 0)
                        return r;
                if (i > 0 && ret[i].by == ret[0].by)
                        return error_set(err, -EBADMSG, "a version is wrapped twice by v%u",
                                         ret[i].by);
        }
        *ret_count = (unsigned) json_length(wraps);
        return 0;
}

static int parse_one_retired(const struct json *o, struct retired *ret, struct error *err) {
        uint64_t version;
        int r;

        if ((r = json_get_uint(o, "version", KEK_VERSION_MAX, &version, err)) < 0 ||
            (r = parse_time(o, "created", ret->created, err)) < 0 ||
            (r = parse_time(o, "retired", ret->retired, err)) < 0 ||
            (r = json_get_uint(o, "le", INT64_MAX, &ret->le, err)) < 0 ||
            (r = json_get_exactly(o, "object", ret->object, sizeof(ret->object), err)) < 0)
                return r;
        if (version == 0)
                return error_set(err, -EBADMSG, "KEK versions begin at 1");
        ret->version = (uint32_t) version;
        return parse_wraps(o, ret->wrap, &ret->wraps, err);
}

/* In the order of versions. Two of one number are two objects: a record that was lost for a while
 * may have them. */
static int check_order(const struct kek_record *r, struct error *err) {
        const struct retired *last = &r->retired[r->retired_count];

        for (size_t i = r->retired_count; i-- > 0;) {
                if (r->retired[i].version > last->version)
                        return error_set(err, -EBADMSG, "retired versions out of order");
                if (r->retired[i].version < last->version)
                        return 0;
                if (memcmp(r->retired[i].object, last->object, sizeof(last->object)) == 0)
                        return error_set(err, -EBADMSG, "v%u is there twice", last->version);
        }
        return 0;
}

static int parse_retired(const struct json *json, struct kek_record *ret, struct error *err) {
        const struct json *list;
        int r = json_get_array(json, "retired", &list, err);

        if (r < 0)
                return r;
        if (json_length(list) > RETIRED_MAX)
                return error_set(err, -EBADMSG, "more than %d retired versions", RETIRED_MAX);
        for (; ret->retired_count < json_length(list); ret->retired_count++)
                if ((r = parse_one_retired(json_at(list, ret->retired_count),
                                           &ret->retired[ret->retired_count], err)) < 0 ||
                    (r = check_order(ret, err)) < 0)
                        return r;
        return 0;
}

static int parse_one_other(const struct json *o, const char *own, struct other_kek *ret,
                           struct error *err) {
        const char *name;
        uint64_t version;
        int r;

        if ((r = json_get_string(o, "name", &name, err)) < 0 ||
            (r = json_get_uint(o, "version", KEK_VERSION_MAX, &version, err)) < 0 ||
            (r = json_get_exactly(o, "object", ret->object, sizeof(ret->object), err)) < 0)
                return r;
        if (!name_valid(name) || strcmp(name, own) == 0)
                return error_set(err, -EBADMSG, "member 'others' names no other KEK");
        if (version == 0)
                return error_set(err, -EBADMSG, "KEK versions begin at 1");
        (void) snprintf(ret->name, sizeof(ret->name), "%s", name);
        ret->version = (uint32_t) version;
        return parse_wraps(o, ret->wrap, &ret->wraps, err);
}

static int parse_others(const struct json *json, struct kek_record *ret, struct error *err) {
        const struct json *list;
        int r;

        if (!json_has(json, "others"))
                return 0;
        if ((r = json_get_array(json, "others", &list, err)) < 0)
                return r;
        if (json_length(list) > OTHERS_MAX)
                return error_set(err, -EBADMSG, "more than %d versions of other KEKs", OTHERS_MAX);
        for (; ret->others_count < json_length(list); ret->others_count++) {
                struct other_kek *o = &ret->other[ret->others_count];

                r = parse_one_other(json_at(list, ret->others_count), ret->name, o, err);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < ret->others_count; i++)
                        if (strcmp(ret->other[i].name, o->name) == 0 &&
                            memcmp(ret->other[i].object, o->object, sizeof(o->object)) == 0)
                                return error_set(err, -EBADMSG, "KEK %s v%u is there twice",
                                                 o->name, o->version);
        }
        return 0;
}

static int parse_macs(const struct json *json, struct kek_record *ret, struct error *err) {
        const struct json *list;
        int r = json_get_array(json, "macs", &list, err);

        if (r < 0)
                return r;
        if (json_length(list) > RETIRED_WRAPS)
                return error_set(err, -EBADMSG, "more than %d MACs", RETIRED_WRAPS);
        for (; ret->macs < json_length(list); ret->macs++) {
                struct record_mac *m = &ret->mac[ret->macs];

                if ((r = parse_by(json_at(list, ret->macs), &m->by, err)) < 0 ||
                    (r = json_get_exactly(json_at(list, ret->macs), "mac", m->mac, sizeof(m->mac),
                                          err)) < 0)
                        return r;
        }
        return 0;
}

static int parse_archive(const struct json *json, struct kek_record *ret, struct error *err) {
        int r;

        if (!json_has(json, "generation") && !json_has(json, "retired") &&
            !json_has(json, "macs") && !json_has(json, "others"))
                return 0;
        if ((r = json_get_uint(json, "generation", INT64_MAX - 1, &ret->generation, err)) < 0 ||
            (r = parse_macs(json, ret, err)) < 0 || (r = parse_retired(json, ret, err)) < 0)
                return r;
        return parse_others(json, ret, err);
}

/* --- the record --- */

static int parse_versions(const struct json *json, struct kek_record *ret, struct error *err) {
        int r;

        ret->has_current = json_has(json, "current");
        ret->has_staged = json_has(json, "staged");
        if (ret->has_current && (r = parse_version(json, "current", ret->name, &ret->current,
                                                   ret->current_created, err)) < 0)
                return r;
        if (ret->has_staged && (r = parse_version(json, "staged", ret->name, &ret->staged,
                                                  ret->staged_created, err)) < 0)
                return r;
        return 0;
}

int record_parse(const char *text, size_t size, const char *name, struct kek_record *ret,
                 struct error *err) {
        _cleanup_(freep) struct kek_record *record = calloc(1, sizeof(*record));
        _cleanup_(json_freep) struct json *json = NULL;
        const char *policy;
        int r;

        if (!record)
                return error_nomem(err);
        if (size > RECORD_MAX)
                return error_set(err, -EBADMSG, "larger than %d bytes", RECORD_MAX);
        if ((r = json_parse(text, size, &json, err)) < 0)
                return r;
        if (!json_is_object(json))
                return error_set(err, -EBADMSG, "not an object");
        (void) snprintf(record->name, sizeof(record->name), "%s", name);
        if (json_has(json, "policy")) {
                r = json_get_string(json, "policy", &policy, err);
                if (r < 0)
                        return r;
                if (!name_valid(policy))
                        return error_set(err, -EBADMSG, "member 'policy' can't name one");
                (void) snprintf(record->policy, sizeof(record->policy), "%s", policy);
        }
        if ((r = parse_versions(json, record, err)) < 0 ||
            (r = parse_depth(json, record, err)) < 0 ||
            (r = parse_given_up(json, record, err)) < 0 ||
            (r = parse_archive(json, record, err)) < 0)
                return r;
        *ret = *record;
        return 0;
}

int store_read(const char *folder, const char *name, struct kek_record *ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX];
        size_t size;
        int r;

        if ((r = record_path(folder, name, path, err)) < 0)
                return r;
        r = file_read(path, RECORD_MAX, &text, &size, err);
        if (r == -EFBIG)
                return error_set(err, -EBADMSG, "%s: larger than %d bytes", path, RECORD_MAX);
        if (r < 0)
                return r;
        r = record_parse(text, size, name, ret, err);
        return r < 0 ? error_prefix(err, "%s", path) : 0;
}

/* Copies what @from has, and @to hasn't, and isn't among @ours. A null is as good as nothing. */
static bool keep_unknown(const struct json *from, const char *const *ours, struct json *to) {
        struct json_iter i = { 0 };

        while (json_next(from, &i)) {
                const char *const *known = ours;

                while (*known && strcmp(*known, i.key) != 0)
                        known++;
                if (!*known && i.value && !json_has(to, i.key) &&
                    !json_add(to, i.key, json_copy(i.value)))
                        return false;
        }
        return true;
}

static const struct json *member(const struct json *o, const char *key) {
        const struct json *found = NULL;
        struct error ignored = { 0 };

        return o && json_get(o, key, &found, &ignored) == 0 ? found : NULL;
}

/* Where it's the same version of the record that this is written over. */
static bool keep_of_version(const struct kek *kek, const struct json *from, struct json *to) {
        static const char *const ours[] = { "name",   "version", "provider", "tpm",
                                            "factor", "created", NULL };
        _cleanup_(freep) struct kek *was = calloc(1, sizeof(*was));
        struct error ignored = { 0 };

        if (!was)
                return false;
        if (!from || kek_parse(from, was, &ignored) < 0 || !kek_equal(was, kek))
                return true;
        return keep_unknown(from, ours, to);
}

static bool print_version(const struct kek *kek, const char *created, const char *key,
                          const struct json *origin, struct json *record) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        return kek_print(kek, o) && json_add_string(o, "created", created) &&
               keep_of_version(kek, member(origin, "current"), o) &&
               keep_of_version(kek, member(origin, "staged"), o) && json_add(record, key, TAKE(o));
}

static bool print_wraps(const struct retired_wrap *wrap, unsigned count, struct json *o) {
        _cleanup_(json_freep) struct json *wraps = json_new_array();

        for (unsigned i = 0; i < count; i++) {
                struct json *w = json_new_object();

                if (!json_append(wraps, w) || !json_add_uint(w, "by", wrap[i].by) ||
                    !box_print(&wrap[i].box, w))
                        return false;
        }
        return json_add(o, "wraps", TAKE(wraps));
}

bool retired_print(const struct retired *e, struct json *o) {
        return json_add_uint(o, "version", e->version) &&
               json_add_string(o, "created", e->created) &&
               json_add_string(o, "retired", e->retired) && json_add_uint(o, "le", e->le) &&
               json_add_bytes(o, "object", e->object, sizeof(e->object)) &&
               print_wraps(e->wrap, e->wraps, o);
}

bool other_print(const struct other_kek *e, struct json *o) {
        return json_add_string(o, "name", e->name) && json_add_uint(o, "version", e->version) &&
               json_add_bytes(o, "object", e->object, sizeof(e->object)) &&
               print_wraps(e->wrap, e->wraps, o);
}

/* Both lists are in order, so that @at only moves on. */
static bool keep_of_retired(const struct retired *e, const struct json *list, size_t *at,
                            struct json *to) {
        static const char *const ours[] = { "version", "created", "retired", "le",
                                            "object",  "wraps",   NULL };

        for (size_t i = *at; i < json_length(list); i++) {
                uint8_t object[SHA256_SIZE];
                struct error ignored = { 0 };

                if (json_get_exactly(json_at(list, i), "object", object, sizeof(object),
                                     &ignored) == 0 &&
                    memcmp(object, e->object, sizeof(object)) == 0) {
                        *at = i + 1;
                        return keep_unknown(json_at(list, i), ours, to);
                }
        }
        return true;
}

static bool print_retired(const struct kek_record *r, const struct json *origin,
                          struct json *record) {
        _cleanup_(json_freep) struct json *list = json_new_array(), *macs = json_new_array();
        const struct json *was = NULL;
        struct error ignored = { 0 };
        size_t at = 0;

        if (origin && json_get_array(origin, "retired", &was, &ignored) < 0)
                was = NULL;
        for (unsigned i = 0; i < r->macs; i++) {
                struct json *m = json_new_object();

                if (!json_append(macs, m) || !json_add_uint(m, "by", r->mac[i].by) ||
                    !json_add_bytes(m, "mac", r->mac[i].mac, sizeof(r->mac[i].mac)))
                        return false;
        }
        for (size_t i = 0; i < r->retired_count; i++) {
                const struct retired *e = &r->retired[i];
                struct json *o = json_new_object();

                if (!json_append(list, o) || !retired_print(e, o) ||
                    (was && !keep_of_retired(e, was, &at, o)))
                        return false;
        }
        return json_add_uint(record, "generation", r->generation) &&
               json_add(record, "macs", TAKE(macs)) && json_add(record, "retired", TAKE(list));
}

static bool keep_of_other(const struct other_kek *e, const struct json *list, struct json *to) {
        static const char *const ours[] = { "name", "version", "object", "wraps", NULL };

        for (size_t i = 0; i < json_length(list); i++) {
                uint8_t object[SHA256_SIZE];
                struct error ignored = { 0 };
                const char *name;

                if (json_get_string(json_at(list, i), "name", &name, &ignored) == 0 &&
                    strcmp(name, e->name) == 0 &&
                    json_get_exactly(json_at(list, i), "object", object, sizeof(object),
                                     &ignored) == 0 &&
                    memcmp(object, e->object, sizeof(object)) == 0)
                        return keep_unknown(json_at(list, i), ours, to);
        }
        return true;
}

/* Not there where there are none: then it's a record as before there were any. */
static bool print_others(const struct kek_record *r, const struct json *origin,
                         struct json *record) {
        _cleanup_(json_freep) struct json *list = json_new_array();
        const struct json *was = NULL;
        struct error ignored = { 0 };

        if (r->others_count == 0)
                return true;
        if (origin && json_get_array(origin, "others", &was, &ignored) < 0)
                was = NULL;
        for (size_t i = 0; i < r->others_count; i++) {
                const struct other_kek *e = &r->other[i];
                struct json *o = json_new_object();

                if (!json_append(list, o) || !other_print(e, o) ||
                    (was && !keep_of_other(e, was, o)))
                        return false;
        }
        return json_add(record, "others", TAKE(list));
}

int record_print(const struct kek_record *record, const struct json *origin, char **ret,
                 struct error *err) {
        static const char *const ours[] = { "v",        "name",    "policy",     "current",
                                            "staged",   "retired", "generation", "macs",
                                            "given-up", "depth",   "others",     NULL };
        _cleanup_(json_freep) struct json *json = json_new_object();

        if (!json_add_uint(json, "v", 1) || !json_add_string(json, "name", record->name) ||
            (record->policy[0] && !json_add_string(json, "policy", record->policy)) ||
            (record->has_current &&
             !print_version(&record->current, record->current_created, "current", origin, json)) ||
            (record->has_staged &&
             !print_version(&record->staged, record->staged_created, "staged", origin, json)) ||
            (record->staged_slot && !json_add_string(json, "depth", "slot")) ||
            !print_given_up(record, json) ||
            (record->generation > 0 &&
             (!print_retired(record, origin, json) || !print_others(record, origin, json))) ||
            (origin && !keep_unknown(origin, ours, json)))
                return error_nomem(err);
        return json_text(json, true, ret, err);
}

int store_text(const char *folder, const struct kek_record *record, char **ret, struct error *err) {
        _cleanup_(freep) struct kek_record *was = calloc(1, sizeof(*was));
        _cleanup_(json_freep) struct json *origin = NULL;
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX];
        size_t size;
        int r;

        if (!was)
                return error_nomem(err);
        if ((r = record_path(folder, record->name, path, err)) < 0)
                return r;
        r = file_read(path, RECORD_MAX, &text, &size, err);
        if (r == -ENOENT || r == -ENOTDIR) {
                *err = (struct error){ 0 };
                return record_print(record, NULL, ret, err);
        }
        if (r == 0)
                r = record_parse(text, size, record->name, was, err);
        if (r == 0)
                r = json_parse(text, size, &origin, err);
        if (r == -EBADMSG || r == -EFBIG)
                return error_set(err, -EBADMSG, "%s is damaged, and isn't overwritten", path);
        return r < 0 ? r : record_print(record, origin, ret, err);
}

int store_write_text(const char *folder, const char *name, const char *text, struct error *err) {
        char path[PATH_MAX];
        int r;

        if ((r = record_path(folder, name, path, err)) < 0 ||
            (r = file_mkdir(folder, 0700, err)) < 0)
                return r;
        return file_write(path, text, strlen(text), 0600, err);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

int store_names(const char *folder, char ***ret, size_t *ret_count, struct error *err) {
        return folder_names(folder, ".json", ret, ret_count, err);
}

int folder_names(const char *folder, const char *suffix, char ***ret, size_t *ret_count,
                 struct error *err) {
        _cleanup_(closedirp) DIR *dir = opendir(folder);
        size_t count = 0, tail = strlen(suffix);
        struct dirent *e;
        char **names = NULL;

        if (!dir && errno != ENOENT && errno != ENOTDIR)
                return error_errno(err, -errno, "open %s", folder);
        while (dir && (e = readdir(dir))) {
                size_t n = strlen(e->d_name);
                char name[NAME_MAX_SIZE], **more;

                if (n <= tail || n - tail >= sizeof(name) ||
                    strcmp(e->d_name + n - tail, suffix) != 0)
                        continue;
                memcpy(name, e->d_name, n - tail);
                name[n - tail] = '\0';
                if (!name_valid(name))
                        continue;
                more = reallocarray(names, count + 1, sizeof(*names));
                if (more)
                        names = more;
                if (!more || !(names[count] = strdup(name))) {
                        store_names_free(names, count);
                        return error_nomem(err);
                }
                count++;
        }
        if (count > 0)
                qsort(names, count, sizeof(*names), compare_names);
        *ret = names;
        *ret_count = count;
        return 0;
}

void store_names_free(char **names, size_t count) {
        for (size_t i = 0; i < count; i++)
                free(names[i]);
        free(names);
}
