/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests/uki-peer, what policy/ makes of an image, on stdout:
 *
 *   uki-values hash BANK IMAGE              its Authenticode hash
 *   uki-values kernel BANK IMAGE            that of the kernel in it
 *   uki-values pcr11 BANK IMAGE [PHASE…]    PCR 11 after it and the phases
 *   uki-values part SECTION IMAGE           the bytes of the section
 *
 * The exit status is 3 where it's refused; the reason is on stderr. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hex.h"
#include "policy/uki.h"

#define USAGE 2
#define REFUSED 3

static int part(const struct uki *uki, const char *name) {
        for (unsigned i = 0; i < UKI_SECTIONS; i++) {
                const struct uki_part *p = &uki->part[i];

                if (strcmp(uki_section_name(i), name) == 0)
                        return p->zeros == 0 && fwrite(p->data, 1, p->size, stdout) == p->size
                                       ? EXIT_SUCCESS
                                       : EXIT_FAILURE;
        }
        return USAGE;
}

static int print(int r, enum pcr_bank bank, const uint8_t value[PCR_SIZE_MAX],
                 const struct error *err) {
        char hex[2 * PCR_SIZE_MAX + 1];

        if (r < 0) {
                (void) fprintf(stderr, "uki-values: %s\n", err->text);
                return r == -EBADMSG ? REFUSED : EXIT_FAILURE;
        }
        hex_encode(value, pcr_size(bank), hex);
        return puts(hex) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        _cleanup_(freep) char *data = NULL;
        uint8_t value[PCR_SIZE_MAX] = { 0 };
        enum pcr_bank bank = PCR_SHA256;
        struct error err = { 0 };
        struct pe pe, kernel;
        struct uki uki;
        size_t size;
        int r;

        if (argc < 4 || (strcmp(argv[1], "part") != 0 && !pcr_bank_parse(argv[2], &bank)))
                return USAGE;
        r = file_read(argv[3], PE_SIZE_MAX, &data, &size, &err);
        if (r == 0)
                r = pe_parse(data, size, &pe, &err);
        if (r == 0 && strcmp(argv[1], "hash") == 0)
                return print(pe_authenticode(&pe, bank, value, &err), bank, value, &err);
        if (r == 0)
                r = uki_parse(&pe, &uki, &err);
        if (r == 0 && strcmp(argv[1], "part") == 0)
                return part(&uki, argv[2]);
        if (r == 0 && strcmp(argv[1], "pcr11") == 0)
                r = uki_pcr11(&uki, bank, (const char *const *) argv + 4, value, &err);
        else if (r == 0)
                r = uki_kernel(&uki, &kernel, &err);
        if (r == 0 && strcmp(argv[1], "kernel") == 0)
                r = pe_authenticode(&kernel, bank, value, &err);
        return print(r, bank, value, &err);
}
