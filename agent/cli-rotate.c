/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <unistd.h>

#include "agent/cli.h"
#include "agent/rotation.h"
#include "base/clock.h"
#include "keys/store.h"

static void print_table(void) {
        printf("# %-9s %-9s %-9s %s\n", "STATE", "EVENT", "EFFECT", "NEXT");
        for (unsigned s = 0; s < ROTATION_STATES; s++)
                for (unsigned e = 0; e < ROTATION_EVENTS; e++) {
                        struct rotation_step step = rotation_step(s, e);

                        printf("# %-9s %-9s %-9s %s\n", rotation_state_name(s),
                               rotation_event_name(e), rotation_effect_name(step.effect),
                               rotation_state_name(step.next));
                }
        printf("#\n");
        for (unsigned s = 0; s < ROTATION_STATES; s++)
                printf("# %-9s %s\n", rotation_state_name(s), rotation_state_text(s));
        printf("#\n");
        for (unsigned e = 0; e < ROTATION_EFFECTS; e++)
                printf("# %-9s %s\n", rotation_effect_name(e), rotation_effect_text(e));
}

/* The machine, for people and, since dot(1) skips lines with a number sign, for graphs. */
static int explain(void) {
        print_table();
        printf("digraph rotation {\n  node [shape=box];\n");
        for (unsigned s = 0; s < ROTATION_STATES; s++)
                for (unsigned e = 0; e < ROTATION_EVENTS; e++) {
                        struct rotation_step step = rotation_step(s, e);

                        if (step.effect < ROTATION_END)
                                printf("  \"%s\" -> \"%s\" [label=\"%s / %s\"];\n",
                                       rotation_state_name(s), rotation_state_name(step.next),
                                       rotation_event_name(e), rotation_effect_name(step.effect));
                }
        printf("}\n");
        return EXIT_DONE;
}

static const struct {
        const char *option;
        enum rotate_mode mode;
} modes[] = {
        { "staged", ROTATE_STAGE },  { "retire-now", ROTATE_TRUST }, { "complete", ROTATE_FINISH },
        { "resume", ROTATE_FINISH }, { "abort", ROTATE_ABORT },
};

/* Return: -1 to go on, else the exit status. */
static int take_mode(struct cli *cli, enum rotate_mode *ret) {
        const char *said = NULL;

        *ret = ROTATE_ALL;
        for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
                if (!cli_value(cli, modes[i].option))
                        continue;
                if (said)
                        return cli_usage(cli, "--%s and --%s: only one of them", said,
                                         modes[i].option);
                said = modes[i].option;
                *ret = modes[i].mode;
        }
        return -1;
}

/* Return: -1 to go on, else the exit status. */
static int take_depth(struct cli *cli, bool *ret_slot) {
        const char *depth = cli_value(cli, "depth");
        struct refusal why = { 0 };

        *ret_slot = depth && strcmp(depth, "slot") == 0;
        if (!depth || *ret_slot || strcmp(depth, "kek") == 0)
                return -1;
        if (strcmp(depth, "volume") != 0)
                return cli_usage(cli, "--depth: kek, slot or volume, not '%.40s'", depth);
        refusal_set(&why, REFUSAL_DEPTH, "a new volume key is not to be had yet");
        refusal_detail(&why,
                       "it means to encrypt all data anew; until then an old KEK together with "
                       "an old copy of the header gives the volume key");
        return cli_failed(cli, OUTCOME_REFUSED, &why, NULL);
}

/* How far it is: a line of JSON; or a bar, where somebody looks. */
struct progress {
        const struct cli *cli;
        double begun;
        enum rotation_effect effect;
};

#define BAR 30 /* columns */

static void draw_bar(const struct progress *p, size_t finished, size_t of) {
        size_t filled = finished * BAR / of;
        double seconds = clock_seconds() - p->begun;
        double rate = seconds > 0 ? (double) finished / seconds : 0;

        fprintf(stderr, "\r  %-8s [%.*s%*s] %zu/%zu  %.0f/s  %.1f s left ",
                rotation_effect_name(p->effect), (int) filled, "##############################",
                (int) (BAR - filled), "", finished, of, rate,
                rate > 0 ? (double) (of - finished) / rate : 0);
        if (finished == of)
                fprintf(stderr, "\r%70s\r", "");
        (void) fflush(stderr);
}

static void show_progress(void *context, enum rotation_effect effect, size_t finished, size_t of) {
        struct progress *p = context;

        if (p->effect != effect || finished == 1) {
                p->effect = effect;
                p->begun = clock_seconds();
        }
        if (p->cli->json)
                printf("{\"event\":\"progress\",\"step\":\"%s\",\"done\":%zu,\"of\":%zu}\n",
                       rotation_effect_name(effect), finished, of);
        else if (!p->cli->quiet && isatty(STDERR_FILENO))
                draw_bar(p, finished, of);
}

static int one_kek(struct cli *cli, struct op_rotate *args) {
        _cleanup_(op_rotated_done) struct op_rotated r = { 0 };
        struct progress progress = { .cli = cli, .effect = ROTATION_EFFECTS };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int e;

        args->progress = show_progress;
        args->progress_context = &progress;
        e = op_rotate(&cli->context, args, &r, &why, &err);
        return e == OUTCOME_DONE ? cli_print_rotated(cli, &r) : cli_failed(cli, e, &why, &err);
}

/* The worst of several: a fault, a refusal, what is to be run again, done. */
static int worse(int a, int b) {
        static const int order[] = { EXIT_FAULT, EXIT_REFUSED, EXIT_INTERRUPTED };

        for (size_t i = 0; i < ARRAY_SIZE(order); i++)
                if (a == order[i] || b == order[i])
                        return order[i];
        return EXIT_DONE;
}

/* One after the other, each with a context of its own: none keeps the keys of another. */
static int every_kek(struct cli *cli, struct op_rotate *args) {
        struct context like = context_like(&cli->context);
        char folder[300], **names = NULL;
        struct error err = { 0 };
        int status = EXIT_DONE;
        size_t count = 0;
        int e;

        context_store(&cli->context, folder);
        e = store_names(folder, &names, &count, &err);
        if (e < 0)
                return cli_failed(cli, e, NULL, &err);
        for (size_t i = 0; i < count; i++) {
                args->kek = names[i];
                status = worse(status, one_kek(cli, args));
                cli_note(cli);
                context_done(&cli->context);
                cli->context = context_like(&like);
        }
        if (count == 0)
                cli_say(cli, "No KEK is recorded here: there is nothing to rotate.");
        store_names_free(names, count);
        return status;
}

static int run(struct cli *cli) {
        const char *disks[CLI_GIVEN_MAX + 1] = { 0 };
        const char *kek = cli_value(cli, "kek");
        struct op_rotate args = { .kek = kek ? kek : KEK_DEFAULT };
        int e;

        if (cli_value(cli, "explain"))
                return explain();
        if (!name_valid(args.kek))
                return cli_usage(cli, "--kek: '%s' can't name a KEK", args.kek);
        if (kek && cli_value(cli, "all"))
                return cli_usage(cli, "--kek and --all: only one of them");
        e = take_mode(cli, &args.mode);
        if (e < 0)
                e = take_depth(cli, &args.slot);
        if (e >= 0)
                return e;
        args.if_due = cli_value(cli, "if-due") != NULL;
        if (cli_values(cli, "disk", disks) > 0)
                args.disks = disks;
        cli_catch_stop();
        return cli_value(cli, "all") ? every_kek(cli, &args) : one_kek(cli, &args);
}

static const struct cli_option options[] = {
        { "kek", 0, "NAME", "which KEK (default)" },
        { "all", 0, NULL, "every KEK that is recorded here" },
        { "disk", 0, "NAME", "only this disk; may stand several times" },
        { "depth", 0, "DEPTH", "kek (default): tokens only; slot: new keyslots, too" },
        { "staged", 0, NULL, "put the new version beside the old one; the next boot proves it" },
        { "complete", 0, NULL, "finish what was begun, begin nothing" },
        { "resume", 0, NULL, "the same" },
        { "abort", 0, NULL, "give the staged version up; the old one stays" },
        { "retire-now", 0, NULL, "retire the old one although the new one isn't proven" },
        { "if-due", 0, NULL, "only where agent.conf's RotateEvery= says so" },
        { "explain", 0, NULL, "print the machine behind it, as dot(1) reads it too; do nothing" },
        { 0 },
};

const struct cli_verb verb_rotate = {
        .name = "rotate",
        .synopsis = "[--kek=NAME|--all] [--disk=NAME…] [OPTION…]",
        .summary = "Make a new version of a KEK and rewrap its disks' keys; data stays as it is",
        .args_max = 0,
        .options = options,
        .examples = { "diskseal rotate", "diskseal rotate --kek backup --dry-run" },
        .run = run,
};
