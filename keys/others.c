/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/others.h"

#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "keys/fields.h"
#include "keys/wraps.h"

#define LABEL "diskseal/1 other kek"

int others_find(const struct kek_record *r, const struct kek *kek, size_t *ret, struct error *err) {
        uint8_t object[SHA256_SIZE];
        int e = archive_object(kek, object, err);

        for (size_t i = 0; e == 0 && i < r->others_count; i++)
                if (r->other[i].version == kek->version &&
                    strcmp(r->other[i].name, kek->name) == 0 &&
                    memcmp(r->other[i].object, object, sizeof(object)) == 0) {
                        *ret = i;
                        return 1;
                }
        return e;
}

int others_has(const struct kek_record *r, const struct kek *kek, uint32_t version,
               struct error *err) {
        size_t at;
        int e = others_find(r, kek, &at, err);

        return e > 0 ? wraps_by(r->other[at].wrap, r->other[at].wraps, version) : e;
}

static int bind(const struct kek_record *r, const struct other_kek *e, const struct archive_key *by,
                struct fields *ret, struct error *err) {
        char object[base64_size(SHA256_SIZE)];
        int n = base64_encode(e->object, sizeof(e->object), object, sizeof(object), err);

        if (n < 0)
                return n;
        fields_add(ret, LABEL);
        fields_add(ret, r->name);
        fields_add_number(ret, by->kek->version);
        fields_add(ret, e->name);
        fields_add_number(ret, e->version);
        fields_add(ret, object);
        return 0;
}

static int wrap(const struct kek_record *r, struct other_kek *entry, struct secret *key,
                const struct archive_key *by, uint32_t keep, struct error *err) {
        struct fields aad = { 0 };
        const struct wrap_binding b = { by, LABEL, &aad };
        int e = bind(r, entry, by, &aad, err);

        return e < 0 ? e : wraps_seal(entry->wrap, &entry->wraps, &b, key, keep, err);
}

int others_open(const struct kek_record *r, size_t index, const struct archive_key *by,
                struct secret **ret, struct error *err) {
        const struct other_kek *entry = &r->other[index];
        struct fields aad = { 0 };
        const struct wrap_binding b = { by, LABEL, &aad };
        int e = bind(r, entry, by, &aad, err);

        return e < 0 ? e : wraps_open(entry->wrap, entry->wraps, &b, ret, err);
}

int others_put(struct kek_record *r, const struct archive_key *other, const struct archive_key *by,
               struct error *err) {
        struct other_kek entry = { .version = other->kek->version };
        size_t at;
        int e = others_find(r, other->kek, &at, err);

        if (e < 0)
                return e;
        if (e == 0) {
                if (r->others_count == OTHERS_MAX)
                        return ARCHIVE_FULL;
                if ((e = archive_object(other->kek, entry.object, err)) < 0)
                        return e;
                (void) snprintf(entry.name, sizeof(entry.name), "%s", other->kek->name);
                at = r->others_count++;
                r->other[at] = entry;
        }
        e = wrap(r, &r->other[at], other->key, by, r->current.version, err);
        return e < 0 ? e : ARCHIVE_GOOD;
}

int others_rewrap(struct kek_record *r, const struct archive_key *old,
                  const struct archive_key *new, struct error *err) {
        for (size_t i = 0; i < r->others_count; i++) {
                _cleanup_(secret_freep) struct secret *key = NULL;
                int e = others_open(r, i, new, &key, err);

                if (e == ARCHIVE_NOT_HERE) {
                        e = others_open(r, i, old, &key, err);
                        if (e == ARCHIVE_GOOD)
                                e = wrap(r, &r->other[i], key, new, old->kek->version, err);
                }
                if (e < 0)
                        return e;
        }
        return ARCHIVE_GOOD;
}

void others_drop(struct kek_record *r, size_t index) {
        r->others_count--;
        memmove(&r->other[index], &r->other[index + 1],
                (r->others_count - index) * sizeof(r->other[0]));
}
