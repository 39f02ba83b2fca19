/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk.h"
#include "agent/op.h"
#include "agent/target.h"
#include "keys/escrow.h"
#include "keys/recovery.h"

void op_status_done(struct op_status *s) {
        free(s->kek);
        free(s->due);
        free(s->others);
        free(s->counter);
        free(s->disk);
        *s = (struct op_status){ 0 };
}

/* "verified" is more than the rules: the covered form is the one that was pinned with a key at
 * hand. */
static int judge_header(const struct context *c, const struct disk *d, struct op_status_disk *ret,
                        struct error *err) {
        const struct luks_facts *f = luks_facts(d->luks);
        _cleanup_(freep) char *covered = NULL, *pinned = NULL;
        int r;

        if (f->degraded) {
                (void) snprintf(ret->header, sizeof(ret->header), "degraded");
                (void) snprintf(ret->reason, sizeof(ret->reason), "%s", f->degraded_text);
                return 0;
        }
        (void) snprintf(ret->header, sizeof(ret->header), "rules-ok");
        if (!disk_owns_slot(d))
                return 0;
        if ((r = state_read_header(c->state_dir, f->uuid, &pinned, err)) < 0)
                return r;
        if (!pinned)
                return 0;
        r = luks_covered(d->luks, (int) d->token->slot, NULL, &covered, err);
        if (r < 0)
                return r;
        if (state_header_known(pinned, covered)) {
                (void) snprintf(ret->header, sizeof(ret->header), "verified");
        } else {
                ret->state = DISK_REFUSED;
                (void) snprintf(ret->header, sizeof(ret->header), "refused");
                (void) snprintf(ret->reason, sizeof(ret->reason),
                                "its covered part isn't what was pinned here");
        }
        return 0;
}

static void refused(struct op_status_disk *ret, const char *text, const char *detail) {
        ret->state = DISK_REFUSED;
        (void) snprintf(ret->header, sizeof(ret->header), "refused");
        (void) snprintf(ret->reason, sizeof(ret->reason), "%.150s%s%.100s", text,
                        detail[0] ? ": " : "", detail);
}

/* Tokens of others are theirs; what a header says of them is shown, and cleaned before. */
static void list_foreign(const struct disk *d, struct op_status_disk *ret) {
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *token = luks_token(d->luks, id);
                struct error ignored = { 0 };
                const char *type;
                unsigned marked;
                char *c;

                if (!token || token_is_ours(token) || escrow_is_one(token) ||
                    recovery_is_one(token, &marked))
                        continue;
                ret->token[ret->tokens].id = id;
                c = ret->token[ret->tokens].type;
                if (json_get_string(token, "type", &type, &ignored) < 0)
                        type = "?";
                (void) snprintf(c, sizeof(ret->token->type), "%.39s", type);
                make_printable(c);
                ret->tokens++;
        }
}

/* The owner's own passphrase is no news to the owner. */
static uint32_t unknown_slots(const struct disk *d, const struct op_status_disk *s) {
        uint32_t mask = 0;

        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++) {
                struct error ignored = { 0 };

                if (s->role[slot] == SLOT_FOREIGN &&
                    (!(s->known.proven & (1u << slot)) ||
                     disk_slot_is(d->luks, slot, s->known.proven_hash[slot], &ignored) <= 0))
                        mask |= 1u << slot;
        }
        return mask;
}

static void describe(const struct disk *d, const struct target *t, struct op_status_disk *ret) {
        const struct token *token = d->token;

        slot_roles(d, ret->role);
        ret->unknown = unknown_slots(d, ret);
        list_foreign(d, ret);
        target_resized(t, luks_facts(d->luks), ret->resized);
        (void) snprintf(ret->kek, sizeof(ret->kek), "%s", token->entry[0].kek.name);
        ret->version = token->entry[token->entries - 1].kek.version;
        if (d->older)
                ret->version = d->older->entry[d->older->entries - 1].kek.version;
        if (token->entries > 1 || d->older)
                ret->staged = token->entry[0].kek.version;
        if (t->clone)
                (void) snprintf(ret->clone_of, sizeof(ret->clone_of), "%s", t->known.device);
}

static int look_at(const struct context *c, struct op_status_disk *ret, struct error *err) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct target t = { .by_name = ret->known.uuid[0] != '\0', .known = ret->known };
        struct refusal why = { 0 };
        struct error fault = { 0 };
        int r;

        if (access(ret->known.device, F_OK) < 0) {
                ret->state = DISK_ABSENT;
                (void) snprintf(ret->header, sizeof(ret->header), "unknown");
                return 0;
        }
        (void) snprintf(t.device, sizeof(t.device), "%s", ret->known.device);
        (void) snprintf(t.header, sizeof(t.header), "%s", ret->known.header);
        r = target_load(c, &t, &d, &why, &fault);
        if (r != OUTCOME_DONE) {
                refused(ret, r < 0 ? fault.text : why.what, why.details ? why.detail[0] : "");
                return 0;
        }
        ret->facts = *luks_facts(d.luks);
        ret->state = luks_is_active(d.token->name) ? DISK_OPEN : DISK_LOCKED;
        if (!ret->known.uuid[0]) {
                (void) snprintf(ret->known.name, sizeof(ret->known.name), "%s", d.token->name);
                (void) snprintf(ret->known.uuid, sizeof(ret->known.uuid), "%s", ret->facts.uuid);
                (void) snprintf(ret->known.role, sizeof(ret->known.role), "%s", d.token->role);
                (void) snprintf(ret->known.kek, sizeof(ret->known.kek), "%s",
                                d.token->entry[0].kek.name);
        }
        describe(&d, &t, ret);
        return judge_header(c, &d, ret, err);
}

/* One whose record doesn't say when it was made isn't rotated by age either. */
static void find_due(const struct context *c, const struct kek_record *record, struct due *ret) {
        struct error ignored = { 0 };

        if (due_of(c, record, ret, &ignored) < 0)
                *ret = (struct due){ .state = DUE_CLOCK, .at = UINT64_MAX };
}

static int read_keks(struct context *c, struct op_status *ret, struct error *err) {
        char folder[300], **names = NULL;
        size_t count = 0;
        int r;

        context_store(c, folder);
        r = store_names(folder, &names, &count, err);
        if (r < 0)
                return r;
        ret->kek = calloc(count + 1, sizeof(*ret->kek));
        ret->due = calloc(count + 1, sizeof(*ret->due));
        ret->others = calloc(count + 1, sizeof(*ret->others));
        if (!ret->kek || !ret->due || !ret->others)
                r = error_nomem(err);
        if (r == 0 && (r = others_os_kek(c, ret->os_kek, err)) > 0)
                r = 0;
        for (size_t i = 0; r == 0 && i < count; i++) {
                struct kek_record *k = &ret->kek[ret->keks];

                r = store_read(folder, names[i], k, err);
                if (r == -EBADMSG) { /* see op_archive_look() */
                        (void) snprintf(k->name, sizeof(k->name), "%s", names[i]);
                        *err = (struct error){ 0 };
                        r = 0;
                } else if (r == 0 && k->has_current) {
                        find_due(c, k, &ret->due[ret->keks]);
                        r = others_look(c, ret->os_kek, k, &ret->others[ret->keks], err);
                }
                ret->keks += r == 0;
        }
        store_names_free(names, count);
        return r;
}

int op_status_known(struct context *c, struct op_status *ret, struct error *err) {
        _cleanup_(state_done) struct state s = { 0 };
        int r;

        if ((r = state_read(c->state_dir, &s, err)) < 0 || (r = read_keks(c, ret, err)) < 0)
                return r;
        ret->disk = calloc(s.count + 1, sizeof(*ret->disk));
        if (!ret->disk)
                return error_nomem(err);
        for (; ret->disks < s.count; ret->disks++)
                ret->disk[ret->disks].known = s.disks[ret->disks];
        return OUTCOME_DONE;
}

bool op_tpm_place(const struct context *c, const struct tpm_info *info, enum tee_place *ret,
                  char ret_text[TEE_TEXT]) {
        struct tee_facts f;

        tee_look("", c->tcti, &f);
        memcpy(f.manufacturer, info->manufacturer, sizeof(f.manufacturer));
        f.hcl_report = info->hcl_report;
        *ret = tee_place(&f, ret_text);
        return f.guest[0];
}

static void look_at_tpm(struct context *c, struct op_status *ret) {
        struct error fault = { 0 };
        int r = context_tpm(c, &fault);

        if (r == 0)
                r = tpm_info(c->tpm, &ret->tpm, &fault);
        context_release_tpm(c);
        ret->tpm_present = r == 0;
        if (r == 0)
                op_tpm_place(c, &ret->tpm, &ret->place, ret->place_text);
        (void) snprintf(ret->tpm_fault, sizeof(ret->tpm_fault), "%s", fault.text);
}

static const struct op_status_disk *find(const struct op_status *s, const char *name) {
        for (size_t i = 0; i < s->disks; i++)
                if (strcmp(s->disk[i].known.name, name) == 0 ||
                    strcmp(s->disk[i].known.device, name) == 0)
                        return &s->disk[i];
        return NULL;
}

/* Keeps the disks that were asked for; a path that isn't recorded is one more. */
static int select_disks(struct op_status *s, char *const *names, struct refusal *why,
                        struct error *err) {
        struct op_status_disk *chosen;
        size_t count = 0;

        while (names[count])
                count++;
        chosen = calloc(count + 1, sizeof(*chosen));
        if (!chosen)
                return error_nomem(err);
        for (size_t i = 0; i < count; i++) {
                const struct op_status_disk *known = find(s, names[i]);

                if (!known && !strchr(names[i], '/')) {
                        free(chosen);
                        return refusal_set(why, REFUSAL_UNKNOWN_DISK,
                                           "no disk named '%.60s' is known here", names[i]);
                }
                if (known)
                        chosen[i] = *known;
                else
                        (void) snprintf(chosen[i].known.device, sizeof(chosen[i].known.device),
                                        "%.255s", names[i]);
        }
        free(s->disk);
        s->disk = chosen;
        s->disks = count;
        return OUTCOME_DONE;
}

bool op_has_other_way(const struct op_status_disk *d) {
        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++)
                if (d->role[slot] != SLOT_NONE && d->role[slot] != SLOT_AGENT)
                        return true;
        return false;
}

int op_status(struct context *c, char *const *names, struct op_status *ret, struct refusal *why,
              struct error *err) {
        int r = op_status_known(c, ret, err);

        if (r == OUTCOME_DONE && names)
                r = select_disks(ret, names, why, err);
        if (r != OUTCOME_DONE)
                return r;
        look_at_tpm(c, ret);
        if (ret->tpm_present && (r = op_counters(c, ret, err)) < 0)
                return r;
        for (size_t i = 0; i < ret->disks; i++) {
                r = look_at(c, &ret->disk[i], err);
                if (r < 0)
                        return r;
        }
        return OUTCOME_DONE;
}
