/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The KEKs of a disk, as a TPM gives them back now, for crash-explore: crash-keys TCTI DEVICE. A
 * line each: the version, and the key in hex. */
#include <stdio.h>

#include "agent/context.h"
#include "agent/disk.h"

static int print_all(struct context *c, const struct token *t, struct refusal *why,
                     struct error *err) {
        for (unsigned i = 0; i < t->entries; i++) {
                const struct kek *kek = &t->entry[i].kek;
                struct secret *key;
                int r = context_kek(c, t->name, kek, &key, why, err);

                if (r != OUTCOME_DONE)
                        return r;
                printf("%u ", kek->version);
                for (size_t k = 0; k < secret_size(key); k++)
                        printf("%02x", secret_data(key)[k]);
                putchar('\n');
        }
        return OUTCOME_DONE;
}

int main(int argc, char **argv) {
        _cleanup_(context_done) struct context c = CONTEXT_INIT;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r;

        if (argc != 3)
                return 2;
        (void) snprintf(c.tcti, sizeof(c.tcti), "%s", argv[1]);
        r = disk_load_enrolled(&(struct luks_source){ argv[2], NULL }, &d, &why, &err);
        if (r == OUTCOME_DONE)
                r = print_all(&c, d.token, &why, &err);
        if (r != OUTCOME_DONE)
                fprintf(stderr, "crash-keys: %s%s\n", why.what, err.text);
        return r != OUTCOME_DONE;
}
