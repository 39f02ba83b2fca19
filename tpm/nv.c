/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tpm/nv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tpm/internal.h"

#define READING (TPMA_SESSION_ENCRYPT | TPMA_SESSION_CONTINUESESSION)

/* What is ours in the TPM meanwhile: never more than one object and one session at once. */
struct work {
        struct handle parent, session, signer, nv;
        struct tpm_bytes srk;    /* Name of the parent */
        struct secret *key;      /* the counter's; borrowed */
        struct p256_point point; /* its public half */
};

#define WORK(t)                                                                                    \
        { .parent = HANDLE(t), .session = HANDLE(t), .signer = HANDLE(t), .nv = HANDLE(t) }

static void work_done(struct work *w) {
        handle_done(&w->nv);
        handle_done(&w->signer);
        handle_done(&w->session);
        handle_done(&w->parent);
}

/* --- reading --- */

/* The Name is what somebody says who answers in the TPM's place; all that is done with the index
 * later has it in an HMAC, so that a wrong one leads nowhere. */
static TSS2_RC find(struct tpm *t, uint32_t index, struct handle *ret,
                    uint8_t ret_name[TPM_NAME_SIZE]) {
        _cleanup_(esys_freep) TPM2B_NAME *name = NULL;
        ESYS_TR tr;
        TSS2_RC rc;

        rc = Esys_TR_FromTPMPublic(t->esys, index, NO_SESSIONS, &tr);
        if (rc)
                return rc;
        ret->persistent = true;
        handle_hold(ret, tr);
        rc = Esys_TR_GetName(t->esys, tr, &name);
        if (rc)
                return rc;
        memset(ret_name, 0, TPM_NAME_SIZE); /* nothing has this Name */
        if (name->size == TPM_NAME_SIZE)
                memcpy(ret_name, name->name, TPM_NAME_SIZE);
        return TSS2_RC_SUCCESS;
}

static int read_value(struct tpm *t, const struct handle *nv, const struct handle *session,
                      uint64_t *ret, struct error *err) {
        _cleanup_(esys_freep) TPM2B_MAX_NV_BUFFER *data = NULL;
        uint64_t value = 0;
        TSS2_RC rc;
        int r;

        r = session_set(t, session, READING, err);
        if (r < 0)
                return r;
        rc = Esys_NV_Read(t->esys, nv->tr, nv->tr, ESYS_TR_PASSWORD, session->tr, ESYS_TR_NONE, 8,
                          0, &data);
        if (rc)
                return tpm_fault(t, rc, "read it", err);
        if (data->size != 8)
                return error_set(err, -EIO, "read it: the TPM answers %u bytes", data->size);
        for (unsigned i = 0; i < 8; i++)
                value = value << 8 | data->buffer[i];
        *ret = value;
        return TPM_COUNTER_GOOD;
}

/* Something of another Name is there. This time the TPM's answer has an HMAC. */
static int tell_apart(struct tpm *t, const struct handle *nv, const struct handle *session,
                      const uint8_t name[TPM_NAME_SIZE], struct error *err) {
        _cleanup_(esys_freep) TPM2B_NV_PUBLIC *area = NULL;
        uint8_t as_it_is[TPM_NAME_SIZE], as_written[TPM_NAME_SIZE];
        TSS2_RC rc;
        int r;

        rc = Esys_NV_ReadPublic(t->esys, nv->tr, session->tr, ESYS_TR_NONE, ESYS_TR_NONE, &area,
                                NULL);
        if (rc)
                return tpm_fault(t, rc, "look at it", err);
        r = counter_area_name(area, 0, as_it_is, err);
        if (r < 0)
                return r;
        if (memcmp(as_it_is, name, TPM_NAME_SIZE) == 0)
                return error_set(err, -EIO, "look at it: two answers; somebody alters them");
        r = counter_area_name(area, TPMA_NV_WRITTEN, as_written, err);
        if (r < 0)
                return r;
        return memcmp(as_written, name, TPM_NAME_SIZE) == 0 ? TPM_COUNTER_UNWRITTEN
                                                            : TPM_COUNTER_OTHER;
}

int counter_examine(struct tpm *t, uint32_t index, const uint8_t name[TPM_NAME_SIZE],
                    const struct handle *session, uint64_t *ret, struct error *err) {
        _cleanup_(handle_done) struct handle nv = HANDLE(t);
        uint8_t found[TPM_NAME_SIZE];
        TSS2_RC rc;
        int r;

        rc = find(t, index, &nv, found);
        if (rc_base(rc) == TPM2_RC_HANDLE)
                return TPM_COUNTER_MISSING;
        if (rc)
                return tpm_fault(t, rc, "look for it", err);
        r = session_set(t, session, READING, err);
        if (r < 0)
                return r;
        if (memcmp(found, name, TPM_NAME_SIZE) != 0)
                return tell_apart(t, &nv, session, name, err);
        return read_value(t, &nv, session, ret, err);
}

/* An error has no HMAC: whoever answers in the TPM's place can say that there is nothing. The list
 * of what there is has one, in a session that audits. Return: TPM_COUNTER_MISSING; -EIO. */
static int prove_missing(struct tpm *t, uint32_t index, const struct handle *session,
                         struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        TSS2_RC rc;
        int r;

        r = session_set(t, session, TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION, err);
        if (r < 0)
                return r;
        rc = Esys_GetCapability(t->esys, session->tr, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES,
                                index, 1, NULL, &found);
        if (rc)
                return tpm_fault(t, rc, "look for it", err);
        if (found->data.handles.count > 0 && found->data.handles.handle[0] == index)
                return error_set(err, -EIO, "look for it: two answers; somebody alters them");
        return TPM_COUNTER_MISSING;
}

/* Return: TPM_COUNTER_GOOD; TPM_COUNTER_OTHER_TPM; or a fault. */
static int bring_parent(struct tpm *t, const struct tpm_bytes *srk, struct work *w,
                        struct error *err) {
        TPM2B_NAME name;
        int r = clock_check(t, err);

        if (r < 0)
                return r;
        if (srk->size > 0) {
                w->srk = *srk;
                r = srk_named(t, srk, &w->parent, err);
                return r == TPM_OTHER ? TPM_COUNTER_OTHER_TPM : r;
        }
        r = srk_any(t, &w->parent, &name, err);
        if (r < 0)
                return r;
        w->srk = (struct tpm_bytes){ .size = name.size };
        memcpy(w->srk.data, name.name, name.size);
        return TPM_COUNTER_GOOD;
}

/* In a session of its own: one with a policy can't audit. */
static int check(struct tpm *t, const struct tpm_counter *c, struct work *w, uint64_t *ret,
                 struct error *err) {
        _cleanup_(handle_done) struct handle session = HANDLE(t);
        int r;

        r = bring_parent(t, &c->srk, w, err);
        if (r != TPM_COUNTER_GOOD)
                return r;
        r = session_start(t, TPM2_SE_HMAC, &w->parent, READING, &session, err);
        if (r < 0)
                return r;
        r = counter_examine(t, c->index, c->name, &session, ret, err);
        if (r == TPM_COUNTER_MISSING)
                return prove_missing(t, c->index, &session, err);
        return r;
}

int tpm_counter_read(struct tpm *t, struct tpm_counter *c, struct error *err) {
        _cleanup_(work_done) struct work w = WORK(t);
        uint64_t value;
        int r;

        r = check(t, c, &w, &value, err);
        if (r < 0)
                return error_prefix(err, "counter 0x%08x", c->index);
        if (r == TPM_COUNTER_GOOD)
                c->value = value;
        return r;
}

TSS2_RC nv_policy(struct tpm *t, const struct step *s, const struct handle *session) {
        _cleanup_(handle_done) struct handle nv = HANDLE(t);
        TPM2B_OPERAND limit = { .size = 8 };
        uint8_t found[TPM_NAME_SIZE];
        TSS2_RC rc;

        rc = find(t, s->nv.index, &nv, found);
        if (rc)
                return rc;
        if (memcmp(found, s->nv.name, TPM_NAME_SIZE) != 0)
                return TPM2_RC_POLICY_FAIL;
        for (unsigned i = 0; i < 8; i++)
                limit.buffer[i] = (BYTE) (s->nv.le >> (56 - 8 * i));
        return Esys_PolicyNV(t->esys, nv.tr, nv.tr, session->tr, PASSWORD, &limit, 0,
                             TPM2_EO_UNSIGNED_LE);
}

/* --- writing --- */

/* A session for the key's signatures, and the key; the parent goes, it isn't needed any more. */
static int prepare(struct tpm *t, struct work *w, struct error *err) {
        TPM2B_PUBLIC signer;
        bool tried = false;
        ESYS_TR tr;
        TSS2_RC rc;
        int r;

        r = session_start(t, TPM2_SE_POLICY, &w->parent, READING, &w->session, err);
        if (r < 0)
                return r;
        handle_done(&w->parent);
        counter_signer(&w->point, &signer);
        do
                rc = Esys_LoadExternal(t->esys, NO_SESSIONS, NULL, &signer, ESYS_TR_RH_NULL, &tr);
        while (lock_made_room(t, rc, &tried));
        if (rc)
                return tpm_fault(t, rc, "load its key", err);
        handle_hold(&w->signer, tr);
        return 0;
}

/* The counter has the Name @name now. Afterwards the session's policy is empty again, and its nonce
 * another one: each step needs a signature of its own. */
static int step_once(struct tpm *t, struct work *w, const uint8_t name[TPM_NAME_SIZE],
                     struct error *err) {
        _cleanup_(esys_freep) TPM2B_NONCE *nonce = NULL;
        struct permit permit = { 0 };
        TPM2B_NONCE reference;
        TSS2_RC rc;
        int r;

        rc = Esys_TRSess_GetNonceTPM(t->esys, w->session.tr, &nonce);
        if (rc)
                return tpm_fault(t, rc, "advance it", err);
        r = counter_permit(name, nonce, w->key, &permit, err);
        if (r < 0)
                return r;
        counter_reference(&reference);
        rc = Esys_PolicySigned(t->esys, w->signer.tr, w->session.tr, NO_SESSIONS, nonce,
                               &permit.command, &reference, 0, &permit.signature, NULL, NULL);
        if (rc)
                return tpm_fault(t, rc, "advance it: signed policy", err);
        rc = Esys_PolicyCommandCode(t->esys, w->session.tr, NO_SESSIONS, TPM2_CC_NV_Increment);
        if (rc)
                return tpm_fault(t, rc, "advance it: policy of one command", err);
        r = session_set(t, &w->session, TPMA_SESSION_CONTINUESESSION, err);
        if (r < 0)
                return r;
        rc = Esys_NV_Increment(t->esys, w->nv.tr, w->nv.tr, w->session.tr, ESYS_TR_NONE,
                               ESYS_TR_NONE);
        if (rc)
                return tpm_fault(t, rc, "advance it", err);
        return 0;
}

/* Steps until the counter, which stands at @*value, isn't below @to. */
static int climb(struct tpm *t, struct work *w, const struct tpm_counter *c, uint64_t to,
                 uint64_t *value, struct error *err) {
        uint8_t found[TPM_NAME_SIZE];
        TSS2_RC rc;
        int r;

        r = prepare(t, w, err);
        if (r < 0)
                return r;
        rc = find(t, c->index, &w->nv, found);
        if (rc)
                return tpm_fault(t, rc, "look for it", err);
        if (memcmp(found, c->name, TPM_NAME_SIZE) != 0)
                return error_set(err, -EIO, "it is another one than a moment ago");

        while (*value < to) {
                uint64_t before = *value;

                r = step_once(t, w, c->name, err);
                if (r < 0)
                        return r;
                r = read_value(t, &w->nv, &w->session, value, err);
                if (r < 0)
                        return r;
                if (*value <= before)
                        return error_set(err, -EIO, "advance it: it stays at %" PRIu64, *value);
        }
        return TPM_COUNTER_GOOD;
}

static int advance(struct tpm *t, const struct tpm_counter *c, struct work *w, uint64_t to,
                   uint64_t *ret, struct error *err) {
        uint8_t name[TPM_NAME_SIZE];
        uint64_t value;
        int r;

        r = p256_public(w->key, &w->point, err);
        if (r < 0)
                return r;
        r = tpm_counter_name(c->index, &w->point, name, err);
        if (r < 0)
                return r;
        if (memcmp(name, c->name, TPM_NAME_SIZE) != 0)
                return TPM_COUNTER_WRONG_KEY;

        r = check(t, c, w, &value, err);
        if (r != TPM_COUNTER_GOOD)
                return r;
        if (value < to && to - value > TPM_COUNTER_STRIDE_MAX)
                return error_set(err, -ERANGE,
                                 "it stands at %" PRIu64 ", and %" PRIu64 " is too far above",
                                 value, to);
        if (value < to)
                r = climb(t, w, c, to, &value, err);
        if (r == TPM_COUNTER_GOOD)
                *ret = value;
        return r;
}

int tpm_counter_advance(struct tpm *t, struct tpm_counter *c, struct secret *key, uint64_t to,
                        struct error *err) {
        _cleanup_(work_done) struct work w = WORK(t);
        uint64_t value;
        int r;

        w.key = key;
        r = advance(t, c, &w, to, &value, err);
        if (r < 0)
                return error_prefix(err, "counter 0x%08x", c->index);
        if (r == TPM_COUNTER_GOOD)
                c->value = value;
        return r;
}

/* --- making --- */

/* Where the TPM wants the owner's password, it says so in one of these ways. */
static int explain_owner(struct error *err) {
        TSS2_RC rc = rc_base(err->tpm_rc);

        if (rc != TPM2_RC_BAD_AUTH && rc != TPM2_RC_AUTH_FAIL)
                return err->errnum;
        return error_set(err, -EACCES,
                         "the owner hierarchy of this TPM has a password, and a counter is made "
                         "without one; tpm2_changeauth -c owner takes it away");
}

/* Return: 0; -EACCES, -ENOSPC, -EIO. */
static int define(struct tpm *t, const TPM2B_NV_PUBLIC *area, struct handle *ret,
                  struct error *err) {
        const TPM2B_AUTH none = { 0 };
        ESYS_TR tr;
        TSS2_RC rc;

        rc = Esys_NV_DefineSpace(t->esys, ESYS_TR_RH_OWNER, PASSWORD, &none, area, &tr);
        if (rc == TPM2_RC_NV_SPACE) {
                err->tpm_rc = rc;
                return error_set(err, -ENOSPC,
                                 "the TPM's memory is full; tpm2_getcap handles-nv-index shows "
                                 "what is in it");
        }
        if (rc) {
                (void) tpm_fault(t, rc, "define it", err);
                return explain_owner(err);
        }
        ret->persistent = true;
        handle_hold(ret, tr);
        return 0;
}

/* Makes the counter at c->index, or what is missing of it. Return: TPM_COUNTER_GOOD, with its Name
 * and value; TPM_COUNTER_OTHER; or a fault. */
static int make_there(struct tpm *t, struct work *w, struct tpm_counter *c, struct error *err) {
        uint8_t first[TPM_NAME_SIZE], found[TPM_NAME_SIZE];
        TPM2B_NV_PUBLIC area;
        TSS2_RC rc;
        int r;

        r = counter_area(c->index, &w->point, &area, err);
        if (r < 0)
                return r;
        r = counter_area_name(&area, 0, first, err);
        if (r < 0)
                return r;
        r = counter_area_name(&area, TPMA_NV_WRITTEN, c->name, err);
        if (r < 0)
                return r;

        r = counter_examine(t, c->index, c->name, &w->session, &c->value, err);
        if (r != TPM_COUNTER_MISSING && r != TPM_COUNTER_UNWRITTEN)
                return r;
        if (r == TPM_COUNTER_MISSING) {
                r = define(t, &area, &w->nv, err);
                if (r < 0)
                        return r;
        } else {
                rc = find(t, c->index, &w->nv, found);
                if (rc)
                        return tpm_fault(t, rc, "look for it", err);
        }
        r = step_once(t, w, first, err);
        if (r < 0)
                return r;
        /* What was sent to define it had no HMAC. */
        r = counter_examine(t, c->index, c->name, &w->session, &c->value, err);
        if (r > 0)
                return error_set(err, -EIO, "it isn't what was made; somebody alters commands");
        return r;
}

/* Whether that index is the counter of our key, written or not. Return: 1, 0, or a fault. */
static int is_ours(struct tpm *t, const struct work *w, uint32_t index, struct error *err) {
        uint8_t name[TPM_NAME_SIZE];
        uint64_t value;
        int r;

        r = tpm_counter_name(index, &w->point, name, err);
        if (r < 0)
                return r;
        r = counter_examine(t, index, name, &w->session, &value, err);
        return r < 0 ? r : r == TPM_COUNTER_GOOD || r == TPM_COUNTER_UNWRITTEN;
}

/* Looks at all places from @base on. @ret_ours: the one where our key's counter is, 0 where none
 * is;
 * @ret_taken: bit n for place n, of those before it. */
static int survey(struct tpm *t, const struct work *w, uint32_t base, uint32_t *ret_ours,
                  uint32_t *ret_taken, struct error *err) {
        _cleanup_(esys_freep) TPMS_CAPABILITY_DATA *found = NULL;
        const TPML_HANDLE *list;
        TSS2_RC rc;

        *ret_ours = *ret_taken = 0;
        rc = Esys_GetCapability(t->esys, NO_SESSIONS, TPM2_CAP_HANDLES, base, TPM_COUNTER_PLACES,
                                NULL, &found);
        if (rc)
                return tpm_fault(t, rc, "look for a place", err);
        list = &found->data.handles;
        for (UINT32 i = 0; i < list->count && i < ARRAY_SIZE(list->handle); i++) {
                uint32_t index = list->handle[i];
                int r;

                if (index < base || index - base >= TPM_COUNTER_PLACES)
                        continue;
                *ret_taken |= 1u << (index - base);
                r = is_ours(t, w, index, err);
                if (r < 0)
                        return r;
                if (r > 0) {
                        *ret_ours = index;
                        return 0;
                }
        }
        return 0;
}

/* The place where our key's counter is, else the first free one. Return: 0; -ENOSPC, -EIO. */
static int choose(struct tpm *t, const struct work *w, uint32_t base, uint32_t *ret,
                  struct error *err) {
        uint32_t ours, taken;
        int r = survey(t, w, base, &ours, &taken, err);

        if (r < 0)
                return r;
        if (ours) {
                *ret = ours;
                return 0;
        }
        for (uint32_t i = 0; i < TPM_COUNTER_PLACES; i++)
                if (!(taken & 1u << i)) {
                        *ret = base + i;
                        return 0;
                }
        return error_set(err, -ENOSPC,
                         "all %u places for counters are taken, from 0x%08x on; tpm2_nvreadpublic "
                         "shows what is there, tpm2_nvundefine makes room",
                         TPM_COUNTER_PLACES, base);
}

static bool is_nv(uint32_t index) {
        return index >> TPM2_HR_SHIFT == TPM2_HT_NV_INDEX;
}

static int make(struct tpm *t, uint32_t base, struct work *w, struct tpm_counter *c,
                struct error *err) {
        int r;

        if (c->index ? !is_nv(c->index) : !is_nv(base) || !is_nv(base + TPM_COUNTER_PLACES - 1))
                return error_set(err, -EINVAL, "0x%08x is no NV index", c->index ? c->index : base);
        r = p256_public(w->key, &w->point, err);
        if (r < 0)
                return r;
        err->tpm_rc = 0; /* whatever it was before */
        r = bring_parent(t, &c->srk, w, err);
        if (r < 0)
                return explain_owner(err);
        if (r != TPM_COUNTER_GOOD)
                return r;
        c->srk = w->srk;
        r = prepare(t, w, err);
        if (r < 0)
                return r;
        if (c->index == 0) {
                r = choose(t, w, base, &c->index, err);
                if (r < 0)
                        return r;
        }
        r = make_there(t, w, c, err);
        return r < 0 ? error_prefix(err, "0x%08x", c->index) : r;
}

int tpm_counter_make(struct tpm *t, uint32_t base, struct secret *key, struct tpm_counter *c,
                     struct error *err) {
        _cleanup_(work_done) struct work w = WORK(t);
        struct tpm_counter made = *c;
        int r;

        w.key = key;
        r = make(t, base, &w, &made, err);
        if (r < 0)
                return error_prefix(err, "make counter");
        if (r == TPM_COUNTER_GOOD)
                *c = made;
        return r;
}

/* --- removing --- */

/* The session's HMAC covers the Name: that counter goes, or none. */
static int undefine(struct tpm *t, struct work *w, uint32_t index, struct error *err) {
        uint8_t found[TPM_NAME_SIZE];
        TSS2_RC rc;
        int r;

        rc = find(t, index, &w->nv, found);
        if (rc)
                return tpm_fault(t, rc, "look for it", err);
        r = session_set(t, &w->session, TPMA_SESSION_CONTINUESESSION, err);
        if (r < 0)
                return r;
        rc = Esys_NV_UndefineSpace(t->esys, ESYS_TR_RH_OWNER, w->nv.tr, w->session.tr, ESYS_TR_NONE,
                                   ESYS_TR_NONE);
        if (rc) {
                (void) tpm_fault(t, rc, "undefine it", err);
                return explain_owner(err);
        }
        handle_gone(&w->nv);
        return TPM_COUNTER_GOOD;
}

static int remove_ours(struct tpm *t, uint32_t base, struct work *w, struct error *err) {
        const struct tpm_bytes any = { 0 };
        uint32_t index, taken;
        int r;

        r = p256_public(w->key, &w->point, err);
        if (r < 0)
                return r;
        err->tpm_rc = 0; /* whatever it was before */
        r = bring_parent(t, &any, w, err);
        if (r < 0)
                return r;
        r = session_start(t, TPM2_SE_HMAC, &w->parent, READING, &w->session, err);
        if (r < 0)
                return r;
        r = survey(t, w, base, &index, &taken, err);
        if (r < 0)
                return r;
        if (!index)
                return TPM_COUNTER_MISSING;
        r = undefine(t, w, index, err);
        return r < 0 ? error_prefix(err, "0x%08x", index) : r;
}

int tpm_counter_remove(struct tpm *t, uint32_t base, struct secret *key, struct error *err) {
        _cleanup_(work_done) struct work w = WORK(t);
        int r;

        w.key = key;
        r = remove_ours(t, base, &w, err);
        return r < 0 ? error_prefix(err, "remove counter") : r;
}
