/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/hex.h"
#include "tests/swtpm.h"
#include "tpm/ek.h"
#include "tpm/tpm.h"

/* What somebody sees, and can do, who carries the traffic between us and the TPM. */

#define MASK (1u << 7 | 1u << 16)

static const struct steps steps = { .count = 1,
                                    .step = { { .kind = STEP_PCR, .pcr_mask = MASK } } };
static const struct tpm_opener opener = { .steps = &steps };

enum {
        CC_CREATE_PRIMARY = 0x131,
        CC_ACTIVATE_CREDENTIAL = 0x147,
        CC_CERTIFY_CREATION = 0x14a,
        CC_CREATE = 0x153,
        CC_LOAD = 0x157,
        CC_UNSEAL = 0x15e,
        CC_FLUSH = 0x165,
        CC_READ_PUBLIC = 0x173,
        CC_START_SESSION = 0x176,
        CC_GET_CAPABILITY = 0x17a,
        CC_PCR_READ = 0x17e,
        CC_POLICY_PCR = 0x17f,
        CC_POLICY_RESTART = 0x180,
        CC_READ_CLOCK = 0x181,
};

/* What somebody says in the TPM's place who can't compute the HMAC of our session. */
enum forgery {
        FORGE_NOTHING,
        FORGE_NO_SESSION,    /* an answer without a trace of sessions */
        FORGE_ONE_SESSION,   /* the password's alone, which needs no proof */
        FORGE_TWO_PASSWORDS, /* ours as if it were one */
        FORGE_ZEROS,         /* an HMAC of zeros */
        FORGE_SAME_AGAIN,    /* what the TPM answered in another session */
        FORGE_OTHER_OBJECT,  /* load another object than was asked for */
        FORGE_KINDS
};

struct proxy {
        struct swtpm *tpm;
        char socket[48], tcti[64];
        int data, control; /* where we come in */
        pthread_t thread;
        atomic_bool stop;

        uint8_t seen[64 * 1024]; /* all that went by, both ways */
        size_t seen_size;
        uint32_t commands[64];
        unsigned count;

        /* What to do to the command of this code; 0 for none. */
        uint32_t target;
        uint32_t answer;         /* answer this code instead of passing it on */
        unsigned answers;        /* so many times; 0 is always */
        unsigned extend;         /* so many times, extend PCR 0 before passing it on */
        enum forgery forge;      /* answer TPM2_CertifyCreation ourselves */
        struct tpm_bytes public; /* of the object that it's about */
        bool keep;               /* keep the command and the answer */
        uint8_t kept_command[2048], kept_answer[2048];
        size_t kept_command_size, kept_answer_size;
        int flip;          /* flip a bit of this byte of the answer, from the end if negative */
        unsigned hang_at;  /* never answer the command of this number, counted from 1 */
        atomic_bool hangs; /* it got there */
};

static uint32_t get32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> (24 - 8 * i));
}

static void record(struct proxy *p, const uint8_t *bytes, size_t size) {
        if (size <= sizeof(p->seen) - p->seen_size) {
                memcpy(p->seen + p->seen_size, bytes, size);
                p->seen_size += size;
        }
}

/* --- forged certificates --- */

static uint8_t *put(uint8_t *at, const void *bytes, size_t size) {
        memcpy(at, bytes, size);
        return at + size;
}

/* "The TPM" attests whatever @command asks for (Part 2, TPMS_ATTEST), and doesn't sign it. */
static uint8_t *put_attest(const struct proxy *p, const uint8_t *command, uint8_t *at) {
        const uint8_t *nonce = command + 22 + get32(command + 18);
        const uint8_t *hash = nonce + 2 + nonce[1];
        uint8_t *size = at, digest[32];
        struct error err = { 0 };

        if (crypto_sha256(p->public.data + 2, p->public.size - 2u, digest, &err) < 0)
                abort(); /* not in the thread that cmocka knows */
        at = put(at, "\0\0\xff\x54\x43\x47\x80\x1a\0", 10);
        at = put(at, nonce, 2u + nonce[1]);
        at = put(at, (uint8_t[25]){ 0 }, 25); /* clock, firmware */
        at = put(put(at, "\0\x22\0\x0b", 4), digest, sizeof(digest));
        at = put(at, hash, 2u + hash[1]);
        size[1] = (uint8_t) (at - size - 2);
        return put(at, "\0\x10", 2); /* no signature */
}

static size_t forge(const struct proxy *p, const uint8_t *command, uint8_t *reply) {
        uint8_t *at = put(reply, "\x80\x02\0\0\0\0\0\0\0", 10), *size = at;

        if (p->forge == FORGE_NO_SESSION) {
                reply[1] = 1;
                at = put_attest(p, command, at);
        } else {
                at = put_attest(p, command, at + 4);
                put32(size, (uint32_t) (at - size - 4));
                at = put(at, "\0\0\x01\0", 5); /* no nonce, continueSession, no HMAC */
        }
        if (p->forge == FORGE_TWO_PASSWORDS)
                at = put(at, "\0\0\x01\0", 5);
        if (p->forge == FORGE_ZEROS) {
                at = put(put(at, "\0\x20", 2), (uint8_t[32]){ 7 }, 32);
                at = put(put(at, "\x41\0\x20", 3), (uint8_t[32]){ 0 }, 32);
        }
        put32(reply + 2, (uint32_t) (at - reply));
        return (size_t) (at - reply);
}

/* The reply to @command, as the man in the middle wants it to be. */
static size_t relay(struct proxy *p, const uint8_t *command, size_t size, uint8_t *reply,
                    size_t max) {
        bool target = p->target && get32(command + 6) == p->target;
        size_t n;

        if (target && p->answer) {
                memcpy(reply, "\x80\x01\0\0\0\x0a", 6);
                put32(reply + 6, p->answer);
                if (p->answers > 0 && --p->answers == 0)
                        p->answer = 0;
                return 10;
        }
        if (target && p->extend) {
                p->extend--;
                (void) swtpm_extend(p->tpm, 0);
        }
        if (target && p->forge == FORGE_SAME_AGAIN)
                return (size_t) (put(reply, p->kept_answer, p->kept_answer_size) - reply);
        if (target && p->forge == FORGE_OTHER_OBJECT) {
                command = p->kept_command;
                size = p->kept_command_size;
        } else if (target && p->forge)
                return forge(p, command, reply);
        n = swtpm_command(p->tpm, command, size, reply, max);
        if (target && p->keep && n <= sizeof(p->kept_answer) && size <= sizeof(p->kept_command)) {
                p->kept_command_size =
                        (size_t) (put(p->kept_command, command, size) - p->kept_command);
                p->kept_answer_size = (size_t) (put(p->kept_answer, reply, n) - p->kept_answer);
        }
        if (target && p->flip && n > 10)
                reply[p->flip > 0 ? (size_t) p->flip : n - (size_t) -p->flip] ^= 1;
        return n;
}

static void serve_command(struct proxy *p) {
        _cleanup_(close_fdp) int fd = accept4(p->data, NULL, NULL, SOCK_CLOEXEC);
        uint8_t command[4096], reply[4096];
        size_t size = 0, n;

        while (size < 10 || size < get32(command + 2)) {
                ssize_t k = read(fd, command + size, sizeof(command) - size);

                if (k <= 0)
                        return; /* the TCTI connects once without saying anything */
                size += (size_t) k;
        }
        record(p, command, size);
        if (p->count < ARRAY_SIZE(p->commands))
                p->commands[p->count] = get32(command + 6);
        p->count++;

        n = relay(p, command, size, reply, sizeof(reply));
        record(p, reply, n);
        if (p->hang_at == p->count) {
                p->hangs = true; /* the TPM did it, and nobody learns of it */
                (void) !read(fd, command, 1);
                return;
        }
        (void) send(fd, reply, n, MSG_NOSIGNAL);
}

/* The control channel sets the locality when a TCTI begins; grant it. */
static void serve_control(struct proxy *p) {
        _cleanup_(close_fdp) int fd = accept4(p->control, NULL, NULL, SOCK_CLOEXEC);
        uint8_t request[64];

        if (read(fd, request, sizeof(request)) > 0)
                (void) send(fd, "\0\0\0\0", 4, MSG_NOSIGNAL);
}

static void *serve(void *arg) {
        struct proxy *p = arg;

        while (!p->stop) {
                struct pollfd fds[] = { { .fd = p->data, .events = POLLIN },
                                        { .fd = p->control, .events = POLLIN } };

                (void) poll(fds, ARRAY_SIZE(fds), 20);
                if (fds[0].revents & POLLIN)
                        serve_command(p);
                if (fds[1].revents & POLLIN)
                        serve_control(p);
        }
        return NULL;
}

static int listen_at(const char *path) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void) snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
        if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0 || listen(fd, 8) < 0)
                return -1;
        return fd;
}

static int setup(void **state) {
        struct proxy *p = calloc(1, sizeof(*p));
        char control[64];

        if (!p)
                return -1;
        p->tpm = swtpm_new(SWTPM_NORMAL);
        if (!p->tpm)
                return -1;
        (void) snprintf(p->socket, sizeof(p->socket), "%s/proxy", p->tpm->dir);
        (void) snprintf(control, sizeof(control), "%s.ctrl", p->socket);
        (void) snprintf(p->tcti, sizeof(p->tcti), "swtpm:path=%s", p->socket);
        p->data = listen_at(p->socket);
        p->control = listen_at(control);
        if (p->data < 0 || p->control < 0 || pthread_create(&p->thread, NULL, serve, p) != 0)
                return -1;
        *state = p;
        return 0;
}

static int teardown(void **state) {
        struct proxy *p = *state;

        p->stop = true;
        (void) pthread_join(p->thread, NULL);
        (void) close(p->data);
        (void) close(p->control);
        swtpm_free(p->tpm);
        free(p);
        return 0;
}

static void forget(struct proxy *p) {
        p->count = 0;
        p->seen_size = 0;
        p->target = p->answer = p->answers = p->hang_at = p->extend = 0;
        p->flip = 0;
        p->forge = FORGE_NOTHING;
        p->keep = false;
        p->hangs = false;
}

static struct tpm *open_through(struct proxy *p) {
        struct tpm *t = NULL;
        struct error err = { 0 };

        if (tpm_open(p->tcti, &t, &err) < 0)
                fail_msg("open: %s", err.text);
        return t;
}

/* Seals a random key, which is returned, through the proxy. */
static struct secret *seal_through(struct proxy *p, struct sealed *ret) {
        _cleanup_(tpm_closep) struct tpm *t = open_through(p);
        struct secret *key = NULL;
        struct error err = { 0 };

        assert_int_equal(crypto_random_secret(32, &key, &err), 0);
        if (swtpm_seal(t, key, MASK, ret, &err) != TPM_GRANTED)
                fail_msg("seal: %s", err.text);
        return key;
}

static int unseal_through(struct proxy *p, const struct sealed *object, struct tpm_refusal *why,
                          struct error *err) {
        _cleanup_(tpm_closep) struct tpm *t = open_through(p);
        _cleanup_(secret_freep) struct secret *got = NULL;
        int r;

        r = tpm_unseal(t, object, &opener, &got, why, err);
        assert_int_equal(got != NULL, r == TPM_GRANTED);
        return r;
}

static void assert_commands(const struct proxy *p, const uint32_t *want, unsigned n) {
        for (unsigned i = 0; i < n && i < p->count; i++)
                if (p->commands[i] != want[i])
                        fail_msg("command %u is 0x%x, not 0x%x", i + 1, p->commands[i], want[i]);
        assert_int_equal(p->count, n);
}

static void make_persistent(const struct proxy *p) {
        assert_true(swtpm_run(
                p->tpm, "tpm2_createprimary -C o -G ecc256:aes128cfb -a 'fixedtpm|fixedparent|"
                        "sensitivedataorigin|userwithauth|restricted|decrypt|noda' -c s.ctx &&"
                        "tpm2_flushcontext -t && tpm2_evictcontrol -c s.ctx 0x81000001 &&"
                        "tpm2_flushcontext -t"));
}

static void test_no_command_is_sent_in_vain(void **state) {
        static const uint32_t sealing[] = {
                CC_PCR_READ,       /* by the test */
                CC_READ_CLOCK,     /* was it reset? */
                CC_READ_PUBLIC,    /* no persistent storage key */
                CC_CREATE_PRIMARY, /* so derive it */
                CC_START_SESSION,  /* salted: the key goes there encrypted */
                CC_CREATE,         /* ends the session */
                CC_FLUSH,          /* the parent */
        };
        static const uint32_t unsealing[] = {
                CC_READ_CLOCK,       /* was it reset? */
                CC_READ_PUBLIC,      /* no persistent storage key */
                CC_CREATE_PRIMARY,   /* so derive it */
                CC_LOAD,             /* a damaged object ends here, without a session */
                CC_START_SESSION,    /* salted: the key comes encrypted */
                CC_CERTIFY_CREATION, /* this TPM made it in that state: nothing else shows it */
                CC_POLICY_PCR,       /* with the expected values: a mismatch ends here */
                CC_UNSEAL,           /* ends the session */
                CC_FLUSH,            /* the object */
                CC_FLUSH,            /* the parent */
        };
        static const uint32_t with_persistent[] = {
                CC_READ_CLOCK,       CC_READ_PUBLIC, CC_LOAD,   CC_START_SESSION,
                CC_CERTIFY_CREATION, CC_POLICY_PCR,  CC_UNSEAL, CC_FLUSH, /* the object */
        };
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };

        key = seal_through(p, &object);
        assert_commands(p, sealing, ARRAY_SIZE(sealing));
        forget(p);
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
        assert_commands(p, unsealing, ARRAY_SIZE(unsealing));

        make_persistent(p);
        forget(p);
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
        assert_commands(p, with_persistent, ARRAY_SIZE(with_persistent));
}

static void test_a_refusal_costs_no_more_than_it_must(void **state) {
        static const uint32_t refused[] = {
                CC_READ_CLOCK,    CC_READ_PUBLIC,      CC_LOAD,
                CC_START_SESSION, CC_CERTIFY_CREATION, CC_POLICY_PCR, /* refuses */
                CC_PCR_READ,                                          /* to say which */
                CC_FLUSH, /* the session, which nothing ended */
                CC_FLUSH, /* the object */
        };
        static const uint32_t unproven[] = {
                CC_READ_CLOCK,    CC_READ_PUBLIC,      CC_LOAD,
                CC_START_SESSION, CC_CERTIFY_CREATION, /* refuses */
                CC_FLUSH,                              /* the session, which nothing ended */
                CC_FLUSH,                              /* the object */
        };
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };

        make_persistent(p);
        key = seal_through(p, &object);
        assert_true(swtpm_extend(p->tpm, 7));
        forget(p);
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_PCR_MISMATCH);
        assert_commands(p, refused, ARRAY_SIZE(refused));

        object.ticket.data[object.ticket.size - 1] ^= 1;
        forget(p);
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_UNPROVEN);
        assert_commands(p, unproven, ARRAY_SIZE(unproven));

        /* What can be seen without the TPM costs it nothing. */
        object.pcrs.value[7][0] ^= 1;
        forget(p);
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_UNPROVEN);
        assert_int_equal(p->count, 0);
}

static void test_the_key_is_never_on_the_wire(void **state) {
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };

        key = seal_through(p, &object);
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
        for (size_t i = 0; i + 8 <= secret_size(key); i++)
                assert_null(memmem(p->seen, p->seen_size, secret_data(key) + i, 8));

        /* Both sessions are salted with an object, not with TPM2_RH_NULL: else all that crosses
         * the wire is enough to decrypt it. */
        assert_non_null(memmem(p->seen, p->seen_size, "\0\0\x01\x76\x80\0\0\0", 8));
        assert_null(memmem(p->seen, p->seen_size, "\0\0\x01\x76\x40", 5));

        /* What isn't encrypted is found: the search would find the key. */
        assert_non_null(memmem(p->seen, p->seen_size, "\0\0\0\x01\0\x0b\x03\x80\0\x01", 10));
        assert_non_null(memmem(p->seen, p->seen_size, object.private.data, object.private.size));
}

static void test_killed_at_any_command(void **state) {
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };
        unsigned left = 0;

        key = seal_through(p, &object);
        for (unsigned at = 1; at <= 10; at++) {
                pid_t pid;

                forget(p);
                p->hang_at = at;
                pid = fork();
                if (pid == 0) {
                        (void) unseal_through(p, &object, &why, &err);
                        _exit(1);
                }
                for (unsigned i = 0; !p->hangs && i < 10000; i++)
                        (void) usleep(1000);
                assert_true(p->hangs);
                assert_int_equal(kill(pid, SIGKILL), 0);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
                left += swtpm_leftovers(p->tpm) > 0;

                forget(p);
                assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
                assert_int_equal(p->commands[0], CC_GET_CAPABILITY); /* what is left? */
                assert_int_equal(swtpm_leftovers(p->tpm), 0);
        }
        assert_int_equal(left, 7); /* from TPM2_CreatePrimary up to the first flush */
}

static void test_pcrs_that_change_meanwhile(void **state) {
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };

        key = seal_through(p, &object);
        forget(p);
        p->target = CC_UNSEAL;
        p->extend = 2; /* PCR 0, which the policy isn't about */
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
        assert_int_equal(p->commands[8], CC_POLICY_RESTART);
        assert_int_equal(swtpm_leftovers(p->tpm), 0);

        p->extend = 1000;
        assert_int_equal(unseal_through(p, &object, &why, &err), -EIO);
        assert_non_null(strstr(err.text, "PCRs keep changing"));
        assert_int_equal(swtpm_leftovers(p->tpm), 0);
}

static void test_answers_become_verdicts_or_faults(void **state) {
        static const struct {
                uint32_t command, answer;
                int result;
        } cases[] = {
                { CC_UNSEAL, 0x921, TPM_LOCKED_OUT },
                { CC_UNSEAL, 0x99d, TPM_DAMAGED }, /* POLICY_FAIL, and no PCR differs */
                { CC_UNSEAL, 0x98e, -EPROTO },     /* AUTH_FAIL, of our session */
                { CC_UNSEAL, 0x101, -EIO },        /* FAILURE */
                { CC_LOAD, 0x1df, TPM_DAMAGED },   /* INTEGRITY, of parameter 1 */
                { CC_LOAD, 0x095, TPM_DAMAGED },   /* SIZE */
                { CC_LOAD, 0x98e, -EIO },          /* the parent has an auth value */
                { CC_LOAD, 0x922, -EIO },          /* RETRY, for ever */
                { CC_READ_CLOCK, 0x101, -EIO },
                { CC_READ_CLOCK, 0x100, -EIO }, /* INITIALIZE: as we found it */
                { CC_READ_PUBLIC, 0x101, -EIO },
                { CC_READ_PUBLIC, 0x18b, TPM_GRANTED },
                { CC_CREATE_PRIMARY, 0x9a2, -EIO },      /* BAD_AUTH of the owner */
                { CC_CREATE_PRIMARY, 0x2e6, TPM_OTHER }, /* CURVE; but RSA neither */
                { CC_START_SESSION, 0x903, -EIO },       /* SESSION_MEMORY, whatever is flushed */
                { CC_CERTIFY_CREATION, 0x4e0, TPM_UNPROVEN }, /* TICKET, of parameter 4 */
                { CC_CERTIFY_CREATION, 0x0a0, TPM_UNPROVEN }, /* TICKET */
                { CC_CERTIFY_CREATION, 0x4d5, TPM_UNPROVEN }, /* SIZE, of parameter 4 */
                { CC_CERTIFY_CREATION, 0x2d5, -EIO },         /* of parameter 2: that's ours */
                { CC_CERTIFY_CREATION, 0x98e, -EIO },         /* AUTH_FAIL, of the password */
                { CC_CERTIFY_CREATION, 0xa8e, -EPROTO },      /* of session 2, which is ours */
                { CC_CERTIFY_CREATION, 0x143, -EIO },         /* COMMAND_CODE: it can't */
                { CC_POLICY_PCR, 0x100, -ESTALE },            /* INITIALIZE: it was reset */
                { CC_FLUSH, 0x101, TPM_GRANTED }, /* the key is there; the next holder cleans up */
        };
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct stat st;
        char lock[64];

        key = seal_through(p, &object);
        (void) snprintf(lock, sizeof(lock), "%s.lock", p->socket);
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                struct tpm_refusal why = { 0 };
                struct error err = { 0 };
                int r;

                forget(p);
                p->target = cases[i].command;
                p->answer = cases[i].answer;
                r = unseal_through(p, &object, &why, &err);
                if (r != cases[i].result)
                        fail_msg("case %u: %d (%s)", i, r, err.text);
                assert_int_equal(err.tpm_rc, r < 0 ? cases[i].answer : 0);
                assert_int_equal(stat(lock, &st), 0);
                /* Where it couldn't be flushed. */
                assert_int_equal(st.st_size,
                                 cases[i].command == CC_FLUSH || cases[i].answer == 0x922);

                forget(p);
                assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
                assert_int_equal(swtpm_leftovers(p->tpm), 0);
        }
}

static void test_altered_answers(void **state) {
        static const struct {
                uint32_t command;
                int byte;
        } cases[] = {
                { CC_CERTIFY_CREATION, 20 }, /* what is certified, encrypted */
                { CC_CERTIFY_CREATION, -1 }, /* the session's HMAC over it */
                { CC_LOAD, 20 },   /* the object's Name, in an answer that nothing protects */
                { CC_UNSEAL, 17 }, /* the encrypted key */
                { CC_UNSEAL, -1 }, /* the session's HMAC over it */
                { CC_CREATE_PRIMARY, 70 },  /* the parent's public area: the salt's recipient */
                { CC_CREATE_PRIMARY, -20 }, /* its Name */
        };
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };

        key = seal_through(p, &object);
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                forget(p);
                p->target = cases[i].command;
                p->flip = cases[i].byte;
                assert_int_equal(unseal_through(p, &object, &why, &err), -EPROTO);
                forget(p);
                assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
                assert_int_equal(swtpm_leftovers(p->tpm), 0);
        }
}

/* Unseals it and keeps the command @code with its answer. */
static void overhear(struct proxy *p, const struct sealed *object, uint32_t code) {
        struct tpm_refusal why;
        struct error err = { 0 };

        forget(p);
        p->target = code;
        p->keep = true;
        assert_int_equal(unseal_through(p, object, &why, &err), TPM_GRANTED);
}

static void test_forged_certificates(void **state) {
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *a = NULL, *b = NULL;
        struct sealed honest, object;
        struct tpm_refusal why;

        a = seal_through(p, &honest);
        b = seal_through(p, &object);
        p->public = object.public;
        object.creation = honest.creation;
        object.ticket = honest.ticket;
        for (enum forgery f = FORGE_NOTHING; f < FORGE_KINDS; f++) {
                bool load = f == FORGE_OTHER_OBJECT;
                struct error err = { 0 };
                int r;

                overhear(p, &honest, load ? CC_LOAD : CC_CERTIFY_CREATION);
                forget(p);
                p->target = load ? CC_LOAD : CC_CERTIFY_CREATION;
                p->forge = f;
                r = unseal_through(p, &object, &why, &err);
                if (r != (f == FORGE_NOTHING ? TPM_UNPROVEN : -EPROTO))
                        fail_msg("forgery %u: %d (%s)", f, r, err.text);
                for (unsigned i = 0; i < p->count; i++)
                        assert_true(p->commands[i] != CC_UNSEAL);

                forget(p);
                assert_int_equal(unseal_through(p, &honest, &why, &err), TPM_GRANTED);
                assert_int_equal(swtpm_leftovers(p->tpm), 0);
        }
}

static void test_a_key_put_in_for_the_persistent_one(void **state) {
        struct proxy *p = *state;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };

        assert_true(swtpm_run(
                p->tpm, "tpm2_createprimary -C o -G rsa2048:aes128cfb -a 'fixedtpm|fixedparent|"
                        "sensitivedataorigin|userwithauth|restricted|decrypt|noda' -c s.ctx &&"
                        "tpm2_flushcontext -t && tpm2_evictcontrol -c s.ctx 0x81000001 &&"
                        "tpm2_flushcontext -t"));
        key = seal_through(p, &object);
        forget(p);
        /* The modulus is another's, the Name the right one: ESYS alone would encrypt to it. */
        p->target = CC_READ_PUBLIC;
        p->flip = 100;
        assert_int_equal(unseal_through(p, &object, &why, &err), -EPROTO);
        assert_non_null(strstr(err.text, "alters"));
        assert_int_equal(p->count, 2);
}

static void test_tpm_without_ecc(void **state) {
        struct proxy *p = *state;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *key = NULL, *again = NULL;
        struct sealed object;
        struct tpm_refusal why;
        struct error err = { 0 };

        p->target = CC_CREATE_PRIMARY;
        p->answer = 0x2e6; /* CURVE, of parameter 2 */
        p->answers = 1;
        key = seal_through(p, &object); /* under an RSA key */
        assert_int_equal(p->commands[4], CC_CREATE_PRIMARY);
        p->answer = 0x2e6;
        p->answers = 1;
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
        /* An ECC key that isn't the parent is tried, and flushed, on the way to the RSA key. */
        assert_int_equal(unseal_through(p, &object, &why, &err), TPM_GRANTED);
        assert_int_equal(swtpm_leftovers(p->tpm), 0);

        p->answer = 0x2e6;
        assert_int_equal(crypto_random_secret(32, &again, &err), 0);
        t = open_through(p);
        assert_int_equal(swtpm_seal(t, again, MASK, &object, &err), -EIO);
        assert_non_null(strstr(err.text, "neither ECC nor RSA"));
}

/* The endorsement key as a certificate would have it: RSA, by the template of the high range, whose
 * auth value nothing protects on the way. */
static size_t certified_key(const struct proxy *p, uint8_t *ret, size_t max) {
        static const char policy_b[] = "ca3d0a99a2b93906f7a3342414efcfb3"
                                       "a385d44cd1fd459089d19b5071c0b7a0";
        uint8_t digest[32];
        char path[64];
        size_t size;
        FILE *f;

        (void) snprintf(path, sizeof(path), "%s/policy-b", p->tpm->dir);
        f = fopen(path, "w");
        assert_true(hex_decode(policy_b, digest, sizeof(digest)) && f &&
                    fwrite(digest, sizeof(digest), 1, f) == 1 && fclose(f) == 0);
        assert_true(swtpm_run(p->tpm,
                              "tpm2_createprimary -C e -G rsa2048:aes128cfb -L policy-b -c e.ctx "
                              "-a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|"
                              "adminwithpolicy|restricted|decrypt' && tpm2_flushcontext -t && "
                              "tpm2_readpublic -c e.ctx -f der -o e.der && tpm2_flushcontext -t"));
        (void) snprintf(path, sizeof(path), "%s/e.der", p->tpm->dir);
        f = fopen(path, "r");
        assert_non_null(f);
        size = fread(ret, 1, max, f);
        (void) fclose(f);
        return size;
}

static int prove_through(struct proxy *p, const struct ek_claim *claim) {
        _cleanup_(tpm_closep) struct tpm *t = open_through(p);
        char why[EK_TEXT];
        struct error err = { 0 };

        return tpm_ek_prove(t, claim, why, &err);
}

/* Nobody but the TPM that has both keys answers a challenge, and each is another one. */
static void test_answers_to_a_challenge(void **state) {
        static const struct {
                uint32_t command, answer;
                int byte, result;
        } cases[] = {
                { CC_ACTIVATE_CREDENTIAL, 0, 16, EK_MISMATCH }, /* the text that is given back */
                { CC_ACTIVATE_CREDENTIAL, 0, 47, EK_MISMATCH },
                { CC_ACTIVATE_CREDENTIAL, 0x1df, 0, EK_MISMATCH }, /* INTEGRITY, of parameter 1 */
                { CC_ACTIVATE_CREDENTIAL, 0x2c4, 0, EK_MISMATCH }, /* VALUE, of parameter 2 */
                { CC_ACTIVATE_CREDENTIAL, 0x12f, 0, EK_MISMATCH }, /* AUTH_UNAVAILABLE */
                { CC_ACTIVATE_CREDENTIAL, 0x101, 0, -EIO },        /* FAILURE */
                { CC_CREATE_PRIMARY, 0x2c3, 0, -EIO },             /* HASH, of parameter 2 */
                { CC_CREATE_PRIMARY, 0x28a, 0, EK_MISMATCH },      /* TYPE, of parameter 2 */
                { CC_CREATE_PRIMARY, 0, 100, -EPROTO },            /* the public area */
        };
        struct proxy *p = *state;
        struct tpm_bytes srk = { 0 };
        uint8_t key[600];
        struct ek_claim claim = { .kind = 3, .key = key, .srk = &srk };
        struct error err = { 0 };
        struct tpm *t = open_through(p);

        assert_int_equal(tpm_srk_name(t, &srk, &err), 0);
        t = tpm_close(t);
        claim.key_size = certified_key(p, key, sizeof(key));
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                forget(p);
                p->target = cases[i].command;
                p->answer = cases[i].answer;
                p->flip = cases[i].byte;
                assert_int_equal(prove_through(p, &claim), cases[i].result);
                forget(p);
                assert_int_equal(prove_through(p, &claim), EK_PROVEN);
                assert_int_equal(swtpm_leftovers(p->tpm), 0);
        }

        /* What the TPM answered to another one. */
        p->target = CC_ACTIVATE_CREDENTIAL;
        p->keep = true;
        assert_int_equal(prove_through(p, &claim), EK_PROVEN);
        p->forge = FORGE_SAME_AGAIN;
        assert_int_equal(prove_through(p, &claim), EK_MISMATCH);
}

#define THROUGH_PROXY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                THROUGH_PROXY(test_no_command_is_sent_in_vain),
                THROUGH_PROXY(test_a_refusal_costs_no_more_than_it_must),
                THROUGH_PROXY(test_the_key_is_never_on_the_wire),
                THROUGH_PROXY(test_killed_at_any_command),
                THROUGH_PROXY(test_pcrs_that_change_meanwhile),
                THROUGH_PROXY(test_answers_become_verdicts_or_faults),
                THROUGH_PROXY(test_altered_answers),
                THROUGH_PROXY(test_forged_certificates),
                THROUGH_PROXY(test_a_key_put_in_for_the_persistent_one),
                THROUGH_PROXY(test_tpm_without_ecc),
                THROUGH_PROXY(test_answers_to_a_challenge),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
