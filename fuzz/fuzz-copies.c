/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/crypto.h"
#include "fuzz/fuzz.h"
#include "luks/luks.h"

/* The head of a disk through all that reads it: both binary headers, their JSON, libcryptsetup and
 * the rules. An input is a byte of flags, 512 bytes for the front of each binary header, the JSON
 * of the first copy, and, behind a NUL, that of the second one (none: the same). */

#define BINARY 4096
#define FRONT 512 /* bytes that an input says of a binary header */
#define AT_SIZE 8
#define AT_SUM 448
#define SUM_FIELD 64
#define COPY_MIN 16384
#define COPY_MAX 65536
#define DISK (20U << 20) /* bytes, nearly all of them a hole */
#define TEXT (1 + 2 * FRONT)

enum {
        SUM_FIRST = 1,  /* the checksum is left as it comes … */
        SUM_SECOND = 2, /* … */
        NO_FIRST = 4,
        NO_SECOND = 8,
        CUT = 16, /* the disk ends in the second copy */
};

struct disk {
        int fd;
        char path[40];
        size_t used; /* bytes that were written */
        uint8_t head[2 * COPY_MAX];
};

static size_t size_said(const uint8_t *front) {
        uint64_t n = 0;

        for (unsigned i = 0; i < 8; i++)
                n = n << 8 | front[AT_SIZE + i];
        return n >= COPY_MIN && n <= COPY_MAX && (n & (n - 1)) == 0 ? (size_t) n : COPY_MIN;
}

static void make_copy(uint8_t *to, size_t size, const uint8_t *front, const uint8_t *text,
                      size_t n) {
        memcpy(to, front, FRONT);
        memcpy(to + BINARY, text, n < size - BINARY ? n : size - BINARY);
}

static void make_sum(uint8_t *copy, size_t size) {
        uint8_t sum[SHA256_SIZE];
        struct error err = { 0 };

        memset(copy + AT_SUM, 0, SUM_FIELD);
        MUST(crypto_sha256(copy, size, sum, &err) == 0);
        memcpy(copy + AT_SUM, sum, sizeof(sum));
}

static void make_disk(const uint8_t *data, size_t size, struct disk *d) {
        const uint8_t *text = data + TEXT, *end = data + size, *nul = memchr(text, 0, size - TEXT);
        size_t copy = size_said(data + 1), n = (size_t) ((nul ? nul : end) - text);
        const uint8_t *text2 = nul ? nul + 1 : text;
        uint8_t flags = data[0];

        memset(d->head, 0, sizeof(d->head));
        d->used = 2 * copy;
        if (!(flags & NO_FIRST)) {
                make_copy(d->head, copy, data + 1, text, n);
                if (!(flags & SUM_FIRST))
                        make_sum(d->head, copy);
        }
        if (!(flags & NO_SECOND)) {
                make_copy(d->head + copy, copy, data + 1 + FRONT, text2,
                          nul ? (size_t) (end - text2) : n);
                if (!(flags & SUM_SECOND))
                        make_sum(d->head + copy, copy);
        }
        d->fd = memfd_create("disk", MFD_CLOEXEC);
        MUST(d->fd >= 0);
        MUST(ftruncate(d->fd, flags & CUT ? (off_t) (copy + BINARY) : (off_t) DISK) == 0);
        if (flags & CUT)
                d->used = copy + BINARY;
        MUST(pwrite(d->fd, d->head, d->used, 0) == (ssize_t) d->used);
        (void) snprintf(d->path, sizeof(d->path), "/proc/self/fd/%d", d->fd);
}

static void must_be_untouched(const struct disk *d) {
        static uint8_t now[2 * COPY_MAX];

        MUST(pread(d->fd, now, d->used, 0) == (ssize_t) d->used);
        MUST(memcmp(now, d->head, d->used) == 0);
        /* Nothing was written into the hole behind it. */
        MUST(lseek(d->fd, (off_t) d->used, SEEK_DATA) < 0 ||
             lseek(d->fd, (off_t) d->used, SEEK_DATA) < (off_t) (d->used + BINARY));
}

static int open_it(const struct disk *d) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        _cleanup_(freep) char *covered = NULL;
        const struct luks_source from = { .device = d->path };
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        int r = luks_open(&from, &l, &why, &err);

        if (r < 0)
                MUST(err.text[0]);
        if (r > 0)
                MUST(why.rule[0] && printable(why.rule) && printable(why.text));
        if (r == LUKS_OK) {
                MUST(strcmp(luks_facts(l)->cipher, "aes-xts-plain64") == 0);
                MUST(strlen(luks_facts(l)->uuid) == 36 && printable(luks_facts(l)->uuid));
                MUST(printable(luks_facts(l)->degraded_text));
                if (luks_covered(l, -1, NULL, &covered, &err) == 0)
                        MUST(strstr(covered, "aes-xts-plain64"));
        }
        return r;
}

static bool refuses(const struct luks_examined *x) {
        for (size_t i = 0; i < luks_examined_count(x); i++)
                if (luks_examined_at(x, i)->verdict == LUKS_BREAKS &&
                    luks_examined_at(x, i)->decides)
                        return true;
        return false;
}

/* Each keyslot as one of somebody else's: those decide that open the data. */
static void examine_slots(struct luks_examined *x) {
        const struct json *slots;
        struct error err = { 0 };
        char number[4];

        if (!luks_examined_metadata(x) ||
            json_get(luks_examined_metadata(x), "keyslots", &slots, &err) < 0)
                return;
        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++) {
                (void) snprintf(number, sizeof(number), "%u", slot);
                if (json_has(slots, number))
                        MUST(luks_examine_slot(x, slot, LUKS_SLOT_FOREIGN, &err) >= 0);
        }
}

/* Says the same as opening does. */
static void examine(const struct disk *d, int opened) {
        _cleanup_(luks_examined_freep) struct luks_examined *x = NULL;
        const struct luks_source from = { .device = d->path };
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        int r = luks_examine(&from, &x, &why, &err);

        if (r != LUKS_OK && r != LUKS_REFUSED) {
                MUST(r == opened || r < 0);
                return;
        }
        MUST(refuses(x) == (r == LUKS_REFUSED));
        examine_slots(x);
        MUST(opened < 0 || refuses(x) == (opened == LUKS_REFUSED));
        for (size_t i = 0; i < luks_examined_count(x); i++)
                MUST(printable(luks_examined_at(x, i)->found) &&
                     printable(luks_examined_at(x, i)->expected));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct disk d;

        if (size <= TEXT)
                return 0;
        make_disk(data, size, &d);
        examine(&d, open_it(&d));
        must_be_untouched(&d);
        close_fdp(&d.fd);
        return 0;
}

/* Mostly the JSON, in its structure: that's where most of the meaning is. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        uint8_t *nul;
        size_t n;

        if (size <= TEXT || max <= TEXT)
                return LLVMFuzzerMutate(data, size, max);
        if (seed % 4 == 0) {
                (void) LLVMFuzzerMutate(data, TEXT, TEXT);
                return size;
        }
        nul = memchr(data + TEXT, 0, size - TEXT);
        if (!nul)
                return TEXT + json_mutate(data + TEXT, size - TEXT, max - TEXT, seed);
        /* The second text, so that the first one stays where it is. */
        n = (size_t) (nul + 1 - data);
        return n + json_mutate(data + n, size - n, max - n, seed);
}
