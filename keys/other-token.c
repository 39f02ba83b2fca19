/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/other-token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "keys/keyslots.h"

#define SYSTEMD "systemd-tpm2"
#define CLEVIS "clevis"
#define BLOB_MAX 1024 /* bytes of a systemd token's blob */
#define SRK_MAX 512   /* … of its reference to the parent */

const char *other_token_type(const struct json *token) {
        struct error ignored = { 0 };
        const char *type;

        if (!token || json_get_string(token, "type", &type, &ignored) < 0)
                return NULL;
        return strcmp(type, SYSTEMD) == 0 ? SYSTEMD : strcmp(type, CLEVIS) == 0 ? CLEVIS : NULL;
}

static int say(int verdict, char ret_why[OTHER_WHY_MAX], const char *words) {
        (void) snprintf(ret_why, OTHER_WHY_MAX, "%s", words);
        return verdict;
}

/* Exactly one, as both programs write it. */
static bool get_slot(const struct json *token, unsigned *ret) {
        struct error ignored = { 0 };

        return keyslots_one(token, ret, &ignored) == 0 && *ret < LUKS_SLOTS_MAX;
}

static bool get_bank(const char *name, enum foreign_bank *ret) {
        if (strcmp(name, "sha256") == 0)
                *ret = FOREIGN_SHA256;
        else if (strcmp(name, "sha1") == 0)
                *ret = FOREIGN_SHA1;
        else
                return false;
        return true;
}

static bool get_algorithm(const char *name, enum foreign_parent *ret) {
        if (strcmp(name, "ecc") == 0)
                *ret = FOREIGN_PARENT_ECC;
        else if (strcmp(name, "rsa") == 0)
                *ret = FOREIGN_PARENT_RSA;
        else
                return false;
        return true;
}

/* A member that may be missing, but not be of another type. */
static bool get_string_or(const struct json *o, const char *key, const char *otherwise,
                          const char **ret) {
        struct error ignored = { 0 };

        if (!json_has(o, key)) {
                *ret = otherwise;
                return true;
        }
        return json_get_string(o, key, ret, &ignored) == 0;
}

/* --- systemd-tpm2 --- */

/* What makes the TPM want more than PCRs. Members of systemd up to 262. */
static const struct {
        const char *key, *words;
} wants[] = {
        { "tpm2-pin", "needs a PIN" },
        { "tpm2_pcrlock", "needs systemd-pcrlock's policy" },
        { "tpm2_pcrlock_nv", "needs systemd-pcrlock's policy" },
        { "tpm2_pubkey", "needs a signed PCR policy" },
        { "tpm2_pubkey_pcrs", "needs a signed PCR policy" },
};

/* Missing, null, false, and empty all mean no. */
static bool is_wanted(const struct json *token, const char *key) {
        static const char *const nothing[] = { "null", "false", "[]", "\"\"" };
        const struct json *value = NULL;
        struct json_iter i = { 0 };
        _cleanup_(freep) char *text = NULL;
        struct error ignored = { 0 };

        while (json_next(token, &i))
                if (strcmp(i.key, key) == 0)
                        value = i.value;
        if (!value)
                return false;
        if (json_text(value, false, &text, &ignored) < 0)
                return true;
        for (unsigned n = 0; n < ARRAY_SIZE(nothing); n++)
                if (strcmp(text, nothing[n]) == 0)
                        return false;
        return true;
}

static bool get_pcrs(const struct json *token, uint32_t *ret) {
        struct error ignored = { 0 };
        const struct json *list;

        if (json_get_array(token, "tpm2-pcrs", &list, &ignored) < 0)
                return false;
        for (size_t i = 0; i < json_length(list); i++) {
                uint64_t n;

                if (!json_uint(json_at(list, i), PCR_COUNT - 1, &n) || (*ret & (1u << n)))
                        return false;
                *ret |= 1u << n;
        }
        return true;
}

static bool get_policy(const struct json *token, uint8_t ret[32]) {
        struct error ignored = { 0 };
        const char *text;

        return json_get_string(token, "tpm2-policy-hash", &text, &ignored) == 0 &&
               hex_decode(text, ret, 32);
}

/* One TPM2B off the front of @data. */
static bool take_tpm2b(const uint8_t **data, size_t *size, struct tpm_bytes *ret) {
        size_t n;

        if (*size < 2)
                return false;
        n = 2 + (size_t) ((*data)[0] << 8 | (*data)[1]);
        if (n > *size || n > sizeof(ret->data))
                return false;
        memcpy(ret->data, *data, n);
        ret->size = (uint16_t) n;
        *data += n;
        *size -= n;
        return true;
}

/* TPM2B_PRIVATE, TPM2B_PUBLIC. What was sealed for a TPM that wasn't there has a seed behind it. */
static bool get_blob(const struct json *token, struct foreign_object *ret) {
        struct error ignored = { 0 };
        uint8_t blob[BLOB_MAX];
        const uint8_t *at = blob;
        size_t size;

        return json_get_bytes(token, "tpm2-blob", blob, sizeof(blob), &size, &ignored) == 0 &&
               take_tpm2b(&at, &size, &ret->private) && take_tpm2b(&at, &size, &ret->public) &&
               size == 0;
}

/* A serialized ESYS_TR: the TPM's handle, the Name as a TPM2B, then what we don't need: the key
 * with this Name is found, or there's none. */
static bool get_srk(const struct json *token, struct tpm_bytes *ret) {
        struct error ignored = { 0 };
        uint8_t record[SRK_MAX];
        size_t size, n;

        if (json_get_bytes(token, "tpm2_srk", record, sizeof(record), &size, &ignored) < 0 ||
            size < 6)
                return false;
        n = (size_t) (record[4] << 8 | record[5]);
        if (n > size - 6 || n > sizeof(ret->data))
                return false;
        memcpy(ret->data, record + 6, n);
        ret->size = (uint16_t) n;
        return true;
}

static int parse_systemd(const struct json *token, struct other_token *ret,
                         char ret_why[OTHER_WHY_MAX]) {
        struct foreign_object *f = &ret->object;
        struct error ignored = { 0 };
        const struct json *blob;
        const char *bank, *algorithm;

        for (unsigned i = 0; i < ARRAY_SIZE(wants); i++)
                if (is_wanted(token, wants[i].key))
                        return say(OTHER_UNUSABLE, ret_why, wants[i].words);
        if (json_get_array(token, "tpm2-blob", &blob, &ignored) == 0)
                return say(OTHER_UNUSABLE, ret_why, "holds its key in several parts");

        if (!get_blob(token, f) || !get_pcrs(token, &f->pcr_mask) ||
            !get_policy(token, f->policy) ||
            !get_string_or(token, "tpm2-pcr-bank", "sha256", &bank) ||
            !get_string_or(token, "tpm2-primary-alg", "ecc", &algorithm))
                return say(OTHER_DAMAGED, ret_why, "isn't what systemd writes");
        f->has_policy = true;
        if (!get_bank(bank, &f->bank))
                return say(OTHER_UNUSABLE, ret_why, "uses another PCR bank than sha256 and sha1");
        if (json_has(token, "tpm2_srk")) {
                f->parent = FOREIGN_PARENT_NAMED;
                if (!get_srk(token, &f->srk))
                        return say(OTHER_DAMAGED, ret_why, "isn't what systemd writes");
        } else if (!get_algorithm(algorithm, &f->parent))
                return say(OTHER_UNUSABLE, ret_why, "has a parent that is neither ECC nor RSA");
        return OTHER_GOOD;
}

/* --- clevis --- */

/* Base64url of at most @max bytes. */
static bool get_url(const struct json *o, const char *key, uint8_t *ret, size_t max,
                    size_t *ret_size) {
        struct error ignored = { 0 };
        const char *text;

        return json_get_string(o, key, &text, &ignored) == 0 &&
               base64url_decode(text, strlen(text), ret, max, ret_size, &ignored) == 0;
}

static bool get_url_bytes(const struct json *o, const char *key, struct tpm_bytes *ret) {
        size_t size;

        if (!get_url(o, key, ret->data, sizeof(ret->data), &size))
                return false;
        ret->size = (uint16_t) size;
        return true;
}

static bool is_string(const struct json *o, const char *key, const char *want) {
        struct error ignored = { 0 };
        const char *text;

        return json_get_string(o, key, &text, &ignored) == 0 && strcmp(text, want) == 0;
}

/* The pin's own part of the header. */
static int parse_pin(const struct json *pin, struct foreign_object *f,
                     char ret_why[OTHER_WHY_MAX]) {
        const char *algorithm, *bank, *ids;

        if (!get_url_bytes(pin, "jwk_pub", &f->public) ||
            !get_url_bytes(pin, "jwk_priv", &f->private) ||
            !get_string_or(pin, "key", "ecc", &algorithm) ||
            !get_string_or(pin, "pcr_bank", "sha1", &bank) ||
            !get_string_or(pin, "pcr_ids", "", &ids) ||
            (ids[0] && !pcr_mask_parse(ids, &f->pcr_mask)))
                return say(OTHER_DAMAGED, ret_why, "isn't what clevis writes");
        if (!is_string(pin, "hash", "sha256"))
                return say(OTHER_UNUSABLE, ret_why, "uses another hash than sha256");
        if (!get_algorithm(algorithm, &f->parent))
                return say(OTHER_UNUSABLE, ret_why, "has a parent that is neither ECC nor RSA");
        if (!get_bank(bank, &f->bank))
                return say(OTHER_UNUSABLE, ret_why, "uses another PCR bank than sha256 and sha1");
        return OTHER_GOOD;
}

static int parse_header(const struct json *header, struct foreign_object *f,
                        char ret_why[OTHER_WHY_MAX]) {
        struct error ignored = { 0 };
        const struct json *clevis, *pin;
        const char *name;

        if (json_get(header, CLEVIS, &clevis, &ignored) < 0 ||
            json_get_string(clevis, "pin", &name, &ignored) < 0)
                return say(OTHER_DAMAGED, ret_why, "isn't what clevis writes");
        if (strcmp(name, "tang") == 0)
                return say(OTHER_UNUSABLE, ret_why, "needs a tang server");
        if (strcmp(name, "sss") == 0)
                return say(OTHER_UNUSABLE, ret_why, "needs several pins together (sss)");
        if (strcmp(name, "tpm2") != 0)
                return say(OTHER_UNUSABLE, ret_why, "needs another pin than tpm2");
        if (!is_string(header, "alg", "dir") || !is_string(header, "enc", "A256GCM"))
                return say(OTHER_UNUSABLE, ret_why, "is encrypted in another way than A256GCM");
        if (json_has(header, "zip") || json_has(header, "crit") ||
            json_get(clevis, "tpm2", &pin, &ignored) < 0)
                return say(OTHER_DAMAGED, ret_why, "isn't what clevis writes");
        return parse_pin(pin, f, ret_why);
}

/* The flattened JSON form, with no other header than the protected one. */
static bool parse_jwe(const struct json *jwe, struct other_token *ret) {
        struct error ignored = { 0 };
        const char *header, *key;
        size_t iv, tag;

        if (json_get_string(jwe, "protected", &header, &ignored) < 0 ||
            strlen(header) >= sizeof(ret->header) || json_has(jwe, "header") ||
            json_has(jwe, "unprotected") || json_has(jwe, "recipients") || json_has(jwe, "aad") ||
            !get_string_or(jwe, "encrypted_key", "", &key) || key[0] ||
            !get_url(jwe, "iv", ret->iv, sizeof(ret->iv), &iv) || iv != sizeof(ret->iv) ||
            !get_url(jwe, "tag", ret->tag, sizeof(ret->tag), &tag) || tag != sizeof(ret->tag) ||
            !get_url(jwe, "ciphertext", ret->text, sizeof(ret->text), &ret->text_size) ||
            ret->text_size == 0)
                return false;
        ret->header_size = strlen(header);
        memcpy(ret->header, header, ret->header_size);
        return true;
}

static int parse_clevis(const struct json *token, struct other_token *ret,
                        char ret_why[OTHER_WHY_MAX]) {
        _cleanup_(json_freep) struct json *header = NULL;
        char text[OTHER_HEADER_MAX];
        struct error ignored = { 0 };
        const struct json *jwe;
        const char *encoded;
        size_t size;
        int r;

        /* What another pin needs is said before what is wrong with the rest. */
        if (json_get(token, "jwe", &jwe, &ignored) < 0 ||
            json_get_string(jwe, "protected", &encoded, &ignored) < 0 ||
            base64url_decode(encoded, strlen(encoded), (uint8_t *) text, sizeof(text), &size,
                             &ignored) < 0 ||
            json_parse(text, size, &header, &ignored) < 0)
                return say(OTHER_DAMAGED, ret_why, "isn't what clevis writes");
        r = parse_header(header, &ret->object, ret_why);
        if (r == OTHER_GOOD && !parse_jwe(jwe, ret))
                return say(OTHER_DAMAGED, ret_why, "isn't what clevis writes");
        return r;
}

int other_token_parse(const struct json *token, struct other_token *ret,
                      char ret_why[OTHER_WHY_MAX], struct error *err) {
        _cleanup_(freep) struct other_token *o = calloc(1, sizeof(*o));
        int r;

        if (!o)
                return error_nomem(err);
        o->type = other_token_type(token);
        if (!o->type)
                return say(OTHER_DAMAGED, ret_why, "is of another program");
        r = strcmp(o->type, CLEVIS) == 0 ? parse_clevis(token, o, ret_why)
                                         : parse_systemd(token, o, ret_why);
        if (r != OTHER_GOOD)
                return r;
        if (!get_slot(token, &o->slot))
                return say(OTHER_DAMAGED, ret_why, "isn't bound to exactly one keyslot");
        *ret = *o;
        return OTHER_GOOD;
}

/* --- opening --- */

/* The passphrase that systemd gave the keyslot: text, without newline. */
static int as_base64(struct secret *raw, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *text = NULL, *passphrase = NULL;
        size_t size = base64_size(secret_size(raw));
        int r;

        if ((r = secret_new(size, &text)) < 0 || (r = secret_new(size - 1, &passphrase)) < 0)
                return error_errno(err, r, "no locked memory for a passphrase");
        r = base64_encode(secret_data(raw), secret_size(raw), (char *) secret_data(text), size,
                          err);
        if (r < 0)
                return r;
        memcpy(secret_data(passphrase), secret_data(text), size - 1);
        *ret = TAKE(passphrase);
        return TPM_GRANTED;
}

/* Where the string ends that begins at @i, with its quotes; none in a JWK has an escape. 0: none
 * there. */
static size_t string_end(const char *text, size_t size, size_t i) {
        if (i >= size || text[i] != '"')
                return 0;
        for (i++; i < size && text[i] != '\\'; i++)
                if (text[i] == '"')
                        return i + 1;
        return 0;
}

/* Where member @key's string begins in an object of strings and lists of strings, in compact JSON
 * as jose(1) writes it; 0: nowhere. Not the JSON parser: that one makes copies, and this is a key.
 */
static size_t find_string_member(const char *text, size_t size, const char *key) {
        size_t length = strlen(key), i = 1;
        unsigned depth = 1;

        if (size < 2 || text[0] != '{')
                return 0;
        while (i < size && depth > 0) {
                size_t end = string_end(text, size, i);

                if (text[i] == '"' && end == 0)
                        return 0;
                if (end && depth == 1 && end - i == length + 2 && end + 1 < size &&
                    memcmp(text + i + 1, key, length) == 0 && text[end] == ':' &&
                    text[end + 1] == '"')
                        return end + 1;
                if (text[i] == '{' || text[i] == '[')
                        depth++;
                else if (text[i] == '}' || text[i] == ']')
                        depth--;
                i = end ? end : i + 1;
        }
        return 0;
}

/* The key in a JWK of type "oct". Return: TPM_GRANTED; TPM_DAMAGED; or what secret_new() says. */
static int from_jwk(struct secret *jwk, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        const char *text = (const char *) secret_data(jwk);
        size_t size = secret_size(jwk), begin, end, kind, got;
        int r;

        begin = find_string_member(text, size, "k");
        end = string_end(text, size, begin);
        kind = find_string_member(text, size, "kty");
        if (begin == 0 || end == 0 || kind == 0 || size - kind < 5 ||
            memcmp(text + kind, "\"oct\"", 5) != 0)
                return TPM_DAMAGED;
        r = secret_new(32, &key);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a key");
        r = base64url_decode(text + begin + 1, end - begin - 2, secret_data(key), 32, &got, err);
        if (r < 0 || got != 32) {
                *err = (struct error){ 0 };
                return TPM_DAMAGED;
        }
        *ret = TAKE(key);
        return TPM_GRANTED;
}

static int decrypt(const struct other_token *o, struct secret *jwk, struct secret **ret,
                   struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        const struct gcm_text in = { .aad = o->header,
                                     .aad_size = o->header_size,
                                     .iv = o->iv,
                                     .tag = o->tag,
                                     .text = o->text,
                                     .size = o->text_size };
        int r = from_jwk(jwk, &key, err);

        if (r != TPM_GRANTED)
                return r;
        r = crypto_open_text(key, &in, ret, err);
        if (r < 0)
                return r;
        return r == CRYPTO_GOOD ? TPM_GRANTED : TPM_DAMAGED;
}

int other_token_open(struct tpm *t, const struct other_token *o, struct secret **ret,
                     struct tpm_refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *sealed = NULL;
        int r = tpm_unseal_foreign(t, &o->object, &sealed, why, err);

        if (r != TPM_GRANTED)
                return r;
        return strcmp(o->type, CLEVIS) == 0 ? decrypt(o, sealed, ret, err)
                                            : as_base64(sealed, ret, err);
}
