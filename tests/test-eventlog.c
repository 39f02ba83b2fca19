/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "policy/event.h"
#include "policy/eventlog.h"
#include "tests/make-log.h"
#include "tests/test.h"

/* The firmware's event log: what is taken, what it replays to, where it parts from the TPM's PCRs,
 * and how events are told. Logs are made byte by byte; two real ones stand in tests/data. */

#define MASK_ALL 0xffffffu
#define BOOT_MASK 0x12ffu /* of the recorded boots: all but the kernel's 10, and 11 */

/* Too big for a stack. */
static struct made made, content;

static void assert_refused(const struct made *m, const char *words) {
        struct eventlog log = { .events = 77 };
        struct error err = { 0 };

        assert_int_equal(eventlog_parse(m->data, m->size, &log, &err), -EBADMSG);
        if (!strstr(err.text, words))
                fail_msg("'%s' isn't about '%s'", err.text, words);
        assert_int_equal(log.events, 77);
}

static void assert_taken(const struct made *m, unsigned events) {
        struct eventlog log;

        made_parse(m, &log);
        assert_int_equal(log.events, events);
}

/* --- the header --- */

#define AT_TYPE 4
#define AT_SIZE 28
#define AT_SPEC 32
#define AT_COUNT 56
#define AT_ALGORITHM 60

static void test_a_header_is_needed(void **state) {
        (void) state;
        made_header(&made, IN_ALL);
        assert_taken(&made, 0);
        for (size_t size = made.size; made.size-- > 0;) {
                if (made.size < AT_SPEC)
                        assert_refused(&made, "no header");
                else
                        assert_refused(&made, "cut off");
                assert_true(made.size < size);
                if (made.size == 0)
                        break;
        }
}

static void test_a_header_of_another_format_is_refused(void **state) {
        (void) state;
        made_header(&made, IN_ALL);
        made.data[AT_TYPE] = EV_SEPARATOR;
        assert_refused(&made, "crypto-agile");

        made_header(&made, IN_ALL);
        made.data[AT_SPEC + 14] = '2';
        assert_refused(&made, "crypto-agile");

        /* A header too short for what it must hold, though more follows. */
        made_header(&made, IN_ALL);
        made.data[AT_SIZE] = 27;
        assert_refused(&made, "crypto-agile");
        made.data[AT_SIZE] = 28;
        assert_refused(&made, "cut off");
        made.data[AT_SIZE] = 28 + 4 * 3;
        assert_refused(&made, "cut off");
}

static void test_a_header_has_a_few_digests(void **state) {
        (void) state;
        made_header(&made, IN_SHA256);
        made.data[AT_COUNT] = 0;
        assert_refused(&made, "no number of digests");
        made.data[AT_COUNT] = EVENTLOG_ALGORITHMS_MAX + 1;
        assert_refused(&made, "no number of digests");
        made.data[AT_COUNT] = EVENTLOG_ALGORITHMS_MAX;
        assert_refused(&made, "cut off");

        /* As many as can be, of algorithms that nobody knows. */
        made.size = AT_ALGORITHM;
        made.data[AT_SIZE] = 28 + 4 * EVENTLOG_ALGORITHMS_MAX + 1;
        for (unsigned i = 0; i < EVENTLOG_ALGORITHMS_MAX; i++) {
                made_number(&made, 0x100 + i, 2);
                made_number(&made, i % 2 ? 1 : EVENTLOG_DIGEST_MAX, 2);
        }
        made_number(&made, 0, 1);
        assert_taken(&made, 0);
        made.data[AT_ALGORITHM + 4] = 0; /* 0x100 again */
        assert_refused(&made, "twice");
}

static void test_digests_have_their_size(void **state) {
        static const struct {
                uint16_t id, size;
                bool good;
        } cases[] = {
                { 0x0b, 32, true },  { 0x0b, 31, false },     { 0x0b, 48, false },
                { 0x0c, 48, true },  { 0x0c, 32, false },     { 0x0d, 64, true },
                { 0x04, 20, true },  { 0x77, 0, false },      { 0x77, 1, true },
                { 0x77, 65, false }, { 0x77, 0xffff, false },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                made_header(&made, IN_SHA256);
                made.size = AT_ALGORITHM;
                made_number(&made, cases[i].id, 2);
                made_number(&made, cases[i].size, 2);
                made_number(&made, 0, 1);
                if (cases[i].good)
                        assert_taken(&made, 0);
                else
                        assert_refused(&made, "size that can't be");
        }
}

static void test_a_vendor_may_add_to_the_header(void **state) {
        (void) state;
        made_header(&made, IN_SHA256);
        made.data[made.size - 1] = 3;
        made_bytes(&made, "abc", 3);
        made.data[AT_SIZE] += 2;
        assert_refused(&made, "cut off");
        made.data[AT_SIZE] += 1;
        assert_taken(&made, 0);

        /* Not counted. */
        made_bytes(&made, "d", 1);
        made.data[AT_SIZE] += 1;
        assert_taken(&made, 0);
}

/* --- events --- */

static void test_an_event_is_whole(void **state) {
        size_t begin, end;

        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 4, EV_EFI_ACTION, "first", NULL);
        begin = made.size;
        made_said(&made, 4, EV_EFI_ACTION, "second", NULL);
        end = made.size;
        assert_taken(&made, 2);
        while (made.size-- > begin + 1)
                assert_refused(&made, "event 2 is cut off");
        assert_taken(&made, 1);

        /* A size that wraps around. */
        made.size = end;
        memset(made.data + end - 6 - 4, 0xff, 4);
        assert_refused(&made, "event 2 is cut off");
}

static void test_events_are_read_as_they_are(void **state) {
        struct event e = { 0 };
        struct eventlog log;

        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 4, EV_EFI_ACTION, "first", NULL);
        made_event(&made, 23, EV_SEPARATOR, "", 0, "second");
        made_parse(&made, &log);
        assert_int_equal(log.pcrs, 1u << 4 | 1u << 23);
        assert_true(eventlog_next(&log, &e));
        assert_int_equal(e.number, 1);
        assert_int_equal(e.pcr, 4);
        assert_int_equal(e.type, EV_EFI_ACTION);
        assert_int_equal(e.size, 5);
        assert_memory_equal(e.data, "first", 5);
        for (unsigned bank = 0; bank < PCR_BANKS; bank++) {
                uint8_t digest[PCR_SIZE_MAX];

                made_digest(bank, "first", 5, digest);
                assert_memory_equal(e.digest[bank], digest, pcr_size(bank));
        }
        assert_true(eventlog_next(&log, &e));
        assert_int_equal(e.number, 2);
        assert_int_equal(e.pcr, 23);
        assert_int_equal(e.size, 0);
        assert_false(eventlog_next(&log, &e));
        assert_int_equal(e.number, 2);
}

static void test_a_pcr_is_one_that_is(void **state) {
        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 23, EV_EFI_ACTION, "a", NULL);
        assert_taken(&made, 1);
        made_said(&made, 24, EV_EFI_ACTION, "b", NULL);
        assert_refused(&made, "event 2 is of a PCR that can't be");

        /* What isn't measured may have any. */
        made_header(&made, IN_ALL);
        made_said(&made, 0xffffffff, EV_NO_ACTION, "SP800-155 Event3", NULL);
        assert_taken(&made, 1);
}

static void test_digests_are_those_of_the_header(void **state) {
        const size_t at_count = 8, at_id = 12;
        size_t begin;

        (void) state;
        made_header(&made, IN_SHA256 | IN_SHA384);
        begin = made.size;
        made_said(&made, 4, EV_EFI_ACTION, "a", NULL);
        made.data[begin + at_count] = 0;
        assert_refused(&made, "as many digests");
        made.data[begin + at_count] = 3;
        assert_refused(&made, "as many digests");
        made.data[begin + at_count] = 2;
        made.data[begin + at_id] = 4;
        assert_refused(&made, "header doesn't have");
        made.data[begin + at_id] = 0x0b;
        made.data[begin + at_id + 2 + 32] = 0x0b;
        assert_refused(&made, "twice");
        made.data[begin + at_id + 2 + 32] = 0x0c;
        assert_taken(&made, 1);

        /* Less than the header has: it's seen where it matters. */
        made.banks = IN_SHA384;
        made_said(&made, 4, EV_EFI_ACTION, "b", NULL);
        assert_taken(&made, 2);
}

static void test_a_log_is_bounded(void **state) {
        static uint8_t much[EVENTLOG_SIZE_MAX];

        (void) state;
        made_header(&made, IN_SHA256);
        for (unsigned i = 0; i < EVENTLOG_EVENTS_MAX; i++)
                made_event(&made, 4, EV_SEPARATOR, "", 0, "");
        assert_taken(&made, EVENTLOG_EVENTS_MAX);
        made_event(&made, 4, EV_SEPARATOR, "", 0, "");
        assert_refused(&made, "over 4096 events");

        made_header(&made, IN_SHA256);
        made_event(&made, 4, EV_SEPARATOR, "", 0, "");
        made_event(&made, 4, EV_EFI_ACTION, much, sizeof(much) - (2 * made.size - 65), "");
        assert_int_equal(made.size, EVENTLOG_SIZE_MAX);
        assert_taken(&made, 2);
        made_header(&made, IN_SHA256);
        made_event(&made, 4, EV_EFI_ACTION, much, sizeof(much), "");
        assert_refused(&made, "over 1048576 bytes");
}

/* --- replay --- */

static void locality(struct made *m, unsigned char n) {
        char data[] = "StartupLocality\0";

        data[16] = (char) n;
        made_event(m, 0, EV_NO_ACTION, data, 17, "");
}

static void test_pcr_0_starts_with_the_locality(void **state) {
        static const unsigned char good[] = { 0, 3, 4 };
        static const char *const measured[] = { "firmware", NULL };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                uint8_t start[PCR_SIZE_MAX] = { 0 }, value[PCR_SIZE_MAX];
                struct eventlog_finding why;
                struct error err = { 0 };
                struct eventlog log;
                struct pcrs pcrs;

                made_header(&made, IN_ALL);
                locality(&made, good[i]);
                made_parse(&made, &log);
                assert_int_equal(eventlog_replay(&log, PCR_SHA384, 3, &pcrs, &why, &err), 0);
                start[47] = good[i];
                assert_memory_equal(pcrs.value[0], start, 48);
                assert_memory_equal(pcrs.value[1], (uint8_t[48]){ 0 }, 48);

                made_said(&made, 0, EV_S_CRTM_VERSION, "firmware", NULL);
                made_parse(&made, &log);
                assert_int_equal(eventlog_replay(&log, PCR_SHA256, 1, &pcrs, &why, &err), 0);
                made_value(PCR_SHA256, measured, value);
                assert_int_equal(memcmp(pcrs.value[0], value, 32) == 0, good[i] == 0);
        }
        made_header(&made, IN_ALL);
        locality(&made, 2);
        assert_refused(&made, "locality of the start that can't be");
}

static void test_the_locality_is_told_once_and_in_time(void **state) {
        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 7, EV_SEPARATOR, "", NULL); /* another PCR's */
        locality(&made, 3);
        assert_taken(&made, 2);
        locality(&made, 3);
        assert_refused(&made, "event 3 tells the locality of the start too late");

        made_header(&made, IN_ALL);
        made_said(&made, 0, EV_S_CRTM_VERSION, "", NULL);
        locality(&made, 3);
        assert_refused(&made, "event 2 tells the locality of the start too late");

        /* What only looks like it. */
        made_header(&made, IN_ALL);
        locality(&made, 3);
        made_event(&made, 0, EV_NO_ACTION, "StartupLocality\0", 16, "");
        made_event(&made, 0, EV_NO_ACTION, "StartupLocalitz\0\x02", 17, "");
        made_event(&made, 1, EV_NO_ACTION, "StartupLocality\0\x02", 17, "");
        assert_taken(&made, 4);
}

static void test_events_are_replayed(void **state) {
        static const char *const four[] = { "a", "b", NULL }, *const seven[] = { "c", NULL };

        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 4, EV_EFI_ACTION, "a", NULL);
        made_said(&made, 4, EV_NO_ACTION, "not this", NULL);
        made_said(&made, 7, EV_EFI_ACTION, "c", NULL);
        made_said(&made, 4, EV_EFI_ACTION, "b", NULL);
        made_said(&made, 9, EV_EFI_ACTION, "not wanted", NULL);
        for (unsigned bank = 0; bank < PCR_BANKS; bank++) {
                const uint32_t mask = 1u << 4 | 1u << 7 | 1u << 16 | 1u << 17 | 1u << 22 | 1u << 23;
                uint8_t value[PCR_SIZE_MAX], ones[PCR_SIZE_MAX], zeros[PCR_SIZE_MAX] = { 0 };
                struct eventlog_finding why;
                struct error err = { 0 };
                struct eventlog log;
                struct pcrs pcrs;

                made_parse(&made, &log);
                assert_int_equal(eventlog_replay(&log, bank, mask, &pcrs, &why, &err), 0);
                assert_int_equal(pcrs.bank, bank);
                assert_int_equal(pcrs.mask, mask);
                made_value(bank, four, value);
                assert_memory_equal(pcrs.value[4], value, pcr_size(bank));
                made_value(bank, seven, value);
                assert_memory_equal(pcrs.value[7], value, pcr_size(bank));
                memset(ones, 0xff, sizeof(ones));
                assert_memory_equal(pcrs.value[16], zeros, pcr_size(bank));
                assert_memory_equal(pcrs.value[17], ones, pcr_size(bank));
                assert_memory_equal(pcrs.value[22], ones, pcr_size(bank));
                assert_memory_equal(pcrs.value[23], zeros, pcr_size(bank));
        }
}

static void test_a_bank_that_the_log_lacks_is_said(void **state) {
        struct pcrs pcrs = { .mask = 0x55 };
        struct eventlog_finding why = { 0 };
        struct error err = { 0 };
        struct eventlog log;

        (void) state;
        made_header(&made, IN_SHA1 | IN_SHA256);
        made_said(&made, 4, EV_EFI_ACTION, "a", NULL);
        made_parse(&made, &log);
        assert_int_equal(eventlog_replay(&log, PCR_SHA256, 1u << 4, &pcrs, &why, &err), 0);
        pcrs.mask = 0x55;
        assert_int_equal(eventlog_replay(&log, PCR_SHA384, 1u << 4, &pcrs, &why, &err),
                         EVENTLOG_NO_BANK);
        assert_int_equal(pcrs.mask, 0x55);
        assert_int_equal(why.pcr, 4);
        assert_int_equal(why.mask, 1u << 4);
        assert_int_equal(why.event, 1);
        assert_string_equal(why.text, "event 1 of the event log (a) has no digest in the bank "
                                      "sha384");

        /* Neither another PCR nor what isn't measured matters. */
        assert_int_equal(eventlog_replay(&log, PCR_SHA384, 1u << 7, &pcrs, &why, &err), 0);
        made_header(&made, IN_SHA1);
        made_said(&made, 4, EV_NO_ACTION, "a", NULL);
        made_parse(&made, &log);
        assert_int_equal(eventlog_replay(&log, PCR_SHA384, 1u << 4, &pcrs, &why, &err), 0);

        made_said(&made, 4, EV_EFI_ACTION, "a", NULL);
        made_parse(&made, &log);
        pcrs = (struct pcrs){ .bank = PCR_SHA256, .mask = 1u << 4 };
        assert_int_equal(eventlog_check(&log, 1u << 4, &pcrs, &why, &err), EVENTLOG_NO_BANK);
        assert_int_equal(why.event, 2);
}

/* --- against the TPM --- */

static void now_is(struct pcrs *now, unsigned pcr, const char *const *measured) {
        made_value(now->bank, measured, now->value[pcr]);
        now->mask |= 1u << pcr;
}

static void assert_parts(const struct eventlog *log, const struct pcrs *now, int how,
                         unsigned event, const char *words) {
        struct eventlog_finding why = { 0 };
        struct error err = { 0 };

        assert_int_equal(eventlog_check(log, now->mask, now, &why, &err), EVENTLOG_DIFFERS);
        assert_int_equal(why.how, how);
        assert_int_equal(why.event, event);
        assert_string_equal(why.text, words);
}

static void test_where_a_log_parts(void **state) {
        static const char *const all[] = { "a", "b", "c", NULL }, *const none[] = { NULL },
                                 *const some[] = { "a", NULL },
                                 *const more[] = { "a", "b", "c", "d", NULL };
        struct eventlog_finding why = { .event = 77 };
        struct pcrs now = { .bank = PCR_SHA384 };
        struct error err = { 0 };
        struct eventlog log;

        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 4, EV_EFI_ACTION, "a", NULL);
        made_said(&made, 7, EV_EFI_ACTION, "a", NULL);
        made_said(&made, 4, EV_EFI_ACTION, "b", NULL);
        made_said(&made, 4, EV_EFI_ACTION, "c", NULL);
        made_said(&made, 4, EV_NO_ACTION, "not this", NULL);
        made_parse(&made, &log);
        now_is(&now, 4, all);
        assert_int_equal(eventlog_check(&log, 1u << 4, &now, &why, &err), EVENTLOG_OK);
        assert_int_equal(why.event, 77);

        now_is(&now, 4, none);
        assert_parts(&log, &now, EVENTLOG_MORE, 1,
                     "PCR 4: event 1 (a) and what follows it in the event log wasn't measured");
        now_is(&now, 4, some);
        assert_parts(&log, &now, EVENTLOG_MORE, 3,
                     "PCR 4: event 3 (b) and what follows it in the event log wasn't measured");
        now_is(&now, 4, more);
        assert_parts(&log, &now, EVENTLOG_LACKS, 4,
                     "PCR 4: event 4 (c) is the event log's last one, and something else was "
                     "measured too, or instead");
        now.mask = 0;
        now_is(&now, 9, some);
        assert_parts(&log, &now, EVENTLOG_LACKS, 0,
                     "PCR 9: something was measured, and the event log has nothing");
        now_is(&now, 9, none);
        assert_int_equal(eventlog_check(&log, 1u << 9, &now, &why, &err), EVENTLOG_OK);
        assert_int_equal(eventlog_check(&log, 1u << 9 | 1u << 10, &now, &why, &err), -EINVAL);
}

static void test_a_false_event_is_named(void **state) {
        static const char *const measured[] = { "a", "b", "c", "d", NULL };
        struct pcrs now = { .bank = PCR_SHA256 };
        struct eventlog_finding why;
        struct error err = { 0 };
        struct eventlog log;

        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 4, EV_EFI_ACTION, "a", NULL);
        made_said(&made, 4, EV_EFI_ACTION, "b'", "x");
        made_said(&made, 4, EV_EFI_ACTION, "c'", "x");
        made_said(&made, 4, EV_EFI_ACTION, "d", NULL);
        made_parse(&made, &log);
        now_is(&now, 4, measured);
        assert_parts(
                &log, &now, EVENTLOG_FALSE, 2,
                "PCR 4: event 2 (b') isn't what was measured: its digest is of something else");

        /* Text that lies, while the digests are what was measured: the log is the boot's. */
        made_header(&made, IN_ALL);
        made_said(&made, 4, EV_EFI_ACTION, "a", NULL);
        made_said(&made, 4, EV_EFI_ACTION, "b'", "b");
        made_said(&made, 4, EV_EFI_ACTION, "c", NULL);
        made_said(&made, 4, EV_EFI_ACTION, "d", NULL);
        made_parse(&made, &log);
        assert_int_equal(eventlog_check(&log, 1u << 4, &now, &why, &err), EVENTLOG_OK);
}

static void test_all_that_differs_is_named(void **state) {
        static const char *const other[] = { "x", NULL }, *const same[] = { "a", NULL };
        struct pcrs now = { .bank = PCR_SHA256 };
        struct eventlog_finding why = { 0 };
        struct error err = { 0 };
        struct eventlog log;

        (void) state;
        made_header(&made, IN_ALL);
        for (unsigned n = 2; n <= 9; n++) {
                made_said(&made, n, EV_EFI_ACTION, "a", NULL);
                now_is(&now, n, n == 5 || n == 3 || n == 8 ? other : same);
        }
        made_parse(&made, &log);
        assert_int_equal(eventlog_check(&log, now.mask, &now, &why, &err), EVENTLOG_DIFFERS);
        assert_int_equal(why.mask, 1u << 3 | 1u << 5 | 1u << 8);
        assert_int_equal(why.pcr, 3);
        assert_int_equal(why.event, 2);
        assert_int_equal(eventlog_check(&log, 1u << 4 | 1u << 8, &now, &why, &err),
                         EVENTLOG_DIFFERS);
        assert_int_equal(why.mask, 1u << 8);
        assert_int_equal(eventlog_check(&log, 1u << 4, &now, &why, &err), EVENTLOG_OK);
}

/* --- what events say --- */

/* Checks the last event of the log that was made. */
static void last_event(struct event *ret) {
        static struct eventlog log;

        made_parse(&made, &log);
        *ret = (struct event){ 0 };
        while (eventlog_next(&log, ret))
                ;
}

static void assert_data(uint32_t type, const void *data, size_t size, const char *measured,
                        int want) {
        struct error err = { 0 };
        struct event e;

        made_header(&made, IN_ALL);
        made_event(&made, 1, type, data, size, measured);
        last_event(&e);
        for (unsigned bank = 0; bank < PCR_BANKS; bank++)
                assert_int_equal(event_data_check(&e, bank, &err), want);
}

static void test_data_is_proven_or_false(void **state) {
        static const uint32_t strict[] = {
                EV_ACTION,
                EV_S_CRTM_VERSION,
                EV_EFI_ACTION,
                EV_EFI_GPT_EVENT,
                EV_EFI_VARIABLE_DRIVER_CONFIG,
                EV_EFI_VARIABLE_BOOT,
                EV_EFI_VARIABLE_BOOT2,
                EV_EFI_VARIABLE_AUTHORITY,
        };
        static const uint32_t loose[] = {
                EV_POST_CODE,
                EV_EVENT_TAG,
                EV_S_CRTM_CONTENTS,
                EV_PLATFORM_CONFIG_FLAGS,
                EV_IPL,
                EV_EFI_BOOT_SERVICES_APPLICATION,
                EV_EFI_HANDOFF_TABLES,
                EV_EFI_PLATFORM_FIRMWARE_BLOB2,
                EV_EFI_HCRTM_EVENT,
                0x12345,
        };
        struct event e;
        struct error err = { 0 };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(strict); i++) {
                assert_data(strict[i], "said", 4, "said", EVENT_DATA_PROVEN);
                assert_data(strict[i], "said", 4, "done", EVENT_DATA_FALSE);
        }
        for (size_t i = 0; i < ARRAY_SIZE(loose); i++) {
                assert_data(loose[i], "said", 4, "said", EVENT_DATA_PROVEN);
                assert_data(loose[i], "said", 4, "done", EVENT_DATA_SILENT);
        }
        assert_data(EV_NO_ACTION, "said", 4, "said", EVENT_DATA_SILENT);

        made_header(&made, IN_SHA256);
        made_said(&made, 1, EV_EFI_ACTION, "said", NULL);
        last_event(&e);
        assert_int_equal(event_data_check(&e, PCR_SHA256, &err), EVENT_DATA_PROVEN);
        assert_int_equal(event_data_check(&e, PCR_SHA384, &err), EVENT_DATA_SILENT);
}

static void test_a_separator_may_tell_of_an_error(void **state) {
        (void) state;
        assert_data(EV_SEPARATOR, "\0\0\0\0", 4, NULL, EVENT_DATA_PROVEN);
        assert_data(EV_SEPARATOR, "\0\0\0\0", 4, "x", EVENT_DATA_FALSE);
        assert_data(EV_SEPARATOR, "\xff\xff\xff\xff", 4, "x", EVENT_DATA_FALSE);
        assert_data(EV_SEPARATOR, "\x01\0\0\0", 4, "x", EVENT_DATA_SILENT);
        assert_data(EV_SEPARATOR, "out of memory", 13, "x", EVENT_DATA_SILENT);
}

static void test_a_boot_variable_has_two_forms(void **state) {
        (void) state;
        made_variable(&content, GLOBAL_GUID, "BootOrder", "\x01\x00", 2);
        assert_data(EV_EFI_VARIABLE_BOOT, content.data, content.size, NULL, EVENT_DATA_PROVEN);
        assert_data(EV_EFI_VARIABLE_BOOT, content.data, content.size, "x", EVENT_DATA_FALSE);
        made_variable(&content, GLOBAL_GUID, "BootOrder", "ab", 2);
        assert_data(EV_EFI_VARIABLE_BOOT, content.data, content.size, "ab", EVENT_DATA_PROVEN);
        assert_data(EV_EFI_VARIABLE_BOOT2, content.data, content.size, "ab", EVENT_DATA_FALSE);
}

static void test_which_pcrs_have_the_boot(void **state) {
        struct eventlog log;

        (void) state;
        made_header(&made, IN_ALL);
        made_said(&made, 2, EV_EFI_BOOT_SERVICES_APPLICATION, "of an option ROM", NULL);
        made_said(&made, 4, EV_EFI_ACTION, "Calling", NULL);
        made_said(&made, 9, EV_NO_ACTION, "no", NULL);
        made_parse(&made, &log);
        assert_int_equal(eventlog_boot_pcrs(&log), 0);
        made_said(&made, 4, EV_EFI_BOOT_SERVICES_APPLICATION, "", NULL);
        made_parse(&made, &log);
        assert_int_equal(eventlog_boot_pcrs(&log), 1u << 4 | 1u << 7);
        made_said(&made, 9, EV_EVENT_TAG, "", NULL);
        made_parse(&made, &log);
        assert_int_equal(eventlog_boot_pcrs(&log), 1u << 4 | 1u << 7 | 1u << 9);
}

static void test_a_uki_is_known_by_its_kernel(void **state) {
        static const struct {
                uint32_t pcr, type;
                const char *name;
                bool uki;
        } cases[] = {
                { 11, EV_IPL, ".linux", true },        { 12, EV_IPL, ".linux", false },
                { 11, EV_POST_CODE, ".linux", false }, { 11, EV_IPL, ".linu", false },
                { 11, EV_IPL, ".linux2", false },      { 11, EV_IPL, ".osrel", false },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct eventlog log;

                content.size = 0;
                made_wide(&content, cases[i].name, 1);
                made_header(&made, IN_ALL);
                made_event(&made, cases[i].pcr, cases[i].type, content.data, content.size, "");
                made_parse(&made, &log);
                assert_int_equal(eventlog_has_uki(&log), cases[i].uki);
        }
}

static void test_recorded_boots_replay(void **state) {
        static const char *const names[] = { "eventlog-uki", "eventlog-kernel" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                for (unsigned bank = 0; bank < PCR_BANKS; bank++) {
                        uint32_t mask = BOOT_MASK | (i == 0 ? 1u << 11 : 0);
                        struct eventlog_finding why;
                        struct error err = { 0 };
                        struct eventlog log;
                        struct pcrs now;

                        recorded_log(names[i], &made, &log);
                        recorded_pcrs(names[i], bank, &now);
                        assert_int_equal(eventlog_check(&log, mask, &now, &why, &err), EVENTLOG_OK);
                        assert_int_equal(eventlog_boot_pcrs(&log), 1u << 4 | 1u << 7 | 1u << 9);
                        assert_int_equal(eventlog_has_uki(&log), i == 0);
                        for (struct event e = { 0 }; eventlog_next(&log, &e);)
                                assert_int_not_equal(event_data_check(&e, bank, &err),
                                                     EVENT_DATA_FALSE);

                        /* IMA measures into PCR 10. */
                        assert_int_equal(eventlog_check(&log, mask | 1u << 10, &now, &why, &err),
                                         EVENTLOG_DIFFERS);
                        assert_int_equal(why.mask, 1u << 10);
                        /* The other boot's aren't this one's. */
                        recorded_pcrs(names[1 - i], bank, &now);
                        assert_int_equal(eventlog_check(&log, mask, &now, &why, &err),
                                         EVENTLOG_DIFFERS);
                        assert_int_equal(why.pcr, 4);
                }
}

static void test_a_flipped_byte_of_a_recorded_boot_shows(void **state) {
        struct eventlog_finding why;
        struct error err = { 0 };
        struct eventlog log;
        struct pcrs now;

        (void) state;
        recorded_log("eventlog-uki", &made, &log);
        recorded_pcrs("eventlog-uki", PCR_SHA256, &now);
        for (struct event e = { 0 }; eventlog_next(&log, &e);) {
                uint8_t *digest = made.data + (e.digest[PCR_SHA256] - made.data);

                digest[31] ^= 1;
                assert_int_equal(eventlog_check(&log, BOOT_MASK | 1u << 11, &now, &why, &err),
                                 EVENTLOG_DIFFERS);
                assert_int_equal(why.mask, 1u << e.pcr);
                digest[31] ^= 1;
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_header_is_needed),
                cmocka_unit_test(test_a_header_of_another_format_is_refused),
                cmocka_unit_test(test_a_header_has_a_few_digests),
                cmocka_unit_test(test_digests_have_their_size),
                cmocka_unit_test(test_a_vendor_may_add_to_the_header),
                cmocka_unit_test(test_an_event_is_whole),
                cmocka_unit_test(test_events_are_read_as_they_are),
                cmocka_unit_test(test_a_pcr_is_one_that_is),
                cmocka_unit_test(test_digests_are_those_of_the_header),
                cmocka_unit_test(test_a_log_is_bounded),
                cmocka_unit_test(test_pcr_0_starts_with_the_locality),
                cmocka_unit_test(test_the_locality_is_told_once_and_in_time),
                cmocka_unit_test(test_events_are_replayed),
                cmocka_unit_test(test_a_bank_that_the_log_lacks_is_said),
                cmocka_unit_test(test_where_a_log_parts),
                cmocka_unit_test(test_a_false_event_is_named),
                cmocka_unit_test(test_all_that_differs_is_named),
                cmocka_unit_test(test_data_is_proven_or_false),
                cmocka_unit_test(test_a_separator_may_tell_of_an_error),
                cmocka_unit_test(test_a_boot_variable_has_two_forms),
                cmocka_unit_test(test_which_pcrs_have_the_boot),
                cmocka_unit_test(test_a_uki_is_known_by_its_kernel),
                cmocka_unit_test(test_recorded_boots_replay),
                cmocka_unit_test(test_a_flipped_byte_of_a_recorded_boot_shows),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
