/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"

int cli_next_boot(struct cli *cli, struct op_next_boot *ret, bool *ret_given) {
        *ret = (struct op_next_boot){ .uki = cli_value(cli, "uki"),
                                      .kernel = cli_value(cli, "kernel"),
                                      .cmdline = cli_value(cli, "cmdline"),
                                      .initrd = cli_value(cli, "initrd"),
                                      .booted = cli_value(cli, "booted"),
                                      .variable = cli_value(cli, "variable") };
        if (ret->uki && (ret->kernel || ret->cmdline || ret->initrd))
                return cli_usage(cli, "--uki: kernel, command line and initrd are in it");
        if (ret->initrd && !ret->booted)
                return cli_usage(cli, "--initrd: in place of which one? --booted");
        if (ret->booted && !ret->uki && !ret->initrd)
                return cli_usage(cli, "--booted: with --uki or --initrd");
        *ret_given = ret->uki || ret->kernel || ret->cmdline || ret->initrd || ret->variable;
        return -1;
}

static const char *outlook_name(enum op_outlook outlook) {
        switch (outlook) {
        case OP_OPENS: return "opens";
        case OP_LOCKED: return "locked";
        case OP_UNKNOWN: break;
        }
        return "unknown";
}

static struct json *checks_json(const struct op_checks *all) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *list = json_new_array();

        for (size_t i = 0; i < all->count; i++) {
                const struct op_check *k = &all->check[i];
                struct json *item = json_new_object();

                if (!json_append(list, item) || !json_add_string(item, "kek", k->kek) ||
                    !json_add_uint(item, "version", k->version) ||
                    !cli_add_sealing(item, &k->policy, k->second_factor) ||
                    !json_add_string(item, "next_boot", outlook_name(k->outlook)) ||
                    (k->reason[0] && !json_add_string(item, "reason", k->reason)) ||
                    (k->finding && !json_add_string(item, "finding", k->finding)))
                        return NULL;
        }
        return json_add(o, "kek", TAKE(list)) ? TAKE(o) : NULL;
}

static void print_checks(const struct cli *cli, const struct op_checks *all) {
        static const char *const heads[] = { "KEK", "SEALED TO", "NEXT BOOT", "WHY" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);
        static const enum table_tone tones[] = { TONE_GOOD, TONE_BAD, TONE_WARN };
        char text[POLICY_TEXT_MAX];

        for (size_t i = 0; i < all->count; i++) {
                const struct op_check *k = &all->check[i];

                cli_sealing_text(&k->policy, k->second_factor, text);
                table_cell(t, TONE_PLAIN, "%s v%u", k->kek, k->version);
                table_cell(t, TONE_PLAIN, "%s", text);
                table_cell(t, tones[k->outlook], "%s", outlook_name(k->outlook));
                table_cell(t, TONE_PLAIN, "%s", k->reason);
        }
        table_print(t, cli);
        for (size_t i = 0; i < all->count; i++)
                if (all->check[i].finding)
                        cli_say(cli, "  ! %s: %s.", all->check[i].kek, all->check[i].finding);
}

/* That a disk would stay locked is what was asked, and for scripts a refusal. */
int cli_policy_check(struct cli *cli) {
        _cleanup_(op_checks_done) struct op_checks all = { 0 };
        struct op_next_boot next;
        struct refusal why = { 0 };
        struct error err = { 0 };
        int status = EXIT_DONE;
        bool given;
        int r = cli_next_boot(cli, &next, &given);

        if (r >= 0)
                return r;
        r = op_policy_check(&cli->context, cli_value(cli, "kek"), given ? &next : NULL, &all, &why,
                            &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        for (size_t i = 0; i < all.count; i++)
                if (all.check[i].outlook != OP_OPENS)
                        status = EXIT_REFUSED;
        if (cli->json) {
                r = cli_print_json(checks_json(&all));
                return r == EXIT_DONE ? status : r;
        }
        if (all.count == 0)
                cli_say(cli, "  no KEK yet");
        else if (!cli->quiet)
                print_checks(cli, &all);
        return status;
}

int cli_policy_predict(struct cli *cli) {
        _cleanup_(op_rotated_done) struct op_rotated r = { 0 };
        struct op_reseal args = { .kek = cli_value(cli, "kek") };
        struct op_next_boot next;
        struct refusal why = { 0 };
        struct error err = { 0 };
        bool given;
        int e = cli_next_boot(cli, &next, &given);

        if (e >= 0)
                return e;
        if (!given)
                return cli_usage(cli, "what will be booted? --uki, --kernel, …");
        if (!args.kek)
                args.kek = KEK_DEFAULT;
        args.next = &next;
        cli_catch_stop();
        e = op_reseal(&cli->context, &args, &r, &why, &err);
        return e == OUTCOME_DONE ? cli_print_rotated(cli, &r) : cli_failed(cli, e, &why, &err);
}
