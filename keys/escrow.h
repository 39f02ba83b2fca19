/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cms.h"
#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"
#include "keys/store.h"
#include "luks/luks.h"

/* The LUKS2 token of type "diskseal-escrow", version 1: the passphrase of its own keyslot as CMS
 * EnvelopedData, so that `openssl cms -decrypt` and cryptsetup alone get the disk back. It comes
 * from a disk, so it's hostile. */

#define ESCROW_TYPE "diskseal-escrow"
#define ESCROW_PASSPHRASE 52 /* bytes: 256 random bits in base32 (RFC 4648), without padding */

struct escrow {
        unsigned slot; /* LUKS_SLOTS_MAX where the token is bound to none */
        char created[TIME_TEXT];
        size_t recipients;
        uint8_t recipient[CMS_RECIPIENTS_MAX][SHA256_SIZE]; /* fingerprints of certificates */
        size_t size;
        uint8_t cms[CMS_SIZE_MAX];
};

bool escrow_is_one(const struct json *token);

/* A new passphrase. */
int escrow_passphrase(struct secret **ret, struct error *err) _warn_unused_;

/* The token for keyslot @slot, made now. */
int escrow_make(struct certificate *const *certs, size_t count, unsigned slot,
                struct secret *passphrase, struct json **ret, struct error *err) _warn_unused_;

/* Return: 0; -EBADMSG (what is wrong is in @err); -ENOMEM. @ret is large: not for the stack. */
int escrow_parse(const struct json *token, struct escrow *ret, struct error *err) _warn_unused_;

/* Return: enum cms_verdict, CMS_DAMAGED also where the content is no passphrase of ours; or a
 * fault. That it's the passphrase of the keyslot is for the keyslot to say, and where it says no,
 * the answer must be the same as for CMS_DAMAGED: see base/cms.h. */
int escrow_open(const struct escrow *e, const struct private_key *key, struct secret **ret,
                struct error *err) _warn_unused_;
