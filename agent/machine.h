/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/context.h"
#include "agent/named-policy.h"
#include "agent/refusal.h"
#include "base/steps.h"
#include "policy/eventlog.h"

/* What this machine's boot has to say for policies: its event log, and the signatures that came
 * with its kernel. */

#define EVENT_LOG "/sys/kernel/security/tpm0/binary_bios_measurements"

struct event_log {
        char *data; /* owned */
        size_t size;
        struct eventlog log;
};

/* agent.conf's EventLog=, else the kernel's; for event_log_done(). Nothing shows yet that it tells
 * the truth. Return: 0; -ENOENT; -EBADMSG; or another fault. */
int machine_event_log(const struct context *c, struct event_log *ret,
                      struct error *err) _warn_unused_;
void event_log_done(struct event_log *l);

/* Whether the boot loader or the kernel measured what it read (PCR 9). */
bool machine_measures_loader(const struct context *c);

/* The name of the best built-in policy that this machine gives: "uki" where a signature is for the
 * UKI that was booted, "distro" where the event log has the boot chain and tells the truth, else
 * "pcr7". */
const char *machine_best_policy(struct context *c);

/* Reads the public key of a signed policy into it. Return: OUTCOME_DONE; OUTCOME_REFUSED; or a
 * fault. */
int machine_read_key(struct named_policy *p, struct refusal *why, struct error *err) _warn_unused_;

/* The signature by a policy's key for the PCRs as they are. @file: empty for where systemd has it.
 * Return: 1; 0 where there's none, or the policy isn't a signed one; or a fault. */
int machine_signature(struct context *c, const char *file, const struct policy *policy,
                      struct signature *ret, struct error *err) _warn_unused_;
/* The same for the PCRs in @state; and for signatures that stand in @text. */
int machine_signature_of(const char *file, const struct policy *policy, const struct pcrs *state,
                         struct signature *ret, struct error *err) _warn_unused_;
int machine_find_signature(const char *text, size_t size, const struct policy *policy,
                           const struct pcrs *state, struct signature *ret,
                           struct error *err) _warn_unused_;
