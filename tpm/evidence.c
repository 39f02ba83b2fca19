/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tss2/tss2_mu.h>

#include "base/crypto.h"
#include "tpm/internal.h"

/* What a sealed object is worth depends on who could seal it. Whoever knows the public part of the
 * storage key can make objects for it in software (TPM2_Import); whoever boots another system on
 * this machine can make them in the TPM itself, to any policy, the good one too. The first can't be
 * fixedTPM. Against the second, TPM2_Create hands out creation data (the PCRs as they were, the
 * parent) and a ticket, an HMAC with a secret of the TPM over the object's Name and that data.
 *
 * evidence_read() asks whether creation data says what it should, evidence_prove() whether the TPM
 * stands by it. Locality and outsideInfo aren't looked at: other systems choose both as they like.
 * Nor is the parent's qualified name: its Name, its fixedTPM and the ticket's hierarchy leave
 * nothing open. */

int unproven(struct tpm_refusal *why, const char *fmt, ...) {
        va_list ap;

        *why = (struct tpm_refusal){ 0 };
        va_start(ap, fmt);
        (void) vsnprintf(why->text, sizeof(why->text), fmt, ap);
        va_end(ap);
        return TPM_UNPROVEN;
}

/* Return: TPM_GRANTED where @s is exactly @mask of that bank, each byte of it; or TPM_UNPROVEN. */
static int check_selection(const TPML_PCR_SELECTION *s, enum pcr_bank bank, uint32_t mask,
                           struct tpm_refusal *why) {
        const TPML_PCR_SELECTION want = pcr_selection(bank, mask);
        uint32_t seen = pcr_selected(s, bank);
        char list[PCR_TEXT_MAX];
        bool empty = true;

        for (UINT32 i = 0; i < s->count; i++)
                for (unsigned k = 0; k < ARRAY_SIZE(s->pcrSelections[i].pcrSelect) &&
                                     k < s->pcrSelections[i].sizeofSelect;
                     k++)
                        if (s->pcrSelections[i].pcrSelect[k])
                                empty = false;
        if (empty)
                return unproven(why, "it was sealed without a look at the PCRs");
        if (seen && seen != mask) {
                pcr_mask_format(seen, list);
                return unproven(
                        why, "it was sealed with a look at other PCRs than its policy's: %s", list);
        }
        if (s->count != 1 || s->pcrSelections[0].hash != want.pcrSelections[0].hash ||
            s->pcrSelections[0].sizeofSelect != want.pcrSelections[0].sizeofSelect)
                return unproven(why, "it was sealed with a look at another bank of PCRs");
        return TPM_GRANTED;
}

/* Return: TPM_GRANTED; TPM_UNPROVEN; or a fault. */
static int check_creation(const TPMS_CREATION_DATA *c, const struct sealed *s, uint32_t pcrs,
                          struct tpm_refusal *why, struct error *err) {
        TPM2B_DIGEST digest = { 0 };
        char list[PCR_TEXT_MAX];
        int r;

        if (c->parentNameAlg != TPM2_ALG_SHA256 || c->parentName.size != s->srk.size ||
            memcmp(c->parentName.name, s->srk.data, s->srk.size) != 0)
                return unproven(why, "it was sealed under another parent than its storage key");
        r = check_selection(&c->pcrSelect, s->pcrs.bank, pcrs, why);
        if (r != TPM_GRANTED)
                return r;
        r = pcr_digest(&s->pcrs, pcrs, &digest, err);
        if (r < 0)
                return r;
        if (c->pcrDigest.size == digest.size &&
            memcmp(c->pcrDigest.buffer, digest.buffer, digest.size) == 0)
                return TPM_GRANTED;
        pcr_mask_format(pcrs, list);
        return unproven(why, "it was sealed while %s %s had another value",
                        pcrs & (pcrs - 1) ? "one of PCRs" : "PCR", list);
}

/* SHA-256 over what is in a TPM2B. */
static int digest_of(const struct tpm_bytes *b, uint8_t ret[SHA256_SIZE], struct error *err) {
        return crypto_sha256(b->data + 2, b->size - 2u, ret, err);
}

int evidence_read(const struct sealed *s, uint32_t pcrs, struct evidence *ret,
                  struct tpm_refusal *why, struct error *err) {
        struct evidence e = { .hash.size = SHA256_SIZE, .name.size = 2 + SHA256_SIZE };
        TPM2B_CREATION_DATA creation = { 0 };
        int r;

        if (!creation_decode(&s->creation, &creation))
                return unproven(why, "its creation data can't be read");
        if (!ticket_decode(&s->ticket, &e.ticket))
                return unproven(why, "its ticket can't be read");
        r = check_creation(&creation.creationData, s, pcrs, why, err);
        if (r != TPM_GRANTED)
                return r;
        if (e.ticket.tag != TPM2_ST_CREATION)
                return unproven(why, "its ticket is about something else than a creation");
        if (e.ticket.hierarchy != TPM2_RH_OWNER)
                return unproven(why, "it was sealed in another hierarchy than the owner's");

        r = digest_of(&s->creation, e.hash.buffer, err);
        if (r < 0)
                return r;
        e.name.name[0] = TPM2_ALG_SHA256 >> 8;
        e.name.name[1] = TPM2_ALG_SHA256 & 0xff;
        r = digest_of(&s->public, e.name.name + 2, err);
        if (r < 0)
                return r;
        *ret = e;
        return TPM_GRANTED;
}

bool evidence_is_attested(const TPM2B_ATTEST *info, const struct evidence *e,
                          const TPM2B_DATA *nonce) {
        const TPMS_CREATION_INFO *c;
        TPMS_ATTEST a = { 0 };
        size_t used = 0;

        if (Tss2_MU_TPMS_ATTEST_Unmarshal(info->attestationData, info->size, &used, &a) ||
            used != info->size || a.magic != TPM2_GENERATED_VALUE ||
            a.type != TPM2_ST_ATTEST_CREATION)
                return false;
        c = &a.attested.creation;
        return a.extraData.size == nonce->size &&
               memcmp(a.extraData.buffer, nonce->buffer, nonce->size) == 0 &&
               c->objectName.size == e->name.size &&
               memcmp(c->objectName.name, e->name.name, e->name.size) == 0 &&
               c->creationHash.size == e->hash.size &&
               memcmp(c->creationHash.buffer, e->hash.buffer, e->hash.size) == 0;
}

/* Whether the TPM doesn't take the ticket: with its own code, or with another about parameter 4. */
static bool is_about_ticket(TSS2_RC rc) {
        return rc_base(rc) == TPM2_RC_TICKET ||
               (rc_is_about_input(rc) && (rc & TPM2_RC_P) && (rc & TPM2_RC_N_MASK) == TPM2_RC_4);
}

/* Nothing is signed, and nothing needs to be: the answer is for us. That it comes from the TPM is
 * shown by the HMAC of @session, whose key only the TPM and we have. It authorises nothing here (a
 * null handle takes the empty password), it only encrypts the answer. The Name of the object that
 * ESYS has from TPM2_Load is unproven, but the same one is in the HMAC of TPM2_Unseal, so the
 * object that is certified here is the one that is unsealed, or none is. */
int evidence_prove(struct tpm *t, const struct handle *object, const struct handle *session,
                   const struct evidence *e, struct tpm_refusal *why, struct error *err) {
        const TPMT_SIG_SCHEME none = { .scheme = TPM2_ALG_NULL };
        _cleanup_(esys_freep) TPM2B_ATTEST *info = NULL;
        _cleanup_(esys_freep) TPMT_SIGNATURE *signature = NULL;
        TPM2B_DATA nonce = { .size = 16 };
        TSS2_RC rc;
        int r;

        r = crypto_random(nonce.buffer, nonce.size, err);
        if (r < 0)
                return r;
        rc = Esys_CertifyCreation(t->esys, ESYS_TR_RH_NULL, object->tr, ESYS_TR_PASSWORD,
                                  session->tr, ESYS_TR_NONE, &nonce, &e->hash, &none, &e->ticket,
                                  &info, &signature);
        if (is_about_ticket(rc))
                return unproven(why, "this TPM gave no such ticket: the object was made elsewhere, "
                                     "or its evidence was altered");
        if (rc)
                return tpm_fault(t, rc, "certify creation", err);
        if (!evidence_is_attested(info, e, &nonce))
                return error_set(err, -EPROTO,
                                 "certify creation: the TPM certified another thing than it was "
                                 "asked; somebody alters what it says");
        return TPM_GRANTED;
}
