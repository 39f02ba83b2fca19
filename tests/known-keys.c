/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints the keys of a disk, for the test that looks for them where they must not be:
 * known-keys TCTI DEVICE. One line of hex each: every KEK of its token, then the slot secret. */
#include <stdio.h>

#include "agent/context.h"
#include "agent/disk.h"

static void print(struct secret *s) {
        for (size_t i = 0; i < secret_size(s); i++)
                printf("%02x", secret_data(s)[i]);
        putchar('\n');
}

static int failed(const char *step, const struct refusal *why, const struct error *err) {
        (void) fprintf(stderr, "known-keys: %s: %s\n", step, why->kind ? why->what : err->text);
        return 1;
}

int main(int argc, char **argv) {
        _cleanup_(context_done) struct context c = CONTEXT_INIT;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(secret_freep) struct secret *secret = NULL;
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct secret *kek = NULL;

        if (argc != 3)
                return 2;
        (void) snprintf(c.tcti, sizeof(c.tcti), "%s", argv[1]);
        if (disk_load_enrolled(&(struct luks_source){ argv[2], NULL }, &d, &why, &err) !=
            OUTCOME_DONE)
                return failed("the disk", &why, &err);
        for (unsigned i = 0; i < d.token->entries; i++) {
                if (context_kek(&c, "it", &d.token->entry[i].kek, &kek, &why, &err) != OUTCOME_DONE)
                        return failed("its KEK", &why, &err);
                print(kek);
        }
        if (disk_secret(&d, &d.token->entry[d.token->entries - 1], kek, &secret, &why, &err) !=
            OUTCOME_DONE)
                return failed("its secret", &why, &err);
        print(secret);
        return 0;
}
