/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/boot-args.h"
#include "fuzz/fuzz.h"

/* The kernel command line. What's taken of it is printable, and fits. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct boot_args args = { 0 };
        struct error err = { 0 };

        if (boot_args_parse((const char *) data, size, &args, &err) == 0)
                MUST(printable(args.disk));
        return 0;
}
