/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli.h"
#include "agent/terminal.h"
#include "base/file.h"

#define KEY_FILE_MAX (32 * 1024)

void cli_owner_done(struct cli_owner *o) {
        o->passphrase = secret_free(o->passphrase);
        o->escrow = private_key_free(o->escrow);
}

int cli_owner(const struct cli *cli, bool must_ask, struct cli_owner *ret, struct error *err) {
        const char *file = cli_value_if_any(cli, "recovery-key-file");
        const char *key = cli_value_if_any(cli, "key");
        char prompt[120];
        int r = 0;

        if (key)
                r = private_key_read(key, &ret->escrow, err);
        else if (file)
                r = file_read_secret(file, KEY_FILE_MAX, &ret->passphrase, err);
        else if (must_ask && !isatty(STDIN_FILENO)) /* piped in, as cryptsetup takes it */
                r = file_read_secret("-", KEY_FILE_MAX, &ret->passphrase, err);
        else if (must_ask) {
                (void) snprintf(prompt, sizeof(prompt),
                                "Recovery passphrase of %.60s: ", cli->arg[cli->args - 1]);
                r = terminal_ask(prompt, &ret->passphrase, err);
        }
        if (r < 0)
                return r;
        ret->key = (struct owner_key){ ret->passphrase, ret->escrow };
        return 0;
}
