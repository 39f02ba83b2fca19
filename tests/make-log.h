/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/pcr.h"
#include "policy/eventlog.h"

/* Event logs, made byte by byte, and the recorded ones. All functions fail the test on a fault. */

#define MADE_MAX (EVENTLOG_SIZE_MAX + 4096)
/* Sets of banks. SHA-1 is one that isn't ours. */
#define IN_SHA256 (1u << PCR_SHA256)
#define IN_SHA384 (1u << PCR_SHA384)
#define IN_SHA1 (1u << PCR_BANKS)
#define IN_ALL (IN_SHA1 | IN_SHA256 | IN_SHA384)

#define SECURITY_GUID "\xcb\xb2\x19\xd7\x3a\x3d\x96\x45\xa3\xbc\xda\xd0\x0e\x67\x65\x6f"
#define GLOBAL_GUID "\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c"

struct made {
        uint8_t data[MADE_MAX];
        size_t size;
        unsigned banks; /* in which events have a digest */
};

void made_bytes(struct made *m, const void *data, size_t size);
void made_number(struct made *m, uint64_t value, unsigned bytes);
/* UTF-16 with @nuls final NULs. */
void made_wide(struct made *m, const char *ascii, unsigned nuls);

/* Begins a log with a header of these banks. */
void made_header(struct made *m, unsigned banks);
/* An event whose digests are those of @measured; NULL: of its data. */
void made_event(struct made *m, uint32_t pcr, uint32_t type, const void *data, size_t size,
                const char *measured);
/* The same, its data and what was measured being text. */
void made_said(struct made *m, uint32_t pcr, uint32_t type, const char *text, const char *measured);

/* Contents of events, from an empty @ret on. */
void made_variable(struct made *ret, const char *guid, const char *name, const void *data,
                   size_t size);
void made_image(struct made *ret, const char *path); /* NULL: a UKI's kernel */
void made_tag(struct made *ret, uint32_t id, const char *text);

void made_parse(const struct made *m, struct eventlog *ret);
/* What a PCR is after digests of these texts; they end with NULL. */
void made_value(enum pcr_bank bank, const char *const *measured, uint8_t ret[PCR_SIZE_MAX]);
void made_digest(enum pcr_bank bank, const void *data, size_t size, uint8_t ret[PCR_SIZE_MAX]);

/* A recorded boot. */
void recorded_log(const char *name, struct made *ret, struct eventlog *ret_log);
void recorded_pcrs(const char *name, enum pcr_bank bank, struct pcrs *ret);
