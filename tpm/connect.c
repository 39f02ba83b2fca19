/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/single_threaded.h>

#include "tpm/internal.h"

void handle_hold(struct handle *h, ESYS_TR tr) {
        h->tr = tr;
        if (h->persistent)
                return;
        for (unsigned i = 0; i < HANDLES_MAX; i++)
                if (h->tpm->live[i] == ESYS_TR_NONE) {
                        h->tpm->live[i] = tr;
                        return;
                }
        /* Nobody gets here: no operation of ours holds as much as a TPM does. */
        abort();
}

static void handle_forget(struct handle *h) {
        for (unsigned i = 0; i < HANDLES_MAX; i++)
                if (h->tpm->live[i] == h->tr)
                        h->tpm->live[i] = ESYS_TR_NONE;
        h->tr = ESYS_TR_NONE;
}

void handle_gone(struct handle *h) {
        ESYS_TR tr = h->tr;

        handle_forget(h);
        (void) Esys_TR_Close(h->tpm->esys, &tr);
}

void handle_done(struct handle *h) {
        if (h->tr == ESYS_TR_NONE)
                return;
        if (h->persistent) {
                handle_gone(h);
                return;
        }
        /* The next holder of the lock flushes it, or the resource manager does when we close. */
        if (Esys_FlushContext(h->tpm->esys, h->tr) != TSS2_RC_SUCCESS)
                h->tpm->dirty = true;
        handle_forget(h);
}

static int new (struct tpm **ret, struct error *err) {
        struct tpm *t = calloc(1, sizeof(*t));

        if (!t)
                return error_nomem(err);
        t->lock_fd = -1;
        for (unsigned i = 0; i < HANDLES_MAX; i++)
                t->live[i] = ESYS_TR_NONE;
        *ret = t;
        return 0;
}

static int start(struct tpm *t, struct error *err) {
        TSS2_RC rc = Esys_Initialize(&t->esys, wire_tcti(t->wire), NULL);

        return rc ? tpm_fault(t, rc, "start ESAPI", err) : 0;
}

int tpm_open(const char *tcti, struct tpm **ret, struct error *err) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        int r;

        if (!tcti)
                tcti = "device:/dev/tpmrm0";
        /* An empty string would make the loader try all that it knows. */
        if (!*tcti)
                return error_set(err, -EINVAL, "connect to TPM: the TCTI is an empty string");

        /* tpm2-tss writes to stderr by itself; what it says stands in our errors, with context. A
         * setting from outside wins. Read once, when the library logs for the first time. Where
         * other threads run the environment stays as it is: they may be reading it. */
        if (__libc_single_threaded)
                (void) setenv("TSS2_LOG", "all+NONE", 0);

        r = new (&t, err);
        if (r < 0)
                return r;
        /* Before connecting: already that talks to the emulator, which serves one at a time. */
        r = lock_take(t, tcti, err);
        if (r < 0)
                return r;
        r = wire_open(tcti, &t->wire, err);
        if (r < 0)
                return r;
        r = start(t, err);
        if (r < 0)
                return r;
        r = lock_flush_leftovers(t, err);
        if (r < 0)
                return r;

        *ret = TAKE(t);
        return 0;
}

int tpm_open_tcti(TSS2_TCTI_CONTEXT *tcti, struct tpm **ret, struct error *err) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        int r;

        r = new (&t, err);
        if (r < 0)
                return r;
        r = wire_over(tcti, &t->wire, err);
        if (r < 0)
                return r;
        r = start(t, err);
        if (r < 0)
                return r;
        *ret = TAKE(t);
        return 0;
}

void tpm_set_deadline(unsigned ms) {
        wire_set_deadline(ms);
}

struct tpm *tpm_close(struct tpm *t) {
        if (!t)
                return NULL;
        if (t->esys)
                Esys_Finalize(&t->esys);
        wire_close(t->wire);
        lock_release(t);
        free(t);
        return NULL;
}
