/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/boot-args.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/timespan.h"

#define OURS "diskseal."
#define WORD_MAX 300 /* bytes of a word that may be ours */

/* The next word without its quotes; one that's longer than @ret is cut. Return: false at the end.
 */
static bool next_word(const char **at, const char *end, char ret[WORD_MAX]) {
        bool quoted = false;
        size_t n = 0;

        while (*at < end && isspace((unsigned char) **at))
                (*at)++;
        if (*at == end)
                return false;
        for (; *at < end && (quoted || !isspace((unsigned char) **at)); (*at)++) {
                if (**at == '"')
                        quoted = !quoted;
                else if (n < WORD_MAX - 1)
                        ret[n++] = **at;
        }
        ret[n] = '\0';
        return true;
}

static bool is_printable(const char *text) {
        for (; *text; text++)
                if (*text < 0x20 || *text > 0x7e)
                        return false;
        return true;
}

static int take(const char *word, struct boot_args *ret, struct error *err) {
        const char *name = word + strlen(OURS), *value = strchr(word, '=');
        bool known = true;

        if (!value || !value[1] || !is_printable(word))
                return error_set(err, -EBADMSG,
                                 "on the kernel command line, an option of ours has "
                                 "no value");
        value++;
        if (strncmp(name, "disk=", 5) == 0)
                known = (size_t) snprintf(ret->disk, sizeof(ret->disk), "%s", value) <
                        sizeof(ret->disk);
        else if (strncmp(name, "timeout=", 8) == 0)
                known = ret->has_timeout = timespan_parse(value, &ret->timeout) == 0;
        else
                known = false;
        return known ? 0
                     : error_set(err, -EBADMSG,
                                 "on the kernel command line: %.100s isn't understood", word);
}

int boot_args_parse(const char *line, size_t size, struct boot_args *ret, struct error *err) {
        struct boot_args args = { 0 };
        const char *at = line, *end = line + size;
        char word[WORD_MAX];

        while (next_word(&at, end, word)) {
                bool ours = strstr(word, OURS) == word;
                int r = ours ? take(word, &args, err) : 0;

                if (r < 0)
                        return r;
        }
        *ret = args;
        return 0;
}
