/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tpm/steps.h"

#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "base/public.h"

/* Nothing of a step is believed because it stands in a token: the digest that the steps make is the
 * object's authPolicy, or the TPM keeps the key. Here they only have to be such that the TPM can be
 * asked. */
bool steps_sound(const struct steps *steps) {
        unsigned authorize = 0, or = 0;

        if (steps->count == 0 || steps->count > STEPS_MAX || steps->bank >= PCR_BANKS)
                return false;
        for (unsigned i = 0; i < steps->count; i++) {
                const struct step *s = &steps->step[i];

                if (s->kind == STEP_PCR && (s->pcr_mask == 0 || s->pcr_mask >> PCR_COUNT))
                        return false;
                authorize += s->kind == STEP_AUTHORIZE;
                or += s->kind == STEP_OR;
        }
        return authorize + or <= 1 && steps->authorize.key_size <= STEP_KEY_MAX &&
                                      steps->authorize.ref_size <= STEP_REF_MAX &&
                                      (or == 0 ||
                                       (steps->alternatives.count >= 2 &&
                                        steps->alternatives.count <= STEP_OR_MAX));
}

static TSS2_RC assert_pcr(struct run *run, unsigned i) {
        const struct steps *steps = run->opener->steps;
        uint32_t mask = steps->step[i].pcr_mask;
        const TPML_PCR_SELECTION selection = pcr_selection(steps->bank, mask);
        TPM2B_DIGEST digest = { 0 };

        /* With the values that we expect a refusal comes before the key; where another step says
         * what they may be, with those that there are. */
        if (!steps_floats(steps, i) && pcr_digest(run->recorded, mask, &digest, run->err) < 0)
                return TSS2_ESYS_RC_GENERAL_FAILURE;
        return Esys_PolicyPCR(run->tpm->esys, run->session->tr, NO_SESSIONS, &digest, &selection);
}

static bool public_template(const struct public_parts *key, TPM2B_PUBLIC *ret) {
        TPMT_PUBLIC *p = &ret->publicArea;

        *ret = (TPM2B_PUBLIC){ .publicArea = { .nameAlg = TPM2_ALG_SHA256,
                                               .objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT |
                                                                   TPMA_OBJECT_USERWITHAUTH } };
        if (key->kind == PUBLIC_RSA) {
                p->type = TPM2_ALG_RSA;
                p->parameters.rsaDetail.symmetric.algorithm = TPM2_ALG_NULL;
                p->parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
                p->parameters.rsaDetail.keyBits = (UINT16) key->bits;
                p->parameters.rsaDetail.exponent = key->exponent == 65537 ? 0 : key->exponent;
                if (key->size > sizeof(p->unique.rsa.buffer))
                        return false;
                p->unique.rsa.size = (UINT16) key->size;
                memcpy(p->unique.rsa.buffer, key->n, key->size);
                return true;
        }
        p->type = TPM2_ALG_ECC;
        p->parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
        p->parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
        p->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
        p->parameters.eccDetail.curveID =
                key->bits == 256 ? TPM2_ECC_NIST_P256 : TPM2_ECC_NIST_P384;
        p->unique.ecc.x.size = p->unique.ecc.y.size = (UINT16) key->size;
        memcpy(p->unique.ecc.x.buffer, key->x, key->size);
        memcpy(p->unique.ecc.y.buffer, key->y, key->size);
        return true;
}

static bool signature_encode(const struct public_parts *key, const struct signature *s,
                             TPMT_SIGNATURE *ret) {
        struct error ignored = { 0 };

        *ret = (TPMT_SIGNATURE){ 0 };
        if (key->kind == PUBLIC_RSA) {
                ret->sigAlg = TPM2_ALG_RSASSA;
                ret->signature.rsassa.hash = TPM2_ALG_SHA256;
                if (s->size > sizeof(ret->signature.rsassa.sig.buffer))
                        return false;
                ret->signature.rsassa.sig.size = (UINT16) s->size;
                memcpy(ret->signature.rsassa.sig.buffer, s->data, s->size);
                return true;
        }
        ret->sigAlg = TPM2_ALG_ECDSA;
        ret->signature.ecdsa.hash = TPM2_ALG_SHA256;
        ret->signature.ecdsa.signatureR.size = ret->signature.ecdsa.signatureS.size =
                (UINT16) key->size;
        return public_signature_parts(s->data, s->size, key->size,
                                      ret->signature.ecdsa.signatureR.buffer,
                                      ret->signature.ecdsa.signatureS.buffer, &ignored) == 0;
}

/* What the TPM is asked about one signature. */
struct authority {
        TPM2B_PUBLIC public;
        TPMT_SIGNATURE signature;
        TPM2B_DIGEST approved, signed_hash;
        TPM2B_NONCE ref;
};

/* That the key signed it, in a ticket; then that the ticket stands for the policy so far. */
static TSS2_RC assert_authority(struct run *run, const struct authority *a) {
        _cleanup_(handle_done) struct handle key = HANDLE(run->tpm);
        _cleanup_(esys_freep) TPMT_TK_VERIFIED *ticket = NULL;
        _cleanup_(esys_freep) TPM2B_NAME *name = NULL;
        ESYS_CONTEXT *esys = run->tpm->esys;
        bool tried = false;
        ESYS_TR tr;
        TSS2_RC rc;

        do
                rc = Esys_LoadExternal(esys, NO_SESSIONS, NULL, &a->public, ESYS_TR_RH_OWNER, &tr);
        while (lock_made_room(run->tpm, rc, &tried));
        if (rc_is_about_input(rc)) {
                run->key_refused = true;
                return TPM2_RC_POLICY_FAIL;
        }
        if (rc)
                return rc;
        handle_hold(&key, tr);
        rc = Esys_TR_GetName(esys, key.tr, &name);
        if (rc == TSS2_RC_SUCCESS)
                rc = Esys_VerifySignature(esys, key.tr, NO_SESSIONS, &a->signed_hash, &a->signature,
                                          &ticket);
        if (rc_base(rc) == TPM2_RC_SIGNATURE)
                return TPM2_RC_POLICY_FAIL;
        if (rc)
                return rc;
        return Esys_PolicyAuthorize(esys, run->session->tr, NO_SESSIONS, &a->approved, &a->ref,
                                    name, ticket);
}

static TSS2_RC assert_authorize(struct run *run) {
        const struct steps *steps = run->opener->steps;
        _cleanup_(esys_freep) TPM2B_DIGEST *now = NULL;
        uint8_t both[POLICY_DIGEST_SIZE + STEP_REF_MAX];
        const struct signature *s = run->opener->signature;
        struct authority a = { .signed_hash.size = SHA256_SIZE };
        struct public_parts key;
        TSS2_RC rc;

        rc = Esys_PolicyGetDigest(run->tpm->esys, run->session->tr, NO_SESSIONS, &now);
        if (rc)
                return rc;
        if (!s || now->size != sizeof(s->approved) ||
            memcmp(now->buffer, s->approved, now->size) != 0 ||
            public_parse(steps->authorize.key, steps->authorize.key_size, &key, run->err) < 0 ||
            !public_template(&key, &a.public) || !signature_encode(&key, s, &a.signature))
                return TPM2_RC_POLICY_FAIL;
        a.approved = *now;
        a.ref.size = steps->authorize.ref_size;
        memcpy(a.ref.buffer, steps->authorize.ref, a.ref.size);
        memcpy(both, now->buffer, POLICY_DIGEST_SIZE);
        memcpy(both + POLICY_DIGEST_SIZE, a.ref.buffer, a.ref.size);
        if (crypto_sha256(both, POLICY_DIGEST_SIZE + a.ref.size, a.signed_hash.buffer, run->err) <
            0)
                return TSS2_ESYS_RC_GENERAL_FAILURE;
        return assert_authority(run, &a);
}

static void list_of(const uint8_t (*digests)[POLICY_DIGEST_SIZE], unsigned count,
                    TPML_DIGEST *ret) {
        ret->count = count;
        for (unsigned i = 0; i < count; i++) {
                ret->digests[i].size = POLICY_DIGEST_SIZE;
                memcpy(ret->digests[i].buffer, digests[i], POLICY_DIGEST_SIZE);
        }
}

/* In which group the policy so far is. Return: POLICY_FAIL where it's in none. */
static TSS2_RC find_group(struct run *run, unsigned *ret) {
        const struct steps *steps = run->opener->steps;
        _cleanup_(esys_freep) TPM2B_DIGEST *now = NULL;
        TSS2_RC rc = Esys_PolicyGetDigest(run->tpm->esys, run->session->tr, NO_SESSIONS, &now);

        if (rc)
                return rc;
        for (unsigned g = 0; g < steps_or_groups(steps->alternatives.count); g++) {
                unsigned first, count;

                steps_or_group(steps->alternatives.count, g, &first, &count);
                for (unsigned i = first; i < first + count; i++)
                        if (now->size == POLICY_DIGEST_SIZE &&
                            memcmp(now->buffer, steps->alternatives.digest[i], now->size) == 0) {
                                *ret = g;
                                return TSS2_RC_SUCCESS;
                        }
        }
        return TPM2_RC_POLICY_FAIL;
}

static TSS2_RC assert_or(struct run *run) {
        const struct steps *steps = run->opener->steps;
        unsigned n = steps->alternatives.count, groups = steps_or_groups(n), mine = 0, first, count;
        uint8_t above[8][POLICY_DIGEST_SIZE];
        TPML_DIGEST list;
        TSS2_RC rc = find_group(run, &mine);

        if (rc)
                return rc;
        steps_or_group(n, mine, &first, &count);
        list_of(steps->alternatives.digest + first, count, &list);
        rc = Esys_PolicyOR(run->tpm->esys, run->session->tr, NO_SESSIONS, &list);
        if (rc || groups == 1)
                return rc;
        for (unsigned g = 0; g < groups; g++) {
                steps_or_group(n, g, &first, &count);
                if (steps_or_digest(steps->alternatives.digest + first, count, above[g], run->err) <
                    0)
                        return TSS2_ESYS_RC_GENERAL_FAILURE;
        }
        list_of(above, groups, &list);
        return Esys_PolicyOR(run->tpm->esys, run->session->tr, NO_SESSIONS, &list);
}

/* ESYS keeps a copy until the object is flushed; without an auth value there's nothing to tell. */
static TSS2_RC assert_auth(struct run *run) {
        TPM2B_AUTH auth = { 0 };
        TSS2_RC rc;

        if (!run->opener->auth || secret_size(run->opener->auth) > sizeof(auth.buffer))
                return TPM2_RC_POLICY_FAIL;
        auth.size = (UINT16) secret_size(run->opener->auth);
        memcpy(auth.buffer, secret_data(run->opener->auth), auth.size);
        rc = Esys_TR_SetAuth(run->tpm->esys, run->object->tr, &auth);
        explicit_bzero(&auth, sizeof(auth));
        return rc ? rc : Esys_PolicyAuthValue(run->tpm->esys, run->session->tr, NO_SESSIONS);
}

static TSS2_RC assert_step(struct run *run, unsigned i) {
        switch (run->opener->steps->step[i].kind) {
        case STEP_PCR: return assert_pcr(run, i);
        case STEP_AUTHORIZE: return assert_authorize(run);
        case STEP_OR: return assert_or(run);
        case STEP_NV: return nv_policy(run->tpm, &run->opener->steps->step[i], run->session);
        case STEP_AUTH: return assert_auth(run);
        }
        return TPM2_RC_POLICY_FAIL;
}

TSS2_RC steps_assert(void *arg) {
        struct run *run = arg;

        for (run->at = 0; run->at < run->opener->steps->count; run->at++) {
                TSS2_RC rc = assert_step(run, run->at);

                if (rc)
                        return rc;
        }
        return TSS2_RC_SUCCESS;
}
