/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/qr.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/file.h"
#include "base/secret.h"

#define LIBRARY "libqrencode.so.4"

/* What <qrencode.h> of version 4 declares, as far as it's used. */
struct qr_code {
        int version;
        int width;
        unsigned char *data; /* width * width modules; the lowest bit: dark */
};
typedef struct qr_code *qr_encode_fn(const char *text, int version, int level);
typedef void qr_free_fn(struct qr_code *code);

#define LEVEL_L 0     /* of error correction: 71 letters fit a terminal of 24 lines with it */
#define ANY_VERSION 0 /* the smallest that fits */
#define WIDTH_MAX 177 /* of version 40 */
#define QUIET 4       /* modules around it that the standard wants */

/* White for terminals of 8 colours, and bright white for those of 16: blocks are light modules. */
#define LINE_BEGIN "\033[37;97;40m"
#define LINE_END "\033[0m\n"
#define BLOCK_MAX 3 /* bytes of one in UTF-8 */

struct qr {
        void *library;
        qr_encode_fn *encode;
        qr_free_fn *free;
        struct qr_code *code;
};

static void qr_done(struct qr *q) {
        if (q->code) {
                if (q->code->data && q->code->width > 0)
                        explicit_bzero(q->code->data,
                                       (size_t) q->code->width * (size_t) q->code->width);
                q->free(q->code);
        }
        if (q->library)
                (void) dlclose(q->library);
}

static bool is_light(const struct qr_code *c, int x, int y) {
        if (x < 0 || y < 0 || x >= c->width || y >= c->width)
                return true;
        return !(c->data[y * c->width + x] & 1);
}

static void append(struct secret *picture, size_t *size, const char *text) {
        size_t n = strlen(text);

        memcpy(secret_data(picture) + *size, text, n);
        *size += n;
}

/* Two rows of modules a line. Behind the last of an odd number comes one more light row. */
static size_t draw(const struct qr_code *c, struct secret *picture) {
        static const char *const blocks[] = { " ", "▄", "▀", "█" };
        size_t size = 0;

        for (int y = -QUIET; y < c->width + QUIET; y += 2) {
                append(picture, &size, LINE_BEGIN);
                for (int x = -QUIET; x < c->width + QUIET; x++)
                        append(picture, &size,
                               blocks[2 * is_light(c, x, y) + is_light(c, x, y + 1)]);
                append(picture, &size, LINE_END);
        }
        return size;
}

int qr_print_by(const char *library, FILE *to, const char *text) {
        _cleanup_(qr_done) struct qr q = { .library = dlopen(library, RTLD_NOW | RTLD_LOCAL) };
        _cleanup_(secret_freep) struct secret *picture = NULL;
        struct error err = { 0 };
        size_t side, lines;
        int r;

        if (!q.library)
                return 0;
        q.encode = (qr_encode_fn *) dlsym(q.library, "QRcode_encodeString8bit");
        q.free = (qr_free_fn *) dlsym(q.library, "QRcode_free");
        if (!q.encode || !q.free)
                return 0;
        q.code = q.encode(text, ANY_VERSION, LEVEL_L);
        if (!q.code || q.code->width <= 0 || q.code->width > WIDTH_MAX)
                return 0;

        side = (size_t) q.code->width + 2 * QUIET;
        lines = (side + 1) / 2;
        r = secret_new(lines * (strlen(LINE_BEGIN) + BLOCK_MAX * side + strlen(LINE_END)),
                       &picture);
        if (r < 0)
                return r;
        /* Past the buffer of @to, which nobody would wipe. */
        if (fflush(to) != 0)
                return -errno;
        return fd_write_all(fileno(to), secret_data(picture), draw(q.code, picture), "a QR code",
                            &err) < 0
                       ? err.errnum
                       : 1;
}

int qr_print(FILE *to, const char *text) {
        return qr_print_by(LIBRARY, to, text);
}
