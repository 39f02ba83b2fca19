/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tpm/ek.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tss2/tss2_mu.h>

#include "base/credential.h"
#include "base/crypto.h"
#include "tpm/internal.h"

/* Templates of the low range have a policy alone, PolicySecret of the endorsement hierarchy; those
 * of the high range take the auth value too, which is empty. */
static const struct kind {
        const char *name;
        TPM2_HANDLE index;
        UINT16 bits; /* RSA; 0: ECC */
        TPM2_ECC_CURVE curve;
        bool high;
        enum credential_kind inside;
} kinds[EK_KINDS] = {
        { "ECC P-256", 0x01c0000a, 0, TPM2_ECC_NIST_P256, false, CREDENTIAL_SHA256_AES128 },
        { "RSA 2048", 0x01c00002, 2048, 0, false, CREDENTIAL_SHA256_AES128 },
        { "ECC P-256 (high range)", 0x01c00014, 0, TPM2_ECC_NIST_P256, true,
          CREDENTIAL_SHA256_AES128 },
        { "RSA 2048 (high range)", 0x01c00012, 2048, 0, true, CREDENTIAL_SHA256_AES128 },
        { "ECC P-384", 0x01c00016, 0, TPM2_ECC_NIST_P384, true, CREDENTIAL_SHA384_AES256 },
        { "RSA 3072", 0x01c0001c, 3072, 0, true, CREDENTIAL_SHA384_AES256 },
};

/* EK Credential Profile, annex B: PolicyA (PolicySecret of TPM_RH_ENDORSEMENT), and PolicyB, which
 * is PolicyA or what stands in an NV index. */
static const uint8_t policy_a_sha256[] = {
        0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
        0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
        0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};
static const uint8_t policy_b_sha256[] = {
        0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34,
        0x24, 0x14, 0xef, 0xcf, 0xb3, 0xa3, 0x85, 0xd4, 0x4c, 0xd1, 0xfd,
        0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
};
static const uint8_t policy_b_sha384[] = {
        0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc,
        0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,
        0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09,
        0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
};

const char *tpm_ek_name(unsigned kind) {
        return kinds[kind].name;
}

uint32_t tpm_ek_index(unsigned kind) {
        return kinds[kind].index;
}

/* --- the certificate --- */

/* Bytes of the value of a DER sequence, its head included; all where it doesn't look like one. */
static size_t der_size(const uint8_t *der, size_t size) {
        size_t whole = size;

        if (size >= 4 && der[0] == 0x30 && der[1] == 0x82)
                whole = 4 + (size_t) (der[2] << 8 | der[3]);
        return whole < size ? whole : size;
}

/* Who may read it: whoever knows its auth value, which is empty, or else the owner. */
static ESYS_TR reader(const TPMS_NV_PUBLIC *nv, ESYS_TR index) {
        return nv->attributes & TPMA_NV_AUTHREAD ? index : ESYS_TR_RH_OWNER;
}

static int read_index(struct tpm *t, const TPMS_NV_PUBLIC *nv, ESYS_TR index,
                      struct ek_certificate *ret, struct error *err) {
        size_t wanted = nv->dataSize;
        uint32_t most;
        int r;

        r = tpm_property(t, TPM2_PT_NV_BUFFER_MAX, &most, err);
        if (r < 0)
                return r;
        if (most == 0 || most > TPM2_MAX_NV_BUFFER_SIZE)
                most = 512;
        if (wanted > sizeof(ret->der))
                wanted = sizeof(ret->der);
        while (ret->size < wanted) {
                _cleanup_(esys_freep) TPM2B_MAX_NV_BUFFER *part = NULL;
                size_t left = wanted - ret->size, n = left < most ? left : most;
                TSS2_RC rc = Esys_NV_Read(t->esys, reader(nv, index), index, PASSWORD, (UINT16) n,
                                          (UINT16) ret->size, &part);

                if (rc)
                        return tpm_fault(t, rc, "read the endorsement key's certificate", err);
                if (part->size == 0 || part->size > n)
                        return error_set(err, -EIO,
                                         "read the endorsement key's certificate: the TPM answers "
                                         "%u bytes where %zu were asked for",
                                         part->size, n);
                memcpy(ret->der + ret->size, part->buffer, part->size);
                ret->size += part->size;
        }
        return 0;
}

int tpm_ek_read(struct tpm *t, unsigned kind, struct ek_certificate *ret, struct error *err) {
        _cleanup_(handle_done) struct handle index = HANDLE(t);
        _cleanup_(esys_freep) TPM2B_NV_PUBLIC *public = NULL;
        struct ek_certificate found = { 0 };
        ESYS_TR tr;
        TSS2_RC rc;
        int r;

        index.persistent = true;
        rc = Esys_TR_FromTPMPublic(t->esys, kinds[kind].index, NO_SESSIONS, &tr);
        if (rc_base(rc) == TPM2_RC_HANDLE)
                return 0;
        if (rc)
                return tpm_fault(t, rc, "look for the endorsement key's certificate", err);
        handle_hold(&index, tr);
        rc = Esys_NV_ReadPublic(t->esys, tr, NO_SESSIONS, &public, NULL);
        if (rc)
                return tpm_fault(t, rc, "look for the endorsement key's certificate", err);
        if (!(public->nvPublic.attributes & TPMA_NV_WRITTEN) || public->nvPublic.dataSize == 0)
                return 0;
        r = read_index(t, &public->nvPublic, tr, &found, err);
        if (r < 0)
                return r;
        found.size = der_size(found.der, found.size);
        *ret = found;
        return 1;
}

/* --- the key --- */

static void set_policy(TPM2B_DIGEST *ret, const uint8_t *digest, size_t size) {
        ret->size = (UINT16) size;
        memcpy(ret->buffer, digest, size);
}

/* Templates L-1 and L-2 have zeros in unique, those of the high range nothing. */
static TPM2B_PUBLIC template_of(const struct kind *k) {
        bool strong = k->inside == CREDENTIAL_SHA384_AES256;
        const TPMT_SYM_DEF_OBJECT aes = { .algorithm = TPM2_ALG_AES,
                                          .keyBits.aes = strong ? 256 : 128,
                                          .mode.aes = TPM2_ALG_CFB };
        TPM2B_PUBLIC t = { 0 };
        TPMT_PUBLIC *p = &t.publicArea;

        p->type = k->bits ? TPM2_ALG_RSA : TPM2_ALG_ECC;
        p->nameAlg = strong ? TPM2_ALG_SHA384 : TPM2_ALG_SHA256;
        p->objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                              TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY |
                              TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
                              (k->high ? TPMA_OBJECT_USERWITHAUTH : 0);
        if (strong)
                set_policy(&p->authPolicy, policy_b_sha384, sizeof(policy_b_sha384));
        else
                set_policy(&p->authPolicy, k->high ? policy_b_sha256 : policy_a_sha256,
                           sizeof(policy_a_sha256));
        if (k->bits) {
                p->parameters.rsaDetail.symmetric = aes;
                p->parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
                p->parameters.rsaDetail.keyBits = k->bits;
                p->unique.rsa.size = k->high ? 0 : k->bits / 8;
        } else {
                p->parameters.eccDetail.symmetric = aes;
                p->parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
                p->parameters.eccDetail.curveID = k->curve;
                p->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
                p->unique.ecc.x.size = p->unique.ecc.y.size = k->high ? 0 : 32;
        }
        return t;
}

/* Whether both are the same number. TPMs may leave out zeros before it. */
static bool is_number(const uint8_t *a, size_t size, const uint8_t *padded, size_t padded_size) {
        size_t gap = padded_size - size;

        if (size > padded_size)
                return false;
        for (size_t i = 0; i < gap; i++)
                if (padded[i])
                        return false;
        return memcmp(a, padded + gap, size) == 0;
}

static bool is_certified(const TPMT_PUBLIC *p, const struct credential_key *key) {
        if (p->type == TPM2_ALG_RSA)
                return !key->ec &&
                       is_number(p->unique.rsa.buffer, p->unique.rsa.size, key->x, key->size);
        return key->ec &&
               is_number(p->unique.ecc.x.buffer, p->unique.ecc.x.size, key->x, key->size) &&
               is_number(p->unique.ecc.y.buffer, p->unique.ecc.y.size, key->y, key->size);
}

/* --- the proof --- */

static _printf_(2, 3) int mismatch(char ret_why[EK_TEXT], const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(ret_why, EK_TEXT, fmt, ap);
        va_end(ap);
        return EK_MISMATCH;
}

/* The endorsement key, if it's the certified one. Return: enum ek_verdict; -EIO. */
static int derive(struct tpm *t, const struct ek_claim *claim, struct handle *ret,
                  char ret_why[EK_TEXT], struct error *err) {
        const struct kind *k = &kinds[claim->kind];
        const TPM2B_PUBLIC template = template_of(k);
        _cleanup_(esys_freep) TPM2B_PUBLIC *public = NULL;
        struct credential_key key;
        TPM2B_NAME name;
        uint32_t permanent;
        TSS2_RC rc;
        int r;

        r = credential_key_read(claim->key, claim->key_size, &key, err);
        if (r == 0)
                r = tpm_property(t, TPM2_PT_PERMANENT, &permanent, err);
        if (r < 0)
                return r;
        if (permanent & TPMA_PERMANENT_ENDORSEMENTAUTHSET)
                return mismatch(ret_why, "the TPM's endorsement hierarchy has a password, so its "
                                         "endorsement key can't be used");
        r = primary_key(t, ESYS_TR_RH_ENDORSEMENT, &template, ret, &name, err);
        if (r < 0)
                return r;
        if (r == 0)
                return mismatch(ret_why, "the TPM has no keys of the kind %s", k->name);
        rc = Esys_ReadPublic(t->esys, ret->tr, NO_SESSIONS, &public, NULL, NULL);
        if (rc)
                return tpm_fault(t, rc, "look at the endorsement key", err);
        if (!is_certified(&public->publicArea, &key))
                return mismatch(ret_why,
                                "the certificate in the TPM is of another endorsement key "
                                "than its own (%s)",
                                k->name);
        return EK_PROVEN;
}

/* What authorises the endorsement key's use: a session, or none where its auth value does. */
static int authorise(struct tpm *t, const struct kind *k, struct handle *ret, struct error *err) {
        const struct handle unsalted = HANDLE(t);
        TSS2_RC rc;
        int r;

        if (k->high)
                return 0;
        r = session_start(t, TPM2_SE_POLICY, &unsalted, 0, ret, err);
        if (r < 0)
                return r;
        rc = Esys_PolicySecret(t->esys, ESYS_TR_RH_ENDORSEMENT, ret->tr, PASSWORD, NULL, NULL, NULL,
                               0, NULL, NULL);
        return rc ? tpm_fault(t, rc, "authorise the endorsement key", err) : 0;
}

struct challenge {
        uint8_t text[CREDENTIAL_CHALLENGE_MAX];
        TPM2B_ID_OBJECT blob;
        TPM2B_ENCRYPTED_SECRET secret;
};

/* From the certificate's key: what the TPM says of its own has no part in it. */
static int challenge_new(const struct ek_claim *claim, struct challenge *ret, struct error *err) {
        struct credential_request q = { .spki = claim->key,
                                        .spki_size = claim->key_size,
                                        .kind = kinds[claim->kind].inside,
                                        .name = claim->srk->data,
                                        .name_size = claim->srk->size,
                                        .challenge = ret->text,
                                        .challenge_size = sizeof(ret->text) };
        struct credential c = { 0 };
        int r;

        r = crypto_random(ret->text, sizeof(ret->text), err);
        if (r == 0)
                r = credential_make(&q, &c, err);
        if (r < 0)
                return r;
        if (c.blob_size > sizeof(ret->blob.credential) ||
            c.secret_size > sizeof(ret->secret.secret))
                return error_set(err, -EIO, "make a credential: it's too large for a TPM");
        ret->blob.size = (UINT16) c.blob_size;
        memcpy(ret->blob.credential, c.blob, c.blob_size);
        ret->secret.size = (UINT16) c.secret_size;
        memcpy(ret->secret.secret, c.secret, c.secret_size);
        return 0;
}

/* By the storage key's empty auth value, which a TPM takes only where it has the private part (Part
 * 1, section 19.4): its Name alone, loaded as a public key, answers nothing. */
static int answer(struct tpm *t, const struct handle *srk, const struct handle *ek,
                  struct handle *session, const struct challenge *c, struct error *err) {
        _cleanup_(esys_freep) TPM2B_DIGEST *got = NULL;
        bool by_policy = session->tr != ESYS_TR_NONE;
        TSS2_RC rc = Esys_ActivateCredential(t->esys, srk->tr, ek->tr, ESYS_TR_PASSWORD,
                                             by_policy ? session->tr : ESYS_TR_PASSWORD,
                                             ESYS_TR_NONE, &c->blob, &c->secret, &got);

        if (rc == TSS2_RC_SUCCESS && by_policy)
                handle_gone(session);
        /* The challenge is about keys that the TPM shows as its own: it has no excuse. */
        if (rc_is_about_input(rc) || rc == TPM2_RC_AUTH_UNAVAILABLE)
                return EK_MISMATCH;
        if (rc)
                return tpm_fault(t, rc, "activate credential", err);
        return got->size == sizeof(c->text) && crypto_equal(got->buffer, c->text, got->size)
                       ? EK_PROVEN
                       : EK_MISMATCH;
}

int tpm_ek_prove(struct tpm *t, const struct ek_claim *claim, char ret_why[EK_TEXT],
                 struct error *err) {
        _cleanup_(handle_done) struct handle ek = HANDLE(t), srk = HANDLE(t), session = HANDLE(t);
        struct challenge c = { 0 };
        int r;

        r = derive(t, claim, &ek, ret_why, err);
        if (r != EK_PROVEN)
                return r < 0 ? error_prefix(err, "endorsement key") : r;
        r = srk_named(t, claim->srk, &srk, err);
        if (r < 0)
                return r;
        if (r != TPM_GRANTED)
                return mismatch(ret_why, "the storage key isn't in this TPM");
        r = challenge_new(claim, &c, err);
        if (r == 0)
                r = authorise(t, &kinds[claim->kind], &session, err);
        if (r == 0)
                r = answer(t, &srk, &ek, &session, &c, err);
        explicit_bzero(&c, sizeof(c));
        if (r == EK_MISMATCH)
                return mismatch(ret_why, "the TPM doesn't answer a challenge for its certified "
                                         "endorsement key and its storage key");
        return r;
}

int tpm_srk_name(struct tpm *t, struct tpm_bytes *ret, struct error *err) {
        _cleanup_(handle_done) struct handle srk = HANDLE(t);
        TPM2B_NAME name = { 0 };
        int r = srk_any(t, &srk, &name, err);

        if (r < 0)
                return r;
        if (name.size > sizeof(ret->data))
                return error_set(err, -EIO, "look at storage key: its Name is too long");
        *ret = (struct tpm_bytes){ .size = name.size };
        memcpy(ret->data, name.name, name.size);
        return 0;
}
