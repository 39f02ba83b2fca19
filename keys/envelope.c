/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "keys/fields.h"
#include "keys/kek.h"

int box_parse(const struct json *o, struct gcm_box *ret, struct error *err) {
        const char *alg;
        int r = json_get_string(o, "alg", &alg, err);

        if (r < 0)
                return r;
        if (strcmp(alg, "A256GCM") != 0)
                return error_set(err, -EBADMSG, "wrapped with another algorithm than A256GCM");
        if ((r = json_get_exactly(o, "iv", ret->iv, sizeof(ret->iv), err)) < 0 ||
            (r = json_get_exactly(o, "ct", ret->text, BOX_SIZE, err)) < 0 ||
            (r = json_get_exactly(o, "tag", ret->tag, sizeof(ret->tag), err)) < 0)
                return r;
        ret->size = BOX_SIZE;
        return 0;
}

bool box_print(const struct gcm_box *box, struct json *o) {
        return json_add_string(o, "alg", "A256GCM") &&
               json_add_bytes(o, "iv", box->iv, sizeof(box->iv)) &&
               json_add_bytes(o, "ct", box->text, box->size) &&
               json_add_bytes(o, "tag", box->tag, sizeof(box->tag));
}

static void bind(const struct envelope_binding *b, struct fields *ret) {
        fields_add(ret, "diskseal/1");
        fields_add(ret, b->uuid);
        fields_add(ret, b->disk);
        fields_add(ret, b->role);
        fields_add(ret, b->kek);
        fields_add_number(ret, b->version);
}

int envelope_seal(struct secret *kek, const struct envelope_binding *binding, struct secret *secret,
                  struct gcm_box *ret, struct error *err) {
        struct fields aad = { 0 };

        bind(binding, &aad);
        return crypto_seal(kek, aad.data, aad.size, secret, ret, err);
}

int envelope_open(struct secret *kek, const struct envelope_binding *binding,
                  const struct gcm_box *box, struct secret **ret, struct error *err) {
        struct fields aad = { 0 };

        bind(binding, &aad);
        return crypto_open(kek, aad.data, aad.size, box, ret, err);
}
