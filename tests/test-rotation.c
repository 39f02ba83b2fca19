/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotation.h"
#include "base/cleanup.h"
#include "tests/test.h"

#define DISKS 3
#define OLD 1u
#define NEW 2u

/* What survives a power cut: each disk's token, and the store. */
struct world {
        unsigned token[DISKS]; /* of OLD and NEW */
        bool recorded;
        unsigned current; /* of the store */
};

/* What a process knows beside it, and loses: that the new version was proven. */
struct process {
        bool proven[DISKS];
        bool failed[DISKS];
};

static enum rotation_state look(const struct world *w, const struct process *p) {
        struct rotation_facts f = { .recorded = w->recorded };

        for (unsigned i = 0; i < DISKS; i++) {
                if (p->failed[i])
                        continue;
                f.disks++;
                f.staged += (w->token[i] & NEW) != 0;
                f.retired += w->token[i] == NEW;
        }
        return rotation_resume(&f);
}

/* One effect on one disk. The cut comes between two of these. */
static void on_disk(struct world *w, struct process *p, enum rotation_effect e, unsigned i) {
        if (e == ROTATION_STAGE)
                w->token[i] |= NEW;
        if (e == ROTATION_PROVE)
                p->proven[i] = (w->token[i] & NEW) != 0;
        if (e == ROTATION_RETIRE) {
                assert_true(p->proven[i]); /* nothing is dropped for what wasn't proven */
                w->token[i] = NEW;
        }
}

static void check(const struct world *w) {
        for (unsigned i = 0; i < DISKS; i++)
                assert_true(w->token[i] != 0);
        /* A version on a disk is never one that nobody recorded. */
        for (unsigned i = 0; i < DISKS; i++)
                assert_true(!(w->token[i] & NEW) || w->recorded || w->current == NEW);
}

/* A process that runs until tick @cut. Return: whether it came to the end before. */
static bool run(struct world *w, unsigned *tick, unsigned cut, unsigned broken) {
        struct process p = { 0 };
        enum rotation_state s = look(w, &p);

        do {
                enum rotation_effect e = rotation_effect(s);
                bool some = false;

                for (unsigned i = 0; i < DISKS; i++) {
                        if ((*tick)++ == cut)
                                return false;
                        if (e == ROTATION_SEAL)
                                w->recorded = some = true;
                        else if (e == ROTATION_PUBLISH) {
                                w->current = NEW;
                                w->recorded = false;
                                some = true;
                        } else if (i == broken)
                                p.failed[i] = true;
                        else if (!p.failed[i]) {
                                on_disk(w, &p, e, i);
                                some = true;
                        }
                        check(w);
                        if (e == ROTATION_SEAL || e == ROTATION_PUBLISH)
                                break;
                }
                s = rotation_next(s, some);
                assert_true(*tick < 100);
        } while (s != ROTATION_IDLE);
        return true;
}

static void test_every_cut_leaves_a_key_and_the_next_run_ends(void **state) {
        (void) state;

        for (unsigned a = 0; a < 24; a++)
                for (unsigned b = 0; b < 24; b++) {
                        struct world w = { .token = { OLD, OLD, OLD }, .current = OLD };
                        unsigned tick = 0;
                        bool ended = run(&w, &tick, a, DISKS);

                        if (!ended) {
                                tick = 0;
                                ended = run(&w, &tick, b, DISKS);
                        }
                        if (!ended) {
                                tick = 0;
                                assert_true(run(&w, &tick, 1000, DISKS));
                        }
                        for (unsigned i = 0; i < DISKS; i++)
                                assert_int_equal(w.token[i], NEW);
                        assert_int_equal(w.current, NEW);
                        assert_false(w.recorded);
                }
}

static void test_one_broken_disk_keeps_its_key_and_stops_nobody(void **state) {
        (void) state;

        for (unsigned broken = 0; broken < DISKS; broken++) {
                struct world w = { .token = { OLD, OLD, OLD }, .current = OLD };
                unsigned tick = 0;

                assert_true(run(&w, &tick, 1000, broken));
                for (unsigned i = 0; i < DISKS; i++)
                        assert_int_equal(w.token[i], i == broken ? OLD : NEW);
        }
}

static void test_a_proof_is_never_taken_from_the_past(void **state) {
        (void) state;

        for (unsigned recorded = 0; recorded < 2; recorded++)
                for (size_t disks = 0; disks < 4; disks++)
                        for (size_t staged = 0; staged <= disks; staged++)
                                for (size_t retired = 0; retired <= staged; retired++) {
                                        struct rotation_facts f = { recorded, disks, staged,
                                                                    retired };

                                        assert_int_not_equal(rotation_resume(&f), ROTATION_PROVEN);
                                }
}

static void test_where_all_fail_nothing_moves_on(void **state) {
        (void) state;

        for (enum rotation_state s = 0; s < ROTATION_STATES; s++) {
                assert_int_equal(rotation_next(s, false), s);
                assert_int_equal(rotation_next(s, true), (s + 1) % ROTATION_STATES);
                assert_non_null(rotation_state_name(s));
                assert_non_null(rotation_effect_name(rotation_effect(s)));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_cut_leaves_a_key_and_the_next_run_ends),
                cmocka_unit_test(test_one_broken_disk_keeps_its_key_and_stops_nobody),
                cmocka_unit_test(test_a_proof_is_never_taken_from_the_past),
                cmocka_unit_test(test_where_all_fail_nothing_moves_on),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
