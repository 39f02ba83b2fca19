/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libcryptsetup.h>

#include "luks/internal.h"
#include "luks/rules.h"

/* A header in a context that belongs to somebody else. Nothing here sets anything up for the whole
 * process, as lib_new() does: the process isn't ours. */

static int copy_text(char *ret, size_t max, const char *text, const char *what, struct error *err) {
        if (!text || strlen(text) >= max)
                return error_set(err, -ENAMETOOLONG, "the %s is unknown or too long", what);
        memcpy(ret, text, strlen(text) + 1);
        return 0;
}

/* Where the data and the header are, as the context says; only their sizes are looked at. */
static int find_place(struct luks *l, struct crypt_device *cd, struct luks_reason *why,
                      struct error *err) {
        struct luks_facts *f = &l->facts;
        const char *data = crypt_get_device_name(cd), *header = crypt_get_metadata_device_name(cd);
        bool detached = data && header && strcmp(data, header) != 0;
        int r;

        r = copy_text(f->device, sizeof(f->device), data, "path of the device", err);
        if (r == 0 && detached)
                r = copy_text(f->header, sizeof(f->header), header, "path of the header", err);
        if (r < 0)
                return r;
        return place_open(&(struct luks_source){ f->device, detached ? f->header : NULL }, O_RDONLY,
                          &l->at, why, err);
}

static int dump(struct luks *l, struct crypt_device *cd, struct luks_reason *why,
                struct error *err) {
        const char *type = crypt_get_type(cd), *text = NULL;
        uint64_t metadata_size;
        int r;

        if (!type || strcmp(type, CRYPT_LUKS2) != 0)
                return luks_refuse(why, LUKS_NONE, "header", "no LUKS2 header was loaded");
        r = crypt_dump_json(cd, &text, 0);
        if (r == 0)
                r = crypt_get_metadata_size(cd, &metadata_size, NULL);
        if (r < 0)
                return error_errno(err, r, "dump the header");
        l->facts.metadata_size = l->copies.metadata_size = metadata_size;
        /* Borrowed, until the context is asked for something else. */
        r = metadata_parse(l, text, why, err);
        if (r != LUKS_OK)
                return r;
        return copy_text(l->facts.uuid, sizeof(l->facts.uuid), crypt_get_uuid(cd), "UUID", err);
}

int luks_borrow(void *context, struct luks **ret, struct luks_reason *why, struct error *err) {
        _cleanup_(luks_closep) struct luks *l = calloc(1, sizeof(*l));
        struct rules_subject s;
        int r;

        if (!l)
                return error_nomem(err);
        l->at = (struct place) PLACE_INIT;
        l->copies.mem_fd = -1;
        r = dump(l, context, why, err);
        if (r == LUKS_OK)
                r = find_place(l, context, why, err);
        if (r < 0)
                return error_prefix(err, "header");
        if (r != LUKS_OK)
                return r;

        l->facts.device_size = l->at.data.size;
        s = subject_of(l);
        r = (int) luks_rules_header(&s, why);
        if (r != LUKS_OK)
                return r;
        slots_of(l->metadata, &l->facts.slots, &l->facts.data_slots);
        r = slots_check(l, why);
        if (r == LUKS_OK)
                *ret = TAKE(l);
        return r;
}

const char *luks_borrowed_device(void *context) {
        return crypt_get_device_name(context);
}

void luks_borrowed_log(void *context, enum luks_log level, const char *line) {
        static const int levels[] = {
                [LUKS_LOG_ERROR] = CRYPT_LOG_ERROR,
                [LUKS_LOG_NORMAL] = CRYPT_LOG_NORMAL,
                [LUKS_LOG_VERBOSE] = CRYPT_LOG_VERBOSE,
        };

        crypt_log(context, levels[level], line);
}
