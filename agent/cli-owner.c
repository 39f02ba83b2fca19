/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "agent/cli.h"
#include "base/file.h"

#define PASSPHRASE_MAX 512 /* bytes; a key file may be larger */
#define KEY_FILE_MAX (32 * 1024)

/* Without an echo, on the terminal itself: standard output may lead elsewhere. */
static int ask(const char *prompt, struct secret **ret, struct error *err) {
        _cleanup_(close_fdp) int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
        _cleanup_(secret_freep) struct secret *line = NULL;
        struct termios old, quiet;
        ssize_t n;
        int r;

        if (fd < 0 || tcgetattr(fd, &old) < 0)
                return error_set(err, -ENOTTY, "there's no terminal to ask for a passphrase on");
        r = secret_new(PASSPHRASE_MAX, &line);
        if (r < 0)
                return error_errno(err, r, "locked memory for a passphrase");
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t) ECHO;
        (void) dprintf(fd, "%s", prompt);
        (void) tcsetattr(fd, TCSAFLUSH, &quiet);
        n = read(fd, secret_data(line), PASSPHRASE_MAX);
        (void) tcsetattr(fd, TCSAFLUSH, &old);
        (void) dprintf(fd, "\n");
        if (n <= 0)
                return error_set(err, -ENODATA, "no passphrase was typed");
        r = secret_new((size_t) n, ret);
        if (r < 0)
                return error_errno(err, r, "locked memory for a passphrase");
        memcpy(secret_data(*ret), secret_data(line), (size_t) n);
        return 0;
}

/* Not every verb takes both. */
static const char *given(const struct cli *cli, const char *option) {
        for (unsigned i = 0; cli->verb->options[i].name; i++)
                if (strcmp(cli->verb->options[i].name, option) == 0)
                        return cli->value[i];
        return NULL;
}

void cli_owner_done(struct cli_owner *o) {
        o->passphrase = secret_free(o->passphrase);
        o->escrow = private_key_free(o->escrow);
}

int cli_owner(const struct cli *cli, bool must_ask, struct cli_owner *ret, struct error *err) {
        const char *file = given(cli, "recovery-key-file"), *key = given(cli, "key");
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
                r = ask(prompt, &ret->passphrase, err);
        }
        if (r < 0)
                return r;
        ret->key = (struct owner_key){ ret->passphrase, ret->escrow };
        return 0;
}
