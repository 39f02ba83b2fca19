/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "keys/archive.h"
#include "keys/others.h"
#include "keys/wraps.h"
#include "policy/policy.h"
#include "tests/test.h"

/* What the record of one KEK has of others, without a TPM: versions are a name, a number and a
 * public area. */

#define WHEN "2026-11-24T16:00:00Z"

enum { OS1, OS2, DATA1, DATA2, LOGS1, KEYS };

struct fixture {
        struct kek kek[KEYS];
        struct secret *key[KEYS];
        struct kek_record *record; /* of "os", current: v1 */
};

static struct archive_key of(const struct fixture *f, unsigned n) {
        return (struct archive_key){ &f->kek[n], f->key[n] };
}

static void sign(struct fixture *f, unsigned by) {
        struct archive_key k = of(f, by);
        struct error err = { 0 };

        f->record->generation++;
        archive_unsign(f->record);
        assert_int_equal(archive_sign(f->record, &k, &err), 0);
}

static int check(const struct fixture *f, unsigned by) {
        struct archive_key k = of(f, by);
        struct error err = { 0 };

        return archive_check(f->record, &k, &err);
}

static int put(struct fixture *f, unsigned n, unsigned by) {
        struct archive_key other = of(f, n), os = of(f, by);
        struct error err = { 0 };

        return others_put(f->record, &other, &os, &err);
}

/* Whether @by opens the entry of @n, and to the very key. */
static int opens(const struct fixture *f, unsigned n, unsigned by) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct archive_key k = of(f, by);
        struct error err = { 0 };
        size_t at;
        int r = others_find(f->record, &f->kek[n], &at, &err);

        assert_true(r >= 0);
        if (r == 0)
                return ARCHIVE_NOT_HERE;
        r = others_open(f->record, at, &k, &key, &err);
        assert_int_equal(key != NULL, r == ARCHIVE_GOOD);
        if (r == ARCHIVE_GOOD)
                assert_true(crypto_same(key, f->key[n]));
        return r;
}

static int setup(void **state) {
        static const struct {
                const char *name;
                uint32_t version;
        } keys[KEYS] = { { "os", 1 }, { "os", 2 }, { "data", 1 }, { "data", 2 }, { "logs", 1 } };
        struct fixture *f = calloc(1, sizeof(*f));
        struct error err = { 0 };

        assert_non_null(f);
        for (unsigned n = 0; n < KEYS; n++) {
                struct kek *k = &f->kek[n];

                (void) snprintf(k->name, sizeof(k->name), "%s", keys[n].name);
                k->version = keys[n].version;
                k->sealed.public.size = 80;
                k->sealed.public.data[10] = (uint8_t) n;
                k->sealed.pcrs.mask = 1u << 7;
                policy_steps(&(struct policy){ .pcr_mask = 1u << 7 }, NULL, &k->steps);
                assert_int_equal(crypto_random_secret(32, &f->key[n], &err), 0);
        }
        f->record = calloc(1, sizeof(*f->record));
        assert_non_null(f->record);
        (void) snprintf(f->record->name, sizeof(f->record->name), "os");
        f->record->has_current = true;
        f->record->current = f->kek[OS1];
        (void) snprintf(f->record->current_created, TIME_TEXT, WHEN);
        assert_int_equal(put(f, DATA1, OS1), ARCHIVE_GOOD);
        assert_int_equal(put(f, LOGS1, OS1), ARCHIVE_GOOD);
        sign(f, OS1);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        for (unsigned n = 0; n < KEYS; n++)
                secret_free(f->key[n]);
        free(f->record);
        free(f);
        return 0;
}

static void test_an_entry_opens_by_the_record_and_nothing_else(void **state) {
        struct fixture *f = *state;

        assert_int_equal(check(f, OS1), ARCHIVE_GOOD);
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_GOOD);
        assert_int_equal(opens(f, LOGS1, OS1), ARCHIVE_GOOD);
        assert_int_equal(opens(f, DATA1, OS2), ARCHIVE_NOT_HERE);
        assert_int_equal(opens(f, DATA1, LOGS1), ARCHIVE_NOT_HERE);
        assert_int_equal(opens(f, DATA2, OS1), ARCHIVE_NOT_HERE);
}

/* As they'd be where somebody who can't make a MAC could. */
static void test_an_entry_opens_for_what_it_was_made_for_alone(void **state) {
        struct fixture *f = *state;
        struct kek_record *r = f->record;
        struct other_kek *data = &r->other[0], *logs = &r->other[1], kept = *data;

        assert_string_equal(data->name, "data");
        logs->wrap[0] = data->wrap[0]; /* moved to another KEK */
        assert_int_equal(opens(f, LOGS1, OS1), ARCHIVE_NOT_HERE);
        f->kek[DATA1].version = data->version = 7;
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_NOT_HERE);
        f->kek[DATA1].version = data->version = 1;
        f->kek[DATA1].sealed.public.data[10] ^= 1;
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_NOT_HERE);
        f->kek[DATA1].sealed.public.data[10] ^= 1;
        (void) snprintf(r->name, sizeof(r->name), "so"); /* to another record */
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_NOT_HERE);
        (void) snprintf(r->name, sizeof(r->name), "os");
        data->wrap[0].box.text[0] ^= 1;
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_NOT_HERE);
        *data = kept;
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_GOOD);
}

/* The same number, object and key under both labels. */
static void test_it_isnt_a_retired_versions_wrap(void **state) {
        struct fixture *f = *state;
        struct archive_key old = of(f, OS1), new = of(f, OS2), os = of(f, OS1);
        _cleanup_(secret_freep) struct secret *key = NULL;
        struct error err = { 0 };

        assert_int_equal(archive_add(f->record, &old, &new, WHEN, &err), ARCHIVE_GOOD);
        assert_int_equal(f->record->retired_count, 1);
        f->record->retired[0].wrap[0] = f->record->other[0].wrap[0];
        assert_int_equal(archive_open(f->record, 0, &os, &key, &err), ARCHIVE_NOT_HERE);
        f->record->other[0].wrap[0] = f->record->retired[0].wrap[0];
        assert_null(key);
}

static void test_a_rotation_wraps_them_anew_before_the_old_wraps_go(void **state) {
        struct fixture *f = *state;
        struct archive_key old = of(f, OS1), new = of(f, OS2);
        struct error err = { 0 };

        f->record->staged = f->kek[OS2];
        f->record->has_staged = true;
        for (unsigned i = 0; i < 2; i++) { /* a second time changes nothing */
                assert_int_equal(archive_add(f->record, &old, &new, WHEN, &err), ARCHIVE_GOOD);
                for (unsigned n = DATA1; n <= LOGS1; n += 2) {
                        assert_int_equal(opens(f, n, OS1), ARCHIVE_GOOD);
                        assert_int_equal(opens(f, n, OS2), ARCHIVE_GOOD);
                        assert_int_equal(others_has(f->record, &f->kek[n], 2, &err), 1);
                }
        }
        f->record->current = f->kek[OS2];
        f->record->has_staged = false;
        archive_keep_only(f->record, 2);
        sign(f, OS2);
        assert_int_equal(check(f, OS2), ARCHIVE_GOOD);
        assert_int_equal(opens(f, DATA1, OS2), ARCHIVE_GOOD);
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_NOT_HERE);
        assert_int_equal(others_has(f->record, &f->kek[DATA1], 1, &err), 0);
        /* Another KEK's rotation: both of its versions, then one. */
        assert_int_equal(put(f, DATA2, OS2), ARCHIVE_GOOD);
        assert_int_equal(opens(f, DATA1, OS2), ARCHIVE_GOOD);
        others_drop(f->record, 0);
        assert_int_equal(opens(f, DATA2, OS2), ARCHIVE_GOOD);
        assert_int_equal(opens(f, LOGS1, OS2), ARCHIVE_GOOD);
        assert_int_equal(opens(f, DATA1, OS2), ARCHIVE_NOT_HERE);
}

/* --- nothing of it changes without being seen --- */

static void drop(struct kek_record *r) {
        others_drop(r, 0);
}

static void swap(struct kek_record *r) {
        struct other_kek e = r->other[0];

        r->other[0] = r->other[1];
        r->other[1] = e;
}

static void name(struct kek_record *r) {
        (void) snprintf(r->other[0].name, sizeof(r->other[0].name), "logz");
}

static void number(struct kek_record *r) {
        r->other[0].version++;
}

static void object(struct kek_record *r) {
        r->other[0].object[31] ^= 1;
}

static void box(struct kek_record *r) {
        r->other[0].wrap[0].box.text[5] ^= 1;
}

static void by(struct kek_record *r) {
        r->other[0].wrap[0].by++;
}

static void unwrapped(struct kek_record *r) {
        r->other[0].wraps = 0;
}

static void none(struct kek_record *r) {
        r->others_count = 0;
}

static void test_any_change_shows(void **state) {
        static void (*const changes[])(struct kek_record *) = { drop, swap, name, number,   object,
                                                                box,  by,   none, unwrapped };
        struct fixture *f = *state;
        _cleanup_(freep) struct kek_record *good = malloc(sizeof(*good));

        assert_non_null(good);
        *good = *f->record;
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                changes[i](f->record);
                assert_int_equal(check(f, OS1), ARCHIVE_DAMAGED);
                *f->record = *good;
        }
        assert_int_equal(check(f, OS1), ARCHIVE_GOOD);
}

/* --- bounds and text --- */

static void test_it_is_bounded(void **state) {
        struct fixture *f = *state;
        _cleanup_(freep) struct kek_record *back = calloc(1, sizeof(*back));
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };

        while (f->record->others_count < OTHERS_MAX) {
                f->kek[DATA1].version++;
                f->kek[DATA1].sealed.public.data[11]++;
                assert_int_equal(put(f, DATA1, OS1), ARCHIVE_GOOD);
        }
        f->kek[DATA1].version++;
        assert_int_equal(put(f, DATA1, OS1), ARCHIVE_FULL);
        f->kek[DATA1].version--;                            /* the last that went in */
        assert_int_equal(put(f, DATA1, OS2), ARCHIVE_GOOD); /* it's there: one more wrap */
        assert_int_equal(f->record->others_count, OTHERS_MAX);
        assert_int_equal(f->record->other[OTHERS_MAX - 1].wraps, 2);
        for (unsigned n = 1; n <= RETIRED_MAX; n++) {
                struct kek k = f->kek[OS1];

                k.version = n;
                assert_int_equal(archive_add_lost(f->record, &k, WHEN, &err), ARCHIVE_GOOD);
                for (unsigned w = 0; w < RETIRED_WRAPS; w++) {
                        f->record->retired[n - 1].wrap[w].by = KEK_VERSION_MAX - w;
                        f->record->retired[n - 1].wrap[w].box.size = BOX_SIZE;
                }
                f->record->retired[n - 1].wraps = RETIRED_WRAPS;
        }
        assert_int_equal(record_print(f->record, NULL, &text, &err), 0);
        assert_true(strlen(text) < RECORD_MAX);
        assert_non_null(back);
        assert_int_equal(record_parse(text, strlen(text), "os", back, &err), 0);
        assert_int_equal(back->others_count, OTHERS_MAX);
}

static void test_it_comes_back_as_it_was(void **state) {
        struct fixture *f = *state;
        _cleanup_(freep) struct kek_record *back = calloc(1, sizeof(*back));
        _cleanup_(json_freep) struct json *origin = NULL;
        _cleanup_(freep) char *text = NULL, *again = NULL;
        struct error err = { 0 };
        const struct json *list;

        assert_int_equal(record_print(f->record, NULL, &text, &err), 0);
        assert_non_null(back);
        assert_int_equal(record_parse(text, strlen(text), "os", back, &err), 0);
        *f->record = *back;
        assert_int_equal(check(f, OS1), ARCHIVE_GOOD);
        assert_int_equal(opens(f, DATA1, OS1), ARCHIVE_GOOD);
        /* Members of somebody else stay with their entry, and go with it. */
        assert_int_equal(json_parse(text, strlen(text), &origin, &err), 0);
        assert_int_equal(json_get_array(origin, "others", &list, &err), 0);
        assert_true(json_add_string((struct json *) json_at(list, 0), "x-data", "kept"));
        assert_true(json_add_string((struct json *) json_at(list, 1), "x-logs", "kept"));
        others_drop(f->record, 0);
        assert_int_equal(record_print(f->record, origin, &again, &err), 0);
        assert_non_null(strstr(again, "x-logs"));
        assert_null(strstr(again, "x-data"));
        /* None left: as a record from before there were any. */
        others_drop(f->record, 0);
        free(again);
        again = NULL;
        assert_int_equal(record_print(f->record, origin, &again, &err), 0);
        assert_null(strstr(again, "others"));
}

#define ENTRY(name, object)                                                                        \
        "{\"name\":\"" name "\",\"version\":1,\"object\":\"" object                                \
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"wraps\":[]}"
#define RECORD(others) "{\"generation\":1,\"macs\":[],\"retired\":[],\"others\":" others "}"

static void test_what_is_none_is_refused(void **state) {
        static const char *const bad[] = {
                "{\"others\":[]}",
                RECORD("{}"),
                RECORD("[{}]"),
                RECORD("[" ENTRY("os", "") "]"), /* itself */
                RECORD("[" ENTRY("", "") "]"),
                RECORD("[" ENTRY("../data", "") "]"),
                RECORD("[" ENTRY("data", "") "," ENTRY("data", "") "]"),
                RECORD("[" ENTRY("data", "A") "]"),
                RECORD("[{\"name\":\"data\",\"version\":0,\"object\":"
                       "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"wraps\":[]}]"),
        };
        static const char good[] = RECORD("[" ENTRY("data", "") "," ENTRY("logs", "") "]");
        struct fixture *f = *state;
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(record_parse(bad[i], strlen(bad[i]), "os", f->record, &err),
                                 -EBADMSG);
        assert_int_equal(record_parse(good, strlen(good), "os", f->record, &err), 0);
        assert_int_equal(f->record->others_count, 2);
        for (unsigned i = 0; i < 2; i++)
                f->record->other[0].wrap[i] = (struct retired_wrap){ 3, { .size = BOX_SIZE } };
        f->record->other[0].wraps = 2; /* twice by one version */
        assert_int_equal(record_print(f->record, NULL, &text, &err), 0);
        assert_int_equal(record_parse(text, strlen(text), "os", f->record, &err), -EBADMSG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_an_entry_opens_by_the_record_and_nothing_else),
                TEST(test_an_entry_opens_for_what_it_was_made_for_alone),
                TEST(test_it_isnt_a_retired_versions_wrap),
                TEST(test_a_rotation_wraps_them_anew_before_the_old_wraps_go),
                TEST(test_any_change_shows),
                TEST(test_it_is_bounded),
                TEST(test_it_comes_back_as_it_was),
                TEST(test_what_is_none_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
