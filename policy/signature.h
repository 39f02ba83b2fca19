/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"
#include "base/steps.h"

/* systemd's tpm2-pcr-signature.json, as systemd-measure and ukify write it, and systemd-cryptsetup
 * reads it:
 *
 *   { "sha256": [ { "pcrs": [11], "pkfp": HEX, "ref": TEXT, "pol": HEX, "sig": BASE64 }, … ], … }
 *
 * One array a bank, one entry for a state of the PCRs that a key approves of. pkfp is what
 * public_fingerprint() says; pol the digest of a policy that is one PolicyPCR; ref, which most
 * don't have, names what the approval is for (systemd 262: "initrd"); sig is over SHA-256 of pol
 * and the policyRef, which is SHA-256 of the text of ref, or nothing. Digest and signature are by
 * SHA-256 in each bank (systemd before 260 signed by the bank's own hash; outside of sha256 that's
 * of no use to anybody), and sig is as base/public.h has it. An entry without sig, and with tbs
 * (what is to be signed, in HEX), waits for a signature that is made elsewhere; nobody finds it. */

#define SIGNATURES_SIZE_MAX (64 * 1024) /* bytes of such a file */
#define SIGNATURES_MAX 256              /* entries in our banks */

struct signatures; /* one such file */

/* From hostile text. What isn't known (other banks, other members) is kept and not looked at; an
 * entry without one of the members above isn't found. Return: 0; -EBADMSG (too large, too many, not
 * of this form, or a member stands there twice); or a fault. */
int signatures_parse(const char *text, size_t size, struct signatures **ret,
                     struct error *err) _warn_unused_;
/* One without entries. NULL when out of memory. */
struct signatures *signatures_new(void);
struct signatures *signatures_free(struct signatures *s);
DEFINE_CLEANUP(struct signatures *, signatures_free);

/* As one line of text, for free(), that systemd reads too. -EFBIG where it's over
 * SIGNATURES_SIZE_MAX. */
int signatures_text(const struct signatures *s, char **ret, struct error *err) _warn_unused_;

/* How many entries are signed, in our banks. */
size_t signatures_count(const struct signatures *s);

enum signature_verdict {
        SIGNATURE_FOUND = 0,
        SIGNATURE_NO_KEY,   /* nothing is signed by this key */
        SIGNATURE_NO_STATE, /* it has signed other states, or for another reference */
        SIGNATURE_FORGED,   /* what claims to be its signature isn't */
};

/**
 * signatures_find() - find the approval of a state
 * @steps:    .bank and .authorize: the key, which is what is trusted, and the policyRef
 * @pcr_mask: the PCRs that the approved STEP_PCR looks at
 * @approved: its digest: signature_approved()
 * @ret:      on SIGNATURE_FOUND a signature that was checked; else untouched
 *
 * Where several claim to be it, the first good one is taken.
 * Return: enum signature_verdict; or a fault (-EBADMSG, -EOPNOTSUPP: the key in @steps is none).
 */
int signatures_find(const struct signatures *s, const struct steps *steps, uint32_t pcr_mask,
                    const uint8_t approved[POLICY_DIGEST_SIZE], struct signature *ret,
                    struct error *err) _warn_unused_;

/* Whether it's a signature by the key of @steps over what it says, for the reference of @steps.
 * Return: CRYPTO_GOOD, CRYPTO_FORGED; or a fault. */
int signature_check(const struct steps *steps, const struct signature *signature,
                    struct error *err) _warn_unused_;

/* The digest that is signed for the state @pcrs: of a policy that is one PolicyPCR. */
int signature_approved(const struct pcrs *pcrs, uint8_t ret[POLICY_DIGEST_SIZE],
                       struct error *err) _warn_unused_;

/* Makes the policyRef of the name @text that stands in the file, into .authorize.ref; NULL and "":
 * none. */
int signature_reference(const char *text, struct steps *ret, struct error *err) _warn_unused_;

/* What a signature is over: the digest and the policyRef of @steps (SHA-256 of it is what a TPM
 * calls aHash: Part 3, TPM2_PolicyAuthorize). Return: how many bytes. */
#define SIGNATURE_DATA_MAX (POLICY_DIGEST_SIZE + STEP_REF_MAX)
size_t signature_data(const struct steps *steps, const uint8_t approved[POLICY_DIGEST_SIZE],
                      uint8_t ret[SIGNATURE_DATA_MAX]);

/* Adds an entry, or signs the one that is there for this bank, key, reference and state. @steps as
 * above, @text as signature_reference() got it. Return: 0; -EFBIG (SIGNATURES_MAX); or a fault. */
int signatures_add(struct signatures *s, const struct steps *steps, const char *text,
                   const struct signature *signature, struct error *err) _warn_unused_;
