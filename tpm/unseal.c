/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tpm/nv.h"
#include "tpm/steps.h"

/* What is asked for, as the TPM wants it. */
struct request {
        const struct tpm_bytes *srk; /* Name of the parent */
        struct object object;
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

TSS2_RC unseal_under(struct tpm *t, const struct handle *object, const struct handle *session,
                     assert_fn assert_policy, void *arg, TPM2B_SENSITIVE_DATA **ret) {
        for (unsigned tries = 1;; tries++) {
                TSS2_RC rc = assert_policy(arg);

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

/* Those of @asked that aren't what they were, with their values. */
static int find_changed(struct tpm *t, uint32_t asked, const struct pcrs *recorded,
                        struct tpm_refusal *ret, struct error *err) {
        struct pcrs now = { 0 };
        size_t size = pcr_size(recorded->bank);
        int r = tpm_pcr_read(t, recorded->bank, asked, &now, err);

        if (r == -ENOENT)
                err->errnum = -EIO; /* no bank to hold against is a fault here, as any */
        if (r < 0)
                return error_prefix(err, "unseal");
        *ret = (struct tpm_refusal){ .now = now };
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if ((asked & (1u << n)) && memcmp(now.value[n], recorded->value[n], size) != 0)
                        ret->pcrs |= 1u << n;
                else
                        memset(ret->now.value[n], 0, size);
        ret->now.mask = ret->pcrs;
        return 0;
}

/* The PCRs that the policy's step @at is about. */
static uint32_t asked_at(const struct steps *steps, unsigned at) {
        if (at < steps->count &&
            (steps->step[at].kind == STEP_AUTHORIZE || steps->step[at].kind == STEP_OR))
                return at > 0 ? steps->step[at - 1].pcr_mask : 0;
        return steps_pcrs(steps);
}

static int contradicted(struct error *err, TSS2_RC rc) {
        return error_set(err, -EPROTO,
                         "unseal: the TPM's answers on the counter contradict each other; somebody "
                         "between us and the TPM alters the traffic (0x%08x)",
                         rc);
}

/* Return: TPM_RETIRED; TPM_NO_COUNTER; TPM_GRANTED where the counter is as the step wants it; -EIO.
 */
static int explain_counter(const struct run *run, const struct step *s, struct tpm_refusal *why,
                           struct error *err) {
        static const char *const words[] = {
                [TPM_COUNTER_MISSING] = "it isn't there: somebody removed it, or cleared the TPM",
                [TPM_COUNTER_UNWRITTEN] = "it was removed, and another stands in its place",
                [TPM_COUNTER_OTHER] = "it was removed, and something else stands in its place",
        };
        uint64_t value = 0;
        int r = counter_examine(run->tpm, s->nv.index, s->nv.name, run->session, &value, err);

        if (r < 0)
                return error_prefix(err, "unseal");
        *why = (struct tpm_refusal){ .counter = value };
        if (r == TPM_COUNTER_GOOD)
                return value > s->nv.le ? TPM_RETIRED : TPM_GRANTED;
        (void) snprintf(why->text, sizeof(why->text), "%s", words[r]);
        return TPM_NO_COUNTER;
}

/* That there's no counter was an error, which has no HMAC and which anybody between us and the TPM
 * can answer: an answer that has one must say it, too. The TPM has room for it once nothing else of
 * ours is in it. Return: TPM_NO_COUNTER; -EPROTO; or another fault. */
static int confirm_no_counter(struct tpm *t, const struct sealed *object, const struct steps *steps,
                              struct error *err) {
        for (unsigned i = 0; i < steps->count; i++) {
                const struct step *s = &steps->step[i];
                struct tpm_counter c = { .index = s->nv.index, .srk = object->srk };
                int r;

                if (s->kind != STEP_NV)
                        continue;
                memcpy(c.name, s->nv.name, sizeof(c.name));
                r = tpm_counter_read(t, &c, err);
                if (r < 0)
                        return error_prefix(err, "unseal");
                if (r != TPM_COUNTER_GOOD && r != TPM_COUNTER_OTHER_TPM)
                        return TPM_NO_COUNTER;
        }
        return contradicted(err, TPM2_RC_HANDLE);
}

/* The TPM refused, or would have; say what it was. Return: a verdict; -EIO. */
static int explain(const struct run *run, TSS2_RC rc, struct tpm_refusal *why, struct error *err) {
        const struct steps *steps = run->opener->steps;
        enum step_kind kind = run->at < steps->count ? steps->step[run->at].kind : STEP_PCR;
        struct tpm_refusal found = { 0 };
        int r;

        if (run->at < steps->count && kind == STEP_NV) {
                r = explain_counter(run, &steps->step[run->at], why, err);
                /* What was said of it first had no HMAC, and wasn't so. */
                return r != TPM_GRANTED ? r : contradicted(err, rc);
        }
        if (run->at < steps->count && kind == STEP_AUTH)
                return TPM_WRONG_AUTH;
        r = find_changed(run->tpm, asked_at(steps, run->at), run->recorded, &found, err);
        if (r < 0)
                return r;
        if (found.pcrs || kind == STEP_AUTHORIZE) {
                *why = found;
                if (run->key_refused)
                        (void) snprintf(why->text, sizeof(why->text),
                                        "it doesn't take that key: its kind or its size is beyond "
                                        "this TPM");
                return kind == STEP_AUTHORIZE ? TPM_UNSIGNED : TPM_PCR_MISMATCH;
        }
        if (rc == TPM2_RC_PCR_CHANGED)
                return tpm_fault(run->tpm, rc, "unseal: PCRs keep changing", err);
        /* The steps hold, but its policy isn't them. Or the counter is another by now. */
        for (unsigned i = 0; i < steps->count; i++)
                if (steps->step[i].kind == STEP_NV &&
                    (r = explain_counter(run, &steps->step[i], why, err)) != TPM_GRANTED)
                        return r;
        return TPM_DAMAGED;
}

/* All that can be said without the TPM. Return: TPM_GRANTED; TPM_DAMAGED; TPM_UNPROVEN; -EIO. */
static int read_object(const struct sealed *object, const struct steps *steps, struct request *ret,
                       struct tpm_refusal *why, struct error *err) {
        bool pin = false;

        if (!sealed_decode(object, &ret->object) || !steps_sound(steps) ||
            steps_recorded(steps) == 0 || (steps_recorded(steps) & ~object->pcrs.mask) ||
            steps->bank != object->pcrs.bank)
                return TPM_DAMAGED;
        for (unsigned i = 0; i < steps->count; i++)
                pin |= steps->step[i].kind == STEP_AUTH;
        /* Where somebody has to know something, wrong guesses must count. */
        if (pin && (ret->object.public.publicArea.objectAttributes & TPMA_OBJECT_NODA))
                return TPM_DAMAGED;
        if (!object_is_bound(&ret->object))
                return unproven(why, "it isn't bound to this TPM: it was imported, or may leave");
        return evidence_read(object, steps_recorded(steps), &ret->evidence, why, err);
}

static int judge(const struct run *run, TSS2_RC rc, struct tpm_refusal *why, struct error *err) {
        switch (rc_base(rc)) {
        case TSS2_RC_SUCCESS: return TPM_GRANTED;
        case TPM2_RC_LOCKOUT: return TPM_LOCKED_OUT;
        case TPM2_RC_AUTH_FAIL:
        case TPM2_RC_BAD_AUTH:
                return run->opener->auth ? TPM_WRONG_AUTH : tpm_fault(run->tpm, rc, "unseal", err);
        case TPM2_RC_VALUE:       /* of TPM2_PolicyPCR */
        case TPM2_RC_POLICY:      /* of TPM2_PolicyNV */
        case TPM2_RC_HANDLE:      /* the same: there's no counter */
        case TPM2_RC_POLICY_FAIL: /* of TPM2_Unseal */
        case TPM2_RC_PCR_CHANGED: return explain(run, rc, why, err);
        default: return tpm_fault(run->tpm, rc, "unseal", err);
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
 * the policy's steps    see steps.c; the PCRs with the values that we expect, so that a refusal
 *                       comes before the key
 * TPM2_Unseal           ends the session as well: continueSession is clear
 * TPM2_FlushContext     the object, the parent: only a resource manager would do that for us
 *
 * A refusal flushes the session too, and reads the PCRs for the reason; where it's that there's no
 * counter, all of this goes, and the counter is looked for anew as tpm_counter_read() does it.
 *
 * All of it trusts that the parent is a key of this TPM. A persistent or derived one is, unless
 * who carries the traffic plays a TPM of his own from the first command on, with a disk that he
 * made for it: nothing in the traffic tells that TPM from ours. */
int tpm_unseal(struct tpm *t, const struct sealed *object, const struct tpm_opener *opener,
               struct secret **ret, struct tpm_refusal *why, struct error *err) {
        _cleanup_(handles_done) struct handles h = { HANDLE(t), HANDLE(t), HANDLE(t) };
        _cleanup_(plain_wipep) TPM2B_SENSITIVE_DATA *plain = NULL;
        struct request q = { .srk = &object->srk };
        struct run run = { t, &h.session, &h.loaded, opener, &object->pcrs, err, 0, false };
        TSS2_RC rc;
        int r;

        r = read_object(object, opener->steps, &q, why, err);
        if (r != TPM_GRANTED)
                return r;
        r = bring_in(t, &q, &h, why, err);
        if (r < 0)
                return error_prefix(err, "unseal");
        if (r != TPM_GRANTED)
                return r;

        rc = unseal_under(t, &h.loaded, &h.session, steps_assert, &run, &plain);
        if (rc == TSS2_RC_SUCCESS)
                handle_gone(&h.session);
        r = judge(&run, rc, why, err);
        if (r == TPM_NO_COUNTER) {
                handles_done(&h);
                return confirm_no_counter(t, object, opener->steps, err);
        }
        if (r != TPM_GRANTED)
                return r;

        return plain_take(plain, ret, err);
}
