/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/wraps.h"

#include <string.h>

#include "base/crypto.h"

#define KEY_SIZE 32

bool wraps_by(const struct retired_wrap *wrap, unsigned count, uint32_t version) {
        for (unsigned i = 0; i < count; i++)
                if (wrap[i].by == version)
                        return true;
        return false;
}

int wraps_open(const struct retired_wrap *wrap, unsigned count, const struct wrap_binding *b,
               struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *wrapping = NULL, *key = NULL;
        int e = ARCHIVE_NOT_HERE;

        for (unsigned i = 0; i < count; i++) {
                if (wrap[i].by != b->by->kek->version)
                        continue;
                e = crypto_hkdf(b->by->key, b->label, strlen(b->label), &wrapping, err);
                if (e == 0)
                        e = crypto_open(wrapping, b->aad->data, b->aad->size, &wrap[i].box, &key,
                                        err);
                if (e < 0)
                        return e;
                break;
        }
        if (e != CRYPTO_GOOD || secret_size(key) != KEY_SIZE)
                return ARCHIVE_NOT_HERE;
        *ret = TAKE(key);
        return ARCHIVE_GOOD;
}

int wraps_seal(struct retired_wrap *wrap, unsigned *count, const struct wrap_binding *b,
               struct secret *key, uint32_t keep, struct error *err) {
        _cleanup_(secret_freep) struct secret *wrapping = NULL;
        struct retired_wrap w = { .by = b->by->kek->version };
        unsigned at = 0;
        int e = crypto_hkdf(b->by->key, b->label, strlen(b->label), &wrapping, err);

        if (e == 0)
                e = crypto_seal(wrapping, b->aad->data, b->aad->size, key, &w.box, err);
        if (e < 0)
                return e;
        while (at < *count && wrap[at].by != w.by)
                at++;
        if (at == RETIRED_WRAPS)
                at = wrap[0].by == keep ? 1 : 0;
        wrap[at] = w;
        if (at == *count)
                (*count)++;
        return 0;
}

void wraps_keep_only(struct retired_wrap *wrap, unsigned *count, uint32_t version) {
        if (*count < 2 || !wraps_by(wrap, *count, version))
                return;
        if (wrap[0].by != version)
                wrap[0] = wrap[1];
        *count = 1;
}
