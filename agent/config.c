/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define CONFIG_MAX (64 * 1024)

/* inih's callback: 1 where the line is understood. */
static int take(void *user, const char *section, const char *name, const char *value) {
        struct context *c = user;

        if (strcmp(section, "TPM") != 0)
                return 0;
        /* An empty one would switch the check off, and look as if it were on. */
        if (strcmp(name, "EKRoots") == 0 && value[0] == '/' &&
            strlen(value) < sizeof(c->ek_roots)) {
                (void) snprintf(c->ek_roots, sizeof(c->ek_roots), "%s", value);
                return 1;
        }
        if (strcmp(name, "TCTI") != 0 || strlen(value) >= sizeof(c->tcti))
                return 0;
        if (!c->tcti[0])
                (void) snprintf(c->tcti, sizeof(c->tcti), "%s", value);
        return 1;
}

int config_read(struct context *c, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[300];
        size_t size;
        int r;

        (void) snprintf(path, sizeof(path), "%s/agent.conf", c->config_dir);
        r = file_read(path, CONFIG_MAX, &text, &size, err);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r < 0)
                return r;
        r = ini_parse_string(text, take, c);
        if (r > 0)
                return error_set(err, -EBADMSG, "%s, line %d: not understood", path, r);
        return r < 0 ? error_nomem(err) : 0;
}
