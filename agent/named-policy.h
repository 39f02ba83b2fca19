/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/context.h"
#include "agent/refusal.h"
#include "agent/second-factor.h"
#include "policy/policy.h"

/* A policy with a name: CONFIG_DIR/policy.d/NAME.conf, or one of those that are built in. */

struct named_policy {
        char name[NAME_MAX_SIZE]; /* empty: of --pcrs */
        struct policy policy;     /* a signed one's key is read by named_policy_find() */
        bool allow_unmeasured;
        char public_key[256];     /* of a signed one; empty: where systemd has it */
        char signature_file[256]; /* the same */
        struct factor_source factor;
        char from[320]; /* its file, or which one is built in */
};

#define POLICY_DEFAULT "default"
#define POLICY_FILE_MAX (16 * 1024)

/**
 * named_policy_parse() - a policy file
 * @text: in systemd's style, section [Policy]: PCRs=, Bank=, Kind=, PublicKey=, PublicKeyPCRs=,
 *        SignatureFile=, Latch=, AllowUnmeasured=, Pin=, SecondFactor=
 *
 * Return: 0; -EBADMSG with the line, or what doesn't go together; or -ENOMEM.
 */
int named_policy_parse(const char *name, const char *text, struct named_policy *ret,
                       struct error *err) _warn_unused_;

/* The one of that name, with its public key. The default is the best that the machine gives. What
 * is in a file hides what is built in. Return: OUTCOME_DONE; OUTCOME_REFUSED (there's none, or its
 * key isn't there); or a fault. */
int named_policy_find(struct context *c, const char *name, struct named_policy *ret,
                      struct refusal *why, struct error *err) _warn_unused_;

/* The names that there are: those that are built in, and those of files; for store_names_free(). */
int named_policy_names(const struct context *c, char ***ret, size_t *ret_count,
                       struct error *err) _warn_unused_;

/* A literal one of these PCRs, as --pcrs states it. PCR 15 stands for the latch. */
void named_policy_of_pcrs(uint32_t mask, struct named_policy *ret);

/* Why it's less than one could wish for; NULL where it isn't. */
const char *policy_finding(const struct policy *policy);

/* For people: "PCR 7 and latch", "PCRs 4,7, predicted, and latch", "PCR 7, PCR 11 signed". */
#define POLICY_TEXT_MAX 240
void policy_text(const struct policy *policy, char ret[POLICY_TEXT_MAX]);
