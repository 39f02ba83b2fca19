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
        device_close(&l->disk);
        l->metadata = json_free(l->metadata);
        free(l->dump);
        free(l);
        return NULL;
}

/* crypt_load() would mend a damaged or older copy by writing: here it writes to our memfd. That
 * context has no data device, which only activation needs. */
static int load(struct luks *l, struct luks_reason *why, struct error *err) {
        const char *dump = NULL;
        int r;

        r = lib_new(l->copies.mem_fd, &l->lib, err);
        if (r < 0)
                return r;
        r = crypt_load(l->lib->cd, CRYPT_LUKS2, NULL);
        if (r == -ENOMEM)
                return error_nomem(err);
        if (r < 0)
                return luks_refuse(why, LUKS_REFUSED, "load", "libcryptsetup doesn't load it: %s",
                                   l->lib->said[0] ? l->lib->said : "not valid");
        r = crypt_dump_json(l->lib->cd, &dump, 0);
        if (r < 0)
                return lib_fault(l->lib, r, "dump the header", err);
        l->dump = strdup(dump);
        if (!l->dump)
                return error_nomem(err);
        r = json_parse(l->dump, strlen(l->dump), &l->metadata, err);
        if (r == -EBADMSG) {
                (void) luks_refuse(why, LUKS_REFUSED, "json", "%s", err->text);
                *err = (struct error){ 0 };
                return LUKS_REFUSED;
        }
        return r;
}

static void bits_of(const struct json *metadata, const struct json *list, uint32_t *ret_all,
                    uint32_t *ret_listed) {
        for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
                char name[16];

                if (!rules_numbered(metadata, "keyslots", i))
                        continue;
                *ret_all |= 1u << i;
                (void) snprintf(name, sizeof(name), "%u", i);
                if (json_lists(list, name))
                        *ret_listed |= 1u << i;
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
        const struct json *config, *segment, *slots;
        const char *cipher;
        uint64_t sector;

        segment = rules_numbered(l->metadata, "segments", 0);
        if (json_get_string(segment, "encryption", &cipher, err) < 0 ||
            json_get_uint(segment, "sector_size", 4096, &sector, err) < 0 ||
            json_get_decimal(segment, "offset", UINT64_MAX, &f->data_offset, err) < 0 ||
            json_get(l->metadata, "config", &config, err) < 0 ||
            json_get_decimal(config, "keyslots_size", UINT64_MAX, &f->keyslots_size, err) < 0 ||
            json_get_array(rules_data_digest(l->metadata), "keyslots", &slots, err) < 0)
                return error_prefix(err, "facts of the header");
        (void) snprintf(f->uuid, sizeof(f->uuid), "%s", crypt_get_uuid(l->lib->cd));
        (void) snprintf(f->cipher, sizeof(f->cipher), "%s", cipher);
        f->sector_size = (uint32_t) sector;
        f->metadata_size = l->copies.metadata_size;
        bits_of(l->metadata, slots, &f->slots, &f->data_slots);
        key_size_of(l, &f->key_size);
        f->degraded = l->copies.degraded;
        memcpy(f->degraded_text, l->copies.degraded_text, sizeof(f->degraded_text));
        return 0;
}

static int check(struct luks *l, struct luks_reason *why, struct error *err) {
        struct rules_subject s = { 0 };
        int r;

        r = copies_read(&l->disk, &l->copies, why, err);
        if (r != LUKS_OK)
                return r;
        r = load(l, why, err);
        if (r != LUKS_OK)
                return r;
        s.metadata = l->metadata;
        s.uuid = crypt_get_uuid(l->lib->cd);
        s.metadata_size = l->copies.metadata_size;
        s.device_size = l->disk.size;
        r = (int) luks_rules_header(&s, why);
        if (r != LUKS_OK)
                return r;
        return fill_facts(l, err);
}

int luks_open(const char *device, struct luks **ret, struct luks_reason *why, struct error *err) {
        _cleanup_(luks_closep) struct luks *l = calloc(1, sizeof(*l));
        int r;

        if (!l)
                return error_nomem(err);
        l->disk.fd = -1;
        l->copies.mem_fd = -1;
        if (strlen(device) >= sizeof(l->facts.device))
                return error_set(err, -ENAMETOOLONG, "the path of the device is too long");
        (void) snprintf(l->facts.device, sizeof(l->facts.device), "%s", device);

        r = device_open(device, O_RDONLY, &l->disk, err);
        if (r < 0)
                return r;
        r = check(l, why, err);
        if (r < 0)
                return error_prefix(err, "header of %.100s", device);
        if (r == LUKS_OK)
                *ret = TAKE(l);
        return r;
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
