/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/disk.h"
#include "agent/handover.h"
#include "agent/op.h"
#include "agent/target.h"

/* What opened the disk. */
struct opened {
        struct secret *volume_key;
        unsigned entry; /* of the token; by the owner's key: its first */
};

static void opened_done(struct opened *o) {
        secret_free(o->volume_key);
}

static int by_tpm(struct context *c, struct disk *d, struct op_unlocked *ret,
                  struct opened *ret_opened, struct refusal *why, struct error *err) {
        const struct token_entry *entry;
        struct tpm_way way = { 0 };
        int r = way_by_tpm(c, d, &way, why, err);

        context_release_tpm(c);
        if (r == OUTCOME_DONE)
                r = disk_volume_key(d, way.slot_secret, &ret_opened->volume_key, why, err);
        secret_free(way.slot_secret);
        if (r != OUTCOME_DONE)
                return r;
        entry = &d->token->entry[way.entry];
        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", entry->kek.name);
        ret->version = entry->kek.version;
        ret->slot = d->token->slot;
        ret_opened->entry = way.entry;
        return OUTCOME_DONE;
}

static int by_owner(const struct disk *d, const struct owner_key *owner, struct op_unlocked *ret,
                    struct opened *ret_opened, struct refusal *why, struct error *err) {
        struct owner_way way = { 0 };
        int r = way_by_owner(d, owner, &way, why, err);

        if (r != OUTCOME_DONE)
                return r;
        ret->slot = way.slot;
        ret_opened->volume_key = way.volume_key;
        return way_check_pin(d, way.volume_key, why, err);
}

static void fill(const struct disk *d, const struct target *t, struct op_unlocked *ret) {
        const struct luks_facts *f = luks_facts(d->luks);

        ret->degraded = f->degraded;
        (void) snprintf(ret->name, sizeof(ret->name), "%s", d->token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", f->uuid);
        (void) snprintf(ret->role, sizeof(ret->role), "%s", d->token->role);
        (void) snprintf(ret->degraded_text, sizeof(ret->degraded_text), "%s", f->degraded_text);
        if (t->clone)
                (void) snprintf(ret->clone_of, sizeof(ret->clone_of), "%s", t->known.device);
        target_resized(t, f, ret->resized);
}

static int check_dm(const struct disk *d, struct error *err) {
        if (luks_have_dm())
                return 0;
        return error_set(err, -ENODEV,
                         "its key opens %s, but this kernel has no device-mapper to show it "
                         "through; --test proves the key without it",
                         d->token->name);
}

/* Only the OS disk ends the time in which this boot may unseal: who opens another one too early
 * would keep all that come later locked. */
static int check_role(const struct disk *d, struct refusal *why) {
        if (strcmp(d->token->role, ROLE_OS) == 0)
                return OUTCOME_DONE;
        refusal_set(why, REFUSAL_NOT_OS, "%s stays locked: --boot is for the OS disk",
                    d->token->name);
        refusal_detail(why, "its role is %s", d->token->role);
        return OUTCOME_REFUSED;
}

/* The TPM that is latched is the one that the disk's KEK is sealed to. The owner's key may have
 * opened it just because that one is gone: then whichever there is. */
static int latch_tpm(struct context *c, const struct disk *d, const struct opened *o,
                     const struct op_unlock *args, struct error *err) {
        const struct tpm_bytes *srk = &d->token->entry[o->entry].kek.sealed.srk;
        uint8_t value[LUKS_MAC_SIZE];
        int r = luks_latch_value(d->luks, o->volume_key, args->owner, value, err);

        if (r < 0 || (r = context_tpm(c, err)) < 0)
                return r;
        r = tpm_latch(c->tpm, srk, value, err);
        if (r == TPM_OTHER && args->owner)
                r = tpm_latch(c->tpm, NULL, value, err);
        if (r == TPM_OTHER)
                r = error_set(err, -EPROTO, "latch PCR %d: another TPM answers than unsealed",
                              PCR_LATCH);
        return r;
}

/* Before the disk is mapped, not after it: as soon as its node is there others mount it, and then
 * it could not be closed again where the latch fails. And whoever is killed in between leaves no
 * open disk behind, and no TPM that still unseals. */
static int latch(struct context *c, const struct disk *d, const struct opened *o,
                 const struct op_unlock *args, struct error *err) {
        const char *name = d->token->name;
        int r;

        if (luks_is_active(name))
                return error_set(err, -EEXIST,
                                 "%s is open already, and PCR %d was left as it is; the boot must "
                                 "not go on",
                                 name, PCR_LATCH);
        r = latch_tpm(c, d, o, args, err);
        context_release_tpm(c);
        return r < 0 ? error_prefix(err, "the boot must not go on: %s stays closed", name) : r;
}

/* For whoever opens other disks later, or rotates: what the TPM gave, since that alone vouches for
 * archives; and in which state. The boot goes on without it. */
static void hand_over(struct context *c, struct op_unlocked *ret) {
        struct pcrs booted = { .bank = PCR_BANKS };
        struct error err = { 0 };
        int r = 0;

        for (unsigned i = 0; i < c->open; i++) {
                const struct kek *kek = &c->opened[i].kek;

                if (c->opened[i].archived)
                        continue;
                if (booted.bank != kek->sealed.pcrs.bank && (r = context_tpm(c, &err)) == 0)
                        r = tpm_pcr_read(c->tpm, kek->sealed.pcrs.bank, HANDOVER_PCRS_MASK, &booted,
                                         &err);
                if (handover_put(kek, c->opened[i].key, r == 0 ? &booted : NULL, &err) < 0)
                        (void) snprintf(ret->kept_back, sizeof(ret->kept_back), "%s", err.text);
        }
        context_release_tpm(c);
}

static int activate(struct context *c, struct disk *d, const struct opened *o,
                    const struct op_unlock *args, struct op_unlocked *ret, struct error *err) {
        int r = 0;

        if (args->boot) {
                r = latch(c, d, o, args, err);
                ret->latched = r == 0;
                ret->must_stop = r < 0;
                if (r == 0)
                        hand_over(c, ret);
        }
        if (r == 0)
                r = luks_activate(d->luks, d->token->name, o->volume_key, err);
        return r < 0 ? r : OUTCOME_DONE;
}

/* Where there's no state folder, or it can't be written to (a rescue system, the initrd), a disk is
 * opened and closed all the same: whoever is there needs the data. What can be written to and isn't
 * (no room, an I/O error) keeps it as it is. */
static int log_begin(const struct context *c, const struct audit_event *e, char ret_unlogged[160],
                     struct error *err) {
        int r = audit(c, e, err);

        if (r == 0 || !audit_is_absent(r))
                return r;
        if (r != -ENOENT)
                (void) snprintf(ret_unlogged, 160, "%.159s", err->text);
        *err = (struct error){ 0 };
        return 0;
}

/* One line before it's open; another one only where that fails. */
static int open_logged(struct context *c, struct disk *d, const struct opened *o,
                       const struct op_unlock *args, struct op_unlocked *ret, struct error *err) {
        struct audit_event e = { .event = "unlock",
                                 .subject = ret->name,
                                 .result = "opened",
                                 .fact = { { "slot", NULL, ret->slot } } };
        int r;

        if (args->owner)
                e.fact[1] = (struct audit_fact){ "by", "owner", 0 };
        else {
                e.fact[1] = (struct audit_fact){ "kek", ret->kek, 0 };
                e.fact[2] = (struct audit_fact){ "version", NULL, ret->version };
        }
        r = check_dm(d, err);
        if (r == 0)
                r = log_begin(c, &e, ret->unlogged, err);
        if (r < 0)
                return r;
        r = activate(c, d, o, args, ret, err);
        return r < 0 ? audit_result(c, e, r, err) : r;
}

int op_unlock(struct context *c, const struct op_unlock *args, struct op_unlocked *ret,
              struct refusal *why, struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(opened_done) struct opened o = { 0 };
        struct target t;
        int r = context_lock_shared(c, err);

        if (r < 0)
                return r;
        c->tpm_only = args->boot;
        if ((r = target_find(c, args->disk.what, args->disk.header, &t, why, err)) !=
                    OUTCOME_DONE ||
            (r = target_load(c, &t, &d, why, err)) != OUTCOME_DONE)
                return r;
        if (!args->test && (r = target_refuse_clone(&t, why)) != OUTCOME_DONE)
                return r;
        if (args->boot && (r = check_role(&d, why)) != OUTCOME_DONE)
                return r;
        fill(&d, &t, ret);
        if (c->dry_run)
                return OUTCOME_DONE;
        r = args->owner ? by_owner(&d, args->owner, ret, &o, why, err)
                        : by_tpm(c, &d, ret, &o, why, err);
        if (r != OUTCOME_DONE || args->test)
                return r;
        return open_logged(c, &d, &o, args, ret, err);
}

int op_lock(struct context *c, const char *name, struct refusal *why, struct error *err) {
        const struct audit_event e = { .event = "lock", .subject = name, .result = "closed" };
        char unlogged[160];
        int r;

        if (!name_valid(name))
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "'%.60s' isn't the name of a disk",
                                   name);
        if (!luks_have_dm())
                return error_set(err, -ENODEV,
                                 "this kernel has no device-mapper, so no disk is open here");
        if (!luks_is_active(name))
                return refusal_set(why, REFUSAL_UNKNOWN_DISK, "%s isn't open", name);
        if (c->dry_run)
                return OUTCOME_DONE;
        r = log_begin(c, &e, unlogged, err);
        if (r < 0)
                return r;
        r = luks_deactivate(name, err);
        return r < 0 ? audit_result(c, e, r, err) : OUTCOME_DONE;
}
