/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/secret.h"
#include "luks/luks.h"

/* Disk images for tests: plain files in a folder of their own, and what a hostile host would do to
 * their LUKS2 headers. Whatever fails here fails the test. */

struct image {
        char dir[64];
        char path[80]; /* of the image */
};

#define IMAGE_SIZE (24ULL << 20) /* bytes: a header of ours and 8 MiB of data */

/* A sparse file of @size bytes, in which a known pattern stands from 16 MiB on. */
void image_make(struct image *i, uint64_t size);
void image_done(struct image *i);

/* A file beside @disk for its detached header: not made, but removed with @disk. */
void image_header(const struct image *disk, struct image *ret);

struct secret *image_random(size_t size);
struct json *image_parse(const char *text);

/* Reads and writes the image itself. */
void image_read(const struct image *i, uint64_t offset, void *buf, size_t size);
void image_write(const struct image *i, uint64_t offset, const void *buf, size_t size);
void image_sum(const struct image *i, uint64_t from, uint8_t ret[SHA256_SIZE]);

/* Runs a program with its output thrown away. The list ends with NULL. Return: its exit status. */
int image_run(const char *const *argv);
/* Writes @key into a file in the folder of the image. Return: its path, until the next call. */
const char *image_key_file(const struct image *i, struct secret *key);
/* Return: the exit status of `cryptsetup open --test-passphrase`. */
int image_cryptsetup_opens(const struct image *i, struct secret *key);
/* cryptsetup luksFormat at the least cost, with options of its own; the list ends with NULL. */
void image_cryptsetup_format(const struct image *i, struct secret *key, const char *const *options);
extern const char *const image_pbkdf2[]; /* the cheapest options */

/* The size of one copy of the metadata. */
uint64_t image_metadata_size(const struct image *i);
/* The JSON of the first copy. */
struct json *image_json(const struct image *i);

#define IMAGE_FIRST 1u
#define IMAGE_SECOND 2u
#define IMAGE_BOTH 3u

/* Writes @text (NULL: leaves it) as JSON into the copies in @which, adds @add_id to their sequence
 * ids, and makes their checksums good. */
void image_forge(const struct image *i, unsigned which, const char *text, int add_id);
/* The same with one value changed: image_set(). */
void image_forge_value(const struct image *i, unsigned which, const char *path, const char *value);
/* One bit of the checksum. */
void image_damage(const struct image *i, unsigned which);

/* Sets the member at "segments.0.size" to @value, which is JSON; NULL removes it. */
void image_set(struct json *root, const char *path, const char *value);

/* The checked copy of its header, for luks_close(). */
struct luks *image_open(const struct image *i);
