/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tests/image.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BINARY 4096   /* bytes of the binary header */
#define AT_HDR_SIZE 8 /* where its fields stand: LUKS2 On-Disk Format 1.1 */
#define AT_SEQID 16
#define AT_SUM 448
#define SUM_FIELD 64
#define DATA (16ULL << 20)

static int open_image(const struct image *i, int flags) {
        int fd = open(i->path, flags | O_CLOEXEC, 0600);

        if (fd < 0)
                fail_msg("open %s", i->path);
        return fd;
}

void image_make(struct image *i, uint64_t size) {
        uint8_t pattern[4096];

        (void) snprintf(i->dir, sizeof(i->dir), "%s/diskseal-test-XXXXXX", "/tmp");
        assert_non_null(mkdtemp(i->dir));
        (void) snprintf(i->path, sizeof(i->path), "%s/disk", i->dir);
        close(open_image(i, O_RDWR | O_CREAT));
        assert_int_equal(chmod(i->path, 0600), 0);
        assert_int_equal(truncate(i->path, (off_t) size), 0);
        memset(pattern, 0xd1, sizeof(pattern));
        for (uint64_t at = DATA; at + sizeof(pattern) <= size; at += 1 << 20)
                image_write(i, at, pattern, sizeof(pattern));
}

void image_done(struct image *i) {
        struct image header;
        char key[96];

        (void) snprintf(key, sizeof(key), "%s/key", i->dir);
        (void) unlink(key);
        image_header(i, &header);
        (void) unlink(header.path);
        (void) unlink(i->path);
        (void) rmdir(i->dir);
}

void image_header(const struct image *disk, struct image *ret) {
        *ret = *disk;
        (void) snprintf(ret->path, sizeof(ret->path), "%.64s/header", disk->dir);
}

struct secret *image_random(size_t size) {
        struct secret *key = NULL;
        struct error err = { 0 };

        if (crypto_random_secret(size, &key, &err) < 0)
                fail_msg("%s", err.text);
        return key;
}

struct json *image_parse(const char *text) {
        struct json *j = NULL;
        struct error err = { 0 };

        if (json_parse(text, strlen(text), &j, &err) < 0)
                fail_msg("%s: %s", text, err.text);
        return j;
}

void image_read(const struct image *i, uint64_t offset, void *buf, size_t size) {
        _cleanup_(close_fdp) int fd = open_image(i, O_RDONLY);

        assert_int_equal(pread(fd, buf, size, (off_t) offset), size);
}

void image_write(const struct image *i, uint64_t offset, const void *buf, size_t size) {
        _cleanup_(close_fdp) int fd = open_image(i, O_RDWR);

        assert_int_equal(pwrite(fd, buf, size, (off_t) offset), size);
}

void image_sum(const struct image *i, uint64_t from, uint8_t ret[SHA256_SIZE]) {
        _cleanup_(freep) uint8_t *all = NULL;
        struct error err = { 0 };
        struct stat st;

        assert_int_equal(stat(i->path, &st), 0);
        all = malloc((size_t) st.st_size + 1);
        assert_non_null(all);
        image_read(i, from, all, (size_t) st.st_size - from);
        assert_int_equal(crypto_sha256(all, (size_t) st.st_size - from, ret, &err), 0);
}

int image_run(const char *const *argv) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                int null = open("/dev/null", O_RDWR);

                (void) dup2(null, 1);
                (void) dup2(null, 2);
                (void) execvp(argv[0], (char *const *) argv);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

const char *image_key_file(const struct image *i, struct secret *key) {
        static char path[96];
        _cleanup_(close_fdp) int fd = -1;

        (void) snprintf(path, sizeof(path), "%s/key", i->dir);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, secret_data(key), secret_size(key)), secret_size(key));
        return path;
}

int image_cryptsetup_opens(const struct image *i, struct secret *key) {
        const char *file = image_key_file(i, key);
        const char *const argv[] = { "cryptsetup", "open", "--test-passphrase", "--key-file", file,
                                     i->path,      NULL };

        return image_run(argv);
}

const char *const image_pbkdf2[] = { "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
                                     NULL };

void image_cryptsetup_format(const struct image *i, struct secret *key,
                             const char *const *options) {
        const char *argv[32] = { "cryptsetup", "luksFormat", "-q", i->path };
        unsigned n = 4;

        argv[n++] = image_key_file(i, key);
        while (*options && n < ARRAY_SIZE(argv) - 1)
                argv[n++] = *options++;
        assert_int_equal(image_run(argv), 0);
}

static uint64_t get_be(const uint8_t *p) {
        uint64_t n = 0;

        for (unsigned k = 0; k < 8; k++)
                n = n << 8 | p[k];
        return n;
}

static void put_be(uint8_t *p, uint64_t n) {
        for (unsigned k = 8; k-- > 0; n >>= 8)
                p[k] = (uint8_t) n;
}

uint64_t image_metadata_size(const struct image *i) {
        uint8_t binary[BINARY];

        image_read(i, 0, binary, sizeof(binary));
        return get_be(binary + AT_HDR_SIZE);
}

struct json *image_json(const struct image *i) {
        size_t size = image_metadata_size(i) - BINARY;
        _cleanup_(freep) char *text = calloc(1, size + 1);
        struct error err = { 0 };
        struct json *j = NULL;

        assert_non_null(text);
        image_read(i, BINARY, text, size);
        if (json_parse(text, strlen(text), &j, &err) < 0)
                fail_msg("%s", err.text);
        return j;
}

static void forge_copy(const struct image *i, uint64_t at, size_t size, const char *text,
                       int add_id) {
        _cleanup_(freep) uint8_t *copy = malloc(size);
        uint8_t sum[SHA256_SIZE];
        struct error err = { 0 };

        assert_non_null(copy);
        image_read(i, at, copy, size);
        if (text) {
                assert_true(strlen(text) < size - BINARY);
                memset(copy + BINARY, 0, size - BINARY);
                memcpy(copy + BINARY, text, strlen(text));
        }
        put_be(copy + AT_SEQID, get_be(copy + AT_SEQID) + (uint64_t) add_id);
        memset(copy + AT_SUM, 0, SUM_FIELD);
        assert_int_equal(crypto_sha256(copy, size, sum, &err), 0);
        memcpy(copy + AT_SUM, sum, sizeof(sum));
        image_write(i, at, copy, size);
}

void image_forge(const struct image *i, unsigned which, const char *text, int add_id) {
        uint64_t size = image_metadata_size(i);

        if (which & IMAGE_FIRST)
                forge_copy(i, 0, size, text, add_id);
        if (which & IMAGE_SECOND)
                forge_copy(i, size, size, text, add_id);
}

void image_forge_value(const struct image *i, unsigned which, const char *path, const char *value) {
        _cleanup_(json_freep) struct json *j = image_json(i);
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };

        image_set(j, path, value);
        assert_int_equal(json_text(j, false, &text, &err), 0);
        image_forge(i, which, text, 0);
}

void image_damage(const struct image *i, unsigned which) {
        uint64_t size = image_metadata_size(i);
        uint8_t byte;

        for (unsigned k = 0; k < 2; k++) {
                if (!(which & 1u << k))
                        continue;
                image_read(i, k * size + AT_SUM, &byte, 1);
                byte ^= 1;
                image_write(i, k * size + AT_SUM, &byte, 1);
        }
}

static void add_parsed(struct json *o, const char *key, const char *value) {
        _cleanup_(json_freep) struct json *wrap = NULL;
        char text[1024];
        struct json_iter i = { 0 };

        (void) snprintf(text, sizeof(text), "{\"v\":%s}", value);
        wrap = image_parse(text);
        assert_true(json_next(wrap, &i));
        assert_true(json_add(o, key, json_copy(i.value)));
}

void image_set(struct json *root, const char *path, const char *value) {
        char part[64];
        const char *dot;
        struct json *o = root;
        struct error err = { 0 };

        while ((dot = strchr(path, '.'))) {
                const struct json *next;

                (void) snprintf(part, sizeof(part), "%.*s", (int) (dot - path), path);
                assert_int_equal(json_get(o, part, &next, &err), 0);
                o = (struct json *) next;
                path = dot + 1;
        }
        if (!value) {
                assert_true(json_has(o, path));
                json_remove(o, path);
                return;
        }
        add_parsed(o, path, value);
}

struct luks *image_open(const struct image *i) {
        struct luks *l = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };

        if (luks_open(&(struct luks_source){ i->path, NULL }, &l, &why, &err) != LUKS_OK)
                fail_msg("%s: %s %s", why.rule, why.text, err.text);
        return l;
}
