/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/named-policy.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/config.h"
#include "agent/machine.h"

static bool take_bool(const char *value, bool *ret) {
        static const char *const yes[] = { "yes", "true", "on", "1" };
        static const char *const no[] = { "no", "false", "off", "0" };

        for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
                if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
                        *ret = strcasecmp(value, yes[i]) == 0;
                        return true;
                }
        return false;
}

static bool take_path(const char *value, char ret[256]) {
        return value[0] == '/' && (size_t) snprintf(ret, 256, "%s", value) < 256;
}

/* What a file said, before it's put together. */
struct draft {
        struct named_policy policy;
        struct error *err;
        bool has_kind, has_signed;
};

static bool take_value(struct draft *d, const char *key, const char *value) {
        struct named_policy *p = &d->policy;

        if (strcmp(key, "PCRs") == 0)
                return !value[0] || pcr_mask_parse(value, &p->policy.pcr_mask);
        if (strcmp(key, "Bank") == 0)
                return pcr_bank_parse(value, &p->policy.bank);
        if (strcmp(key, "Kind") == 0)
                return policy_kind_parse(value, &p->policy.kind);
        if (strcmp(key, "PublicKey") == 0)
                return take_path(value, p->public_key);
        if (strcmp(key, "PublicKeyPCRs") == 0)
                return pcr_mask_parse(value, &p->policy.signed_mask);
        if (strcmp(key, "SignatureFile") == 0)
                return take_path(value, p->signature_file);
        if (strcmp(key, "Latch") == 0)
                return take_bool(value, &p->policy.latch);
        if (strcmp(key, "AllowUnmeasured") == 0)
                return take_bool(value, &p->allow_unmeasured);
        if (strcmp(key, "Pin") == 0)
                return take_bool(value, &p->policy.pin);
        if (strcmp(key, "SecondFactor") == 0)
                return factor_source_parse(value, &p->factor, d->err) == 0;
        return false;
}

/* inih's callback: 1 where the line is understood. */
static int take(void *user, const char *section, const char *key, const char *value) {
        return strcmp(section, "Policy") == 0 && value && take_value(user, key, value);
}

/* What doesn't go together. */
static int check(const struct named_policy *p, struct error *err) {
        const struct policy *q = &p->policy;
        const char *what = NULL;

        if ((q->pcr_mask | q->signed_mask) & (1u << PCR_LATCH))
                what = "PCR 15 is the latch: Latch=yes";
        else if (q->kind != POLICY_SIGNED && q->pcr_mask == 0)
                what = "PCRs= is missing";
        else if (q->kind != POLICY_SIGNED &&
                 (q->signed_mask || p->public_key[0] || p->signature_file[0]))
                what = "PublicKey=, PublicKeyPCRs= and SignatureFile= need Kind=signed";
        else if (q->signed_mask & q->pcr_mask)
                what = "a PCR is in PCRs= and in PublicKeyPCRs=";
        else if (q->pin && p->factor.from != FROM_NONE && p->factor.from != FROM_PIN)
                what = "Pin= and SecondFactor=: only one of them";
        return what ? error_set(err, -EBADMSG, "%s", what) : 0;
}

int named_policy_parse(const char *name, const char *text, struct named_policy *ret,
                       struct error *err) {
        struct draft d = { .policy = { .policy.latch = true }, .err = err };
        struct named_policy *p = &d.policy;
        int r = ini_parse_string(text, take, &d);

        if (r > 0)
                return error_set(err, -EBADMSG, "line %d: not understood", r);
        if (r < 0)
                return error_nomem(err);
        (void) snprintf(p->name, sizeof(p->name), "%s", name);
        if (p->policy.kind == POLICY_SIGNED && !p->policy.signed_mask)
                p->policy.signed_mask = 1u << 11;
        if (p->factor.from == FROM_PIN)
                p->policy.pin = true;
        r = check(p, err);
        if (r < 0)
                return r;
        if (p->policy.pin)
                p->factor.from = FROM_PIN;
        *ret = *p;
        return 0;
}

/* --- those that there are --- */

static const struct {
        const char *name;
        struct policy policy;
} builtin[] = {
        { "uki",
          { .kind = POLICY_SIGNED, .pcr_mask = 1u << 7, .signed_mask = 1u << 11, .latch = true } },
        { "distro", { .kind = POLICY_PREDICTED, .pcr_mask = 1u << 4 | 1u << 7, .latch = true } },
        { "pcr7", { .kind = POLICY_LITERAL, .pcr_mask = 1u << 7, .latch = true } },
};

static int find_builtin(struct context *c, const char *name, struct named_policy *ret,
                        struct error *err) {
        struct named_policy p = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(builtin); i++) {
                if (strcmp(builtin[i].name, name) != 0)
                        continue;
                (void) snprintf(p.name, sizeof(p.name), "%s", name);
                (void) snprintf(p.from, sizeof(p.from), "built in (%s)", name);
                p.policy = builtin[i].policy;
                if (strcmp(name, "distro") == 0 && machine_measures_loader(c))
                        p.policy.pcr_mask |= 1u << 9;
                *ret = p;
                return 0;
        }
        return error_set(err, -ENOENT, "there is no policy named %s", name);
}

static int find_file(struct context *c, const char *name, struct named_policy *ret,
                     struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[320];
        int r;

        (void) snprintf(path, sizeof(path), "%s/policy.d/%s.conf", c->config_dir, name);
        r = config_text(path, POLICY_FILE_MAX, &text, err);
        if (r == 0) {
                r = named_policy_parse(name, text, ret, err);
                if (r == 0)
                        (void) snprintf(ret->from, sizeof(ret->from), "%s", path);
                return r < 0 ? error_prefix(err, "%s", path) : 0;
        }
        return r == -ENOTDIR ? -ENOENT : r;
}

int named_policy_find(struct context *c, const char *name, struct named_policy *ret,
                      struct refusal *why, struct error *err) {
        struct named_policy p;
        int r;

        if (!name_valid(name))
                return refusal_set(why, REFUSAL_NO_POLICY, "no policy can be named '%.60s'", name);
        r = find_file(c, name, &p, err);
        if (r == -ENOENT && strcmp(name, POLICY_DEFAULT) == 0) {
                r = find_builtin(c, machine_best_policy(c), &p, err);
                (void) snprintf(p.name, sizeof(p.name), "%s", POLICY_DEFAULT);
        } else if (r == -ENOENT)
                r = find_builtin(c, name, &p, err);
        if (r == -ENOENT) {
                *err = (struct error){ 0 };
                return refusal_set(why, REFUSAL_NO_POLICY, "there is no policy named %s", name);
        }
        if (r < 0)
                return r;
        if (p.policy.kind == POLICY_SIGNED) {
                r = machine_read_key(&p, why, err);
                if (r != OUTCOME_DONE)
                        return r;
        }
        *ret = p;
        return OUTCOME_DONE;
}

int named_policy_names(const struct context *c, char ***ret, size_t *ret_count, struct error *err) {
        char folder[300], **names = NULL, **more;
        size_t count = 0;
        int r;

        (void) snprintf(folder, sizeof(folder), "%s/policy.d", c->config_dir);
        r = folder_names(folder, ".conf", &names, &count, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i <= ARRAY_SIZE(builtin); i++) {
                const char *name = i == 0 ? POLICY_DEFAULT : builtin[i - 1].name;
                bool there = false;

                for (size_t k = 0; k < count; k++)
                        there |= strcmp(names[k], name) == 0;
                if (there)
                        continue;
                more = reallocarray(names, count + 1, sizeof(*names));
                names = more ? more : names;
                if (!more || !(names[count] = strdup(name))) {
                        store_names_free(names, count);
                        return error_nomem(err);
                }
                count++;
        }
        *ret = names;
        *ret_count = count;
        return 0;
}

const char *policy_finding(const struct policy *policy) {
        if (policy->kind == POLICY_LITERAL && policy->pcr_mask == PCRS_DEFAULT)
                return "PCR 7 alone sees no kernel and no command line";
        if (policy->kind == POLICY_SIGNED && !policy->pcr_mask)
                return "whatever is booted can extend what the key signs: add PCRs=7";
        return policy->latch ? NULL : "without a latch the running system can unseal again";
}

void named_policy_of_pcrs(uint32_t mask, struct named_policy *ret) {
        *ret = (struct named_policy){ .policy = { .pcr_mask = mask & ~(1u << PCR_LATCH),
                                                  .latch = mask & (1u << PCR_LATCH) } };
}

static size_t add_pcrs(char *ret, size_t used, uint32_t mask, const char *behind) {
        char list[PCR_TEXT_MAX];

        if (mask == 0)
                return used;
        pcr_mask_format(mask, list);
        return used + (size_t) snprintf(ret + used, POLICY_TEXT_MAX - used, "%s%s %s%s",
                                        used ? ", " : "", mask & (mask - 1) ? "PCRs" : "PCR", list,
                                        behind);
}

void policy_text(const struct policy *policy, char ret[POLICY_TEXT_MAX]) {
        size_t used = 0;

        ret[0] = '\0';
        used = add_pcrs(ret, used, policy->pcr_mask,
                        policy->kind == POLICY_PREDICTED ? " predicted" : "");
        used = add_pcrs(ret, used, policy->signed_mask, " signed");
        (void) snprintf(ret + used, POLICY_TEXT_MAX - used, "%s%s%s",
                        policy->bank == PCR_SHA384 ? " (sha384)" : "",
                        policy->latch ? " and latch" : "", policy->pin ? ", with a PIN" : "");
}
