/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/policy-sign.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/public.h"
#include "policy/signature.h"

/* Our side of tests/sign-peer. A state is "PCR:BANK=HEX", as systemd-measure calculate prints it.
 *
 *   sign-make sign KEY REFERENCE OUT STATE…     writes OUT; REFERENCE may be empty
 *   sign-make pol STATE                         prints the digest that is signed
 *   sign-make find PUBLIC REFERENCE FILE STATE  whether FILE approves: its exit status is the
 *                                               verdict; the signature goes to FILE.sig, what it is
 *                                               over to FILE.data
 */

static int fault(const struct error *err) {
        (void) fprintf(stderr, "%s\n", err->text);
        return 10;
}

static bool read_state(const char *text, struct pcrs *ret) {
        char pcr[8], bank[16], hex[2 * PCR_SIZE_MAX + 1];
        struct pcrs s = { .mask = 0 };

        if (sscanf(text, "%7[0-9]:%15[a-z0-9]=%96s", pcr, bank, hex) != 3 ||
            !pcr_mask_parse(pcr, &s.mask) || !pcr_bank_parse(bank, &s.bank))
                return false;
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (s.mask == 1u << n && !hex_decode(hex, s.value[n], pcr_size(s.bank)))
                        return false;
        *ret = s;
        return true;
}

static int sign(char **argv, int count) {
        struct op_policy_sign args = { .key = argv[0], .reference = argv[1], .output = argv[2] };
        struct pcrs states[16] = { 0 };
        struct op_policy_signed done;
        struct error err = { 0 };

        if (count < 3 || count - 3 > (int) ARRAY_SIZE(states))
                return 2;
        for (int i = 3; i < count; i++)
                if (!read_state(argv[i], &states[i - 3]))
                        return 2;
        args.states = states;
        args.count = (size_t) count - 3;
        return op_policy_sign(&args, &done, &err) < 0 ? fault(&err) : 0;
}

static int print_pol(const char *state) {
        uint8_t approved[POLICY_DIGEST_SIZE];
        char hex[2 * POLICY_DIGEST_SIZE + 1];
        struct error err = { 0 };
        struct pcrs pcrs;

        if (!read_state(state, &pcrs))
                return 2;
        if (signature_approved(&pcrs, approved, &err) < 0)
                return fault(&err);
        hex_encode(approved, sizeof(approved), hex);
        return puts(hex) < 0;
}

static int trust(const char *path, const char *reference, struct steps *ret, struct error *err) {
        _cleanup_(freep) char *pem = NULL;
        size_t size, n = 0;

        if (file_read(path, PUBLIC_PEM_MAX, &pem, &size, err) < 0 ||
            public_from_pem(pem, size, ret->authorize.key, &n, err) < 0 ||
            signature_reference(reference, ret, err) < 0)
                return err->errnum;
        ret->authorize.key_size = (uint16_t) n;
        return 0;
}

static int find(char **argv) {
        _cleanup_(signatures_freep) struct signatures *s = NULL;
        uint8_t approved[POLICY_DIGEST_SIZE], data[SIGNATURE_DATA_MAX];
        _cleanup_(freep) char *text = NULL;
        struct steps steps = { .count = 0 };
        struct signature sig;
        struct error err = { 0 };
        struct pcrs pcrs;
        char path[256];
        size_t size;
        int r;

        if (!read_state(argv[3], &pcrs))
                return 2;
        steps.bank = pcrs.bank;
        if (trust(argv[0], argv[1], &steps, &err) < 0 ||
            file_read(argv[2], SIGNATURES_SIZE_MAX, &text, &size, &err) < 0 ||
            signatures_parse(text, size, &s, &err) < 0 ||
            signature_approved(&pcrs, approved, &err) < 0)
                return fault(&err);
        r = signatures_find(s, &steps, pcrs.mask, approved, &sig, &err);
        if (r < 0)
                return fault(&err);
        if (r != SIGNATURE_FOUND)
                return r;
        (void) snprintf(path, sizeof(path), "%s.sig", argv[2]);
        if (file_write(path, sig.data, sig.size, 0600, &err) < 0)
                return fault(&err);
        (void) snprintf(path, sizeof(path), "%s.data", argv[2]);
        size = signature_data(&steps, approved, data);
        return file_write(path, data, size, 0600, &err) < 0 ? fault(&err) : 0;
}

int main(int argc, char **argv) {
        if (argc >= 5 && strcmp(argv[1], "sign") == 0)
                return sign(argv + 2, argc - 2);
        if (argc == 3 && strcmp(argv[1], "pol") == 0)
                return print_pol(argv[2]);
        if (argc == 6 && strcmp(argv[1], "find") == 0)
                return find(argv + 2);
        return 2;
}
