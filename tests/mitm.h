/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"

/* A man in the middle between us and swtpm, on Unix sockets. For C tests a thread; for shell tests
 * the program "mitm" (mitm-main.c). */

enum mitm_mode {
        MITM_PASS,
        MITM_FLIP,     /* flip a bit of the answer */
        MITM_TRUNCATE, /* give half of the answer, and close */
        MITM_OVERSIZE, /* an answer of 8192 bytes, all announced */
        MITM_TRAILING, /* one byte more than announced */
        MITM_STALL,    /* pass it on, and never answer */
        MITM_STRIP,    /* take the encrypt attribute off the sessions of the command */
        MITM_SWAP,     /* answer TPM2_CreatePrimary or TPM2_ReadPublic with another key */
        MITM_REPLAY,   /* answer what was answered to that command while passing */
        MITM_RESET,    /* reset the TPM, start it up, then pass the command on */
        MITM_FAIL,     /* answer a code, and don't pass it on */
        MITM_CLOSE,    /* close, and don't pass it on */
        MITM_LOSE,     /* pass it on, and close without an answer */
        MITM_MODES
};

struct mitm_plan {
        enum mitm_mode mode;
        unsigned at;    /* do it to the command of this number, from 1; */
        uint32_t code;  /* or to those of this code; neither: to all */
        unsigned times; /* at most so many times; 0 is always */
        int byte;       /* MITM_FLIP: which, from the end where negative */
        uint32_t rc;    /* MITM_FAIL */
};

#define MITM_COMMANDS 256
#define MITM_KEPT 16

struct mitm {
        char tpm[108];    /* the socket of the TPM */
        char socket[108]; /* where we come in */
        struct mitm_plan plan;
        FILE *list;    /* a line for each command: number, code, code of the answer; or NULL */
        FILE *traffic; /* all that went by, both ways; or NULL */

        int listener;
        pthread_t thread;
        atomic_bool stop;
        unsigned count, done; /* commands so far; how many the plan was done to */
        uint32_t commands[MITM_COMMANDS];
        uint8_t seen[256 * 1024]; /* all that went by */
        size_t seen_size;
        struct {
                uint32_t code;
                uint8_t answer[4096];
                size_t size;
        } kept[MITM_KEPT];
};

const char *mitm_mode_name(enum mitm_mode m);
bool mitm_mode_parse(const char *name, enum mitm_mode *ret);

/* Listens at @socket for a TPM at @tpm. Return: NULL, where that can't be. */
struct mitm *mitm_new(const char *socket, const char *tpm);
/* Serves until mitm_free(), in a thread of its own. Return: whether it runs. */
bool mitm_start(struct mitm *m);
/* Serves until @m->stop, in this thread. */
void mitm_serve(struct mitm *m);
/* From now on do this, and count anew. Only between commands. */
void mitm_set(struct mitm *m, struct mitm_plan plan);
struct mitm *mitm_free(struct mitm *m);
DEFINE_CLEANUP(struct mitm *, mitm_free);
