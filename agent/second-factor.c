/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "agent/second-factor.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/helper.h"
#include "agent/terminal.h"
#include "base/crypto.h"
#include "base/file.h"

#define PIN_MAX                                                                                    \
        (TERMINAL_LINE_MAX - 1) /* bytes: what a terminal gives, so that each can be typed */

/* --- what a policy says --- */

static int parse_path(const char *path, struct factor_source *s, struct error *err) {
        if (path[0] != '/')
                return error_set(err, -EBADMSG, "a second factor's path isn't absolute");
        (void) snprintf(s->text, sizeof(s->text), "%s", path);
        return 0;
}

static int parse_credential(const char *name, struct factor_source *s, struct error *err) {
        if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") !=
                    strlen(name) ||
            name[0] == '\0' || strchr("_.-", name[0]))
                return error_set(err, -EBADMSG,
                                 "a second factor's credential can't have this name");
        (void) snprintf(s->text, sizeof(s->text), "%s", name);
        return 0;
}

static int parse_helper(const char *line, struct factor_source *s, struct error *err) {
        size_t used = 0;

        if (line[0] != '/')
                return error_set(err, -EBADMSG, "a second factor's program isn't an absolute path");
        if (strpbrk(line, "\"'\\"))
                return error_set(
                        err, -EBADMSG,
                        "a second factor's program with a quote or a backslash: there's no "
                        "shell to take them away");
        for (const char *p = line; *p; p += strspn(p, " ")) {
                size_t n = strcspn(p, " ");

                if (s->words == FACTOR_WORDS_MAX)
                        return error_set(err, -EBADMSG,
                                         "a second factor's program with over %d arguments",
                                         FACTOR_WORDS_MAX - 1);
                memcpy(s->text + used, p, n); /* never longer than the line */
                used += n;
                s->text[used++] = '\0';
                s->words++;
                p += n;
        }
        s->deadline = FACTOR_DEADLINE;
        return 0;
}

int factor_source_parse(const char *text, struct factor_source *ret, struct error *err) {
        static const struct {
                const char *prefix;
                enum factor_from from;
                int (*parse)(const char *rest, struct factor_source *s, struct error *err);
        } kinds[] = {
                { "file:", FROM_FILE, parse_path },
                { "credential:", FROM_CREDENTIAL, parse_credential },
                { "helper:", FROM_HELPER, parse_helper },
        };
        size_t length = strlen(text);

        if (length >= FACTOR_TEXT_MAX)
                return error_set(err, -EBADMSG, "a second factor of over %d characters",
                                 FACTOR_TEXT_MAX - 1);
        for (size_t i = 0; i < length; i++)
                if (text[i] < ' ' || text[i] > '~')
                        return error_set(err, -EBADMSG, "a second factor that isn't plain text");
        if (length == 0 || strcmp(text, "none") == 0 || strcmp(text, "pin") == 0) {
                *ret = (struct factor_source){ .from = text[0] == 'p' ? FROM_PIN : FROM_NONE };
                return 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                struct factor_source s = { .from = kinds[i].from };
                size_t n = strlen(kinds[i].prefix);
                int r;

                if (strncmp(text, kinds[i].prefix, n) != 0)
                        continue;
                r = kinds[i].parse(text + n, &s, err);
                if (r == 0)
                        *ret = s;
                return r;
        }
        return error_set(err, -EBADMSG,
                         "a second factor is none, pin, file:, credential: or helper:");
}

enum factor_kind factor_source_kind(const struct factor_source *s) {
        return s->from == FROM_NONE ? FACTOR_NONE : s->from == FROM_PIN ? FACTOR_PIN : FACTOR_KEY;
}

/* --- getting it --- */

static int refuse(struct refusal *why, const struct factor_request *q, const char *thing,
                  const char *problem) {
        return refusal_set(why, REFUSAL_SECOND_FACTOR, "%.40s: its second factor, %.90s: %.90s",
                           q->subject, thing, problem);
}

/* What is wrong with the file, and not with the machine. */
static bool is_missing(int r) {
        static const int kinds[] = { -ENOENT, -ENOTDIR, -EACCES, -ELOOP, -ENAMETOOLONG };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (r == kinds[i])
                        return true;
        return false;
}

struct bounds {
        const char *thing; /* "the file /x" */
        size_t min, max;
};

static int get_file(const char *path, const struct bounds *b, const struct factor_request *q,
                    struct secret **ret, struct refusal *why, struct error *err) {
        _cleanup_(secret_freep) struct secret *s = NULL;
        char problem[80];
        struct stat st;
        int r = 0;

        if (strcmp(path, "-") != 0) {
                if (stat(path, &st) < 0)
                        r = error_errno(err, -errno, "look at %s", path);
                else if (!S_ISREG(st.st_mode))
                        return refuse(why, q, b->thing, "it isn't a regular file");
        }
        if (r == 0)
                r = file_read_secret(path, b->max, &s, err);
        if (is_missing(r))
                return refuse(why, q, b->thing, strerrordesc_np(-r));
        if (r < 0 && r != -ENODATA && r != -EFBIG)
                return r;
        if (r == -EFBIG) {
                (void) snprintf(problem, sizeof(problem), "it's longer than %zu bytes", b->max);
                return refuse(why, q, b->thing, problem);
        }
        if (r == -ENODATA || secret_size(s) < b->min) {
                (void) snprintf(problem, sizeof(problem),
                                "it has %zu bytes, where at least %zu belong",
                                s ? secret_size(s) : 0, b->min);
                return refuse(why, q, b->thing, problem);
        }
        *ret = TAKE(s);
        return OUTCOME_DONE;
}

/* Where systemd put the credential of this name. Return: false where it gives none at all. */
static bool credential_path(const char *name, char ret[PATH_MAX]) {
        const char *dir = secure_getenv("CREDENTIALS_DIRECTORY");
        int n = -1;

        if (dir && dir[0] == '/')
                n = snprintf(ret, PATH_MAX, "%s/%s", dir, name);
        return n >= 0 && n < PATH_MAX;
}

static int get_credential(const struct factor_source *s, const struct factor_request *q,
                          struct secret **ret, struct refusal *why, struct error *err) {
        char path[PATH_MAX], thing[120];
        const struct bounds b = { thing, FACTOR_KEY_MIN, FACTOR_KEY_MAX };

        (void) snprintf(thing, sizeof(thing), "the credential %.90s", s->text);
        if (!credential_path(s->text, path))
                return refuse(why, q, thing, "there are no credentials (CREDENTIALS_DIRECTORY)");
        return get_file(path, &b, q, ret, why, err);
}

static int get_from_helper(const struct factor_source *s, const struct factor_request *q,
                           struct secret **ret, struct refusal *why, struct error *err) {
        const char *argv[FACTOR_WORDS_MAX + 1] = { 0 }, *word = s->text;
        const struct helper h = { argv, s->deadline, FACTOR_KEY_MIN, FACTOR_KEY_MAX };
        struct helper_failure failure;
        int r;

        for (unsigned i = 0; i < s->words; i++, word += strlen(word) + 1)
                argv[i] = word;
        r = helper_run(&h, ret, &failure, err);
        if (r < 0)
                return error_prefix(err, "run %.60s", s->text);
        if (r == HELPER_DONE)
                return OUTCOME_DONE;
        (void) refuse(why, q, s->text, failure.what);
        if (failure.said[0])
                refusal_detail(why, "it said: %s", failure.said);
        return OUTCOME_REFUSED;
}

/* --- a PIN --- */

/* The first line, as every editor ends one. */
static int first_line(struct secret *typed, struct secret **ret, struct error *err) {
        const uint8_t *data = secret_data(typed), *newline;
        _cleanup_(secret_freep) struct secret *line = NULL;
        size_t size = secret_size(typed);
        int r;

        newline = memchr(data, '\n', size);
        if (newline)
                size = (size_t) (newline - data);
        if (size == 0)
                return error_set(err, -ENODATA, "the PIN is empty");
        if (size > PIN_MAX)
                return error_set(err, -EFBIG, "the PIN is longer than %d bytes", PIN_MAX);
        r = secret_new(size, &line);
        if (r < 0)
                return error_errno(err, r, "no locked memory for a PIN");
        memcpy(secret_data(line), data, size);
        *ret = TAKE(line);
        return 0;
}

static int ask(const char *prompt, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *typed = NULL;
        int r = terminal_ask(prompt, &typed, err);

        return r < 0 ? r : first_line(typed, ret, err);
}

static int refuse_typed(struct refusal *why, const struct factor_request *q, int r) {
        if (r == -ENODATA)
                return refuse(why, q, "a PIN", "none was typed");
        if (r == -EFBIG)
                return refuse(why, q, "a PIN", "what was typed is too long");
        (void) refusal_set(why, REFUSAL_SECOND_FACTOR,
                           "%.40s: a PIN is needed, and nobody is there to type it", q->subject);
        refusal_detail(why, "It's asked for on a terminal, and read from --pin-file or from a "
                            "credential " PIN_CREDENTIAL ".");
        return OUTCOME_REFUSED;
}

static int ask_pin(const struct factor_request *q, struct secret **ret, struct refusal *why,
                   struct error *err) {
        _cleanup_(secret_freep) struct secret *pin = NULL, *again = NULL;
        char prompt[80];
        int r;

        (void) snprintf(prompt, sizeof(prompt), "%sPIN of %.40s: ", q->new_pin ? "New " : "",
                        q->subject);
        r = ask(prompt, &pin, err);
        if (r == 0 && q->new_pin) {
                (void) snprintf(prompt, sizeof(prompt), "The same PIN again: ");
                r = ask(prompt, &again, err);
        }
        if (r == -ENODATA || r == -EFBIG || r == -ENOTTY)
                return refuse_typed(why, q, r);
        if (r < 0)
                return r;
        if (again && !crypto_same(pin, again))
                return refuse(why, q, "a PIN", "two different ones were typed");
        *ret = TAKE(pin);
        return OUTCOME_DONE;
}

int second_factor_pin(const struct factor_request *q, struct secret **ret, struct refusal *why,
                      struct error *err) {
        _cleanup_(secret_freep) struct secret *all = NULL;
        char path[PATH_MAX], thing[120];
        const struct bounds b = { thing, 1, PIN_MAX + 1 };
        int r;

        if (q->pin_file) {
                (void) snprintf(thing, sizeof(thing), "a PIN in %.100s",
                                strcmp(q->pin_file, "-") == 0 ? "standard input" : q->pin_file);
                r = get_file(q->pin_file, &b, q, &all, why, err);
        } else if (credential_path(PIN_CREDENTIAL, path) && access(path, F_OK) == 0) {
                (void) snprintf(thing, sizeof(thing), "a PIN in the credential " PIN_CREDENTIAL);
                r = get_file(path, &b, q, &all, why, err);
        } else
                return ask_pin(q, ret, why, err);
        if (r != OUTCOME_DONE)
                return r;
        r = first_line(all, ret, err);
        if (r == -ENODATA)
                return refuse(why, q, thing, "its first line is empty");
        return r == -EFBIG ? refuse(why, q, thing, "its first line is too long") : r;
}

int second_factor_get(const struct factor_source *s, const struct factor_request *q,
                      struct secret **ret, struct refusal *why, struct error *err) {
        char thing[120];
        const struct bounds b = { thing, FACTOR_KEY_MIN, FACTOR_KEY_MAX };

        switch (s->from) {
        case FROM_PIN: return second_factor_pin(q, ret, why, err);
        case FROM_CREDENTIAL: return get_credential(s, q, ret, why, err);
        case FROM_HELPER: return get_from_helper(s, q, ret, why, err);
        case FROM_FILE:
                (void) snprintf(thing, sizeof(thing), "the file %.100s", s->text);
                return get_file(s->text, &b, q, ret, why, err);
        default: *ret = NULL; return OUTCOME_DONE;
        }
}
