/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

/* Prints @text (a secret: no copy of it or of its picture is left) as a QR code of UTF-8 half
 * blocks, light on dark in colours of its own, so that it scans on any terminal. libqrencode draws
 * it, loaded when it's needed. @to must have a file descriptor.
 *
 * Return: 1; 0 where the library isn't installed, or the text is too long, and nothing was printed;
 * or the negative errno of writing. */
int qr_print(FILE *to, const char *text);

/* The same by a library of another name, for tests. */
int qr_print_by(const char *library, FILE *to, const char *text);
