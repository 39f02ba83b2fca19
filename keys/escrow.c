/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/escrow.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "keys/keyslots.h"

#define BITS 256
#define FINGERPRINT_TEXT (2 * SHA256_SIZE + 1)

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

bool escrow_is_one(const struct json *token) {
        struct error ignored = { 0 };
        const char *type;

        return token && json_get_string(token, "type", &type, &ignored) == 0 &&
               strcmp(type, ESCROW_TYPE) == 0;
}

/* --- the passphrase --- */

int escrow_passphrase(struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *random = NULL, *text = NULL;
        const uint8_t *in;
        uint8_t *out;
        int r;

        r = crypto_random_secret(BITS / 8, &random, err);
        if (r < 0)
                return r;
        r = secret_new(ESCROW_PASSPHRASE, &text);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a passphrase");
        in = secret_data(random);
        out = secret_data(text);
        for (size_t i = 0; i < ESCROW_PASSPHRASE; i++) {
                unsigned five = 0;

                /* The last letter has one bit of them, and zeros behind it. */
                for (size_t bit = 5 * i; bit < 5 * i + 5; bit++) {
                        unsigned byte = bit < BITS ? in[bit / 8] : 0;

                        five = five << 1 | (byte >> (7 - bit % 8) & 1);
                }
                out[i] = (uint8_t) base32[five];
        }
        *ret = TAKE(text);
        return 0;
}

/* Whether it can have come from escrow_passphrase(). */
static bool is_passphrase(struct secret *s) {
        const uint8_t *text = secret_data(s);

        if (secret_size(s) != ESCROW_PASSPHRASE)
                return false;
        for (size_t i = 0; i < ESCROW_PASSPHRASE; i++)
                if (!text[i] || !strchr(base32, text[i]))
                        return false;
        return text[ESCROW_PASSPHRASE - 1] == 'A' || text[ESCROW_PASSPHRASE - 1] == 'Q';
}

/* --- writing --- */

static bool add_recipient(struct json *list, const struct certificate *c) {
        uint8_t print[SHA256_SIZE];
        char text[FINGERPRINT_TEXT];

        certificate_fingerprint(c, print);
        hex_encode(print, sizeof(print), text);
        return json_append_string(list, text);
}

int escrow_make(struct certificate *const *certs, size_t count, unsigned slot,
                struct secret *passphrase, struct json **ret, struct error *err) {
        _cleanup_(json_freep) struct json *token = json_new_object();
        _cleanup_(json_freep) struct json *slots = json_new_array(), *recipients = json_new_array();
        _cleanup_(freep) uint8_t *cms = NULL;
        char number[12], created[TIME_TEXT];
        size_t size;
        int r;

        if (slot >= LUKS_SLOTS_MAX || !is_passphrase(passphrase))
                return error_set(err, -EINVAL, "escrow of something else than a keyslot of ours");
        r = cms_encrypt(certs, count, passphrase, &cms, &size, err);
        if (r < 0)
                return r;
        (void) snprintf(number, sizeof(number), "%u", slot);
        time_text(created);
        for (size_t i = 0; i < count; i++)
                if (!add_recipient(recipients, certs[i]))
                        return error_nomem(err);
        if (!json_append_string(slots, number) || !json_add_string(token, "type", ESCROW_TYPE) ||
            !json_add(token, "keyslots", TAKE(slots)) || !json_add_uint(token, "v", 1) ||
            !json_add_string(token, "created", created) ||
            !json_add(token, "recipients", TAKE(recipients)) ||
            !json_add_bytes(token, "cms", cms, size))
                return error_nomem(err);
        *ret = TAKE(token);
        return 0;
}

/* --- reading --- */

/* "2026-11-24T16:00:00Z", with the digits in their places; whether there's such a day isn't asked.
 */
static bool is_time(const char *text) {
        static const char form[] = "0000-00-00T00:00:00Z";

        if (strlen(text) != strlen(form))
                return false;
        for (size_t i = 0; form[i]; i++)
                if (form[i] == '0' ? !isdigit((unsigned char) text[i]) : text[i] != form[i])
                        return false;
        return true;
}

static int parse_recipients(const struct json *token, struct escrow *e, struct error *err) {
        const struct json *list;
        int r;

        r = json_get_array(token, "recipients", &list, err);
        if (r < 0)
                return r;
        if (json_length(list) == 0 || json_length(list) > CMS_RECIPIENTS_MAX)
                return error_set(err, -EBADMSG, "%zu recipients where 1 to %d belong",
                                 json_length(list), CMS_RECIPIENTS_MAX);
        for (size_t i = 0; i < json_length(list); i++)
                if (!hex_decode(json_string(json_at(list, i)), e->recipient[i], SHA256_SIZE))
                        return error_set(err, -EBADMSG, "recipient %zu isn't 64 digits of hex", i);
        e->recipients = json_length(list);
        return 0;
}

int escrow_parse(const struct json *token, struct escrow *ret, struct error *err) {
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        const char *created;
        uint64_t version;
        int r;

        if (!e)
                return error_nomem(err);
        if (!escrow_is_one(token))
                return error_set(err, -EBADMSG, "not a token of type " ESCROW_TYPE);
        if ((r = json_get_uint(token, "v", UINT32_MAX, &version, err)) < 0)
                return r;
        if (version != 1)
                return error_set(err, -EBADMSG, "written by another version of diskseal");
        if ((r = keyslots_one(token, &e->slot, err)) < 0 ||
            (r = json_get_string(token, "created", &created, err)) < 0)
                return r;
        if (!is_time(created))
                return error_set(err, -EBADMSG, "member 'created' isn't a time");
        (void) snprintf(e->created, sizeof(e->created), "%s", created);
        if ((r = parse_recipients(token, e, err)) < 0 ||
            (r = json_get_bytes(token, "cms", e->cms, sizeof(e->cms), &e->size, err)) < 0)
                return r;
        if (e->size == 0)
                return error_set(err, -EBADMSG, "member 'cms' is empty");
        *ret = *e;
        return 0;
}

int escrow_open(const struct escrow *e, const struct private_key *key, struct secret **ret,
                struct error *err) {
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        int r;

        r = cms_decrypt(e->cms, e->size, key, &passphrase, err);
        if (r != CMS_OPEN)
                return r;
        if (!is_passphrase(passphrase))
                return CMS_DAMAGED;
        *ret = TAKE(passphrase);
        return CMS_OPEN;
}
