/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "plugin/plugin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "keys/token.h"
#include "luks/luks.h"

#define ABI __attribute__((visibility("default")))

/* A line for whoever loaded us. Control characters would be somebody's trick. */
_printf_(3, 4) static void say(struct crypt_device *cd, enum luks_log level, const char *fmt, ...) {
        char line[512];
        va_list ap;

        va_start(ap, fmt);
        (void) vsnprintf(line, sizeof(line) - 1, fmt, ap);
        va_end(ap);
        for (char *c = line; *c; c++)
                if (((unsigned char) *c < ' ' && *c != '\t') || *c == 0x7f)
                        *c = '?';
        strcat(line, "\n");
        luks_borrowed_log(cd, level, line);
}

static void say_refusal(struct crypt_device *cd, const struct refusal *why) {
        say(cd, LUKS_LOG_ERROR, "diskseal: %s.", why->what);
        for (unsigned i = 0; i < why->details; i++)
                say(cd, LUKS_LOG_ERROR, "  %s", why->detail[i]);
        if (why->kind == REFUSAL_NONE)
                return;
        say(cd, LUKS_LOG_ERROR, "  %s", refusal_advice(why->kind));
        say(cd, LUKS_LOG_ERROR, "  See diskseal(8), REFUSALS, %s.", refusal_id(why->kind));
}

/* Any other result than these three ends the search for a token that opens the disk: a broken TPM
 * must not keep a token of somebody else from being tried. */
static int fault(struct crypt_device *cd, int errnum, const struct error *err) {
        say(cd, errnum == -ENOENT ? LUKS_LOG_VERBOSE : LUKS_LOG_ERROR, "diskseal: %s.", err->text);
        return errnum == -ENOENT || errnum == -ENOMEM ? errnum : -EAGAIN;
}

/* The ABI wants plain bytes; they get a page of their own, locked, in no core dump. */
static int hand_over(struct secret *secret, char **ret, size_t *ret_size, struct error *err) {
        size_t size = secret_size(secret);
        void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (page == MAP_FAILED)
                return error_nomem(err);
        if (mlock(page, size) < 0 || madvise(page, size, MADV_DONTDUMP) < 0 ||
            madvise(page, size, MADV_WIPEONFORK) < 0) {
                (void) munmap(page, size);
                return error_set(err, -ENOMEM, "no locked memory for the slot secret");
        }
        memcpy(page, secret_data(secret), size);
        *ret = page;
        *ret_size = size;
        return 0;
}

ABI int cryptsetup_token_open(struct crypt_device *cd, int token, char **ret, size_t *ret_size,
                              void *user) {
        _cleanup_(secret_freep) struct secret *secret = NULL;
        const char *device = luks_borrowed_device(cd);
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = plugin_secret(cd, device ? device : "the disk", token, &secret, &why, &err);

        (void) user;
        if (r == OUTCOME_DONE)
                r = hand_over(secret, ret, ret_size, &err);
        if (r < 0)
                return fault(cd, r, &err);
        if (r == OUTCOME_DONE)
                return 0;
        say_refusal(cd, &why);
        return -EPERM;
}

/* No policy of ours has a PIN: one that was given is of no use. */
ABI int cryptsetup_token_open_pin(struct crypt_device *cd, int token, const char *pin,
                                  size_t pin_size, char **ret, size_t *ret_size, void *user) {
        (void) pin;
        (void) pin_size;
        return cryptsetup_token_open(cd, token, ret, ret_size, user);
}

ABI void cryptsetup_token_buffer_free(void *buffer, size_t size) {
        if (!buffer)
                return;
        explicit_bzero(buffer, size);
        (void) munmap(buffer, size);
}

static int parse(const char *text, struct token **ret, struct error *err) {
        _cleanup_(json_freep) struct json *json = NULL;
        int r = json_parse(text, strlen(text), &json, err);

        return r < 0 ? r : token_parse(json, ret, err);
}

ABI int cryptsetup_token_validate(struct crypt_device *cd, const char *json) {
        _cleanup_(token_freep) struct token *t = NULL;
        struct error err = { 0 };
        int r = parse(json, &t, &err);

        if (r == 0)
                return 0;
        say(cd, LUKS_LOG_ERROR, "diskseal: the token is damaged: %s.", err.text);
        return r == -ENOMEM ? r : -EINVAL;
}

static void dump_entry(struct crypt_device *cd, const struct kek *kek) {
        char pcrs[PCR_TEXT_MAX];

        pcr_mask_format(steps_pcrs(&kek->steps), pcrs);
        say(cd, LUKS_LOG_NORMAL, "\tKEK:        %s v%u, sealed to PCRs %s (%s)", kek->name,
            kek->version, pcrs, pcr_bank_name(kek->steps.bank));
}

/* All that is printed was checked by token_parse(), and is of few letters or a number. */
ABI void cryptsetup_token_dump(struct crypt_device *cd, const char *json) {
        _cleanup_(token_freep) struct token *t = NULL;
        struct error err = { 0 };

        if (parse(json, &t, &err) < 0) {
                say(cd, LUKS_LOG_NORMAL, "\tDamaged:    %s", err.text);
                return;
        }
        say(cd, LUKS_LOG_NORMAL, "\tName:       %s", t->name);
        say(cd, LUKS_LOG_NORMAL, "\tRole:       %s", t->role);
        say(cd, LUKS_LOG_NORMAL, "\tState:      %s",
            t->state == TOKEN_ACTIVE ? "active" : "pending");
        say(cd, LUKS_LOG_NORMAL, "\tEpoch:      %u", t->epoch);
        for (unsigned i = 0; i < t->entries; i++)
                dump_entry(cd, &t->entry[i].kek);
}

ABI const char *cryptsetup_token_version(void) {
        return VERSION;
}
