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

static struct json *name_json(const struct op_policy_name *n) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_string(o, "name", n->name) || !json_add_string(o, "from", n->from) ||
            !(n->damage[0] ? json_add_string(o, "fault", n->damage)
                           : cli_add_sealing(o, &n->policy, n->second_factor)))
                return NULL;
        return TAKE(o);
}

static struct json *policies_json(const struct op_policies *all) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *list = json_new_array();

        for (size_t i = 0; i < all->count; i++) {
                const struct op_policy *p = &all->policy[i];
                _cleanup_(json_freep) struct json *item = json_new_object(),
                                                  *pcrs = json_new_array();

                if (!pcr_json(p, pcrs) || !json_add_string(item, "kek", p->kek) ||
                    !json_add_uint(item, "version", p->version) ||
                    !json_add_string(item, "kind", policy_kind_name(p->policy.kind)) ||
                    !json_add_string(item, "bank", pcr_bank_name(p->sealed.bank)) ||
                    !json_add_bool(item, "latch", p->policy.latch) ||
                    !json_add_bool(item, "pin", p->policy.pin) ||
                    !json_add_bool(item, "second_factor", p->second_factor) ||
                    !json_add(item, "pcrs", TAKE(pcrs)) || !json_append(list, TAKE(item)))
                        return NULL;
        }
        if (!json_add(o, "policies", TAKE(list)))
                return NULL;
        list = json_new_array();
        for (size_t i = 0; i < all->names; i++)
                if (!json_append(list, name_json(&all->name[i])))
                        return NULL;
        return json_add(o, "names", TAKE(list)) ? TAKE(o) : NULL;
}

/* What the policy says of one of its PCRs. */
static const char *kind_of(const struct op_policy *p, unsigned n) {
        return policy_kind_name(p->policy.kind == POLICY_SIGNED && (p->policy.pcr_mask & (1u << n))
                                        ? POLICY_LITERAL
                                        : p->policy.kind);
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
                        table_cell(t, TONE_PLAIN, "%s", kind_of(p, n));
                        table_cell(t, TONE_PLAIN, "%u", n);
                        hex_encode(p->sealed.value[n], 8, text);
                        table_cell(t, TONE_PLAIN, "%s…", text);
                        hex_encode(p->now.value[n], 8, text);
                        table_cell(t, TONE_PLAIN, "%s%s", known ? text : "-", known ? "…" : "");
                        /* Whether another value is as good, its key or its list says. */
                        if (known && !same && strcmp(kind_of(p, n), "literal") != 0)
                                table_cell(t, TONE_PLAIN, "changed");
                        else
                                table_cell(t, same ? TONE_GOOD : TONE_BAD, "%s",
                                           same    ? "yes"
                                           : known ? "NO"
                                                   : "-");
                }
        table_print(t, cli);
}

/* The policies that there are, and what the default is here. */
static void names_table(const struct cli *cli, const struct op_policies *all) {
        static const char *const heads[] = { "POLICY", "SEALS TO", "FROM" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);
        char text[POLICY_TEXT_MAX];

        for (size_t i = 0; i < all->names; i++) {
                const struct op_policy_name *n = &all->name[i];

                table_cell(t, TONE_PLAIN, "%s", n->name);
                if (n->damage[0])
                        table_cell(t, TONE_BAD, "%s", n->damage);
                else {
                        cli_sealing_text(&n->policy, n->second_factor, text);
                        table_cell(t, TONE_PLAIN, "%s", text);
                }
                table_cell(t, TONE_FAINT, "%s", n->from);
        }
        table_print(t, cli);
}

static int show(struct cli *cli) {
        _cleanup_(op_policies_done) struct op_policies all = { 0 };
        struct error err = { 0 };
        int r;

        r = op_policy_show(&cli->context, &all, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, NULL, &err);
        if (cli->json)
                return cli_print_json(policies_json(&all));
        if (all.count == 0)
                cli_say(cli, "  no KEK yet");
        else if (!cli->quiet)
                policies_table(cli, &all);
        if (!cli->quiet)
                names_table(cli, &all);
        if (all.tpm_fault[0])
                cli_say(cli, "  The values of now can't be read: %s", all.tpm_fault);
        return EXIT_DONE;
}

static int reseal(struct cli *cli) {
        _cleanup_(cli_owner_done) struct cli_owner owner = { 0 };
        _cleanup_(op_rotated_done) struct op_rotated r = { 0 };
        struct named_policy policy;
        struct op_reseal args = { .kek = cli_value(cli, "kek") };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int e = cli_policy(cli, &policy, &args.policy);

        if (e >= 0)
                return e;
        if (!args.kek)
                args.kek = KEK_DEFAULT;
        cli_catch_stop();
        e = cli_owner(cli, false, &owner, &err);
        if (owner.key.passphrase || owner.key.escrow)
                args.owner = &owner.key;
        if (e == 0)
                e = op_reseal(&cli->context, &args, &r, &why, &err);
        if (e != OUTCOME_DONE)
                return cli_failed(cli, e, &why, &err);
        if (args.owner && cli->dry_run && !cli->json) {
                for (size_t i = 0; i < r.count; i++)
                        if (r.disks[i].what == ROTATED_PENDING)
                                cli_say(cli, "would do: enroll %s anew, by your key",
                                        r.disks[i].known.name);
                return EXIT_DONE;
        }
        return cli_print_rotated(cli, &r);
}

static const struct {
        const char *name;
        int (*run)(struct cli *cli);
} verbs[] = {
        { "show", show },
        { "check", cli_policy_check },
        { "sign", cli_policy_sign },
        { "predict", cli_policy_predict },
        { "reseal", reseal },
};

static int run(struct cli *cli) {
        const char *kek = cli_value(cli, "kek");

        if (kek && !name_valid(kek))
                return cli_usage(cli, "--kek: '%s' can't name a KEK", kek);
        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
                if (strcmp(verbs[i].name, cli->arg[0]) == 0)
                        return verbs[i].run(cli);
        return cli_usage(cli, "policy has no '%s'", cli->arg[0]);
}

static const struct cli_option options[] = {
        { "kek", 0, "NAME", "predict, reseal: which KEK (default); check: only it" },
        { "policy", 0, "NAME", "reseal: another policy than it has" },
        { "recovery-key-file", 0, "FILE", "reseal: by a passphrase of the disks" },
        { "key", 0, "FILE", "reseal: of an escrow; sign: PEM or a pkcs11: URI" },
        { "uki", 0, "FILE", "check, predict, sign: what will be booted" },
        { "kernel", 0, "FILE", "check, predict: the same, where it's no UKI" },
        { "cmdline", 0, "TEXT", "… its command line" },
        { "initrd", 0, "FILE", "… its initrd, in place of" },
        { "booted", 0, "FILE", "… this boot's: initrd, or UKI for --uki" },
        { "variable", 0, "NAME-GUID=FILE", "… another value of a UEFI variable" },
        { "phase", 0, "PATH", "sign: phases of the boot (enter-initrd)" },
        { "pcr", 0, "N=HEX", "sign: a PCR's value, in place of a UKI" },
        { "bank", 0, "NAME", "sign: sha256 or sha384 (sha256)" },
        { "append", 0, "FILE", "sign: keep the signatures in it" },
        { "output", 0, "FILE", "sign: where they go" },
        { 0 },
};

const struct cli_verb verb_policy = {
        .name = "policy",
        .synopsis = "show|check|sign|predict|reseal [OPTION...]",
        .summary = "What KEKs are sealed to, and what of it holds at the next boot",
        .args_min = 1,
        .args_max = 1,
        .options = options,
        .examples = { "diskseal policy predict --uki /boot/EFI/Linux/next.efi",
                      "diskseal policy sign --key k.pem --uki next.efi --output sig.json" },
        .run = run,
};
