/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/public.h"

#include <errno.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/pem.h>

#include "base/openssl.h"

#define PART_MAX 66      /* bytes of a number of P-521 */
#define PUBLIC_EC_MAX 48 /* bytes of a coordinate of P-384 */
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096
#define RSA_EXPONENT_MIN 65537 /* FIPS 186-5, A.1.1; and what each TPM takes */

static int error_damaged(struct error *err) {
        ERR_clear_error();
        return error_set(err, -EBADMSG, "the public key is damaged");
}

static int error_kind(struct error *err) {
        ERR_clear_error();
        return error_set(err, -EOPNOTSUPP,
                         "the public key is neither RSA of 2048 to 4096 bits with an exponent of "
                         "65537 or more nor EC on P-256 or P-384");
}

static int rsa_parts(const EVP_PKEY *key, struct public_parts *p, struct error *err) {
        int bits = EVP_PKEY_get_bits(key);
        uint8_t e[4];

        if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX || bits % 8 ||
            !openssl_number(key, OSSL_PKEY_PARAM_RSA_E, e, sizeof(e)))
                return error_kind(err);
        p->kind = PUBLIC_RSA;
        p->bits = (unsigned) bits;
        p->size = p->bits / 8;
        p->exponent = (uint32_t) e[0] << 24 | (uint32_t) e[1] << 16 | (uint32_t) e[2] << 8 | e[3];
        if (p->exponent < RSA_EXPONENT_MIN || p->exponent % 2 == 0)
                return error_kind(err);
        /* An even modulus is no product of large primes, and OpenSSL can't compute with it. */
        if (!openssl_number(key, OSSL_PKEY_PARAM_RSA_N, p->n, p->size) ||
            p->n[p->size - 1] % 2 == 0)
                return error_damaged(err);
        return 0;
}

static int ec_parts(const EVP_PKEY *key, struct public_parts *p, struct error *err) {
        const struct openssl_curve *curve = openssl_curve(key);

        if (!curve || curve->size > PUBLIC_EC_MAX)
                return error_kind(err);
        p->kind = PUBLIC_EC;
        p->size = curve->size;
        p->bits = (unsigned) (8 * p->size);
        if (!openssl_number(key, OSSL_PKEY_PARAM_EC_PUB_X, p->x, p->size) ||
            !openssl_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, p->y, p->size))
                return error_damaged(err);
        return 0;
}

/* Whether @p is what OpenSSL would write for @key, and the point of an EC key isn't compressed. */
static bool one_encoding(X509_PUBKEY *p, const struct public_parts *parts, const uint8_t *der,
                         size_t size) {
        _cleanup_(openssl_freep) unsigned char *again = NULL;
        const unsigned char *bits;
        int n;

        if (i2d_PUBKEY(X509_PUBKEY_get0(p), &again) != (int) size || memcmp(again, der, size) != 0)
                return false;
        return X509_PUBKEY_get0_param(NULL, &bits, &n, NULL, p) == 1 && n > 0 &&
               (parts->kind == PUBLIC_RSA ||
                ((size_t) n == 1 + 2 * parts->size && bits[0] == POINT_CONVERSION_UNCOMPRESSED));
}

/* The whole of @der, checked. @ret has the key in it. */
static int decode(const uint8_t *der, size_t size, X509_PUBKEY **ret,
                  struct public_parts *ret_parts, struct error *err) {
        _cleanup_(pubkey_freep) X509_PUBKEY *p = NULL;
        struct public_parts parts = { .bits = 0 };
        const unsigned char *end = der;
        const EVP_PKEY *key;
        int r;

        if (size > STEP_KEY_MAX)
                return error_kind(err);
        p = d2i_X509_PUBKEY(NULL, &end, (long) size);
        if (!p || end != der + size)
                return error_damaged(err);
        key = X509_PUBKEY_get0(p);
        if (!key)
                return error_damaged(err);
        if (EVP_PKEY_is_a(key, "RSA"))
                r = rsa_parts(key, &parts, err);
        else if (EVP_PKEY_is_a(key, "EC"))
                r = ec_parts(key, &parts, err);
        else
                return error_kind(err);
        if (r < 0)
                return r;
        if (!one_encoding(p, &parts, der, size))
                return error_damaged(err);
        ERR_clear_error();
        *ret = TAKE(p);
        *ret_parts = parts;
        return 0;
}

int public_parse(const uint8_t *der, size_t size, struct public_parts *ret, struct error *err) {
        _cleanup_(pubkey_freep) X509_PUBKEY *p = NULL;

        return decode(der, size, &p, ret, err);
}

/* Another reader might take another one for the key. */
static bool alone(const char *pem, size_t size) {
        static const char begin[] = "-----BEGIN ";
        const char *first = memmem(pem, size, begin, sizeof(begin) - 1);
        const char *rest = first ? first + 1 : pem;

        return first && !memmem(rest, size - (size_t) (rest - pem), begin, sizeof(begin) - 1);
}

int public_from_pem(const char *pem, size_t size, uint8_t *ret, size_t *ret_size,
                    struct error *err) {
        _cleanup_(openssl_freep) char *name = NULL, *header = NULL;
        _cleanup_(openssl_freep) unsigned char *der = NULL;
        _cleanup_(bio_freep) BIO *bio = NULL;
        struct public_parts parts;
        long n = 0;
        int r;

        if (size > PUBLIC_PEM_MAX)
                return error_set(err, -EBADMSG, "%zu bytes are too many for a public key", size);
        bio = BIO_new_mem_buf(pem, (int) size);
        if (!bio)
                return error_nomem(err);
        r = PEM_read_bio(bio, &name, &header, &der, &n);
        ERR_clear_error();
        if (r != 1 || strcmp(name, PEM_STRING_PUBLIC) != 0 || *header)
                return error_set(err, -EBADMSG, "no public key in PEM (BEGIN PUBLIC KEY) there");
        if (!alone(pem, size))
                return error_set(err, -EBADMSG, "there is more in PEM than one public key");
        r = public_parse(der, (size_t) n, &parts, err);
        if (r < 0)
                return r;
        memcpy(ret, der, (size_t) n);
        *ret_size = (size_t) n;
        return 0;
}

int public_verify(const uint8_t *der, size_t der_size, const struct public_signed *what,
                  struct error *err) {
        _cleanup_(digest_freep) EVP_MD_CTX *ctx = NULL;
        _cleanup_(pubkey_freep) X509_PUBKEY *p = NULL;
        struct public_parts parts;
        int r;

        r = decode(der, der_size, &p, &parts, err);
        if (r < 0)
                return r;
        ctx = EVP_MD_CTX_new();
        if (!ctx || EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, X509_PUBKEY_get0(p),
                                            NULL) != 1)
                return error_openssl(err, "check a signature");
        r = EVP_DigestVerify(ctx, what->signature, what->signature_size, what->data, what->size);
        ERR_clear_error();
        return r == 1 ? CRYPTO_GOOD : CRYPTO_FORGED;
}

int public_signature_parts(const uint8_t *signature, size_t size, size_t part, uint8_t *ret_r,
                           uint8_t *ret_s, struct error *err) {
        _cleanup_(ecdsa_freep) ECDSA_SIG *sig = NULL;
        const unsigned char *end = signature;
        uint8_t r[PART_MAX], s[PART_MAX];

        if (part == 0 || part > sizeof(r))
                return error_set(err, -EINVAL, "no curve has numbers of %zu bytes", part);
        if (size <= SIGNATURE_MAX)
                sig = d2i_ECDSA_SIG(NULL, &end, (long) size);
        ERR_clear_error();
        if (!sig || end != signature + size || BN_is_zero(ECDSA_SIG_get0_r(sig)) ||
            BN_is_zero(ECDSA_SIG_get0_s(sig)) || BN_is_negative(ECDSA_SIG_get0_r(sig)) ||
            BN_is_negative(ECDSA_SIG_get0_s(sig)) ||
            BN_bn2binpad(ECDSA_SIG_get0_r(sig), r, (int) part) < 0 ||
            BN_bn2binpad(ECDSA_SIG_get0_s(sig), s, (int) part) < 0) {
                ERR_clear_error();
                return error_set(err, -EBADMSG, "the ECDSA signature is damaged");
        }
        memcpy(ret_r, r, part);
        memcpy(ret_s, s, part);
        return 0;
}

int public_fingerprint(const uint8_t *der, size_t size, uint8_t ret[SHA256_SIZE],
                       struct error *err) {
        _cleanup_(pubkey_freep) X509_PUBKEY *p = NULL;
        const unsigned char *bits;
        struct public_parts parts;
        int n, r;

        r = decode(der, size, &p, &parts, err);
        if (r < 0)
                return r;
        if (X509_PUBKEY_get0_param(NULL, &bits, &n, NULL, p) != 1 || n <= 0)
                return error_openssl(err, "read a public key");
        return crypto_sha256(bits, (size_t) n, ret, err);
}

int public_signature_join(const uint8_t *r, const uint8_t *s, size_t part, uint8_t *ret,
                          size_t *ret_size, struct error *err) {
        _cleanup_(ecdsa_freep) ECDSA_SIG *sig = ECDSA_SIG_new();
        _cleanup_(openssl_freep) unsigned char *der = NULL;
        _cleanup_(bn_freep) BIGNUM *br = NULL, *bs = NULL;
        int n;

        if (part == 0 || part > PART_MAX)
                return error_set(err, -EINVAL, "no curve has numbers of %zu bytes", part);
        br = BN_bin2bn(r, (int) part, NULL);
        bs = BN_bin2bn(s, (int) part, NULL);
        if (!sig || !br || !bs || ECDSA_SIG_set0(sig, br, bs) != 1)
                return error_nomem(err);
        br = bs = NULL; /* its own now */
        n = i2d_ECDSA_SIG(sig, &der);
        if (n <= 0 || n > SIGNATURE_MAX)
                return error_openssl(err, "encode a signature");
        memcpy(ret, der, (size_t) n);
        *ret_size = (size_t) n;
        return 0;
}

/* Writes the head of a DER value of @size bytes, over 255 of them in two bytes. */
static uint8_t *der_head(uint8_t *p, uint8_t tag, size_t size) {
        *p++ = tag;
        if (size > 0xff) {
                *p++ = 0x82;
                *p++ = (uint8_t) (size >> 8);
        } else if (size > 0x7f) {
                *p++ = 0x81;
        }
        *p++ = (uint8_t) size;
        return p;
}

static uint8_t *der_bytes(uint8_t *p, const void *data, size_t size) {
        memcpy(p, data, size);
        return p + size;
}

/* SubjectPublicKeyInfo with RSAPublicKey (RFC 8017, A.1.1). The number behind each "+" is what the
 * heads of the values inside take. */
static size_t encode_rsa(const struct public_parts *p, uint8_t *ret) {
        static const uint8_t algorithm[] = { 0x30, 13,   0x06, 9,    0x2a, 0x86, 0x48, 0x86,
                                             0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0 };
        uint8_t e[5] = { 0, (uint8_t) (p->exponent >> 24), (uint8_t) (p->exponent >> 16),
                         (uint8_t) (p->exponent >> 8), (uint8_t) p->exponent };
        size_t skip = 0, n = p->size + 1, key;
        uint8_t *end = ret;

        /* Positive, and no zero byte that isn't needed for that. */
        while (skip < 4 && e[skip] == 0 && e[skip + 1] < 0x80)
                skip++;
        key = n + 4 + sizeof(e) - skip + 2;
        end = der_head(end, 0x30, sizeof(algorithm) + key + 4 + 1 + 4);
        end = der_bytes(end, algorithm, sizeof(algorithm));
        end = der_head(end, 0x03, key + 4 + 1);
        *end++ = 0; /* no unused bits */
        end = der_head(end, 0x30, key);
        end = der_head(end, 0x02, n);
        *end++ = 0;
        end = der_bytes(end, p->n, p->size);
        end = der_head(end, 0x02, sizeof(e) - skip);
        end = der_bytes(end, e + skip, sizeof(e) - skip);
        return (size_t) (end - ret);
}

/* SubjectPublicKeyInfo with an uncompressed point (RFC 5480). */
static size_t encode_ec(const struct public_parts *p, uint8_t *ret) {
        static const uint8_t p256[] = { 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                        0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
                                        0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
        static const uint8_t p384[] = { 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                        0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 };
        const uint8_t *algorithm = p->size == 32 ? p256 : p384;
        size_t n = p->size == 32 ? sizeof(p256) : sizeof(p384), point = 2 + 2 * p->size;
        uint8_t *end = ret;

        end = der_head(end, 0x30, n + 2 + point);
        end = der_bytes(end, algorithm, n);
        end = der_head(end, 0x03, point);
        *end++ = 0;
        *end++ = POINT_CONVERSION_UNCOMPRESSED;
        end = der_bytes(end, p->x, p->size);
        end = der_bytes(end, p->y, p->size);
        return (size_t) (end - ret);
}

int public_from_parts(const struct public_parts *parts, uint8_t *ret, size_t *ret_size,
                      struct error *err) {
        uint8_t der[STEP_KEY_MAX];
        struct public_parts same;
        size_t n;
        int r;

        if (parts->kind == PUBLIC_RSA
                    ? parts->size < RSA_BITS_MIN / 8 || parts->size > RSA_BITS_MAX / 8
                    : parts->size != 32 && parts->size != 48)
                return error_kind(err);
        n = parts->kind == PUBLIC_RSA ? encode_rsa(parts, der) : encode_ec(parts, der);
        r = public_parse(der, n, &same, err);
        if (r < 0)
                return r;
        memcpy(ret, der, n);
        *ret_size = n;
        return 0;
}
