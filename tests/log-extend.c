/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of what an event log is held against, the extends of one, in their order, as
 * tpm2_pcrextend takes them, a line "PCR:sha256=DIGEST,sha384=DIGEST" each:
 *
 *   log-extend LOG [--write=FILE] [EVENT=SHA256,SHA384]…
 *
 * The event of that number has these digests instead, in what is printed, and in the log that is
 * written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hex.h"
#include "policy/eventlog.h"

#define USAGE 2

/* Another digest in the place of the one that the log has. */
static bool put(char *data, const struct event *e, const struct eventlog *log, enum pcr_bank bank,
                const char *text) {
        char hex[2 * PCR_SIZE_MAX + 1];
        uint8_t digest[PCR_SIZE_MAX];
        size_t n = 2 * pcr_size(bank);

        if (!e->digest[bank] || strlen(text) < n)
                return false;
        memcpy(hex, text, n);
        hex[n] = '\0';
        if (!hex_decode(hex, digest, pcr_size(bank)))
                return false;
        memcpy(data + (e->digest[bank] - log->data), digest, pcr_size(bank));
        return true;
}

static bool replace(char *data, const struct eventlog *log, const char *what) {
        char *rest;
        unsigned long number = strtoul(what, &rest, 10);
        const char *comma = strchr(rest, ',');

        if (*rest != '=' || !comma)
                return false;
        for (struct event e = { 0 }; eventlog_next(log, &e);)
                if (e.number == number)
                        return put(data, &e, log, PCR_SHA256, rest + 1) &&
                               put(data, &e, log, PCR_SHA384, comma + 1);
        return false;
}

static void print(const struct eventlog *log) {
        for (struct event e = { 0 }; eventlog_next(log, &e);) {
                char sha256[2 * PCR_SIZE_MAX + 1], sha384[2 * PCR_SIZE_MAX + 1];

                if (!event_measured(&e) || !e.digest[PCR_SHA256] || !e.digest[PCR_SHA384])
                        continue;
                hex_encode(e.digest[PCR_SHA256], pcr_size(PCR_SHA256), sha256);
                hex_encode(e.digest[PCR_SHA384], pcr_size(PCR_SHA384), sha384);
                (void) printf("%u:sha256=%s,sha384=%s\n", e.pcr, sha256, sha384);
        }
}

static bool write_log(const char *path, const char *data, size_t size) {
        FILE *f = fopen(path, "we");
        bool good = f && fwrite(data, 1, size, f) == size;

        return f && fclose(f) == 0 && good;
}

int main(int argc, char *argv[]) {
        _cleanup_(freep) char *data = NULL;
        const char *out = NULL;
        struct error err = { 0 };
        struct eventlog log;
        size_t size;
        int r;

        if (argc < 2)
                return USAGE;
        r = file_read(argv[1], EVENTLOG_SIZE_MAX, &data, &size, &err);
        if (r == 0)
                r = eventlog_parse(data, size, &log, &err);
        if (r < 0) {
                (void) fprintf(stderr, "log-extend: %s\n", err.text);
                return EXIT_FAILURE;
        }
        for (int i = 2; i < argc; i++)
                if (strncmp(argv[i], "--write=", 8) == 0)
                        out = argv[i] + 8;
                else if (!replace(data, &log, argv[i]))
                        return USAGE;
        print(&log);
        if (out && !write_log(out, data, size))
                return EXIT_FAILURE;
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
