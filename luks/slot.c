/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>

#include <libcryptsetup.h>

#include "luks/internal.h"
#include "luks/rules.h"

int luks_slot_check(const struct luks *l, unsigned slot, enum luks_slot_kind kind,
                    struct luks_reason *why) {
        struct rules_subject s = subject_of(l);

        s.slot = slot;
        s.kind = kind;
        if (slot >= LUKS_SLOTS_MAX || !(l->facts.slots & 1u << slot))
                return luks_refuse(why, LUKS_REFUSED, "slot", "there is no keyslot %u", slot);
        return (int) luks_rules_slot(&s, why);
}

/* From the first opening on the area is the one that was copied then. */
static int fetch_area(struct luks *l, unsigned slot, struct error *err) {
        uint64_t offset, size;
        int r;

        if (l->areas & 1u << slot)
                return 0;
        if (!rules_area(rules_numbered(l->metadata, "keyslots", slot), &offset, &size))
                return error_set(err, -EINVAL, "the area of keyslot %u", slot);
        r = copy_area(place_head(&l->at), l->copies.mem_fd, offset, (size_t) size, err);
        if (r < 0)
                return error_prefix(err, "area of keyslot %u", slot);
        l->areas |= 1u << slot;
        return 0;
}

static int key_size_of(const struct luks *l, unsigned slot, size_t *ret, struct error *err) {
        uint64_t size;
        int r;

        r = json_get_uint(rules_numbered(l->metadata, "keyslots", slot), "key_size", 64, &size,
                          err);
        if (r < 0)
                return r;
        *ret = (size_t) size;
        return 0;
}

/* What libcryptsetup reads there it believes: the slot's number, its cost and its place were
 * checked before. */
static int unlock(struct luks *l, const struct luks_key *key, struct secret *volume_key,
                  struct luks_reason *why, struct error *err) {
        struct lib *c = l->lib;
        size_t size = secret_size(volume_key);
        int r;

        c->said[0] = '\0';
        r = crypt_volume_key_get(c->cd, (int) key->slot, (char *) secret_data(volume_key), &size,
                                 (const char *) secret_data(key->key), secret_size(key->key));
        if (r == -EPERM)
                return luks_refuse(why, LUKS_WRONG_KEY, "key", "this key doesn't open keyslot %u",
                                   key->slot);
        if (r == -ENOMEM || r == -EIO)
                return lib_fault(c, r, "open a keyslot", err);
        if (r < 0)
                return luks_refuse(why, LUKS_REFUSED, "slot", "libcryptsetup can't open it: %s",
                                   c->said[0] ? c->said : "not valid");
        if (size != secret_size(volume_key))
                return luks_refuse(why, LUKS_REFUSED, "slot-key-size",
                                   "found %zu bytes, expected %zu", size, secret_size(volume_key));
        return LUKS_OK;
}

int luks_slot_open(struct luks *l, const struct luks_key *key, struct secret **ret,
                   struct luks_reason *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        size_t size;
        int r;

        r = luks_slot_check(l, key->slot, key->kind, why);
        if (r != LUKS_OK)
                return r;
        r = luks_lib(l, err);
        if (r < 0)
                return r;
        r = fetch_area(l, key->slot, err);
        if (r < 0)
                return r;
        r = key_size_of(l, key->slot, &size, err);
        if (r < 0)
                return r;
        r = secret_new(size, &volume_key);
        if (r < 0)
                return error_errno(err, r, "locked memory for the volume key");
        r = unlock(l, key, volume_key, why, err);
        if (r == LUKS_OK)
                *ret = TAKE(volume_key);
        return r;
}
