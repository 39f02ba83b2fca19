/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "agent/cli.h"

static struct json *recipient_json(const struct op_recipient *r) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_string(o, "sha256", r->fingerprint) ||
            (r->subject[0] && (!json_add_string(o, "subject", r->subject) ||
                               !json_add_string(o, "until", r->until))))
                return NULL;
        return TAKE(o);
}

static struct json *escrow_json(const struct op_escrow *e) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *list = json_new_array();

        for (size_t i = 0; i < e->recipients; i++)
                if (!json_append(list, recipient_json(&e->recipient[i])))
                        return NULL;
        if (e->damaged) {
                if (!json_add_bool(o, "damaged", true) || !json_add_string(o, "reason", e->damage))
                        return NULL;
        } else if ((e->slot < LUKS_SLOTS_MAX && !json_add_uint(o, "slot", e->slot)) ||
                   !json_add_string(o, "created", e->created) ||
                   !json_add(o, "recipients", TAKE(list)))
                return NULL;
        return TAKE(o);
}

static struct json *as_json(const struct cli *cli, const struct op_escrows *e, const char *result) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *list = json_new_array();

        for (size_t i = 0; i < e->count; i++)
                if (!json_append(list, escrow_json(&e->escrow[i])))
                        return NULL;
        if ((result && !json_add_string(o, "result", cli->dry_run ? "would-do" : result)) ||
            !json_add_string(o, "name", e->name) || !json_add_string(o, "uuid", e->uuid) ||
            !json_add(o, "escrow", TAKE(list)))
                return NULL;
        return TAKE(o);
}

static void print_table(const struct cli *cli, const struct op_escrows *e) {
        static const char *const heads[] = { "KEYSLOT", "MADE", "FOR" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);

        for (size_t i = 0; i < e->count; i++) {
                const struct op_escrow *one = &e->escrow[i];

                if (one->damaged) {
                        table_cell(t, TONE_BAD, "-");
                        table_cell(t, TONE_BAD, "damaged");
                        table_cell(t, TONE_BAD, "%s", one->damage);
                }
                for (size_t k = 0; k < one->recipients; k++) {
                        const struct op_recipient *r = &one->recipient[k];

                        if (one->slot < LUKS_SLOTS_MAX)
                                table_cell(t, TONE_PLAIN, "%u", one->slot);
                        else
                                table_cell(t, TONE_BAD, "none");
                        table_cell(t, TONE_PLAIN, "%s", one->created);
                        if (r->subject[0])
                                table_cell(t, TONE_PLAIN, "%s, until %s", r->subject, r->until);
                        else
                                table_cell(t, TONE_PLAIN, "certificate %.16s…", r->fingerprint);
                }
        }
        table_print(t, cli);
}

static int list(struct cli *cli, const struct op_disk *disk) {
        _cleanup_(op_escrows_done) struct op_escrows e = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = op_escrow_list(&cli->context, disk, &e, &why, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(as_json(cli, &e, NULL));
        if (e.count == 0)
                cli_say(cli, "  %s has no escrow: diskseal escrow add makes one", e.name);
        else if (!cli->quiet)
                print_table(cli, &e);
        return EXIT_DONE;
}

static int add(struct cli *cli, const struct op_disk *disk) {
        _cleanup_(op_escrows_done) struct op_escrows e = { 0 };
        const char *certs[CLI_GIVEN_MAX + CMS_RECIPIENTS_MAX + 1];
        unsigned n = cli_values(cli, "cert", certs);
        struct op_escrow_add args = { .disk = *disk };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r;

        /* What a shell makes of --cert *.pem. */
        for (unsigned i = 2; i < cli->args; i++)
                certs[n++] = cli->arg[i];
        certs[n] = NULL;
        args.certs = n ? certs : NULL;
        r = op_escrow_add(&cli->context, &args, &e, &why, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(as_json(cli, &e, "done"));
        cli_say(cli, "  %s%s has an escrow%s", cli->dry_run ? "would do: " : "", e.name,
                cli->dry_run ? "" : "; prove it where the private key is: diskseal escrow verify");
        if (!cli->dry_run && !cli->quiet)
                print_table(cli, &e);
        return EXIT_DONE;
}

static int print_slot(const struct cli *cli, const struct op_slot *s, const char *result,
                      const char *words) {
        _cleanup_(json_freep) struct json *o = NULL;

        if (!cli->json) {
                cli_say(cli, "  %s%s: keyslot %u %s", cli->dry_run ? "would do: " : "", s->name,
                        s->slot, words);
                return EXIT_DONE;
        }
        o = json_new_object();
        if (!json_add_string(o, "result", cli->dry_run ? "would-do" : result) ||
            !json_add_string(o, "name", s->name) || !json_add_string(o, "uuid", s->uuid) ||
            !json_add_uint(o, "slot", s->slot))
                return cli_print_json(NULL);
        return cli_print_json(TAKE(o));
}

static int remove_one(struct cli *cli, const struct op_disk *disk) {
        struct op_slot s = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int slot = cli_slot(cli), r;

        if (slot < -1)
                return cli_usage(cli, "--slot: a number from 0 to 31");
        r = op_escrow_remove(&cli->context, disk, slot, &s, &why, &err);
        return r == OUTCOME_DONE ? print_slot(cli, &s, "done", "of its escrow is out")
                                 : cli_failed(cli, r, &why, &err);
}

static int verify(struct cli *cli, const struct op_disk *disk) {
        _cleanup_(cli_owner_done) struct cli_owner owner = { 0 };
        struct op_slot s = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r;

        if (!cli_value(cli, "key"))
                return cli_usage(cli, "--key is missing");
        r = cli_owner(cli, false, &owner, &err);
        if (r == 0)
                r = op_owner_verify(&cli->context, disk, &owner.key, &s, &why, &err);
        return r == OUTCOME_DONE
                       ? print_slot(cli, &s, "proven", "opens with this key, header verified")
                       : cli_failed(cli, r, &why, &err);
}

static int run(struct cli *cli) {
        static const struct cli_subverb verbs[] = { { "add", true, add },
                                                    { "list", false, list },
                                                    { "remove", false, remove_one },
                                                    { "verify", false, verify },
                                                    { 0 } };

        return cli_subverb(cli, verbs);
}

static const struct cli_option options[] = {
        { "cert", 0, "FILE",
          "add: certificates in PEM; may stand several times (those in "
          "escrow.d)" },
        { "key", 0, "FILE", "verify: the private key of one of them, in PEM" },
        { "slot", 0, "N", "remove: which, where there are several" },
        CLI_HEADER_OPTION,
        { 0 },
};

const struct cli_verb verb_escrow = {
        .name = "escrow",
        .synopsis =
                "add|list|remove|verify DEVICE|NAME [--cert=FILE… [FILE…]] [--key=FILE] [--slot=N] "
                "[--header=FILE]",
        .summary = "Let the holders of certificates open a disk, with openssl and cryptsetup alone",
        .args_min = 2,
        .args_max = 2 + CMS_RECIPIENTS_MAX,
        .options = options,
        .examples = { "diskseal escrow add data1 --cert ops.pem --cert vault.pem",
                      "diskseal escrow verify data1 --key ops-key.pem" },
        .run = run,
};
