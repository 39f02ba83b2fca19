/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#define OPENSSL_SUPPRESS_DEPRECATED
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "fuzz/fuzz.h"
#include "tpm/internal.h"

/* A TPM that says what the fuzzer wants, in the hands of tpm_unseal() and the others. An input is a
 * byte of options, then chunks, each with its size (16 bits) in front: to unseal, first the sealed
 * object, in six; then answers, one for each command. When they are used up the TPM is gone.
 *
 * Random numbers are constant here, so that a salt encrypted to an RSA key is known, and with it
 * the session's key: an answer is encrypted and gets its HMAC, as a TPM would do it that plays
 * false from the first command on. FUZZ_TPM_RECORD=TCTI in the environment makes inputs of what a
 * real TPM answers, in the current folder. */

enum { UNSEAL, SEAL, READ_PCRS, INFO, OPERATIONS };

#define OPERATION 0x07
#define AS_IT_IS 0x80 /* don't make sizes right, nor encrypt or sign */
#define MASK (1u << 7)
#define CHUNK_MAX 4096u

struct stream {
        const uint8_t *at, *end;
};

struct fake {
        TSS2_TCTI_CONTEXT_COMMON_V1 tcti; /* first */
        TSS2_TCTI_CONTEXT *real;          /* while recording */
        FILE *record;
        struct stream in;
        bool as_it_is;
        uint8_t key[32]; /* of the session */
        uint8_t command[WIRE_MAX];
        size_t command_size;
};

/* What all random bytes are. */
static const uint8_t constant[32] = { [0 ... 31] = 0x5a };

static int constant_bytes(unsigned char *p, int n) {
        memset(p, constant[0], (size_t) n);
        return 1;
}

static void random_is_constant(void) {
        static RAND_METHOD method;

        method.bytes = constant_bytes;
        method.pseudorand = constant_bytes;
        MUST(RAND_set_rand_method(&method) == 1);
}

/* --- sessions, from the TPM's side (Part 1, sections 11.4.10, 18 and 19) --- */

static void put32(uint8_t *p, size_t v) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> (24 - 8 * i));
}

static size_t get16(const uint8_t *p) {
        return (size_t) p[0] << 8 | p[1];
}

/* KDFa for 256 bits, with the nonce of the TPM, and then ours, which is constant. */
static void kdfa(const uint8_t key[32], const char *label, const uint8_t *nonce, size_t size,
                 uint8_t ret[32]) {
        uint8_t in[4 + 4 + 64 + 32 + 4] = { 0, 0, 0, 1 };
        size_t used = 8;

        memcpy(in + 4, label, 4);
        memcpy(in + used, nonce, size);
        memcpy(in + used + size, constant, 32);
        used += size + 32;
        put32(in + used, 256);
        HMAC(EVP_sha256(), key, 32, in, used + 4, ret, NULL);
}

static void cipher(const uint8_t key[32], uint8_t *p, size_t size, bool encrypt) {
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        int n = 0;

        MUST(c && EVP_CipherInit(c, EVP_aes_128_cfb128(), key, key + 16, encrypt) == 1);
        MUST(EVP_CipherUpdate(c, p, &n, p, (int) size) == 1 && (size_t) n == size);
        EVP_CIPHER_CTX_free(c);
}

static bool has_handle(uint32_t code) {
        return code == TPM2_CC_CreatePrimary || code == TPM2_CC_Load ||
               code == TPM2_CC_StartAuthSession;
}

/* The HMAC of an answer with those parameters, at @auth: nonce, attributes, HMAC. */
static void sign(const struct fake *f, const uint8_t *parameters, size_t size, uint8_t *auth) {
        uint8_t in[8 + WIRE_MAX], data[32 + 64 + 32 + 1];
        size_t nonce = get16(auth);

        memset(in, 0, 4);
        memcpy(in + 4, f->command + 6, 4);
        memcpy(in + 8, parameters, size);
        MUST(EVP_Digest(in, 8 + size, data, NULL, EVP_sha256(), NULL) == 1);
        memcpy(data + 32, auth + 2, nonce);
        memcpy(data + 32 + nonce, constant, 32);
        data[64 + nonce] = auth[2 + nonce];
        HMAC(EVP_sha256(), f->key, 32, data, 65 + nonce, auth + 2 + nonce + 3, NULL);
}

/* Encrypts and signs a whole answer, or, with @encrypt clear, decrypts it. */
static void bless(struct fake *f, uint8_t *p, size_t size, bool encrypt) {
        const struct frame_sessions s = frame_sessions(f->command, f->command_size);
        size_t at = WIRE_HEADER + (has_handle(frame_code(f->command)) ? 4 : 0), parameters, auth;
        uint8_t key[32];

        if (frame_check(f->command, f->command_size, p, size) || frame_code(p) != 0)
                return;
        if (frame_code(f->command) == TPM2_CC_StartAuthSession && size >= at + 2 &&
            get16(p + at) <= 64 && get16(p + at) <= size - at - 2)
                kdfa(constant, "ATH", p + at + 2, get16(p + at), f->key);
        if (s.count == 0)
                return;
        parameters = (size_t) p[at + 2] << 8 | p[at + 3];
        at += 4;
        auth = at + parameters;
        for (unsigned i = 0; i < s.count; i++) {
                size_t nonce = get16(p + auth), hmac = get16(p + auth + 2 + nonce + 1);

                if (s.handle[i] != TPM2_RH_PW && hmac == 32) {
                        if (s.encrypts) {
                                kdfa(f->key, "CFB", p + auth + 2, nonce, key);
                                cipher(key, p + at + 2, get16(p + at), encrypt);
                        }
                        if (encrypt)
                                sign(f, p + at, parameters, p + auth);
                }
                auth += 2 + nonce + 1 + 2 + hmac;
        }
}

/* Makes the sizes fit what is there: the sessions of an answer are taken for as long as ours. */
static void fit(const struct fake *f, uint8_t *p, size_t size) {
        const struct frame_sessions s = frame_sessions(f->command, f->command_size);
        size_t at = WIRE_HEADER + (has_handle(frame_code(f->command)) ? 4 : 0), sessions = 0;

        put32(p + 2, size);
        if (frame_code(p) != TPM2_RC_SUCCESS)
                return;
        memcpy(p, f->command, 2);
        for (unsigned i = 0; i < s.count; i++)
                sessions += s.handle[i] == TPM2_RH_PW ? 5 : 69;
        if (s.count > 0 && size >= at + 4 + sessions)
                put32(p + at, size - at - 4 - sessions);
}

/* --- the TPM --- */

/* Return: the size of the next chunk, of which so much as there is was put into @ret; 0 at the end.
 */
static size_t next(struct stream *s, uint8_t *ret, size_t max) {
        size_t size;

        if (s->end - s->at < 2)
                return 0;
        size = get16(s->at);
        s->at += 2;
        if (size > (size_t) (s->end - s->at))
                size = (size_t) (s->end - s->at);
        memcpy(ret, s->at, size < max ? size : max);
        s->at += size;
        return size < max ? size : max;
}

static void put_chunk(FILE *to, const void *p, size_t size) {
        (void) fputc((int) (size >> 8), to);
        (void) fputc((int) (size & 0xff), to);
        (void) fwrite(p, 1, size, to);
}

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command) {
        struct fake *f = (struct fake *) tcti;

        MUST(size <= sizeof(f->command));
        memcpy(f->command, command, size);
        f->command_size = size;
        return f->real ? Tss2_Tcti_Transmit(f->real, size, command) : TSS2_RC_SUCCESS;
}

static TSS2_RC receive_real(struct fake *f, size_t *size, uint8_t *answer) {
        uint8_t plain[WIRE_MAX];
        TSS2_RC rc = Tss2_Tcti_Receive(f->real, size, answer, TSS2_TCTI_TIMEOUT_BLOCK);

        if (rc || !answer)
                return rc;
        memcpy(plain, answer, *size);
        if (!f->as_it_is)
                bless(f, plain, *size, false);
        put_chunk(f->record, plain, *size);
        return TSS2_RC_SUCCESS;
}

static TSS2_RC receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *answer, int32_t timeout) {
        struct fake *f = (struct fake *) tcti;

        (void) timeout;
        if (f->real)
                return receive_real(f, size, answer);
        if (!answer) {
                *size = WIRE_MAX;
                return TSS2_RC_SUCCESS;
        }
        *size = next(&f->in, answer, WIRE_MAX);
        if (*size == 0)
                return TSS2_TCTI_RC_NO_CONNECTION;
        if (*size >= WIRE_HEADER && !f->as_it_is) {
                fit(f, answer, *size);
                bless(f, answer, *size, true);
        }
        return TSS2_RC_SUCCESS;
}

/* --- what it's asked for --- */

static struct tpm_bytes *parts(struct sealed *s, unsigned i) {
        struct tpm_bytes *const all[] = { &s->srk, &s->public, &s->private, &s->creation,
                                          &s->ticket };

        return all[i];
}

static void get_sealed(struct stream *in, struct sealed *ret) {
        for (unsigned i = 0; i < 5; i++)
                parts(ret, i)->size = (uint16_t) next(in, parts(ret, i)->data, TPM_BYTES_MAX);
        (void) next(in, ret->pcrs.value[7], 32);
        ret->pcrs.bank = PCR_SHA256;
        ret->pcrs.mask = MASK;
}

static void check_fault(int r, const struct error *err) {
        MUST(r >= 0 || (err->text[0] && err->errnum == r && printable(err->text)));
}

static void unseal(struct tpm *t, const struct sealed *s) {
        static const struct steps literal = { .count = 1,
                                              .step = { { .kind = STEP_PCR, .pcr_mask = MASK } } };
        /* The second one's counter is read, and what comes back explained. */
        static const struct steps counted = {
                .count = 2,
                .step = { { .kind = STEP_PCR, .pcr_mask = MASK },
                          { .kind = STEP_NV, .nv = { .index = 0x0180d5e0, .le = 1 } } },
        };
        const struct tpm_opener opener = { .steps = s->private.size & 1 ? &counted : &literal };
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct tpm_refusal why = { 0 };
        struct error err = { 0 };
        int r = tpm_unseal(t, s, &opener, &key, &why, &err);

        check_fault(r, &err);
        MUST((key != NULL) == (r == TPM_GRANTED));
        MUST(r != TPM_PCR_MISMATCH || why.pcrs == MASK);
        MUST(r != TPM_UNPROVEN || (why.text[0] && printable(why.text)));
}

static int seal(struct tpm *t, struct sealed *ret) {
        static const uint8_t policy[32] = { 0xab };
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct error err = { 0 };
        struct pcrs pcrs;
        int r;

        MUST(secret_new(32, &key) == 0);
        r = tpm_pcr_read(t, PCR_SHA256, MASK, &pcrs, &err);
        check_fault(r, &err);
        if (r < 0)
                return r;
        r = tpm_seal(t, &(struct tpm_sealing){ key, policy, &pcrs, NULL }, ret, &err);
        check_fault(r, &err);
        return r;
}

static void read_pcrs(struct tpm *t) {
        struct error err = { 0 };
        struct pcrs pcrs;
        int r = tpm_pcr_read(t, PCR_SHA256, 0xffffff, &pcrs, &err);

        check_fault(r, &err);
        MUST(r < 0 || pcrs.mask == 0xffffff);
}

static void info(struct tpm *t) {
        struct tpm_info i;
        struct error err = { 0 };
        int r = tpm_info(t, &i, &err);

        check_fault(r, &err);
        MUST(r < 0 || (i.manufacturer[sizeof(i.manufacturer) - 1] == '\0' &&
                       i.vendor[sizeof(i.vendor) - 1] == '\0' && printable(i.manufacturer) &&
                       printable(i.vendor)));
}

static void operate(struct fake *f, int operation, struct sealed *object) {
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct sealed made;
        struct error err = { 0 };

        MUST(tpm_open_tcti((TSS2_TCTI_CONTEXT *) &f->tcti, &t, &err) == 0);
        switch (operation) {
        case UNSEAL: unseal(t, object); break;
        case SEAL: (void) seal(t, &made); break;
        case READ_PCRS: read_pcrs(t); break;
        case INFO: info(t); break;
        }
}

static struct fake fake_new(void) {
        struct fake f = {
                .tcti = { .magic = 1, .version = 1, .transmit = transmit, .receive = receive }
        };

        return f;
}

/* --- recording --- */

static void record(TSS2_TCTI_CONTEXT *real, int options, struct sealed *object) {
        static unsigned number;
        struct fake f = fake_new();
        char name[32];

        (void) snprintf(name, sizeof(name), "real-%u", number++);
        f.record = fopen(name, "we");
        f.real = real;
        f.as_it_is = options & AS_IT_IS;
        MUST(f.record);
        (void) fputc(options, f.record);
        if ((options & OPERATION) == UNSEAL) {
                for (unsigned i = 0; i < 5; i++)
                        put_chunk(f.record, parts(object, i)->data, parts(object, i)->size);
                put_chunk(f.record, object->pcrs.value[7], 32);
        }
        operate(&f, options & OPERATION, object);
        (void) fclose(f.record);
}

/* The same policy as in the tests: TPM2_PolicyPCR of PCR 7 as it is. */
static void make_object(TSS2_TCTI_CONTEXT *real, struct sealed *ret) {
        uint8_t in[32 + 4 + 10 + 32] = { [34] = 1, 0x7f, 0, 0, 0, 1, 0, 0x0b, 3, 0x80 }, policy[32];
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct error err = { 0 };
        struct pcrs pcrs;

        MUST(tpm_open_tcti(real, &t, &err) == 0 && secret_new(32, &key) == 0);
        memset(secret_data(key), 'k', 32);
        MUST(tpm_pcr_read(t, PCR_SHA256, MASK, &pcrs, &err) == 0);
        MUST(EVP_Digest(pcrs.value[7], 32, in + 46, NULL, EVP_sha256(), NULL) == 1);
        MUST(EVP_Digest(in, sizeof(in), policy, NULL, EVP_sha256(), NULL) == 1);
        MUST(tpm_seal(t, &(struct tpm_sealing){ key, policy, &pcrs, NULL }, ret, &err) ==
             TPM_GRANTED);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
        const char *tcti = getenv("FUZZ_TPM_RECORD");
        struct sealed object = { 0 };
        struct error err = { 0 };
        struct wire *wire = NULL;

        (void) argc;
        (void) argv;
        (void) setenv("TSS2_LOG", "all+NONE", 1);
        random_is_constant();
        if (!tcti) {
                wire_set_deadline(1); /* "try again" is tried no more than that */
                return 0;
        }
        MUST(wire_open(tcti, &wire, &err) == 0);
        make_object(wire_tcti(wire), &object);
        for (int i = 0; i < OPERATIONS; i++) {
                record(wire_tcti(wire), i, &object);
                record(wire_tcti(wire), i | AS_IT_IS, &object);
        }
        wire_close(wire);
        exit(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct fake f = fake_new();
        struct sealed object = { 0 };

        if (size == 0 || (data[0] & OPERATION) >= OPERATIONS)
                return -1;
        f.in = (struct stream){ data + 1, data + size };
        f.as_it_is = data[0] & AS_IT_IS;
        if ((data[0] & OPERATION) == UNSEAL)
                get_sealed(&f.in, &object);
        operate(&f, data[0] & OPERATION, &object);
        return 0;
}

/* Changes one chunk, and leaves the others where they are. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
        uint8_t chunk[CHUNK_MAX];
        size_t at = 1, old, new;

        if (size < 3 || seed % 16 == 0)
                return LLVMFuzzerMutate(data, size, max);
        for (unsigned skip = seed / 16 % 24; skip > 0; skip--) {
                at += 2 + get16(data + at);
                if (at + 2 > size)
                        at = 1;
        }
        old = get16(data + at);
        if (old > size - at - 2)
                old = size - at - 2;
        if (old > sizeof(chunk))
                return LLVMFuzzerMutate(data, size, max);
        memcpy(chunk, data + at + 2, old);
        new = LLVMFuzzerMutate(chunk, old, sizeof(chunk));
        if (size - old + new > max)
                return size;
        memmove(data + at + 2 + new, data + at + 2 + old, size - at - 2 - old);
        memcpy(data + at + 2, chunk, new);
        data[at] = (uint8_t) (new >> 8);
        data[at + 1] = (uint8_t) new;
        return size - old + new;
}
