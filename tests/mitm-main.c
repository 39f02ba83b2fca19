/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tests/mitm.h"

/* mitm --listen SOCKET --tpm SOCKET [--mode MODE] [--at N] [--code HEX] [--times N] [--byte N]
 *      [--rc HEX] [--list FILE] [--traffic FILE]: stands between until it's killed. */

enum { LISTEN = 1, TPM, MODE, AT, CODE, TIMES, BYTE, RC, LIST, TRAFFIC };

static const struct option options[] = {
        { "listen", required_argument, NULL, LISTEN },
        { "tpm", required_argument, NULL, TPM },
        { "mode", required_argument, NULL, MODE },
        { "at", required_argument, NULL, AT },
        { "code", required_argument, NULL, CODE },
        { "times", required_argument, NULL, TIMES },
        { "byte", required_argument, NULL, BYTE },
        { "rc", required_argument, NULL, RC },
        { "list", required_argument, NULL, LIST },
        { "traffic", required_argument, NULL, TRAFFIC },
        { 0 },
};

static bool set(struct mitm_plan *p, int option, const char *value) {
        switch (option) {
        case MODE: return mitm_mode_parse(value, &p->mode);
        case AT: p->at = (unsigned) strtoul(value, NULL, 10); return true;
        case CODE: p->code = (uint32_t) strtoul(value, NULL, 16); return true;
        case TIMES: p->times = (unsigned) strtoul(value, NULL, 10); return true;
        case BYTE: p->byte = (int) strtol(value, NULL, 10); return true;
        case RC: p->rc = (uint32_t) strtoul(value, NULL, 16); return true;
        default: return false;
        }
}

int main(int argc, char **argv) {
        const char *file[TRAFFIC + 1] = { 0 };
        _cleanup_(mitm_freep) struct mitm *m = NULL;
        struct mitm_plan plan = { 0 };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == LISTEN || c == TPM || c == LIST || c == TRAFFIC)
                        file[c] = optarg;
                else if (!set(&plan, c, optarg))
                        return 2;
        }
        if (!file[LISTEN] || !file[TPM])
                return 2;
        m = mitm_new(file[LISTEN], file[TPM]);
        if (!m)
                return 1;
        m->list = file[LIST] ? fopen(file[LIST], "we") : NULL;
        m->traffic = file[TRAFFIC] ? fopen(file[TRAFFIC], "we") : NULL;
        mitm_set(m, plan);
        mitm_serve(m);
        return 0;
}
