/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/ek.h"

#include <stdio.h>
#include <string.h>

struct check {
        struct tpm *tpm;
        const struct chain *trusted;
        const struct tpm_bytes *srk;
        struct ek_proof *ret;
        struct refusal *why;
        struct error *err;
};

/* Return: OUTCOME_DONE; OUTCOME_REFUSED, with a line that says why; or a fault. */
static int check_one(const struct check *k, unsigned kind, const struct ek_certificate *cert) {
        struct chain_ek ek = { 0 };
        char untrusted[CHAIN_TEXT] = "", unproven[EK_TEXT] = "";
        struct ek_claim claim = { .kind = kind, .key = ek.key, .srk = k->srk };
        int r;

        r = chain_check(k->trusted, cert->der, cert->size, &ek, untrusted, k->err);
        if (r < 0)
                return r;
        if (r != CHAIN_GOOD) {
                refusal_detail(k->why, "%s: %s", tpm_ek_name(kind), untrusted);
                return OUTCOME_REFUSED;
        }
        claim.key_size = ek.key_size;
        r = tpm_ek_prove(k->tpm, &claim, unproven, k->err);
        if (r < 0)
                return r;
        if (r != EK_PROVEN) {
                refusal_detail(k->why, "%s: %s", tpm_ek_name(kind), unproven);
                return OUTCOME_REFUSED;
        }
        k->ret->kind = kind;
        (void) snprintf(k->ret->maker, sizeof(k->ret->maker), "%s", ek.maker);
        return OUTCOME_DONE;
}

/* One that holds is enough: others may be for authorities that aren't trusted here. */
static int check_all(const struct check *k) {
        bool any = false;

        for (unsigned kind = 0; kind < EK_KINDS; kind++) {
                struct ek_certificate cert;
                int r = tpm_ek_read(k->tpm, kind, &cert, k->err);

                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                any = true;
                r = check_one(k, kind, &cert);
                if (r != OUTCOME_REFUSED)
                        return r;
        }
        if (!any)
                refusal_detail(k->why, "the TPM has no certificate of an endorsement key");
        return OUTCOME_REFUSED;
}

int ek_check(struct context *c, const char *subject, const struct tpm_bytes *srk,
             struct ek_proof *ret, struct refusal *why, struct error *err) {
        _cleanup_(chain_freep) struct chain *trusted = NULL;
        struct ek_proof proof = { 0 };
        struct refusal found = { 0 };
        struct check k = { .srk = srk, .ret = &proof, .why = &found, .err = err };
        int r;

        if (!c->ek_roots[0])
                return OUTCOME_DONE;
        r = chain_read(c->ek_roots, &trusted, err);
        if (r < 0)
                return error_prefix(err, "EKRoots");
        r = context_tpm(c, err);
        if (r < 0)
                return r;
        k.tpm = c->tpm;
        k.trusted = trusted;
        refusal_set(&found, REFUSAL_EK,
                    "%s isn't used: nothing shows that this TPM is one that EKRoots= trusts",
                    subject);
        r = check_all(&k);
        if (r == OUTCOME_REFUSED)
                *why = found;
        if (r == OUTCOME_DONE && ret)
                *ret = proof;
        return r;
}
