/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/public.h"
#include "policy/signature.h"

/* Where systemd looks for what came with the kernel: its own search path, and where the stub puts
 * it for the initrd. */
static const char *const folders[] = { "/etc/systemd", "/run/systemd", "/usr/local/lib/systemd",
                                       "/usr/lib/systemd", "/.extra" };

/* The file that was named, else the first one of systemd's. Return: 0; -ENOENT; or a fault. */
static int read_of_systemd(const char *named, const char *name, size_t max, char **ret,
                           size_t *ret_size, struct error *err) {
        char path[300];
        int r = -ENOENT;

        if (named[0])
                return file_read(named, max, ret, ret_size, err);
        for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(folders); i++) {
                (void) snprintf(path, sizeof(path), "%s/%s", folders[i], name);
                r = file_read(path, max, ret, ret_size, err);
        }
        return r;
}

int machine_read_key(struct named_policy *p, struct refusal *why, struct error *err) {
        _cleanup_(freep) char *pem = NULL;
        size_t size, der_size;
        int r;

        r = read_of_systemd(p->public_key, "tpm2-pcr-public-key.pem", PUBLIC_PEM_MAX, &pem, &size,
                            err);
        if (r == -ENOENT) {
                *err = (struct error){ 0 };
                return refusal_set(why, REFUSAL_NO_POLICY,
                                   "policy %s wants signatures, and its public key isn't there: %s",
                                   p->name[0] ? p->name : "uki",
                                   p->public_key[0] ? p->public_key : "tpm2-pcr-public-key.pem");
        }
        if (r == 0)
                r = public_from_pem(pem, size, p->policy.key, &der_size, err);
        if (r < 0)
                return error_prefix(err, "public key of policy %s", p->name);
        p->policy.key_size = (uint16_t) der_size;
        return OUTCOME_DONE;
}

int machine_find_signature(const char *text, size_t size, const struct policy *policy,
                           const struct pcrs *state, struct signature *ret, struct error *err) {
        _cleanup_(signatures_freep) struct signatures *all = NULL;
        uint8_t approved[POLICY_DIGEST_SIZE];
        struct steps steps;
        int r;

        policy_steps(policy, NULL, &steps);
        if ((r = policy_pcr_digest(state, policy->signed_mask, approved, err)) < 0 ||
            (r = signatures_parse(text, size, &all, err)) < 0 ||
            (r = signatures_find(all, &steps, policy->signed_mask, approved, ret, err)) < 0)
                return error_prefix(err, "signatures of PCRs");
        return r == SIGNATURE_FOUND;
}

int machine_signature_of(const char *file, const struct policy *policy, const struct pcrs *state,
                         struct signature *ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        size_t size;
        int r = read_of_systemd(file, "tpm2-pcr-signature.json", SIGNATURES_SIZE_MAX, &text, &size,
                                err);

        if (r == -ENOENT) {
                *err = (struct error){ 0 };
                return 0;
        }
        return r < 0 ? error_prefix(err, "signatures of PCRs")
                     : machine_find_signature(text, size, policy, state, ret, err);
}

int machine_signature(struct context *c, const char *file, const struct policy *policy,
                      struct signature *ret, struct error *err) {
        struct pcrs now;
        int r;

        if (policy->kind != POLICY_SIGNED)
                return 0;
        if ((r = context_tpm(c, err)) < 0 ||
            (r = tpm_pcr_read(c->tpm, policy->bank, policy->signed_mask, &now, err)) < 0)
                return r;
        return machine_signature_of(file, policy, &now, ret, err);
}

/* --- the event log --- */

int machine_event_log(const struct context *c, struct event_log *ret, struct error *err) {
        const char *path = c->event_log[0] ? c->event_log : EVENT_LOG;
        int r = file_read(path, EVENTLOG_SIZE_MAX, &ret->data, &ret->size, err);

        if (r == 0)
                r = eventlog_parse(ret->data, ret->size, &ret->log, err);
        return r < 0 ? error_prefix(err, "event log") : 0;
}

void event_log_done(struct event_log *l) {
        free(l->data);
        *l = (struct event_log){ 0 };
}

bool machine_measures_loader(const struct context *c) {
        _cleanup_(event_log_done) struct event_log l = { 0 };
        struct error ignored = { 0 };

        return machine_event_log(c, &l, &ignored) == 0 && (eventlog_boot_pcrs(&l.log) & (1u << 9));
}

/* Whether a signature is for the UKI that was booted, by a key that came with it. */
static bool has_signed_uki(struct context *c) {
        struct named_policy p = { .policy = { .kind = POLICY_SIGNED, .signed_mask = 1u << 11 } };
        struct refusal ignored_why = { 0 };
        struct error ignored = { 0 };
        struct signature signature;

        return machine_read_key(&p, &ignored_why, &ignored) == OUTCOME_DONE &&
               machine_signature(c, "", &p.policy, &signature, &ignored) > 0;
}

/* Whether the event log has the boot chain, and tells what was measured. */
static bool has_boot_chain(struct context *c) {
        _cleanup_(event_log_done) struct event_log l = { 0 };
        struct eventlog_finding finding;
        struct error ignored = { 0 };
        struct pcrs now;
        uint32_t mask;

        if (machine_event_log(c, &l, &ignored) < 0 || context_tpm(c, &ignored) < 0)
                return false;
        mask = eventlog_boot_pcrs(&l.log);
        return mask && tpm_pcr_read(c->tpm, PCR_SHA256, mask, &now, &ignored) == 0 &&
               eventlog_check(&l.log, mask, &now, &finding, &ignored) == EVENTLOG_OK;
}

const char *machine_best_policy(struct context *c) {
        if (has_signed_uki(c))
                return "uki";
        return has_boot_chain(c) ? "distro" : "pcr7";
}
