/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tpm/foreign.h"

#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "tpm/internal.h"

/* The policy of a session in which nothing was asserted. */
static const uint8_t policy_empty[SHA256_SIZE];

struct way {
        bool by_auth; /* by the empty auth value; else by the policy */
        TPML_PCR_SELECTION pcrs;
};

/* What can be said without the TPM. Return: TPM_GRANTED; TPM_DAMAGED. */
static int read_object(const struct foreign_object *f, struct object *ret, struct way *ret_way) {
        const TPMT_PUBLIC *p = &ret->public.publicArea;

        if (!object_decode(&f->public, &f->private, ret) || f->pcr_mask >> PCR_COUNT)
                return TPM_DAMAGED;
        if (f->pcr_mask == 0 && !f->has_policy && p->authPolicy.size == 0) {
                /* A wrong guess would count, and with enough of them the TPM locks itself. */
                if (!(p->objectAttributes & TPMA_OBJECT_USERWITHAUTH) ||
                    !(p->objectAttributes & TPMA_OBJECT_NODA))
                        return TPM_DAMAGED;
                ret_way->by_auth = true;
                return TPM_GRANTED;
        }
        if (p->authPolicy.size != SHA256_SIZE ||
            (f->has_policy && memcmp(f->policy, p->authPolicy.buffer, SHA256_SIZE) != 0))
                return TPM_DAMAGED;
        if (f->pcr_mask == 0)
                return memcmp(p->authPolicy.buffer, policy_empty, SHA256_SIZE) == 0 ? TPM_GRANTED
                                                                                    : TPM_DAMAGED;
        ret_way->pcrs = pcr_selection(PCR_SHA256, f->pcr_mask);
        if (f->bank == FOREIGN_SHA1)
                ret_way->pcrs.pcrSelections[0].hash = TPM2_ALG_SHA1;
        return TPM_GRANTED;
}

/* Return: TPM_GRANTED; TPM_OTHER; -EIO. */
static int find_parent(struct tpm *t, const struct foreign_object *f, struct handle *ret,
                       struct error *err) {
        int r;

        r = clock_check(t, err);
        if (r < 0)
                return r;
        if (f->parent == FOREIGN_PARENT_NAMED)
                return srk_named(t, &f->srk, ret, err);
        r = srk_of_others(t, f->parent == FOREIGN_PARENT_RSA ? TPM2_ALG_RSA : TPM2_ALG_ECC, ret,
                          err);
        if (r < 0)
                return r;
        return r > 0 ? TPM_GRANTED : TPM_OTHER;
}

/* What assert_pcrs() works on. */
struct attempt {
        struct tpm *tpm;
        const struct way *way;
        const struct handle *session;
        const TPM2B_DIGEST *policy;
};

/* The policy that the PCRs make as they are. Their values aren't recorded, so the TPM is asked for
 * the digest instead of being told it; the object's authPolicy is what it's held against. */
static TSS2_RC assert_pcrs(void *arg) {
        const struct attempt *a = arg;
        _cleanup_(esys_freep) TPM2B_DIGEST *got = NULL;
        const TPM2B_DIGEST as_it_is = { 0 };
        TSS2_RC rc = TSS2_RC_SUCCESS;

        if (a->way->by_auth)
                return TSS2_RC_SUCCESS;
        if (a->way->pcrs.count > 0)
                rc = Esys_PolicyPCR(a->tpm->esys, a->session->tr, NO_SESSIONS, &as_it_is,
                                    &a->way->pcrs);
        if (rc == TSS2_RC_SUCCESS)
                rc = Esys_PolicyGetDigest(a->tpm->esys, a->session->tr, NO_SESSIONS, &got);
        if (rc)
                return rc;
        return got->size == a->policy->size &&
                               memcmp(got->buffer, a->policy->buffer, got->size) == 0
                       ? TSS2_RC_SUCCESS
                       : TPM2_RC_POLICY_FAIL; /* as the TPM would say */
}

static int judge(struct tpm *t, TSS2_RC rc, const struct foreign_object *f, struct tpm_refusal *why,
                 struct error *err) {
        switch (rc_base(rc)) {
        case TSS2_RC_SUCCESS: return TPM_GRANTED;
        case TPM2_RC_LOCKOUT: return TPM_LOCKED_OUT;
        case TPM2_RC_POLICY_FAIL:
                if (f->pcr_mask == 0)
                        return TPM_DAMAGED;
                *why = (struct tpm_refusal){ .pcrs = f->pcr_mask };
                return TPM_PCR_MISMATCH;
        case TPM2_RC_BAD_AUTH: /* it has an auth value, which nobody told us */
        case TPM2_RC_AUTH_FAIL: return TPM_DAMAGED;
        default: return tpm_fault(t, rc, "unseal", err);
        }
}

/* The salt is encrypted to the parent. Where its Name isn't recorded, who carries the traffic could
 * pass off a key of his own as the one that was derived, and read what the TPM answers; such a
 * carrier could as well unseal it himself (SECURITY.md). */
int tpm_unseal_foreign(struct tpm *t, const struct foreign_object *object, struct secret **ret,
                       struct tpm_refusal *why, struct error *err) {
        _cleanup_(handle_done) struct handle parent = HANDLE(t), loaded = HANDLE(t);
        _cleanup_(handle_done) struct handle session = HANDLE(t);
        _cleanup_(plain_wipep) TPM2B_SENSITIVE_DATA *plain = NULL;
        struct object o = { 0 };
        struct way way = { 0 };
        struct attempt a = { t, &way, &session, &o.public.publicArea.authPolicy };
        TSS2_RC rc;
        int r;

        r = read_object(object, &o, &way);
        if (r != TPM_GRANTED)
                return r;
        r = find_parent(t, object, &parent, err);
        if (r == TPM_GRANTED)
                r = object_load(t, &parent, &o, &loaded, err);
        if (r < 0)
                return error_prefix(err, "unseal");
        if (r != TPM_GRANTED)
                return r;
        r = session_start(t, way.by_auth ? TPM2_SE_HMAC : TPM2_SE_POLICY, &parent,
                          TPMA_SESSION_ENCRYPT, &session, err);
        if (r < 0)
                return error_prefix(err, "unseal");

        rc = unseal_under(t, &loaded, &session, assert_pcrs, &a, &plain);
        if (rc == TSS2_RC_SUCCESS)
                handle_gone(&session);
        r = judge(t, rc, object, why, err);
        return r == TPM_GRANTED ? plain_take(plain, ret, err) : r;
}
