/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/audit-chain.h"
#include "agent/disk.h"
#include "agent/op.h"

/* What format and adopt have in common: they differ in where the volume key comes from. */
struct enroll {
        struct context *c;
        const struct op_enroll *args;
        struct op_enrolled *ret;
        struct state state;
        struct state_disk record; /* to be: what was known of the disk stays in it */
        struct op_kek kek;
        struct disk disk; /* adopt: as it was */
        struct secret *volume_key;
        struct luks_edit *edit;
        struct refusal *why;
        struct error *err;
};

void enroll_done(struct enroll *w);

/* Waits for its turn, and reads the state. */
int enroll_begin(struct enroll *w) _warn_unused_;
/* The name must be free, or belong to this very disk. @uuid: NULL for a new one. */
int enroll_check_name(const struct enroll *w, const char *uuid) _warn_unused_;
int enroll_open_kek(struct enroll *w) _warn_unused_;
/* That it begins, for the audit log. Borrows from @w. */
struct audit_event enroll_event(const struct enroll *w, const char *verb);
/* Keyslot and token of ours, through w->edit. */
int enroll_write(struct enroll *w) _warn_unused_;
/* Into the state: @l is the header as it is now. */
int enroll_record(struct enroll *w, const struct luks *l) _warn_unused_;
