/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests/escrow-walk, through keys/ and luks/:
 *
 *   escrow-make make IMAGE CERTIFICATE…   formats the file, with escrow in keyslot 2 and token 1
 *   escrow-make open IMAGE KEY            opens it by that; the exit status is 0, or 10 and the
 *                                         verdict of escrow_open(), or 20 and luks_slot_open()'s */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys/escrow.h"
#include "luks/luks.h"

#define SLOT 2
#define TOKEN 1
#define FAULT 1

static int fault(const struct error *err, const struct luks_reason *why) {
        (void) fprintf(stderr, "escrow-make: %s %s\n", err->text, why->text);
        return FAULT;
}

static int make(const char *image, struct certificate *const *certs, size_t count) {
        _cleanup_(secret_freep) struct secret *volume_key = NULL, *passphrase = NULL;
        _cleanup_(luks_edit_closep) struct luks_edit *edit = NULL;
        _cleanup_(json_freep) struct json *token = NULL;
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        struct luks_key key = { .slot = SLOT, .kind = LUKS_SLOT_OURS };

        if (crypto_random_secret(64, &volume_key, &err) < 0 ||
            escrow_passphrase(&passphrase, &err) < 0 ||
            escrow_make(certs, count, SLOT, passphrase, &token, &err) < 0 ||
            luks_format(&(struct luks_source){ image, NULL }, volume_key, &edit, &why, &err) !=
                    LUKS_OK)
                return fault(&err, &why);
        key.key = passphrase;
        if (luks_slot_add(edit, &key, volume_key, &err) < 0 ||
            luks_token_set(edit, TOKEN, token, &err) < 0)
                return fault(&err, &why);
        return 0;
}

static int make_for_files(const char *image, char *const *files, int n) {
        struct certificate *certs[CMS_RECIPIENTS_MAX] = { NULL };
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        size_t count = 0;
        int r = 0;

        for (int i = 0; i < n && r == 0; i++) {
                size_t more;

                if (certificates_read(files[i], certs + count, CMS_RECIPIENTS_MAX - count, &more,
                                      &err) < 0)
                        r = fault(&err, &why);
                else
                        count += more;
        }
        if (r == 0)
                r = make(image, certs, count);
        while (count > 0)
                certificate_free(certs[--count]);
        return r;
}

static int open_by(const char *image, const char *file) {
        _cleanup_(secret_freep) struct secret *passphrase = NULL, *volume_key = NULL;
        _cleanup_(private_key_freep) struct private_key *key = NULL;
        _cleanup_(luks_closep) struct luks *luks = NULL;
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        int r;

        if (!e || private_key_read(file, &key, &err) < 0 ||
            luks_open(&(struct luks_source){ image, NULL }, &luks, &why, &err) != LUKS_OK ||
            escrow_parse(luks_token(luks, TOKEN), e, &err) < 0)
                return fault(&err, &why);
        r = escrow_open(e, key, &passphrase, &err);
        if (r < 0)
                return fault(&err, &why);
        if (r != CMS_OPEN)
                return 10 + r;
        r = luks_slot_open(luks, &(struct luks_key){ e->slot, LUKS_SLOT_OURS, passphrase },
                           &volume_key, &why, &err);
        if (r < 0)
                return fault(&err, &why);
        return r == LUKS_OK ? 0 : 20 + r;
}

int main(int argc, char **argv) {
        if (argc > 3 && strcmp(argv[1], "make") == 0)
                return make_for_files(argv[2], argv + 3, argc - 3);
        if (argc == 4 && strcmp(argv[1], "open") == 0)
                return open_by(argv[2], argv[3]);
        return 2;
}
