/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "agent/context.h"
#include "agent/op.h"
#include "base/json.h"

/* The command line: a verb is a file with a table of options and a function that calls the
 * operation and prints its result. Results go to standard output, everything else to standard
 * error. */

enum { EXIT_DONE = 0, EXIT_FAULT = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3, EXIT_INTERRUPTED = 4 };

struct cli_option {
        const char *name;
        char letter;       /* 0: none */
        const char *value; /* what it takes, for --help; NULL for a switch */
        const char *help;
};

#define CLI_OPTIONS_MAX 16
#define CLI_ARGS_MAX 64
#define CLI_GIVEN_MAX 32

struct cli {
        struct context context;
        bool json, quiet, dry_run, colour;
        unsigned width; /* of the terminal; 0 where there's none, and lines may be long */
        const struct cli_verb *verb;
        const char *
                value[CLI_OPTIONS_MAX]; /* of the verb's options, in their order; "" for a switch */
        struct {
                unsigned option;
                const char *value;
        } given[CLI_GIVEN_MAX]; /* the same, each time that one stood there */
        unsigned givens;
        char *arg[CLI_ARGS_MAX + 1]; /* what isn't an option, NULL at the end */
        unsigned args;
};

struct cli_verb {
        const char *name;
        const char *synopsis; /* behind the name: "DEVICE --name N" */
        const char *summary;
        unsigned args_min, args_max;
        bool looks; /* changes and opens nothing, so that its refusals aren't events */
        const struct cli_option *options; /* ends with a nameless one */
        const char *examples[2];
        int (*run)(struct cli *cli); /* an exit status */
};

extern const struct cli_verb verb_format, verb_adopt, verb_unlock, verb_lock, verb_remove,
        verb_rotate, verb_status, verb_kek, verb_policy, verb_doctor, verb_enroll, verb_header,
        verb_recovery, verb_escrow, verb_log;

/* The value of one of the verb's options, or NULL. */
const char *cli_value(const struct cli *cli, const char *option);
/* The same for an option that not every verb takes which asks. */
const char *cli_value_if_any(const struct cli *cli, const char *option);
/* All values of an option that may stand several times, NULL at the end. Return: how many. */
unsigned cli_values(const struct cli *cli, const char *option, const char *ret[CLI_GIVEN_MAX + 1]);

/* The owner's key, from --key or --recovery-key-file; else, where @must_ask, from standard input
 * or, if that's a terminal, asked for; or none. For cli_owner_done(). Return: 0; or a fault. */
struct cli_owner {
        struct secret *passphrase;
        struct private_key *escrow;
        struct owner_key key; /* both of NULL where none was given */
};
int cli_owner(const struct cli *cli, bool must_ask, struct cli_owner *ret,
              struct error *err) _warn_unused_;
void cli_owner_done(struct cli_owner *o);

/* One of a verb's own verbs: "add" of recovery add DEVICE. */
struct cli_subverb {
        const char *name;
        bool files; /* takes more arguments behind the disk */
        int (*run)(struct cli *cli, const struct op_disk *disk);
};

/* Runs the one that the first argument names, on the disk that the second does. @all ends with a
 * nameless one. */
int cli_subverb(struct cli *cli, const struct cli_subverb *all);

#define CLI_POLICY_OPTIONS                                                                         \
        { "policy", 0, "NAME", "the policy to seal a new KEK under (default)" }, {                 \
                "pcrs", 0, "LIST", "or just PCRs, as they are now"                                 \
        }

/* --policy and --pcrs. @ret_given: @ret, or NULL where neither stood there. Return: -1 to go on,
 * else the exit status. */
int cli_policy(struct cli *cli, struct named_policy *ret, const struct named_policy **ret_given);
/* The PCRs of a policy, as "4,7". */
void cli_pcrs(const struct policy *policy, char ret[PCR_TEXT_MAX]);
bool cli_add_policy(struct json *o, const struct policy *policy);
bool cli_add_kek_policy(struct json *o, const struct kek *kek);
/* With the second factor, which no step of a policy tells; a PIN is one. */
bool cli_add_sealing(struct json *o, const struct policy *policy, bool second_factor);
/* For people, what it's sealed to. */
void cli_sealing_text(const struct policy *policy, bool second_factor, char ret[POLICY_TEXT_MAX]);
void cli_kek_text(const struct kek *kek, char ret[POLICY_TEXT_MAX]);

/* --slot. Return: its number; -1 where it wasn't given; -2 where it's none. */
int cli_slot(const struct cli *cli);

#define CLI_HEADER_OPTION                                                                          \
        { "header", 0, "FILE", "its header, where that isn't on the device itself" }
#define CLI_OWNER_OPTIONS                                                                          \
        { "recovery-key-file", 0, "FILE", "a passphrase of the disk; - for standard input" }, {    \
                "key", 0, "FILE", "the private key of an escrow certificate, in PEM"               \
        }

/* Prints what happened to standard error (and with --json to standard output). Return: the exit
 * status that belongs to @outcome. @safe: the sentence on the data, NULL for the usual one. */
int cli_failed(const struct cli *cli, int outcome, const struct refusal *why,
               const struct error *err);
int cli_usage(const struct cli *cli, const char *fmt, ...) _printf_(2, 3);
/* A line for people, unless -q or --json was given. */
void cli_say(const struct cli *cli, const char *fmt, ...) _printf_(2, 3);
/* What the context has for the user beside the result, if anything. */
void cli_note(const struct cli *cli);
/* Prints @json, which it frees. NULL: out of memory. Return: an exit status. */
int cli_print_json(struct json *json);
/* The same on one line: where others stand before or behind it. */
int cli_print_json_line(struct json *json);

/* What became of a rotation. Return: an exit status. */
int cli_print_rotated(const struct cli *cli, const struct op_rotated *r);
/* From here on a signal stops the operation where it's safe: it returns -EINTR. */
void cli_catch_stop(void);

/* Of the verb policy. */
int cli_policy_sign(struct cli *cli);
int cli_policy_check(struct cli *cli);
int cli_policy_predict(struct cli *cli);
/* What --uki and the like say. @ret_given: whether any of them stood there. Return: -1 to go on,
 * else the exit status. */
int cli_next_boot(struct cli *cli, struct op_next_boot *ret, bool *ret_given);

/* Of the verb kek. */
int cli_kek_show(struct cli *cli);
int cli_kek_forget(struct cli *cli);
int cli_kek_export(struct cli *cli);
bool cli_add_counter(struct json *k, const struct op_counter *c);

/* One KEK as status and kek list show it. */
struct json *cli_kek_json(const struct kek_record *k, const struct due *due);

/* --- tables --- */

#define TABLE_COLUMNS_MAX 10

enum table_tone { TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_WARN, TONE_FAINT };

struct table;

struct table *table_new(unsigned columns, const char *const *heads);
struct table *table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free);
/* The next cell, row by row. Cells are cut at 160 bytes. */
void table_cell(struct table *t, enum table_tone tone, const char *fmt, ...) _printf_(3, 4);
/* Aligned; what doesn't fit the terminal is cut in the last column; colours on a terminal only. */
void table_print(const struct table *t, const struct cli *cli);
