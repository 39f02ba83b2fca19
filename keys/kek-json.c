/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "keys/kek.h"
#include "keys/steps-json.h"

/* --- reading: every byte comes from a disk that the host may have written --- */

static int parse_bytes(const struct json *o, const char *key, struct tpm_bytes *ret,
                       struct error *err) {
        size_t size;
        int r = json_get_bytes(o, key, ret->data, sizeof(ret->data), &size, err);

        if (r < 0)
                return r;
        ret->size = (uint16_t) size;
        return 0;
}

static int parse_pcr_values(const struct json *creation, struct pcrs *ret, struct error *err) {
        const struct json *values;
        struct json_iter i = { 0 };
        uint32_t bit;
        int r;

        r = json_get(creation, "pcrs", &values, err);
        if (r < 0)
                return r;
        while (json_next(values, &i)) {
                /* One number, so exactly one bit: "7", not "7,8" and not "07". */
                if (!pcr_mask_parse(i.key, &bit) || (bit & (bit - 1)) || (ret->mask & bit) ||
                    (i.key[0] == '0' && i.key[1]) ||
                    !hex_decode(json_string(i.value), ret->value[__builtin_ctz(bit)],
                                pcr_size(ret->bank)))
                        return error_set(err, -EBADMSG, "member 'pcrs' isn't PCR values");
                ret->mask |= bit;
        }
        return 0;
}

/* Under a signed policy, the signature for the state in which it was sealed. */
static int parse_origin(const struct json *creation, struct kek *kek, struct error *err) {
        if (!json_has(creation, "sig"))
                return 0;
        return json_get_bytes(creation, "sig", kek->origin.data, sizeof(kek->origin.data),
                              &kek->origin.size, err);
}

static int parse_counter(const struct json *tpm, struct kek *kek, struct error *err) {
        const struct json *counter;
        int r;

        kek->has_counter = json_has(tpm, "counter");
        if (kek->has_counter != !!kek_counter(kek))
                return error_set(err, -EBADMSG, "a counter without a step, or the reverse");
        if (!kek->has_counter)
                return 0;
        r = json_get(tpm, "counter", &counter, err);
        return r < 0 ? r : box_parse(counter, &kek->counter_key, err);
}

static int parse_tpm(const struct json *tpm, struct kek *kek, struct error *err) {
        struct sealed *s = &kek->sealed;
        const struct json *creation, *policy;
        int r;

        /* The policy says how long the values are. */
        if ((r = json_get_array(tpm, "policy", &policy, err)) < 0 ||
            (r = steps_parse(policy, &kek->steps, err)) < 0)
                return r;
        s->pcrs.bank = kek->steps.bank;
        if ((r = parse_bytes(tpm, "srk", &s->srk, err)) < 0 ||
            (r = parse_bytes(tpm, "public", &s->public, err)) < 0 ||
            (r = parse_bytes(tpm, "private", &s->private, err)) < 0 ||
            (r = json_get(tpm, "creation", &creation, err)) < 0 ||
            (r = parse_bytes(creation, "data", &s->creation, err)) < 0 ||
            (r = parse_bytes(creation, "ticket", &s->ticket, err)) < 0 ||
            (r = parse_pcr_values(creation, &s->pcrs, err)) < 0 ||
            (r = parse_origin(creation, kek, err)) < 0)
                return r;
        return parse_counter(tpm, kek, err);
}

int kek_parse(const struct json *entry, struct kek *ret, struct error *err) {
        _cleanup_(freep) struct kek *kek = calloc(1, sizeof(*kek));
        const char *name, *provider;
        const struct json *tpm;
        uint64_t version;
        int r;

        if (!kek)
                return error_nomem(err);
        if ((r = json_get_string(entry, "name", &name, err)) < 0 ||
            (r = json_get_uint(entry, "version", KEK_VERSION_MAX, &version, err)) < 0 ||
            (r = json_get_string(entry, "provider", &provider, err)) < 0)
                return r;
        if (!name_valid(name))
                return error_set(err, -EBADMSG, "member 'name' can't name a KEK");
        if (version == 0)
                return error_set(err, -EBADMSG, "KEK versions begin at 1");
        if (strcmp(provider, "tpm") != 0)
                return error_set(err, -EBADMSG, "a KEK of another provider than the TPM");
        (void) snprintf(kek->name, sizeof(kek->name), "%s", name);
        kek->version = (uint32_t) version;

        if ((r = json_get(entry, "tpm", &tpm, err)) < 0 || (r = parse_tpm(tpm, kek, err)) < 0 ||
            (r = factor_parse(entry, &kek->factor, err)) < 0)
                return r;
        *ret = *kek;
        return 0;
}

/* --- writing --- */

static bool print_pcr_values(const struct pcrs *pcrs, struct json *ret) {
        char key[4], text[2 * PCR_SIZE_MAX + 1];

        for (unsigned n = 0; n < PCR_COUNT; n++) {
                if (!(pcrs->mask & (1u << n)))
                        continue;
                (void) snprintf(key, sizeof(key), "%u", n);
                hex_encode(pcrs->value[n], pcr_size(pcrs->bank), text);
                if (!json_add_string(ret, key, text))
                        return false;
        }
        return true;
}

static bool add_bytes(struct json *o, const char *key, const struct tpm_bytes *b) {
        return json_add_bytes(o, key, b->data, b->size);
}

static struct json *print_creation(const struct kek *kek) {
        _cleanup_(json_freep) struct json *creation = json_new_object(),
                                          *values = json_new_object();
        const struct sealed *s = &kek->sealed;

        if (!print_pcr_values(&s->pcrs, values) || !add_bytes(creation, "data", &s->creation) ||
            !add_bytes(creation, "ticket", &s->ticket) ||
            !json_add(creation, "pcrs", TAKE(values)) ||
            (kek->origin.size &&
             !json_add_bytes(creation, "sig", kek->origin.data, kek->origin.size)))
                return NULL;
        return TAKE(creation);
}

static struct json *print_tpm(const struct kek *kek) {
        _cleanup_(json_freep) struct json *tpm = json_new_object(), *policy = json_new_array(),
                                          *counter = NULL;
        const struct sealed *s = &kek->sealed;

        if (!steps_print(&kek->steps, policy) || !add_bytes(tpm, "srk", &s->srk) ||
            !add_bytes(tpm, "public", &s->public) || !add_bytes(tpm, "private", &s->private) ||
            !json_add(tpm, "creation", print_creation(kek)) ||
            !json_add(tpm, "policy", TAKE(policy)))
                return NULL;
        if (kek->has_counter) {
                counter = json_new_object();
                if (!box_print(&kek->counter_key, counter) ||
                    !json_add(tpm, "counter", TAKE(counter)))
                        return NULL;
        }
        return TAKE(tpm);
}

bool kek_print(const struct kek *kek, struct json *entry) {
        return json_add_string(entry, "name", kek->name) &&
               json_add_uint(entry, "version", kek->version) &&
               json_add_string(entry, "provider", "tpm") &&
               json_add(entry, "tpm", print_tpm(kek)) && factor_print(&kek->factor, entry);
}
