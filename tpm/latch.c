/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "tpm/internal.h"

/* The latch. A policy that demands PCR 15 to be zero (base/steps.h, PCR_LATCH) is over for this
 * boot as soon as something was measured into that PCR, and nothing but a reset of the TPM undoes
 * it.
 *
 * TPM2_PCR_Event, not TPM2_PCR_Extend: the TPM itself hashes the event with the algorithm of each
 * bank that it has, and extends them all or none, in one command. Extend wants one digest a bank,
 * so a bank whose hash we don't know, or that somebody kept out of the list of banks, would stay
 * zero, and with it a policy in that bank. And the event is a parameter that a session encrypts;
 * Extend's list of digests isn't.
 *
 * That it was done is shown by the HMAC of the answer, whose key only the TPM and we have: it's the
 * answer to this command, unaltered, or none. What stands in the PCR afterwards is read back all
 * the same, in each bank that the TPM says it has: a TPM of bad quality is told in time.
 *
 * A PCR that isn't zero any more is extended like any other. It makes no latch that was shut open,
 * and a boot whose policy doesn't ask for the latch, or that was recovered, may find there what
 * others measured before (tpm2-measure-pcr=): to stop it would lock out, and protect nothing. */

#define LATCH_BYTE (PCR_LATCH / 8)
#define LATCH_BIT (1u << PCR_LATCH % 8)

/* @session is for the answer, and its HMAC for each of these. */
static int list_banks(struct tpm *t, const struct handle *session, TPMS_CAPABILITY_DATA **ret,
                      struct error *err) {
        TSS2_RC rc = Esys_GetCapability(t->esys, session->tr, ESYS_TR_NONE, ESYS_TR_NONE,
                                        TPM2_CAP_PCRS, 0, 1, NULL, ret);

        if (rc == TSS2_RC_SUCCESS && (*ret)->capability != TPM2_CAP_PCRS)
                rc = TSS2_ESYS_RC_MALFORMED_RESPONSE;
        return rc ? tpm_fault(t, rc, "list the banks of PCRs", err) : 0;
}

static bool is_zero(const TPM2B_DIGEST *value) {
        for (UINT16 i = 0; i < value->size; i++)
                if (value->buffer[i])
                        return false;
        return true;
}

/* The PCR isn't zero in the bank of @hash. */
static int check_bank(struct tpm *t, const struct handle *session, TPMI_ALG_HASH hash,
                      struct error *err) {
        const TPML_PCR_SELECTION in = { .count = 1,
                                        .pcrSelections = {
                                                { .hash = hash,
                                                  .sizeofSelect = PCR_COUNT / 8,
                                                  .pcrSelect[LATCH_BYTE] = LATCH_BIT } } };
        _cleanup_(esys_freep) TPML_DIGEST *values = NULL;
        TSS2_RC rc;

        rc = Esys_PCR_Read(t->esys, session->tr, ESYS_TR_NONE, ESYS_TR_NONE, &in, NULL, NULL,
                           &values);
        if (rc)
                return tpm_fault(t, rc, "read it back", err);
        if (values->count != 1 || is_zero(&values->digests[0]))
                return error_set(err, -EIO,
                                 "read it back: in the bank of algorithm 0x%04x it's still zero",
                                 hash);
        return 0;
}

static int check_banks(struct tpm *t, const struct handle *session, struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        unsigned banks = 0;
        int r = list_banks(t, session, &found, err);

        if (r < 0)
                return r;
        for (UINT32 i = 0; i < found->data.assignedPCR.count; i++) {
                const TPMS_PCR_SELECTION *s = &found->data.assignedPCR.pcrSelections[i];

                /* A bank that isn't allocated may be listed, with no PCR in it. */
                if (s->sizeofSelect <= LATCH_BYTE || !(s->pcrSelect[LATCH_BYTE] & LATCH_BIT))
                        continue;
                r = check_bank(t, session, s->hash, err);
                if (r < 0)
                        return r;
                banks++;
        }
        return banks > 0 ? 0 : error_set(err, -EIO, "read it back: no bank has it");
}

static int measure(struct tpm *t, const struct handle *session, unsigned pcr, const void *data,
                   size_t size, struct error *err) {
        _cleanup_(esys_freep) TPML_DIGEST_VALUES *digests = NULL;
        TPM2B_EVENT event = { .size = (UINT16) size };
        TSS2_RC rc;

        assert(pcr < PCR_COUNT && size <= sizeof(event.buffer));
        memcpy(event.buffer, data, size);
        rc = Esys_PCR_Event(t->esys, ESYS_TR_PCR0 + pcr, session->tr, ESYS_TR_NONE, ESYS_TR_NONE,
                            &event, &digests);
        return rc ? tpm_fault(t, rc, "measure into it", err) : 0;
}

static int start(struct tpm *t, const struct tpm_bytes *srk, struct handle *parent,
                 struct handle *session, struct error *err) {
        TPM2B_NAME name;
        int r = clock_check(t, err);

        if (r == 0)
                r = srk ? srk_named(t, srk, parent, err) : srk_any(t, parent, &name, err);
        if (r != TPM_GRANTED)
                return r;
        return session_start(t, TPM2_SE_HMAC, parent,
                             TPMA_SESSION_DECRYPT | TPMA_SESSION_CONTINUESESSION, session, err);
}

int tpm_latch(struct tpm *t, const struct tpm_bytes *srk, const uint8_t value[32],
              struct error *err) {
        _cleanup_(handle_done) struct handle parent = HANDLE(t);
        _cleanup_(handle_done) struct handle session = HANDLE(t);
        int r = start(t, srk, &parent, &session, err);

        if (r == TPM_GRANTED)
                r = measure(t, &session, PCR_LATCH, value, 32, err);
        if (r == 0)
                r = session_set(t, &session, TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION,
                                err);
        if (r == 0)
                r = check_banks(t, &session, err);
        return r < 0 ? error_prefix(err, "latch PCR %d", PCR_LATCH) : r;
}

int tpm_measure(struct tpm *t, unsigned pcr, const void *data, size_t size, struct error *err) {
        _cleanup_(handle_done) struct handle parent = HANDLE(t);
        _cleanup_(handle_done) struct handle session = HANDLE(t);
        int r = start(t, NULL, &parent, &session, err);

        if (r == TPM_GRANTED)
                r = measure(t, &session, pcr, data, size, err);
        return r < 0 ? error_prefix(err, "PCR %u", pcr) : 0;
}
