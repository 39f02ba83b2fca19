/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "tpm/internal.h"

/* The steps, ready to be sent. */
struct plan {
        unsigned count;
        uint32_t pcrs; /* all that the steps ask for */
        struct {
                TPML_PCR_SELECTION selection;
                TPM2B_DIGEST digest;
        } pcr[STEPS_MAX];
};

/* What is asked for, as the TPM wants it. */
struct request {
        const struct tpm_bytes *srk; /* Name of the parent */
        struct object object;
        struct plan plan;
        struct evidence evidence;
};

/* What is ours in the TPM meanwhile. Flushed from the last to the first. */
struct handles {
        struct handle parent, loaded, session;
};

static void handles_done(struct handles *h) {
        handle_done(&h->session);
        handle_done(&h->loaded);
        handle_done(&h->parent);
}

void plain_wipep(TPM2B_SENSITIVE_DATA **p) {
        if (*p)
                explicit_bzero(*p, sizeof(**p));
        Esys_Free(*p);
}

/* Return: TPM_GRANTED; TPM_DAMAGED where a step asks for a PCR whose value isn't recorded; or -EIO.
 */
static int plan_make(const struct sealed *object, const struct steps *steps, struct plan *ret,
                     struct error *err) {
        if (steps->count > STEPS_MAX)
                return TPM_DAMAGED;
        for (unsigned i = 0; i < steps->count; i++) {
                uint32_t mask = steps->step[i].pcr_mask;
                int r;

                if (steps->step[i].kind != STEP_PCR || mask == 0 || (mask & ~object->pcrs.mask))
                        return TPM_DAMAGED;
                r = pcr_digest(&object->pcrs, mask, &ret->pcr[i].digest, err);
                if (r < 0)
                        return r;
                ret->pcr[i].selection = pcr_selection(object->pcrs.bank, mask);
                ret->pcrs |= mask;
                ret->count = i + 1;
        }
        return TPM_GRANTED;
}

int plain_take(const TPM2B_SENSITIVE_DATA *plain, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        int r;

        if (plain->size == 0)
                return TPM_DAMAGED;
        r = secret_new(plain->size, &key);
        if (r < 0)
                return error_errno(err, r, "unseal: no locked memory for %u bytes", plain->size);
        memcpy(secret_data(key), plain->buffer, plain->size);
        *ret = TAKE(key);
        return TPM_GRANTED;
}

int object_load(struct tpm *t, const struct handle *parent, const struct object *o,
                struct handle *ret, struct error *err) {
        bool tried = false;
        ESYS_TR tr;
        TSS2_RC rc;

        do
                rc = Esys_Load(t->esys, parent->tr, PASSWORD, &o->private, &o->public, &tr);
        while (lock_made_room(t, rc, &tried));
        /* The parent is a storage key and ours: what the TPM doesn't like is the object. */
        if (rc_is_about_input(rc))
                return TPM_DAMAGED;
        if (rc)
                return tpm_fault(t, rc, "load object", err);
        handle_hold(ret, tr);
        return TPM_GRANTED;
}

/* What the TPM says to the steps and, if they are satisfied, to the wish for the key. */
static TSS2_RC ask(struct tpm *t, const struct plan *plan, const struct handle *session,
                   const struct handle *object, TPM2B_SENSITIVE_DATA **ret) {
        TSS2_RC rc;

        for (unsigned tries = 1;; tries++) {
                rc = TSS2_RC_SUCCESS;
                for (unsigned i = 0; i < plan->count && rc == TSS2_RC_SUCCESS; i++)
                        rc = Esys_PolicyPCR(t->esys, session->tr, NO_SESSIONS, &plan->pcr[i].digest,
                                            &plan->pcr[i].selection);
                if (rc == TSS2_RC_SUCCESS) {
                        rc = Esys_Unseal(t->esys, object->tr, session->tr, ESYS_TR_NONE,
                                         ESYS_TR_NONE, ret);
                        wipe_after_unseal(t);
                }
                if (rc != TPM2_RC_PCR_CHANGED || tries == UNSEAL_TRIES_MAX)
                        return rc;
                rc = Esys_PolicyRestart(t->esys, session->tr, NO_SESSIONS);
                if (rc)
                        return rc;
        }
}

/* The TPM refused; say which PCR it was. Return: TPM_PCR_MISMATCH; TPM_DAMAGED; -EIO. */
static int explain(struct tpm *t, TSS2_RC rc, uint32_t asked, const struct sealed *object,
                   struct tpm_refusal *why, struct error *err) {
        struct pcrs now = { 0 };
        size_t size = pcr_size(object->pcrs.bank);
        uint32_t differ = 0;
        int r;

        r = tpm_pcr_read(t, object->pcrs.bank, asked, &now, err);
        if (r == -ENOENT)
                err->errnum = -EIO; /* no bank to hold against is a fault here, as any */
        if (r < 0)
                return error_prefix(err, "unseal");
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if ((asked & (1u << n)) && memcmp(now.value[n], object->pcrs.value[n], size) != 0)
                        differ |= 1u << n;
                else
                        memset(now.value[n], 0, size);
        if (differ) {
                now.mask = differ;
                *why = (struct tpm_refusal){ .pcrs = differ, .now = now };
                return TPM_PCR_MISMATCH;
        }
        if (rc == TPM2_RC_PCR_CHANGED)
                return tpm_fault(t, rc, "unseal: PCRs keep changing", err);
        return TPM_DAMAGED; /* the steps hold, but its policy isn't them */
}

/* All that can be said without the TPM. Return: TPM_GRANTED; TPM_DAMAGED; TPM_UNPROVEN; -EIO. */
static int read_object(const struct sealed *object, const struct steps *steps, struct request *ret,
                       struct tpm_refusal *why, struct error *err) {
        int r;

        if (!sealed_decode(object, &ret->object))
                return TPM_DAMAGED;
        r = plan_make(object, steps, &ret->plan, err);
        if (r != TPM_GRANTED)
                return r;
        if (!object_is_bound(&ret->object))
                return unproven(why, "it isn't bound to this TPM: it was imported, or may leave");
        return evidence_read(object, ret->plan.pcrs, &ret->evidence, why, err);
}

static int judge(struct tpm *t, TSS2_RC rc, uint32_t asked, const struct sealed *object,
                 struct tpm_refusal *why, struct error *err) {
        switch (rc_base(rc)) {
        case TSS2_RC_SUCCESS: return TPM_GRANTED;
        case TPM2_RC_LOCKOUT: return TPM_LOCKED_OUT;
        case TPM2_RC_VALUE:       /* of TPM2_PolicyPCR */
        case TPM2_RC_POLICY_FAIL: /* of TPM2_Unseal */
        case TPM2_RC_PCR_CHANGED: return explain(t, rc, asked, object, why, err);
        default: return tpm_fault(t, rc, "unseal", err);
        }
}

/* Loads the object, with a session to open it by, and has the TPM say that it made it. Return:
 * TPM_GRANTED; TPM_OTHER; TPM_DAMAGED; TPM_UNPROVEN; -EIO. */
static int bring_in(struct tpm *t, const struct request *q, struct handles *h,
                    struct tpm_refusal *why, struct error *err) {
        int r;

        r = clock_check(t, err);
        if (r < 0)
                return r;
        r = srk_named(t, q->srk, &h->parent, err);
        if (r != TPM_GRANTED)
                return r;
        r = object_load(t, &h->parent, &q->object, &h->loaded, err);
        if (r != TPM_GRANTED)
                return r;
        r = session_start(t, TPM2_SE_POLICY, &h->parent,
                          TPMA_SESSION_ENCRYPT | TPMA_SESSION_CONTINUESESSION, &h->session, err);
        if (r < 0)
                return r;
        r = evidence_prove(t, &h->loaded, &h->session, &q->evidence, why, err);
        if (r != TPM_GRANTED)
                return r;
        return session_set(t, &h->session, TPMA_SESSION_ENCRYPT, err);
}

/* What is sent, on a TPM without a persistent storage key, and why it must be:
 *
 * TPM2_ReadClock        was it reset since we first asked? A fault is followed by another
 * TPM2_ReadPublic       is there a storage key at 0x81000001? Asked early, since it costs next to
 *                       nothing, and the key's Name decides whether another must be made
 * TPM2_CreatePrimary    else derive it; with a persistent key, neither this nor its flush
 * TPM2_Load             before the session: where the object is damaged, none is needed
 * TPM2_StartAuthSession salted with the parent, so that the response is encrypted to us
 * TPM2_CertifyCreation  that this TPM made the object in the state that creation data tells: else
 *                       another system on this machine could have sealed its own key. In the same
 *                       session, whose HMAC shows that it's the TPM that answers; a use that isn't
 *                       about a policy resets the session's policy, so it comes before the steps
 * TPM2_PolicyPCR        with the values that we expect, so that a refusal comes before the key
 * TPM2_Unseal           ends the session as well: continueSession is clear
 * TPM2_FlushContext     the object, the parent: only a resource manager would do that for us
 *
 * A refusal flushes the session too, and reads the PCRs for the reason.
 *
 * All of it trusts that the parent is a key of this TPM. A persistent or derived one is, unless
 * who carries the traffic plays a TPM of his own from the first command on, with a disk that he
 * made for it: nothing in the traffic tells that TPM from ours. */
int tpm_unseal(struct tpm *t, const struct sealed *object, const struct steps *steps,
               struct secret **ret, struct tpm_refusal *why, struct error *err) {
        _cleanup_(handles_done) struct handles h = { HANDLE(t), HANDLE(t), HANDLE(t) };
        _cleanup_(plain_wipep) TPM2B_SENSITIVE_DATA *plain = NULL;
        struct request q = { .srk = &object->srk };
        TSS2_RC rc;
        int r;

        r = read_object(object, steps, &q, why, err);
        if (r != TPM_GRANTED)
                return r;
        r = bring_in(t, &q, &h, why, err);
        if (r < 0)
                return error_prefix(err, "unseal");
        if (r != TPM_GRANTED)
                return r;

        rc = ask(t, &q.plan, &h.session, &h.loaded, &plain);
        if (rc == TSS2_RC_SUCCESS)
                handle_gone(&h.session);
        r = judge(t, rc, q.plan.pcrs, object, why, err);
        if (r != TPM_GRANTED)
                return r;

        return plain_take(plain, ret, err);
}
