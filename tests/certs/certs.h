/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "base/cms.h"
#include "tests/test.h"

#ifndef CERTS
#define CERTS "tests/certs" /* from the root of the tree; the build says where that is */
#endif

/* The certificates and keys beside this file, for tests. Whatever fails here fails the test. */

static inline const char *certs_path(const char *name) {
        static char path[512];

        (void) snprintf(path, sizeof(path), "%s/%s", CERTS, name);
        return path;
}

/* The first certificate of NAME.pem. */
static inline struct certificate *certs_certificate(const char *name) {
        struct certificate *c = NULL;
        struct error err = { 0 };
        char file[64];
        size_t n;

        (void) snprintf(file, sizeof(file), "%s.pem", name);
        if (certificates_read(certs_path(file), &c, 1, &n, &err) < 0)
                fail_msg("%s", err.text);
        assert_int_equal(n, 1);
        return c;
}

static inline struct private_key *certs_key(const char *name) {
        struct private_key *k = NULL;
        struct error err = { 0 };
        char file[64];

        (void) snprintf(file, sizeof(file), "%s.key", name);
        if (private_key_read(certs_path(file), &k, &err) < 0)
                fail_msg("%s", err.text);
        return k;
}
