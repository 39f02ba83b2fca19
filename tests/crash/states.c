/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "tests/crash/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

uint64_t mix(uint64_t a, uint64_t b) {
        a = (a ^ b) * 0x9e3779b97f4a7c15;
        return a ^ a >> 29;
}

/* --- the log --- */

bool trace_read(int fd, struct trace *ret) {
        struct trace t = { 0 };
        struct stat st;

        if (fstat(fd, &st) < 0)
                return false;
        t.size = (size_t) st.st_size;
        t.map = t.size ? mmap(NULL, t.size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
        t.event = calloc(t.size / sizeof(struct crash_record) + 1, sizeof(*t.event));
        if (t.map == MAP_FAILED || !t.event)
                return false;
        for (size_t at = 0; at < t.size;) {
                struct event *e = &t.event[t.count++];

                if (t.size - at < sizeof(e->r))
                        return false;
                memcpy(&e->r, (uint8_t *) t.map + at, sizeof(e->r));
                at += sizeof(e->r);
                if (e->r.size > t.size - at || e->r.disk >= CRASH_DISKS_MAX)
                        return false;
                e->data = (uint8_t *) t.map + at;
                at += e->r.size;
        }
        *ret = t;
        return true;
}

void trace_done(struct trace *t) {
        if (t->map)
                (void) munmap(t->map, t->size);
        free(t->event);
        *t = (struct trace){ 0 };
}

/* --- the head of a disk --- */

static uint64_t sector_hash(uint32_t at, const uint8_t *data) {
        uint64_t h = mix(0x5bd1e995, at), word;

        for (size_t i = 0; i < SECTOR; i += sizeof(word)) {
                memcpy(&word, data + i, sizeof(word));
                h = mix(h, word);
        }
        return h;
}

uint64_t head_hash(const struct head *h, const uint8_t *data) {
        uint64_t sum = 0;

        for (uint32_t at = 0; at < h->span / SECTOR; at++)
                sum ^= sector_hash(at, data + (size_t) at * SECTOR);
        return sum;
}

bool head_new(struct head *h, const uint8_t *data, size_t span) {
        *h = (struct head){ .span = span, .durable = malloc(span) };
        if (!h->durable)
                return false;
        memcpy(h->durable, data, span);
        h->hash = head_hash(h, data);
        return true;
}

void head_done(struct head *h) {
        free(h->durable);
}

void head_apply(const struct head *h, uint8_t *into) {
        if (into != h->durable)
                memcpy(into, h->durable, h->span);
        for (unsigned i = 0; i < h->pendings; i++)
                memcpy(into + h->pending[i]->r.offset, h->pending[i]->data, h->pending[i]->r.size);
}

bool head_event(struct head *h, const struct event *e) {
        if (e->r.event == CRASH_FLUSH) {
                if (h->pendings) {
                        head_apply(h, h->durable);
                        h->hash = head_hash(h, h->durable);
                }
                h->pendings = 0;
                return true;
        }
        if (e->r.offset % SECTOR || e->r.size % SECTOR || e->r.offset + e->r.size > h->span ||
            h->pendings == PENDING_MAX)
                return false;
        h->pending[h->pendings++] = e;
        return true;
}

/* --- its states --- */

static struct sector *sector_at(struct choice *c, size_t from, uint32_t at) {
        struct sector *s;

        for (size_t i = from; i < c->count; i++)
                if (c->sector[i].at == at)
                        return &c->sector[i];
        if (c->count == SECTORS_MAX)
                abort();
        s = &c->sector[c->count++];
        *s = (struct sector){ .at = at, .contents = 1 };
        s->content[0] = c->head->durable + (size_t) at * SECTOR;
        s->hash[0] = sector_hash(at, s->content[0]);
        return s;
}

static void add_content(struct sector *s, const uint8_t *data) {
        for (unsigned i = 0; i < s->contents; i++)
                if (memcmp(s->content[i], data, SECTOR) == 0)
                        return;
        if (s->contents == CONTENTS_MAX)
                abort();
        s->content[s->contents] = data;
        s->hash[s->contents++] = sector_hash(s->at, data);
}

static void collect(struct choice *c, bool metadata, uint64_t metadata_size) {
        size_t from = c->count, kept = from;

        for (unsigned i = 0; i < c->head->pendings; i++) {
                const struct event *e = c->head->pending[i];

                if ((e->r.offset < metadata_size) != metadata)
                        continue;
                for (uint64_t n = 0; n < e->r.size; n += SECTOR)
                        add_content(sector_at(c, from, (uint32_t) ((e->r.offset + n) / SECTOR)),
                                    e->data + n);
        }
        for (size_t i = from; i < c->count; i++)
                if (c->sector[i].contents > 1)
                        c->sector[kept++] = c->sector[i];
        c->count = kept;
}

void choice_apply(const struct choice *c, uint8_t *into) {
        memcpy(into, c->head->durable, c->head->span);
        for (size_t i = 0; i < c->count; i++) {
                const struct sector *s = &c->sector[i];

                if (s->pick)
                        memcpy(into + (size_t) s->at * SECTOR, s->content[s->pick], SECTOR);
        }
}

struct emit {
        choice_fn fn;
        void *arg;
};

static void emit(const struct choice *c, const struct emit *to) {
        uint64_t hash = c->head->hash;

        for (size_t i = 0; i < c->count; i++)
                hash ^= c->sector[i].hash[0] ^ c->sector[i].hash[c->sector[i].pick];
        to->fn(to->arg, c, hash);
}

static unsigned random_below(struct choice *c, unsigned n) {
        c->rng = c->rng * 6364136223846793005 + 1442695040888963407;
        return (unsigned) (c->rng >> 33) % n;
}

static void pick_all(struct choice *c, size_t from, size_t to, bool last) {
        for (size_t i = from; i < to; i++)
                c->sector[i].pick = last ? (uint8_t) (c->sector[i].contents - 1) : 0;
}

static void pick_random(struct choice *c, size_t from, size_t to) {
        for (size_t i = from; i < to; i++)
                c->sector[i].pick = (uint8_t) random_below(c, c->sector[i].contents);
}

/* Every write of the metadata as far as it got, whole: picks by the order of writing. */
static void prefixes(struct choice *c, const struct emit *to) {
        pick_all(c, 0, c->count, false);
        emit(c, to);
        for (unsigned i = 0; i < c->head->pendings; i++) {
                const struct event *e = c->head->pending[i];

                for (size_t k = 0; k < c->count; k++) {
                        struct sector *s = &c->sector[k];
                        uint64_t at = (uint64_t) s->at * SECTOR;

                        if (at < e->r.offset || at >= e->r.offset + e->r.size)
                                continue;
                        for (unsigned n = 0; n < s->contents; n++)
                                if (memcmp(s->content[n], e->data + (at - e->r.offset), SECTOR) ==
                                    0)
                                        s->pick = (uint8_t) n;
                }
                emit(c, to);
        }
}

/* The full product, as an odometer. */
static void product(struct choice *c, const struct emit *to) {
        pick_all(c, 0, c->metadata, false);
        for (;;) {
                size_t i = 0;

                emit(c, to);
                while (i < c->metadata && ++c->sector[i].pick == c->sector[i].contents)
                        c->sector[i++].pick = 0;
                if (i == c->metadata)
                        return;
        }
}

/* Where they're too many: each alone, all but each, and some by chance. */
static void sample(struct choice *c, size_t from, size_t to, unsigned most, const struct emit *e) {
        size_t n = to - from, step = n > most ? n / most : 1;

        for (unsigned all = 0; all < 2; all++)
                for (size_t i = from; i < to; i += step) {
                        pick_all(c, from, to, all == 1);
                        c->sector[i].pick = all ? 0 : (uint8_t) (c->sector[i].contents - 1);
                        emit(c, e);
                }
        for (unsigned i = 0; i < most; i++) {
                pick_random(c, from, to);
                emit(c, e);
        }
        pick_all(c, from, to, true);
        emit(c, e);
}

void choice_each(struct choice *c, const struct head *h, const struct limits *l, choice_fn fn,
                 void *arg) {
        const struct emit to = { fn, arg };
        uint64_t states = 1;

        c->head = h;
        c->count = 0;
        collect(c, true, l->metadata_size);
        c->metadata = c->count;
        collect(c, false, l->metadata_size);
        c->areas = c->count > c->metadata;
        for (size_t i = 0; i < c->metadata && states <= l->full; i++)
                states *= c->sector[i].contents;
        c->sampled = states > l->full;

        prefixes(c, &to);
        if (c->areas) {
                pick_all(c, 0, c->metadata, false);
                sample(c, c->metadata, c->count, l->sample, &to);
        }
        /* Whatever of an area is there, or nothing of it. */
        for (unsigned last = 0; c->metadata && last <= c->areas; last++) {
                pick_all(c, c->metadata, c->count, last);
                if (c->sampled)
                        sample(c, 0, c->metadata, l->sample, &to);
                else
                        product(c, &to);
        }
}

/* --- sets --- */

static bool insert(uint64_t *slot, size_t size, uint64_t value) {
        size_t i = (size_t) mix(value, 7) & (size - 1);

        while (slot[i] && slot[i] != value)
                i = (i + 1) & (size - 1);
        if (slot[i])
                return false;
        slot[i] = value;
        return true;
}

bool set_add(struct set *s, uint64_t value) {
        if (2 * s->used >= s->size) {
                size_t size = s->size ? 2 * s->size : 1024;
                uint64_t *slot = calloc(size, sizeof(*slot));

                if (!slot)
                        abort();
                for (size_t i = 0; i < s->size; i++)
                        if (s->slot[i])
                                (void) insert(slot, size, s->slot[i]);
                free(s->slot);
                s->slot = slot;
                s->size = size;
        }
        if (!insert(s->slot, s->size, value ? value : 1))
                return false;
        s->used++;
        return true;
}

void set_done(struct set *s) {
        free(s->slot);
        *s = (struct set){ 0 };
}
