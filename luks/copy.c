/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "luks/internal.h"

/* Where the fields of the binary header stand: LUKS2 On-Disk Format 1.1, section 2.1. */
#define AT_VERSION 6
#define AT_HDR_SIZE 8
#define AT_SEQID 16
#define AT_LABEL 24
#define AT_SUM_ALG 72
#define AT_SALT 104 /* random in each copy */
#define AT_UUID 168
#define UUID_FIELD 40     /* bytes, with a NUL */
#define AT_HDR_OFFSET 256 /* where the copy says that it stands */
#define AT_SUM 448
#define SUM_FIELD 64 /* bytes */

/* Bytes that are read at once from the head of a disk: both copies of nearly any header, as one
 * answer of the disk. */
#define FRONT (128 << 10)

#define MAGIC_SIZE 6
static const char magic[2][MAGIC_SIZE + 1] = { "LUKS\xba\xbe", "SKUL\xba\xbe" };

struct copy {
        bool there; /* its magic is */
        unsigned version;
        bool good;   /* and its checksum, and all that libcryptsetup looks at before the JSON */
        uint64_t at; /* bytes from the start of the disk */
        uint64_t size, seqid;
        uint8_t *bytes; /* all of it, if good */
        uint8_t *own;   /* the same, unless they stand in the front */
        uint8_t sum[SHA256_SIZE];
};

static void copy_done(struct copy *c) {
        free(c->own);
        c->own = c->bytes = NULL;
}

struct head {
        const struct device *disk;
        uint8_t *front; /* what was read of it at once */
        size_t front_size;
};

/* One buffer for the whole process, which libcryptsetup keeps from having threads: as many pages
 * as this, touched for the first time for each header that is read, cost more than the reading. */
static int read_front(const struct device *d, struct head *ret, struct error *err) {
        static uint8_t *front;

        ret->disk = d;
        ret->front_size = d->size < FRONT ? d->size & ~(size_t) (HDR_BINARY - 1) : FRONT;
        if (ret->front_size == 0)
                return 0;
        if (!front)
                front = device_buffer(FRONT);
        if (!front)
                return error_nomem(err);
        ret->front = front;
        return device_read(d, 0, front, ret->front_size, err);
}

static uint64_t big_endian(const uint8_t *p, unsigned bytes) {
        uint64_t n = 0;

        while (bytes-- > 0)
                n = n << 8 | *p++;
        return n;
}

static bool size_allowed(uint64_t size) {
        return size >= HDR_SIZE_MIN && size <= HDR_SIZE_MAX && (size & (size - 1)) == 0;
}

static bool sane(const uint8_t *binary, unsigned which, uint64_t at, uint64_t room) {
        uint64_t size = big_endian(binary + AT_HDR_SIZE, 8);

        /* SHA-256 is the only checksum that cryptsetup ever wrote. */
        return big_endian(binary + AT_VERSION, 2) == 2 &&
               big_endian(binary + AT_HDR_OFFSET, 8) == at && size_allowed(size) &&
               size <= room - at && (which == 0 || size == at) &&
               strncmp((const char *) binary + AT_SUM_ALG, "sha256", 32) == 0;
}

static int check_sum(struct copy *c, struct error *err) {
        uint8_t stored[SUM_FIELD];
        int r;

        memcpy(stored, c->bytes + AT_SUM, SUM_FIELD);
        memset(c->bytes + AT_SUM, 0, SUM_FIELD);
        r = crypto_sha256(c->bytes, c->size, c->sum, err);
        memcpy(c->bytes + AT_SUM, stored, SUM_FIELD);
        if (r < 0)
                return r;
        c->good = memcmp(c->sum, stored, SHA256_SIZE) == 0;
        return 0;
}

/* @size bytes at @at: from the front, or into a buffer of their own, which is also in @ret_own. */
static int get(const struct head *h, uint64_t at, size_t size, uint8_t **ret, uint8_t **ret_own,
               struct error *err) {
        if (at + size <= h->front_size) {
                *ret = h->front + at;
                return 0;
        }
        *ret = *ret_own = device_buffer(size);
        if (!*ret)
                return error_nomem(err);
        return device_read(h->disk, at, *ret, size, err);
}

/* Reads what may be the copy number @which. */
static int copy_read(const struct head *h, unsigned which, uint64_t at, struct copy *ret,
                     struct error *err) {
        _cleanup_(freep) uint8_t *own = NULL;
        uint8_t *binary;
        int r;

        ret->at = at;
        if (at + HDR_BINARY > h->disk->size)
                return 0;
        r = get(h, at, HDR_BINARY, &binary, &own, err);
        if (r < 0)
                return r;
        ret->there = memcmp(binary, magic[which], MAGIC_SIZE) == 0;
        ret->version = (unsigned) big_endian(binary + AT_VERSION, 2);
        if (!ret->there || !sane(binary, which, at, h->disk->size))
                return 0;

        ret->size = big_endian(binary + AT_HDR_SIZE, 8);
        r = get(h, at, ret->size, &ret->bytes, &ret->own, err);
        if (r < 0)
                return r;
        /* The size was believed from the first read: a second one has to say the same. */
        if (memcmp(ret->bytes, binary, HDR_BINARY) != 0)
                return 0;
        ret->seqid = big_endian(ret->bytes + AT_SEQID, 8);
        return check_sum(ret, err);
}

/* The second copy begins where the first one ends; should nobody know where that is, it's looked
 * for where it may be. */
static int read_second(const struct head *h, const struct copy *first, struct copy *ret,
                       struct error *err) {
        int r;

        if (first->good)
                return copy_read(h, 1, first->size, ret, err);
        for (uint64_t at = HDR_SIZE_MIN; at <= HDR_SIZE_MAX; at *= 2) {
                struct copy c = { 0 };

                r = copy_read(h, 1, at, &c, err);
                if (r < 0 || c.good) {
                        *ret = c;
                        return r;
                }
                copy_done(&c);
                ret->there = ret->there || c.there;
        }
        return 0;
}

static int none_there(const struct device *d, struct luks_reason *why, struct error *err) {
        _cleanup_(freep) uint8_t *buf = NULL;
        char name[64];
        size_t size = 1 << 20;
        int r;

        r = probe_fd(d->fd, true, name, err);
        if (r < 0)
                return r;
        if (r == 1)
                return luks_refuse(why, LUKS_NONE, "header", "no LUKS2 header; there is: %s", name);
        if (d->size < size)
                size = d->size & ~(size_t) (HDR_BINARY - 1);
        if (size == 0)
                return luks_refuse(why, LUKS_NONE, "header", "no LUKS2 header in %" PRIu64 " bytes",
                                   d->size);
        buf = device_buffer(size);
        if (!buf)
                return error_nomem(err);
        r = device_read(d, 0, buf, size, err);
        if (r < 0)
                return r;
        if (buf[0] == 0 && memcmp(buf, buf + 1, size - 1) == 0)
                return luks_refuse(why, LUKS_NONE, "header", "blank: its first %s all zero",
                                   size == 1 << 20 ? "MiB is" : "bytes are");
        return luks_refuse(why, LUKS_NONE, "header",
                           "no LUKS2 header: no signature, and not all zero");
}

static int no_good_copy(const struct device *d, const struct copy c[2], struct luks_reason *why,
                        struct error *err) {
        if (!c[0].there && !c[1].there)
                return none_there(d, why, err);
        if (c[0].there && c[0].version == 1)
                return luks_refuse(
                        why, LUKS_NONE, "header",
                        "a LUKS1 header, not LUKS2: after a backup of it, `cryptsetup convert "
                        "--type luks2 DEVICE` makes it one");
        if (c[0].there && c[0].version != 2)
                return luks_refuse(why, LUKS_REFUSED, "version",
                                   "found LUKS version %u, expected 2", c[0].version);
        return luks_refuse(why, LUKS_REFUSED, "copies", "both copies of the header are damaged");
}

/* Only one copy is good. libcryptsetup would put it over the other one, unless what stands there
 * belongs to somebody else: then the disk was given away, and isn't ours to open. */
static int one_good_copy(const struct device *d, const struct copy c[2], struct copies *ret,
                         struct luks_reason *why, struct error *err) {
        static const char *const names[] = { "first", "second" };
        unsigned good = c[1].good;
        char name[64];
        int r;

        if (good == 1 && c[0].there && c[0].version != 2)
                return luks_refuse(why, LUKS_REFUSED, "copies",
                                   "the first copy of the header has version %u, the second 2",
                                   c[0].version);
        r = probe_fd(d->fd, false, name, err);
        if (r < 0)
                return r;
        if (r == 1)
                return luks_refuse(why, LUKS_REFUSED, "copies",
                                   "the %s copy of the header is damaged, and there is: %s",
                                   names[!good], name);
        ret->degraded = true;
        (void) snprintf(ret->degraded_text, sizeof(ret->degraded_text),
                        "the %s copy of the header is damaged; the other one counts", names[!good]);
        return LUKS_OK;
}

/* All but magic, salt, place and checksum: what differs in any two copies. */
static bool same_content(const struct copy *a, const struct copy *b) {
        return a->size == b->size &&
               memcmp(a->bytes + AT_VERSION, b->bytes + AT_VERSION, AT_SALT - AT_VERSION) == 0 &&
               memcmp(a->bytes + AT_UUID, b->bytes + AT_UUID, AT_HDR_OFFSET - AT_UUID) == 0 &&
               memcmp(a->bytes + HDR_BINARY, b->bytes + HDR_BINARY, a->size - HDR_BINARY) == 0;
}

static int two_good_copies(const struct copy c[2], struct copies *ret, struct luks_reason *why) {
        uint64_t a = c[0].seqid, b = c[1].seqid;

        if (a == b && same_content(&c[0], &c[1]))
                return LUKS_OK;
        if (a == b)
                return luks_refuse(why, LUKS_REFUSED, "copies",
                                   "both copies of the header have the id %" PRIu64 ", and differ",
                                   a);
        if ((a > b ? a - b : b - a) != 1)
                return luks_refuse(why, LUKS_REFUSED, "copies",
                                   "the copies of the header have the ids %" PRIu64 " and %" PRIu64
                                   ", expected the same or one apart",
                                   a, b);
        ret->degraded = true;
        (void) snprintf(ret->degraded_text, sizeof(ret->degraded_text),
                        "the %s copy of the header is one update behind",
                        a > b ? "second" : "first");
        return LUKS_OK;
}

static int compare(const struct device *d, const struct copy c[2], struct copies *ret,
                   struct luks_reason *why, struct error *err) {
        /* Each update adds one. From the largest number on it would begin again at 0, where
         * libcryptsetup takes the older copy for the newer one. */
        for (unsigned i = 0; i < 2; i++)
                if (c[i].good && c[i].seqid >= UINT64_MAX / 2)
                        return luks_refuse(why, LUKS_REFUSED, "copies",
                                           "the header has the id %" PRIu64
                                           ", which no disk lives long enough to reach",
                                           c[i].seqid);
        if (c[0].good && c[1].good)
                return two_good_copies(c, ret, why);
        if (c[0].good || c[1].good)
                return one_good_copy(d, c, ret, why, err);
        return no_good_copy(d, c, why, err);
}

static int write_at(int fd, uint64_t offset, const void *buf, size_t size, struct error *err) {
        if (lseek(fd, (off_t) offset, SEEK_SET) < 0)
                return error_errno(err, -errno, "seek in the copy of the header");
        return fd_write_all(fd, buf, size, "the copy of the header", err);
}

/* The bytes up to its last block that isn't all zero: what is behind them reads as zero anyway. */
static size_t used(const struct copy *c) {
        static const uint8_t zeros[HDR_BINARY];
        size_t n = c->size;

        while (n > HDR_BINARY && memcmp(c->bytes + n - HDR_BINARY, zeros, HDR_BINARY) == 0)
                n -= HDR_BINARY;
        return n;
}

/* A damaged copy stays out, so that libcryptsetup can't choose what we didn't. */
static int keep(const struct copy c[2], struct copies *ret, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;
        int r;

        fd = memfd_create("luks-header", MFD_CLOEXEC);
        if (fd < 0)
                return error_errno(err, -errno, "make a memfd");
        /* Sparse, and as large as any header: libcryptsetup wants all areas to fit. */
        if (ftruncate(fd, (off_t) (2 * HDR_SIZE_MAX + KEYSLOTS_AREA_MAX)) < 0)
                return error_errno(err, -errno, "size a memfd");
        for (unsigned i = 0; i < 2; i++) {
                if (!c[i].good)
                        continue;
                r = write_at(fd, c[i].at, c[i].bytes, used(&c[i]), err);
                if (r < 0)
                        return r;
        }
        ret->mem_fd = TAKE_FD(fd);
        return LUKS_OK;
}

static int read_both(const struct device *d, struct head *h, struct copy c[2], struct error *err) {
        _cleanup_(device_unlock) struct device_lock lock = DEVICE_LOCK_INIT;
        int r;

        r = device_lock(d, &lock, err);
        if (r == 0)
                r = read_front(d, h, err);
        if (r == 0)
                r = copy_read(h, 0, 0, &c[0], err);
        return r < 0 ? r : read_second(h, &c[0], &c[1], err);
}

/* What there is to know of the copies when their bytes are gone. The JSON is that of the copy that
 * counts: the good one, of two the later one, as libcryptsetup chooses. */
static int describe(const struct copy c[2], struct copies *ret, struct error *err) {
        const struct copy *counts = &c[!c[0].good || (c[1].good && c[1].seqid > c[0].seqid)];

        for (unsigned i = 0; i < 2; i++) {
                ret->good[i] = c[i].good;
                memcpy(ret->sum[i], c[i].sum, c[i].good ? SHA256_SIZE : 0);
        }
        ret->metadata_size = counts->size;
        ret->seqid = counts->seqid;
        memcpy(ret->binary, counts->bytes, sizeof(ret->binary));
        ret->text = strndup((const char *) counts->bytes + HDR_BINARY, counts->size - HDR_BINARY);
        return ret->text ? LUKS_OK : error_nomem(err);
}

/* @to_keep: into a memfd, too. */
static int read_copies(const struct device *d, bool to_keep, struct copies *ret,
                       struct luks_reason *why, struct error *err) {
        _cleanup_(copies_done) struct copies made = { .mem_fd = -1 };
        struct head h = { 0 };
        struct copy c[2] = { 0 };
        int r;

        r = read_both(d, &h, c, err);
        if (r == 0)
                r = compare(d, c, &made, why, err);
        if (r == LUKS_OK)
                r = describe(c, &made, err);
        if (r == LUKS_OK && to_keep)
                r = keep(c, &made, err);
        copy_done(&c[0]);
        copy_done(&c[1]);
        if (r == LUKS_OK) {
                *ret = made;
                made = (struct copies){ .mem_fd = -1 };
        }
        return r;
}

int copies_read(const struct device *d, struct copies *ret, struct luks_reason *why,
                struct error *err) {
        return read_copies(d, true, ret, why, err);
}

int copies_look(const struct device *d, struct copies *ret, struct luks_reason *why,
                struct error *err) {
        return read_copies(d, false, ret, why, err);
}

void copies_done(struct copies *c) {
        close_fdp(&c->mem_fd);
        free(c->text);
        c->text = NULL;
}

bool copies_same(const struct copies *a, const struct copies *b) {
        for (unsigned i = 0; i < 2; i++)
                if (a->good[i] != b->good[i] || memcmp(a->sum[i], b->sum[i], SHA256_SIZE) != 0)
                        return false;
        return true;
}

bool copies_uuid(const struct copies *c, const char *uuid) {
        const char *found = (const char *) c->binary + AT_UUID;

        return strnlen(uuid, UUID_FIELD) < UUID_FIELD && strncmp(found, uuid, UUID_FIELD) == 0;
}

bool copies_follow(const struct copies *before, const struct copies *after) {
        const uint8_t *a = before->binary, *b = after->binary;

        return after->seqid >= before->seqid &&
               memcmp(a + AT_VERSION, b + AT_VERSION, AT_SEQID - AT_VERSION) == 0 &&
               memcmp(a + AT_LABEL, b + AT_LABEL, AT_SALT - AT_LABEL) == 0 &&
               memcmp(a + AT_UUID, b + AT_UUID, AT_HDR_OFFSET - AT_UUID) == 0;
}

int copy_area(const struct device *d, int mem_fd, uint64_t offset, size_t size, struct error *err) {
        _cleanup_(device_unlock) struct device_lock lock = DEVICE_LOCK_INIT;
        _cleanup_(freep) void *buf = device_buffer(size);
        int r;

        if (!buf)
                return error_nomem(err);
        r = device_lock(d, &lock, err);
        if (r < 0)
                return r;
        r = device_read(d, offset, buf, size, err);
        if (r < 0)
                return r;
        return write_at(mem_fd, offset, buf, size, err);
}
