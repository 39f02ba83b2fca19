/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tests/crash/check.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/rotate-slot.h"
#include "agent/ways.h"
#include "base/crypto.h"
#include "luks/rules.h"

static bool complain(char complaint[COMPLAINT], const char *what, const struct refusal *why,
                     const struct error *err) {
        (void) snprintf(complaint, COMPLAINT, "%s: %.150s%.150s", what, why->what, err->text);
        return false;
}

/* --- the disk --- */

static bool load(const struct subject *s, struct disk *ret, char complaint[COMPLAINT]) {
        struct refusal why = { 0 };
        struct error err = { 0 };

        return disk_load(&(struct luks_source){ s->path, NULL }, ret, &why, &err) == OUTCOME_DONE &&
                               ret->token
                       ? true
                       : complain(complaint, "it doesn't load", &why, &err);
}

static bool open_as(const struct subject *s, struct disk *d, const struct versions *v,
                    unsigned live, struct secret **ret, char complaint[COMPLAINT]) {
        _cleanup_(context_done) struct context c = CONTEXT_INIT;
        struct tpm_way way = { 0 };
        struct refusal why = { 0 };
        struct error err = { 0 };
        int r = 0;

        (void) s;
        (void) snprintf(c.tcti, sizeof(c.tcti), "device:/nowhere");
        (void) snprintf(c.state_dir, sizeof(c.state_dir), "/nowhere");
        (void) snprintf(c.config_dir, sizeof(c.config_dir), "/nowhere");
        for (unsigned i = 0; r == 0 && i < VERSIONS; i++) {
                struct secret *copy = NULL;

                if (!(live & LIVE(i)) || (r = secret_new(32, &copy)) < 0)
                        continue;
                memcpy(secret_data(copy), secret_data(v->key[i]), 32);
                r = context_keep(&c, &v->kek[i], copy, &err);
        }
        if (r == 0)
                r = way_by_tpm(&c, d, &way, &why, &err);
        if (r == OUTCOME_DONE)
                r = disk_volume_key(d, way.slot_secret, ret, &why, &err);
        secret_free(way.slot_secret);
        return r == OUTCOME_DONE ? true : complain(complaint, "it doesn't open", &why, &err);
}

bool subject_open(struct subject *s, int fd, enum depth depth, const struct versions *v) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        char complaint[COMPLAINT];

        s->fd = fd;
        s->depth = depth;
        s->kept = rotate_kept_new(1);
        (void) snprintf(s->path, sizeof(s->path), "/proc/self/fd/%d", fd);
        s->map = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (!s->kept || s->map == MAP_FAILED || !load(s, &d, complaint) ||
            !open_as(s, &d, v, LIVE(VERSION_OLD), &s->volume_key, complaint)) {
                fprintf(stderr, "before the rotation %s\n", complaint);
                return false;
        }
        s->facts = *luks_facts(d.luks);
        s->metadata = json_copy(luks_metadata(d.luks));
        s->own = 1u << d.token->slot;
        return s->metadata != NULL;
}

void subject_close(struct subject *s) {
        s->volume_key = secret_free(s->volume_key);
        s->metadata = json_free(s->metadata);
        (void) munmap(s->map, s->size);
        (void) close(s->fd);
}

static bool foreign_area(const struct subject *s, unsigned slot, uint64_t *offset, uint64_t *size) {
        return (s->facts.slots & ~s->own & (1u << slot)) &&
               rules_area(rules_numbered(s->metadata, "keyslots", slot), offset, size);
}

bool subject_may_write(const struct subject *s, uint64_t offset, uint64_t size) {
        uint64_t at, n;

        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++)
                if (foreign_area(s, slot, &at, &n) && offset < at + n && at < offset + size)
                        return false;
        return offset + size <= 2 * s->facts.metadata_size + s->facts.keyslots_size;
}

/* --- before --- */

static uint64_t hash_text(const char *text, uint64_t h) {
        for (; *text; text++)
                h = (h ^ (uint8_t) *text) * 0x100000001b3;
        return h;
}

bool check_opens(struct subject *s, const struct versions *v, unsigned live, uint64_t *class,
                 char complaint[COMPLAINT]) {
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        _cleanup_(freep) char *text = NULL;
        struct error err = { 0 };

        *class = 0;
        if (!load(s, &d, complaint))
                return false;
        if (json_text(luks_metadata(d.luks), false, &text, &err) == 0)
                *class = hash_text(text, live + 4 * luks_facts(d.luks)->degraded);
        if (!open_as(s, &d, v, live, &volume_key, complaint))
                return false;
        if (crypto_same(volume_key, s->volume_key))
                return true;
        (void) snprintf(complaint, COMPLAINT, "it opens, to another volume key");
        return false;
}

/* --- recovery --- */

static enum version wanted(enum ending how) {
        return how == END_RESUME ? VERSION_NEW : how == END_REPLACE ? VERSION_NEXT : VERSION_OLD;
}

/* As the survey of a rotation: the newest version on the disk that can be had. */
static bool find_live(const struct disk *d, const struct versions *v, unsigned live,
                      unsigned *ret) {
        const struct token *tokens[] = { d->token, d->older };

        for (unsigned t = 0; t < ARRAY_SIZE(tokens); t++)
                for (unsigned e = 0; tokens[t] && e < tokens[t]->entries; e++)
                        for (unsigned i = 0; i < VERSIONS; i++)
                                if (live & LIVE(i) &&
                                    kek_equal(&tokens[t]->entry[e].kek, &v->kek[i])) {
                                        *ret = i;
                                        return true;
                                }
        return false;
}

static bool has(const struct disk *d, const struct kek *kek) {
        return token_find(d->token, kek) >= 0 || (d->older && token_find(d->older, kek) >= 0);
}

bool check_applies(struct subject *s, const struct versions *v, unsigned live, enum ending how) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        char complaint[COMPLAINT];

        if (how == END_RESUME)
                return true;
        /* What is retired is neither replaced nor taken back. */
        return (how == END_REPLACE || s->depth == DEPTH_SLOT) && live & LIVE(VERSION_OLD) &&
               load(s, &d, complaint) && has(&d, &v->kek[VERSION_OLD]);
}

struct task {
        unsigned live, opened; /* versions: all that can be had; that which opens the disk */
        enum ending how;
};

/* Only a version that the disk is proven to open with is live for a rotation of its keyslot to a
 * next one; the shell takes the recorded current one. */
static bool prepare(const struct subject *s, const struct versions *v, struct task *t,
                    struct rotate_job *job, char complaint[COMPLAINT]) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        unsigned live = t->live, *ret_live = &t->opened;
        enum ending how = t->how;

        if (!load(s, &d, complaint))
                return false;
        if (s->depth == DEPTH_SLOT)
                live &= LIVE(VERSION_OLD);
        (void) snprintf(job->at.device, sizeof(job->at.device), "%s", s->path);
        (void) snprintf(job->at.uuid, sizeof(job->at.uuid), "%s", s->facts.uuid);
        job->at.kept = s->kept;
        job->target = v->kek[wanted(how)];
        if (s->depth == DEPTH_KEK && has(&d, &job->target))
                return true;
        *ret_live = VERSION_OLD;
        if (how != END_ABORT && !find_live(&d, v, live, ret_live)) {
                if (has(&d, &job->target))
                        return true;
                (void) snprintf(complaint, COMPLAINT, "no version that can be had is on the disk");
                return false;
        }
        job->live = v->kek[*ret_live];
        return true;
}

bool check_recover(struct subject *s, const struct versions *v, unsigned live, enum ending how,
                   char complaint[COMPLAINT]) {
        static const worker_fn fns[][3] = {
                [DEPTH_KEK] = { rotate_stage, rotate_prove, rotate_retire },
                [DEPTH_SLOT] = { rotate_slot_stage, rotate_slot_prove, rotate_slot_retire },
        };
        static const char *const names[] = { "stage", "prove", "retire" };
        struct rotate_slot_job job = { 0 };
        struct task t = { .live = live, .how = how };
        struct secret *key[WORKER_KEYS_MAX] = { NULL, v->key[wanted(how)] };

        if (!prepare(s, v, &t, &job.disk, complaint))
                return false;
        if (job.disk.live.version)
                key[0] = v->key[t.opened];
        for (unsigned i = 0; i < 3; i++) {
                struct refusal why = { 0 };
                struct error err = { 0 };
                worker_fn fn = how == END_ABORT ? rotate_slot_abort : fns[s->depth][i];

                if (fn(&job, key, NULL, &why, &err) != OUTCOME_DONE)
                        return complain(complaint, names[i], &why, &err);
        }
        return true;
}

/* --- after --- */

static bool same_tokens(const struct subject *s, const struct disk *d) {
        for (unsigned id = 0; id < LUKS_TOKENS_MAX; id++) {
                const struct json *then = rules_numbered(s->metadata, "tokens", id);
                const struct json *now = luks_token(d->luks, id);
                _cleanup_(freep) char *a = NULL, *b = NULL;
                struct error err = { 0 };

                if ((then && token_is_ours(then)) || (now && id == d->token_id))
                        continue;
                if (!then != !now)
                        return false;
                if (then && (json_text(then, false, &a, &err) < 0 ||
                             json_text(now, false, &b, &err) < 0 || strcmp(a, b) != 0))
                        return false;
        }
        return true;
}

/* Between the areas of keyslots nothing stands, and behind them the data, which is sparse. */
static bool same_bytes(const struct subject *s) {
        uint64_t at, size, data = 2 * s->facts.metadata_size + s->facts.keyslots_size;

        for (unsigned slot = 0; slot < LUKS_SLOTS_MAX; slot++)
                if (foreign_area(s, slot, &at, &size) &&
                    memcmp(s->map + at, s->base + at, size) != 0)
                        return false;
        if (lseek(s->fd, (off_t) s->span, SEEK_DATA) >= 0 &&
            (uint64_t) lseek(s->fd, (off_t) s->span, SEEK_DATA) < data)
                return false;
        for (uint64_t i = data; i + 4096 <= s->size; i += 1 << 20)
                if (s->map[i] != (uint8_t) (i >> 20) || memcmp(s->map + i, s->map + i + 1, 4095))
                        return false;
        return true;
}

bool check_settled(struct subject *s, const struct versions *v, enum ending how,
                   char complaint[COMPLAINT]) {
        _cleanup_(secret_freep) struct secret *volume_key = NULL;
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        enum version version = wanted(how);
        const char *what = NULL;

        if (!load(s, &d, complaint))
                return false;
        if (d.token->entries != 1 || token_find(d.token, &v->kek[version]) != 0 || d.pending ||
            d.stale)
                what = "not one version in one token of ours";
        else if (luks_facts(d.luks)->slots != ((s->facts.slots & ~s->own) | 1u << d.token->slot))
                what = "not one keyslot of ours, or others than before";
        else if (!same_tokens(s, &d))
                what = "a token of somebody else was changed";
        else if (!same_bytes(s))
                what = "a byte was changed that isn't ours";
        else if (!open_as(s, &d, v, LIVE(version), &volume_key, complaint))
                return false;
        else if (!crypto_same(volume_key, s->volume_key))
                what = "another volume key";
        if (what)
                (void) snprintf(complaint, COMPLAINT, "afterwards: %s", what);
        return !what;
}
