/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a boot does with the KEK that it unsealed, the newest that opens, before it shuts the latch;
 * and the end of that boot. hand-over TCTI STATE_DIR DEVICE put|put-key|drop; put-key: without the
 * PCRs of the boot */
#include <stdio.h>
#include <string.h>

#include "agent/context.h"
#include "agent/disk.h"
#include "agent/handover.h"

static int put(struct context *c, const struct kek *kek, struct secret *key, bool with_pcrs) {
        struct pcrs booted = { 0 };
        struct error err = { 0 };
        int r = context_tpm(c, &err);

        if (r == 0)
                r = tpm_pcr_read(c->tpm, kek->sealed.pcrs.bank, HANDOVER_PCRS_MASK, &booted, &err);
        if (r == 0)
                r = handover_put(kek, key, with_pcrs ? &booted : NULL, &err);
        if (r < 0)
                fprintf(stderr, "hand-over: %s\n", err.text);
        return r < 0;
}

int main(int argc, char **argv) {
        _cleanup_(context_done) struct context c = CONTEXT_INIT;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct secret *key = NULL;

        if (argc != 5)
                return 2;
        (void) snprintf(c.tcti, sizeof(c.tcti), "%s", argv[1]);
        (void) snprintf(c.state_dir, sizeof(c.state_dir), "%s", argv[2]);
        if (disk_load_enrolled(&(struct luks_source){ argv[3], NULL }, &d, &why, &err) !=
            OUTCOME_DONE) {
                fprintf(stderr, "hand-over: %s%s\n", why.what, err.text);
                return 1;
        }
        for (unsigned i = 0; i < d.token->entries; i++) {
                const struct kek *kek = &d.token->entry[i].kek;

                if (strcmp(argv[4], "drop") == 0)
                        handover_drop(kek);
                else if (context_kek(&c, "it", kek, &key, &why, &err) == OUTCOME_DONE)
                        return put(&c, kek, key, strcmp(argv[4], "put") == 0);
        }
        if (strcmp(argv[4], "drop") == 0)
                return 0;
        fprintf(stderr, "hand-over: %s%s\n", why.what, err.text);
        return 1;
}
