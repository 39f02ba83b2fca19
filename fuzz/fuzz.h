/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

/* What the fuzzers share. libFuzzer calls these two; the prototypes are its. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
/* libFuzzer's own mutation. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* An assertion that stays in every build, and ends the fuzzer with a reproducer. */
#define MUST(x)                                                                                    \
        do {                                                                                       \
                if (!(x)) {                                                                        \
                        (void) fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #x);  \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

/* Changes one random member or item of JSON text: removes, doubles, renames, replaces it by a value
 * that's at some limit or of another type, or by another part of the same text. Now and then, and
 * where it isn't JSON, libFuzzer's own mutation. Return: the new size. */
size_t json_mutate(uint8_t *data, size_t size, size_t max, unsigned seed);

/* Whether all of it can go to a terminal: printable ASCII. */
bool printable(const char *text);
