/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"
#include "base/hex.h"

static bool pcr_json(const struct op_policy *p, struct json *pcrs) {
        char text[2 * PCR_SIZE_MAX + 1];

        for (unsigned n = 0; n < PCR_COUNT; n++) {
                struct json *o;

                if (!(p->sealed.mask & (1u << n)))
                        continue;
                o = json_new_object();
                if (!json_append(pcrs, o) || !json_add_uint(o, "pcr", n))
                        return false;
                hex_encode(p->sealed.value[n], pcr_size(p->sealed.bank), text);
                if (!json_add_string(o, "sealed", text))
                        return false;
                hex_encode(p->now.value[n], pcr_size(p->now.bank), text);
                if ((p->now.mask & (1u << n)) && !json_add_string(o, "now", text))
                        return false;
        }
        return true;
}

static struct json *policies_json(const struct op_policies *all) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *list = json_new_array();

        for (size_t i = 0; i < all->count; i++) {
                const struct op_policy *p = &all->policy[i];
                _cleanup_(json_freep) struct json *item = json_new_object(),
                                                  *pcrs = json_new_array();

                if (!pcr_json(p, pcrs) || !json_add_string(item, "kek", p->kek) ||
                    !json_add_uint(item, "version", p->version) ||
                    !json_add_string(item, "kind", "literal") ||
                    !json_add_string(item, "bank", pcr_bank_name(p->sealed.bank)) ||
                    !json_add(item, "pcrs", TAKE(pcrs)) || !json_append(list, TAKE(item)))
                        return NULL;
        }
        return json_add(o, "policies", TAKE(list)) ? TAKE(o) : NULL;
}

static void policies_table(const struct cli *cli, const struct op_policies *all) {
        static const char *const heads[] = { "KEK", "KIND", "PCR", "SEALED", "NOW", "MATCH" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);
        char text[2 * PCR_SIZE_MAX + 1];

        for (size_t i = 0; i < all->count; i++)
                for (unsigned n = 0; n < PCR_COUNT; n++) {
                        const struct op_policy *p = &all->policy[i];
                        bool known = p->now.mask & (1u << n), same;

                        if (!(p->sealed.mask & (1u << n)))
                                continue;
                        same = known && memcmp(p->now.value[n], p->sealed.value[n],
                                               pcr_size(p->sealed.bank)) == 0;
                        table_cell(t, TONE_PLAIN, "%s v%u", p->kek, p->version);
                        table_cell(t, TONE_PLAIN, "literal");
                        table_cell(t, TONE_PLAIN, "%u", n);
                        hex_encode(p->sealed.value[n], 8, text);
                        table_cell(t, TONE_PLAIN, "%s…", text);
                        hex_encode(p->now.value[n], 8, text);
                        table_cell(t, TONE_PLAIN, "%s", known ? text : "-");
                        table_cell(t, same ? TONE_GOOD : TONE_BAD, "%s",
                                   same    ? "yes"
                                   : known ? "NO"
                                           : "-");
                }
        table_print(t, cli);
}

static int run(struct cli *cli) {
        _cleanup_(op_policies_done) struct op_policies all = { 0 };
        struct error err = { 0 };
        int r;

        if (strcmp(cli->arg[0], "show") != 0)
                return cli_usage(cli, "policy has no '%s'", cli->arg[0]);
        r = op_policy_show(&cli->context, &all, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, NULL, &err);
        if (cli->json)
                return cli_print_json(policies_json(&all));
        if (all.count == 0)
                cli_say(cli, "  no KEK yet; a new one is sealed to PCR 7 unless --pcrs says else");
        else if (!cli->quiet)
                policies_table(cli, &all);
        if (all.tpm_fault[0])
                cli_say(cli, "  The values of now can't be read: %s", all.tpm_fault);
        return EXIT_DONE;
}

static const struct cli_option options[] = { { 0 } };

const struct cli_verb verb_policy = {
        .name = "policy",
        .synopsis = "show",
        .summary = "Show what each KEK is sealed to, and whether this machine matches",
        .args_min = 1,
        .args_max = 1,
        .options = options,
        .examples = { "diskseal policy show", "diskseal policy show --json" },
        .run = run,
};
