/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <tss2/tss2_sys.h>

#include "base/file.h"
#include "tpm/internal.h"

/* A TPM holds three transient objects, and whoever is killed leaves its own behind. What to do
 * about it depends on who stands between us and the TPM:
 *
 * /dev/tpmrm0, tabrmd: the resource manager flushes what was ours when we are gone, and what we see
 *        is only ours. Nothing to do, and nothing may be done.
 * swtpm:path=…: nobody. We take turns by a lock file beside the socket. It holds a byte while
 *        somebody works, so whoever finds one knows that the holder before was killed.
 * device:/dev/tpm0: the kernel lets one process open it, so there's no need of a lock, but the
 *        leftovers of others are there; they are flushed only when they are in the way. Not the
 *        saved sessions: those belong to users of /dev/tpmrm0, whose objects the kernel swaps out.
 * swtpm:host=…, mssim: no path, so no place for a lock, and whatever is in the TPM may be in use.
 *        Nothing is flushed; test rigs that share such a TPM take turns by other means. */

/* The value of the last "path=" in a swtpm configuration, unless a "host=" comes after it. */
static size_t socket_path(const char *conf, const char **ret) {
        size_t size = 0;

        for (;;) {
                size_t n = strcspn(conf, ",");

                if (strncmp(conf, "path=", 5) == 0) {
                        *ret = conf + 5;
                        size = n - 5;
                } else if (strncmp(conf, "host=", 5) == 0)
                        size = 0;
                if (conf[n] == '\0')
                        return size;
                conf += n + 1;
        }
}

int lock_take(struct tpm *t, const char *tcti, struct error *err) {
        char name[PATH_MAX];
        const char *path = NULL;
        struct stat st;
        size_t size;
        int r;

        if (strncmp(tcti, "device:/dev/tpm", 15) == 0 && isdigit((unsigned char) tcti[15]))
                t->sole = true;
        if (strncmp(tcti, "swtpm:", 6) != 0)
                return 0;
        size = socket_path(tcti + 6, &path);
        if (size == 0)
                return 0;
        if (size > sizeof(name) - sizeof(".lock"))
                return error_set(err, -EINVAL,
                                 "connect to TPM: the path of the socket is too long");
        (void) snprintf(name, sizeof(name), "%.*s.lock", (int) size, path);

        r = file_lock(name, &t->lock_fd, err);
        if (r == -ENOENT || r == -ENOTDIR)
                return error_set(err, -ENODEV, "connect to TPM: no folder for '%.100s'", tcti);
        if (r < 0)
                return error_prefix(err, "connect to TPM");
        if (fstat(t->lock_fd, &st) < 0)
                return error_errno(err, -errno, "connect to TPM: look at %.100s", name);
        t->sole = true;
        t->dirty = st.st_size > 0;
        if (!t->dirty && pwrite(t->lock_fd, "D", 1, 0) != 1)
                return error_errno(err, -EIO, "connect to TPM: write %.100s", name);
        return 0;
}

void lock_release(struct tpm *t) {
        /* Should that fail, the next holder looks for leftovers and finds none. */
        if (t->lock_fd >= 0 && !t->dirty)
                (void) !ftruncate(t->lock_fd, 0);
        close_fdp(&t->lock_fd);
}

/* The ranges as TPM2_GetCapability counts them; tss2's macros shift a bit into the sign of an int.
 */
#define FIRST(kind) ((TPM2_HANDLE) (kind) << TPM2_HR_SHIFT)

static bool is_session(TPM2_HANDLE h) {
        return h >> TPM2_HR_SHIFT == TPM2_HT_HMAC_SESSION ||
               h >> TPM2_HR_SHIFT == TPM2_HT_POLICY_SESSION;
}

static bool is_ours(struct tpm *t, TPM2_HANDLE h) {
        for (unsigned i = 0; i < HANDLES_MAX; i++) {
                TPM2_HANDLE own;

                if (t->live[i] == ESYS_TR_NONE ||
                    Esys_TR_GetTpmHandle(t->esys, t->live[i], &own) != TSS2_RC_SUCCESS)
                        continue;
                if (own == h)
                        return true;
                /* The list of loaded sessions may show a policy session with the other type. */
                if (is_session(own) && is_session(h) && ((own ^ h) & TPM2_HR_HANDLE_MASK) == 0)
                        return true;
        }
        return false;
}

static TSS2_RC flush_strangers(struct tpm *t, TPM2_HANDLE first) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        TSS2_SYS_CONTEXT *sys;
        TSS2_RC rc;

        rc = Esys_GetCapability(t->esys, NO_SESSIONS, TPM2_CAP_HANDLES, first, TPM2_MAX_CAP_HANDLES,
                                NULL, &found);
        if (rc)
                return rc;
        if (found->capability != TPM2_CAP_HANDLES)
                return TSS2_ESYS_RC_MALFORMED_RESPONSE;
        /* ESYS flushes only what it knows, and would first read each object's public area. */
        rc = Esys_GetSysContext(t->esys, &sys);
        if (rc)
                return rc;
        for (UINT32 i = 0; i < found->data.handles.count; i++) {
                TPM2_HANDLE h = found->data.handles.handle[i];

                if (is_ours(t, h))
                        continue;
                rc = Tss2_Sys_FlushContext(sys, h);
                if (rc)
                        return rc;
        }
        return TSS2_RC_SUCCESS;
}

static TSS2_RC flush_all_strangers(struct tpm *t) {
        TSS2_RC rc;

        rc = flush_strangers(t, FIRST(TPM2_HT_TRANSIENT));
        if (rc)
                return rc;
        rc = flush_strangers(t, FIRST(TPM2_HT_LOADED_SESSION));
        if (rc || t->lock_fd < 0)
                return rc;
        return flush_strangers(t, FIRST(TPM2_HT_SAVED_SESSION));
}

int lock_flush_leftovers(struct tpm *t, struct error *err) {
        TSS2_RC rc;

        if (t->lock_fd < 0 || !t->dirty)
                return 0;
        rc = flush_all_strangers(t);
        if (rc)
                return tpm_fault(t, rc, "flush what a killed process left in the TPM", err);
        t->dirty = false;
        return 0;
}

bool lock_made_room(struct tpm *t, TSS2_RC rc, bool *tried) {
        switch (rc) {
        case TPM2_RC_OBJECT_MEMORY:
        case TPM2_RC_OBJECT_HANDLES:
        case TPM2_RC_SESSION_MEMORY:
        case TPM2_RC_SESSION_HANDLES: break;
        default: return false;
        }
        if (!t->sole || *tried)
                return false;
        *tried = true;
        return flush_all_strangers(t) == TSS2_RC_SUCCESS;
}
