/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <time.h>

#include "agent/config.h"
#include "agent/context.h"
#include "agent/disk.h"
#include "agent/ways.h"
#include "plugin/plugin.h"

/* --- the process that we are guests in --- */

/* tpm2-tss writes to a socket that the other side may have closed. The signal would end a process
 * that isn't ours, so this thread holds it back, and takes it away before it goes on. */
struct guard {
        bool held;    /* SIGPIPE is blocked by us */
        bool pending; /* one waited already: it isn't of our making */
        bool quiet;   /* TSS2_LOG is set by us: see tpm_open() */
        sigset_t before;
};

static void guard_begin(struct guard *g) {
        sigset_t pipe, pending;

        (void) sigemptyset(&pipe);
        (void) sigaddset(&pipe, SIGPIPE);
        g->pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
        g->held = pthread_sigmask(SIG_BLOCK, &pipe, &g->before) == 0;
        g->quiet = __libc_single_threaded && !getenv("TSS2_LOG");
}

static void guard_end(struct guard *g) {
        const struct timespec now = { 0 };
        sigset_t pipe;

        if (g->held) {
                (void) sigemptyset(&pipe);
                (void) sigaddset(&pipe, SIGPIPE);
                while (!g->pending && sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
                        ;
                (void) pthread_sigmask(SIG_SETMASK, &g->before, NULL);
        }
        if (g->quiet)
                (void) unsetenv("TSS2_LOG");
}

/* --- the TPM --- */

static void context_freep(struct context **c) {
        if (*c)
                context_done(*c);
        free(*c);
}

/* On the heap: it's large, and the stack isn't ours. */
static int context_new(struct context **ret, struct error *err) {
        _cleanup_(context_freep) struct context *c = calloc(1, sizeof(*c));
        const char *tcti = secure_getenv("DISKSEAL_TCTI");

        if (!c)
                return error_nomem(err);
        *c = (struct context) CONTEXT_INIT;
        (void) snprintf(c->config_dir, sizeof(c->config_dir), "%s", CONFIG_DIR);
        (void) snprintf(c->state_dir, sizeof(c->state_dir), "%s", STATE_DIR);
        if (!tcti) {
                int r = config_read(c, err);

                if (r < 0)
                        return r;
        } else if ((size_t) snprintf(c->tcti, sizeof(c->tcti), "%s", tcti) >= sizeof(c->tcti))
                return error_set(err, -EINVAL, "DISKSEAL_TCTI: too long");
        *ret = TAKE(c);
        return 0;
}

static int ask_tpm(const struct disk *d, struct secret **ret, struct refusal *why,
                   struct error *err) {
        _cleanup_(guard_end) struct guard guard = { 0 };
        _cleanup_(context_freep) struct context *c = NULL;
        struct tpm_way way = { 0 };
        int r;

        guard_begin(&guard);
        r = context_new(&c, err);
        if (r == 0)
                r = way_by_token(c, d, &way, why, err);
        if (r == OUTCOME_DONE)
                *ret = way.slot_secret;
        return r;
}

/* --- the disk --- */

static int load(void *context, const char *device, struct disk *ret, struct refusal *why,
                struct error *err) {
        struct luks_reason reason = { 0 };
        struct luks *l = NULL;
        int r = luks_borrow(context, &l, &reason, err);

        if (r < 0)
                return r;
        if (r != LUKS_OK)
                return refuse_luks(why, device, r, &reason);
        return disk_take(l, ret, why, err);
}

/* libcryptsetup asks for each token by itself, and tries what it gets on that token's keyslot. */
static void choose(struct disk *d, int token) {
        if (d->older && token >= 0 && d->older_id == (unsigned) token)
                disk_use_older(d);
}

static int check(const struct disk *d, int token, struct refusal *why, struct error *err) {
        if (!d->token || token < 0 || d->token_id != (unsigned) token || !disk_owns_slot(d))
                return error_set(err, -ENOENT, "token %d isn't the one that opens this disk",
                                 token);
        if (strcmp(d->token->role, ROLE_DATA) != 0) {
                refusal_set(why, REFUSAL_NONE,
                            "%s stays locked: it's an OS disk, and this way is for data disks only",
                            d->token->name);
                refusal_detail(why,
                               "diskseal unlock %s opens it, from a header that nobody can "
                               "change meanwhile",
                               d->token->name);
                return OUTCOME_REFUSED;
        }
        return OUTCOME_DONE;
}

int plugin_secret(void *context, const char *device, int token, struct secret **ret,
                  struct refusal *why, struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        int r = load(context, device, &d, why, err);

        if (r == OUTCOME_DONE) {
                choose(&d, token);
                r = check(&d, token, why, err);
        }
        if (r == OUTCOME_DONE)
                r = ask_tpm(&d, ret, why, err);
        return r;
}
