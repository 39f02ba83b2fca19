/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"

int cli_policy(struct cli *cli, struct named_policy *ret, const struct named_policy **ret_given) {
        const char *pcrs = cli_value_if_any(cli, "pcrs"), *name = cli_value(cli, "policy");
        struct refusal why = { 0 };
        struct error err = { 0 };
        uint32_t mask;
        int r;

        *ret_given = NULL;
        if (pcrs && name)
                return cli_usage(cli, "--pcrs and --policy: only one of them");
        if (pcrs) {
                if (!pcr_mask_parse(pcrs, &mask))
                        return cli_usage(cli, "--pcrs: numbers from 0 to 23, as in 7 or 0,2,7");
                named_policy_of_pcrs(mask, ret);
                if (!ret->policy.pcr_mask)
                        return cli_usage(cli, "--pcrs: PCR 15 is the latch, and says nothing else");
        } else if (name) {
                r = named_policy_find(&cli->context, name, ret, &why, &err);
                if (r != OUTCOME_DONE)
                        return cli_failed(cli, r, &why, &err);
        } else
                return -1;
        *ret_given = ret;
        return -1;
}

void cli_pcrs(const struct policy *policy, char ret[PCR_TEXT_MAX]) {
        pcr_mask_format(policy->pcr_mask | policy->signed_mask, ret);
}

bool cli_add_policy(struct json *o, const struct policy *policy) {
        char pcrs[PCR_TEXT_MAX];

        cli_pcrs(policy, pcrs);
        return json_add_string(o, "pcrs", pcrs) &&
               json_add_string(o, "kind", policy_kind_name(policy->kind)) &&
               json_add_string(o, "bank", pcr_bank_name(policy->bank)) &&
               json_add_bool(o, "latch", policy->latch) && json_add_bool(o, "pin", policy->pin);
}

bool cli_add_sealing(struct json *o, const struct policy *policy, bool second_factor) {
        return cli_add_policy(o, policy) && json_add_bool(o, "second_factor", second_factor);
}

bool cli_add_kek_policy(struct json *o, const struct kek *kek) {
        struct policy policy = { 0 };

        (void) policy_of_steps(&kek->steps, &policy);
        return cli_add_sealing(o, &policy, kek->factor.kind != FACTOR_NONE);
}

void cli_sealing_text(const struct policy *policy, bool second_factor, char ret[POLICY_TEXT_MAX]) {
        size_t used;

        policy_text(policy, ret);
        used = strlen(ret);
        if (second_factor && !policy->pin)
                (void) snprintf(ret + used, POLICY_TEXT_MAX - used, ", with a second factor");
}

void cli_kek_text(const struct kek *kek, char ret[POLICY_TEXT_MAX]) {
        struct policy policy = { 0 };

        (void) policy_of_steps(&kek->steps, &policy);
        cli_sealing_text(&policy, kek->factor.kind != FACTOR_NONE, ret);
}
