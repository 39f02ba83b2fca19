/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/crypto.h"
#include "policy/extend.h"
#include "policy/pe.h"
#include "policy/uki.h"
#include "tests/test.h"

/* --- an image, small enough to change each byte of it --- */

#define COFF 64
#define OPTIONAL (COFF + 24)
#define HEADERS 0x400
#define PAGE 0x1000 /* section n is in memory at (n + 1) times that */

struct image {
        uint8_t data[16384];
        size_t size;
        size_t directories, table; /* where they are */
        unsigned sections;
};

static void put16(uint8_t *p, uint32_t value) {
        p[0] = (uint8_t) value;
        p[1] = (uint8_t) (value >> 8);
}

static void put32(uint8_t *p, uint32_t value) {
        put16(p, value);
        put16(p + 2, value >> 16);
}

static void image_init(struct image *im, bool plus, unsigned directories) {
        size_t before = plus ? 112 : 96;
        uint8_t *o = im->data + OPTIONAL;

        *im = (struct image){ .size = HEADERS };
        for (size_t i = 0; i < HEADERS; i++)
                im->data[i] = 0;
        memcpy(im->data, "MZ", 2);
        put32(im->data + 60, COFF);
        memcpy(im->data + COFF, "PE\0", 4);
        put16(im->data + COFF + 4, 0x8664);
        put16(im->data + COFF + 20, (uint32_t) (before + 8 * directories));
        put16(o, plus ? 0x20b : 0x10b);
        put16(o + 44, 1);
        put32(o + 56, 0x100000);
        put32(o + 60, HEADERS);
        put16(o + 68, 10);
        put32(o + before - 4, directories);
        im->directories = OPTIONAL + before;
        im->table = im->directories + 8 * directories;
}

static uint8_t *row(struct image *im, unsigned n) {
        return im->data + im->table + 40 * (size_t) n;
}

static void image_append(struct image *im, const void *data, size_t size) {
        assert_true(size <= sizeof(im->data) - im->size);
        memcpy(im->data + im->size, data, size);
        im->size += size;
}

/* Its last bytes in the file, up to the alignment of 16, are in no memory. */
static void image_section(struct image *im, const char *name, const void *content, size_t size) {
        static const uint8_t padding[16] = "ignored ignored";
        uint8_t *r = row(im, im->sections);
        size_t padded = (size + 15) / 16 * 16;

        memcpy(r, name, strlen(name));
        put32(r + 8, (uint32_t) size);
        put32(r + 12, PAGE * (im->sections + 1));
        put32(r + 16, (uint32_t) padded);
        put32(r + 20, (uint32_t) im->size);
        image_append(im, content, size);
        image_append(im, padding, padded - size);
        put16(im->data + COFF + 6, ++im->sections);
}

static void image_text(struct image *im, const char *name, const char *content) {
        image_section(im, name, content, strlen(content));
}

static void image_certs(struct image *im, const char *certs) {
        put32(im->data + im->directories + 32, (uint32_t) im->size);
        put32(im->data + im->directories + 36, (uint32_t) strlen(certs));
        image_append(im, certs, strlen(certs));
}

static void sample(struct image *im) {
        image_init(im, true, 16);
        image_text(im, ".text", "the code of it");
        image_text(im, ".data", "sixteen and more bytes");
        image_append(im, "symbols", 7);
        image_certs(im, "signed by me");
}

static void parse(const struct image *im, struct pe *pe) {
        struct error err = { 0 };

        if (pe_parse(im->data, im->size, pe, &err) < 0)
                fail_msg("%s", err.text);
}

/* Refused, for a reason with these words in it; and nothing is returned. */
static void refused(const struct image *im, const char *words) {
        struct pe pe, before;
        struct error err = { 0 };

        memset(&pe, 0x5a, sizeof(pe));
        memset(&before, 0x5a, sizeof(before));
        assert_int_equal(pe_parse(im->data, im->size, &pe, &err), -EBADMSG);
        if (!strstr(err.text, words))
                fail_msg("'%s' isn't in '%s'", words, err.text);
        assert_memory_equal(&pe, &before, sizeof(pe));
}

static void authenticode(const struct image *im, enum pcr_bank bank, uint8_t ret[PCR_SIZE_MAX]) {
        struct error err = { 0 };
        struct pe pe;

        parse(im, &pe);
        assert_int_equal(pe_authenticode(&pe, bank, ret, &err), 0);
}

/* --- hashes --- */

static void test_a_hash_takes_its_pieces_as_one(void **state) {
        static const char zeros[5000];
        const struct chunk pieces[] = { { "ab", 2 }, { "", 0 }, { "c", 1 } };
        const struct chunk padded[] = { { "abc", 3 }, { NULL, 5000 } };
        const struct chunk written[] = { { "abc", 3 }, { zeros, 5000 } };
        /* FIPS 180-4's examples for "abc". */
        static const uint8_t abc256[] = { 0xba, 0x78, 0x16, 0xbf }, abc384[] = { 0xcb, 0x00, 0x75 };
        uint8_t a[PCR_SIZE_MAX], b[PCR_SIZE_MAX];
        struct error err = { 0 };
        (void) state;

        memset(a, 0x5a, sizeof(a));
        assert_int_equal(crypto_hash(PCR_SHA256, pieces, 3, a, &err), 0);
        assert_memory_equal(a, abc256, sizeof(abc256));
        assert_int_equal(a[32], 0x5a);
        assert_int_equal(crypto_hash(PCR_SHA384, pieces, 3, a, &err), 0);
        assert_memory_equal(a, abc384, sizeof(abc384));

        assert_int_equal(crypto_hash(PCR_SHA384, padded, 2, a, &err), 0);
        assert_int_equal(crypto_hash(PCR_SHA384, written, 2, b, &err), 0);
        assert_memory_equal(a, b, 48);
        assert_int_equal(crypto_hash(PCR_SHA384, padded, 1, b, &err), 0);
        assert_memory_not_equal(a, b, 48);
}

static void test_extending_hashes_the_old_value_before_the_digest(void **state) {
        uint8_t both[64], value[PCR_SIZE_MAX], digest[PCR_SIZE_MAX], want[SHA256_SIZE];
        struct error err = { 0 };
        (void) state;

        memset(value, 1, sizeof(value));
        memset(digest, 2, sizeof(digest));
        memset(both, 1, 32);
        memset(both + 32, 2, 32);
        assert_int_equal(crypto_sha256(both, sizeof(both), want, &err), 0);
        assert_int_equal(pcr_extend(PCR_SHA256, value, digest, &err), 0);
        assert_memory_equal(value, want, sizeof(want));
        assert_int_equal(value[32], 1);
        assert_int_equal(pcr_extend(PCR_SHA384, value, digest, &err), 0);
        assert_memory_not_equal(value, want, sizeof(want));
}

/* --- PE images --- */

static void test_an_image_of_either_kind_is_read(void **state) {
        struct image im;
        struct pe pe;
        (void) state;

        for (unsigned plus = 0; plus < 2; plus++) {
                image_init(&im, plus, 16);
                image_text(&im, ".text", "the code of it");
                image_text(&im, ".eightch", "x");
                parse(&im, &pe);
                assert_int_equal(pe.machine, 0x8664);
                assert_int_equal(pe.image_version, 1);
                assert_int_equal(pe.sections, 2);
                assert_string_equal(pe.section[1].name, ".eightch");
                assert_int_equal(pe.section[0].virtual_size, 14);
                assert_int_equal(pe.section[0].size, 16);
                assert_int_equal(pe.section[1].address, 2 * PAGE);
                assert_ptr_equal(pe_find(&pe, ".text"), &pe.section[0]);
                assert_null(pe_find(&pe, ".tex"));
                assert_null(pe_find(&pe, ".text2"));

                /* As the other kind, its directories are elsewhere. */
                put16(im.data + OPTIONAL, plus ? 0x10b : 0x20b);
                refused(&im, "directories don't fit");
        }
        image_text(&im, ".text", "another");
        put16(im.data + OPTIONAL, 0x20b);
        parse(&im, &pe);
        assert_null(pe_find(&pe, ".text"));
}

static void test_the_hash_is_of_all_but_checksum_and_certificates(void **state) {
        struct image im, cut;
        uint8_t got[PCR_SIZE_MAX], want[PCR_SIZE_MAX];
        struct error err = { 0 };
        size_t entry;
        (void) state;

        sample(&im);
        entry = im.directories + 32;
        cut = (struct image){ 0 };
        image_append(&cut, im.data, OPTIONAL + 64);
        image_append(&cut, im.data + OPTIONAL + 68, entry - (OPTIONAL + 68));
        image_append(&cut, im.data + entry + 8, im.size - strlen("signed by me") - entry - 8);
        for (unsigned bank = 0; bank < PCR_BANKS; bank++) {
                const struct chunk all = { cut.data, cut.size };

                authenticode(&im, bank, got);
                assert_int_equal(crypto_hash(bank, &all, 1, want, &err), 0);
                assert_memory_equal(got, want, pcr_size(bank));
        }
}

/* Each bit of the file counts, or isn't in the hash by the letter, or makes it no image. */
static void test_each_byte_of_an_image_counts(void **state) {
        uint8_t whole[PCR_SIZE_MAX], got[PCR_SIZE_MAX];
        unsigned counted = 0, ignored = 0, bad = 0;
        struct image im;
        size_t certs;
        (void) state;

        sample(&im);
        certs = im.size - strlen("signed by me");
        authenticode(&im, PCR_SHA256, whole);
        for (size_t i = 0; i < im.size; i++) {
                bool checksum = i >= OPTIONAL + 64 && i < OPTIONAL + 68;
                struct error err = { 0 };
                struct pe pe;

                im.data[i] ^= 0x80;
                if (pe_parse(im.data, im.size, &pe, &err) < 0) {
                        assert_false(checksum || i >= certs);
                        bad++;
                } else {
                        assert_int_equal(pe_authenticode(&pe, PCR_SHA256, got, &err), 0);
                        if (checksum || i >= certs) {
                                assert_memory_equal(got, whole, SHA256_SIZE);
                                ignored++;
                        } else {
                                assert_memory_not_equal(got, whole, SHA256_SIZE);
                                counted++;
                        }
                }
                im.data[i] ^= 0x80;
        }
        assert_true(counted > HEADERS / 2 && bad > 20);
        assert_int_equal(ignored, 4 + strlen("signed by me"));
}

static void test_signing_changes_no_hash_where_it_pads_nothing(void **state) {
        uint8_t before[PCR_SIZE_MAX], after[PCR_SIZE_MAX];
        struct image im;
        (void) state;

        image_init(&im, true, 16);
        image_text(&im, ".text", "code");
        authenticode(&im, PCR_SHA384, before);
        image_certs(&im, "a signature");
        authenticode(&im, PCR_SHA384, after);
        assert_memory_equal(before, after, 48);

        /* Zeros before it are content. */
        image_init(&im, true, 16);
        image_text(&im, ".text", "code");
        image_append(&im, "\0\0", 2);
        image_certs(&im, "a signature");
        authenticode(&im, PCR_SHA384, after);
        assert_memory_not_equal(before, after, 48);
}

static void test_an_image_without_room_for_certificates_has_a_hash(void **state) {
        uint8_t with[PCR_SIZE_MAX], without[PCR_SIZE_MAX];
        struct image im;
        (void) state;

        image_init(&im, true, 4);
        image_text(&im, ".text", "code");
        authenticode(&im, PCR_SHA256, without);
        im.data[im.size - 16] ^= 1;
        authenticode(&im, PCR_SHA256, with);
        assert_memory_not_equal(with, without, SHA256_SIZE);
}

/* The hash goes by the order in the file. */
static void test_sections_may_stand_in_any_order(void **state) {
        struct image im;
        uint8_t swap[40];
        struct pe pe;
        (void) state;

        sample(&im);
        memcpy(swap, row(&im, 0), 40);
        memcpy(row(&im, 0), row(&im, 1), 40);
        memcpy(row(&im, 1), swap, 40);
        parse(&im, &pe);
        assert_string_equal(pe.section[0].name, ".data");
        assert_int_equal(pe.by_offset[0], 1);
        assert_int_equal(pe.sections_end, im.size - strlen("signed by me") - 7);

        /* One that is in no file may say that it begins anywhere. */
        put32(row(&im, 0) + 16, 0);
        put32(row(&im, 0) + 20, 0x7fffffff);
        parse(&im, &pe);
        assert_int_equal(pe.by_offset[1], 0);
        assert_int_equal(pe.sections_end, HEADERS + 16);
}

static void test_what_is_no_image_is_refused(void **state) {
        static const struct {
                size_t at;
                unsigned bytes;
                uint32_t value;
                const char *words;
        } edits[] = {
                { 0, 2, 0x5a4e, "not a PE image" },
                { 60, 4, 63, "not a PE image" },
                { 60, 4, 0xffffffff, "not a PE image" },
                { 60, 4, 0x7fffffff, "not a PE image" },
                { COFF, 4, 0x4551, "not a PE image" },
                { COFF + 6, 2, 0, "0 sections" },
                { COFF + 6, 2, 97, "97 sections" },
                { COFF + 6, 2, 96, "headers end" },
                { COFF + 20, 2, 0, "no optional header" },
                { COFF + 20, 2, 111, "optional header is cut off" },
                { COFF + 20, 2, 0xffff, "optional header is cut off" },
                { COFF + 20, 2, 248, "directories don't fit" },
                { OPTIONAL, 2, 0x107, "neither PE32" },
                { OPTIONAL + 108, 4, 17, "directories don't fit" },
                { OPTIONAL + 108, 4, 15, "directories don't fit" },
                { OPTIONAL + 108, 4, 0x20000010, "directories don't fit" },
                { OPTIONAL + 68, 2, 11, "not an EFI application" },
                { OPTIONAL + 56, 4, (512 << 20) + 1, "over 512 MiB in memory" },
                { OPTIONAL + 56, 4, HEADERS - 1, "headers end" },
                { OPTIONAL + 60, 4, 0x150, "headers end" },
                { OPTIONAL + 60, 4, 0xfffffff0, "headers end" },
                { OPTIONAL + 60, 4, HEADERS - 16, "begins at 1024 of the file and not at 1008" },
                { OPTIONAL + 60, 4, HEADERS + 16, "begins at 1024 of the file and not at 1040" },
        };
        struct image im;
        (void) state;

        for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
                sample(&im);
                put16(im.data + edits[i].at, edits[i].value);
                if (edits[i].bytes == 4)
                        put32(im.data + edits[i].at, edits[i].value);
                refused(&im, edits[i].words);
        }
        /* Its end is that of its certificates. In a buffer of its own, a byte too far shows. */
        for (sample(&im); im.size > 0; im.size--) {
                _cleanup_(freep) uint8_t *cut = malloc(im.size - 1);
                struct error err = { 0 };
                struct pe pe;

                if (im.size > 1)
                        memcpy(cut, im.data, im.size - 1);
                assert_int_equal(pe_parse(cut, im.size - 1, &pe, &err), -EBADMSG);
                assert_true(err.text[0]);
        }
}

static void test_what_ends_before_it_says_is_refused(void **state) {
        struct image im;
        struct pe pe;
        (void) state;

        image_init(&im, true, 16);
        image_text(&im, ".text", "code");
        parse(&im, &pe);
        im.size--;
        refused(&im, ".text is cut off");

        /* Nothing but headers. */
        image_init(&im, true, 16);
        image_text(&im, ".text", "");
        put32(row(&im, 0) + 8, 16);
        parse(&im, &pe);
        im.size--;
        refused(&im, "headers end");

        /* Headers that begin within those of DOS. */
        sample(&im);
        memmove(im.data + 32, im.data + COFF, HEADERS - COFF);
        put32(im.data + 60, 32);
        refused(&im, "not a PE image");
}

static void test_sections_that_two_readers_see_differently_are_refused(void **state) {
        static const struct {
                unsigned section, field;
                uint32_t value;
                const char *words;
        } edits[] = {
                { 0, 20, HEADERS - 16, ".text begins at 1008" },
                { 0, 20, 0, ".text begins at 0" },
                { 0, 20, 0xfffffff8, ".text is cut off" },
                { 0, 16, 0xfffffff0, ".text is cut off" },
                { 0, 16, 32, ".data begins at" },
                { 0, 16, 0, ".data begins at" },
                { 1, 20, HEADERS, "begins at 1024" },
                { 1, 20, HEADERS + 32, ".data begins at 1056 of the file and not at 1040" },
                { 0, 12, HEADERS - 1, ".text isn't within" },
                { 1, 12, 0xfffff000, ".data isn't within" },
                { 1, 12, 0x100000 - 21, ".data isn't within" },
                { 1, 8, 0xffffffff, ".data isn't within" },
                { 1, 12, PAGE + 13, "sections .text and .data overlap" },
                { 0, 8, PAGE + 1, "sections .text and .data overlap" },
                { 0, 0, 0x2e00742e, "section 0 has no proper name" },
                { 0, 0, 0x0a78742e, "section 0 has no proper name" },
                { 1, 0, 0xe478742e, "section 1 has no proper name" },
        };
        struct image im;
        struct pe pe;
        (void) state;

        for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
                sample(&im);
                put32(row(&im, edits[i].section) + edits[i].field, edits[i].value);
                refused(&im, edits[i].words);
        }
        /* The last that is still good. */
        sample(&im);
        put32(row(&im, 1) + 12, 0x100000 - 22);
        put32(row(&im, 0) + 8, PAGE);
        parse(&im, &pe);
}

static void test_certificates_anywhere_but_at_the_end_are_refused(void **state) {
        struct image im;
        struct pe pe;
        (void) state;

        sample(&im);
        image_append(&im, "more", 4);
        refused(&im, "certificates aren't the end");
        sample(&im);
        im.size--;
        refused(&im, "certificates aren't the end");
        sample(&im);
        put32(im.data + im.directories + 32, HEADERS);
        put32(im.data + im.directories + 36, (uint32_t) im.size - HEADERS);
        refused(&im, "certificates aren't the end");
        sample(&im);
        put32(im.data + im.directories + 32, 0xfffffff0);
        refused(&im, "certificates aren't the end");
        put32(im.data + im.directories + 36, 0xffffffff);
        refused(&im, "certificates aren't the end");
        put32(im.data + im.directories + 36, 0);
        parse(&im, &pe);
        assert_int_equal(pe.certs, 0);
}

/* --- UKIs --- */

#define MAGIC(version) "#### LoaderInfo: systemd-stub " version " ####"

/* With a section that isn't measured by any, and in another order than that of measuring. */
static void uki_sample(struct image *im, const char *magic) {
        image_init(im, true, 16);
        image_text(im, ".text", "code");
        image_section(im, ".sdmagic", magic, strlen(magic) + 1);
        image_text(im, ".pcrpkey", "-----BEGIN");
        image_text(im, ".pcrsig", "{}");
        image_text(im, ".sbat", "sbat,1");
        image_text(im, ".uname", "6.1.0-1");
        image_text(im, ".dtb", "tree");
        image_text(im, ".splash", "BMP");
        image_text(im, ".ucode", "microcode");
        image_text(im, ".initrd", "070701");
        image_text(im, ".cmdline", "quiet");
        image_text(im, ".osrel", "ID=x");
        image_text(im, ".linux", "the kernel");
}

static void uki_of(const struct image *im, struct uki *uki) {
        struct error err = { 0 };
        struct pe pe;

        parse(im, &pe);
        if (uki_parse(&pe, uki, &err) < 0)
                fail_msg("%s", err.text);
}

static void uki_refused(const struct image *im, const char *words) {
        struct error err = { 0 };
        struct uki uki;
        struct pe pe;

        parse(im, &pe);
        assert_int_equal(uki_parse(&pe, &uki, &err), -EBADMSG);
        if (!strstr(err.text, words))
                fail_msg("'%s' isn't in '%s'", words, err.text);
}

static void measure(uint8_t pcr[SHA256_SIZE], const void *data, size_t size) {
        uint8_t both[2 * SHA256_SIZE];
        struct error err = { 0 };

        memcpy(both, pcr, SHA256_SIZE);
        assert_int_equal(crypto_sha256(data, size, both + SHA256_SIZE, &err), 0);
        assert_int_equal(crypto_sha256(both, sizeof(both), pcr, &err), 0);
}

static void assert_pcr11(const struct image *im, const char *const *phases,
                         const uint8_t want[SHA256_SIZE]) {
        uint8_t got[PCR_SIZE_MAX];
        struct error err = { 0 };
        struct uki uki;

        uki_of(im, &uki);
        assert_int_equal(uki_pcr11(&uki, PCR_SHA256, phases, got, &err), 0);
        assert_memory_equal(got, want, SHA256_SIZE);
}

static void test_each_stub_measures_what_it_knows(void **state) {
        static const struct {
                const char *magic;
                bool ucode, uname_sbat;
        } stubs[] = {
                { MAGIC("252.39-1~deb12u2"), false, false },
                { MAGIC("253"), false, false },
                { MAGIC("254.18"), false, true },
                { MAGIC("255.4-1ubuntu8.4"), false, true },
                { MAGIC("256+suse.7"), true, true },
                { MAGIC("257.9-1.fc42"), true, true },
                { MAGIC("258-1"), true, true },
        };
        (void) state;

        for (size_t i = 0; i < sizeof(stubs) / sizeof(stubs[0]); i++) {
                uint8_t pcr[SHA256_SIZE] = { 0 };
                struct image im;
                const struct {
                        const char *name, *content;
                        bool measured;
                } parts[] = {
                        { ".linux", "the kernel", true },
                        { ".osrel", "ID=x", true },
                        { ".cmdline", "quiet", true },
                        { ".initrd", "070701", true },
                        { ".ucode", "microcode", stubs[i].ucode },
                        { ".splash", "BMP", true },
                        { ".dtb", "tree", true },
                        { ".uname", "6.1.0-1", stubs[i].uname_sbat },
                        { ".sbat", "sbat,1", stubs[i].uname_sbat },
                        { ".pcrpkey", "-----BEGIN", true },
                };

                for (size_t j = 0; j < sizeof(parts) / sizeof(parts[0]); j++)
                        if (parts[j].measured) {
                                measure(pcr, parts[j].name, strlen(parts[j].name) + 1);
                                measure(pcr, parts[j].content, strlen(parts[j].content));
                        }
                uki_sample(&im, stubs[i].magic);
                assert_pcr11(&im, NULL, pcr);
        }
}

static void test_phases_follow_without_their_nul(void **state) {
        const char *const none[] = { NULL }, *const two[] = { "enter-initrd", "sysinit", NULL };
        uint8_t pcr[PCR_SIZE_MAX], other[PCR_SIZE_MAX];
        struct error err = { 0 };
        struct image im;
        struct uki uki;
        (void) state;

        uki_sample(&im, MAGIC("252"));
        uki_of(&im, &uki);
        assert_int_equal(uki_pcr11(&uki, PCR_SHA256, NULL, pcr, &err), 0);
        assert_pcr11(&im, none, pcr);
        measure(pcr, "enter-initrd", 12);
        measure(pcr, "sysinit", 7);
        assert_pcr11(&im, two, pcr);
        assert_int_equal(uki_pcr11(&uki, PCR_SHA256, none, other, &err), 0);
        assert_memory_not_equal(pcr, other, SHA256_SIZE);
}

/* Bytes in memory count: those of the file beyond them don't, and missing ones are zero. */
static void test_content_is_what_is_in_memory(void **state) {
        uint8_t before[PCR_SIZE_MAX], after[PCR_SIZE_MAX], pcr[SHA256_SIZE] = { 0 };
        const struct uki_part *cmdline;
        struct error err = { 0 };
        struct image im;
        struct uki uki;
        struct pe pe;
        (void) state;

        uki_sample(&im, MAGIC("252"));
        uki_of(&im, &uki);
        assert_int_equal(uki_pcr11(&uki, PCR_SHA384, NULL, before, &err), 0);
        parse(&im, &pe);
        im.data[pe_find(&pe, ".cmdline")->offset + 5] ^= 1;
        assert_int_equal(uki_pcr11(&uki, PCR_SHA384, NULL, after, &err), 0);
        assert_memory_equal(before, after, 48);
        im.data[pe_find(&pe, ".cmdline")->offset + 4] ^= 1;
        assert_int_equal(uki_pcr11(&uki, PCR_SHA384, NULL, after, &err), 0);
        assert_memory_not_equal(before, after, 48);

        image_init(&im, true, 16);
        image_section(&im, ".sdmagic", MAGIC("252"), sizeof(MAGIC("252")));
        image_text(&im, ".linux", "kernel");
        image_text(&im, ".cmdline", "sixteen bytes it");
        put32(row(&im, 2) + 8, 20);
        uki_of(&im, &uki);
        cmdline = &uki.part[UKI_CMDLINE];
        assert_int_equal(cmdline->size, 16);
        assert_int_equal(cmdline->zeros, 4);
        assert_null(uki.part[UKI_OSREL].data);
        measure(pcr, ".linux", 7);
        measure(pcr, "kernel", 6);
        measure(pcr, ".cmdline", 9);
        measure(pcr, "sixteen bytes it\0\0\0", 20);
        assert_pcr11(&im, NULL, pcr);
}

static void test_an_empty_section_is_none(void **state) {
        uint8_t with[PCR_SIZE_MAX], without[PCR_SIZE_MAX];
        struct error err = { 0 };
        struct image im;
        struct uki uki;
        (void) state;

        for (unsigned empty = 0; empty < 2; empty++) {
                image_init(&im, true, 16);
                image_section(&im, ".sdmagic", MAGIC("252"), sizeof(MAGIC("252")));
                image_text(&im, ".linux", "kernel");
                if (empty)
                        image_text(&im, ".cmdline", "");
                uki_of(&im, &uki);
                assert_null(uki.part[UKI_CMDLINE].data);
                assert_int_equal(uki_pcr11(&uki, PCR_SHA256, NULL, empty ? with : without, &err),
                                 0);
        }
        assert_memory_equal(with, without, SHA256_SIZE);

        image_text(&im, ".initrd", "x");
        put32(row(&im, 3) + 8, 0);
        uki_refused(&im, ".initrd has no size in memory");
}

static void test_other_stubs_are_refused(void **state) {
        static const struct {
                const char *magic, *words;
        } magics[] = {
                { MAGIC("251.4"), "251.4" },
                { MAGIC("259"), "259" },
                { MAGIC("2520"), "2520" },
                { MAGIC("252000000000000"), "252000000000000" },
                { MAGIC(""), "no systemd-stub" },
                { MAGIC("254~rc2"), "254~rc2" },
                { MAGIC("254-rc2"), "254-rc2" },
                { MAGIC("257~devel"), "257~devel" },
                { MAGIC("252-143-g0123abc"), "252-143-g0123abc" },
                { MAGIC("252x"), "252x" },
                { "#### LoaderInfo: systemd-boot 252.39 ####", "no systemd-stub" },
                { "#### LoaderInfo: systemd-stub 252.39", "no systemd-stub" },
                { "#### LoaderInfo: systemd-stub ####", "no systemd-stub" },
                { "", "no systemd-stub" },
                { MAGIC("252\n"), "isn't text" },
                { MAGIC("252 a version that is longer than any that was ever seen, and longer than "
                        "what is read of it, so that no more is read"),
                  "bytes" },
        };
        struct image im;
        (void) state;

        for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
                uki_sample(&im, magics[i].magic);
                uki_refused(&im, magics[i].words);
        }
        image_init(&im, true, 16);
        image_text(&im, ".linux", "kernel");
        uki_refused(&im, "no section .sdmagic");
        image_section(&im, ".sdmagic", MAGIC("252"), sizeof(MAGIC("252")));
        image_section(&im, ".sdmagic", MAGIC("256"), sizeof(MAGIC("256")));
        uki_refused(&im, "no section .sdmagic");
        /* Text after the NUL. */
        image_init(&im, true, 16);
        image_text(&im, ".linux", "kernel");
        image_section(&im, ".sdmagic", MAGIC("252") "\0x", sizeof(MAGIC("252")) + 1);
        uki_refused(&im, "isn't text");
}

static void test_what_is_only_known_at_boot_is_refused(void **state) {
        static const struct {
                const char *name, *words;
        } sections[] = {
                { ".profile", "choose at boot" },
                { ".dtbauto", "choose at boot" },
                { ".hwids", "choose at boot" },
                { ".efifw", "choose at boot" },
                { ".linux", "two sections .linux" },
                { ".pcrsig", "two sections .pcrsig" },
                { ".linux2", ".linux2 can be taken for the section .linux" },
                { ".dtbs", ".dtbs can be taken for the section .dtb" },
        };
        struct image im;
        struct uki uki;
        (void) state;

        for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
                uki_sample(&im, MAGIC("257"));
                image_text(&im, sections[i].name, "x");
                uki_refused(&im, sections[i].words);
        }
        uki_sample(&im, MAGIC("257"));
        image_text(&im, ".cmdl", "x");
        uki_of(&im, &uki);

        /* The first is empty, and stubs differ in which of them counts. */
        image_init(&im, true, 16);
        image_section(&im, ".sdmagic", MAGIC("252"), sizeof(MAGIC("252")));
        image_text(&im, ".linux", "");
        uki_refused(&im, "no section .linux");
        image_text(&im, ".linux", "kernel");
        uki_refused(&im, "two sections .linux");

        uki_sample(&im, MAGIC("252"));
        put32(row(&im, 12) + 8, 17);
        uki_refused(&im, ".linux is cut off");
}

static void test_the_kernel_is_an_image_of_the_same_machine(void **state) {
        struct image im, kernel;
        struct error err = { 0 };
        struct uki uki;
        struct pe pe;
        (void) state;

        sample(&kernel);
        for (unsigned i = 0; i < 3; i++) {
                const char *const magics[] = { MAGIC("252"), MAGIC("257.9"), MAGIC("258") };

                image_init(&im, true, 16);
                image_section(&im, ".sdmagic", magics[i], strlen(magics[i]));
                image_section(&im, ".linux", kernel.data, kernel.size);
                uki_of(&im, &uki);
                assert_int_equal(uki_kernel(&uki, &pe, &err), 0);
                assert_int_equal(pe.size, kernel.size);
                assert_int_equal(uki_kernel_measured(&uki, &pe, false), i < 2);
                assert_false(uki_kernel_measured(&uki, &pe, true));
                pe.image_version = 0;
                assert_false(uki_kernel_measured(&uki, &pe, false));
        }
        put16(im.data + COFF + 4, 0xaa64);
        uki_of(&im, &uki);
        assert_int_equal(uki_kernel(&uki, &pe, &err), -EBADMSG);
        assert_non_null(strstr(err.text, "machine 0x8664"));
        uki_sample(&im, MAGIC("252"));
        uki_of(&im, &uki);
        assert_int_equal(uki_kernel(&uki, &pe, &err), -EBADMSG);
        assert_string_equal(err.text, "its kernel: not a PE image");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_hash_takes_its_pieces_as_one),
                cmocka_unit_test(test_extending_hashes_the_old_value_before_the_digest),
                cmocka_unit_test(test_an_image_of_either_kind_is_read),
                cmocka_unit_test(test_the_hash_is_of_all_but_checksum_and_certificates),
                cmocka_unit_test(test_each_byte_of_an_image_counts),
                cmocka_unit_test(test_signing_changes_no_hash_where_it_pads_nothing),
                cmocka_unit_test(test_an_image_without_room_for_certificates_has_a_hash),
                cmocka_unit_test(test_sections_may_stand_in_any_order),
                cmocka_unit_test(test_what_is_no_image_is_refused),
                cmocka_unit_test(test_what_ends_before_it_says_is_refused),
                cmocka_unit_test(test_sections_that_two_readers_see_differently_are_refused),
                cmocka_unit_test(test_certificates_anywhere_but_at_the_end_are_refused),
                cmocka_unit_test(test_each_stub_measures_what_it_knows),
                cmocka_unit_test(test_phases_follow_without_their_nul),
                cmocka_unit_test(test_content_is_what_is_in_memory),
                cmocka_unit_test(test_an_empty_section_is_none),
                cmocka_unit_test(test_other_stubs_are_refused),
                cmocka_unit_test(test_what_is_only_known_at_boot_is_refused),
                cmocka_unit_test(test_the_kernel_is_an_image_of_the_same_machine),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
