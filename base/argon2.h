/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"

/* Argon2id (RFC 9106, version 0x13), for what people type. libargon2 does the work, and is seen in
 * base/argon2.c only. */

struct argon2_cost {
        uint32_t memory; /* KiB */
        uint32_t time;   /* passes over it */
        uint32_t lanes;
};

/* A cost comes from a disk that the host may have written, and a machine that boots has to survive
 * it: one pass over 1 GiB takes about a second, so the worst takes some tens of them, and ends. No
 * recommendation of RFC 9106 for so much memory or less (section 4) is out of these bounds. */
#define ARGON2_COST_MEMORY_MAX (1024u * 1024) /* KiB */
#define ARGON2_COST_TIME_MAX 16u
#define ARGON2_COST_LANES_MAX 4u

/* Whether it's within these bounds, and has the 8 KiB for each lane that argon2 can't do without.
 */
bool argon2_cost_valid(const struct argon2_cost *cost);

/* All borrowed. What isn't there is NULL, or of size 0. */
struct argon2_input {
        struct secret *password;
        struct secret *key; /* RFC 9106's secret value K: NULL for none */
        const uint8_t *salt;
        size_t salt_size; /* 8 bytes at least */
        const uint8_t *data;
        size_t data_size; /* associated data X */
};

/**
 * argon2_derive() - stretch a password
 * @size: of the result, 4 to 64 bytes
 * @ret:  a new secret, the caller's; untouched on failure
 *
 * Its memory is locked, left out of core dumps and wiped: what the first blocks hold is a hash of
 * the password that costs next to nothing to try. One thread computes all lanes, since the stacks
 * of threads that libargon2 makes aren't ours to wipe; so more lanes than one gain nothing here.
 *
 * Return: 0; -EINVAL (cost or sizes out of bounds); -ENOMEM (also where it's more than half of the
 * machine's memory), -EPERM, -EAGAIN (no locked memory of this size is to be had); -EIO.
 */
int argon2_derive(const struct argon2_input *in, const struct argon2_cost *cost, size_t size,
                  struct secret **ret, struct error *err) _warn_unused_;
