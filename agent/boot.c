/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/boot.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"

/* Words that are measured, each by whoever reads the PCR to be known. */
#define PHASE "enter-initrd" /* systemd-pcrphase.service(8) */
#define SHUT "diskseal/1 latch shut"

#define PHASE_PCR 11

/* Where a UKI was booted, PCR 11 says so; elsewhere nobody measures phases. Once: this may be run
 * again in the same boot. */
static int measure_phase(struct context *c, struct error *err) {
        struct pcrs now = { 0 };
        char done[300];
        int r;

        (void) snprintf(done, sizeof(done), "%s/phase", c->run_dir);
        if (access(done, F_OK) == 0)
                return 0;
        if ((r = context_tpm(c, err)) < 0 ||
            (r = tpm_pcr_read(c->tpm, PCR_SHA256, 1u << PHASE_PCR, &now, err)) < 0)
                return r;
        if (policy_unmeasured(&now))
                return 0;
        /* First: twice measured opens nothing, and not at all neither. */
        if ((r = file_mkdir(c->run_dir, 0755, err)) < 0 ||
            (r = file_write(done, "", 0, 0600, err)) < 0)
                return r;
        r = tpm_measure(c->tpm, PHASE_PCR, PHASE, strlen(PHASE), err);
        context_release_tpm(c);
        return r;
}

/* Each attempt has a context of its own: what one unsealed isn't the other's. */
static int attempt(const struct context *c, const char *mirror, const struct owner_key *owner,
                   struct op_booted *ret, struct refusal *why, struct error *err) {
        struct context own = context_like(c);
        const struct op_unlock args = { .disk = { ret->device, NULL },
                                        .boot = true,
                                        .owner = owner };
        int r;

        if (mirror)
                (void) snprintf(own.mirror, sizeof(own.mirror), "%s", mirror);
        ret->disk = (struct op_unlocked){ 0 };
        *why = (struct refusal){ 0 };
        *err = (struct error){ 0 };
        r = op_unlock(&own, &args, &ret->disk, why, err);
        context_done(&own);
        return r;
}

/* An OS disk that was put back from its own snapshot has a version that the TPM doesn't unseal any
 * more. The mirror's file system, which the host may have made, is looked at for no other. */
static int by_tpm(struct context *c, struct op_booted *ret, struct refusal *why,
                  struct error *err) {
        char mirror[256];
        int r = attempt(c, NULL, NULL, ret, why, err);

        if (r != OUTCOME_REFUSED ||
            (why->kind != REFUSAL_RETIRED && why->kind != REFUSAL_COUNTER) ||
            boot_mount_mirror(c, mirror) == 0)
                return r;
        r = attempt(c, mirror, NULL, ret, why, err);
        boot_umount_mirror(c);
        return r;
}

static int by_owner(struct context *c, const struct op_boot *args, struct op_booted *ret,
                    struct refusal *why, struct error *err) {
        int r;

        do {
                _cleanup_(secret_freep) struct secret *passphrase = NULL;
                struct owner_key owner = { 0 };

                r = args->ask(args->ask_context, ret, &passphrase, err);
                if (r < 0)
                        return r;
                owner.passphrase = passphrase;
                r = attempt(c, NULL, &owner, ret, why, err);
                ret->recovered = r == OUTCOME_DONE;
        } while (r != OUTCOME_DONE && !ret->disk.must_stop);
        return r;
}

static int boot(struct context *c, const struct op_boot *args, struct op_booted *ret,
                struct refusal *why, struct error *err) {
        struct refusal last = { 0 };
        struct error none = { 0 };
        int r = boot_find_disk(c, args->disk, args->timeout, ret->device, why, err), e;

        if (r != OUTCOME_DONE)
                return r;
        boot_wait_tpm(c, args->timeout);
        r = args->phase ? measure_phase(c, err) : 0;
        context_release_tpm(c);
        /* Before anything is unsealed that would then lie about unlatched. */
        if (!luks_have_dm())
                return error_set(err, -ENODEV, "%s stays closed: this kernel has no device-mapper",
                                 ret->device);
        if (r == 0)
                r = by_tpm(c, ret, why, err);
        if (r == OUTCOME_DONE || ret->disk.must_stop)
                return r;
        ret->why = *why;
        ret->fault = *err;
        e = by_owner(c, args, ret, &last, &none);
        /* Nobody had a key: what counts is why the TPM had none. */
        if (e == -ENODATA)
                return r;
        *why = last;
        *err = none;
        return e;
}

int op_boot(struct context *c, const struct op_boot *args, struct op_booted *ret,
            struct refusal *why, struct error *err) {
        double begun = clock_seconds();
        int r;

        r = boot(c, args, ret, why, err);
        if (r != OUTCOME_DONE && !ret->why.kind && !ret->fault.errnum) {
                ret->why = *why;
                ret->fault = *err;
        }
        ret->seconds = clock_seconds() - begun;
        return r;
}

int op_boot_shut(struct context *c, struct error *err) {
        uint8_t value[SHA256_SIZE];
        int r;

        boot_wait_tpm(c, 5);
        if ((r = crypto_sha256(SHUT, strlen(SHUT), value, err)) == 0 &&
            (r = context_tpm(c, err)) == 0)
                r = tpm_latch(c->tpm, NULL, value, err);
        context_release_tpm(c);
        return r < 0 ? r : 0;
}
