/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/steps.h"

/* Policies, computed: nothing here talks to a TPM or reads a file. */

/* The steps of a literal policy: the selected PCRs have the values that they had. */
void policy_literal(uint32_t pcr_mask, struct steps *ret);

/* The authPolicy that @steps produce where the PCRs are @pcrs (TPM 2.0 Part 3, TPM2_PolicyPCR).
 * Return: 0; -EINVAL where a step names a PCR that @pcrs doesn't have; or -EIO. */
int policy_digest(const struct steps *steps, const struct pcrs *pcrs,
                  uint8_t ret[POLICY_DIGEST_SIZE], struct error *err) _warn_unused_;

/* Which of @pcrs are all 00 or all FF: nothing was measured into them, so they say nothing. */
uint32_t policy_unmeasured(const struct pcrs *pcrs);
