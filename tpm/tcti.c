/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tpm/tcti.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <tss2/tss2_tctildr.h>
#include <tss2/tss2_tpm2_types.h>

#include "base/clock.h"

/* tpm2-tss' own TCTI for swtpm waits for ever, whatever time-out it's given, and ESYS' calls give
 * none. So swtpm's socket and the kernel's device are served here, without blocking; everything
 * else goes through tpm2-tss, as far as it lets itself be waited for.
 *
 * The kernel's device holds a lock while the TPM works, and poll() waits for it: there, the
 * kernel's own limits, which are of the same size, end a command, and ours comes after. */

#define PAUSE_MAX 64 /* ms */
#define TRIES_MAX 50

#define MAGIC 0x6469736b7365616cULL

enum carrier { CARRIER_SOCKET, CARRIER_DEVICE, CARRIER_OTHER };

struct wire {
        TSS2_TCTI_CONTEXT_COMMON_V2 tcti; /* first: all that ESYS sees */
        enum carrier carrier;
        struct sockaddr_un at;    /* of the socket, which is opened for each command */
        int fd;                   /* the device */
        TSS2_TCTI_CONTEXT *inner; /* what else there is */
        bool inner_ours;
        unsigned limit; /* ms for one command */

        bool pending;  /* a command is to be sent, or its answer to be taken */
        bool answered; /* the answer is there */
        uint8_t command[WIRE_MAX], answer[WIRE_MAX];
        size_t command_size, answer_size;

        enum wire_fault fault;
        int errnum;     /* WIRE_FAILED: negative */
        uint32_t code;  /* WIRE_BUSY: what the TPM says */
        unsigned tries; /* and to so many tries */
        int64_t took;   /* WIRE_TIMEOUT: ms that the TPM had */
};

static atomic_uint deadline = WIRE_DEADLINE;

void wire_set_deadline(unsigned ms) {
        deadline = ms ? ms : WIRE_DEADLINE;
}

/* --- time --- */

static int left_ms(int64_t until) {
        int64_t left = until - clock_ms();

        return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int) left;
}

static enum wire_fault failed(struct wire *w, int errnum) {
        w->errnum = -errnum;
        return WIRE_FAILED;
}

static enum wire_fault await(struct wire *w, int fd, short events, int64_t until) {
        for (;;) {
                struct pollfd p = { .fd = fd, .events = events };
                int r = poll(&p, 1, left_ms(until));

                if (r > 0)
                        return WIRE_FINE; /* the call that follows says if it's an error */
                if (r == 0)
                        return WIRE_TIMEOUT;
                if (errno != EINTR)
                        return failed(w, errno);
        }
}

/* Return: whether @ms are over before the deadline is. */
static bool pause_ms(int ms, int64_t until) {
        const int64_t end = clock_ms() + ms;

        if (end >= until)
                return false;
        while (left_ms(end) > 0)
                (void) poll(NULL, 0, left_ms(end));
        return true;
}

/* --- swtpm's socket --- */

/* Where the queue of a socket is full the kernel doesn't offer to wait. */
static enum wire_fault socket_connect(struct wire *w, int64_t until, int *ret) {
        _cleanup_(close_fdp) int fd = -1;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return failed(w, errno);
        while (connect(fd, (const struct sockaddr *) &w->at, sizeof(w->at)) < 0) {
                if (errno != EAGAIN && errno != EINTR)
                        return failed(w, errno);
                if (!pause_ms(10, until))
                        return WIRE_TIMEOUT;
        }
        *ret = TAKE_FD(fd);
        return WIRE_FINE;
}

/* Of a connection that ends: the error, or none where it was closed in an orderly way. */
static enum wire_fault ended(struct wire *w, ssize_t n) {
        if (n == 0 || errno == ECONNRESET || errno == EPIPE)
                return WIRE_CLOSED;
        return failed(w, errno);
}

static bool try_again(ssize_t n) {
        return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static enum wire_fault socket_send(struct wire *w, int fd, int64_t until) {
        for (size_t sent = 0; sent < w->command_size;) {
                ssize_t n = send(fd, w->command + sent, w->command_size - sent, MSG_NOSIGNAL);

                if (n > 0)
                        sent += (size_t) n;
                else if (!try_again(n))
                        return ended(w, n);
                else {
                        enum wire_fault f = await(w, fd, POLLOUT, until);

                        if (f)
                                return f;
                }
        }
        return WIRE_FINE;
}

/* Reads until @size bytes of the answer are there. */
static enum wire_fault socket_read(struct wire *w, int fd, size_t size, int64_t until) {
        while (w->answer_size < size) {
                enum wire_fault f = await(w, fd, POLLIN, until);
                ssize_t n;

                if (f)
                        return f;
                n = recv(fd, w->answer + w->answer_size, size - w->answer_size, 0);
                if (n > 0)
                        w->answer_size += (size_t) n;
                else if (!try_again(n)) {
                        f = ended(w, n);
                        return f == WIRE_CLOSED && w->answer_size > 0 ? WIRE_SHORT : f;
                }
        }
        return WIRE_FINE;
}

/* A connection for each command, as tpm2-tss does it: swtpm serves one at a time, and others want
 * their turn. Its control channel isn't needed. tpm2-tss asks there for locality 0 when it begins;
 * nothing of ours depends on the locality. */
static enum wire_fault socket_exchange(struct wire *w, int64_t until) {
        _cleanup_(close_fdp) int fd = -1;
        enum wire_fault f;
        uint8_t more;

        f = socket_connect(w, until, &fd);
        if (f)
                return f;
        f = socket_send(w, fd, until);
        if (f)
                return f;
        f = socket_read(w, fd, WIRE_HEADER, until);
        if (f)
                return f;
        if (frame_size(w->answer) > WIRE_MAX)
                return WIRE_LONG;
        if (frame_size(w->answer) < WIRE_HEADER)
                return WIRE_SHORT;
        f = socket_read(w, fd, frame_size(w->answer), until);
        if (f)
                return f;
        return recv(fd, &more, 1, MSG_DONTWAIT) > 0 ? WIRE_LONG : WIRE_FINE;
}

/* --- the kernel's device --- */

/* It takes a command in one write, and gives an answer in one read. */
static enum wire_fault device_exchange(struct wire *w, int64_t until) {
        enum wire_fault f;
        uint8_t answer[WIRE_MAX + 1]; /* one more shows what doesn't fit */
        ssize_t n;

        do
                n = write(w->fd, w->command, w->command_size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return ended(w, n);
        if ((size_t) n != w->command_size)
                return failed(w, EIO);
        do {
                f = await(w, w->fd, POLLIN, until);
                if (f)
                        return f;
                n = read(w->fd, answer, sizeof(answer));
        } while (try_again(n));
        if (n <= 0)
                return ended(w, n);
        if ((size_t) n > sizeof(w->answer))
                return WIRE_LONG;
        memcpy(w->answer, answer, (size_t) n);
        w->answer_size = (size_t) n;
        return WIRE_FINE;
}

/* --- all others, through tpm2-tss --- */

static enum wire_fault inner_fault(struct wire *w, TSS2_RC rc) {
        switch (rc & ~(TSS2_RC) TSS2_RC_LAYER_MASK) {
        case TSS2_BASE_RC_TRY_AGAIN: return WIRE_TIMEOUT;
        case TSS2_BASE_RC_NO_CONNECTION:
        case TSS2_BASE_RC_IO_ERROR: return WIRE_CLOSED;
        case TSS2_BASE_RC_INSUFFICIENT_BUFFER: return WIRE_LONG;
        case TSS2_BASE_RC_MALFORMED_RESPONSE: return WIRE_BROKEN;
        default: return failed(w, EIO);
        }
}

/* Some TCTIs ignore a time-out, but say what to wait for. */
static enum wire_fault inner_await(struct wire *w, int64_t until) {
        TSS2_TCTI_POLL_HANDLE handles[4];
        size_t count = 0;

        if (Tss2_Tcti_GetPollHandles(w->inner, NULL, &count) || count != 1 ||
            Tss2_Tcti_GetPollHandles(w->inner, handles, &count) || count != 1)
                return WIRE_FINE;
        return await(w, handles[0].fd, POLLIN, until);
}

static enum wire_fault inner_exchange(struct wire *w, int64_t until) {
        enum wire_fault f;
        size_t size = 0;
        TSS2_RC rc;

        rc = Tss2_Tcti_Transmit(w->inner, w->command_size, w->command);
        if (rc)
                return inner_fault(w, rc);
        f = inner_await(w, until);
        if (f)
                return f;
        rc = Tss2_Tcti_Receive(w->inner, &size, NULL, left_ms(until));
        if (rc)
                return inner_fault(w, rc);
        if (size > sizeof(w->answer))
                return WIRE_LONG;
        size = sizeof(w->answer);
        rc = Tss2_Tcti_Receive(w->inner, &size, w->answer, left_ms(until));
        if (rc)
                return inner_fault(w, rc);
        w->answer_size = size;
        return size <= sizeof(w->answer) ? WIRE_FINE : WIRE_LONG;
}

/* --- what ESYS calls --- */

static bool is_busy(uint32_t code) {
        return code == TPM2_RC_RETRY || code == TPM2_RC_YIELDED || code == TPM2_RC_TESTING;
}

static enum wire_fault exchange(struct wire *w, int64_t until) {
        w->answer_size = 0;
        switch (w->carrier) {
        case CARRIER_SOCKET: return socket_exchange(w, until);
        case CARRIER_DEVICE: return device_exchange(w, until);
        default: return inner_exchange(w, until);
        }
}

/* Sends the command and gets its answer. ESYS would send a command again as well, five times
 * without a pause, which is no help to a TPM that tests itself; so none of these codes gets there.
 */
static enum wire_fault converse(struct wire *w) {
        int64_t limit = w->limit, until;
        int pause = 1;

        if (frame_makes_rsa(w->command, w->command_size))
                limit *= WIRE_RSA_TIMES;
        w->took = limit;
        until = clock_ms() + limit;
        for (w->tries = 1;; w->tries++) {
                enum wire_fault f = exchange(w, until);

                if (f == WIRE_TIMEOUT && w->tries > 1)
                        return WIRE_BUSY; /* it did answer, until then */
                if (f)
                        return f;
                f = frame_check(w->command, w->command_size, w->answer, w->answer_size);
                if (f)
                        return f;
                w->code = frame_code(w->answer);
                if (!is_busy(w->code))
                        return WIRE_FINE;
                if (w->tries == TRIES_MAX || !pause_ms(pause, until))
                        return WIRE_BUSY;
                if (pause < PAUSE_MAX)
                        pause *= 2;
        }
}

static TSS2_RC wire_transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command) {
        struct wire *w = (struct wire *) tcti;

        if (w->fault)
                return TSS2_TCTI_RC_NO_CONNECTION;
        if (size < WIRE_HEADER || size > sizeof(w->command) || frame_size(command) != size)
                return TSS2_TCTI_RC_BAD_VALUE;
        if (w->pending)
                return TSS2_TCTI_RC_BAD_SEQUENCE;
        memcpy(w->command, command, size);
        w->command_size = size;
        w->pending = true;
        w->answered = false;
        return TSS2_RC_SUCCESS;
}

/* Never says "try again": ESYS' calls would ask at once, and for ever. */
static TSS2_RC wire_receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *answer,
                            int32_t timeout) {
        struct wire *w = (struct wire *) tcti;

        (void) timeout; /* ours holds */
        if (w->fault)
                return TSS2_TCTI_RC_NO_CONNECTION;
        if (!w->pending)
                return TSS2_TCTI_RC_BAD_SEQUENCE;
        if (!w->answered) {
                w->fault = converse(w);
                if (w->fault)
                        return TSS2_TCTI_RC_IO_ERROR;
                w->answered = true;
        }
        /* All that there may be, so that nothing of what was there before is left behind the
         * answer. A code that isn't success leaves the command in place, as ESYS wants it. */
        if (!answer) {
                *size = WIRE_MAX;
                return TSS2_RC_SUCCESS;
        }
        if (*size < w->answer_size)
                return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
        memcpy(answer, w->answer, w->answer_size);
        if (frame_code(w->answer) == TPM2_RC_SUCCESS)
                memset(answer + w->answer_size, 0, *size - w->answer_size);
        *size = w->answer_size;
        w->pending = false;
        return TSS2_RC_SUCCESS;
}

/* --- open and close --- */

static int wire_new(enum carrier carrier, struct wire **ret, struct error *err) {
        struct wire *w = calloc(1, sizeof(*w));

        if (!w)
                return error_nomem(err);
        w->carrier = carrier;
        w->fd = -1;
        w->limit = deadline;
        w->tcti.v1.magic = MAGIC;
        w->tcti.v1.version = 2;
        w->tcti.v1.transmit = wire_transmit;
        w->tcti.v1.receive = wire_receive;
        *ret = w;
        return 0;
}

static int open_failed(int errnum, const char *tcti, struct error *err) {
        switch (errnum) {
        case ENOENT:
        case ENOTDIR:
        case ENXIO:
        case ENODEV:
        case ECONNREFUSED:
                return error_set(err, -ENODEV, "connect to TPM: nothing answers at '%.100s'", tcti);
        case EACCES:
        case EBUSY: return error_errno(err, -errnum, "connect to TPM: open %.100s", tcti);
        default: return error_errno(err, -EIO, "connect to TPM: open %.100s", tcti);
        }
}

/* Connects once, for nothing but to see whether somebody listens. */
static int open_socket(struct wire *w, const char *tcti, const char *path, struct error *err) {
        _cleanup_(close_fdp) int fd = -1;

        if (strlen(path) >= sizeof(w->at.sun_path))
                return error_set(err, -EINVAL,
                                 "connect to TPM: the path of the socket is too long");
        w->at.sun_family = AF_UNIX;
        (void) strcpy(w->at.sun_path, path);
        switch (socket_connect(w, clock_ms() + w->limit, &fd)) {
        case WIRE_FINE: return 0;
        case WIRE_TIMEOUT:
                return error_set(err, -ETIMEDOUT, "connect to TPM: nobody takes the call at '%s'",
                                 path);
        default: return open_failed(-w->errnum, tcti, err);
        }
}

static int open_other(struct wire *w, const char *tcti, struct error *err) {
        TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti, &w->inner);

        w->inner_ours = rc == TSS2_RC_SUCCESS;
        err->tpm_rc = rc;
        switch (rc & ~(TSS2_RC) TSS2_RC_LAYER_MASK) {
        case TSS2_RC_SUCCESS: return 0;
        case TSS2_BASE_RC_NOT_SUPPORTED:
        case TSS2_BASE_RC_BAD_VALUE:
                return error_set(err, -EINVAL, "connect to TPM: tpm2-tss doesn't take '%.100s'",
                                 tcti);
        case TSS2_BASE_RC_MEMORY: return error_nomem(err);
        case TSS2_BASE_RC_IO_ERROR:
        case TSS2_BASE_RC_NO_CONNECTION: return open_failed(ENODEV, tcti, err);
        default: return error_set(err, -EIO, "connect to TPM: '%.100s' fails (0x%08x)", tcti, rc);
        }
}

int wire_open(const char *tcti, struct wire **ret, struct error *err) {
        _cleanup_(wire_closep) struct wire *w = NULL;
        int r;

        r = wire_new(CARRIER_OTHER, &w, err);
        if (r < 0)
                return r;
        if (strncmp(tcti, "swtpm:path=", 11) == 0 && !strchr(tcti, ',')) {
                w->carrier = CARRIER_SOCKET;
                r = open_socket(w, tcti, tcti + 11, err);
        } else if (strncmp(tcti, "device:/dev/tpm", 15) == 0) {
                w->carrier = CARRIER_DEVICE;
                w->fd = open(tcti + 7, O_RDWR | O_NONBLOCK | O_CLOEXEC);
                if (w->fd < 0)
                        r = open_failed(errno, tcti + 7, err);
        } else
                r = open_other(w, tcti, err);
        if (r < 0)
                return r;
        *ret = TAKE(w);
        return 0;
}

int wire_over(TSS2_TCTI_CONTEXT *inner, struct wire **ret, struct error *err) {
        int r = wire_new(CARRIER_OTHER, ret, err);

        if (r == 0)
                (*ret)->inner = inner;
        return r;
}

int wire_device(int fd, struct wire **ret, struct error *err) {
        int r = wire_new(CARRIER_DEVICE, ret, err);

        if (r == 0)
                (*ret)->fd = fd;
        return r;
}

struct wire *wire_close(struct wire *w) {
        if (!w)
                return NULL;
        if (w->inner_ours)
                Tss2_TctiLdr_Finalize(&w->inner);
        close_fdp(&w->fd);
        free(w);
        return NULL;
}

/* --- what there is to say --- */

TSS2_TCTI_CONTEXT *wire_tcti(struct wire *w) {
        return (TSS2_TCTI_CONTEXT *) &w->tcti;
}

enum wire_fault wire_fault(const struct wire *w) {
        return w->fault;
}

uint32_t wire_code(const struct wire *w) {
        return w->command_size ? frame_code(w->command) : 0;
}

bool wire_has_session(const struct wire *w, unsigned n) {
        const struct frame_sessions s = frame_sessions(w->command, w->command_size);

        return n > 0 && n <= s.count && s.handle[n - 1] != TPM2_RH_PW;
}

bool wire_succeeded(const struct wire *w) {
        return w->answered && !w->fault && frame_code(w->answer) == TPM2_RC_SUCCESS;
}

int wire_say(const struct wire *w, const char *what, struct error *err) {
        switch (w->fault) {
        case WIRE_TIMEOUT:
                return error_set(err, -ETIMEDOUT, "%s: the TPM didn't answer within %g s", what,
                                 (double) w->took / 1000);
        case WIRE_CLOSED:
                return error_set(err, -ECONNRESET,
                                 "%s: the connection to the TPM was closed before it answered",
                                 what);
        case WIRE_SHORT:
                return error_set(err, -EMSGSIZE, "%s: the TPM's answer is cut short, at %zu bytes",
                                 what, w->answer_size);
        case WIRE_LONG:
                return error_set(err, -EMSGSIZE,
                                 "%s: the TPM's answer is longer than it says, or than the %u "
                                 "bytes that any may have",
                                 what, WIRE_MAX);
        case WIRE_BROKEN:
                return error_set(err, -EPROTO,
                                 "%s: the parts of the TPM's answer don't fit together; somebody "
                                 "between us and the TPM alters the traffic, or it is broken",
                                 what);
        case WIRE_BUSY:
                err->tpm_rc = w->code;
                return error_set(err, -EIO,
                                 "%s: the TPM was asked %u times, and only says that it's busy "
                                 "(0x%08x)",
                                 what, w->tries, w->code);
        case WIRE_OLD:
                return error_set(err, -EIO, "%s: this is a TPM 1.2, and it takes a 2.0", what);
        default: break;
        }
        (void) error_errno(err, w->errnum, "%s: the connection to the TPM is broken", what);
        err->errnum = -EIO;
        return err->errnum;
}
