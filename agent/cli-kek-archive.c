/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli.h"
#include "agent/op-archive.h"
#include "base/file.h"
#include "base/hex.h"
#include "keys/archive.h"

/* --- show --- */

/* Which version opens a retired one: 0 for none that is known here. */
static uint32_t opener(const struct kek_record *r, const struct retired *e) {
        if (archive_wrapped_by(e, r->current.version))
                return r->current.version;
        return r->has_staged && archive_wrapped_by(e, r->staged.version) ? r->staged.version : 0;
}

/* The disks that have a version, as "a b". */
static void disks_of(const struct op_kek_show *s, uint32_t version, char ret[160]) {
        size_t used = 0;

        (void) snprintf(ret, 160, "-");
        for (size_t i = 0; i < s->disks && used < 120; i++)
                if (s->disk[i].version == version)
                        used += (size_t) snprintf(ret + used, 160 - used, "%s%s%s", used ? " " : "",
                                                  s->disk[i].name,
                                                  s->disk[i].present ? "" : " (absent)");
}

static bool add_disks(struct json *o, const struct op_kek_show *s, uint32_t version) {
        _cleanup_(json_freep) struct json *list = json_new_array();

        for (size_t i = 0; i < s->disks; i++)
                if (s->disk[i].version == version && !json_append_string(list, s->disk[i].name))
                        return false;
        return json_add(o, "disks", TAKE(list));
}

static struct json *version_json(const struct op_kek_show *s, const struct kek *kek,
                                 const char *created, const char *state) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_uint(o, "version", kek->version) || !json_add_string(o, "state", state) ||
            !json_add_string(o, "created", created) || !add_disks(o, s, kek->version))
                return NULL;
        return TAKE(o);
}

static struct json *retired_json(const struct op_kek_show *s, const struct retired *e) {
        _cleanup_(json_freep) struct json *o = json_new_object();
        uint32_t by = opener(s->record, e);
        char object[2 * SHA256_SIZE + 1];

        hex_encode(e->object, sizeof(e->object), object);
        if (!json_add_uint(o, "version", e->version) || !json_add_string(o, "state", "retired") ||
            !json_add_string(o, "created", e->created) ||
            !json_add_string(o, "retired", e->retired) || !json_add_uint(o, "limit", e->le) ||
            !json_add_string(o, "object", object) || (by && !json_add_uint(o, "opened_by", by)) ||
            !add_disks(o, s, e->version))
                return NULL;
        return TAKE(o);
}

static struct json *show_json(const struct op_kek_show *s) {
        _cleanup_(json_freep) struct json *o = cli_kek_json(s->record, &s->due),
                                          *versions = json_new_array(), *mirror = json_new_object();
        const struct kek_record *r = s->record;

        for (size_t i = 0; i < r->retired_count; i++)
                if (!json_append(versions, retired_json(s, &r->retired[i])))
                        return NULL;
        if (!json_append(versions, version_json(s, &r->current, r->current_created, "current")) ||
            (r->has_staged &&
             !json_append(versions, version_json(s, &r->staged, r->staged_created, "staged"))))
                return NULL;
        if (!json_add_string(mirror, "state", op_mirror_name(s->mirror)) ||
            (s->mirror_folder[0] && !json_add_string(mirror, "folder", s->mirror_folder)) ||
            (s->mirror_generation && !json_add_uint(mirror, "generation", s->mirror_generation)) ||
            !o || !cli_add_counter(o, &s->counter) ||
            !json_add_uint(o, "generation", r->generation) ||
            !json_add(o, "mirror", TAKE(mirror)) || !json_add(o, "versions", TAKE(versions)))
                return NULL;
        return TAKE(o);
}

static void version_row(struct table *t, const struct op_kek_show *s, const struct kek *kek,
                        const char *created, const char *state) {
        char disks[160];

        disks_of(s, kek->version, disks);
        table_cell(t, TONE_PLAIN, "%u", kek->version);
        table_cell(t, TONE_PLAIN, "%s", state);
        table_cell(t, TONE_PLAIN, "%s", created);
        table_cell(t, TONE_FAINT, "-");
        table_cell(t, TONE_GOOD, "this TPM");
        table_cell(t, TONE_PLAIN, "%s", disks);
}

static void show_table(const struct cli *cli, const struct op_kek_show *s) {
        static const char *const heads[] = { "VERSION", "STATE",     "CREATED",
                                             "RETIRED", "OPENED BY", "DISKS" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);
        const struct kek_record *r = s->record;
        char disks[160];

        for (size_t i = 0; i < r->retired_count; i++) {
                const struct retired *e = &r->retired[i];
                uint32_t by = opener(r, e);

                disks_of(s, e->version, disks);
                table_cell(t, TONE_PLAIN, "%u", e->version);
                table_cell(t, TONE_PLAIN, "retired");
                table_cell(t, TONE_PLAIN, "%s", e->created[0] ? e->created : "-");
                table_cell(t, TONE_PLAIN, "%s", e->retired[0] ? e->retired : "-");
                if (by)
                        table_cell(t, TONE_PLAIN, "v%u, in the archive", by);
                else
                        table_cell(t, TONE_BAD, "nothing here");
                table_cell(t, TONE_PLAIN, "%s", disks);
        }
        version_row(t, s, &r->current, r->current_created, "current");
        if (r->has_staged)
                version_row(t, s, &r->staged, r->staged_created, "staged");
        table_print(t, cli);
}

int cli_kek_show(struct cli *cli) {
        _cleanup_(op_kek_show_done) struct op_kek_show s = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = op_kek_show(&cli->context, cli->arg[1], &s, &why, &err);

        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(show_json(&s));
        if (cli->quiet)
                return EXIT_DONE;
        if (s.counter.state == OP_COUNTER_LIVE || s.counter.state == OP_COUNTER_RETIRED)
                cli_say(cli, "  counter 0x%08x at %llu; v%u lives up to %llu", s.counter.index,
                        (unsigned long long) s.counter.value, s.record->current.version,
                        (unsigned long long) s.counter.le);
        else
                cli_say(cli, "  counter: %s", op_counter_name(s.counter.state));
        cli_say(cli, "  archive generation %llu; mirror: %s%s%s",
                (unsigned long long) s.record->generation, op_mirror_name(s.mirror),
                s.mirror_folder[0] ? ", " : "", s.mirror_folder);
        putchar('\n');
        show_table(cli, &s);
        return EXIT_DONE;
}

/* --- forget --- */

static void say_disks(FILE *to, const struct op_forgotten *f) {
        for (size_t i = 0; i < f->disks; i++)
                fprintf(to, "  ! %s may need one of them; %s\n", f->disk[i].name,
                        f->disk[i].other_way ? "a key of its owner opens it as well"
                                             : "no other key that opens it is known here");
}

/* Asks on the terminal, never on a pipe. */
static bool agree(const struct op_forgotten *f, void *user) {
        const struct cli *cli = user;
        char versions[OP_VERSIONS_TEXT], answer[8] = "";

        if (cli_value(cli, "yes"))
                return true;
        if (!isatty(STDIN_FILENO))
                return false;
        op_forgotten_text(f, versions);
        fprintf(stderr, "Nothing that is sealed to %s of KEK %s opens here any more.\n", versions,
                cli->arg[1]);
        say_disks(stderr, f);
        fprintf(stderr, "Type yes to forget: ");
        return fgets(answer, sizeof(answer), stdin) && strcmp(answer, "yes\n") == 0;
}

static struct json *forgotten_json(const struct cli *cli, const struct op_forgotten *f) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *versions = json_new_array(),
                                          *disks = json_new_array();

        for (size_t i = 0; i < f->count; i++)
                if (!json_append_uint(versions, f->version[i]))
                        return NULL;
        for (size_t i = 0; i < f->disks; i++)
                if (!json_append_string(disks, f->disk[i].name))
                        return NULL;
        if (!json_add_string(o, "result", cli->dry_run ? "would-do" : "done") ||
            !json_add_string(o, "kek", cli->arg[1]) || !json_add(o, "forgotten", TAKE(versions)) ||
            !json_add(o, "disks", TAKE(disks)))
                return NULL;
        return TAKE(o);
}

/* Return: false where it isn't a version; 0 where the option isn't given. */
static bool read_version(const struct cli *cli, const char *option, uint32_t *ret) {
        const char *value = cli_value(cli, option);
        char *end;
        unsigned long n;

        *ret = 0;
        if (!value)
                return true;
        n = strtoul(value, &end, 10);
        if (*value < '0' || *value > '9' || *end || n < 1 || n > KEK_VERSION_MAX)
                return false;
        *ret = (uint32_t) n;
        return true;
}

int cli_kek_forget(struct cli *cli) {
        _cleanup_(freep) struct op_forgotten *f = calloc(1, sizeof(*f));
        struct op_forget args = { .kek = cli->arg[1],
                                  .all = cli_value(cli, "all"),
                                  .force = cli_value(cli, "force"),
                                  .agree = agree,
                                  .user = cli };
        struct refusal why = { 0 };
        struct error err = { 0 };
        char versions[OP_VERSIONS_TEXT];
        int r, status = EXIT_DONE;

        if (!read_version(cli, "version", &args.version) ||
            !read_version(cli, "before", &args.before))
                return cli_usage(cli, "--version, --before: a number from 1");
        if (!!args.version + !!args.before + args.all != 1)
                return cli_usage(cli, "one of --version, --before and --all is needed");
        r = f ? op_kek_forget(&cli->context, &args, f, &why, &err) : error_nomem(&err);
        if (r != OUTCOME_DONE)
                status = cli_failed(cli, r, &why, &err);
        else if (cli->json)
                status = cli_print_json(forgotten_json(cli, f));
        else if (f->count == 0)
                cli_say(cli, "  nothing to forget: the archive of KEK %s has no such version",
                        args.kek);
        else {
                op_forgotten_text(f, versions);
                cli_say(cli, "  KEK %s: %s %s", args.kek, versions,
                        cli->dry_run ? "would be forgotten" : "forgotten");
                if (!cli->quiet)
                        say_disks(stdout, f);
                if (!cli->dry_run)
                        cli_say(cli,
                                "  Copies of the archive that somebody kept open until the "
                                "next rotation: diskseal rotate --kek %s",
                                args.kek);
        }
        if (f)
                op_forgotten_done(f);
        return status;
}

/* --- export --- */

static struct json *exported_json(const struct cli *cli, const char *output,
                                  const struct op_exported *e) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        if (!json_add_string(o, "result", cli->dry_run ? "would-do" : "done") ||
            !json_add_string(o, "kek", cli->arg[1]) || !json_add_string(o, "output", output) ||
            !json_add_uint(o, "keys", e->keys) || !json_add_uint(o, "lost", e->lost))
                return NULL;
        return TAKE(o);
}

int cli_kek_export(struct cli *cli) {
        struct op_export args = { .kek = cli->arg[1], .certs = cli_value(cli, "escrow") };
        const char *output = cli_value(cli, "output");
        struct op_exported e = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r;

        if (!args.certs)
                return cli_usage(cli, "--escrow is missing: for whom?");
        if (!read_version(cli, "version", &args.version))
                return cli_usage(cli, "--version: a number from 1");
        if (!output && (cli->json || isatty(STDOUT_FILENO)))
                return cli_usage(cli, "--output is missing: it's binary");
        r = op_kek_export(&cli->context, &args, &e, &why, &err);
        if (r == OUTCOME_DONE && !cli->dry_run)
                r = output ? file_write(output, e.cms, e.size, 0600, &err)
                           : fd_write_all(STDOUT_FILENO, e.cms, e.size, "standard output", &err);
        free(e.cms);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(exported_json(cli, output, &e));
        if (output) {
                cli_say(cli, "  KEK %s: %zu key%s %s %s", args.kek, e.keys, e.keys == 1 ? "" : "s",
                        cli->dry_run ? "would go to" : "in", output);
                if (e.lost)
                        cli_say(cli,
                                "  ! %zu retired versions aren't in it: nothing here opens "
                                "them.",
                                e.lost);
        }
        return EXIT_DONE;
}
