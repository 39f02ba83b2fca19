/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"
#include "agent/state.h"

/* How the OS disk was opened in this boot: RUN_DIR/boot.json, which the initrd leaves to the
 * system. No more than a note: what was measured is in PCR 15. */

enum boot_end {
        BOOT_OPENED,
        BOOT_RECOVERED, /* by the owner's key */
        BOOT_REFUSED,
        BOOT_ENDS
};

struct boot_record {
        enum boot_end end;
        char disk[NAME_MAX_SIZE]; /* empty where it isn't known */
        char kek[NAME_MAX_SIZE];
        uint32_t version;
        char id[40];   /* of the refusal by the TPM: "pcr-mismatch"; empty where it was a fault, or
                        * none */
        char why[256]; /* in words; empty where it was opened by the TPM */
        uint64_t ms;   /* from the start of diskseal-boot */
        char time[TIME_TEXT];
};

int boot_record_write(const struct context *c, const struct boot_record *b,
                      struct error *err) _warn_unused_;
/* Return: 1; 0 where there's none; -EBADMSG; or another fault. */
int boot_record_read(const struct context *c, struct boot_record *ret,
                     struct error *err) _warn_unused_;
