/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "luks/luks.h"

/* LUKS2 On-Disk Format 1.1, section 2.1. */
#define HDR_BINARY 4096      /* bytes of the binary header, before the JSON area */
#define HDR_SIZE_MIN 16384   /* bytes of binary header and JSON area */
#define HDR_SIZE_MAX 4194304 /* 16 KiB to 4 MiB, in powers of two */
#define KEYSLOTS_AREA_MAX (128ULL << 20)

#define CIPHER "aes-xts-plain64"
#define STRIPES 4000 /* of libcryptsetup's anti-forensic splitter */
#define SLOT_PBKDF "pbkdf2"
#define SLOT_HASH "sha512"
#define SLOT_ITERATIONS 1000 /* the least that libcryptsetup takes: the slot secret is random */
#define SLOT_CIPHER_KEY 64   /* bytes */

/* Argon2id for what somebody types: about half a second of one CPU. */
#define PASSPHRASE_PASSES 4
#define PASSPHRASE_MEMORY 65536 /* KiB */
#define PASSPHRASE_LANES 4

/* --- text.c --- */

/* Fills in @why. Return: @verdict. */
int luks_refuse(struct luks_reason *why, int verdict, const char *rule, const char *fmt, ...)
        _printf_(4, 5);

/* Copies text that a hostile header may have chosen: printable ASCII stays, the rest becomes '?',
 * what doesn't fit is cut. */
void text_safe(char *ret, size_t max, const char *text);

/* --- disk.c: the device, and libcryptsetup's lock on it --- */

struct device {
        int fd;
        uint64_t size;  /* bytes */
        bool block;     /* a block device, else a regular file */
        uint64_t dev;   /* which one it is: its number, or that of its file system … */
        uint64_t inode; /* … and its inode, 0 for a block device */
};

#define DEVICE_INIT                                                                                \
        { .fd = -1 }

/* Opens a block device or a regular file, never waiting for it. @flags: O_RDONLY or O_RDWR. */
int device_open(const char *path, int flags, struct device *ret, struct error *err) _warn_unused_;
void device_close(struct device *d);
bool device_same(const struct device *a, const struct device *b);

/* Reads @size bytes at @offset past the page cache where the device allows it. All three of buffer,
 * offset and size are multiples of 4096. -ENODATA where the device ends before. */
int device_read(const struct device *d, uint64_t offset, void *buf, size_t size,
                struct error *err) _warn_unused_;
/* A buffer for it, zeroed, for free(). NULL when out of memory. */
void *device_buffer(size_t size);

struct device_lock {
        const struct device *disk; /* NULL while there's nothing to release */
        int dir, fd;               /* of /run/cryptsetup and the lock file; -1 for a regular file */
};

#define DEVICE_LOCK_INIT                                                                           \
        { .dir = -1, .fd = -1 }

/* Waits for, and takes, libcryptsetup's shared lock. */
int device_lock(const struct device *d, struct device_lock *ret, struct error *err) _warn_unused_;
void device_unlock(struct device_lock *l);

/* --- place.c: where a disk is, opened --- */

struct place {
        struct device data;
        struct device header; /* a detached one; fd is -1 where it stands at the head of @data */
};

#define PLACE_INIT                                                                                 \
        { .data = DEVICE_INIT, .header = DEVICE_INIT }

/* @flags: for what holds the header. Return: LUKS_OK; LUKS_REFUSED where both are the same; or a
 * fault. */
int place_open(const struct luks_source *from, int flags, struct place *ret,
               struct luks_reason *why, struct error *err) _warn_unused_;
void place_close(struct place *p);
bool place_detached(const struct place *p);
/* What holds the header. */
const struct device *place_head(const struct place *p);
bool place_same(const struct place *a, const struct place *b);

/* --- copy.c: the two copies of the metadata --- */

#define COPY_FIELDS 512 /* bytes in front of each, in which all fields of the binary header are */

struct copies {
        int mem_fd; /* the memfd that holds the good ones, and nothing else so far; or -1 */
        uint64_t metadata_size; /* of one copy, bytes */
        bool degraded;
        char degraded_text[120];
        bool good[2];
        uint8_t sum[2][SHA256_SIZE]; /* over all of a good copy, its own checksum aside */
        /* Of the copy that counts: */
        uint64_t seqid;
        uint8_t binary[COPY_FIELDS];
        char *text; /* its JSON as it stands there, up to the first NUL; until it was compared */
};

/* Return: LUKS_OK; LUKS_NONE, LUKS_REFUSED; or a fault. */
int copies_read(const struct device *d, struct copies *ret, struct luks_reason *why,
                struct error *err) _warn_unused_;
/* The same without a memfd: mem_fd is -1. */
int copies_look(const struct device *d, struct copies *ret, struct luks_reason *why,
                struct error *err) _warn_unused_;
void copies_done(struct copies *c);
/* Whether both copies are the same as before, byte for byte: their checksums are. */
bool copies_same(const struct copies *a, const struct copies *b);
/* Whether @after can be what an update of the JSON made of @before: id (not smaller), salt and
 * checksum aside all fields of the binary header are the same. */
bool copies_follow(const struct copies *before, const struct copies *after);
bool copies_uuid(const struct copies *c, const char *uuid);

/* Copies @size bytes at @offset from the disk to the same place of the memfd, under the lock. */
int copy_area(const struct device *d, int mem_fd, uint64_t offset, size_t size,
              struct error *err) _warn_unused_;

/* --- probe.c --- */

/* Return: 0 where libblkid finds nothing; 1 and the name of what it finds; or a fault. LUKS itself
 * counts only if @luks. */
int probe_fd(int fd, bool luks, char ret[64], struct error *err) _warn_unused_;

/* --- context.c: a context of libcryptsetup, and what it says when something fails --- */

struct crypt_device;

struct lib {
        struct crypt_device *cd;
        char said[120]; /* the last error line, printable ASCII; empty if none */
};

/* A context on an open file, for lib_free(). */
int lib_new(int fd, struct lib **ret, struct error *err) _warn_unused_;
/* The same, with the LUKS2 header that is there loaded. Return: 0; or a fault, with @ret only where
 * it was libcryptsetup that didn't load it. */
int lib_load(int fd, struct lib **ret, struct error *err) _warn_unused_;
struct lib *lib_free(struct lib *c);
DEFINE_CLEANUP(struct lib *, lib_free);

/* Fills in "what: words of libcryptsetup". Return: @errnum. */
int lib_fault(const struct lib *c, int errnum, const char *what, struct error *err);

/* The PBKDF of keyslots that are added from now on: LUKS_SLOT_OURS for a random secret, which is
 * also that of a new digest; LUKS_SLOT_FOREIGN for a passphrase. */
int lib_set_pbkdf(struct lib *c, enum luks_slot_kind kind, struct error *err) _warn_unused_;

/* --- open.c --- */

struct luks;

/* Which keyslots there are, and which of them open the data segment: a bit for each. */
void slots_of(const struct json *metadata, uint32_t *ret_all, uint32_t *ret_data);

/* A keyslot of somebody else that opens the data, too, is never opened by us, but by the owner on
 * the bad day: it must be one that cryptsetup could have made. One that opens nothing may be
 * anything. Return: LUKS_OK; LUKS_REFUSED. */
int slots_check(const struct luks *l, struct luks_reason *why) _warn_unused_;

/* libcryptsetup writes what it has in memory, in one compact form. A comment, a member that it
 * drops or takes only the last of, an escape that hides a name: whoever wrote that counted on two
 * readers who understand it in two ways. Return: LUKS_OK; LUKS_REFUSED ("text"); or a fault. */
int text_check(struct luks *l, struct luks_reason *why, struct error *err) _warn_unused_;

struct luks {
        struct luks_facts facts;
        struct place at; /* open for reading */
        struct copies copies;
        struct lib *lib;       /* on the memfd; see luks_lib() */
        uint32_t areas;        /* bit n: the area of keyslot n is in the memfd */
        char *dump;            /* of crypt_dump_json() */
        struct json *metadata; /* the same, parsed */
        size_t text_size;      /* of that in one compact form, bytes; 0: not known yet */
};

/* Fills in @l->metadata from what crypt_dump_json() says. Return: LUKS_OK; LUKS_REFUSED ("json");
 * or a fault. */
int metadata_parse(struct luks *l, const char *dump, struct luks_reason *why,
                   struct error *err) _warn_unused_;
/* All of luks_open() that comes before the rules. Return: LUKS_OK; LUKS_NONE and LUKS_REFUSED, both
 * also with @ret for luks_close(), as far as it was read; or a fault. */
int luks_read(const struct luks_source *from, struct luks **ret, struct luks_reason *why,
              struct error *err) _warn_unused_;
/* What comes behind: the rules, and what they allow to know. Return: LUKS_OK; LUKS_REFUSED; or a
 * fault. */
int luks_judge(struct luks *l, struct luks_reason *why, struct error *err) _warn_unused_;
/* Where it is, opened for reading, and nothing else of it. Return: as place_open(), with @ret also
 * where it's refused. */
int luks_start(const struct luks_source *from, struct luks **ret, struct luks_reason *why,
               struct error *err) _warn_unused_;
/* A header that was read back after a change, or rests, has no memfd and no context of its own
 * until a keyslot of it is opened. Makes both, and fails where the disk says something else by now.
 * Return: 0; or a fault. */
int luks_lib(struct luks *l, struct error *err) _warn_unused_;
/* The source that @l was opened from, borrowed from it. */
struct luks_source source_of(const struct luks *l);
/* What the rules look at. */
struct rules_subject subject_of(const struct luks *l);
