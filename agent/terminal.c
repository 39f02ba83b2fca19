/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "agent/helper.h"

#define ASK_DEADLINE (24u * 60 * 60 * 1000) /* ms */

/* Whoever asks in an initrd: a program of its hooks, which knows whether systemd is there, or
 * Plymouth, or only a console. */
static int ask_by_program(const char *prompt, struct secret **ret, struct error *err) {
        const char *const argv[] = { TERMINAL_ASK_PROGRAM, prompt, NULL };
        const struct helper h = { argv, ASK_DEADLINE, 1, TERMINAL_LINE_MAX };
        struct helper_failure why = { 0 };
        int r = helper_run(&h, ret, &why, err);

        return r == HELPER_FAILED
                       ? error_set(err, -ENODATA, "%s %.100s", TERMINAL_ASK_PROGRAM, why.what)
                       : r;
}

int terminal_ask(const char *prompt, struct secret **ret, struct error *err) {
        _cleanup_(close_fdp) int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
        _cleanup_(secret_freep) struct secret *line = NULL, *exact = NULL;
        struct termios old, quiet;
        ssize_t n;
        int r;

        if (access(TERMINAL_ASK_PROGRAM, X_OK) == 0)
                return ask_by_program(prompt, ret, err);
        if (fd < 0 || tcgetattr(fd, &old) < 0)
                return error_set(err, -ENOTTY, "there's no terminal to ask for a passphrase on");
        r = secret_new(TERMINAL_LINE_MAX, &line);
        if (r < 0)
                return error_errno(err, r, "locked memory for a passphrase");
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t) ECHO;
        /* First, or what is typed at once would show. */
        (void) tcsetattr(fd, TCSAFLUSH, &quiet);
        (void) dprintf(fd, "%s", prompt);
        n = read(fd, secret_data(line), TERMINAL_LINE_MAX);
        (void) tcsetattr(fd, TCSAFLUSH, &old); /* drops what wasn't read of a longer line */
        (void) dprintf(fd, "\n");
        if (n <= 0)
                return error_set(err, -ENODATA, "no passphrase was typed");
        if (n == TERMINAL_LINE_MAX && secret_data(line)[n - 1] != '\n')
                return error_set(err, -EFBIG, "that was longer than %d bytes", TERMINAL_LINE_MAX);
        r = secret_new((size_t) n, &exact);
        if (r < 0)
                return error_errno(err, r, "locked memory for a passphrase");
        memcpy(secret_data(exact), secret_data(line), (size_t) n);
        *ret = TAKE(exact);
        return 0;
}
