/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "agent/cli.h"

static struct json *as_json(const struct op_reenrolled *e) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *kek = json_new_object();

        if (!json_add_string(kek, "name", e->kek) || !json_add_uint(kek, "version", e->version) ||
            !json_add_bool(kek, "new", e->kek_is_new) ||
            (e->waits && !json_add_bool(o, "proven", false)) ||
            !cli_add_sealing(kek, &e->policy, e->second_factor) ||
            !json_add_string(o, "result", "done") || !json_add_string(o, "name", e->name) ||
            !json_add_string(o, "uuid", e->uuid) || !json_add_string(o, "role", e->role) ||
            !json_add(o, "kek", TAKE(kek)) || !json_add_uint(o, "slot", e->slot) ||
            !json_add_uint(o, "owner_slot", e->owner_slot))
                return NULL;
        return TAKE(o);
}

static int print_plan(const struct cli *cli, const struct op_reenrolled *e) {
        if (cli->json) {
                _cleanup_(json_freep) struct json *o = json_new_object();

                if (!json_add_string(o, "result", "would-do") ||
                    !json_add_string(o, "name", e->name))
                        return cli_print_json(NULL);
                return cli_print_json(TAKE(o));
        }
        cli_say(cli, "would do, in this order:");
        cli_say(cli, "  1  open the KEK of %s in this TPM, or make a new version of it", e->name);
        cli_say(cli, "  2  write a pending token, a keyslot, then the token bound to it");
        cli_say(cli, "  3  remove the old keyslot and token; your own keyslot %u stays",
                e->owner_slot);
        return EXIT_DONE;
}

static int run(struct cli *cli) {
        _cleanup_(cli_owner_done) struct cli_owner owner = { 0 };
        struct op_reenroll args = { .disk = { cli->arg[0], cli_value(cli, "header") },
                                    .owner = &owner.key };
        struct op_reenrolled e = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        char text[POLICY_TEXT_MAX];
        struct named_policy policy;
        int r = cli_policy(cli, &policy, &args.policy);

        if (r >= 0)
                return r;
        r = cli_owner(cli, true, &owner, &err);
        if (r == 0)
                r = op_reenroll(&cli->context, &args, &e, &why, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->dry_run)
                return print_plan(cli, &e);
        if (cli->json)
                return cli_print_json(as_json(&e));
        cli_sealing_text(&e.policy, e.second_factor, text);
        cli_say(cli, "  %s is sealed to this TPM: KEK %s v%u%s, %s; keyslot %u", e.name, e.kek,
                e.version, e.kek_is_new ? " (new)" : "", text, e.slot);
        if (e.old_slot < LUKS_SLOTS_MAX)
                cli_say(cli, "  The keyslot of before, %u, is gone.", e.old_slot);
        if (e.waits)
                cli_say(cli, "  The latch is shut: the next boot shows whether the TPM opens it.");
        cli_say(cli, "  Keyslot %u, which your key opened, stays.", e.owner_slot);
        return EXIT_DONE;
}

static const struct cli_option options[] = {
        CLI_OWNER_OPTIONS,
        CLI_POLICY_OPTIONS,
        CLI_HEADER_OPTION,
        { 0 },
};

const struct cli_verb verb_enroll = {
        .name = "enroll",
        .synopsis = "DEVICE|NAME [--recovery-key-file=FILE|--key=FILE] "
                    "[--policy=NAME|--pcrs=LIST] [--header=FILE]",
        .summary = "Seal a disk of diskseal anew to this TPM, with a key of its owner",
        .args_min = 1,
        .args_max = 1,
        .options = options,
        .examples = { "diskseal enroll /dev/vdb", "diskseal enroll data1 --key escrow.pem" },
        .run = run,
};
