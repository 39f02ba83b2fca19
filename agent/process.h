/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For a program that has keys in its memory, first of all: no core, no ptrace by others of the same
 * user, no file that others can read, no words of tpm2-tss, no end by SIGPIPE. */
void process_harden(void);
