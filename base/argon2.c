/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "base/argon2.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <argon2.h>

#define STACK_USED (32 * 1024) /* bytes: some times what libargon2 puts there */

bool argon2_cost_valid(const struct argon2_cost *c) {
        return c->lanes >= 1 && c->lanes <= ARGON2_COST_LANES_MAX && c->time >= 1 &&
               c->time <= ARGON2_COST_TIME_MAX && c->memory >= 8 * c->lanes &&
               c->memory <= ARGON2_COST_MEMORY_MAX;
}

/* libargon2 looks at the pointer alone; errno says why there's none. */
static int memory_new(uint8_t **ret, size_t size) {
        uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        int saved;

        *ret = NULL;
        if (map == MAP_FAILED)
                return ARGON2_MEMORY_ALLOCATION_ERROR;
        if (madvise(map, size, MADV_DONTDUMP) < 0 || madvise(map, size, MADV_WIPEONFORK) < 0 ||
            mlock(map, size) < 0) {
                saved = errno;
                (void) munmap(map, size);
                errno = saved;
                return ARGON2_MEMORY_ALLOCATION_ERROR;
        }
        *ret = map;
        return ARGON2_OK;
}

/* Whether libargon2 has wiped it is the decision of a global variable that anybody may set. */
static void memory_free(uint8_t *map, size_t size) {
        explicit_bzero(map, size);
        (void) munmap(map, size); /* drops the lock too */
}

/* libargon2 wipes its memory but not its stack, where the last blocks stay, and the result is no
 * more than their hash. Called from where argon2_ctx() was, this lies over it. */
static __attribute__((noinline)) void wipe_stack(void) {
        uint8_t over[STACK_USED];

        explicit_bzero(over, sizeof(over));
}

static int check(const struct argon2_input *in, const struct argon2_cost *cost, size_t size,
                 struct error *err) {
        struct sysinfo machine;
        uint64_t total;

        if (!argon2_cost_valid(cost))
                return error_set(err, -EINVAL,
                                 "argon2id: %u KiB, %u passes, %u lanes: out of range",
                                 cost->memory, cost->time, cost->lanes);
        if (in->salt_size < 8 || in->salt_size > 64 || in->data_size > 64 || size < 4 || size > 64)
                return error_set(err, -EINVAL, "argon2id: sizes out of range");
        /* To lock more than there is would have the kernel kill somebody. */
        if (sysinfo(&machine) < 0)
                return error_errno(err, -errno, "see how much memory there is");
        total = (uint64_t) machine.totalram * machine.mem_unit / 1024;
        if (cost->memory > total / 2)
                return error_set(err, -ENOMEM,
                                 "argon2id asks for %u MiB, more than half of this machine's "
                                 "%llu MiB of memory",
                                 cost->memory / 1024, (unsigned long long) total / 1024);
        return 0;
}

int argon2_derive(const struct argon2_input *in, const struct argon2_cost *cost, size_t size,
                  struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *out = NULL;
        argon2_context c = {
                .pwd = secret_data(in->password),
                .pwdlen = (uint32_t) secret_size(in->password),
                .salt = (uint8_t *) in->salt, /* never written to: no flag asks for it */
                .saltlen = (uint32_t) in->salt_size,
                .secret = in->key ? secret_data(in->key) : NULL,
                .secretlen = in->key ? (uint32_t) secret_size(in->key) : 0,
                .ad = (uint8_t *) in->data,
                .adlen = (uint32_t) in->data_size,
                .outlen = (uint32_t) size,
                .t_cost = cost->time,
                .m_cost = cost->memory,
                .lanes = cost->lanes,
                .threads = 1,
                .version = ARGON2_VERSION_13,
                .allocate_cbk = memory_new,
                .free_cbk = memory_free,
        };
        int r;

        r = check(in, cost, size, err);
        if (r < 0)
                return r;
        r = secret_new(size, &out);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a derived key");
        c.out = secret_data(out);

        errno = 0;
        r = argon2_ctx(&c, Argon2_id);
        if (r == ARGON2_MEMORY_ALLOCATION_ERROR)
                return error_errno(err, errno ? -errno : -ENOMEM,
                                   "argon2id: no locked memory of %u MiB", cost->memory / 1024);
        wipe_stack();
        if (r != ARGON2_OK)
                return error_set(err, -EIO, "argon2id: %s", argon2_error_message(r));
        *ret = TAKE(out);
        return 0;
}
