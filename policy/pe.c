/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/pe.h"

#include <errno.h>
#include <string.h>

#include "base/crypto.h"

#define DOS_SIZE 64
#define COFF_SIZE 24 /* with the signature before it */
#define SECTION_SIZE 40
#define DIRECTORY_SIZE 8
#define DIRECTORIES_MAX 16
#define DIRECTORY_CERTS 4

#define MAGIC_PE32 0x10b
#define MAGIC_PE32_PLUS 0x20b
#define SUBSYSTEM_EFI_APPLICATION 10

/* All callers have checked that these bytes are there. */
static uint16_t get16(const uint8_t *p) {
        return (uint16_t) (p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p) {
        return (uint32_t) get16(p) | (uint32_t) get16(p + 2) << 16;
}

/* Where headers are, while they're read. */
struct headers {
        size_t optional, optional_size; /* the optional header */
        size_t table;                   /* the section table */
        uint32_t image_size;            /* bytes in memory */
        uint32_t certs_at;
};

static int parse_coff(struct pe *pe, struct headers *h, struct error *err) {
        size_t at;

        if (pe->size > PE_SIZE_MAX)
                return error_set(err, -EBADMSG, "over %u MiB", PE_SIZE_MAX >> 20);
        if (pe->size < DOS_SIZE || pe->data[0] != 'M' || pe->data[1] != 'Z')
                return error_set(err, -EBADMSG, "not a PE image");
        at = get32(pe->data + 60);
        if (at < DOS_SIZE || at > pe->size || pe->size - at < COFF_SIZE ||
            memcmp(pe->data + at, "PE\0", 4) != 0)
                return error_set(err, -EBADMSG, "not a PE image");

        pe->machine = get16(pe->data + at + 4);
        pe->sections = get16(pe->data + at + 6);
        h->optional_size = get16(pe->data + at + 20);
        h->optional = at + COFF_SIZE;
        if (pe->sections == 0 || pe->sections > PE_SECTIONS_MAX)
                return error_set(err, -EBADMSG, "%u sections, 1 to %d are possible", pe->sections,
                                 PE_SECTIONS_MAX);
        if (pe->size - h->optional < h->optional_size)
                return error_set(err, -EBADMSG, "its optional header is cut off");
        h->table = h->optional + h->optional_size;
        return 0;
}

/* Both forms of the optional header, which differ only in where the directories are. */
static int parse_optional(struct pe *pe, struct headers *h, struct error *err) {
        const uint8_t *o = pe->data + h->optional;
        size_t directories;
        uint32_t count;

        if (h->optional_size < 2)
                return error_set(err, -EBADMSG, "it has no optional header");
        if (get16(o) != MAGIC_PE32 && get16(o) != MAGIC_PE32_PLUS)
                return error_set(err, -EBADMSG, "neither PE32 nor PE32+");
        directories = get16(o) == MAGIC_PE32 ? 96 : 112;
        if (h->optional_size < directories)
                return error_set(err, -EBADMSG, "its optional header is cut off");
        count = get32(o + directories - 4);
        /* Firmware refuses what differs here. */
        if (count > DIRECTORIES_MAX || h->optional_size != directories + DIRECTORY_SIZE * count)
                return error_set(err, -EBADMSG, "%u directories don't fit its optional header",
                                 count);
        if (get16(o + 68) != SUBSYSTEM_EFI_APPLICATION)
                return error_set(err, -EBADMSG, "not an EFI application");

        pe->image_version = get16(o + 44);
        h->image_size = get32(o + 56);
        pe->headers = get32(o + 60);
        pe->checksum = h->optional + 64;
        if (count > DIRECTORY_CERTS) {
                pe->cert_entry = h->optional + directories + DIRECTORY_SIZE * DIRECTORY_CERTS;
                h->certs_at = get32(pe->data + pe->cert_entry);
                pe->certs = get32(pe->data + pe->cert_entry + 4);
        }
        if (h->image_size > PE_SIZE_MAX)
                return error_set(err, -EBADMSG, "over %u MiB in memory", PE_SIZE_MAX >> 20);
        if (pe->headers > pe->size || pe->headers > h->image_size || pe->headers < h->table ||
            pe->headers - h->table < (size_t) pe->sections * SECTION_SIZE)
                return error_set(err, -EBADMSG, "its headers end at %zu, which can't be",
                                 pe->headers);
        return 0;
}

static bool parse_name(const uint8_t raw[8], char ret[PE_NAME_MAX]) {
        size_t n = 0;

        while (n < 8 && raw[n] != 0) {
                if (raw[n] <= ' ' || raw[n] > '~')
                        return false;
                n++;
        }
        for (size_t i = n; i < 8; i++)
                if (raw[i] != 0)
                        return false;
        memset(ret, 0, PE_NAME_MAX);
        memcpy(ret, raw, n);
        return true;
}

/* Bytes in memory; where nothing is said of them, they're those of the file. */
static uint64_t address_end(const struct pe_section *s) {
        return (uint64_t) s->address + (s->virtual_size ? s->virtual_size : s->size);
}

static int parse_section(const struct pe *pe, const struct headers *h, unsigned n,
                         struct pe_section *s, struct error *err) {
        const uint8_t *p = pe->data + h->table + (size_t) n * SECTION_SIZE;

        if (!parse_name(p, s->name))
                return error_set(err, -EBADMSG, "section %u has no proper name", n);
        s->virtual_size = get32(p + 8);
        s->address = get32(p + 12);
        s->size = get32(p + 16);
        s->offset = get32(p + 20);
        if (s->size > 0 && (s->offset > pe->size || pe->size - s->offset < s->size))
                return error_set(err, -EBADMSG, "section %s is cut off", s->name);
        if (s->address < pe->headers || address_end(s) > h->image_size)
                return error_set(err, -EBADMSG, "section %s isn't within the image's memory",
                                 s->name);
        for (unsigned i = 0; i < n; i++) {
                const struct pe_section *other = &pe->section[i];

                if (s->address < address_end(other) && other->address < address_end(s))
                        return error_set(err, -EBADMSG, "sections %s and %s overlap in memory",
                                         other->name, s->name);
        }
        return 0;
}

static bool after(const struct pe_section *a, const struct pe_section *b) {
        if (a->size == 0 || b->size == 0)
                return a->size == 0 && b->size > 0;
        return a->offset > b->offset;
}

static void sort_sections(struct pe *pe) {
        for (unsigned n = 0; n < pe->sections; n++) {
                unsigned i = n;

                for (; i > 0 && after(&pe->section[pe->by_offset[i - 1]], &pe->section[n]); i--)
                        pe->by_offset[i] = pe->by_offset[i - 1];
                pe->by_offset[i] = (uint8_t) n;
        }
}

/* Headers, sections, the rest and certificates are the whole file. The hash is defined by a count
 * of bytes: with a gap or an overlap, its readers differ in what they hash. */
static int check_file(struct pe *pe, const struct headers *h, struct error *err) {
        size_t end = pe->headers;

        for (unsigned i = 0; i < pe->sections; i++) {
                const struct pe_section *s = &pe->section[pe->by_offset[i]];

                if (s->size == 0)
                        break;
                if (s->offset != end)
                        return error_set(err, -EBADMSG,
                                         "section %s begins at %u of the file and not at %zu",
                                         s->name, s->offset, end);
                end += s->size;
        }
        pe->sections_end = end;
        if (pe->certs > 0 &&
            (h->certs_at < end || h->certs_at > pe->size || pe->size - h->certs_at != pe->certs))
                return error_set(err, -EBADMSG, "its certificates aren't the end of the file");
        return 0;
}

int pe_parse(const void *data, size_t size, struct pe *ret, struct error *err) {
        struct pe pe = { .data = data, .size = size };
        struct headers h = { 0 };
        int r;

        r = parse_coff(&pe, &h, err);
        if (r == 0)
                r = parse_optional(&pe, &h, err);
        for (unsigned i = 0; i < pe.sections && r == 0; i++)
                r = parse_section(&pe, &h, i, &pe.section[i], err);
        if (r < 0)
                return r;
        sort_sections(&pe);
        r = check_file(&pe, &h, err);
        if (r < 0)
                return r;
        *ret = pe;
        return 0;
}

const struct pe_section *pe_find(const struct pe *pe, const char *name) {
        const struct pe_section *found = NULL;

        for (unsigned i = 0; i < pe->sections; i++)
                if (strcmp(pe->section[i].name, name) == 0) {
                        if (found)
                                return NULL;
                        found = &pe->section[i];
                }
        return found;
}

int pe_authenticode(const struct pe *pe, enum pcr_bank bank, uint8_t ret[PCR_SIZE_MAX],
                    struct error *err) {
        /* As pe_parse() left it, that's the file but for three holes, in this order. */
        const size_t holes[][2] = {
                { pe->checksum, 4 },
                { pe->cert_entry ? pe->cert_entry : pe->headers,
                  pe->cert_entry ? DIRECTORY_SIZE : 0 },
                { pe->size - pe->certs, pe->certs },
        };
        struct chunk chunks[ARRAY_SIZE(holes)];
        size_t at = 0;

        for (size_t i = 0; i < ARRAY_SIZE(holes); i++) {
                chunks[i] = (struct chunk){ pe->data + at, holes[i][0] - at };
                at = holes[i][0] + holes[i][1];
        }
        return crypto_hash(bank, chunks, ARRAY_SIZE(chunks), ret, err);
}
