/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/op.h"
#include "tpm/nv.h"

const char *op_counter_name(enum op_counter_state state) {
        static const char *const names[] = {
                [OP_COUNTER_NONE] = "none",       [OP_COUNTER_UNKNOWN] = "unknown",
                [OP_COUNTER_LIVE] = "live",       [OP_COUNTER_RETIRED] = "retired",
                [OP_COUNTER_MISSING] = "missing", [OP_COUNTER_REPLACED] = "replaced",
        };

        return names[state];
}

const char *op_counter_trouble(enum op_counter_state state) {
        switch (state) {
        case OP_COUNTER_RETIRED: return "its counter in the TPM is beyond this version";
        case OP_COUNTER_MISSING:
                return "its counter isn't in the TPM: somebody removed it, or cleared the TPM";
        case OP_COUNTER_REPLACED: return "something else is in the place of its counter";
        case OP_COUNTER_NONE:
        case OP_COUNTER_UNKNOWN:
        case OP_COUNTER_LIVE: break;
        }
        return NULL;
}

static int look(struct context *c, const struct kek *kek, struct op_counter *ret,
                struct error *err) {
        const struct step *s = kek_counter(kek);
        struct tpm_counter counter = { .index = s->nv.index };
        int r = context_tpm(c, err);

        memcpy(counter.name, s->nv.name, sizeof(counter.name));
        ret->index = s->nv.index;
        ret->le = s->nv.le;
        if (r == 0)
                r = tpm_counter_read(c->tpm, &counter, err);
        if (r < 0)
                return r;
        ret->value = counter.value;
        if (r == TPM_COUNTER_GOOD)
                ret->state = counter.value <= s->nv.le ? OP_COUNTER_LIVE : OP_COUNTER_RETIRED;
        else
                ret->state = r == TPM_COUNTER_MISSING ? OP_COUNTER_MISSING : OP_COUNTER_REPLACED;
        return 0;
}

int op_counters(struct context *c, struct op_status *s, struct error *err) {
        struct error fault = { 0 };

        s->counter = calloc(s->keks + 1, sizeof(*s->counter));
        if (!s->counter)
                return error_nomem(err);
        for (size_t i = 0; i < s->keks; i++) {
                if (!s->kek[i].has_current || !s->kek[i].current.has_counter)
                        continue;
                s->counter[i].state = OP_COUNTER_UNKNOWN;
                if (!fault.errnum) /* without a TPM the rest can still be shown */
                        (void) !look(c, &s->kek[i].current, &s->counter[i], &fault);
        }
        if (fault.errnum)
                (void) snprintf(s->tpm_fault, sizeof(s->tpm_fault), "%s", fault.text);
        context_release_tpm(c);
        return OUTCOME_DONE;
}
