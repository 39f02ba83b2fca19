/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "policy/eventlog.h"

/* What events carry beside their digests: structures of the TCG PFP, of UEFI and of boot loaders.
 * All of it is hostile until event_data_check() proves it. */

#define EVENT_GUID_SIZE 16
#define EVENT_VARIABLE_HEAD 32 /* bytes of a UEFI_VARIABLE_DATA before the name */

/* TCG_PCClientTaggedEvent: of Linux' EFI stub … */
#define EVENT_TAG_INITRD 0x8f3b22ecu
#define EVENT_TAG_LOAD_OPTIONS 0x8f3b22edu
/* … and of systemd-boot and systemd-stub. */
#define EVENT_TAG_LOADER_CONF 0xf5bc582au
#define EVENT_TAG_DEVICETREE_ADDON 0x6c46f751u
#define EVENT_TAG_INITRD_ADDON 0x49dffe0fu
#define EVENT_TAG_UCODE_ADDON 0xdac08e1au
#define EVENT_TAG_UKI_PROFILE 0x13aed6dbu

/* Little-endian numbers, wherever they stand. */
static inline uint16_t event_u16(const uint8_t *p) {
        return (uint16_t) (p[0] | p[1] << 8);
}

static inline uint32_t event_u32(const uint8_t *p) {
        return (uint32_t) event_u16(p) | (uint32_t) event_u16(p + 2) << 16;
}

static inline uint64_t event_u64(const uint8_t *p) {
        return (uint64_t) event_u32(p) | (uint64_t) event_u32(p + 4) << 32;
}

/* Text of UTF-16, little-endian, as it stands in the log: maybe with a final NUL, maybe without. */
struct event_text {
        const uint8_t *data;
        size_t units;
};

/* Whether it's exactly this ASCII, a final NUL aside. */
bool event_text_is(const struct event_text *t, const char *ascii);
/* Whether it ends so, capitals aside. */
bool event_text_ends(const struct event_text *t, const char *ascii);

/* UEFI_VARIABLE_DATA: of EV_EFI_VARIABLE_… */
struct event_variable {
        const uint8_t *guid; /* EVENT_GUID_SIZE bytes */
        struct event_text name;
        const uint8_t *data;
        size_t size; /* bytes of @data */
};

/* Return: false unless the event is a variable's and well-formed. */
bool event_variable(const struct event *e, struct event_variable *ret);

/* TCG_PCClientTaggedEvent: of EV_EVENT_TAG. */
struct event_tag {
        uint32_t id;
        const uint8_t *data;
        size_t size;
};

bool event_tag(const struct event *e, struct event_tag *ret);

/* UEFI_IMAGE_LOAD_EVENT: of applications and drivers. */
struct event_image {
        struct event_text path; /* the last file name of the device path; no units: it has none */
        bool stub_payload;      /* systemd-stub's name for the kernel in its UKI */
};

bool event_image(const struct event *e, struct event_image *ret);

enum event_data {
        EVENT_DATA_PROVEN, /* what the event says is what was measured */
        EVENT_DATA_SILENT, /* the digest is of something that the log hasn't */
        EVENT_DATA_FALSE,  /* for this type of event its digest is its data's, and it isn't */
};

/**
 * event_data_check() - is what the event says what was measured?
 *
 * Only types of which that holds on each machine can be EVENT_DATA_FALSE: EV_ACTION, EV_EFI_ACTION,
 * EV_EFI_GPT_EVENT, EV_S_CRTM_VERSION, EV_EFI_VARIABLE_DRIVER_CONFIG, _BOOT2 and _AUTHORITY;
 * EV_EFI_VARIABLE_BOOT, of which some firmware hashes the variable's value alone; EV_SEPARATOR of
 * four equal bytes 00 or FF (after an error it's the digest of another number, and the data is some
 * text). Not so: EV_PLATFORM_CONFIG_FLAGS (OVMF), EV_POST_CODE, EV_EFI_HCRTM_EVENT, tables and
 * blobs of the firmware, images, EV_EVENT_TAG, EV_COMPACT_HASH, and EV_IPL, whose data is a name of
 * what GRUB, shim and systemd-stub measured, or is what they measured.
 *
 * Return: an enum event_data, as far as the bank's digest says it; or -EIO.
 */
int event_data_check(const struct event *e, enum pcr_bank bank, struct error *err) _warn_unused_;
