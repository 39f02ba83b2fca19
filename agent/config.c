/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/timespan.h"
#include "base/file.h"

#define CONFIG_MAX (64 * 1024)

static bool take_text(const char *value, char *ret, size_t size) {
        return (size_t) snprintf(ret, size, "%s", value) < size;
}

/* Seconds for a command of the TPM. */
static bool take_deadline(const char *value) {
        char *end;
        unsigned long n = strtoul(value, &end, 10);

        if (end == value || *end || n < 1 || n > 600)
                return false;
        tpm_set_deadline((unsigned) n * 1000);
        return true;
}

/* Of the owner's range (TCG Registry of Reserved TPM 2.0 Handles and Localities). */
static bool take_index(const char *value, uint32_t *ret) {
        char *end;
        unsigned long n = strtoul(value, &end, 0);

        if (end == value || *end || n < 0x01800000 || n > 0x01bfffff)
                return false;
        *ret = (uint32_t) n;
        return true;
}

#define ROTATE_EVERY_MIN 3600 /* seconds: less is a slip of the pen, and wears the TPM's NV out */

static int take_rotation(struct context *c, const char *name, const char *value) {
        uint64_t seconds;

        if (timespan_parse(value, &seconds) < 0)
                return 0;
        if (strcmp(name, "RotateEvery") == 0 && seconds >= ROTATE_EVERY_MIN)
                c->rotate_every = seconds;
        else if (strcmp(name, "RandomizedDelaySec") == 0 && seconds != TIMESPAN_INFINITY)
                c->rotate_delay = seconds;
        else
                return 0;
        return 1;
}

/* inih's callback: 1 where the line is understood. */
static int take(void *user, const char *section, const char *name, const char *value) {
        struct context *c = user;

        if (strcmp(section, "Rotation") == 0)
                return take_rotation(c, name, value);
        if (strcmp(section, "TPM") != 0)
                return 0;
        /* An empty one would switch the check off, and look as if it were on. */
        if (strcmp(name, "EKRoots") == 0)
                return value[0] == '/' && take_text(value, c->ek_roots, sizeof(c->ek_roots));
        if (strcmp(name, "TCTI") == 0)
                return c->tcti[0] || take_text(value, c->tcti, sizeof(c->tcti));
        if (strcmp(name, "EventLog") == 0)
                return take_text(value, c->event_log, sizeof(c->event_log));
        if (strcmp(name, "Deadline") == 0)
                return take_deadline(value);
        if (strcmp(name, "CounterIndex") == 0)
                return take_index(value, &c->counter_index);
        return 0;
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
