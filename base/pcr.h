/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PCRs: the words that policy/ (which computes) and tpm/ (which executes) share. */

#define PCR_COUNT 24
#define PCR_SIZE_MAX 48 /* bytes of a value in the widest bank */
#define PCR_TEXT_MAX 80 /* of pcr_mask_format(), with the final NUL */

enum pcr_bank { PCR_SHA256, PCR_SHA384, PCR_BANKS };

struct pcrs {
        enum pcr_bank bank;
        uint32_t mask;                          /* bit n: PCR n is selected, and value[n] is set */
        uint8_t value[PCR_COUNT][PCR_SIZE_MAX]; /* pcr_size() bytes of each */
};

size_t pcr_size(enum pcr_bank bank);
/* TPM_ALG_SHA256 … (TPM 2.0 Part 2, TPM_ALG_ID). */
uint16_t pcr_bank_id(enum pcr_bank bank);
/* "sha256" */
const char *pcr_bank_name(enum pcr_bank bank);
bool pcr_bank_parse(const char *name, enum pcr_bank *ret);

/* Whether both have the same PCRs of the same bank, with the same values. */
bool pcrs_equal(const struct pcrs *a, const struct pcrs *b);

/* Reads "7" or "0,2,7" into a mask. Return: false unless it is one to 24 distinct numbers below 24,
 * joined by single commas. */
bool pcr_mask_parse(const char *text, uint32_t *ret);

/* Writes @mask as "0,2,7" into @buf. */
void pcr_mask_format(uint32_t mask, char buf[PCR_TEXT_MAX]);
