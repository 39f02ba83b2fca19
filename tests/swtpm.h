/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tpm/tpm.h"

/* A TPM of one's own: swtpm in a folder of its own, which dies with the test. */
struct swtpm {
        pid_t pid;
        char dir[32];    /* of the sockets; state in subfolders */
        char socket[48]; /* of TPM commands */
        char tcti[64];
        unsigned states; /* how many TPMs there were so far */
};

enum swtpm_how {
        SWTPM_NORMAL,      /* as firmware hands it over */
        SWTPM_NOT_STARTED, /* TPM2_Startup was not sent */
};

/* For cmocka: @state becomes a struct swtpm. Return: 0, or -1. */
int swtpm_start(void **state);
int swtpm_start_unstarted(void **state);
int swtpm_stop(void **state);

struct swtpm *swtpm_new(enum swtpm_how how);
struct swtpm *swtpm_free(struct swtpm *s);
DEFINE_CLEANUP(struct swtpm *, swtpm_free);

/* Power off and on: what isn't persistent is gone. With @other, another TPM stands in its place. */
bool swtpm_restart(struct swtpm *s, bool other);
/* As a host that pulls the plug: nothing answers from here on. */
void swtpm_kill(struct swtpm *s);

/* One command past everything of ours. Return: the size of the reply, or 0. */
size_t swtpm_command(const struct swtpm *s, const void *command, size_t size, uint8_t *reply,
                     size_t max);
/* Extends PCR @n of the SHA-256 bank by a fixed digest. */
bool swtpm_extend(const struct swtpm *s, unsigned n);

enum swtpm_handles {
        SWTPM_LOADED_SESSIONS = 0x02,
        SWTPM_SAVED_SESSIONS = 0x03,
        SWTPM_TRANSIENT = 0x80,
        SWTPM_PERSISTENT = 0x81,
};

/* How many handles of a kind are in use; -1 where the TPM doesn't answer. */
int swtpm_count(const struct swtpm *s, enum swtpm_handles kind);
/* Of all that should be gone when we are done. */
int swtpm_leftovers(const struct swtpm *s);

/* Runs a shell command, usually one of tpm2-tools, in @s' folder with TPM2TOOLS_TCTI set. */
bool swtpm_run(const struct swtpm *s, const char *command);

/* The authPolicy of one TPM2_PolicyPCR with these values (Part 3, section 23.7). */
void swtpm_policy_pcr(const struct pcrs *pcrs, uint32_t mask, uint8_t ret[32]);
/* Seals @key to the values that the PCRs in @mask have now. Return: as tpm_seal(). */
int swtpm_seal(struct tpm *t, struct secret *key, uint32_t mask, struct sealed *ret,
               struct error *err);
