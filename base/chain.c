/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/chain.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "base/credential.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/openssl.h"

#define FILE_MAX (1024 * 1024) /* bytes of a file of certificates */
#define TRUSTED_MAX 4096       /* certificates; all TPM makers together have some hundreds */
#define DEPTH_MAX 8            /* of intermediate certificates in a chain */
#define SECURITY_LEVEL 2       /* 112 bits: SSL_CTX_set_security_level(3) has the list */

struct chain {
        X509_STORE *roots;
        STACK_OF(X509) * between;
        unsigned count, root_count;
};

static void store_ctx_freep(X509_STORE_CTX **c) {
        X509_STORE_CTX_free(*c);
}

static void names_freep(GENERAL_NAMES **n) {
        GENERAL_NAMES_free(*n);
}

static void usage_freep(EXTENDED_KEY_USAGE **u) {
        EXTENDED_KEY_USAGE_free(*u);
}

static void object_freep(ASN1_OBJECT **o) {
        ASN1_OBJECT_free(*o);
}

/* --- what is trusted --- */

struct chain *chain_free(struct chain *c) {
        if (!c)
                return NULL;
        X509_STORE_free(c->roots);
        sk_X509_pop_free(c->between, X509_free);
        free(c);
        return NULL;
}

static int take(struct chain *c, X509 *x, struct error *err) {
        bool root = X509_self_signed(x, 1) == 1;

        ERR_clear_error();
        if (c->count == TRUSTED_MAX)
                return error_set(err, -EBADMSG, "more than %d certificates", TRUSTED_MAX);
        /* One that's there already is no error to it. */
        if (root ? X509_STORE_add_cert(c->roots, x) != 1
                 : X509_up_ref(x) != 1 || sk_X509_push(c->between, x) <= 0)
                return error_openssl(err, "keep a certificate");
        c->count++;
        c->root_count += root;
        return 0;
}

static int read_file(struct chain *c, const char *path, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(bio_freep) BIO *bio = NULL;
        size_t size, n = 0;
        int r = file_read(path, FILE_MAX, &text, &size, err);

        if (r < 0)
                return r;
        bio = BIO_new_mem_buf(text, (int) size);
        if (!bio)
                return error_nomem(err);
        for (;; n++) {
                _cleanup_(x509_freep) X509 *x =
                        PEM_read_bio_X509(bio, NULL, openssl_no_passphrase, NULL);
                bool end = !x && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

                if (!x)
                        ERR_clear_error();
                if (end && n > 0)
                        return 0;
                if (!x)
                        return error_set(err, -EBADMSG, "%s: %s", path,
                                         end ? "no certificate in PEM there"
                                             : "a certificate in it is damaged");
                r = take(c, x, err);
                if (r < 0)
                        return error_prefix(err, "%s", path);
        }
}

static int is_certificate(const struct dirent *d) {
        return d->d_name[0] != '.' &&
               (fnmatch("*.pem", d->d_name, 0) == 0 || fnmatch("*.crt", d->d_name, 0) == 0);
}

static int read_folder(struct chain *c, const char *path, struct error *err) {
        struct dirent **names = NULL;
        int r = 0, n = scandir(path, &names, is_certificate, alphasort);

        if (n < 0)
                return error_errno(err, -errno, "read %s", path);
        for (int i = 0; i < n; i++) {
                char file[4096];

                (void) snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
                if (r == 0)
                        r = read_file(c, file, err);
                free(names[i]);
        }
        free(names);
        return r;
}

int chain_read(const char *path, struct chain **ret, struct error *err) {
        _cleanup_(chain_freep) struct chain *c = calloc(1, sizeof(*c));
        struct stat st;
        int r;

        if (!c || !(c->roots = X509_STORE_new()) || !(c->between = sk_X509_new_null()))
                return error_nomem(err);
        if (stat(path, &st) < 0)
                return error_errno(err, -errno, "%s", path);
        r = S_ISDIR(st.st_mode) ? read_folder(c, path, err) : read_file(c, path, err);
        if (r < 0)
                return r;
        if (c->root_count == 0)
                return error_set(err, -EBADMSG,
                                 "%s: no root there, which is a certificate that signs itself",
                                 path);
        *ret = TAKE(c);
        return 0;
}

/* --- what the certificate says --- */

static _printf_(2, 3) void say(char ret[CHAIN_TEXT], const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(ret, CHAIN_TEXT, fmt, ap);
        va_end(ap);
        make_printable(ret);
}

/* All of it, and nothing behind it. */
static X509 *decode(const uint8_t *der, size_t size) {
        _cleanup_(x509_freep) X509 *x = NULL;
        const unsigned char *p = der;

        if (size > 0 && size <= CHAIN_DER_MAX)
                x = d2i_X509(NULL, &p, (long) size);
        ERR_clear_error();
        if (!x || p != der + size || (X509_get_extension_flags(x) & EXFLAG_INVALID))
                return NULL;
        return TAKE(x);
}

static bool has_ek_usage(X509 *x) {
        _cleanup_(usage_freep) EXTENDED_KEY_USAGE *usage =
                X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
        _cleanup_(object_freep) ASN1_OBJECT *ek = OBJ_txt2obj("2.23.133.8.1", 1);

        for (int i = 0; usage && ek && i < sk_ASN1_OBJECT_num(usage); i++)
                if (OBJ_cmp(sk_ASN1_OBJECT_value(usage, i), ek) == 0)
                        return true;
        return false;
}

static bool key_of(X509 *x, struct chain_ek *ret, struct credential_key *ret_key) {
        unsigned char *der = NULL;
        struct error ignored = { 0 };
        int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
        bool fits = n > 0 && (size_t) n <= sizeof(ret->key);

        if (fits) {
                memcpy(ret->key, der, (size_t) n);
                ret->key_size = (size_t) n;
        }
        OPENSSL_free(der);
        ERR_clear_error();
        return fits && credential_key_read(ret->key, ret->key_size, ret_key, &ignored) == 0;
}

/* One attribute of a name, empty where it has none. */
static void attribute(const X509_NAME *name, const char *oid, char *ret, size_t size) {
        _cleanup_(object_freep) ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
        int at = object ? X509_NAME_get_index_by_OBJ(name, object, -1) : -1;
        const ASN1_STRING *s =
                at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));

        (void) snprintf(ret, size, "%.*s", s ? ASN1_STRING_length(s) : 0,
                        s ? (const char *) ASN1_STRING_get0_data(s) : "");
}

/* The subjectAltName has the manufacturer as "id:49424D00", four characters in hexadecimal, or
 * registered numbers of the same form; and the model in words. */
static void maker_of(X509 *x, char ret[CHAIN_TEXT]) {
        _cleanup_(names_freep) GENERAL_NAMES *names =
                X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
        char maker[32] = "", model[64] = "", id[5] = "", text[CHAIN_TEXT];

        for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && !maker[0]; i++) {
                const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

                if (n->type != GEN_DIRNAME)
                        continue;
                attribute(n->d.directoryName, "2.23.133.2.1", maker, sizeof(maker));
                attribute(n->d.directoryName, "2.23.133.2.2", model, sizeof(model));
        }
        for (char *c = maker; *c; c++)
                if (*c >= 'A' && *c <= 'F')
                        *c = (char) (*c - 'A' + 'a');
        if (strncmp(maker, "id:", 3) == 0 && hex_decode(maker + 3, (uint8_t *) id, 4) &&
            id[0] > ' ')
                (void) snprintf(maker, sizeof(maker), "%s", id);
        say(text, "%s%s%s", maker, maker[0] && model[0] ? ", " : "", model);
        memcpy(ret, text, sizeof(text));
}

/* Return: CHAIN_GOOD; CHAIN_NOT_AN_EK. */
static int read_ek(X509 *x, struct chain_ek *ret, char ret_why[CHAIN_TEXT]) {
        struct credential_key key = { 0 };
        uint32_t flags = X509_get_extension_flags(x), usage = X509_get_key_usage(x);

        if (!has_ek_usage(x)) {
                say(ret_why, "its extended key usage isn't that of an endorsement key");
                return CHAIN_NOT_AN_EK;
        }
        if (flags & (EXFLAG_CA | EXFLAG_SS)) {
                say(ret_why, "it's an authority's");
                return CHAIN_NOT_AN_EK;
        }
        if (!key_of(x, ret, &key)) {
                say(ret_why, "its key is of another kind than endorsement keys are");
                return CHAIN_NOT_AN_EK;
        }
        if (!(flags & EXFLAG_KUSAGE) ||
            !(usage & (key.ec ? KU_KEY_AGREEMENT : KU_KEY_ENCIPHERMENT))) {
                say(ret_why, "its key usage isn't that of a key which decrypts");
                return CHAIN_NOT_AN_EK;
        }
        maker_of(x, ret->maker);
        return CHAIN_GOOD;
}

/* Return: CHAIN_GOOD; CHAIN_UNTRUSTED; CHAIN_EXPIRED; -EIO, -ENOMEM. */
static int verify(const struct chain *c, X509 *x, char ret_why[CHAIN_TEXT], struct error *err) {
        _cleanup_(store_ctx_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        X509_VERIFY_PARAM *param;
        int reason;

        if (!ctx)
                return error_nomem(err);
        if (X509_STORE_CTX_init(ctx, c->roots, x, c->between) != 1)
                return error_openssl(err, "check a certificate");
        param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_depth(param, DEPTH_MAX);
        X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
        if (X509_verify_cert(ctx) == 1)
                return CHAIN_GOOD;

        reason = X509_STORE_CTX_get_error(ctx);
        ERR_clear_error();
        if (reason == X509_V_ERR_OUT_OF_MEM)
                return error_nomem(err);
        say(ret_why, "%s", X509_verify_cert_error_string(reason));
        return reason == X509_V_ERR_CERT_HAS_EXPIRED || reason == X509_V_ERR_CERT_NOT_YET_VALID
                       ? CHAIN_EXPIRED
                       : CHAIN_UNTRUSTED;
}

int chain_check(const struct chain *c, const uint8_t *der, size_t size, struct chain_ek *ret,
                char ret_why[CHAIN_TEXT], struct error *err) {
        _cleanup_(x509_freep) X509 *x = decode(der, size);
        struct chain_ek ek = { 0 };
        int r;

        if (!x) {
                say(ret_why, "%zu bytes that are no certificate, or not exactly one", size);
                return CHAIN_DAMAGED;
        }
        r = read_ek(x, &ek, ret_why);
        if (r == CHAIN_GOOD)
                r = verify(c, x, ret_why, err);
        if (r == CHAIN_GOOD)
                *ret = ek;
        return r;
}
