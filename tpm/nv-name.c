/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include <tss2/tss2_mu.h>

#include "base/crypto.h"
#include "tpm/internal.h"
#include "tpm/nv.h"

/* What a counter is, computed: the public area of its index, and the policy of writing it. No TPM
 * is asked. All of it is in the counter's Name, so none of it can change: another version of any
 * byte here is another counter. */

/* Read with the empty auth value, so that neither TPM2_PolicyNV nor whoever wants to know its value
 * needs the owner's password; written under the policy alone. NO_DA: a host can't block it by
 * failures elsewhere. Not ORDERLY: each step is in the TPM's memory before the TPM answers. No
 * POLICY_DELETE: the owner stays the one who may delete it, which locks out and never opens. */
#define COUNTER_ATTRIBUTES                                                                         \
        (TPMA_NV_AUTHREAD | TPMA_NV_POLICYWRITE | TPMA_NV_NO_DA |                                  \
         ((TPMA_NV) TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT))

/* The signature is good for this and nothing else. */
static const char reference[] = "diskseal/1 counter";

void counter_reference(TPM2B_NONCE *ret) {
        *ret = (TPM2B_NONCE){ .size = sizeof(reference) - 1 };
        memcpy(ret->buffer, reference, sizeof(reference) - 1);
}

void counter_signer(const struct p256_point *key, TPM2B_PUBLIC *ret) {
        *ret = (TPM2B_PUBLIC){
                .publicArea = {
                        .type = TPM2_ALG_ECC,
                        .nameAlg = TPM2_ALG_SHA256,
                        .objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_USERWITHAUTH,
                        .parameters.eccDetail = {
                                .symmetric.algorithm = TPM2_ALG_NULL,
                                .scheme = { .scheme = TPM2_ALG_ECDSA,
                                            .details.ecdsa.hashAlg = TPM2_ALG_SHA256 },
                                .curveID = TPM2_ECC_NIST_P256,
                                .kdf.scheme = TPM2_ALG_NULL,
                        },
                        .unique.ecc = { { .size = P256_SIZE }, { .size = P256_SIZE } },
                },
        };
        memcpy(ret->publicArea.unique.ecc.x.buffer, key->x, P256_SIZE);
        memcpy(ret->publicArea.unique.ecc.y.buffer, key->y, P256_SIZE);
}

/* A Name under SHA-256: the algorithm, then the digest of the public area (Part 1, section 16). */
static int name_of(const uint8_t *area, size_t size, uint8_t ret[TPM_NAME_SIZE],
                   struct error *err) {
        ret[0] = TPM2_ALG_SHA256 >> 8;
        ret[1] = TPM2_ALG_SHA256 & 0xff;
        return crypto_sha256(area, size, ret + 2, err);
}

/* policyDigest' = H(policyDigest || @text) */
static int extend(TPM2B_DIGEST *policy, const void *text, size_t size, struct error *err) {
        uint8_t all[SHA256_SIZE + 64];

        memcpy(all, policy->buffer, SHA256_SIZE);
        memcpy(all + SHA256_SIZE, text, size);
        return crypto_sha256(all, SHA256_SIZE + size, policy->buffer, err);
}

/* TPM2_PolicySigned by the key, then TPM2_PolicyCommandCode(TPM2_NV_Increment). Each signature
 * names its command by cpHash as well, and the attributes leave TPM2_NV_Increment as the only one
 * that a policy session could authorise here. The command code says the same in the counter's
 * Name, for whoever checks it: the key's holder can do nothing but count, whatever commands later
 * versions of the specification add and whatever somebody is led to sign. */
static int write_policy(const struct p256_point *key, TPM2B_DIGEST *ret, struct error *err) {
        static const uint8_t by_command[] = { 0, 0, 0x01, 0x6c,      /* TPM_CC_PolicyCommandCode */
                                              0, 0, 0x01, 0x34 };    /* TPM_CC_NV_Increment */
        uint8_t signed_by[4 + TPM_NAME_SIZE] = { 0, 0, 0x01, 0x60 }; /* TPM_CC_PolicySigned */
        uint8_t area[sizeof(TPMT_PUBLIC)];
        TPM2B_PUBLIC public;
        size_t size = 0;
        int r;

        counter_signer(key, &public);
        if (Tss2_MU_TPMT_PUBLIC_Marshal(&public.publicArea, area, sizeof(area), &size))
                return error_set(err, -EIO, "counter: its key has no encoding");
        r = name_of(area, size, signed_by + 4, err);
        if (r < 0)
                return r;

        *ret = (TPM2B_DIGEST){ .size = SHA256_SIZE };
        r = extend(ret, signed_by, sizeof(signed_by), err);
        if (r < 0)
                return r;
        r = extend(ret, reference, sizeof(reference) - 1, err);
        if (r < 0)
                return r;
        return extend(ret, by_command, sizeof(by_command), err);
}

int counter_area(uint32_t index, const struct p256_point *key, TPM2B_NV_PUBLIC *ret,
                 struct error *err) {
        *ret = (TPM2B_NV_PUBLIC){ .nvPublic = { .nvIndex = index,
                                                .nameAlg = TPM2_ALG_SHA256,
                                                .attributes = COUNTER_ATTRIBUTES,
                                                .dataSize = 8 } };
        return write_policy(key, &ret->nvPublic.authPolicy, err);
}

int counter_area_name(const TPM2B_NV_PUBLIC *area, TPMA_NV more, uint8_t ret[TPM_NAME_SIZE],
                      struct error *err) {
        TPMS_NV_PUBLIC public = area->nvPublic;
        uint8_t bytes[sizeof(TPMS_NV_PUBLIC)];
        size_t size = 0;

        public.attributes |= more;
        if (Tss2_MU_TPMS_NV_PUBLIC_Marshal(&public, bytes, sizeof(bytes), &size))
                return error_set(err, -EIO, "counter: its public area has no encoding");
        return name_of(bytes, size, ret, err);
}

int tpm_counter_name(uint32_t index, const struct p256_point *key, uint8_t ret[TPM_NAME_SIZE],
                     struct error *err) {
        TPM2B_NV_PUBLIC area;
        int r;

        r = counter_area(index, key, &area, err);
        if (r < 0)
                return r;
        return counter_area_name(&area, TPMA_NV_WRITTEN, ret, err);
}

/* cpHash = H(TPM_CC_NV_Increment || Name that authorises || Name that is written), both the
 * counter's; there are no parameters (Part 1, section 16.7). What is signed is
 * H(nonceTPM || expiration || cpHash || policyRef) (Part 3, TPM2_PolicySigned): good for one
 * session, until it has done this once. */
int counter_permit(const uint8_t name[TPM_NAME_SIZE], const TPM2B_NONCE *nonce, struct secret *key,
                   struct permit *ret, struct error *err) {
        static const uint8_t command[] = { 0, 0, 0x01, 0x34 };
        uint8_t in[4 + 2 * TPM_NAME_SIZE], digest[SHA256_SIZE];
        uint8_t text[sizeof(nonce->buffer) + 4 + SHA256_SIZE + sizeof(reference)], *p = text;
        struct p256_signature s;
        int r;

        memcpy(in, command, sizeof(command));
        memcpy(in + 4, name, TPM_NAME_SIZE);
        memcpy(in + 4 + TPM_NAME_SIZE, name, TPM_NAME_SIZE);
        ret->command.size = SHA256_SIZE;
        r = crypto_sha256(in, sizeof(in), ret->command.buffer, err);
        if (r < 0)
                return r;

        memcpy(p, nonce->buffer, nonce->size);
        p += nonce->size;
        memset(p, 0, 4); /* it doesn't expire: the nonce is better than the TPM's clock */
        p += 4;
        memcpy(p, ret->command.buffer, SHA256_SIZE);
        p += SHA256_SIZE;
        memcpy(p, reference, sizeof(reference) - 1);
        p += sizeof(reference) - 1;
        r = crypto_sha256(text, (size_t) (p - text), digest, err);
        if (r < 0)
                return r;
        r = p256_sign(key, digest, &s, err);
        if (r < 0)
                return r;

        ret->signature = (TPMT_SIGNATURE){ .sigAlg = TPM2_ALG_ECDSA };
        ret->signature.signature.ecdsa.hash = TPM2_ALG_SHA256;
        ret->signature.signature.ecdsa.signatureR.size = P256_SIZE;
        ret->signature.signature.ecdsa.signatureS.size = P256_SIZE;
        memcpy(ret->signature.signature.ecdsa.signatureR.buffer, s.r, P256_SIZE);
        memcpy(ret->signature.signature.ecdsa.signatureS.buffer, s.s, P256_SIZE);
        return 0;
}
