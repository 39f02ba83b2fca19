/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli.h"
#include "agent/qr.h"
#include "keys/recovery.h"

static struct json *as_json(const struct cli *cli, const struct op_slot *s, const char *did,
                            const char *passphrase) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_string(o, "result", cli->dry_run ? "would-do" : did) ||
            !json_add_string(o, "name", s->name) || !json_add_string(o, "uuid", s->uuid) ||
            (s->slot < LUKS_SLOTS_MAX && !json_add_uint(o, "slot", s->slot)) ||
            (passphrase && !json_add_string(o, "passphrase", passphrase)))
                return NULL;
        return TAKE(o);
}

/* The one moment in which it's seen. What the libraries copy of it is wiped when they free it. */
static int show(const struct op_slot *s, struct secret *passphrase, void *user, struct error *err) {
        const struct cli *cli = user;
        _cleanup_(secret_freep) struct secret *text = NULL;
        const char *line;
        int r;

        r = secret_new(secret_size(passphrase) + 1, &text);
        if (r < 0)
                return error_errno(err, r, "locked memory for the passphrase");
        memcpy(secret_data(text), secret_data(passphrase), secret_size(passphrase));
        line = (const char *) secret_data(text);
        if (cli->json) {
                if (cli_print_json(as_json(cli, s, "done", line)) != EXIT_DONE)
                        return error_nomem(err);
        } else {
                printf("%s\n", line);
                if (isatty(STDOUT_FILENO))
                        (void) qr_print(stdout, line);
        }
        if (fflush(stdout) != 0 || ferror(stdout))
                return error_errno(err, -errno, "show the passphrase");
        return 0;
}

static int add(struct cli *cli, const struct op_disk *disk) {
        const struct op_recovery_add args = { .disk = *disk, .show = show, .user = cli };
        struct op_slot s = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = op_recovery_add(&cli->context, &args, &s, &why, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->dry_run) {
                if (cli->json)
                        return cli_print_json(as_json(cli, &s, "would-do", NULL));
                cli_say(cli, "would do: a recovery passphrase for %s in keyslot %u", s.name,
                        s.slot);
                return EXIT_DONE;
        }
        if (!cli->quiet && !cli->json)
                fprintf(stderr,
                        "  This is the recovery passphrase of %s (keyslot %u). It's shown only "
                        "now: write it down,\n  away from this machine, and prove it: diskseal "
                        "recovery verify %s\n",
                        s.name, s.slot, s.name);
        return EXIT_DONE;
}

static int verify(struct cli *cli, const struct op_disk *disk) {
        _cleanup_(cli_owner_done) struct cli_owner owner = { 0 };
        struct op_slot s = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = cli_owner(cli, true, &owner, &err);

        if (r == 0)
                r = op_owner_verify(&cli->context, disk, &owner.key, &s, &why, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(as_json(cli, &s, "proven", NULL));
        cli_say(cli, "  %s opens with this passphrase: keyslot %u, header verified", s.name,
                s.slot);
        return EXIT_DONE;
}

static int remove_one(struct cli *cli, const struct op_disk *disk) {
        struct op_slot s = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int slot = cli_slot(cli), r;

        if (slot < -1)
                return cli_usage(cli, "--slot: a number from 0 to 31");
        r = op_recovery_remove(&cli->context, disk, slot, &s, &why, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(as_json(cli, &s, "done", NULL));
        if (s.slot == LUKS_SLOTS_MAX)
                cli_say(cli, "  %sthe token of a recovery keyslot that %s had is out",
                        cli->dry_run ? "would do: " : "", s.name);
        else
                cli_say(cli, "  %srecovery keyslot %u of %s is out",
                        cli->dry_run ? "would do: " : "", s.slot, s.name);
        return EXIT_DONE;
}

static int run(struct cli *cli) {
        static const struct cli_subverb verbs[] = { { "add", false, add },
                                                    { "verify", false, verify },
                                                    { "remove", false, remove_one },
                                                    { 0 } };

        return cli_subverb(cli, verbs);
}

static const struct cli_option options[] = {
        { "recovery-key-file", 0, "FILE", "verify: the passphrase; - for standard input" },
        { "slot", 0, "N", "remove: which, where there are several" },
        CLI_HEADER_OPTION,
        { 0 },
};

const struct cli_verb verb_recovery = {
        .name = "recovery",
        .synopsis = "add|verify|remove DEVICE|NAME [--recovery-key-file=FILE] [--slot=N] "
                    "[--header=FILE]",
        .summary = "Make, prove or remove a passphrase that opens a disk without the TPM",
        .args_min = 2,
        .args_max = 2,
        .options = options,
        .examples = { "diskseal recovery add data1",
                      "diskseal recovery verify data1 --recovery-key-file key.txt" },
        .run = run,
};
