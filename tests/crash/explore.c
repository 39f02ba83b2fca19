/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/hex.h"
#include "tests/crash/check.h"
#include "tests/crash/states.h"

/* Tries every state that a power cut can leave of a recorded rotation. See usage(). */

#define SPAN (2U << 20) /* bytes at the head of a disk: metadata, and 7 areas of keyslots */
#define COMPLAINTS_SHOWN 5

struct options {
        enum depth depth;
        const char *log, *keys, *write, *state;
        unsigned full, sample, every, moments;
        uint64_t seed;
        bool early, list;
        char **base;
        unsigned disks;
};

struct run {
        const struct options *o;
        struct trace trace;
        struct versions v;
        struct subject subject[CRASH_DISKS_MAX];
        struct head head[CRASH_DISKS_MAX];
        uint8_t *base[CRASH_DISKS_MAX];
        uint8_t *state;                         /* the head of the disk that is tried */
        unsigned live;                          /* versions that the TPM still unseals */
        unsigned files;                         /* state files put in place so far */
        unsigned disk;                          /* … that is torn */
        uint64_t others[1u << CRASH_DISKS_MAX]; /* what the other disks are meanwhile */
        unsigned others_count;
        struct choice choice, inner; /* large */
        struct limits limits;
        struct set joint, distinct, classes, nested_seen;
        size_t opened, recovered[ENDINGS], nested, violations, sampled, areas, moment;
};

__attribute__((format(printf, 3, 4))) static void violation(struct run *r, const char *complaint,
                                                            const char *fmt, ...) {
        va_list ap;

        if (r->violations++ >= COMPLAINTS_SHOWN)
                return;
        printf("  violation, event %zu, disk %u, ", r->moment, r->disk);
        va_start(ap, fmt);
        (void) vprintf(fmt, ap);
        va_end(ap);
        printf(": %s\n", complaint);
}

/* --- one state of one disk --- */

static void put(const struct run *r, const uint8_t *state) {
        memcpy(r->subject[r->disk].map, state, SPAN);
}

static void recover(struct run *r, const uint8_t *state, unsigned live, enum ending how) {
        static const char *const names[] = { "resumed", "replaced", "aborted" };
        struct subject *s = &r->subject[r->disk];
        char complaint[COMPLAINT];

        put(r, state);
        if (!check_applies(s, &r->v, live, how))
                return;
        r->recovered[how]++;
        if (!check_recover(s, &r->v, live, how, complaint) ||
            !check_settled(s, &r->v, how, complaint))
                violation(r, complaint, "%s", names[how]);
}

struct inner {
        struct run *run;
        uint8_t *state;
        enum ending how;
};

static void try_inner(void *arg, const struct choice *c, uint64_t hash) {
        struct inner *in = arg;
        struct run *r = in->run;
        char complaint[COMPLAINT];
        uint64_t class;

        if (!set_add(&r->nested_seen, mix(mix(hash, r->disk), r->live)))
                return;
        r->nested++;
        choice_apply(c, in->state);
        put(r, in->state);
        if (!check_opens(&r->subject[r->disk], &r->v, r->live, &class, complaint))
                violation(r, complaint, "cut in a recovery");
        /* Recoveries by turns: what they begin with differs little from one to the next. */
        if (r->nested % 4 == 0)
                recover(r, in->state, r->live, END_RESUME);
        if (r->nested % 4 == 2)
                recover(r, in->state, r->live, in->how);
}

/* A cut inside the recovery from the state in r->state: recorded here, and taken apart again. */
static void nest(struct run *r, enum ending how) {
        struct subject *s = &r->subject[r->disk];
        struct limits few = r->limits;
        struct inner in = { r, malloc(SPAN), how };
        struct trace t = { 0 };
        struct head h = { 0 };
        char complaint[COMPLAINT];
        int log = memfd_create("log", MFD_CLOEXEC);

        few.full = 8;
        few.sample = 1;
        put(r, r->state);
        if (log < 0 || !in.state || !head_new(&h, r->state, SPAN) || !record_begin(log, s->fd))
                abort();
        (void) !check_recover(s, &r->v, r->live, how, complaint); /* said elsewhere */
        record_end();
        if (!trace_read(log, &t))
                abort();
        r->inner.rng = r->o->seed;
        for (size_t i = 0; i < t.count; i++) {
                if (t.event[i].r.event == CRASH_FLUSH && h.pendings)
                        choice_each(&r->inner, &h, &few, try_inner, &in);
                if (!head_event(&h, &t.event[i]))
                        violation(r, "beyond its head", "a write of the recovery");
        }
        trace_done(&t);
        head_done(&h);
        free(in.state);
        (void) close(log);
}

static void try_state(struct run *r, const struct choice *c) {
        struct subject *s = &r->subject[r->disk];
        char complaint[COMPLAINT];
        bool fresh, often;
        uint64_t class;

        choice_apply(c, r->state);
        put(r, r->state);
        r->opened++;
        if (!check_opens(s, &r->v, r->live, &class, complaint))
                violation(r, complaint, "before anything is repaired");
        if (!r->o->every)
                return;
        fresh = set_add(&r->classes, mix(class, r->disk));
        often = fresh || r->opened % r->o->every == 0;
        if (often)
                for (enum ending how = 0; how < ENDINGS; how++)
                        recover(r, r->state, r->live, how);
        if (fresh) {
                nest(r, END_RESUME);
                put(r, r->state);
                if (check_applies(s, &r->v, r->live, END_ABORT))
                        nest(r, END_ABORT);
        }
}

/* --- all states --- */

static void on_state(void *arg, const struct choice *c, uint64_t hash) {
        struct run *r = arg;
        uint64_t key = mix(mix(hash, r->disk), r->live);

        for (unsigned i = 0; i < r->others_count; i++)
                (void) set_add(&r->joint, mix(mix(key, r->others[i]), r->files));
        if (set_add(&r->distinct, key) && !r->o->list)
                try_state(r, c);
}

/* Each of the other disks with all or with nothing of what it wasn't told to flush. */
static void set_others(struct run *r) {
        unsigned disks = r->o->disks;

        r->others_count = 0;
        for (unsigned mask = 0; mask < 1u << disks; mask++) {
                uint64_t all = 0;
                bool distinct = true;

                for (unsigned d = 0; d < disks; d++) {
                        bool applied = mask & (1u << d);

                        if ((d == r->disk || !r->head[d].pendings) && applied)
                                distinct = false;
                        if (d == r->disk)
                                continue;
                        if (applied) {
                                head_apply(&r->head[d], r->state);
                                all = mix(all, head_hash(&r->head[d], r->state));
                        } else
                                all = mix(all, r->head[d].hash);
                }
                if (distinct)
                        r->others[r->others_count++] = all;
        }
}

static void tear(struct run *r, unsigned disk) {
        r->disk = disk;
        set_others(r);
        choice_each(&r->choice, &r->head[disk], &r->limits, on_state, r);
        r->sampled += r->choice.sampled;
        r->areas += r->choice.areas;
        if (r->o->list && r->choice.count)
                printf("  event %zu, disk %u: %zu sectors of metadata and %zu of areas pending\n",
                       r->moment, disk, r->choice.metadata, r->choice.count - r->choice.metadata);
}

static void tear_all(struct run *r) {
        for (unsigned d = 0; d < r->o->disks; d++)
                tear(r, d);
}

static void explore(struct run *r) {
        tear_all(r);
        for (r->moment = 0; r->moment < r->trace.count; r->moment++) {
                const struct event *e = &r->trace.event[r->moment];
                unsigned d = e->r.disk;

                switch (e->r.event) {
                case CRASH_WRITE:
                        if (!subject_may_write(&r->subject[d], e->r.offset, e->r.size))
                                violation(r, "outside of what is ours", "a write");
                        break;
                case CRASH_FLUSH:
                        if (r->head[d].pendings)
                                tear(r, d);
                        break;
                case CRASH_ADVANCE:
                        tear_all(r);
                        r->live &= ~LIVE(VERSION_OLD);
                        tear_all(r);
                        break;
                case CRASH_RENAME: r->files++; break;
                default: abort();
                }
                if (e->r.event <= CRASH_FLUSH && !head_event(&r->head[d], e))
                        violation(r, "not in whole sectors of the head", "a write");
        }
        tear_all(r);
}

/* --- setting up --- */

static bool read_base(struct run *r, unsigned d) {
        _cleanup_(close_fdp) int from = open(r->o->base[d], O_RDONLY | O_CLOEXEC);
        struct subject *s = &r->subject[d];
        uint8_t block[4096];
        struct stat st;
        int fd = memfd_create("disk", MFD_CLOEXEC);

        r->base[d] = malloc(SPAN);
        if (from < 0 || fd < 0 || !r->base[d] || fstat(from, &st) < 0 ||
            pread(from, r->base[d], SPAN, 0) != SPAN || ftruncate(fd, st.st_size) < 0 ||
            pwrite(fd, r->base[d], SPAN, 0) != SPAN || !head_new(&r->head[d], r->base[d], SPAN))
                return false;
        for (off_t at = 16 << 20; at + (off_t) sizeof(block) <= st.st_size; at += 1 << 20) {
                memset(block, (int) (at >> 20), sizeof(block));
                if (pwrite(fd, block, sizeof(block), at) != sizeof(block))
                        return false;
        }
        s->fd = fd;
        s->size = (uint64_t) st.st_size;
        s->span = SPAN;
        s->base = r->base[d];
        return true;
}

static bool newest_kek(int fd, struct kek *ret) {
        _cleanup_(disk_done) struct disk d = DISK_INIT;
        struct refusal why = { 0 };
        struct error err = { 0 };
        char path[40];

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (disk_load_enrolled(&(struct luks_source){ path, NULL }, &d, &why, &err) !=
            OUTCOME_DONE) {
                fprintf(stderr, "%s%s\n", why.what, err.text);
                return false;
        }
        *ret = d.token->entry[0].kek;
        return true;
}

static bool read_key(const char *path, uint32_t version, struct secret **ret) {
        _cleanup_(fclosep) FILE *f = fopen(path, "re");
        unsigned number;
        char text[80];

        while (f && fscanf(f, "%u %79s", &number, text) == 2)
                if (number == version && strlen(text) == 64 && !*ret)
                        return secret_new(32, ret) == 0 && hex_decode(text, secret_data(*ret), 32);
        fprintf(stderr, "%s has no key of version %u\n", path, version);
        return false;
}

/* What the first disk has at the start and at the end, and one that comes after. */
static bool find_versions(struct run *r) {
        int fd = r->subject[0].fd;
        struct kek *next = &r->v.kek[VERSION_NEXT];
        struct head end;

        if (!newest_kek(fd, &r->v.kek[VERSION_OLD]) || !head_new(&end, r->base[0], SPAN))
                return false;
        for (size_t i = 0; i < r->trace.count; i++)
                if (r->trace.event[i].r.event <= CRASH_FLUSH && r->trace.event[i].r.disk == 0)
                        (void) !head_event(&end, &r->trace.event[i]);
        head_apply(&end, end.durable);
        if (pwrite(fd, end.durable, SPAN, 0) != SPAN || !newest_kek(fd, &r->v.kek[VERSION_NEW]) ||
            pwrite(fd, r->base[0], SPAN, 0) != SPAN)
                return false;
        head_done(&end);
        *next = r->v.kek[VERSION_NEW];
        next->version++;
        next->sealed.private.data[4] ^= 0xff;
        if (!read_key(r->o->keys, r->v.kek[VERSION_OLD].version, &r->v.key[VERSION_OLD]) ||
            !read_key(r->o->keys, r->v.kek[VERSION_NEW].version, &r->v.key[VERSION_NEW]) ||
            secret_new(32, &r->v.key[VERSION_NEXT]) < 0)
                return false;
        memset(secret_data(r->v.key[VERSION_NEXT]), 0x5a, 32);
        return true;
}

/* The deliberate mistake of a shell: old versions end in the TPM before the disks have the new one.
 */
static void advance_early(struct trace *t) {
        size_t first = 0, at = 0;

        while (first < t->count && t->event[first].r.event != CRASH_WRITE)
                first++;
        while (at < t->count && t->event[at].r.event != CRASH_ADVANCE)
                at++;
        if (at < t->count && first < at) {
                struct event e = t->event[at];

                memmove(&t->event[first + 1], &t->event[first], (at - first) * sizeof(e));
                t->event[first] = e;
        }
}

static bool set_up(struct run *r) {
        const struct options *o = r->o;
        _cleanup_(close_fdp) int log = open(o->log, O_RDONLY | O_CLOEXEC);

        r->state = malloc(SPAN);
        if (log < 0 || !r->state || !trace_read(log, &r->trace)) {
                fprintf(stderr, "%s: no log that can be read\n", o->log);
                return false;
        }
        if (o->early)
                advance_early(&r->trace);
        for (unsigned d = 0; d < o->disks; d++)
                if (!read_base(r, d)) {
                        fprintf(stderr, "%s: %s\n", o->base[d], strerror(errno));
                        return false;
                }
        if (!find_versions(r))
                return false;
        for (unsigned d = 0; d < o->disks; d++)
                if (!subject_open(&r->subject[d], r->subject[d].fd, o->depth, &r->v))
                        return false;
        r->live = LIVE(VERSION_OLD) | LIVE(VERSION_NEW) | LIVE(VERSION_NEXT);
        r->choice.rng = o->seed;
        r->limits = (struct limits){ .metadata_size = 2 * r->subject[0].facts.metadata_size,
                                     .full = o->full,
                                     .sample = o->sample };
        return true;
}

static void tear_down(struct run *r) {
        for (unsigned d = 0; d < r->o->disks; d++) {
                subject_close(&r->subject[d]);
                head_done(&r->head[d]);
                free(r->base[d]);
        }
        for (unsigned i = 0; i < VERSIONS; i++)
                secret_free(r->v.key[i]);
        set_done(&r->joint);
        set_done(&r->distinct);
        set_done(&r->classes);
        set_done(&r->nested_seen);
        trace_done(&r->trace);
        free(r->state);
}

/* --- moments for the whole program --- */

static bool write_file(const char *path, const void *data, size_t size) {
        _cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        return fd >= 0 && write(fd, data, size) == (ssize_t) size;
}

static bool write_moment(const struct run *r, size_t until, unsigned n) {
        const struct options *o = r->o;
        char path[PATH_MAX];

        (void) snprintf(path, sizeof(path), "%s/%u", o->write, n);
        if (mkdir(path, 0700) < 0)
                return false;
        for (unsigned d = 0; d < o->disks; d++) {
                struct head h;
                bool good;

                if (!head_new(&h, r->base[d], SPAN))
                        return false;
                for (size_t i = 0; i < until; i++)
                        if (r->trace.event[i].r.event <= CRASH_FLUSH &&
                            r->trace.event[i].r.disk == d)
                                (void) !head_event(&h, &r->trace.event[i]);
                head_apply(&h, h.durable);
                (void) snprintf(path, sizeof(path), "%s/%u/disk%u", o->write, n, d);
                good = write_file(path, h.durable, SPAN);
                head_done(&h);
                if (!good)
                        return false;
        }
        for (size_t i = 0, files = 0; i < until; i++) {
                const struct event *e = &r->trace.event[i];
                size_t name = strlen(o->state);

                if (e->r.event == CRASH_ADVANCE) {
                        (void) snprintf(path, sizeof(path), "%s/%u/advanced", o->write, n);
                        if (!write_file(path, "", 0))
                                return false;
                }
                if (e->r.event != CRASH_RENAME ||
                    strncmp((const char *) e->data, o->state, name) != 0)
                        continue;
                /* In the order in which they came: "0-keks/default.json". */
                (void) snprintf(path, sizeof(path), "%s/%u/file%03zu", o->write, n, files);
                if (!write_file(path, e->data + strlen((const char *) e->data) + 1,
                                e->r.size - strlen((const char *) e->data) - 1))
                        return false;
                (void) snprintf(path, sizeof(path), "%s/%u/name%03zu", o->write, n, files++);
                if (!write_file(path, e->data + name + 1,
                                strlen((const char *) e->data) - name - 1))
                        return false;
        }
        return true;
}

/* --- and now --- */

static void report(const struct run *r, double seconds) {
        const struct options *o = r->o;
        size_t writes = 0, flushes = 0;
        struct rusage used;

        for (size_t i = 0; i < r->trace.count; i++) {
                writes += r->trace.event[i].r.event == CRASH_WRITE;
                flushes += r->trace.event[i].r.event == CRASH_FLUSH;
        }
        printf("depth %s, %u disk%s, seed %llu: %zu writes, %zu flushes\n",
               o->depth == DEPTH_KEK ? "kek" : "slot", o->disks, o->disks == 1 ? "" : "s",
               (unsigned long long) o->seed, writes, flushes);
        printf("  %zu distinct states of all disks, %zu of single ones, %zu opened; epochs with "
               "areas %zu, with metadata sampled %zu\n",
               r->joint.used, r->distinct.used, r->opened, r->areas, r->sampled);
        printf("  recovered: %zu resumed, %zu replaced, %zu aborted, of %zu classes; cut again in "
               "the recovery: %zu\n",
               r->recovered[END_RESUME], r->recovered[END_REPLACE], r->recovered[END_ABORT],
               r->classes.used, r->nested);
        (void) getrusage(RUSAGE_SELF, &used);
        printf("  %zu violations, %.1f s, of a CPU %.1f s\n", r->violations, seconds,
               (double) (used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                       (double) (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

static int usage(void) {
        fprintf(stderr,
                "Usage: crash-explore --depth kek|slot --log LOG --keys KEYS [OPTION…] DISK…\n"
                "  DISK…: as they were before, in the order of CRASH_DISKS\n"
                "  --full N    up to so many subsets of an epoch's metadata sectors are all tried\n"
                "  --sample N  beyond: so many by chance, and of areas\n"
                "  --every N   recover each Nth state, and the first of each class; 0: none\n"
                "  --seed N\n"
                "  --list      only count the states, and try none\n"
                "  --early     a mistake: the counter advances before the first write\n"
                "  --write DIR --moments N --state STATE  write N moments of the run to DIR\n"
                "Exit: 0 no violation  1 some  2 usage\n");
        return 2;
}

static bool parse(int argc, char **argv, struct options *o) {
        static const struct option list[] = {
                { "depth", 1, NULL, 'd' },
                { "log", 1, NULL, 'l' },
                { "keys", 1, NULL, 'k' },
                { "full", 1, NULL, 'f' },
                { "sample", 1, NULL, 'a' },
                { "every", 1, NULL, 'e' },
                { "seed", 1, NULL, 's' },
                { "early", 0, NULL, 'y' },
                { "list", 0, NULL, 'i' },
                { "write", 1, NULL, 'w' },
                { "moments", 1, NULL, 'm' },
                { "state", 1, NULL, 't' },
                { 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", list, NULL)) >= 0) {
                unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;

                switch (c) {
                case 'd': o->depth = strcmp(optarg, "slot") == 0 ? DEPTH_SLOT : DEPTH_KEK; break;
                case 'l': o->log = optarg; break;
                case 'k': o->keys = optarg; break;
                case 'f': o->full = (unsigned) n; break;
                case 'a': o->sample = (unsigned) n; break;
                case 'e': o->every = (unsigned) n; break;
                case 's': o->seed = n; break;
                case 'y': o->early = true; break;
                case 'i': o->list = true; break;
                case 'w': o->write = optarg; break;
                case 'm': o->moments = (unsigned) n; break;
                case 't': o->state = optarg; break;
                default: return false;
                }
        }
        o->base = argv + optind;
        o->disks = (unsigned) (argc - optind);
        return o->log && o->keys && o->disks >= 1 && o->disks <= CRASH_DISKS_MAX &&
               (!o->write || (o->state && o->moments));
}

int main(int argc, char **argv) {
        static struct run r;
        struct options o = { .full = 4096, .sample = 16, .every = 1, .seed = 1 };
        struct timespec a, b;

        if (!parse(argc, argv, &o))
                return usage();
        r.o = &o;
        (void) setenv("TSS2_LOG", "all+NONE", 1);
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        (void) clock_gettime(CLOCK_MONOTONIC, &a);
        if (!set_up(&r))
                return 2;
        for (unsigned i = 0; o.write && i < o.moments; i++)
                if (!write_moment(&r, (r.trace.count * (i + 1)) / (o.moments + 1), i))
                        return 2;
        explore(&r);
        (void) clock_gettime(CLOCK_MONOTONIC, &b);
        report(&r, (double) (b.tv_sec - a.tv_sec) + (double) (b.tv_nsec - a.tv_nsec) / 1e9);
        tear_down(&r);
        return r.violations > 0;
}
