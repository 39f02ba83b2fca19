/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "base/crypto.h"
#include "policy/event.h"
#include "policy/predict-change.h"
#include "policy/uki.h"

/* A command line as boot loaders hand it on: UTF-16. Most of them count the final NUL. */
struct options {
        uint8_t data[2 * (PREDICT_CMDLINE_MAX + 1)];
        size_t size; /* bytes with the NUL */
};

static bool make_options(const char *ascii, struct options *ret) {
        size_t n = strlen(ascii);

        if (n > PREDICT_CMDLINE_MAX)
                return false;
        for (size_t i = 0; i <= n; i++) {
                if ((uint8_t) ascii[i] >= 0x80)
                        return false;
                ret->data[2 * i] = (uint8_t) ascii[i];
                ret->data[2 * i + 1] = 0;
        }
        ret->size = 2 * (n + 1);
        return true;
}

static bool is_tag(const struct event *e, unsigned pcr, uint32_t id) {
        struct event_tag tag;

        return e->pcr == pcr && event_tag(e, &tag) && tag.id == id;
}

/* What the kernel's EFI stub measured under @id is @old, and nothing else. */
static int tags_are(const struct prediction *p, uint32_t id, const uint8_t *old, const char *what,
                    struct predict_reason *why) {
        bool found = false;

        for (struct event e = { 0 }; eventlog_next(p->log, &e);) {
                if (!is_tag(&e, 9, id))
                        continue;
                if (memcmp(e.digest[p->bank], old, pcr_size(p->bank)) != 0)
                        return predict_unknown(why,
                                               "the kernel measured another %s than the one "
                                               "that is said to be this boot's (event %u)",
                                               what, e.number);
                found = true;
        }
        if (!found)
                return predict_unknown(why, "this boot's kernel didn't measure its %s", what);
        return PREDICT_OK;
}

int predict_initrd(struct prediction *p, const uint8_t *old, const uint8_t *new,
                   struct predict_reason *why) {
        int r;

        if (!(p->mask & 1u << 9))
                return PREDICT_OK;
        r = tags_are(p, EVENT_TAG_INITRD, old, "initrd", why);
        if (r != PREDICT_OK)
                return r;
        return predict_digest(p, 9, old, new, why);
}

/* Both digests of one form. */
struct forms {
        uint8_t old[PCR_SIZE_MAX], new[PCR_SIZE_MAX];
};

/* PCR @pcr has the command line in this form. */
static int change_cmdline(struct prediction *p, unsigned pcr, const struct forms *f,
                          struct predict_reason *why) {
        int r;

        if (!(p->mask & (1u << pcr)) || (pcr == 12 && !(p->log->pcrs & (1u << pcr))))
                return PREDICT_OK;
        if (pcr == 9) {
                r = tags_are(p, EVENT_TAG_LOAD_OPTIONS, f->old, "command line", why);
                if (r != PREDICT_OK)
                        return r;
        }
        return predict_digest(p, pcr, f->old, f->new, why);
}

static int make_forms(enum pcr_bank bank, const struct options *old, const struct options *new,
                      size_t less, struct forms *ret, struct error *err) {
        const struct chunk a = { old->data, old->size - less }, b = { new->data, new->size - less };
        int r = crypto_hash(bank, &a, 1, ret->old, err);

        if (r < 0)
                return r;
        return crypto_hash(bank, &b, 1, ret->new, err);
}

static bool was_measured(const struct prediction *p, const uint8_t *digest) {
        for (struct event e = { 0 }; eventlog_next(p->log, &e);)
                if (event_measured(&e) && (p->mask & (1u << e.pcr)) &&
                    (e.pcr == 9 || e.pcr == 12) &&
                    memcmp(e.digest[p->bank], digest, pcr_size(p->bank)) == 0)
                        return true;
        return false;
}

/* In the form that was measured; with the final NUL where none was. */
static int find_form(const struct prediction *p, const struct options *old,
                     const struct options *new, struct forms *ret, struct error *err) {
        struct forms with, without;
        int r;

        r = make_forms(p->bank, old, new, 0, &with, err);
        if (r < 0)
                return r;
        r = make_forms(p->bank, old, new, 2, &without, err);
        if (r < 0)
                return r;
        *ret = was_measured(p, without.old) ? without : with;
        return 0;
}

int predict_cmdline(struct prediction *p, const char *old, const char *new,
                    struct predict_reason *why, struct error *err) {
        struct prediction next = *p;
        struct options a, b;
        struct forms f;
        int r;

        if (strcmp(old, new) == 0 || !(p->mask & (1u << 8 | 1u << 9 | 1u << 12)))
                return PREDICT_OK;
        if (p->mask & p->log->pcrs & (1u << 8))
                return predict_unknown(why,
                                       "PCR 8 has what the boot loader did, and not the command "
                                       "line alone");
        if (!make_options(old, &a) || !make_options(new, &b))
                return predict_unknown(why, "a command line isn't ASCII, or is over %u characters",
                                       PREDICT_CMDLINE_MAX);
        r = find_form(p, &a, &b, &f, err);
        if (r < 0)
                return r;
        r = change_cmdline(&next, 9, &f, why);
        if (r == PREDICT_OK)
                r = change_cmdline(&next, 12, &f, why);
        if (r == PREDICT_OK)
                *p = next;
        return r;
}

int predict_loader_files(const struct prediction *p, struct predict_reason *why) {
        for (struct event e = { 0 }; eventlog_next(p->log, &e);)
                if (e.pcr == 9 && e.type == EV_IPL && (p->mask & (1u << 9)))
                        return predict_unknown(why,
                                               "the boot loader measured the files that it read "
                                               "into PCR 9 (event %u): its configuration and the "
                                               "kernel change with it",
                                               e.number);
        return PREDICT_OK;
}

/* --- the UKI's parts, which its stub hands to the kernel --- */

static int hash_initrd(const struct uki *uki, enum pcr_bank bank, uint8_t ret[PCR_SIZE_MAX],
                       struct error *err) {
        const struct uki_part *part = &uki->part[UKI_INITRD];
        const struct chunk chunks[] = { { part->data, part->size }, { NULL, part->zeros } };

        return crypto_hash(bank, chunks, ARRAY_SIZE(chunks), ret, err);
}

/* Return: false where stubs make something else of it than what stands there: control characters,
 * and spaces around it. */
static bool read_cmdline(const struct uki *uki, char ret[PREDICT_CMDLINE_MAX + 1]) {
        const struct uki_part *part = &uki->part[UKI_CMDLINE];
        size_t n = part->data ? strnlen((const char *) part->data, part->size) : 0;

        if (n > PREDICT_CMDLINE_MAX)
                return false;
        if (n > 0)
                memcpy(ret, part->data, n);
        ret[n] = '\0';
        for (size_t i = 0; i < n; i++)
                if ((uint8_t) ret[i] < ' ' || (uint8_t) ret[i] >= 0x7f)
                        return false;
        return n == 0 || (ret[0] != ' ' && ret[n - 1] != ' ');
}

static bool same_sections(const struct uki *a, const struct uki *b) {
        for (unsigned i = 0; i < UKI_SECTIONS; i++)
                if (!a->part[i].data != !b->part[i].data)
                        return false;
        return true;
}

static int change_uki_cmdline(struct prediction *p, const struct uki *old, const struct uki *new,
                              struct predict_reason *why, struct error *err) {
        char before[PREDICT_CMDLINE_MAX + 1], after[PREDICT_CMDLINE_MAX + 1];

        if (!read_cmdline(old, before) || !read_cmdline(new, after))
                return predict_unknown(why, "a UKI's command line has control characters, or "
                                            "spaces around it: stubs differ in what they make of "
                                            "that");
        return predict_cmdline(p, before, after, why, err);
}

int predict_uki_parts(struct prediction *p, const struct uki *old, const struct uki *new,
                      struct predict_reason *why, struct error *err) {
        uint8_t before[PCR_SIZE_MAX], after[PCR_SIZE_MAX];
        struct prediction next = *p;
        int r = PREDICT_OK;

        if (!(p->mask & (1u << 9)))
                return PREDICT_OK;
        if (old->version != new->version || !same_sections(old, new))
                return predict_unknown(why,
                                       "the stubs of the two UKIs (%u, %u) or their sections "
                                       "aren't the same: what they add to the initrd may differ",
                                       old->version, new->version);
        if (old->part[UKI_INITRD].data) {
                if ((r = hash_initrd(old, p->bank, before, err)) < 0 ||
                    (r = hash_initrd(new, p->bank, after, err)) < 0)
                        return r;
                r = predict_initrd(&next, before, after, why);
        }
        if (r == PREDICT_OK)
                r = change_uki_cmdline(&next, old, new, why, err);
        if (r == PREDICT_OK)
                *p = next;
        return r;
}

/* In either form. Return: PREDICT_OK; PREDICT_UNKNOWN; or -EIO. */
static int proves_cmdline(const struct prediction *p, const struct uki *uki,
                          struct predict_reason *why, struct error *err) {
        char text[PREDICT_CMDLINE_MAX + 1];
        struct options options;
        int r = PREDICT_UNKNOWN;

        if (!read_cmdline(uki, text) || !make_options(text, &options))
                return predict_unknown(why, "the UKI's command line isn't plain text");
        for (size_t less = 0; r == PREDICT_UNKNOWN && less <= 2; less += 2) {
                struct forms f;

                r = make_forms(p->bank, &options, &options, less, &f, err);
                if (r == 0)
                        r = tags_are(p, EVENT_TAG_LOAD_OPTIONS, f.old, "command line", why);
        }
        return r;
}

int predict_same_parts(const struct prediction *p, const struct uki *uki,
                       struct predict_reason *why, struct error *err) {
        uint8_t initrd[PCR_SIZE_MAX];
        int r;

        if (!(p->mask & (1u << 9)))
                return PREDICT_OK;
        if (!uki->part[UKI_INITRD].data)
                return predict_unknown(why, "the UKI has no initrd");
        r = hash_initrd(uki, p->bank, initrd, err);
        if (r == 0)
                r = tags_are(p, EVENT_TAG_INITRD, initrd, "initrd", why);
        return r == PREDICT_OK ? proves_cmdline(p, uki, why, err) : r;
}
