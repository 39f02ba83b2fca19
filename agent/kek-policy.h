/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"
#include "agent/named-policy.h"
#include "agent/refusal.h"

/* What this machine holds the policy of a KEK against, and what the policy wants beside PCRs. */

/* Which policy a KEK must have never comes from the disk: somebody who can seal to this TPM would
 * choose one that says nothing. It's what was recorded when the KEK was made here; of one that
 * isn't recorded what the user says, else what other KEKs here have; and where nothing is recorded,
 * no less than the default. And what a predicted one opens must have been sealed in a state that
 * is known here. Return: OUTCOME_DONE, OUTCOME_REFUSED; or a fault. */
int kek_policy_check(struct context *c, const char *subject, const struct kek *kek,
                     struct refusal *why, struct error *err) _warn_unused_;

/* The policy by which the next version of a recorded KEK is made: the one that its record names,
 * as it is now, else what its steps say. Return: as named_policy_find(). */
int kek_policy_next(struct context *c, const struct kek_record *record, const struct kek *kek,
                    struct named_policy *ret, struct refusal *why, struct error *err) _warn_unused_;

/* The signature for the PCRs as they are, where its policy is a signed one. Return: 1; 0 where
 * there's none; or a fault. */
int kek_policy_signature(struct context *c, const struct kek *kek, struct signature *ret,
                         struct error *err) _warn_unused_;

/* The same for the PCRs in @state. */
int kek_policy_signature_of(struct context *c, const struct kek *kek, const struct pcrs *state,
                            struct signature *ret, struct error *err) _warn_unused_;

/* The second factor that it wants, NULL where none. Borrowed from the context. */
int kek_policy_factor(struct context *c, const char *subject, const struct kek *kek,
                      struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;
/* The same for one that is to be made. */
int kek_policy_new_factor(struct context *c, const struct named_policy *policy, const char *subject,
                          struct secret **ret, struct refusal *why,
                          struct error *err) _warn_unused_;
