/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <tss2/tss2_tcti.h>

#include "tests/swtpm.h"
#include "tests/test.h"
#include "tpm/internal.h"
#include "tpm/nv.h"

/* What the tests of counters share. */

#define BASE TPM_COUNTER_BASE

enum {
        CC_NV_INCREMENT = 0x134,
        CC_NV_READ = 0x14e,
        CC_POLICY_SIGNED = 0x160,
        CC_NV_READ_PUBLIC = 0x169,
};

/* What passes between ESAPI and the TPM, on the one connection that is tapped. */
struct line {
        TSS2_TCTI_TRANSMIT_FCN transmit;
        TSS2_TCTI_RECEIVE_FCN receive;
        uint32_t last;        /* command code of what was sent last */
        unsigned count, seen; /* commands; those of the target */
        uint32_t target;      /* which commands are meant below; 0 for none */
        unsigned cut_at;      /* the line is cut at that command of all, counted from 1 */
        bool cut_target;      /* or at the target */
        bool answer_only;     /* after the TPM has done it */
        bool dead;            /* it is cut */
        uint32_t answer;      /* this code takes the place of the answer */
        unsigned answers;     /* so many times */
        int flip;             /* byte of the answer whose lowest bit is turned, from its end */
        bool keep, replay;    /* the command; send what was kept in its place */
        uint8_t kept[1024];
        size_t kept_size;
};

extern struct line line;

/* From here on, until the connection ends. */
void tap(struct tpm *t);

/* They fail the test. */
struct tpm *open_tpm(const struct swtpm *s);
struct tpm *reopen(const struct swtpm *s, struct tpm *t);
void close_clean(const struct swtpm *s, struct tpm *t); /* and nothing is left */
struct secret *key_new(void);

/* As in tpm/nv.h; a fault is printed. */
int make(struct tpm *t, struct secret *key, struct tpm_counter *c);
int read_it(struct tpm *t, struct tpm_counter *c);
int advance(struct tpm *t, struct tpm_counter *c, struct secret *key, uint64_t to);

/* By the owner. */
bool undefine(const struct swtpm *s, uint32_t index);
