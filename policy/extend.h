/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"

/* What TPM2_PCR_Extend does to a PCR (TPM 2.0 Part 1, section 17.2): its value becomes the hash of
 * the value and @digest, each of pcr_size(@bank) bytes. They may be the same buffer.
 * Return: 0; or -EIO, @value untouched. */
int pcr_extend(enum pcr_bank bank, uint8_t value[PCR_SIZE_MAX], const uint8_t digest[PCR_SIZE_MAX],
               struct error *err) _warn_unused_;
