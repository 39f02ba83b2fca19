/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"

/* luks/ is the only folder that includes <libcryptsetup.h>; no type of it appears in this header.
 *
 * A LUKS2 header isn't authenticated, so it's hostile until proven: it's copied once into memory,
 * checked there as libcryptsetup understood it, and opened from that same copy. Specification:
 * LUKS2 On-Disk Format 1.1. One `struct luks` and its edits belong to one thread. */
/* What libcryptsetup sets up once in each process, as crypto_set_up(). */
void luks_set_up(void);

struct luks;      /* the private copy of one disk's header */
struct luks_edit; /* a context on the disk itself, for changes to the header that was checked */

enum luks_verdict {
        LUKS_OK = 0,
        LUKS_NONE,      /* no LUKS2 header there; the reason says what is */
        LUKS_REFUSED,   /* a rule, or the pin, refuses the header; the reason names it */
        LUKS_WRONG_KEY, /* this key doesn't open this slot */
        LUKS_NO_ROOM,   /* no free slot, area, token or JSON room for what is asked */
        LUKS_CHANGED,   /* the header on the disk isn't the one that was checked */
};

/* Why a verdict was not LUKS_OK. The text comes from a hostile header: it's printable ASCII. */
struct luks_reason {
        char rule[32];  /* what refused: "cipher", "pin", "json-room" … */
        char text[200]; /* found and expected, in words */
};

#define LUKS_SLOTS_MAX 32
#define LUKS_TOKENS_MAX 32
#define LUKS_SECRET_SIZE 32 /* bytes of a slot secret of ours */

struct luks_facts {
        char uuid[40];
        char cipher[32];         /* "aes-xts-plain64" */
        uint32_t key_size;       /* of the volume key, bytes; 0 while no keyslot is bound */
        uint32_t sector_size;    /* bytes */
        uint64_t data_offset;    /* bytes */
        uint64_t device_size;    /* of the device that holds the data, bytes */
        uint64_t metadata_size;  /* of one of the two copies, bytes */
        uint64_t keyslots_size;  /* of the area behind them, bytes */
        uint32_t slots;          /* bit n: keyslot n is used */
        uint32_t data_slots;     /* … and bound to the digest of the data segment */
        bool degraded;           /* one copy is damaged, or one update behind: see luks_open() */
        char degraded_text[120]; /* which, in words */
        char device[256];        /* the path of the data */
        char header[256];        /* the path of a detached header; empty where it's on the device */
};

/* Where a disk is. */
struct luks_source {
        const char *device; /* a block device or a regular file */
        const char *header; /* a detached header, the same; NULL: at the head of @device */
};

/**
 * luks_open() - copy, load and check the header of a disk
 * @from:   where it is; opened read-only, never written
 * @ret:    on LUKS_OK the checked copy, for luks_close(); untouched otherwise
 * @why:    filled in on every other verdict
 *
 * Reads both copies of the header once, under libcryptsetup's own lock, into a memfd; the keyslot
 * areas later, one by one, as they are opened. The copies must be equal, or one of them damaged, or
 * one update behind the other (a cut between two writes): then the one that libcryptsetup chose
 * counts, and luks_facts() says degraded. The rules for everything are checked here, those for a
 * keyslot where it opens the data segment, as for one of cryptsetup's.
 *
 * Return: LUKS_OK, LUKS_NONE, LUKS_REFUSED; or a fault (-ENOENT, -EACCES, -EIO, -ENOMEM …).
 */
int luks_open(const struct luks_source *from, struct luks **ret, struct luks_reason *why,
              struct error *err) _warn_unused_;
struct luks *luks_close(struct luks *l);
DEFINE_CLEANUP(struct luks *, luks_close);
/* Gives the memory back that only opening a keyslot needs, for who keeps a header for a while. It's
 * read again if one is opened, and must be the same, byte for byte. */
void luks_rest(struct luks *l);

const struct luks_facts *luks_facts(const struct luks *l);

/* The whole metadata as libcryptsetup dumped it, parsed. Borrowed. */
const struct json *luks_metadata(const struct luks *l);

/* The token with this number, or NULL. Borrowed. */
const struct json *luks_token(const struct luks *l, unsigned id);

/* --- a header in a context of libcryptsetup that belongs to somebody else --- */

/**
 * luks_borrow() - check a header as somebody else's context shows it
 * @context: their struct crypt_device, with a LUKS2 header loaded; asked, never changed
 * @ret:     on LUKS_OK the header, for luks_close(); untouched otherwise
 *
 * Weaker than luks_open(): no copy is made, the two copies on the disk aren't compared, and what
 * the context does later isn't seen. The result takes luks_facts() (paths, sizes, UUID, slots),
 * luks_metadata(), luks_token(), luks_covered(), luks_pin_check() and luks_slot_check(), and
 * nothing else: no keyslot is opened with it.
 *
 * Return: LUKS_OK, LUKS_NONE, LUKS_REFUSED; or a fault.
 */
int luks_borrow(void *context, struct luks **ret, struct luks_reason *why,
                struct error *err) _warn_unused_;

/* The data device, as their context has it, or NULL. Borrowed. */
const char *luks_borrowed_device(void *context);

enum luks_log { LUKS_LOG_ERROR, LUKS_LOG_NORMAL, LUKS_LOG_VERBOSE };

/* A @line for whoever they log to, with its newline. */
void luks_borrowed_log(void *context, enum luks_log level, const char *line);

/* --- the rules, one by one, for people: needs no key and no TPM --- */

struct luks_examined; /* a header, and what each rule says of it */

struct luks_finding {
        const char *rule; /* "cipher" … */
        int slot;         /* the keyslot that it's about, or -1 */
        enum { LUKS_HOLDS, LUKS_BREAKS, LUKS_SKIPPED } verdict; /* skipped: nothing to look at */
        bool decides; /* whether a disk is refused where it breaks: all, but of unbound keyslots */
        char found[96];    /* printable ASCII, also where the rule holds */
        char expected[96]; /* … */
};

/* Like luks_open(), but goes on behind the first rule that refuses. What comes before the rules
 * (both copies read and compared, loaded by libcryptsetup) stands in the list as rules of their
 * own: "copies", "load", "json"; where one of them breaks, the others are skipped. "text" comes
 * behind the rules.
 *
 * Return: LUKS_OK and LUKS_REFUSED, both with @ret for luks_examined_free(); LUKS_NONE; or a fault.
 */
int luks_examine(const struct luks_source *from, struct luks_examined **ret,
                 struct luks_reason *why, struct error *err) _warn_unused_;
struct luks_examined *luks_examined_free(struct luks_examined *x);
DEFINE_CLEANUP(struct luks_examined *, luks_examined_free);
size_t luks_examined_count(const struct luks_examined *x);
const struct luks_finding *luks_examined_at(const struct luks_examined *x, size_t i);
/* The metadata as libcryptsetup dumped it, hostile text and all; NULL where it wasn't loaded. */
const struct json *luks_examined_metadata(const struct luks_examined *x);

/* Which template a keyslot is held against before it's tried. */
enum luks_slot_kind {
        LUKS_SLOT_OURS,    /* exactly what luks_slot_add() makes of a random secret */
        LUKS_SLOT_FOREIGN, /* of cryptsetup: PBKDF2, argon2i, argon2id at bounded cost */
};

/* Adds what the rules for one keyslot say. Return: LUKS_OK; LUKS_REFUSED; or -ENOMEM. */
int luks_examine_slot(struct luks_examined *x, unsigned slot, enum luks_slot_kind kind,
                      struct error *err) _warn_unused_;

/* What the rules say of one keyslot, without a key. luks_slot_open() asks the same; this is for
 * whoever wants to know before the key is fetched. Return: LUKS_OK; LUKS_REFUSED. */
int luks_slot_check(const struct luks *l, unsigned slot, enum luks_slot_kind kind,
                    struct luks_reason *why) _warn_unused_;

/* What is tried on which keyslot. */
struct luks_key {
        unsigned slot; /* its number; never "any" */
        enum luks_slot_kind kind;
        struct secret *key; /* slot secret or passphrase; borrowed */
};

/**
 * luks_slot_open() - recover the volume key with the key of one keyslot
 * @ret: on LUKS_OK the volume key, the caller's; untouched otherwise
 *
 * The slot's area is copied from the disk when it's first opened, and never again. A key that opens
 * proves little: compare with the pin before the result is used.
 *
 * Return: LUKS_OK, LUKS_WRONG_KEY, LUKS_REFUSED; or a fault.
 */
int luks_slot_open(struct luks *l, const struct luks_key *key, struct secret **ret,
                   struct luks_reason *why, struct error *err) _warn_unused_;

/* --- the pin: what the header must be, in the words of whoever holds a key of ours --- */

#define LUKS_PIN_RULES 1
#define LUKS_MAC_SIZE 32

struct luks_pin {
        uint32_t rules;             /* LUKS_PIN_RULES: version of the covered form */
        uint8_t mac[LUKS_MAC_SIZE]; /* over the covered form with our keyslot, by the slot secret */
        uint8_t vmac[LUKS_MAC_SIZE]; /* over the same without it, by the volume key */
        uint8_t vk[LUKS_MAC_SIZE];   /* of the volume key, by the slot secret */
};

/* A header as it will be once a token was set or removed. */
struct luks_plan {
        unsigned token;
        const struct json *json; /* NULL: removed */
};

/* The covered form in canonical JSON, for free(): uuid, segments, config (json_size, keyslots_size,
 * requirements), the digest of the data segment without its list of keyslots, the SHA-256 of each
 * escrow token in order, and, where @slot isn't negative, that keyslot without its priority.
 * @plan: NULL for the header as it is. */
int luks_covered(const struct luks *l, int slot, const struct luks_plan *plan, char **ret,
                 struct error *err) _warn_unused_;

/* What a pin is made with. */
struct luks_pin_keys {
        unsigned slot;
        struct secret *slot_secret, *volume_key; /* borrowed */
};

/* @plan: NULL for the header as it is. */
int luks_pin_make(const struct luks *l, const struct luks_pin_keys *keys,
                  const struct luks_plan *plan, struct luks_pin *ret,
                  struct error *err) _warn_unused_;

/* Before the slot is opened. Return: LUKS_OK, LUKS_REFUSED ("pin"); or a fault. */
int luks_pin_check(const struct luks *l, unsigned slot, struct secret *slot_secret,
                   const struct luks_pin *pin, struct luks_reason *why,
                   struct error *err) _warn_unused_;

/* Once it was: the volume key is the pinned one, and both MACs agree. Return: as above. */
int luks_pin_check_key(const struct luks *l, struct secret *slot_secret, struct secret *volume_key,
                       const struct luks_pin *pin, struct luks_reason *why,
                       struct error *err) _warn_unused_;

/* For whoever came in by another keyslot and has no slot secret: the second MAC alone. Return: as
 * above. */
int luks_pin_check_owner(const struct luks *l, struct secret *volume_key,
                         const struct luks_pin *pin, struct luks_reason *why,
                         struct error *err) _warn_unused_;

/* What is measured of a disk once it was opened at boot: an HMAC by the volume key over the pin
 * that it makes (vmac), so over the cipher and all else that is covered. Of the two MACs that's the
 * one that holds whichever key opened the disk, and that a new keyslot of ours leaves as it is.
 * It's made anew, and is the pinned one only where that was checked before. @recovered: the owner's
 * key opened it, and whoever reads the PCR shall see that. Return: 0; or a fault. */
int luks_latch_value(const struct luks *l, struct secret *volume_key, bool recovered,
                     uint8_t ret[LUKS_MAC_SIZE], struct error *err) _warn_unused_;

/* --- changes --- */

/**
 * luks_edit() - open the disk itself for changes to its header
 * @l: the checked copy; borrowed for as long as the edit lives
 *
 * Return: LUKS_OK; LUKS_CHANGED where the disk's header isn't @l's byte for byte; or a fault
 *         (-EROFS, -EACCES …, the disk as it was).
 */
int luks_edit(struct luks *l, struct luks_edit **ret, struct luks_reason *why,
              struct error *err) _warn_unused_;
struct luks_edit *luks_edit_close(struct luks_edit *e);
DEFINE_CLEANUP(struct luks_edit *, luks_edit_close);

/* Makes the edit close the header that it began with, which is otherwise borrowed, as soon as a
 * change has taken its place. luks_edit_result() is the way to it from then on. */
void luks_edit_own(struct luks_edit *e);

/* Whether both copies on the disk are still, byte for byte, the ones that @l was opened from, or
 * that the last change of @e left: whoever keeps a header for a while asks before the next step.
 * Return: LUKS_OK, LUKS_CHANGED; or a fault. */
int luks_unchanged(const struct luks *l, struct luks_reason *why, struct error *err) _warn_unused_;
int luks_edit_unchanged(struct luks_edit *e, struct luks_reason *why,
                        struct error *err) _warn_unused_;

/* The header as the last change left it, read back from the disk. Borrowed, until the next change.
 */
struct luks *luks_edit_result(struct luks_edit *e);

/* What a change needs, checked before the first byte is written. */
struct luks_need {
        bool slot;   /* a free keyslot, and an area for one of ours */
        bool token;  /* a free token number */
        size_t json; /* bytes of compact JSON that come on top */
};

/* Return: LUKS_OK, and the free numbers in @ret_slot and @ret_token (each may be NULL);
 * LUKS_NO_ROOM. */
int luks_room(const struct luks *l, const struct luks_need *need, unsigned *ret_slot,
              unsigned *ret_token, struct luks_reason *why, struct error *err) _warn_unused_;

/* Each of these is one commit: libcryptsetup writes both copies, then we fsync the disk ourselves,
 * read both copies back through another descriptor and compare them with what was meant
 * (libcryptsetup drops errors of fsync). After a fault the state of the disk is unknown but sound:
 * close the edit, open the disk again. Return: 0; or a fault. */
/* LUKS_SLOT_OURS: PBKDF2 with few iterations, for a random secret. LUKS_SLOT_FOREIGN: argon2id (4
 * passes over 64 MiB), for a passphrase that somebody types. */
int luks_slot_add(struct luks_edit *e, const struct luks_key *key, struct secret *volume_key,
                  struct error *err) _warn_unused_;
int luks_slot_remove(struct luks_edit *e, unsigned slot, struct error *err) _warn_unused_;
int luks_token_set(struct luks_edit *e, unsigned id, const struct json *token,
                   struct error *err) _warn_unused_;
int luks_token_remove(struct luks_edit *e, unsigned id, struct error *err) _warn_unused_;

/* --- new disks --- */

/* Looks for any signature that libblkid knows (file systems, RAID, partition tables, LUKS …).
 * Return: 0 where there is none; 1 where there is one, with its name in @ret; or a fault. */
int luks_probe(const char *device, char ret[64], struct error *err) _warn_unused_;

/**
 * luks_find() - the block device with a UUID, among all that the kernel has now
 * @uuid: of what's on it, a LUKS2 header's too, as libblkid writes it
 *
 * Where several have it, it's one of them: who opens it checks what it is. Return: 1; 0 where there
 * is none; -ENAMETOOLONG.
 */
int luks_find(const char *uuid, char ret[256], struct error *err) _warn_unused_;
/* The reverse: the UUID of what's on @device. Return: false where it has none. */
bool luks_uuid_of(const char *device, char ret[40]);

/* Removes every signature that libblkid knows and whose name is in @types (as luks_probe() says
 * them, with or without the version, in any case of letters; NULL at the end), as wipefs does,
 * backups too, durable when it returns. Before anything is written all are looked at. Return: 0;
 * -EEXIST where there's one of another name, which is in @ret_other, and nothing was written; or a
 * fault. */
int luks_wipe_signatures(const char *device, const char *const *types, char ret_other[64],
                         struct error *err) _warn_unused_;

/**
 * luks_format() - write a new LUKS2 header, without any key
 * @to:         probed before by the caller, both where the header is detached
 * @volume_key: 64 bytes (aes-xts-plain64, two keys of 256 bits)
 * @ret:        on LUKS_OK an edit on the new header
 *
 * Metadata areas of 64 KiB, so that tokens have room; data from 16 MiB on, or from 0 where the
 * header is detached; sectors of 4096 bytes where the device's size allows, else 512.
 * A regular file for a detached header is made (0600) where there is none, and grown to 16 MiB.
 *
 * Return: LUKS_OK; LUKS_REFUSED (too small …); or a fault.
 */
int luks_format(const struct luks_source *to, struct secret *volume_key, struct luks_edit **ret,
                struct luks_reason *why, struct error *err) _warn_unused_;

/* --- device-mapper --- */

/* Whether this kernel has device-mapper. */
bool luks_have_dm(void);

/* Makes /dev/mapper/@name from the checked copy with the proven volume key. Persistent flags in the
 * header are ignored. Return: 0; -EEXIST, -ENODEV (no device-mapper), -EIO … */
int luks_activate(struct luks *l, const char *name, struct secret *volume_key,
                  struct error *err) _warn_unused_;

/* Return: 0; -ENODEV (no device-mapper), -ENOENT (not active), -EBUSY (in use), -EIO … */
int luks_deactivate(const char *name, struct error *err) _warn_unused_;

/* Whether /dev/mapper/@name is an active mapping. */
bool luks_is_active(const char *name);
/* Whether it is, and of the disk with this UUID: as the kernel was told when it was opened, not as
 * the header says now. */
bool luks_is_active_of(const char *name, const char *uuid);
