/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/policy-sign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/public.h"
#include "policy/policy.h"
#include "policy/signature.h"

#define MODE 0644 /* it's no secret */

static int check_states(const struct op_policy_sign *args, struct error *err) {
        if (args->count == 0)
                return error_set(err, -EINVAL, "no state of PCRs to sign");
        for (size_t i = 0; i < args->count; i++) {
                uint32_t mask = policy_unmeasured(&args->states[i]);
                char text[PCR_TEXT_MAX];

                if (args->states[i].mask == 0)
                        return error_set(err, -EINVAL, "a state without a PCR can't be signed");
                if (mask == 0 || args->allow_unmeasured)
                        continue;
                pcr_mask_format(mask, text);
                return error_set(err, -EINVAL,
                                 "nothing was measured into PCR %s: whatever boots would be "
                                 "approved of",
                                 text);
        }
        return 0;
}

static int read_existing(const char *path, struct signatures **ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        size_t size;
        int r;

        if (!path) {
                *ret = signatures_new();
                return *ret ? 0 : error_nomem(err);
        }
        r = file_read(path, SIGNATURES_SIZE_MAX, &text, &size, err);
        if (r < 0)
                return r;
        r = signatures_parse(text, size, ret, err);
        if (r < 0)
                return error_prefix(err, "%s", path);
        return 0;
}

/* @steps: .authorize is there, .bank is set here. */
static int sign_state(struct signer *key, const struct pcrs *state, const char *reference,
                      struct steps *steps, struct signatures *to, struct error *err) {
        struct signature sig = { .pcr_mask = state->mask };
        uint8_t data[SIGNATURE_DATA_MAX];
        size_t size;
        int r;

        steps->bank = state->bank;
        r = signature_approved(state, sig.approved, err);
        if (r < 0)
                return r;
        size = signature_data(steps, sig.approved, data);
        r = signer_sign(key, data, size, sig.data, &sig.size, err);
        if (r < 0)
                return r;
        return signatures_add(to, steps, reference, &sig, err);
}

static int name_key(const struct signer *key, const char *reference, struct steps *steps,
                    struct op_policy_signed *done, struct error *err) {
        size_t size;
        const uint8_t *der = signer_public(key, &size);
        int r;

        memcpy(steps->authorize.key, der, size);
        steps->authorize.key_size = (uint16_t) size;
        r = signature_reference(reference, steps, err);
        if (r < 0)
                return r;
        return public_fingerprint(der, size, done->fingerprint, err);
}

int op_policy_sign(const struct op_policy_sign *args, struct op_policy_signed *ret,
                   struct error *err) {
        _cleanup_(signatures_freep) struct signatures *all = NULL;
        _cleanup_(freep) struct steps *steps = calloc(1, sizeof(*steps));
        _cleanup_(signer_freep) struct signer *key = NULL;
        _cleanup_(freep) char *text = NULL;
        struct op_policy_signed done = { .total = 0 };
        int r;

        if (!steps)
                return error_nomem(err);
        /* Whatever can be wrong without the key comes first: its PIN is asked for once. */
        if ((r = check_states(args, err)) < 0 || (r = read_existing(args->extend, &all, err)) < 0 ||
            (r = signer_open(args->key, args->ask, &key, err)) < 0 ||
            (r = name_key(key, args->reference, steps, &done, err)) < 0)
                return r;
        for (size_t i = 0; i < args->count; i++) {
                r = sign_state(key, &args->states[i], args->reference, steps, all, err);
                if (r < 0)
                        return r;
        }
        r = signatures_text(all, &text, err);
        if (r == 0 && !args->dry_run)
                r = file_write(args->output, text, strlen(text), MODE, err);
        if (r < 0)
                return r;
        done.total = signatures_count(all);
        *ret = done;
        return 0;
}
