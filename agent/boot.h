/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/op.h"

/* Opening the OS disk in the initrd: what diskseal-boot(8) does. */

#define BOOT_ATTEMPTS 3 /* passphrases that are asked for */

struct op_booted;

/* The owner's passphrase, for when the TPM doesn't open the disk; the caller's. @so_far says why.
 * Return: 0; -ENODATA where there is none, or no more; or another fault. */
typedef int (*boot_ask_fn)(void *context, const struct op_booted *so_far, struct secret **ret,
                           struct error *err);

struct op_boot {
        const char *disk; /* UUID=…, a path, or the name of a known disk; empty: the OS disk that is
                           * known */
        uint64_t timeout; /* to wait for it, and for the TPM, seconds; TIMESPAN_INFINITY */
        bool phase;       /* systemd isn't there to measure that this is the initrd */
        boot_ask_fn ask;
        void *ask_context;
};

struct op_booted {
        struct op_unlocked disk;
        char device[256];
        bool recovered;     /* the owner's key opened it; then, and where nothing did: */
        struct refusal why; /* why the TPM didn't … */
        struct error fault; /* … where it wasn't refused */
        double seconds;
};

/**
 * op_boot() - open the OS disk, and end the time in which this boot may unseal
 *
 * By the TPM; where that's refused or fails, by the owner's passphrase, as often as @args->ask has
 * one. Both shut the latch. @why and @err are those of what was tried last.
 *
 * Return: OUTCOME_DONE; OUTCOME_REFUSED, or a fault: then the disk is closed, and where
 * @ret->disk.must_stop is set a key may have been unsealed and the latch isn't shut: fail closed.
 */
int op_boot(struct context *c, const struct op_boot *args, struct op_booted *ret,
            struct refusal *why, struct error *err) _warn_unused_;

/* Shuts the latch with nothing opened: before a shell in the initrd, or whatever else could use the
 * TPM. Return: 0; or a fault, and what comes must not come. */
int op_boot_shut(struct context *c, struct error *err) _warn_unused_;

/* Writes below @root, a tree that becomes an initrd, what op_boot() holds a disk against: of this
 * machine's state the OS disks and the policies of their KEKs, without retired versions; its
 * configuration, and where the mirror is. Return: 0; or a fault. */
int op_boot_embed(struct context *c, const char *root, struct error *err) _warn_unused_;

/* --- parts of it --- */

/* Waits until the block device is there. @disk as in struct op_boot. Return: OUTCOME_DONE;
 * OUTCOME_REFUSED (nothing says which, or the name isn't known); -ENODEV; or another fault. */
int boot_find_disk(const struct context *c, const char *disk, uint64_t timeout, char ret[256],
                   struct refusal *why, struct error *err) _warn_unused_;

/* Waits for /dev/tpmrm0, where that's the TPM that is used. Who needs it says so if it doesn't
 * come. */
void boot_wait_tpm(const struct context *c, uint64_t timeout);

/* Mounts the file system that has the mirror (agent.conf's [Boot] Mirror=), read-only, in a folder
 * of its own below the run folder. Return: 1 and where the mirror is; 0 where none is configured or
 * it isn't there. */
int boot_mount_mirror(const struct context *c, char ret[256]);
void boot_umount_mirror(const struct context *c);
