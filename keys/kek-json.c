/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "keys/kek.h"

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

static int parse_step(const struct json *item, struct step *ret, struct error *err) {
        const struct json *pcr, *list;
        const char *bank;
        int r;

        r = json_get(item, "pcr", &pcr, err);
        if (r < 0 || json_length(item) != 1)
                return error_set(err, -EBADMSG, "a policy step that this version doesn't know");
        r = json_get_string(pcr, "bank", &bank, err);
        if (r < 0)
                return r;
        if (strcmp(bank, "sha256") != 0)
                return error_set(err, -EBADMSG, "a policy on another PCR bank than sha256");
        r = json_get_array(pcr, "pcrs", &list, err);
        if (r < 0)
                return r;

        *ret = (struct step){ .kind = STEP_PCR };
        for (size_t i = 0; i < json_length(list); i++) {
                uint64_t n;

                if (!json_uint(json_at(list, i), PCR_COUNT - 1, &n) || (ret->pcr_mask & (1u << n)))
                        return error_set(err, -EBADMSG, "member 'pcrs' isn't a list of PCRs");
                ret->pcr_mask |= 1u << n;
        }
        if (ret->pcr_mask == 0)
                return error_set(err, -EBADMSG, "a policy step without a PCR");
        return 0;
}

static int parse_tpm(const struct json *tpm, struct kek *kek, struct error *err) {
        struct sealed *s = &kek->sealed;
        const struct json *creation, *policy;
        int r;

        if ((r = parse_bytes(tpm, "srk", &s->srk, err)) < 0 ||
            (r = parse_bytes(tpm, "public", &s->public, err)) < 0 ||
            (r = parse_bytes(tpm, "private", &s->private, err)) < 0 ||
            (r = json_get(tpm, "creation", &creation, err)) < 0 ||
            (r = parse_bytes(creation, "data", &s->creation, err)) < 0 ||
            (r = parse_bytes(creation, "ticket", &s->ticket, err)) < 0 ||
            (r = parse_pcr_values(creation, &s->pcrs, err)) < 0 ||
            (r = json_get_array(tpm, "policy", &policy, err)) < 0)
                return r;

        if (json_length(policy) == 0 || json_length(policy) > STEPS_MAX)
                return error_set(err, -EBADMSG, "a policy of %zu steps", json_length(policy));
        for (; kek->steps.count < json_length(policy); kek->steps.count++) {
                r = parse_step(json_at(policy, kek->steps.count),
                               &kek->steps.step[kek->steps.count], err);
                if (r < 0)
                        return r;
        }
        return 0;
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

        if ((r = json_get(entry, "tpm", &tpm, err)) < 0 || (r = parse_tpm(tpm, kek, err)) < 0)
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

static bool print_step(const struct step *step, struct json *ret) {
        _cleanup_(json_freep) struct json *list = json_new_array(), *pcr = json_new_object(),
                                          *item = json_new_object();

        for (unsigned n = 0; n < PCR_COUNT; n++)
                if ((step->pcr_mask & (1u << n)) && !json_append_uint(list, n))
                        return false;
        return json_add_string(pcr, "bank", "sha256") && json_add(pcr, "pcrs", TAKE(list)) &&
               json_add(item, "pcr", TAKE(pcr)) && json_append(ret, TAKE(item));
}

static bool print_steps(const struct steps *steps, struct json *ret) {
        for (unsigned i = 0; i < steps->count; i++)
                if (!print_step(&steps->step[i], ret))
                        return false;
        return true;
}

static bool add_bytes(struct json *o, const char *key, const struct tpm_bytes *b) {
        return json_add_bytes(o, key, b->data, b->size);
}

bool kek_print(const struct kek *kek, struct json *entry) {
        _cleanup_(json_freep) struct json *tpm = json_new_object(), *creation = json_new_object(),
                                          *values = json_new_object(), *policy = json_new_array();
        const struct sealed *s = &kek->sealed;

        if (!print_pcr_values(&s->pcrs, values) || !print_steps(&kek->steps, policy))
                return false;
        return add_bytes(creation, "data", &s->creation) &&
               add_bytes(creation, "ticket", &s->ticket) &&
               json_add(creation, "pcrs", TAKE(values)) && add_bytes(tpm, "srk", &s->srk) &&
               add_bytes(tpm, "public", &s->public) && add_bytes(tpm, "private", &s->private) &&
               json_add(tpm, "creation", TAKE(creation)) && json_add(tpm, "policy", TAKE(policy)) &&
               json_add_string(entry, "name", kek->name) &&
               json_add_uint(entry, "version", kek->version) &&
               json_add_string(entry, "provider", "tpm") && json_add(entry, "tpm", TAKE(tpm));
}
