/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "base/crypto.h"
#include "fuzz/fuzz.h"
#include "policy/uki.h"

/* An image: what is taken is within its file, and its hash covers all but what has no part in it.
 */

#define ZEROS_MAX (1u << 20) /* more of them take time, and nothing else */

static void is_sound(const struct pe *pe) {
        size_t end = pe->headers;
        uint32_t seen[3] = { 0 };

        MUST(pe->sections >= 1 && pe->sections <= PE_SECTIONS_MAX);
        MUST(pe->checksum + 4 <= pe->headers && pe->cert_entry + 8 <= pe->headers);
        for (unsigned i = 0; i < pe->sections; i++) {
                unsigned n = pe->by_offset[i];
                const struct pe_section *s = &pe->section[n];

                MUST(n < pe->sections && !(seen[n / 32] & (1u << n % 32)));
                seen[n / 32] |= 1u << n % 32;
                MUST(printable(s->name));
                MUST(s->size == 0 || s->offset == end);
                end += s->size;
        }
        MUST(end == pe->sections_end && end <= pe->size && pe->certs <= pe->size - end);
}

/* What the file says in its holes changes nothing. */
static void hash_ignores_holes(const struct pe *pe) {
        _cleanup_(freep) uint8_t *copy = malloc(pe->size);
        uint8_t a[PCR_SIZE_MAX], b[PCR_SIZE_MAX];
        struct pe other = *pe;
        struct error err = { 0 };

        MUST(copy);
        memcpy(copy, pe->data, pe->size);
        copy[pe->checksum + 3] ^= 1;
        if (pe->cert_entry)
                copy[pe->cert_entry + 7] ^= 1;
        if (pe->certs)
                copy[pe->size - pe->certs] ^= 1;
        other.data = copy;
        MUST(pe_authenticode(pe, PCR_SHA384, a, &err) == 0);
        MUST(pe_authenticode(&other, PCR_SHA384, b, &err) == 0);
        MUST(memcmp(a, b, pcr_size(PCR_SHA384)) == 0);
        copy[pe->headers - 1] ^= 1;
        MUST(pe_authenticode(&other, PCR_SHA384, b, &err) == 0);
        MUST(memcmp(a, b, pcr_size(PCR_SHA384)) != 0);
}

static void parts_are_within(const struct pe *pe, const struct uki *uki) {
        static const char *const phases[] = { "enter-initrd", NULL };
        uint8_t a[PCR_SIZE_MAX], b[PCR_SIZE_MAX];
        struct error err = { 0 };
        size_t zeros = 0;

        for (unsigned i = 0; i < UKI_SECTIONS; i++) {
                const struct uki_part *p = &uki->part[i];

                if (!p->data)
                        continue;
                MUST(p->data >= pe->data && p->size <= pe->size);
                MUST((size_t) (p->data - pe->data) <= pe->size - p->size);
                MUST(p->size + p->zeros > 0);
                zeros += p->zeros;
        }
        if (zeros > ZEROS_MAX)
                return;
        MUST(uki_pcr11(uki, PCR_SHA256, NULL, a, &err) == 0);
        MUST(uki_pcr11(uki, PCR_SHA256, phases, b, &err) == 0);
        MUST(memcmp(a, b, pcr_size(PCR_SHA256)) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct error err = { 0 };
        struct pe pe, kernel;
        struct uki uki;

        if (pe_parse(data, size, &pe, &err) < 0) {
                MUST(err.errnum == -EBADMSG && err.text[0] && printable(err.text));
                return 0;
        }
        is_sound(&pe);
        hash_ignores_holes(&pe);
        if (uki_parse(&pe, &uki, &err) < 0) {
                MUST(err.errnum == -EBADMSG && err.text[0] && printable(err.text));
                return 0;
        }
        MUST(uki.version >= UKI_STUB_OLDEST && uki.version <= UKI_STUB_NEWEST);
        MUST(uki.part[UKI_LINUX].data && uki.part[UKI_LINUX].zeros == 0);
        parts_are_within(&pe, &uki);
        if (uki_kernel(&uki, &kernel, &err) < 0) {
                MUST(err.errnum == -EBADMSG && printable(err.text));
                return 0;
        }
        is_sound(&kernel);
        MUST(!uki_kernel_measured(&uki, &kernel, true));
        return 0;
}

/* Bytes as they are: a change to JSON would find nothing here. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        (void) seed;
        return LLVMFuzzerMutate(data, size, max);
}
