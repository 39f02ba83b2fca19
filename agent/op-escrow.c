/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/change.h"
#include "agent/op.h"
#include "base/hex.h"
#include "keys/escrow.h"

#define NEXT_PIN 400 /* bytes that our token grows by while it has two pins */

/* --- certificates --- */

struct certs {
        size_t count;
        struct certificate *cert[CMS_RECIPIENTS_MAX];
};

static void certs_done(struct certs *c) {
        while (c->count > 0)
                certificate_free(c->cert[--c->count]);
}

static int read_certs(const char *path, struct certs *ret, struct error *err) {
        size_t n = 0;
        int r = certificates_read(path, ret->cert + ret->count, CMS_RECIPIENTS_MAX - ret->count, &n,
                                  err);

        if (r < 0)
                return r;
        ret->count += n;
        return 0;
}

static int is_pem(const struct dirent *e) {
        size_t n = strlen(e->d_name);

        return n > 4 && strcmp(e->d_name + n - 4, ".pem") == 0;
}

/* CONFIG_DIR/escrow.d/NAME.pem, in the order of their names. No folder is no certificate. */
static int read_folder(const struct context *c, struct certs *ret, struct error *err) {
        char folder[300], path[PATH_MAX];
        struct dirent **list = NULL;
        int n, r = 0;

        (void) snprintf(folder, sizeof(folder), "%s/escrow.d", c->config_dir);
        n = scandir(folder, &list, is_pem, alphasort);
        if (n < 0)
                return errno == ENOENT ? 0 : error_errno(err, -errno, "read %s", folder);
        for (int i = 0; i < n; i++) {
                (void) snprintf(path, sizeof(path), "%s/%s", folder, list[i]->d_name);
                if (r == 0)
                        r = read_certs(path, ret, err);
                free(list[i]);
        }
        free(list);
        return r;
}

static int gather(const struct context *c, const char *const *files, struct certs *ret,
                  struct refusal *why, struct error *err) {
        int r = files ? 0 : read_folder(c, ret, err);

        for (; r == 0 && files && *files; files++)
                r = read_certs(*files, ret, err);
        if (r < 0)
                return r;
        if (ret->count == 0)
                return refusal_set(why, REFUSAL_NO_CERTIFICATE,
                                   "no escrow without a certificate: none in %.100s/escrow.d",
                                   c->config_dir);
        for (size_t i = 0; i < ret->count; i++) {
                char subject[120], from[24], until[24];
                enum certificate_time t = certificate_time(ret->cert[i], from, until);

                if (t == CERTIFICATE_VALID)
                        continue;
                certificate_subject(ret->cert[i], subject);
                refusal_set(why, REFUSAL_CERTIFICATE_EXPIRED, "the certificate of %s %s %s",
                            subject, t == CERTIFICATE_EXPIRED ? "expired on" : "begins only on",
                            t == CERTIFICATE_EXPIRED ? until : from);
                return OUTCOME_REFUSED;
        }
        return OUTCOME_DONE;
}

/* --- list --- */

void op_escrows_done(struct op_escrows *e) {
        free(e->escrow);
        *e = (struct op_escrows){ 0 };
}

static void describe_recipient(const uint8_t fingerprint[SHA256_SIZE], const struct certs *at_hand,
                               struct op_recipient *ret) {
        hex_encode(fingerprint, SHA256_SIZE, ret->fingerprint);
        for (size_t i = 0; i < at_hand->count; i++) {
                uint8_t sum[SHA256_SIZE];

                certificate_fingerprint(at_hand->cert[i], sum);
                if (memcmp(sum, fingerprint, sizeof(sum)) != 0)
                        continue;
                certificate_subject(at_hand->cert[i], ret->subject);
                (void) certificate_time(at_hand->cert[i], NULL, ret->until);
                return;
        }
}

static int describe(const struct json *token, const struct certs *at_hand, struct op_escrow *ret,
                    struct error *err) {
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        struct error bad = { 0 };
        int r;

        if (!e)
                return error_nomem(err);
        r = escrow_parse(token, e, &bad);
        if (r == -EBADMSG) {
                ret->damaged = true;
                ret->slot = LUKS_SLOTS_MAX;
                (void) snprintf(ret->damage, sizeof(ret->damage), "%.159s", bad.text);
                return 0;
        }
        if (r < 0) {
                *err = bad;
                return r;
        }
        ret->slot = e->slot;
        (void) snprintf(ret->created, sizeof(ret->created), "%s", e->created);
        for (; ret->recipients < e->recipients; ret->recipients++)
                describe_recipient(e->recipient[ret->recipients], at_hand,
                                   &ret->recipient[ret->recipients]);
        return 0;
}

static int list_escrows(const struct luks *l, const struct token *token,
                        const struct certs *at_hand, struct op_escrows *ret, struct error *err) {
        (void) snprintf(ret->name, sizeof(ret->name), "%s", token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", luks_facts(l)->uuid);
        ret->escrow = calloc(LUKS_TOKENS_MAX, sizeof(*ret->escrow));
        if (!ret->escrow)
                return error_nomem(err);
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *t = luks_token(l, id);
                int r;

                if (!t || !escrow_is_one(t))
                        continue;
                r = describe(t, at_hand, &ret->escrow[ret->count++], err);
                if (r < 0)
                        return r;
        }
        return OUTCOME_DONE;
}

int op_escrow_list(struct context *c, const struct op_disk *disk, struct op_escrows *ret,
                   struct refusal *why, struct error *err) {
        _cleanup_(change_done) struct change w = { .c = c, .why = why, .err = err };
        _cleanup_(certs_done) struct certs certs = { 0 };
        struct error ignored = { 0 };
        int r;

        if ((r = target_find(c, disk->what, disk->header, &w.target, why, err)) != OUTCOME_DONE ||
            (r = target_load(c, &w.target, &w.disk, why, err)) != OUTCOME_DONE)
                return r;
        /* For their names only; without them there are fingerprints. */
        (void) read_folder(c, &certs, &ignored);
        return list_escrows(w.disk.luks, w.disk.token, &certs, ret, err);
}

/* --- add --- */

struct plan {
        struct certs certs;
        unsigned slot, id;
        struct secret *passphrase;
        struct json *token;
};

static void plan_done(struct plan *p) {
        certs_done(&p->certs);
        secret_free(p->passphrase);
        json_free(p->token);
}

/* What will be written, and whether there's room for it: before the TPM is asked for anything. */
static int prepare(struct change *w, struct plan *p) {
        struct luks_need need = { .slot = true, .token = true };
        _cleanup_(freep) char *text = NULL;
        struct luks_reason reason = { 0 };
        int r = luks_room(w->disk.luks, &need, &p->slot, &p->id, &reason, w->err);

        if (r == LUKS_OK) {
                if ((r = escrow_passphrase(&p->passphrase, w->err)) < 0 ||
                    (r = escrow_make(p->certs.cert, p->certs.count, p->slot, p->passphrase,
                                     &p->token, w->err)) < 0 ||
                    (r = json_text(p->token, false, &text, w->err)) < 0)
                        return r;
                need.json = strlen(text) + NEXT_PIN;
                r = luks_room(w->disk.luks, &need, &p->slot, &p->id, &reason, w->err);
        }
        if (r < 0)
                return r;
        return r == LUKS_OK ? OUTCOME_DONE
                            : refuse_luks(w->why, disk_subject(&w->disk), r, &reason);
}

/* The keyslot first, and proven: the token that tells of it comes when it's there. */
static int add(struct change *w, const struct plan *p) {
        const struct luks_key key = { p->slot, LUKS_SLOT_OURS, p->passphrase };
        const struct disk_keys keys = { w->slot_secret, w->volume_key };
        const struct luks_plan plan = { p->id, p->token };
        int r;

        if ((r = change_edit(w)) != OUTCOME_DONE ||
            (r = luks_slot_add(w->edit, &key, w->volume_key, w->err)) < 0 ||
            (r = disk_prove_slot(luks_edit_result(w->edit), &key, w->volume_key, w->why, w->err)) !=
                    OUTCOME_DONE ||
            (r = change_expect(w, &plan)) < 0 ||
            (r = disk_change_escrow(w->edit, &w->disk, &keys, &plan, w->err)) < 0)
                return r;
        return change_remember(w, luks_edit_result(w->edit));
}

int op_escrow_add(struct context *c, const struct op_escrow_add *args, struct op_escrows *ret,
                  struct refusal *why, struct error *err) {
        _cleanup_(change_done) struct change w = { .c = c, .why = why, .err = err };
        _cleanup_(plan_done) struct plan p = { 0 };
        struct audit_event e;
        int r;

        if ((r = gather(c, args->certs, &p.certs, why, err)) != OUTCOME_DONE ||
            (r = change_find(&w, args->disk.what, args->disk.header)) != OUTCOME_DONE ||
            (r = change_settled(&w)) != OUTCOME_DONE || (r = prepare(&w, &p)) != OUTCOME_DONE)
                return r;
        if (c->dry_run)
                return list_escrows(w.disk.luks, w.disk.token, &p.certs, ret, err);
        e = (struct audit_event){ .event = "escrow-add",
                                  .subject = w.disk.token->name,
                                  .result = "begin",
                                  .fact = { { "slot", NULL, p.slot },
                                            { "certificates", NULL, p.certs.count } } };
        if ((r = change_open(&w)) != OUTCOME_DONE || (r = audit(c, &e, err)) < 0 ||
            (r = audit_result(c, e, add(&w, &p), err)) != OUTCOME_DONE)
                return r;
        return list_escrows(luks_edit_result(w.edit), w.disk.token, &p.certs, ret, err);
}

/* --- remove --- */

/* This TPM opens the disk, so our own keyslot is known to work. The token goes first: it's what the
 * pin covers. */
static int remove_escrow(struct change *w, unsigned slot) {
        const struct disk_keys keys = { w->slot_secret, w->volume_key };
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        int r = change_edit(w);

        if (r != OUTCOME_DONE)
                return r;
        if (!e)
                return error_nomem(w->err);
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *token = luks_token(luks_edit_result(w->edit), id);
                const struct luks_plan plan = { id, NULL };
                struct error bad = { 0 };

                if (!token || !escrow_is_one(token) || escrow_parse(token, e, &bad) < 0 ||
                    e->slot != slot)
                        continue;
                /* Its area is wiped before its metadata goes: from here on it counts for nothing.
                 */
                if ((r = change_record(w, luks_edit_result(w->edit), slot, true)) < 0 ||
                    (r = change_expect(w, &plan)) < 0 ||
                    (r = disk_change_escrow(w->edit, &w->disk, &keys, &plan, w->err)) < 0 ||
                    (r = luks_slot_remove(w->edit, slot, w->err)) < 0)
                        return r;
                return change_remember(w, luks_edit_result(w->edit));
        }
        return refusal_set(w->why, REFUSAL_ESCROW_DAMAGED,
                           "%s: the escrow token of keyslot %u is damaged; it was left alone",
                           disk_subject(&w->disk), slot);
}

int op_escrow_remove(struct context *c, const struct op_disk *disk, int slot, struct op_slot *ret,
                     struct refusal *why, struct error *err) {
        _cleanup_(change_done) struct change w = { .c = c, .why = why, .err = err };
        struct audit_event e;
        int r = change_find(&w, disk->what, disk->header);

        if (r != OUTCOME_DONE || (r = change_settled(&w)) != OUTCOME_DONE)
                return r;
        slot = slot_of_role(&w.disk, SLOT_ESCROW, slot);
        if (slot == -ENOTUNIQ)
                return refusal_set(why, REFUSAL_WHICH_SLOT, "%s has several escrow keyslots",
                                   disk_subject(&w.disk));
        if (slot < 0)
                return refusal_set(why, REFUSAL_NO_ESCROW, "%s has no such escrow",
                                   disk_subject(&w.disk));
        (void) snprintf(ret->name, sizeof(ret->name), "%s", w.disk.token->name);
        (void) snprintf(ret->uuid, sizeof(ret->uuid), "%s", luks_facts(w.disk.luks)->uuid);
        ret->slot = (unsigned) slot;
        if (c->dry_run)
                return OUTCOME_DONE;
        e = (struct audit_event){ .event = "escrow-remove",
                                  .subject = ret->name,
                                  .result = "begin",
                                  .fact = { { "slot", NULL, ret->slot } } };
        if ((r = change_open(&w)) != OUTCOME_DONE || (r = audit(c, &e, err)) < 0)
                return r;
        return audit_result(c, e, remove_escrow(&w, (unsigned) slot), err);
}
