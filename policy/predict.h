/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"
#include "policy/eventlog.h"
#include "policy/uki.h"

/* The PCRs of the next boot: those of this boot's event log, but for what is known to change.
 *
 *      predict_start(&log, bank, mask, &p, &why, &err);
 *      predict_uki(&p, uki, kernel, &why);                     what will be booted
 *      predict_value(&p, 11, pcr11);                           uki_pcr11()
 *      predict_result(&p, &next, &err);
 *
 * The log must be this boot's: eventlog_check() says so. Each change names what it replaces by what
 * was measured (its digest, or data that its digest proves), and what can't be known is said rather
 * than guessed: PREDICT_UNKNOWN, and a policy of these PCRs would lock the next boot out. A change
 * that has nothing to do with the PCRs of the mask is PREDICT_OK and changes nothing. Whatever a
 * function returns but PREDICT_OK, it changed nothing. */

#define PREDICT_CHANGES_MAX 32
#define PREDICT_LAST (~0u)
#define PREDICT_CMDLINE_MAX 4096 /* characters */

enum predict_verdict { PREDICT_OK = 0, PREDICT_UNKNOWN = 1 };

/* Why it can't be known. */
struct predict_reason {
        char text[256]; /* printable ASCII */
};

/* Filled in by the functions below. */
struct prediction {
        const struct eventlog *log; /* borrowed for as long as this is used */
        enum pcr_bank bank;
        uint32_t mask;  /* which PCRs are wanted */
        uint32_t given; /* whose value was given as a whole … */
        uint8_t value[PCR_COUNT][PCR_SIZE_MAX];
        unsigned changes;
        struct {
                unsigned event;
                enum predict_how { PREDICT_REPLACE, PREDICT_DROP, PREDICT_AFTER } how;
                uint8_t digest[PCR_SIZE_MAX];
        } change[PREDICT_CHANGES_MAX];
};

/* Begins with the PCRs of @mask as the log has them. Return: PREDICT_OK; or PREDICT_UNKNOWN where
 * an event of theirs has no digest in @bank. */
int predict_start(const struct eventlog *log, enum pcr_bank bank, uint32_t mask,
                  struct prediction *ret, struct predict_reason *why) _warn_unused_;

/* How many boot applications PCR 4 has: what the firmware started, and what that loaded through the
 * firmware. */
unsigned predict_applications(const struct prediction *p);

/* Whether an image of that Authenticode hash was one of them. */
bool predict_booted(const struct prediction *p, const uint8_t *digest);

/**
 * predict_application() - another boot application
 * @which:  counted from 0, or PREDICT_LAST
 * @digest: its Authenticode hash under the hash of the bank: pe_authenticode()
 *
 * Return: PREDICT_OK; or PREDICT_UNKNOWN where there is none such.
 */
int predict_application(struct prediction *p, unsigned which, const uint8_t *digest,
                        struct predict_reason *why) _warn_unused_;

/**
 * predict_uki() - another UKI in the place of what was booted, be that a UKI or a kernel
 * @uki:    its Authenticode hash
 * @kernel: that of the kernel in it; NULL where the firmware won't measure that: see
 *          uki_kernel_measured()
 *
 * Of several calls the last one counts. What was booted is the last boot application that is
 * neither a UKI's kernel nor an addon of a UKI (*.addon.efi).
 *
 * Return: PREDICT_OK; or PREDICT_UNKNOWN where the log has no such application, or more behind it
 * than one kernel.
 */
int predict_uki(struct prediction *p, const uint8_t *uki, const uint8_t *kernel,
                struct predict_reason *why) _warn_unused_;

/* A UEFI variable that the firmware measures: in PCR 7 the state and the keys of Secure Boot, and
 * what allowed something to run; in PCR 1 the boot options. */
struct predict_variable {
        const uint8_t *guid; /* 16 bytes, as UEFI has them in memory */
        const char *name;    /* ASCII */
        bool authority;      /* not its value, but the entry of it that allowed an image to run */
        const void *data;    /* the new value, or the new entry (EFI_SIGNATURE_DATA) */
        size_t size;         /* bytes */
};

/**
 * predict_variable() - another value of a variable
 *
 * Return: PREDICT_OK; -EIO; or PREDICT_UNKNOWN: it wasn't measured; it was, with several values;
 * its event isn't what was measured; Secure Boot becomes on or off, with which other events come
 * and go; a new db lacks an entry that allowed something to run.
 */
int predict_variable(struct prediction *p, const struct predict_variable *v,
                     struct predict_reason *why, struct error *err) _warn_unused_;

/**
 * predict_cmdline() - another command line of the kernel
 * @old: this boot's: /proc/cmdline, without the newline. What was measured is found by it
 * @new: the next boot's
 *
 * Changes PCR 9 (the kernel's own measurement) and PCR 12 (systemd-boot's and systemd-stub's, of
 * one that isn't part of a UKI). Return: PREDICT_OK; -EIO; or PREDICT_UNKNOWN: the kernel didn't
 * measure its command line; or something else was measured than @old; or GRUB measured what it did
 * (PCR 8); or they aren't ASCII.
 */
int predict_cmdline(struct prediction *p, const char *old, const char *new,
                    struct predict_reason *why, struct error *err) _warn_unused_;

/**
 * predict_initrd() - another initrd
 * @old, @new: digests of all that the kernel gets as its initrd. With several files, or with what
 *             systemd-stub adds, that's all of them, one behind the other
 *
 * Changes PCR 9. Return: PREDICT_OK; or PREDICT_UNKNOWN: the kernel didn't measure it, or something
 * else than @old.
 */
int predict_initrd(struct prediction *p, const uint8_t *old, const uint8_t *new,
                   struct predict_reason *why) _warn_unused_;

/**
 * predict_uki_parts() - the command line and the initrd of another UKI
 * @old: this boot's: what was measured is found by it; predict_booted() says whether it is
 * @new: the next boot's
 *
 * Changes what predict_cmdline() and predict_initrd() change, and nothing where PCR 9 isn't wanted.
 * The stub adds to the initrd what it finds beside the UKI and in it, by its version: nothing of
 * that is in the log, so both must be of one version and have the same sections, and the initrd
 * alone must be what was measured.
 *
 * Return: PREDICT_OK; -EIO; or PREDICT_UNKNOWN.
 */
int predict_uki_parts(struct prediction *p, const struct uki *old, const struct uki *new,
                      struct predict_reason *why, struct error *err) _warn_unused_;

/* Whether PCR 9 has what this UKI will measure there, so that nothing changes. Return: as above. */
int predict_same_parts(const struct prediction *p, const struct uki *uki,
                       struct predict_reason *why, struct error *err) _warn_unused_;

/* Where the boot loader measures each file that it reads (GRUB, into PCR 9), another kernel or
 * command line comes with another configuration, and what that will be isn't known here. Return:
 * PREDICT_OK where it doesn't; or PREDICT_UNKNOWN. */
int predict_loader_files(const struct prediction *p, struct predict_reason *why) _warn_unused_;

/* Anything else that was measured into PCR @pcr with the digest @old, such as a file that GRUB
 * read: each of its events gets the digest @new. Return: PREDICT_OK; or PREDICT_UNKNOWN where there
 * is none. */
int predict_digest(struct prediction *p, unsigned pcr, const uint8_t *old, const uint8_t *new,
                   struct predict_reason *why) _warn_unused_;

/* PCR @pcr as a whole, whatever the log has of it. It joins the mask. */
void predict_value(struct prediction *p, unsigned pcr, const uint8_t value[PCR_SIZE_MAX]);

/* The PCRs of the mask as they will be. Return: 0; or -EIO. */
int predict_result(const struct prediction *p, struct pcrs *ret, struct error *err) _warn_unused_;
