/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"
#include "base/secret.h"
#include "base/steps.h"

/* tpm/ is the only folder that includes <tss2/...>; no TSS type appears in this header. */
struct tpm; /* one connection to one TPM; use from one thread */

/* After a fault (a negative result) close the connection and open it again: it takes no more
 * commands. Each command has a deadline, see tpm_set_deadline(). Where a function says -EIO (TPM or
 * transport failed), these say more:
 *
 * -ETIMEDOUT   the TPM didn't answer within the deadline
 * -ECONNRESET  the connection was closed before it answered
 * -EMSGSIZE    its answer was cut short, or longer than it said or than any may be
 * -EPROTO      its answer, or what it got, was altered on the way
 * -ESTALE      it was reset meanwhile
 *
 * What the TPM decided. Positive, so that no caller can mistake a refusal for a broken machine. */
enum tpm_verdict {
        TPM_GRANTED = 0,
        TPM_PCR_MISMATCH, /* a PCR isn't what the policy expects: see struct tpm_refusal */
        TPM_LOCKED_OUT,   /* dictionary attack protection is active (TPM_RC_LOCKOUT) */
        TPM_OTHER,        /* the sealed object's parent isn't the storage key of this TPM */
        TPM_DAMAGED,    /* this TPM doesn't take the object: altered, or not what its policy says */
        TPM_UNMEASURED, /* a selected PCR is all 00 or all FF: it says nothing */
        TPM_UNSIGNED,   /* no signature is for the PCRs as they are */
        TPM_RETIRED,    /* its counter is beyond what its policy allows: this version is dead */
        TPM_NO_COUNTER, /* its counter is gone, or another one stands in its place */
        TPM_WRONG_AUTH, /* the auth value isn't the right one, or there's none at hand */
        TPM_UNPROVEN, /* nothing shows that this TPM made it in the state that the policy demands */
};

/* Why a verdict was not TPM_GRANTED. */
struct tpm_refusal {
        /* TPM_PCR_MISMATCH: those that differ; TPM_UNMEASURED: the empty ones; TPM_UNSIGNED: those
         * that differ from what they were, maybe none. */
        uint32_t pcrs;
        struct pcrs now;  /* their values as they are */
        uint64_t counter; /* TPM_RETIRED: its value */
        char text[120];   /* TPM_UNPROVEN, TPM_NO_COUNTER: what is missing, in words; TPM_UNSIGNED:
                             why   the TPM can't look at signatures, else empty */
};

#define TPM_BYTES_MAX 512

struct tpm_bytes {
        uint16_t size;
        uint8_t data[TPM_BYTES_MAX];
};

/* A sealed object, and what shows where and when it was made. Ciphertext and public data only: safe
 * to write to a disk, and hostile when it comes back from one. Each member is in the TPM's own
 * encoding (TPM 2.0 Part 2), with its size in front where it's a TPM2B. */
struct sealed {
        struct tpm_bytes srk;      /* Name of the parent: hash algorithm and digest, without size */
        struct tpm_bytes public;   /* TPM2B_PUBLIC */
        struct tpm_bytes private;  /* TPM2B_PRIVATE */
        struct tpm_bytes creation; /* TPM2B_CREATION_DATA */
        struct tpm_bytes ticket;   /* TPMT_TK_CREATION */
        struct pcrs pcrs;          /* the values that creation data's digest covers */
};

/**
 * tpm_open() - connect to a TPM
 * @tcti: as in tpm2-tss, e.g. "device:/dev/tpmrm0" or "swtpm:path=/run/swtpm/tpm"; NULL takes
 *        /dev/tpmrm0
 * @ret:  on success a connection, to be closed with tpm_close(); untouched otherwise
 *
 * Where no resource manager stands between us and the TPM (swtpm on a Unix socket), waits for its
 * turn on a lock file beside the socket (@tcti's path and ".lock"), holds it until tpm_close(), and
 * first flushes what a killed holder left in the TPM. Behind /dev/tpmrm0 it does neither.
 *
 * Return: 0; -EINVAL (@tcti isn't one), -ENODEV (no TPM there), -EIO, -EACCES, -EBUSY (somebody
 * else has the device), -ENOMEM.
 */
int tpm_open(const char *tcti, struct tpm **ret, struct error *err) _warn_unused_;
struct tpm *tpm_close(struct tpm *t);
/* How long a TPM may take for one command, in ms, on connections opened from now on; 0 for the
 * default, 5 s. For making an RSA key it gets 60 times as long. */
void tpm_set_deadline(unsigned ms);
DEFINE_CLEANUP(struct tpm *, tpm_close);

/* Hash algorithms that PCRs may be in. Policies know fewer: see base/pcr.h. */
enum tpm_bank {
        TPM_BANK_SHA1,
        TPM_BANK_SHA256,
        TPM_BANK_SHA384,
        TPM_BANK_SHA512,
        TPM_BANK_SM3,
        TPM_BANK_SHA3_256,
        TPM_BANK_SHA3_384,
        TPM_BANK_SHA3_512,
        TPM_BANKS
};

/* "sha256" */
const char *tpm_bank_name(enum tpm_bank bank);

/* Protection against guessing (Part 1, section 19.8). Our keys are exempt from it. */
struct tpm_lockout {
        uint32_t counter;   /* failures that are remembered now */
        uint32_t max_tries; /* with so many it locks */
        uint32_t interval;  /* seconds until one failure is forgotten; 0: never locks */
        uint32_t recovery;  /* seconds until lockoutAuth may be tried again; 0: at the next reset */
};

struct tpm_info {
        char manufacturer[8]; /* four characters, e.g. "IBM" */
        char vendor[20];      /* vendor string, e.g. "SW   TPM" */
        uint32_t firmware[2]; /* versions 1 and 2 */
        bool lockout;         /* TPMA_PERMANENT inLockout */
        struct tpm_lockout guessing;
        uint32_t banks;      /* bit n: enum tpm_bank n is allocated */
        bool srk_persistent; /* a storage key stands at 0x81000001 */
        bool owner_auth;     /* the hierarchy of this name has a password (TPMA_PERMANENT) */
        bool endorsement_auth;
        bool lockout_auth;        /* else whoever reaches the TPM ends a lockout, or clears it */
        bool owner_enabled;       /* the hierarchy is usable since the last start (shEnable) */
        bool endorsement_enabled; /* ehEnable */
        bool platform_enabled;    /* phEnable: firmware should have ended it */
        bool orderly;             /* TPM2_Shutdown came before the last start */
        uint32_t ek_certificates; /* bit n: there's one of kind n, see tpm/ek.h */
        bool hcl_report;          /* there's an index where Hyper-V's paravisor puts its report */
};

/* What stands in the TPM's properties (Part 3, TPM2_GetCapability). Who carries the TPM's traffic
 * may say anything here. Return: 0, or -EIO. */
int tpm_info(struct tpm *t, struct tpm_info *ret, struct error *err) _warn_unused_;

/* Reads the PCRs in @mask, in as many commands as the TPM wants (Part 3, TPM2_PCR_Read). Return: 0;
 * -ENOENT (a PCR isn't in the bank), -EIO. */
int tpm_pcr_read(struct tpm *t, enum pcr_bank bank, uint32_t mask, struct pcrs *ret,
                 struct error *err) _warn_unused_;

/* What is to be sealed. All borrowed. */
struct tpm_sealing {
        struct secret *key;      /* 1 to 128 bytes */
        const uint8_t *policy;   /* the object's authPolicy, SHA-256 */
        const struct pcrs *pcrs; /* that creation data records, with the values they must have */
        struct secret *auth;     /* the auth value that its policy asks for, or NULL */
};

/**
 * tpm_seal() - make an object that only this TPM opens, and only under a policy
 * @ret:    filled in on TPM_GRANTED; untouched otherwise
 *
 * The parent is the storage key: the one at 0x81000001 where that is one, else the primary key of
 * the standard ECC P-256 template, else of the RSA-2048 one (TCG TPM v2.0 Provisioning Guidance,
 * 7.5.1). The object is fixedTPM and fixedParent, without user authorisation: only the policy opens
 * it. Without auth value it's noDA as well, lest somebody who resets the TPM lock it out. The key
 * crosses the transport encrypted, in a session salted with the parent (Part 1, sections 19.6 and
 * 21). Part 3, TPM2_Create.
 *
 * Return: TPM_GRANTED; TPM_PCR_MISMATCH (the PCRs moved since they were read); or -EIO, -EINVAL,
 *         -ENOMEM.
 */
int tpm_seal(struct tpm *t, const struct tpm_sealing *what, struct sealed *ret,
             struct error *err) _warn_unused_;

/* How to satisfy a policy. All borrowed. */
struct tpm_opener {
        const struct steps *steps;
        const struct signature *signature; /* for STEP_AUTHORIZE; NULL: none at hand */
        struct secret *auth;               /* STEP_AUTH; NULL: nobody knows */
};

/**
 * tpm_unseal() - recover the key in a sealed object
 * @t:      the TPM that sealed it
 * @object: as tpm_seal() made it; from a disk, so hostile
 * @opener: how to satisfy its policy; the steps are from a disk, too
 * @ret:    on TPM_GRANTED a new secret, now the caller's; untouched otherwise
 * @why:    filled in on the verdicts that struct tpm_refusal names
 * @err:    filled in if, and only if, the result is negative
 *
 * Only what this TPM made itself under its storage key, while the PCRs had the values that are
 * recorded beside it, is opened: creation data says so, and the TPM must stand by it. Which PCRs
 * may not be none, and must be those of the steps, the latch aside.
 *
 * One salted policy session that encrypts the responses; no object and no session is left behind,
 * whatever the result. Part 3, TPM2_Load, TPM2_CertifyCreation, TPM2_Unseal, and of the policy
 * commands those that the steps name.
 *
 * Return: a verdict, which the caller must act on and never pass up; or -EIO (TPM or transport
 *         failed), -ENOMEM, -EPERM (no locked memory to be had).
 */
int tpm_unseal(struct tpm *t, const struct sealed *object, const struct tpm_opener *opener,
               struct secret **ret, struct tpm_refusal *why, struct error *err) _warn_unused_;

/* The authPolicy in the object's public area. Return: false where that isn't an object of ours. */
bool tpm_sealed_policy(const struct sealed *object, uint8_t ret[32]);

/**
 * tpm_latch() - end for this boot what policies with the latch allow
 * @srk:   Name of the storage key of the TPM that is meant, as in struct sealed; NULL: of whichever
 *         answers, and then who carries the traffic can answer in its place
 * @value: what is measured
 *
 * Measures @value into PCR 15 (PCR_LATCH) of every bank that is allocated, each with its own hash,
 * and reads back that none of them is zero any more. Both in a session that is salted with the
 * storage key, so that nobody between us and the TPM can drop the command, or say that it was done.
 * A PCR that isn't zero before is extended all the same. After a fault it may be extended or not.
 * No object and no session is left behind. Part 3, TPM2_PCR_Event, TPM2_PCR_Read.
 *
 * Return: TPM_GRANTED; TPM_OTHER (this TPM has no such storage key; nothing was measured); or -EIO
 *         (also where a bank stays zero).
 */
int tpm_latch(struct tpm *t, const struct tpm_bytes *srk, const uint8_t value[32],
              struct error *err) _warn_unused_;

/* Measures @size bytes (at most 1024) into @pcr of every bank, each with its own hash. After a
 * fault they may be measured or not. Part 3, TPM2_PCR_Event. Return: 0; or -EIO. */
int tpm_measure(struct tpm *t, unsigned pcr, const void *data, size_t size,
                struct error *err) _warn_unused_;
