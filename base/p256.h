/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/secret.h"

/* ECDSA over P-256 (FIPS 186-5, SP 800-186): keys that sign for the TPM. Another door to OpenSSL;
 * what it copies of a key is cleansed before the call returns. */

#define P256_SIZE 32 /* of a scalar, of a coordinate, of half a signature: big endian, bytes */

struct p256_point {
        uint8_t x[P256_SIZE], y[P256_SIZE];
};

struct p256_signature {
        uint8_t r[P256_SIZE], s[P256_SIZE];
};

/* A new private key: a random scalar of P256_SIZE bytes, the caller's. Return: 0; -EIO; or what
 * secret_new() says. */
int p256_make(struct secret **ret, struct error *err) _warn_unused_;

/* The public key of @key. Return: 0; -EINVAL where that is no scalar (its size, zero, or not below
 * the order of the curve); -EIO. */
int p256_public(struct secret *key, struct p256_point *ret, struct error *err) _warn_unused_;

/* Signs a digest of 32 bytes; another signature each time. Return: 0; -EINVAL as above; -EIO; or
 * what secret_new() says. */
int p256_sign(struct secret *key, const uint8_t digest[P256_SIZE], struct p256_signature *ret,
              struct error *err) _warn_unused_;
