/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* PCRs and policy steps: the words that policy/ (which computes) and tpm/ (which executes) share.
 * The bank is SHA-256. */

#define PCR_COUNT 24
#define PCR_SIZE 32     /* bytes of a SHA-256 PCR */
#define PCR_TEXT_MAX 80 /* of pcr_mask_format(), with the final NUL */

struct pcrs {
        uint32_t mask; /* bit n: PCR n is selected, and value[n] is set */
        uint8_t value[PCR_COUNT][PCR_SIZE];
};

/* A policy, as the list of what the TPM executes, in this order (TPM 2.0 Part 3, section 23). */
enum step_kind { STEP_PCR };

struct step {
        enum step_kind kind;
        uint32_t pcr_mask; /* STEP_PCR: which PCRs, SHA-256 bank */
};

#define STEPS_MAX 8

struct steps {
        unsigned count;
        struct step step[STEPS_MAX];
};

/* Reads "7" or "0,2,7" into a mask. Return: false unless it is one to 24 distinct numbers below 24,
 * joined by single commas. */
bool pcr_mask_parse(const char *text, uint32_t *ret);

/* Writes @mask as "0,2,7" into @buf. */
void pcr_mask_format(uint32_t mask, char buf[PCR_TEXT_MAX]);
