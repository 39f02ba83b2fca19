/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

/* Certificates of endorsement keys (TCG EK Credential Profile), held against certification
 * authorities that somebody trusts. A door to OpenSSL, see base/crypto.h. */

#define CHAIN_DER_MAX 4096 /* bytes of a certificate of an endorsement key */
#define CHAIN_KEY_MAX 600  /* bytes of a public key: RSA of 4096 bits takes 550 */
#define CHAIN_TEXT 120

struct chain; /* what is trusted */

/* Reads trusted roots (certificates that sign themselves) and the intermediate certificates below
 * them: all in the PEM file @path, or, where that's a folder, in its files *.pem and *.crt. Return:
 * 0 and a value for chain_free(); -EBADMSG (a file that is no PEM or has a damaged certificate; no
 * root among them; too many); or a fault of files (-ENOENT …). */
int chain_read(const char *path, struct chain **ret, struct error *err) _warn_unused_;
struct chain *chain_free(struct chain *c);
DEFINE_CLEANUP(struct chain *, chain_free);

enum chain_verdict {
        CHAIN_GOOD = 0,
        CHAIN_UNTRUSTED, /* no chain to a root that is trusted */
        CHAIN_EXPIRED,   /* it, or a certificate of its chain, isn't valid at this time */
        CHAIN_NOT_AN_EK, /* a certificate, but not of an endorsement key that decrypts */
        CHAIN_DAMAGED,   /* no certificate, or not all of it, or more than it */
};

/* What a certificate says of its key. Text is printable ASCII. */
struct chain_ek {
        uint8_t key[CHAIN_KEY_MAX]; /* SubjectPublicKeyInfo, DER */
        size_t key_size;
        char maker[CHAIN_TEXT]; /* "IBM, swtpm": manufacturer and model of the TPM; may be empty */
};

/**
 * chain_check() - whether a trusted authority says that a key is a TPM's endorsement key
 * @der:     the certificate in DER, from a TPM, so hostile; any @size
 * @ret:     filled in on CHAIN_GOOD, untouched otherwise
 * @ret_why: filled in unless CHAIN_GOOD: one line of printable ASCII
 *
 * RFC 5280, section 6, by the clock of this machine, with keys and signatures of at least 112 bits
 * of security and without revocation lists, which TPM makers don't publish for these. EK Credential
 * Profile: its key is RSA of 2048 to 4096 bits for keyEncipherment or EC on P-256 or P-384 for
 * keyAgreement, the extended key usage has tcg-kp-EKCertificate (2.23.133.8.1), and it is no
 * authority itself.
 *
 * Return: enum chain_verdict; -EIO, -ENOMEM.
 */
int chain_check(const struct chain *c, const uint8_t *der, size_t size, struct chain_ek *ret,
                char ret_why[CHAIN_TEXT], struct error *err) _warn_unused_;
