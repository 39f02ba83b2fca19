/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "fuzz/fuzz.h"
#include "keys/archive.h"
#include "keys/others.h"

/* The record of a KEK with its archive, as the host can write it to the mirror: what's read is what
 * is written again; nothing that nobody signed is vouched for; nothing that nobody wrapped opens;
 * and what happens to a record keeps it sound. */

#define NAME "default"

static struct secret *fixed_key(uint8_t fill) {
        struct secret *key = NULL;

        MUST(secret_new(32, &key) == 0);
        memset(secret_data(key), fill, 32);
        return key;
}

static struct kek_record *parsed(const char *text, size_t size, struct error *err) {
        struct kek_record *r = calloc(1, sizeof(*r));

        MUST(r);
        if (record_parse(text, size, NAME, r, err) == 0)
                return r;
        free(r);
        return NULL;
}

static void is_sound(const struct kek_record *r) {
        MUST(r->retired_count <= RETIRED_MAX && r->macs <= RETIRED_WRAPS);
        for (size_t i = 0; i < r->retired_count; i++) {
                const struct retired *e = &r->retired[i];

                MUST(e->version > 0 && e->version <= KEK_VERSION_MAX && e->wraps <= RETIRED_WRAPS);
                MUST(i == 0 || r->retired[i - 1].version <= e->version);
                for (unsigned w = 0; w < e->wraps; w++)
                        MUST(e->wrap[w].box.size == BOX_SIZE);
        }
        MUST(r->others_count <= OTHERS_MAX);
        for (size_t i = 0; i < r->others_count; i++) {
                const struct other_kek *o = &r->other[i];

                MUST(name_valid(o->name) && strcmp(o->name, r->name) != 0);
                MUST(o->version > 0 && o->version <= KEK_VERSION_MAX && o->wraps <= RETIRED_WRAPS);
                for (unsigned w = 0; w < o->wraps; w++)
                        MUST(o->wrap[w].box.size == BOX_SIZE);
        }
}

/* With what it came from, and without. */
static void comes_back(const struct kek_record *r, const char *text, size_t size) {
        _cleanup_(json_freep) struct json *origin = NULL;
        _cleanup_(freep) char *with = NULL, *without = NULL, *covered = NULL, *again = NULL;
        _cleanup_(freep) struct kek_record *a = NULL, *b = NULL;
        struct error err = { 0 };

        MUST(json_parse(text, size, &origin, &err) == 0);
        MUST(record_print(r, origin, &with, &err) == 0);
        MUST(record_print(r, NULL, &without, &err) == 0);
        a = parsed(with, strlen(with), &err);
        b = parsed(without, strlen(without), &err);
        if (r->generation == 0) /* then there's no archive, whatever stood there */
                return;
        MUST(a && b);
        MUST(archive_covered(a, &covered, &err) == 0 && archive_covered(b, &again, &err) == 0);
        MUST(strcmp(covered, again) == 0);
        MUST(a->retired_count == r->retired_count && a->macs == r->macs);
        MUST(a->others_count == r->others_count && b->others_count == r->others_count);
}

static void nobody_vouches(const struct kek_record *r, const struct archive_key *by) {
        struct error err = { 0 };

        MUST(archive_check(r, by, &err) != ARCHIVE_GOOD);
        for (size_t i = 0; i < r->retired_count; i++) {
                struct secret *key = NULL;

                MUST(archive_open(r, i, by, &key, &err) == ARCHIVE_NOT_HERE);
                MUST(!key);
        }
        for (size_t i = 0; i < r->others_count; i++) {
                struct secret *key = NULL;

                MUST(others_open(r, i, by, &key, &err) == ARCHIVE_NOT_HERE);
                MUST(!key);
        }
}

/* Another KEK comes in, is wrapped anew, and goes. */
static void takes_other(struct kek_record *r, const struct archive_key *old,
                        const struct archive_key *new) {
        _cleanup_(freep) struct kek *kek = calloc(1, sizeof(*kek));
        const struct archive_key other = { kek, new->key };
        struct secret *key = NULL;
        struct error err = { 0 };
        size_t at, before = r->others_count;
        int e;

        MUST(kek);
        *kek = *old->kek;
        (void) snprintf(kek->name, sizeof(kek->name), "another");
        e = others_put(r, &other, old, &err);
        if (e == ARCHIVE_FULL) {
                MUST(before == OTHERS_MAX);
                return;
        }
        MUST(e == ARCHIVE_GOOD && others_has(r, kek, old->kek->version, &err) == 1);
        MUST(others_rewrap(r, old, new, &err) == ARCHIVE_GOOD);
        archive_keep_only(r, new->kek->version);
        is_sound(r);
        MUST(others_find(r, kek, &at, &err) == 1);
        MUST(others_open(r, at, new, &key, &err) == ARCHIVE_GOOD);
        MUST(crypto_same(key, other.key));
        secret_free(key);
        others_drop(r, at);
        MUST(others_has(r, kek, new->kek->version, &err) == 0);
        MUST(r->others_count == before || r->others_count + 1 == before);
}

/* A rotation over it, as if it had been taken. */
static void lives_on(struct kek_record *r, const struct archive_key *old,
                     const struct archive_key *new) {
        const struct archive_retention keep = { .versions = 3, .seconds = 1000 };
        struct secret *key = NULL;
        struct error err = { 0 };
        size_t at;
        int e = archive_add(r, old, new, "2026-11-24T16:00:00Z", &err);

        if (e == ARCHIVE_FULL) {
                MUST(r->retired_count == RETIRED_MAX);
                return;
        }
        MUST(e == ARCHIVE_GOOD);
        is_sound(r);
        r->generation = 1;
        archive_unsign(r);
        MUST(archive_sign(r, old, &err) == 0 && archive_sign(r, new, &err) == 0);
        MUST(archive_check(r, new, &err) == ARCHIVE_GOOD);
        MUST(archive_find(r, old->kek, &at, &err) == 1);
        MUST(archive_open(r, at, new, &key, &err) == ARCHIVE_GOOD);
        MUST(crypto_same(key, old->key));
        secret_free(key);
        archive_keep_only(r, new->kek->version);
        MUST(archive_check(r, new, &err) == ARCHIVE_GOOD ||
             archive_check(r, new, &err) == ARCHIVE_DAMAGED);
        (void) archive_prune(r, &keep, 1800000000);
        MUST(r->retired_count <= 3);
        is_sound(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(freep) struct kek *old = calloc(1, sizeof(*old)), *new = calloc(1, sizeof(*new));
        _cleanup_(secret_freep) struct secret *one = fixed_key(1), *two = fixed_key(2);
        _cleanup_(freep) struct kek_record *r = NULL;
        struct archive_key a, b;
        struct error err = { 0 };

        MUST(old && new);
        r = parsed((const char *) data, size, &err);
        if (!r) {
                MUST(err.text[0]);
                return 0;
        }
        is_sound(r);
        (void) archive_newest(r);
        comes_back(r, (const char *) data, size);
        (void) snprintf(old->name, sizeof(old->name), NAME);
        (void) snprintf(new->name, sizeof(new->name), NAME);
        old->version = r->has_current ? r->current.version : 1;
        new->version = old->version % KEK_VERSION_MAX + 1;
        old->sealed.public.size = new->sealed.public.size = 80;
        new->sealed.public.data[0] = 1;
        a = (struct archive_key){ old, one };
        b = (struct archive_key){ new, two };
        nobody_vouches(r, &a);
        takes_other(r, &a, &b);
        lives_on(r, &a, &b);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        return json_mutate(data, size, max, seed);
}
