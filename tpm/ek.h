/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tpm/tpm.h"

/* The endorsement key: what a TPM's maker certifies. Its certificates stand in NV indexes, its
 * private part never leaves the TPM, and through it the TPM can show which other keys it has. */

/* Which keys, in the order in which they are best tried (TCG EK Credential Profile 2.5, section
 * 2.2.1.4 and annex B): the low range, then the high one; ECC before RSA, which chips take long to
 * derive. */
#define EK_KINDS 6
#define EK_CERTIFICATE_MAX 4096 /* bytes that are read of one */

/* "ECC P-256", "RSA 2048" … */
const char *tpm_ek_name(unsigned kind);
/* The NV index of its certificate. */
uint32_t tpm_ek_index(unsigned kind);

struct ek_certificate {
        size_t size;
        uint8_t der[EK_CERTIFICATE_MAX]; /* hostile; see base/chain.h */
};

/* Reads the certificate of one kind; what an index has behind it is left out. Return: 1; 0 where
 * there's none; -EIO. */
int tpm_ek_read(struct tpm *t, unsigned kind, struct ek_certificate *ret,
                struct error *err) _warn_unused_;

enum ek_verdict {
        EK_PROVEN = 0,
        EK_MISMATCH, /* this TPM doesn't show that it has both keys */
};

#define EK_TEXT 160

/* A key that is certified, and the one that must be in the same TPM. */
struct ek_claim {
        unsigned kind;
        const uint8_t *key; /* SubjectPublicKeyInfo of the certificate, DER */
        size_t key_size;
        const struct tpm_bytes *srk; /* Name of a storage key, as in struct sealed */
};

/**
 * tpm_ek_prove() - whether a storage key lives in the TPM whose endorsement key is certified
 * @ret_why: filled in on EK_MISMATCH: what is missing, in words
 *
 * The endorsement key is derived from its default template and compared with the certified one.
 * Then a challenge is encrypted here, in software, for the certified key and for the Name of the
 * storage key: only a TPM that has the private parts of both gives it back (Part 3,
 * TPM2_ActivateCredential). So whoever carries the traffic can't stand in for that TPM; but that
 * it's the TPM of this machine, and not another one with a certificate, it doesn't show.
 *
 * Two objects and one session, flushed whatever the result.
 *
 * Return: enum ek_verdict; or -EIO, -EBADMSG (the key is none of those kinds).
 */
int tpm_ek_prove(struct tpm *t, const struct ek_claim *claim, char ret_why[EK_TEXT],
                 struct error *err) _warn_unused_;

/* The Name of the storage key that a new object would get. Return: 0; -EIO. */
int tpm_srk_name(struct tpm *t, struct tpm_bytes *ret, struct error *err) _warn_unused_;
