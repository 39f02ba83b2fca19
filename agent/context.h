/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/refusal.h"
#include "agent/second-factor.h"
#include "base/error.h"
#include "base/secret.h"
#include "keys/archive.h"
#include "keys/kek.h"
#include "keys/store.h"
#include "tpm/tpm.h"

/* What an operation works with. One for each run; everything in it is released by context_done().
 */

#define KEKS_OPEN_MAX 16
#define PCRS_DEFAULT (1u << 7)

struct named_policy;

/* A record as this run read it, and what came of that. */
struct seen_record {
        bool known;
        char name[NAME_MAX_SIZE];
        int result;
        struct error err;
        struct kek_record *record; /* owned */
};

struct context {
        char tcti[256]; /* empty: the default */
        char state_dir[256];
        char config_dir[256];
        char event_log[256];    /* of the firmware; empty: the kernel's */
        uint32_t counter_index; /* where to begin to look for a free NV index; 0: the default */
        char ek_roots[256];     /* trusted to certify TPMs; empty: nothing is checked */
        uint64_t rotate_every;  /* of a KEK's current version, seconds; UINT64_MAX: never by age */
        uint64_t rotate_delay;  /* at most so many seconds later */
        char run_dir[256];      /* what holds until the next boot */
        char boot_disk[256];   /* that an initrd opens: UUID=…, a path, or a name; may be empty */
        char boot_mirror[256]; /* UUID=…/FOLDER on FAT: the mirror, for the initrd; may be empty */
        uint64_t boot_timeout; /* how long it waits for that disk, and for the TPM, seconds */
        bool dry_run;
        bool unlogged;   /* no audit log: what this sees of the state folder goes with the initrd */
        bool tpm_only;   /* what an earlier boot phase handed over isn't taken */
        bool unattended; /* nobody is asked for a PIN: what wants one is refused */
        const struct named_policy
                *policy;                 /* that the user says a KEK has; NULL: as it's recorded */
        const char *pin_file;            /* where a PIN is; NULL: ask, where there's a terminal */
        struct archive_retention retain; /* of retired KEK versions */
        char mirror[256]; /* of KEK records, see agent/mirror.h; empty: look for it */

        struct tpm *tpm; /* connected when first needed */
        /* KEKs that were unsealed or made in this run: none is unsealed twice. */
        unsigned open;
        struct {
                struct kek kek;
                struct secret *key;
                bool archived; /* it's from the archive, not from the TPM */
        } opened[KEKS_OPEN_MAX];
        struct seen_record record, mirror_record; /* of the KEK that was last asked for */
        struct secret *factor_input;              /* what was last got as second factor … */
        struct factor_source factor_source;       /* … and from where */
        int lock_fd;                              /* -1 unless context_lock() was called */
        char note[320]; /* what the user should know beside the result; empty if nothing */
};

#define RETAIN_VERSIONS 100
#define BOOT_TIMEOUT 60
#define RUN_DIR "/run/diskseal"

#define CONTEXT_INIT                                                                               \
        {                                                                                          \
                .lock_fd = -1, .retain = { .versions = RETAIN_VERSIONS, .seconds = UINT64_MAX },   \
                .rotate_every = UINT64_MAX, .boot_timeout = BOOT_TIMEOUT, .run_dir = RUN_DIR       \
        }

void context_done(struct context *c);
/* A new one with the same settings: nothing that this run has in memory is in it. */
struct context context_like(const struct context *c);

/* Connects where it isn't yet. The TPM stays locked against others until context_release_tpm(). */
int context_tpm(struct context *c, struct error *err) _warn_unused_;
void context_release_tpm(struct context *c);

/* The KEK, from this run's memory, from what the boot handed over, from the TPM, or, where it was
 * retired, from the archive or its mirror; where the latch is shut, from the record of the OS
 * disk's KEK. Borrowed. @subject is for the refusal. Return: OUTCOME_DONE, OUTCOME_REFUSED; or a
 * fault. */
int context_kek(struct context *c, const char *subject, const struct kek *kek, struct secret **ret,
                struct refusal *why, struct error *err) _warn_unused_;

/* The same without that record. */
int context_kek_own(struct context *c, const char *subject, const struct kek *kek,
                    struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;

/* The same without archive, too. */
int context_kek_by_tpm(struct context *c, const char *subject, const struct kek *kek,
                       struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;

/* The same from the TPM, and under whatever policy, for one that was made in this run. */
int context_kek_made(struct context *c, const char *subject, const struct kek *kek,
                     struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;

/* Gives the context a KEK that this run made; owned by it from then on, also on failure. */
int context_keep(struct context *c, const struct kek *kek, struct secret *key,
                 struct error *err) _warn_unused_;

/* What this machine knows of the KEK, for free(): where that's nothing, a record with its name
 * alone. Read once, for as long as nothing else is asked for: whoever writes one calls
 * context_forget_records(). Return: 0; -EBADMSG where it's damaged; or another fault. */
int context_record(struct context *c, const char *name, struct kek_record **ret,
                   struct error *err) _warn_unused_;
/* The same of the mirror's. Return: as mirror_read(). */
int context_mirror(struct context *c, const char *name, struct kek_record **ret,
                   struct error *err) _warn_unused_;
void context_forget_records(struct context *c);

/* One change at a time for each state folder: waits for the others. Held until context_done(). */
int context_lock(struct context *c, struct error *err) _warn_unused_;
/* No change while this is held, for whoever opens a disk; many may. Where nothing was ever changed
 * there's nothing to wait for, and nothing is made. */
int context_lock_shared(struct context *c, struct error *err) _warn_unused_;

/* STATE_DIR/keks */
void context_store(const struct context *c, char ret[300]);
