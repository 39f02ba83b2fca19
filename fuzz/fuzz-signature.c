/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "base/crypto.h"
#include "base/public.h"
#include "fuzz/fuzz.h"
#include "policy/signature.h"

/* Signatures of PCR states as the host hands them over, and public keys. An input is a
 * tpm2-pcr-signature.json, or else a key in PEM or DER. The key and the state are this test's own:
 * in the corpus there is what it approves of. */

static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
                          "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQpIS7twuxuJP8zKQgqLOR9lMAkab\n"
                          "VlRkBXVGZCsMjX/eez2wL1iJtZObVfEN5z6VNHpKeca10Q9cgfhcl+TzMQ==\n"
                          "-----END PUBLIC KEY-----\n";

/* The one whose PCR 11 is 32 times 0xab. */
static void fixed_state(const char *reference, struct steps *steps, uint8_t approved[32]) {
        struct pcrs pcrs = { .bank = PCR_SHA256, .mask = 1u << 11 };
        struct error err = { 0 };
        size_t size;

        if (steps->authorize.key_size > 0)
                return; /* made already */
        memset(pcrs.value[11], 0xab, 32);
        MUST(public_from_pem(pem, sizeof(pem) - 1, steps->authorize.key, &size, &err) == 0);
        steps->authorize.key_size = (uint16_t) size;
        MUST(signature_reference(reference, steps, &err) == 0);
        MUST(signature_approved(&pcrs, approved, &err) == 0);
}

/* What is found was checked; and what is there can be written, read back and is the same. */
static void use(struct signatures *s, const char *reference) {
        static struct steps both[2];
        static uint8_t approved[32];
        struct steps *steps = &both[reference != NULL];
        _cleanup_(signatures_freep) struct signatures *again = NULL;
        struct signature sig = { .size = 0 }, made = { .pcr_mask = 1u << 11, .size = 70 };
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };
        int r;

        fixed_state(reference, steps, approved);
        r = signatures_find(s, steps, 1u << 11, approved, &sig, &err);
        MUST(r >= 0 && (r == SIGNATURE_FOUND) == (sig.size > 0));
        if (r == SIGNATURE_FOUND)
                MUST(signature_check(steps, &sig, &err) == CRYPTO_GOOD);
        memcpy(made.approved, approved, sizeof(approved));
        if (signatures_add(s, steps, reference, &made, &err) < 0 ||
            signatures_text(s, &text, &err) < 0) {
                MUST(err.text[0] && printable(err.text));
                return;
        }
        MUST(signatures_parse(text, strlen(text), &again, &err) == 0);
        MUST(signatures_count(again) == signatures_count(s) && signatures_count(s) > 0);
}

static void use_key(const uint8_t *der, size_t size) {
        uint8_t again[STEP_KEY_MAX], fingerprint[SHA256_SIZE];
        struct public_parts parts;
        struct error err = { 0 };
        size_t n;

        if (public_parse(der, size, &parts, &err) < 0) {
                MUST(err.text[0] && printable(err.text));
                return;
        }
        MUST(public_fingerprint(der, size, fingerprint, &err) == 0);
        MUST(public_from_parts(&parts, again, &n, &err) == 0);
        MUST(n == size && memcmp(again, der, n) == 0);
}

static void signature_numbers(const uint8_t *data, size_t size) {
        uint8_t r[48], s[48], again[SIGNATURE_MAX];
        struct error err = { 0 };
        size_t n;

        if (public_signature_parts(data, size, sizeof(r), r, s, &err) < 0)
                return;
        MUST(public_signature_join(r, s, sizeof(r), again, &n, &err) == 0);
        MUST(n <= size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(signatures_freep) struct signatures *s = NULL;
        struct error err = { 0 };
        uint8_t der[STEP_KEY_MAX];
        size_t n;

        if (signatures_parse((const char *) data, size, &s, &err) == 0) {
                use(s, NULL);
                use(s, "initrd");
                return 0;
        }
        MUST(err.text[0] && printable(err.text));
        use_key(data, size);
        signature_numbers(data, size);
        if (public_from_pem((const char *) data, size, der, &n, &err) == 0)
                use_key(der, n);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        return json_mutate(data, size, max, seed);
}
