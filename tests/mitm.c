/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tests/mitm.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
        CC_CREATE_PRIMARY = 0x131,
        CC_STARTUP = 0x144,
        CC_CERTIFY_CREATION = 0x14a,
        CC_FLUSH = 0x165,
        CC_READ_PUBLIC = 0x173,
};

static const char *const names[MITM_MODES] = { "pass",  "flip",  "truncate", "oversize", "trailing",
                                               "stall", "strip", "swap",     "replay",   "reset",
                                               "fail",  "close", "lose" };

const char *mitm_mode_name(enum mitm_mode m) {
        return names[m];
}

bool mitm_mode_parse(const char *name, enum mitm_mode *ret) {
        for (enum mitm_mode m = 0; m < MITM_MODES; m++)
                if (strcmp(names[m], name) == 0) {
                        *ret = m;
                        return true;
                }
        return false;
}

static uint32_t get32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static uint16_t get16(const uint8_t *p) {
        return (uint16_t) (p[0] << 8 | p[1]);
}

static void put32(uint8_t *p, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> (24 - 8 * i));
}

static int connect_to(const char *path) {
        _cleanup_(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        (void) snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
        if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
                return -1;
        return TAKE_FD(fd);
}

/* Reads a whole command or answer. Return: its size; 0 where there's none. */
static size_t read_message(int fd, uint8_t *p, size_t max) {
        size_t size = 0;

        while (size < 10 || size < get32(p + 2)) {
                ssize_t n = read(fd, p + size, (size < 10 ? 10 : get32(p + 2)) - size);

                if (n <= 0)
                        return 0;
                size += (size_t) n;
                if (size >= 10 && get32(p + 2) > max)
                        return 0;
        }
        return size;
}

/* What the TPM says to @command. Return: the size; 0 where it says nothing. */
static size_t ask(const struct mitm *m, const uint8_t *command, size_t size, uint8_t *answer) {
        _cleanup_(close_fdp) int fd = connect_to(m->tpm);

        if (fd < 0 || send(fd, command, size, MSG_NOSIGNAL) != (ssize_t) size)
                return 0;
        return read_message(fd, answer, 4096);
}

static void see(struct mitm *m, const uint8_t *p, size_t size) {
        if (size <= sizeof(m->seen) - m->seen_size) {
                memcpy(m->seen + m->seen_size, p, size);
                m->seen_size += size;
        }
        if (m->traffic) {
                (void) fwrite(p, 1, size, m->traffic);
                (void) fflush(m->traffic);
        }
}

/* --- what it can do --- */

/* Power off and on, as the host sees fit: over swtpm's control channel, then as firmware does. */
static void reset(const struct mitm *m) {
        static const uint8_t startup[] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0 };
        _cleanup_(close_fdp) int fd = -1;
        uint8_t answer[4096];
        char control[128];

        (void) snprintf(control, sizeof(control), "%s.ctrl", m->tpm);
        fd = connect_to(control);
        if (fd < 0 || send(fd, "\0\0\0\2\0\0\0\0", 8, MSG_NOSIGNAL) != 8 || /* CMD_INIT */
            read(fd, answer, 4) != 4 || get32(answer) != 0 ||
            ask(m, startup, sizeof(startup), answer) != 10 || get32(answer + 6) != 0)
                (void) fprintf(stderr, "mitm: can't reset the TPM\n");
}

/* Clears the encrypt attribute of each session that isn't a password. */
static void strip(uint8_t *command, size_t size) {
        size_t at = 14 + (get32(command + 6) == CC_CERTIFY_CREATION ? 4 : 0);
        size_t end;

        if (get16(command) != 0x8002 || size < at + 4)
                return;
        end = at + 4 + get32(command + at);
        for (at += 4; at + 9 <= end && end <= size;) {
                bool password = get32(command + at) == 0x40000009;

                at += 6 + get16(command + at + 4);
                if (at >= end)
                        return;
                if (!password)
                        command[at] &= (uint8_t) ~0x40;
                at += 3 + get16(command + at + 1);
        }
}

/* Another storage key of the same template, but for one byte in "unique". */
static const uint8_t other_key[] = {
        0x80, 2,      0,   0,    0,    74,   0, 0,    1, 0x31, 0x40, 0,    0, 1, /* for the owner */
        0,    0,      0,   9,    0x40, 0,    0, 9,    0, 0,    0,    0,    0,    /* no password */
        0,    4,      0,   0,    0,    0,                                        /* inSensitive */
        0,    27 + 6, 0,   0x23, 0,    0x0b, 0, 3,    4, 0x72, 0,    0,          /* inPublic */
        0,    6,      0,   0x80, 0,    0x43, 0, 0x10, 0, 3,    0,    0x10, 0, 7, 'a',
        'n',  'o',    't', 'h',  'e',  'r',  0, 0,    0, 0,    0,    0,    0, 0, /* outsideInfo,
                                                                                    creationPCR */
};

/* The answer to TPM2_CreatePrimary or TPM2_ReadPublic, about another key. */
static size_t swap(const struct mitm *m, const uint8_t *command, size_t size, uint8_t *answer) {
        uint8_t flush[] = { 0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65, 0, 0, 0, 0 };
        uint8_t read_public[] = { 0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x73, 0, 0, 0, 0 };
        uint8_t other[4096], create[sizeof(other_key)], gone[4096];
        size_t n, k;

        memcpy(create, other_key, sizeof(create));
        put32(create + 2, sizeof(create));
        k = ask(m, create, sizeof(create), other);
        if (k < 14 || get32(other + 6) != 0) {
                (void) fprintf(stderr, "mitm: no other key: 0x%x\n", k ? get32(other + 6) : 0);
                return ask(m, command, size, answer);
        }
        memcpy(flush + 10, other + 10, 4);
        memcpy(read_public + 10, other + 10, 4);
        if (get32(command + 6) == CC_READ_PUBLIC)
                k = ask(m, read_public, sizeof(read_public), other);
        (void) ask(m, flush, sizeof(flush), gone);
        n = ask(m, command, size, answer);
        if (n < 14 || get32(answer + 6) != 0)
                return n; /* there is no key to swap */
        if (get32(command + 6) == CC_CREATE_PRIMARY)
                memcpy(other + 10, answer + 10, 4);
        memcpy(answer, other, k);
        return k;
}

static void keep(struct mitm *m, uint32_t code, const uint8_t *answer, size_t size) {
        for (unsigned i = 0; i < MITM_KEPT; i++) {
                if (m->kept[i].code != 0 && m->kept[i].code != code)
                        continue;
                m->kept[i].code = code;
                m->kept[i].size = size;
                memcpy(m->kept[i].answer, answer, size);
                return;
        }
}

static size_t replay(const struct mitm *m, uint32_t code, uint8_t *answer) {
        for (unsigned i = 0; i < MITM_KEPT; i++)
                if (m->kept[i].code == code) {
                        memcpy(answer, m->kept[i].answer, m->kept[i].size);
                        return m->kept[i].size;
                }
        return 0;
}

static size_t fail_with(uint32_t rc, uint8_t *answer) {
        memcpy(answer, "\x80\x01\0\0\0\x0a", 6);
        put32(answer + 6, rc);
        return 10;
}

/* What becomes of the answer on its way back. Return: its new size. */
static size_t spoil(const struct mitm_plan *plan, uint8_t *answer, size_t size) {
        size_t at;

        switch (plan->mode) {
        case MITM_FLIP:
                at = plan->byte >= 0 ? (size_t) plan->byte : size - (size_t) -plan->byte;
                if (at < size)
                        answer[at] ^= 1;
                return size;
        case MITM_TRUNCATE: return size / 2;
        case MITM_TRAILING: answer[size] = 0; return size + 1;
        case MITM_OVERSIZE:
                memset(answer + size, 0, 8192 - size);
                put32(answer + 2, 8192);
                return 8192;
        default: return size;
        }
}

static bool is_target(const struct mitm *m, uint32_t code) {
        const struct mitm_plan *p = &m->plan;

        if (p->mode == MITM_PASS || (p->times && m->done == p->times))
                return false;
        return p->at ? p->at == m->count : !p->code || p->code == code;
}

/* Return: the size of the answer; 0 where there's to be none. */
static size_t relay(struct mitm *m, uint8_t *command, size_t size, uint8_t *answer) {
        uint32_t code = get32(command + 6);
        bool target = is_target(m, code);
        size_t n;

        m->done += target;
        if (!target) {
                n = ask(m, command, size, answer);
                if (m->plan.mode == MITM_PASS)
                        keep(m, code, answer, n);
                return n;
        }
        switch (m->plan.mode) {
        case MITM_FAIL: return fail_with(m->plan.rc, answer);
        case MITM_CLOSE: return 0;
        case MITM_REPLAY: return replay(m, code, answer);
        case MITM_SWAP: return swap(m, command, size, answer);
        case MITM_RESET: reset(m); break;
        case MITM_STRIP: strip(command, size); break;
        default: break;
        }
        n = ask(m, command, size, answer);
        see(m, answer, n);
        if (n == 0 || m->plan.mode == MITM_LOSE || m->plan.mode == MITM_STALL)
                return 0;
        return spoil(&m->plan, answer, n);
}

/* --- serving --- */

static void serve_one(struct mitm *m, int fd) {
        uint8_t command[4096], answer[8192 + 1], end;
        size_t size = read_message(fd, command, sizeof(command)), n;
        unsigned done = m->done;

        if (size == 0)
                return; /* somebody looks whether we're there */
        see(m, command, size);
        if (m->count < MITM_COMMANDS)
                m->commands[m->count] = get32(command + 6);
        m->count++;
        n = relay(m, command, size, answer);
        see(m, answer, n);
        if (m->list) {
                (void) fprintf(m->list, "%u %x %x\n", m->count, get32(command + 6),
                               n >= 10 ? get32(answer + 6) : 0xffffffff);
                (void) fflush(m->list);
        }
        if (n > 0)
                (void) send(fd, answer, n, MSG_NOSIGNAL);
        else if (m->plan.mode == MITM_STALL && m->done > done)
                (void) !read(fd, &end, 1); /* until they give up */
}

void mitm_serve(struct mitm *m) {
        while (!m->stop) {
                struct pollfd p = { .fd = m->listener, .events = POLLIN };
                _cleanup_(close_fdp) int fd = -1;

                if (poll(&p, 1, 20) <= 0)
                        continue;
                fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd >= 0)
                        serve_one(m, fd);
        }
}

static void *run(void *arg) {
        mitm_serve(arg);
        return NULL;
}

struct mitm *mitm_new(const char *socket_path, const char *tpm) {
        _cleanup_(mitm_freep) struct mitm *m = calloc(1, sizeof(*m));
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        if (!m)
                return NULL;
        (void) snprintf(m->tpm, sizeof(m->tpm), "%s", tpm);
        (void) snprintf(m->socket, sizeof(m->socket), "%s", socket_path);
        (void) snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
        (void) unlink(socket_path);
        m->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (m->listener < 0 || bind(m->listener, (struct sockaddr *) &a, sizeof(a)) < 0 ||
            listen(m->listener, 8) < 0)
                return NULL;
        return TAKE(m);
}

bool mitm_start(struct mitm *m) {
        return pthread_create(&m->thread, NULL, run, m) == 0;
}

void mitm_set(struct mitm *m, struct mitm_plan plan) {
        m->plan = plan;
        m->count = m->done = 0;
        m->seen_size = 0;
}

struct mitm *mitm_free(struct mitm *m) {
        if (!m)
                return NULL;
        m->stop = true;
        if (m->thread)
                (void) pthread_join(m->thread, NULL);
        close_fdp(&m->listener);
        free(m);
        return NULL;
}
