/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "tpm/internal.h"

#define KEY_MAX 128 /* bytes: MAX_SYM_DATA, which every TPM has */

struct request {
        ESYS_TR parent, session;
        TPM2B_SENSITIVE_CREATE sensitive;
        TPM2B_PUBLIC template;
        TPML_PCR_SELECTION pcrs;
};

static void request_wipe(struct request *q) {
        explicit_bzero(&q->sensitive, sizeof(q->sensitive));
}

/* TPM2_Create, with the key in it: encrypted by the session, which ends with it. */
static TSS2_RC create(struct tpm *t, const struct request *q, struct created *ret) {
        const TPM2B_DATA outside = { 0 };
        TSS2_RC rc = Esys_Create(t->esys, q->parent, q->session, ESYS_TR_NONE, ESYS_TR_NONE,
                                 &q->sensitive, &q->template, &outside, &q->pcrs, &ret->private,
                                 &ret->public, &ret->creation, NULL, &ret->ticket);

        wipe_after_create(t);
        return rc;
}

/* Whether creation data covers the PCRs that were asked for, with the values that they should have.
 * Return: a verdict, or -EIO. */
static int check_creation(const TPMS_CREATION_DATA *c, const struct pcrs *pcrs, struct error *err) {
        TPM2B_DIGEST digest = { 0 };
        int r;

        if (pcr_selected(&c->pcrSelect, pcrs->bank) != pcrs->mask ||
            c->pcrSelect.count != (pcrs->mask ? 1 : 0))
                return error_set(err, -EIO, "seal: the TPM recorded other PCRs than were asked");
        /* Over no PCR at all there is no digest (Part 2, TPMS_CREATION_DATA). */
        if (pcrs->mask == 0)
                return TPM_GRANTED;
        r = pcr_digest(pcrs, pcrs->mask, &digest, err);
        if (r < 0)
                return r;
        if (c->pcrDigest.size != digest.size ||
            memcmp(c->pcrDigest.buffer, digest.buffer, digest.size) != 0)
                return TPM_PCR_MISMATCH;
        return TPM_GRANTED;
}

/* What the TPM answered, once more with the eyes of tpm_unseal(), lest a disk be locked with a key
 * that never opens. Without PCRs there is no evidence. */
static int check_evidence(const struct sealed *made, struct error *err) {
        struct tpm_refusal why;
        struct evidence evidence;
        int r;

        if (made->pcrs.mask == 0)
                return TPM_GRANTED;
        r = evidence_read(made, made->pcrs.mask, &evidence, &why, err);
        if (r == TPM_UNPROVEN)
                return error_set(err, -EIO, "seal: the TPM's evidence is no use: %s", why.text);
        return r;
}

static int fill_in(const struct tpm_sealing *what, struct request *q, struct error *err) {
        TPM2B_AUTH *auth = &q->sensitive.sensitive.userAuth;

        if (secret_size(what->key) > KEY_MAX)
                return error_set(err, -EINVAL, "seal: a TPM takes %d bytes, not %zu", KEY_MAX,
                                 secret_size(what->key));
        if (what->pcrs->mask >> PCR_COUNT)
                return error_set(err, -EINVAL, "seal: there are %d PCRs", PCR_COUNT);
        q->pcrs = pcr_selection(what->pcrs->bank, what->pcrs->mask);
        memcpy(q->template.publicArea.authPolicy.buffer, what->policy, SHA256_SIZE);
        q->sensitive.sensitive.data.size = (UINT16) secret_size(what->key);
        memcpy(q->sensitive.sensitive.data.buffer, secret_data(what->key), secret_size(what->key));
        if (!what->auth) {
                q->template.publicArea.objectAttributes |= TPMA_OBJECT_NODA;
                return 0;
        }
        if (secret_size(what->auth) > SHA256_SIZE)
                return error_set(err, -EINVAL, "seal: an auth value of more than %d bytes",
                                 SHA256_SIZE);
        auth->size = (UINT16) secret_size(what->auth);
        memcpy(auth->buffer, secret_data(what->auth), auth->size);
        return 0;
}

int tpm_seal(struct tpm *t, const struct tpm_sealing *what, struct sealed *ret, struct error *err) {
        _cleanup_(handle_done) struct handle parent = HANDLE(t), session = HANDLE(t);
        _cleanup_(created_done) struct created made = { 0 };
        _cleanup_(request_wipe) struct request q = {
                .template.publicArea = { .type = TPM2_ALG_KEYEDHASH,
                                         .nameAlg = TPM2_ALG_SHA256,
                                         .objectAttributes =
                                                 TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT,
                                         .authPolicy.size = SHA256_SIZE,
                                         .parameters.keyedHashDetail.scheme.scheme =
                                                 TPM2_ALG_NULL },
        };
        struct sealed object;
        TPM2B_NAME srk;
        TSS2_RC rc;
        int r;

        r = fill_in(what, &q, err);
        if (r < 0)
                return r;
        r = clock_check(t, err);
        if (r == 0)
                r = srk_any(t, &parent, &srk, err);
        if (r < 0)
                return error_prefix(err, "seal");
        r = session_start(t, TPM2_SE_HMAC, &parent, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT,
                          &session, err);
        if (r < 0)
                return error_prefix(err, "seal");

        q.parent = parent.tr;
        q.session = session.tr;
        rc = create(t, &q, &made);
        if (rc)
                return tpm_fault(t, rc, "seal", err);
        handle_gone(&session);

        if (!public_is_made_from(made.public, &q.template))
                return error_set(err, -EIO, "seal: the TPM made another object than was asked");
        r = check_creation(&made.creation->creationData, what->pcrs, err);
        if (r != TPM_GRANTED)
                return r;
        r = sealed_encode(&made, &srk, what->pcrs, &object, err);
        if (r < 0)
                return r;
        r = check_evidence(&object, err);
        if (r == TPM_GRANTED)
                *ret = object;
        return r;
}
