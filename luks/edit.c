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

void luks_edit_own(struct luks_edit *e) {
        if (e->result)
                e->base = luks_close(e->base);
        else
                e->result = TAKE(e->base);
}

static const char *path_of(struct luks_edit *e) {
        return luks_edit_result(e)->facts.device;
}

static int changed(struct luks_reason *why) {
        return luks_refuse(why, LUKS_CHANGED, "changed",
                           "the header isn't the one that was checked: something else wrote it");
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

/* What libcryptsetup has in memory is what was meant: it checked it as a whole before it wrote it.
 */
static int take_meant(struct luks_edit *e, struct luks *l, struct luks_reason *why,
                      struct error *err) {
        const char *dump = NULL;
        int r;

        r = crypt_dump_json(e->lib->cd, &dump, 0);
        if (r < 0)
                return lib_fault(e->lib, r, "dump the header", err);
        l->dump = strdup(dump);
        if (!l->dump)
                return error_nomem(err);
        (void) snprintf(l->facts.uuid, sizeof(l->facts.uuid), "%s", crypt_get_uuid(e->lib->cd));
        return metadata_parse(l, l->dump, why, err);
}

/* Reads the disk anew by its path, and holds what stands there against what was meant. No second
 * context of libcryptsetup is asked what it makes of the bytes, since they leave it no choice:
 *
 * - Both copies have good checksums and the same content (luks_start() to degraded): it's the same
 *   header, whichever copy somebody reads.
 * - Its binary part is the one from before, a larger id aside, and has the UUID that was meant
 *   (copies_follow(), copies_uuid()): that of a header which libcryptsetup loaded.
 * - Its JSON, byte for byte, is the compact form of what was meant (luks_judge(), "text"). That is
 *   the text which libcryptsetup checked before it wrote it, and would read back.
 * - What was meant obeys the rules still (luks_judge()).
 *
 * Return: LUKS_OK; what isn't as it should; or a fault. */
static int read_again(struct luks_edit *e, struct luks **ret, struct luks_reason *why,
                      struct error *err) {
        const struct luks *before = luks_edit_result(e);
        const struct luks_source source = source_of(before);
        _cleanup_(luks_closep) struct luks *l = NULL;
        int r;

        r = luks_start(&source, &l, why, err);
        if (r == LUKS_OK && !place_same(&l->at, &e->at))
                return changed(why);
        if (r == LUKS_OK)
                r = copies_look(place_head(&l->at), &l->copies, why, err);
        if (r != LUKS_OK)
                return r;
        if (l->copies.degraded)
                return luks_refuse(why, LUKS_REFUSED, "copies", "%s", l->copies.degraded_text);
        r = take_meant(e, l, why, err);
        if (r != LUKS_OK)
                return r;
        if (!copies_follow(&before->copies, &l->copies) || !copies_uuid(&l->copies, l->facts.uuid))
                return luks_refuse(why, LUKS_CHANGED, "binary", "the binary header is another one");
        r = luks_judge(l, why, err);
        if (r == LUKS_OK)
                *ret = TAKE(l);
        return r;
}

/* libcryptsetup drops the error when its own fsync() fails. Ours is told of any write that failed
 * since our descriptor was opened, whoever wrote; and what it says is checked against the disk. */
static int commit(struct luks_edit *e, struct error *err) {
        _cleanup_(luks_closep) struct luks *after = NULL;
        struct luks_reason why = { 0 };
        int r;

        e->broken = true;
        if (fsync(place_head(&e->at)->fd) < 0)
                return error_errno(err, -errno, "make the header durable");
        r = read_again(e, &after, &why, err);
        if (r < 0)
                return error_prefix(err, "read the header back");
        if (r != LUKS_OK)
                return error_set(err, -EIO,
                                 "read the header back: it isn't what was written: %s: %s",
                                 why.rule, why.text);
        e->result = luks_close(e->result);
        e->result = TAKE(after);
        e->broken = false;
        return 0;
}

/* The metadata as it stands on the disk now, raw: equal bytes need no second look at their meaning.
 */
static int same_on_disk(const struct luks *l, const struct place *at, bool *ret,
                        struct luks_reason *why, struct error *err) {
        const struct luks_source source = source_of(l);
        _cleanup_(place_close) struct place now = PLACE_INIT;
        _cleanup_(copies_done) struct copies copies = { .mem_fd = -1 };
        int r;

        *ret = false;
        r = place_open(&source, O_RDONLY, &now, why, err);
        if (r < 0)
                return r;
        if (r != LUKS_OK || !place_same(&now, at) || !place_same(&l->at, at))
                return LUKS_OK;
        r = copies_look(place_head(&now), &copies, why, err);
        if (r < 0)
                return r;
        *ret = r == LUKS_OK && copies_same(&l->copies, &copies);
        return LUKS_OK;
}

static int unchanged(const struct luks *l, const struct place *at, struct luks_reason *why,
                     struct error *err) {
        bool same = false;
        int r = same_on_disk(l, at, &same, why, err);

        if (r < 0)
                return r;
        return same ? LUKS_OK : changed(why);
}

int luks_unchanged(const struct luks *l, struct luks_reason *why, struct error *err) {
        int r = unchanged(l, &l->at, why, err);

        return r < 0 ? error_prefix(err, "header of %.100s", l->facts.device) : r;
}

int luks_edit_unchanged(struct luks_edit *e, struct luks_reason *why, struct error *err) {
        int r = unchanged(luks_edit_result(e), &e->at, why, err);

        return r < 0 ? error_prefix(err, "header of %.100s", path_of(e)) : r;
}

/* Between the copy and this moment anything may have written. Compared before libcryptsetup loads
 * from the disk, because loading writes where the copies aren't equal. */
static int take_up(struct luks_edit *e, struct luks_reason *why, struct error *err) {
        bool same = false;
        int r;

        r = unchanged(e->base, &e->at, why, err);
        if (r == LUKS_OK)
                r = lib_load(place_head(&e->at)->fd, &e->lib, err);
        if (r != LUKS_OK)
                return r;
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
