/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cms-shape.h"

#include <string.h>

#include "base/cleanup.h"

/* Of ASN.1 (X.690): what these structures use. */
#define BIT_STRING 0x03
#define OCTET_STRING 0x04
#define INTEGER 0x02
#define NULL_TAG 0x05
#define OBJECT 0x06
#define SEQUENCE 0x30
#define SET 0x31
#define CONTEXT(n) (0x80 | (n)) /* [n] IMPLICIT of a primitive type */
#define INSIDE(n) (0xa0 | (n))  /* [n] of a constructed one */

#define BLOCK 16        /* bytes: of AES, so of the IV too */
#define WRAPPED_SIZE 40 /* bytes: a key of 32, by RFC 3394 */

struct der {
        const uint8_t *at;
        size_t left;
};

static const uint8_t oid_enveloped[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03 };
static const uint8_t oid_data[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01 };
static const uint8_t oid_oaep[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07 };
static const uint8_t oid_mgf1[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08 };
static const uint8_t oid_sha256[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01 };
static const uint8_t oid_ec_key[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01 };
/* dhSinglePass-stdDH-sha256kdf-scheme (RFC 5753) */
static const uint8_t oid_ecdh[] = { 0x2b, 0x81, 0x04, 0x01, 0x0b, 0x01 };
static const uint8_t oid_wrap[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2d };
static const uint8_t oid_cbc[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a };

/* Takes the next value where it's tagged @tag. Lengths are definite and of the shortest form, and
 * of two bytes at most. */
static bool take(struct der *from, uint8_t tag, struct der *ret) {
        size_t head = 2, size;

        if (from->left < head || from->at[0] != tag)
                return false;
        size = from->at[1];
        if (size == 0x81) {
                if (from->left < (head = 3) || (size = from->at[2]) < 0x80)
                        return false;
        } else if (size == 0x82) {
                if (from->left < (head = 4) ||
                    (size = (size_t) from->at[2] << 8 | from->at[3]) < 0x100)
                        return false;
        } else if (size >= 0x80) {
                return false;
        }
        if (size > from->left - head)
                return false;
        *ret = (struct der){ from->at + head, size };
        from->at += head + size;
        from->left -= head + size;
        return true;
}

/* The same where the value must be this one. */
static bool take_value(struct der *from, uint8_t tag, const uint8_t *value, size_t size) {
        struct der d;

        return take(from, tag, &d) && d.left == size && memcmp(d.at, value, size) == 0;
}

static bool take_number(struct der *from, uint8_t number) {
        return take_value(from, INTEGER, &number, 1);
}

#define take_oid(from, oid) take_value(from, OBJECT, oid, sizeof(oid))

/* The end, with or without the NULL that stands for "no parameters". */
static bool take_end(struct der *from) {
        return from->left == 0 || (take_value(from, NULL_TAG, NULL, 0) && from->left == 0);
}

static bool take_plain_algorithm(struct der *from, const uint8_t *oid, size_t size) {
        struct der a;

        return take(from, SEQUENCE, &a) && take_value(&a, OBJECT, oid, size) && take_end(&a);
}

static bool take_oaep(struct der *from) {
        struct der a, params, hash, mask, mgf;

        return take(from, SEQUENCE, &a) && take_oid(&a, oid_oaep) && take(&a, SEQUENCE, &params) &&
               a.left == 0 && take(&params, INSIDE(0), &hash) &&
               take_plain_algorithm(&hash, oid_sha256, sizeof(oid_sha256)) && hash.left == 0 &&
               take(&params, INSIDE(1), &mask) && take(&mask, SEQUENCE, &mgf) && mask.left == 0 &&
               take_oid(&mgf, oid_mgf1) &&
               take_plain_algorithm(&mgf, oid_sha256, sizeof(oid_sha256)) && mgf.left == 0 &&
               params.left == 0;
}

static bool take_issuer_and_serial(struct der *from) {
        struct der both, part;

        return take(from, SEQUENCE, &both) && take(&both, SEQUENCE, &part) &&
               take(&both, INTEGER, &part) && part.left > 0 && both.left == 0;
}

static bool set_identifier(const struct der *id, struct cms_recipient *ret) {
        ret->id = id->at;
        ret->id_size = id->left;
        return id->left > 0 && id->left <= CMS_IDENTIFIER_MAX;
}

/* KeyTransRecipientInfo */
static bool parse_rsa(struct der *in, struct cms_recipient *ret) {
        struct der d;

        if (take(in, INTEGER, &d)) {
                /* Its version says how it's named. */
                if (d.left != 1 || (d.at[0] != 0 && d.at[0] != 2))
                        return false;
                if (d.at[0] == 0 ? !take_issuer_and_serial(in)
                                 : !take(in, CONTEXT(0), &d) || !set_identifier(&d, ret))
                        return false;
        } else {
                return false;
        }
        if (!take_oaep(in) || !take(in, OCTET_STRING, &d) || in->left > 0)
                return false;
        ret->size = d.left;
        return d.left > 0;
}

/* The uncompressed or compressed point of P-256, P-384 or P-521. */
static bool point_size(const struct der *bits, size_t *ret) {
        static const size_t sizes[] = { 32, 48, 66 };
        uint8_t form;

        if (bits->left < 2 || bits->at[0] != 0)
                return false;
        form = bits->at[1];
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                *ret = sizes[i];
                if ((form == 4 && bits->left == 2 + 2 * sizes[i]) ||
                    ((form == 2 || form == 3) && bits->left == 2 + sizes[i]))
                        return true;
        }
        return false;
}

/* The ephemeral key, without parameters of its own: its curve is the recipient's. */
static bool take_originator(struct der *from, struct cms_recipient *ret) {
        struct der originator, key, point;

        return take(from, INSIDE(0), &originator) && take(&originator, INSIDE(1), &key) &&
               originator.left == 0 && take_plain_algorithm(&key, oid_ec_key, sizeof(oid_ec_key)) &&
               take(&key, BIT_STRING, &point) && key.left == 0 && point_size(&point, &ret->size);
}

/* KeyAgreeRecipientInfo, with one key in it */
static bool parse_ec(struct der *in, struct cms_recipient *ret) {
        struct der a, keys, one, d;

        ret->ec = true;
        if (!take_number(in, 3) || !take_originator(in, ret))
                return false;
        if (!take(in, SEQUENCE, &a) || !take_oid(&a, oid_ecdh) ||
            !take_plain_algorithm(&a, oid_wrap, sizeof(oid_wrap)) || a.left > 0)
                return false;
        if (!take(in, SEQUENCE, &keys) || in->left > 0 || !take(&keys, SEQUENCE, &one) ||
            keys.left > 0)
                return false;
        if (take(&one, INSIDE(0), &a)) {
                if (!take(&a, OCTET_STRING, &d) || a.left > 0 || !set_identifier(&d, ret))
                        return false;
        } else if (!take_issuer_and_serial(&one)) {
                return false;
        }
        return take(&one, OCTET_STRING, &d) && d.left == WRAPPED_SIZE && one.left == 0;
}

/* A set in DER is sorted, so that nobody can hold two orders against each other. */
static bool sorted(const struct der *before, const struct der *after) {
        size_t n = before->left < after->left ? before->left : after->left;
        int c = memcmp(before->at, after->at, n);

        return c < 0 || (c == 0 && before->left <= after->left);
}

static bool parse_recipients(struct der *set, struct cms_shape *ret) {
        struct der last = { 0 };

        while (set->left > 0) {
                struct cms_recipient *r = &ret->recipient[ret->recipients];
                struct der whole = *set, in;

                if (ret->recipients == CMS_RECIPIENTS_MAX)
                        return false;
                if (take(set, SEQUENCE, &in)) {
                        if (!parse_rsa(&in, r))
                                return false;
                } else if (!take(set, INSIDE(1), &in) || !parse_ec(&in, r)) {
                        return false;
                }
                whole.left -= set->left;
                if (ret->recipients > 0 && !sorted(&last, &whole))
                        return false;
                last = whole;
                ret->recipients++;
        }
        return ret->recipients > 0;
}

/* EncryptedContentInfo */
static bool parse_content(struct der *in, struct cms_shape *ret) {
        struct der a, d;

        if (!take_oid(in, oid_data) || !take(in, SEQUENCE, &a) || !take_oid(&a, oid_cbc) ||
            !take(&a, OCTET_STRING, &d) || d.left != BLOCK || a.left > 0)
                return false;
        if (!take(in, CONTEXT(0), &d) || in->left > 0)
                return false;
        ret->content = d.left;
        return d.left > 0 && d.left % BLOCK == 0 && d.left <= CMS_CONTENT_MAX + BLOCK;
}

/* As RFC 5652, 6.1 has it. Recipients of version 0 are those of RSA that are named by issuer and
 * serial number. */
static uint8_t version(const struct cms_shape *s) {
        for (size_t i = 0; i < s->recipients; i++)
                if (s->recipient[i].ec || s->recipient[i].id)
                        return 2;
        return 0;
}

bool cms_shape(const uint8_t *cms, size_t size, struct cms_shape *ret) {
        struct der all = { cms, size }, info, outer, enveloped, number, d;
        struct cms_shape s = { 0 };

        if (size > CMS_SIZE_MAX || !take(&all, SEQUENCE, &info) || all.left > 0 ||
            !take_oid(&info, oid_enveloped) || !take(&info, INSIDE(0), &outer) || info.left > 0 ||
            !take(&outer, SEQUENCE, &enveloped) || outer.left > 0)
                return false;
        if (!take(&enveloped, INTEGER, &number) || !take(&enveloped, SET, &d) ||
            !parse_recipients(&d, &s) || number.left != 1 || number.at[0] != version(&s))
                return false;
        if (!take(&enveloped, SEQUENCE, &d) || !parse_content(&d, &s) || enveloped.left > 0)
                return false;
        *ret = s;
        return true;
}
