/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/workers.h"

/* Rotations of depth "slot" with the same steps in a wrong order: the explorer has to find each.
 *
 *   destroy-first   the old keyslot goes before there's a new one
 *   token-replaced  the new token takes the place of the old one, before its keyslot is there
 *   dropped-early   the old keyslot and token go before the new one was proven and bound
 *
 * Return: NULL where there's no such mistake. */
worker_fn mistake_find(const char *name);
