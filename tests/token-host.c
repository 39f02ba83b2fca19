/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <libcryptsetup.h>

#include "plugin/plugin.h"
#include "tests/image.h"

/* A program of somebody else that opens disks through libcryptsetup, with our plugin linked in, so
 * that sanitizers see it; and what forges headers for the same test.
 *
 *   token-host open IMAGE       try its tokens; activates nothing
 *   token-host dump IMAGE       print its header
 *   token-host forge IMAGE PATH VALUE    one member of the JSON, in both copies
 *   token-host deaf PATH        a TPM there that hangs up on whoever calls, until it's killed
 *   token-host folder           where libcryptsetup looks for plugins */

static void print(int level, const char *line, void *user) {
        (void) user;
        if (level == CRYPT_LOG_ERROR || level == CRYPT_LOG_NORMAL)
                fputs(line, level == CRYPT_LOG_ERROR ? stderr : stdout);
}

static int with(const char *path, int (*act)(struct crypt_device *cd)) {
        struct crypt_device *cd = NULL;
        int r = crypt_init(&cd, path);

        if (r == 0)
                r = crypt_load(cd, CRYPT_LUKS2, NULL);
        if (r == 0)
                r = act(cd);
        crypt_free(cd);
        if (r < 0)
                fprintf(stderr, "token-host: %s\n", strerrorname_np(-r));
        return r < 0;
}

/* libcryptsetup turns some of its results into others. */
static int open_noted(struct crypt_device *cd, int token, char **ret, size_t *ret_size,
                      void *user) {
        int r = cryptsetup_token_open(cd, token, ret, ret_size, user);

        if (r < 0)
                fprintf(stderr, "plugin: %s\n", strerrorname_np(-r));
        return r;
}

static int open_it(struct crypt_device *cd) {
        return crypt_activate_by_token(cd, NULL, CRYPT_ANY_TOKEN, NULL, 0);
}

static int forge(const char *path, const char *member, const char *value) {
        struct image i = { 0 };

        (void) snprintf(i.path, sizeof(i.path), "%s", path);
        image_forge_value(&i, IMAGE_BOTH, member, value);
        return 0;
}

static int listen_at(const char *path, const char *suffix) {
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        (void) snprintf(at.sun_path, sizeof(at.sun_path), "%s%s", path, suffix);
        (void) unlink(at.sun_path);
        if (fd < 0 || bind(fd, (struct sockaddr *) &at, sizeof(at)) < 0 || listen(fd, 8) < 0)
                return -1;
        return fd;
}

static int deaf(const char *path) {
        struct pollfd on[] = { { .fd = listen_at(path, ".ctrl"), .events = POLLIN },
                               { .fd = listen_at(path, ""), .events = POLLIN } };

        if (on[0].fd < 0 || on[1].fd < 0)
                return 1;
        while (poll(on, ARRAY_SIZE(on), -1) > 0)
                for (unsigned i = 0; i < ARRAY_SIZE(on); i++)
                        if (on[i].revents)
                                (void) close(accept(on[i].fd, NULL, NULL));
        return 1;
}

int main(int argc, char **argv) {
        static const crypt_token_handler handler = { "diskseal", open_noted,
                                                     cryptsetup_token_buffer_free,
                                                     cryptsetup_token_validate,
                                                     cryptsetup_token_dump };

        crypt_set_log_callback(NULL, print, NULL);
        if (argc == 2 && strcmp(argv[1], "folder") == 0)
                return puts(crypt_token_external_path()) < 0;
        if (argc == 5 && strcmp(argv[1], "forge") == 0)
                return forge(argv[2], argv[3], argv[4]);
        if (argc == 3 && strcmp(argv[1], "deaf") == 0)
                return deaf(argv[2]);
        if (argc != 3 || crypt_token_register(&handler) < 0)
                return 2;
        return with(argv[2], strcmp(argv[1], "dump") == 0 ? crypt_dump : open_it);
}
