/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"

static struct json *as_json(const struct op_unlocked *u, bool test) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *kek = json_new_object();

        if (u->kek[0] ? !json_add_string(kek, "name", u->kek) ||
                                !json_add_uint(kek, "version", u->version) ||
                                !json_add(o, "kek", TAKE(kek))
                      : !json_add_bool(o, "recovered", true))
                return NULL;
        if (!json_add_string(o, "result", test ? "proven" : "open") ||
            !json_add_string(o, "name", u->name) || !json_add_string(o, "uuid", u->uuid) ||
            !json_add_string(o, "role", u->role) ||
            (u->clone_of[0] && !json_add_string(o, "clone_of", u->clone_of)) ||
            (u->resized[0] && !json_add_string(o, "resized", u->resized)) ||
            (u->latched && !json_add_bool(o, "latched", true)) ||
            !json_add_uint(o, "slot", u->slot) ||
            !json_add_string(o, "header", u->degraded ? "degraded" : "verified") ||
            (u->degraded && !json_add_string(o, "reason", u->degraded_text)))
                return NULL;
        return TAKE(o);
}

static int print_result(const struct cli *cli, const struct op_unlocked *u, bool test) {
        if (cli->json)
                return cli_print_json(as_json(u, test));
        if (test && u->kek[0])
                cli_say(cli,
                        "  %s opens with KEK %s v%u (header verified, keyslot %u); it was not "
                        "activated",
                        u->name, u->kek, u->version, u->slot);
        else if (test)
                cli_say(cli,
                        "  %s opens with your key (header verified, keyslot %u); it was not "
                        "activated",
                        u->name, u->slot);
        else
                cli_say(cli, "  %s is open: /dev/mapper/%s", u->name, u->name);
        if (u->latched)
                cli_say(cli,
                        "  The latch is shut: what is sealed with it unseals no more until the "
                        "next boot");
        if (u->kept_back[0])
                fprintf(stderr,
                        "diskseal: a KEK isn't handed over: %s.\n  Until the next boot no other "
                        "disk opens with it, and it can't be rotated.\n",
                        u->kept_back);
        if (u->clone_of[0])
                cli_say(cli, "  It's a copy: %s is also at %s.", u->name, u->clone_of);
        if (u->resized[0])
                cli_say(cli, "  Since it was enrolled, %s.", u->resized);
        if (u->unlogged[0])
                fprintf(stderr, "diskseal: %s isn't in the audit log: %s.\n", u->name, u->unlogged);
        if (u->degraded)
                fprintf(stderr,
                        "diskseal: one copy of the header of %s needs repair: %s.\n  The other one "
                        "is sound and was used; the next change to the header repairs it.\n",
                        u->name, u->degraded_text);
        return EXIT_DONE;
}

static int run_unlock(struct cli *cli) {
        bool test = cli_value(cli, "test") != NULL, boot = cli_value(cli, "boot") != NULL;
        _cleanup_(cli_owner_done) struct cli_owner owner = { 0 };
        struct op_unlock args = { .disk = { cli->arg[0], cli_value(cli, "header") },
                                  .test = test,
                                  .boot = boot };
        struct op_unlocked u = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r;

        if (test && boot)
                return cli_usage(cli, "--boot opens the disk, and --test doesn't: one of them");
        r = cli_owner(cli, cli_value(cli, "recovery") != NULL, &owner, &err);
        if (owner.key.passphrase || owner.key.escrow)
                args.owner = &owner.key;
        if (r == 0)
                r = op_unlock(&cli->context, &args, &u, &why, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->dry_run) {
                cli_say(cli, "would unseal its KEK once, check its header, and %s",
                        test   ? "open its keyslot"
                        : boot ? "latch PCR 15, and open it"
                               : "open it");
                return EXIT_DONE;
        }
        return print_result(cli, &u, test);
}

static int run_lock(struct cli *cli) {
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = op_lock(&cli->context, cli->arg[0], &why, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        cli_say(cli, "  %s %s", cli->arg[0], cli->dry_run ? "would be closed" : "is locked");
        return EXIT_DONE;
}

static const struct cli_option unlock_options[] = {
        { "test", 0, NULL, "prove that the key opens the disk; activate nothing" },
        { "boot", 0, NULL, "the OS disk, in the initrd: nothing unseals behind it" },
        { "recovery", 0, NULL, "ask for its recovery passphrase, and leave the TPM out" },
        CLI_OWNER_OPTIONS,
        CLI_HEADER_OPTION,
        { 0 },
};

const struct cli_verb verb_unlock = {
        .name = "unlock",
        .synopsis = "DEVICE|NAME [--test|--boot] [--recovery|--recovery-key-file=FILE|--key=FILE] "
                    "[--header=FILE]",
        .summary = "Open a disk, if this machine is in the measured state",
        .args_min = 1,
        .args_max = 1,
        .options = unlock_options,
        .examples = { "diskseal unlock /dev/vdb --test", "diskseal unlock data1 --recovery" },
        .run = run_unlock,
};

static const struct cli_option lock_options[] = { { 0 } };

const struct cli_verb verb_lock = {
        .name = "lock",
        .synopsis = "NAME",
        .summary = "Close a disk that is open",
        .args_min = 1,
        .args_max = 1,
        .options = lock_options,
        .examples = { "diskseal lock data1", "diskseal lock data1 --dry-run" },
        .run = run_lock,
};
