/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/mirror.h"
#include "agent/timespan.h"
#include "base/file.h"

#define CONFIG_MAX (64 * 1024)
#define LINE_MAX_SIZE (INI_MAX_LINE - 2) /* its buffer holds a newline and a NUL, too */

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

/* One less than a record holds: the one that's being retired comes before others go. */
static bool take_versions(const char *value, uint32_t *ret) {
        char *end;
        unsigned long n = strtoul(value, &end, 10);

        if (*value < '0' || *value > '9' || *end || n > RETIRED_MAX - 1)
                return false;
        *ret = (uint32_t) n;
        return true;
}

static bool take_archive(struct context *c, const char *name, const char *value) {
        if (strcmp(name, "RetainVersions") == 0)
                return take_versions(value, &c->retain.versions);
        if (strcmp(name, "RetainFor") == 0)
                return timespan_parse(value, &c->retain.seconds) == 0;
        if (strcmp(name, "Mirror") == 0)
                return (value[0] == '/' || strcmp(value, MIRROR_NONE) == 0) &&
                       take_text(value, c->mirror, sizeof(c->mirror));
        return false;
}

static int take_rotation(struct context *c, const char *name, const char *value) {
        uint64_t seconds;

        if (timespan_parse(value, &seconds) < 0)
                return 0;
        if (strcmp(name, "RotateEvery") == 0 && seconds > 0)
                c->rotate_every = seconds;
        else if (strcmp(name, "RandomizedDelaySec") == 0 && seconds != TIMESPAN_INFINITY)
                c->rotate_delay = seconds;
        else
                return 0;
        return 1;
}

static bool take_boot(struct context *c, const char *name, const char *value) {
        if (strcmp(name, "Disk") == 0)
                return value[0] && take_text(value, c->boot_disk, sizeof(c->boot_disk));
        if (strcmp(name, "Mirror") == 0)
                return strncmp(value, "UUID=", 5) == 0 && strchr(value, '/') &&
                       take_text(value, c->boot_mirror, sizeof(c->boot_mirror));
        if (strcmp(name, "Timeout") == 0)
                return timespan_parse(value, &c->boot_timeout) == 0;
        return false;
}

/* inih's callback: 1 where the line is understood. */
static int take(void *user, const char *section, const char *name, const char *value) {
        struct context *c = user;

        if (strcmp(section, "Archive") == 0)
                return take_archive(c, name, value);
        if (strcmp(section, "Rotation") == 0)
                return take_rotation(c, name, value);
        if (strcmp(section, "Boot") == 0)
                return take_boot(c, name, value);
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

static int check_lines(const char *text, size_t size, struct error *err) {
        const char *end = text + size;
        unsigned number = 1;

        for (const char *line = text; line < end; number++) {
                const char *newline = memchr(line, '\n', (size_t) (end - line));
                size_t length = (size_t) ((newline ? newline : end) - line);

                if (memchr(line, '\0', length))
                        return error_set(err, -EBADMSG, "line %u: there's a NUL in it", number);
                if (length > LINE_MAX_SIZE)
                        return error_set(err, -EBADMSG, "line %u: longer than %d bytes", number,
                                         LINE_MAX_SIZE);
                line += length + 1;
        }
        return 0;
}

int config_text(const char *path, size_t max, char **ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        struct stat st;
        size_t size;
        int r;

        /* A pipe would keep us waiting for whoever writes to it. */
        if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
                return error_set(err, -EBADMSG, "%s: it isn't a regular file", path);
        r = file_read(path, max, &text, &size, err);
        if (r < 0)
                return r;
        r = check_lines(text, size, err);
        if (r < 0)
                return error_prefix(err, "%s", path);
        *ret = TAKE(text);
        return 0;
}

int config_read(struct context *c, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[300];
        int r;

        (void) snprintf(path, sizeof(path), "%s/agent.conf", c->config_dir);
        r = config_text(path, CONFIG_MAX, &text, err);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r < 0)
                return r;
        r = ini_parse_string(text, take, c);
        if (r > 0)
                return error_set(err, -EBADMSG, "%s, line %d: not understood", path, r);
        return r < 0 ? error_nomem(err) : 0;
}
