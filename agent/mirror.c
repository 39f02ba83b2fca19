/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/mirror.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "agent/state.h"
#include "base/file.h"
#include "keys/token.h"

/* A file system of its own that is FAT: what firmware reads. */
static bool is_esp(const char *path) {
        char parent[64];
        struct stat here, above;
        struct statfs fs;

        (void) snprintf(parent, sizeof(parent), "%s/..", path);
        return stat(path, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev &&
               statfs(path, &fs) == 0 && fs.f_type == MSDOS_SUPER_MAGIC;
}

bool mirror_folder(const struct context *c, char ret[MIRROR_PATH]) {
        static const char *const places[] = { "/efi", "/boot/efi", "/boot" };

        if (strcmp(c->mirror, MIRROR_NONE) == 0)
                return false;
        if (c->mirror[0]) {
                (void) snprintf(ret, MIRROR_PATH, "%s", c->mirror);
                return true;
        }
        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                if (is_esp(places[i])) {
                        (void) snprintf(ret, MIRROR_PATH, "%s/diskseal", places[i]);
                        return true;
                }
        return false;
}

/* FAT takes "a" and "A" for one name, KEKs are two: capitals get a sign that no name has. */
static int place(const struct context *c, const char *kek, char ret[PATH_MAX], struct error *err) {
        char folder[MIRROR_PATH];
        size_t n;

        if (!name_valid(kek))
                return error_set(err, -EINVAL, "no record of a KEK can be named '%.40s'", kek);
        if (!mirror_folder(c, folder))
                return error_set(err, -ENOENT, "there's no mirror of KEK records here");
        n = (size_t) snprintf(ret, PATH_MAX, "%s/", folder);
        for (const char *p = kek; *p; p++) {
                if (isupper((unsigned char) *p))
                        ret[n++] = '+';
                ret[n++] = (char) tolower((unsigned char) *p);
        }
        (void) snprintf(ret + n, PATH_MAX - n, ".json");
        return 0;
}

int mirror_wanted(const struct context *c, const char *kek, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        struct error ignored = { 0 };
        char path[PATH_MAX];
        int r;

        if (place(c, kek, path, &ignored) < 0)
                return 0;
        if (access(path, F_OK) == 0)
                return 1;
        r = state_read(c->state_dir, &s, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < s.count; i++)
                if (strcmp(s.disks[i].kek, kek) == 0 && strcmp(s.disks[i].role, ROLE_OS) == 0)
                        return 1;
        return 0;
}

int mirror_read(const struct context *c, const char *kek, struct kek_record *ret,
                struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[PATH_MAX];
        size_t size;
        int r = place(c, kek, path, err);

        if (r < 0)
                return r;
        r = file_read(path, RECORD_MAX, &text, &size, err);
        if (r == -ENOTDIR)
                return error_set(err, -ENOENT, "there's no %s", path);
        if (r == -EFBIG)
                return error_set(err, -EBADMSG, "%s: larger than %d bytes", path, RECORD_MAX);
        if (r < 0)
                return r;
        r = record_parse(text, size, kek, ret, err);
        return r < 0 ? error_prefix(err, "%s", path) : 0;
}

static int read_back(const char *path, const char *text, struct error *err) {
        _cleanup_(freep) char *there = NULL;
        size_t size;
        int r = file_read(path, RECORD_MAX, &there, &size, err);

        if (r < 0)
                return r;
        if (size != strlen(text) || memcmp(there, text, size) != 0)
                return error_set(err, -EIO, "%s: reads back as something else than was written",
                                 path);
        return 0;
}

/* As file_write(), which sets an owner's mode that FAT hasn't got. */
static int replace(const char *folder, const char *path, const char *text, struct error *err) {
        _cleanup_(close_fdp) int fd = -1, dir = -1;
        char temporary[PATH_MAX];
        int n = snprintf(temporary, sizeof(temporary), "%s.new", path), r;

        if (n < 0 || (size_t) n >= sizeof(temporary))
                return error_set(err, -ENAMETOOLONG, "write %s: path too long", path);
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_errno(err, -errno, "write %s", temporary);
        r = fd_write_all(fd, text, strlen(text), temporary, err);
        if (r == 0 && fsync(fd) < 0)
                r = error_errno(err, -errno, "make %s durable", temporary);
        if (r == 0 && rename(temporary, path) < 0)
                r = error_errno(err, -errno, "write %s", path);
        if (r < 0) {
                (void) unlink(temporary);
                return r;
        }
        dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || fsync(dir) < 0)
                return error_errno(err, -errno, "make the folder of %s durable", path);
        return 0;
}

int mirror_write(const struct context *c, const char *kek, const char *text, struct error *err) {
        char folder[MIRROR_PATH], path[PATH_MAX];
        int r = place(c, kek, path, err);

        if (r < 0)
                return r;
        if (!mirror_folder(c, folder))
                return error_set(err, -ENOENT, "there's no mirror of KEK records here");
        /* Not the folders above: where nothing is mounted, nothing is to be made in its place. */
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
                return error_errno(err, -errno, "make folder %s", folder);
        r = replace(folder, path, text, err);
        return r < 0 ? r : read_back(path, text, err);
}
