/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/fields.h"
#include "keys/kek.h"

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
