/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tests/nv.h"

#include <stdio.h>

/* --- the wire: what passes between ESAPI and the TPM --- */

struct line line;

static uint32_t get32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static bool is_target(void) {
        return line.target && line.last == line.target;
}

static bool cut_here(void) {
        return (line.cut_at && line.count == line.cut_at) || (line.cut_target && is_target());
}

static TSS2_RC send_command(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command) {
        line.last = get32(command + 6);
        line.count++;
        line.seen += is_target();
        if (cut_here() && !line.answer_only)
                line.dead = true;
        if (line.dead)
                return TSS2_TCTI_RC_IO_ERROR;
        if (is_target() && line.keep) {
                assert_true(size <= sizeof(line.kept));
                memcpy(line.kept, command, size);
                line.kept_size = size;
        }
        if (is_target() && line.replay)
                return line.transmit(tcti, line.kept_size, line.kept);
        return line.transmit(tcti, size, command);
}

static TSS2_RC get_answer(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *answer, int32_t timeout) {
        TSS2_RC rc = line.receive(tcti, size, answer, timeout);

        if (rc || !answer)
                return rc;
        if (cut_here())
                line.dead = true;
        if (line.dead)
                return TSS2_TCTI_RC_IO_ERROR;
        if (is_target() && line.answer && line.answers > 0) {
                line.answers--;
                memcpy(answer, "\x80\x01\0\0\0\x0a", 6);
                for (unsigned i = 0; i < 4; i++)
                        answer[6 + i] = (uint8_t) (line.answer >> (24 - 8 * i));
                *size = 10;
        }
        if (is_target() && line.flip)
                answer[*size - (size_t) line.flip] ^= 1;
        return rc;
}

struct tpm *open_tpm(const struct swtpm *s) {
        struct error err = { 0 };
        struct tpm *t = NULL;

        if (tpm_open(s->tcti, &t, &err) < 0)
                fail_msg("open: %s", err.text);
        return t;
}

/* From here on, until the connection ends. */
void tap(struct tpm *t) {
        memset(&line, 0, sizeof(line));
        line.transmit = TSS2_TCTI_TRANSMIT(wire_tcti(t->wire));
        line.receive = TSS2_TCTI_RECEIVE(wire_tcti(t->wire));
        TSS2_TCTI_TRANSMIT(wire_tcti(t->wire)) = send_command;
        TSS2_TCTI_RECEIVE(wire_tcti(t->wire)) = get_answer;
}

struct tpm *reopen(const struct swtpm *s, struct tpm *t) {
        tpm_close(t);
        t = open_tpm(s);
        assert_int_equal(swtpm_leftovers(s), 0);
        return t;
}

/* --- the machine --- */

void close_clean(const struct swtpm *s, struct tpm *t) {
        tpm_close(t);
        assert_int_equal(swtpm_leftovers(s), 0);
}

struct secret *key_new(void) {
        struct secret *key = NULL;
        struct error err = { 0 };

        assert_int_equal(p256_make(&key, &err), 0);
        return key;
}

int make(struct tpm *t, struct secret *key, struct tpm_counter *c) {
        struct error err = { 0 };
        int r = tpm_counter_make(t, BASE, key, c, &err);

        if (r < 0)
                print_message("make: %s\n", err.text);
        return r;
}

int read_it(struct tpm *t, struct tpm_counter *c) {
        struct error err = { 0 };
        int r = tpm_counter_read(t, c, &err);

        if (r < 0)
                print_message("read: %s\n", err.text);
        return r;
}

int advance(struct tpm *t, struct tpm_counter *c, struct secret *key, uint64_t to) {
        struct error err = { 0 };
        int r = tpm_counter_advance(t, c, key, to, &err);

        if (r < 0)
                print_message("advance: %s\n", err.text);
        return r;
}

bool undefine(const struct swtpm *s, uint32_t index) {
        char command[64];

        (void) snprintf(command, sizeof(command), "tpm2_nvundefine -C o 0x%08x", index);
        return swtpm_run(s, command);
}
