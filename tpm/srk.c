/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "tpm/internal.h"

#define SRK_HANDLE ((TPM2_HANDLE) 0x81000001) /* TCG TPM v2.0 Provisioning Guidance, 7.8 */

#define STORAGE_KEY                                                                                \
        (TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_FIXEDTPM |                     \
         TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH)

/* The templates of the Provisioning Guidance, 7.5.1, with nothing in unique, as systemd has them.
 * The same template makes the same key each time, until the owner hierarchy is cleared. */
static const TPM2B_PUBLIC template_ecc = {
        .publicArea = {
                .type = TPM2_ALG_ECC,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = STORAGE_KEY | TPMA_OBJECT_NODA,
                .parameters.eccDetail = {
                        .symmetric = { .algorithm = TPM2_ALG_AES,
                                       .keyBits.aes = 128,
                                       .mode.aes = TPM2_ALG_CFB },
                        .scheme.scheme = TPM2_ALG_NULL,
                        .curveID = TPM2_ECC_NIST_P256,
                        .kdf.scheme = TPM2_ALG_NULL,
                },
        },
};

static const TPM2B_PUBLIC template_rsa = {
        .publicArea = {
                .type = TPM2_ALG_RSA,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = STORAGE_KEY | TPMA_OBJECT_NODA,
                .parameters.rsaDetail = {
                        .symmetric = { .algorithm = TPM2_ALG_AES,
                                       .keyBits.aes = 128,
                                       .mode.aes = TPM2_ALG_CFB },
                        .scheme.scheme = TPM2_ALG_NULL,
                        .keyBits = 2048,
                },
        },
};

/* One that may be our parent: it encrypts its children to this TPM alone, and no weaker than the
 * templates do. */
static bool is_storage_key(const TPMT_PUBLIC *p) {
        const TPMT_SYM_DEF_OBJECT *symmetric;

        if (p->nameAlg != TPM2_ALG_SHA256 || (p->objectAttributes & STORAGE_KEY) != STORAGE_KEY ||
            (p->objectAttributes & TPMA_OBJECT_SIGN_ENCRYPT))
                return false;
        switch (p->type) {
        case TPM2_ALG_ECC:
                if (p->parameters.eccDetail.curveID != TPM2_ECC_NIST_P256 &&
                    p->parameters.eccDetail.curveID != TPM2_ECC_NIST_P384)
                        return false;
                symmetric = &p->parameters.eccDetail.symmetric;
                break;
        case TPM2_ALG_RSA:
                if (p->parameters.rsaDetail.keyBits < 2048)
                        return false;
                symmetric = &p->parameters.rsaDetail.symmetric;
                break;
        default: return false;
        }
        return symmetric->algorithm == TPM2_ALG_AES && symmetric->mode.aes == TPM2_ALG_CFB;
}

int srk_persistent(struct tpm *t, struct handle *ret, TPM2B_NAME *ret_name, struct error *err) {
        _cleanup_(handle_done) struct handle h = HANDLE(t);
        TPM2B_PUBLIC public;
        TPM2B_NAME name;
        bool tried = false;
        ESYS_TR tr;
        TSS2_RC rc;
        int r;

        h.persistent = true;
        do
                rc = Esys_TR_FromTPMPublic(t->esys, SRK_HANDLE, NO_SESSIONS, &tr);
        while (lock_made_room(t, rc, &tried));
        if (rc_base(rc) == TPM2_RC_HANDLE)
                return 0;
        if (rc)
                return tpm_fault(t, rc, "look for storage key", err);
        handle_hold(&h, tr);

        r = public_of(t, tr, &public, &name, err);
        if (r < 0)
                return r;
        if (!is_storage_key(&public.publicArea))
                return 0;
        *ret = h;
        *ret_name = name;
        h.tr = ESYS_TR_NONE;
        return 1;
}

int primary_key(struct tpm *t, ESYS_TR hierarchy, const TPM2B_PUBLIC *template, struct handle *ret,
                TPM2B_NAME *ret_name, struct error *err) {
        _cleanup_(esys_freep) TPM2B_PUBLIC *public = NULL;
        _cleanup_(esys_freep) TPM2B_NAME *name = NULL;
        const TPM2B_SENSITIVE_CREATE none = { 0 };
        const TPM2B_DATA outside = { 0 };
        const TPML_PCR_SELECTION pcrs = { 0 };
        bool tried = false;
        ESYS_TR tr;
        TSS2_RC rc;

        do
                rc = Esys_CreatePrimary(t->esys, hierarchy, PASSWORD, &none, template, &outside,
                                        &pcrs, &tr, &public, NULL, NULL, NULL);
        while (lock_made_room(t, rc, &tried));
        switch (rc_base(rc)) {
        case TSS2_RC_SUCCESS: break;
        case TPM2_RC_ASYMMETRIC:
        case TPM2_RC_CURVE:
        case TPM2_RC_TYPE: return 0;
        default: return tpm_fault(t, rc, "make primary key", err);
        }
        handle_hold(ret, tr);

        /* ESYS checked here that the Name is that of the public area. */
        if (!public_is_made_from(public, template))
                return error_set(err, -EPROTO,
                                 "make primary key: the TPM made another than it was asked for; "
                                 "somebody between us and the TPM alters the traffic");
        rc = Esys_TR_GetName(t->esys, tr, &name);
        if (rc)
                return tpm_fault(t, rc, "make primary key", err);
        *ret_name = *name;
        return 1;
}

static int owned_key(struct tpm *t, const TPM2B_PUBLIC *template, struct handle *ret,
                     TPM2B_NAME *ret_name, struct error *err) {
        return primary_key(t, ESYS_TR_RH_OWNER, template, ret, ret_name, err);
}

int srk_any(struct tpm *t, struct handle *ret, TPM2B_NAME *ret_name, struct error *err) {
        int r;

        r = srk_persistent(t, ret, ret_name, err);
        if (r != 0)
                return r < 0 ? r : 0;
        r = owned_key(t, &template_ecc, ret, ret_name, err);
        if (r != 0)
                return r < 0 ? r : 0;
        r = owned_key(t, &template_rsa, ret, ret_name, err);
        if (r != 0)
                return r < 0 ? r : 0;
        return tpm_fault(t, TPM2_RC_ASYMMETRIC, "make storage key: neither ECC nor RSA", err);
}

int srk_of_others(struct tpm *t, TPMI_ALG_PUBLIC type, struct handle *ret, struct error *err) {
        TPM2B_PUBLIC template = type == TPM2_ALG_RSA ? template_rsa : template_ecc;
        TPM2B_NAME name;

        template.publicArea.objectAttributes &= ~TPMA_OBJECT_NODA;
        return owned_key(t, &template, ret, &name, err);
}

static bool is_named(const TPM2B_NAME *a, const struct tpm_bytes *b) {
        return a->size == b->size && memcmp(a->name, b->data, a->size) == 0;
}

/* A Name doesn't tell the algorithm, so the cheap ones are tried first: what's there already, then
 * ECC. RSA takes some chips half a minute, but nothing that we seal has that parent unless the TPM
 * has no ECC, or somebody removed the persistent key. */
int srk_named(struct tpm *t, const struct tpm_bytes *wanted, struct handle *ret,
              struct error *err) {
        const TPM2B_PUBLIC *const templates[] = { &template_ecc, &template_rsa };
        TPM2B_NAME name = { 0 };
        int r;

        r = srk_persistent(t, ret, &name, err);
        if (r < 0)
                return r;
        if (r > 0 && is_named(&name, wanted))
                return TPM_GRANTED;

        for (unsigned i = 0; i < ARRAY_SIZE(templates); i++) {
                handle_done(ret);
                *ret = (struct handle) HANDLE(t);
                r = owned_key(t, templates[i], ret, &name, err);
                if (r < 0)
                        return r;
                if (r > 0 && is_named(&name, wanted))
                        return TPM_GRANTED;
        }
        return TPM_OTHER;
}
