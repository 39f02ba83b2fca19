/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tpm/tcti.h"

#include <tss2/tss2_tpm2_types.h>

/* tpm2-tss 3.2 unmarshals an answer from a buffer of 4096 bytes, whatever the answer's size. What
 * isn't there is read from what was there before, the command; and two sizes are believed: that of
 * the parameters, behind which the sessions stand (read up to two bytes behind the buffer), and
 * that of an encrypted parameter (up to 61 KiB behind it, once the session's HMAC is right). So
 * hold an answer against its own sizes first. */

#define SESSION_MAX 64u /* bytes of a nonce or an HMAC: the largest digest */

static uint16_t get16(const uint8_t *p) {
        return (uint16_t) (p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p) {
        return (uint32_t) get16(p) << 16 | get16(p + 2);
}

uint16_t frame_tag(const uint8_t *p) {
        return get16(p);
}

uint32_t frame_size(const uint8_t *p) {
        return get32(p + 2);
}

uint32_t frame_code(const uint8_t *p) {
        return get32(p + 6);
}

static bool is_session(uint32_t handle) {
        return handle == TPM2_RH_PW || handle >> TPM2_HR_SHIFT == TPM2_HT_HMAC_SESSION ||
               handle >> TPM2_HR_SHIFT == TPM2_HT_POLICY_SESSION;
}

/* Steps over a TPM2B of at most @max bytes. */
static bool skip_sized(const uint8_t *p, size_t end, size_t *at, size_t max) {
        size_t n;

        if (end - *at < 2)
                return false;
        n = get16(p + *at);
        if (n > max || end - *at - 2 < n)
                return false;
        *at += 2 + n;
        return true;
}

/* Reads an authorization area with its size in front, at @at. Return: false if it isn't one. */
static bool read_sessions(const uint8_t *p, size_t size, size_t at, struct frame_sessions *ret) {
        struct frame_sessions s = { 0 };
        size_t end;

        if (size - at < 4 || get32(p + at) > size - at - 4)
                return false;
        end = at + 4 + get32(p + at);
        for (at += 4; at < end;) {
                if (s.count == 3 || end - at < 4)
                        return false;
                s.handle[s.count] = get32(p + at);
                at += 4;
                if (!is_session(s.handle[s.count++]) || !skip_sized(p, end, &at, SESSION_MAX) ||
                    end - at < 1)
                        return false;
                s.encrypts |= p[at++] & TPMA_SESSION_ENCRYPT;
                if (!skip_sized(p, end, &at, SESSION_MAX))
                        return false;
        }
        *ret = s;
        return s.count > 0;
}

/* How many handles a command has stands in no field, so try: taken for the size of the area, no
 * handle of an object or a session fits in; and where that of a PCR does, no session follows. */
static size_t find_sessions(const uint8_t *command, size_t size, struct frame_sessions *ret) {
        if (size < WIRE_HEADER || frame_tag(command) != TPM2_ST_SESSIONS)
                return 0;
        for (size_t at = WIRE_HEADER; at <= WIRE_HEADER + 12 && at <= size; at += 4)
                if (read_sessions(command, size, at, ret))
                        return at;
        return 0;
}

struct frame_sessions frame_sessions(const uint8_t *command, size_t size) {
        struct frame_sessions s = { 0 };

        (void) find_sessions(command, size, &s);
        return s;
}

bool frame_makes_rsa(const uint8_t *command, size_t size) {
        struct frame_sessions s;
        size_t at;

        switch (frame_code(command)) {
        case TPM2_CC_CreatePrimary:
        case TPM2_CC_Create:
        case TPM2_CC_CreateLoaded: break;
        default: return false;
        }
        at = find_sessions(command, size, &s);
        if (at == 0)
                return false;
        at += 4 + get32(command + at);
        /* inSensitive, then inPublic: its size, then the type. An encrypted inSensitive keeps its
         * size. */
        return skip_sized(command, size, &at, WIRE_MAX) && size - at >= 4 &&
               get16(command + at + 2) == TPM2_ALG_RSA;
}

/* Of an answer that has one, the handle stands outside of the parameters. */
static size_t answer_handles(uint32_t code) {
        switch (code) {
        case TPM2_CC_CreatePrimary:
        case TPM2_CC_Load:
        case TPM2_CC_LoadExternal:
        case TPM2_CC_CreateLoaded:
        case TPM2_CC_ContextLoad:
        case TPM2_CC_StartAuthSession:
        case TPM2_CC_HMAC_Start:
        case TPM2_CC_HashSequenceStart: return 4;
        default: return 0;
        }
}

/* The rest of an answer to a command with sessions: parameters, then what each session says. */
static bool body_fits(const struct frame_sessions *s, const uint8_t *p, size_t size, size_t at) {
        size_t parameters;

        if (size < at || size - at < 4)
                return false;
        parameters = get32(p + at);
        at += 4;
        if (parameters > size - at)
                return false;
        /* What is encrypted is the first parameter, without its size. */
        if (s->encrypts) {
                size_t first = at;

                if (!skip_sized(p, at + parameters, &first, WIRE_MAX))
                        return false;
        }
        at += parameters;
        for (unsigned i = 0; i < s->count; i++) {
                if (!skip_sized(p, size, &at, SESSION_MAX) || size - at < 1)
                        return false;
                at++;
                if (!skip_sized(p, size, &at, SESSION_MAX))
                        return false;
        }
        return at == size;
}

enum wire_fault frame_check(const uint8_t *command, size_t command_size, const uint8_t *answer,
                            size_t size) {
        const struct frame_sessions s = frame_sessions(command, command_size);
        size_t at;

        if (size < WIRE_HEADER)
                return WIRE_SHORT;
        if (frame_tag(answer) == TPM2_ST_RSP_COMMAND)
                return WIRE_OLD;
        if (frame_size(answer) != size)
                return frame_size(answer) > size ? WIRE_SHORT : WIRE_LONG;
        if (frame_code(answer) != TPM2_RC_SUCCESS) /* no more than the code */
                return frame_tag(answer) == TPM2_ST_NO_SESSIONS && size == WIRE_HEADER
                               ? WIRE_FINE
                               : WIRE_BROKEN;
        if (frame_tag(answer) != frame_tag(command))
                return WIRE_BROKEN;
        at = WIRE_HEADER + answer_handles(frame_code(command));
        if (frame_tag(command) == TPM2_ST_SESSIONS)
                return body_fits(&s, answer, size, at) ? WIRE_FINE : WIRE_BROKEN;
        return at <= size ? WIRE_FINE : WIRE_BROKEN;
}
