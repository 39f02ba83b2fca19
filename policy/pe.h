/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/pcr.h"

/* EFI applications: what is in them, and what a firmware measures when it loads one (Microsoft's
 * "PE Format", and "Windows Authenticode Portable Executable Signature Format", "Calculating the PE
 * Image Hash"). Images in which two readers could see two things are refused. */

#define PE_SIZE_MAX (512u << 20) /* bytes, of the file and in memory */
#define PE_SECTIONS_MAX 96
#define PE_NAME_MAX 9 /* with the final NUL */

struct pe_section {
        char name[PE_NAME_MAX];         /* printable ASCII */
        uint32_t offset, size;          /* bytes in the file */
        uint32_t address, virtual_size; /* bytes in memory, from the image's base */
};

struct pe {
        const uint8_t *data; /* the whole file; borrowed for as long as this is used */
        size_t size;
        uint16_t machine;       /* IMAGE_FILE_MACHINE_… */
        uint16_t image_version; /* MajorImageVersion */
        size_t checksum;        /* where its 4 bytes are */
        size_t cert_entry;      /* where the directory's entry of 8 bytes is; 0: there is none */
        size_t headers;         /* bytes of all headers; the first section follows */
        size_t sections_end;    /* where the last section in the file ends */
        size_t certs;           /* bytes of the certificate table, at the file's end */
        unsigned sections;
        struct pe_section section[PE_SECTIONS_MAX]; /* in the order of the section table */
        uint8_t by_offset[PE_SECTIONS_MAX]; /* in the order of the file; the empty ones last */
};

/**
 * pe_parse() - check a PE32 or PE32+ image
 * @data: the file, @size bytes; borrowed by @ret
 *
 * What it takes is an EFI application whose headers and sections follow each other in the file
 * without gap or overlap and don't overlap in memory, and whose certificate table, if any, ends the
 * file. What comes between sections and certificates is no section's.
 *
 * Return: 0; or -EBADMSG with the reason.
 */
int pe_parse(const void *data, size_t size, struct pe *ret, struct error *err) _warn_unused_;

/* The only section of that name, or NULL: there is none, or more than one. */
const struct pe_section *pe_find(const struct pe *pe, const char *name);

/**
 * pe_authenticode() - the image's Authenticode hash under the hash of @bank
 *
 * This is what the firmware extends into PCR 4 when it loads this file. A file whose size is no
 * multiple of eight is hashed as it is: who signs it appends zeros to it first, and changes its
 * hash. Hash what will be booted.
 *
 * Return: 0, and pcr_size(@bank) bytes in @ret; or -EIO.
 */
int pe_authenticode(const struct pe *pe, enum pcr_bank bank, uint8_t ret[PCR_SIZE_MAX],
                    struct error *err) _warn_unused_;
