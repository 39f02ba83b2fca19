/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests/eventlog-peer, what policy/ makes of an event log, on stdout: "BANK PCR VALUE" for each
 * PCR that an event was measured into, then "NUMBER PCR TYPE SIZE" for each event. The exit status
 * is 3 where the log is refused; the reason is on stderr. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/hex.h"
#include "policy/eventlog.h"

#define USAGE 2
#define REFUSED 3

static int print_bank(const struct eventlog *log, enum pcr_bank bank) {
        char hex[2 * PCR_SIZE_MAX + 1];
        struct eventlog_finding why;
        struct error err = { 0 };
        struct pcrs pcrs;

        if (eventlog_replay(log, bank, log->pcrs, &pcrs, &why, &err) != EVENTLOG_OK)
                return -1;
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (pcrs.mask & (1u << n)) {
                        hex_encode(pcrs.value[n], pcr_size(bank), hex);
                        (void) printf("%s %u %s\n", pcr_bank_name(bank), n, hex);
                }
        return 0;
}

int main(int argc, char *argv[]) {
        _cleanup_(freep) char *data = NULL;
        struct error err = { 0 };
        struct eventlog log;
        size_t size;
        int r;

        if (argc != 2)
                return USAGE;
        r = file_read(argv[1], EVENTLOG_SIZE_MAX, &data, &size, &err);
        if (r == 0)
                r = eventlog_parse(data, size, &log, &err);
        if (r < 0) {
                (void) fprintf(stderr, "eventlog-values: %s\n", err.text);
                return r == -EBADMSG ? REFUSED : EXIT_FAILURE;
        }
        for (unsigned bank = 0; bank < PCR_BANKS; bank++)
                if (print_bank(&log, bank) < 0)
                        return EXIT_FAILURE;
        for (struct event e = { 0 }; eventlog_next(&log, &e);)
                (void) printf("%u %u 0x%08x %zu\n", e.number, e.pcr, e.type, e.size);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
