/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <string.h>

#include "fuzz/fuzz.h"

/* Stands in the printed text for what our JSON can't hold, and is replaced there. */
#define MARK "\"@@mark@@\""

enum change { REMOVE, DOUBLE, RENAME, VALUE, OTHER_PART, TEXT, CHANGES };

struct plan {
        uint64_t random;
        enum change change;
        unsigned at, target; /* counts the members and items of the whole text */
        const struct json *donor;
        const char *raw; /* for MARK */
};

static const char *const raw_values[] = {
        "null",
        "true",
        "0",
        "1",
        "-1",
        "-0",
        "0.5",
        "4096.0",
        "1e3",
        "1e999",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "4294968296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "\"\"",
        "\"0\"",
        "\"-1\"",
        "\"31\"",
        "\"32\"",
        "\"4096\"",
        "\"16777216\"",
        "\"18446744073709551615\"",
        "\"18446744073709551616\"",
        "\"dynamic\"",
        "\"\\u0000\"",
        "\"\\u001b[2J\"",
        "\"\\ud800\"",
        "\"AAAA\"",
        "\"h4vHNcASwzt0gH7KAPVc5xIOAY9QGyfPMfjzzmQDxeE=\"",
        "\"cipher_null-ecb\"",
        "\"aes-xts-plain64\"",
        "\"pbkdf2\"",
        "\"argon2id\"",
        "\"sha256\"",
        "\"sha512\"",
        "\"sha1\"",
        "\"luks2\"",
        "\"diskseal\"",
        "\"diskseal-escrow\"",
        "[]",
        "{}",
        "[\"0\"]",
        "[\"0\",\"1\"]",
        "[0]",
        "[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]",
        "{\"0\":{}}",
        /* One more member behind this one, of a name that may be there already. */
        "0,\"encryption\":\"cipher_null-ecb\"",
        "0,\"type\":\"linear\"",
        "0,\"keyslots\":[]",
        "0/*\"*/",
};

static const char *const keys[] = {
        "0",        "1",          "31",         "32",     "00",     "-1",        "type",
        "keyslots", "tokens",     "segments",   "config", "area",   "kdf",       "af",
        "digest",   "digests",    "salt",       "offset", "size",   "hash",      "iterations",
        "time",     "memory",     "cpus",       "flags",  "pin",    "next",      "keks",
        "wrap",     "encryption", "key_size",   "v",      "epoch",  "priority",  "requirements",
        "slot",     "state",      "\x1b[2Jkey", "x",      "policy", "mandatory",
};

/* xorshift64*: enough to be different each time, and the same for the same seed. */
static uint64_t draw(struct plan *p, uint64_t below) {
        p->random ^= p->random >> 12;
        p->random ^= p->random << 25;
        p->random ^= p->random >> 27;
        return (p->random * 0x2545f4914f6cdd1dULL >> 16) % below;
}

static const char *any_key(struct plan *p) {
        return keys[draw(p, ARRAY_SIZE(keys))];
}

static unsigned count(const struct json *j) {
        struct json_iter i = { 0 };
        unsigned n = 0;

        while (json_next(j, &i))
                n += 1 + count(i.value);
        if (json_is_array(j))
                for (size_t k = 0; k < json_length(j); k++)
                        n += 1 + count(json_at(j, k));
        return n;
}

/* The value with number @target. */
static const struct json *part(const struct json *j, unsigned *at, unsigned target) {
        const struct json *found;
        struct json_iter i = { 0 };

        while (json_next(j, &i)) {
                if ((*at)++ == target)
                        return i.value;
                found = part(i.value, at, target);
                if (found)
                        return found;
        }
        for (size_t k = 0; json_is_array(j) && k < json_length(j); k++) {
                if ((*at)++ == target)
                        return json_at(j, k);
                found = part(json_at(j, k), at, target);
                if (found)
                        return found;
        }
        return NULL;
}

static struct json *string(const char *text) {
        _cleanup_(json_freep) struct json *o = json_new_array();

        return json_append_string(o, text) ? json_copy(json_at(o, 0)) : NULL;
}

static struct json *copy(const struct json *j, struct plan *p);

/* A string with some of its characters changed. */
static struct json *mutated_text(const struct json *j) {
        const char *old = json_string(j);
        char text[4096] = "";
        size_t n;

        if (!old)
                return json_copy(j);
        (void) snprintf(text, sizeof(text), "%.2000s", old);
        n = LLVMFuzzerMutate((uint8_t *) text, strlen(text), sizeof(text) - 1);
        text[n] = '\0';
        for (size_t i = 0; i < n; i++)
                text[i] = (char) (text[i] & 0x7f);
        return string(text);
}

/* The value that takes the place of @j. */
static struct json *changed(const struct json *j, struct plan *p) {
        switch (p->change) {
        case VALUE: return string("@@mark@@");
        case OTHER_PART: return json_copy(p->donor);
        case TEXT: return mutated_text(j);
        default: return copy(j, p);
        }
}

/* What can't be added (null) is left out. */
static void add(struct json *o, const char *key, struct json *value) {
        if (!json_add(o, key, value))
                return;
}

static void append(struct json *a, struct json *value) {
        if (!json_append(a, value))
                return;
}

static struct json *copy_object(const struct json *j, struct plan *p) {
        struct json *o = json_new_object();
        struct json_iter i = { 0 };

        while (json_next(j, &i)) {
                bool here = p->at++ == p->target;

                if (!here) {
                        add(o, i.key, copy(i.value, p));
                        continue;
                }
                if (p->change == REMOVE) {
                        p->at += count(i.value);
                        continue;
                }
                if (p->change == DOUBLE)
                        add(o, any_key(p), json_copy(i.value));
                add(o, p->change == RENAME ? any_key(p) : i.key, changed(i.value, p));
        }
        return o;
}

static struct json *copy_array(const struct json *j, struct plan *p) {
        struct json *a = json_new_array();

        for (size_t k = 0; k < json_length(j); k++) {
                bool here = p->at++ == p->target;

                if (!here) {
                        append(a, copy(json_at(j, k), p));
                        continue;
                }
                if (p->change == REMOVE)
                        continue;
                if (p->change == DOUBLE || p->change == RENAME)
                        append(a, json_copy(json_at(j, k)));
                append(a, changed(json_at(j, k), p));
        }
        return a;
}

static struct json *copy(const struct json *j, struct plan *p) {
        if (json_is_object(j))
                return copy_object(j, p);
        if (json_is_array(j))
                return copy_array(j, p);
        return j ? json_copy(j) : NULL;
}

/* Return: the size of @text with what MARK stands for; 0 where it doesn't fit. */
static size_t put(const char *text, const struct plan *p, uint8_t *data, size_t max) {
        const char *mark = strstr(text, MARK);
        int n;

        if (!mark)
                n = snprintf((char *) data, max, "%s", text);
        else
                n = snprintf((char *) data, max, "%.*s%s%s", (int) (mark - text), text, p->raw,
                             mark + strlen(MARK));
        return n > 0 && (size_t) n < max ? (size_t) n : 0;
}

size_t json_mutate(uint8_t *data, size_t size, size_t max, unsigned seed) {
        struct plan p = { .random = seed * 0x9e3779b97f4a7c15ULL + 1 };
        _cleanup_(json_freep) struct json *j = NULL, *made = NULL;
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };
        unsigned total, at = 0;
        size_t n;

        if (draw(&p, 20) == 0 || json_parse((char *) data, size, &j, &err) < 0)
                return LLVMFuzzerMutate(data, size, max);
        total = count(j);
        if (total == 0)
                return LLVMFuzzerMutate(data, size, max);
        p.target = (unsigned) draw(&p, total);
        p.change = (enum change) draw(&p, CHANGES);
        p.donor = part(j, &at, (unsigned) draw(&p, total));
        p.raw = raw_values[draw(&p, ARRAY_SIZE(raw_values))];
        if (p.change == OTHER_PART && !p.donor)
                p.change = VALUE;
        made = copy(j, &p);
        if (!made || json_text(made, false, &text, &err) < 0)
                return LLVMFuzzerMutate(data, size, max);
        n = put(text, &p, data, max);
        return n > 0 ? n : LLVMFuzzerMutate(data, size, max);
}

bool printable(const char *text) {
        for (; *text; text++)
                if (*text < 0x20 || *text > 0x7e)
                        return false;
        return true;
}
