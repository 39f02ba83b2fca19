/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/change.h"
#include "agent/rotate-slot.h"
#include "agent/slots.h"
#include "agent/ways.h"
#include "luks/rules.h"
#include "tests/known-disk.h"
#include "tests/test.h"

/* A new keyslot for one disk, from whatever a run before left of it. Version 1 is live, 2 the
 * target; keyslot 1 and token 9 are somebody else's. */

#define FOREIGN_SLOT 1
#define FOREIGN_TOKEN 9
#define NEW_SLOT 2

struct fixture {
        struct image image;
        struct secret *volume_key, *passphrase;
        struct kek kek[4]; /* by version */
        struct rotate_slot_job job;
};

static struct luks_edit *edit_begin(const struct fixture *f, struct disk *d) {
        struct luks_edit *edit = NULL;
        struct refusal why = { 0 };
        struct error err = { 0 };

        known_disk_load(&f->image, d);
        if (disk_edit(d->luks, "it", &edit, &why, &err) != OUTCOME_DONE)
                fail_msg("%s %s", why.what, err.text);
        return edit;
}

static void add_foreign(const struct fixture *f, unsigned slot) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(luks_edit_closep) struct luks_edit *edit = edit_begin(f, &d);
        struct error err = { 0 };

        assert_int_equal(luks_slot_add(edit,
                                       &(struct luks_key){ slot, LUKS_SLOT_FOREIGN, f->passphrase },
                                       f->volume_key, &err),
                         0);
}

static void put_token(const struct fixture *f, unsigned id, const char *text) {
        _cleanup_(json_freep) struct json *json = image_parse(text);
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(luks_edit_closep) struct luks_edit *edit = edit_begin(f, &d);
        struct error err = { 0 };

        assert_int_equal(luks_token_set(edit, id, json, &err), 0);
}

#define HEAD (4 << 20) /* bytes that hold all that a test writes */

static struct fixture made;
static uint8_t head[HEAD];

static int make(void **state) {
        struct fixture *f = &made;
        _cleanup_(disk_done) struct disk d = DISK_INIT;

        (void) state;
        for (uint32_t v = 1; v < ARRAY_SIZE(f->kek); v++)
                f->kek[v] = known_kek(v);
        image_make(&f->image, IMAGE_SIZE);
        f->passphrase = image_random(20);
        f->volume_key = known_disk_make(&f->image, 1);
        add_foreign(f, FOREIGN_SLOT);
        put_token(f, FOREIGN_TOKEN, "{\"type\":\"theirs\",\"keyslots\":[\"1\"],\"x\":1}");
        known_disk_load(&f->image, &d);
        (void) snprintf(f->job.disk.at.device, sizeof(f->job.disk.at.device), "%.79s",
                        f->image.path);
        (void) snprintf(f->job.disk.at.uuid, sizeof(f->job.disk.at.uuid), "%s",
                        luks_facts(d.luks)->uuid);

        f->job.disk.live = f->kek[1];
        f->job.disk.target = f->kek[2];
        image_read(&f->image, 0, head, sizeof(head));
        return 0;
}

static int drop(void **state) {
        struct fixture *f = &made;

        (void) state;
        f->volume_key = secret_free(f->volume_key);
        f->passphrase = secret_free(f->passphrase);
        image_done(&f->image);
        return 0;
}

static int setup(void **state) {
        static struct fixture f;

        f = made;
        image_write(&f.image, 0, head, sizeof(head));
        *state = &f;
        return 0;
}

/* With the keys of the job's versions. */
static int run_why(const struct fixture *f, worker_fn fn, struct refusal *why, struct error *err) {
        const struct rotate_job *j = &f->job.disk;
        struct secret *key[WORKER_KEYS_MAX] = { j->live.version ? known_kek_key(j->live.version)
                                                                : NULL,
                                                known_kek_key(j->target.version) };
        int r = fn(&f->job, key, NULL, why, err);

        secret_free(key[0]);
        secret_free(key[1]);
        return r;
}

static void run(const struct fixture *f, worker_fn fn) {
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = run_why(f, fn, &why, &err);

        if (r != OUTCOME_DONE)
                fail_msg("%d: %s; %s %s", r, err.text, why.what, why.details ? why.detail[0] : "");
}

/* Refused for this reason, or a fault, and the disk is as it was. */
static void refuses(const struct fixture *f, worker_fn fn, int outcome, enum refusal_kind kind) {
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        struct refusal why = { 0 };
        struct error err = { 0 };

        image_sum(&f->image, 0, before);
        assert_int_equal(run_why(f, fn, &why, &err), outcome);
        if (why.kind != kind)
                fail_msg("refused as %s: %s", refusal_id(why.kind), why.what);
        image_sum(&f->image, 0, after);
        assert_memory_equal(before, after, sizeof(before));
}

/* Whether the disk opens where these versions can be had: as a boot would, and no TPM is there. */
static bool opens(const struct fixture *f, uint32_t a, uint32_t b, struct refusal *why) {
        _cleanup_(context_done) struct context c = CONTEXT_INIT;
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct tpm_way way = { 0 };
        struct error err = { 0 };
        int r;

        (void) snprintf(c.tcti, sizeof(c.tcti), "device:/nowhere");
        (void) snprintf(c.state_dir, sizeof(c.state_dir), "/nowhere");
        assert_int_equal(context_keep(&c, &f->kek[a], known_kek_key(a), &err), 0);
        assert_int_equal(context_keep(&c, &f->kek[b], known_kek_key(b), &err), 0);
        known_disk_load(&f->image, &d);
        r = way_by_tpm(&c, &d, &way, why, &err);
        if (r == OUTCOME_DONE)
                r = disk_volume_key(&d, way.slot_secret, &volume_key, why, &err);
        secret_free(way.slot_secret);
        assert_true(r != OUTCOME_DONE || crypto_same(volume_key, f->volume_key));
        return r == OUTCOME_DONE;
}

static bool opens_with(const struct fixture *f, uint32_t version) {
        struct refusal why = { 0 };

        return opens(f, version, version, &why);
}

/* What others have is as it was. */
static void foreign_is_there(const struct fixture *f) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct luks_reason why = { 0 };
        struct error err = { 0 };
        const char *type;

        known_disk_load(&f->image, &d);
        assert_int_equal(
                luks_slot_open(d.luks,
                               &(struct luks_key){ FOREIGN_SLOT, LUKS_SLOT_FOREIGN, f->passphrase },
                               &key, &why, &err),
                LUKS_OK);
        assert_true(crypto_same(key, f->volume_key));
        assert_int_equal(json_get_string(luks_token(d.luks, FOREIGN_TOKEN), "type", &type, &err),
                         0);
        assert_string_equal(type, "theirs");
}

static unsigned our_tokens(const struct disk *d) {
        unsigned n = 0;

        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++)
                n += token_is_ours(luks_token(d->luks, id));
        return n;
}

/* One version, one token, one keyslot of ours. */
static void settled(const struct fixture *f, uint32_t version) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;

        known_disk_load(&f->image, &d);
        assert_int_equal(our_tokens(&d), 1);
        assert_false(d.pending);
        assert_int_equal(d.token->entries, 1);
        assert_int_equal(d.token->entry[0].kek.version, version);
        assert_int_equal(luks_facts(d.luks)->slots, 1u << FOREIGN_SLOT | 1u << d.token->slot);
        assert_true(opens_with(f, version));
        foreign_is_there(f);
}

/* Both versions are there, each with a keyslot of its own, and either opens the disk. */
static void staged(const struct fixture *f, uint32_t old, uint32_t new) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        enum slot_role role[LUKS_SLOTS_MAX];

        known_disk_load(&f->image, &d);
        assert_int_equal(our_tokens(&d), 2);
        assert_false(d.pending);
        assert_non_null(d.older);
        assert_int_equal(d.token->entry[0].kek.version, new);
        assert_int_equal(d.older->entry[0].kek.version, old);
        assert_true(d.token->epoch > d.older->epoch);
        slot_roles(&d, role);
        assert_int_equal(role[d.token->slot], SLOT_AGENT);
        assert_int_equal(role[d.older->slot], SLOT_AGENT);
        assert_int_equal(__builtin_popcount(luks_facts(d.luks)->slots), 3);
        assert_true(opens_with(f, new));
        assert_true(opens_with(f, old));
        foreign_is_there(f);
}

static void wipe_area(const struct fixture *f, unsigned slot) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        uint8_t zero[4096] = { 0 };
        uint64_t offset, size;

        known_disk_load(&f->image, &d);
        assert_true(rules_area(rules_numbered(luks_metadata(d.luks), "keyslots", slot), &offset,
                               &size));
        image_write(&f->image, offset, zero, sizeof(zero));
}

/* The newest token as it was before it became active. */
static void make_pending(const struct fixture *f, bool with_slot) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(luks_edit_closep) struct luks_edit *edit = edit_begin(f, &d);
        struct error err = { 0 };

        d.token->state = TOKEN_PENDING;
        assert_int_equal(disk_put_token(edit, d.token_id, d.token, &err), 0);
        if (!with_slot)
                assert_int_equal(luks_slot_remove(edit, d.token->slot, &err), 0);
}

static void drop_slot(const struct fixture *f, unsigned slot) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(luks_edit_closep) struct luks_edit *edit = edit_begin(f, &d);
        struct error err = { 0 };

        assert_int_equal(luks_slot_remove(edit, slot, &err), 0);
}

/* --- the order --- */

static void test_staged_proven_retired(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        staged(f, 1, 2);
        run(f, rotate_slot_prove);
        run(f, rotate_slot_retire);
        settled(f, 2);
        assert_false(opens_with(f, 1));
}

static void test_the_next_one_takes_the_slot_of_the_last_but_one(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        run(f, rotate_slot_retire);
        f->job.disk.live = f->kek[2];
        f->job.disk.target = f->kek[3];
        run(f, rotate_slot_stage);
        staged(f, 2, 3);
        run(f, rotate_slot_retire);
        settled(f, 3);
}

static void test_each_step_again_writes_nothing(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        refuses(f, rotate_slot_stage, OUTCOME_DONE, REFUSAL_NONE);
        f->job.disk.live.version = 0; /* not needed any more */
        refuses(f, rotate_slot_stage, OUTCOME_DONE, REFUSAL_NONE);
        run(f, rotate_slot_retire);
        refuses(f, rotate_slot_stage, OUTCOME_DONE, REFUSAL_NONE);
        refuses(f, rotate_slot_prove, OUTCOME_DONE, REFUSAL_NONE);
        refuses(f, rotate_slot_retire, OUTCOME_DONE, REFUSAL_NONE);
        settled(f, 2);
}

static void test_aborted(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        run(f, rotate_slot_abort);
        settled(f, 1);
        assert_false(opens_with(f, 2));
        refuses(f, rotate_slot_abort, OUTCOME_DONE, REFUSAL_NONE);
        run(f, rotate_slot_stage);
        staged(f, 1, 2);
}

/* --- what a cut leaves --- */

static void test_a_pending_token_with_its_slot_is_taken_up(void **state) {
        struct fixture *f = *state;
        uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct error err = { 0 };

        run(f, rotate_slot_stage);
        make_pending(f, true);
        known_disk_load(&f->image, &d);
        assert_int_equal(disk_slot_hash(d.luks, NEW_SLOT, before, &err), 0);
        disk_done(&d);
        assert_true(opens_with(f, 1));
        run(f, rotate_slot_stage);
        staged(f, 1, 2);
        known_disk_load(&f->image, &d);
        assert_int_equal(disk_slot_hash(d.luks, NEW_SLOT, after, &err), 0);
        assert_memory_equal(before, after, sizeof(before));
}

static void test_a_pending_token_without_its_slot_is_taken_up(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        make_pending(f, false);
        assert_true(opens_with(f, 1));
        run(f, rotate_slot_stage);
        staged(f, 1, 2);
}

static void test_a_pending_token_whose_slot_is_dead_is_replaced(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        make_pending(f, true);
        wipe_area(f, NEW_SLOT);
        run(f, rotate_slot_stage);
        staged(f, 1, 2);
}

static void test_a_pending_token_is_aborted_with_its_slot(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        make_pending(f, true);
        run(f, rotate_slot_abort);
        settled(f, 1);
}

static void test_a_slot_that_went_to_somebody_else_is_left_alone(void **state) {
        struct fixture *f = *state;
        _cleanup_(disk_done) struct disk d = DISK_INIT;

        run(f, rotate_slot_stage);
        make_pending(f, false);
        add_foreign(f, NEW_SLOT);
        run(f, rotate_slot_stage);
        known_disk_load(&f->image, &d);
        assert_int_equal(our_tokens(&d), 2);
        assert_int_equal(d.token->slot, NEW_SLOT + 1);
        assert_int_equal(__builtin_popcount(luks_facts(d.luks)->slots), 4);
        foreign_is_there(f);
}

static void test_an_old_token_without_its_slot_is_removed(void **state) {
        struct fixture *f = *state;
        _cleanup_(disk_done) struct disk d = DISK_INIT;

        run(f, rotate_slot_stage);
        drop_slot(f, 0);
        known_disk_load(&f->image, &d);
        assert_null(d.older);
        assert_true(opens_with(f, 2));
        run(f, rotate_slot_retire);
        settled(f, 2);
}

/* The number of a destroyed keyslot is free for anybody. */
static void test_a_slot_that_was_reused_is_not_the_old_tokens(void **state) {
        struct fixture *f = *state;
        _cleanup_(disk_done) struct disk d = DISK_INIT;

        run(f, rotate_slot_stage);
        drop_slot(f, 0);
        add_foreign(f, 0);
        run(f, rotate_slot_retire);
        known_disk_load(&f->image, &d);
        assert_int_equal(our_tokens(&d), 1);
        assert_true(luks_facts(d.luks)->slots & 1u);
}

static void test_a_dead_old_slot_is_removed(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        wipe_area(f, 0);
        assert_true(opens_with(f, 2));
        run(f, rotate_slot_retire);
        settled(f, 2);
}

/* An abort that was cut off: the newest token is whole and its keyslot isn't. */
static void test_a_dead_new_slot_is_passed_over_and_removed(void **state) {
        struct fixture *f = *state;
        struct refusal why = { 0 };

        run(f, rotate_slot_stage);
        wipe_area(f, NEW_SLOT);
        assert_true(opens(f, 1, 2, &why));
        assert_int_equal(why.kind, REFUSAL_WRONG_KEY);
        assert_non_null(strstr(why.detail[0], "keyslot 0 opens it"));
        refuses(f, rotate_slot_prove, OUTCOME_REFUSED, REFUSAL_WRONG_KEY);
        refuses(f, rotate_slot_retire, OUTCOME_REFUSED, REFUSAL_WRONG_KEY);
        run(f, rotate_slot_abort);
        settled(f, 1);
}

static void test_a_dead_new_slot_is_staged_anew(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        wipe_area(f, NEW_SLOT);
        f->job.disk.live.version = 0; /* nothing else opens the disk, for all that's known */
        refuses(f, rotate_slot_stage, OUTCOME_REFUSED, REFUSAL_WRONG_KEY);
        f->job.disk.live = f->kek[1];
        run(f, rotate_slot_stage);
        staged(f, 1, 2);
}

static void test_an_aborted_token_without_its_slot_is_removed(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        drop_slot(f, NEW_SLOT);
        assert_true(opens_with(f, 1));
        run(f, rotate_slot_abort);
        settled(f, 1);
}

static void test_what_is_staged_is_replaced_and_the_live_one_never(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        f->job.disk.target = f->kek[3];
        run(f, rotate_slot_stage);
        staged(f, 1, 3);
        run(f, rotate_slot_retire);
        settled(f, 3);
}

static void test_what_depth_kek_staged_is_no_new_slot(void **state) {
        static struct rotate_kept *volatile kept; /* as in a worker: until it ends */
        struct fixture *f = *state;

        kept = rotate_kept_new(1);
        f->job.disk.at.kept = kept;
        run(f, rotate_stage);
        run(f, rotate_slot_stage);
        {
                _cleanup_(disk_done) struct disk d = DISK_INIT;

                known_disk_load(&f->image, &d);
                assert_int_equal(our_tokens(&d), 2);
                assert_int_equal(d.token->entries, 1);
                assert_int_equal(d.older->entries, 2);
        }
        run(f, rotate_slot_retire);
        settled(f, 2);
}

static void test_neither_opens_and_the_newest_says_why(void **state) {
        struct fixture *f = *state;
        struct refusal why = { 0 };

        run(f, rotate_slot_stage);
        wipe_area(f, NEW_SLOT);
        wipe_area(f, 0);
        assert_false(opens(f, 1, 2, &why));
        assert_int_equal(why.kind, REFUSAL_WRONG_KEY);
        assert_non_null(strstr(why.detail[why.details - 1], "nor does the older"));
}

/* --- refusals --- */

static void test_no_free_slot(void **state) {
        struct fixture *f = *state;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(luks_edit_closep) struct luks_edit *edit = edit_begin(f, &d);
        struct error err = { 0 };

        for (unsigned slot = NEW_SLOT; slot < LUKS_SLOTS_MAX; slot++)
                assert_int_equal(
                        luks_slot_add(edit,
                                      &(struct luks_key){ slot, LUKS_SLOT_OURS, f->volume_key },
                                      f->volume_key, &err),
                        0);
        edit = luks_edit_close(edit);
        refuses(f, rotate_slot_stage, OUTCOME_REFUSED, REFUSAL_NO_ROOM);
        assert_true(opens_with(f, 1));
}

static void test_no_free_token(void **state) {
        struct fixture *f = *state;

        for (unsigned id = 1; id < LUKS_TOKENS_MAX; id++)
                if (id != FOREIGN_TOKEN)
                        put_token(f, id, "{\"type\":\"theirs\",\"keyslots\":[]}");
        refuses(f, rotate_slot_stage, OUTCOME_REFUSED, REFUSAL_NO_ROOM);
}

static void test_no_room_for_json(void **state) {
        struct fixture *f = *state;
        char text[60 * 1024];
        int n = snprintf(text, sizeof(text), "{\"type\":\"theirs\",\"keyslots\":[],\"x\":\"");

        memset(text + n, 'x', 56000);
        (void) snprintf(text + n + 56000, 16, "\"}");
        put_token(f, 5, text);
        refuses(f, rotate_slot_stage, OUTCOME_REFUSED, REFUSAL_NO_ROOM);
        assert_true(opens_with(f, 1));
}

static void test_nothing_is_retired_for_a_target_that_does_not_open(void **state) {
        struct fixture *f = *state;
        struct secret *key[WORKER_KEYS_MAX] = { NULL, known_kek_key(3) };
        struct refusal why = { 0 };
        struct error err = { 0 };

        run(f, rotate_slot_stage);
        assert_int_equal(rotate_slot_retire(&f->job, key, NULL, &why, &err), OUTCOME_REFUSED);
        assert_int_equal(why.kind, REFUSAL_TOKEN_DAMAGED);
        secret_free(key[1]);
        f->job.disk.target = f->kek[3];
        refuses(f, rotate_slot_prove, -EAGAIN, REFUSAL_NONE);
        refuses(f, rotate_slot_retire, -EAGAIN, REFUSAL_NONE);
        staged(f, 1, 2);
}

static void test_nothing_is_aborted_once_it_was_retired(void **state) {
        struct fixture *f = *state;

        run(f, rotate_slot_stage);
        run(f, rotate_slot_retire);
        refuses(f, rotate_slot_abort, -EAGAIN, REFUSAL_NONE);
        settled(f, 2);
}

static void test_another_disk_in_its_place(void **state) {
        struct fixture *f = *state;

        f->job.disk.at.uuid[0] = f->job.disk.at.uuid[0] == '0' ? '1' : '0';
        refuses(f, rotate_slot_stage, OUTCOME_REFUSED, REFUSAL_UNKNOWN_DISK);
}

/* Whoever writes to the header can bind a token of ours to any keyslot. */
static void test_a_forged_token_takes_no_slot_of_others_along(void **state) {
        struct fixture *f = *state;
        struct error err = { 0 };

        run(f, rotate_slot_stage);
        {
                _cleanup_(disk_done) struct disk d = DISK_INIT;
                _cleanup_(luks_edit_closep) struct luks_edit *edit = edit_begin(f, &d);

                d.older->slot = FOREIGN_SLOT;
                assert_int_equal(disk_put_token(edit, d.older_id, d.older, &err), 0);
        }
        refuses(f, rotate_slot_retire, OUTCOME_REFUSED, REFUSAL_TOKEN_DAMAGED);
        foreign_is_there(f);
}

static void test_no_pin_changes_while_two_are_there(void **state) {
        struct fixture *f = *state;
        struct refusal why = { 0 };
        struct change w = { .why = &why };

        known_disk_load(&f->image, &w.disk);
        assert_int_equal(change_settled(&w), OUTCOME_DONE);
        disk_done(&w.disk);
        run(f, rotate_slot_stage);
        known_disk_load(&f->image, &w.disk);
        assert_int_equal(change_settled(&w), OUTCOME_REFUSED);
        disk_done(&w.disk);
}

static void test_what_is_pinned_is_recorded(void **state) {
        struct fixture *f = *state;
        _cleanup_(freep) char *known = NULL, *first = NULL;
        struct error err = { 0 };
        char path[128];

        (void) snprintf(f->job.state_dir, sizeof(f->job.state_dir), "%s", f->image.dir);
        run(f, rotate_slot_stage);
        assert_int_equal(state_read_header(f->image.dir, f->job.disk.at.uuid, &first, &err), 0);
        assert_non_null(strchr(first, '\n'));
        run(f, rotate_slot_retire);
        assert_int_equal(state_read_header(f->image.dir, f->job.disk.at.uuid, &known, &err), 0);
        assert_null(strchr(known, '\n'));
        assert_string_equal(known, strchr(first, '\n') + 1);
        (void) snprintf(path, sizeof(path), "rm -rf %s/headers", f->image.dir);
        assert_int_equal(system(path), 0);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_staged_proven_retired),
                TEST(test_the_next_one_takes_the_slot_of_the_last_but_one),
                TEST(test_each_step_again_writes_nothing),
                TEST(test_aborted),
                TEST(test_a_pending_token_with_its_slot_is_taken_up),
                TEST(test_a_pending_token_without_its_slot_is_taken_up),
                TEST(test_a_pending_token_whose_slot_is_dead_is_replaced),
                TEST(test_a_pending_token_is_aborted_with_its_slot),
                TEST(test_a_slot_that_went_to_somebody_else_is_left_alone),
                TEST(test_an_old_token_without_its_slot_is_removed),
                TEST(test_a_slot_that_was_reused_is_not_the_old_tokens),
                TEST(test_a_dead_old_slot_is_removed),
                TEST(test_a_dead_new_slot_is_passed_over_and_removed),
                TEST(test_a_dead_new_slot_is_staged_anew),
                TEST(test_an_aborted_token_without_its_slot_is_removed),
                TEST(test_what_is_staged_is_replaced_and_the_live_one_never),
                TEST(test_what_depth_kek_staged_is_no_new_slot),
                TEST(test_neither_opens_and_the_newest_says_why),
                TEST(test_no_free_slot),
                TEST(test_no_free_token),
                TEST(test_no_room_for_json),
                TEST(test_nothing_is_retired_for_a_target_that_does_not_open),
                TEST(test_nothing_is_aborted_once_it_was_retired),
                TEST(test_another_disk_in_its_place),
                TEST(test_a_forged_token_takes_no_slot_of_others_along),
                TEST(test_no_pin_changes_while_two_are_there),
                TEST(test_what_is_pinned_is_recorded),
        };

        return cmocka_run_group_tests(tests, make, drop);
}
