/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tss2/tss2_tcti.h>

#include "base/cleanup.h"
#include "base/error.h"

/* The transport to a TPM: one command, one answer, each within a deadline. What carries it is taken
 * for hostile: an answer is passed on only if it is whole, and after the first that isn't, or
 * doesn't come, the connection is dead. */

#define WIRE_MAX 4096u  /* bytes of a command or an answer: all that ESYS has room for */
#define WIRE_HEADER 10u /* tag, size, code (Part 1, section 18) */

/* How long a TPM may take for a command, in ms. The one for RSA keys is as long as Linux's driver
 * allows: slow chips look for primes for a minute and more. Everything else is done within 2 s by
 * the duration classes of the PC Client profile, so one limit does for it. */
#define WIRE_DEADLINE 5000u
#define WIRE_RSA_TIMES 60u /* so many times as long */

enum wire_fault {
        WIRE_FINE = 0,
        WIRE_TIMEOUT, /* no answer within the deadline */
        WIRE_CLOSED,  /* closed before the answer */
        WIRE_SHORT,   /* the answer ends before its own end */
        WIRE_LONG,    /* or goes on behind it, or is longer than any may be */
        WIRE_BROKEN,  /* or its parts don't fit */
        WIRE_BUSY,    /* "try again", too often */
        WIRE_OLD,     /* a TPM 1.2 */
        WIRE_FAILED,  /* the system says why: errnum */
        WIRE_FAULTS
};

struct wire;

/* Connects to the TPM that @tcti names. Return: 0; -EINVAL (it isn't one), -ENODEV (nothing answers
 * there), -EACCES, -EBUSY, -EIO, -ENOMEM. */
int wire_open(const char *tcti, struct wire **ret, struct error *err) _warn_unused_;
/* The same through somebody else's TCTI, which stays the caller's. */
int wire_over(TSS2_TCTI_CONTEXT *inner, struct wire **ret, struct error *err) _warn_unused_;
/* And through a file descriptor that takes and gives whole messages, as /dev/tpm0 does; it becomes
 * the wire's. */
int wire_device(int fd, struct wire **ret, struct error *err) _warn_unused_;
struct wire *wire_close(struct wire *w);
DEFINE_CLEANUP(struct wire *, wire_close);

/* For connections made from now on, in ms; 0 for the default. */
void wire_set_deadline(unsigned ms);

/* What ESYS takes; good until wire_close(). */
TSS2_TCTI_CONTEXT *wire_tcti(struct wire *w);

/* What broke it; WIRE_FINE while it works. */
enum wire_fault wire_fault(const struct wire *w);
/* Fills in @err with "what: words". Return: -ETIMEDOUT, -ECONNRESET, -EMSGSIZE (short, long),
 * -EPROTO (its parts don't fit), -EIO. */
int wire_say(const struct wire *w, const char *what, struct error *err);

/* The last command: its code, 0 if there was none; and whether its session number @n, counted from
 * 1, is one that has a key, not a password. */
uint32_t wire_code(const struct wire *w);
bool wire_has_session(const struct wire *w, unsigned n);
/* Whether the last command was answered, and with success. */
bool wire_succeeded(const struct wire *w);

/* --- frame.c: pure --- */

/* The numbers in front of a command or an answer; @p has WIRE_HEADER bytes. */
uint16_t frame_tag(const uint8_t *p);
uint32_t frame_size(const uint8_t *p);
uint32_t frame_code(const uint8_t *p);

struct frame_sessions {
        unsigned count;
        uint32_t handle[3];
        bool encrypts; /* one of them encrypts the answer */
};

/* The sessions of a command of ours; none where it has no place for them. */
struct frame_sessions frame_sessions(const uint8_t *command, size_t size);
/* Whether @command makes an RSA key. */
bool frame_makes_rsa(const uint8_t *command, size_t size);
/* Whether @answer, all @size bytes of it, has the form of an answer to @command (Part 1, section
 * 18; Part 3, section 5): tags, counts and sizes fit, nothing is missing and nothing is left over.
 * tpm2-tss believes some of that. Return: WIRE_FINE, or what's wrong. */
enum wire_fault frame_check(const uint8_t *command, size_t command_size, const uint8_t *answer,
                            size_t size);
