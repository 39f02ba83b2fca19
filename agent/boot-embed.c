/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/mirror.h"
#include "agent/named-policy.h"
#include "base/file.h"

#define COPY_MAX (1024 * 1024)

/* The same path below @root. A file that isn't there isn't missed. */
static int copy(const char *root, const char *path, const char *more, struct error *err) {
        _cleanup_(freep) char *text = NULL, *all = NULL;
        char to[PATH_MAX], folder[PATH_MAX];
        size_t size = 0;
        int n, r = file_read(path, COPY_MAX, &text, &size, err);

        if (r == -ENOENT || r == -ENOTDIR) {
                *err = (struct error){ 0 };
                if (!more[0])
                        return 0;
        } else if (r < 0)
                return r;
        n = asprintf(&all, "%.*s%s", (int) size, text ? text : "", more);
        if (n < 0)
                return error_nomem(err);
        if ((size_t) snprintf(to, sizeof(to), "%s%s", root, path) >= sizeof(to))
                return error_set(err, -ENAMETOOLONG, "%.100s%.100s", root, path);
        (void) snprintf(folder, sizeof(folder), "%.*s", (int) (strrchr(to, '/') - to), to);
        r = file_mkdir(folder, 0755, err);
        return r < 0 ? r : file_write(to, all, (size_t) n, 0644, err);
}

/* A file that a policy may name. */
static int copy_named(const char *root, const char *path, struct error *err) {
        return path[0] ? copy(root, path, "", err) : 0;
}

/* Where the folder is in the file system that it's in: its device's UUID, and the path behind the
 * mount point. Return: false where that isn't a file system of its own with a UUID. */
static bool mirror_place(const char *folder, char ret[256]) {
        _cleanup_(freep) char *real = realpath(folder, NULL);
        char mount[PATH_MAX], device[64], uuid[40];
        struct stat here, above;

        if (!real || stat(real, &here) < 0)
                return false;
        (void) snprintf(mount, sizeof(mount), "%s", real);
        for (char *slash; (slash = strrchr(mount, '/')) && slash > mount;) {
                char parent[PATH_MAX];

                (void) snprintf(parent, sizeof(parent), "%.*s", (int) (slash - mount), mount);
                if (stat(parent, &above) < 0 || above.st_dev != here.st_dev)
                        break;
                *slash = '\0';
        }
        (void) snprintf(device, sizeof(device), "/dev/block/%u:%u", major(here.st_dev),
                        minor(here.st_dev));
        return luks_uuid_of(device, uuid) &&
               snprintf(ret, 256, "UUID=%s%s", uuid, real + strlen(mount)) < 256;
}

static int embed_config(const struct context *c, const char *root, struct error *err) {
        char path[300], folder[MIRROR_PATH], place[256], more[320] = "";

        if (!c->boot_mirror[0] && mirror_folder(c, folder) && mirror_place(folder, place))
                (void) snprintf(more, sizeof(more), "\n[Boot]\nMirror=%s\n", place);
        (void) snprintf(path, sizeof(path), "%s/agent.conf", c->config_dir);
        return copy(root, path, more, err);
}

/* With the public keys and signatures that they name, and never a second factor. */
static int embed_policies(const struct context *c, const char *root, struct error *err) {
        char folder[300], **names = NULL;
        size_t count = 0;
        int r;

        (void) snprintf(folder, sizeof(folder), "%s/policy.d", c->config_dir);
        r = folder_names(folder, ".conf", &names, &count, err);
        for (size_t i = 0; r == 0 && i < count; i++) {
                _cleanup_(freep) char *text = NULL;
                struct named_policy p;
                char path[PATH_MAX];
                size_t size;

                (void) snprintf(path, sizeof(path), "%s/%s.conf", folder, names[i]);
                if ((r = file_read(path, POLICY_FILE_MAX, &text, &size, err)) == 0 &&
                    (r = named_policy_parse(names[i], text, &p, err)) == 0 &&
                    (r = copy(root, path, "", err)) == 0 &&
                    (r = copy_named(root, p.public_key, err)) == 0)
                        r = copy_named(root, p.signature_file, err);
        }
        store_names_free(names, count);
        return r;
}

/* As it's known, but for retired versions: what kek forget ended shall not live on in an initrd. */
static int embed_kek(struct context *c, const char *root, const char *name, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        _cleanup_(freep) char *text = NULL;
        char folder[PATH_MAX];
        int r = context_record(c, name, &record, err);

        if (r < 0)
                return r;
        if (!record->has_current)
                return 0;
        record->retired_count = 0;
        record->generation = 0;
        record->macs = 0;
        (void) snprintf(folder, sizeof(folder), "%s%s/keks", root, c->state_dir);
        r = record_print(record, NULL, &text, err);
        return r < 0 ? r : store_write_text(folder, name, text, err);
}

static int embed_disk(struct context *c, const char *root, const struct state_disk *d,
                      struct error *err) {
        _cleanup_(freep) char *covered = NULL;
        char folder[PATH_MAX];
        int r = embed_kek(c, root, d->kek, err);

        if (r == 0)
                r = state_read_header(c->state_dir, d->uuid, &covered, err);
        if (r < 0 || !covered)
                return r;
        (void) snprintf(folder, sizeof(folder), "%s%s", root, c->state_dir);
        return state_write_header(folder, d->uuid, covered, NULL, err);
}

int op_boot_embed(struct context *c, const char *root, struct error *err) {
        _cleanup_(state_done) struct state all = { 0 }, os = { 0 };
        char folder[PATH_MAX];
        int r = state_read(c->state_dir, &all, err);

        for (size_t i = 0; r == 0 && i < all.count; i++) {
                if (strcmp(all.disks[i].role, ROLE_OS) != 0)
                        continue;
                r = state_put(&os, &all.disks[i], err);
                if (r == 0)
                        r = embed_disk(c, root, &all.disks[i], err);
        }
        (void) snprintf(folder, sizeof(folder), "%s%s", root, c->state_dir);
        if (r == 0 && os.count > 0)
                r = state_write(folder, &os, err);
        if (r == 0)
                r = embed_config(c, root, err);
        return r < 0 ? r : embed_policies(c, root, err);
}
