/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/known-disk.h"

#include <stdio.h>

#include "tests/test.h"

static struct tpm_bytes bytes(uint32_t version, uint8_t what, uint16_t size) {
        struct tpm_bytes b = { .size = size };

        memset(b.data, what, size);
        memcpy(b.data, &version, sizeof(version));
        return b;
}

/* The sizes are those of what swtpm seals, so that tokens are as large as real ones. */
struct kek known_kek(uint32_t version) {
        struct kek k = { .name = "default", .version = version };

        k.sealed.srk = bytes(version, 1, 34);
        k.sealed.public = bytes(version, 2, 80);
        k.sealed.private = bytes(version, 3, 224);
        k.sealed.creation = bytes(version, 4, 115);
        k.sealed.ticket = bytes(version, 5, 74);
        k.sealed.pcrs.mask = 1u << 7;
        policy_steps(&(struct policy){ .pcr_mask = 1u << 7 }, NULL, &k.steps);
        return k;
}

struct secret *known_kek_key(uint32_t version) {
        struct secret *key = NULL;

        assert_int_equal(secret_new(32, &key), 0);
        memset(secret_data(key), (int) version, 32);
        return key;
}

struct secret *known_disk_make(const struct image *i, uint32_t version) {
        _cleanup_(luks_edit_closep) struct luks_edit *edit = NULL;
        _cleanup_(secret_freep) struct secret *key = known_kek_key(version);
        struct secret *volume_key = image_random(64);
        struct kek kek = known_kek(version);
        const struct enrolment what = {
                .name = "d", .role = "data", .kek = &kek, .kek_key = key, .volume_key = volume_key
        };
        struct luks_reason reason = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        unsigned slot;

        if (luks_format(&(struct luks_source){ i->path, NULL }, volume_key, &edit, &reason, &err) !=
                    LUKS_OK ||
            disk_enroll(edit, &what, &slot, &why, &err) != OUTCOME_DONE)
                fail_msg("%s %s %s", reason.text, why.what, err.text);
        return volume_key;
}

void known_disk_load(const struct image *i, struct disk *ret) {
        struct refusal why = { 0 };
        struct error err = { 0 };

        *ret = (struct disk) DISK_INIT;
        if (disk_load(&(struct luks_source){ i->path, NULL }, ret, &why, &err) != OUTCOME_DONE)
                fail_msg("%s %s", why.what, err.text);
}
