/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libcryptsetup.h>

#include "luks/internal.h"
#include "luks/rules.h"

struct luks *luks_close(struct luks *l) {
        if (!l)
                return NULL;
        l->lib = lib_free(l->lib);
        copies_done(&l->copies);
        place_close(&l->at);
        l->metadata = json_free(l->metadata);
        free(l->dump);
        free(l);
        return NULL;
}

int metadata_parse(struct luks *l, const char *dump, struct luks_reason *why, struct error *err) {
        int r = json_parse(dump, strlen(dump), &l->metadata, err);

        if (r == -EBADMSG) {
                r = luks_refuse(why, LUKS_REFUSED, "json", "%s", err->text);
                *err = (struct error){ 0 };
        }
        return r;
}

/* crypt_load() would mend a damaged or older copy by writing: here it writes to our memfd. That
 * context has no data device, which only activation needs. */
static int load(struct luks *l, struct luks_reason *why, struct error *err) {
        const char *dump = NULL;
        int r;

        r = lib_load(l->copies.mem_fd, &l->lib, err);
        if (r == -ENOMEM || !l->lib)
                return r;
        if (r < 0) {
                *err = (struct error){ 0 };
                return luks_refuse(why, LUKS_REFUSED, "load", "libcryptsetup doesn't load it: %s",
                                   l->lib->said[0] ? l->lib->said : "not valid");
        }
        r = crypt_dump_json(l->lib->cd, &dump, 0);
        if (r < 0)
                return lib_fault(l->lib, r, "dump the header", err);
        l->dump = strdup(dump);
        if (!l->dump)
                return error_nomem(err);
        return metadata_parse(l, l->dump, why, err);
}

/* Whether @raw, which ends with a NUL, is @text. Versions of json-c differ in whether they escape a
 * slash. */
static bool is_text(const char *raw, const char *text) {
        for (; *text; raw++, text++) {
                if (raw[0] == '\\' && raw[1] == '/' && *text == '/')
                        raw++;
                if (*raw != *text)
                        return false;
        }
        return *raw == '\0';
}

/* libcryptsetup writes what it has in memory, in one compact form. A comment, a member that it
 * drops or takes only the last of, an escape that hides a name: whoever wrote that counted on two
 * readers who understand it in two ways. */
int text_check(struct luks *l, struct luks_reason *why, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        int r = json_text(l->metadata, false, &text, err);

        if (r < 0)
                return r;
        if (!is_text(l->copies.text, text))
                return luks_refuse(why, LUKS_REFUSED, "text",
                                   "found JSON in another form than libcryptsetup writes it, "
                                   "expected what it has understood");
        l->text_size = strlen(text);
        free(TAKE(l->copies.text));
        return LUKS_OK;
}

void slots_of(const struct json *metadata, uint32_t *ret_all, uint32_t *ret_data) {
        const struct json *digest = rules_data_digest(metadata);

        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                if (!rules_numbered(metadata, "keyslots", i))
                        continue;
                *ret_all |= 1u << i;
                if (rules_bound(digest, i))
                        *ret_data |= 1u << i;
        }
}

/* Without a keyslot of the data segment nothing says how large its key is: then it stays 0. */
static void key_size_of(const struct luks *l, uint32_t *ret) {
        struct error err = { 0 };
        uint64_t size;

        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                if (!(l->facts.data_slots & 1u << i))
                        continue;
                if (json_get_uint(rules_numbered(l->metadata, "keyslots", i), "key_size", 64, &size,
                                  &err) == 0 &&
                    (size == 32 || size == 64)) {
                        *ret = (uint32_t) size;
                        return;
                }
        }
}

/* The rules hold: what's missing here is our own fault, not the header's. */
static int fill_facts(struct luks *l, struct error *err) {
        struct luks_facts *f = &l->facts;
        const struct json *config, *segment;
        const char *cipher;
        uint64_t sector;

        segment = rules_numbered(l->metadata, "segments", 0);
        if (json_get_string(segment, "encryption", &cipher, err) < 0 ||
            json_get_uint(segment, "sector_size", 4096, &sector, err) < 0 ||
            json_get_decimal(segment, "offset", UINT64_MAX, &f->data_offset, err) < 0 ||
            json_get(l->metadata, "config", &config, err) < 0 ||
            json_get_decimal(config, "keyslots_size", UINT64_MAX, &f->keyslots_size, err) < 0)
                return error_prefix(err, "facts of the header");
        if (l->lib)
                (void) snprintf(f->uuid, sizeof(f->uuid), "%s", crypt_get_uuid(l->lib->cd));
        (void) snprintf(f->cipher, sizeof(f->cipher), "%s", cipher);
        f->sector_size = (uint32_t) sector;
        f->metadata_size = l->copies.metadata_size;
        f->device_size = l->at.data.size;
        slots_of(l->metadata, &f->slots, &f->data_slots);
        key_size_of(l, &f->key_size);
        f->degraded = l->copies.degraded;
        memcpy(f->degraded_text, l->copies.degraded_text, sizeof(f->degraded_text));
        return 0;
}

struct luks_source source_of(const struct luks *l) {
        return (struct luks_source){
                .device = l->facts.device,
                .header = place_detached(&l->at) ? l->facts.header : NULL,
        };
}

struct rules_subject subject_of(const struct luks *l) {
        return (struct rules_subject){
                .metadata = l->metadata,
                /* A header in somebody else's context has none of ours, and one that was read back
                 * has none yet. */
                .uuid = l->lib ? crypt_get_uuid(l->lib->cd) : l->facts.uuid,
                .metadata_size = l->copies.metadata_size,
                .device_size = l->at.data.size,
                .header_size = place_head(&l->at)->size,
                .detached = place_detached(&l->at),
        };
}

static int name(char *ret, size_t max, const char *path, struct error *err) {
        if (strlen(path) >= max)
                return error_set(err, -ENAMETOOLONG, "the path of the device is too long");
        (void) snprintf(ret, max, "%s", path);
        return 0;
}

int luks_start(const struct luks_source *from, struct luks **ret, struct luks_reason *why,
               struct error *err) {
        _cleanup_(luks_closep) struct luks *l = calloc(1, sizeof(*l));
        int r;

        if (!l)
                return error_nomem(err);
        l->at = (struct place) PLACE_INIT;
        l->copies.mem_fd = -1;
        r = name(l->facts.device, sizeof(l->facts.device), from->device, err);
        if (r == 0 && from->header)
                r = name(l->facts.header, sizeof(l->facts.header), from->header, err);
        if (r == 0)
                r = place_open(from, O_RDONLY, &l->at, why, err);
        if (r >= 0)
                *ret = TAKE(l);
        return r;
}

int luks_read(const struct luks_source *from, struct luks **ret, struct luks_reason *why,
              struct error *err) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        int r;

        r = luks_start(from, &l, why, err);
        if (r < 0)
                return r;
        if (r == LUKS_OK)
                r = copies_read(place_head(&l->at), &l->copies, why, err);
        if (r == LUKS_OK)
                r = load(l, why, err);
        if (r < 0)
                return error_prefix(err, "header of %.100s", from->device);
        *ret = TAKE(l);
        return r;
}

int slots_check(const struct luks *l, struct luks_reason *why) {
        struct luks_reason reason = { 0 };

        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++)
                if (l->facts.data_slots & 1u << slot &&
                    luks_slot_check(l, slot, LUKS_SLOT_FOREIGN, &reason) != LUKS_OK)
                        return luks_refuse(why, LUKS_REFUSED, reason.rule, "keyslot %u: %.180s",
                                           slot, reason.text);
        return LUKS_OK;
}

int luks_judge(struct luks *l, struct luks_reason *why, struct error *err) {
        struct rules_subject s = subject_of(l);
        int r;

        r = (int) luks_rules_header(&s, why);
        if (r == LUKS_OK)
                r = text_check(l, why, err);
        if (r == LUKS_OK)
                r = fill_facts(l, err);
        if (r == LUKS_OK)
                r = slots_check(l, why);
        return r;
}

int luks_open(const struct luks_source *from, struct luks **ret, struct luks_reason *why,
              struct error *err) {
        _cleanup_(luks_closep) struct luks *l = NULL;
        int r;

        r = luks_read(from, &l, why, err);
        if (r != LUKS_OK)
                return r;
        r = luks_judge(l, why, err);
        if (r < 0)
                return error_prefix(err, "header of %.100s", from->device);
        if (r == LUKS_OK)
                *ret = TAKE(l);
        return r;
}

/* Two reads, but of the same bytes: nothing is believed that wasn't checked. */
static int load_again(struct luks *l, struct error *err) {
        struct copies copies = { .mem_fd = -1 };
        struct luks_reason why = { 0 };
        const char *now = NULL;
        bool same;
        int r;

        r = copies_read(place_head(&l->at), &copies, &why, err);
        if (r < 0)
                return r;
        same = r == LUKS_OK && copies_same(&l->copies, &copies);
        if (same)
                l->copies.mem_fd = TAKE_FD(copies.mem_fd);
        if (r == LUKS_OK)
                copies_done(&copies);
        if (!same)
                return error_set(err, -EIO, "the header isn't what was read before");
        r = lib_load(l->copies.mem_fd, &l->lib, err);
        if (r < 0)
                return r;
        r = crypt_dump_json(l->lib->cd, &now, 0);
        if (r < 0)
                return lib_fault(l->lib, r, "dump the header", err);
        if (strcmp(now, l->dump) != 0 || strcmp(crypt_get_uuid(l->lib->cd), l->facts.uuid) != 0)
                return error_set(err, -EIO, "libcryptsetup reads it in two ways");
        return 0;
}

int luks_lib(struct luks *l, struct error *err) {
        int r = l->lib ? 0 : load_again(l, err);

        if (r < 0) {
                l->lib = lib_free(l->lib);
                close_fdp(&l->copies.mem_fd);
                return error_prefix(err, "header of %.100s", l->facts.device);
        }
        return 0;
}

void luks_rest(struct luks *l) {
        if (l->areas || l->copies.degraded)
                return;
        l->lib = lib_free(l->lib);
        close_fdp(&l->copies.mem_fd);
}

const struct luks_facts *luks_facts(const struct luks *l) {
        return &l->facts;
}

const struct json *luks_metadata(const struct luks *l) {
        return l->metadata;
}

const struct json *luks_token(const struct luks *l, unsigned id) {
        return rules_numbered(l->metadata, "tokens", id);
}
