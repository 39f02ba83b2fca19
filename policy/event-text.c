/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/event.h"

/* Events in words. Whatever comes from the log is cut where there is no room, and printable. */

#define SIGNATURE_LIST_HEAD 28 /* of EFI_SIGNATURE_LIST: type, three sizes */
#define GPT_HEAD 92            /* of EFI_PARTITION_TABLE_HEADER, before the number of partitions */
#define LOAD_OPTION_HEAD 6     /* of EFI_LOAD_OPTION, before the description */

/* a5c059a1-94e4-4aa7-87b5-ab155c2bf072 */
static const uint8_t x509_guid[EVENT_GUID_SIZE] = {
        0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a,
        0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
};

struct words {
        char *text; /* EVENT_TEXT_MAX bytes */
        size_t used;
};

static void say(struct words *w, const char *fmt, ...) _printf_(2, 3);
static void say(struct words *w, const char *fmt, ...) {
        va_list ap;
        int n;

        va_start(ap, fmt);
        n = vsnprintf(w->text + w->used, EVENT_TEXT_MAX - w->used, fmt, ap);
        va_end(ap);
        if (n > 0)
                w->used = w->used + (size_t) n < EVENT_TEXT_MAX ? w->used + (size_t) n
                                                                : EVENT_TEXT_MAX - 1;
}

/* One character. Return: whether there was room; what didn't fit shows. */
static bool say_unit(struct words *w, uint16_t unit) {
        static const char more[] = "...";

        if (w->used + sizeof(more) >= EVENT_TEXT_MAX) {
                say(w, "%s", more);
                return false;
        }
        w->text[w->used++] = unit >= 0x20 && unit < 0x7f ? (char) unit : '?';
        w->text[w->used] = '\0';
        return true;
}

/* Both end at the first NUL. */
static void say_utf16(struct words *w, const struct event_text *t) {
        for (size_t i = 0; i < t->units; i++) {
                uint16_t unit = event_u16(t->data + 2 * i);

                if (unit == 0 || !say_unit(w, unit))
                        return;
        }
}

static void say_bytes(struct words *w, const uint8_t *data, size_t size) {
        for (size_t i = 0; i < size && data[i] != 0; i++)
                if (!say_unit(w, data[i]))
                        return;
}

/* Text of a boot loader: UTF-16 of systemd's, ASCII of GRUB and shim. */
static void say_text(struct words *w, const uint8_t *data, size_t size) {
        const struct event_text wide = { data, size / 2 };

        if (size >= 2 && data[0] != 0 && data[1] == 0)
                say_utf16(w, &wide);
        else
                say_bytes(w, data, size);
}

static void say_count(struct words *w, const char *separator, uint64_t n, const char *one,
                      const char *many) {
        say(w, "%s%llu %s", separator, (unsigned long long) n, n == 1 ? one : many);
}

/* EFI_SIGNATURE_LISTs, as in db (UEFI, section 32.4.1). Return: false where it's none. */
static bool count_signatures(const uint8_t *p, size_t left, uint64_t *ret_certs,
                             uint64_t *ret_others) {
        uint64_t certs = 0, others = 0;

        while (left >= SIGNATURE_LIST_HEAD) {
                uint64_t size = event_u32(p + 16), head = event_u32(p + 20),
                         one = event_u32(p + 24);

                if (size < SIGNATURE_LIST_HEAD || size > left || one == 0 ||
                    head > size - SIGNATURE_LIST_HEAD ||
                    (size - SIGNATURE_LIST_HEAD - head) % one != 0)
                        return false;
                if (memcmp(p, x509_guid, sizeof(x509_guid)) == 0)
                        certs += (size - SIGNATURE_LIST_HEAD - head) / one;
                else
                        others += (size - SIGNATURE_LIST_HEAD - head) / one;
                p += size;
                left -= (size_t) size;
        }
        *ret_certs = certs;
        *ret_others = others;
        return left == 0;
}

static void describe_config(struct words *w, const struct event_variable *v) {
        uint64_t certs, others;

        say_utf16(w, &v->name);
        if (v->size == 0)
                say(w, ", empty");
        else if (v->size == 1)
                say(w, " = %u", v->data[0]);
        else if (count_signatures(v->data, v->size, &certs, &others)) {
                if (certs > 0)
                        say_count(w, ", ", certs, "certificate", "certificates");
                if (others > 0)
                        say_count(w, ", ", others, "hash", "hashes");
        } else
                say_count(w, ", ", v->size, "byte", "bytes");
}

static bool is_ascii(const uint8_t *data, size_t size) {
        for (size_t i = 0; i < size; i++)
                if ((data[i] < 0x20 || data[i] >= 0x7f) && data[i] != '\n' && data[i] != 0)
                        return false;
        return size > 0;
}

/* What allowed an image to run: an entry of db, or what shim has beside it. */
static void describe_authority(struct words *w, const struct event_variable *v) {
        if (v->size == 1) {
                describe_config(w, v);
                return;
        }
        say(w, "authority ");
        say_utf16(w, &v->name);
        if (is_ascii(v->data, v->size)) {
                say(w, " ");
                say_bytes(w, v->data, v->size);
        } else
                say_count(w, ", ", v->size, "byte", "bytes");
}

static void describe_boot(struct words *w, const struct event_variable *v) {
        say_utf16(w, &v->name);
        if (event_text_is(&v->name, "BootOrder")) {
                for (size_t i = 0; i + 1 < v->size; i += 2)
                        say(w, "%s%04X", i > 0 ? "," : " ", event_u16(v->data + i));
        } else if (v->size > LOAD_OPTION_HEAD) {
                const struct event_text name = { v->data + LOAD_OPTION_HEAD,
                                                 (v->size - LOAD_OPTION_HEAD) / 2 };

                say(w, " ");
                say_utf16(w, &name);
        }
}

static void describe_variable(struct words *w, const struct event *e) {
        struct event_variable v;

        if (!event_variable(e, &v))
                say(w, "a variable that can't be read");
        else if (e->type == EV_EFI_VARIABLE_DRIVER_CONFIG)
                describe_config(w, &v);
        else if (e->type == EV_EFI_VARIABLE_AUTHORITY)
                describe_authority(w, &v);
        else
                describe_boot(w, &v);
}

static void describe_image(struct words *w, const struct event *e) {
        struct event_image image;

        say(w, "%s",
            e->type == EV_EFI_BOOT_SERVICES_APPLICATION ? "boot application" : "firmware driver");
        if (!event_image(e, &image))
                return;
        if (image.stub_payload)
                say(w, ", the kernel in the UKI");
        else if (image.path.units > 0) {
                say(w, " ");
                say_utf16(w, &image.path);
        }
}

static void describe_tag(struct words *w, const struct event *e) {
        static const struct {
                uint32_t id;
                const char *words;
        } known[] = {
                { EVENT_TAG_INITRD, "initrd of the kernel" },
                { EVENT_TAG_LOAD_OPTIONS, "command line of the kernel" },
                { EVENT_TAG_LOADER_CONF, "loader.conf" },
                { EVENT_TAG_DEVICETREE_ADDON, "devicetree addon" },
                { EVENT_TAG_INITRD_ADDON, "initrd addon" },
                { EVENT_TAG_UCODE_ADDON, "microcode addon" },
                { EVENT_TAG_UKI_PROFILE, "profile of the UKI" },
        };
        struct event_tag tag;

        if (!event_tag(e, &tag)) {
                say(w, "a tag that can't be read");
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (tag.id == known[i].id) {
                        say(w, "%s", known[i].words);
                        return;
                }
        say(w, "tag 0x%08x ", tag.id);
        say_text(w, tag.data, tag.size);
}

static void describe_partitions(struct words *w, const struct event *e) {
        say(w, "partition table");
        if (e->size >= GPT_HEAD + 8)
                say_count(w, ", ", event_u64(e->data + GPT_HEAD), "partition", "partitions");
}

static void describe_loader(struct words *w, const struct event *e) {
        if (e->pcr == 11)
                say(w, "UKI section ");
        else if (e->pcr == 12)
                say(w, "boot options ");
        say_text(w, e->data, e->size);
}

static void describe_firmware(struct words *w, const struct event *e) {
        switch (e->type) {
        case EV_S_CRTM_VERSION:
                say(w, "firmware version ");
                say_text(w, e->data, e->size);
                break;
        case EV_S_CRTM_CONTENTS:
        case EV_EFI_HCRTM_EVENT: say(w, "first part of the firmware"); break;
        case EV_EFI_PLATFORM_FIRMWARE_BLOB:
                say(w, "firmware");
                if (e->size == 16)
                        say_count(w, ", ", event_u64(e->data + 8), "byte", "bytes");
                break;
        case EV_EFI_PLATFORM_FIRMWARE_BLOB2: say(w, "firmware"); break;
        case EV_EFI_HANDOFF_TABLES:
        case EV_EFI_HANDOFF_TABLES2: say(w, "tables of the firmware"); break;
        case EV_PLATFORM_CONFIG_FLAGS: say(w, "settings of the firmware"); break;
        case EV_POST_CODE:
                say(w, "firmware ");
                say_bytes(w, e->data, e->size);
                break;
        default: say(w, "an event of type 0x%08x", e->type);
        }
}

void event_describe(const struct event *e, char ret[EVENT_TEXT_MAX]) {
        struct words w = { .text = ret };

        ret[0] = '\0';
        switch (e->type) {
        case EV_NO_ACTION:
                say(&w, "a remark: ");
                say_bytes(&w, e->data, e->size);
                break;
        case EV_SEPARATOR: say(&w, "separator"); break;
        case EV_ACTION:
        case EV_EFI_ACTION: say_bytes(&w, e->data, e->size); break;
        case EV_EVENT_TAG: describe_tag(&w, e); break;
        case EV_IPL: describe_loader(&w, e); break;
        case EV_EFI_VARIABLE_DRIVER_CONFIG:
        case EV_EFI_VARIABLE_BOOT:
        case EV_EFI_VARIABLE_BOOT2:
        case EV_EFI_VARIABLE_AUTHORITY: describe_variable(&w, e); break;
        case EV_EFI_BOOT_SERVICES_APPLICATION:
        case EV_EFI_BOOT_SERVICES_DRIVER:
        case EV_EFI_RUNTIME_SERVICES_DRIVER: describe_image(&w, e); break;
        case EV_EFI_GPT_EVENT: describe_partitions(&w, e); break;
        default: describe_firmware(&w, e);
        }
        while (w.used > 0 && ret[w.used - 1] == ' ')
                ret[--w.used] = '\0';
        if (w.used == 0)
                say(&w, "an event without words");
}
