/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/cli.h"
#include "agent/op-archive.h"
#include "tpm/ek.h"

static const char *state_word(enum disk_state s) {
        static const char *const words[] = { [DISK_OPEN] = "open",
                                             [DISK_LOCKED] = "locked",
                                             [DISK_ABSENT] = "absent",
                                             [DISK_REFUSED] = "refused" };

        return words[s];
}

static struct json *slots_json(const struct op_status_disk *d) {
        _cleanup_(json_freep) struct json *slots = json_new_array();

        for (unsigned n = 0; n < LUKS_SLOTS_MAX; n++) {
                struct json *o;

                if (d->role[n] == SLOT_NONE)
                        continue;
                o = json_new_object();
                if (!json_append(slots, o) || !json_add_uint(o, "slot", n) ||
                    !json_add_string(o, "role", slot_role_word(d->role[n])))
                        return NULL;
        }
        return TAKE(slots);
}

static struct json *tokens_json(const struct op_status_disk *d) {
        _cleanup_(json_freep) struct json *tokens = json_new_array();

        for (unsigned i = 0; i < d->tokens; i++) {
                struct json *o = json_new_object();

                if (!json_append(tokens, o) || !json_add_uint(o, "token", d->token[i].id) ||
                    !json_add_string(o, "type", d->token[i].type))
                        return NULL;
        }
        return TAKE(tokens);
}

static struct json *disk_json(const struct op_status_disk *d) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *kek = json_new_object();

        if (!json_add_string(kek, "name", d->kek[0] ? d->kek : d->known.kek) ||
            !json_add_uint(kek, "version", d->version) ||
            (d->staged && !json_add_uint(kek, "staged", d->staged)) ||
            !json_add_string(o, "name", d->known.name) ||
            !json_add_string(o, "uuid", d->known.uuid) ||
            !json_add_string(o, "device", d->known.device) ||
            !json_add_string(o, "state", state_word(d->state)) ||
            !json_add_string(o, "role", d->known.role) ||
            !json_add_string(o, "cipher", d->facts.cipher) || !json_add(o, "kek", TAKE(kek)) ||
            !json_add(o, "keyslots", slots_json(d)) ||
            !json_add(o, "foreign_tokens", tokens_json(d)) ||
            !json_add_string(o, "header", d->header) ||
            (d->clone_of[0] && !json_add_string(o, "clone_of", d->clone_of)) ||
            (d->resized[0] && !json_add_string(o, "resized", d->resized)) ||
            (d->reason[0] && !json_add_string(o, "reason", d->reason)))
                return NULL;
        return TAKE(o);
}

/* "due" is when, and isn't there where that's never. */
static bool add_due(struct json *o, const struct due *due) {
        time_t at = (time_t) due->at;
        char text[40];
        struct tm tm;

        if (due->at <= INT64_MAX && gmtime_r(&at, &tm) &&
            strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0 &&
            !json_add_string(o, "due", text))
                return false;
        return (due->state == DUE_CLOCK || json_add_uint(o, "age", due->age)) &&
               json_add_bool(o, "overdue", due->state == DUE_NOW) &&
               json_add_bool(o, "attended", due->attended);
}

struct json *cli_kek_json(const struct kek_record *k, const struct due *due) {
        _cleanup_(json_freep) struct json *o = json_new_object();
        struct policy policy = { 0 };
        const char *finding =
                policy_of_steps(&k->current.steps, &policy) ? policy_finding(&policy) : NULL;

        if (!json_add_string(o, "name", k->name) ||
            !json_add_uint(o, "version", k->current.version) ||
            (k->has_staged && !json_add_uint(o, "staged", k->staged.version)) ||
            !json_add_uint(o, "retired", k->retired_count) ||
            !json_add_string(o, "provider", "tpm") ||
            !json_add_string(o, "created", k->current_created) || !add_due(o, due) ||
            !cli_add_kek_policy(o, &k->current) ||
            (k->policy[0] && !json_add_string(o, "policy", k->policy)) ||
            (finding && !json_add_string(o, "finding", finding)))
                return NULL;
        return TAKE(o);
}

static bool add_guessing(struct json *tpm, const struct tpm_info *t) {
        _cleanup_(json_freep) struct json *o = json_new_object();

        return json_add_bool(o, "locked", t->lockout) &&
               json_add_uint(o, "failures", t->guessing.counter) &&
               json_add_uint(o, "max_failures", t->guessing.max_tries) &&
               json_add_uint(o, "forget_seconds", t->guessing.interval) &&
               json_add_uint(o, "recovery_seconds", t->guessing.recovery) &&
               json_add(tpm, "lockout", TAKE(o));
}

/* "passwords" that are set, "hierarchies" that are enabled since the last start. */
static bool add_state(struct json *tpm, const struct tpm_info *t) {
        _cleanup_(json_freep) struct json *set = json_new_object(), *enabled = json_new_object();

        return json_add_bool(set, "owner", t->owner_auth) &&
               json_add_bool(set, "endorsement", t->endorsement_auth) &&
               json_add_bool(set, "lockout", t->lockout_auth) &&
               json_add_bool(enabled, "owner", t->owner_enabled) &&
               json_add_bool(enabled, "endorsement", t->endorsement_enabled) &&
               json_add_bool(enabled, "platform", t->platform_enabled) &&
               json_add(tpm, "passwords", TAKE(set)) &&
               json_add(tpm, "hierarchies", TAKE(enabled)) &&
               json_add_bool(tpm, "orderly_shutdown", t->orderly) &&
               json_add_bool(tpm, "srk_persistent", t->srk_persistent);
}

static bool add_lists(struct json *tpm, const struct tpm_info *t) {
        _cleanup_(json_freep) struct json *banks = json_new_array(), *eks = json_new_array();

        for (unsigned i = 0; i < TPM_BANKS; i++)
                if ((t->banks & (1u << i)) && !json_append_string(banks, tpm_bank_name(i)))
                        return false;
        for (unsigned i = 0; i < EK_KINDS; i++)
                if ((t->ek_certificates & (1u << i)) && !json_append_string(eks, tpm_ek_name(i)))
                        return false;
        return json_add(tpm, "banks", TAKE(banks)) && json_add(tpm, "ek_certificates", TAKE(eks));
}

static bool add_tpm(struct json *tpm, const struct op_status *s) {
        const struct tpm_info *t = &s->tpm;
        char firmware[20];

        (void) snprintf(firmware, sizeof(firmware), "%08x.%08x", t->firmware[0], t->firmware[1]);
        return json_add_string(tpm, "manufacturer", t->manufacturer) &&
               json_add_string(tpm, "vendor", t->vendor) &&
               json_add_string(tpm, "firmware", firmware) &&
               json_add_string(tpm, "pcr_bank", "sha256") && add_lists(tpm, t) &&
               json_add_string(tpm, "place", tee_place_word(s->place)) &&
               json_add_string(tpm, "place_text", s->place_text) && add_guessing(tpm, t) &&
               add_state(tpm, t);
}

static struct json *archives_json(const struct op_archive_findings *f) {
        _cleanup_(json_freep) struct json *list = json_new_array();

        for (size_t i = 0; i < f->count; i++) {
                struct json *o = json_new_object();

                if (!json_append(list, o) || !json_add_string(o, "kek", f->finding[i].kek) ||
                    !json_add_string(o, "found", f->finding[i].found) ||
                    !json_add_string(o, "advice", f->finding[i].advice))
                        return NULL;
        }
        return TAKE(list);
}

static struct json *as_json(const struct op_status *s, const struct op_archive_findings *archives) {
        _cleanup_(json_freep) struct json *o = json_new_object(), *keks = json_new_array(),
                                          *disks = json_new_array(), *tpm = json_new_object();

        for (size_t i = 0; i < s->keks; i++) {
                struct json *kek =
                        s->kek[i].has_current ? cli_kek_json(&s->kek[i], &s->due[i]) : NULL;

                if (s->kek[i].has_current &&
                    (!json_append(keks, kek) ||
                     (s->counter && !json_add_string(kek, "counter_state",
                                                     op_counter_name(s->counter[i].state)))))
                        return NULL;
        }
        for (size_t i = 0; i < s->disks; i++)
                if (!json_append(disks, disk_json(&s->disk[i])))
                        return NULL;
        if (!s->tpm_present && !json_add_string(tpm, "fault", s->tpm_fault))
                return NULL;
        if (s->tpm_present && !add_tpm(tpm, s))
                return NULL;
        if (!json_add(o, "kek", TAKE(keks)) || !json_add(o, "disks", TAKE(disks)) ||
            !json_add(o, "archive", archives_json(archives)) || !json_add(o, "tpm", TAKE(tpm)))
                return NULL;
        return TAKE(o);
}

static void print_tpm(const struct cli *cli, const struct op_status *s) {
        const struct tpm_info *t = &s->tpm;
        char banks[120] = "";
        size_t used = 0;

        for (unsigned i = 0; i < TPM_BANKS && used < sizeof(banks); i++)
                if (t->banks & (1u << i))
                        used += (size_t) snprintf(banks + used, sizeof(banks) - used, " %s",
                                                  tpm_bank_name(i));
        cli_say(cli, "  TPM %s %s, firmware %08x.%08x; %s", t->manufacturer, t->vendor,
                t->firmware[0], t->firmware[1], s->place_text);
        cli_say(cli, "  PCR banks%s; wrong PINs and passwords %u of %u%s", banks,
                t->guessing.counter, t->guessing.max_tries,
                t->lockout ? ": locked, it takes none" : "");
}

static void print_head(const struct cli *cli, const struct op_status *s) {
        char policy[POLICY_TEXT_MAX], due[DUE_TEXT];

        if (s->tpm_present)
                print_tpm(cli, s);
        else
                cli_say(cli, "  no TPM: %s", s->tpm_fault);
        for (size_t i = 0; i < s->keks; i++) {
                const struct kek_record *k = &s->kek[i];

                if (!k->has_current)
                        continue;
                cli_kek_text(&k->current, policy);
                due_text(&s->due[i], due);
                cli_say(cli, "  KEK %s v%u, %s, sealed to %s", k->name, k->current.version, due,
                        policy);
                if (k->has_staged)
                        cli_say(cli,
                                "      v%u is staged: the next boot ends that, or diskseal rotate "
                                "--complete",
                                k->staged.version);
        }
}

static void say_due(const struct cli *cli, const struct kek_record *k, const struct due *due) {
        char over[TIMESPAN_TEXT];

        timespan_text(due->over, over);
        if (due->state == DUE_NOW)
                cli_say(cli,
                        "  ! KEK %s: its rotation is due since %s%s.   diskseal rotate --kek %s",
                        k->name, over, due->attended ? ", and waits for you: it has a PIN" : "",
                        k->name);
        if (due->state == DUE_CLOCK)
                cli_say(cli,
                        "  ! KEK %s was made in the future, as this clock has it: it isn't rotated "
                        "for its age. Set the clock, or diskseal rotate --kek %s",
                        k->name, k->name);
}

/* What its policy doesn't see, and what nobody can do for the owner. */
static void print_findings(const struct cli *cli, const struct op_status *s) {
        for (size_t i = 0; i < s->keks; i++) {
                const struct kek_record *k = &s->kek[i];
                struct policy policy;

                if (s->counter && op_counter_trouble(s->counter[i].state))
                        cli_say(cli,
                                "  ! KEK %s opens no more: %s.   diskseal enroll, with a key of "
                                "the owner",
                                k->name, op_counter_trouble(s->counter[i].state));
                if (!k->has_current)
                        continue;
                say_due(cli, k, &s->due[i]);
                if (!policy_of_steps(&k->current.steps, &policy))
                        continue;
                if (policy_finding(&policy))
                        cli_say(cli, "  ! KEK %s: %s.   diskseal policy show", k->name,
                                policy_finding(&policy));
                if (policy.pin && s->due[i].state != DUE_NOW)
                        cli_say(cli,
                                "  ! KEK %s has a PIN: nobody but you can rotate it.   "
                                "diskseal rotate --kek %s",
                                k->name, k->name);
        }
}

static void print_archives(const struct cli *cli, const struct op_archive_findings *f) {
        for (size_t i = 0; i < f->count; i++)
                cli_say(cli, "  ! KEK %s: %s.   %s", f->finding[i].kek, f->finding[i].found,
                        f->finding[i].advice);
}

static void print_slots(const struct op_status_disk *d, char ret[64]) {
        size_t used = 0;

        ret[0] = '\0';
        for (unsigned n = 0; n < LUKS_SLOTS_MAX && used < 48; n++)
                if (d->role[n] != SLOT_NONE)
                        used += (size_t) snprintf(ret + used, 64 - used, "%s%u:%s", used ? " " : "",
                                                  n, slot_role_word(d->role[n]));
        if (!used)
                (void) snprintf(ret, 64, "-");
}

static enum table_tone header_tone(const char *header) {
        return strcmp(header, "refused") == 0    ? TONE_BAD
               : strcmp(header, "degraded") == 0 ? TONE_WARN
               : strcmp(header, "verified") == 0 ? TONE_GOOD
                                                 : TONE_PLAIN;
}

static void print_disks(const struct cli *cli, const struct op_status *s) {
        static const char *const heads[] = { "DISK",   "DEVICE", "ROLE",  "STATE",
                                             "CIPHER", "KEK",    "SLOTS", "HEADER" };
        _cleanup_(table_freep) struct table *t = table_new(ARRAY_SIZE(heads), heads);
        char slots[64];

        for (size_t i = 0; i < s->disks; i++) {
                const struct op_status_disk *d = &s->disk[i];

                print_slots(d, slots);
                table_cell(t, TONE_PLAIN, "%s", d->known.name);
                table_cell(t, TONE_PLAIN, "%s", d->known.device);
                table_cell(t, TONE_PLAIN, "%s", d->known.role);
                table_cell(t, d->state == DISK_REFUSED ? TONE_BAD : TONE_PLAIN, "%s",
                           state_word(d->state));
                table_cell(t, TONE_PLAIN, "%s", d->facts.cipher[0] ? d->facts.cipher : "-");
                if (d->staged)
                        table_cell(t, TONE_WARN, "%s v%u, v%u staged", d->kek, d->version,
                                   d->staged);
                else if (d->version)
                        table_cell(t, TONE_PLAIN, "%s v%u", d->kek, d->version);
                else
                        table_cell(t, TONE_PLAIN, "%s", d->known.kek);
                table_cell(t, TONE_PLAIN, "%s", slots);
                table_cell(t, header_tone(d->header), "%s%s%s", d->header[0] ? d->header : "-",
                           d->reason[0] ? ": " : "", d->reason);
        }
        table_print(t, cli);
}

static void say_foreign(const struct op_status_disk *d) {
        if (d->unknown == 0 && d->tokens == 0)
                return;
        printf("  ! %s has what isn't ours, and is never opened by us:", d->known.name);
        for (unsigned n = 0; n < LUKS_SLOTS_MAX; n++)
                if (d->unknown & (1u << n))
                        printf(" keyslot %u", n);
        for (unsigned i = 0; i < d->tokens; i++)
                printf(" token %u (%s)", d->token[i].id, d->token[i].type);
        printf(". If you don't know it, somebody else does.\n");
}

/* What the reader can act on. */
static void say_findings(const struct op_status_disk *d) {
        say_foreign(d);
        if (d->version && !op_has_other_way(d))
                printf("  ! %s has no recovery slot and no escrow: if this TPM is lost, so is the "
                       "disk.   diskseal recovery add %s\n",
                       d->known.name, d->known.name);
        if (d->clone_of[0])
                printf("  ! %s is a copy of %s, which is at %s.\n", d->known.device, d->known.name,
                       d->clone_of);
        if (d->resized[0])
                printf("  ! %s: since it was enrolled, %s.\n", d->known.name, d->resized);
}

static int run(struct cli *cli) {
        _cleanup_(op_status_done) struct op_status s = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        struct op_archive_findings archives = { 0 };
        int r = op_status(&cli->context, cli->args ? cli->arg : NULL, &s, &why, &err);

        if (r == OUTCOME_DONE)
                r = op_archive_look(&cli->context, &s, false, &archives, &err);
        if (r != OUTCOME_DONE)
                return cli_failed(cli, r, &why, &err);
        if (cli->json)
                return cli_print_json(as_json(&s, &archives));
        print_head(cli, &s);
        if (s.disks == 0)
                cli_say(cli, "  no disk yet: diskseal format, diskseal adopt");
        else if (!cli->quiet) {
                putchar('\n');
                print_disks(cli, &s);
                putchar('\n');
                for (size_t i = 0; i < s.disks; i++)
                        say_findings(&s.disk[i]);
                print_findings(cli, &s);
        }
        if (!cli->quiet)
                print_archives(cli, &archives);
        return EXIT_DONE;
}

static const struct cli_option options[] = { { 0 } };

const struct cli_verb verb_status = {
        .name = "status",
        .synopsis = "[NAME|DEVICE…]",
        .summary = "Show the disks, their keys and the state of their headers; unseals nothing",
        .args_max = CLI_ARGS_MAX,
        .looks = true,
        .options = options,
        .examples = { "diskseal status", "diskseal status data1 --json" },
        .run = run,
};
