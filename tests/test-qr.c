/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "agent/qr.h"
#include "base/cleanup.h"
#include "tests/test.h"

#define TEXT "cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv"
#define SIDE_MAX 64
#define LINE 1024

/* The modules, true where light; the same from our picture and from qrencode's. */
struct modules {
        size_t width, height;
        bool light[SIDE_MAX][SIDE_MAX];
};

/* qrencode -t ASCII: "##" is dark. */
static void read_theirs(struct modules *m) {
        FILE *f = popen("qrencode --8bit --level=L --margin=4 --type=ASCII '" TEXT "'", "r");
        char line[LINE];

        assert_non_null(f);
        while (fgets(line, sizeof(line), f)) {
                assert_true(m->height < SIDE_MAX);
                m->width = strlen(line) / 2;
                assert_true(m->width <= SIDE_MAX);
                for (size_t x = 0; x < m->width; x++)
                        m->light[m->height][x] = line[2 * x] != '#';
                m->height++;
        }
        assert_int_equal(pclose(f), 0);
}

/* Each line begins with its colours and ends with the terminal's own. */
static void read_line(const char *line, struct modules *m) {
        static const char begin[] = "\033[37;97;40m", end[] = "\033[0m\n";
        static const char *const blocks[] = { " ", "▄", "▀", "█" };

        assert_memory_equal(line, begin, strlen(begin));
        line += strlen(begin);
        assert_true(m->height + 1 < SIDE_MAX);
        for (m->width = 0; strcmp(line, end) != 0; m->width++) {
                size_t i = 0;

                assert_true(m->width < SIDE_MAX);
                while (i < 4 && strncmp(line, blocks[i], strlen(blocks[i])) != 0)
                        i++;
                assert_in_range(i, 0, 3);
                line += strlen(blocks[i]);
                m->light[m->height][m->width] = i & 2;
                m->light[m->height + 1][m->width] = i & 1;
        }
        m->height += 2;
}

static void test_a_code_is_what_qrencode_makes_of_the_text(void **state) {
        _cleanup_(fclosep) FILE *f = tmpfile();
        struct modules ours = { 0 }, theirs = { 0 };
        char line[LINE];
        (void) state;

        if (system("command -v qrencode >/dev/null") != 0) {
                print_message("SKIP: qrencode isn't installed\n");
                skip();
        }
        assert_non_null(f);
        assert_true(fputs("before\n", f) >= 0);
        assert_int_equal(qr_print(f, TEXT), 1);
        rewind(f);
        assert_non_null(fgets(line, sizeof(line), f));
        assert_string_equal(line, "before\n");
        while (fgets(line, sizeof(line), f))
                read_line(line, &ours);
        read_theirs(&theirs);

        assert_int_equal(ours.width, theirs.width);
        assert_in_range(ours.height, theirs.height, theirs.height + 1);
        assert_true(ours.width <= 80 && ours.height <= 2 * 24);
        for (size_t y = 0; y < theirs.height; y++)
                for (size_t x = 0; x < theirs.width; x++)
                        assert_int_equal(ours.light[y][x], theirs.light[y][x]);
}

static void test_without_the_library_nothing_is_printed(void **state) {
        _cleanup_(fclosep) FILE *f = tmpfile(), *full = fopen("/dev/full", "w");
        char text[4096];
        (void) state;

        assert_non_null(f);
        assert_int_equal(qr_print_by("libqrencode-that-is-nowhere.so", f, TEXT), 0);
        assert_int_equal(qr_print_by("libc.so.6", f, TEXT), 0);
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert_int_equal(qr_print(f, text), 0);
        assert_int_equal(ftell(f), 0);
        assert_int_equal(fseek(f, 0, SEEK_END), 0);
        assert_int_equal(ftell(f), 0);
        /* What can't be written is a fault, where there is something to write. */
        assert_non_null(full);
        assert_true(qr_print(full, TEXT) == -ENOSPC || qr_print(full, TEXT) == 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_code_is_what_qrencode_makes_of_the_text),
                cmocka_unit_test(test_without_the_library_nothing_is_printed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
