/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/p256.h"
#include "tpm/tpm.h"

/* A counter in the TPM, which ends old versions of a key: their policies want it to be no higher
 * than it was when they were current (struct step, nv), and it only ever grows. It is an NV index
 * of the owner's, read by anyone, advanced by nobody but the holder of a P-256 key. The owner can
 * undefine it, which locks out; defined again it starts above what any undefined counter of this
 * TPM ever held (Part 3, TPM2_NV_Increment), so what it ended stays ended.
 *
 * Its Name says all of this: which index, its attributes, the key. It can be computed before there
 * is a counter, and whoever reads it under that Name reads this counter or nothing. */

/* Where we put counters: in the owner's range of the registry of reserved handles. */
#define TPM_COUNTER_BASE 0x0180d5e0u
#define TPM_COUNTER_PLACES 16u

/* In one go. More than that was never behind; and each step wears the TPM's memory. */
#define TPM_COUNTER_STRIDE_MAX 1000u

struct tpm_counter {
        uint32_t index;
        uint8_t name[TPM_NAME_SIZE]; /* of the index, once it was written */
        struct tpm_bytes srk;        /* Name of the storage key: which TPM; size 0 for any */
        uint64_t value;              /* when it was last read */
};

enum tpm_counter_verdict {
        TPM_COUNTER_GOOD = 0,
        TPM_COUNTER_MISSING,   /* nothing is defined there */
        TPM_COUNTER_UNWRITTEN, /* ours, but its first write is missing: see tpm_counter_make() */
        TPM_COUNTER_OTHER,     /* something else is there: other attributes, another key */
        TPM_COUNTER_WRONG_KEY, /* the key that we were given isn't the counter's */
        TPM_COUNTER_OTHER_TPM, /* the storage key of this name isn't this TPM's */
};

/* The Name of the counter at @index that @key's holder advances, once it was written (Part 1,
 * section 16). Asks no TPM. Return: 0; -EIO. */
int tpm_counter_name(uint32_t index, const struct p256_point *key, uint8_t ret[TPM_NAME_SIZE],
                     struct error *err) _warn_unused_;

/**
 * tpm_counter_make() - define a counter, and write it for the first time
 * @t:    the TPM
 * @base: where to look for a free place, TPM_COUNTER_PLACES of them; usually TPM_COUNTER_BASE
 * @key:  as from p256_make(): whoever has it may advance the counter; borrowed
 * @c:    in: index, 0 for the first free place from @base on, and srk; out, on TPM_COUNTER_GOOD:
 *        all of it; untouched otherwise
 *
 * Where @key's counter is there already, with its first write or without (after a lost answer, a
 * power cut), that one is taken and completed: so with the same @key it can be called again after
 * every error. The owner hierarchy must have no password. Part 3, TPM2_NV_DefineSpace,
 * TPM2_NV_Increment.
 *
 * Return: TPM_COUNTER_GOOD; TPM_COUNTER_OTHER (something else is at the index asked for);
 *         TPM_COUNTER_OTHER_TPM; -EACCES (the owner hierarchy has a password), -ENOSPC (no place
 *         is free, or the TPM's memory is full), -EINVAL (no NV index, no key), -EIO, -ENOMEM.
 */
int tpm_counter_make(struct tpm *t, uint32_t base, struct secret *key, struct tpm_counter *c,
                     struct error *err) _warn_unused_;

/**
 * tpm_counter_remove() - undefine @key's counter, written or not
 * @t:    the TPM
 * @base: where to look for it, as for tpm_counter_make()
 * @key:  as it was made with; nobody else's counter is touched
 *
 * For one that nothing was sealed to: all that depends on it opens no more. Part 3,
 * TPM2_NV_UndefineSpace, with the owner's empty password.
 *
 * Return: TPM_COUNTER_GOOD; TPM_COUNTER_MISSING (no place has it); -EACCES (the owner hierarchy has
 *         a password), -EINVAL, -EIO, -ENOMEM.
 */
int tpm_counter_remove(struct tpm *t, uint32_t base, struct secret *key,
                       struct error *err) _warn_unused_;

/**
 * tpm_counter_read() - what the counter stands at, and whether it is the one
 * @t: the TPM
 * @c: in: index, name, srk; out, on TPM_COUNTER_GOOD: value
 *
 * The answer comes through a session salted with the storage key, whose HMAC covers the Name and
 * the value; also that there is nothing, or something else, is taken from the TPM alone.
 *
 * Return: TPM_COUNTER_GOOD, _MISSING, _UNWRITTEN, _OTHER, _OTHER_TPM; or -EIO, -ENOMEM.
 */
int tpm_counter_read(struct tpm *t, struct tpm_counter *c, struct error *err) _warn_unused_;

/**
 * tpm_counter_advance() - bring the counter to @to, unless it is there or beyond
 * @t:   the TPM
 * @c:   in: index, name, srk; out, on TPM_COUNTER_GOOD: value, as it was read at last
 * @key: the counter's
 * @to:  at most TPM_COUNTER_STRIDE_MAX above its value
 *
 * It is read before each step, so after any error, also a lost answer, connect anew and call again
 * with the same @to. Two callers at once may both step, and end above @to: take turns. Who carries
 * the traffic can do the same, by letting a step through late that seemed lost: that locks out, as
 * cutting the line does, and opens nothing. The caller has to look at the value: above @to, the
 * version that lived up to @to is dead already.
 *
 * Return: TPM_COUNTER_GOOD; the other verdicts; or -ERANGE (@to is too far above; nothing was
 *         done), -EINVAL, -EIO, -ENOMEM.
 */
int tpm_counter_advance(struct tpm *t, struct tpm_counter *c, struct secret *key, uint64_t to,
                        struct error *err) _warn_unused_;
