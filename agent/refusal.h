/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/pcr.h"
#include "keys/kek.h"
#include "keys/other-token.h"
#include "luks/luks.h"

/* What was refused, why, and what to do: for people, for logs, and by its id for scripts. A refusal
 * is a decision about a sound machine; what is broken is a struct error. */
enum refusal_kind {
        REFUSAL_NONE,
        REFUSAL_PCR_MISMATCH,
        REFUSAL_OTHER_TPM,
        REFUSAL_TPM_LOCKOUT,
        REFUSAL_OBJECT_DAMAGED,
        REFUSAL_UNPROVEN,
        REFUSAL_UNMEASURED,
        REFUSAL_TOKEN_DAMAGED,
        REFUSAL_NO_TOKEN,
        REFUSAL_NOT_LUKS,
        REFUSAL_HEADER,
        REFUSAL_PIN,
        REFUSAL_CHANGED,
        REFUSAL_WRONG_KEY,
        REFUSAL_NO_ROOM,
        REFUSAL_LAST_KEY,
        REFUSAL_SIGNATURE,
        REFUSAL_ENROLLED,
        REFUSAL_NAME_TAKEN,
        REFUSAL_UNKNOWN_DISK,
        REFUSAL_UNCONFIRMED,
        REFUSAL_POLICY_DIFFERS,
        REFUSAL_POLICY,
        REFUSAL_OTHER_DISK,
        REFUSAL_CLONE,
        REFUSAL_NO_SLOT,
        REFUSAL_WHICH_SLOT,
        REFUSAL_NO_ESCROW,
        REFUSAL_ESCROW_KEY,
        REFUSAL_ESCROW_DAMAGED,
        REFUSAL_NO_CERTIFICATE,
        REFUSAL_CERTIFICATE_EXPIRED,
        REFUSAL_NOT_OPEN,
        REFUSAL_NO_KEY,
        REFUSAL_NO_POLICY,
        REFUSAL_UNSIGNED,
        REFUSAL_LATCHED,
        REFUSAL_RETIRED,
        REFUSAL_COUNTER,
        REFUSAL_SECOND_FACTOR,
        REFUSAL_WRONG_PIN,
        REFUSAL_EVENT_LOG,
        REFUSAL_EK,
        REFUSAL_NOT_OS,
        REFUSAL_ARCHIVE,
        REFUSAL_NEEDED,
        REFUSAL_NO_VERSION,
        REFUSAL_LOG,
        REFUSAL_DEPTH,
        REFUSAL_STATES,
        REFUSAL_KINDS
};

#define REFUSAL_DETAILS_MAX 6

struct refusal {
        enum refusal_kind kind;
        char what[240]; /* one line: what stays as it is, and why */
        unsigned details;
        char detail[REFUSAL_DETAILS_MAX][200];
};

/* An operation's result: OUTCOME_DONE, OUTCOME_REFUSED (a struct refusal says why), or a fault. */
enum outcome { OUTCOME_DONE = 0, OUTCOME_REFUSED = 1 };

/* Fills in @r. Return: OUTCOME_REFUSED. */
int refusal_set(struct refusal *r, enum refusal_kind kind, const char *fmt, ...) _printf_(3, 4);
/* Adds a line under it. */
void refusal_detail(struct refusal *r, const char *fmt, ...) _printf_(2, 3);

/* "pcr-mismatch": the heading in diskseal(8), REFUSALS. */
const char *refusal_id(enum refusal_kind kind);
/* What to do, in one or two sentences. */
const char *refusal_advice(enum refusal_kind kind);

/* From the verdicts of the layers below. @subject is the disk or the KEK. */
int refuse_kek(struct refusal *r, const char *subject, const struct kek *kek, int verdict,
               const struct kek_refusal *why);
/* @verdict: of other_token_open(). */
int refuse_other(struct refusal *r, const char *subject, const struct other_token *o, int verdict,
                 const struct tpm_refusal *why);
int refuse_luks(struct refusal *r, const char *subject, int verdict, const struct luks_reason *why);
