/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/kek-policy.h"
#include "agent/machine.h"
#include "agent/op.h"

void op_checks_done(struct op_checks *c) {
        free(c->check);
        *c = (struct op_checks){ 0 };
}

static _printf_(3, 4) void say(struct op_check *k, enum op_outlook outlook, const char *fmt, ...) {
        va_list ap;

        k->outlook = outlook;
        va_start(ap, fmt);
        (void) vsnprintf(k->reason, sizeof(k->reason), fmt, ap);
        va_end(ap);
}

/* Of @mask, those that differ. */
static uint32_t differing(const struct pcrs *a, const struct pcrs *b, uint32_t mask) {
        uint32_t differ = 0;

        for (unsigned n = 0; n < PCR_COUNT; n++)
                if ((mask & (1u << n)) && memcmp(a->value[n], b->value[n], pcr_size(a->bank)) != 0)
                        differ |= 1u << n;
        return differ;
}

/* The signature of the UKI that's to be booted, which systemd-stub puts in its place. */
static int find_signature(struct context *c, const struct kek *kek, const struct op_check *k,
                          const struct op_next_boot *next, const struct pcrs *state,
                          struct error *err) {
        _cleanup_(freep) char *text = NULL;
        struct signature found;
        size_t size = 0;
        int r = 0;

        if (next && next->uki) {
                r = op_uki_signatures(next->uki, &text, &size, err);
                if (r == 0 && size > 0)
                        r = machine_find_signature(text, size, &k->policy, state, &found, err);
        }
        return r != 0 ? r : kek_policy_signature_of(c, kek, state, &found, err);
}

static int judge(struct context *c, const struct kek *kek, const struct op_next_boot *next,
                 const struct pcrs *state, struct op_check *k, struct error *err) {
        uint32_t differ = 0;
        char list[PCR_TEXT_MAX];
        int r = 1;

        if (k->policy.kind != POLICY_PREDICTED)
                differ = differing(state, &kek->sealed.pcrs, k->policy.pcr_mask);
        if (k->policy.kind == POLICY_PREDICTED)
                r = policy_has_alternative(&kek->steps, state, err);
        else if (k->policy.kind == POLICY_SIGNED)
                r = find_signature(c, kek, k, next, state, err);
        if (r < 0)
                return r;
        pcr_mask_format(differ, list);
        if (differ)
                say(k, OP_LOCKED, "PCR %s won't be what it's sealed to", list);
        else if (r == 0 && k->policy.kind == POLICY_SIGNED) {
                pcr_mask_format(k->policy.signed_mask, list);
                say(k, OP_LOCKED, "no signature is for PCR %s as it will be", list);
        } else if (r == 0)
                say(k, OP_LOCKED, "it isn't sealed to that state: diskseal policy predict");
        else
                say(k, OP_OPENS, "%s", "");
        return 0;
}

/* The PCRs of the next boot; without a word on it, those of this one. */
static int next_state(struct context *c, const struct op_next_boot *next, const struct kek *kek,
                      struct pcrs *ret, struct refusal *why, struct error *err) {
        uint32_t mask = steps_recorded(&kek->steps);
        int r;

        if (next) {
                *ret = (struct pcrs){ .bank = kek->steps.bank, .mask = mask };
                return op_predict(c, next, ret, why, err);
        }
        if ((r = context_tpm(c, err)) < 0)
                return r;
        r = tpm_pcr_read(c->tpm, kek->steps.bank, mask, ret, err);
        return r < 0 ? r : OUTCOME_DONE;
}

static int check_one(struct context *c, const struct kek_record *record,
                     const struct op_next_boot *next, struct op_check *k, struct error *err) {
        const struct kek *kek = &record->current;
        struct refusal why = { 0 };
        struct pcrs state;
        int r;

        (void) snprintf(k->kek, sizeof(k->kek), "%s", record->name);
        k->version = kek->version;
        if (!policy_of_steps(&kek->steps, &k->policy)) {
                say(k, OP_LOCKED, "its policy is none of ours");
                return 0;
        }
        k->second_factor = kek->factor.kind != FACTOR_NONE;
        k->finding = policy_finding(&k->policy);
        r = next_state(c, next, kek, &state, &why, err);
        if (r == OUTCOME_REFUSED) {
                say(k, OP_UNKNOWN, "%.120s%s%.100s", why.what, why.details ? ": " : "",
                    why.details ? why.detail[0] : "");
                return 0;
        }
        return r < 0 ? r : judge(c, kek, next, &state, k, err);
}

/* Whatever the PCRs say: a version whose counter went on opens no more. */
static void check_counter(const struct op_counter *counter, struct op_check *k) {
        const char *trouble = op_counter_trouble(counter->state);

        if (trouble)
                say(k, OP_LOCKED, "%s", trouble);
}

int op_policy_check(struct context *c, const char *kek, const struct op_next_boot *next,
                    struct op_checks *ret, struct refusal *why, struct error *err) {
        _cleanup_(op_status_done) struct op_status s = { 0 };
        int r;

        if ((r = op_status_known(c, &s, err)) < 0 || (r = op_counters(c, &s, err)) < 0)
                return r;
        ret->check = calloc(s.keks + 1, sizeof(*ret->check));
        if (!ret->check)
                return error_nomem(err);
        for (size_t i = 0; r == 0 && i < s.keks; i++) {
                if (!s.kek[i].has_current || (kek && strcmp(s.kek[i].name, kek) != 0))
                        continue;
                r = check_one(c, &s.kek[i], next, &ret->check[ret->count], err);
                check_counter(&s.counter[i], &ret->check[ret->count++]);
        }
        context_release_tpm(c);
        if (r == OUTCOME_DONE && kek && ret->count == 0)
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "no KEK named %s is known here", kek);
        return r;
}
