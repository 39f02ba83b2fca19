/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "tests/swtpm.h"
#include "tpm/tpm.h"

#define PCR_DEBUG 16
#define MASK (1u << 7 | 1u << PCR_DEBUG)

#define STORAGE "-a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda'"

static const struct steps steps = { .count = 1,
                                    .step = { { .kind = STEP_PCR, .pcr_mask = MASK } } };
static const struct tpm_opener opener = { .steps = &steps };

/* Opens, unseals, closes: as each of our programs does. */
static int unseal(const struct swtpm *s, const struct sealed *object, const struct steps *how,
                  struct secret **ret, struct tpm_refusal *why) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        int r;

        r = tpm_open(s->tcti, &t, &err);
        if (r == 0)
                r = tpm_unseal(t, object, &(struct tpm_opener){ .steps = how }, ret, why, &err);
        if (r < 0)
                print_message("fault: %s\n", err.text);
        else
                assert_int_equal(err.errnum, 0);
        return r;
}

static void expect(const struct swtpm *s, const struct sealed *object, const struct steps *how,
                   int verdict) {
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct tpm_refusal why = { 0 };

        assert_int_equal(unseal(s, object, how, &got, &why), verdict);
        assert_true(verdict == TPM_GRANTED ? got != NULL : got == NULL);
        assert_int_equal(why.pcrs != 0, verdict == TPM_PCR_MISMATCH);
        assert_int_equal(swtpm_leftovers(s), 0);
}

static struct secret *key_new(size_t size) {
        struct secret *key = NULL;
        struct error err = { 0 };

        assert_int_equal(crypto_random_secret(size, &key, &err), 0);
        return key;
}

static void seal_now(const struct swtpm *s, struct secret *key, struct sealed *ret) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };

        if (tpm_open(s->tcti, &t, &err) < 0 || swtpm_seal(t, key, MASK, ret, &err) != TPM_GRANTED)
                fail_msg("seal: %s", err.text);
}

/* Seals some key. */
static struct sealed sealed_new(const struct swtpm *s) {
        _cleanup_(secret_freep) struct secret *key = key_new(32);
        struct sealed object;

        seal_now(s, key, &object);
        return object;
}

static void test_gives_back_what_was_sealed(void **state) {
        static const size_t sizes[] = { 1, 32, 64, 128 };
        const struct swtpm *s = *state;

        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
                _cleanup_(secret_freep) struct secret *key = key_new(sizes[i]), *got = NULL;
                struct tpm_refusal why;
                struct sealed object;

                seal_now(s, key, &object);
                assert_int_equal(swtpm_leftovers(s), 0);
                assert_int_equal(unseal(s, &object, &steps, &got, &why), TPM_GRANTED);
                assert_int_equal(secret_size(got), sizes[i]);
                assert_true(crypto_equal(secret_data(got), secret_data(key), sizes[i]));
                assert_int_equal(swtpm_leftovers(s), 0);
        }
}

static void test_refuses_a_key_that_no_tpm_takes(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *key = key_new(129);
        struct sealed object, before;
        struct error err = { 0 };

        memset(&object, 0xa5, sizeof(object));
        before = object;
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(swtpm_seal(t, key, MASK, &object, &err), -EINVAL);
        assert_non_null(strstr(err.text, "128"));
        assert_memory_equal(&object, &before, sizeof(object)); /* untouched on failure */
}

static void test_a_changed_pcr_is_named_with_its_value(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct tpm_refusal why = { 0 };
        struct error err = { 0 };
        struct pcrs now;

        expect(s, &object, &steps, TPM_GRANTED);
        assert_true(swtpm_extend(s, PCR_DEBUG));

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_unseal(t, &object, &opener, &got, &why, &err), TPM_PCR_MISMATCH);
        assert_null(got);
        assert_int_equal(err.errnum, 0);
        assert_int_equal(why.pcrs, 1u << PCR_DEBUG); /* and not 7 */
        assert_int_equal(why.now.mask, 1u << PCR_DEBUG);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, 1u << PCR_DEBUG, &now, &err), 0);
        assert_memory_equal(&why.now, &now, sizeof(now));
        assert_int_equal(swtpm_leftovers(s), 0);
}

static void test_the_values_of_the_disk_do_not_decide(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };

        /* Who writes today's values beside yesterday's object gets past TPM2_PolicyPCR, and no
         * further. */
        assert_true(swtpm_extend(s, PCR_DEBUG));
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, MASK, &object.pcrs, &err), 0);
        t = tpm_close(t);
        expect(s, &object, &steps, TPM_UNPROVEN); /* it wasn't sealed then */
}

static void test_steps_that_are_not_the_policy(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        const struct steps none = { 0 },
                           less = { .count = 1,
                                    .step = { { .kind = STEP_PCR, .pcr_mask = 1u << 7 } } },
                           twice = { .count = 2,
                                     .step = { { .kind = STEP_PCR, .pcr_mask = MASK },
                                               { .kind = STEP_PCR, .pcr_mask = MASK } } },
                           unknown_pcr = { .count = 1,
                                           .step = { { .kind = STEP_PCR, .pcr_mask = 1u << 8 } } },
                           no_pcr = { .count = 1, .step = { { .kind = STEP_PCR, .pcr_mask = 0 } } },
                           too_many = { .count = STEPS_MAX + 1 };

        assert_true(swtpm_extend(s, 8)); /* which has no value in the object to differ from */
        expect(s, &object, &none, TPM_DAMAGED);
        expect(s, &object, &less, TPM_UNPROVEN); /* it was sealed with a look at other PCRs */
        expect(s, &object, &twice, TPM_DAMAGED);
        expect(s, &object, &unknown_pcr, TPM_DAMAGED);
        expect(s, &object, &no_pcr, TPM_DAMAGED);
        expect(s, &object, &too_many, TPM_DAMAGED);
        expect(s, &object, &steps, TPM_GRANTED);
}

static void test_another_tpm(void **state) {
        struct swtpm *s = *state;
        struct sealed object = sealed_new(s);

        assert_true(swtpm_restart(s, false));
        expect(s, &object, &steps, TPM_GRANTED);
        assert_true(swtpm_restart(s, true));
        expect(s, &object, &steps, TPM_OTHER);
}

static void test_seal_notices_that_pcrs_moved(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *key = key_new(32);
        const uint8_t policy[32] = { 1 };
        struct sealed object;
        struct error err = { 0 };
        struct pcrs pcrs;
        const struct tpm_sealing what = { .key = key, .policy = policy, .pcrs = &pcrs };

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, MASK, &pcrs, &err), 0);
        assert_int_equal(tpm_seal(t, &what, &object, &err), TPM_GRANTED);
        assert_true(swtpm_extend(s, 7));
        assert_int_equal(tpm_seal(t, &what, &object, &err), TPM_PCR_MISMATCH);
        assert_int_equal(swtpm_leftovers(s), 0);

        pcrs.mask = 0; /* a policy that is about something else than PCRs */
        assert_int_equal(tpm_seal(t, &what, &object, &err), TPM_GRANTED);
        pcrs.mask = 1u << PCR_COUNT;
        assert_int_equal(tpm_seal(t, &what, &object, &err), -EINVAL);
}

static void test_reads_more_pcrs_than_fit_in_one_answer(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        struct pcrs all, one;

        for (unsigned n = 0; n < 16; n++)
                for (unsigned i = 0; i <= n; i++)
                        assert_true(swtpm_extend(s, n));
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, 0xffffff, &all, &err), 0);
        assert_int_equal(all.mask, 0xffffff);
        for (unsigned n = 0; n < PCR_COUNT; n++) {
                assert_int_equal(tpm_pcr_read(t, PCR_SHA256, 1u << n, &one, &err), 0);
                assert_memory_equal(all.value[n], one.value[n], pcr_size(PCR_SHA256));
        }
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, 0, &one, &err), 0);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, 1u << PCR_COUNT, &one, &err), -ENOENT);
}

static void test_no_flipped_byte_opens_or_stays(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        struct tpm_bytes *const parts[] = { &object.srk, &object.public, &object.private };
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        for (unsigned p = 0; p < ARRAY_SIZE(parts); p++) {
                assert_true(parts[p]->size > 30);
                for (unsigned i = 0; i < parts[p]->size; i++) {
                        _cleanup_(secret_freep) struct secret *got = NULL;
                        struct tpm_refusal why;
                        int r;

                        /* Creation data names the parent; byte 9 says that it's bound to the TPM.
                         */
                        int want = (parts[p] == &object.srk && i >= 2) ||
                                                   (parts[p] == &object.public && i == 9)
                                           ? TPM_UNPROVEN
                                           : TPM_DAMAGED;

                        parts[p]->data[i] ^= (uint8_t) (1u << (i % 8));
                        r = tpm_unseal(t, &object, &opener, &got, &why, &err);
                        if (r != want)
                                fail_msg("part %u, byte %u: %d (%s)", p, i, r, err.text);
                        assert_null(got);
                        if (i % 16 == 0)
                                assert_int_equal(swtpm_leftovers(s), 0);
                        parts[p]->data[i] ^= (uint8_t) (1u << (i % 8));
                }
        }
        assert_int_equal(swtpm_leftovers(s), 0);
        t = tpm_close(t);
        expect(s, &object, &steps, TPM_GRANTED); /* the test put everything back */
}

static void test_garbage(void **state) {
        const struct swtpm *s = *state;
        struct sealed good = sealed_new(s), object;

        for (unsigned n = 0; n < 3; n++) {
                static const uint16_t sizes[] = { 0, 1, 2, 3, 33, 35, 400, 511, 512, 513, 65535 };

                for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
                        object = good;
                        (n == 0   ? &object.srk
                         : n == 1 ? &object.public
                                  : &object.private)
                                ->size = sizes[i];
                        expect(s, &object, &steps, TPM_DAMAGED);
                }
        }
        memset(&object, 0xff, sizeof(object));
        expect(s, &object, &steps, TPM_DAMAGED);
        memset(&object, 0, sizeof(object));
        expect(s, &object, &steps, TPM_DAMAGED);
        object = good;
        object.pcrs.mask |= 1u << PCR_COUNT;
        expect(s, &object, &steps, TPM_DAMAGED);
        /* One byte behind the end. */
        object = good;
        object.public.size++;
        expect(s, &object, &steps, TPM_DAMAGED);
        object = good;
        object.private.size++;
        expect(s, &object, &steps, TPM_DAMAGED);
}

static void get_file(const struct swtpm *s, const char *name, void *ret, size_t max,
                     uint16_t *ret_size) {
        _cleanup_(close_fdp) int fd = -1;
        char path[64];
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = read(fd, ret, max);
        assert_true(n > 0);
        *ret_size = (uint16_t) n;
}

static void put_file(const struct swtpm *s, const char *name, const void *data, size_t size) {
        _cleanup_(close_fdp) int fd = -1;
        char path[64];

        (void) snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, data, size), size);
}

/* Whoever knows the storage key can make objects under it. The TPM would open all of these. */
static void test_objects_that_protect_nothing(void **state) {
        static const struct {
                const char *options;
                int verdict;
        } cases[] = {
                { "-a 'fixedtpm|fixedparent|noda'", TPM_GRANTED },
                { "-a 'fixedtpm|fixedparent'", TPM_GRANTED }, /* as systemd seals */
                { "-a 'fixedtpm|fixedparent|noda|userwithauth'", TPM_DAMAGED },
                { "-a 'noda'", TPM_UNPROVEN }, /* may be taken to another TPM */
        };
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        uint8_t policy[32];
        char command[512];

        swtpm_policy_pcr(&object.pcrs, MASK, policy);
        put_file(s, "policy", policy, sizeof(policy));
        put_file(s, "key", "sixteen bytes...", 16);
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                (void) snprintf(command, sizeof(command),
                                "tpm2_createprimary -C o -G ecc256:aes128cfb " STORAGE
                                " -c p.ctx && rm -f pub priv d t && tpm2_flushcontext -t &&"
                                "tpm2_create -C p.ctx -i key -L policy -u pub -r priv %s "
                                "-l sha256:7,16 --creation-data d -t t &&"
                                "tpm2_flushcontext -t",
                                cases[i].options);
                assert_true(swtpm_run(s, command));
                get_file(s, "pub", object.public.data, TPM_BYTES_MAX, &object.public.size);
                get_file(s, "priv", object.private.data, TPM_BYTES_MAX, &object.private.size);
                get_file(s, "d", object.creation.data, TPM_BYTES_MAX, &object.creation.size);
                get_file(s, "t", object.ticket.data, TPM_BYTES_MAX, &object.ticket.size);
                expect(s, &object, &steps, cases[i].verdict);
        }
}

static void test_a_host_cannot_lock_us_out(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct sealed object = sealed_new(s);
        struct tpm_info info;
        struct error err = { 0 };

        /* Ours are noDA, so lockout doesn't reach them: a host can't lock us out by resets. */
        assert_true(swtpm_run(
                s, "tpm2_dictionarylockout -s -n 1 -t 1000 -l 1000 &&"
                   "tpm2_createprimary -C n -G ecc -p right -c p.ctx -a "
                   "'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt' &&"
                   "! tpm2_create -C p.ctx -P wrong -u u -r r 2>/dev/null &&"
                   "tpm2_flushcontext -t"));
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_info(t, &info, &err), 0);
        assert_true(info.lockout);
        t = tpm_close(t);
        expect(s, &object, &steps, TPM_GRANTED);
}

/* --- the storage key --- */

static bool persist(const struct swtpm *s, const char *options) {
        char command[512];

        (void) snprintf(command, sizeof(command),
                        "tpm2_createprimary -C o %s -c srk.ctx && tpm2_flushcontext -t &&"
                        "tpm2_evictcontrol -C o -c srk.ctx 0x81000001 && tpm2_flushcontext -t",
                        options);
        return swtpm_run(s, command);
}

static void test_persistent_storage_keys(void **state) {
        static const struct {
                const char *options;
                bool used;
        } keys[] = {
                { "-G ecc256:aes128cfb " STORAGE, true },
                { "-G rsa2048:aes128cfb " STORAGE, true },
                { "-G ecc384:aes128cfb " STORAGE, true },
                { "-G rsa2048:rsassa-sha256:null -a 'fixedtpm|fixedparent|sensitivedataorigin|"
                  "userwithauth|restricted|sign'",
                  false },
                { "-G ecc256:aes128cfb -g sha384 " STORAGE, false },
        };
        struct swtpm *s = *state;

        for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
                struct sealed derived, object;
                struct error err = { 0 };
                struct tpm_info info;
                struct tpm *t = NULL;

                assert_true(swtpm_restart(s, true));
                derived = sealed_new(s);
                assert_true(persist(s, keys[i].options));
                assert_int_equal(swtpm_leftovers(s), 0);

                assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
                assert_int_equal(tpm_info(t, &info, &err), 0);
                assert_int_equal(info.srk_persistent, keys[i].used);
                t = tpm_close(t);

                /* What was sealed before stays good: the key that has its parent's Name opens it.
                 */
                expect(s, &derived, &steps, TPM_GRANTED);
                object = sealed_new(s);
                assert_int_equal(memcmp(&object.srk, &derived.srk, sizeof(object.srk)) != 0,
                                 keys[i].used && i > 0);
                expect(s, &object, &steps, TPM_GRANTED);

                assert_true(swtpm_run(s, "tpm2_evictcontrol -C o -c 0x81000001"));
                /* The RSA template makes the same key again, though ECC is tried before. The key
                 * of 384 bits is no template's: it's lost. */
                expect(s, &object, &steps, i == 2 ? TPM_OTHER : TPM_GRANTED);
        }
}

/* --- one TPM, several users --- */

static void test_strangers_leftovers(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);

        for (unsigned persistent = 0; persistent < 2; persistent++) {
                _cleanup_(secret_freep) struct secret *got = NULL;
                struct tpm_refusal why;

                for (unsigned i = 0; i < 3; i++)
                        assert_true(swtpm_run(s, "tpm2_createprimary -Q -c leftover.ctx"));
                assert_int_equal(swtpm_count(s, SWTPM_TRANSIENT), 3);
                assert_int_equal(unseal(s, &object, &steps, &got, &why), TPM_GRANTED);
                assert_int_equal(swtpm_leftovers(s), 0);
                if (!persistent)
                        assert_true(persist(s, "-G ecc256:aes128cfb " STORAGE));
        }
        /* As long as there is room, others are left alone. */
        assert_true(swtpm_run(s, "tpm2_createprimary -Q -c leftover.ctx"));
        sealed_new(s);
        assert_int_equal(swtpm_count(s, SWTPM_TRANSIENT), 1);
}

static void start_sessions(const struct swtpm *s, unsigned n) {
        const uint8_t command[] = { 0x80, 0x01, 0,  0,  0,    43, 0, 0, 0x01, 0x76, /* no salt, */
                                    0x40, 0,    0,  7,  0x40, 0,  0, 7,             /* no bind */
                                    0,    16,   1,  2,  3,    4,  5, 6, 7,    8,    9, 10,  11,
                                    12,   13,   14, 15, 16,   0,  0, 0, 0,    0x10, 0, 0x0b };
        uint8_t reply[128];

        for (unsigned i = 0; i < n; i++) {
                assert_true(swtpm_command(s, command, sizeof(command), reply, sizeof(reply)) > 10);
                assert_memory_equal(reply + 6, "\0\0\0", 4);
        }
        assert_int_equal(swtpm_count(s, SWTPM_LOADED_SESSIONS), n);
}

static void test_strangers_sessions(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);

        start_sessions(s, 3);
        expect(s, &object, &steps, TPM_GRANTED);
}

static void test_flushes_what_a_killed_process_left(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        struct tpm *t = NULL;
        struct error err = { 0 };
        pid_t pid;

        pid = fork();
        if (pid == 0) {
                struct tpm *mine = NULL;

                if (tpm_open(s->tcti, &mine, &err) < 0 ||
                    !swtpm_run(s, "tpm2_createprimary -Q -c leftover.ctx &&"
                                  "tpm2_startauthsession -S saved.ctx"))
                        _exit(1);
                start_sessions(s, 1);
                (void) raise(SIGKILL);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(swtpm_count(s, SWTPM_TRANSIENT), 1);
        assert_int_equal(swtpm_count(s, SWTPM_LOADED_SESSIONS), 1);
        assert_int_equal(swtpm_count(s, SWTPM_SAVED_SESSIONS), 1);

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(swtpm_leftovers(s), 0); /* before it does anything else */
        t = tpm_close(t);
        expect(s, &object, &steps, TPM_GRANTED);
}

static void test_lock_file(void **state) {
        const struct swtpm *s = *state;
        struct tpm *t = NULL;
        struct error err = { 0 };
        struct stat st;
        char path[64];

        (void) snprintf(path, sizeof(path), "%s.lock", s->socket);
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_size, 1);
        t = tpm_close(t);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 0);

        /* A link there would have us make or change a file of somebody else. */
        assert_int_equal(unlink(path), 0);
        assert_int_equal(symlink("elsewhere", path), 0);
        assert_true(tpm_open(s->tcti, &t, &err) < 0);
        assert_null(t);
}

static void test_users_take_turns(void **state) {
        const struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        pid_t pids[3];

        for (unsigned i = 0; i < ARRAY_SIZE(pids); i++) {
                pids[i] = fork();
                if (pids[i] != 0)
                        continue;
                for (unsigned k = 0; k < 20; k++) {
                        _cleanup_(secret_freep) struct secret *got = NULL;
                        struct tpm_refusal why;

                        if (unseal(s, &object, &steps, &got, &why) != TPM_GRANTED)
                                _exit(1);
                }
                _exit(0);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(pids); i++) {
                int status;

                assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
                assert_int_equal(status, 0);
        }
        assert_int_equal(swtpm_leftovers(s), 0);
}

/* --- no TPM, or a strange one --- */

static void test_no_tpm(void **state) {
        static const struct {
                const char *tcti;
                int result;
        } cases[] = {
                { "swtpm:path=/nonexistent/tpm", -ENODEV },
                { "swtpm:host=127.0.0.1,port=1", -ENODEV },
                { "device:/nonexistent/tpmrm0", -ENODEV },
                { "unheard-of:path=/dev/null", -EINVAL },
                { "swtpm:colour=red", -EINVAL },
                { "", -EINVAL },
        };

        (void) state;
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                struct error err = { 0 };
                struct tpm *t = NULL;

                assert_int_equal(tpm_open(cases[i].tcti, &t, &err), cases[i].result);
                assert_null(t);
                assert_int_equal(err.errnum, cases[i].result);
                assert_non_null(strstr(err.text, "connect to TPM: "));
                assert_non_null(strstr(err.text, cases[i].tcti));
        }
        if (access("/dev/tpmrm0", F_OK) < 0) {
                struct error err = { 0 };
                struct tpm *t = NULL;

                assert_int_equal(tpm_open(NULL, &t, &err), -ENODEV);
                assert_non_null(strstr(err.text, "/dev/tpmrm0"));
        }
}

static void test_dead_tpm_is_a_fault(void **state) {
        struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        _cleanup_(tpm_closep) struct tpm *t = NULL, *again = NULL;
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct tpm_refusal why;
        struct error err = { 0 };

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        swtpm_kill(s);
        assert_int_equal(tpm_unseal(t, &object, &opener, &got, &why, &err), -EIO);
        assert_non_null(strstr(err.text, "unseal: "));
        assert_null(got);
        t = tpm_close(t);
        assert_int_equal(tpm_open(s->tcti, &again, &err), -ENODEV);
        assert_non_null(strstr(err.text, s->tcti));
}

static void test_tpm_that_was_not_started(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        struct tpm_info info;

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0); /* asks nothing */
        assert_int_equal(tpm_info(t, &info, &err), -EIO);
        assert_int_equal(err.tpm_rc, 0x100);
        assert_non_null(strstr(err.text, "was not started up"));
        assert_non_null(strstr(err.text, "0x00000100"));
}

static void test_tpm_without_the_bank(void **state) {
        struct swtpm *s = *state;
        struct sealed object = sealed_new(s);
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *got = NULL;
        struct tpm_refusal why;
        struct error err = { 0 };
        struct tpm_info info;
        struct pcrs pcrs;

        assert_true(swtpm_run(s, "tpm2_pcrallocate sha1:all+sha256:none"));
        assert_true(swtpm_restart(s, false));
        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_info(t, &info, &err), 0);
        assert_int_equal(info.banks & (1u << TPM_BANK_SHA256), 0);
        assert_int_equal(info.banks & (1u << TPM_BANK_SHA1), 1u << TPM_BANK_SHA1);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, MASK, &pcrs, &err), -ENOENT);
        assert_non_null(strstr(err.text, "sha256 bank"));
        assert_int_equal(tpm_unseal(t, &object, &opener, &got, &why, &err), -EIO);
        assert_int_equal(swtpm_leftovers(s), 0);
}

static void test_info(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        struct tpm_info info;

        assert_int_equal(tpm_open(s->tcti, &t, &err), 0);
        assert_int_equal(tpm_info(t, &info, &err), 0);
        assert_string_equal(info.manufacturer, "IBM");
        assert_string_equal(info.vendor, "SW   TPM");
        assert_true(info.firmware[0] != 0);
        assert_false(info.lockout);
        assert_true(info.banks & (1u << TPM_BANK_SHA256));
        assert_false(info.srk_persistent);
}

#define WITH_TPM(f) cmocka_unit_test_setup_teardown(f, swtpm_start, swtpm_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_TPM(test_gives_back_what_was_sealed),
                WITH_TPM(test_refuses_a_key_that_no_tpm_takes),
                WITH_TPM(test_a_changed_pcr_is_named_with_its_value),
                WITH_TPM(test_the_values_of_the_disk_do_not_decide),
                WITH_TPM(test_steps_that_are_not_the_policy),
                WITH_TPM(test_another_tpm),
                WITH_TPM(test_seal_notices_that_pcrs_moved),
                WITH_TPM(test_reads_more_pcrs_than_fit_in_one_answer),
                WITH_TPM(test_no_flipped_byte_opens_or_stays),
                WITH_TPM(test_garbage),
                WITH_TPM(test_objects_that_protect_nothing),
                WITH_TPM(test_a_host_cannot_lock_us_out),
                WITH_TPM(test_persistent_storage_keys),
                WITH_TPM(test_strangers_leftovers),
                WITH_TPM(test_strangers_sessions),
                WITH_TPM(test_flushes_what_a_killed_process_left),
                WITH_TPM(test_lock_file),
                WITH_TPM(test_users_take_turns),
                WITH_TPM(test_dead_tpm_is_a_fault),
                WITH_TPM(test_tpm_without_the_bank),
                WITH_TPM(test_info),
                cmocka_unit_test(test_no_tpm),
                cmocka_unit_test_setup_teardown(test_tpm_that_was_not_started,
                                                swtpm_start_unstarted, swtpm_stop),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
