/* SPDX-License-Identifier: Apache-2.0 */
/* What a rate limit's decision costs in memory: a million keys in random order, on one thread and on two at once; one key
 * that two threads want at the same time; and the refusal of a key that is over its limit. Each decision includes the
 * hash of a key as a client's IPv4 address makes it. One JSON object a line: name, unit, and the median, lowest and highest of
 * the rounds. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/micro.h"
#include "core/base/random.h"
#include "filters/limit/memory.h"

enum {
    ROUNDS = 21,
    CALLS = 200000,
    KEYS = 1000000,
    KEY_BYTES = 12,
    TABLE_BYTES = 32 * 1024 * 1024,
    AHEAD_MAX = 8
};

/* A request that is prepared; an exchange does some hundred nanoseconds of other work before it takes it. */
struct asked {
    char key[KEY_BYTES];
    struct vx_rate_request request;
};

/* One thread's work. */
struct work {
    struct vx_rate_store *store;
    struct vx_gcra limit;
    uint32_t keys;  /* asked about, at random */
    unsigned ahead; /* so many requests are prepared at a time; 1: each is taken as soon as it is prepared */
    uint64_t seed, passed;
    double rounds[ROUNDS];
    pthread_barrier_t *together; /* NULL: alone */
};

/* The next request, with its key in memory of its own, made ready as an exchange does. */
static void prepare(struct work *w, struct asked *a, struct vx_random *random) {
    uint32_t client = vx_random_below(random, w->keys);
    memset(a->key, 0, sizeof a->key);
    memcpy(a->key + KEY_BYTES - sizeof client, &client, sizeof client);
    a->request = (struct vx_rate_request){.limit = w->limit, .key = vx_slice(a->key, KEY_BYTES), .cost = 1};
    w->store->prepare(w->store, &a->request);
}

static void *decide(void *arg) {
    struct work *w = arg;
    struct vx_random random = {w->seed};
    struct asked asked[AHEAD_MAX];
    uint64_t now_ns = 1;
    for (unsigned i = 0; i < w->ahead; i++)
        prepare(w, &asked[i], &random);
    for (unsigned r = 0; r < ROUNDS; r++) {
        if (w->together)
            pthread_barrier_wait(w->together);
        uint64_t start = micro_cpu_ns();
        for (unsigned i = 0; i < CALLS; i++) {
            struct asked *a = &asked[i % w->ahead];
            w->passed += w->store->take(w->store, &a->request, now_ns += 10) == VX_RATE_PASS;
            prepare(w, a, &random);
        }
        w->rounds[r] = (double)(micro_cpu_ns() - start) / CALLS;
    }
    return NULL;
}

static struct vx_rate_memory *new_table(void) {
    struct vx_rate_memory *m = vx_rate_memory_new(TABLE_BYTES, (struct vx_hash_key){1, 2});
    if (!m)
        abort();
    return m;
}

/* Every key is there before anything is measured. */
static void fill(struct work *w) {
    char key[KEY_BYTES] = {0};
    for (uint32_t client = 0; client < w->keys; client++) {
        memcpy(key + KEY_BYTES - sizeof client, &client, sizeof client);
        struct vx_rate_request request = {.limit = w->limit, .key = vx_slice(key, sizeof key), .cost = 1};
        w->store->prepare(w->store, &request);
        w->store->take(w->store, &request, 1);
    }
}

static void alone(const char *name, uint32_t keys, unsigned ahead, struct vx_gcra limit) {
    struct vx_rate_memory *m = new_table();
    struct work w = {
        .store = vx_rate_memory_store(m), .limit = limit, .keys = keys, .ahead = ahead, .seed = 1};
    fill(&w);
    decide(&w);
    micro_report(name, "ns/decision", w.rounds, ROUNDS);
    vx_rate_memory_free(m);
}

static void in_two(const char *name, uint32_t keys, unsigned ahead, struct vx_gcra limit) {
    struct vx_rate_memory *m = new_table();
    pthread_barrier_t together;
    pthread_barrier_init(&together, NULL, 2);
    struct work w[2];
    pthread_t other;
    for (unsigned i = 0; i < 2; i++)
        w[i] = (struct work){.store = vx_rate_memory_store(m),
                             .limit = limit,
                             .keys = keys,
                             .ahead = ahead,
                             .seed = i + 1,
                             .together = &together};
    fill(&w[0]);
    if (pthread_create(&other, NULL, decide, &w[1]) != 0)
        abort();
    decide(&w[0]);
    pthread_join(other, NULL);
    for (unsigned r = 0; r < ROUNDS; r++)
        w[0].rounds[r] = (w[0].rounds[r] + w[1].rounds[r]) / 2;
    micro_report(name, "ns/decision", w[0].rounds, ROUNDS);
    pthread_barrier_destroy(&together);
    vx_rate_memory_free(m);
}

int main(void) {
    const struct vx_gcra wide = {1000, 4000000000u}, shut = {UINT64_C(1) << 50, 1};
    alone("limit.memory.1m_keys", KEYS, AHEAD_MAX, wide);
    in_two("limit.memory.1m_keys.2_threads", KEYS, AHEAD_MAX, wide);
    alone("limit.memory.1m_keys.unprepared", KEYS, 1, wide);
    in_two("limit.memory.one_key.2_threads", 1, 1, wide);
    alone("limit.memory.refused", KEYS, AHEAD_MAX, shut);
    return 0;
}
