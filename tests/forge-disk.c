/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "base/crypto.h"
#include "base/file.h"
#include "keys/fields.h"
#include "policy/policy.h"

/* The disk of an attacker who has read our source: consistent in all that stands on it. What was
 * sealed comes from files in a folder, as tpm2-tools write them: key, pub, priv, data, ticket,
 * name; and pcr7, the value that the policy demands.
 *
 * Usage: forge-disk IMAGE FOLDER NAME ROLE */

static int get(const char *folder, const char *name, struct tpm_bytes *ret, struct error *err) {
        _cleanup_(freep) char *text = NULL;
        char path[300];
        size_t size;
        int r;

        (void) snprintf(path, sizeof(path), "%s/%s", folder, name);
        r = file_read(path, sizeof(ret->data), &text, &size, err);
        if (r < 0)
                return r;
        memcpy(ret->data, text, size);
        ret->size = (uint16_t) size;
        return 0;
}

/* KEK "default" version 1 from the sealed 32 bytes, as keys/kek.h says. */
static int derive(const struct tpm_bytes *seed, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        struct fields info = { 0 };
        int r = secret_new(seed->size, &s);

        if (r < 0)
                return r;
        memcpy(secret_data(s), seed->data, seed->size);
        fields_add(&info, "diskseal/1 kek");
        fields_add(&info, "default");
        fields_add_number(&info, 1);
        return crypto_hkdf(s, info.data, info.size, ret, err);
}

static int make_kek(const char *folder, struct kek *ret, struct secret **ret_key,
                    struct error *err) {
        struct kek kek = { .name = "default", .version = 1 };
        struct tpm_bytes seed = { 0 }, value = { 0 };
        int r;

        if ((r = get(folder, "key", &seed, err)) < 0 ||
            (r = get(folder, "pub", &kek.sealed.public, err)) < 0 ||
            (r = get(folder, "priv", &kek.sealed.private, err)) < 0 ||
            (r = get(folder, "data", &kek.sealed.creation, err)) < 0 ||
            (r = get(folder, "ticket", &kek.sealed.ticket, err)) < 0 ||
            (r = get(folder, "name", &kek.sealed.srk, err)) < 0 ||
            (r = get(folder, "pcr7", &value, err)) < 0)
                return r;
        if (value.size != pcr_size(PCR_SHA256))
                return error_set(err, -22, "pcr7 has %u bytes", value.size);
        kek.sealed.pcrs.mask = 1u << 7;
        memcpy(kek.sealed.pcrs.value[7], value.data, pcr_size(PCR_SHA256));
        policy_steps(&(struct policy){ .pcr_mask = 1u << 7 }, NULL, &kek.steps);
        *ret = kek;
        return derive(&seed, ret_key, err);
}

static int forge(char **argv, struct error *err) {
        _cleanup_(secret_freep) struct secret *key = NULL, *volume_key = NULL;
        _cleanup_(luks_edit_closep) struct luks_edit *edit = NULL;
        const struct luks_source to = { argv[1], NULL };
        struct enrolment what = { .name = argv[3], .role = argv[4] };
        struct luks_reason reason = { 0 };
        struct refusal why = { 0 };
        struct kek kek;
        unsigned slot;
        int r;

        if ((r = make_kek(argv[2], &kek, &key, err)) < 0 ||
            (r = crypto_random_secret(64, &volume_key, err)) < 0 ||
            (r = luks_format(&to, volume_key, &edit, &reason, err)) != LUKS_OK)
                return r;
        what.kek = &kek;
        what.kek_key = key;
        what.volume_key = volume_key;
        return disk_enroll(edit, &what, &slot, &why, err);
}

int main(int argc, char **argv) {
        struct error err = { 0 };
        int r;

        if (argc != 5)
                return 2;
        r = forge(argv, &err);
        if (r != 0)
                fprintf(stderr, "forge-disk: %d %s\n", r, err.text);
        return r != 0;
}
