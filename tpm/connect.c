/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <unistd.h>

#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "tpm/internal.h"

TSS2_RC rc_base(TSS2_RC rc) {
        if (rc & TSS2_RC_LAYER_MASK || !(rc & TPM2_RC_FMT1))
                return rc;
        return rc & ~(TSS2_RC) (TPM2_RC_N_MASK | TPM2_RC_P);
}

bool rc_is_about_input(TSS2_RC rc) {
        if (rc & TSS2_RC_LAYER_MASK || !(rc & TPM2_RC_FMT1))
                return false;
        return (rc & TPM2_RC_P) || !(rc & TPM2_RC_S);
}

int tpm_fault(struct tpm *t, TSS2_RC rc, const char *what, struct error *err) {
        /* The TPM may have done what it was asked for, and we don't know the handle. */
        if (rc & TSS2_RC_LAYER_MASK)
                t->dirty = true;

        err->tpm_rc = rc;
        if (rc == TPM2_RC_INITIALIZE)
                return error_set(err, -EIO,
                                 "%s: the TPM was not started up; its firmware or emulator has to "
                                 "send TPM2_Startup (0x%08x)",
                                 what, rc);
        return error_set(err, -EIO, "%s: %s (0x%08x)", what, Tss2_RC_Decode(rc), rc);
}

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

/* Says why nobody answers at @tcti. TCTIs tell no errno, so ask for it again where there's a path.
 */
static int error_connect(struct tpm *t, const char *tcti, TSS2_RC rc, struct error *err) {
        const char *path = strchr(tcti, '/');

        err->tpm_rc = rc;
        switch (rc & ~(TSS2_RC) TSS2_RC_LAYER_MASK) {
        case TSS2_BASE_RC_NOT_SUPPORTED:
        case TSS2_BASE_RC_BAD_VALUE:
                return error_set(err, -EINVAL, "connect to TPM: tpm2-tss doesn't take '%.100s'",
                                 tcti);
        case TSS2_BASE_RC_MEMORY: return error_nomem(err);
        case TSS2_BASE_RC_IO_ERROR:
        case TSS2_BASE_RC_NO_CONNECTION:
                if (path && access(path, R_OK | W_OK) < 0 && errno == EACCES)
                        return error_errno(err, -EACCES, "connect to TPM: open %.100s", path);
                return error_set(err, -ENODEV, "connect to TPM: nothing answers at '%.100s'", tcti);
        default: return tpm_fault(t, rc, "connect to TPM", err);
        }
}

int tpm_open(const char *tcti, struct tpm **ret, struct error *err) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        TSS2_RC rc;
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

        t = calloc(1, sizeof(*t));
        if (!t)
                return error_nomem(err);
        t->lock_fd = -1;
        for (unsigned i = 0; i < HANDLES_MAX; i++)
                t->live[i] = ESYS_TR_NONE;

        /* Before connecting: already that talks to the emulator, which serves one at a time. */
        r = lock_take(t, tcti, err);
        if (r < 0)
                return r;
        rc = Tss2_TctiLdr_Initialize(tcti, &t->tcti);
        if (rc)
                return error_connect(t, tcti, rc, err);
        rc = Esys_Initialize(&t->esys, t->tcti, NULL);
        if (rc)
                return tpm_fault(t, rc, "start ESAPI", err);
        r = lock_flush_leftovers(t, err);
        if (r < 0)
                return r;

        *ret = TAKE(t);
        return 0;
}

struct tpm *tpm_close(struct tpm *t) {
        if (!t)
                return NULL;
        if (t->esys)
                Esys_Finalize(&t->esys);
        if (t->tcti)
                Tss2_TctiLdr_Finalize(&t->tcti);
        lock_release(t);
        free(t);
        return NULL;
}
