/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "agent/op.h"

void op_policies_done(struct op_policies *p) {
        free(p->policy);
        free(p->name);
        *p = (struct op_policies){ 0 };
}

static int read_now(struct context *c, struct op_policies *all, struct error *err) {
        for (size_t i = 0; i < all->count; i++) {
                int r = context_tpm(c, err);

                if (r == 0)
                        r = tpm_pcr_read(c->tpm, all->policy[i].sealed.bank,
                                         all->policy[i].sealed.mask, &all->policy[i].now, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int list_names(struct context *c, struct op_policies *all, struct error *err) {
        char **names = NULL;
        size_t count;
        int r = named_policy_names(c, &names, &count, err);

        if (r < 0)
                return r;
        all->name = calloc(count + 1, sizeof(*all->name));
        for (size_t i = 0; all->name && i < count; i++) {
                struct op_policy_name *n = &all->name[all->names++];
                struct named_policy p = { 0 };
                struct refusal why = { 0 };
                struct error fault = { 0 };

                (void) snprintf(n->name, sizeof(n->name), "%s", names[i]);
                r = named_policy_find(c, names[i], &p, &why, &fault);
                if (r != OUTCOME_DONE)
                        (void) snprintf(n->damage, sizeof(n->damage), "%.159s",
                                        r < 0 ? fault.text : why.what);
                (void) snprintf(n->from, sizeof(n->from), "%s", r == OUTCOME_DONE ? p.from : "-");
                n->policy = p.policy;
                n->second_factor = p.factor.from != FROM_NONE;
        }
        store_names_free(names, count);
        return all->name ? 0 : error_nomem(err);
}

int op_policy_show(struct context *c, struct op_policies *ret, struct error *err) {
        _cleanup_(op_status_done) struct op_status s = { 0 };
        struct error fault = { 0 };
        int r = op_status_known(c, &s, err);

        if (r != OUTCOME_DONE)
                return r;
        ret->policy = calloc(s.keks + 1, sizeof(*ret->policy));
        if (!ret->policy)
                return error_nomem(err);
        for (size_t i = 0; i < s.keks; i++) {
                struct op_policy *p = &ret->policy[ret->count];

                if (!s.kek[i].has_current)
                        continue;
                (void) snprintf(p->kek, sizeof(p->kek), "%s", s.kek[i].name);
                p->version = s.kek[i].current.version;
                p->sealed = s.kek[i].current.sealed.pcrs;
                (void) policy_of_steps(&s.kek[i].current.steps, &p->policy);
                p->second_factor = s.kek[i].current.factor.kind != FACTOR_NONE;
                ret->count++;
        }
        /* Without a TPM the policies can still be shown; only the comparison is missing. */
        if (read_now(c, ret, &fault) < 0)
                (void) snprintf(ret->tpm_fault, sizeof(ret->tpm_fault), "%s", fault.text);
        r = list_names(c, ret, err);
        context_release_tpm(c);
        return r < 0 ? r : OUTCOME_DONE;
}
