/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tests/crash/record.h"

/* Which states a power cut can leave: what was flushed is there, and of what was written since,
 * each sector of 512 bytes has any of the contents that it had or was given, independently. */

#define SECTOR 512
#define PENDING_MAX 256
#define SECTORS_MAX 4096
#define CONTENTS_MAX 8

struct event {
        struct crash_record r;
        const uint8_t *data; /* in the log; borrowed */
};

struct trace {
        struct event *event;
        size_t count;
        void *map;
        size_t size;
};

/* Return: false, with words on stderr. */
bool trace_read(int fd, struct trace *ret);
void trace_done(struct trace *t);

/* The head of one disk as the events up to some moment left it. */
struct head {
        uint8_t *durable; /* all that was flushed */
        size_t span;      /* bytes */
        uint64_t hash;    /* of it */
        const struct event *pending[PENDING_MAX];
        unsigned pendings;
};

/* @data: a copy is made. */
bool head_new(struct head *h, const uint8_t *data, size_t span);
void head_done(struct head *h);
/* False: a write beyond the head. */
bool head_event(struct head *h, const struct event *e);
/* All that was written, flushed or not. */
void head_apply(const struct head *h, uint8_t *into);
uint64_t head_hash(const struct head *h, const uint8_t *data);

struct sector {
        uint32_t at; /* in sectors */
        uint8_t contents, pick;
        const uint8_t *content[CONTENTS_MAX]; /* the flushed one first */
        uint64_t hash[CONTENTS_MAX];
};

/* What is pending, sector by sector; metadata first. */
struct choice {
        const struct head *head;
        size_t metadata, count; /* sectors: of the metadata; all */
        struct sector sector[SECTORS_MAX];
        uint64_t rng; /* of the run; goes on */
        bool sampled; /* not every subset of the metadata's was tried */
        bool areas;   /* sectors of keyslot areas are pending */
};

struct limits {
        uint64_t metadata_size; /* both copies, bytes */
        unsigned full;          /* so many subsets of the metadata's sectors are all tried … */
        unsigned sample;        /* … of more than that, so many; and so many of the areas' */
};

/* Calls @fn for each state, with the picks made and the state's hash. */
typedef void (*choice_fn)(void *arg, const struct choice *c, uint64_t hash);
void choice_each(struct choice *c, const struct head *h, const struct limits *l, choice_fn fn,
                 void *arg);
/* The state that is picked. */
void choice_apply(const struct choice *c, uint8_t *into);

/* A set of numbers. */
struct set {
        uint64_t *slot;
        size_t size, used;
};

/* Return: whether it's new. */
bool set_add(struct set *s, uint64_t value);
void set_done(struct set *s);

uint64_t mix(uint64_t a, uint64_t b);
