/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What record.c writes: one record after the other, in the order in which they took effect, from
 * all the processes of a run. */
enum crash_event {
        CRASH_WRITE = 1, /* @size bytes at @offset of @disk; they follow */
        CRASH_FLUSH,     /* an fsync of @disk */
        CRASH_RENAME,    /* a state file was put in place: its path, a NUL, and what is in it */
        CRASH_ADVANCE,   /* the TPM is told to advance a counter */
};

struct crash_record {
        uint32_t event, disk;
        uint64_t offset, size; /* bytes */
};

#define CRASH_DISKS_MAX 8

/* For a program that the recorder is linked into: from here on, writes to @disk are put down in the
 * file @log. */
bool record_begin(int log, int disk);
void record_end(void);
