/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"
#include "tpm/foreign.h"

/* LUKS2 tokens of other programs that hold the passphrase of one keyslot, sealed to this TPM:
 *
 * "systemd-tpm2"  of systemd-cryptenroll: the passphrase is the base64 text of what is sealed
 * "clevis"        of clevis, pin tpm2: what is sealed is a key (JWK, RFC 7517) for the passphrase,
 *                 which stands in the token encrypted (JWE, RFC 7516, "dir" with A256GCM)
 *
 * They come from a disk, so every byte is hostile: bounded, and believed only once a keyslot opened
 * by it. */

#define OTHER_PASSPHRASE_MAX 512 /* bytes */
#define OTHER_HEADER_MAX 4096    /* characters of a JWE's protected header */
#define OTHER_WHY_MAX 120

enum other_verdict {
        OTHER_GOOD = 0,
        OTHER_UNUSABLE, /* sound, but what it wants isn't for us: a PIN, a signature, a server */
        OTHER_DAMAGED,  /* not what that program writes */
};

struct other_token {
        const char *type; /* one of the two above */
        unsigned slot;    /* the one that it's bound to */
        struct foreign_object object;
        /* clevis only. */
        size_t header_size;
        char header[OTHER_HEADER_MAX];
        uint8_t iv[GCM_IV_SIZE], tag[GCM_TAG_SIZE];
        size_t text_size;
        uint8_t text[OTHER_PASSPHRASE_MAX];
};

/* The type of a token that's one of these, as a constant; else NULL. */
const char *other_token_type(const struct json *token);

/* Of a token with a type of these. @ret is large: not for the stack. @ret_why: on any verdict but
 * OTHER_GOOD the rest of "its systemd-tpm2 token …", in printable ASCII. Return: a verdict; or
 * -ENOMEM. */
int other_token_parse(const struct json *token, struct other_token *ret,
                      char ret_why[OTHER_WHY_MAX], struct error *err) _warn_unused_;

/* The passphrase for the one keyslot that it names. Return: as tpm_unseal_foreign(), TPM_DAMAGED
 * also where what was sealed doesn't fit the rest of the token. */
int other_token_open(struct tpm *t, const struct other_token *o, struct secret **ret,
                     struct tpm_refusal *why, struct error *err) _warn_unused_;
