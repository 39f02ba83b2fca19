/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/steps.h"

/* A private key that signs policies: in a file, or in a token that doesn't give it away. */
struct signer;

/* Asks somebody for a passphrase or a PIN. @what: for whom it is ("the key /a/b.pem", "the token
 * Policy"), in printable ASCII. Return: 0 and a secret that is the caller's; or a fault. */
struct signer_ask {
        int (*ask)(void *context, const char *what, struct secret **ret, struct error *err);
        void *context; /* handed through */
};

/**
 * signer_open() - get at a private key
 * @key: a file in PEM ("-": standard input), or a PKCS #11 URI (RFC 7512:
 * "pkcs11:token=A;object=B")
 * @ask: for the passphrase of a PEM file that is encrypted, and for the PIN of a token whose URI
 * has neither pin-source= (a file) nor pin-value= (which other users can see in the arguments of
 *       the program); NULL: neither is asked for, and such a key is a fault
 * @ret: for signer_free()
 *
 * The key is of a kind that base/public.h takes. Of a token one key must fit the URI, and one token
 * that has one: nothing is tried out. A PIN is tried once, and not at all where one wrong try more
 * would lock the token. PKCS #11 modules run in this process; which there are p11-kit's
 * configuration says, or module-path= of the URI.
 *
 * Return: 0; -EBADMSG (no key there, a damaged one, several, or a wrong passphrase); -EOPNOTSUPP (a
 * key of another kind, or there is no p11-kit on this system); -EKEYREJECTED (a wrong PIN, or
 * none); or a fault.
 */
int signer_open(const char *key, const struct signer_ask *ask, struct signer **ret,
                struct error *err) _warn_unused_;
struct signer *signer_free(struct signer *s);
DEFINE_CLEANUP(struct signer *, signer_free);

/* The public key, as SubjectPublicKeyInfo in DER; borrowed. */
const uint8_t *signer_public(const struct signer *s, size_t *ret_size);

/* Signs SHA-256 of @data, as public_verify() wants it; and checks the result: a faulty signature
 * can give an RSA key away. @ret: room for SIGNATURE_MAX bytes. Return: 0; or a fault. */
int signer_sign(struct signer *s, const void *data, size_t size, uint8_t *ret, size_t *ret_size,
                struct error *err) _warn_unused_;
