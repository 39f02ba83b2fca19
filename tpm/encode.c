/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include <tss2/tss2_mu.h>

#include "base/crypto.h"
#include "tpm/internal.h"

#define NAME_SIZE (2 + SHA256_SIZE) /* of a Name under SHA-256: the algorithm, the digest */

static const TPMA_OBJECT ATTRIBUTES_SET = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT;
/* With userWithAuth the (empty) auth value would open it; the others are for keys that the TPM
 * makes or uses itself, and for objects that leave it. */
static const TPMA_OBJECT ATTRIBUTES_CLEAR =
        TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_RESTRICTED |
        TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_ENCRYPTEDDUPLICATION;

/* Defines a function that writes a structure in the TPM's encoding, if it fits. */
#define DEFINE_PUT(name, type)                                                                     \
        static bool name(const type *in, struct tpm_bytes *ret) {                                  \
                size_t size = 0;                                                                   \
                                                                                                   \
                if (Tss2_MU_##type##_Marshal(in, ret->data, sizeof(ret->data), &size))             \
                        return false;                                                              \
                ret->size = (uint16_t) size;                                                       \
                return true;                                                                       \
        }                                                                                          \
        struct swallow_semicolon_

DEFINE_PUT(put_public, TPM2B_PUBLIC);
DEFINE_PUT(put_private, TPM2B_PRIVATE);
DEFINE_PUT(put_creation, TPM2B_CREATION_DATA);
DEFINE_PUT(put_ticket, TPMT_TK_CREATION);

void created_done(struct created *c) {
        Esys_Free(c->public);
        Esys_Free(c->private);
        Esys_Free(c->creation);
        Esys_Free(c->ticket);
}

int sealed_encode(const struct created *c, const TPM2B_NAME *srk, const struct pcrs *pcrs,
                  struct sealed *ret, struct error *err) {
        struct sealed made = { .pcrs = *pcrs, .srk.size = srk->size };

        if (srk->size > sizeof(made.srk.data) || !put_public(c->public, &made.public) ||
            !put_private(c->private, &made.private) || !put_creation(c->creation, &made.creation) ||
            !put_ticket(c->ticket, &made.ticket))
                return error_set(err, -EIO, "seal: the TPM's answer is larger than any should be");
        memcpy(made.srk.data, srk->name, srk->size);
        *ret = made;
        return 0;
}

/* Whether the bytes are exactly what their own decoding encodes to: nothing behind the structure,
 * and no size inside it that says something else than its content. */
static bool is_exact(const struct tpm_bytes *in, bool encoded, const struct tpm_bytes *again) {
        return encoded && again->size == in->size && memcmp(again->data, in->data, in->size) == 0;
}

/* Defines a function that reads a structure, and nothing else, from the TPM's encoding. */
#define DEFINE_GET(name, put, type)                                                                \
        bool name(const struct tpm_bytes *in, type *ret) {                                         \
                struct tpm_bytes again = { 0 };                                                    \
                size_t used = 0;                                                                   \
                                                                                                   \
                if (in->size > sizeof(in->data) ||                                                 \
                    Tss2_MU_##type##_Unmarshal(in->data, in->size, &used, ret))                    \
                        return false;                                                              \
                return is_exact(in, put(ret, &again), &again);                                     \
        }                                                                                          \
        struct swallow_semicolon_

static DEFINE_GET(public_decode, put_public, TPM2B_PUBLIC);
static DEFINE_GET(private_decode, put_private, TPM2B_PRIVATE);
DEFINE_GET(creation_decode, put_creation, TPM2B_CREATION_DATA);
DEFINE_GET(ticket_decode, put_ticket, TPMT_TK_CREATION);

bool object_decode(const struct tpm_bytes *public, const struct tpm_bytes *private,
                   struct object *ret) {
        struct object o = { 0 };
        const TPMT_PUBLIC *p = &o.public.publicArea;

        if (!public_decode(public, &o.public) || !private_decode(private, &o.private) ||
            p->type != TPM2_ALG_KEYEDHASH || p->nameAlg != TPM2_ALG_SHA256 ||
            p->parameters.keyedHashDetail.scheme.scheme != TPM2_ALG_NULL ||
            (p->objectAttributes & (ATTRIBUTES_CLEAR & ~TPMA_OBJECT_USERWITHAUTH)))
                return false;
        *ret = o;
        return true;
}

bool sealed_decode(const struct sealed *s, struct object *ret) {
        struct object o = { 0 };
        const TPMT_PUBLIC *p = &o.public.publicArea;

        if (s->srk.size != NAME_SIZE || s->srk.data[0] != TPM2_ALG_SHA256 >> 8 ||
            s->srk.data[1] != (TPM2_ALG_SHA256 & 0xff) || s->pcrs.mask >> PCR_COUNT)
                return false;
        if (!object_decode(&s->public, &s->private, &o) || p->authPolicy.size != SHA256_SIZE ||
            (p->objectAttributes & ATTRIBUTES_CLEAR))
                return false;
        *ret = o;
        return true;
}

bool object_is_bound(const struct object *o) {
        return (o->public.publicArea.objectAttributes & ATTRIBUTES_SET) == ATTRIBUTES_SET;
}

bool tpm_sealed_policy(const struct sealed *object, uint8_t ret[32]) {
        struct object o;

        if (!sealed_decode(object, &o))
                return false;
        memcpy(ret, o.public.publicArea.authPolicy.buffer, SHA256_SIZE);
        return true;
}

bool public_is_made_from(const TPM2B_PUBLIC *public, const TPM2B_PUBLIC *template) {
        TPM2B_PUBLIC blank = *public;
        struct tpm_bytes a = { 0 }, b = { 0 };

        blank.publicArea.unique = template->publicArea.unique;
        return put_public(template, &a) && is_exact(&a, put_public(&blank, &b), &b);
}

/* Neither TPM2_ReadPublic's answer nor ESYS' record of it is held against the Name that comes with
 * it; who carries the traffic could pair the right Name with a key of their own, and the salt would
 * be encrypted to that. So look at the public area that ESYS will use. The only way to it is the
 * serialized form (TPM handle, Name, type of record, public area), which ESYS keeps stable since
 * others store it on disks. Other contents than these are refused. */
int public_of(struct tpm *t, ESYS_TR tr, TPM2B_PUBLIC *ret, TPM2B_NAME *ret_name,
              struct error *err) {
        _cleanup_(esys_freep) uint8_t *record = NULL;
        uint8_t area[sizeof(TPMT_PUBLIC)], digest[SHA256_SIZE];
        TPM2B_PUBLIC public = { 0 };
        TPM2B_NAME name = { 0 };
        TPM2_HANDLE handle;
        UINT32 kind;
        size_t size, at = 0, area_size = 0;
        TSS2_RC rc;
        int r;

        rc = Esys_TR_Serialize(t->esys, tr, &record, &size);
        if (rc)
                return tpm_fault(t, rc, "look at storage key", err);
        if (Tss2_MU_UINT32_Unmarshal(record, size, &at, &handle) ||
            Tss2_MU_TPM2B_NAME_Unmarshal(record, size, &at, &name) ||
            Tss2_MU_UINT32_Unmarshal(record, size, &at, &kind) ||
            Tss2_MU_TPM2B_PUBLIC_Unmarshal(record, size, &at, &public) || at != size ||
            Tss2_MU_TPMT_PUBLIC_Marshal(&public.publicArea, area, sizeof(area), &area_size))
                return error_set(err, -EIO, "look at storage key: unknown record");

        r = crypto_sha256(area, area_size, digest, err);
        if (r < 0)
                return r;
        /* Names under other algorithms end here too; the caller asks for SHA-256 only. */
        if (public.publicArea.nameAlg == TPM2_ALG_SHA256 &&
            (name.size != NAME_SIZE || memcmp(name.name + 2, digest, SHA256_SIZE) != 0 ||
             name.name[0] != TPM2_ALG_SHA256 >> 8 || name.name[1] != (TPM2_ALG_SHA256 & 0xff)))
                return error_set(err, -EPROTO,
                                 "look at storage key: its Name isn't that of its public area; "
                                 "somebody alters what the TPM says");
        *ret = public;
        *ret_name = name;
        return 0;
}
