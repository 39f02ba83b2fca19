/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <tss2/tss2_mu.h>

#include "base/crypto.h"
#include "tests/swtpm.h"
#include "tests/test.h"
#include "tpm/internal.h"

/* What somebody can seal who knows the storage key, or who boots another system on this machine,
 * and then puts on a disk as if it were ours. The TPM itself opens nearly all of it. */

#define MASK (1u << 7 | 1u << 16)
#define SELECTION " -l sha256:7,16"
#define SRK "0x81000001"
#define FLUSH "tpm2_flushcontext -t"
#define MAKE_PRIMARY                                                                               \
        " -G ecc256:aes128cfb -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|"          \
        "restricted|decrypt|noda' -c p.ctx && " FLUSH
#define KEEP(at) "tpm2_evictcontrol -C o -c p.ctx " at " && " FLUSH

static const struct steps steps = { .count = 1,
                                    .step = { { .kind = STEP_PCR, .pcr_mask = MASK } } };
static const struct tpm_opener opener = { .steps = &steps };

/* --- files and bytes --- */

static void get_file(const struct swtpm *s, const char *name, struct tpm_bytes *ret) {
        _cleanup_(close_fdp) int fd = -1;
        char path[64];
        ssize_t n;

        (void) snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = read(fd, ret->data, sizeof(ret->data));
        assert_true(n > 0);
        ret->size = (uint16_t) n;
}

static void put_file(const struct swtpm *s, const char *name, const void *data, size_t size) {
        _cleanup_(close_fdp) int fd = -1;
        char path[64];

        (void) snprintf(path, sizeof(path), "%s/%s", s->dir, name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, data, size), size);
}

static void add(struct tpm_bytes *b, const void *data, size_t size) {
        assert_true(b->size + size <= sizeof(b->data));
        memcpy(b->data + b->size, data, size);
        b->size = (uint16_t) (b->size + size);
}

/* A TPM2B: the size in front. */
static void add_sized(struct tpm_bytes *b, const void *data, size_t size) {
        add(b, (uint8_t[]){ (uint8_t) (size >> 8), (uint8_t) size }, 2);
        add(b, data, size);
}

/* --- the machine --- */

/* A machine with a storage key that stands for good, in a state that is called good. */
struct machine {
        struct swtpm *tpm;
        struct sealed honest; /* sealed by us, in the good state */
};

static int unseal(const struct swtpm *s, const struct sealed *object, struct tpm_refusal *why) {
        _cleanup_(secret_freep) struct secret *got = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        int r;

        r = tpm_open(s->tcti, &t, &err);
        if (r == 0)
                r = tpm_unseal(t, object, &opener, &got, why, &err);
        if (r < 0)
                print_message("fault: %s\n", err.text);
        assert_int_equal(got != NULL, r == TPM_GRANTED);
        return r;
}

static void expect(const struct swtpm *s, const struct sealed *object, int verdict) {
        struct tpm_refusal why = { 0 };

        int r = unseal(s, object, &why);

        if (r != verdict)
                fail_msg("%d, not %d: '%s', PCRs %#x", r, verdict, why.text, why.pcrs);
        assert_string_equal(why.text, "");
        assert_int_equal(swtpm_leftovers(s), 0);
}

/* Refused for want of evidence; @words say of which. What is honest opens all the same. */
static void expect_unproven(const struct machine *m, const struct sealed *object,
                            const char *words) {
        struct tpm_refusal why = { 0 };

        assert_int_equal(unseal(m->tpm, object, &why), TPM_UNPROVEN);
        if (!strstr(why.text, words))
                fail_msg("'%s' isn't in '%s'", words, why.text);
        assert_int_equal(why.pcrs, 0);
        assert_int_equal(swtpm_leftovers(m->tpm), 0);
        expect(m->tpm, &m->honest, TPM_GRANTED);
}

static void seal_honestly(struct machine *m) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };

        assert_int_equal(crypto_random_secret(32, &key, &err), 0);
        if (tpm_open(m->tpm->tcti, &t, &err) < 0 ||
            swtpm_seal(t, key, MASK, &m->honest, &err) != TPM_GRANTED)
                fail_msg("seal: %s", err.text);
}

static int setup(void **state) {
        struct machine *m = calloc(1, sizeof(*m));
        uint8_t policy[32];

        if (!m)
                return -1;
        *state = m;
        m->tpm = swtpm_new(SWTPM_NORMAL);
        if (!m->tpm || !swtpm_run(m->tpm, "tpm2_createprimary -C o" MAKE_PRIMARY " && " KEEP(SRK)))
                return -1;
        seal_honestly(m);
        swtpm_policy_pcr(&m->honest.pcrs, MASK, policy);
        put_file(m->tpm, "policy", policy, sizeof(policy));
        put_file(m->tpm, "key", "sixteen bytes...", 16);
        return 0;
}

static int teardown(void **state) {
        struct machine *m = *state;

        m->tpm = swtpm_free(m->tpm);
        free(m);
        return 0;
}

/* What another system does: it runs on the same TPM, and other PCRs show it. */
static void boot_evil(const struct machine *m) {
        assert_true(swtpm_restart(m->tpm, false));
        assert_true(swtpm_extend(m->tpm, 7));
}

static void boot_good(const struct machine *m) {
        assert_true(swtpm_restart(m->tpm, false));
        expect(m->tpm, &m->honest, TPM_GRANTED);
}

/* Seals somebody's key with tpm2-tools, to the good values, or to what the file "policy" says. */
static struct sealed make(const struct machine *m, const char *parent, const char *selection) {
        struct sealed made = { .srk = m->honest.srk, .pcrs = m->honest.pcrs };
        char command[256];

        (void) snprintf(command, sizeof(command),
                        "rm -f pub priv data ticket && tpm2_create -C %s -i key -L policy -u pub "
                        "-r priv -a 'fixedtpm|fixedparent|noda' --creation-data data -t ticket%s",
                        parent, selection);
        assert_true(swtpm_run(m->tpm, command));
        get_file(m->tpm, "pub", &made.public);
        get_file(m->tpm, "priv", &made.private);
        get_file(m->tpm, "data", &made.creation);
        get_file(m->tpm, "ticket", &made.ticket);
        return made;
}

/* Whether the TPM opens it for whoever doesn't look at the evidence. */
static bool opens_unseen(const struct machine *m, const struct sealed *object) {
        put_file(m->tpm, "pub", object->public.data, object->public.size);
        put_file(m->tpm, "priv", object->private.data, object->private.size);
        return swtpm_run(m->tpm,
                         "tpm2_load -C " SRK " -u pub -r priv -c o.ctx &&" FLUSH " && rm -f out &&"
                         "tpm2_unseal -c o.ctx -p pcr:sha256:7,16 -o out &&" FLUSH
                         " && cmp -s out key");
}

/* Gives @object the creation data that it would have if it were honest. Its own: the TPM never
 * wrote it. */
static void claim_good_state(const struct machine *m, struct sealed *object) {
        object->creation = m->honest.creation;
}

/* --- tests --- */

static void test_what_others_seal_in_the_good_state_opens(void **state) {
        struct machine *m = *state;
        struct sealed made = make(m, SRK, SELECTION);

        assert_true(opens_unseen(m, &made));
        expect(m->tpm, &made, TPM_GRANTED);
        expect(m->tpm, &m->honest, TPM_GRANTED);
        boot_good(m);
        expect(m->tpm, &made, TPM_GRANTED);
}

static void test_another_state_with_genuine_evidence_is_a_mismatch(void **state) {
        struct machine *m = *state;

        assert_true(swtpm_extend(m->tpm, 7));
        expect(m->tpm, &m->honest, TPM_PCR_MISMATCH);
        boot_good(m);
}

static void test_sealed_by_an_evil_system(void **state) {
        struct machine *m = *state;
        struct sealed made, lying;

        boot_evil(m);
        made = make(m, SRK, SELECTION);
        boot_good(m);
        assert_true(opens_unseen(m, &made));
        expect_unproven(m, &made, "sealed while one of PCRs 7,16 had another value");

        /* Its own ticket, for creation data that says what we like to hear. */
        lying = made;
        claim_good_state(m, &lying);
        expect_unproven(m, &lying, "no such ticket");
        /* The ticket that belongs to that creation data, and to another object. */
        lying.ticket = m->honest.ticket;
        expect_unproven(m, &lying, "no such ticket");
        lying.creation = made.creation;
        expect_unproven(m, &lying, "had another value");

        /* In the evil state it's refused for what it is, not for the PCRs. */
        assert_true(swtpm_extend(m->tpm, 7));
        lying.creation = m->honest.creation;
        assert_int_equal(unseal(m->tpm, &lying, &(struct tpm_refusal){ 0 }), TPM_UNPROVEN);
        boot_good(m);
}

static void test_one_pcr_is_named(void **state) {
        static const struct steps seven = { .count = 1,
                                            .step = { { .kind = STEP_PCR, .pcr_mask = 1u << 7 } } };
        struct machine *m = *state;
        _cleanup_(secret_freep) struct secret *got = NULL;
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct tpm_refusal why = { 0 };
        struct error err = { 0 };
        struct sealed made;

        boot_evil(m);
        made = make(m, SRK, " -l sha256:7");
        boot_good(m);
        made.pcrs.mask = 1u << 7;
        assert_int_equal(tpm_open(m->tpm->tcti, &t, &err), 0);
        assert_int_equal(
                tpm_unseal(t, &made, &(struct tpm_opener){ .steps = &seven }, &got, &why, &err),
                TPM_UNPROVEN);
        assert_string_equal(why.text, "it was sealed while PCR 7 had another value");
}

static void test_a_policy_for_both_states(void **state) {
        struct machine *m = *state;
        uint8_t in[32 + 4 + 64] = { 0 }, policy[32], evil[32];
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };
        struct sealed made, good;
        struct pcrs pcrs;

        boot_evil(m);
        assert_int_equal(tpm_open(m->tpm->tcti, &t, &err), 0);
        assert_int_equal(tpm_pcr_read(t, PCR_SHA256, MASK, &pcrs, &err), 0);
        t = tpm_close(t);
        /* The policy so far (none), TPM2_PolicyOR, both branches (Part 3, 23.6). */
        swtpm_policy_pcr(&pcrs, MASK, evil);
        swtpm_policy_pcr(&m->honest.pcrs, MASK, policy);
        memcpy(in + 32, "\0\0\x01\x71", 4);
        memcpy(in + 36, policy, 32);
        memcpy(in + 68, evil, 32);
        assert_int_equal(crypto_sha256(in, sizeof(in), policy, &err), 0);
        put_file(m->tpm, "policy", policy, sizeof(policy));

        made = make(m, SRK, SELECTION);
        boot_good(m);
        expect_unproven(m, &made, "had another value");
        claim_good_state(m, &made);
        expect_unproven(m, &made, "no such ticket");

        /* Made in the good state, its evidence is in order, and its policy isn't the steps. */
        good = make(m, SRK, SELECTION);
        expect(m->tpm, &good, TPM_DAMAGED);
}

static void test_another_look_at_the_pcrs(void **state) {
        static const struct {
                const char *selection, *words;
        } cases[] = {
                { "", "without a look at the PCRs" },
                { " -l sha256:8", "with a look at other PCRs than its policy's: 8" },
                { " -l sha256:7", "with a look at other PCRs than its policy's: 7" },
                { " -l sha256:7,8,16", "with a look at other PCRs than its policy's: 7,8,16" },
                { " -l sha1:7,16", "another bank" },
                { " -l sha256:7,16+sha1:7", "another bank" },
        };
        struct machine *m = *state;
        struct sealed object;

        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
                object = make(m, SRK, cases[i].selection);
                assert_true(opens_unseen(m, &object));
                expect_unproven(m, &object, cases[i].words);
                claim_good_state(m, &object);
                expect_unproven(m, &object, "no such ticket");
        }
        object = make(m, SRK, SELECTION);
        expect(m->tpm, &object, TPM_GRANTED);
}

static void test_another_parent(void **state) {
        struct machine *m = *state;
        struct sealed made;

        /* Like the storage key, but for the random part: tpm2-tools fill in the rest. */
        put_file(m->tpm, "unique", (uint8_t[8]){ 2, 0, 'x', 'x', 2, 0, 'y', 'y' }, 8);
        assert_true(swtpm_run(m->tpm, "tpm2_createprimary -C o -u unique" MAKE_PRIMARY
                                      " && " KEEP("0x81000002")));
        made = make(m, "0x81000002", SELECTION);
        expect_unproven(m, &made, "under another parent");
        claim_good_state(m, &made); /* which says that its parent was ours */
        expect(m->tpm, &made, TPM_DAMAGED);

        /* With the name of its parent: that key isn't the storage key. */
        made = make(m, "0x81000002", SELECTION);
        assert_true(swtpm_run(m->tpm, "tpm2_readpublic -c 0x81000002 -n name"));
        get_file(m->tpm, "name", &made.srk);
        expect(m->tpm, &made, TPM_OTHER);
        expect(m->tpm, &m->honest, TPM_GRANTED);
}

static void test_another_hierarchy(void **state) {
        struct machine *m = *state;
        struct sealed made;

        /* A storage key of the endorsement hierarchy, put where the owner's stands. */
        assert_true(swtpm_run(m->tpm, "tpm2_evictcontrol -C o -c " SRK
                                      " && tpm2_createprimary -C e" MAKE_PRIMARY " && " KEEP(SRK)));
        made = make(m, SRK, SELECTION);
        assert_true(swtpm_run(m->tpm, "tpm2_readpublic -c " SRK " -n name"));
        get_file(m->tpm, "name", &made.srk);
        assert_true(opens_unseen(m, &made));
        expect_unproven(m, &made, "another hierarchy");
        /* A ticket that says otherwise. */
        assert_memory_equal(made.ticket.data, "\x80\x21\x40\0\0\x0b", 6);
        made.ticket.data[5] = 0x01;
        expect_unproven(m, &made, "no such ticket");
        made.ticket.data[1] ^= 1;
        expect_unproven(m, &made, "ticket");
}

/* The TPM takes an object that was made in software, by TPM2_Import, under any parent whose public
 * part is known. Return: what it answers; @ret gets TPM2B_PRIVATE on 0. */
static uint32_t import(const struct machine *m, const struct tpm_bytes *public,
                       const struct tpm_bytes *duplicate, struct tpm_bytes *ret) {
        struct tpm_bytes command = { 0 };
        uint8_t reply[1024];
        size_t n;

        add(&command, "\x80\x02\0\0\0\0\0\0\x01\x56", 10);
        add(&command, "\x81\0\0\x01\0\0\0\x09\x40\0\0\x09\0\0\0\0\0", 17); /* empty password */
        add(&command, "\0", 2);                                            /* no encryptionKey */
        add(&command, public->data, public->size);
        add(&command, duplicate->data, duplicate->size);
        add(&command, "\0\0\0\x10", 4); /* no seed, no symmetric algorithm: nothing is encrypted */
        command.data[4] = (uint8_t) (command.size >> 8);
        command.data[5] = (uint8_t) command.size;
        n = swtpm_command(m->tpm, command.data, command.size, reply, sizeof(reply));
        assert_true(n >= 10);
        if (memcmp(reply + 6, "\0\0\0", 4) == 0) {
                ret->size = 0;
                add(ret, reply + 14, 2 + (size_t) (reply[14] << 8 | reply[15]));
        }
        return (uint32_t) reply[6] << 24 | (uint32_t) reply[7] << 16 | (uint32_t) reply[8] << 8 |
               reply[9];
}

/* A keyedHash object with these attributes, made in software. */
static void make_in_software(const struct machine *m, uint32_t attributes, struct tpm_bytes *public,
                             struct tpm_bytes *duplicate) {
        struct tpm_bytes area = { 0 }, sensitive = { 0 }, inner = { 0 };
        uint8_t seeded[48] = { 0x11 }, unique[32], policy[32];
        struct error err = { 0 };

        memcpy(seeded + 32, "sixteen bytes...", 16);
        assert_int_equal(crypto_sha256(seeded, sizeof(seeded), unique, &err), 0);
        swtpm_policy_pcr(&m->honest.pcrs, MASK, policy);
        add(&area, "\0\x08\0\x0b", 4);
        for (int shift = 24; shift >= 0; shift -= 8)
                add(&area, (uint8_t[]){ (uint8_t) (attributes >> shift) }, 1);
        add_sized(&area, policy, sizeof(policy));
        add(&area, "\0\x10", 2); /* no scheme */
        add_sized(&area, unique, sizeof(unique));
        public->size = 0;
        add_sized(public, area.data, area.size);

        add(&sensitive, "\0\x08\0", 4); /* keyedHash, no auth value */
        add_sized(&sensitive, seeded, 32);
        add_sized(&sensitive, seeded + 32, 16);
        add_sized(&inner, sensitive.data, sensitive.size);
        duplicate->size = 0;
        add_sized(duplicate, inner.data, inner.size);
}

static void test_imported_objects(void **state) {
        static const uint32_t fixed_tpm = 1u << 1, fixed_parent = 1u << 4, no_da = 1u << 10;
        struct machine *m = *state;
        struct tpm_bytes duplicate;
        struct sealed made = m->honest; /* with its creation data, and its ticket */

        make_in_software(m, no_da, &made.public, &duplicate);
        assert_int_equal(import(m, &made.public, &duplicate, &made.private), 0);
        assert_true(opens_unseen(m, &made));
        expect_unproven(m, &made, "imported");

        /* The public area lies: its name isn't the one that the private part was wrapped for. */
        make_in_software(m, no_da | fixed_tpm | fixed_parent, &made.public, &duplicate);
        assert_false(opens_unseen(m, &made));
        expect(m->tpm, &made, TPM_DAMAGED);

        /* And the TPM imports nothing that claims not to have been imported. */
        assert_int_equal(import(m, &made.public, &duplicate, &made.private), 0x2c2);
        make_in_software(m, no_da | fixed_tpm, &made.public, &duplicate);
        assert_int_equal(import(m, &made.public, &duplicate, &made.private), 0x2c2);
        make_in_software(m, no_da | fixed_parent, &made.public, &duplicate);
        assert_int_equal(import(m, &made.public, &duplicate, &made.private), 0x2c2);
}

static void test_no_evidence(void **state) {
        struct machine *m = *state;
        struct sealed object = m->honest;

        object.creation.size = 0;
        expect_unproven(m, &object, "creation data can't be read");
        object = m->honest;
        object.ticket.size = 0;
        expect_unproven(m, &object, "ticket can't be read");
        object = m->honest;
        object.creation.size++;
        expect_unproven(m, &object, "creation data can't be read");
        object = m->honest;
        object.ticket.size++;
        expect_unproven(m, &object, "ticket can't be read");
        object = m->honest;
        object.creation.size = object.ticket.size = 65535;
        expect_unproven(m, &object, "can't be read");
}

static void test_no_flipped_byte_of_the_evidence_opens(void **state) {
        struct machine *m = *state;
        struct sealed object = m->honest;
        struct tpm_bytes *const parts[] = { &object.creation, &object.ticket };
        _cleanup_(tpm_closep) struct tpm *t = NULL;
        struct error err = { 0 };

        assert_int_equal(tpm_open(m->tpm->tcti, &t, &err), 0);
        for (unsigned p = 0; p < ARRAY_SIZE(parts); p++)
                for (unsigned i = 0; i < parts[p]->size; i++) {
                        _cleanup_(secret_freep) struct secret *got = NULL;
                        struct tpm_refusal why = { 0 };
                        int r;

                        parts[p]->data[i] ^= (uint8_t) (1u << (i % 8));
                        r = tpm_unseal(t, &object, &opener, &got, &why, &err);
                        if (r != TPM_UNPROVEN || why.text[0] == '\0')
                                fail_msg("part %u, byte %u: %d (%s)", p, i, r, err.text);
                        assert_null(got);
                        parts[p]->data[i] ^= (uint8_t) (1u << (i % 8));
                }
        assert_int_equal(swtpm_leftovers(m->tpm), 0);
        t = tpm_close(t);
        expect(m->tpm, &object, TPM_GRANTED); /* the test put everything back */
}

/* An answer that is the TPM's, but to another question. */
static void test_what_is_attested_is_what_was_asked(void **unused) {
        const struct evidence e = { .name = { 34, { 0, 0x0b, 1, 2, 3 } },
                                    .hash = { 32, { 4, 5, 6 } } };
        const TPM2B_DATA nonce = { 16, { 7, 8, 9 } };
        const TPMS_ATTEST attest = { .magic = TPM2_GENERATED_VALUE,
                                     .type = TPM2_ST_ATTEST_CREATION,
                                     .extraData = nonce,
                                     .attested.creation = { e.name, e.hash } };
        const size_t clock_at = 4 + 2 + 2 + 18, names_at = clock_at + 17 + 8;
        TPM2B_ATTEST info = { 0 };
        size_t size = 0;

        (void) unused;
        assert_int_equal(Tss2_MU_TPMS_ATTEST_Marshal(&attest, info.attestationData,
                                                     sizeof(info.attestationData), &size),
                         0);
        info.size = (UINT16) size;
        assert_int_equal(size, names_at + 36 + 34);
        assert_true(evidence_is_attested(&info, &e, &nonce));
        for (size_t i = 0; i < size; i++) {
                info.attestationData[i] ^= 1;
                if (evidence_is_attested(&info, &e, &nonce) != (i >= clock_at && i < names_at))
                        fail_msg("byte %zu", i);
                info.attestationData[i] ^= 1;
        }
        info.size--;
        assert_false(evidence_is_attested(&info, &e, &nonce));
        info.size += 2;
        assert_false(evidence_is_attested(&info, &e, &nonce));
        info.size = 0;
        assert_false(evidence_is_attested(&info, &e, &nonce));
}

static void test_a_cleared_tpm_is_another_one(void **state) {
        struct machine *m = *state;
        struct sealed before = m->honest;

        expect(m->tpm, &before, TPM_GRANTED);
        assert_true(swtpm_run(m->tpm, "tpm2_clear"));
        expect(m->tpm, &before, TPM_OTHER); /* the storage key is gone with the owner's seed */
        assert_true(swtpm_run(m->tpm, "tpm2_createprimary -C o" MAKE_PRIMARY " && " KEEP(SRK)));
        expect(m->tpm, &before, TPM_OTHER);
        seal_honestly(m);
        expect(m->tpm, &m->honest, TPM_GRANTED);
        /* Under the name of the new key it's no object of this TPM. */
        before.srk = m->honest.srk;
        expect_unproven(m, &before, "under another parent");
        before.creation = m->honest.creation;
        expect(m->tpm, &before, TPM_DAMAGED);
}

#define ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                ON_MACHINE(test_what_others_seal_in_the_good_state_opens),
                ON_MACHINE(test_another_state_with_genuine_evidence_is_a_mismatch),
                ON_MACHINE(test_sealed_by_an_evil_system),
                ON_MACHINE(test_one_pcr_is_named),
                ON_MACHINE(test_a_policy_for_both_states),
                ON_MACHINE(test_another_look_at_the_pcrs),
                ON_MACHINE(test_another_parent),
                ON_MACHINE(test_another_hierarchy),
                ON_MACHINE(test_imported_objects),
                ON_MACHINE(test_no_evidence),
                ON_MACHINE(test_no_flipped_byte_of_the_evidence_opens),
                ON_MACHINE(test_a_cleared_tpm_is_another_one),
                cmocka_unit_test(test_what_is_attested_is_what_was_asked),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
