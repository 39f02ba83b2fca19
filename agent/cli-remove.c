/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "agent/cli.h"

static struct json *as_json(const struct cli *cli, const struct op_removed *d) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_string(o, "result", cli->dry_run ? "would-do" : "done") ||
            !json_add_string(o, "name", d->name) || !json_add_string(o, "uuid", d->uuid) ||
            !json_add_uint(o, "slot", d->slot) || !json_add_uint(o, "other_slot", d->other_slot))
                return NULL;
        return TAKE(o);
}

static int run(struct cli *cli) {
        struct op_removed removed = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        const struct op_disk disk = { cli->arg[0], cli_value(cli, "header") };
        int r = op_remove(&cli->context, &disk, cli_value(cli, "key-file"), &removed, &why, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(as_json(cli, &removed));
        cli_say(cli, "  %s%s: keyslot %u and its token %s", cli->dry_run ? "would do: " : "",
                removed.name, removed.slot, cli->dry_run ? "out" : "are out");
        cli_say(cli, "  Keyslot %u opens it from now on (cryptsetup open).", removed.other_slot);
        return EXIT_DONE;
}

static const struct cli_option options[] = {
        { "key-file", 'k', "FILE", "prove now that this other key opens the disk" },
        CLI_HEADER_OPTION,
        { 0 },
};

const struct cli_verb verb_remove = {
        .name = "remove",
        .synopsis = "DEVICE|NAME [--key-file=FILE] [--header=FILE]",
        .summary = "Take our keyslot and token out of a disk that another key opens",
        .args_min = 1,
        .args_max = 1,
        .options = options,
        .examples = { "diskseal remove logs", "diskseal remove /dev/vdc --key-file pass.txt" },
        .run = run,
};
