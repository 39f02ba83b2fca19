/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/refusal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/hex.h"

static const struct {
        const char *id, *advice;
} kinds[REFUSAL_KINDS] = {
        [REFUSAL_NONE] = { "none", "" },
        [REFUSAL_PCR_MISMATCH] = { "pcr-mismatch",
                                   "If you changed this machine, undo the change, or open the disk "
                                   "with another of its keys. If you did not: don't." },
        [REFUSAL_OTHER_TPM] = { "other-tpm",
                                "Open it on the machine it was sealed on; or, if that is gone, "
                                "diskseal enroll seals it anew with a key of its owner." },
        [REFUSAL_TPM_LOCKOUT] = { "tpm-lockout", "Wait until the TPM's lockout ends (tpm2_getcap "
                                                 "properties-variable), then run this again." },
        [REFUSAL_OBJECT_DAMAGED] = { "object-damaged",
                                     "Open the disk with another of its keys (cryptsetup open); "
                                     "diskseal(8) says how to adopt it anew." },
        [REFUSAL_UNPROVEN] = { "not-made-here",
                               "If you moved the disk or restored it from elsewhere: diskseal "
                               "enroll, with a recovery passphrase or an escrow key. If you did "
                               "not: don't open it." },
        [REFUSAL_UNMEASURED] = { "unmeasured",
                                 "Choose PCRs that the firmware fills (--pcrs), or boot with "
                                 "measurements on." },
        [REFUSAL_TOKEN_DAMAGED] = { "token-damaged",
                                    "Open the disk with another of its keys (cryptsetup open); "
                                    "diskseal(8) says how to adopt it anew." },
        [REFUSAL_NO_TOKEN] = { "no-token", "diskseal adopt takes an existing LUKS2 disk over." },
        [REFUSAL_NOT_LUKS] = { "not-luks",
                               "Check the device's name. diskseal never formats by itself." },
        [REFUSAL_HEADER] = { "header-refused",
                             "If you did not change the header, somebody else did: don't open it. "
                             "Keep a copy of the disk." },
        [REFUSAL_PIN] = { "pin-mismatch",
                          "If you did not change the header, somebody else did: don't open it. "
                          "Keep a copy of the disk." },
        [REFUSAL_CHANGED] = { "header-changed", "Run this again when nothing else writes to it." },
        [REFUSAL_WRONG_KEY] = { "wrong-key", "Check the key file; then run this again." },
        [REFUSAL_NO_ROOM] = { "no-room",
                              "Remove a keyslot or a token that is no longer needed (cryptsetup "
                              "luksDump shows them); then run this again." },
        [REFUSAL_LAST_KEY] = { "last-key",
                               "diskseal recovery add makes another key; recovery verify, or "
                               "--key-file, proves one that there is." },
        [REFUSAL_SIGNATURE] = { "signature-found", "If it isn't needed, diskseal format "
                                                   "--wipe-signature removes it." },
        [REFUSAL_ENROLLED] = { "already-enrolled", "diskseal status shows it." },
        [REFUSAL_NAME_TAKEN] = { "name-taken", "Choose another --name." },
        [REFUSAL_UNKNOWN_DISK] = { "unknown-disk", "Give the device's path, or see diskseal "
                                                   "status." },
        [REFUSAL_UNCONFIRMED] = { "unconfirmed", "Run it on a terminal, or with --yes." },
        [REFUSAL_POLICY_DIFFERS] = { "policy-differs",
                                     "Leave --policy and --pcrs out, or name another --kek for "
                                     "this "
                                     "disk. diskseal policy reseal gives a KEK another policy." },
        [REFUSAL_POLICY] = { "other-policy",
                             "If this machine's record of its KEKs was lost, diskseal adopt with "
                             "--policy or --pcrs states the policy that you chose. If it was not: "
                             "don't open it." },
        [REFUSAL_OTHER_DISK] = { "other-disk", "If you moved disks, diskseal status shows where "
                                               "each is recorded. "
                                               "If you did not: don't open it." },
        [REFUSAL_CLONE] = { "clone", "Prove it with --test, or detach one of the two." },
        [REFUSAL_NO_SLOT] = { "no-slot", "diskseal status shows the keyslots." },
        [REFUSAL_WHICH_SLOT] = { "which-slot", "Name one with --slot." },
        [REFUSAL_NO_ESCROW] = { "no-escrow", "diskseal escrow add makes one." },
        [REFUSAL_ESCROW_KEY] = { "escrow-key",
                                 "diskseal escrow list names the certificates that it was made "
                                 "for." },
        [REFUSAL_ESCROW_DAMAGED] = { "escrow-damaged",
                                     "Open the disk another way, then diskseal escrow add makes a "
                                     "new one." },
        [REFUSAL_NO_CERTIFICATE] = { "no-certificate", "Name one with --cert." },
        [REFUSAL_CERTIFICATE_EXPIRED] = { "certificate-expired",
                                          "Use one that is valid now, and check this machine's "
                                          "clock." },
        [REFUSAL_NOT_OPEN] = { "not-open",
                               "Give --recovery-key-file or --key, or run this where it's open." },
        [REFUSAL_NO_POLICY] = { "no-policy", "diskseal policy show lists those that there are, and "
                                             "what each KEK has." },
        [REFUSAL_UNSIGNED] = { "not-signed",
                               "Sign this state (diskseal policy sign), put the signature where "
                               "the policy looks for it, or undo what changed." },
        [REFUSAL_LATCHED] = { "latched",
                              "It's opened once at a boot: reboot. Or open it with another of its "
                              "keys." },
        [REFUSAL_RETIRED] = { "version-retired",
                              "This header is older than the last rotation: put the newer one "
                              "back. If you didn't put it there, somebody else did." },
        [REFUSAL_COUNTER] = { "counter-gone",
                              "Open the disk with another of its keys; diskseal enroll makes a new "
                              "version with a new counter." },
        [REFUSAL_WRONG_PIN] = { "wrong-pin", "Wrong ones count, and with some more the TPM locks "
                                             "itself for a while." },
        [REFUSAL_EVENT_LOG] = { "event-log",
                                "Nothing was sealed anew. Reboot into what is installed, open the "
                                "disks with another of their keys, then diskseal policy reseal." },
        [REFUSAL_NOT_OS] = { "not-os",
                             "Leave --boot out. It goes with the last disk that a boot opens "
                             "before the system starts." },
        [REFUSAL_ARCHIVE] = { "archive-damaged",
                              "Disks that are up to date open without it. Put the file back from "
                              "a backup or its mirror; or move it aside, and what only it opens "
                              "needs a key of its owner." },
        [REFUSAL_NEEDED] = { "version-needed",
                             "Attach the disk and rotate, or give it another key (diskseal "
                             "recovery add); --force forgets all the same." },
        [REFUSAL_NO_VERSION] = { "no-version", "diskseal kek show lists those that there are." },
        [REFUSAL_LOG] = { "log-changed",
                          "Keep both audit.jsonl and audit.head, and find out who changed them; "
                          "moved away, a new log begins." },
        [REFUSAL_DEPTH] = { "depth-volume",
                            "Rotate at depth slot, and copy what matters to a new disk "
                            "(diskseal format) where an old header was seen by "
                            "somebody who also has an old KEK." },
        [REFUSAL_STATES] = { "too-many-states",
                             "diskseal policy reseal begins the list anew with the state of now; "
                             "then predict what is really to be booted." },
        [REFUSAL_NO_KEY] = { "no-key", "Give what opens the disk now with --key-file." },
        [REFUSAL_SECOND_FACTOR] = { "second-factor",
                                    "See to what is missing, then run this again; or open the disk "
                                    "with another of its keys (diskseal unlock --recovery)." },
        [REFUSAL_EK] = { "ek-untrusted",
                         "If this machine's TPM should have such a certificate, somebody may stand "
                         "between it and you: don't enroll disks here." },
};

int refusal_set(struct refusal *r, enum refusal_kind kind, const char *fmt, ...) {
        va_list ap;

        *r = (struct refusal){ .kind = kind };
        va_start(ap, fmt);
        (void) vsnprintf(r->what, sizeof(r->what), fmt, ap);
        va_end(ap);
        return OUTCOME_REFUSED;
}

void refusal_detail(struct refusal *r, const char *fmt, ...) {
        va_list ap;

        if (r->details == REFUSAL_DETAILS_MAX)
                return;
        va_start(ap, fmt);
        (void) vsnprintf(r->detail[r->details++], sizeof(r->detail[0]), fmt, ap);
        va_end(ap);
}

const char *refusal_id(enum refusal_kind kind) {
        return kinds[kind].id;
}

const char *refusal_advice(enum refusal_kind kind) {
        return kinds[kind].advice;
}

/* What a PCR stands for (TCG PC Client Platform Firmware Profile; UAPI.7 for the upper ones). */
static const char *pcr_words(unsigned n) {
        static const char *const words[PCR_COUNT] = {
                [0] = "firmware code",
                [1] = "firmware settings",
                [2] = "option ROMs",
                [3] = "option ROM settings",
                [4] = "boot loader and kernel image",
                [5] = "boot loader settings, partition table",
                [6] = "vendor",
                [7] = "Secure Boot",
                [8] = "boot loader's commands",
                [9] = "what the boot loader read",
                [10] = "IMA",
                [11] = "unified kernel image",
                [12] = "kernel command line",
                [13] = "system extensions",
                [14] = "shim's MOK",
                [15] = "system identity",
                [16] = "debug",
                [23] = "application support",
        };

        return words[n] ? words[n] : "locality-bound";
}

static void detail_value(struct refusal *r, const char *label, const uint8_t *value) {
        char hex[13];

        hex_encode(value, 6, hex);
        refusal_detail(r, "%-8s %s…", label, hex);
}

/* The latch is shut, and by whom can't be told. */
static int refuse_latched(struct refusal *r, const char *subject) {
        refusal_set(r, REFUSAL_LATCHED,
                    "%s stays locked: PCR 15 is not zero, so this boot has unsealed already",
                    subject);
        refusal_detail(r, "or something else measured into PCR 15 before us (tpm2-measure-pcr=)");
        return OUTCOME_REFUSED;
}

static int refuse_pcrs(struct refusal *r, const char *subject, const struct kek *kek,
                       const struct tpm_refusal *why) {
        unsigned first = why->pcrs ? (unsigned) __builtin_ctz(why->pcrs) : 0;
        char list[PCR_TEXT_MAX];

        pcr_mask_format(why->pcrs, list);
        if (why->pcrs & (why->pcrs - 1))
                refusal_set(r, REFUSAL_PCR_MISMATCH,
                            "%s stays locked: PCRs %s are not what the policy expects", subject,
                            list);
        else
                refusal_set(r, REFUSAL_PCR_MISMATCH,
                            "%s stays locked: PCR %s (%s) is not what the policy expects", subject,
                            list, pcr_words(first));
        for (unsigned n = 0; n < PCR_COUNT; n++) {
                if (!(why->pcrs & (1u << n)))
                        continue;
                if (why->pcrs & (why->pcrs - 1))
                        refusal_detail(r, "PCR %u: %s", n, pcr_words(n));
                detail_value(r, "sealed", kek->sealed.pcrs.value[n]);
                detail_value(r, "now", why->now.value[n]);
        }
        return OUTCOME_REFUSED;
}

static int refuse_unsigned(struct refusal *r, const char *subject, const struct kek *kek,
                           const struct tpm_refusal *why) {
        char list[PCR_TEXT_MAX];

        if (why->text[0]) {
                refusal_set(r, REFUSAL_UNSIGNED,
                            "%s stays locked: the TPM can't check signatures by its policy's key",
                            subject);
                refusal_detail(r, "%s", why->text);
                return OUTCOME_REFUSED;
        }
        pcr_mask_format(kek->version ? kek->steps.step[0].pcr_mask : why->pcrs, list);
        if (kek->version)
                refusal_set(r, REFUSAL_UNSIGNED,
                            "%s stays locked: no signature at hand is for PCR %s as it is", subject,
                            list);
        else
                refusal_set(r, REFUSAL_UNSIGNED,
                            "KEK %s: no signature at hand is for PCR %s as it is", subject, list);
        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (why->pcrs & (1u << n))
                        detail_value(r, "now", why->now.value[n]);
        return OUTCOME_REFUSED;
}

static int refuse_beyond_pcrs(struct refusal *r, const char *subject, const struct kek *kek,
                              const struct kek_refusal *why) {
        const struct step *counter = kek_counter(kek);

        switch (why->verdict) {
        case TPM_UNSIGNED: return refuse_unsigned(r, subject, kek, &why->tpm);
        case TPM_RETIRED:
                refusal_set(r, REFUSAL_RETIRED,
                            "%s stays locked: KEK %s v%u was retired, and the TPM unseals it no "
                            "more",
                            subject, kek->name, kek->version);
                if (counter)
                        refusal_detail(r,
                                       "its counter in the TPM is at %llu; this version lived "
                                       "up to %llu",
                                       (unsigned long long) why->tpm.counter,
                                       (unsigned long long) counter->nv.le);
                return OUTCOME_REFUSED;
        case TPM_NO_COUNTER:
                refusal_set(r, REFUSAL_COUNTER,
                            "%s stays locked: the TPM's counter for KEK %s v%u is not as it was",
                            subject, kek->name, kek->version);
                refusal_detail(r, "%s", why->tpm.text);
                return OUTCOME_REFUSED;
        default:
                return refusal_set(r, REFUSAL_WRONG_PIN,
                                   "%s stays locked: the PIN of KEK %s v%u isn't this one", subject,
                                   kek->name, kek->version);
        }
}

int refuse_kek(struct refusal *r, const char *subject, const struct kek *kek, int verdict,
               const struct kek_refusal *why) {
        char list[PCR_TEXT_MAX];

        if (verdict == KEK_WRONG_FACTOR)
                return refusal_set(
                        r, REFUSAL_SECOND_FACTOR,
                        "%s stays locked: the second factor of KEK %s v%u isn't this one", subject,
                        kek->name, kek->version);
        if (verdict == KEK_FULL)
                return refusal_set(r, REFUSAL_STATES,
                                   "KEK %s: a version opens in %d states at most, with the one of "
                                   "now, and this would be more; nothing was sealed anew",
                                   subject, STEP_OR_MAX);
        if (verdict == KEK_INCONSISTENT)
                return refusal_set(
                        r, REFUSAL_TOKEN_DAMAGED,
                        "%s stays locked: KEK %s v%u was not sealed to the policy that its "
                        "token states",
                        subject, kek->name, kek->version);
        switch (why->verdict) {
        case TPM_PCR_MISMATCH:
                if (why->tpm.pcrs == 1u << PCR_LATCH)
                        return refuse_latched(r, subject);
                return refuse_pcrs(r, subject, kek, &why->tpm);
        case TPM_UNSIGNED:
        case TPM_RETIRED:
        case TPM_NO_COUNTER:
        case TPM_WRONG_AUTH: return refuse_beyond_pcrs(r, subject, kek, why);
        case TPM_OTHER:
                return refusal_set(
                        r, REFUSAL_OTHER_TPM,
                        "%s stays locked: KEK %s v%u was sealed by another TPM, or by this one "
                        "before it was cleared",
                        subject, kek->name, kek->version);
        case TPM_UNPROVEN:
                refusal_set(r, REFUSAL_UNPROVEN,
                            "%s stays locked: nothing shows that this TPM sealed KEK %s v%u in the "
                            "state that its policy demands",
                            subject, kek->name, kek->version);
                refusal_detail(r, "%s", why->tpm.text);
                return OUTCOME_REFUSED;
        case TPM_LOCKED_OUT:
                return refusal_set(r, REFUSAL_TPM_LOCKOUT,
                                   "%s stays locked: the TPM is in dictionary attack lockout",
                                   subject);
        case TPM_UNMEASURED:
                pcr_mask_format(why->tpm.pcrs, list);
                return refusal_set(
                        r, REFUSAL_UNMEASURED,
                        "%s: PCR %s is all 00 or all FF: nothing was measured into it, so it "
                        "would protect nothing",
                        subject, list);
        default:
                return refusal_set(
                        r, REFUSAL_OBJECT_DAMAGED,
                        "%s stays locked: the TPM doesn't take the sealed object of KEK %s v%u",
                        subject, kek->name, kek->version);
        }
}

int refuse_other(struct refusal *r, const char *subject, const struct other_token *o, int verdict,
                 const struct tpm_refusal *why) {
        char list[PCR_TEXT_MAX];

        switch (verdict) {
        case TPM_PCR_MISMATCH:
                pcr_mask_format(why->pcrs, list);
                if (why->pcrs & (why->pcrs - 1))
                        refusal_set(r, REFUSAL_PCR_MISMATCH,
                                    "%s: one of the PCRs %s is not what its %s token was sealed to",
                                    subject, list, o->type);
                else
                        refusal_set(r, REFUSAL_PCR_MISMATCH,
                                    "%s: PCR %s (%s) is not what its %s token was sealed to",
                                    subject, list, pcr_words((unsigned) __builtin_ctz(why->pcrs)),
                                    o->type);
                if (o->object.bank == FOREIGN_SHA1)
                        refusal_detail(r, "in the SHA-1 bank, which a firmware may leave empty");
                return OUTCOME_REFUSED;
        case TPM_OTHER:
                return refusal_set(r, REFUSAL_OTHER_TPM,
                                   "%s: its %s token was sealed by another TPM than this one",
                                   subject, o->type);
        case TPM_LOCKED_OUT:
                return refusal_set(r, REFUSAL_TPM_LOCKOUT,
                                   "%s: the TPM is in dictionary attack lockout", subject);
        default:
                return refusal_set(r, REFUSAL_OBJECT_DAMAGED,
                                   "%s: this TPM doesn't take its %s token: sealed by another TPM, "
                                   "or altered",
                                   subject, o->type);
        }
}

int refuse_luks(struct refusal *r, const char *subject, int verdict,
                const struct luks_reason *why) {
        switch (verdict) {
        case LUKS_NONE:
                return refusal_set(r, REFUSAL_NOT_LUKS, "%s isn't a LUKS2 disk: %.180s", subject,
                                   why->text);
        case LUKS_WRONG_KEY:
                return refusal_set(r, REFUSAL_WRONG_KEY, "%s: this key opens none of its keyslots",
                                   subject);
        case LUKS_NO_ROOM:
                return refusal_set(r, REFUSAL_NO_ROOM, "%s: nothing was written: %.180s", subject,
                                   why->text);
        case LUKS_CHANGED:
                return refusal_set(r, REFUSAL_CHANGED,
                                   "%s: its header was changed while it was being checked",
                                   subject);
        default: break;
        }
        refusal_set(r, REFUSAL_HEADER, "%s: its LUKS2 header is refused by rule %s", subject,
                    why->rule);
        if (__builtin_strcmp(why->rule, "pin") == 0)
                r->kind = REFUSAL_PIN;
        refusal_detail(r, "%s", why->text);
        return OUTCOME_REFUSED;
}
