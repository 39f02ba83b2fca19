/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/secret.h"
#include "keys/archive.h"
#include "keys/fields.h"
#include "keys/store.h"

/* A key under one or two versions of a KEK, RETIRED_WRAPS at most: what retired versions and those
 * of other KEKs have in common. Pure. */

/* All borrowed. @label: what the wrapping key is derived for (HKDF's info); @aad: what else the
 * wrap is bound to. */
struct wrap_binding {
        const struct archive_key *by;
        const char *label;
        const struct fields *aad;
};

bool wraps_by(const struct retired_wrap *wrap, unsigned count, uint32_t version);

/* Return: ARCHIVE_GOOD, and a new secret; ARCHIVE_NOT_HERE, where that version has no wrap or
 * doesn't open it; or a fault. */
int wraps_open(const struct retired_wrap *wrap, unsigned count, const struct wrap_binding *b,
               struct secret **ret, struct error *err) _warn_unused_;

/* In the place of one by the same version, or, where it's full, of one that isn't by @keep. */
int wraps_seal(struct retired_wrap *wrap, unsigned *count, const struct wrap_binding *b,
               struct secret *key, uint32_t keep, struct error *err) _warn_unused_;

/* Drops those by other versions where there's one by @version. */
void wraps_keep_only(struct retired_wrap *wrap, unsigned *count, uint32_t version);

/* What stands of an entry in a record, and is covered by its MAC: as members of @o. */
bool retired_print(const struct retired *e, struct json *o) _warn_unused_;
bool other_print(const struct other_kek *e, struct json *o) _warn_unused_;
