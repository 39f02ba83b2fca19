/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libcryptsetup.h>

#include "luks/internal.h"

struct luks_edit {
        struct lib *lib;     /* on the disk */
        struct place at;     /* our own descriptors, opened before anything is written */
        struct luks *base;   /* the header that was checked; borrowed */
        struct luks *result; /* the header as it was last read back; NULL before the first change */
        bool broken;         /* a change failed: nobody knows what the disk holds */
};

struct luks_edit *luks_edit_close(struct luks_edit *e) {
        if (!e)
                return NULL;
        e->lib = lib_free(e->lib);
        e->result = luks_close(e->result);
        place_close(&e->at);
        free(e);
        return NULL;
}

struct luks *luks_edit_result(struct luks_edit *e) {
        return e->result ? e->result : e->base;
}

void edit_own_base(struct luks_edit *e) {
        e->result = e->base;
        e->base = NULL;
}

static const char *path_of(struct luks_edit *e) {
        return luks_edit_result(e)->facts.device;
}

static int changed(struct luks_reason *why) {
        return luks_refuse(why, LUKS_CHANGED, "changed",
                           "the header isn't the one that was checked: something else wrote it");
}

/* Reads the disk anew by its path. Return: LUKS_OK, LUKS_CHANGED, or a fault. */
static int read_again(struct luks_edit *e, struct luks **ret, struct luks_reason *why,
                      struct error *err) {
        const struct luks_source source = source_of(luks_edit_result(e));
        _cleanup_(luks_closep) struct luks *l = NULL;
        int r;

        r = luks_open(&source, &l, why, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK || !place_same(&l->at, &e->at))
                return changed(why);
        *ret = TAKE(l);
        return LUKS_OK;
}

static int same_dump(const struct lib *c, const struct luks *l, bool *ret, struct error *err) {
        const char *dump = NULL;
        int r;

        r = crypt_dump_json(c->cd, &dump, 0);
        if (r < 0)
                return lib_fault(c, r, "dump the header", err);
        *ret = strcmp(dump, l->dump) == 0 && strcmp(crypt_get_uuid(c->cd), l->facts.uuid) == 0;
        return 0;
}

/* libcryptsetup drops the error when its own fsync() fails. Ours is told of any write that failed
 * since our descriptor was opened, whoever wrote; and what it says is checked against the disk. */
static int commit(struct luks_edit *e, struct error *err) {
        _cleanup_(luks_closep) struct luks *after = NULL;
        struct luks_reason why = { 0 };
        bool same = false;
        int r;

        e->broken = true;
        if (fsync(place_head(&e->at)->fd) < 0)
                return error_errno(err, -errno, "make the header durable");
        r = read_again(e, &after, &why, err);
        if (r < 0)
                return error_prefix(err, "read the header back");
        if (r != LUKS_OK)
                return error_set(err, -EIO, "read the header back: %s: %s", why.rule, why.text);
        if (after->facts.degraded)
                return error_set(err, -EIO, "read the header back: %s", after->facts.degraded_text);
        r = same_dump(e->lib, after, &same, err);
        if (r < 0)
                return r;
        if (!same)
                return error_set(err, -EIO, "read the header back: it isn't what was written");
        e->result = luks_close(e->result);
        e->result = TAKE(after);
        e->broken = false;
        return 0;
}

/* The metadata as it stands on the disk now, raw: equal bytes need no second look at their meaning.
 */
static int same_on_disk(const struct luks_edit *e, bool *ret, struct luks_reason *why,
                        struct error *err) {
        const struct luks_source source = source_of(e->base);
        _cleanup_(place_close) struct place now = PLACE_INIT;
        struct copies copies;
        int r;

        *ret = false;
        r = place_open(&source, O_RDONLY, &now, why, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK || !place_same(&now, &e->at) || !place_same(&e->base->at, &e->at))
                return LUKS_OK;
        r = copies_look(place_head(&now), &copies, why, err);
        if (r < 0)
                return r;
        *ret = r == LUKS_OK && copies_same(&e->base->copies, &copies);
        return LUKS_OK;
}

/* Between the copy and this moment anything may have written. Compared before libcryptsetup loads
 * from the disk, because loading writes where the copies aren't equal. */
static int take_up(struct luks_edit *e, struct luks_reason *why, struct error *err) {
        bool same = false;
        int r;

        r = same_on_disk(e, &same, why, err);
        if (r < 0)
                return r;
        if (!same)
                return changed(why);

        r = lib_new(place_head(&e->at)->fd, &e->lib, err);
        if (r < 0)
                return r;
        r = crypt_load(e->lib->cd, CRYPT_LUKS2, NULL);
        if (r < 0)
                return lib_fault(e->lib, r, "load the header", err);
        r = same_dump(e->lib, e->base, &same, err);
        if (r < 0)
                return r;
        if (!same)
                return changed(why);
        /* The load mended the copy: that was a write, and is to last like any other. */
        return e->base->facts.degraded ? commit(e, err) : LUKS_OK;
}

int luks_edit(struct luks *l, struct luks_edit **ret, struct luks_reason *why, struct error *err) {
        _cleanup_(luks_edit_closep) struct luks_edit *e = calloc(1, sizeof(*e));
        const struct luks_source source = source_of(l);
        int r;

        if (!e)
                return error_nomem(err);
        e->at = (struct place) PLACE_INIT;
        e->base = l;
        r = place_open(&source, O_RDWR, &e->at, why, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return changed(why);
        r = take_up(e, why, err);
        if (r < 0)
                return error_prefix(err, "change the header of %.100s", l->facts.device);
        if (r == LUKS_OK)
                *ret = TAKE(e);
        return r;
}

/* Every change goes through here: @r is what libcryptsetup said to it. It may report an error for a
 * change that took place. */
static int finish(struct luks_edit *e, int r, const char *what, struct error *err) {
        if (r < 0) {
                e->broken = true;
                (void) lib_fault(e->lib, r, what, err);
        } else {
                r = commit(e, err);
                if (r < 0)
                        (void) error_prefix(err, "%s", what);
        }
        if (r < 0)
                return error_prefix(err, "%.100s", path_of(e));
        return 0;
}

static int begin(struct luks_edit *e, struct error *err) {
        if (e->broken)
                return error_set(err, -ESTALE, "%.100s: an earlier change failed; open it again",
                                 path_of(e));
        e->lib->said[0] = '\0';
        return 0;
}

int luks_slot_add(struct luks_edit *e, const struct luks_key *key, struct secret *volume_key,
                  struct error *err) {
        unsigned slot = key->slot;
        int r;

        r = begin(e, err);
        if (r < 0)
                return r;
        if (slot >= LUKS_SLOTS_MAX || luks_edit_result(e)->facts.slots & 1u << slot)
                return error_set(err, -EEXIST, "keyslot %u isn't free", slot);
        r = lib_set_pbkdf(e->lib, key->kind, err);
        if (r < 0)
                return r;
        r = crypt_keyslot_set_encryption(e->lib->cd, CIPHER, SLOT_CIPHER_KEY);
        if (r < 0)
                return lib_fault(e->lib, r, "set the cipher of the keyslot", err);
        r = crypt_keyslot_add_by_key(e->lib->cd, (int) slot, (const char *) secret_data(volume_key),
                                     secret_size(volume_key), (const char *) secret_data(key->key),
                                     secret_size(key->key), 0);
        return finish(e, r, "add a keyslot", err);
}

int luks_slot_remove(struct luks_edit *e, unsigned slot, struct error *err) {
        int r;

        r = begin(e, err);
        if (r < 0)
                return r;
        if (slot >= LUKS_SLOTS_MAX || !(luks_edit_result(e)->facts.slots & 1u << slot))
                return error_set(err, -ENOENT, "there is no keyslot %u", slot);
        return finish(e, crypt_keyslot_destroy(e->lib->cd, (int) slot), "remove a keyslot", err);
}

int luks_token_set(struct luks_edit *e, unsigned id, const struct json *token, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        int r;

        r = begin(e, err);
        if (r < 0)
                return r;
        /* A number that libcryptsetup doesn't know would mean "any" to it. */
        if (id >= LUKS_TOKENS_MAX)
                return error_set(err, -EINVAL, "there is no token %u", id);
        r = json_text(token, false, &text, err);
        if (r < 0)
                return r;
        return finish(e, crypt_token_json_set(e->lib->cd, (int) id, text), "set a token", err);
}

int luks_token_remove(struct luks_edit *e, unsigned id, struct error *err) {
        int r;

        r = begin(e, err);
        if (r < 0)
                return r;
        if (id >= LUKS_TOKENS_MAX || !luks_token(luks_edit_result(e), id))
                return error_set(err, -ENOENT, "there is no token %u", id);
        return finish(e, crypt_token_json_set(e->lib->cd, (int) id, NULL), "remove a token", err);
}
