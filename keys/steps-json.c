/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/steps-json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

/* --- reading: every byte comes from a disk that the host may have written --- */

static int parse_pcr(const struct json *pcr, struct steps *steps, struct step *ret,
                     struct error *err) {
        const struct json *list;
        enum pcr_bank bank;
        const char *name;
        int r;

        if ((r = json_get_string(pcr, "bank", &name, err)) < 0 ||
            (r = json_get_array(pcr, "pcrs", &list, err)) < 0)
                return r;
        if (!pcr_bank_parse(name, &bank))
                return error_set(err, -EBADMSG,
                                 "a policy on another PCR bank than sha256 and sha384");
        if (steps_pcrs(steps) && bank != steps->bank)
                return error_set(err, -EBADMSG, "a policy on two PCR banks");
        steps->bank = bank;
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

static int parse_authorize(const struct json *o, struct steps *steps, struct error *err) {
        size_t size;
        int r;

        if (steps->authorize.key_size)
                return error_set(err, -EBADMSG, "a policy with two keys");
        r = json_get_bytes(o, "key", steps->authorize.key, STEP_KEY_MAX, &size, err);
        if (r < 0)
                return r;
        if (size == 0)
                return error_set(err, -EBADMSG, "a policy by no key");
        steps->authorize.key_size = (uint16_t) size;
        if (!json_has(o, "ref"))
                return 0;
        r = json_get_bytes(o, "ref", steps->authorize.ref, STEP_REF_MAX, &size, err);
        if (r == 0)
                steps->authorize.ref_size = (uint16_t) size;
        return r;
}

static int parse_or(const struct json *list, struct steps *steps, struct error *err) {
        unsigned *count = &steps->alternatives.count;

        if (*count || !json_is_array(list) || json_length(list) < 2 ||
            json_length(list) > STEP_OR_MAX)
                return error_set(err, -EBADMSG, "member 'or' isn't a list of 2 to %d digests",
                                 STEP_OR_MAX);
        for (; *count < json_length(list); (*count)++) {
                const char *text = json_string(json_at(list, *count));
                size_t size;

                if (!text ||
                    base64_decode(text, steps->alternatives.digest[*count], POLICY_DIGEST_SIZE,
                                  &size, err) < 0 ||
                    size != POLICY_DIGEST_SIZE)
                        return error_set(err, -EBADMSG, "member 'or' has what isn't a digest");
        }
        return 0;
}

static int parse_nv(const struct json *o, struct step *ret, struct error *err) {
        uint64_t index;
        int r;

        if ((r = json_get_uint(o, "index", UINT32_MAX, &index, err)) < 0 ||
            (r = json_get_uint(o, "le", INT64_MAX, &ret->nv.le, err)) < 0 ||
            (r = json_get_exactly(o, "name", ret->nv.name, sizeof(ret->nv.name), err)) < 0)
                return r;
        if (index >> 24 != 0x01)
                return error_set(err, -EBADMSG, "member 'index' isn't an NV index");
        ret->nv.index = (uint32_t) index;
        return 0;
}

static const struct {
        const char *name;
        enum step_kind kind;
} kinds[] = {
        { "pcr", STEP_PCR }, { "authorize", STEP_AUTHORIZE }, { "or", STEP_OR },
        { "nv", STEP_NV },   { "auth", STEP_AUTH },
};

static int parse_step(const struct json *item, struct steps *steps, struct step *ret,
                      struct error *err) {
        struct json_iter i = { 0 };
        size_t k = 0;

        if (!json_is_object(item) || json_length(item) != 1 || !json_next(item, &i))
                return error_set(err, -EBADMSG, "a policy step that isn't one");
        while (k < ARRAY_SIZE(kinds) && strcmp(kinds[k].name, i.key) != 0)
                k++;
        if (k == ARRAY_SIZE(kinds))
                return error_set(err, -EBADMSG, "a policy step that this version doesn't know");
        ret->kind = kinds[k].kind;
        switch (ret->kind) {
        case STEP_PCR: return parse_pcr(i.value, steps, ret, err);
        case STEP_AUTHORIZE: return parse_authorize(i.value, steps, err);
        case STEP_OR: return parse_or(i.value, steps, err);
        case STEP_NV: return parse_nv(i.value, ret, err);
        case STEP_AUTH: break;
        }
        return 0;
}

int steps_parse(const struct json *list, struct steps *ret, struct error *err) {
        _cleanup_(freep) struct steps *steps = calloc(1, sizeof(*steps));

        if (!steps)
                return error_nomem(err);
        if (json_length(list) == 0 || json_length(list) > STEPS_MAX)
                return error_set(err, -EBADMSG, "a policy of %zu steps", json_length(list));
        for (; steps->count < json_length(list); steps->count++) {
                struct step *step = &steps->step[steps->count];
                int r = parse_step(json_at(list, steps->count), steps, step, err);

                if (r < 0)
                        return r;
        }
        *ret = *steps;
        return 0;
}

/* --- writing --- */

static struct json *print_pcr(const struct steps *steps, const struct step *step) {
        _cleanup_(json_freep) struct json *list = json_new_array(), *pcr = json_new_object();

        for (unsigned n = 0; n < PCR_COUNT; n++)
                if ((step->pcr_mask & (1u << n)) && !json_append_uint(list, n))
                        return NULL;
        if (!json_add_string(pcr, "bank", pcr_bank_name(steps->bank)) ||
            !json_add(pcr, "pcrs", TAKE(list)))
                return NULL;
        return TAKE(pcr);
}

static struct json *print_authorize(const struct steps *steps) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_bytes(o, "key", steps->authorize.key, steps->authorize.key_size) ||
            (steps->authorize.ref_size &&
             !json_add_bytes(o, "ref", steps->authorize.ref, steps->authorize.ref_size)))
                return NULL;
        return TAKE(o);
}

static struct json *print_or(const struct steps *steps) {
        _cleanup_(json_freep) struct json *list = json_new_array();
        char text[base64_size(POLICY_DIGEST_SIZE)];
        struct error ignored = { 0 };

        for (unsigned i = 0; i < steps->alternatives.count; i++)
                if (base64_encode(steps->alternatives.digest[i], POLICY_DIGEST_SIZE, text,
                                  sizeof(text), &ignored) < 0 ||
                    !json_append_string(list, text))
                        return NULL;
        return TAKE(list);
}

static struct json *print_nv(const struct step *step) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_uint(o, "index", step->nv.index) ||
            !json_add_bytes(o, "name", step->nv.name, sizeof(step->nv.name)) ||
            !json_add_uint(o, "le", step->nv.le))
                return NULL;
        return TAKE(o);
}

static struct json *print_step(const struct steps *steps, const struct step *step) {
        switch (step->kind) {
        case STEP_PCR: return print_pcr(steps, step);
        case STEP_AUTHORIZE: return print_authorize(steps);
        case STEP_OR: return print_or(steps);
        case STEP_NV: return print_nv(step);
        case STEP_AUTH: break;
        }
        return json_new_object();
}

bool steps_print(const struct steps *steps, struct json *list) {
        for (unsigned i = 0; i < steps->count; i++) {
                _cleanup_(json_freep) struct json *item = json_new_object();
                size_t k = 0;

                while (kinds[k].kind != steps->step[i].kind)
                        k++;
                if (!json_add(item, kinds[k].name, print_step(steps, &steps->step[i])) ||
                    !json_append(list, TAKE(item)))
                        return false;
        }
        return true;
}
