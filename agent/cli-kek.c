/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"

static size_t disks_of(const struct op_status *s, const char *kek) {
        size_t n = 0;

        for (size_t i = 0; i < s->disks; i++)
                n += strcmp(s->disk[i].known.kek, kek) == 0;
        return n;
}

bool cli_add_counter(struct json *k, const struct op_counter *c) {
        _cleanup_(json_freep) struct json *o = json_new_object();
        char index[16];

        if (c->state == OP_COUNTER_NONE)
                return true;
        (void) snprintf(index, sizeof(index), "0x%08x", c->index);
        return json_add_string(o, "index", index) &&
               json_add_string(o, "state", op_counter_name(c->state)) &&
               (c->state == OP_COUNTER_UNKNOWN || json_add_uint(o, "value", c->value)) &&
               json_add_uint(o, "limit", c->le) && json_add(k, "counter", TAKE(o));
}

/* Of another KEK than the OS disk's, where there's that. */
static bool is_other(enum others_state state) {
        return state != OTHERS_NO_OS && state != OTHERS_IS_OS;
}

static void say_others(const struct cli *cli, const struct op_status *s) {
        for (size_t i = 0; i < s->keks; i++) {
                if (s->others[i] == OTHERS_MISSING)
                        cli_say(cli,
                                "  ! KEK %s: its v%u isn't in the record of the OS disk's KEK %s, "
                                "which opens the others",
                                s->kek[i].name, s->kek[i].current.version, s->os_kek);
                if (s->others[i] == OTHERS_FACTOR)
                        cli_say(cli,
                                "  KEK %s has a second factor, so the OS disk's KEK %s doesn't "
                                "open it",
                                s->kek[i].name, s->os_kek);
        }
}

static struct json *list_json(const struct op_status *s) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *keks = json_new_array();

        for (size_t i = 0; i < s->keks; i++) {
                struct json *k;

                if (!s->kek[i].has_current)
                        continue;
                k = cli_kek_json(&s->kek[i], &s->due[i]);
                if (!json_append(keks, k) || !cli_add_counter(k, &s->counter[i]) ||
                    !json_add_uint(k, "disks", disks_of(s, s->kek[i].name)) ||
                    (is_other(s->others[i]) &&
                     !json_add_bool(k, "with_os_kek", s->others[i] == OTHERS_THERE)))
                        return NULL;
        }
        return json_add(o, "kek", TAKE(keks)) ? TAKE(o) : NULL;
}

static void counter_cell(struct table *t, const struct op_counter *c) {
        if (c->state == OP_COUNTER_LIVE)
                table_cell(t, TONE_GOOD, "%llu of %llu", (unsigned long long) c->value,
                           (unsigned long long) c->le);
        else
                table_cell(t, c->state == OP_COUNTER_NONE ? TONE_FAINT : TONE_BAD, "%s",
                           op_counter_name(c->state));
}

static void list_table(const struct cli *cli, const struct op_status *s) {
        static const char *const heads[] = { "KEK",      "VERSION", "RETIRED",
                                             "PROVIDER", "CREATED", "SEALED TO",
                                             "COUNTER",  "DISKS",   "ROTATION" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);
        char policy[POLICY_TEXT_MAX], due[TIMESPAN_TEXT + 4];

        for (size_t i = 0; i < s->keks; i++) {
                const struct kek_record *k = &s->kek[i];

                if (!k->has_current)
                        continue;
                cli_kek_text(&k->current, policy);
                table_cell(t, TONE_PLAIN, "%s", k->name);
                if (k->has_staged)
                        table_cell(t, TONE_WARN, "%u, %u staged", k->current.version,
                                   k->staged.version);
                else
                        table_cell(t, TONE_PLAIN, "%u", k->current.version);
                table_cell(t, TONE_PLAIN, "%zu", k->retired_count);
                table_cell(t, TONE_PLAIN, "tpm");
                table_cell(t, TONE_PLAIN, "%s", k->current_created);
                table_cell(t, TONE_PLAIN, "%s", policy);
                counter_cell(t, &s->counter[i]);
                table_cell(t, TONE_PLAIN, "%zu", disks_of(s, k->name));
                due_word(&s->due[i], due);
                table_cell(t,
                           s->due[i].state == DUE_NOW || s->due[i].state == DUE_CLOCK ? TONE_WARN
                                                                                      : TONE_PLAIN,
                           "%s", due);
        }
        table_print(t, cli);
}

static int list(struct cli *cli) {
        _cleanup_(op_status_done) struct op_status s = { 0 };
        struct error err = { 0 };
        int r = op_status_known(&cli->context, &s, &err);

        if (r == OUTCOME_DONE)
                r = op_counters(&cli->context, &s, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, NULL, &err);
        if (cli->json)
                return cli_print_json(list_json(&s));
        if (s.keks == 0)
                cli_say(cli, "  no KEK yet: diskseal format and diskseal adopt make the first");
        else if (!cli->quiet) {
                list_table(cli, &s);
                say_others(cli, &s);
        }
        return EXIT_DONE;
}

static const struct cli_option options[] = {
        { "version", 0, "N", "forget, export: this version" },
        { "before", 0, "N", "forget: all versions older than this one" },
        { "all", 0, NULL, "forget: all retired versions" },
        { "force", 0, NULL, "forget: also what a disk without another key may need" },
        { "yes", 'y', NULL, "forget: don't ask" },
        { "escrow", 0, "CERT", "export: for the holder of this certificate, in PEM" },
        { "output", 0, "FILE", "export: where it goes; without, to a pipe" },
        { 0 },
};

static int run(struct cli *cli) {
        static const struct {
                const char *name;
                int (*run)(struct cli *cli);
                unsigned options; /* bit n: option n is for it */
        } verbs[] = {
                { "list", list, 0 },
                { "show", cli_kek_show, 0 },
                { "forget", cli_kek_forget, 0x1f },
                { "export", cli_kek_export, 0x61 },
        };
        const char *what = cli->arg[0];

        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
                if (strcmp(verbs[i].name, what) != 0)
                        continue;
                if ((verbs[i].run == list) != (cli->args == 1))
                        return cli_usage(cli, "kek %s: %s", what,
                                         cli->args == 1 ? "of which KEK?" : "of all KEKs");
                for (unsigned o = 0; options[o].name; o++)
                        if (cli->value[o] && !(verbs[i].options & (1u << o)))
                                return cli_usage(cli, "--%s isn't for kek %s", options[o].name,
                                                 what);
                return verbs[i].run(cli);
        }
        return cli_usage(cli, "kek has no '%s'", what);
}

const struct cli_verb verb_kek = {
        .name = "kek",
        .synopsis = "list|show|forget|export [NAME] [OPTION...]",
        .summary =
                "Show the key-encrypting keys, and their retired versions; forget or export those",
        .args_min = 1,
        .args_max = 2,
        .options = options,
        .examples = { "diskseal kek forget default --before 20",
                      "diskseal kek export default --escrow holder.pem --output keks.cms" },
        .run = run,
};
