/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define READ_FIRST 4096 /* bytes of the first buffer */

static void unlink_pathp(char (*path)[PATH_MAX]) {
        if ((*path)[0])
                (void) unlink(*path);
}

int fd_read_all(int fd, void *buf, size_t size, const char *what, struct error *err) {
        for (size_t done = 0; done < size;) {
                ssize_t n = read(fd, (uint8_t *) buf + done, size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "read %s", what);
                if (n == 0)
                        return error_set(err, -ENODATA, "read %s: ended after %zu of %zu bytes",
                                         what, done, size);
                done += (size_t) n;
        }
        return 0;
}

int fd_write_all(int fd, const void *buf, size_t size, const char *what, struct error *err) {
        for (size_t done = 0; done < size;) {
                ssize_t n = write(fd, (const uint8_t *) buf + done, size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "write %s", what);
                done += (size_t) n;
        }
        return 0;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_size, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;
        _cleanup_(freep) char *text = NULL;
        size_t used = 0, room = 0;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return error_errno(err, -errno, "open %s", path);

        /* Room grows with what is there, not with what is allowed: untouched memory costs too when
         * it's wiped. There is always one byte more than was read, for the NUL. */
        for (;;) {
                ssize_t n;

                if (used + 1 >= room) {
                        char *more = realloc(text, room ? 4 * room : READ_FIRST);

                        if (!more)
                                return error_nomem(err);
                        text = more;
                        room = room ? 4 * room : READ_FIRST;
                }
                n = read(fd, text + used, room - 1 - used);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "read %s", path);
                if (n == 0)
                        break;
                used += (size_t) n;
                if (used > max)
                        return error_set(err, -EFBIG, "read %s: larger than %zu bytes", path, max);
        }

        text[used] = '\0';
        *ret_size = used;
        *ret = TAKE(text);
        return 0;
}

/* Read straight into locked memory; the size isn't known before, so two passes over two secrets. */
int file_read_secret(const char *path, size_t max, struct secret **ret, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;
        _cleanup_(secret_freep) struct secret *all = NULL, *exact = NULL;
        size_t used = 0;
        int r;

        fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                    : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return error_errno(err, -errno, "open key file %s", path);
        r = secret_new(max + 1, &all);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a key file of %zu bytes", max);

        while (used <= max) {
                ssize_t n = read(fd, secret_data(all) + used, max + 1 - used);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "read key file %s", path);
                if (n == 0)
                        break;
                used += (size_t) n;
        }
        if (used == 0)
                return error_set(err, -ENODATA, "key file %s is empty", path);
        if (used > max)
                return error_set(err, -EFBIG, "key file %s is larger than %zu bytes", path, max);

        r = secret_new(used, &exact);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a key of %zu bytes", used);
        memcpy(secret_data(exact), secret_data(all), used);
        *ret = TAKE(exact);
        return 0;
}

static int sync_parent(const char *path, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;
        _cleanup_(freep) char *parent = strdup(path);
        char *slash;

        if (!parent)
                return error_nomem(err);
        slash = strrchr(parent, '/');
        if (slash)
                slash[slash == parent ? 1 : 0] = '\0';
        fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return error_errno(err, -errno, "make the folder of %s durable", path);
        return 0;
}

int file_write(const char *path, const void *data, size_t size, mode_t mode, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;
        _cleanup_(unlink_pathp) char temporary[PATH_MAX] = "";
        int n, r;

        n = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
        if (n < 0 || (size_t) n >= sizeof(temporary)) {
                temporary[0] = '\0';
                return error_set(err, -ENAMETOOLONG, "write %s: path too long", path);
        }
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                temporary[0] = '\0';
                return error_errno(err, r, "write %s", path);
        }
        if (fchmod(fd, mode) < 0)
                return error_errno(err, -errno, "write %s", path);
        r = fd_write_all(fd, data, size, path, err);
        if (r < 0)
                return r;
        if (fsync(fd) < 0)
                return error_errno(err, -errno, "make %s durable", path);
        if (rename(temporary, path) < 0)
                return error_errno(err, -errno, "write %s", path);
        temporary[0] = '\0';
        return sync_parent(path, err);
}

int file_mkdir(const char *path, mode_t mode, struct error *err) {
        char part[PATH_MAX];
        size_t length = strlen(path);

        if (length == 0 || length >= sizeof(part))
                return error_set(err, -ENAMETOOLONG, "make folder '%s'", path);
        for (size_t i = 1; i <= length; i++) {
                if (path[i] != '/' && path[i] != '\0')
                        continue;
                memcpy(part, path, i);
                part[i] = '\0';
                if (mkdir(part, mode) < 0 && errno != EEXIST)
                        return error_errno(err, -errno, "make folder %s", part);
        }
        return 0;
}

static int lock(const char *path, int flags, int how, int *ret_fd, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;

        fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_errno(err, -errno, "open lock %s", path);
        while (flock(fd, how) < 0)
                if (errno != EINTR)
                        return error_errno(err, -errno, "take lock %s", path);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int file_lock(const char *path, int *ret_fd, struct error *err) {
        return lock(path, O_RDWR | O_CREAT, LOCK_EX, ret_fd, err);
}

int file_lock_shared(const char *path, int *ret_fd, struct error *err) {
        return lock(path, O_RDONLY, LOCK_SH, ret_fd, err);
}
