/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "fuzz/fuzz.h"
#include "keys/kek.h"

/* Boxes that nobody sealed don't open, whatever they hold; entries of tokens; base64. */

static struct secret *fixed_key(void) {
        struct secret *key = NULL;

        MUST(secret_new(32, &key) == 0);
        memset(secret_data(key), 0x5a, 32);
        return key;
}

static const struct envelope_binding binding = {
        .uuid = "0f3a8f0e-6d0b-4f0e-9d57-1c2a3b4c5d6e",
        .disk = "a",
        .role = "data",
        .kek = "default",
        .version = 1,
};

static void box_from_nowhere(const uint8_t *data, size_t size) {
        _cleanup_(secret_freep) struct secret *key = fixed_key(), *out = NULL;
        struct gcm_box box = { 0 };
        struct error err = { 0 };
        size_t text = size < sizeof(box.text) ? size : sizeof(box.text);

        box.size = text;
        memcpy(box.text, data, text);
        memcpy(box.iv, data, size < sizeof(box.iv) ? size : sizeof(box.iv));
        if (size > sizeof(box.tag))
                memcpy(box.tag, data + size - sizeof(box.tag), sizeof(box.tag));
        MUST(envelope_open(key, &binding, &box, &out, &err) == CRYPTO_FORGED);
        MUST(!out);
}

/* An honest one with any bits turned, and the one that wasn't touched. */
static void box_altered(const uint8_t *data, size_t size) {
        _cleanup_(secret_freep) struct secret *key = fixed_key(), *plain = fixed_key();
        _cleanup_(secret_freep) struct secret *out = NULL, *no = NULL;
        struct gcm_box box = { 0 }, altered;
        struct error err = { 0 };
        uint8_t *at[] = { box.iv, box.tag, box.text };
        const size_t room[] = { sizeof(box.iv), sizeof(box.tag), 32 };
        bool any = false;

        MUST(envelope_seal(key, &binding, plain, &box, &err) == 0);
        MUST(envelope_open(key, &binding, &box, &out, &err) == CRYPTO_GOOD);
        altered = box;
        at[0] = altered.iv;
        at[1] = altered.tag;
        at[2] = altered.text;
        for (size_t i = 0, field = 0; field < 3; field++)
                for (size_t k = 0; k < room[field] && i < size; k++, i++) {
                        at[field][k] ^= data[i];
                        any = any || data[i];
                }
        if (any)
                MUST(envelope_open(key, &binding, &altered, &no, &err) == CRYPTO_FORGED);
}

static void entry(const uint8_t *data, size_t size) {
        _cleanup_(json_freep) struct json *j = NULL, *o = json_new_object();
        _cleanup_(freep) struct kek *k = calloc(1, sizeof(*k)), *again = calloc(1, sizeof(*again));
        struct error err = { 0 };

        if (json_parse((const char *) data, size, &j, &err) < 0)
                return;
        if (kek_parse(j, k, &err) < 0) {
                MUST(err.text[0]);
                return;
        }
        MUST(name_valid(k->name) && k->version > 0);
        MUST(kek_print(k, o));
        MUST(kek_parse(o, again, &err) == 0);
        MUST(kek_equal(k, again) && k->version == again->version);
}

static void base64(const uint8_t *data, size_t size) {
        _cleanup_(freep) char *text = calloc(1, size + 1), *back = malloc(base64_size(size));
        _cleanup_(freep) uint8_t *bytes = malloc(size + 1);
        struct error err = { 0 };
        size_t n;

        memcpy(text, data, size);
        if (base64_decode(text, bytes, size, &n, &err) < 0)
                return;
        MUST(base64_encode(bytes, n, back, base64_size(size), &err) == 0);
        MUST(strcmp(text, back) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size == 0)
                return 0;
        box_from_nowhere(data, size);
        box_altered(data, size);
        entry(data, size);
        base64(data, size);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        return json_mutate(data, size, max, seed);
}
