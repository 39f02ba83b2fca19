/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cms.h"

/* The shape of the one kind of CMS that we write, checked byte by byte before OpenSSL or a key sees
 * it. Pure. */

#define CMS_IDENTIFIER_MAX 64 /* bytes of a subject key identifier; SHA-1 makes 20 */

struct cms_recipient {
        bool ec;
        size_t size;       /* of the encrypted key (RSA), of a coordinate (EC); bytes */
        const uint8_t *id; /* subject key identifier; NULL: named by issuer and serial number */
        size_t id_size;
};

struct cms_shape {
        size_t recipients; /* in the order in which they stand */
        struct cms_recipient recipient[CMS_RECIPIENTS_MAX];
        size_t content; /* bytes, the padding included */
};

/* Whether @cms is a ContentInfo with EnvelopedData, all of it and nothing behind it, in DER (so of
 * definite lengths): recipients by RSAES-OAEP or by ephemeral-static ECDH, both with SHA-256, and
 * whole blocks of AES-256-CBC that have room for 1 to CMS_CONTENT_MAX bytes and their padding,
 * without attributes. @ret points into @cms. */
bool cms_shape(const uint8_t *cms, size_t size, struct cms_shape *ret);
