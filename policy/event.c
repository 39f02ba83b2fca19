/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/event.h"

#include <string.h>

#include "base/crypto.h"

#define IMAGE_FIXED 32 /* of UEFI_IMAGE_LOAD_EVENT: address, size, time, size of the path */
#define NODE_HEAD 4    /* of EFI_DEVICE_PATH_PROTOCOL: type, subtype, size */
#define MEDIA 4
#define MEDIA_VENDOR 3
#define MEDIA_FILE 4

/* 55c5d1f8-04cd-46b5-8a20-e56cbb3052d0 */
static const uint8_t stub_payload_guid[EVENT_GUID_SIZE] = {
        0xf8, 0xd1, 0xc5, 0x55, 0xcd, 0x04, 0xb5, 0x46,
        0x8a, 0x20, 0xe5, 0x6c, 0xbb, 0x30, 0x52, 0xd0,
};

static size_t without_nul(const struct event_text *t) {
        return t->units > 0 && event_u16(t->data + 2 * (t->units - 1)) == 0 ? t->units - 1
                                                                            : t->units;
}

bool event_text_is(const struct event_text *t, const char *ascii) {
        size_t n = strlen(ascii);

        if (without_nul(t) != n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (event_u16(t->data + 2 * i) != (uint8_t) ascii[i])
                        return false;
        return true;
}

static uint16_t small(uint16_t unit) {
        return unit >= 'A' && unit <= 'Z' ? (uint16_t) (unit - 'A' + 'a') : unit;
}

bool event_text_ends(const struct event_text *t, const char *ascii) {
        size_t n = strlen(ascii), units = without_nul(t);

        if (units < n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (small(event_u16(t->data + 2 * (units - n + i))) != small((uint8_t) ascii[i]))
                        return false;
        return true;
}

bool event_variable(const struct event *e, struct event_variable *ret) {
        uint64_t units, size;
        size_t left;

        if (e->type != EV_EFI_VARIABLE_DRIVER_CONFIG && e->type != EV_EFI_VARIABLE_BOOT &&
            e->type != EV_EFI_VARIABLE_BOOT2 && e->type != EV_EFI_VARIABLE_AUTHORITY)
                return false;
        if (e->size < EVENT_VARIABLE_HEAD)
                return false;
        left = e->size - EVENT_VARIABLE_HEAD;
        units = event_u64(e->data + EVENT_GUID_SIZE);
        size = event_u64(e->data + EVENT_GUID_SIZE + 8);
        if (units > left / 2 || size != left - 2 * units)
                return false;

        *ret = (struct event_variable){
                .guid = e->data,
                .name = { e->data + EVENT_VARIABLE_HEAD, (size_t) units },
                .data = e->data + EVENT_VARIABLE_HEAD + 2 * units,
                .size = (size_t) size,
        };
        return true;
}

bool event_tag(const struct event *e, struct event_tag *ret) {
        if (e->type != EV_EVENT_TAG || e->size < 8 || event_u32(e->data + 4) != e->size - 8)
                return false;
        *ret = (struct event_tag){ event_u32(e->data), e->data + 8, e->size - 8 };
        return true;
}

/* Return: false where the path's nodes don't fill it. */
static bool read_path(const uint8_t *p, size_t left, struct event_image *ret) {
        while (left >= NODE_HEAD) {
                size_t size = event_u16(p + 2);

                if (size < NODE_HEAD || size > left)
                        return false;
                if (p[0] == MEDIA && p[1] == MEDIA_FILE)
                        ret->path = (struct event_text){ p + NODE_HEAD, (size - NODE_HEAD) / 2 };
                else if (p[0] == MEDIA && p[1] == MEDIA_VENDOR &&
                         size >= NODE_HEAD + EVENT_GUID_SIZE &&
                         memcmp(p + NODE_HEAD, stub_payload_guid, EVENT_GUID_SIZE) == 0)
                        ret->stub_payload = true;
                p += size;
                left -= size;
        }
        return left == 0;
}

bool event_image(const struct event *e, struct event_image *ret) {
        struct event_image image = { 0 };

        if (e->type != EV_EFI_BOOT_SERVICES_APPLICATION && e->type != EV_EFI_BOOT_SERVICES_DRIVER &&
            e->type != EV_EFI_RUNTIME_SERVICES_DRIVER)
                return false;
        if (e->size < IMAGE_FIXED || event_u64(e->data + 24) != e->size - IMAGE_FIXED)
                return false;
        if (!read_path(e->data + IMAGE_FIXED, e->size - IMAGE_FIXED, &image))
                return false;
        *ret = image;
        return true;
}

/* Whether the digest must be that of the whole data. */
static bool is_strict(const struct event *e) {
        static const uint8_t zeros[4] = { 0 }, ones[4] = { 0xff, 0xff, 0xff, 0xff };

        switch (e->type) {
        case EV_ACTION:
        case EV_S_CRTM_VERSION:
        case EV_EFI_ACTION:
        case EV_EFI_GPT_EVENT:
        case EV_EFI_VARIABLE_DRIVER_CONFIG:
        case EV_EFI_VARIABLE_BOOT:
        case EV_EFI_VARIABLE_BOOT2:
        case EV_EFI_VARIABLE_AUTHORITY: return true;
        case EV_SEPARATOR:
                return e->size == 4 &&
                       (memcmp(e->data, zeros, 4) == 0 || memcmp(e->data, ones, 4) == 0);
        default: return false;
        }
}

static int is_hash(const struct event *e, enum pcr_bank bank, const void *data, size_t size,
                   struct error *err) {
        const struct chunk all = { data, size };
        uint8_t digest[PCR_SIZE_MAX];
        int r = crypto_hash(bank, &all, 1, digest, err);

        if (r < 0)
                return r;
        return memcmp(digest, e->digest[bank], pcr_size(bank)) == 0;
}

int event_data_check(const struct event *e, enum pcr_bank bank, struct error *err) {
        struct event_variable v;
        int r;

        if (!e->digest[bank] || !event_measured(e))
                return EVENT_DATA_SILENT;
        r = is_hash(e, bank, e->data, e->size, err);
        if (r == 0 && e->type == EV_EFI_VARIABLE_BOOT && event_variable(e, &v))
                r = is_hash(e, bank, v.data, v.size, err);
        if (r < 0)
                return r;
        if (r > 0)
                return EVENT_DATA_PROVEN;
        return is_strict(e) ? EVENT_DATA_FALSE : EVENT_DATA_SILENT;
}
