/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/audit.h"
#include "agent/refusal.h"

/* The verb log. None of it takes part in the log: looking isn't an event. */

struct op_log_verified {
        struct audit_head head;
        unsigned repaired; /* lines that a power cut tore, and that were moved on over */
        bool torn;         /* the last one is torn; the next event moves on over it */
        uint64_t behind;   /* lines that audit.head doesn't know yet */
};

/* Walks along the whole chain. REFUSAL_LOG: it isn't as it was written. No log is one of no lines.
 */
int op_log_verify(struct context *c, struct op_log_verified *ret, struct refusal *why,
                  struct error *err) _warn_unused_;

struct op_log_show {
        uint64_t last; /* only so many; UINT64_MAX: all */
        bool follow;   /* then those to come, for ever */
        /* Each line, without its newline; it may be of any bytes. Return: 0; or a fault, which ends
         * it. */
        int (*show)(const char *line, size_t size, void *user, struct error *err);
        void *user;
};
int op_log_show(struct context *c, const struct op_log_show *args, struct error *err) _warn_unused_;
