/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/policy.h"

#include <errno.h>
#include <string.h>

#define LATCH (1u << PCR_LATCH)

static const char *const kinds[POLICY_KINDS] = {
        [POLICY_LITERAL] = "literal",
        [POLICY_SIGNED] = "signed",
        [POLICY_PREDICTED] = "predicted",
};

const char *policy_kind_name(enum policy_kind kind) {
        return kinds[kind];
}

bool policy_kind_parse(const char *name, enum policy_kind *ret) {
        for (unsigned i = 0; i < POLICY_KINDS; i++)
                if (strcmp(name, kinds[i]) == 0) {
                        *ret = (enum policy_kind) i;
                        return true;
                }
        return false;
}

static struct step *add(struct steps *steps, enum step_kind kind) {
        struct step *s = &steps->step[steps->count++];

        *s = (struct step){ .kind = kind };
        return s;
}

static void add_pcr(struct steps *steps, uint32_t mask) {
        if (mask)
                add(steps, STEP_PCR)->pcr_mask = mask;
}

void policy_steps(const struct policy *policy, const struct policy_counter *counter,
                  struct steps *ret) {
        uint32_t latch = policy->latch ? LATCH : 0;

        *ret = (struct steps){ .bank = policy->bank };
        switch (policy->kind) {
        case POLICY_SIGNED:
                add_pcr(ret, policy->signed_mask);
                add(ret, STEP_AUTHORIZE);
                ret->authorize.key_size = policy->key_size;
                memcpy(ret->authorize.key, policy->key, policy->key_size);
                add_pcr(ret, policy->pcr_mask | latch);
                break;
        case POLICY_PREDICTED:
                add_pcr(ret, policy->pcr_mask);
                add(ret, STEP_OR);
                add_pcr(ret, latch);
                break;
        case POLICY_LITERAL:
        case POLICY_KINDS: add_pcr(ret, policy->pcr_mask | latch); break;
        }
        if (counter) {
                struct step *s = add(ret, STEP_NV);

                s->nv.index = counter->index;
                s->nv.le = counter->le;
                memcpy(s->nv.name, counter->name, sizeof(s->nv.name));
        }
        if (policy->pin)
                add(ret, STEP_AUTH);
}

/* The next step, if it's of that kind. */
static const struct step *take(const struct steps *steps, unsigned *at, enum step_kind kind) {
        if (*at == steps->count || steps->step[*at].kind != kind)
                return NULL;
        return &steps->step[(*at)++];
}

/* What stands in front of the counter. */
static bool take_pcrs(const struct steps *steps, unsigned *at, struct policy *ret) {
        const struct step *first = take(steps, at, STEP_PCR), *beside;
        uint32_t latch = 0;

        if (!first || first->pcr_mask == 0 || first->pcr_mask >> PCR_COUNT)
                return false;
        if (take(steps, at, STEP_AUTHORIZE)) {
                /* Nothing that we know uses a reference. */
                if (steps->authorize.ref_size || steps->authorize.key_size > STEP_KEY_MAX)
                        return false;
                ret->kind = POLICY_SIGNED;
                ret->signed_mask = first->pcr_mask;
                ret->key_size = steps->authorize.key_size;
                memcpy(ret->key, steps->authorize.key, ret->key_size);
                beside = take(steps, at, STEP_PCR);
                ret->pcr_mask = beside ? beside->pcr_mask & ~LATCH : 0;
                latch = beside ? beside->pcr_mask & LATCH : 0;
        } else if (take(steps, at, STEP_OR)) {
                ret->kind = POLICY_PREDICTED;
                ret->pcr_mask = first->pcr_mask;
                beside = take(steps, at, STEP_PCR);
                if (beside && beside->pcr_mask != LATCH)
                        return false;
                latch = beside ? LATCH : 0;
        } else {
                ret->pcr_mask = first->pcr_mask & ~LATCH;
                latch = first->pcr_mask & LATCH;
        }
        ret->latch = latch;
        if (ret->kind == POLICY_LITERAL)
                return ret->pcr_mask != 0;
        return !(first->pcr_mask & LATCH) && !(ret->signed_mask & ret->pcr_mask) &&
               !(ret->pcr_mask >> PCR_COUNT);
}

bool policy_of_steps(const struct steps *steps, struct policy *ret) {
        struct policy policy = { .bank = steps->bank };
        unsigned at = 0;

        if (!take_pcrs(steps, &at, &policy))
                return false;
        (void) take(steps, &at, STEP_NV);
        policy.pin = take(steps, &at, STEP_AUTH);
        if (at != steps->count)
                return false;
        *ret = policy;
        return true;
}

bool policy_same(const struct policy *a, const struct policy *b) {
        return a->kind == b->kind && a->bank == b->bank && a->pcr_mask == b->pcr_mask &&
               a->signed_mask == b->signed_mask && a->latch == b->latch && a->pin == b->pin &&
               a->key_size == b->key_size && memcmp(a->key, b->key, a->key_size) == 0;
}

/* The PCRs that the alternatives are about. */
static uint32_t alternatives_mask(const struct steps *steps) {
        return steps->count > 0 && steps->step[0].kind == STEP_PCR ? steps->step[0].pcr_mask : 0;
}

static bool has_digest(const struct steps *steps, const uint8_t digest[POLICY_DIGEST_SIZE]) {
        for (unsigned i = 0; i < steps->alternatives.count; i++)
                if (memcmp(steps->alternatives.digest[i], digest, POLICY_DIGEST_SIZE) == 0)
                        return true;
        return false;
}

int policy_has_alternative(const struct steps *steps, const struct pcrs *state, struct error *err) {
        uint8_t digest[POLICY_DIGEST_SIZE];
        int r = policy_pcr_digest(state, alternatives_mask(steps), digest, err);

        return r < 0 ? r : has_digest(steps, digest);
}

int policy_add_digest(struct steps *steps, const uint8_t digest[POLICY_DIGEST_SIZE]) {
        uint8_t(*list)[POLICY_DIGEST_SIZE] = steps->alternatives.digest;
        unsigned *count = &steps->alternatives.count;

        if (has_digest(steps, digest))
                return 0;
        if (*count == STEP_OR_MAX)
                return POLICY_FULL;
        /* The one that stands there twice makes room. */
        if (*count == 2 && memcmp(list[0], list[1], POLICY_DIGEST_SIZE) == 0)
                *count = 1;
        memcpy(list[(*count)++], digest, POLICY_DIGEST_SIZE);
        if (*count == 1)
                memcpy(list[(*count)++], digest, POLICY_DIGEST_SIZE);
        return 0;
}

int policy_add_alternative(struct steps *steps, const struct pcrs *state, struct error *err) {
        uint8_t digest[POLICY_DIGEST_SIZE];
        int r = policy_pcr_digest(state, alternatives_mask(steps), digest, err);

        return r < 0 ? r : policy_add_digest(steps, digest);
}

uint32_t policy_unmeasured(const struct pcrs *pcrs) {
        uint32_t mask = 0;

        for (unsigned n = 0; n < PCR_COUNT; n++) {
                const uint8_t *v = pcrs->value[n];

                if ((pcrs->mask & (1u << n)) && (v[0] == 0x00 || v[0] == 0xff) &&
                    memcmp(v, v + 1, pcr_size(pcrs->bank) - 1) == 0)
                        mask |= 1u << n;
        }
        return mask;
}
