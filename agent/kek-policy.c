/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/kek-policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"

/* A KEK's record, NULL where there's none that can be read. */
static int read_record(struct context *c, const char *name, struct kek_record **ret,
                       struct error *err) {
        int r = context_record(c, name, ret, err);

        if (r != -EBADMSG)
                return r;
        *err = (struct error){ 0 };
        *ret = NULL;
        return 0;
}

/* The policy of its current version. Return: false where there's none. */
static bool policy_of_record(const struct kek_record *record, struct policy *ret) {
        return record && record->has_current && policy_of_steps(&record->current.steps, ret);
}

/* The policy of any KEK that's recorded: @mine if one has that. Return: 1, 0; or a fault. */
static int any_recorded(struct context *c, const struct policy *mine, struct policy *ret,
                        struct error *err) {
        char folder[300], **names = NULL;
        size_t count = 0;
        bool found = false;
        int r;

        context_store(c, folder);
        r = store_names(folder, &names, &count, err);
        for (size_t i = 0; r == 0 && i < count && !(found && policy_same(mine, ret)); i++) {
                _cleanup_(freep) struct kek_record *record = NULL;

                r = read_record(c, names[i], &record, err);
                found |= r == 0 && policy_of_record(record, ret);
        }
        store_names_free(names, count);
        return r < 0 ? r : found;
}

static int refuse(struct refusal *why, const char *subject, const struct kek *kek,
                  const struct policy *has, const char *wanted) {
        char text[POLICY_TEXT_MAX];

        policy_text(has, text);
        return refusal_set(why, REFUSAL_POLICY,
                           "%s stays locked: KEK %s v%u is sealed to %.60s, not to this machine's "
                           "policy, %.60s",
                           subject, kek->name, kek->version, text, wanted);
}

static int refuse_differing(struct refusal *why, const char *subject, const struct kek *kek,
                            const struct policy *has, const struct policy *must) {
        char text[POLICY_TEXT_MAX], wanted[POLICY_TEXT_MAX];

        policy_text(has, text);
        policy_text(must, wanted);
        /* What the text doesn't show. */
        if (strcmp(text, wanted) == 0)
                (void) snprintf(wanted, sizeof(wanted), "with signatures by another key");
        return refuse(why, subject, kek, has, wanted);
}

/* Whoever boots a system of their own can seal to a list that has its state and ours. Known are the
 * states in which this machine sealed itself, and the one that it is in. */
static int check_origin(struct context *c, const char *subject, const struct kek *kek,
                        const struct kek_record *record, struct refusal *why, struct error *err) {
        const struct pcrs *sealed = &kek->sealed.pcrs;
        struct pcrs now;
        int r;

        if (record && record->has_current && pcrs_equal(sealed, &record->current.sealed.pcrs))
                return OUTCOME_DONE;
        if ((r = context_tpm(c, err)) < 0 ||
            (r = tpm_pcr_read(c->tpm, sealed->bank, sealed->mask, &now, err)) < 0)
                return r;
        if (pcrs_equal(sealed, &now))
                return OUTCOME_DONE;
        return refusal_set(
                why, REFUSAL_UNPROVEN,
                "%s stays locked: KEK %s v%u was sealed in a state that isn't known here", subject,
                kek->name, kek->version);
}

/* Of a KEK that nobody knows here: PCR 7 at least; and a key that signs must be the one that this
 * boot brought. */
static int check_unknown(const char *subject, const struct kek *kek, const struct policy *has,
                         struct refusal *why, struct error *err) {
        struct named_policy own = { .policy = { .kind = POLICY_SIGNED } };
        struct refusal ignored = { 0 };
        int r;

        if (!(has->pcr_mask & PCRS_DEFAULT))
                return refuse(why, subject, kek, has, "PCR 7");
        if (has->kind != POLICY_SIGNED)
                return OUTCOME_DONE;
        r = machine_read_key(&own, &ignored, err);
        if (r < 0)
                return r;
        if (r == OUTCOME_DONE && own.policy.key_size == has->key_size &&
            memcmp(own.policy.key, has->key, has->key_size) == 0)
                return OUTCOME_DONE;
        return refuse(why, subject, kek, has, "signatures by this boot's own key");
}

/* Against the one that must be, as far as it's known. */
static int check_known(struct context *c, const char *subject, const struct kek *kek,
                       const struct kek_record *record, struct refusal *why, struct error *err) {
        struct policy has, must;
        int r = 1;

        if (!policy_of_steps(&kek->steps, &has))
                return refusal_set(why, REFUSAL_TOKEN_DAMAGED,
                                   "%s stays locked: KEK %s v%u has a policy that is none of ours",
                                   subject, kek->name, kek->version);
        if (!policy_of_record(record, &must)) {
                if (c->policy)
                        must = c->policy->policy;
                else
                        r = any_recorded(c, &has, &must, err);
        }
        if (r < 0)
                return r;
        if (r == 0)
                r = check_unknown(subject, kek, &has, why, err);
        else if (policy_same(&has, &must))
                r = OUTCOME_DONE;
        else
                r = refuse_differing(why, subject, kek, &has, &must);
        if (r != OUTCOME_DONE)
                return r;
        if (record && record->has_current && record->current.has_counter && !kek->has_counter)
                return refuse(why, subject, kek, &has, "with a counter");
        if (record && record->has_current && record->current.factor.kind != kek->factor.kind)
                return refuse(why, subject, kek, &has, "with another second factor");
        return has.kind == POLICY_PREDICTED ? check_origin(c, subject, kek, record, why, err)
                                            : OUTCOME_DONE;
}

/* Which PCRs a key signs doesn't stand in the object: two tokens may name the same one, and state
 * other steps. */
static bool same_version(const struct kek *a, const struct kek *b) {
        struct policy one, other;

        return kek_equal(a, b) && policy_of_steps(&a->steps, &one) &&
               policy_of_steps(&b->steps, &other) && policy_same(&one, &other);
}

int kek_policy_check(struct context *c, const char *subject, const struct kek *kek,
                     struct refusal *why, struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL;
        int r = read_record(c, kek->name, &record, err);

        if (r < 0)
                return r;
        /* What this machine made itself is what it should be. */
        if (record && ((record->has_current && same_version(kek, &record->current)) ||
                       (record->has_staged && same_version(kek, &record->staged))))
                return OUTCOME_DONE;
        return check_known(c, subject, kek, record, why, err);
}

int kek_policy_next(struct context *c, const struct kek_record *record, const struct kek *kek,
                    struct named_policy *ret, struct refusal *why, struct error *err) {
        struct named_policy p = { 0 };
        int r;

        if (record->policy[0]) {
                r = named_policy_find(c, record->policy, &p, why, err);
                /* The built-in default is what the machine gave when the KEK was made. It doesn't
                 * become less because this boot measured less. */
                if (r != OUTCOME_DONE || strcmp(record->policy, POLICY_DEFAULT) != 0 ||
                    p.from[0] == '/') {
                        if (r == OUTCOME_DONE)
                                *ret = p;
                        return r;
                }
        }
        if (!policy_of_steps(&kek->steps, &p.policy))
                return refusal_set(why, REFUSAL_TOKEN_DAMAGED,
                                   "KEK %s v%u has a policy that is none of ours", kek->name,
                                   kek->version);
        if (kek->factor.kind == FACTOR_PIN)
                p.factor.from = FROM_PIN;
        (void) snprintf(p.name, sizeof(p.name), "%s", record->policy);
        *ret = p;
        return OUTCOME_DONE;
}

/* Empty where it isn't known. Where the record here is lost, the mirror's says it, whom nobody
 * believes: it can but name another policy of this machine, and what is there opens nothing. */
static int name_of_policy(struct context *c, const char *kek, char ret[NAME_MAX_SIZE],
                          struct error *err) {
        _cleanup_(freep) struct kek_record *record = NULL, *mirror = NULL;
        struct error ignored = { 0 };
        int r = read_record(c, kek, &record, err);

        ret[0] = '\0';
        if (r < 0)
                return r;
        if (record && record->has_current)
                (void) snprintf(ret, NAME_MAX_SIZE, "%s", record->policy);
        else if (context_mirror(c, kek, &mirror, &ignored) == 0)
                (void) snprintf(ret, NAME_MAX_SIZE, "%s", mirror->policy);
        return 0;
}

/* Where the files of a KEK's policy are, as far as it's known. */
static int paths_of(struct context *c, const struct kek *kek, struct named_policy *ret,
                    struct error *err) {
        struct refusal ignored = { 0 };
        struct named_policy p = { 0 };
        char name[NAME_MAX_SIZE];
        int r;

        if (c->policy) {
                *ret = *c->policy;
                return 0;
        }
        *ret = p;
        r = name_of_policy(c, kek->name, name, err);
        if (r < 0 || !name[0])
                return r;
        r = named_policy_find(c, name, &p, &ignored, err);
        if (r == OUTCOME_DONE)
                *ret = p;
        return r < 0 ? r : 0;
}

int kek_policy_signature_of(struct context *c, const struct kek *kek, const struct pcrs *state,
                            struct signature *ret, struct error *err) {
        struct named_policy p;
        struct policy policy;
        int r;

        if (!policy_of_steps(&kek->steps, &policy) || policy.kind != POLICY_SIGNED)
                return 0;
        r = paths_of(c, kek, &p, err);
        return r < 0 ? r : machine_signature_of(p.signature_file, &policy, state, ret, err);
}

int kek_policy_signature(struct context *c, const struct kek *kek, struct signature *ret,
                         struct error *err) {
        struct policy policy;
        struct pcrs now;
        int r;

        if (!policy_of_steps(&kek->steps, &policy) || policy.kind != POLICY_SIGNED)
                return 0;
        if ((r = context_tpm(c, err)) < 0 ||
            (r = tpm_pcr_read(c->tpm, policy.bank, policy.signed_mask, &now, err)) < 0)
                return r;
        return kek_policy_signature_of(c, kek, &now, ret, err);
}

static bool same_source(const struct factor_source *a, const struct factor_source *b) {
        return a->from == b->from && a->words == b->words &&
               memcmp(a->text, b->text, sizeof(a->text)) == 0;
}

/* From this run's memory, or from where it is. */
static int get_factor(struct context *c, const struct factor_source *source,
                      const struct factor_request *q, struct secret **ret, struct refusal *why,
                      struct error *err) {
        int r = OUTCOME_DONE;

        if (!c->factor_input || !same_source(&c->factor_source, source)) {
                c->factor_input = secret_free(c->factor_input);
                r = second_factor_get(source, q, &c->factor_input, why, err);
                c->factor_source = *source;
        }
        if (r == OUTCOME_DONE)
                *ret = c->factor_input;
        return r;
}

int kek_policy_factor(struct context *c, const char *subject, const struct kek *kek,
                      struct secret **ret, struct refusal *why, struct error *err) {
        struct named_policy p = { .factor.from = FROM_PIN };
        int r = 0;

        if (kek->factor.kind == FACTOR_NONE)
                return OUTCOME_DONE;
        if (c->unattended && kek->factor.kind == FACTOR_PIN)
                return refusal_set(why, REFUSAL_SECOND_FACTOR,
                                   "%s stays locked: KEK %s v%u wants a PIN, which nobody is "
                                   "asked for now",
                                   subject, kek->name, kek->version);
        if (kek->factor.kind == FACTOR_KEY)
                r = paths_of(c, kek, &p, err);
        if (r < 0)
                return r;
        if (factor_source_kind(&p.factor) != kek->factor.kind)
                return refusal_set(
                        why, REFUSAL_SECOND_FACTOR,
                        "%s stays locked: KEK %s v%u wants a second factor, and no policy "
                        "here says where it is",
                        subject, kek->name, kek->version);
        return get_factor(c, &p.factor, &(struct factor_request){ subject, c->pin_file, false },
                          ret, why, err);
}

int kek_policy_new_factor(struct context *c, const struct named_policy *policy, const char *subject,
                          struct secret **ret, struct refusal *why, struct error *err) {
        if (policy->factor.from == FROM_NONE)
                return OUTCOME_DONE;
        return get_factor(c, &policy->factor,
                          &(struct factor_request){ subject, c->pin_file, true }, ret, why, err);
}
