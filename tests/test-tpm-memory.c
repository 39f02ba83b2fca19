/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/p256.h"
#include "tests/swtpm.h"
#include "tpm/tpm.h"

/* No copy of a key stays in the process: what tpm2-tss, OpenSSL and we leave behind is looked for
 * in all memory that can be written. A program of its own, so that no earlier test has been there.
 */

#define MASK (1u << 7)
#define KEY_SIZE 32
#define HALF (KEY_SIZE / 2)
#define HIDE 0x5a /* the copy to compare with mustn't find itself */
#define WINDOW (1u << 20)

static const struct steps steps = { .count = 1,
                                    .step = { { .kind = STEP_PCR, .pcr_mask = MASK } } };
static const struct tpm_opener opener = { .steps = &steps };
static uint8_t hidden[KEY_SIZE];

/* Half a key is a leak as well, and what a vector register holds. */
static bool is_half(const uint8_t *p, unsigned half) {
        for (unsigned i = 0; i < HALF; i++)
                if ((p[i] ^ HIDE) != hidden[half * HALF + i])
                        return false;
        return true;
}

/* Looks in [@from, @to), through a window that is wiped afterwards. Returns how many halves of the
 * key are there, those of @mine aside. */
static unsigned search_range(int mem, uint8_t *window, uintptr_t from, uintptr_t to, uintptr_t mine,
                             const char *name) {
        unsigned found = 0;

        /* Each window overlaps the next by one byte less than half a key. */
        for (uintptr_t at = from; at + HALF <= to; at += WINDOW - HALF + 1) {
                size_t size = to - at < WINDOW ? to - at : WINDOW;
                ssize_t n = pread(mem, window, size, (off_t) at);

                for (ssize_t i = 0; i + HALF <= n; i++) {
                        uintptr_t here = at + (uintptr_t) i;

                        if (!is_half(window + i, 0) && !is_half(window + i, 1))
                                continue;
                        if (here == mine || here == mine + HALF)
                                continue;
                        print_message("half a copy at %#lx in %s\n", (unsigned long) here, name);
                        found++;
                }
                explicit_bzero(window, WINDOW);
        }
        return found;
}

/* Looks for halves of the key in all of the process' writable memory. */
static unsigned halves(struct secret *except) {
        _cleanup_(fclosep) FILE *maps = fopen("/proc/self/maps", "re");
        _cleanup_(close_fdp) int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        uintptr_t mine = except ? (uintptr_t) secret_data(except) : 0;
        uint8_t *window =
                mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uintptr_t begin = (uintptr_t) window, end = begin + WINDOW;
        unsigned found = 0;
        char line[512];

        assert_non_null(maps);
        assert_true(mem >= 0 && window != MAP_FAILED);
        while (fgets(line, sizeof(line), maps)) {
                uintptr_t from, to;
                char access[5];

                assert_int_equal(sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, access),
                                 3);
                line[strcspn(line, "\n")] = '\0';
                if (access[1] != 'w')
                        continue;
                /* The kernel may show the window and its neighbours as one. */
                if (from <= begin && end <= to) {
                        found += search_range(mem, window, from, begin, mine, line);
                        from = end;
                }
                found += search_range(mem, window, from, to, mine, line);
        }
        assert_int_equal(munmap(window, WINDOW), 0);
        return found;
}

/* Sanitizers and valgrind keep freed memory and shadows of it; what they show isn't what happens.
 */
static bool runs_natively(void) {
        const char *preloaded = getenv("LD_PRELOAD");

#if defined(__SANITIZE_ADDRESS__)
        return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
        return false;
#endif
#endif
        return !preloaded || !strstr(preloaded, "vgpreload");
}

static struct secret *key_new(void) {
        struct secret *key = NULL;
        struct error err = { 0 };

        assert_int_equal(crypto_random_secret(KEY_SIZE, &key, &err), 0);
        for (unsigned i = 0; i < KEY_SIZE; i++)
                hidden[i] = secret_data(key)[i] ^ HIDE;
        return key;
}

static void test_the_search_finds_what_is_there(void **state) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(freep) uint8_t *heap = NULL;
        uint8_t stack[HALF];

        (void) state;
        if (!runs_natively())
                skip();
        key = key_new();
        heap = malloc(KEY_SIZE + 5);
        assert_int_equal(halves(key), 0);
        memcpy(heap + 5, secret_data(key), KEY_SIZE);
        assert_int_equal(halves(key), 2);
        /* Not by memcpy(): vector registers would hold it, and the dynamic linker saves those on
         * the stack when it binds a function at its first call. Our programs bind at start. */
        for (unsigned i = 0; i < HALF; i++)
                ((volatile uint8_t *) stack)[i] = secret_data(key)[i];
        assert_int_equal(halves(key), 3);
        explicit_bzero(heap, KEY_SIZE + 5);
        explicit_bzero(stack, sizeof(stack));
        assert_int_equal(halves(key), 0);
        key = secret_free(key);
        assert_int_equal(halves(NULL), 0);
}

static void test_seal_and_unseal_leave_no_copy(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *key = NULL, *got = NULL;
        struct tpm_refusal why;
        struct sealed object;
        struct error err = { 0 };

        if (!runs_natively())
                skip();
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        key = key_new();
        assert_int_equal(swtpm_seal(t, key, MASK, &object, &err), TPM_GRANTED);
        assert_int_equal(halves(key), 0);
        key = secret_free(key);
        assert_int_equal(halves(NULL), 0);

        assert_int_equal(tpm_unseal(t, &object, &opener, &got, &why, &err), TPM_GRANTED);
        assert_true(is_half(secret_data(got), 0)); /* it is the one that is looked for */
        assert_int_equal(halves(got), 0);
        got = secret_free(got);
        assert_int_equal(halves(NULL), 0);

        t = tpm_close(t);
        assert_int_equal(halves(NULL), 0);
}

/* Numbers lie in memory with their last byte first. */
static void look_for_it_backwards(void) {
        for (unsigned i = 0; i < KEY_SIZE / 2; i++) {
                uint8_t first = hidden[i];

                hidden[i] = hidden[KEY_SIZE - 1 - i];
                hidden[KEY_SIZE - 1 - i] = first;
        }
}

static void test_signing_leaves_no_copy(void **state) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        const uint8_t digest[P256_SIZE] = { 1 };
        struct p256_signature signature;
        struct p256_point point;
        struct error err = { 0 };

        (void) state;
        if (!runs_natively())
                skip();
        assert_int_equal(p256_make(&key, &err), 0);
        for (unsigned i = 0; i < KEY_SIZE; i++)
                hidden[i] = secret_data(key)[i] ^ HIDE;
        assert_int_equal(halves(key), 0);
        assert_int_equal(p256_public(key, &point, &err), 0);
        assert_int_equal(halves(key), 0);
        look_for_it_backwards();
        assert_int_equal(halves(NULL), 0);
        assert_int_equal(p256_sign(key, digest, &signature, &err), 0);
        assert_int_equal(halves(NULL), 0);
        look_for_it_backwards();
        assert_int_equal(halves(key), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_search_finds_what_is_there),
                cmocka_unit_test_setup_teardown(test_seal_and_unseal_leave_no_copy, swtpm_start,
                                                swtpm_stop),
                cmocka_unit_test(test_signing_leaves_no_copy),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
