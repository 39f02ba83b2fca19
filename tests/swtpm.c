/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tests/swtpm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"

static int connect_to(const char *path) {
        _cleanup_(close_fdp) int fd = -1;
        struct sockaddr_un a = { .sun_family = AF_UNIX };

        (void) snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
                return -1;
        return TAKE_FD(fd);
}

static void swtpm_exec(const struct swtpm *s, enum swtpm_how how, pid_t parent) {
        char server[96], ctrl[96], state[96], log[64];
        int fd;

        (void) snprintf(server, sizeof(server), "type=unixio,path=%s", s->socket);
        (void) snprintf(ctrl, sizeof(ctrl), "type=unixio,path=%s.ctrl", s->socket);
        (void) snprintf(state, sizeof(state), "dir=%s/state-%u", s->dir, s->states);
        (void) snprintf(log, sizeof(log), "%s/log", s->dir);
        /* It says "Data client disconnected" after each command. */
        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
                _exit(127);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* died before prctl() */
                _exit(127);
        (void) execlp("swtpm", "swtpm", "socket", "--tpm2", "--server", server, "--ctrl", ctrl,
                      "--tpmstate", state, "--flags",
                      how == SWTPM_NORMAL ? "not-need-init,startup-clear" : "not-need-init", NULL);
        _exit(127);
}

static bool launch(struct swtpm *s, enum swtpm_how how) {
        char state[64], ctrl[64];
        pid_t self = getpid();

        (void) snprintf(state, sizeof(state), "%s/state-%u", s->dir, s->states);
        (void) snprintf(ctrl, sizeof(ctrl), "%s.ctrl", s->socket);
        (void) mkdir(state, 0700);
        (void) unlink(s->socket);
        (void) unlink(ctrl);

        s->pid = fork();
        if (s->pid == 0)
                swtpm_exec(s, how, self);
        for (int i = 0; s->pid > 0 && i < 10000; i++) { /* 10 s */
                _cleanup_(close_fdp) int data = connect_to(s->socket);
                _cleanup_(close_fdp) int control = connect_to(ctrl);

                if (data >= 0 && control >= 0)
                        return true;
                if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
                        break;
                (void) nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
        }
        (void) fprintf(stderr, "swtpm doesn't start in %s\n", s->dir);
        return false;
}

struct swtpm *swtpm_new(enum swtpm_how how) {
        _cleanup_(swtpm_freep) struct swtpm *s = NULL;

        s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        (void) strcpy(s->dir, "/tmp/swtpm-XXXXXX");
        if (!mkdtemp(s->dir)) {
                s->dir[0] = '\0';
                return NULL;
        }
        (void) snprintf(s->socket, sizeof(s->socket), "%s/tpm", s->dir);
        (void) snprintf(s->tcti, sizeof(s->tcti), "swtpm:path=%s", s->socket);
        if (!launch(s, how))
                return NULL;
        return TAKE(s);
}

void swtpm_kill(struct swtpm *s) {
        if (s->pid <= 0)
                return;
        (void) kill(s->pid, SIGKILL);
        (void) waitpid(s->pid, NULL, 0);
        s->pid = 0;
}

struct swtpm *swtpm_free(struct swtpm *s) {
        char command[64];

        if (!s)
                return NULL;
        swtpm_kill(s);
        (void) snprintf(command, sizeof(command), "rm -rf %s", s->dir);
        if (s->dir[0])
                (void) !system(command);
        free(s);
        return NULL;
}

int swtpm_start(void **state) {
        *state = swtpm_new(SWTPM_NORMAL);
        return *state ? 0 : -1;
}

int swtpm_start_unstarted(void **state) {
        *state = swtpm_new(SWTPM_NOT_STARTED);
        return *state ? 0 : -1;
}

int swtpm_stop(void **state) {
        *state = swtpm_free(*state);
        return 0;
}

bool swtpm_restart(struct swtpm *s, bool other) {
        swtpm_kill(s);
        if (other)
                s->states++;
        return launch(s, SWTPM_NORMAL);
}

size_t swtpm_command(const struct swtpm *s, const void *command, size_t size, uint8_t *reply,
                     size_t max) {
        _cleanup_(close_fdp) int fd = connect_to(s->socket);
        size_t got = 0;

        if (fd < 0 || send(fd, command, size, MSG_NOSIGNAL) != (ssize_t) size)
                return 0;
        while (got < 10 || got < (size_t) (reply[4] << 8 | reply[5])) {
                ssize_t n = read(fd, reply + got, max - got);

                if (n <= 0)
                        return 0;
                got += (size_t) n;
        }
        return got;
}

bool swtpm_extend(const struct swtpm *s, unsigned n) {
        uint8_t command[] = { 0x80,
                              0x02,
                              0,
                              0,
                              0,
                              65,
                              0,
                              0,
                              0x01,
                              0x82, /* TPM2_PCR_Extend */
                              0,
                              0,
                              0,
                              0, /* the PCR */
                              0,
                              0,
                              0,
                              9,
                              0x40,
                              0,
                              0,
                              9,
                              0,
                              0,
                              0,
                              0,
                              0, /* empty password */
                              0,
                              0,
                              0,
                              1,
                              0,
                              0x0b, /* one digest, SHA-256 */
                              [33 ... 64] = 0x5e };
        uint8_t reply[64];

        command[13] = (uint8_t) n;
        return swtpm_command(s, command, sizeof(command), reply, sizeof(reply)) >= 10 &&
               memcmp(reply + 6, "\0\0\0", 4) == 0;
}

int swtpm_count(const struct swtpm *s, enum swtpm_handles kind) {
        const uint8_t command[] = { 0x80, 0x01, 0, 0,    0,
                                    22,   0,    0, 0x01, 0x7a, /* GetCapability */
                                    0,    0,    0, 1,    (uint8_t) kind,
                                    0,    0,    0, 0,    0,
                                    0,    254 };
        uint8_t reply[2048];

        if (swtpm_command(s, command, sizeof(command), reply, sizeof(reply)) < 19 ||
            memcmp(reply + 6, "\0\0\0", 4) != 0)
                return -1;
        return reply[17] << 8 | reply[18];
}

int swtpm_leftovers(const struct swtpm *s) {
        int a = swtpm_count(s, SWTPM_TRANSIENT), b = swtpm_count(s, SWTPM_LOADED_SESSIONS),
            c = swtpm_count(s, SWTPM_SAVED_SESSIONS);

        return a < 0 || b < 0 || c < 0 ? -1 : a + b + c;
}

bool swtpm_run(const struct swtpm *s, const char *command) {
        char line[1024];

        (void) snprintf(line, sizeof(line),
                        "cd %s && TPM2TOOLS_TCTI=%s && export TPM2TOOLS_TCTI && { %s; } >/dev/null",
                        s->dir, s->tcti, command);
        return system(line) == 0;
}

void swtpm_policy_pcr(const struct pcrs *pcrs, uint32_t mask, uint8_t ret[32]) {
        uint8_t values[PCR_COUNT * PCR_SIZE_MAX], in[32 + 4 + 10 + 32] = { 0 };
        struct error err = { 0 };
        size_t size = 0;

        for (unsigned n = 0; n < PCR_COUNT; n++)
                if (mask & (1u << n)) {
                        memcpy(values + size, pcrs->value[n], pcr_size(PCR_SHA256));
                        size += pcr_size(PCR_SHA256);
                }
        /* The policy so far (none), the command code, the selection, the digest of the values. */
        memcpy(in + 32,
               "\0\0\x01\x7f"
               "\0\0\0\x01\0\x0b\x03",
               11);
        for (unsigned i = 0; i < 3; i++)
                in[43 + i] = (uint8_t) (mask >> (8 * i));
        if (crypto_sha256(values, size, in + 46, &err) < 0 ||
            crypto_sha256(in, sizeof(in), ret, &err) < 0)
                abort();
}

int swtpm_seal(struct tpm *t, struct secret *key, uint32_t mask, struct sealed *ret,
               struct error *err) {
        struct pcrs pcrs;
        uint8_t policy[32];
        int r;

        r = tpm_pcr_read(t, PCR_SHA256, mask, &pcrs, err);
        if (r < 0)
                return r;
        swtpm_policy_pcr(&pcrs, mask, policy);
        return tpm_seal(t, &(struct tpm_sealing){ key, policy, &pcrs, NULL }, ret, err);
}
