/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "luks/internal.h"
#include "luks/rules.h"

/* The same rules as luks_open() holds a header against, each with what it found. */

struct luks_examined {
        struct luks *luks; /* as far as it was read; its metadata is NULL if that wasn't all */
        struct luks_finding *findings;
        size_t count;
};

struct luks_examined *luks_examined_free(struct luks_examined *x) {
        if (!x)
                return NULL;
        x->luks = luks_close(x->luks);
        free(x->findings);
        free(x);
        return NULL;
}

/* A new finding, with nothing in it but its rule. NULL: out of memory. */
static struct luks_finding *append(struct luks_examined *x, const char *rule, int slot) {
        struct luks_finding *all;

        all = reallocarray(x->findings, x->count + 1, sizeof(*all));
        if (!all)
                return NULL;
        x->findings = all;
        all += x->count++;
        *all = (struct luks_finding){
                .rule = rule, .slot = slot, .verdict = LUKS_SKIPPED, .decides = true
        };
        (void) snprintf(all->found, sizeof(all->found), "nothing to look at");
        return all;
}

static int add(struct luks_examined *x, const char *rule, int slot, bool holds,
               const struct finding *f) {
        struct luks_finding *made = append(x, rule, slot);

        if (!made)
                return -ENOMEM;
        made->verdict = holds ? LUKS_HOLDS : LUKS_BREAKS;
        text_safe(made->found, sizeof(made->found), f->found);
        text_safe(made->expected, sizeof(made->expected), f->expected);
        return 0;
}

static int add_rules(struct luks_examined *x, const struct rule *rules, size_t count, int slot,
                     const struct rules_subject *s) {
        int r = 0;

        for (size_t i = 0; i < count && r == 0; i++) {
                struct finding f = { 0 };

                if (s)
                        r = add(x, rules[i].name, slot, rules[i].holds(s, &f), &f);
                else
                        r = append(x, rules[i].name, slot) ? 0 : -ENOMEM;
        }
        return r;
}

/* What comes before the rules, in its order: a header that wasn't detached has no first one. */
enum step { STEP_HEADER, STEP_COPIES, STEP_LOAD, STEP_JSON, STEPS };

static const char *const step_names[STEPS] = { "header", "copies", "load", "json" };
static const char *const step_expected[STEPS] = {
        "another file or device than that of the data",
        "two equal copies, or one that's good and at most one update ahead",
        "what libcryptsetup loads as LUKS2",
        "what libcryptsetup understood, in JSON",
};

/* The step that refused, by the rule in its reason; STEPS: none did. */
static enum step refused_at(int verdict, const struct luks_reason *why) {
        enum step at = STEP_HEADER;

        if (verdict == LUKS_OK)
                return STEPS;
        /* The version stands in the copies. */
        while (at < STEPS && strcmp(why->rule, step_names[at]) != 0)
                at++;
        return at == STEPS ? STEP_COPIES : at;
}

static void describe_step(const struct luks *l, enum step step, struct finding *f) {
        switch (step) {
        case STEP_HEADER: (void) snprintf(f->found, sizeof(f->found), "a detached header"); break;
        case STEP_COPIES:
                (void) snprintf(f->found, sizeof(f->found), "%.95s",
                                l->copies.degraded ? l->copies.degraded_text : "two equal copies");
                break;
        case STEP_LOAD: (void) snprintf(f->found, sizeof(f->found), "LUKS2"); break;
        default: (void) snprintf(f->found, sizeof(f->found), "%zu bytes", strlen(l->dump));
        }
}

static int add_steps(struct luks_examined *x, int verdict, const struct luks_reason *why) {
        enum step broken = refused_at(verdict, why);
        int r = 0;

        for (enum step i = x->luks->facts.header[0] ? STEP_HEADER : STEP_COPIES;
             i < STEPS && r == 0; i++) {
                struct finding f = { 0 };

                if (i > broken) {
                        r = append(x, step_names[i], -1) ? 0 : -ENOMEM;
                        continue;
                }
                if (i == broken)
                        text_safe(f.found, sizeof(f.found), why->text);
                else
                        describe_step(x->luks, i, &f);
                (void) snprintf(f.expected, sizeof(f.expected), "%s", step_expected[i]);
                r = add(x, step_names[i], -1, i < broken, &f);
        }
        return r;
}

/* The one rule that isn't about what libcryptsetup understood. */
static int add_text(struct luks_examined *x, struct luks_reason *why, struct error *err) {
        struct finding f = { .found = "its own form",
                             .expected = "JSON in the form in which libcryptsetup writes it" };
        int r = text_check(x->luks, why, err);

        if (r < 0)
                return r;
        if (r != LUKS_OK)
                (void) snprintf(f.found, sizeof(f.found), "another form");
        return add(x, "text", -1, r == LUKS_OK, &f) < 0 ? error_nomem(err) : r;
}

/* @verdict: of the reading. Return: LUKS_OK, LUKS_REFUSED; or a fault. */
static int examine(struct luks_examined *x, int verdict, struct luks_reason *why,
                   struct error *err) {
        struct luks_reason text = { 0 };
        struct rules_subject s;
        int r;

        if (add_steps(x, verdict, why) < 0)
                return error_nomem(err);
        if (verdict != LUKS_OK) {
                x->luks->metadata = json_free(x->luks->metadata);
                if (add_rules(x, rules_header, rules_header_count, -1, NULL) < 0 ||
                    !append(x, "text", -1))
                        return error_nomem(err);
                return verdict;
        }
        s = subject_of(x->luks);
        if (add_rules(x, rules_header, rules_header_count, -1, &s) < 0)
                return error_nomem(err);
        r = add_text(x, &text, err);
        if (r < 0)
                return r;
        verdict = (int) luks_rules_header(&s, why);
        if (verdict == LUKS_OK && r != LUKS_OK)
                *why = text;
        return verdict == LUKS_OK ? r : verdict;
}

int luks_examine(const struct luks_source *from, struct luks_examined **ret,
                 struct luks_reason *why, struct error *err) {
        _cleanup_(luks_examined_freep) struct luks_examined *x = calloc(1, sizeof(*x));
        int r;

        if (!x)
                return error_nomem(err);
        r = luks_read(from, &x->luks, why, err);
        if (r < 0 || r == LUKS_NONE)
                return r;
        r = examine(x, r, why, err);
        if (r < 0)
                return r;
        *ret = TAKE(x);
        return r;
}

/* Of a keyslot that we would open, and of any that opens the data. */
static void mark(struct luks_examined *x, size_t from, unsigned slot, enum luks_slot_kind kind) {
        bool decides =
                kind == LUKS_SLOT_OURS || rules_bound(rules_data_digest(x->luks->metadata), slot);

        for (size_t i = from; i < x->count; i++)
                x->findings[i].decides = decides;
}

int luks_examine_slot(struct luks_examined *x, unsigned slot, enum luks_slot_kind kind,
                      struct error *err) {
        const struct json *keyslot = rules_numbered(x->luks->metadata, "keyslots", slot);
        struct luks_reason ignored = { 0 };
        struct rules_subject s = { 0 };
        struct finding f = { .expected = "one to open" };
        size_t from = x->count;
        int r;

        if (keyslot) {
                s = subject_of(x->luks);
                s.slot = slot;
                s.kind = kind;
        }
        (void) snprintf(f.found, sizeof(f.found), "%skeyslot %u", keyslot ? "" : "no ", slot);
        r = add(x, "slot", (int) slot, keyslot != NULL, &f);
        if (r == 0)
                r = add_rules(x, rules_slot, rules_slot_count, (int) slot, keyslot ? &s : NULL);
        if (r < 0)
                return error_nomem(err);
        mark(x, from, slot, kind);
        return keyslot ? (int) luks_rules_slot(&s, &ignored) : LUKS_REFUSED;
}

size_t luks_examined_count(const struct luks_examined *x) {
        return x->count;
}

const struct luks_finding *luks_examined_at(const struct luks_examined *x, size_t i) {
        return i < x->count ? &x->findings[i] : NULL;
}

const struct json *luks_examined_metadata(const struct luks_examined *x) {
        return x->luks->metadata;
}
