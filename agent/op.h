/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/context.h"
#include "agent/due.h"
#include "agent/named-policy.h"
#include "agent/others.h"
#include "agent/refusal.h"
#include "agent/rotation.h"
#include "agent/slots.h"
#include "agent/state.h"
#include "agent/tee.h"
#include "agent/ways.h"
#include "base/error.h"
#include "keys/store.h"
#include "luks/luks.h"

/* The operations behind the verbs: each takes what it needs, does it, and returns a result; nobody
 * prints here. All return OUTCOME_DONE, OUTCOME_REFUSED (see @why), or a fault; then nothing was
 * lost, and unless it's said otherwise nothing was changed. With context.dry_run they stop before
 * the first change. */

#define KEK_DEFAULT "default"

/* How an operation that changes nothing yet can be asked to stop: set by a signal handler. */
extern volatile sig_atomic_t op_stop;

/* Which disk is meant: a path, or the name of a known one. */
struct op_disk {
        const char *what;
        const char *header; /* of a detached header, or NULL */
};

struct op_enroll {
        const char *device, *name, *role, *kek;
        const struct named_policy *policy; /* NULL: that of the KEK, or for a new one the default */
        /* adopt: what opens the disk now; neither for a disk of ours that isn't recorded, and where
         * the disk has a token of systemd or clevis. */
        const char *key_file;
        const char *bek;         /* the folder of Azure's passphrase files, or BEK_AUTO */
        const char *header;      /* of a detached header, or NULL */
        bool replace;            /* adopt: what opened it goes */
        const char *const *wipe; /* format: signatures to remove, as luks_wipe_signatures() */
};

struct op_enrolled {
        struct luks_facts facts;
        unsigned slot;
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        struct policy policy; /* that the KEK has */
        bool second_factor;   /* … beside the TPM; a PIN is one */
        bool kek_is_new;
        unsigned foreign_slot; /* adopt: which slot was opened; LUKS_SLOTS_MAX: none */
        char foreign_by[40];   /* … by what: "the key file", "its clevis token" */
        unsigned slots_removed, tokens_removed; /* adopt, replacing */
};

/* What a format would meet: checked before anybody is asked to confirm. */
int op_format_check(const struct op_enroll *args, struct refusal *why,
                    struct error *err) _warn_unused_;
int op_format(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
              struct refusal *why, struct error *err) _warn_unused_;
/* -ENOKEY: the disk isn't ours yet, there's no key file, and no token that could do without. */
int op_adopt(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
             struct refusal *why, struct error *err) _warn_unused_;

struct op_unlock {
        struct op_disk disk;
        bool test;                     /* prove that it opens; activate nothing */
        bool boot;                     /* the OS disk, at a boot: shut the latch, then open it */
        const struct owner_key *owner; /* NULL: by this TPM */
};

struct op_unlocked {
        char name[NAME_MAX_SIZE], uuid[40], role[8];
        char kek[NAME_MAX_SIZE]; /* empty where the owner's key opened it */
        uint32_t version;
        unsigned slot;
        char clone_of[256];  /* where the disk is that this is a copy of; empty if none */
        char resized[120];   /* what changed in the size of the device; empty if nothing */
        bool latched;        /* PCR 15 isn't zero any more, in no bank */
        bool must_stop;      /* a key was at hand, and the latch isn't shut: the boot must not go on
                              */
        char kept_back[256]; /* why a KEK wasn't handed over to what runs later; empty if all were
                              */
        bool degraded;
        char degraded_text[120];
        char unlogged[160]; /* why it isn't in the audit log; empty where it is, or there's none */
};

/* Without test, makes /dev/mapper/NAME. With boot, first extends PCR 15, once the key was proven:
 * where that can't be done, or isn't seen to be done, it's a fault, and the disk stays closed. */
int op_unlock(struct context *c, const struct op_unlock *args, struct op_unlocked *ret,
              struct refusal *why, struct error *err) _warn_unused_;

int op_lock(struct context *c, const char *name, struct refusal *why,
            struct error *err) _warn_unused_;

struct op_removed {
        char name[NAME_MAX_SIZE], uuid[40];
        unsigned slot;
        unsigned other_slot; /* which is known to open the disk from now on */
};

/* @key_file may be NULL: then another key must have been proven here before. */
int op_remove(struct context *c, const struct op_disk *disk, const char *key_file,
              struct op_removed *ret, struct refusal *why, struct error *err) _warn_unused_;

struct op_reenroll {
        struct op_disk disk;
        const struct owner_key *owner;
        const struct named_policy *policy; /* NULL: the one that the KEK had */
        bool all_disks;                    /* of this KEK are enrolled: it may get another policy */
};

struct op_reenrolled {
        char name[NAME_MAX_SIZE], uuid[40], role[8];
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        bool kek_is_new; /* this TPM didn't open the one that there was */
        bool waits; /* the latch is shut: that the TPM gives it back is shown by the next boot */
        struct policy policy;
        bool second_factor;
        unsigned slot, old_slot; /* old: LUKS_SLOTS_MAX where there was none any more */
        unsigned owner_slot;     /* that the owner's key opened */
};

/* An existing disk of ours sealed anew to this TPM. The old keyslot and token go once the new ones
 * were proven. */
int op_reenroll(struct context *c, const struct op_reenroll *args, struct op_reenrolled *ret,
                struct refusal *why, struct error *err) _warn_unused_;

/* --- the header --- */

struct op_header {
        char device[256];
        struct luks_examined *examined; /* for op_header_done() */
};

/* What each rule says. Needs no TPM. OUTCOME_REFUSED: there's no LUKS2 header at all. */
int op_header_examine(struct context *c, const struct op_disk *disk, struct op_header *ret,
                      struct refusal *why, struct error *err) _warn_unused_;
void op_header_done(struct op_header *h);

#define OP_DIFFERENCES_MAX 24

struct op_approval {
        char name[NAME_MAX_SIZE], uuid[40];
        bool known; /* the form that was pinned is recorded here: else what's listed is all of it */
        size_t count;
        char difference[OP_DIFFERENCES_MAX][200]; /* "segments.0.size: "1" -> "dynamic"" */
};

struct op_approve {
        struct op_disk disk;
        const struct owner_key *owner; /* NULL: the disk is open under its name */
        /* Whether the owner agrees to what is shown. */
        bool (*agree)(const struct op_approval *a, void *user);
        void *user;
};

/* Pins a header that passes the rules, and whose covered part changed, anew. */
int op_header_approve(struct context *c, const struct op_approve *args, struct op_approval *ret,
                      struct refusal *why, struct error *err) _warn_unused_;

/* --- keyslots for the owner --- */

struct op_slot {
        char name[NAME_MAX_SIZE], uuid[40];
        unsigned slot;
};

struct op_recovery_add {
        struct op_disk disk;
        /* Shows the passphrase, this once. It opens the disk then, and isn't marked yet. */
        int (*show)(const struct op_slot *s, struct secret *passphrase, void *user,
                    struct error *err);
        void *user;
};

/* Only a passphrase that was shown makes a recovery keyslot, and counts as proven. */
int op_recovery_add(struct context *c, const struct op_recovery_add *args, struct op_slot *ret,
                    struct refusal *why, struct error *err) _warn_unused_;
/* That a passphrase opens the disk, and that the header is the pinned one; remembered as proven. */
int op_owner_verify(struct context *c, const struct op_disk *disk, const struct owner_key *owner,
                    struct op_slot *ret, struct refusal *why, struct error *err) _warn_unused_;
/* @slot: -1 for the only one. LUKS_SLOTS_MAX in @ret: there's none, and what was taken out is what
 * an earlier removal left when it was cut off. */
int op_recovery_remove(struct context *c, const struct op_disk *disk, int slot, struct op_slot *ret,
                       struct refusal *why, struct error *err) _warn_unused_;

struct op_escrow_add {
        struct op_disk disk;
        const char *const *certs; /* files in PEM, NULL at the end; NULL: those in escrow.d */
};

struct op_recipient {
        char fingerprint[65];
        char subject[120]; /* empty where the certificate isn't at hand */
        char until[24];
};

struct op_escrow {
        unsigned slot;
        char created[TIME_TEXT];
        bool damaged;
        char damage[160];
        size_t recipients;
        struct op_recipient recipient[CMS_RECIPIENTS_MAX];
};

struct op_escrows {
        char name[NAME_MAX_SIZE], uuid[40];
        size_t count;
        struct op_escrow *escrow; /* for op_escrows_done() */
};

int op_escrow_add(struct context *c, const struct op_escrow_add *args, struct op_escrows *ret,
                  struct refusal *why, struct error *err) _warn_unused_;
/* Needs no TPM and no key. */
int op_escrow_list(struct context *c, const struct op_disk *disk, struct op_escrows *ret,
                   struct refusal *why, struct error *err) _warn_unused_;
int op_escrow_remove(struct context *c, const struct op_disk *disk, int slot, struct op_slot *ret,
                     struct refusal *why, struct error *err) _warn_unused_;
void op_escrows_done(struct op_escrows *e);

enum rotated {
        ROTATED_DONE,    /* has the new version alone */
        ROTATED_ABSENT,  /* its device isn't there; it catches up when it is */
        ROTATED_FAILED,  /* keeps what opened it before */
        ROTATED_PENDING, /* not reached; run it again */
        ROTATED_LEFT,    /* not asked for */
};

struct op_rotated_disk {
        struct state_disk known;
        enum rotated what;
        uint32_t version; /* that it had, the newest; 0 where unknown */
        struct refusal refusal;
        struct error error;
};

enum rotate_mode {
        ROTATE_ALL,    /* as far as it goes now: an interrupted one first, and then no other */
        ROTATE_STAGE,  /* a new version beside the old one, in the place of one that's staged */
        ROTATE_TRUST,  /* the same, and retire the old one without a proof */
        ROTATE_FINISH, /* what was begun; disks that were away catch up; nothing new */
        ROTATE_ABORT,  /* back to the old version */
};

/* Where a run ended. */
enum rotated_end {
        ROTATED_RETIRED, /* the new version is the current one; see counter */
        ROTATED_STAGED,  /* both versions open the disks; see @kept */
        ROTATED_ABORTED, /* the staged version is given up; the disks have the old one alone */
        ROTATED_NOTHING, /* there was nothing to do */
        ROTATED_STUCK,   /* no disk went along; each says why */
};

struct op_rotated {
        char kek[NAME_MAX_SIZE];
        enum rotate_mode mode; /* that was asked for */
        uint32_t from, to;     /* from: 0 where nothing was known */
        bool resumed;          /* an interrupted rotation was finished */
        uint32_t replaced; /* the version that waited, and that the new one took the place of; 0 */
        enum rotated_end end;
        bool slot;      /* some disk got a new keyslot */
        bool archived;  /* the archive opens what still has the old version */
        char kept[200]; /* why the TPM goes on unsealing the old version, or why nothing was to be
                         * done; empty if there's nothing to say */
        struct policy policy;
        bool second_factor; /* beside the policy, a PIN or another one */
        uint64_t counter;   /* that ended the old version; 0: it still unseals, see the disks */
        double seconds;
        size_t count;
        struct op_rotated_disk *disks; /* for op_rotated_done() */
};

struct op_rotate {
        const char *kek;
        enum rotate_mode mode;
        bool slot;   /* depth "slot": new keyslots and secrets, too */
        bool if_due; /* by agent.conf's RotateEvery=; else ROTATED_NOTHING */
        /* How far an effect is, on how many disks; NULL for nobody. */
        void (*progress)(void *context, enum rotation_effect effect, size_t finished, size_t of);
        void *progress_context;
        const struct named_policy *policy; /* NULL: the one that the KEK has */
        const char *const *disks;          /* names of those to rotate, NULL at the end; or NULL */
        /* predicted: to open in these, as the machine is now, and in what was predicted in this
         * boot; with a count of 0 as the machine is now alone; NULL: in all that the version before
         * opens in, too */
        const struct pcrs *states;
        size_t states_count;
};

/* A new version for all disks of a KEK. -EINTR: stopped by a signal; everything opens, run it
 * again. OUTCOME_DONE may still have disks that failed. */
int op_rotate(struct context *c, const struct op_rotate *args, struct op_rotated *ret,
              struct refusal *why, struct error *err) _warn_unused_;
void op_rotated_done(struct op_rotated *r);

enum disk_state { DISK_OPEN, DISK_LOCKED, DISK_ABSENT, DISK_REFUSED };

struct op_status_disk {
        struct state_disk known;
        enum disk_state state;
        struct luks_facts facts;
        char kek[NAME_MAX_SIZE];
        uint32_t version, staged; /* staged: 0, or the version that stands beside it */
        enum slot_role role[LUKS_SLOTS_MAX];
        uint32_t unknown; /* bit n: keyslot n is foreign, and no key was seen here to open it */
        unsigned tokens;  /* that aren't ours and mark no keyslot of ours */
        struct {
                unsigned id;
                char type[40]; /* printable ASCII */
        } token[LUKS_TOKENS_MAX];
        char clone_of[256]; /* where the recorded disk is that this is a copy of; empty if none */
        char resized[120];  /* what changed in the size of the device; empty if nothing */
        char header[12];    /* "verified", "rules-ok", "degraded", "refused"; "unknown": absent */
        char reason[256];
};

/* What the TPM says of a KEK's counter. */
enum op_counter_state {
        OP_COUNTER_NONE, /* it has none */
        OP_COUNTER_UNKNOWN,
        OP_COUNTER_LIVE,
        OP_COUNTER_RETIRED, /* beyond what the current version allows */
        OP_COUNTER_MISSING,
        OP_COUNTER_REPLACED, /* something else stands in its place */
};

struct op_counter {
        enum op_counter_state state;
        uint32_t index;
        uint64_t value, le;
};

const char *op_counter_name(enum op_counter_state state);
/* Why its KEK opens no more; NULL where that isn't known. */
const char *op_counter_trouble(enum op_counter_state state);

struct op_status {
        bool tpm_present;
        struct tpm_info tpm;
        enum tee_place place;
        char place_text[TEE_TEXT];
        char tpm_fault[256];
        size_t keks;
        struct kek_record *kek;
        struct op_counter *counter; /* of each KEK; NULL where nobody asked the TPM */
        struct due *due;            /* of each KEK that has a current version */
        enum others_state *others;  /* the same: how it stands to the OS disk's, os_kek */
        char os_kek[NAME_MAX_SIZE]; /* empty where there's none */
        size_t disks;
        struct op_status_disk *disk;
};

/* Where the TPM is, see agent/tee.h. Return: whether the kernel says that it runs in a TEE. */
bool op_tpm_place(const struct context *c, const struct tpm_info *info, enum tee_place *ret,
                  char ret_text[TEE_TEXT]);

/* Whether a keyslot besides ours may open the disk. */
bool op_has_other_way(const struct op_status_disk *d);

/* @names: NULL, or the disks to look at, by their names or paths. Never unseals. */
int op_status(struct context *c, char *const *names, struct op_status *ret, struct refusal *why,
              struct error *err) _warn_unused_;
void op_status_done(struct op_status *s);

/* The same without a look at disks and TPM: the KEKs, and the disks as they are recorded. */
int op_status_known(struct context *c, struct op_status *ret, struct error *err) _warn_unused_;

/* Reads the counters of the KEKs in @s. */
int op_counters(struct context *c, struct op_status *s, struct error *err) _warn_unused_;

struct op_policy {
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        struct policy policy;
        bool second_factor;
        struct pcrs sealed, now; /* now.mask: 0 where the TPM didn't say */
};

/* One that a KEK can be made under. */
struct op_policy_name {
        char name[NAME_MAX_SIZE];
        char from[320];   /* its file, or "built in" */
        char damage[160]; /* why it can't be used; empty if nothing */
        struct policy policy;
        bool second_factor;
};

struct op_policies {
        size_t count;
        struct op_policy *policy;
        size_t names;
        struct op_policy_name *name;
        char tpm_fault[256];
};

/* What the next boot will be, as far as it's told; the rest is as this boot's event log has it. */
struct op_next_boot {
        const char *uki, *kernel; /* files; one of them at most, or NULL */
        const char *cmdline;      /* the next one's; this boot's is in /proc/cmdline */
        const char *initrd;       /* file */
        const char *booted;   /* file: this boot's UKI or initrd, by which PCR 9 is told; or NULL */
        const char *variable; /* NAME-GUID=FILE: a UEFI variable's value, as in FILE */
};

/* Predicts PCRs from the event log, which has to be this boot's. @ret: in: which, of which bank;
 * out: their values. REFUSAL_EVENT_LOG: it isn't, or it has too little for this. */
int op_predict(struct context *c, const struct op_next_boot *next, struct pcrs *ret,
               struct refusal *why, struct error *err) _warn_unused_;

/* The signatures that a UKI brings: for free(), empty where it has none. */
int op_uki_signatures(const char *path, char **ret, size_t *ret_size,
                      struct error *err) _warn_unused_;
/* PCR 11 as a UKI makes it, after these phases (NULL at the end). */
int op_uki_states(const char *path, enum pcr_bank bank, const char *const *phases, struct pcrs *ret,
                  struct error *err) _warn_unused_;

struct op_reseal {
        const char *kek;
        const struct named_policy *policy; /* NULL: the one that the KEK has */
        const struct op_next_boot *next;   /* predicted: for this boot and the next; or NULL */
        const struct owner_key *owner;     /* NULL: by the running KEK */
};

/* All disks of a KEK under a new version, sealed to this machine as it is: new evidence, and where
 * it's said, a new policy. Return: as op_rotate(). */
int op_reseal(struct context *c, const struct op_reseal *args, struct op_rotated *ret,
              struct refusal *why, struct error *err) _warn_unused_;

/* What would happen to a KEK at the next boot. */
enum op_outlook {
        OP_OPENS,
        OP_LOCKED,  /* it stays locked: see the reason */
        OP_UNKNOWN, /* it can't be said: see the reason */
};

struct op_check {
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        struct policy policy;
        bool second_factor;
        enum op_outlook outlook;
        char reason[240];
        const char *finding; /* what could be better about its policy; NULL if nothing */
};

struct op_checks {
        size_t count;
        struct op_check *check; /* for op_checks_done() */
};

/* @kek: NULL for all; @next: NULL for a boot as this one was. REFUSAL_UNKNOWN_DISK: no @kek here.
 */
int op_policy_check(struct context *c, const char *kek, const struct op_next_boot *next,
                    struct op_checks *ret, struct refusal *why, struct error *err) _warn_unused_;
void op_checks_done(struct op_checks *c);

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

/* Whether the TPM that sealed it is one that is trusted here: see agent/ek.h. Both of the following
 * ask for it. */
int op_kek_check_tpm(struct context *c, const struct kek *kek, struct refusal *why,
                     struct error *err) _warn_unused_;

/* A version of a KEK, open. */
struct op_kek {
        const char *name;
        const struct named_policy *policy; /* NULL: whatever it has, or the default for a new one */
        /* Of a version that is to be made: the one that it follows, open, whose counter goes on;
         * and the states that it's to open in beside the one of now, as in struct op_rotate. */
        const struct kek *before;
        struct secret *before_key; /* borrowed, as all of these */
        uint64_t le_seen;          /* the highest value of the counter that any version allows */
        const struct pcrs *states;
        size_t states_count;
        bool may_wait; /* where the latch is shut, the TPM needn't give it back before the next boot
                        */
        bool by_owner; /* a key of the owner's opens the disk: it's sealed to what is there now, and
                        * nothing is lost where the next boot is another one */

        struct kek kek;
        struct secret *key; /* borrowed from the context */
        bool is_new;
        bool waits; /* the TPM didn't give it back yet */
};

/* Fills in the rest of @k: from the store, else from a known disk's token, else a new version 1. */
int op_kek_current(struct context *c, struct op_kek *k, struct refusal *why,
                   struct error *err) _warn_unused_;

/* A version that the store has as its current one before any disk depends on it; with a name of the
 * policy that made it. */
int op_kek_new(struct context *c, struct op_kek *k, uint32_t version, struct refusal *why,
               struct error *err) _warn_unused_;

/* Ends every older version of the KEK in the TPM: advances the counter to what @kek allows. Again
 * after an error is fine. @ret: its value. */
int op_kek_revoke(struct context *c, const struct kek *kek, struct secret *key, uint64_t *ret,
                  struct refusal *why, struct error *err) _warn_unused_;

/* Makes a version and lets the TPM give it back before anybody relies on it. The key is the
 * context's. OUTCOME_REFUSED: by the TPM, under the PCRs as they are. */
int op_kek_make(struct context *c, struct op_kek *k, uint32_t version, struct refusal *why,
                struct error *err) _warn_unused_;
