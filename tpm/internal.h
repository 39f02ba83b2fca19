/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tss2/tss2_esys.h>

#include "tpm/tpm.h"

#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define PASSWORD ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE

/* As many as a TPM without resource manager is sure to hold: three transient objects, three
 * sessions (PC Client Platform TPM Profile). */
#define HANDLES_MAX 6

struct tpm {
        TSS2_TCTI_CONTEXT *tcti;
        ESYS_CONTEXT *esys;
        int lock_fd; /* -1 where nothing needs a lock, or there's no place for one */
        bool sole;   /* nobody else works in this TPM now: what isn't ours was left behind */
        bool dirty;  /* something may be left in the TPM that nobody will flush */
        ESYS_TR live[HANDLES_MAX]; /* what is ours in the TPM now; free places are ESYS_TR_NONE */
};

/* --- connect.c: codes, words, handles --- */

/* A format-one code without the number of the session, handle or parameter that it's about. */
TSS2_RC rc_base(TSS2_RC rc);

/* Whether the code is about a handle or a parameter, not about the session that came with it. */
bool rc_is_about_input(TSS2_RC rc);

/* Fills in @err with "what: words (0x…)". Return: -EIO. */
int tpm_fault(struct tpm *t, TSS2_RC rc, const char *what, struct error *err);

/* An object or a session in the TPM that flushes itself. */
struct handle {
        struct tpm *tpm;
        ESYS_TR tr;
        bool persistent; /* nothing to flush: only ESYS' record of it goes */
};

#define HANDLE(t)                                                                                  \
        { .tpm = (t), .tr = ESYS_TR_NONE }

void handle_hold(struct handle *h, ESYS_TR tr);
void handle_gone(struct handle *h); /* the TPM dropped it by itself */
void handle_done(struct handle *h);

static inline void esys_freep(void *p) {
        Esys_Free(*(void **) p);
}

/* --- lock.c --- */

/* Finds out what stands between us and the TPM that @tcti names, and takes the lock if any. */
int lock_take(struct tpm *t, const char *tcti, struct error *err) _warn_unused_;
int lock_flush_leftovers(struct tpm *t, struct error *err) _warn_unused_;
void lock_release(struct tpm *t);

/* Whether @rc says that the TPM is full and strangers' leftovers were flushed: then the command
 * deserves another try. Says so once for each @tried. */
bool lock_made_room(struct tpm *t, TSS2_RC rc, bool *tried);

/* --- srk.c --- */

/* The parent for a new object. */
int srk_any(struct tpm *t, struct handle *ret, TPM2B_NAME *ret_name,
            struct error *err) _warn_unused_;
/* The one parent whose Name is @name. Return: TPM_GRANTED; TPM_OTHER; -EIO. */
int srk_named(struct tpm *t, const struct tpm_bytes *name, struct handle *ret,
              struct error *err) _warn_unused_;
/* Return: 1 where a storage key stands at 0x81000001, else 0; -EIO. */
int srk_persistent(struct tpm *t, struct handle *ret, TPM2B_NAME *ret_name,
                   struct error *err) _warn_unused_;

/* --- session.c --- */

int session_start(struct tpm *t, TPM2_SE kind, const struct handle *salt_key,
                  TPMA_SESSION attributes, struct handle *ret, struct error *err) _warn_unused_;

/* --- pcr.c --- */

TPML_PCR_SELECTION pcr_selection(uint32_t mask);
/* The reverse: the PCRs of the SHA-256 bank in a selection of the TPM. */
uint32_t pcr_selected(const TPML_PCR_SELECTION *s);
/* What the TPM calls pcrDigest: SHA-256 over the values of @mask, in the order of their numbers. */
int pcr_digest(const struct pcrs *pcrs, uint32_t mask, TPM2B_DIGEST *ret,
               struct error *err) _warn_unused_;

/* --- encode.c --- */

/* What TPM2_Create answers; ESYS allocates. */
struct created {
        TPM2B_PUBLIC *public;
        TPM2B_PRIVATE *private;
        TPM2B_CREATION_DATA *creation;
        TPMT_TK_CREATION *ticket;
};

void created_done(struct created *c);

struct object {
        TPM2B_PUBLIC public;
        TPM2B_PRIVATE private;
};

int sealed_encode(const struct created *c, const TPM2B_NAME *srk, const struct pcrs *pcrs,
                  struct sealed *ret, struct error *err) _warn_unused_;
/* Return: false where @s is not what sealed_encode() writes for an object that we would make. */
bool sealed_decode(const struct sealed *s, struct object *ret) _warn_unused_;
/* Whether both stand for the same object, the part that the TPM chooses aside. */
bool public_is_made_from(const TPM2B_PUBLIC *public, const TPM2B_PUBLIC *template) _warn_unused_;
/* The public area that ESYS holds for @tr, if its digest is the Name that came with it. */
int public_of(struct tpm *t, ESYS_TR tr, TPM2B_PUBLIC *ret, TPM2B_NAME *ret_name,
              struct error *err) _warn_unused_;

/* --- wipe.c --- */

void wipe_after_create(struct tpm *t);
void wipe_after_unseal(struct tpm *t);
