/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/disk.h"
#include "agent/rotate-disk.h"

/* What must hold of one disk in whatever state a power cut left it: asked of the code that opens
 * and rotates disks, in this process, without a TPM. */

enum version { VERSION_OLD, VERSION_NEW, VERSION_NEXT, VERSIONS };
#define LIVE(v) (1u << (v))

struct versions {
        struct kek kek[VERSIONS];
        struct secret *key[VERSIONS];
};

enum depth { DEPTH_KEK, DEPTH_SLOT };

/* How a rotation that was cut off is ended. */
enum ending {
        END_RESUME,  /* the new version, staged and retired */
        END_REPLACE, /* a next one in its place */
        END_ABORT,   /* back to the old one */
        ENDINGS
};

/* One disk, in memory. */
struct subject {
        int fd; /* a memfd with all of it … */
        uint8_t *map;
        char path[40];       /* … its path here */
        uint64_t size, span; /* of the disk; of its head, where all is that's ever written, bytes */
        const uint8_t *base; /* the head as it was before the rotation; borrowed */
        enum depth depth;
        struct secret *volume_key;
        struct luks_facts facts;
        struct json *metadata; /* as it was before */
        /* What a worker would keep between the steps; found out of date by the next state. */
        struct rotate_kept *kept;
        uint32_t own; /* the keyslot of ours that it had, as a bit */
};

/* Takes a disk of @size bytes that is in memory in @fd, in its state before the rotation. Fails
 * with words on stderr. */
bool subject_open(struct subject *s, int fd, enum depth depth, const struct versions *v);
void subject_close(struct subject *s);

/* Whether a write of the rotation is one that it may do: to the metadata and to the areas of
 * keyslots, and not to the area of somebody else's. */
bool subject_may_write(const struct subject *s, uint64_t offset, uint64_t size);

#define COMPLAINT 400

/* A live version opens the disk, before anything is repaired, to the same volume key. @class: of
 * what the disk says then; equal for states that differ in torn bytes alone. Return: false, with
 * what is wrong. */
bool check_opens(struct subject *s, const struct versions *v, unsigned live, uint64_t *class,
                 char complaint[COMPLAINT]);

/* Ends the rotation. */
bool check_recover(struct subject *s, const struct versions *v, unsigned live, enum ending how,
                   char complaint[COMPLAINT]);

/* Whether that ending is one for a disk in this state. */
bool check_applies(struct subject *s, const struct versions *v, unsigned live, enum ending how);

/* Afterwards: one version, one token and one keyslot of ours, and nothing else is changed. */
bool check_settled(struct subject *s, const struct versions *v, enum ending how,
                   char complaint[COMPLAINT]);
