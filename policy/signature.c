/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/signature.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/public.h"
#include "policy/policy.h"

struct entry {
        enum pcr_bank bank;
        struct json *json; /* where it stands, borrowed */
        uint8_t key[SHA256_SIZE];
        uint8_t ref[SHA256_SIZE];   /* policyRef */
        size_t ref_size;            /* all of it, or 0 */
        struct signature signature; /* .size is 0 where it isn't signed yet */
};

struct signatures {
        struct json *json;
        size_t count;
        struct entry entry[SIGNATURES_MAX];
};

struct signatures *signatures_new(void) {
        _cleanup_(signatures_freep) struct signatures *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        s->json = json_new_object();
        return s->json ? TAKE(s) : NULL;
}

struct signatures *signatures_free(struct signatures *s) {
        if (!s)
                return NULL;
        json_free(s->json);
        free(s);
        return NULL;
}

/* --- reading --- */

static size_t members(const struct json *j) {
        struct json_iter i = { 0 };
        size_t n = 0;

        while (json_is_object(j) && json_next(j, &i))
                n += 1 + members(i.value);
        for (size_t k = 0; json_is_array(j) && k < json_length(j); k++)
                n += members(json_at(j, k));
        return n;
}

/* A member that stands there twice would be one thing to us, another to the next reader, and its
 * first value would be lost when the file is written again. The parser keeps the last in silence,
 * so the colons between strings are counted. Comments, which could hide one, it doesn't take. */
static bool each_once(const char *text, size_t size, const struct json *j) {
        size_t colons = 0;
        char quote = 0;

        for (size_t i = 0; i < size; i++) {
                if (quote && text[i] == '\\')
                        i++;
                else if (quote)
                        quote = text[i] == quote ? 0 : quote;
                else if (text[i] == '"' || text[i] == '\'')
                        quote = text[i];
                else
                        colons += text[i] == ':';
        }
        return colons == members(j);
}

static bool read_mask(const struct json *list, uint32_t *ret) {
        uint32_t mask = 0;

        for (size_t i = 0; i < json_length(list); i++) {
                uint64_t n;

                if (!json_uint(json_at(list, i), PCR_COUNT - 1, &n) || (mask & (1u << n)))
                        return false;
                mask |= 1u << n;
        }
        *ret = mask;
        return mask != 0;
}

static int read_hex(const struct json *j, const char *key, uint8_t ret[SHA256_SIZE],
                    struct error *err) {
        const char *text;
        int r = json_get_string(j, key, &text, err);

        if (r < 0)
                return r;
        if (!hex_decode(text, ret, SHA256_SIZE))
                return error_set(err, -EBADMSG, "member '%s' isn't SHA-256 in hex", key);
        return 0;
}

static int read_ref(const struct json *j, struct entry *e, struct error *err) {
        const char *text;
        int r;

        if (!json_has(j, "ref"))
                return 0;
        r = json_get_string(j, "ref", &text, err);
        if (r < 0)
                return r;
        if (!*text)
                return error_set(err, -EBADMSG, "member 'ref' is empty");
        e->ref_size = sizeof(e->ref);
        return crypto_sha256(text, strlen(text), e->ref, err);
}

/* Return: 0; 1 where it has too little to be found; or a fault. */
static int read_entry(const struct json *j, struct entry *e, struct error *err) {
        const struct json *list;
        int r;

        if (!json_is_object(j))
                return error_set(err, -EBADMSG, "it isn't an object");
        if (!json_has(j, "pcrs") || !json_has(j, "pkfp") || !json_has(j, "pol"))
                return 1;
        r = json_get_array(j, "pcrs", &list, err);
        if (r < 0)
                return r;
        if (!read_mask(list, &e->signature.pcr_mask))
                return error_set(err, -EBADMSG, "member 'pcrs' isn't a list of distinct PCRs");
        if ((r = read_hex(j, "pkfp", e->key, err)) < 0 || (r = read_ref(j, e, err)) < 0 ||
            (r = read_hex(j, "pol", e->signature.approved, err)) < 0)
                return r;
        if (!json_has(j, "sig"))
                return 0;
        r = json_get_bytes(j, "sig", e->signature.data, sizeof(e->signature.data),
                           &e->signature.size, err);
        if (r == 0 && e->signature.size == 0)
                return error_set(err, -EBADMSG, "member 'sig' is empty");
        return r;
}

static int read_bank(struct signatures *s, enum pcr_bank bank, struct error *err) {
        const char *name = pcr_bank_name(bank);
        const struct json *list;
        int r;

        if (!json_has(s->json, name))
                return 0;
        r = json_get_array(s->json, name, &list, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < json_length(list); i++) {
                struct entry *e = &s->entry[s->count];

                if (s->count == SIGNATURES_MAX)
                        return error_set(err, -EBADMSG, "over %d signatures", SIGNATURES_MAX);
                *e = (struct entry){ .bank = bank, .json = (struct json *) json_at(list, i) };
                r = read_entry(e->json, e, err);
                if (r < 0)
                        return error_prefix(err, "entry %zu of bank %s", i, name);
                s->count += r == 0;
        }
        return 0;
}

int signatures_parse(const char *text, size_t size, struct signatures **ret, struct error *err) {
        _cleanup_(signatures_freep) struct signatures *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return error_nomem(err);
        if (size > SIGNATURES_SIZE_MAX)
                return error_set(err, -EBADMSG, "signatures of %zu bytes, over %d", size,
                                 SIGNATURES_SIZE_MAX);
        r = json_parse(text, size, &s->json, err);
        if (r < 0)
                return r;
        if (!json_is_object(s->json))
                return error_set(err, -EBADMSG, "signatures aren't an object");
        if (!each_once(text, size, s->json))
                return error_set(err, -EBADMSG, "signatures with a member twice in one object");
        for (unsigned bank = 0; bank < PCR_BANKS; bank++) {
                r = read_bank(s, (enum pcr_bank) bank, err);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(s);
        return 0;
}

/* --- finding --- */

size_t signatures_count(const struct signatures *s) {
        size_t n = 0;

        for (size_t i = 0; i < s->count; i++)
                n += s->entry[i].signature.size > 0;
        return n;
}

static bool same_ref(const struct entry *e, const struct steps *steps) {
        return e->ref_size == steps->authorize.ref_size &&
               memcmp(e->ref, steps->authorize.ref, e->ref_size) == 0;
}

static bool same_state(const struct entry *e, const struct steps *steps, uint32_t mask,
                       const uint8_t approved[POLICY_DIGEST_SIZE]) {
        return e->bank == steps->bank && e->signature.pcr_mask == mask && same_ref(e, steps) &&
               memcmp(e->signature.approved, approved, POLICY_DIGEST_SIZE) == 0;
}

int signatures_find(const struct signatures *s, const struct steps *steps, uint32_t pcr_mask,
                    const uint8_t approved[POLICY_DIGEST_SIZE], struct signature *ret,
                    struct error *err) {
        int verdict = SIGNATURE_NO_KEY, r;
        uint8_t key[SHA256_SIZE];

        r = public_fingerprint(steps->authorize.key, steps->authorize.key_size, key, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < s->count; i++) {
                const struct entry *e = &s->entry[i];

                if (e->signature.size == 0 || memcmp(e->key, key, sizeof(key)) != 0)
                        continue;
                if (verdict == SIGNATURE_NO_KEY)
                        verdict = SIGNATURE_NO_STATE;
                if (!same_state(e, steps, pcr_mask, approved))
                        continue;
                r = signature_check(steps, &e->signature, err);
                if (r < 0)
                        return r;
                if (r == CRYPTO_GOOD) {
                        *ret = e->signature;
                        return SIGNATURE_FOUND;
                }
                verdict = SIGNATURE_FORGED;
        }
        return verdict;
}

int signature_check(const struct steps *steps, const struct signature *signature,
                    struct error *err) {
        uint8_t data[SIGNATURE_DATA_MAX];
        const struct public_signed what = {
                .data = data,
                .size = signature_data(steps, signature->approved, data),
                .signature = signature->data,
                .signature_size = signature->size,
        };

        return public_verify(steps->authorize.key, steps->authorize.key_size, &what, err);
}

/* --- making --- */

int signature_approved(const struct pcrs *pcrs, uint8_t ret[POLICY_DIGEST_SIZE],
                       struct error *err) {
        return policy_pcr_digest(pcrs, pcrs->mask, ret, err);
}

int signature_reference(const char *text, struct steps *ret, struct error *err) {
        uint8_t ref[SHA256_SIZE];
        int r;

        if (!text || !*text) {
                ret->authorize.ref_size = 0;
                return 0;
        }
        r = crypto_sha256(text, strlen(text), ref, err);
        if (r < 0)
                return r;
        memcpy(ret->authorize.ref, ref, sizeof(ref));
        ret->authorize.ref_size = sizeof(ref);
        return 0;
}

size_t signature_data(const struct steps *steps, const uint8_t approved[POLICY_DIGEST_SIZE],
                      uint8_t ret[SIGNATURE_DATA_MAX]) {
        size_t n = steps->authorize.ref_size;

        if (n > STEP_REF_MAX)
                n = STEP_REF_MAX;
        memcpy(ret, approved, POLICY_DIGEST_SIZE);
        memcpy(ret + POLICY_DIGEST_SIZE, steps->authorize.ref, n);
        return POLICY_DIGEST_SIZE + n;
}

static struct json *write_mask(uint32_t mask) {
        struct json *list = json_new_array();

        for (unsigned n = 0; list && n < PCR_COUNT; n++)
                if ((mask & (1u << n)) && !json_append_uint(list, n))
                        list = json_free(list);
        return list;
}

/* As systemd-measure orders it. */
static struct json *write_entry(const struct entry *e, const char *text) {
        _cleanup_(json_freep) struct json *j = json_new_object();
        char key[2 * SHA256_SIZE + 1], approved[2 * POLICY_DIGEST_SIZE + 1];

        hex_encode(e->key, sizeof(e->key), key);
        hex_encode(e->signature.approved, sizeof(e->signature.approved), approved);
        if (!j || !json_add(j, "pcrs", write_mask(e->signature.pcr_mask)) ||
            !json_add_string(j, "pkfp", key) ||
            (e->ref_size > 0 && !json_add_string(j, "ref", text)) ||
            !json_add_string(j, "pol", approved) ||
            !json_add_bytes(j, "sig", e->signature.data, e->signature.size))
                return NULL;
        return TAKE(j);
}

static struct json *array_of(struct signatures *s, enum pcr_bank bank, struct error *err) {
        const char *name = pcr_bank_name(bank);
        const struct json *list;

        if (!json_has(s->json, name) && !json_add(s->json, name, json_new_array()))
                return NULL;
        return json_get_array(s->json, name, &list, err) == 0 ? (struct json *) list : NULL;
}

static int append(struct signatures *s, const struct entry *new, const char *text,
                  struct error *err) {
        struct json *list = array_of(s, new->bank, err), *j;

        if (s->count == SIGNATURES_MAX)
                return error_set(err, -EFBIG, "over %d signatures in a file", SIGNATURES_MAX);
        j = list ? write_entry(new, text) : NULL;
        if (!j || !json_append(list, j))
                return error_nomem(err);
        s->entry[s->count] = *new;
        s->entry[s->count++].json = j;
        return 0;
}

int signatures_add(struct signatures *s, const struct steps *steps, const char *text,
                   const struct signature *signature, struct error *err) {
        struct entry new = { .bank = steps->bank,
                             .ref_size = steps->authorize.ref_size,
                             .signature = *signature };
        int r;

        if (new.ref_size != 0 && new.ref_size != sizeof(new.ref))
                return error_set(err, -EINVAL, "a policyRef that isn't SHA-256 of a name");
        memcpy(new.ref, steps->authorize.ref, new.ref_size);
        r = public_fingerprint(steps->authorize.key, steps->authorize.key_size, new.key, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < s->count; i++) {
                struct entry *e = &s->entry[i];

                if (memcmp(e->key, new.key, sizeof(new.key)) != 0 ||
                    !same_state(e, steps, signature->pcr_mask, signature->approved))
                        continue;
                if (!json_add_bytes(e->json, "sig", signature->data, signature->size))
                        return error_nomem(err);
                json_remove(e->json, "tbs"); /* it's for those that wait */
                e->signature = *signature;
                return 0;
        }
        return append(s, &new, text, err);
}

int signatures_text(const struct signatures *s, char **ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char *line;
        size_t n;
        int r;

        r = json_text(s->json, false, &text, err);
        if (r < 0)
                return r;
        n = strlen(text);
        if (n >= SIGNATURES_SIZE_MAX)
                return error_set(err, -EFBIG, "signatures of %zu bytes, over %d", n,
                                 SIGNATURES_SIZE_MAX);
        line = realloc(text, n + 2);
        if (!line)
                return error_nomem(err);
        text = NULL;
        memcpy(line + n, "\n", 2);
        *ret = line;
        return 0;
}
