/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/handover.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/hex.h"

#define KEY_SIZE 32 /* bytes of a KEK */
#define ID_SIZE 16  /* bytes of the hash of its object */

/* Root may read it without possessing it. From <linux/key.h> of the kernel, which isn't for
 * programs. */
#define PERMISSIONS 0x3f0b0000u /* possessor: all; user: view, read, search */

/* keyctl(2) has no wrapper in the C library. */
static long control(int what, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
        return syscall(SYS_keyctl, what, a, b, c, d);
}

static int describe(const struct kek *kek, char ret[128], struct error *err) {
        uint8_t hash[SHA256_SIZE];
        char id[2 * ID_SIZE + 1];
        int r = crypto_sha256(kek->sealed.public.data, kek->sealed.public.size, hash, err);

        if (r < 0)
                return r;
        hex_encode(hash, ID_SIZE, id);
        (void) snprintf(ret, 128, "diskseal:%s:%u:%s", kek->name, kek->version, id);
        return 0;
}

static long find(const char *name) {
        return control(KEYCTL_SEARCH, (unsigned long) KEY_SPEC_USER_KEYRING,
                       (unsigned long) (uintptr_t) "user", (unsigned long) (uintptr_t) name, 0);
}

/* What is handed over: the key, then the PCRs, where they are known. */
static size_t payload_size(const struct kek *kek, bool with_pcrs) {
        return KEY_SIZE + (with_pcrs ? HANDOVER_PCRS * pcr_size(kek->sealed.pcrs.bank) : 0);
}

static int put(const char *name, struct secret *payload) {
        long id;

        /* Who sets permissions has to possess it, and a service's session keyring doesn't lead to
         * the user's: it's looked for in the process's own first, which ends with it. */
        (void) control(KEYCTL_LINK, (unsigned long) KEY_SPEC_USER_KEYRING,
                       (unsigned long) KEY_SPEC_PROCESS_KEYRING, 0, 0);
        id = syscall(SYS_add_key, "user", name, secret_data(payload), secret_size(payload),
                     KEY_SPEC_USER_KEYRING);
        if (id < 0 || control(KEYCTL_SETPERM, (unsigned long) id, PERMISSIONS, 0, 0) < 0 ||
            control(KEYCTL_SET_TIMEOUT, (unsigned long) id, HANDOVER_SECONDS, 0, 0) < 0)
                return -errno;
        return 0;
}

int handover_put(const struct kek *kek, struct secret *key, const struct pcrs *booted,
                 struct error *err) {
        _cleanup_(secret_freep) struct secret *payload = NULL;
        size_t size = pcr_size(kek->sealed.pcrs.bank);
        char name[128];
        int r = describe(kek, name, err);

        if (r < 0)
                return r;
        r = secret_new(payload_size(kek, booted), &payload);
        if (r == 0) {
                memcpy(secret_data(payload), secret_data(key), KEY_SIZE);
                for (unsigned i = 0; booted && i < HANDOVER_PCRS; i++)
                        memcpy(secret_data(payload) + KEY_SIZE + i * size, booted->value[i], size);
                r = put(name, payload);
        }
        return r < 0 ? error_errno(err, r, "hand KEK %s v%u over in the kernel's keyring",
                                   kek->name, kek->version)
                     : 0;
}

/* Return: 1 and what was handed over; 0 where it isn't there, or isn't for this process; a fault.
 */
static int get(const struct kek *kek, struct secret **ret, size_t *ret_size, struct error *err) {
        _cleanup_(secret_freep) struct secret *payload = NULL;
        char name[128];
        long id, n;
        int r = describe(kek, name, err);

        if (r < 0)
                return r;
        id = find(name);
        if (id < 0)
                return 0;
        r = secret_new(payload_size(kek, true), &payload);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a KEK");
        n = control(KEYCTL_READ, (unsigned long) id,
                    (unsigned long) (uintptr_t) secret_data(payload), secret_size(payload), 0);
        if (n != (long) payload_size(kek, false) && n != (long) payload_size(kek, true))
                return 0;
        *ret_size = (size_t) n;
        *ret = TAKE(payload);
        return 1;
}

int handover_get(const struct kek *kek, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *payload = NULL, *key = NULL;
        size_t size;
        int r = get(kek, &payload, &size, err);

        if (r <= 0)
                return r;
        r = secret_new(KEY_SIZE, &key);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a KEK");
        memcpy(secret_data(key), secret_data(payload), KEY_SIZE);
        *ret = TAKE(key);
        return 1;
}

int handover_get_pcrs(const struct kek *kek, struct pcrs *ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *payload = NULL;
        size_t total, size = pcr_size(kek->sealed.pcrs.bank);
        int r = get(kek, &payload, &total, err);

        if (r <= 0)
                return r;
        *ret = (struct pcrs){ .bank = kek->sealed.pcrs.bank };
        if (total == KEY_SIZE)
                return 1;
        ret->mask = HANDOVER_PCRS_MASK;
        for (unsigned i = 0; i < HANDOVER_PCRS; i++)
                memcpy(ret->value[i], secret_data(payload) + KEY_SIZE + i * size, size);
        return 1;
}

void handover_drop(const struct kek *kek) {
        struct error ignored = { 0 };
        char name[128];
        long id;

        if (describe(kek, name, &ignored) < 0)
                return;
        id = find(name);
        if (id >= 0)
                (void) control(KEYCTL_UNLINK, (unsigned long) id,
                               (unsigned long) KEY_SPEC_USER_KEYRING, 0, 0);
}
