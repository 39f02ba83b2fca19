/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"
#include "policy/pe.h"

/* Unified kernel images (UAPI.5): what systemd-stub finds in one, and what it and systemd measure
 * (systemd-stub(7), systemd-measure(1), systemd-pcrphase.service(8)). */

/* The versions of systemd-stub whose measurements are known: each of them measures into PCR 11 the
 * sections of the enumeration below, in that order, as far as it knows them. */
#define UKI_STUB_OLDEST 252
#define UKI_STUB_NEWEST 258

enum uki_section {
        UKI_LINUX,
        UKI_OSREL,
        UKI_CMDLINE,
        UKI_INITRD,
        UKI_UCODE, /* measured since 256 */
        UKI_SPLASH,
        UKI_DTB,
        UKI_UNAME,  /* measured since 254 */
        UKI_SBAT,   /* measured since 254; every stub brings one */
        UKI_PCRSIG, /* never measured: it signs the outcome */
        UKI_PCRPKEY,
        UKI_SECTIONS,
};

/* As the stub has it in memory. Text has no final NUL, and may hold any byte. */
struct uki_part {
        const uint8_t *data; /* NULL: there is no such section */
        size_t size;         /* bytes at @data */
        size_t zeros;        /* so many follow, which aren't in the file; none of the kernel */
};

struct uki {
        unsigned version; /* of systemd-stub, as in UKI_STUB_OLDEST */
        uint16_t machine; /* as in struct pe */
        struct uki_part part[UKI_SECTIONS];
};

/* ".linux" */
const char *uki_section_name(enum uki_section section);

/**
 * uki_parse() - check that an image is a UKI whose measurements can be known
 * @pe:  as pe_parse() made it; @ret borrows its file, and not @pe itself
 *
 * Refused are: other stubs and versions of it that aren't known, and images with parts that the
 * stub chooses at boot (profiles, devicetrees and firmware by hardware), with a part twice, or with
 * a name that old stubs, which compare beginnings alone, take for another.
 *
 * Return: 0; or -EBADMSG with the reason.
 */
int uki_parse(const struct pe *pe, struct uki *ret, struct error *err) _warn_unused_;

/**
 * uki_pcr11() - what PCR 11 holds after the stub and some phases of the boot
 * @phases: what systemd-pcrphase has extended until then, such as "enter-initrd", "leave-initrd",
 *          "sysinit", "ready"; ends with NULL. NULL: none, as when the kernel starts
 *
 * Return: 0, and pcr_size(@bank) bytes in @ret; or -EIO.
 */
int uki_pcr11(const struct uki *uki, enum pcr_bank bank, const char *const *phases,
              uint8_t ret[PCR_SIZE_MAX], struct error *err) _warn_unused_;

/* The kernel that the UKI carries. Return: as pe_parse(); or -EBADMSG where it's another machine's.
 */
int uki_kernel(const struct uki *uki, struct pe *ret, struct error *err) _warn_unused_;

/* Whether the firmware measures the kernel into PCR 4 too, after the UKI. It does where the stub
 * has the firmware load it: before 258, for kernels since 5.8, and not with Secure Boot, where the
 * stub stands between the firmware and its check of the kernel, of which the measurement is a part.
 * (Some firmware of real machines doesn't let it.) */
bool uki_kernel_measured(const struct uki *uki, const struct pe *kernel, bool secure_boot);
