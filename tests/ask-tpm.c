/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What lib.sh asks of its TPM again and again, for a tenth of what a program of tpm2-tools costs:
 *   ask-tpm SOCKET wait           until it listens: 10 seconds at most
 *   ask-tpm SOCKET left           transient objects and sessions in it, one a line
 *   ask-tpm SOCKET extend SPEC…   PCRs by digests; a SPEC is as tpm2_pcrextend takes it
 * It links nothing of ours: what's written here is from TPM 2.0 Part 2 and 3. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define REPLY_MAX 4096
#define WAIT_MS 10000
#define HEADER 10
#define DIGEST_MAX 64
#define BANKS 4

static const struct bank {
        const char *name;
        uint16_t id;
        unsigned size; /* bytes */
} banks[BANKS] = {
        { "sha1", 0x04, 20 }, { "sha256", 0x0b, 32 }, { "sha384", 0x0c, 48 }, { "sha512", 0x0d, 64 }
};

static const char *path;

static int connected(void) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
                return -1;
        strcpy(a.sun_path, path);
        if (connect(fd, (const struct sockaddr *) &a, sizeof(a)) == 0)
                return fd;
        (void) close(fd);
        return -1;
}

static uint32_t get_be32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

/* Bytes of the answer; 0: there was none, or the TPM refused, which is said. */
static size_t ask(int fd, const uint8_t *command, size_t size, uint8_t reply[REPLY_MAX]) {
        size_t got = 0, want = HEADER;

        if (send(fd, command, size, MSG_NOSIGNAL) != (ssize_t) size)
                return 0;
        while (got < want) {
                ssize_t n = read(fd, reply + got, REPLY_MAX - got);

                if (n <= 0)
                        return 0;
                got += (size_t) n;
                if (got >= HEADER)
                        want = get_be32(reply + 2);
        }
        if (get_be32(reply + 6) == 0)
                return got;
        (void) fprintf(stderr, "ask-tpm: the TPM says 0x%x\n", get_be32(reply + 6));
        return 0;
}

static bool wait_for_it(void) {
        for (unsigned i = 0; i < WAIT_MS; i++) {
                if (connected() >= 0)
                        return true;
                (void) nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
        }
        return false;
}

/* Handles whose first byte is @kind. */
static bool left(int fd, uint8_t kind) {
        const uint8_t command[] = { 0x80, 0x01, 0, 0, 0, 22, 0, 0,  0x01, 0x7a, /* GetCapability */
                                    0,    0,    0, 1, /* TPM_CAP_HANDLES */
                                    kind, 0,    0, 0, 0, 0,  0, 254 };
        uint8_t reply[REPLY_MAX];
        size_t size = ask(fd, command, sizeof(command), reply);
        uint32_t count;

        if (size < 19)
                return false;
        count = get_be32(reply + 15);
        if (size != 19 + 4ULL * count)
                return false;
        for (uint32_t i = 0; i < count; i++)
                printf("0x%X\n", get_be32(reply + 19 + (size_t) 4 * i));
        return true;
}

static const struct bank *bank_named(const char *name, size_t length) {
        for (size_t i = 0; i < BANKS; i++)
                if (strlen(banks[i].name) == length && memcmp(banks[i].name, name, length) == 0)
                        return &banks[i];
        return NULL;
}

/* One of "sha256=HEX,sha384=HEX", to @to. Return: its end in the text; NULL where it isn't one. */
static const char *digest(const char *text, uint8_t *to, unsigned *ret_size) {
        const char *equals = strchr(text, '=');
        const struct bank *bank = equals ? bank_named(text, (size_t) (equals - text)) : NULL;

        if (!bank || strcspn(equals + 1, ",") != 2 * (size_t) bank->size)
                return NULL;
        to[0] = 0;
        to[1] = (uint8_t) bank->id;
        for (unsigned i = 0; i < bank->size; i++)
                if (sscanf(equals + 1 + 2 * (size_t) i, "%2hhx", &to[2 + i]) != 1)
                        return NULL;
        *ret_size = 2 + bank->size;
        return equals + 1 + 2 * (size_t) bank->size;
}

/* "7:sha256=HEX,sha384=HEX" */
static bool extend(int fd, const char *spec) {
        uint8_t command[31 + BANKS * (2 + DIGEST_MAX)] = {
                0x80,     0x02, [8] = 0x01, 0x82,    /* PCR_Extend */
                [17] = 9, 0x40, 0,          0,    9, /* with an empty password */
        };
        uint8_t reply[REPLY_MAX];
        const char *at = strchr(spec, ':');
        unsigned pcr, size = 31, one;

        if (!at || sscanf(spec, "%2u:", &pcr) != 1 || pcr > 23)
                return false;
        command[13] = (uint8_t) pcr;
        do {
                if (command[30]++ == BANKS)
                        return false;
                at = digest(at + 1, command + size, &one);
                if (!at)
                        return false;
                size += one;
        } while (*at == ',');
        command[4] = (uint8_t) (size >> 8);
        command[5] = (uint8_t) size;
        return ask(fd, command, size, reply) > 0;
}

int main(int argc, char **argv) {
        static const uint8_t kinds[] = { 0x80, 0x02,
                                         0x03 }; /* transient, sessions: loaded, saved */
        int fd;

        if (argc < 3)
                return 2;
        path = argv[1];
        if (strcmp(argv[2], "wait") == 0)
                return !wait_for_it();
        fd = connected();
        if (fd < 0) {
                (void) fprintf(stderr, "ask-tpm: nobody listens at %s\n", path);
                return 1;
        }
        if (strcmp(argv[2], "left") == 0) {
                for (unsigned i = 0; i < sizeof(kinds); i++)
                        if (!left(fd, kinds[i]))
                                return 1;
                return 0;
        }
        if (strcmp(argv[2], "extend") != 0)
                return 2;
        for (int i = 3; i < argc; i++)
                if (!extend(fd, argv[i])) {
                        (void) fprintf(stderr, "ask-tpm: can't extend by '%s'\n", argv[i]);
                        return 1;
                }
        return 0;
}
