/* SPDX-License-Identifier: Apache-2.0 */
/* See memory.h. A table of buckets of eight cells; a key lives in the one bucket that its hash names. A cell is two
 * words: the key's hash, and when it will be paid off. Both change together, by one compare-and-swap of 16 bytes, so a
 * charge can never land on a key that has just taken the cell over.
 *
 * Invariants
 *   1. At most one cell of a key is committed (carries its debt). Otherwise the key would have two bursts.
 *   2. A cell that is paid off is as good as empty: its key at rest and an unknown key are the same.
 *   3. A pending cell (top bit of its word, and a number never used twice) carries no debt. Anybody may take it away,
 *      and whoever has its key may commit it.
 *   4. A pending cell is committed only by somebody who has looked through the whole bucket after it was placed, seen no
 *      other cell of the key, and taken away its pending rivals that come later in the key's order.
 *
 * 1 follows from 4: let i come before j, both pending. If j was placed first, who commits i sees j afterwards and takes it
 * away, or finds it committed and charges that. If i was placed first, who commits j sees i and leaves j alone.
 *
 * cell of the key     event                          next        function
 * none                a request that may pass        pending     place
 * pending             seen once, looked through      committed   charge
 * pending             an earlier one is there        none        decide
 * committed           a request passes               committed   charge
 * pending             its placer has its answer      none        take_back
 * committed, pending  the bucket needs a cell        none        place, for the other key
 */
#include "filters/limit/memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "core/base/assert.h"

enum { BUCKET_CELLS = 8, LINE_CELLS = 4, STATS_BUCKETS_MAX = 4096 };

static const uint64_t pending_bit = UINT64_C(1) << 63;

/* 64-bit loads look at it, 128-bit swaps change it. */
struct cell {
    _Alignas(16) _Atomic uint64_t key; /* 0: empty */
    _Atomic uint64_t word;             /* paid off at, in ns; or pending_bit and a number */
};

struct bucket {
    _Alignas(64 * 2) struct cell cells[BUCKET_CELLS];
};

/* What a cell held when it was looked at. */
struct content {
    uint64_t key, word;
};

struct vx_rate_memory {
    struct vx_rate_store store;
    struct vx_hash_key seed;
    struct bucket *buckets;
    uint64_t bucket_count;
    _Alignas(64) _Atomic uint64_t evictions;
    _Atomic uint64_t numbers; /* of pending cells */
};

typedef unsigned __int128 pair __attribute__((may_alias));

static pair as_pair(struct content c) {
    return (pair)c.word << 64 | c.key;
}

/* A full barrier either way: what is placed is seen by whoever looks afterwards. */
static bool swap(struct cell *cell, struct content from, struct content to) {
    return __sync_bool_compare_and_swap((pair *)cell, as_pair(from), as_pair(to));
}

static struct content look(const struct cell *cell) {
    uint64_t key = atomic_load(&cell->key);
    return (struct content){key, atomic_load(&cell->word)};
}

/* What a look through a bucket has found of a key. */
struct found {
    struct cell *cell; /* committed, or the first pending one; NULL: neither */
    struct content content;
    struct cell *rival; /* a later pending one */
    struct content rival_content;
    struct cell *victim; /* the first that is free, else the one that is paid off first */
    struct content victim_content;
};

/* Cells in the order of the key: one of the bucket's two cache lines, then the other. */
static struct found look_through(struct bucket *bucket, uint64_t key, uint64_t now_ns) {
    struct found f = {0};
    for (unsigned i = 0; i < BUCKET_CELLS; i++) {
        struct cell *cell = &bucket->cells[i ^ (key & LINE_CELLS)];
        struct content content = look(cell);
        if (content.key == key && !(content.word & pending_bit)) {
            f.cell = cell;
            f.content = content;
            f.rival = NULL;
            return f;
        }
        if (content.key == key && !f.cell) {
            f.cell = cell;
            f.content = content;
        } else if (content.key == key) {
            f.rival = cell;
            f.rival_content = content;
        } else if (!f.victim || (f.victim_content.word > now_ns && content.word < f.victim_content.word)) {
            f.victim = cell;
            f.victim_content = content;
        }
    }
    return f;
}

/* A cell that this call has placed, and what it held then. */
struct placed {
    struct cell *cell; /* NULL: none */
    struct content content;
};

/* Puts a pending cell of the key where the victim is. Whether or not this succeeds, the bucket is looked through again. */
static struct placed place(struct vx_rate_memory *m, const struct found *f, uint64_t key, uint64_t now_ns) {
    uint64_t number = atomic_fetch_add_explicit(&m->numbers, 1, memory_order_relaxed);
    struct placed p = {f->victim, {key, pending_bit | number}};
    if (!swap(f->victim, f->victim_content, p.content))
        return (struct placed){0};
    if (f->victim_content.word > now_ns && !(f->victim_content.word & pending_bit))
        atomic_fetch_add_explicit(&m->evictions, 1, memory_order_relaxed);
    return p;
}

/* Nobody else would clear away a pending cell whose key lies elsewhere by now. One that was committed stays. */
static void take_back(struct placed *p) {
    if (p->cell)
        swap(p->cell, p->content, (struct content){0, 0});
    p->cell = NULL;
}

/* Asks the limit about a cell; VX_RATE_PENDING: the cell has changed meanwhile. */
static enum vx_rate_verdict charge(struct cell *cell, struct content content, struct vx_rate_request *r,
                                   uint64_t now_ns) {
    uint64_t paid_off_ns = content.word & pending_bit ? 0 : content.word;
    bool pass = vx_gcra_take(&r->limit, &paid_off_ns, now_ns, r->cost);
    if (pass && !swap(cell, content, (struct content){content.key, paid_off_ns}))
        return VX_RATE_PENDING;
    /* A refusal changes nothing, so it only has to be sure that the word read was the key's. */
    if (!pass && atomic_load(&cell->key) != content.key)
        return VX_RATE_PENDING;
    r->debt_ns = vx_gcra_debt_ns(paid_off_ns, now_ns);
    return pass ? VX_RATE_PASS : VX_RATE_REFUSE;
}

/* In a cell 0 stands for none. */
static uint64_t key_of(uint64_t hash) {
    return hash ? hash : 1;
}

static struct bucket *bucket_of(const struct vx_rate_memory *m, uint64_t hash) {
    return &m->buckets[(uint64_t)((unsigned __int128)hash * m->bucket_count >> 64)];
}

/* Nearly always the key lies committed in the first of its lines. Which cell it is in is found without a branch, as none
 * could be predicted: so the processor need not wait for this line from memory before it goes on to what comes next.
 * VX_RATE_PENDING: it is not that simple. */
static enum vx_rate_verdict decide_at_home(struct bucket *bucket, uint64_t key, struct vx_rate_request *r,
                                           uint64_t now_ns) {
    struct cell *line = &bucket->cells[key & LINE_CELLS];
    unsigned found = 0;
    for (unsigned i = 0; i < LINE_CELLS; i++)
        found |= (unsigned)(atomic_load(&line[i].key) == key) << i;
    if (!found)
        return VX_RATE_PENDING;
    struct cell *cell = &line[__builtin_ctz(found)];
    struct content content = {key, atomic_load(&cell->word)};
    return content.word & pending_bit ? VX_RATE_PENDING : charge(cell, content, r, now_ns);
}

static enum vx_rate_verdict decide(struct vx_rate_memory *m, struct bucket *bucket, uint64_t key,
                                   struct vx_rate_request *r, uint64_t now_ns) {
    struct placed placed = {0};
    uint64_t seen = 0; /* the pending cell that was there before this look through the bucket */
    enum vx_rate_verdict verdict = decide_at_home(bucket, key, r, now_ns);
    while (verdict == VX_RATE_PENDING) {
        struct found f = look_through(bucket, key, now_ns);
        if (!f.cell) {
            take_back(&placed);
            placed = place(m, &f, key, now_ns);
            seen = placed.content.word;
        } else if (f.rival) {
            swap(f.rival, f.rival_content, (struct content){0, 0});
        } else if (f.content.word & pending_bit && f.content.word != seen) {
            seen = f.content.word;
        } else {
            verdict = charge(f.cell, f.content, r, now_ns);
        }
    }
    take_back(&placed);
    return verdict;
}

/* A line that lies in main memory takes longer to come than all the rest of a decision. */
static void prepare(struct vx_rate_store *store, struct vx_rate_request *r) {
    struct vx_rate_memory *m = VX_CONTAINER_OF(store, struct vx_rate_memory, store);
    r->hash = vx_hash_sip(&m->seed, r->key);
    __builtin_prefetch(&bucket_of(m, r->hash)->cells[key_of(r->hash) & LINE_CELLS], 1);
}

static enum vx_rate_verdict take(struct vx_rate_store *store, struct vx_rate_request *r, uint64_t now_ns) {
    struct vx_rate_memory *m = VX_CONTAINER_OF(store, struct vx_rate_memory, store);
    return decide(m, bucket_of(m, r->hash), key_of(r->hash), r, now_ns);
}

static void cancel(struct vx_rate_store *store, struct vx_rate_request *r) {
    (void)store, (void)r; /* nothing is ever pending */
}

struct vx_rate_memory *vx_rate_memory_new(size_t bytes, struct vx_hash_key seed) {
    struct vx_rate_memory *m = aligned_alloc(64, sizeof *m);
    if (!m)
        return NULL;
    uint64_t count = bytes / sizeof(struct bucket);
    *m = (struct vx_rate_memory){
        .store = {.prepare = prepare, .take = take, .cancel = cancel},
        .seed = seed,
        .bucket_count = count ? count : 1,
    };
    bytes = m->bucket_count * sizeof(struct bucket);
    m->buckets = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->buckets == MAP_FAILED) {
        free(m);
        return NULL;
    }
    madvise(m->buckets, bytes, MADV_HUGEPAGE); /* fewer TLB misses where the kernel can; no harm where not */
    return m;
}

void vx_rate_memory_free(struct vx_rate_memory *m) {
    if (!m)
        return;
    munmap(m->buckets, m->bucket_count * sizeof(struct bucket));
    free(m);
}

struct vx_rate_store *vx_rate_memory_store(struct vx_rate_memory *m) {
    return &m->store;
}

uint64_t vx_rate_memory_evictions(const struct vx_rate_memory *m) {
    return atomic_load_explicit(&m->evictions, memory_order_relaxed);
}

struct vx_rate_memory_stats vx_rate_memory_stats(const struct vx_rate_memory *m, uint64_t now_ns) {
    uint64_t step = (m->bucket_count + STATS_BUCKETS_MAX - 1) / STATS_BUCKETS_MAX;
    struct vx_rate_memory_stats s = {
        .places = m->bucket_count * BUCKET_CELLS,
        .placed = atomic_load_explicit(&m->numbers, memory_order_relaxed),
    };
    for (uint64_t b = 0; b < m->bucket_count; b += step)
        for (unsigned i = 0; i < BUCKET_CELLS; i++, s.looked_at++) {
            uint64_t word = atomic_load_explicit(&m->buckets[b].cells[i].word, memory_order_relaxed);
            s.in_debt += word > now_ns && !(word & pending_bit);
        }
    return s;
}
