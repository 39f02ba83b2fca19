/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli.h"
#include "agent/policy-sign.h"
#include "agent/terminal.h"
#include "base/hex.h"

#define STATES_MAX CLI_GIVEN_MAX
#define PHASES_MAX 8
#define PHASE_DEFAULT "enter-initrd"

static int ask(void *context, const char *what, struct secret **ret, struct error *err) {
        _cleanup_(secret_freep) struct secret *line = NULL;
        char prompt[160];
        size_t size;
        int r;

        (void) context;
        (void) snprintf(prompt, sizeof(prompt), "Passphrase or PIN of %.120s: ", what);
        r = terminal_ask(prompt, &line, err);
        if (r < 0)
                return r;
        size = secret_size(line);
        if (size > 0 && secret_data(line)[size - 1] == '\n')
                size--;
        if (size == 0)
                return error_set(err, -ENODATA, "nothing was typed");
        r = secret_new(size, ret);
        if (r < 0)
                return error_errno(err, r, "locked memory for a passphrase");
        memcpy(secret_data(*ret), secret_data(line), size);
        return 0;
}

/* "enter-initrd:leave-initrd", as systemd-measure has it. Return: false where there are too many.
 */
static bool split(char *path, const char *ret[PHASES_MAX + 1]) {
        unsigned n = 0;
        char *word;

        while ((word = strsep(&path, ":")))
                if (*word) {
                        if (n == PHASES_MAX)
                                return false;
                        ret[n++] = word;
                }
        ret[n] = NULL;
        return true;
}

/* One state for each phase. Return: their number; -1 after an error, with the exit status. */
static int states_of_uki(struct cli *cli, const char *uki, enum pcr_bank bank, struct pcrs *ret,
                         int *ret_status) {
        const char *given[CLI_GIVEN_MAX + 1] = { PHASE_DEFAULT };
        unsigned count = cli_values(cli, "phase", given);
        struct error err = { 0 };

        if (count == 0) {
                given[0] = PHASE_DEFAULT;
                count = 1;
        }
        for (unsigned i = 0; i < count; i++) {
                _cleanup_(freep) char *path = strdup(given[i]);
                const char *phases[PHASES_MAX + 1];
                int r;

                if (!path || !split(path, phases)) {
                        *ret_status = cli_usage(cli, "--phase: words with colons between them");
                        return -1;
                }
                r = op_uki_states(uki, bank, phases, &ret[i], &err);
                if (r < 0) {
                        *ret_status = cli_failed(cli, r, NULL, &err);
                        return -1;
                }
        }
        return (int) count;
}

/* --pcr 11=HEX: all of them are one state. */
static bool state_of_values(struct cli *cli, enum pcr_bank bank, struct pcrs *ret) {
        char value[2 * PCR_SIZE_MAX + 1];
        const char *given[CLI_GIVEN_MAX + 1];
        unsigned count = cli_values(cli, "pcr", given);

        *ret = (struct pcrs){ .bank = bank };
        for (unsigned i = 0; i < count; i++) {
                char number[4] = "";
                size_t n = strcspn(given[i], "=");
                uint32_t bit;

                if (n == 0 || n > 2 || given[i][n] != '=')
                        return false;
                memcpy(number, given[i], n);
                (void) snprintf(value, sizeof(value), "%s", given[i] + n + 1);
                for (char *p = value; *p; p++) /* tpm2_pcrread has capitals */
                        *p = (char) tolower((unsigned char) *p);
                if (!pcr_mask_parse(number, &bit) || (ret->mask & bit) ||
                    strlen(given[i] + n + 1) >= sizeof(value) ||
                    !hex_decode(value, ret->value[__builtin_ctz(bit)], pcr_size(bank)))
                        return false;
                ret->mask |= bit;
        }
        return ret->mask != 0;
}

static struct json *as_json(const struct op_policy_signed *s, size_t count) {
        _cleanup_(json_freep) struct json *o = json_new_object();
        char hex[2 * SHA256_SIZE + 1];

        hex_encode(s->fingerprint, SHA256_SIZE, hex);
        if (!json_add_string(o, "result", "done") || !json_add_string(o, "pkfp", hex) ||
            !json_add_uint(o, "signed", count) || !json_add_uint(o, "total", s->total))
                return NULL;
        return TAKE(o);
}

static int sign(struct cli *cli, const struct pcrs *states, size_t count) {
        static const struct signer_ask asker = { .ask = ask };
        const struct op_policy_sign args = { .key = cli_value(cli, "key"),
                                             .ask = &asker,
                                             .states = states,
                                             .count = count,
                                             .extend = cli_value(cli, "append"),
                                             .output = cli_value(cli, "output"),
                                             .dry_run = cli->dry_run };
        struct op_policy_signed done;
        struct error err = { 0 };
        char hex[2 * SHA256_SIZE + 1];
        int r = op_policy_sign(&args, &done, &err);

        if (r < 0)
                return cli_failed(cli, r, NULL, &err);
        if (cli->json)
                return cli_print_json(as_json(&done, count));
        hex_encode(done.fingerprint, 8, hex);
        cli_say(cli, "  %zu state%s signed by key %s…; %s has %zu signature%s", count,
                count == 1 ? "" : "s", hex, args.output, done.total, done.total == 1 ? "" : "s");
        return EXIT_DONE;
}

int cli_policy_sign(struct cli *cli) {
        const char *uki = cli_value(cli, "uki"), *bank_name = cli_value(cli, "bank");
        _cleanup_(freep) struct pcrs *states = calloc(STATES_MAX, sizeof(*states));
        enum pcr_bank bank = PCR_SHA256;
        int count = 1, status = EXIT_FAULT;

        if (!states)
                return cli_failed(cli, -ENOMEM, NULL, &(struct error){ .text = "out of memory" });
        if (!cli_value(cli, "key") || !cli_value(cli, "output"))
                return cli_usage(cli, "--key and --output are needed");
        if (bank_name && !pcr_bank_parse(bank_name, &bank))
                return cli_usage(cli, "--bank: sha256 or sha384");
        if (!uki == !cli_value(cli, "pcr"))
                return cli_usage(cli, "--uki, or --pcr N=HEX: one of them");
        if (!uki && cli_value(cli, "phase"))
                return cli_usage(cli, "--phase: with --uki alone; --pcr says what a PCR has then");
        if (uki)
                count = states_of_uki(cli, uki, bank, states, &status);
        else if (!state_of_values(cli, bank, states))
                return cli_usage(cli,
                                 "--pcr: as in 11=HEX, each PCR once, in the size of the bank");
        return count < 0 ? status : sign(cli, states, (size_t) count);
}
