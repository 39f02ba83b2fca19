/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/secret.h"

/* CMS EnvelopedData (RFC 5652) to the holders of X.509 certificates, with AES-256-CBC (RFC 3565),
 * so that `openssl cms -decrypt -inform DER -inkey KEY` of any OpenSSL opens it. RSA by OAEP with
 * SHA-256 (RFC 3560), EC by ephemeral-static ECDH with SHA-256 (RFC 5753). A door to OpenSSL, see
 * base/crypto.h.
 *
 * The content isn't authenticated: whoever can write to it can put in another one, and a changed
 * bit of the IV changes that bit of the first 16 bytes, and nothing else. So what comes out is
 * worth no more than what it opens: a keyslot refuses a passphrase that isn't its own. Wrong
 * padding, a content that can't be a passphrase, and one that its keyslot refuses, get one and the
 * same answer from the callers: who learnt the difference could read the content, change by change.
 */

#define CMS_RECIPIENTS_MAX 8
#define CMS_SIZE_MAX 8192   /* bytes of DER */
#define CMS_CONTENT_MAX 256 /* bytes that are encrypted */
#define CERTIFICATE_SUBJECT 120

struct certificate; /* one X.509 certificate */

/* Reads the certificates of a PEM file, at most @max, each for certificate_free(). Whether they are
 * valid now isn't looked at: certificate_time(). Return: 0; -EBADMSG (not PEM, no certificate, too
 * many, or a key that is neither RSA of 2048 to 8192 bits nor EC on P-256, P-384 or P-521); or a
 * fault. */
int certificates_read(const char *path, struct certificate **ret, size_t max, size_t *ret_count,
                      struct error *err) _warn_unused_;
struct certificate *certificate_free(struct certificate *c);
DEFINE_CLEANUP(struct certificate *, certificate_free);

/* SHA-256 over the certificate in DER. */
void certificate_fingerprint(const struct certificate *c, uint8_t ret[SHA256_SIZE]);
/* The subject in one line of printable ASCII, "CN=Escrow,O=Example". */
void certificate_subject(const struct certificate *c, char ret[CERTIFICATE_SUBJECT]);

enum certificate_time { CERTIFICATE_VALID, CERTIFICATE_NOT_YET, CERTIFICATE_EXPIRED };
/* @ret_from and @ret_until: "2026-11-24T16:00:00Z"; each may be NULL. */
enum certificate_time certificate_time(const struct certificate *c, char ret_from[24],
                                       char ret_until[24]);

/* Encrypts @plain (at most CMS_CONTENT_MAX bytes) for each of @certs (1 to CMS_RECIPIENTS_MAX).
 * They are named by subject key identifiers where they have one, and aren't copied in. @ret: DER,
 * for free(). Return: 0; -EINVAL (sizes out of range); -EFBIG (over CMS_SIZE_MAX: recipients with
 * large RSA keys); or a fault. */
int cms_encrypt(struct certificate *const *certs, size_t count, struct secret *plain, uint8_t **ret,
                size_t *ret_size, struct error *err) _warn_unused_;

/* The same for a content of any size, which is for others to read: cms_decrypt() doesn't. */
int cms_encrypt_text(struct certificate *const *certs, size_t count, struct secret *plain,
                     uint8_t **ret, size_t *ret_size, struct error *err) _warn_unused_;

enum cms_verdict {
        CMS_OPEN = 0,
        CMS_OTHER_KEY, /* none of its recipients has this key */
        CMS_DAMAGED,   /* not of the kind that we write, or seen to be altered */
};

/* A private key in PEM, for private_key_free(). From the first call on, what OpenSSL keeps of
 * private keys is in its secure heap: call it before there are other threads. "-" is standard
 * input. Return: 0; -EBADMSG (no key, one of another kind than certificates may have, or encrypted
 * with a passphrase, which is never asked for); or a fault. */
struct private_key;
int private_key_read(const char *path, struct private_key **ret, struct error *err) _warn_unused_;
struct private_key *private_key_free(struct private_key *k);
DEFINE_CLEANUP(struct private_key *, private_key_free);

/* From hostile input: the whole of it must have the shape that cms_encrypt() writes, before the key
 * is used. Each recipient whose kind and size fit the key is tried. CMS_DAMAGED is said where the
 * key unwraps, or a recipient is named by it, and the content doesn't open; where a recipient that
 * is named by issuer and serial number was altered, it looks like another key. How a recipient is
 * named isn't protected, and harmless. CMS_OPEN doesn't say that the content is what was encrypted:
 * see above. Return: enum cms_verdict; or a fault. @ret: 1 to CMS_CONTENT_MAX bytes. */
int cms_decrypt(const uint8_t *cms, size_t size, const struct private_key *key, struct secret **ret,
                struct error *err) _warn_unused_;
