/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/boot-record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

#define RECORD_MAX_SIZE 4096

static const char *const ends[BOOT_ENDS] = {
        [BOOT_OPENED] = "opened",
        [BOOT_RECOVERED] = "recovered",
        [BOOT_REFUSED] = "refused",
};

static void record_path(const struct context *c, char ret[300]) {
        (void) snprintf(ret, 300, "%s/boot.json", c->run_dir);
}

int boot_record_write(const struct context *c, const struct boot_record *b, struct error *err) {
        _cleanup_(json_freep) struct json *o = json_new_object();
        _cleanup_(freep) char *text = NULL;
        char path[300];
        int r;

        if (!json_add_string(o, "result", ends[b->end]) || !json_add_string(o, "disk", b->disk) ||
            !json_add_string(o, "kek", b->kek) || !json_add_uint(o, "version", b->version) ||
            !json_add_string(o, "id", b->id) || !json_add_string(o, "why", b->why) ||
            !json_add_uint(o, "ms", b->ms) || !json_add_string(o, "time", b->time))
                return error_nomem(err);
        record_path(c, path);
        if ((r = json_text(o, false, &text, err)) < 0 ||
            (r = file_mkdir(c->run_dir, 0755, err)) < 0)
                return r;
        return file_write(path, text, strlen(text), 0644, err);
}

static int parse(const struct json *o, struct boot_record *ret, struct error *err) {
        struct boot_record b = { .end = BOOT_ENDS };
        uint64_t version;
        char end[12];
        int r;

        if ((r = json_get_text(o, "result", end, sizeof(end), err)) < 0 ||
            (r = json_get_text(o, "disk", b.disk, sizeof(b.disk), err)) < 0 ||
            (r = json_get_text(o, "kek", b.kek, sizeof(b.kek), err)) < 0 ||
            (r = json_get_uint(o, "version", KEK_VERSION_MAX, &version, err)) < 0 ||
            (r = json_get_text(o, "id", b.id, sizeof(b.id), err)) < 0 ||
            (r = json_get_text(o, "why", b.why, sizeof(b.why), err)) < 0 ||
            (r = json_get_uint(o, "ms", INT64_MAX, &b.ms, err)) < 0 ||
            (r = json_get_text(o, "time", b.time, sizeof(b.time), err)) < 0)
                return r;
        for (unsigned i = 0; i < BOOT_ENDS; i++)
                if (strcmp(end, ends[i]) == 0)
                        b.end = (enum boot_end) i;
        if (b.end == BOOT_ENDS)
                return error_set(err, -EBADMSG, "member 'result' is none that there is");
        b.version = (uint32_t) version;
        make_printable(b.disk);
        make_printable(b.kek);
        make_printable(b.id);
        make_printable(b.why);
        *ret = b;
        return 0;
}

int boot_record_read(const struct context *c, struct boot_record *ret, struct error *err) {
        _cleanup_(json_freep) struct json *o = NULL;
        _cleanup_(freep) char *text = NULL;
        char path[300];
        size_t size;
        int r;

        record_path(c, path);
        r = file_read(path, RECORD_MAX_SIZE, &text, &size, err);
        if (r == -ENOENT || r == -ENOTDIR) {
                *err = (struct error){ 0 };
                return 0;
        }
        if (r == 0)
                r = json_parse(text, size, &o, err);
        if (r == 0)
                r = parse(o, ret, err);
        return r < 0 ? error_prefix(err, "%s", path) : 1;
}
