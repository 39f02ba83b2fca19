/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"
#include "keys/token.h"

static int read_args(struct cli *cli, struct op_enroll *ret, struct named_policy *policy) {
        *ret = (struct op_enroll){ .device = cli->arg[0],
                                   .name = cli_value(cli, "name"),
                                   .role = cli_value(cli, "role"),
                                   .kek = cli_value(cli, "kek"),
                                   .header = cli_value(cli, "header") };
        if (!ret->role)
                ret->role = ROLE_DATA;
        if (!ret->kek)
                ret->kek = KEK_DEFAULT;
        if (!ret->name)
                return cli_usage(cli, "--name is missing");
        if (!name_valid(ret->name))
                return cli_usage(cli, "--name: 1 to 32 of a-z A-Z 0-9 _ . -, a letter or digit "
                                      "first");
        if (!name_valid(ret->kek))
                return cli_usage(cli, "--kek: 1 to 32 of a-z A-Z 0-9 _ . -, a letter or digit "
                                      "first");
        if (!role_valid(ret->role))
                return cli_usage(cli, "--role: os or data");
        return cli_policy(cli, policy, &ret->policy);
}

#define WIPE_MAX 16

/* "TYPE,TYPE" into @list, in place of the commas. Return: false where one is empty, or too many. */
static bool split(char *text, const char *list[WIPE_MAX + 1]) {
        unsigned n = 0;
        char *type;

        while ((type = strsep(&text, ","))) {
                if (!type[0] || n == WIPE_MAX)
                        return false;
                list[n++] = type;
        }
        list[n] = NULL;
        return true;
}

/* Asks on the terminal, never on a pipe: what is piped in may be meant for something else. */
static bool confirmed(const struct op_enroll *args) {
        char answer[8] = "";

        fprintf(stderr,
                "This writes a new LUKS2 header to %s. Whatever is there is lost.\n"
                "Type yes to go on: ",
                args->device);
        return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

static struct json *as_json(const struct op_enroll *args, const struct op_enrolled *e) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *kek = json_new_object();

        if (!json_add_string(kek, "name", e->kek) || !json_add_uint(kek, "version", e->version) ||
            !json_add_bool(kek, "new", e->kek_is_new) ||
            !cli_add_sealing(kek, &e->policy, e->second_factor) ||
            !json_add_string(o, "result", "done") || !json_add_string(o, "name", args->name) ||
            !json_add_string(o, "uuid", e->facts.uuid) ||
            !json_add_string(o, "device", args->device) ||
            !json_add_string(o, "role", args->role) ||
            !json_add_string(o, "cipher", e->facts.cipher) || !json_add_uint(o, "slot", e->slot) ||
            !json_add(o, "kek", TAKE(kek)))
                return NULL;
        return TAKE(o);
}

/* What became of the key that opened it. */
static bool add_other_key(struct json *o, const struct op_enrolled *e) {
        return (e->foreign_slot == LUKS_SLOTS_MAX ||
                (json_add_uint(o, "other_slot", e->foreign_slot) &&
                 json_add_string(o, "opened_by", e->foreign_by))) &&
               json_add_uint(o, "slots_removed", e->slots_removed) &&
               json_add_uint(o, "tokens_removed", e->tokens_removed);
}

static int print_result(const struct cli *cli, const struct op_enroll *args,
                        const struct op_enrolled *e, bool adopted) {
        const char *did = adopted ? "is now also what opens" : "is the new disk on";
        _cleanup_(json_freep) struct json *o = NULL;
        char policy[POLICY_TEXT_MAX];

        if (cli->json) {
                o = as_json(args, e);
                return cli_print_json(!adopted || (o && add_other_key(o, e)) ? TAKE(o) : NULL);
        }
        cli_sealing_text(&e->policy, e->second_factor, policy);
        cli_say(cli, "  %s %s %s (UUID %s)", args->name, did, args->device, e->facts.uuid);
        cli_say(cli, "  %s, %u-bit key, %u-byte sectors; keyslot %u", e->facts.cipher,
                e->facts.key_size * 8, e->facts.sector_size, e->slot);
        cli_say(cli, "  KEK %s v%u%s, sealed to %s", e->kek, e->version,
                e->kek_is_new ? " (new)" : "", policy);
        return EXIT_DONE;
}

static int print_plan(const struct cli *cli, const struct op_enroll *args, bool format) {
        _cleanup_(json_freep) struct json *o = NULL;

        if (cli->json) {
                o = json_new_object();
                if (!json_add_string(o, "result", "would-do") ||
                    !json_add_string(o, "name", args->name))
                        return cli_print_json(NULL);
                return cli_print_json(TAKE(o));
        }
        cli_say(cli, "would do, in this order:");
        cli_say(cli, "  1  open KEK %s in the TPM, or create its version 1", args->kek);
        if (args->wipe)
                cli_say(cli, "     remove the signatures that --wipe-signature names");
        if (format)
                cli_say(cli, "  2  write a new LUKS2 header to %s, 16 MiB at its head",
                        args->header ? args->header : args->device);
        else
                cli_say(cli, "  2  nothing to the data of %s; its passphrase stays", args->device);
        cli_say(cli, "  3  write a pending token, a keyslot, then the token bound to it");
        cli_say(cli, "  4  record %s in the state", args->name);
        if (args->replace)
                cli_say(cli, "  5  prove ours anew, then remove what opened it: keyslot and token");
        return EXIT_DONE;
}

static int run_format(struct cli *cli) {
        const char *wipe = cli_value(cli, "wipe-signature"), *list[WIPE_MAX + 1];
        _cleanup_(freep) char *types = wipe ? strdup(wipe) : NULL;
        struct named_policy policy;
        struct op_enroll args;
        struct op_enrolled e = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = read_args(cli, &args, &policy);

        if (r >= 0)
                return r;
        if (wipe && (!types || !split(types, list)))
                return cli_usage(cli, "--wipe-signature: names, as in ext4 or ext4,swap");
        args.wipe = wipe ? list : NULL;
        if (!cli->dry_run && !cli_value(cli, "yes")) {
                r = op_format_check(&args, &why, &err);
                if (r == OUTCOME_DONE && (!isatty(STDIN_FILENO) || !confirmed(&args)))
                        r = refusal_set(&why, REFUSAL_UNCONFIRMED,
                                        "%s was not formatted: not confirmed", args.device);
                if (r != OUTCOME_DONE)
                        return cli_failed(cli, r, &why, &err);
        }
        r = op_format(&cli->context, &args, &e, &why, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        return cli->dry_run ? print_plan(cli, &args, true) : print_result(cli, &args, &e, false);
}

static int run_adopt(struct cli *cli) {
        struct named_policy policy;
        struct op_enroll args;
        struct op_enrolled e = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = read_args(cli, &args, &policy);

        if (r >= 0)
                return r;
        args.key_file = cli_value(cli, "key-file");
        args.bek = cli_value(cli, "bek");
        args.replace = cli_value(cli, "replace");
        if (args.key_file && args.bek)
                return cli_usage(cli, "--key-file and --bek: only one of them");
        r = op_adopt(&cli->context, &args, &e, &why, &err);
        if (r == -ENOKEY)
                return cli_usage(cli, "--key-file is missing: %s", err.text);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->dry_run)
                return print_plan(cli, &args, false);
        r = print_result(cli, &args, &e, true);
        if (e.slots_removed > 0)
                cli_say(cli, "  Keyslot %u, which %s opened, is gone, with %u of its tokens.",
                        e.foreign_slot, e.foreign_by, e.tokens_removed);
        else if (e.foreign_slot < LUKS_SLOTS_MAX)
                cli_say(cli, "  Keyslot %u, which %s opened, stays.", e.foreign_slot, e.foreign_by);
        else if (args.replace)
                cli_say(cli, "  No other keyslot was left to replace%s.",
                        e.tokens_removed ? "; the token of one is gone" : "");
        return r;
}

static const struct cli_option format_options[] = {
        { "name", 'N', "NAME", "what to call the disk, here and in /dev/mapper" },
        { "role", 0, "ROLE", "os or data (data)" },
        { "kek", 0, "NAME", "the KEK that is to protect it (default)" },
        CLI_POLICY_OPTIONS,
        { "yes", 'y', NULL, "don't ask" },
        { "wipe-signature", 0, "TYPES", "remove these signatures first, as in ext4,swap" },
        CLI_HEADER_OPTION,
        { 0 },
};

const struct cli_verb verb_format = {
        .name = "format",
        .synopsis = "DEVICE --name=NAME [--role=os|data] [--kek=NAME] "
                    "[--policy=NAME|--pcrs=LIST] [--yes] [--wipe-signature=TYPES] [--header=FILE]",
        .summary = "Make a new encrypted disk on a device that shows no signature",
        .args_min = 1,
        .args_max = 1,
        .options = format_options,
        .examples = { "diskseal format /dev/vdb --name data1",
                      "diskseal format disk.img --name root --role os --pcrs 4,7 --yes" },
        .run = run_format,
};

static const struct cli_option adopt_options[] = {
        { "name", 'N', "NAME", "what to call the disk, here and in /dev/mapper" },
        { "key-file", 'k', "FILE", "its passphrase, all bytes of the file; - for standard input" },
        { "bek", 0, "FOLDER", "its passphrase in Azure's files; auto finds the BEK volume" },
        { "replace", 0, NULL, "remove the keyslot and token that opened it, once ours is proven" },
        CLI_HEADER_OPTION,
        { "role", 0, "ROLE", "os or data (data)" },
        { "kek", 0, "NAME", "the KEK that is to protect it (default)" },
        CLI_POLICY_OPTIONS,
        { 0 },
};

const struct cli_verb verb_adopt = {
        .name = "adopt",
        .synopsis = "DEVICE --name=NAME [--key-file=FILE|--bek=FOLDER] [--replace] [OPTION...]",
        .summary = "Take an existing LUKS2 disk over, also from systemd and clevis",
        .args_min = 1,
        .args_max = 1,
        .options = adopt_options,
        .examples = { "diskseal adopt /dev/vdc --name logs --key-file pass.txt",
                      "diskseal adopt /dev/vdd --name home --replace" },
        .run = run_adopt,
};
