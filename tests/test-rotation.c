/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/rotation.h"
#include "base/cleanup.h"
#include "tests/test.h"

#define DISKS 3
#define VERSIONS 12
#define NEVER 1000u /* no tick is as late */

/* What survives a power cut: each disk's token, the store with its archive, the TPM. Version v
 * unseals as long as the counter is at most v. */
struct world {
        unsigned token[DISKS]; /* bit v: version v opens it */
        bool away[DISKS];
        unsigned made, current, staged, counter; /* versions; 0: none */
        unsigned wrapped[VERSIONS];              /* bit w: in the archive, wrapped by version w */
};

enum command { ROTATE, STAGE, TRUST, FINISH, ABORT };

/* What a process knows beside it, and loses. */
struct process {
        enum command command;
        unsigned target;
        bool latched;    /* the TPM unseals nothing now */
        unsigned known;  /* bit v: whose key the boot handed over, or this process made */
        bool anew, held; /* as in the shell */
        bool proven[DISKS];
        bool failed[DISKS];
        unsigned tick, cut, broken;
};

static unsigned bit(unsigned v) {
        return 1u << v;
}

static bool unseals(const struct world *w, unsigned v) {
        return v != 0 && v >= w->counter;
}

/* Whether this process can have the key of a version. */
static bool has_key(const struct world *w, const struct process *p, unsigned v) {
        return v != 0 && (p->known & bit(v) || (!p->latched && unseals(w, v)));
}

/* By what the next boot unseals: a version of its own, or one that the archive has under a version
 * that stands in the store. */
static bool opens(const struct world *w, unsigned disk) {
        for (unsigned v = 1; v < VERSIONS; v++) {
                if (!(w->token[disk] & bit(v)))
                        continue;
                if (unseals(w, v) || (w->wrapped[v] & bit(w->current) && unseals(w, w->current)) ||
                    (w->wrapped[v] & bit(w->staged) && unseals(w, w->staged)))
                        return true;
        }
        return false;
}

static void check(const struct world *w) {
        for (unsigned i = 0; i < DISKS; i++)
                assert_true(opens(w, i));
}

static enum rotation_state look(const struct world *w, const struct process *p) {
        struct rotation_facts f = { .recorded = p->target != 0 };

        for (unsigned i = 0; i < DISKS; i++) {
                if (p->failed[i] || w->away[i])
                        continue;
                f.disks++;
                f.staged += (w->token[i] & bit(p->target)) != 0;
                f.retired += w->token[i] == bit(p->target);
        }
        return rotation_resume(&f);
}

static enum rotation_event event(const struct world *w, const struct process *p,
                                 enum rotation_state s) {
        if (p->anew)
                return ROTATION_ANEW;
        switch (p->command) {
        case ABORT:
                return p->target == w->current || w->counter >= p->target ? ROTATION_TOO_LATE
                                                                          : ROTATION_GIVE_UP;
        case FINISH: return p->held || s == ROTATION_IDLE ? ROTATION_HELD : ROTATION_GO;
        case TRUST: return ROTATION_TRUST;
        case STAGE:
                return s == ROTATION_IDLE || p->target == w->current ? ROTATION_GO : ROTATION_HELD;
        case ROTATE: return s != ROTATION_IDLE && p->held ? ROTATION_HELD : ROTATION_GO;
        }
        return ROTATION_GO;
}

static void seal(struct world *w, struct process *p) {
        p->target = w->staged = ++w->made;
        assert_true(w->made < VERSIONS);
        p->known |= bit(p->target);
        p->held = p->latched;
        p->anew = false;
}

/* The cut comes between two of these. */
static void on_disk(struct world *w, struct process *p, enum rotation_effect e, unsigned i) {
        unsigned *token = &w->token[i], old = *token & ~bit(p->target), live = 0;

        for (unsigned v = 1; v < VERSIONS; v++)
                if (old & bit(v) && has_key(w, p, v))
                        live = v;
        if (e == ROTATION_STAGE && !(*token & bit(p->target))) {
                assert_true(live != 0);
                *token = bit(p->target) | bit(live);
        }
        if (e == ROTATION_PROVE)
                p->proven[i] = *token & bit(p->target) && has_key(w, p, p->target);
        if (e == ROTATION_RETIRE) {
                /* Nothing is dropped for what wasn't proven, unless it was said so. */
                assert_true(p->proven[i] || p->command == TRUST);
                *token = bit(p->target);
        }
        if (e == ROTATION_UNSTAGE && old) {
                assert_true(live != 0);
                *token = old;
        }
}

static void archive(struct world *w, const struct process *p) {
        for (unsigned v = 1; v < VERSIONS; v++) {
                bool needed = v == w->current && v != p->target;

                for (unsigned i = 0; i < DISKS; i++)
                        needed |= !p->failed[i] && !w->away[i] && v != p->target &&
                                  w->token[i] & bit(v);
                if (needed || w->wrapped[v])
                        w->wrapped[v] |= bit(p->target);
        }
}

static void tidy(struct world *w, unsigned keep) {
        for (unsigned v = 1; v < VERSIONS; v++)
                w->wrapped[v] &= bit(keep);
}

static bool is_cut(struct process *p) {
        return p->tick++ == p->cut;
}

/* Return: whether it went through before the cut. @ret_some: whether any disk is left. */
static bool perform(struct world *w, struct process *p, enum rotation_effect e, bool *ret_some) {
        bool per_disk = e == ROTATION_STAGE || e == ROTATION_PROVE || e == ROTATION_RETIRE ||
                        e == ROTATION_UNSTAGE;

        *ret_some = !per_disk;
        for (unsigned i = 0; per_disk && i < DISKS; i++) {
                if (w->away[i] || p->failed[i])
                        continue;
                if (is_cut(p))
                        return false;
                if (p->broken == i)
                        p->failed[i] = true;
                else
                        on_disk(w, p, e, i);
                *ret_some |= !p->failed[i];
                check(w);
        }
        if (!per_disk && is_cut(p))
                return false;
        if (e == ROTATION_SEAL)
                seal(w, p);
        if (e == ROTATION_ARCHIVE)
                archive(w, p);
        if (e == ROTATION_REVOKE)
                w->counter = p->target;
        if (e == ROTATION_SETTLE) {
                w->current = p->target;
                w->staged = 0;
                check(w);
                tidy(w, w->current);
        }
        if (e == ROTATION_UNRECORD) {
                w->staged = 0;
                tidy(w, w->current);
        }
        check(w);
        return true;
}

/* What the shell finds before it asks the machine. Return: false where there's nothing to be done.
 */
static bool prepare(struct world *w, struct process *p) {
        p->target = w->staged;
        for (unsigned i = 0; i < DISKS && !p->target; i++)
                if (p->command == FINISH && !w->away[i] && w->token[i] != bit(w->current))
                        p->target = w->current;
        if (!p->target || p->command == ABORT)
                return true;
        if (p->command == STAGE && p->target != w->current)
                p->anew = true;
        else if (!has_key(w, p, p->target)) {
                if (p->command == FINISH)
                        return false;
                p->anew = true;
        }
        return true;
}

/* A run of the program, cut before tick @cut. Return: whether it came to its end. */
static bool run(struct world *w, struct process p) {
        enum rotation_state s;

        if (!prepare(w, &p))
                return true;
        s = look(w, &p);
        for (;;) {
                struct rotation_step step = rotation_step(s, event(w, &p, s));
                bool some;

                assert_true(p.tick < 64); /* it ends */
                if (step.effect == ROTATION_END || step.effect == ROTATION_REFUSE)
                        return true;
                if (!perform(w, &p, step.effect, &some))
                        return false;
                if (!some)
                        return true;
                s = step.next;
                if (s == ROTATION_IDLE)
                        return true;
        }
}

static struct world fresh(void) {
        struct world w = { .made = 1, .current = 1, .counter = 1 };

        for (unsigned i = 0; i < DISKS; i++)
                w.token[i] = bit(1);
        return w;
}

static struct process process(enum command command, unsigned cut) {
        return (struct process){ .command = command, .cut = cut, .broken = DISKS };
}

static void assert_only(const struct world *w, unsigned v) {
        for (unsigned i = 0; i < DISKS; i++)
                assert_int_equal(w->token[i], bit(v));
        assert_int_equal(w->current, v);
        assert_int_equal(w->staged, 0);
}

static void test_a_rotation_ends_in_one_version(void **state) {
        struct world w = fresh();
        (void) state;

        assert_true(run(&w, process(ROTATE, NEVER)));
        assert_only(&w, 2);
        assert_int_equal(w.counter, 2);
        assert_int_equal(w.wrapped[1], bit(2));
        assert_true(run(&w, process(ROTATE, NEVER)));
        assert_only(&w, 3);
        assert_int_equal(w.wrapped[1], bit(3));
        assert_int_equal(w.wrapped[2], bit(3));
}

/* Two cuts, in any two commands one after the other: then the same again ends in one version. */
static void test_every_cut_of_every_command_leaves_disks_that_open(void **state) {
        static const enum command all[] = { ROTATE, STAGE, TRUST, FINISH, ABORT };
        (void) state;

        for (unsigned a = 0; a < ARRAY_SIZE(all); a++)
                for (unsigned b = 0; b < ARRAY_SIZE(all); b++)
                        for (unsigned i = 0; i <= 24; i++)
                                for (unsigned k = 0; k <= 24; k++) {
                                        struct world w = fresh();

                                        (void) !run(&w, process(STAGE, NEVER));
                                        (void) !run(&w, process(all[a], i));
                                        (void) !run(&w, process(all[b], k));
                                        check(&w);
                                        assert_true(run(&w, process(FINISH, NEVER)));
                                        assert_only(&w, w.current);
                                        assert_true(run(&w, process(ROTATE, NEVER)));
                                        assert_only(&w, w.made);
                                        assert_int_equal(w.counter, w.made);
                                }
}

static void test_a_latched_rotation_waits_for_the_boot(void **state) {
        struct world w = fresh();
        struct process p = process(ROTATE, NEVER);
        (void) state;

        p.latched = true;
        p.known = bit(1);
        assert_true(run(&w, p));
        assert_int_equal(w.staged, 2);
        assert_int_equal(w.token[0], bit(1) | bit(2));
        assert_int_equal(w.counter, 1);

        /* A second one takes the place of what waits, never of what opens. */
        assert_true(run(&w, p));
        assert_int_equal(w.staged, 3);
        assert_int_equal(w.token[0], bit(1) | bit(3));

        /* In the same boot there's nothing to finish; in the next one there is. */
        p.command = FINISH;
        assert_true(run(&w, p));
        assert_int_equal(w.staged, 3);
        p.known = bit(1) | bit(3);
        assert_true(run(&w, p));
        assert_only(&w, 3);
        assert_int_equal(w.counter, 3);
}

static void test_going_back_ends_where_the_old_one_ended(void **state) {
        struct world w = fresh();
        (void) state;

        assert_true(run(&w, process(STAGE, NEVER)));
        assert_true(run(&w, process(ABORT, NEVER)));
        assert_only(&w, 1);
        assert_true(run(&w, process(ABORT, NEVER)));
        assert_only(&w, 1);

        /* Once the counter was advanced it's refused, and nothing is changed. */
        for (unsigned cut = 0; cut < 24; cut++) {
                struct world before;

                w = fresh();
                if (run(&w, process(ROTATE, cut)) || w.counter == 1)
                        continue;
                before = w;
                assert_true(run(&w, process(ABORT, NEVER)));
                assert_memory_equal(&w, &before, sizeof(w));
        }
}

static void test_an_absent_disk_catches_up(void **state) {
        struct world w = fresh();
        (void) state;

        w.away[2] = true;
        assert_true(run(&w, process(ROTATE, NEVER)));
        assert_true(run(&w, process(ROTATE, NEVER)));
        assert_int_equal(w.token[2], bit(1));
        assert_int_equal(w.counter, 3);
        w.away[2] = false;
        /* The key of version 1 comes out of the archive. */
        {
                struct process p = process(FINISH, NEVER);

                p.known = bit(1);
                assert_true(run(&w, p));
        }
        assert_only(&w, 3);
}

static void test_a_broken_disk_does_not_stop_the_others(void **state) {
        (void) state;

        for (unsigned broken = 0; broken < DISKS; broken++) {
                struct world w = fresh();
                struct process p = process(ROTATE, NEVER);

                p.broken = broken;
                assert_true(run(&w, p));
                for (unsigned i = 0; i < DISKS; i++)
                        assert_int_equal(w.token[i], i == broken ? bit(1) : bit(2));
                assert_int_equal(w.wrapped[1], bit(2)); /* by which the broken one opens */
        }
}

static void test_every_state_answers_every_event(void **state) {
        (void) state;

        for (unsigned s = 0; s < ROTATION_STATES; s++) {
                assert_non_null(rotation_state_name(s));
                assert_non_null(rotation_state_text(s));
                for (unsigned e = 0; e < ROTATION_EVENTS; e++) {
                        struct rotation_step step = rotation_step(s, e);

                        assert_non_null(rotation_event_name(e));
                        assert_true(step.effect < ROTATION_EFFECTS);
                        assert_true(step.next < ROTATION_STATES);
                        /* Who stops stays. */
                        assert_true(step.effect < ROTATION_END || step.next == s);
                        /* What is gone doesn't come back: no way leads from there but on. */
                        if (s == ROTATION_REVOKED || s == ROTATION_RETIRED)
                                assert_true(step.effect != ROTATION_UNSTAGE &&
                                            step.effect != ROTATION_SEAL);
                }
        }
        for (unsigned e = 0; e < ROTATION_EFFECTS; e++) {
                assert_non_null(rotation_effect_name(e));
                assert_non_null(rotation_effect_text(e));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_rotation_ends_in_one_version),
                cmocka_unit_test(test_every_cut_of_every_command_leaves_disks_that_open),
                cmocka_unit_test(test_a_latched_rotation_waits_for_the_boot),
                cmocka_unit_test(test_going_back_ends_where_the_old_one_ended),
                cmocka_unit_test(test_an_absent_disk_catches_up),
                cmocka_unit_test(test_a_broken_disk_does_not_stop_the_others),
                cmocka_unit_test(test_every_state_answers_every_event),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
