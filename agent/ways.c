/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/ways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/slots.h"
#include "keys/escrow.h"
#include "keys/recovery.h"

int way_by_token(struct context *c, const struct disk *d, struct tpm_way *ret, struct refusal *why,
                 struct error *err) {
        struct luks_reason reason = { 0 };
        struct refusal later = { 0 };

        /* What the rules refuse isn't worth a question to the TPM. */
        if (luks_slot_check(d->luks, d->token->slot, LUKS_SLOT_OURS, &reason) != LUKS_OK)
                return refuse_luks(why, disk_subject(d), LUKS_REFUSED, &reason);
        for (unsigned i = 0; i < d->token->entries; i++) {
                const struct token_entry *e = &d->token->entry[i];
                struct refusal *say = i == 0 ? why : &later;
                struct secret *kek;
                int r = context_kek(c, d->token->name, &e->kek, &kek, say, err);

                if (r == OUTCOME_DONE)
                        r = ret->unpinned ? disk_unwrap(d, e, kek, &ret->slot_secret, say, err)
                                          : disk_secret(d, e, kek, &ret->slot_secret, say, err);
                if (r < 0)
                        return r;
                if (r == OUTCOME_DONE) {
                        ret->entry = i;
                        return OUTCOME_DONE;
                }
        }
        return OUTCOME_REFUSED;
}

/* A keyslot whose area was wiped still stands in the header, until that's written: only the volume
 * key shows whether the token is any good. */
static int by_token(struct context *c, struct disk *d, struct tpm_way *ret, struct refusal *why,
                    struct error *err) {
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        int r = way_by_token(c, d, ret, why, err);

        if (r != OUTCOME_DONE || ret->unpinned)
                return r;
        r = disk_volume_key(d, ret->slot_secret, &volume_key, why, err);
        if (r != OUTCOME_DONE)
                ret->slot_secret = secret_free(ret->slot_secret);
        return r;
}

/* As a refusal, for whoever opened the disk another way. */
static void note(struct refusal *why, const struct disk *d, const struct error *fault) {
        if (!why->kind)
                refusal_set(why, REFUSAL_HEADER, "%s: %s", disk_subject(d), fault->text);
        refusal_detail(why, "keyslot %u opens it, which a staged rotation replaces",
                       d->token->slot);
}

int way_by_tpm(struct context *c, struct disk *d, struct tpm_way *ret, struct refusal *why,
               struct error *err) {
        struct refusal second = { 0 };
        struct error fault = { 0 };
        int r;

        if (!d->older)
                return way_by_token(c, d, ret, why, err);
        r = by_token(c, d, ret, why, err);
        if (r == OUTCOME_DONE)
                return r;
        disk_use_older(d);
        if (by_token(c, d, ret, &second, &fault) == OUTCOME_DONE) {
                note(why, d, err);
                *err = (struct error){ 0 };
                return OUTCOME_DONE;
        }
        disk_use_older(d);
        if (r > 0)
                refusal_detail(why, "nor does the older keyslot: %.160s",
                               second.kind ? second.what : fault.text);
        return r;
}

/* One try to come in, and what kept a slot or a token from being tried, for the refusal in the end.
 */
struct attempt {
        const struct disk *disk;
        const struct owner_key *key;
        struct owner_way *ret;
        struct luks_reason rule; /* its rule is empty where none refused */
        bool escrow;             /* there was an escrow token at all */
        bool damaged;            /* … and one that can't be read */
        char damage[160];
        struct error *err;
};

static int try_slot(struct attempt *a, const struct luks_key *key) {
        struct luks_reason reason = { 0 };
        int r = luks_slot_open(a->disk->luks, key, &a->ret->volume_key, &reason, a->err);

        if (r == LUKS_OK)
                a->ret->slot = key->slot;
        else if (r == LUKS_REFUSED)
                a->rule = reason;
        return r;
}

/* Those that are marked as recovery slots first. */
static int by_passphrase(struct attempt *a) {
        static const enum slot_role order[] = { SLOT_RECOVERY, SLOT_FOREIGN };
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        enum slot_role roles[LUKS_SLOTS_MAX];
        int r = recovery_normalize(a->key->passphrase, &passphrase, a->err);

        if (r == -EINVAL) {
                *a->err = (struct error){ 0 };
                return LUKS_WRONG_KEY;
        }
        if (r < 0)
                return r;
        slot_roles(a->disk, roles);
        for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
                for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++) {
                        if (roles[slot] != order[i] ||
                            !(luks_facts(a->disk->luks)->data_slots & (1u << slot)))
                                continue;
                        r = try_slot(a, &(struct luks_key){ slot, LUKS_SLOT_FOREIGN, passphrase });
                        if (r == LUKS_OK || r < 0)
                                return r;
                }
        return LUKS_WRONG_KEY;
}

static int damaged(struct attempt *a, const char *how) {
        a->damaged = true;
        (void) snprintf(a->damage, sizeof(a->damage), "%.159s", how);
        return LUKS_WRONG_KEY;
}

static int try_escrow(struct attempt *a, const struct json *token) {
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        int r;

        if (!e)
                return error_nomem(a->err);
        a->escrow = true;
        r = escrow_parse(token, e, a->err);
        if (r == -EBADMSG) {
                r = damaged(a, a->err->text);
                *a->err = (struct error){ 0 };
                return r;
        }
        if (r < 0)
                return r;
        if (e->slot >= LUKS_SLOTS_MAX)
                return LUKS_WRONG_KEY;
        r = escrow_open(e, a->key->escrow, &passphrase, a->err);
        if (r < 0)
                return r;
        if (r == CMS_OTHER_KEY)
                return LUKS_WRONG_KEY;
        /* A passphrase that was altered, too, and said in the same words: see base/cms.h. */
        if (r == CMS_OPEN)
                r = try_slot(a, &(struct luks_key){ e->slot, LUKS_SLOT_OURS, passphrase });
        else
                r = LUKS_WRONG_KEY;
        return r == LUKS_WRONG_KEY ? damaged(a, "it was altered, or isn't one that we write") : r;
}

static int by_escrow(struct attempt *a) {
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *token = luks_token(a->disk->luks, id);
                int r;

                if (!token || !escrow_is_one(token))
                        continue;
                r = try_escrow(a, token);
                if (r == LUKS_OK || r < 0)
                        return r;
        }
        return LUKS_WRONG_KEY;
}

static int refuse_owner(const struct attempt *a, struct refusal *why) {
        const char *subject = disk_subject(a->disk);

        if (a->key->passphrase)
                refusal_set(why, REFUSAL_WRONG_KEY,
                            "%s: this passphrase opens none of its keyslots", subject);
        else if (!a->escrow)
                refusal_set(why, REFUSAL_NO_ESCROW, "%s has no escrow", subject);
        else if (a->damaged) {
                refusal_set(why, REFUSAL_ESCROW_DAMAGED,
                            "%s: its escrow is damaged, and opens with no key", subject);
                refusal_detail(why, "%s", a->damage);
        } else
                refusal_set(why, REFUSAL_ESCROW_KEY,
                            "%s: its escrow wasn't made for this private key", subject);
        if (a->rule.rule[0])
                refusal_detail(why, "a keyslot was not tried, rule %s: %s", a->rule.rule,
                               a->rule.text);
        return OUTCOME_REFUSED;
}

int way_by_owner(const struct disk *d, const struct owner_key *key, struct owner_way *ret,
                 struct refusal *why, struct error *err) {
        struct attempt a = { .disk = d, .key = key, .ret = ret, .err = err };
        int r = key->passphrase ? by_passphrase(&a) : by_escrow(&a);

        if (r < 0)
                return r;
        return r == LUKS_OK ? OUTCOME_DONE : refuse_owner(&a, why);
}

int way_check_pin(const struct disk *d, struct secret *volume_key, struct refusal *why,
                  struct error *err) {
        struct luks_reason reason = { 0 };
        int r = luks_pin_check_owner(d->luks, volume_key, &d->token->pin, &reason, err);

        if (r == LUKS_REFUSED && d->token->has_next)
                r = luks_pin_check_owner(d->luks, volume_key, &d->token->next, &reason, err);
        if (r < 0)
                return r;
        return r == LUKS_OK ? OUTCOME_DONE : refuse_luks(why, disk_subject(d), r, &reason);
}
