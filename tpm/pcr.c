/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "tpm/internal.h"

#define SELECT_SIZE (PCR_COUNT / 8)

TPML_PCR_SELECTION pcr_selection(enum pcr_bank bank, uint32_t mask) {
        TPML_PCR_SELECTION s = { 0 };

        if (mask == 0)
                return s;
        s.count = 1;
        s.pcrSelections[0].hash = pcr_bank_id(bank);
        s.pcrSelections[0].sizeofSelect = SELECT_SIZE;
        for (unsigned i = 0; i < SELECT_SIZE; i++)
                s.pcrSelections[0].pcrSelect[i] = (BYTE) (mask >> (8 * i));
        return s;
}

uint32_t pcr_selected(const TPML_PCR_SELECTION *s, enum pcr_bank bank) {
        uint32_t mask = 0;

        for (UINT32 i = 0; i < s->count; i++)
                for (unsigned k = 0; k < SELECT_SIZE && k < s->pcrSelections[i].sizeofSelect; k++)
                        if (s->pcrSelections[i].hash == pcr_bank_id(bank))
                                mask |= (uint32_t) s->pcrSelections[i].pcrSelect[k] << (8 * k);
        return mask;
}

int pcr_digest(const struct pcrs *pcrs, uint32_t mask, TPM2B_DIGEST *ret, struct error *err) {
        uint8_t values[PCR_COUNT * PCR_SIZE_MAX];
        size_t size = 0, one = pcr_size(pcrs->bank);

        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (mask & (1u << n)) {
                        memcpy(values + size, pcrs->value[n], one);
                        size += one;
                }
        ret->size = SHA256_SIZE;
        return crypto_sha256(values, size, ret->buffer, err);
}

/* One TPM2_PCR_Read, of which the TPM answers as much as it likes (eight PCRs are usual). */
static int read_some(struct tpm *t, uint32_t mask, struct pcrs *got, UINT32 *ret_counter,
                     struct error *err) {
        _cleanup_(esys_freep) TPML_PCR_SELECTION *out = NULL;
        _cleanup_(esys_freep) TPML_DIGEST *values = NULL;
        const TPML_PCR_SELECTION in = pcr_selection(got->bank, mask);
        uint32_t answered;
        UINT32 i = 0;
        TSS2_RC rc;

        rc = Esys_PCR_Read(t->esys, NO_SESSIONS, &in, ret_counter, &out, &values);
        if (rc)
                return tpm_fault(t, rc, "read PCRs", err);

        answered = pcr_selected(out, got->bank);
        if (answered == 0)
                return error_set(err, -ENOENT, "read PCRs: one isn't in the TPM's %s bank",
                                 pcr_bank_name(got->bank));
        if ((answered & ~mask) || (UINT32) __builtin_popcount(answered) != values->count)
                return error_set(err, -EIO, "read PCRs: the TPM answers others than were asked");
        for (unsigned n = 0; n < PCR_COUNT; n++) {
                if (!(answered & (1u << n)))
                        continue;
                if (values->digests[i].size != pcr_size(got->bank))
                        return error_set(err, -EIO, "read PCRs: the TPM answers no %s value",
                                         pcr_bank_name(got->bank));
                memcpy(got->value[n], values->digests[i++].buffer, pcr_size(got->bank));
        }
        got->mask |= answered;
        return 0;
}

int tpm_pcr_read(struct tpm *t, enum pcr_bank bank, uint32_t mask, struct pcrs *ret,
                 struct error *err) {
        if (mask >> PCR_COUNT)
                return error_set(err, -ENOENT, "read PCRs: there are %d of them", PCR_COUNT);

        /* The counter moves with every change, so values of one count belong together. */
        for (unsigned tries = 0; tries < 8; tries++) {
                struct pcrs got = { .bank = bank };
                UINT32 counter = 0, first = 0;

                for (bool begun = false; got.mask != mask; begun = true) {
                        int r = read_some(t, mask & ~got.mask, &got, &counter, err);

                        if (r < 0)
                                return r;
                        if (!begun)
                                first = counter;
                        if (counter != first)
                                break;
                }
                if (got.mask == mask && counter == first) {
                        *ret = got;
                        return 0;
                }
        }
        return error_set(err, -EIO, "read PCRs: they change faster than they can be read");
}
