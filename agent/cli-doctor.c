/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "agent/cli.h"

static const char *const words[] = { [OP_GOOD] = "ok", [OP_WARN] = "warning", [OP_BAD] = "wrong" };
static const enum table_tone tones[] = {
        [OP_GOOD] = TONE_GOOD, [OP_WARN] = TONE_WARN, [OP_BAD] = TONE_BAD
};

static struct json *as_json(const struct op_doctor *d) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *list = json_new_array();

        for (size_t i = 0; i < d->count; i++) {
                const struct op_finding *f = &d->finding[i];
                struct json *item = json_new_object();

                if (!json_append(list, item) || !json_add_string(item, "check", f->what) ||
                    !json_add_string(item, "result", words[f->level]) ||
                    !json_add_string(item, "found", f->found) ||
                    (f->advice[0] && !json_add_string(item, "advice", f->advice)))
                        return NULL;
        }
        return json_add(o, "findings", TAKE(list)) ? TAKE(o) : NULL;
}

static void print_table(const struct cli *cli, const struct op_doctor *d) {
        static const char *const heads[] = { "CHECK", "RESULT", "FOUND" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);

        for (size_t i = 0; i < d->count; i++) {
                const struct op_finding *f = &d->finding[i];

                table_cell(t, TONE_PLAIN, "%s", f->what);
                table_cell(t, tones[f->level], "%s", words[f->level]);
                table_cell(t, TONE_PLAIN, "%s", f->found);
        }
        table_print(t, cli);
        for (size_t i = 0; i < d->count; i++)
                if (d->finding[i].advice[0])
                        cli_say(cli, "  %s %s: %s", d->finding[i].level == OP_BAD ? "!" : "-",
                                d->finding[i].what, d->finding[i].advice);
}

static int run(struct cli *cli) {
        struct op_doctor d = { 0 };
        struct error err = { 0 };
        int status = EXIT_DONE, r = op_doctor(&cli->context, &d, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, NULL, &err);
        for (size_t i = 0; i < d.count; i++)
                if (d.finding[i].level == OP_BAD)
                        status = EXIT_FAULT;
        if (cli->json)
                return cli_print_json(as_json(&d)) == EXIT_DONE ? status : EXIT_FAULT;
        if (!cli->quiet)
                print_table(cli, &d);
        return status;
}

static const struct cli_option options[] = { { 0 } };

const struct cli_verb verb_doctor = {
        .name = "doctor",
        .synopsis = "",
        .summary = "Say what is missing or wrong on this machine, and what to do",
        .looks = true,
        .options = options,
        .examples = { "diskseal doctor", "diskseal doctor --json" },
        .run = run,
};
