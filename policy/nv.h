/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/steps.h"

/* What a STEP_NV makes of the policy's digest so far: that the counter is no higher than nv.le
 * (TPM 2.0 Part 3, TPM2_PolicyNV). Return: 0; -EIO, @digest untouched. */
int policy_nv_digest(const struct step *step, uint8_t digest[POLICY_DIGEST_SIZE],
                     struct error *err) _warn_unused_;
