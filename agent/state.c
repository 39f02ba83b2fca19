/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/state.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

#define STATE_MAX (4 * 1024 * 1024)
#define HEADER_MAX (64 * 1024)

void state_done(struct state *s) {
        free(s->disks);
        *s = (struct state){ 0 };
}

struct state_disk *state_by_name(const struct state *s, const char *name) {
        for (size_t i = 0; i < s->count; i++)
                if (strcmp(s->disks[i].name, name) == 0)
                        return &s->disks[i];
        return NULL;
}

struct state_disk *state_by_uuid(const struct state *s, const char *uuid) {
        for (size_t i = 0; i < s->count; i++)
                if (strcmp(s->disks[i].uuid, uuid) == 0)
                        return &s->disks[i];
        return NULL;
}

static void absolute_path(const char *path, char ret[256]) {
        _cleanup_(freep) char *real = NULL;

        /* Links below /dev are often stable where what they point to isn't. */
        if (strncmp(path, "/dev/", 5) != 0)
                real = realpath(path, NULL);
        (void) snprintf(ret, 256, "%s", real && strlen(real) < 256 ? real : path);
}

void state_place(struct state_disk *d, const struct luks_source *at) {
        absolute_path(at->device, d->device);
        d->header[0] = '\0';
        if (at->header && at->header[0])
                absolute_path(at->header, d->header);
}

int state_put(struct state *s, const struct state_disk *disk, struct error *err) {
        struct state_disk *known = state_by_uuid(s, disk->uuid), *more;

        if (known) {
                *known = *disk;
                return 0;
        }
        more = reallocarray(s->disks, s->count + 1, sizeof(*more));
        if (!more)
                return error_nomem(err);
        s->disks = more;
        s->disks[s->count++] = *disk;
        return 0;
}

void state_drop(struct state *s, const char *uuid) {
        struct state_disk *d = state_by_uuid(s, uuid);

        if (!d)
                return;
        s->count--;
        memmove(d, d + 1, (size_t) (&s->disks[s->count] - d) * sizeof(*d));
}

static int parse_slots(const struct json *o, const char *key, uint32_t *ret_mask,
                       struct state_disk *ret, struct error *err) {
        const struct json *list;
        int r = json_get_array(o, key, &list, err);

        if (r < 0)
                return r;
        for (size_t i = 0; i < json_length(list); i++) {
                uint64_t slot;
                size_t size;

                r = json_get_uint(json_at(list, i), "slot", 31, &slot, err);
                if (r < 0)
                        return r;
                r = json_get_bytes(json_at(list, i), "sha256", ret->proven_hash[slot], 32, &size,
                                   err);
                if (r < 0)
                        return r;
                *ret_mask |= 1u << slot;
        }
        return 0;
}

/* What only some disks have, and what earlier versions didn't write. */
static int parse_optional(const struct json *o, struct state_disk *ret, struct error *err) {
        uint64_t version;
        int r = 0;

        if (json_has(o, "header"))
                r = json_get_text(o, "header", ret->header, sizeof(ret->header), err);
        if (r == 0 && json_has(o, "size"))
                r = json_get_uint(o, "size", INT64_MAX, &ret->size, err);
        if (r == 0 && json_has(o, "version")) {
                r = json_get_uint(o, "version", KEK_VERSION_MAX, &version, err);
                ret->version = (uint32_t) version;
        }
        if (r == 0 && json_has(o, "seen"))
                r = json_get_text(o, "seen", ret->seen, sizeof(ret->seen), err);
        if (r == 0 && json_has(o, "replacing"))
                r = parse_slots(o, "replacing", &ret->replacing, ret, err);
        return r;
}

static int parse_disk(const struct json *o, struct state_disk *ret, struct error *err) {
        int r;

        if ((r = json_get_text(o, "name", ret->name, sizeof(ret->name), err)) < 0 ||
            (r = json_get_text(o, "uuid", ret->uuid, sizeof(ret->uuid), err)) < 0 ||
            (r = json_get_text(o, "device", ret->device, sizeof(ret->device), err)) < 0 ||
            (r = json_get_text(o, "role", ret->role, sizeof(ret->role), err)) < 0 ||
            (r = json_get_text(o, "kek", ret->kek, sizeof(ret->kek), err)) < 0 ||
            (r = parse_optional(o, ret, err)) < 0)
                return r;
        if (!name_valid(ret->name) || !name_valid(ret->kek))
                return error_set(err, -EBADMSG, "a name that no disk and no KEK can have");
        return parse_slots(o, "proven", &ret->proven, ret, err);
}

int state_read(const char *state_dir, struct state *ret, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        _cleanup_(json_freep) struct json *json = NULL;
        _cleanup_(freep) char *text = NULL;
        const struct json *disks;
        char path[PATH_MAX];
        size_t size;
        int r;

        (void) snprintf(path, sizeof(path), "%s/state.json", state_dir);
        r = file_read(path, STATE_MAX, &text, &size, err);
        if (r == -ENOENT) {
                *ret = (struct state){ 0 };
                return 0;
        }
        if (r < 0)
                return r;
        if ((r = json_parse(text, size, &json, err)) < 0 ||
            (r = json_get_array(json, "disks", &disks, err)) < 0)
                return error_prefix(err, "%s", path);
        for (size_t i = 0; i < json_length(disks); i++) {
                struct state_disk d = { 0 };

                if ((r = parse_disk(json_at(disks, i), &d, err)) < 0 ||
                    (r = state_put(&s, &d, err)) < 0)
                        return error_prefix(err, "%s", path);
        }
        *ret = s;
        s = (struct state){ 0 };
        return 0;
}

static bool print_slots(struct json *o, const char *key, uint32_t mask,
                        const struct state_disk *d) {
        _cleanup_(json_freep) struct json *list = json_new_array();

        for (unsigned n = 0; n < 32; n++) {
                struct json *p;

                if (!(mask & (1u << n)))
                        continue;
                p = json_new_object();
                if (!json_append(list, p) || !json_add_uint(p, "slot", n) ||
                    !json_add_bytes(p, "sha256", d->proven_hash[n], 32))
                        return false;
        }
        return json_add(o, key, TAKE(list));
}

static struct json *print_disk(const struct state_disk *d) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_string(o, "name", d->name) || !json_add_string(o, "uuid", d->uuid) ||
            !json_add_string(o, "device", d->device) || !json_add_string(o, "role", d->role) ||
            !json_add_string(o, "kek", d->kek) || !print_slots(o, "proven", d->proven, d) ||
            (d->replacing && !print_slots(o, "replacing", d->replacing, d)) ||
            (d->header[0] && !json_add_string(o, "header", d->header)) ||
            (d->size && !json_add_uint(o, "size", d->size)) ||
            (d->version && !json_add_uint(o, "version", d->version)) ||
            (d->seen[0] && !json_add_string(o, "seen", d->seen)))
                return NULL;
        return TAKE(o);
}

int state_write(const char *state_dir, const struct state *state, struct error *err) {
        _cleanup_(json_freep) struct json *json = json_new_object(), *disks = json_new_array();
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX];
        int r;

        for (size_t i = 0; i < state->count; i++)
                if (!json_append(disks, print_disk(&state->disks[i])))
                        return error_nomem(err);
        if (!json_add_uint(json, "v", 1) || !json_add(json, "disks", TAKE(disks)))
                return error_nomem(err);
        (void) snprintf(path, sizeof(path), "%s/state.json", state_dir);
        if ((r = json_text(json, true, &text, err)) < 0 ||
            (r = file_mkdir(state_dir, 0700, err)) < 0)
                return r;
        return file_write(path, text, strlen(text), 0600, err);
}

/* A UUID that comes from a disk becomes part of a path only if it's nothing but one. */
static int header_path(const char *state_dir, const char *uuid, char ret[PATH_MAX],
                       struct error *err) {
        int n = snprintf(ret, PATH_MAX, "%s/headers/%s.json", state_dir, uuid);

        if (strlen(uuid) != 36 || strspn(uuid, "0123456789abcdefABCDEF-") != 36 || n < 0 ||
            n >= PATH_MAX)
                return error_set(err, -EINVAL, "not a UUID: '%.40s'", uuid);
        return 0;
}

int state_write_header(const char *state_dir, const char *uuid, const char *covered,
                       const char *next, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX], folder[PATH_MAX];
        int r;

        if (asprintf(&text, "%s%s%s", covered, next ? "\n" : "", next ? next : "") < 0) {
                text = NULL;
                return error_nomem(err);
        }

        (void) snprintf(folder, sizeof(folder), "%s/headers", state_dir);
        if ((r = header_path(state_dir, uuid, path, err)) < 0 ||
            (r = file_mkdir(folder, 0700, err)) < 0)
                return r;
        return file_write(path, text, strlen(text), 0600, err);
}

int state_read_header(const char *state_dir, const char *uuid, char **ret, struct error *err) {
        char path[PATH_MAX];
        size_t size;
        int r;

        r = header_path(state_dir, uuid, path, err);
        if (r < 0)
                return r;
        r = file_read(path, HEADER_MAX, ret, &size, err);
        if (r == -ENOENT) {
                *ret = NULL;
                return 0;
        }
        return r;
}

bool state_header_known(const char *known, const char *covered) {
        size_t size = strlen(covered);

        for (;; known++) {
                size_t line = strcspn(known, "\n");

                if (line == size && memcmp(known, covered, size) == 0)
                        return true;
                known += line;
                if (!*known)
                        return false;
        }
}
