/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cmocka.h>

#include "tests/swtpm.h"
#include "tpm/internal.h"

/* What is taken for an answer, and a device as the kernel serves it: a whole message a read. */

/* TPM2_Unseal with a policy session that encrypts the answer, and an answer to it. */
static const uint8_t unseal[] = { 0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x5e, 0x80, 0, 0, 0,
                                  0,    0, 0, 9, 3, 0,  0, 0, 0, 0,    0x40, 0, 0 };
static const uint8_t unsealed[] = { 0x80, 2, 0, 0, 0, 27, 0, 0, 0,   0, 0, 0, 0,  6,
                                    0,    4, 1, 2, 3, 4,  0, 1, 'n', 1, 0, 1, 'h' };
/* TPM2_ReadClock, which has no sessions. */
static const uint8_t clock_command[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81 };
/* TPM2_StartAuthSession, whose answer begins with a handle; the rest of neither matters here. */
static const uint8_t start[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x76 };
static const uint8_t started[] = { 0x80, 1, 0, 0, 0, 16, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0 };

static void test_sessions_are_found(void **state) {
        /* TPM2_PCR_Extend of PCR 9: its handle could be the size of the sessions. */
        static const uint8_t extend[] = { 0x80, 2, 0,    0, 0, 31, 0, 0, 1, 0x82, 0, 0, 0, 9, 0, 0,
                                          0,    9, 0x40, 0, 0, 9,  0, 0, 0, 0,    0, 0, 0, 0, 0 };
        struct frame_sessions s;

        (void) state;
        s = frame_sessions(unseal, sizeof(unseal));
        assert_int_equal(s.count, 1);
        assert_int_equal(s.handle[0], 0x03000000);
        assert_true(s.encrypts);
        s = frame_sessions(extend, sizeof(extend));
        assert_int_equal(s.count, 1);
        assert_int_equal(s.handle[0], 0x40000009);
        assert_false(s.encrypts);
        assert_int_equal(frame_sessions(start, sizeof(start)).count, 0);
        for (size_t n = 0; n < sizeof(unseal); n++)
                assert_int_equal(frame_sessions(unseal, n).count, 0);
}

static void test_rsa_is_found(void **state) {
        /* TPM2_CreatePrimary, up to the type. */
        uint8_t create[] = { 0x80, 2, 0, 0, 0, 37, 0, 0, 1, 0x31, 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40,
                             0,    0, 9, 0, 0, 0,  0, 0, 0, 4,    0,    0, 0, 0, 0, 2, 0, 1 };

        (void) state;
        assert_true(frame_makes_rsa(create, sizeof(create)));
        assert_false(frame_makes_rsa(create, sizeof(create) - 1));
        create[sizeof(create) - 1] = 0x23; /* ECC */
        assert_false(frame_makes_rsa(create, sizeof(create)));
        assert_false(frame_makes_rsa(unseal, sizeof(unseal)));
}

static void test_answers_are_whole(void **state) {
        static const struct {
                unsigned at;
                uint8_t value;
                enum wire_fault fault;
        } cases[] = {
                { 0, 0x00, WIRE_BROKEN }, /* no tag of an answer */
                { 1, 0x01, WIRE_BROKEN }, /* no sessions */
                { 5, 26, WIRE_LONG },      { 5, 28, WIRE_SHORT },
                { 9, 0x01, WIRE_BROKEN },  /* a fault says no more than its code */
                { 10, 0xff, WIRE_BROKEN }, /* more parameters than there is */
                { 13, 7, WIRE_BROKEN },    { 13, 5, WIRE_BROKEN },
                { 15, 5, WIRE_BROKEN }, /* the encrypted one is longer than all */
                { 14, 0xff, WIRE_BROKEN }, { 21, 2, WIRE_BROKEN }, /* the nonce */
                { 20, 0xff, WIRE_BROKEN }, { 25, 2, WIRE_BROKEN }, /* the HMAC */
                { 25, 0, WIRE_BROKEN },    { 24, 0xff, WIRE_BROKEN },
                { 16, 9, WIRE_FINE }, /* what is in it isn't looked at */
        };

        (void) state;
        assert_int_equal(frame_check(unseal, sizeof(unseal), unsealed, sizeof(unsealed)),
                         WIRE_FINE);
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                uint8_t answer[sizeof(unsealed)];
                enum wire_fault f;

                memcpy(answer, unsealed, sizeof(answer));
                answer[cases[i].at] = cases[i].value;
                f = frame_check(unseal, sizeof(unseal), answer, sizeof(answer));
                if (f != cases[i].fault)
                        fail_msg("byte %u = 0x%x: %d", cases[i].at, cases[i].value, (int) f);
        }
        /* Cut anywhere, and the size corrected. */
        for (uint8_t n = 0; n < sizeof(unsealed); n++) {
                uint8_t answer[sizeof(unsealed)];

                memcpy(answer, unsealed, sizeof(answer));
                answer[5] = n;
                assert_int_equal(frame_check(unseal, sizeof(unseal), answer, n),
                                 n < 10 ? WIRE_SHORT : WIRE_BROKEN);
        }
        assert_int_equal(frame_check(start, sizeof(start), started, sizeof(started)), WIRE_FINE);
        assert_int_equal(frame_check(clock_command, sizeof(clock_command),
                                     (uint8_t[]){ 0, 0xc4, 0, 0, 0, 10, 0, 0, 0, 0x1e }, 10),
                         WIRE_OLD);
        assert_int_equal(frame_check(start, sizeof(start),
                                     (uint8_t[]){ 0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 3, 0 }, 12),
                         WIRE_BROKEN);
}

/* --- a device --- */

enum device_mode { DEVICE_HONEST, DEVICE_SILENT, DEVICE_SHORT, DEVICE_LONG, DEVICE_GONE };

struct device {
        struct swtpm *tpm;
        int ours;
        enum device_mode mode;
        pthread_t thread;
};

static void *serve(void *arg) {
        struct device *d = arg;
        uint8_t command[4096], answer[4200] = { 0 };
        ssize_t n;

        while ((n = read(d->ours, command, sizeof(command))) > 0) {
                size_t size = swtpm_command(d->tpm, command, (size_t) n, answer, 4096);

                switch (d->mode) {
                case DEVICE_HONEST: break;
                case DEVICE_SILENT: continue;
                case DEVICE_SHORT: size /= 2; break;
                case DEVICE_LONG: size = sizeof(answer); break;
                case DEVICE_GONE: (void) shutdown(d->ours, SHUT_RDWR); return NULL;
                }
                (void) send(d->ours, answer, size, MSG_NOSIGNAL);
        }
        return NULL;
}

/* Reads the clock of a TPM behind a device that behaves like that. */
static int read_clock(struct swtpm *tpm, enum device_mode mode, struct error *err) {
        _cleanup_(wire_closep) struct wire *w = NULL;
        struct device d = { .tpm = tpm, .mode = mode };
        struct tpm t = { 0 };
        int fd[2], r;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd),
                         0);
        assert_int_equal(fcntl(fd[1], F_SETFL, 0), 0);
        d.ours = fd[1];
        assert_int_equal(pthread_create(&d.thread, NULL, serve, &d), 0);
        wire_set_deadline(200);
        assert_int_equal(wire_device(fd[0], &w, err), 0);
        wire_set_deadline(0);
        t.wire = w;
        assert_int_equal(Esys_Initialize(&t.esys, wire_tcti(w), NULL), 0);
        r = clock_check(&t, err);
        Esys_Finalize(&t.esys);
        w = wire_close(w);
        assert_int_equal(pthread_join(d.thread, NULL), 0);
        (void) close(fd[1]);
        return r;
}

static void test_a_device(void **state) {
        static const struct {
                enum device_mode mode;
                int result;
        } cases[] = {
                { DEVICE_HONEST, 0 },         { DEVICE_SILENT, -ETIMEDOUT },
                { DEVICE_SHORT, -EMSGSIZE },  { DEVICE_LONG, -EMSGSIZE },
                { DEVICE_GONE, -ECONNRESET },
        };

        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                struct error err = { 0 };
                int r = read_clock(*state, cases[i].mode, &err);

                if (r != cases[i].result)
                        fail_msg("case %u: %d: %s", i, r, err.text);
        }
}

static void test_nobody_takes_the_call(void **state) {
        _cleanup_(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        const struct swtpm *s = *state;
        struct wire *w[8] = { 0 };
        struct error err = { 0 };
        char tcti[140];
        int r = 0;

        (void) snprintf(a.sun_path, sizeof(a.sun_path), "%s/full", s->dir);
        (void) snprintf(tcti, sizeof(tcti), "swtpm:path=%s", a.sun_path);
        assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
        assert_int_equal(wire_open(tcti, &w[0], &err), -ENODEV); /* nobody listens */
        assert_int_equal(listen(fd, 1), 0);
        wire_set_deadline(100);
        for (unsigned i = 0; i < ARRAY_SIZE(w) && r == 0; i++)
                r = wire_open(tcti, &w[i], &err);
        wire_set_deadline(0);
        assert_int_equal(r, -ETIMEDOUT);
        for (unsigned i = 0; i < ARRAY_SIZE(w); i++)
                wire_close(w[i]);
}

/* What isn't ours to serve goes through tpm2-tss, and works. */
static void test_through_tpm2_tss(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_info info;
        struct error err = { 0 };
        char tcti[140];

        (void) snprintf(tcti, sizeof(tcti), "swtpm:path=nowhere,path=%s", s->socket);
        assert_int_equal(tpm_open(tcti, &t, &err), 0);
        assert_int_equal(tpm_info(t, &info, &err), 0);
        t = tpm_close(t);
        assert_int_equal(tpm_open("swtpm:pah=nowhere", &t, &err), -EINVAL);
        assert_int_equal(tpm_open("device:/dev/tpm-there-is-none", &t, &err), -ENODEV);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sessions_are_found),
                cmocka_unit_test(test_rsa_is_found),
                cmocka_unit_test(test_answers_are_whole),
                cmocka_unit_test_setup_teardown(test_a_device, swtpm_start, swtpm_stop),
                cmocka_unit_test_setup_teardown(test_nobody_takes_the_call, swtpm_start,
                                                swtpm_stop),
                cmocka_unit_test_setup_teardown(test_through_tpm2_tss, swtpm_start, swtpm_stop),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
