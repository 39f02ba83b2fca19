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

#define RECORD_MAX (64 * 1024)

void time_text(char ret[TIME_TEXT]) {
        time_t now = time(NULL);
        struct tm utc;

        if (!gmtime_r(&now, &utc) || strftime(ret, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
                ret[0] = '\0';
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

static int parse_record(const struct json *json, const char *name, struct kek_record *ret,
                        struct error *err) {
        const char *policy;
        int r;

        (void) snprintf(ret->name, sizeof(ret->name), "%s", name);
        if (json_has(json, "policy")) {
                r = json_get_string(json, "policy", &policy, err);
                if (r < 0)
                        return r;
                if (!name_valid(policy))
                        return error_set(err, -EBADMSG, "member 'policy' can't name one");
                (void) snprintf(ret->policy, sizeof(ret->policy), "%s", policy);
        }
        ret->has_current = json_has(json, "current");
        ret->has_staged = json_has(json, "staged");
        if (ret->has_current && (r = parse_version(json, "current", name, &ret->current,
                                                   ret->current_created, err)) < 0)
                return r;
        if (ret->has_staged &&
            (r = parse_version(json, "staged", name, &ret->staged, ret->staged_created, err)) < 0)
                return r;
        return parse_given_up(json, ret, err);
}

int store_read(const char *folder, const char *name, struct kek_record *ret, struct error *err) {
        _cleanup_(freep) struct kek_record *record = calloc(1, sizeof(*record));
        _cleanup_(json_freep) struct json *json = NULL;
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX];
        size_t size;
        int r;

        if (!record)
                return error_nomem(err);
        if ((r = record_path(folder, name, path, err)) < 0 ||
            (r = file_read(path, RECORD_MAX, &text, &size, err)) < 0)
                return r;
        if ((r = json_parse(text, size, &json, err)) < 0 ||
            (r = parse_record(json, name, record, err)) < 0)
                return error_prefix(err, "%s", path);
        *ret = *record;
        return 0;
}

static bool print_version(const struct kek *kek, const char *created, const char *key,
                          struct json *record) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        return kek_print(kek, o) && json_add_string(o, "created", created) &&
               json_add(record, key, TAKE(o));
}

int store_write(const char *folder, const struct kek_record *record, struct error *err) {
        _cleanup_(json_freep) struct json *json = json_new_object();
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX];
        int r;

        if (!json_add_uint(json, "v", 1) || !json_add_string(json, "name", record->name) ||
            (record->policy[0] && !json_add_string(json, "policy", record->policy)) ||
            (record->has_current &&
             !print_version(&record->current, record->current_created, "current", json)) ||
            (record->has_staged &&
             !print_version(&record->staged, record->staged_created, "staged", json)) ||
            !print_given_up(record, json))
                return error_nomem(err);
        if ((r = record_path(folder, record->name, path, err)) < 0 ||
            (r = json_text(json, true, &text, err)) < 0 || (r = file_mkdir(folder, 0700, err)) < 0)
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
