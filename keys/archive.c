/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/archive.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "keys/fields.h"
#include "keys/others.h"
#include "keys/wraps.h"

#define WRAP_LABEL "diskseal/1 archive"
#define MAC_LABEL "diskseal/1 archive mac"

/* --- which object --- */

int archive_object(const struct kek *kek, uint8_t ret[SHA256_SIZE], struct error *err) {
        return crypto_sha256(kek->sealed.public.data, kek->sealed.public.size, ret, err);
}

int archive_same(const struct kek *a, const struct kek *b, struct error *err) {
        uint8_t one[SHA256_SIZE], other[SHA256_SIZE];
        int r;

        if ((r = archive_object(a, one, err)) < 0 || (r = archive_object(b, other, err)) < 0)
                return r;
        return a->version == b->version && memcmp(one, other, sizeof(one)) == 0;
}

int archive_find(const struct kek_record *r, const struct kek *kek, size_t *ret,
                 struct error *err) {
        uint8_t object[SHA256_SIZE];
        int e = archive_object(kek, object, err);

        for (size_t i = 0; e == 0 && i < r->retired_count; i++)
                if (r->retired[i].version == kek->version &&
                    memcmp(r->retired[i].object, object, SHA256_SIZE) == 0) {
                        *ret = i;
                        return 1;
                }
        return e;
}

bool archive_is_plain(const struct kek_record *r) {
        return r->generation == 0 && r->macs == 0 && r->retired_count == 0;
}

uint32_t archive_newest(const struct kek_record *r) {
        uint32_t newest = r->has_current ? r->current.version : 0;

        if (r->has_staged && r->staged.version > newest)
                newest = r->staged.version;
        if (r->retired_count > 0 && r->retired[r->retired_count - 1].version > newest)
                newest = r->retired[r->retired_count - 1].version;
        return newest;
}

/* --- who vouches --- */

static bool cover_version(const struct kek *kek, const char *created, const char *key,
                          struct json *o) {
        _cleanup_(json_freep) struct json *v = json_new_object();
        struct error ignored = { 0 };
        uint8_t object[SHA256_SIZE];

        return archive_object(kek, object, &ignored) == 0 &&
               json_add_uint(v, "version", kek->version) &&
               json_add_bytes(v, "object", object, sizeof(object)) &&
               json_add_string(v, "created", created) && json_add(o, key, TAKE(v));
}

/* Nothing where there are none: a MAC from before there were any stays good. */
static bool cover_others(const struct kek_record *r, struct json *covered) {
        _cleanup_(json_freep) struct json *list = json_new_array();

        for (size_t i = 0; i < r->others_count; i++) {
                struct json *o = json_new_object();

                if (!json_append(list, o) || !other_print(&r->other[i], o))
                        return false;
        }
        return r->others_count == 0 || json_add(covered, "others", TAKE(list));
}

int archive_covered(const struct kek_record *r, char **ret, struct error *err) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *retired = json_new_array();

        for (size_t i = 0; i < r->retired_count; i++) {
                struct json *e = json_new_object();

                if (!json_append(retired, e) || !retired_print(&r->retired[i], e))
                        return error_nomem(err);
        }
        if (!json_add_string(o, "name", r->name) || !json_add_string(o, "policy", r->policy) ||
            !json_add_uint(o, "generation", r->generation) ||
            (r->staged_slot && !json_add_string(o, "depth", "slot")) ||
            (r->given_up && (!json_add_uint(o, "given-up", r->given_up) ||
                             !json_add_uint(o, "given-up-le", r->given_up_le))) ||
            (r->has_current && !cover_version(&r->current, r->current_created, "current", o)) ||
            (r->has_staged && !cover_version(&r->staged, r->staged_created, "staged", o)) ||
            !json_add(o, "retired", TAKE(retired)) || !cover_others(r, o))
                return error_nomem(err);
        return json_canonical(o, ret, err);
}

static int make_mac(const struct kek_record *r, const struct archive_key *by,
                    uint8_t ret[SHA256_SIZE], struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(freep) char *text = NULL;
        int e;

        if ((e = crypto_hkdf(by->key, MAC_LABEL, strlen(MAC_LABEL), &key, err)) < 0 ||
            (e = archive_covered(r, &text, err)) < 0)
                return e;
        return crypto_hmac(key, text, strlen(text), ret, err);
}

void archive_unsign(struct kek_record *r) {
        r->macs = 0;
}

bool archive_signed_by(const struct kek_record *r, uint32_t version) {
        for (unsigned i = 0; i < r->macs; i++)
                if (r->mac[i].by == version)
                        return true;
        return false;
}

int archive_sign(struct kek_record *r, const struct archive_key *by, struct error *err) {
        struct record_mac mac = { .by = by->kek->version };
        unsigned at = 0;
        int e = make_mac(r, by, mac.mac, err);

        if (e < 0)
                return e;
        while (at < r->macs && r->mac[at].by != mac.by)
                at++;
        if (at == RETIRED_WRAPS)
                return error_set(err, -EINVAL, "KEK %s: more than two versions to vouch", r->name);
        r->mac[at] = mac;
        if (at == r->macs)
                r->macs++;
        return 0;
}

int archive_check(const struct kek_record *r, const struct archive_key *by, struct error *err) {
        uint8_t mac[SHA256_SIZE];
        bool any = false;
        int e = make_mac(r, by, mac, err);

        if (e < 0)
                return e;
        for (unsigned i = 0; i < r->macs; i++) {
                if (r->mac[i].by != by->kek->version)
                        continue;
                any = true;
                if (crypto_equal(mac, r->mac[i].mac, sizeof(mac)))
                        return ARCHIVE_GOOD;
        }
        return any ? ARCHIVE_DAMAGED : ARCHIVE_UNSIGNED;
}

/* --- wrapped keys --- */

/* What the wrap of an entry by a version is bound to. */
static int bind(const struct kek_record *r, const struct retired *e, const struct archive_key *by,
                struct fields *ret, struct error *err) {
        char object[base64_size(SHA256_SIZE)];
        int n = base64_encode(e->object, sizeof(e->object), object, sizeof(object), err);

        if (n < 0)
                return n;
        fields_add(ret, WRAP_LABEL);
        fields_add(ret, r->name);
        fields_add_number(ret, e->version);
        fields_add_number(ret, by->kek->version);
        fields_add(ret, object);
        return 0;
}

bool archive_wrapped_by(const struct retired *e, uint32_t version) {
        return wraps_by(e->wrap, e->wraps, version);
}

int archive_open(const struct kek_record *r, size_t index, const struct archive_key *by,
                 struct secret **ret, struct error *err) {
        const struct retired *entry = &r->retired[index];
        struct fields aad = { 0 };
        const struct wrap_binding b = { by, WRAP_LABEL, &aad };
        int e = bind(r, entry, by, &aad, err);

        return e < 0 ? e : wraps_open(entry->wrap, entry->wraps, &b, ret, err);
}

/* In the place of one by the same version, or of one that isn't by @keep. */
static int wrap(const struct kek_record *r, struct retired *entry, struct secret *key,
                const struct archive_key *by, uint32_t keep, struct error *err) {
        struct fields aad = { 0 };
        const struct wrap_binding b = { by, WRAP_LABEL, &aad };
        int e = bind(r, entry, by, &aad, err);

        return e < 0 ? e : wraps_seal(entry->wrap, &entry->wraps, &b, key, keep, err);
}

/* In the order of versions. */
static int insert(struct kek_record *r, const struct retired *entry) {
        size_t at = r->retired_count;

        if (r->retired_count == RETIRED_MAX)
                return ARCHIVE_FULL;
        while (at > 0 && r->retired[at - 1].version > entry->version)
                at--;
        memmove(&r->retired[at + 1], &r->retired[at],
                (r->retired_count - at) * sizeof(r->retired[0]));
        r->retired[at] = *entry;
        r->retired_count++;
        return ARCHIVE_GOOD;
}

int archive_add_lost(struct kek_record *r, const struct kek *old, const char *when,
                     struct error *err) {
        const struct step *counter = kek_counter(old);
        struct retired entry = { .version = old->version, .le = counter ? counter->nv.le : 0 };
        int64_t ignored;
        size_t at;
        int e = archive_find(r, old, &at, err);

        if (e > 0)
                return ARCHIVE_GOOD;
        if (e < 0 || (e = archive_object(old, entry.object, err)) < 0)
                return e;
        (void) snprintf(entry.retired, sizeof(entry.retired), "%s", when);
        if (r->has_current && kek_equal(&r->current, old) &&
            time_seconds(r->current_created, &ignored))
                (void) snprintf(entry.created, sizeof(entry.created), "%s", r->current_created);
        return insert(r, &entry);
}

int archive_add(struct kek_record *r, const struct archive_key *old, const struct archive_key *new,
                const char *when, struct error *err) {
        size_t own = 0;
        int e = archive_add_lost(r, old->kek, when, err);

        if (e != ARCHIVE_GOOD || (e = archive_find(r, old->kek, &own, err)) < 0)
                return e;
        for (size_t i = 0; i < r->retired_count; i++) {
                _cleanup_(secret_freep) struct secret *opened = NULL;
                struct secret *key = i == own ? old->key : NULL;

                e = archive_open(r, i, new, &opened, err);
                if (e == ARCHIVE_NOT_HERE && !key) {
                        e = archive_open(r, i, old, &opened, err);
                        key = opened;
                }
                if (e >= 0 && key)
                        e = opened && key == old->key
                                    ? ARCHIVE_GOOD
                                    : wrap(r, &r->retired[i], key, new, old->kek->version, err);
                if (e < 0)
                        return e;
        }
        return others_rewrap(r, old, new, err);
}

void archive_keep_only(struct kek_record *r, uint32_t version) {
        for (size_t i = 0; i < r->retired_count; i++)
                wraps_keep_only(r->retired[i].wrap, &r->retired[i].wraps, version);
        for (size_t i = 0; i < r->others_count; i++)
                wraps_keep_only(r->other[i].wrap, &r->other[i].wraps, version);
}

void archive_drop(struct kek_record *r, size_t index) {
        r->retired_count--;
        memmove(&r->retired[index], &r->retired[index + 1],
                (r->retired_count - index) * sizeof(r->retired[0]));
}

static bool too_old(const struct retired *e, uint64_t seconds, int64_t now) {
        int64_t then;

        return seconds != UINT64_MAX && time_seconds(e->retired, &then) && now > then &&
               (uint64_t) (now - then) > seconds;
}

static bool is_needed(const struct archive_retention *keep, uint32_t version) {
        for (size_t i = 0; i < keep->needed_count; i++)
                if (keep->needed[i] == version)
                        return true;
        return false;
}

size_t archive_prune(struct kek_record *r, const struct archive_retention *keep, int64_t now) {
        size_t before = r->retired_count, newer = 0;

        for (size_t i = r->retired_count; i-- > 0;) {
                bool retained =
                        newer < keep->versions && !too_old(&r->retired[i], keep->seconds, now);

                newer++;
                if (!retained && !is_needed(keep, r->retired[i].version))
                        archive_drop(r, i);
        }
        return before - r->retired_count;
}
