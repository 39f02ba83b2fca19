/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "base/crypto.h"
#include "keys/archive.h"
#include "policy/policy.h"
#include "tests/test.h"

/* The archive of retired versions, without a TPM: versions are numbers with a public area. */

#define VERSIONS 6
#define WHEN "2026-11-24T16:00:00Z"

struct fixture {
        struct kek kek[VERSIONS + 1]; /* by their number, from 1 */
        struct secret *key[VERSIONS + 1];
        struct kek_record *record; /* current: v1 */
};

static struct archive_key version(const struct fixture *f, unsigned n) {
        return (struct archive_key){ &f->kek[n], f->key[n] };
}

static int setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        struct error err = { 0 };

        assert_non_null(f);
        for (unsigned n = 1; n <= VERSIONS; n++) {
                struct kek *k = &f->kek[n];

                (void) snprintf(k->name, sizeof(k->name), "default");
                k->version = n;
                k->sealed.public.size = 80;
                k->sealed.public.data[10] = (uint8_t) n;
                k->sealed.pcrs.mask = 1u << 7;
                policy_steps(&(struct policy){ .pcr_mask = 1u << 7 }, NULL, &k->steps);
                assert_int_equal(crypto_random_secret(32, &f->key[n], &err), 0);
        }
        f->record = calloc(1, sizeof(*f->record));
        assert_non_null(f->record);
        (void) snprintf(f->record->name, sizeof(f->record->name), "default");
        f->record->has_current = true;
        f->record->current = f->kek[1];
        (void) snprintf(f->record->current_created, TIME_TEXT, WHEN);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        for (unsigned n = 1; n <= VERSIONS; n++)
                secret_free(f->key[n]);
        free(f->record);
        free(f);
        return 0;
}

/* As a rotation from @n to @n + 1 up to the counter's step: both can vouch. */
static void retire(struct fixture *f, unsigned n) {
        struct archive_key old = version(f, n), new = version(f, n + 1);
        struct error err = { 0 };

        f->record->staged = f->kek[n + 1];
        f->record->has_staged = true;
        assert_int_equal(archive_add(f->record, &old, &new, WHEN, &err), ARCHIVE_GOOD);
        f->record->generation++;
        archive_unsign(f->record);
        assert_int_equal(archive_sign(f->record, &old, &err), 0);
        assert_int_equal(archive_sign(f->record, &new, &err), 0);
}

static void settle(struct fixture *f, unsigned n) {
        struct archive_key new = version(f, n + 1);
        struct error err = { 0 };

        f->record->current = f->kek[n + 1];
        f->record->has_staged = false;
        archive_keep_only(f->record, n + 1);
        f->record->generation++;
        archive_unsign(f->record);
        assert_int_equal(archive_sign(f->record, &new, &err), 0);
}

static int check(const struct fixture *f, unsigned by) {
        struct archive_key k = version(f, by);
        struct error err = { 0 };

        return archive_check(f->record, &k, &err);
}

/* Whether @by opens the entry of @n, and to the very key. */
static int opens(const struct fixture *f, unsigned n, unsigned by) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct archive_key k = version(f, by);
        struct error err = { 0 };
        size_t at;
        int r = archive_find(f->record, &f->kek[n], &at, &err);

        assert_true(r >= 0);
        if (r == 0)
                return ARCHIVE_NOT_HERE;
        r = archive_open(f->record, at, &k, &key, &err);
        assert_int_equal(key != NULL, r == ARCHIVE_GOOD);
        if (r == ARCHIVE_GOOD)
                assert_true(crypto_same(key, f->key[n]));
        return r;
}

static void test_both_versions_open_all_until_it_settles(void **state) {
        struct fixture *f = *state;

        for (unsigned n = 1; n < VERSIONS; n++) {
                retire(f, n);
                assert_int_equal(check(f, n), ARCHIVE_GOOD);
                assert_int_equal(check(f, n + 1), ARCHIVE_GOOD);
                for (unsigned old = 1; old < n; old++)
                        assert_int_equal(opens(f, old, n), ARCHIVE_GOOD);
                for (unsigned old = 1; old <= n; old++)
                        assert_int_equal(opens(f, old, n + 1), ARCHIVE_GOOD);
                settle(f, n);
                assert_int_equal(check(f, n + 1), ARCHIVE_GOOD);
                assert_int_equal(check(f, n), ARCHIVE_UNSIGNED);
                for (unsigned old = 1; old <= n; old++) {
                        assert_int_equal(opens(f, old, n + 1), ARCHIVE_GOOD);
                        assert_int_equal(opens(f, old, n), ARCHIVE_NOT_HERE);
                }
                assert_int_equal(f->record->retired_count, n);
        }
}

static void test_a_second_time_changes_nothing(void **state) {
        struct fixture *f = *state;
        _cleanup_(freep) struct kek_record *once = malloc(sizeof(*once));
        struct archive_key old = version(f, 2), new = version(f, 3);
        struct error err = { 0 };

        retire(f, 1);
        settle(f, 1);
        retire(f, 2);
        assert_non_null(once);
        *once = *f->record;
        assert_int_equal(archive_add(f->record, &old, &new, "2027-01-01T00:00:00Z", &err), 0);
        assert_memory_equal(f->record, once, sizeof(*once));
}

/* An aborted v3 is replaced by another v3: what the first wrapped isn't in the way. */
static void test_a_staged_version_is_replaced(void **state) {
        struct fixture *f = *state;
        _cleanup_(secret_freep) struct secret *kept = NULL;
        struct error err = { 0 };

        retire(f, 1);
        settle(f, 1);
        retire(f, 2);
        kept = f->key[3];
        f->key[3] = NULL;
        assert_int_equal(crypto_random_secret(32, &f->key[3], &err), 0);
        f->kek[3].sealed.public.data[11] = 1;
        assert_int_equal(check(f, 3), ARCHIVE_DAMAGED);
        retire(f, 2);
        assert_int_equal(check(f, 3), ARCHIVE_GOOD);
        assert_int_equal(opens(f, 1, 2), ARCHIVE_GOOD);
        assert_int_equal(opens(f, 1, 3), ARCHIVE_GOOD);
        assert_int_equal(opens(f, 2, 3), ARCHIVE_GOOD);
}

static void test_an_entry_opens_for_its_object_alone(void **state) {
        struct fixture *f = *state;
        struct kek other = f->kek[1];
        struct error err = { 0 };
        size_t at;

        retire(f, 1);
        settle(f, 1);
        assert_int_equal(archive_find(f->record, &f->kek[1], &at, &err), 1);
        other.sealed.public.data[12] = 1;
        assert_int_equal(archive_find(f->record, &other, &at, &err), 0);
        other = f->kek[1];
        other.version = 2;
        assert_int_equal(archive_find(f->record, &other, &at, &err), 0);
        /* The box is bound to it, too. */
        f->record->retired[0].object[0] ^= 1;
        f->kek[1].version = 1;
        {
                struct archive_key by = version(f, 2);
                struct secret *key = NULL;

                assert_int_equal(archive_open(f->record, 0, &by, &key, &err), ARCHIVE_NOT_HERE);
                assert_null(key);
        }
}

static void swap(struct kek_record *r) {
        struct retired first = r->retired[0];

        r->retired[0] = r->retired[1];
        r->retired[1] = first;
}

static void drop(struct kek_record *r) {
        archive_drop(r, 1);
}

static void older(struct kek_record *r) {
        r->generation--;
}

static void time_of_one(struct kek_record *r) {
        r->retired[1].retired[3]++;
}

static void limit(struct kek_record *r) {
        r->retired[1].le++;
}

static void unwrapped(struct kek_record *r) {
        r->retired[1].wraps = 0;
}

static void box(struct kek_record *r) {
        r->retired[1].wrap[0].box.text[0] ^= 1;
}

static void boxes(struct kek_record *r) {
        struct gcm_box first = r->retired[0].wrap[0].box;

        r->retired[0].wrap[0].box = r->retired[1].wrap[0].box;
        r->retired[1].wrap[0].box = first;
}

static void current(struct kek_record *r) {
        r->current.sealed.public.data[30] ^= 1;
}

static void staged(struct kek_record *r) {
        r->staged = r->current;
        r->has_staged = true;
}

static void policy(struct kek_record *r) {
        (void) snprintf(r->policy, sizeof(r->policy), "weak");
}

static void mac(struct kek_record *r) {
        r->mac[0].mac[31] ^= 1;
}

static void test_any_change_shows(void **state) {
        static void (*const changes[])(
                struct kek_record *) = { swap,  drop,      older,   time_of_one, limit,  box,
                                         boxes, unwrapped, current, staged,      policy, mac };
        struct fixture *f = *state;
        _cleanup_(freep) struct kek_record *good = malloc(sizeof(*good));

        for (unsigned n = 1; n < 4; n++) {
                retire(f, n);
                settle(f, n);
        }
        assert_int_equal(check(f, 4), ARCHIVE_GOOD);
        assert_non_null(good);
        *good = *f->record;
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                changes[i](f->record);
                assert_int_equal(check(f, 4), ARCHIVE_DAMAGED);
                *f->record = *good;
        }
        f->record->macs = 0;
        assert_int_equal(check(f, 4), ARCHIVE_UNSIGNED);
}

static void test_retention_by_count_and_by_age(void **state) {
        struct fixture *f = *state;
        struct archive_retention keep = { .versions = 100, .seconds = UINT64_MAX };
        int64_t now;

        for (unsigned n = 1; n < VERSIONS; n++) {
                retire(f, n);
                settle(f, n);
        }
        assert_true(time_seconds(WHEN, &now));
        assert_int_equal(archive_prune(f->record, &keep, now), 0);
        keep.versions = 3;
        assert_int_equal(archive_prune(f->record, &keep, now), 2);
        assert_int_equal(f->record->retired[0].version, 3);
        assert_int_equal(f->record->retired[2].version, 5);
        keep.seconds = 60;
        assert_int_equal(archive_prune(f->record, &keep, now - 1000), 0); /* the clock went back */
        assert_int_equal(archive_prune(f->record, &keep, now + 60), 0);
        f->record->retired[1].retired[0] = '\0'; /* nobody knows how old */
        assert_int_equal(archive_prune(f->record, &keep, now + 61), 2);
        assert_int_equal(f->record->retired[0].version, 4);
        keep.versions = 0;
        assert_int_equal(archive_prune(f->record, &keep, now), 1);
        assert_int_equal(f->record->retired_count, 0);
}

static void test_what_nobody_opens_stays_and_is_seen(void **state) {
        struct fixture *f = *state;
        struct archive_key new = version(f, 3);
        struct error err = { 0 };

        retire(f, 1);
        settle(f, 1);
        /* v2's key is gone, as with another TPM. */
        assert_int_equal(archive_add_lost(f->record, &f->kek[2], WHEN, &err), ARCHIVE_GOOD);
        f->record->current = f->kek[3];
        f->record->generation++;
        archive_unsign(f->record);
        assert_int_equal(archive_sign(f->record, &new, &err), 0);
        assert_int_equal(f->record->retired_count, 2);
        assert_int_equal(f->record->retired[1].wraps, 0);
        retire(f, 3);
        settle(f, 3);
        assert_int_equal(check(f, 4), ARCHIVE_GOOD);
        assert_int_equal(f->record->retired_count, 3);
        assert_int_equal(opens(f, 1, 4), ARCHIVE_NOT_HERE);
        assert_int_equal(opens(f, 1, 2), ARCHIVE_GOOD); /* that TPM may come back */
        assert_int_equal(opens(f, 2, 4), ARCHIVE_NOT_HERE);
        assert_int_equal(opens(f, 3, 4), ARCHIVE_GOOD);
}

static void test_it_is_bounded(void **state) {
        struct fixture *f = *state;
        _cleanup_(freep) char *text = NULL;
        _cleanup_(freep) struct kek_record *back = calloc(1, sizeof(*back));
        struct error err = { 0 };
        struct kek k = f->kek[1];

        for (unsigned n = 1; n <= RETIRED_MAX; n++) {
                struct archive_key old = { &k, f->key[1] }, two = version(f, 2);

                k.version = n;
                assert_int_equal(archive_add_lost(f->record, &k, WHEN, &err), ARCHIVE_GOOD);
                f->record->retired[n - 1].wraps = 2;
                f->record->retired[n - 1].wrap[0].by = old.kek->version;
                f->record->retired[n - 1].wrap[0].box.size = BOX_SIZE;
                f->record->retired[n - 1].wrap[1].by = two.kek->version + RETIRED_MAX;
                f->record->retired[n - 1].wrap[1].box.size = BOX_SIZE;
        }
        k.version = RETIRED_MAX + 1;
        assert_int_equal(archive_add_lost(f->record, &k, WHEN, &err), ARCHIVE_FULL);
        f->record->generation = 1;
        assert_int_equal(record_print(f->record, NULL, &text, &err), 0);
        assert_true(strlen(text) < RECORD_MAX);
        assert_non_null(back);
        assert_int_equal(record_parse(text, strlen(text), "default", back, &err), 0);
        assert_int_equal(back->retired_count, RETIRED_MAX);
}

/* --- as text --- */

static void test_a_record_comes_back_as_it_was(void **state) {
        struct fixture *f = *state;
        _cleanup_(freep) struct kek_record *back = calloc(1, sizeof(*back));
        _cleanup_(json_freep) struct json *origin = NULL;
        _cleanup_(freep) char *text = NULL, *again = NULL;
        struct error err = { 0 };
        struct json_iter i = { 0 };
        const struct json *retired;

        retire(f, 1);
        settle(f, 1);
        retire(f, 2);
        assert_int_equal(record_print(f->record, NULL, &text, &err), 0);
        assert_non_null(back);
        assert_int_equal(record_parse(text, strlen(text), "default", back, &err), 0);
        assert_int_equal(back->retired_count, 2);
        assert_int_equal(back->generation, f->record->generation);
        *f->record = *back;
        assert_int_equal(check(f, 2), ARCHIVE_GOOD);
        assert_int_equal(check(f, 3), ARCHIVE_GOOD);

        /* Members of somebody else: at the top, in a version, in a retired one. */
        assert_int_equal(json_parse(text, strlen(text), &origin, &err), 0);
        assert_true(json_add_string(origin, "x-top", "kept"));
        while (json_next(origin, &i))
                if (strcmp(i.key, "staged") == 0)
                        assert_true(json_add_string((struct json *) i.value, "x-staged", "kept"));
        assert_int_equal(json_get_array(origin, "retired", &retired, &err), 0);
        assert_true(json_add_string((struct json *) json_at(retired, 1), "x-second", "kept"));
        f->record->current =
                f->record->staged; /* published: it's another place, the same version */
        f->record->has_staged = false;
        archive_drop(f->record, 0);
        assert_int_equal(record_print(f->record, origin, &again, &err), 0);
        assert_non_null(strstr(again, "x-top"));
        assert_non_null(strstr(again, "x-staged"));
        assert_non_null(strstr(again, "x-second"));
        assert_null(strstr(again, "\"staged\""));
        archive_drop(f->record, 0);
        free(again);
        again = NULL;
        assert_int_equal(record_print(f->record, origin, &again, &err), 0);
        assert_null(strstr(again, "x-second"));
}

static void test_what_is_no_record_is_refused(void **state) {
        static const char *const bad[] = {
                "",
                "[]",
                "{\"generation\":1}",
                "{\"generation\":-1,\"macs\":[],\"retired\":[]}",
                "{\"generation\":1,\"macs\":{},\"retired\":[]}",
                "{\"generation\":1,\"macs\":[],\"retired\":{}}",
                "{\"generation\":1,\"macs\":[{\"by\":1}],\"retired\":[]}",
                "{\"generation\":1,\"macs\":[],\"retired\":[{\"version\":0}]}",
                "{\"generation\":9223372036854775807,\"macs\":[],\"retired\":[]}",
                "{\"retired\":[]}",
        };
        struct fixture *f = *state;
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(record_parse(bad[i], strlen(bad[i]), "default", f->record, &err),
                                 -EBADMSG);
        for (unsigned n = 1; n < 3; n++) {
                retire(f, n);
                settle(f, n);
        }
        /* Out of order, and one twice. */
        swap(f->record);
        assert_int_equal(record_print(f->record, NULL, &text, &err), 0);
        assert_int_equal(record_parse(text, strlen(text), "default", f->record, &err), -EBADMSG);
        f->record->retired[0] = f->record->retired[1];
        free(text);
        text = NULL;
        assert_int_equal(record_print(f->record, NULL, &text, &err), 0);
        assert_int_equal(record_parse(text, strlen(text), "default", f->record, &err), -EBADMSG);
        /* Of another KEK. */
        assert_int_equal(record_parse(text, strlen(text), "other", f->record, &err), -EBADMSG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_both_versions_open_all_until_it_settles),
                TEST(test_a_second_time_changes_nothing),
                TEST(test_a_staged_version_is_replaced),
                TEST(test_an_entry_opens_for_its_object_alone),
                TEST(test_any_change_shows),
                TEST(test_retention_by_count_and_by_age),
                TEST(test_what_nobody_opens_stays_and_is_seen),
                TEST(test_it_is_bounded),
                TEST(test_a_record_comes_back_as_it_was),
                TEST(test_what_is_no_record_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
