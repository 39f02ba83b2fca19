/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "tpm/ek.h"
#include "tpm/internal.h"

/* Where the certificates of endorsement keys are, all of those in tpm/ek.h. */
#define EK_INDEX_FIRST ((TPM2_HANDLE) 0x01c00002)
#define EK_INDEX_LAST ((TPM2_HANDLE) 0x01c0001c)
/* Azure's confidential VMs: the paravisor's attestation report. */
#define HCL_REPORT_INDEX ((TPM2_HANDLE) 0x01400001)

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

static void take_permanent(struct tpm_info *info, TPMA_PERMANENT value) {
        info->lockout = value & TPMA_PERMANENT_INLOCKOUT;
        info->owner_auth = value & TPMA_PERMANENT_OWNERAUTHSET;
        info->endorsement_auth = value & TPMA_PERMANENT_ENDORSEMENTAUTHSET;
        info->lockout_auth = value & TPMA_PERMANENT_LOCKOUTAUTHSET;
}

static void take_startup(struct tpm_info *info, TPMA_STARTUP_CLEAR value) {
        info->platform_enabled = value & TPMA_STARTUP_CLEAR_PHENABLE;
        info->owner_enabled = value & TPMA_STARTUP_CLEAR_SHENABLE;
        info->endorsement_enabled = value & TPMA_STARTUP_CLEAR_EHENABLE;
        info->orderly = value & TPMA_STARTUP_CLEAR_ORDERLY;
}

static int get_variable(struct tpm *t, struct tpm_info *info, struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        int r;

        r = get(t, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_PERMANENT,
                TPM2_PT_LOCKOUT_RECOVERY - TPM2_PT_PERMANENT + 1, &found, err);
        if (r < 0)
                return r;
        for (UINT32 i = 0; i < found->data.tpmProperties.count; i++) {
                const TPMS_TAGGED_PROPERTY *p = &found->data.tpmProperties.tpmProperty[i];

                switch (p->property) {
                case TPM2_PT_PERMANENT: take_permanent(info, p->value); break;
                case TPM2_PT_STARTUP_CLEAR: take_startup(info, p->value); break;
                case TPM2_PT_LOCKOUT_COUNTER: info->guessing.counter = p->value; break;
                case TPM2_PT_MAX_AUTH_FAIL: info->guessing.max_tries = p->value; break;
                case TPM2_PT_LOCKOUT_INTERVAL: info->guessing.interval = p->value; break;
                case TPM2_PT_LOCKOUT_RECOVERY: info->guessing.recovery = p->value; break;
                default: break;
                }
        }
        return 0;
}

int tpm_property(struct tpm *t, TPM2_PT property, uint32_t *ret, struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        int r;

        r = get(t, TPM2_CAP_TPM_PROPERTIES, property, 1, &found, err);
        if (r < 0)
                return r;
        if (found->data.tpmProperties.count != 1 ||
            found->data.tpmProperties.tpmProperty[0].property != property)
                return error_set(err, -EIO, "read the TPM's properties: it has none of number 0x%x",
                                 property);
        *ret = found->data.tpmProperties.tpmProperty[0].value;
        return 0;
}

static const struct {
        const char *name;
        TPM2_ALG_ID id;
} banks[TPM_BANKS] = {
        [TPM_BANK_SHA1] = { "sha1", TPM2_ALG_SHA1 },
        [TPM_BANK_SHA256] = { "sha256", TPM2_ALG_SHA256 },
        [TPM_BANK_SHA384] = { "sha384", TPM2_ALG_SHA384 },
        [TPM_BANK_SHA512] = { "sha512", TPM2_ALG_SHA512 },
        [TPM_BANK_SM3] = { "sm3", TPM2_ALG_SM3_256 },
        [TPM_BANK_SHA3_256] = { "sha3-256", TPM2_ALG_SHA3_256 },
        [TPM_BANK_SHA3_384] = { "sha3-384", TPM2_ALG_SHA3_384 },
        [TPM_BANK_SHA3_512] = { "sha3-512", TPM2_ALG_SHA3_512 },
};

const char *tpm_bank_name(enum tpm_bank bank) {
        return banks[bank].name;
}

static uint32_t bank_bit(TPM2_ALG_ID id) {
        for (unsigned i = 0; i < TPM_BANKS; i++)
                if (banks[i].id == id)
                        return 1u << i;
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
                        if (s->pcrSelect[k])
                                info->banks |= bank_bit(s->hash);
        }
        return 0;
}

/* NV indexes from @first up to @last, whose bits become @ret by their distance from @first. */
static int get_indexes(struct tpm *t, TPM2_HANDLE first, TPM2_HANDLE last, uint32_t *ret,
                       struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        int r;

        r = get(t, TPM2_CAP_HANDLES, first, last - first + 1, &found, err);
        if (r < 0)
                return r;
        for (UINT32 i = 0; i < found->data.handles.count; i++) {
                TPM2_HANDLE h = found->data.handles.handle[i];

                if (h >= first && h <= last)
                        *ret |= 1u << (h - first);
        }
        return 0;
}

static int get_known_indexes(struct tpm *t, struct tpm_info *info, struct error *err) {
        uint32_t certificates = 0, report = 0;
        int r;

        r = get_indexes(t, EK_INDEX_FIRST, EK_INDEX_LAST, &certificates, err);
        if (r == 0)
                r = get_indexes(t, HCL_REPORT_INDEX, HCL_REPORT_INDEX, &report, err);
        if (r < 0)
                return r;
        for (unsigned kind = 0; kind < EK_KINDS; kind++)
                if (certificates & (1u << (tpm_ek_index(kind) - EK_INDEX_FIRST)))
                        info->ek_certificates |= 1u << kind;
        info->hcl_report = report;
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
        r = get_variable(t, &info, err);
        if (r < 0)
                return r;
        r = get_banks(t, &info, err);
        if (r < 0)
                return r;
        r = get_known_indexes(t, &info, err);
        if (r < 0)
                return r;
        r = srk_persistent(t, &srk, &name, err);
        if (r < 0)
                return r;
        info.srk_persistent = r > 0;
        *ret = info;
        return 0;
}
