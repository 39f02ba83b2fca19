/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* Where the TPM is, as far as a guest can see it: whether it stands inside the trusted execution
 * environment with the guest, or its traffic goes through the host, which can use it then as the
 * guest does. None of this is a proof. */

enum tee_place {
        TEE_UNKNOWN,
        TEE_INSIDE,    /* behind the SVSM, which runs in the guest's TEE */
        TEE_PARAVISOR, /* in a paravisor, as the TPM says of itself */
        TEE_HOST,      /* the host carries its traffic */
};

struct tee_facts {
        bool simulator;  /* the TCTI leads to a program behind a socket */
        bool device;     /* … to a device of the kernel */
        bool vm;         /* a hypervisor is seen */
        char guest[8];   /* "SEV-SNP", "TDX": which TEE the kernel says it's in; empty: none */
        char driver[32]; /* of the TPM; empty where it has none */
        char manufacturer[8];
        bool hcl_report; /* as struct tpm_info has both */
};

#define TEE_TEXT 160

/* What the system says. @root: "", or a folder that stands for /. @tcti: as for tpm_open(). The
 * TPM's own words are the caller's to add. */
void tee_look(const char *root, const char *tcti, struct tee_facts *ret);

/* Pure. @ret_text: the same in words, one line. */
enum tee_place tee_place(const struct tee_facts *f, char ret_text[TEE_TEXT]);

/* "tee", "paravisor", "host", "unknown" */
const char *tee_place_word(enum tee_place place);
