/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <string.h>

#include <tss2/tss2_sys.h>

#include "tpm/internal.h"

/* tpm2-tss wipes nothing. After a call with a key in it, copies stay in ESYS' context, in SAPI's
 * buffer, and in dead stack frames. The tests look for them in all of the process' memory. */

/* No handle that ESYS ever gives out: it counts them up, from small numbers. */
#define NO_SUCH_OBJECT ((ESYS_TR) 0xfffffffe)

/* ESYS decrypts a parameter in an array on its stack. The deepest call chain that touches a key
 * takes less than 8 KiB. */
static __attribute__((noinline)) void wipe_dead_stack(void) {
        uint8_t dead[32 * 1024];

        explicit_bzero(dead, sizeof(dead));
}

/* ESYS copies inSensitive into its context and keeps it there. The only door to that copy is the
 * next TPM2_Create, which replaces it before it looks at the parent; refused for the parent that
 * doesn't exist, it sends nothing and leaves ESYS ready for the next command. SAPI's buffer is
 * clean: the parameter was encrypted in place, before it was sent.
 *
 * After a fault (a lost connection, an answer that doesn't verify) ESYS takes no call any more, and
 * its copy lives until tpm_close(), whose free() wipes in our programs (base/wipe.c). */
void wipe_after_create(struct tpm *t) {
        const TPM2B_SENSITIVE_CREATE nothing = { 0 };

        (void) Esys_Create_Async(t->esys, NO_SUCH_OBJECT, PASSWORD, &nothing, NULL, NULL, NULL);
        wipe_dead_stack();
}

/* SAPI's buffer holds the response, decrypted in place. Its first parameter is the key. */
void wipe_after_unseal(struct tpm *t) {
        static const uint8_t zero[TPM2_MAX_SYM_DATA];
        TSS2_SYS_CONTEXT *sys;
        const uint8_t *plain;
        size_t size;

        if (Esys_GetSysContext(t->esys, &sys) == TSS2_RC_SUCCESS &&
            Tss2_Sys_GetEncryptParam(sys, &size, &plain) == TSS2_RC_SUCCESS && size <= sizeof(zero))
                (void) Tss2_Sys_SetEncryptParam(sys, size, zero);
        wipe_dead_stack();
}
