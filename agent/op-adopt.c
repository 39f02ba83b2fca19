/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/bek.h"
#include "agent/enroll.h"
#include "agent/replace.h"
#include "agent/ways.h"
#include "base/crypto.h"
#include "keys/keyslots.h"
#include "keys/other-token.h"

static struct luks_source source(const struct enroll *w) {
        return (struct luks_source){ w->args->device, w->args->header };
}

/* --- the key that opens the disk now --- */

/* Remembers the slot with the hash by which it's known again. */
static int found(struct enroll *w, unsigned slot, struct secret *volume_key, const char *by) {
        w->volume_key = volume_key;
        w->ret->foreign_slot = slot;
        (void) snprintf(w->ret->foreign_by, sizeof(w->ret->foreign_by), "%s", by);
        w->record.proven |= 1u << slot;
        return disk_slot_hash(w->disk.luks, slot, w->record.proven_hash[slot], w->err);
}

/* Which slot the file opens. Our own, where there is one, is left out: it's no other key. */
static int by_file(struct enroll *w, const char *path, const char *by) {
        unsigned ours = w->disk.token ? w->disk.token->slot : LUKS_SLOTS_MAX;
        struct foreign f = { 0 };
        int r = disk_open_foreign(w->disk.luks, path, ours, &f, w->err);

        if (r < 0)
                return r;
        if (r != LUKS_OK) {
                refuse_luks(w->why, w->args->device, r, &f.tried);
                if (f.tried.rule[0])
                        refusal_detail(w->why, "a keyslot was not tried, rule %s: %s", f.tried.rule,
                                       f.tried.text);
                return OUTCOME_REFUSED;
        }
        return found(w, f.slot, f.volume_key, by);
}

/* Several files are several disks' passphrases: each is tried. */
static int by_bek(struct enroll *w) {
        _cleanup_(freep) struct bek *bek = calloc(1, sizeof(*bek));
        int r;

        if (!bek)
                return error_nomem(w->err);
        r = bek_find(w->args->bek, bek, w->why, w->err);
        for (size_t i = 0; r == OUTCOME_DONE && i < bek->count; i++) {
                r = by_file(w, bek->file[i], "its BEK file");
                if (r != OUTCOME_REFUSED)
                        return r;
                if (i + 1 < bek->count)
                        r = OUTCOME_DONE;
        }
        return r;
}

/* On the token's own keyslot and no other, and never on ours, whatever the token says. */
static int try_passphrase(struct enroll *w, const struct other_token *o, struct secret *passphrase,
                          struct refusal *why) {
        const struct luks_key key = { o->slot, LUKS_SLOT_FOREIGN, passphrase };
        struct luks_reason reason = { 0 };
        struct secret *volume_key = NULL;
        char by[40];
        int r;

        if ((w->disk.token && o->slot == w->disk.token->slot) ||
            !(luks_facts(w->disk.luks)->data_slots & (1u << o->slot)))
                return refusal_set(why, REFUSAL_NO_KEY,
                                   "%s: its %s token names keyslot %u, which isn't its own",
                                   w->args->device, o->type, o->slot);
        r = luks_slot_open(w->disk.luks, &key, &volume_key, &reason, w->err);
        if (r < 0)
                return r;
        if (r == LUKS_WRONG_KEY)
                return refusal_set(why, REFUSAL_WRONG_KEY,
                                   "%s: what its %s token holds doesn't open keyslot %u",
                                   w->args->device, o->type, o->slot);
        if (r != LUKS_OK)
                return refuse_luks(why, w->args->device, r, &reason);
        (void) snprintf(by, sizeof(by), "its %s token", o->type);
        return found(w, o->slot, volume_key, by);
}

static int by_token(struct enroll *w, const struct json *token, struct refusal *why) {
        _cleanup_(freep) struct other_token *o = calloc(1, sizeof(*o));
        _cleanup_(secret_freep) struct secret *passphrase = NULL;
        struct tpm_refusal reason = { 0 };
        char words[OTHER_WHY_MAX];
        int r;

        if (!o)
                return error_nomem(w->err);
        r = other_token_parse(token, o, words, w->err);
        if (r < 0)
                return r;
        if (r != OTHER_GOOD)
                return refusal_set(why, REFUSAL_NO_KEY,
                                   "%s: its %s token %s: give a passphrase with --key-file",
                                   w->args->device, other_token_type(token), words);
        if ((r = context_tpm(w->c, w->err)) < 0 ||
            (r = other_token_open(w->c->tpm, o, &passphrase, &reason, w->err)) < 0)
                return r;
        return r == TPM_GRANTED ? try_passphrase(w, o, passphrase, why)
                                : refuse_other(why, w->args->device, o, r, &reason);
}

/* One that was bound to a keyslot: what a replacement that was cut off left is bound to none. */
static bool is_candidate(const struct luks *l, unsigned id) {
        return other_token_type(luks_token(l, id)) && keyslots_count(luks_token(l, id)) > 0;
}

/* One token after the other. What's reported is why the first didn't open. */
static int by_tokens(struct enroll *w) {
        struct refusal later = { 0 }, *say = w->why;
        bool any = false;
        int r = OUTCOME_REFUSED;

        for (unsigned id = 0; id < LUKS_TOKENS_MAX && r == OUTCOME_REFUSED; id++) {
                if (!is_candidate(w->disk.luks, id))
                        continue;
                r = by_token(w, luks_token(w->disk.luks, id), say);
                any = true;
                say = &later;
        }
        context_release_tpm(w->c);
        if (any)
                return r;
        return error_set(w->err, -ENOKEY, "adopting %s needs a key that opens it", w->args->device);
}

/* --- which disk --- */

/* A disk of ours is taken once more only as what it is, and only where it isn't recorded or
 * something is to be replaced. */
static int check_again(const struct enroll *w) {
        const struct token *t = w->disk.token;

        if (!t || (strcmp(t->name, w->args->name) == 0 && strcmp(t->role, w->args->role) == 0 &&
                   strcmp(t->entry[0].kek.name, w->args->kek) == 0 &&
                   (w->args->replace || !state_by_uuid(&w->state, luks_facts(w->disk.luks)->uuid))))
                return OUTCOME_DONE;
        return refusal_set(w->why, REFUSAL_ENROLLED,
                           "%s is a disk of diskseal already: %s, role %s, KEK %s", w->args->device,
                           t->name, t->role, t->entry[0].kek.name);
}

/* libcryptsetup converts in place, so that's for the owner to do, after a backup. */
static int advise_luks1(struct enroll *w) {
        if (w->why->kind != REFUSAL_NOT_LUKS || !strstr(w->why->what, "a LUKS1 header"))
                return OUTCOME_REFUSED;
        refusal_set(w->why, REFUSAL_NOT_LUKS,
                    "%s has a LUKS1 header, which is to become LUKS2 before it's adopted",
                    w->args->device);
        refusal_detail(w->why, "first:  cryptsetup luksHeaderBackup --header-backup-file FILE %s",
                       w->args->device);
        refusal_detail(w->why, "then:   cryptsetup convert --type luks2 %s", w->args->device);
        return OUTCOME_REFUSED;
}

static int load(struct enroll *w) {
        const struct luks_source from = source(w);
        const struct state_disk *known;
        int r = disk_load(&from, &w->disk, w->why, w->err);

        if (r == OUTCOME_REFUSED)
                return advise_luks1(w);
        if (r != OUTCOME_DONE)
                return r;
        known = state_by_uuid(&w->state, luks_facts(w->disk.luks)->uuid);
        if (known)
                w->record = *known;
        return OUTCOME_DONE;
}

/* A disk of ours opens by our token, so it needs none; for a replacement it names the keyslot,
 * which may be gone already. */
static int find_key(struct enroll *w) {
        bool again = w->disk.token && w->args->replace;
        int r, begun;

        if (w->disk.token && !again && !w->args->bek && !w->args->key_file)
                return OUTCOME_DONE;
        if (w->args->bek || w->args->key_file)
                r = w->args->bek ? by_bek(w) : by_file(w, w->args->key_file, "the key file");
        else
                r = by_tokens(w);
        if (r == OUTCOME_REFUSED && w->why->kind == REFUSAL_WRONG_KEY && again) {
                begun = replace_has_begun(w);
                return begun < 0 ? begun : begun ? OUTCOME_DONE : OUTCOME_REFUSED;
        }
        if (r == -ENOKEY && w->disk.token) {
                *w->err = (struct error){ 0 };
                return OUTCOME_DONE; /* nothing of others is left to replace */
        }
        return r;
}

/* Up to the first write: whose disk it is, and that the key opens it. */
static int prepare(struct enroll *w) {
        int r;

        w->ret->foreign_slot = LUKS_SLOTS_MAX;
        if ((r = enroll_begin(w)) != OUTCOME_DONE || (r = load(w)) != OUTCOME_DONE ||
            (r = enroll_check_name(w, luks_facts(w->disk.luks)->uuid)) != OUTCOME_DONE ||
            (r = check_again(w)) != OUTCOME_DONE || (r = find_key(w)) != OUTCOME_DONE)
                return r;
        return w->args->replace ? replace_check(w) : OUTCOME_DONE;
}

/* The disk was enrolled here before: a cut, a lost state, or a replacement that comes later. Its
 * own token says the rest, once this TPM has opened it. */
static int adopt_again(struct enroll *w) {
        const struct token_entry *e = &w->disk.token->entry[0];
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        struct tpm_way way = { 0 };
        int r = way_by_tpm(w->c, &w->disk, &way, w->why, w->err);

        if (r == OUTCOME_DONE)
                r = op_kek_check_tpm(w->c, &w->disk.token->entry[way.entry].kek, w->why, w->err);
        context_release_tpm(w->c);
        if (r == OUTCOME_DONE)
                r = disk_volume_key(&w->disk, way.slot_secret, &volume_key, w->why, w->err);
        way.slot_secret = secret_free(way.slot_secret);
        if (r != OUTCOME_DONE)
                return r;
        if (!w->volume_key)
                w->volume_key = TAKE(volume_key);

        w->ret->slot = w->disk.token->slot;
        (void) snprintf(w->ret->kek, sizeof(w->ret->kek), "%s", e->kek.name);
        w->ret->version = e->kek.version;
        (void) policy_of_steps(&e->kek.steps, &w->ret->policy);
        w->ret->second_factor = e->kek.factor.kind != FACTOR_NONE;
        return w->c->dry_run ? OUTCOME_DONE : enroll_record(w, w->disk.luks);
}

static int edit(struct enroll *w) {
        int r = disk_edit(w->disk.luks, w->args->device, &w->edit, w->why, w->err);

        return r == OUTCOME_DONE && w->disk.pending
                       ? disk_clean_pending(w->edit, &w->disk, w->kek.key, w->err)
                       : r;
}

static int adopt_first(struct enroll *w) {
        int r;

        if ((r = edit(w)) != OUTCOME_DONE || (r = enroll_write(w)) != OUTCOME_DONE)
                return r;
        return enroll_record(w, luks_edit_result(w->edit));
}

/* What was prepared is done. */
static int adopt(struct enroll *w) {
        int r = w->disk.token ? adopt_again(w) : adopt_first(w);

        return r == OUTCOME_DONE && w->args->replace ? replace_old(w) : r;
}

int op_adopt(struct context *c, const struct op_enroll *args, struct op_enrolled *ret,
             struct refusal *why, struct error *err) {
        _cleanup_(enroll_done) struct enroll w = {
                .c = c, .args = args, .ret = ret, .why = why, .err = err
        };
        struct audit_event e;
        int r;

        c->policy = args->policy;
        r = prepare(&w);
        if (r != OUTCOME_DONE)
                return r;
        if (c->dry_run)
                return w.disk.token ? adopt_again(&w) : OUTCOME_DONE;
        if (!w.disk.token && (r = enroll_open_kek(&w)) != OUTCOME_DONE)
                return r;
        e = enroll_event(&w, "adopt");
        r = audit(c, &e, err);
        return r < 0 ? r : audit_result(c, e, adopt(&w), err);
}
