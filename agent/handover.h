/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/error.h"
#include "base/pcr.h"
#include "base/secret.h"
#include "keys/kek.h"

/* KEKs that a boot unsealed before it shut the latch, on their way to whoever needs them later: in
 * the kernel's keyring of the user (user-keyring(7)), so of root. Each under the name of its very
 * object, so that what is found is the key of that object and of no other. The kernel never pages
 * them out; they are as safe as the disks' own keys, which lie there too. */

#define HANDOVER_SECONDS (7u * 24 * 60 * 60) /* then the kernel forgets them */

/* PCRs 0 to 14, in the bank that the KEK is sealed to, as they were when the boot opened its disks:
 * what runs later may have extended them. The latch comes behind them. */
#define HANDOVER_PCRS 15
#define HANDOVER_PCRS_MASK ((1u << HANDOVER_PCRS) - 1)

/* In the place of one that's there. @booted: all of these PCRs, or NULL where they aren't known.
 * Return: 0; or a fault, -ENOSYS where the kernel has no keyrings. */
int handover_put(const struct kek *kek, struct secret *key, const struct pcrs *booted,
                 struct error *err) _warn_unused_;

/* Return: 1 and the key, the caller's; 0 where it isn't there, or this process may not see it; or
 * -EPERM, -ENOMEM (no locked memory). */
int handover_get(const struct kek *kek, struct secret **ret, struct error *err) _warn_unused_;

/* Return: the same, with the PCRs in place of the key: an empty mask where they weren't known. */
int handover_get_pcrs(const struct kek *kek, struct pcrs *ret, struct error *err) _warn_unused_;

/* Takes it out, if it's there. */
void handover_drop(const struct kek *kek);
