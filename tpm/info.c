/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tpm/internal.h"

/* Four characters of a property. Whatever could mean something to a terminal becomes a dot. */
static void put_text(UINT32 value, char *ret) {
        for (unsigned i = 0; i < 4; i++) {
                char c = (char) (value >> (24 - 8 * i));

                ret[i] = c == '\0' || (c >= ' ' && c <= '~') ? c : '.';
        }
}

/* A string of four-character pieces, each of which may end early. */
static void close_gaps(char *text, size_t size) {
        size_t used = 0;

        for (size_t i = 0; i < size; i++)
                if (text[i])
                        text[used++] = text[i];
        memset(text + used, 0, size - used);
}

static int get(struct tpm *t, TPM2_CAP capability, UINT32 property, UINT32 count,
               TPMS_CAPABILITY_DATA **ret, struct error *err) {
        TSS2_RC rc;

        rc = Esys_GetCapability(t->esys, NO_SESSIONS, capability, property, count, NULL, ret);
        /* The lists of each kind have room for another number, and ESYS lets any kind pass. */
        if (rc == TSS2_RC_SUCCESS && (*ret)->capability != capability)
                rc = TSS2_ESYS_RC_MALFORMED_RESPONSE;
        if (rc)
                return tpm_fault(t, rc, "read the TPM's properties", err);
        return 0;
}

static int get_fixed(struct tpm *t, struct tpm_info *info, struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        int r;

        r = get(t, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_MANUFACTURER,
                TPM2_PT_FIRMWARE_VERSION_2 - TPM2_PT_MANUFACTURER + 1, &found, err);
        if (r < 0)
                return r;
        for (UINT32 i = 0; i < found->data.tpmProperties.count; i++) {
                const TPMS_TAGGED_PROPERTY *p = &found->data.tpmProperties.tpmProperty[i];

                switch (p->property) {
                case TPM2_PT_MANUFACTURER: put_text(p->value, info->manufacturer); break;
                case TPM2_PT_VENDOR_STRING_1:
                case TPM2_PT_VENDOR_STRING_2:
                case TPM2_PT_VENDOR_STRING_3:
                case TPM2_PT_VENDOR_STRING_4:
                        put_text(p->value,
                                 info->vendor + 4 * (p->property - TPM2_PT_VENDOR_STRING_1));
                        break;
                case TPM2_PT_FIRMWARE_VERSION_1: info->firmware[0] = p->value; break;
                case TPM2_PT_FIRMWARE_VERSION_2: info->firmware[1] = p->value; break;
                default: break;
                }
        }
        close_gaps(info->manufacturer, sizeof(info->manufacturer));
        close_gaps(info->vendor, sizeof(info->vendor));
        return 0;
}

static int get_lockout(struct tpm *t, struct tpm_info *info, struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        int r;

        r = get(t, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_PERMANENT, 1, &found, err);
        if (r < 0)
                return r;
        for (UINT32 i = 0; i < found->data.tpmProperties.count; i++)
                if (found->data.tpmProperties.tpmProperty[i].property == TPM2_PT_PERMANENT)
                        info->lockout = found->data.tpmProperties.tpmProperty[i].value &
                                        TPMA_PERMANENT_INLOCKOUT;
        return 0;
}

static int get_banks(struct tpm *t, struct tpm_info *info, struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        int r;

        r = get(t, TPM2_CAP_PCRS, 0, 1, &found, err);
        if (r < 0)
                return r;
        for (UINT32 i = 0; i < found->data.assignedPCR.count; i++) {
                const TPMS_PCR_SELECTION *s = &found->data.assignedPCR.pcrSelections[i];

                /* A bank that isn't allocated may be listed, with no PCR in it. */
                for (unsigned k = 0; k < s->sizeofSelect && k < sizeof(s->pcrSelect); k++)
                        if (s->hash == TPM2_ALG_SHA256 && s->pcrSelect[k])
                                info->sha256_bank = true;
        }
        return 0;
}

int tpm_info(struct tpm *t, struct tpm_info *ret, struct error *err) {
        _cleanup_(handle_done) struct handle srk = HANDLE(t);
        struct tpm_info info = { 0 };
        TPM2B_NAME name;
        int r;

        r = get_fixed(t, &info, err);
        if (r < 0)
                return r;
        r = get_lockout(t, &info, err);
        if (r < 0)
                return r;
        r = get_banks(t, &info, err);
        if (r < 0)
                return r;
        r = srk_persistent(t, &srk, &name, err);
        if (r < 0)
                return r;
        info.srk_persistent = r > 0;
        *ret = info;
        return 0;
}
