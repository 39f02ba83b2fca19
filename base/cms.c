/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/cms.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/asn1.h>
#include <openssl/cms.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/cms-shape.h"
#include "base/file.h"
#include "base/openssl.h"

#define PEM_FILE_MAX (64 * 1024) /* bytes of certificates */
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define SHA1_SIZE 20

struct certificate {
        X509 *x509;
        uint8_t fingerprint[SHA256_SIZE];
        char subject[CERTIFICATE_SUBJECT];
        char from[24], until[24];
};

struct private_key {
        EVP_PKEY *key;
        bool ec;
        size_t size;           /* as struct cms_recipient has it */
        uint8_t id[SHA1_SIZE]; /* the usual subject key identifier of its certificates */
};

static void cms_freep(CMS_ContentInfo **c) {
        CMS_ContentInfo_free(*c);
}

/* Whether it's of a kind that we encrypt for; then also its size as struct cms_recipient has it. */
static bool key_fits(const EVP_PKEY *key, bool *ret_ec, size_t *ret_size) {
        const struct openssl_curve *curve;

        if (EVP_PKEY_is_a(key, "RSA")) {
                *ret_ec = false;
                *ret_size = (size_t) EVP_PKEY_get_size(key);
                return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN &&
                       EVP_PKEY_get_bits(key) <= RSA_BITS_MAX;
        }
        curve = EVP_PKEY_is_a(key, "EC") ? openssl_curve(key) : NULL;
        if (!curve)
                return false;
        *ret_ec = true;
        *ret_size = curve->size;
        return true;
}

/* --- certificates --- */

static bool time_of(const ASN1_TIME *t, char ret[24]) {
        struct tm tm;

        return ASN1_TIME_to_tm(t, &tm) == 1 && strftime(ret, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0;
}

static int subject_of(X509 *x, char ret[CERTIFICATE_SUBJECT], struct error *err) {
        _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
        char *text;
        long n;

        /* Escapes whatever isn't printable ASCII. */
        if (!bio || X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) < 0)
                return error_openssl(err, "read the subject of a certificate");
        n = BIO_get_mem_data(bio, &text);
        (void) snprintf(ret, CERTIFICATE_SUBJECT, "%.*s", (int) n, n > 0 ? text : "");
        if (n >= CERTIFICATE_SUBJECT)
                memcpy(ret + CERTIFICATE_SUBJECT - 4, "...", 4);
        make_printable(ret);
        return 0;
}

/* Takes @x over. */
static int certificate_new(X509 *x, struct certificate **ret, struct error *err) {
        _cleanup_(certificate_freep) struct certificate *c = calloc(1, sizeof(*c));
        unsigned n = SHA256_SIZE;
        size_t size;
        bool ec;
        int r;

        if (!c) {
                X509_free(x);
                return error_nomem(err);
        }
        c->x509 = x;
        if (!X509_digest(x, EVP_sha256(), c->fingerprint, &n))
                return error_openssl(err, "SHA-256 of a certificate");
        r = subject_of(x, c->subject, err);
        if (r < 0)
                return r;
        if (!X509_get0_pubkey(x) || !key_fits(X509_get0_pubkey(x), &ec, &size)) {
                ERR_clear_error();
                return error_set(err, -EBADMSG,
                                 "certificate '%s' has a key that is neither RSA of 2048 to 8192 "
                                 "bits nor EC on P-256, P-384 or P-521",
                                 c->subject);
        }
        if (!time_of(X509_get0_notBefore(x), c->from) || !time_of(X509_get0_notAfter(x), c->until))
                return error_set(err, -EBADMSG, "certificate '%s' has no time", c->subject);
        *ret = TAKE(c);
        return 0;
}

struct certificate *certificate_free(struct certificate *c) {
        if (!c)
                return NULL;
        X509_free(c->x509);
        free(c);
        return NULL;
}

/* Reads one after the other into @ret, and counts them, until the file ends. */
static int read_each(BIO *bio, struct certificate **ret, size_t max, size_t *count,
                     struct error *err) {
        for (;;) {
                X509 *x = PEM_read_bio_X509(bio, NULL, openssl_no_passphrase, NULL);
                int r;

                if (!x && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
                        ERR_clear_error();
                        if (*count == 0)
                                return error_set(err, -EBADMSG, "no certificate in PEM there");
                        return 0;
                }
                if (!x) {
                        ERR_clear_error();
                        return error_set(err, -EBADMSG, "certificate %zu is damaged", *count + 1);
                }
                if (*count == max) {
                        X509_free(x);
                        return error_set(err, -EBADMSG, "more than %zu certificates", max);
                }
                r = certificate_new(x, &ret[*count], err);
                if (r < 0)
                        return r;
                (*count)++;
        }
}

int certificates_read(const char *path, struct certificate **ret, size_t max, size_t *ret_count,
                      struct error *err) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(freep) struct certificate **found = NULL;
        _cleanup_(bio_freep) BIO *bio = NULL;
        size_t size, count = 0;
        int r;

        r = file_read(path, PEM_FILE_MAX, &text, &size, err);
        if (r < 0)
                return r;
        found = calloc(max + 1, sizeof(*found));
        bio = BIO_new_mem_buf(text, (int) size);
        if (!found || !bio)
                return error_nomem(err);
        r = read_each(bio, found, max, &count, err);
        if (r < 0) {
                while (count > 0)
                        certificate_free(found[--count]);
                return error_prefix(err, "%s", path);
        }
        memcpy(ret, found, count * sizeof(*found));
        *ret_count = count;
        return 0;
}

void certificate_fingerprint(const struct certificate *c, uint8_t ret[SHA256_SIZE]) {
        memcpy(ret, c->fingerprint, SHA256_SIZE);
}

void certificate_subject(const struct certificate *c, char ret[CERTIFICATE_SUBJECT]) {
        memcpy(ret, c->subject, CERTIFICATE_SUBJECT);
}

enum certificate_time certificate_time(const struct certificate *c, char ret_from[24],
                                       char ret_until[24]) {
        if (ret_from)
                memcpy(ret_from, c->from, sizeof(c->from));
        if (ret_until)
                memcpy(ret_until, c->until, sizeof(c->until));
        if (X509_cmp_current_time(X509_get0_notAfter(c->x509)) <= 0)
                return CERTIFICATE_EXPIRED;
        return X509_cmp_current_time(X509_get0_notBefore(c->x509)) < 0 ? CERTIFICATE_VALID
                                                                       : CERTIFICATE_NOT_YET;
}

/* --- encryption --- */

static bool add_recipient(CMS_ContentInfo *cms, const struct certificate *c) {
        const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(c->x509);
        unsigned flags = CMS_KEY_PARAM;
        CMS_RecipientInfo *ri;
        EVP_PKEY_CTX *ctx;

        if (id && ASN1_STRING_length(id) > 0 && ASN1_STRING_length(id) <= CMS_IDENTIFIER_MAX)
                flags |= CMS_USE_KEYID;
        ri = CMS_add1_recipient_cert(cms, c->x509, flags);
        ctx = ri ? CMS_RecipientInfo_get0_pkey_ctx(ri) : NULL;
        if (!ctx)
                return false;
        if (CMS_RecipientInfo_type(ri) == CMS_RECIPINFO_AGREE)
                return EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha256()) > 0;
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) > 0 &&
               EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) > 0 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) > 0;
}

/* Through no buffer but the cipher's, which cleanses what it has: CMS_final() would copy @plain to
 * its stack and into an input/output buffer. */
static bool fill(CMS_ContentInfo *cms, struct secret *plain) {
        _cleanup_(bio_freep) BIO *bio = CMS_dataInit(cms, NULL);

        return bio &&
               BIO_write(bio, secret_data(plain), (int) secret_size(plain)) ==
                       (int) secret_size(plain) &&
               BIO_flush(bio) == 1 && CMS_dataFinal(cms, bio) == 1;
}

int cms_encrypt_text(struct certificate *const *certs, size_t count, struct secret *plain,
                     uint8_t **ret, size_t *ret_size, struct error *err) {
        _cleanup_(cms_freep) CMS_ContentInfo *cms = NULL;
        _cleanup_(freep) uint8_t *der = NULL;
        uint8_t *end;
        int n;

        if (count == 0 || count > CMS_RECIPIENTS_MAX)
                return error_set(err, -EINVAL, "CMS: sizes out of range");
        cms = CMS_encrypt(NULL, NULL, EVP_aes_256_cbc(), CMS_PARTIAL | CMS_BINARY);
        if (!cms)
                return error_openssl(err, "CMS");
        for (size_t i = 0; i < count; i++)
                if (!add_recipient(cms, certs[i]))
                        return error_openssl(err, certs[i]->subject);
        if (!fill(cms, plain))
                return error_openssl(err, "encrypt for certificates");

        n = i2d_CMS_ContentInfo(cms, NULL);
        if (n <= 0)
                return error_openssl(err, "CMS");
        end = der = malloc((size_t) n);
        if (!der)
                return error_nomem(err);
        if (i2d_CMS_ContentInfo(cms, &end) != n)
                return error_openssl(err, "CMS");
        *ret = TAKE(der);
        *ret_size = (size_t) n;
        return 0;
}

int cms_encrypt(struct certificate *const *certs, size_t count, struct secret *plain, uint8_t **ret,
                size_t *ret_size, struct error *err) {
        _cleanup_(freep) uint8_t *der = NULL;
        struct cms_shape shape;
        size_t n;
        int r;

        if (secret_size(plain) > CMS_CONTENT_MAX)
                return error_set(err, -EINVAL, "CMS: sizes out of range");
        r = cms_encrypt_text(certs, count, plain, &der, &n, err);
        if (r < 0)
                return r;
        if (n > CMS_SIZE_MAX)
                return error_set(err, -EFBIG, "CMS for %zu certificates: %zu bytes, over %d", count,
                                 n, CMS_SIZE_MAX);
        /* What we couldn't read back is never written. */
        if (!cms_shape(der, n, &shape) || shape.recipients != count)
                return error_set(err, -EIO,
                                 "OpenSSL writes CMS of another form than this version "
                                 "of diskseal reads");
        *ret = TAKE(der);
        *ret_size = n;
        return 0;
}

/* --- private keys --- */

struct private_key *private_key_free(struct private_key *k) {
        if (!k)
                return NULL;
        EVP_PKEY_free(k->key); /* cleanses it */
        free(k);
        return NULL;
}

/* SHA-1 of the public key, as RFC 5280, 4.2.1.2 (1) says: a name, no protection. */
static bool key_id(EVP_PKEY *key, uint8_t ret[SHA1_SIZE]) {
        _cleanup_(pubkey_freep) X509_PUBKEY *p = NULL;
        const unsigned char *bits;
        int n;

        return X509_PUBKEY_set(&p, key) == 1 &&
               X509_PUBKEY_get0_param(NULL, &bits, &n, NULL, p) == 1 &&
               EVP_Q_digest(NULL, "SHA1", NULL, bits, (size_t) n, ret, NULL);
}

int private_key_read(const char *path, struct private_key **ret, struct error *err) {
        _cleanup_(private_key_freep) struct private_key *k = NULL;
        int r;

        k = calloc(1, sizeof(*k));
        if (!k)
                return error_nomem(err);
        r = openssl_private_key(path, NULL, &k->key, err);
        if (r < 0)
                return r;
        if (!key_fits(k->key, &k->ec, &k->size)) {
                ERR_clear_error();
                return error_set(err, -EBADMSG,
                                 "%s: neither RSA of 2048 to 8192 bits nor EC on "
                                 "P-256, P-384 or P-521",
                                 path);
        }
        if (!key_id(k->key, k->id))
                return error_openssl(err, path);
        *ret = TAKE(k);
        return 0;
}

/* --- decryption --- */

/* Return: whether the key of the content came out. Neither says why, nor what was wrong: it's one
 * answer for all. OAEP is proof against whoever collects such answers, PKCS #1 v1.5, which isn't,
 * was refused by the shape. Both OAEP and the key wrap of ECDH show a key that isn't the
 * recipient's. CMS_decrypt() would hide that, and go on with a random key: that answer is meant for
 * PKCS #1 v1.5, and once in 256 times the padding of what comes out is good. A key of another
 * length than the cipher's, though, which only whoever wrote the CMS can put in, is exchanged for a
 * random one here too, and shows as damage, or as a content that nobody wrote. */
static bool unwrap(CMS_ContentInfo *cms, CMS_RecipientInfo *ri, EVP_PKEY *key) {
        bool done;

        if (CMS_RecipientInfo_type(ri) == CMS_RECIPINFO_AGREE) {
                STACK_OF(CMS_RecipientEncryptedKey) *keys = CMS_RecipientInfo_kari_get0_reks(ri);

                done = sk_CMS_RecipientEncryptedKey_num(keys) == 1 &&
                       CMS_RecipientInfo_kari_set0_pkey(ri, key) == 1 &&
                       CMS_RecipientInfo_kari_decrypt(
                               cms, ri, sk_CMS_RecipientEncryptedKey_value(keys, 0)) == 1;
        } else {
                done = EVP_PKEY_up_ref(key) == 1 && CMS_RecipientInfo_set0_pkey(ri, key) == 1 &&
                       CMS_RecipientInfo_decrypt(cms, ri) == 1;
        }
        ERR_clear_error();
        return done;
}

/* @plain has room for the padding too, so it's never filled. Return: whether there's a content and
 * the padding is right, which shows where it ends. */
static bool read_content(CMS_ContentInfo *cms, struct secret *plain, size_t *ret) {
        _cleanup_(bio_freep) BIO *bio = CMS_dataInit(cms, NULL);
        size_t done = 0;
        int n;

        while (bio && done < secret_size(plain) &&
               (n = BIO_read(bio, secret_data(plain) + done, (int) (secret_size(plain) - done))) >
                       0)
                done += (size_t) n;
        *ret = done;
        return bio && done > 0 && done < secret_size(plain) && done <= CMS_CONTENT_MAX &&
               BIO_method_type(bio) == BIO_TYPE_CIPHER && BIO_get_cipher_status(bio) == 1;
}

/* Parses again for each recipient, so that nothing of the one before is left. */
static int try_recipient(const uint8_t *der, size_t size, size_t i, EVP_PKEY *key,
                         struct secret *plain, size_t *ret) {
        _cleanup_(cms_freep) CMS_ContentInfo *cms = NULL;
        STACK_OF(CMS_RecipientInfo) * all;
        const unsigned char *p = der;
        bool good;

        cms = d2i_CMS_ContentInfo(NULL, &p, (long) size);
        all = cms ? CMS_get0_RecipientInfos(cms) : NULL;
        if (!all || p != der + size || (size_t) sk_CMS_RecipientInfo_num(all) <= i) {
                ERR_clear_error();
                return CMS_DAMAGED;
        }
        if (!unwrap(cms, sk_CMS_RecipientInfo_value(all, (int) i), key))
                return CMS_OTHER_KEY;
        good = read_content(cms, plain, ret);
        ERR_clear_error();
        return good ? CMS_OPEN : CMS_DAMAGED;
}

/* Without the padding: the first @size bytes of @plain. */
static int first_of(struct secret *plain, size_t size, struct secret **ret, struct error *err) {
        int r = secret_new(size, ret);

        if (r < 0)
                return error_errno(err, r, "no locked memory for what was decrypted");
        memcpy(secret_data(*ret), secret_data(plain), size);
        return CMS_OPEN;
}

int cms_decrypt(const uint8_t *cms, size_t size, const struct private_key *key, struct secret **ret,
                struct error *err) {
        _cleanup_(secret_freep) struct secret *plain = NULL;
        int verdict = CMS_OTHER_KEY, r;
        struct cms_shape shape;
        size_t n;

        if (!cms_shape(cms, size, &shape))
                return CMS_DAMAGED;
        r = secret_new(shape.content, &plain);
        if (r < 0)
                return error_errno(err, r, "no locked memory for what is decrypted");
        for (size_t i = 0; i < shape.recipients; i++) {
                const struct cms_recipient *one = &shape.recipient[i];

                if (one->id_size == sizeof(key->id) &&
                    memcmp(one->id, key->id, sizeof(key->id)) == 0)
                        verdict = CMS_DAMAGED; /* unless it opens */
                if (one->ec != key->ec || one->size != key->size)
                        continue;
                r = try_recipient(cms, size, i, key->key, plain, &n);
                if (r == CMS_OPEN)
                        return first_of(plain, n, ret, err);
                if (r == CMS_DAMAGED)
                        verdict = CMS_DAMAGED;
        }
        return verdict;
}
