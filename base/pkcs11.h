/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/error.h"
#include "base/public.h"
#include "base/sign.h"

/* Private keys in PKCS #11 tokens: the only door to p11-kit, which is loaded when the first one is
 * opened. For base/sign.c, which says what holds. */
struct pkcs11;

int pkcs11_open(const char *uri, const struct signer_ask *ask, struct pkcs11 **ret,
                struct error *err) _warn_unused_;
struct pkcs11 *pkcs11_free(struct pkcs11 *p);
DEFINE_CLEANUP(struct pkcs11 *, pkcs11_free);

/* Without .bits. */
const struct public_parts *pkcs11_public(const struct pkcs11 *p);

/* RSA: PKCS #1 v1.5; EC: r and s, each of the size that pkcs11_public() says; of @hash. */
int pkcs11_sign(struct pkcs11 *p, const uint8_t hash[SHA256_SIZE], uint8_t ret[SIGNATURE_MAX],
                size_t *ret_size, struct error *err) _warn_unused_;
