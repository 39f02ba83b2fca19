/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "luks/internal.h"

/* Where a disk is: its data, and what holds its header. */

int place_open(const struct luks_source *from, int flags, struct place *ret,
               struct luks_reason *why, struct error *err) {
        _cleanup_(place_close) struct place p = PLACE_INIT;
        int r;

        /* Nothing is ever written to the data of a disk with a detached header. */
        r = device_open(from->device, from->header ? O_RDONLY : flags, &p.data, err);
        if (r < 0)
                return r;
        if (from->header) {
                r = device_open(from->header, flags, &p.header, err);
                if (r < 0)
                        return error_prefix(err, "detached header");
                if (device_same(&p.header, &p.data))
                        return luks_refuse(why, LUKS_REFUSED, "header",
                                           "the detached header and the data are the same %s",
                                           p.data.block ? "device" : "file");
        }
        *ret = p;
        p = (struct place) PLACE_INIT;
        return LUKS_OK;
}

void place_close(struct place *p) {
        device_close(&p->data);
        device_close(&p->header);
}

bool place_detached(const struct place *p) {
        return p->header.fd >= 0;
}

const struct device *place_head(const struct place *p) {
        return place_detached(p) ? &p->header : &p->data;
}

bool place_same(const struct place *a, const struct place *b) {
        return place_detached(a) == place_detached(b) && device_same(&a->data, &b->data) &&
               (!place_detached(a) || device_same(&a->header, &b->header));
}
