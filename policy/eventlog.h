/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"

/* The firmware's log of what it and the boot loaders measured, as the kernel hands it on in
 * /sys/kernel/security/tpm0/binary_bios_measurements (TCG PC Client Platform Firmware Profile,
 * "PFP", section "Event Logging"). A log proves nothing by itself: anybody could have written it.
 * Its digests are those that were measured if, and only if, they replay to the PCRs that the TPM
 * has: eventlog_check(). What an event says beside its digests is true only where
 * event_data_check() proves it. */

#define EVENTLOG_SIZE_MAX (1u << 20) /* bytes */
#define EVENTLOG_EVENTS_MAX 4096
#define EVENTLOG_ALGORITHMS_MAX 16
#define EVENTLOG_DIGEST_MAX 64 /* bytes */
#define EVENT_TEXT_MAX 96      /* with the final NUL */

/* TCG PFP, section "Event Types". */
enum {
        EV_POST_CODE = 0x01,
        EV_NO_ACTION = 0x03,
        EV_SEPARATOR = 0x04,
        EV_ACTION = 0x05,
        EV_EVENT_TAG = 0x06,
        EV_S_CRTM_CONTENTS = 0x07,
        EV_S_CRTM_VERSION = 0x08,
        EV_PLATFORM_CONFIG_FLAGS = 0x0a,
        EV_IPL = 0x0d,
};
#define EV_EFI_VARIABLE_DRIVER_CONFIG 0x80000001u
#define EV_EFI_VARIABLE_BOOT 0x80000002u
#define EV_EFI_BOOT_SERVICES_APPLICATION 0x80000003u
#define EV_EFI_BOOT_SERVICES_DRIVER 0x80000004u
#define EV_EFI_RUNTIME_SERVICES_DRIVER 0x80000005u
#define EV_EFI_GPT_EVENT 0x80000006u
#define EV_EFI_ACTION 0x80000007u
#define EV_EFI_PLATFORM_FIRMWARE_BLOB 0x80000008u
#define EV_EFI_HANDOFF_TABLES 0x80000009u
#define EV_EFI_PLATFORM_FIRMWARE_BLOB2 0x8000000au
#define EV_EFI_HANDOFF_TABLES2 0x8000000bu
#define EV_EFI_VARIABLE_BOOT2 0x8000000cu
#define EV_EFI_HCRTM_EVENT 0x80000010u
#define EV_EFI_VARIABLE_AUTHORITY 0x800000e0u

struct eventlog_algorithm {
        uint16_t id, size; /* TPM_ALG_ID, bytes of a digest */
};

/* A log that was parsed. Nothing in it is allocated. */
struct eventlog {
        const uint8_t *data; /* borrowed for as long as this is used */
        size_t size;         /* bytes */
        size_t first;        /* where the first event after the header is */
        unsigned events;     /* after the header */
        unsigned algorithms;
        struct eventlog_algorithm algorithm[EVENTLOG_ALGORITHMS_MAX];
        uint32_t pcrs;    /* bit n: some event was measured into PCR n */
        uint8_t locality; /* of TPM2_Startup, which PCR 0 starts with */
};

struct event {
        unsigned number; /* the header is 0, as in tpm2_eventlog(1) */
        uint32_t pcr, type;
        const uint8_t
                *digest[PCR_BANKS]; /* pcr_size() bytes in the log, or NULL: none in that bank */
        const uint8_t *data;        /* in the log */
        size_t size;                /* bytes of it */
        size_t end;                 /* where it ends in the log, for eventlog_next() */
};

/**
 * eventlog_parse() - check a crypto-agile log
 * @data: the whole log, @size bytes; borrowed by @ret
 *
 * Taken is what has a TCG_EfiSpecIDEvent in front, behind it nothing but whole TCG_PCR_EVENT2, and
 * is within the limits above. Banks that we don't know are skipped.
 *
 * Return: 0; or -EBADMSG with the reason, as for logs of the old format that have SHA-1 alone.
 */
int eventlog_parse(const void *data, size_t size, struct eventlog *ret,
                   struct error *err) _warn_unused_;

/* The event after @e: begin with a zeroed one. Return: false, and @e untouched, after the last. */
bool eventlog_next(const struct eventlog *log, struct event *e);

/* Whether the event was extended into its PCR. EV_NO_ACTION only tells something. */
bool event_measured(const struct event *e);

/* Which PCRs hold the boot: 4 (what was booted) and 7 (Secure Boot), and 9 where the kernel or the
 * loader measured what it loaded. 0 where the log has no boot application. */
uint32_t eventlog_boot_pcrs(const struct eventlog *log);

/* Whether a systemd-stub measured its UKI into PCR 11. */
bool eventlog_has_uki(const struct eventlog *log);

/* What PCR @pcr is before the first event (TPM 2.0 Part 1, section "PCR Initialization"; Part 3,
 * TPM2_Startup). */
void eventlog_initial(const struct eventlog *log, enum pcr_bank bank, unsigned pcr,
                      uint8_t ret[PCR_SIZE_MAX]);

enum eventlog_verdict {
        EVENTLOG_OK = 0,
        EVENTLOG_NO_BANK = 1, /* some event has no digest in this bank */
        EVENTLOG_DIFFERS = 2, /* the events don't give the values that the TPM has */
};

/* Why a log isn't the one of these PCRs. */
struct eventlog_finding {
        uint32_t mask;  /* all PCRs that differ; the rest is about the lowest of them */
        unsigned pcr;   /* … */
        unsigned event; /* where it parts; 0: at none */
        enum {
                EVENTLOG_MORE,  /* the event and what follows in that PCR aren't in the TPM's */
                EVENTLOG_FALSE, /* the event isn't what was measured: its digest isn't its data's */
                EVENTLOG_LACKS, /* something else was measured; the event is the PCR's last */
        } how;
        char text[256]; /* in words, printable ASCII */
};

/* Whether each event of the PCRs of @mask has a digest in the bank; else @why is filled in but for
 * its @how. */
bool eventlog_has_digests(const struct eventlog *log, enum pcr_bank bank, uint32_t mask,
                          struct eventlog_finding *why) _warn_unused_;

/* The values of the PCRs of @mask after all events. Return: EVENTLOG_OK; EVENTLOG_NO_BANK, as
 * eventlog_has_digests(); or -EIO. */
int eventlog_replay(const struct eventlog *log, enum pcr_bank bank, uint32_t mask, struct pcrs *ret,
                    struct eventlog_finding *why, struct error *err) _warn_unused_;

/**
 * eventlog_check() - does the log replay to what the TPM has?
 * @mask: which PCRs to look at; what extends a PCR after the boot is in no firmware's log (IMA 10,
 *        systemd's phases 11, volume keys 15), so the caller leaves those out
 * @now:  what the TPM has; its bank is the one that's looked at
 * @why:  filled in where the verdict isn't EVENTLOG_OK
 *
 * Return: a verdict; -EINVAL (a PCR of @mask isn't in @now); or -EIO.
 */
int eventlog_check(const struct eventlog *log, uint32_t mask, const struct pcrs *now,
                   struct eventlog_finding *why, struct error *err) _warn_unused_;

/* The event in a few words for people, such as "SecureBoot = 0" or "boot application
 * \EFI\Linux\a.efi": printable ASCII, never empty. They are what the event says of itself. */
void event_describe(const struct event *e, char ret[EVENT_TEXT_MAX]);
