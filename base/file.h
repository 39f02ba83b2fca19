/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/secret.h"

/* Files whose writes are whole and durable, or didn't happen. */

/* Reads all of @path, at most @max bytes, into @ret (for free(), with a NUL behind it).
 * Return: 0; -EFBIG, -ENOMEM, or the errno of open(2) and read(2) (-ENOENT …). */
int file_read(const char *path, size_t max, char **ret, size_t *ret_size,
              struct error *err) _warn_unused_;

/* The same into a secret, for key files. "-" is standard input. -ENODATA where it's empty. */
int file_read_secret(const char *path, size_t max, struct secret **ret,
                     struct error *err) _warn_unused_;

/* Replaces @path by @size bytes of @data: a temporary file beside it, written, fsync()ed, renamed
 * over it, and the folder fsync()ed. After a cut there is the old content or the new one. Return:
 * 0, or the errno of what failed; then @path is as it was. */
int file_write(const char *path, const void *data, size_t size, mode_t mode,
               struct error *err) _warn_unused_;

/* Makes the folder and those above it; there already is fine. */
int file_mkdir(const char *path, mode_t mode, struct error *err) _warn_unused_;

/* Waits for, and takes, an exclusive flock(2) on @path, made where it isn't there. Held until
 * @ret_fd is closed. */
int file_lock(const char *path, int *ret_fd, struct error *err) _warn_unused_;
/* The same, shared, of a file that is there already, which is opened for reading alone. Return: 0;
 * -ENOENT; or another fault. */
int file_lock_shared(const char *path, int *ret_fd, struct error *err) _warn_unused_;

/* read(2) and write(2) until all @size bytes are through. @what is for the error text.
 * Return: 0; -ENODATA where the other side ended early; or their errno. */
int fd_read_all(int fd, void *buf, size_t size, const char *what, struct error *err) _warn_unused_;
int fd_write_all(int fd, const void *buf, size_t size, const char *what,
                 struct error *err) _warn_unused_;
