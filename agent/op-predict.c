/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"
#include "agent/op.h"
#include "base/file.h"
#include "base/hex.h"
#include "policy/event.h"
#include "policy/predict.h"
#include "policy/uki.h"

#define INITRD_MAX (1u << 30)
#define VARIABLE_MAX (256 * 1024)

/* Firmware and boot loaders measure into these; what the system extends later is in no log. */
#define LOGGED_PCRS 0x3ffu
#define PCR_UKI 11

struct work {
        struct context *c;
        const struct op_next_boot *next;
        struct event_log log;
        struct prediction p;
        struct refusal *why;
        struct error *err;
};

static void work_done(struct work *w) {
        event_log_done(&w->log);
}

static int unknown(struct work *w, const struct predict_reason *reason) {
        refusal_set(w->why, REFUSAL_EVENT_LOG, "what the next boot measures can't be told");
        refusal_detail(w->why, "%s", reason->text);
        return OUTCOME_REFUSED;
}

/* The log is this boot's: it replays to what the TPM has. */
static int check_log(struct work *w, enum pcr_bank bank, uint32_t mask) {
        struct eventlog_finding finding;
        struct pcrs now;
        int r = context_tpm(w->c, w->err);

        if (r < 0 || (r = tpm_pcr_read(w->c->tpm, bank, mask, &now, w->err)) < 0)
                return r;
        r = eventlog_check(&w->log.log, mask, &now, &finding, w->err);
        if (r <= 0)
                return r;
        refusal_set(w->why, REFUSAL_EVENT_LOG,
                    "the event log isn't what the TPM has: they part in PCR %u", finding.pcr);
        refusal_detail(w->why, "%s", finding.text);
        return OUTCOME_REFUSED;
}

static bool secure_boot(const struct eventlog *log) {
        for (struct event e = { 0 }; eventlog_next(log, &e);) {
                struct event_variable v;

                if (e.pcr == 7 && e.type == EV_EFI_VARIABLE_DRIVER_CONFIG &&
                    event_variable(&e, &v) && event_text_is(&v.name, "SecureBoot"))
                        return v.size == 1 && v.data[0] == 1;
        }
        return false;
}

static int read_image(const char *path, char **ret, struct pe *ret_pe, struct error *err) {
        size_t size;
        int r = file_read(path, PE_SIZE_MAX, ret, &size, err);

        if (r == 0)
                r = pe_parse(*ret, size, ret_pe, err);
        return r < 0 ? error_prefix(err, "%s", path) : 0;
}

/* Without a name for the phase, a boot in which nobody extends it: ours does, or systemd's. */
static int add_uki_pcr11(struct work *w, const struct uki *uki) {
        static const char *const phases[] = { "enter-initrd", NULL };
        uint8_t value[PCR_SIZE_MAX];
        int r = uki_pcr11(uki, w->p.bank, phases, value, w->err);

        if (r == 0 && (w->p.mask & (1u << PCR_UKI)))
                predict_value(&w->p, PCR_UKI, value);
        return r;
}

int op_uki_signatures(const char *path, char **ret, size_t *ret_size, struct error *err) {
        _cleanup_(freep) char *data = NULL;
        const struct uki_part *part;
        struct pe pe;
        struct uki uki;
        int r = read_image(path, &data, &pe, err);

        if (r < 0)
                return r;
        r = uki_parse(&pe, &uki, err);
        if (r < 0)
                return error_prefix(err, "%s", path);
        part = &uki.part[UKI_PCRSIG];
        *ret = strndup(part->data ? (const char *) part->data : "", part->size);
        if (!*ret)
                return error_nomem(err);
        *ret_size = strlen(*ret);
        return 0;
}

int op_uki_states(const char *path, enum pcr_bank bank, const char *const *phases, struct pcrs *ret,
                  struct error *err) {
        _cleanup_(freep) char *data = NULL;
        struct pe pe;
        struct uki uki;
        int r = read_image(path, &data, &pe, err);

        if (r < 0)
                return r;
        r = uki_parse(&pe, &uki, err);
        if (r < 0)
                return error_prefix(err, "%s", path);
        *ret = (struct pcrs){ .bank = bank, .mask = 1u << PCR_UKI };
        return uki_pcr11(&uki, bank, phases, ret->value[PCR_UKI], err);
}

/* A UKI, and the kernel in it. */
struct image {
        char *data;
        struct pe pe, kernel;
        struct uki uki;
        uint8_t digest[PCR_SIZE_MAX]; /* of all of it, as the firmware measures it */
};

static void image_done(struct image *i) {
        free(i->data);
}

static int read_uki(const struct work *w, const char *path, struct image *ret) {
        int r = read_image(path, &ret->data, &ret->pe, w->err);

        if (r < 0)
                return r;
        if ((r = uki_parse(&ret->pe, &ret->uki, w->err)) < 0 ||
            (r = uki_kernel(&ret->uki, &ret->kernel, w->err)) < 0 ||
            (r = pe_authenticode(&ret->pe, w->p.bank, ret->digest, w->err)) < 0)
                return error_prefix(w->err, "%s", path);
        return 0;
}

/* PCR 9 has the command line and the initrd, which the stub takes from the UKI. */
static int add_parts(struct work *w, const struct uki *uki) {
        _cleanup_(image_done) struct image old = { 0 };
        struct predict_reason reason;
        int r;

        if (!w->next->booted) {
                r = predict_same_parts(&w->p, uki, &reason, w->err);
                if (r != PREDICT_UNKNOWN)
                        return r;
                (void) unknown(w, &reason);
                refusal_detail(w->why, "PCR 9: say which UKI was booted: --booted");
                return OUTCOME_REFUSED;
        }
        if ((r = read_uki(w, w->next->booted, &old)) < 0)
                return r;
        if (!predict_booted(&w->p, old.digest)) {
                (void) snprintf(reason.text, sizeof(reason.text), "%.200s isn't what was booted",
                                w->next->booted);
                return unknown(w, &reason);
        }
        r = predict_uki_parts(&w->p, &old.uki, uki, &reason, w->err);
        return r == PREDICT_UNKNOWN ? unknown(w, &reason) : r;
}

static int add_uki(struct work *w) {
        _cleanup_(image_done) struct image next = { 0 };
        uint8_t inner[PCR_SIZE_MAX];
        struct predict_reason reason;
        bool measured;
        int r;

        if ((r = read_uki(w, w->next->uki, &next)) < 0)
                return r;
        measured = uki_kernel_measured(&next.uki, &next.kernel, secure_boot(&w->log.log));
        if ((r = pe_authenticode(&next.kernel, w->p.bank, inner, w->err)) < 0 ||
            (r = add_uki_pcr11(w, &next.uki)) < 0)
                return r;
        r = predict_uki(&w->p, next.digest, measured ? inner : NULL, &reason);
        return r == PREDICT_OK ? add_parts(w, &next.uki) : unknown(w, &reason);
}

static int add_kernel(struct work *w) {
        _cleanup_(freep) char *data = NULL;
        uint8_t digest[PCR_SIZE_MAX];
        struct predict_reason reason;
        struct pe pe;
        int r;

        if ((r = read_image(w->next->kernel, &data, &pe, w->err)) < 0 ||
            (r = pe_authenticode(&pe, w->p.bank, digest, w->err)) < 0)
                return r;
        r = predict_uki(&w->p, digest, NULL, &reason);
        return r == PREDICT_OK ? OUTCOME_DONE : unknown(w, &reason);
}

static int add_cmdline(struct work *w) {
        _cleanup_(freep) char *old = NULL;
        struct predict_reason reason;
        size_t size;
        int r = file_read("/proc/cmdline", PREDICT_CMDLINE_MAX, &old, &size, w->err);

        if (r < 0)
                return r;
        old[strcspn(old, "\n")] = '\0';
        r = predict_cmdline(&w->p, old, w->next->cmdline, &reason, w->err);
        return r == PREDICT_UNKNOWN ? unknown(w, &reason) : r;
}

static int digest_of(const struct work *w, const char *path, uint8_t ret[PCR_SIZE_MAX]) {
        _cleanup_(freep) char *data = NULL;
        size_t size;
        int r = file_read(path, INITRD_MAX, &data, &size, w->err);

        return r < 0 ? r : crypto_hash(w->p.bank, &(struct chunk){ data, size }, 1, ret, w->err);
}

static int add_initrd(struct work *w) {
        uint8_t old[PCR_SIZE_MAX], new[PCR_SIZE_MAX];
        struct predict_reason reason;
        int r;

        if ((r = digest_of(w, w->next->booted, old)) < 0 ||
            (r = digest_of(w, w->next->initrd, new)) < 0)
                return r;
        r = predict_initrd(&w->p, old, new, &reason);
        return r == PREDICT_OK ? OUTCOME_DONE : unknown(w, &reason);
}

/* "8be4df61-93ca-11d2-aa0d-00e098032b8c": the first three groups are numbers, little-endian in
 * memory. */
static bool parse_guid(const char *text, uint8_t ret[EVENT_GUID_SIZE]) {
        static const uint8_t order[EVENT_GUID_SIZE] = { 3, 2, 1,  0,  5,  4,  7,  6,
                                                        8, 9, 10, 11, 12, 13, 14, 15 };
        uint8_t bytes[EVENT_GUID_SIZE];
        char hex[2 * EVENT_GUID_SIZE + 1];
        size_t n = 0;

        for (size_t i = 0; i < 36; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (text[i] == '\0' || (text[i] == '-') != dash)
                        return false;
                if (!dash)
                        hex[n++] = text[i];
        }
        hex[n] = '\0';
        if (!hex_decode(hex, bytes, sizeof(bytes)))
                return false;
        for (size_t i = 0; i < sizeof(bytes); i++)
                ret[order[i]] = bytes[i];
        return true;
}

static int add_variable(struct work *w) {
        const char *text = w->next->variable, *equals = strchr(text, '=');
        size_t name_size = equals ? (size_t) (equals - text) : 0, size;
        struct predict_variable v = { 0 };
        _cleanup_(freep) char *data = NULL;
        uint8_t guid[EVENT_GUID_SIZE];
        struct predict_reason reason;
        char name[64];
        int r;

        if (name_size < 38 || name_size - 37 >= sizeof(name) || text[name_size - 37] != '-' ||
            !parse_guid(text + name_size - 36, guid))
                return error_set(w->err, -EINVAL, "a variable is named as in db-GUID=FILE");
        memcpy(name, text, name_size - 37);
        name[name_size - 37] = '\0';
        r = file_read(equals + 1, VARIABLE_MAX, &data, &size, w->err);
        if (r < 0)
                return r;
        v = (struct predict_variable){ .guid = guid, .name = name, .data = data, .size = size };
        r = predict_variable(&w->p, &v, &reason, w->err);
        return r == PREDICT_UNKNOWN ? unknown(w, &reason) : r;
}

static int add_changes(struct work *w) {
        const struct op_next_boot *n = w->next;
        struct predict_reason reason;
        int r = OUTCOME_DONE;

        if ((n->uki || n->kernel || n->cmdline) &&
            predict_loader_files(&w->p, &reason) != PREDICT_OK)
                return unknown(w, &reason);
        if (n->uki)
                r = add_uki(w);
        if (r == OUTCOME_DONE && n->kernel)
                r = add_kernel(w);
        if (r == OUTCOME_DONE && n->cmdline)
                r = add_cmdline(w);
        if (r == OUTCOME_DONE && n->initrd)
                r = add_initrd(w);
        if (r == OUTCOME_DONE && n->variable)
                r = add_variable(w);
        return r;
}

/* What no log has and nothing said is as it is now. */
static int add_others(struct work *w, uint32_t mask) {
        uint32_t rest = mask & ~LOGGED_PCRS & ~w->p.given;
        struct pcrs now;
        int r;

        if (!rest)
                return 0;
        r = tpm_pcr_read(w->c->tpm, w->p.bank, rest, &now, w->err);
        for (unsigned n = 0; r == 0 && n < PCR_COUNT; n++)
                if (rest & (1u << n))
                        predict_value(&w->p, n, now.value[n]);
        return r;
}

int op_predict(struct context *c, const struct op_next_boot *next, struct pcrs *ret,
               struct refusal *why, struct error *err) {
        _cleanup_(work_done) struct work w = { .c = c, .next = next, .why = why, .err = err };
        const enum pcr_bank bank = ret->bank;
        const uint32_t mask = ret->mask;
        struct predict_reason reason;
        int r = machine_event_log(c, &w.log, err);

        if (r == -ENOENT) {
                *err = (struct error){ 0 };
                return refusal_set(why, REFUSAL_EVENT_LOG, "this machine has no event log");
        }
        if (r < 0 || (r = check_log(&w, bank, mask & LOGGED_PCRS)) != OUTCOME_DONE)
                return r;
        if (predict_start(&w.log.log, bank, mask, &w.p, &reason) != PREDICT_OK)
                return unknown(&w, &reason);
        r = add_changes(&w);
        if (r == OUTCOME_DONE)
                r = add_others(&w, mask);
        return r == OUTCOME_DONE ? predict_result(&w.p, ret, err) : r;
}
