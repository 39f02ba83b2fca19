/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a rotation costs with libcryptsetup and nothing else: each disk is loaded, its token is
 * written twice (stage, retire). No TPM, no check, no key, nothing is read back.
 * rotate-library IMAGE… */
#include <libcryptsetup.h>
#include <stdlib.h>

static int rewrite(const char *image) {
        struct crypt_device *cd = NULL;
        const char *json;
        int r = crypt_init(&cd, image);

        if (r >= 0)
                r = crypt_load(cd, CRYPT_LUKS2, NULL);
        for (int write = 0; r >= 0 && write < 2; write++) {
                r = crypt_token_json_get(cd, 0, &json);
                if (r >= 0)
                        r = crypt_token_json_set(cd, 0, json);
        }
        crypt_free(cd);
        return r;
}

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++)
                if (rewrite(argv[i]) < 0)
                        return EXIT_FAILURE;
        return EXIT_SUCCESS;
}
