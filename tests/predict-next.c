/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests/guest-predict, what policy/ makes of a boot's event log:
 *
 *   predict-next check LOG PCRS
 *           whether the log gives these PCRs: a file of lines "BANK NUMBER VALUE"
 *   predict-next predict LOG BOOTED NEXT [PHASE…]
 *           such lines for the PCRs that the UKI NEXT changes, where the UKI BOOTED made the log;
 *           of BOOTED only the command line and the initrd are looked at, for PCR 9
 *
 * The exit status is 3 where the answer is no; the reason is on stdout. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/file.h"
#include "base/hex.h"
#include "policy/eventlog.h"
#include "policy/predict.h"
#include "policy/uki.h"

#define USAGE 2
#define REFUSED 3
#define PCRS_SIZE_MAX 65536
#define IMA (1u << 10) /* in no firmware's log */
#define PCRS_UKI (1u << 4 | 1u << 9 | 1u << 11)

/* A UKI, and the kernel in it. */
struct image {
        char *data;
        struct pe pe, kernel;
        struct uki uki;
};

static int fault(const struct error *err) {
        (void) fprintf(stderr, "predict-next: %s\n", err->text);
        return EXIT_FAILURE;
}

static void image_done(struct image *image) {
        free(image->data);
}

static int image_read(const char *path, struct image *ret, struct error *err) {
        size_t size;
        int r;

        r = file_read(path, PE_SIZE_MAX, &ret->data, &size, err);
        if (r == 0)
                r = pe_parse(ret->data, size, &ret->pe, err);
        if (r == 0)
                r = uki_parse(&ret->pe, &ret->uki, err);
        return r < 0 ? r : uki_kernel(&ret->uki, &ret->kernel, err);
}

static int pcrs_read(const char *path, enum pcr_bank bank, struct pcrs *ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char *rest = NULL;
        size_t size;
        int r;

        r = file_read(path, PCRS_SIZE_MAX, &text, &size, err);
        if (r < 0)
                return r;
        *ret = (struct pcrs){ .bank = bank };
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                char name[16], value[2 * PCR_SIZE_MAX + 1];
                unsigned pcr;

                if (sscanf(line, "%15s %u %96s", name, &pcr, value) != 3 || pcr >= PCR_COUNT ||
                    strcmp(name, pcr_bank_name(bank)) != 0)
                        continue;
                if (hex_decode(value, ret->value[pcr], pcr_size(bank)))
                        ret->mask |= 1u << pcr;
        }
        return ret->mask != 0 ? 0 : error_set(err, -EBADMSG, "%s: no PCRs are in it", path);
}

static int check(const struct eventlog *log, const char *path, enum pcr_bank bank) {
        struct eventlog_finding why = { 0 };
        struct error err = { 0 };
        struct pcrs now;
        int r;

        r = pcrs_read(path, bank, &now, &err);
        if (r == 0)
                r = eventlog_check(log, now.mask & ~IMA, &now, &why, &err);
        if (r < 0)
                return fault(&err);
        if (r > 0)
                (void) printf("%s: %s\n", pcr_bank_name(bank), why.text);
        return r > 0 ? REFUSED : EXIT_SUCCESS;
}

static void cmdline(const struct uki *uki, char ret[PREDICT_CMDLINE_MAX]) {
        const struct uki_part *part = &uki->part[UKI_CMDLINE];

        (void) snprintf(ret, PREDICT_CMDLINE_MAX, "%.*s", (int) part->size,
                        (const char *) part->data);
}

static int initrd(const struct uki *uki, enum pcr_bank bank, uint8_t ret[PCR_SIZE_MAX],
                  struct error *err) {
        const struct uki_part *part = &uki->part[UKI_INITRD];
        const struct chunk chunks[] = { { part->data, part->size }, { NULL, part->zeros } };

        return crypto_hash(bank, chunks, ARRAY_SIZE(chunks), ret, err);
}

/* PCR 9: what the kernel measures of itself. */
static int change_kernel(struct prediction *p, const struct uki *booted, const struct uki *next,
                         struct predict_reason *why, struct error *err) {
        uint8_t before[PCR_SIZE_MAX], after[PCR_SIZE_MAX];
        char old[PREDICT_CMDLINE_MAX], new[PREDICT_CMDLINE_MAX];
        int r;

        cmdline(booted, old);
        cmdline(next, new);
        r = initrd(booted, p->bank, before, err);
        if (r == 0)
                r = initrd(next, p->bank, after, err);
        if (r == 0)
                r = predict_cmdline(p, old, new, why, err);
        return r != 0 ? r : predict_initrd(p, before, after, why);
}

/* PCR 4 and 11: the image that the firmware and its stub measure. */
static int change_image(struct prediction *p, const struct image *next, const char *const *phases,
                        struct predict_reason *why, struct error *err) {
        uint8_t uki[PCR_SIZE_MAX], kernel[PCR_SIZE_MAX], pcr11[PCR_SIZE_MAX];
        bool measured = uki_kernel_measured(&next->uki, &next->kernel, false);
        int r;

        r = pe_authenticode(&next->pe, p->bank, uki, err);
        if (r == 0)
                r = pe_authenticode(&next->kernel, p->bank, kernel, err);
        if (r == 0)
                r = uki_pcr11(&next->uki, p->bank, phases, pcr11, err);
        if (r == 0)
                r = predict_uki(p, uki, measured ? kernel : NULL, why);
        if (r == 0)
                predict_value(p, 11, pcr11);
        return r;
}

static int predict(const struct eventlog *log, char *const *argv, enum pcr_bank bank) {
        _cleanup_(image_done) struct image booted = { 0 }, next = { 0 };
        struct predict_reason why = { 0 };
        struct error err = { 0 };
        struct prediction p;
        struct pcrs pcrs;
        int r;

        r = image_read(argv[0], &booted, &err);
        if (r == 0)
                r = image_read(argv[1], &next, &err);
        if (r == 0)
                r = predict_start(log, bank, PCRS_UKI, &p, &why);
        if (r == 0)
                r = change_image(&p, &next, (const char *const *) argv + 2, &why, &err);
        if (r == 0)
                r = change_kernel(&p, &booted.uki, &next.uki, &why, &err);
        if (r == 0)
                r = predict_result(&p, &pcrs, &err);
        if (r < 0)
                return fault(&err);
        if (r > 0)
                (void) printf("%s: %s\n", pcr_bank_name(bank), why.text);
        for (unsigned i = 0; i < PCR_COUNT && r == 0; i++) {
                char hex[2 * PCR_SIZE_MAX + 1];

                if (!(pcrs.mask & 1u << i))
                        continue;
                hex_encode(pcrs.value[i], pcr_size(bank), hex);
                (void) printf("%s %u %s\n", pcr_bank_name(bank), i, hex);
        }
        return r > 0 ? REFUSED : EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        _cleanup_(freep) char *data = NULL;
        struct error err = { 0 };
        struct eventlog log;
        int r, status = 0;
        size_t size;

        if (argc < 4 || (strcmp(argv[1], "check") == 0 ? argc != 4 : argc < 5))
                return USAGE;
        r = file_read(argv[2], EVENTLOG_SIZE_MAX, &data, &size, &err);
        if (r == 0)
                r = eventlog_parse(data, size, &log, &err);
        if (r < 0)
                return fault(&err);
        for (enum pcr_bank bank = 0; bank < PCR_BANKS && status == 0; bank++)
                status = argc == 4 ? check(&log, argv[3], bank) : predict(&log, argv + 3, bank);
        return status;
}
