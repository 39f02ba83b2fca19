/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tss2/tss2_esys.h>

#include "base/p256.h"
#include "tpm/tcti.h"
#include "tpm/tpm.h"

#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define PASSWORD ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE

/* As many as a TPM without resource manager is sure to hold: three transient objects, three
 * sessions (PC Client Platform TPM Profile). */
#define HANDLES_MAX 6

struct tpm {
        struct wire *wire;
        ESYS_CONTEXT *esys;
        int lock_fd; /* -1 where nothing needs a lock, or there's no place for one */
        bool sole;   /* nobody else works in this TPM now: what isn't ours was left behind */
        bool dirty;  /* something may be left in the TPM that nobody will flush */
        ESYS_TR live[HANDLES_MAX]; /* what is ours in the TPM now; free places are ESYS_TR_NONE */
        bool clock_known;
        uint32_t resets, restarts; /* that the TPM had counted when we first asked */
};

/* --- fault.c: codes --- */

/* A format-one code without the number of the session, handle or parameter that it's about. */
TSS2_RC rc_base(TSS2_RC rc);

/* Whether the code is about a handle or a parameter, not about the session that came with it. */
bool rc_is_about_input(TSS2_RC rc);

/* For tests: a connection over somebody else's TCTI, which stays the caller's. As tpm_open(), but
 * it takes no lock and flushes nothing. */
int tpm_open_tcti(TSS2_TCTI_CONTEXT *tcti, struct tpm **ret, struct error *err) _warn_unused_;

/* --- fault.c --- */

/* Fills in @err with "what: words (0x…)". Return: what wire_say() does, where the transport broke;
 * -EPROTO, where the answer isn't what the TPM could have said, or the TPM says that of our
 * command; -ESTALE, where the TPM was reset meanwhile; else -EIO. May ask the TPM for its clock. */
int tpm_fault(struct tpm *t, TSS2_RC rc, const char *what, struct error *err);

/* --- clock.c --- */

/* At the begin of an operation: the TPM is the one that it was, not reset since this connection
 * first asked. One command. Return: 0; -ESTALE; as tpm_fault(). */
int clock_check(struct tpm *t, struct error *err) _warn_unused_;
/* Whether @rc came after a reset. At most one command; false where nothing shows it. */
bool clock_moved(struct tpm *t, TSS2_RC rc);

/* --- connect.c: handles --- */

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
/* The primary key of the owner hierarchy that others derive: as ours, but under dictionary attack
 * protection. @type: TPM2_ALG_ECC or TPM2_ALG_RSA. Return: 1; 0 where the TPM doesn't know it;
 * -EIO.
 */
int srk_of_others(struct tpm *t, TPMI_ALG_PUBLIC type, struct handle *ret,
                  struct error *err) _warn_unused_;
/* The primary key of a template in a hierarchy, with the empty password. Return: 1; 0 where the TPM
 * doesn't know the algorithm; -EIO. */
int primary_key(struct tpm *t, ESYS_TR hierarchy, const TPM2B_PUBLIC *template, struct handle *ret,
                TPM2B_NAME *ret_name, struct error *err) _warn_unused_;
/* Return: 1 where a storage key stands at 0x81000001, else 0; -EIO. */
int srk_persistent(struct tpm *t, struct handle *ret, TPM2B_NAME *ret_name,
                   struct error *err) _warn_unused_;

/* --- info.c --- */

/* One number of the TPM's properties. Return: 0; -EIO, also where it says nothing. */
int tpm_property(struct tpm *t, TPM2_PT property, uint32_t *ret, struct error *err) _warn_unused_;

/* --- session.c --- */

int session_start(struct tpm *t, TPM2_SE kind, const struct handle *salt_key,
                  TPMA_SESSION attributes, struct handle *ret, struct error *err) _warn_unused_;
/* From the next command on. */
int session_set(struct tpm *t, const struct handle *session, TPMA_SESSION attributes,
                struct error *err) _warn_unused_;

/* --- pcr.c --- */

TPML_PCR_SELECTION pcr_selection(enum pcr_bank bank, uint32_t mask);
/* The reverse: the PCRs of that bank in a selection of the TPM. */
uint32_t pcr_selected(const TPML_PCR_SELECTION *s, enum pcr_bank bank);
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
/* Return: false where it's no sealed data (a keyed hash object without scheme, under SHA-256). */
bool object_decode(const struct tpm_bytes *public, const struct tpm_bytes *private,
                   struct object *ret) _warn_unused_;
/* Return: false where @s is not what sealed_encode() writes for an object that we would make,
 * whether or not it is bound to a TPM. */
bool sealed_decode(const struct sealed *s, struct object *ret) _warn_unused_;
bool creation_decode(const struct tpm_bytes *in, TPM2B_CREATION_DATA *ret) _warn_unused_;
bool ticket_decode(const struct tpm_bytes *in, TPMT_TK_CREATION *ret) _warn_unused_;
/* Whether it neither came from elsewhere nor may leave: fixedTPM and fixedParent. */
bool object_is_bound(const struct object *o) _warn_unused_;
/* Whether both stand for the same object, the part that the TPM chooses aside. */
bool public_is_made_from(const TPM2B_PUBLIC *public, const TPM2B_PUBLIC *template) _warn_unused_;
/* The public area that ESYS holds for @tr, if its digest is the Name that came with it. */
int public_of(struct tpm *t, ESYS_TR tr, TPM2B_PUBLIC *ret, TPM2B_NAME *ret_name,
              struct error *err) _warn_unused_;

/* --- unseal.c --- */

/* Return: TPM_GRANTED; TPM_DAMAGED; -EIO. */
int object_load(struct tpm *t, const struct handle *parent, const struct object *o,
                struct handle *ret, struct error *err) _warn_unused_;
void plain_wipep(TPM2B_SENSITIVE_DATA **p);
/* Return: TPM_GRANTED; TPM_DAMAGED where it's empty; or what secret_new() says. */
int plain_take(const TPM2B_SENSITIVE_DATA *plain, struct secret **ret,
               struct error *err) _warn_unused_;

/* Satisfies the session's policy. */
typedef TSS2_RC (*assert_fn)(void *arg);

/* TPM2_Unseal once the policy is satisfied; from the start again where PCRs changed meanwhile.
 * ESYS allocates @ret. */
TSS2_RC unseal_under(struct tpm *t, const struct handle *object, const struct handle *session,
                     assert_fn assert_policy, void *arg, TPM2B_SENSITIVE_DATA **ret);

/* PCRs that are extended while we're at it end a session's policy, though not one that it's about:
 * systemd measures in parallel. After so many tries somebody does it on purpose. */
#define UNSEAL_TRIES_MAX 8

/* --- evidence.c --- */

/* Of where and when an object was made: what the TPM is asked to confirm. */
struct evidence {
        TPM2B_NAME name;   /* of the object */
        TPM2B_DIGEST hash; /* of its creation data */
        TPMT_TK_CREATION ticket;
};

/* Says what is missing. Return: TPM_UNPROVEN. */
int unproven(struct tpm_refusal *why, const char *fmt, ...) _printf_(2, 3);
/* Whether creation data says that @s was sealed under its parent while @pcrs, all that its policy
 * looks at, had the values recorded. Asks no TPM; @s has passed sealed_decode(). Return:
 * TPM_GRANTED; TPM_UNPROVEN; -EIO. */
int evidence_read(const struct sealed *s, uint32_t pcrs, struct evidence *ret,
                  struct tpm_refusal *why, struct error *err) _warn_unused_;
/* Whether this TPM made @object with that creation data. @session must be salted and have
 * continueSession set; if it is a policy session, its policy starts anew. Return: as above. */
int evidence_prove(struct tpm *t, const struct handle *object, const struct handle *session,
                   const struct evidence *e, struct tpm_refusal *why,
                   struct error *err) _warn_unused_;
/* Whether @info certifies @e, and was made for @nonce. */
bool evidence_is_attested(const TPM2B_ATTEST *info, const struct evidence *e,
                          const TPM2B_DATA *nonce) _warn_unused_;

/* --- nv-name.c: counters, computed --- */

/* What a counter's key allows: this command, in the session that gave the nonce. */
struct permit {
        TPM2B_DIGEST command; /* cpHash */
        TPMT_SIGNATURE signature;
};

void counter_reference(TPM2B_NONCE *ret);
/* The key, as the TPM loads it. */
void counter_signer(const struct p256_point *key, TPM2B_PUBLIC *ret);
/* The public area of the counter at @index before its first write. */
int counter_area(uint32_t index, const struct p256_point *key, TPM2B_NV_PUBLIC *ret,
                 struct error *err) _warn_unused_;
/* The Name of that area, with @more attributes set. */
int counter_area_name(const TPM2B_NV_PUBLIC *area, TPMA_NV more, uint8_t ret[TPM_NAME_SIZE],
                      struct error *err) _warn_unused_;
/* To advance the counter that has that Name now. Return: 0; or what p256_sign() says. */
int counter_permit(const uint8_t name[TPM_NAME_SIZE], const TPM2B_NONCE *nonce, struct secret *key,
                   struct permit *ret, struct error *err) _warn_unused_;

/* --- nv.c --- */

/* TPM2_PolicyNV in @session: that the counter is no higher than @s says. What comes back:
 *   TSS2_RC_SUCCESS       it is
 *   TPM2_RC_POLICY        it is higher (0x126)
 *   TPM2_RC_HANDLE        by rc_base(): nothing is defined there (0x18b)
 *   TPM2_RC_POLICY_FAIL   by rc_base(): another Name is there, so something else, or a counter that
 *                         was never written. The TPM isn't asked: it would say
 *                         TPM2_RC_NV_UNINITIALIZED (0x14a) to the latter, and anything to the
 *                         former, but never grant the key, whose policy has the Name in it
 *   anything else         a fault
 * None of the answers is proof of anything; counter_examine() says which it is. */
TSS2_RC nv_policy(struct tpm *t, const struct step *s, const struct handle *session) _warn_unused_;

/* What is at @index, through a salted session of either kind: its attributes become encrypt and
 * continueSession, and the policy of a policy session starts anew. Return: TPM_COUNTER_GOOD with
 * the value; _UNWRITTEN, _OTHER: the TPM says so itself; _MISSING, which anybody can say; -EIO. */
int counter_examine(struct tpm *t, uint32_t index, const uint8_t name[TPM_NAME_SIZE],
                    const struct handle *session, uint64_t *ret, struct error *err) _warn_unused_;

/* --- wipe.c --- */

void wipe_after_create(struct tpm *t);
void wipe_after_unseal(struct tpm *t);
