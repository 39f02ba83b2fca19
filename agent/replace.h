/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/enroll.h"

/* adopt --replace: the keyslot that was used to adopt a disk, and the token that belongs to it, go
 * once ours were proven. The keyslot first: a cut leaves a token that's bound to nothing, and that
 * the next run removes. */

/* Whether a replacement was cut off: a keyslot that was proven here is no more, or the one that was
 * being destroyed, which the key may open or not, is still there; that's @w->ret->foreign_slot
 * then. Return: 1, 0, or a fault. */
int replace_has_begun(struct enroll *w) _warn_unused_;

/* Whether a way in remains that needs no TPM: refused, before anything is written, where neither a
 * recovery nor an escrow keyslot does. */
int replace_check(const struct enroll *w) _warn_unused_;

/* Proves ours from a disk and a TPM that are opened anew, then removes the old ones. */
int replace_old(struct enroll *w) _warn_unused_;
