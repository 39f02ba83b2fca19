/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/make-log.h"

#include <stdio.h>

#include "base/crypto.h"
#include "base/file.h"
#include "base/hex.h"
#include "tests/test.h"

#define SHA1_SIZE 20
#define SHA1_ID 4
#define TEXT_MAX 256

void made_bytes(struct made *m, const void *data, size_t size) {
        assert_true(size <= sizeof(m->data) - m->size);
        if (size > 0)
                memcpy(m->data + m->size, data, size);
        m->size += size;
}

void made_number(struct made *m, uint64_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; i++) {
                const uint8_t byte = (uint8_t) (value >> 8 * i);

                made_bytes(m, &byte, 1);
        }
}

void made_wide(struct made *m, const char *ascii, unsigned nuls) {
        for (; *ascii; ascii++)
                made_number(m, (uint8_t) *ascii, 2);
        while (nuls-- > 0)
                made_number(m, 0, 2);
}

static unsigned count(unsigned banks) {
        return (unsigned) __builtin_popcount(banks);
}

void made_header(struct made *m, unsigned banks) {
        m->size = 0;
        m->banks = banks;
        made_number(m, 0, 4);
        made_number(m, EV_NO_ACTION, 4);
        for (unsigned i = 0; i < SHA1_SIZE; i++)
                made_number(m, 0, 1);
        made_number(m, 28 + 4 * count(banks) + 1, 4);
        made_bytes(m, "Spec ID Event03", 16);
        made_number(m, 0, 4); /* platform class */
        made_number(m, 0x02000200, 4);
        made_number(m, count(banks), 4);
        if (banks & IN_SHA1) {
                made_number(m, SHA1_ID, 2);
                made_number(m, SHA1_SIZE, 2);
        }
        for (unsigned bank = 0; bank < PCR_BANKS; bank++)
                if (banks & (1u << bank)) {
                        made_number(m, pcr_bank_id(bank), 2);
                        made_number(m, pcr_size(bank), 2);
                }
        made_number(m, 0, 1);
}

void made_digest(enum pcr_bank bank, const void *data, size_t size, uint8_t ret[PCR_SIZE_MAX]) {
        const struct chunk all = { data, size };
        struct error err = { 0 };

        assert_int_equal(crypto_hash(bank, &all, 1, ret, &err), 0);
}

void made_event(struct made *m, uint32_t pcr, uint32_t type, const void *data, size_t size,
                const char *measured) {
        uint8_t digest[PCR_SIZE_MAX];

        made_number(m, pcr, 4);
        made_number(m, type, 4);
        made_number(m, count(m->banks), 4);
        if (m->banks & IN_SHA1) {
                made_number(m, SHA1_ID, 2);
                for (unsigned i = 0; i < SHA1_SIZE; i++)
                        made_number(m, 0x11, 1);
        }
        for (unsigned bank = 0; bank < PCR_BANKS; bank++)
                if (m->banks & (1u << bank)) {
                        made_digest(bank, measured ? measured : data,
                                    measured ? strlen(measured) : size, digest);
                        made_number(m, pcr_bank_id(bank), 2);
                        made_bytes(m, digest, pcr_size(bank));
                }
        made_number(m, size, 4);
        made_bytes(m, data, size);
}

void made_said(struct made *m, uint32_t pcr, uint32_t type, const char *text,
               const char *measured) {
        made_event(m, pcr, type, text, strlen(text), measured);
}

void made_variable(struct made *ret, const char *guid, const char *name, const void *data,
                   size_t size) {
        ret->size = 0;
        made_bytes(ret, guid, 16);
        made_number(ret, strlen(name), 8);
        made_number(ret, size, 8);
        made_wide(ret, name, 0);
        made_bytes(ret, data, size);
}

void made_image(struct made *ret, const char *path) {
        static const uint8_t payload[] = "\x04\x03\x14\x00\xf8\xd1\xc5\x55\xcd\x04\xb5\x46"
                                         "\x8a\x20\xe5\x6c\xbb\x30\x52\xd0";
        size_t node = path ? 4 + 2 * (strlen(path) + 1) : sizeof(payload) - 1;

        ret->size = 0;
        made_number(ret, 0x1000, 8);
        made_number(ret, 0x2000, 8);
        made_number(ret, 0, 8);
        made_number(ret, node + 4, 8);
        if (path) {
                made_number(ret, 0x0404, 2);
                made_number(ret, node, 2);
                made_wide(ret, path, 1);
        } else
                made_bytes(ret, payload, sizeof(payload) - 1);
        made_bytes(ret, "\x7f\xff\x04\x00", 4);
}

void made_tag(struct made *ret, uint32_t id, const char *text) {
        ret->size = 0;
        made_number(ret, id, 4);
        made_number(ret, strlen(text) + 1, 4);
        made_bytes(ret, text, strlen(text) + 1);
}

void made_parse(const struct made *m, struct eventlog *ret) {
        struct error err = { 0 };

        if (eventlog_parse(m->data, m->size, ret, &err) < 0)
                fail_msg("%s", err.text);
}

void made_value(enum pcr_bank bank, const char *const *measured, uint8_t ret[PCR_SIZE_MAX]) {
        uint8_t both[2 * PCR_SIZE_MAX] = { 0 };

        for (; *measured; measured++) {
                made_digest(bank, *measured, strlen(*measured), both + pcr_size(bank));
                made_digest(bank, both, 2 * pcr_size(bank), both);
        }
        memcpy(ret, both, pcr_size(bank));
}

static void read_recorded(const char *name, const char *suffix, char **ret, size_t *ret_size) {
        char path[TEXT_MAX];
        struct error err = { 0 };

        (void) snprintf(path, sizeof(path), "%s/%s.%s", DATA, name, suffix);
        if (file_read(path, EVENTLOG_SIZE_MAX, ret, ret_size, &err) < 0)
                fail_msg("%s", err.text);
}

void recorded_log(const char *name, struct made *ret, struct eventlog *ret_log) {
        _cleanup_(freep) char *data = NULL;
        size_t size;

        read_recorded(name, "bin", &data, &size);
        ret->size = 0;
        made_bytes(ret, data, size);
        made_parse(ret, ret_log);
}

void recorded_pcrs(const char *name, enum pcr_bank bank, struct pcrs *ret) {
        _cleanup_(freep) char *text = NULL;
        char bank_name[16], hex[2 * PCR_SIZE_MAX + 1], *line, *rest = NULL;
        struct pcrs pcrs = { .bank = bank };
        unsigned pcr;
        size_t size;

        read_recorded(name, "pcrs", &text, &size);
        for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                assert_int_equal(sscanf(line, "%15s %u %96s", bank_name, &pcr, hex), 3);
                if (strcmp(bank_name, pcr_bank_name(bank)) != 0)
                        continue;
                assert_true(pcr < PCR_COUNT);
                assert_true(hex_decode(hex, pcrs.value[pcr], pcr_size(bank)));
                pcrs.mask |= 1u << pcr;
        }
        assert_int_equal(pcrs.mask, 0xffff);
        *ret = pcrs;
}
