/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <libcryptsetup.h>

#include "luks/internal.h"

#define METADATA_SIZE 65536ULL    /* bytes of one copy */
#define HEADER_SIZE (16ULL << 20) /* bytes, keyslots and all */
#define DATA_MIN (1ULL << 20)     /* bytes: less is no disk */
#define SECTOR 512                /* bytes, in which libcryptsetup counts offsets */
#define VOLUME_KEY_SIZE 64        /* bytes */

/* The data begins behind the header, or at its own beginning. */
static uint64_t data_offset(const struct place *p) {
        return place_detached(p) ? 0 : HEADER_SIZE;
}

static int set_up(struct lib *c, const struct place *p, struct error *err) {
        int r;

        r = lib_set_pbkdf(c, LUKS_SLOT_OURS, err);
        if (r < 0)
                return r;
        r = crypt_set_metadata_size(c->cd, METADATA_SIZE, HEADER_SIZE - 2 * METADATA_SIZE);
        if (r == 0)
                r = crypt_set_data_offset(c->cd, data_offset(p) / SECTOR);
        if (r < 0)
                return lib_fault(c, r, "set the sizes of the header", err);
        return 0;
}

static int write_header(struct lib *c, const struct place *p, struct secret *volume_key,
                        struct error *err) {
        struct crypt_params_luks2 params = {
                .sector_size = (p->data.size - data_offset(p)) % 4096 == 0 ? 4096 : 512,
        };
        char path[32];
        int r;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", p->data.fd);
        if (place_detached(p))
                params.data_device = path;
        r = set_up(c, p, err);
        if (r < 0)
                return r;
        r = crypt_format(c->cd, CRYPT_LUKS2, "aes", "xts-plain64", NULL,
                         (const char *) secret_data(volume_key), secret_size(volume_key), &params);
        if (r < 0)
                return lib_fault(c, r, "write a new header", err);
        return 0;
}

/* The context keeps the volume key until it's freed: that's before this returns. */
static int make(const struct place *p, struct secret *volume_key, struct error *err) {
        _cleanup_(lib_freep) struct lib *c = NULL;
        int r;

        r = lib_new(place_head(p)->fd, &c, err);
        if (r < 0)
                return r;
        r = write_header(c, p, volume_key, err);
        if (r < 0)
                return r;
        if (fsync(place_head(p)->fd) < 0)
                return error_errno(err, -errno, "make the header durable");
        return 0;
}

static int edit_new(const struct luks_source *to, struct luks_edit **ret, struct error *err) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        struct luks_reason why = { 0 };
        int r;

        r = luks_open(to, &l, &why, err);
        if (r == LUKS_OK && l->facts.degraded)
                return error_set(err, -EIO, "read the header back: %s", l->facts.degraded_text);
        if (r == LUKS_OK)
                r = luks_edit(l, ret, &why, err);
        if (r < 0)
                return error_prefix(err, "read the header back");
        if (r != LUKS_OK)
                return error_set(err, -EIO, "read the header back: %s: %s", why.rule, why.text);
        luks_edit_own(*ret);
        (void) TAKE(l);
        return 0;
}

/* A file for a detached header that isn't there yet, and the folder's word for it. Return: 1 where
 * it was made, 0 where there is one; or a fault. */
static int header_file(const char *path, struct error *err) {
        _cleanup_(close_fdp) int fd = -1, dir = -1;
        _cleanup_(freep) char *copy = strdup(path);

        if (!copy)
                return error_nomem(err);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 && errno == EEXIST)
                return 0;
        if (fd < 0)
                return error_errno(err, -errno, "make the file %.100s", path);
        dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || fsync(dir) < 0)
                return error_errno(err, -errno, "make the file %.100s durable", path);
        return 1;
}

static int too_small(struct luks_reason *why, const char *what, uint64_t size, uint64_t min) {
        return luks_refuse(why, LUKS_REFUSED, "size",
                           "%s has %" PRIu64 " bytes, expected at least %" PRIu64, what, size, min);
}

/* Both are looked at before anything is written. */
static int check(struct place *p, struct luks_reason *why, struct error *err) {
        uint64_t min = data_offset(p) + DATA_MIN;

        if (p->data.size < min)
                return too_small(why, "the device", p->data.size, min);
        if (!place_detached(p) || p->header.size >= HEADER_SIZE)
                return LUKS_OK;
        if (p->header.block)
                return too_small(why, "the device of the header", p->header.size, HEADER_SIZE);
        if (ftruncate(p->header.fd, HEADER_SIZE) < 0)
                return error_errno(err, -errno, "grow the file of the header");
        p->header.size = HEADER_SIZE;
        return LUKS_OK;
}

static int format(const struct luks_source *to, struct secret *volume_key, struct luks_edit **ret,
                  struct luks_reason *why, struct error *err) {
        _cleanup_(place_close) struct place p = PLACE_INIT;
        int r;

        r = place_open(to, O_RDWR, &p, why, err);
        if (r == LUKS_OK)
                r = check(&p, why, err);
        if (r == LUKS_OK)
                r = make(&p, volume_key, err);
        if (r == LUKS_OK)
                r = edit_new(to, ret, err);
        return r;
}

int luks_format(const struct luks_source *to, struct secret *volume_key, struct luks_edit **ret,
                struct luks_reason *why, struct error *err) {
        int r, made = 0;

        if (secret_size(volume_key) != VOLUME_KEY_SIZE)
                return error_set(err, -EINVAL, "a volume key of %zu bytes, expected %d",
                                 secret_size(volume_key), VOLUME_KEY_SIZE);
        if (to->header)
                made = header_file(to->header, err);
        r = made < 0 ? made : format(to, volume_key, ret, why, err);
        if (r != LUKS_OK && made > 0)
                (void) unlink(to->header);
        if (r < 0)
                return error_prefix(err, "format %.100s", to->device);
        return r;
}
