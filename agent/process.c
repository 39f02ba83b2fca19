/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/process.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

void process_harden(void) {
        const struct rlimit none = { 0 };

        (void) prctl(PR_SET_DUMPABLE, 0);
        (void) setrlimit(RLIMIT_CORE, &none);
        (void) umask(077);
        /* Before there are threads, as argon2 makes them: tpm/ does it only then. */
        (void) setenv("TSS2_LOG", "all+NONE", 0);
        /* A TPM simulator that goes away is a fault to report, not the end of us. */
        (void) signal(SIGPIPE, SIG_IGN);
}
