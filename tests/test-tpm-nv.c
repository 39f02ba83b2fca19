/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>

#include "base/crypto.h"
#include "base/hex.h"
#include "policy/policy.h"
#include "tests/nv.h"

/* Counters that end old versions of a key. */

static bool keep_storage_key(const struct swtpm *s) {
        return swtpm_run(s, "tpm2_createprimary -C o -G ecc256:aes128cfb -a 'fixedtpm|fixedparent|"
                            "sensitivedataorigin|userwithauth|restricted|decrypt|noda' -c s.ctx &&"
                            "tpm2_flushcontext -t && tpm2_evictcontrol -c s.ctx 0x81000001 &&"
                            "tpm2_flushcontext -t");
}

/* --- sealing by hand --- */

static struct step step_of(const struct tpm_counter *c, uint64_t le) {
        struct step s = { .kind = STEP_NV, .nv = { .index = c->index, .le = le } };

        memcpy(s.nv.name, c->name, TPM_NAME_SIZE);
        return s;
}

static void seal_at(struct tpm *t, const struct step *step, struct sealed *ret) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        const struct steps steps = { .count = 1, .step = { *step } };
        uint8_t policy[POLICY_DIGEST_SIZE];
        const struct pcrs none = { 0 };
        struct error err = { 0 };

        assert_int_equal(policy_digest(&steps, &none, policy, &err), 0);
        assert_int_equal(crypto_random_secret(32, &key, &err), 0);
        assert_int_equal(tpm_seal(t, &(struct tpm_sealing){ key, policy, &none, NULL }, ret, &err),
                         TPM_GRANTED);
}

/* The Name of whatever is at @index. */
static void name_there(struct tpm *t, uint32_t index, uint8_t ret[TPM_NAME_SIZE]) {
        _cleanup_(handle_done) struct handle nv = HANDLE(t);
        _cleanup_(esys_freep) TPM2B_NAME *name = NULL;
        ESYS_TR tr;

        nv.persistent = true;
        assert_int_equal(Esys_TR_FromTPMPublic(t->esys, index, NO_SESSIONS, &tr), 0);
        handle_hold(&nv, tr);
        assert_int_equal(Esys_TR_GetName(t->esys, tr, &name), 0);
        assert_int_equal(name->size, TPM_NAME_SIZE);
        memcpy(ret, name->name, TPM_NAME_SIZE);
}

/* What the TPM says: to the step, and if it is satisfied, to the wish for the key. Then, in the
 * same session, what is there. */
static TSS2_RC ask(struct tpm *t, const struct sealed *s, const struct step *step, int *ret_there,
                   uint64_t *ret_value) {
        _cleanup_(handle_done) struct handle parent = HANDLE(t), loaded = HANDLE(t),
                                             session = HANDLE(t);
        _cleanup_(plain_wipep) TPM2B_SENSITIVE_DATA *plain = NULL;
        struct error err = { 0 };
        struct object o;
        TSS2_RC rc;

        assert_true(sealed_decode(s, &o));
        assert_int_equal(srk_named(t, &s->srk, &parent, &err), TPM_GRANTED);
        assert_int_equal(object_load(t, &parent, &o, &loaded, &err), TPM_GRANTED);
        assert_int_equal(session_start(t, TPM2_SE_POLICY, &parent,
                                       TPMA_SESSION_ENCRYPT | TPMA_SESSION_CONTINUESESSION,
                                       &session, &err),
                         0);
        rc = nv_policy(t, step, &session);
        if (!rc)
                rc = Esys_Unseal(t->esys, loaded.tr, session.tr, ESYS_TR_NONE, ESYS_TR_NONE,
                                 &plain);
        *ret_there = counter_examine(t, step->nv.index, step->nv.name, &session, ret_value, &err);
        return rc;
}

/* --- making and reading --- */

static void test_its_name_is_known_before_it_is_made(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        uint8_t name[TPM_NAME_SIZE];
        char hex[2 * TPM_NAME_SIZE + 1], command[256];
        struct tpm_counter c = { 0 };
        struct error err = { 0 };
        struct p256_point point;

        assert_int_equal(p256_public(key, &point, &err), 0);
        assert_int_equal(tpm_counter_name(BASE, &point, name, &err), 0);

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.index, 25220576);
        assert_memory_equal(c.name, name, sizeof(name));
        assert_int_equal(c.value, 1);
        assert_int_equal(c.srk.size, TPM_NAME_SIZE);
        close_clean(s, t);

        /* As others see it. */
        hex_encode(name, sizeof(name), hex);
        (void) snprintf(command, sizeof(command),
                        "tpm2_nvreadpublic 0x0180d5e0 >public && grep -qi 'name: %s' public &&"
                        "grep -q 'friendly: policywrite|nt=0x1|authread|no_da|written$' public",
                        hex);
        assert_true(swtpm_run(s, command));
        hex[20] ^= 1;
        (void) snprintf(command, sizeof(command), "! grep -qi 'name: %s' public", hex);
        assert_true(swtpm_run(s, command));

        /* Another place, another key: another name. */
        assert_int_equal(tpm_counter_name(BASE + 1, &point, name, &err), 0);
        assert_memory_not_equal(c.name, name, sizeof(name));
        point.y[31] ^= 1;
        assert_int_equal(tpm_counter_name(BASE, &point, name, &err), 0);
        assert_memory_not_equal(c.name, name, sizeof(name));
}

static void test_places(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *a = key_new(), *b = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter first = { 0 }, second = { 0 }, again = { 0 }, there = { 0 };

        assert_int_equal(make(t, a, &first), TPM_COUNTER_GOOD);
        assert_int_equal(make(t, b, &second), TPM_COUNTER_GOOD);
        assert_int_equal(first.index, BASE);
        assert_int_equal(second.index, BASE + 1);

        /* Made again, it's the same one, and isn't advanced. */
        assert_int_equal(advance(t, &second, b, 5), TPM_COUNTER_GOOD);
        assert_int_equal(make(t, b, &again), TPM_COUNTER_GOOD);
        assert_memory_equal(&again, &second, sizeof(again));
        assert_int_equal(again.value, 5);

        there.index = BASE + 9;
        assert_int_equal(make(t, a, &there), TPM_COUNTER_GOOD);
        assert_int_equal(there.index, BASE + 9);
        there.index = 0x01900000;
        assert_int_equal(make(t, b, &there), TPM_COUNTER_GOOD);
        assert_int_equal(there.index, 0x01900000);

        /* Where something else is, it stays as it is. */
        there = (struct tpm_counter){ .index = BASE };
        assert_int_equal(make(t, b, &there), TPM_COUNTER_OTHER);
        assert_int_equal(there.index, BASE);
        assert_int_equal(there.name[1], 0);
        assert_int_equal(read_it(t, &first), TPM_COUNTER_GOOD);
        assert_int_equal(first.value, 1);
        close_clean(s, t);
}

static void test_no_place(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t;
        struct tpm_counter c = { 0 };
        struct error err = { 0 };

        assert_true(swtpm_run(s, "for i in $(seq 0 15); do tpm2_nvdefine -C o -s 8 "
                                 "$(printf 0x%x $((0x0180d5e0 + i))); done"));
        t = open_tpm(s);
        assert_int_equal(tpm_counter_make(t, BASE, key, &c, &err), -ENOSPC);
        assert_non_null(strstr(err.text, "all 16 places"));
        assert_int_equal(c.index, 0);
        t = tpm_close(t);

        assert_true(undefine(s, BASE + 15));
        t = open_tpm(s);
        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.index, BASE + 15);
        /* Another base, and what is no place at all. */
        c.index = 0;
        assert_int_equal(tpm_counter_make(t, 0x01a00000, key, &c, &err), TPM_COUNTER_GOOD);
        assert_int_equal(c.index, 0x01a00000);
        c.index = 0x81000001;
        assert_int_equal(tpm_counter_make(t, BASE, key, &c, &err), -EINVAL);
        c.index = 0;
        assert_int_equal(tpm_counter_make(t, 0x01fffff1, key, &c, &err), -EINVAL);
        assert_int_equal(c.index, 0);
        close_clean(s, t);
}

/* As often as the TPM takes it, from @index on. Return: the index that it refused. */
static uint32_t define_many(const struct swtpm *s, uint32_t index, uint32_t attributes,
                            uint16_t size) {
        uint8_t command[45] = "\x80\x02\0\0\0\x2d\0\0\x01\x2a\x40\0\0\x01"
                              "\0\0\0\x09\x40\0\0\x09\0\0\0\0\0" /* empty password */
                              "\0\0\0\x0e";
        uint8_t reply[64];

        command[36] = 0x0b; /* SHA-256 */
        for (unsigned i = 0; i < 4; i++)
                command[37 + i] = (uint8_t) (attributes >> (24 - 8 * i));
        command[43] = (uint8_t) (size >> 8);
        command[44] = (uint8_t) size;
        for (;; index++) {
                for (unsigned i = 0; i < 4; i++)
                        command[31 + i] = (uint8_t) (index >> (24 - 8 * i));
                assert_true(swtpm_command(s, command, sizeof(command), reply, sizeof(reply)) >= 10);
                if (memcmp(reply + 6, "\0\0\0", 4) != 0)
                        break;
        }
        assert_memory_equal(reply + 6, "\0\0\x01\x4b", 4); /* TPM_RC_NV_SPACE */
        return index;
}

static void test_a_full_tpm(void **state) {
        static const uint16_t sizes[] = { 2048, 256, 32, 1 };
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm_counter c = { 0 };
        uint32_t next = 0x01900000;
        struct error err = { 0 };
        struct tpm *t;

        for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
                next = define_many(s, next, TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE, sizes[i]);
        /* The last room is kept for counters. */
        next = define_many(s, next, TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | 1u << 4, 8);
        assert_true(next > 0x01900008);

        t = open_tpm(s);
        assert_int_equal(tpm_counter_make(t, BASE, key, &c, &err), -ENOSPC);
        assert_non_null(strstr(err.text, "memory is full"));
        assert_int_equal(err.tpm_rc, TPM2_RC_NV_SPACE);
        t = tpm_close(t);

        assert_true(undefine(s, 0x01900000));
        t = open_tpm(s);
        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        close_clean(s, t);
}

static void test_an_owner_with_a_password(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new(), *other = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 }, more = { 0 };
        struct error err = { 0 };

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        t = tpm_close(t);

        /* Without a storage key that stands, already that one can't be had. */
        assert_true(swtpm_run(s, "tpm2_changeauth -c o secret"));
        t = open_tpm(s);
        assert_int_equal(tpm_counter_make(t, BASE, other, &more, &err), -EACCES);
        assert_non_null(strstr(err.text, "the owner hierarchy of this TPM has a password"));
        t = tpm_close(t);

        assert_true(swtpm_run(s, "tpm2_changeauth -c o -p secret") && keep_storage_key(s) &&
                    swtpm_run(s, "tpm2_changeauth -c o secret"));
        t = open_tpm(s);
        assert_int_equal(tpm_counter_make(t, BASE, other, &more, &err), -EACCES);
        assert_non_null(strstr(err.text, "the owner hierarchy of this TPM has a password"));
        assert_int_equal(more.index, 0);
        /* What is there already needs no password. */
        assert_int_equal(read_it(t, &c), TPM_COUNTER_GOOD);
        assert_int_equal(advance(t, &c, key, 2), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 2);
        close_clean(s, t);
}

static void test_what_is_not_the_counter(void **state) {
        struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new(), *other = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 }, theirs;

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        c.value = 77;
        t = tpm_close(t);
        assert_true(undefine(s, BASE));
        t = open_tpm(s);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_MISSING);
        assert_int_equal(advance(t, &c, key, 5), TPM_COUNTER_MISSING);

        /* Another key's counter. */
        theirs = (struct tpm_counter){ .index = BASE };
        assert_int_equal(make(t, other, &theirs), TPM_COUNTER_GOOD);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_OTHER);
        assert_int_equal(advance(t, &c, key, 5), TPM_COUNTER_OTHER);
        t = tpm_close(t);

        /* A counter that anybody advances; and no counter at all, under other rules of reading. */
        assert_true(undefine(s, BASE) &&
                    swtpm_run(s, "tpm2_nvdefine -C o -a 'nt=counter|authread|authwrite|no_da' "
                                 "0x0180d5e0 && tpm2_nvincrement 0x0180d5e0"));
        t = open_tpm(s);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_OTHER);
        t = tpm_close(t);
        assert_true(undefine(s, BASE) &&
                    swtpm_run(s, "tpm2_nvdefine -C o -g sha384 -p word -s 100 0x0180d5e0"));
        t = open_tpm(s);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_OTHER);
        assert_int_equal(advance(t, &c, key, 5), TPM_COUNTER_OTHER);
        assert_int_equal(c.value, 77); /* untouched */
        t = tpm_close(t);

        assert_true(undefine(s, BASE) && swtpm_restart(s, true));
        t = open_tpm(s);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_OTHER_TPM);
        assert_int_equal(advance(t, &c, key, 5), TPM_COUNTER_OTHER_TPM);
        assert_int_equal(make(t, key, &c), TPM_COUNTER_OTHER_TPM);
        c.srk.size = 0; /* any */
        assert_int_equal(read_it(t, &c), TPM_COUNTER_MISSING);
        close_clean(s, t);
}

/* --- advancing --- */

static void test_it_is_advanced_while_it_is_below(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new(), *other = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };
        struct error err = { 0 };

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        tap(t);
        line.target = CC_NV_INCREMENT;
        assert_int_equal(advance(t, &c, key, 4), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 4);
        assert_int_equal(line.seen, 3);
        assert_int_equal(advance(t, &c, key, 4), TPM_COUNTER_GOOD);
        assert_int_equal(advance(t, &c, key, 0), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 4);
        assert_int_equal(line.seen, 3);

        assert_int_equal(tpm_counter_advance(t, &c, key, 1005, &err), -ERANGE);
        assert_int_equal(tpm_counter_advance(t, &c, key, UINT64_MAX, &err), -ERANGE);
        assert_int_equal(advance(t, &c, other, 5), TPM_COUNTER_WRONG_KEY);
        assert_int_equal(line.seen, 3);
        c.value = 0;
        assert_int_equal(read_it(t, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 4);

        assert_int_equal(advance(t, &c, key, 24), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 24);
        assert_int_equal(line.seen, 23);
        close_clean(s, t);
}

/* Each step is in the TPM's memory before it answers; and no failures elsewhere stop it. */
static void test_no_power_cut_and_no_lockout_reaches_it(void **state) {
        struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };
        struct sealed object;
        struct step step;
        uint64_t value;
        int there;

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        assert_int_equal(advance(t, &c, key, 7), TPM_COUNTER_GOOD);
        t = tpm_close(t);
        assert_true(swtpm_restart(s, false));
        t = open_tpm(s);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 7);
        step = step_of(&c, 8);
        seal_at(t, &step, &object);
        t = tpm_close(t);

        assert_true(swtpm_run(s, "tpm2_nvdefine -C o -s 8 -a 'authread|authwrite' -p word "
                                 "0x01900000 && printf 12345678 | "
                                 "tpm2_nvwrite -P word -i - 0x01900000 &&"
                                 "tpm2_nvread -P word 0x01900000 &&"
                                 "tpm2_dictionarylockout -s -n 1 -t 1000 -l 1000"));
        assert_false(swtpm_run(s, "tpm2_nvread -P wrong 0x01900000 2>/dev/null"));
        assert_false(swtpm_run(s, "tpm2_nvread -P word 0x01900000 2>/dev/null"));
        t = open_tpm(s);
        assert_int_equal(advance(t, &c, key, 8), TPM_COUNTER_GOOD);
        assert_int_equal(ask(t, &object, &step, &there, &value), 0);
        assert_int_equal(value, 8);
        close_clean(s, t);
}

/* Neither who reads it, nor the owner, nor the platform; by policy, nobody without a signature. */
static void test_nobody_else_advances_it(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        t = tpm_close(t);
        assert_true(swtpm_run(s, "tpm2_nvread -s 8 0x0180d5e0 >value"));
        assert_false(swtpm_run(s, "tpm2_nvincrement 0x0180d5e0 2>/dev/null"));
        assert_false(swtpm_run(s, "tpm2_nvincrement -C o 0x0180d5e0 2>/dev/null"));
        assert_false(swtpm_run(s, "tpm2_nvincrement -C p 0x0180d5e0 2>/dev/null"));
        assert_false(swtpm_run(s, "printf 12345678 | tpm2_nvwrite -i - 0x0180d5e0 2>/dev/null"));
        assert_false(swtpm_run(s, "tpm2_nvwritelock -C o 0x0180d5e0 2>/dev/null"));
        assert_false(swtpm_run(s, "tpm2_startauthsession --policy-session -S x.ctx &&"
                                  "tpm2_policycommandcode -S x.ctx TPM2_CC_NV_Increment &&"
                                  "tpm2_nvincrement -P session:x.ctx 0x0180d5e0 2>/dev/null"));
        assert_true(swtpm_run(s, "tpm2_flushcontext x.ctx"));
        t = open_tpm(s);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 1);
        assert_int_equal(advance(t, &c, key, 2), TPM_COUNTER_GOOD);
        close_clean(s, t);
}

/* A policy session with a signature by @key for the counter named @name, held against the policy of
 * the public key in @signer. Return: the first refusal of the TPM. */
static TSS2_RC try_to_step(struct tpm *t, const struct tpm_counter *c, const uint8_t *name,
                           const struct p256_point *signer, struct secret *key) {
        _cleanup_(handle_done) struct handle parent = HANDLE(t), session = HANDLE(t),
                                             loaded = HANDLE(t), nv = HANDLE(t);
        _cleanup_(esys_freep) TPM2B_NONCE *nonce = NULL;
        struct permit permit = { 0 };
        struct error err = { 0 };
        TPM2B_NONCE reference;
        TPM2B_PUBLIC public;
        ESYS_TR tr;
        TSS2_RC rc;

        nv.persistent = true;
        assert_int_equal(srk_named(t, &c->srk, &parent, &err), TPM_GRANTED);
        assert_int_equal(session_start(t, TPM2_SE_POLICY, &parent, TPMA_SESSION_CONTINUESESSION,
                                       &session, &err),
                         0);
        counter_signer(signer, &public);
        assert_int_equal(
                Esys_LoadExternal(t->esys, NO_SESSIONS, NULL, &public, ESYS_TR_RH_NULL, &tr), 0);
        handle_hold(&loaded, tr);
        assert_int_equal(Esys_TR_FromTPMPublic(t->esys, c->index, NO_SESSIONS, &tr), 0);
        handle_hold(&nv, tr);
        assert_int_equal(Esys_TRSess_GetNonceTPM(t->esys, session.tr, &nonce), 0);
        assert_int_equal(counter_permit(name, nonce, key, &permit, &err), 0);
        counter_reference(&reference);
        rc = Esys_PolicySigned(t->esys, loaded.tr, session.tr, NO_SESSIONS, nonce, &permit.command,
                               &reference, 0, &permit.signature, NULL, NULL);
        if (rc)
                return rc;
        assert_int_equal(
                Esys_PolicyCommandCode(t->esys, session.tr, NO_SESSIONS, TPM2_CC_NV_Increment), 0);
        return Esys_NV_Increment(t->esys, nv.tr, nv.tr, session.tr, ESYS_TR_NONE, ESYS_TR_NONE);
}

static void test_only_its_key_signs_for_it(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *a = key_new(), *b = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter ours = { 0 }, theirs = { 0 };
        struct p256_point point_a, point_b;
        struct error err = { 0 };

        assert_int_equal(make(t, a, &ours), TPM_COUNTER_GOOD);
        assert_int_equal(make(t, b, &theirs), TPM_COUNTER_GOOD);
        assert_int_equal(p256_public(a, &point_a, &err), 0);
        assert_int_equal(p256_public(b, &point_b, &err), 0);

        assert_int_equal(try_to_step(t, &ours, ours.name, &point_a, a), 0);
        /* Another key under its own name; under the name of ours; a signature for another counter.
         */
        assert_int_equal(rc_base(try_to_step(t, &ours, ours.name, &point_b, b)),
                         TPM2_RC_POLICY_FAIL);
        assert_int_equal(rc_base(try_to_step(t, &ours, ours.name, &point_a, b)), TPM2_RC_SIGNATURE);
        assert_int_equal(rc_base(try_to_step(t, &ours, theirs.name, &point_a, a)),
                         TPM2_RC_POLICY_FAIL);
        assert_int_equal(read_it(t, &ours), TPM_COUNTER_GOOD);
        assert_int_equal(ours.value, 2);
        assert_int_equal(read_it(t, &theirs), TPM_COUNTER_GOOD);
        assert_int_equal(theirs.value, 1);
        close_clean(s, t);
}

static void test_defined_again_it_begins_above_all_that_were(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new(), *other = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 }, again = { 0 }, neighbour = { 0 };

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        assert_int_equal(advance(t, &c, key, 3), TPM_COUNTER_GOOD);
        /* One that lives sets no mark. */
        assert_int_equal(make(t, other, &neighbour), TPM_COUNTER_GOOD);
        assert_int_equal(neighbour.value, 1);
        t = tpm_close(t);
        assert_true(undefine(s, BASE));
        t = open_tpm(s);
        assert_int_equal(make(t, key, &again), TPM_COUNTER_GOOD);
        assert_memory_equal(again.name, c.name, sizeof(c.name)); /* the very same, in its policy */
        assert_int_equal(again.value, 4);
        assert_int_equal(advance(t, &again, key, 9), TPM_COUNTER_GOOD);
        t = tpm_close(t);

        /* The owner's last means. */
        assert_true(swtpm_run(s, "tpm2_clear"));
        t = open_tpm(s);
        c = (struct tpm_counter){ 0 };
        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        assert_int_equal(c.value, 10);
        close_clean(s, t);
}

/* --- what it is for --- */

static void test_advanced_beyond_its_limit_nothing_unseals(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct sealed old, new;
        struct tpm_counter c = { 0 };
        struct step upto1, upto2, lie;
        uint64_t value = 0;
        int there;

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        upto1 = step_of(&c, 1);
        upto2 = step_of(&c, 2);
        seal_at(t, &upto1, &old);
        seal_at(t, &upto2, &new); /* staged: both open */
        assert_int_equal(ask(t, &old, &upto1, &there, &value), 0);
        assert_int_equal(ask(t, &new, &upto2, &there, &value), 0);
        assert_int_equal(there, TPM_COUNTER_GOOD);
        assert_int_equal(value, 1);

        assert_int_equal(advance(t, &c, key, 2), TPM_COUNTER_GOOD);
        assert_int_equal(ask(t, &old, &upto1, &there, &value), TPM2_RC_POLICY);
        assert_int_equal(there, TPM_COUNTER_GOOD);
        assert_int_equal(value, 2);
        assert_int_equal(ask(t, &new, &upto2, &there, &value), 0);
        /* Another limit than the object's satisfies the TPM, but isn't the object's policy. */
        lie = step_of(&c, UINT64_MAX);
        assert_int_equal(rc_base(ask(t, &old, &lie, &there, &value)), TPM2_RC_POLICY_FAIL);
        lie.nv.le = 1ull << 40 | 1;
        assert_int_equal(rc_base(ask(t, &old, &lie, &there, &value)), TPM2_RC_POLICY_FAIL);
        t = tpm_close(t);

        /* Nor does it help to begin anew. */
        assert_true(undefine(s, BASE));
        t = open_tpm(s);
        assert_int_equal(rc_base(ask(t, &new, &upto2, &there, &value)), TPM2_RC_HANDLE);
        assert_int_equal(there, TPM_COUNTER_MISSING);
        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        assert_int_equal(ask(t, &old, &upto1, &there, &value), TPM2_RC_POLICY);
        assert_int_equal(ask(t, &new, &upto2, &there, &value), TPM2_RC_POLICY);
        assert_int_equal(value, 3);
        close_clean(s, t);
}

/* Whatever is there: for what the TPM itself says. */
static TSS2_RC policy_nv_unasked(struct tpm *t, const struct step *step) {
        _cleanup_(handle_done) struct handle parent = HANDLE(t), session = HANDLE(t);
        struct step there = *step;
        struct error err = { 0 };
        TPM2B_NAME name;

        assert_int_equal(srk_any(t, &parent, &name, &err), 0);
        assert_int_equal(session_start(t, TPM2_SE_POLICY, &parent, 0, &session, &err), 0);
        name_there(t, step->nv.index, there.nv.name);
        return nv_policy(t, &there, &session);
}

static void test_unwritten_it_opens_nothing(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { .index = BASE }, made = { .index = BASE };
        struct error err = { 0 };
        struct p256_point point;
        struct sealed object;
        struct step step;
        uint64_t value;
        int there;

        assert_int_equal(p256_public(key, &point, &err), 0);
        assert_int_equal(tpm_counter_name(c.index, &point, c.name, &err), 0);
        step = step_of(&c, 100);
        seal_at(t, &step, &object); /* before there is a counter */
        assert_int_equal(read_it(t, &c), TPM_COUNTER_MISSING);

        tap(t);
        line.target = CC_NV_INCREMENT;
        line.cut_target = true;
        assert_int_equal(tpm_counter_make(t, BASE, key, &made, &err), -EIO);
        t = reopen(s, t);
        assert_int_equal(read_it(t, &c), TPM_COUNTER_UNWRITTEN);
        assert_int_equal(advance(t, &c, key, 5), TPM_COUNTER_UNWRITTEN);
        assert_int_equal(rc_base(ask(t, &object, &step, &there, &value)), TPM2_RC_POLICY_FAIL);
        assert_int_equal(there, TPM_COUNTER_UNWRITTEN);
        assert_int_equal(policy_nv_unasked(t, &step), TPM2_RC_NV_UNINITIALIZED);

        assert_int_equal(make(t, key, &made), TPM_COUNTER_GOOD);
        assert_int_equal(ask(t, &object, &step, &there, &value), 0);
        assert_int_equal(there, TPM_COUNTER_GOOD);
        close_clean(s, t);
}

static void test_something_else_opens_nothing(void **state) {
        const struct swtpm *s = *state;
        _cleanup_(secret_freep) struct secret *key = key_new();
        struct tpm *t = open_tpm(s);
        struct tpm_counter c = { 0 };
        struct sealed object;
        struct step step;
        uint64_t value;
        int there;

        assert_int_equal(make(t, key, &c), TPM_COUNTER_GOOD);
        step = step_of(&c, 100);
        seal_at(t, &step, &object);
        assert_int_equal(ask(t, &object, &step, &there, &value), 0);
        t = tpm_close(t);
        assert_true(undefine(s, BASE) &&
                    swtpm_run(s, "tpm2_nvdefine -C o -a 'nt=counter|authread|authwrite|no_da' "
                                 "0x0180d5e0 && tpm2_nvincrement 0x0180d5e0"));
        t = open_tpm(s);
        assert_int_equal(rc_base(ask(t, &object, &step, &there, &value)), TPM2_RC_POLICY_FAIL);
        assert_int_equal(there, TPM_COUNTER_OTHER);
        /* Who says that it's the right one changes nothing: the TPM has its Name in the policy. */
        name_there(t, BASE, step.nv.name);
        assert_int_equal(rc_base(ask(t, &object, &step, &there, &value)), TPM2_RC_POLICY_FAIL);
        assert_int_equal(there, TPM_COUNTER_GOOD);
        close_clean(s, t);
}

#define ON_TPM(f) cmocka_unit_test_setup_teardown(f, swtpm_start, swtpm_stop)

int main(void) {
        const struct CMUnitTest tests[] = {
                ON_TPM(test_its_name_is_known_before_it_is_made),
                ON_TPM(test_places),
                ON_TPM(test_no_place),
                ON_TPM(test_a_full_tpm),
                ON_TPM(test_an_owner_with_a_password),
                ON_TPM(test_what_is_not_the_counter),
                ON_TPM(test_it_is_advanced_while_it_is_below),
                ON_TPM(test_no_power_cut_and_no_lockout_reaches_it),
                ON_TPM(test_nobody_else_advances_it),
                ON_TPM(test_only_its_key_signs_for_it),
                ON_TPM(test_defined_again_it_begins_above_all_that_were),
                ON_TPM(test_advanced_beyond_its_limit_nothing_unseals),
                ON_TPM(test_unwritten_it_opens_nothing),
                ON_TPM(test_something_else_opens_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
