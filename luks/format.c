/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include <libcryptsetup.h>

#include "luks/internal.h"

#define METADATA_SIZE 65536ULL    /* bytes of one copy */
#define DATA_OFFSET (16ULL << 20) /* bytes */
#define DATA_MIN (1ULL << 20)     /* bytes: less is no disk */
#define SECTOR 512                /* bytes, in which libcryptsetup counts offsets */
#define VOLUME_KEY_SIZE 64        /* bytes */

static int write_header(struct lib *c, uint64_t device_size, struct secret *volume_key,
                        struct error *err) {
        struct crypt_params_luks2 params = {
                .sector_size = (device_size - DATA_OFFSET) % 4096 == 0 ? 4096 : 512,
        };
        int r;

        r = lib_set_pbkdf(c, err);
        if (r < 0)
                return r;
        r = crypt_set_metadata_size(c->cd, METADATA_SIZE, DATA_OFFSET - 2 * METADATA_SIZE);
        if (r == 0)
                r = crypt_set_data_offset(c->cd, DATA_OFFSET / SECTOR);
        if (r < 0)
                return lib_fault(c, r, "set the sizes of the header", err);
        r = crypt_format(c->cd, CRYPT_LUKS2, "aes", "xts-plain64", NULL,
                         (const char *) secret_data(volume_key), secret_size(volume_key), &params);
        if (r < 0)
                return lib_fault(c, r, "write a new header", err);
        return 0;
}

/* The context keeps the volume key until it's freed: that's before this returns. */
static int make(const struct device *d, struct secret *volume_key, struct error *err) {
        _cleanup_(lib_freep) struct lib *c = NULL;
        int r;

        r = lib_new(d->fd, &c, err);
        if (r < 0)
                return r;
        r = write_header(c, d->size, volume_key, err);
        if (r < 0)
                return r;
        if (fsync(d->fd) < 0)
                return error_errno(err, -errno, "make the header durable");
        return 0;
}

static int edit_new(const char *device, struct luks_edit **ret, struct error *err) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct luks_reason why = { 0 };
        int r;

        r = luks_open(device, &l, &why, err);
        if (r == LUKS_OK && l->facts.degraded)
                return error_set(err, -EIO, "read the header back: %s", l->facts.degraded_text);
        if (r == LUKS_OK)
                r = luks_edit(l, ret, &why, err);
        if (r < 0)
                return error_prefix(err, "read the header back");
        if (r != LUKS_OK)
                return error_set(err, -EIO, "read the header back: %s: %s", why.rule, why.text);
        edit_own_base(*ret);
        (void) TAKE(l);
        return 0;
}

int luks_format(const char *device, struct secret *volume_key, struct luks_edit **ret,
                struct luks_reason *why, struct error *err) {
        _cleanup_(device_close) struct device d = DEVICE_INIT;
        int r;

        if (secret_size(volume_key) != VOLUME_KEY_SIZE)
                return error_set(err, -EINVAL, "a volume key of %zu bytes, expected %d",
                                 secret_size(volume_key), VOLUME_KEY_SIZE);
        r = device_open(device, O_RDWR, &d, err);
        if (r < 0)
                return r;
        if (d.size < DATA_OFFSET + DATA_MIN)
                return luks_refuse(why, LUKS_REFUSED, "size",
                                   "the device has %" PRIu64 " bytes, expected at least %llu",
                                   d.size, DATA_OFFSET + DATA_MIN);
        r = make(&d, volume_key, err);
        if (r == 0)
                r = edit_new(device, ret, err);
        if (r < 0)
                return error_prefix(err, "format %.100s", device);
        return LUKS_OK;
}
