/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/op.h"

/* The operations behind kek show, forget and export, and what status and doctor say of archives.
 * All as in agent/op.h. */

enum op_mirror {
        OP_MIRROR_NONE,       /* there's no place for one */
        OP_MIRROR_NOT_NEEDED, /* no OS disk has this KEK */
        OP_MIRROR_MISSING,
        OP_MIRROR_SAME,
        OP_MIRROR_OLDER,
        OP_MIRROR_NEWER,
        OP_MIRROR_DAMAGED,
};

struct op_kek_disk {
        char name[NAME_MAX_SIZE];
        uint32_t version; /* that it has, or had when it was last seen; 0: not known */
        bool present;
        bool other_way; /* a key of its owner, too, as far as it's known */
};

struct op_kek_show {
        struct kek_record *record;
        struct op_counter counter;
        struct due due;
        enum op_mirror mirror;
        char mirror_folder[300];
        uint64_t mirror_generation;
        size_t disks;
        struct op_kek_disk *disk;
};

/* Unseals nothing. REFUSAL_NO_VERSION: no KEK of this name is known here. */
int op_kek_show(struct context *c, const char *kek, struct op_kek_show *ret, struct refusal *why,
                struct error *err) _warn_unused_;
void op_kek_show_done(struct op_kek_show *s);
const char *op_mirror_name(enum op_mirror m);

/* What was forgotten, or would be. */
struct op_forgotten {
        size_t count;
        uint32_t version[RETIRED_MAX];
        size_t disks;
        struct op_kek_disk *disk; /* that were last seen with one of them, or nobody knows */
};
void op_forgotten_done(struct op_forgotten *f);

#define OP_VERSIONS_TEXT 128
/* "v1 v2 and 3 more" */
void op_forgotten_text(const struct op_forgotten *f, char ret[OP_VERSIONS_TEXT]);

struct op_forget {
        const char *kek;
        uint32_t version, before; /* one of these, or all; 0: not said */
        bool all;
        bool force; /* also where a disk needs one of them, and has no other way in */
        /* Whether the owner agrees to what is shown. */
        bool (*agree)(const struct op_forgotten *f, void *user);
        void *user;
};

/* Retired versions go, from record and mirror. The current one must open. REFUSAL_NEEDED: a disk
 * would have no key any more. */
int op_kek_forget(struct context *c, const struct op_forget *args, struct op_forgotten *ret,
                  struct refusal *why, struct error *err) _warn_unused_;

struct op_export {
        const char *kek;
        const char *certs; /* file in PEM: who may read it */
        uint32_t version;  /* 0: all */
};

struct op_exported {
        uint8_t *cms; /* DER; for free() */
        size_t size;
        size_t keys, lost; /* that are in it; that nothing here opens any more */
};

/* The keys of current and retired versions, for the holders of certificates. */
int op_kek_export(struct context *c, const struct op_export *args, struct op_exported *ret,
                  struct refusal *why, struct error *err) _warn_unused_;

#define OP_ARCHIVE_FINDINGS 32

struct op_archive_finding {
        char kek[NAME_MAX_SIZE];
        enum op_level level;
        char found[200];
        const char *advice;
};

struct op_archive_findings {
        size_t count;
        struct op_archive_finding finding[OP_ARCHIVE_FINDINGS];
};

/* Archives that are damaged, missing, rolled back, or hold what nothing opens. @s: with disks.
 * @prove: also by the MAC, where a KEK opens without its owner. */
int op_archive_look(struct context *c, struct op_status *s, bool prove,
                    struct op_archive_findings *ret, struct error *err) _warn_unused_;
