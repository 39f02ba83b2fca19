/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Fixed-size key memory: locked, left out of core dumps, zeroed in forked children, fenced by guard
 * pages, wiped on free. It cannot grow and has no copy function: a second copy is a second leak. */
struct secret;

/* @size in bytes, at most 64 KiB. Return: 0; -EINVAL, -ENOMEM, or what mlock(2) said (-EPERM). */
int secret_new(size_t size, struct secret **ret) _warn_unused_;

/* Borrowed: secret_size() bytes, valid until secret_free(). */
uint8_t *secret_data(struct secret *s);
size_t secret_size(const struct secret *s);

/* Accepts NULL; returns NULL, so that `s = secret_free(s)` leaves nothing dangling. */
struct secret *secret_free(struct secret *s);
DEFINE_CLEANUP(struct secret *, secret_free);
