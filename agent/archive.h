/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/context.h"
#include "agent/refusal.h"
#include "base/error.h"
#include "keys/archive.h"
#include "keys/store.h"

/* The record of a KEK, durable, with its archive and its mirror. Whatever changes a record goes
 * through here: each change is preceded by a check of the record as it was read, by a key that the
 * TPM gave in this run, and signed anew. All want context_lock() held and @record as
 * archive_record() read it, or as one of these left it; keys are open in the context. After a fault
 * or a cut the file is the one before or the one after, and the same call can be made again.
 *
 * Return: OUTCOME_DONE; OUTCOME_REFUSED (REFUSAL_ARCHIVE: damaged, rolled back, or nobody here can
 * vouch for it; nothing was written); or a fault. */

/* What this machine knows of the KEK, as context_record(); for free(). A damaged file is refused,
 * unless the mirror can be proven to have it: then that's taken. */
int archive_record(struct context *c, const char *name, struct kek_record **ret,
                   struct refusal *why, struct error *err) _warn_unused_;

/* The same, or the mirror's where that is newer and proven: this state was put back from a
 * snapshot, or a cut came between the two. */
int archive_record_newest(struct context *c, const char *name, struct kek_record **ret,
                          struct refusal *why, struct error *err) _warn_unused_;

/* The first version of a KEK, or the first on another TPM: @record may have versions that nothing
 * opens here; they are kept as lost ones, and the file as it was beside it. */
int archive_begin(struct context *c, struct kek_record *record, const struct archive_key *first,
                  struct refusal *why, struct error *err) _warn_unused_;

struct archive_staging {
        struct archive_key new;
        const char *policy; /* name of the one that it was made under */
        bool slot;          /* with it come new keyslots */
};

/* A new version is staged, in place of one that was, which is given up. */
int archive_stage(struct context *c, struct kek_record *record, const struct archive_staging *what,
                  struct refusal *why, struct error *err) _warn_unused_;
/* The staged version is given up, and what it wraps in the archive goes. */
int archive_unstage(struct context *c, struct kek_record *record, struct refusal *why,
                    struct error *err) _warn_unused_;

/**
 * archive_retire() - step 1 of a retirement, before the counter is advanced
 * @old: the version that ends
 * @new: the one that replaces it: becomes the staged one where it's neither that nor the current
 *
 * Every retired version is wrapped by @new then, @old among them, and also still by what wrapped it
 * before. File and mirror were read back, and @new opened each of them, when it returns
 * OUTCOME_DONE. Also -ENOSPC: RETIRED_MAX.
 */
int archive_retire(struct context *c, struct kek_record *record, const struct archive_key *old,
                   const struct archive_key *new, struct refusal *why,
                   struct error *err) _warn_unused_;

/* Step 4, when the old entries are dropped from the tokens: @new is the current version, what older
 * ones wrapped goes, and so does what needn't be retained any more. */
int archive_settle(struct context *c, struct kek_record *record, const struct archive_key *new,
                   struct refusal *why, struct error *err) _warn_unused_;

/* Drops the retired versions with numbers in @version. @ret: how many there were. The mirror is
 * brought up to that, also where there were none. */
struct archive_versions {
        size_t count;
        const uint32_t *version;
};
int archive_forget(struct context *c, struct kek_record *record,
                   const struct archive_versions *versions, size_t *ret, struct refusal *why,
                   struct error *err) _warn_unused_;

/* What agent/others.h changed in a record that was vouched for: signed, written to file and mirror,
 * read back; @by, which is its current version, opens all that it wraps. */
int archive_write(struct context *c, struct kek_record *record, const struct archive_key *by,
                  struct error *err) _warn_unused_;

/* Whether a key that the TPM gave vouches for @record; opens the current or the staged version for
 * that where it must. A newer record of the mirror, proven, takes its place. */
int archive_vouch(struct context *c, struct kek_record *record, struct refusal *why,
                  struct error *err) _warn_unused_;

/* The same for a record of the mirror, which nobody believes before. */
int archive_prove(struct context *c, const struct kek_record *record, struct refusal *why,
                  struct error *err) _warn_unused_;
#define ARCHIVE_OLDER "older than its mirror"
#define ARCHIVE_MISSING "missing"

/* Puts a proven record of the mirror in the place of what's here, which is older, damaged (then
 * it's kept beside) or missing, as far as that can be logged and written; context.note says so, and
 * @what was wrong. */
void archive_adopt(struct context *c, const struct kek_record *mirror, const char *what);

/* --- for context_kek() --- */

/* The key of a version that the TPM isn't to give any more, by one that it gives; the context's.
 * archive_key_retired(): where the record has it among the retired, and isn't using it; asks the
 * TPM for another version at most. archive_key_fallback(): after the TPM refused it: in the record,
 * whatever that says of it, and in the mirror's. A record that's older than the mirror's, damaged
 * or missing is replaced by that, once it's proven; context.note says so. @why: of kind
 * REFUSAL_NONE where it's simply not there; else what kept it. */
int archive_key_retired(struct context *c, const char *subject, const struct kek *kek,
                        struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;
int archive_key_fallback(struct context *c, const char *subject, const struct kek *kek,
                         struct secret **ret, struct refusal *why, struct error *err) _warn_unused_;
