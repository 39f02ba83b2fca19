/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/ca.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/conf.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

/* What the extensions refer to. OpenSSL drops what is before the first dot of a name here. */
static const char sections[] = "[maker]\n"
                               "1.2.23.133.2.1=id:49424D00\n"
                               "2.2.23.133.2.2=swtpm\n"
                               "3.2.23.133.2.3=id:20191023\n";

static void must(bool done) {
        if (!done)
                abort();
}

struct ca_how ca_how_ek(bool ec) {
        return (struct ca_how){ .name = "unknown",
                                .from = -1,
                                .until = 365,
                                .basic = "critical,CA:FALSE",
                                .usage = ec ? "critical,keyAgreement" : "critical,keyEncipherment",
                                .extended = "2.23.133.8.1",
                                .san = CA_EK_SAN };
}

struct ca_how ca_how_authority(const char *name) {
        return (struct ca_how){ .name = name,
                                .from = -2,
                                .until = 3650,
                                .basic = "critical,CA:TRUE",
                                .usage = "critical,keyCertSign,cRLSign" };
}

EVP_PKEY *ca_key_new(const char *curve, unsigned bits) {
        EVP_PKEY *k = curve ? EVP_EC_gen(curve) : EVP_RSA_gen(bits);

        must(k);
        return k;
}

static void extend(X509 *x, CONF *conf, X509 *issuer, int nid, const char *value) {
        X509V3_CTX ctx;
        X509_EXTENSION *e;

        if (!value)
                return;
        X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
        X509V3_set_nconf(&ctx, conf);
        e = X509V3_EXT_nconf_nid(conf, &ctx, nid, value);
        must(e && X509_add_ext(x, e, -1) == 1);
        X509_EXTENSION_free(e);
}

static void extend_strangely(X509 *x) {
        ASN1_OBJECT *o = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
        ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
        X509_EXTENSION *e;

        must(o && s && ASN1_OCTET_STRING_set(s, (const unsigned char *) "\5", 2) == 1);
        e = X509_EXTENSION_create_by_OBJ(NULL, o, 1, s);
        must(e && X509_add_ext(x, e, -1) == 1);
        X509_EXTENSION_free(e);
        ASN1_OCTET_STRING_free(s);
        ASN1_OBJECT_free(o);
}

X509 *ca_sign(const struct ca *issuer, EVP_PKEY *key, const struct ca_how *how) {
        static long serial = 1;
        BIO *bio = BIO_new_mem_buf(sections, -1);
        CONF *conf = NCONF_new(NULL);
        X509 *x = X509_new();
        X509_NAME *name = X509_NAME_new();

        must(bio && conf && x && name && NCONF_load_bio(conf, bio, NULL) == 1 &&
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *) how->name,
                                        -1, -1, 0) == 1 &&
             X509_set_version(x, X509_VERSION_3) == 1 &&
             ASN1_INTEGER_set(X509_get_serialNumber(x), serial++) == 1 &&
             X509_set_subject_name(x, name) == 1 &&
             X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer->cert) : name) == 1 &&
             X509_time_adj_ex(X509_getm_notBefore(x), how->from, 0, NULL) &&
             X509_time_adj_ex(X509_getm_notAfter(x), how->until, 0, NULL) &&
             X509_set_pubkey(x, key) == 1);
        extend(x, conf, issuer ? issuer->cert : x, NID_basic_constraints, how->basic);
        extend(x, conf, issuer ? issuer->cert : x, NID_key_usage, how->usage);
        extend(x, conf, issuer ? issuer->cert : x, NID_ext_key_usage, how->extended);
        extend(x, conf, issuer ? issuer->cert : x, NID_subject_alt_name, how->san);
        if (how->stranger)
                extend_strangely(x);
        must(X509_sign(x, issuer ? issuer->key : key, how->sha1 ? EVP_sha1() : EVP_sha256()) > 0);
        X509_NAME_free(name);
        NCONF_free(conf);
        BIO_free(bio);
        return x;
}

struct ca ca_new(const struct ca *issuer, const struct ca_how *how) {
        EVP_PKEY *key = ca_key_new("P-256", 0);

        return (struct ca){ ca_sign(issuer, key, how), key };
}

void ca_done(struct ca *ca) {
        X509_free(ca->cert);
        EVP_PKEY_free(ca->key);
        *ca = (struct ca){ 0 };
}

size_t ca_der(const X509 *x, uint8_t *ret, size_t max) {
        int n = i2d_X509(x, NULL);

        must(n > 0 && (size_t) n <= max);
        must(i2d_X509(x, &ret) == n);
        return (size_t) n;
}

void ca_append(const X509 *x, const char *path) {
        FILE *f = fopen(path, "a");

        must(f && PEM_write_X509(f, x) == 1 && fclose(f) == 0);
}
