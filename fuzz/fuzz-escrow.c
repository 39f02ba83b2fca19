/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>

#include "base/cms.h"
#include "fuzz/fuzz.h"
#include "keys/escrow.h"

/* An escrow token from a disk, and its CMS, in the hands of whoever has a key. An input is a token
 * in JSON, or else DER. The key is this test's own: it opens what was made for it in the corpus. */

static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglhtYf7zH05dTVoYo\n"
                          "naHQUgs59SMeyGnrsYyIfNqkoWmhRANCAAS0XCBAE6eRtOGodlSaI9LCT11NLHYl\n"
                          "/GfixhYpkOyZZTdU7g1sjmemDZ1BcIr9Msx6MTuK1PwmDXLSVB4wL4QI\n"
                          "-----END PRIVATE KEY-----\n";

static struct private_key *fixed_key(void) {
        _cleanup_(close_fdp) int fd = memfd_create("key", MFD_CLOEXEC);
        struct private_key *key = NULL;
        struct error err = { 0 };
        char path[40];

        MUST(fd >= 0 && write(fd, pem, sizeof(pem) - 1) == (ssize_t) sizeof(pem) - 1);
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        MUST(private_key_read(path, &key, &err) == 0);
        return key;
}

static void decrypt(const uint8_t *cms, size_t size, const struct private_key *key) {
        _cleanup_(secret_freep) struct secret *plain = NULL;
        struct error err = { 0 };
        int r = cms_decrypt(cms, size, key, &plain, &err);

        MUST((r == CMS_OPEN) == (plain != NULL));
        if (r < 0)
                MUST(err.text[0]);
        if (r == CMS_OPEN)
                MUST(secret_size(plain) <= 256);
}

static void open_token(const struct json *j, const struct private_key *key) {
        _cleanup_(freep) struct escrow *e = calloc(1, sizeof(*e));
        _cleanup_(secret_freep) struct secret *plain = NULL;
        struct error err = { 0 };

        MUST(e);
        (void) escrow_is_one(j);
        if (escrow_parse(j, e, &err) < 0) {
                MUST(err.text[0]);
                return;
        }
        MUST(e->slot <= LUKS_SLOTS_MAX && e->recipients <= CMS_RECIPIENTS_MAX);
        MUST(e->size <= sizeof(e->cms) && printable(e->created));
        if (escrow_open(e, key, &plain, &err) == CMS_OPEN)
                MUST(secret_size(plain) == ESCROW_PASSPHRASE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct private_key *key;
        _cleanup_(json_freep) struct json *j = NULL;
        struct error err = { 0 };

        if (!key)
                key = fixed_key();
        if (json_parse((const char *) data, size, &j, &err) == 0)
                open_token(j, key);
        else
                decrypt(data, size, key);
        return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        return json_mutate(data, size, max, seed);
}
