/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/boot-record.h"
#include "agent/disk.h"
#include "agent/ek.h"
#include "agent/op-archive.h"
#include "agent/op.h"
#include "base/secret.h"
#include "policy/policy.h"

static struct op_finding *finding(struct op_doctor *d, enum op_level level, const char *what,
                                  const char *advice) {
        struct op_finding *f;

        if (d->count == OP_FINDINGS_MAX)
                return &d->finding[d->count - 1];
        f = &d->finding[d->count++];
        *f = (struct op_finding){ .level = level };
        (void) snprintf(f->what, sizeof(f->what), "%s", what);
        (void) snprintf(f->advice, sizeof(f->advice), "%s", advice);
        return f;
}

static _printf_(2, 3) void found(struct op_finding *f, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(f->found, sizeof(f->found), fmt, ap);
        va_end(ap);
}

static void list_banks(const struct tpm_info *t, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (unsigned i = 0; i < TPM_BANKS && used < size; i++)
                if (t->banks & (1u << i))
                        used += (size_t) snprintf(ret + used, size - used, "%s%s", used ? " " : "",
                                                  tpm_bank_name(i));
}

static void check_bank(struct op_doctor *d, const struct context *c, const struct tpm_info *t) {
        char list[120];
        struct pcrs pcrs = { 0 };
        struct error err = { 0 };

        list_banks(t, list, sizeof(list));
        if (tpm_pcr_read(c->tpm, PCR_SHA256, PCRS_DEFAULT, &pcrs, &err) < 0)
                found(finding(d, OP_BAD, "PCR bank SHA-256",
                              "Allocate it: tpm2_pcrallocate sha256:all, then reboot."),
                      "%s", err.text);
        else if (policy_unmeasured(&pcrs))
                found(finding(d, OP_WARN, "PCR 7 (Secure Boot)",
                              "Boot with measurements on, or choose other PCRs with --pcrs."),
                      "all 00 or all FF: nothing was measured");
        else
                found(finding(d, OP_GOOD, "PCR bank SHA-256", ""),
                      "there, PCR 7 is measured; banks: %s", list);
}

/* What the TPM lets nobody do. */
static void check_hierarchies(struct op_doctor *d, const struct tpm_info *t) {
        if (!t->owner_enabled)
                found(finding(d, OP_BAD, "owner hierarchy",
                              "Reset the machine; if it stays so, look into the firmware."),
                      "disabled since the last start: nothing can be sealed or unsealed");
        else if (t->owner_auth && !t->srk_persistent)
                found(finding(d, OP_BAD, "owner hierarchy",
                              "Make a storage key persistent (tpm2_evictcontrol), or clear it."),
                      "it has a password, so no storage key can be made");
        else
                found(finding(d, OP_GOOD, "owner hierarchy", ""), "%s",
                      t->owner_auth ? "enabled, with a password" : "enabled");
}

static void check_lockout(struct op_doctor *d, const struct tpm_info *t) {
        const struct tpm_lockout *l = &t->guessing;
        const char *who = t->lockout_auth ? "" : "; no password ends it early, so anybody can";

        if (t->lockout)
                found(finding(d, OP_BAD, "TPM lockout",
                              "Wait, or end it: tpm2_dictionarylockout --clear-lockout."),
                      "dictionary attack protection is active: %u of %u failures, one is forgotten "
                      "every %u s",
                      l->counter, l->max_tries, l->interval);
        else
                found(finding(d, OP_GOOD, "TPM lockout", ""),
                      "%u of %u failures, one is forgotten every %u s%s", l->counter, l->max_tries,
                      l->interval, who);
}

static void list_certificates(const struct tpm_info *t, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (unsigned kind = 0; kind < EK_KINDS && used < size; kind++)
                if (t->ek_certificates & (1u << kind))
                        used += (size_t) snprintf(ret + used, size - used, "%s%s", used ? ", " : "",
                                                  tpm_ek_name(kind));
}

/* As an enrolment would: for the storage key that it would use. */
static void check_ek(struct op_doctor *d, struct context *c, const struct tpm_info *t) {
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct ek_proof proof = { 0 };
        struct tpm_bytes srk;
        char list[120];
        int r;

        if (!c->ek_roots[0]) {
                list_certificates(t, list, sizeof(list));
                found(finding(d, OP_GOOD, "endorsement key",
                              list[0] ? "EKRoots= in agent.conf has it checked." : ""),
                      "%s%s", list[0] ? "certified, not checked: " : "no certificate", list);
                return;
        }
        r = tpm_srk_name(c->tpm, &srk, &err);
        if (r == 0)
                r = ek_check(c, "it", &srk, &proof, &why, &err);
        if (r < 0)
                found(finding(d, OP_BAD, "endorsement key",
                              "Nothing is enrolled until it's mended."),
                      "%s", err.text);
        else if (r != OUTCOME_DONE)
                found(finding(d, OP_BAD, "endorsement key",
                              "See diskseal(8), REFUSALS, ek-untrusted."),
                      "%s", why.details ? why.detail[0] : why.what);
        else
                found(finding(d, OP_GOOD, "endorsement key", ""),
                      "%s: its certificate is trusted%s%s, and the storage key is in the same TPM",
                      tpm_ek_name(proof.kind), proof.maker[0] ? ", by its maker " : "",
                      proof.maker);
}

/* A VM that isn't confidential has a host that reads its memory, whatever carries the TPM. */
static void check_place(struct op_doctor *d, const struct context *c, const struct tpm_info *t) {
        char text[TEE_TEXT];
        enum tee_place place;
        bool confidential = op_tpm_place(c, t, &place, text);
        bool misplaced = confidential && place == TEE_HOST;

        found(finding(d, misplaced ? OP_WARN : OP_GOOD, "TPM's place",
                      misplaced ? "Such a host can unseal, too. Use a vTPM in the TEE (SVSM)."
                                : ""),
              "%s", text);
}

static void check_tpm(struct op_doctor *d, struct context *c) {
        struct tpm_info info = { 0 };
        struct error err = { 0 };
        int r = context_tpm(c, &err);

        if (r == 0)
                r = tpm_info(c->tpm, &info, &err);
        if (r < 0) {
                found(finding(d, OP_BAD, "TPM", "Give the VM a vTPM, or name the TPM with --tcti."),
                      "%s", err.text);
                return;
        }
        found(finding(d, OP_GOOD, "TPM", ""), "%s %s, firmware %08x.%08x", info.manufacturer,
              info.vendor, info.firmware[0], info.firmware[1]);
        check_place(d, c, &info);
        check_lockout(d, &info);
        check_hierarchies(d, &info);
        found(finding(d, OP_GOOD, "storage key", ""), "%s",
              info.srk_persistent ? "persistent, 0x81000001"
                                  : "not persistent; made anew for each use");
        check_bank(d, c, &info);
        check_ek(d, c, &info);
}

static void check_kernel(struct op_doctor *d) {
        if (luks_have_dm())
                found(finding(d, OP_GOOD, "device-mapper", ""), "there");
        else
                found(finding(d, OP_WARN, "device-mapper",
                              "modprobe dm-crypt; without it disks can be proven, not opened."),
                      "not in this kernel");
}

static void check_memory(struct op_doctor *d) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        struct rlimit limit = { 0 };
        int r = secret_new(64 * 1024, &s);

        (void) getrlimit(RLIMIT_MEMLOCK, &limit);
        if (r < 0)
                found(finding(d, OP_BAD, "locked memory", "Raise it: ulimit -l, LimitMEMLOCK=."),
                      "64 KiB can't be locked: %s", strerror(-r));
        else
                found(finding(d, OP_GOOD, "locked memory", ""), "enough");
}

static void check_state_dir(struct op_doctor *d, const struct context *c) {
        struct stat st;

        if (stat(c->state_dir, &st) < 0)
                found(finding(d, errno == ENOENT ? OP_WARN : OP_BAD, "state folder",
                              "The first format or adopt makes it."),
                      "%s: %s", c->state_dir, strerror(errno));
        else if (st.st_mode & (S_IWGRP | S_IWOTH))
                found(finding(d, OP_BAD, "state folder", "chmod 700 it."),
                      "%s can be written by others", c->state_dir);
        else if (access(c->state_dir, W_OK) < 0)
                found(finding(d, OP_WARN, "state folder", "Run diskseal as its owner."),
                      "%s can't be written", c->state_dir);
        else
                found(finding(d, OP_GOOD, "state folder", ""), "%s", c->state_dir);
}

/* What the initrd noted. */
static void check_boot(struct op_doctor *d, const struct context *c) {
        struct boot_record b = { 0 };
        struct error err = { 0 };
        int r = boot_record_read(c, &b, &err);

        if (r < 0)
                found(finding(d, OP_WARN, "boot", "It's a note, and made anew at the next boot."),
                      "%s", err.text);
        else if (r > 0 && b.end == BOOT_OPENED)
                found(finding(d, OP_GOOD, "boot", ""), "%s was opened by KEK %s v%u in %llu ms",
                      b.disk, b.kek, b.version, (unsigned long long) b.ms);
        else if (r > 0 && b.end == BOOT_RECOVERED)
                found(finding(d, OP_WARN, "boot",
                              "If you know why: diskseal policy reseal --recovery-key-file=FILE."),
                      "opened by the owner: %s", b.why);
}

static void check_disk(struct op_doctor *d, const struct op_status_disk *k) {
        char what[64];

        (void) snprintf(what, sizeof(what), "disk %s", k->known.name);
        if (k->state == DISK_ABSENT)
                found(finding(d, OP_WARN, what, "Attach it; it catches up at the next rotate."),
                      "%s isn't there", k->known.device);
        else if (k->state == DISK_REFUSED)
                found(finding(d, OP_BAD, what, "See diskseal(8), REFUSALS."), "%s", k->reason);
        else if (strcmp(k->header, "degraded") == 0)
                found(finding(d, OP_WARN, what, "The next rotate repairs it."), "%s", k->reason);
        else if (k->staged)
                found(finding(d, OP_WARN, what,
                              "The next boot ends it, or diskseal rotate --complete."),
                      "v%u is staged beside v%u", k->staged, k->version);
        else if (!op_has_other_way(k))
                found(finding(d, OP_WARN, what, "diskseal recovery add makes one."),
                      "no other keyslot: if this TPM is lost, so is the disk");
        else
                found(finding(d, OP_GOOD, what, ""), "header %s", k->header);
}

static void check_kek(struct op_doctor *d, const struct kek_record *k,
                      const struct op_counter *counter) {
        const char *trouble = op_counter_trouble(counter->state);
        char what[64];

        if (!trouble)
                return;
        (void) snprintf(what, sizeof(what), "KEK %s", k->name);
        found(finding(d, OP_BAD, what,
                      "diskseal enroll, with a key of the owner, makes a new one."),
              "%s", trouble);
}

static int check_archives(struct op_doctor *d, struct context *c, struct op_status *s,
                          struct error *err) {
        _cleanup_(freep) struct op_archive_findings *f = calloc(1, sizeof(*f));
        char what[64];
        int r;

        if (!f)
                return error_nomem(err);
        r = op_archive_look(c, s, true, f, err);
        for (size_t i = 0; r == OUTCOME_DONE && i < f->count; i++) {
                (void) snprintf(what, sizeof(what), "KEK %s", f->finding[i].kek);
                found(finding(d, f->finding[i].level, what, f->finding[i].advice), "%s",
                      f->finding[i].found);
        }
        return r;
}

int op_doctor(struct context *c, struct op_doctor *ret, struct error *err) {
        _cleanup_(op_status_done) struct op_status s = { 0 };
        struct refusal ignored = { 0 };
        int r;

        check_tpm(ret, c);
        context_release_tpm(c);
        check_kernel(ret);
        check_memory(ret);
        check_state_dir(ret, c);
        check_boot(ret, c);
        r = op_status(c, NULL, &s, &ignored, err);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                found(finding(ret, OP_BAD, "state",
                              "Move the file aside: disks open without it, by their device."),
                      "%s", err->text);
        for (size_t i = 0; s.counter && i < s.keks; i++)
                check_kek(ret, &s.kek[i], &s.counter[i]);
        for (size_t i = 0; i < s.disks; i++)
                check_disk(ret, &s.disk[i]);
        return r == OUTCOME_DONE ? check_archives(ret, c, &s, err) : OUTCOME_DONE;
}
