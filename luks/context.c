/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libcryptsetup.h>

#include "luks/internal.h"

static void keep_last_error(int level, const char *line, void *userdata) {
        struct lib *c = userdata;
        size_t n;

        if (level != CRYPT_LOG_ERROR || !c)
                return;
        text_safe(c->said, sizeof(c->said), line);
        n = strcspn(line, "\r\n");
        if (n < sizeof(c->said))
                c->said[n] = '\0';
}

/* Everything here belongs to the whole process in libcryptsetup, and may be set again. */
static void set_up_process(void) {
        /* Without a callback it prints what it says outside of a context. */
        crypt_set_log_callback(NULL, keep_last_error, NULL);
        /* At debug level it would log more than we want to answer for. */
        crypt_set_debug_level(CRYPT_DEBUG_NONE);
        /* No plugin is loaded because a header names it. */
        crypt_token_external_disable();
}

int lib_new(int fd, struct lib **ret, struct error *err) {
        _cleanup_(lib_freep) struct lib *c = NULL;
        char path[32];
        int r;

        set_up_process();
        c = calloc(1, sizeof(*c));
        if (!c)
                return error_nomem(err);
        /* What the path of the disk leads to may change; what we hold open doesn't. */
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = crypt_init(&c->cd, path);
        if (r < 0)
                return error_errno(err, r, "start libcryptsetup");
        crypt_set_log_callback(c->cd, keep_last_error, c);
        *ret = TAKE(c);
        return 0;
}

int lib_load(int fd, struct lib **ret, struct error *err) {
        _cleanup_(lib_freep) struct lib *c = NULL;
        int r = lib_new(fd, &c, err);

        if (r < 0)
                return r;
        /* Before the load: without a choice of ours it looks for the CPUs and the memory of this
         * machine each time, to make one of its own, which none of our contexts uses. */
        r = lib_set_pbkdf(c, LUKS_SLOT_OURS, err);
        if (r < 0)
                return r;
        *ret = TAKE(c);
        r = crypt_load((*ret)->cd, CRYPT_LUKS2, NULL);
        return r < 0 ? lib_fault(*ret, r, "load the header", err) : 0;
}

void luks_set_up(void) {
        _cleanup_(lib_freep) struct lib *c = calloc(1, sizeof(*c));
        struct error ignored = { 0 };

        set_up_process();
        /* To choose a key derivation is the first thing for which it starts its cryptography. */
        if (!c || crypt_init(&c->cd, NULL) < 0 || lib_set_pbkdf(c, LUKS_SLOT_OURS, &ignored) < 0)
                return;
}

struct lib *lib_free(struct lib *c) {
        if (c) {
                crypt_free(c->cd); /* wipes what keys it holds */
                free(c);
        }
        return NULL;
}

int lib_fault(const struct lib *c, int errnum, const char *what, struct error *err) {
        if (c->said[0])
                return error_set(err, errnum, "%s: %s", what, c->said);
        return error_errno(err, errnum, "%s", what);
}

int lib_set_pbkdf(struct lib *c, enum luks_slot_kind kind, struct error *err) {
        static const struct crypt_pbkdf_type random = {
                .type = CRYPT_KDF_PBKDF2,
                .hash = SLOT_HASH,
                .iterations = SLOT_ITERATIONS,
                .flags = CRYPT_PBKDF_NO_BENCHMARK,
        };
        /* On fewer CPUs libcryptsetup takes fewer lanes. */
        static const struct crypt_pbkdf_type typed = {
                .type = CRYPT_KDF_ARGON2ID,
                .hash = SLOT_HASH,
                .iterations = PASSPHRASE_PASSES,
                .max_memory_kb = PASSPHRASE_MEMORY,
                .parallel_threads = PASSPHRASE_LANES,
                .flags = CRYPT_PBKDF_NO_BENCHMARK,
        };
        int r;

        r = crypt_set_pbkdf_type(c->cd, kind == LUKS_SLOT_OURS ? &random : &typed);
        if (r < 0)
                return lib_fault(c, r, "set the key derivation", err);
        return 0;
}
