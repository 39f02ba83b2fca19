/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/context.h"
#include "agent/refusal.h"
#include "agent/rotation.h"
#include "agent/state.h"
#include "base/error.h"
#include "keys/store.h"
#include "luks/luks.h"

/* The operations behind the verbs: each takes what it needs, does it, and returns a result; nobody
 * prints here. All return OUTCOME_DONE, OUTCOME_REFUSED (see @why), or a fault; then nothing was
 * lost, and unless it's said otherwise nothing was changed. With context.dry_run they stop before
 * the first change. */

#define KEK_DEFAULT "default"
#define PCRS_DEFAULT (1u << 7)

/* How an operation that changes nothing yet can be asked to stop: set by a signal handler. */
extern volatile sig_atomic_t op_stop;

/* Which disk a user means: a path, or the name of a known disk. */
int op_resolve(const struct context *c, const char *what, char ret_device[256], struct refusal *why,
               struct error *err) _warn_unused_;

struct op_enroll {
        const char *device, *name, *role, *kek;
        uint32_t pcr_mask;    /* 0: that of the KEK, or for a new one PCRS_DEFAULT */
        const char *key_file; /* adopt: NULL for a disk of ours that isn't recorded */
};

struct op_enrolled {
        struct luks_facts facts;
        unsigned slot;
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        uint32_t pcr_mask;
        bool kek_is_new;
        unsigned foreign_slot; /* adopt: which slot the key file opened; LUKS_SLOTS_MAX: none */
};

/* What a format would meet: checked before anybody is asked to confirm. */
int op_format_check(const struct op_enroll *args, struct refusal *why,
                    struct error *err) _warn_unused_;
int op_format(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
              struct refusal *why, struct error *err) _warn_unused_;
/* -ENOKEY: the disk isn't ours yet, and there's no key file. */
int op_adopt(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
             struct refusal *why, struct error *err) _warn_unused_;

struct op_unlocked {
        char name[NAME_MAX_SIZE], uuid[40], role[8];
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        unsigned slot;
        bool degraded;
        char degraded_text[120];
};

/* Without @test, makes /dev/mapper/NAME. */
int op_unlock(struct context *c, const char *device, bool test, struct op_unlocked *ret,
              struct refusal *why, struct error *err) _warn_unused_;

int op_lock(struct context *c, const char *name, struct refusal *why,
            struct error *err) _warn_unused_;

struct op_removed {
        char name[NAME_MAX_SIZE], uuid[40];
        unsigned slot;
        unsigned other_slot; /* which is known to open the disk from now on */
};

/* @key_file may be NULL: then another key must have been proven here before. */
int op_remove(struct context *c, const char *device, const char *key_file, struct op_removed *ret,
              struct refusal *why, struct error *err) _warn_unused_;

enum rotated {
        ROTATED_DONE,    /* has the new version alone */
        ROTATED_ABSENT,  /* its device isn't there; it catches up when it is */
        ROTATED_FAILED,  /* keeps what opened it before */
        ROTATED_PENDING, /* not reached; run it again */
};

struct op_rotated_disk {
        struct state_disk known;
        enum rotated what;
        uint32_t version; /* that it had, the newest; 0 where unknown */
        struct refusal refusal;
        struct error error;
};

struct op_rotated {
        char kek[NAME_MAX_SIZE];
        uint32_t from, to; /* from: 0 where nothing was known */
        bool resumed;      /* an interrupted rotation was finished */
        uint32_t pcr_mask;
        double seconds;
        size_t count;
        struct op_rotated_disk *disks; /* for op_rotated_done() */
};

/* A new version for all disks of a KEK. -EINTR: stopped by a signal; everything opens, run it
 * again. OUTCOME_DONE may still have disks that failed. */
int op_rotate(struct context *c, const char *kek, struct op_rotated *ret, struct refusal *why,
              struct error *err) _warn_unused_;
void op_rotated_done(struct op_rotated *r);

enum disk_state { DISK_OPEN, DISK_LOCKED, DISK_ABSENT, DISK_REFUSED };

struct op_status_disk {
        struct state_disk known;
        enum disk_state state;
        struct luks_facts facts;
        char kek[NAME_MAX_SIZE];
        uint32_t version, staged; /* staged: 0, or the version that stands beside it */
        unsigned slot;            /* ours */
        char header[12]; /* "verified", "rules-ok", "degraded", "refused"; "unknown": absent */
        char reason[256];
};

struct op_status {
        bool tpm_present;
        struct tpm_info tpm;
        char tpm_fault[256];
        size_t keks;
        struct kek_record *kek;
        size_t disks;
        struct op_status_disk *disk;
};

/* @names: NULL, or the disks to look at. Never unseals. */
int op_status(struct context *c, char *const *names, struct op_status *ret, struct refusal *why,
              struct error *err) _warn_unused_;
void op_status_done(struct op_status *s);

/* The same without a look at disks and TPM: the KEKs, and the disks as they are recorded. */
int op_status_known(struct context *c, struct op_status *ret, struct error *err) _warn_unused_;

struct op_policy {
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        struct pcrs sealed, now; /* now.mask: 0 where the TPM didn't say */
};

struct op_policies {
        size_t count;
        struct op_policy *policy;
        char tpm_fault[256];
};

int op_policy_show(struct context *c, struct op_policies *ret, struct error *err) _warn_unused_;
void op_policies_done(struct op_policies *p);

enum op_level { OP_GOOD, OP_WARN, OP_BAD };

struct op_finding {
        enum op_level level;
        char what[64];
        char found[240];
        char advice[120]; /* empty where there's nothing to do */
};

#define OP_FINDINGS_MAX 128

struct op_doctor {
        size_t count;
        struct op_finding finding[OP_FINDINGS_MAX];
};

int op_doctor(struct context *c, struct op_doctor *ret, struct error *err) _warn_unused_;

/* --- for operations --- */

/* A KEK's current version, open. */
struct op_kek {
        const char *name;
        uint32_t pcr_mask; /* 0: whatever it's sealed to, or PCRS_DEFAULT for a new one */
        struct kek kek;
        struct secret *key; /* borrowed from the context */
        bool is_new;
};

/* Fills in the rest of @k: from the store, else from a known disk's token, else a new version 1. */
int op_kek_current(struct context *c, struct op_kek *k, struct refusal *why,
                   struct error *err) _warn_unused_;

/* Makes a version and lets the TPM give it back before anybody relies on it. The key is the
 * context's. OUTCOME_REFUSED: by the TPM, under the PCRs as they are. */
int op_kek_make(struct context *c, struct op_kek *k, uint32_t version, struct refusal *why,
                struct error *err) _warn_unused_;
