/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "agent/named-policy.h"
#include "fuzz/fuzz.h"
#include "policy/policy.h"

/* Policy files, and what becomes of the policies: what is taken has steps of which it is. */

static void use(const struct named_policy *p) {
        struct policy_counter counter = { .index = 0x0180d5e0, .le = 1 };
        struct policy again = p->policy;
        char text[POLICY_TEXT_MAX];
        struct steps steps;

        policy_text(&p->policy, text);
        MUST(text[0] && printable(text));
        policy_steps(&p->policy, &counter, &steps);
        MUST(policy_of_steps(&steps, &again) && policy_same(&again, &p->policy));
        /* A policy that asks for nothing never comes from a file. */
        MUST(p->policy.pcr_mask || p->policy.signed_mask);
        MUST(!((p->policy.pcr_mask | p->policy.signed_mask) & (1u << PCR_LATCH)));
        MUST((factor_source_kind(&p->factor) == FACTOR_PIN) == p->policy.pin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        /* Not strndup(): to ASan's strict checks its source is a string, which this isn't. */
        _cleanup_(freep) char *text = malloc(size + 1);
        struct named_policy p = { 0 };
        struct error err = { 0 };
        int r;

        MUST(text);
        memcpy(text, data, size);
        text[size] = '\0';
        r = named_policy_parse("fuzzed", text, &p, &err);
        if (r == 0)
                use(&p);
        else
                MUST(err.text[0] && printable(err.text) && !p.name[0]);
        return 0;
}
