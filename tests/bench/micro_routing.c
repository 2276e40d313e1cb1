/* SPDX-License-Identifier: Apache-2.0 */
/* What routing and balancing cost a request: the packed score, a pick with its shared atomics, a route among ten
 * thousand, the breaker. One JSON object a line: name, unit, and the median, lowest and highest of the rounds. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/routing/balance/ewma.h"
#include "core/routing/balance/pick.h"
#include "core/routing/balance/state.h"
#include "core/routing/table.h"

enum { ROUNDS = 101, MAX_BACKENDS = 1000, MAX_ROUTES = 8, ROUTES = 10000, REQUESTS = 1024 };

static const uint64_t start_ns = 3600000000000u;

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *name, const char *unit, double *rounds) {
    qsort(rounds, ROUNDS, sizeof *rounds, compare_doubles);
    printf("{\"name\":\"%s\",\"unit\":\"%s\",\"median\":%.3f,\"min\":%.3f,\"max\":%.3f}\n", name, unit,
           rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
    fflush(stdout);
}

static void *take(struct vx_chunk_source *self, size_t bytes) {
    (void)self;
    return aligned_alloc(64, (bytes + 63) & ~(size_t)63);
}

static void give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    (void)self;
    (void)bytes;
    free(chunk);
}

static struct vx_chunk_source memory = {take, give, 65536};

/* A set of `count` backends with averages between 1 and 2 ms. */
struct fixture {
    struct vx_backend_registry registry;
    struct vx_arena arena;
    struct vx_config_route route;
    struct vx_config_backend backends[MAX_BACKENDS];
    struct vx_backend_endpoint endpoints[MAX_BACKENDS];
    const struct vx_backend_set *set;
    struct vx_random random;
};

static struct fixture *fixture_new(uint32_t count, enum vx_balance_kind balance, uint64_t seed) {
    struct fixture *f = calloc(1, sizeof *f);
    vx_backend_registry_init(&f->registry, &memory, 2);
    vx_arena_init(&f->arena, NULL, 0, &memory);
    f->random.state = seed;
    f->route = (struct vx_config_route){
        .name = VX_SLICE("bench"),
        .balance = balance,
        .ewma_decay = 0.5,
        .breaker = {.failures = 5,
                    .failure_rate_percent = 50,
                    .open_for_ns = 10000000000u,
                    .half_open_requests = 3},
    };
    for (uint32_t i = 0; i < count; i++) {
        f->backends[i] =
            (struct vx_config_backend){.id = i + 1, .address_text = VX_SLICE("127.0.0.1:9000"), .weight = 1};
        f->endpoints[i] = (struct vx_backend_endpoint){
            &f->backends[i],
            {.kind = VX_ADDRESS_IP4, .port = 9000, .ip = {127, 0, (uint8_t)(i >> 8), (uint8_t)i}}};
    }
    f->set = vx_backend_set_build(&f->registry, &f->arena, &f->route, f->endpoints, count, start_ns);
    for (uint32_t i = 0; i < count; i++) {
        /* No two alike: ties are the exception, and cost a random number. */
        float ewma_us = 1000.0f + (float)vx_random_below(&f->random, 1000) + (float)i / 1024;
        atomic_store(&f->set->places[i].line->ewma[f->set->places[i].lane], vx_bits_of_float(ewma_us));
    }
    return f;
}

static void fixture_free(struct fixture *f) {
    vx_backend_set_drop(&f->registry, f->set);
    vx_backend_registry_destroy(&f->registry);
    vx_arena_reset(&f->arena);
    free(f);
}

/* The scores of `count` packed backends and the lowest of them. */
static void bench_score(const char *name, uint32_t count, const struct vx_score_search *search) {
    struct fixture *f = fixture_new(count, VX_BALANCE_PEAK_EWMA, 1);
    double rounds[ROUNDS];
    uint32_t repeats = 2000000 / count, sum = 0;
    vx_score_lowest_fn *lowest = count <= VX_LANES ? search->ewma_line : search->ewma_lines;
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t from = clock_ns();
        for (uint32_t i = 0; i < repeats; i++)
            sum += lowest(&f->set->all, &f->random);
        rounds[r] = (double)(clock_ns() - from) * 1000 / ((double)repeats * count);
    }
    report(name, "ps/backend", rounds);
    if (sum == 1)
        puts("");
    fixture_free(f);
}

enum { BATCH = 64 };

/* vx_backend_pick as the exchange calls it, active count included; the tickets are ended between the measured
 * batches. Picks go round `routes` routes (a power of two): with one, each pick waits until the count that the pick before it has
 * written can be read back, which no traffic does to it. `down` backends of each route are unhealthy. */
static void bench_pick(const char *name, uint32_t routes, uint32_t count, enum vx_balance_kind balance,
                       uint32_t down) {
    struct fixture *f[MAX_ROUTES];
    struct vx_backend_ticket tickets[BATCH];
    struct vx_random random = {42};
    struct vx_pick_request request = {.random = &random, .now_ns = start_ns};
    double rounds[ROUNDS];
    uint32_t batches = (count > 100 ? 8000 : 100000) / BATCH;
    for (uint32_t i = 0; i < routes; i++) {
        f[i] = fixture_new(count, balance, i);
        f[i]->route.health_check.enabled = true;
        for (uint32_t d = 0; d < down; d++)
            vx_backend_set_checked(f[i]->set, d * (count / (down + 1)), false, start_ns);
    }
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t spent = 0;
        for (uint32_t b = 0; b < batches; b++) {
            request.now_ns += 100000;
            uint64_t from = clock_ns();
            for (uint32_t i = 0; i < BATCH; i++)
                vx_backend_pick(f[i & (routes - 1)]->set, &request, &tickets[i]);
            spent += clock_ns() - from;
            for (int i = 0; i < BATCH; i++)
                vx_backend_ticket_end(&tickets[i], VX_OUTCOME_NEUTRAL, request.now_ns);
        }
        rounds[r] = (double)spent / ((double)batches * BATCH);
    }
    report(name, "ns", rounds);
    for (uint32_t i = 0; i < routes; i++)
        fixture_free(f[i]);
}

/* Everything a request does here: pick, sample, end. */
static void bench_request(const char *name, uint32_t count) {
    struct fixture *f = fixture_new(count, VX_BALANCE_PEAK_EWMA, 1);
    struct vx_pick_request request = {.random = &f->random, .now_ns = start_ns};
    struct vx_backend_ticket ticket;
    double rounds[ROUNDS];
    uint32_t repeats = count > 100 ? 8000 : 100000;
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t from = clock_ns();
        for (uint32_t i = 0; i < repeats; i++) {
            request.now_ns += 1000;
            vx_backend_pick(f->set, &request, &ticket);
            vx_backend_ticket_sample(&ticket, 1000000 + (i & 1023), request.now_ns);
            vx_backend_ticket_end(&ticket, VX_OUTCOME_SUCCESS, request.now_ns);
        }
        rounds[r] = (double)(clock_ns() - from) / repeats;
    }
    report(name, "ns", rounds);
    fixture_free(f);
}

/* Two threads on the same eight backends: packed into one line, or each on a line of its own. The same plain code in
 * both, so that only the layout differs. */
struct spread {
    struct {
        _Alignas(64) _Atomic uint32_t active;
        _Atomic uint32_t ewma;
    } own[VX_LANES];
    struct vx_backend_line packed;
};

struct contender {
    struct spread *shared;
    bool packed;
    uint32_t repeats;
    double ns;
    pthread_barrier_t *barrier;
};

static _Atomic uint32_t *active_of(struct spread *s, bool packed, uint32_t i) {
    return packed ? &s->packed.active[i] : &s->own[i].active;
}

static _Atomic uint32_t *ewma_of(struct spread *s, bool packed, uint32_t i) {
    return packed ? &s->packed.ewma[i] : &s->own[i].ewma;
}

/* The time between two requests of one worker, in which it touches none of this. */
static void think(uint32_t steps) {
    for (uint32_t i = 0; i < steps; i++)
        __asm__ volatile("" ::: "memory");
}

static void *contend(void *argument) {
    struct contender *c = argument;
    uint32_t think_steps = 500;
    uint32_t held[4] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++)
        atomic_fetch_add(active_of(c->shared, c->packed, held[i]), 1);
    pthread_barrier_wait(c->barrier);
    uint64_t spent = 0;
    for (uint32_t r = 0; r < c->repeats; r++) {
        uint64_t from = clock_ns();
        uint32_t best = 0;
        float lowest = 1e30f;
        for (uint32_t i = 0; i < VX_LANES; i++) {
            uint32_t active = atomic_load_explicit(active_of(c->shared, c->packed, i), memory_order_relaxed);
            uint32_t ewma = atomic_load_explicit(ewma_of(c->shared, c->packed, i), memory_order_relaxed);
            float score = vx_ewma_score(vx_float_of_bits(ewma), active, 1.0f);
            best = score < lowest ? i : best;
            lowest = score < lowest ? score : lowest;
        }
        atomic_fetch_add_explicit(active_of(c->shared, c->packed, best), 1, memory_order_relaxed);
        uint32_t *done = &held[r & 3];
        atomic_store_explicit(ewma_of(c->shared, c->packed, *done),
                              vx_bits_of_float(1000.0f + (float)(r & 63)), memory_order_relaxed);
        atomic_fetch_sub_explicit(active_of(c->shared, c->packed, *done), 1, memory_order_relaxed);
        *done = best;
        spent += clock_ns() - from;
        think(think_steps);
    }
    c->ns = (double)spent / c->repeats;
    return NULL;
}

static void bench_sharing(const char *name, bool packed, int threads) {
    double rounds[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        struct spread *shared = aligned_alloc(64, sizeof *shared);
        pthread_barrier_t barrier;
        struct contender c[2];
        pthread_t other;
        memset(shared, 0, sizeof *shared);
        pthread_barrier_init(&barrier, NULL, (unsigned)threads);
        for (int i = 0; i < 2; i++)
            c[i] =
                (struct contender){.shared = shared, .packed = packed, .repeats = 20000, .barrier = &barrier};
        if (threads == 2)
            pthread_create(&other, NULL, contend, &c[1]);
        contend(&c[0]);
        if (threads == 2)
            pthread_join(other, NULL);
        rounds[r] = threads == 2 ? (c[0].ns + c[1].ns) / 2 : c[0].ns;
        pthread_barrier_destroy(&barrier);
        free(shared);
    }
    report(name, "ns", rounds);
}

struct table_fixture {
    struct vx_arena arena;
    struct vx_config_match *matches;
    struct vx_route_entry *entries;
    char (*texts)[64];
    const struct vx_route_table *table;
    struct vx_request requests[REQUESTS];
    struct vx_header headers[REQUESTS][8];
};

enum shape { BY_HOST, BY_PREFIX, BY_HEADER };

/* What tells route `i` from the others. */
static struct vx_slice text_of(struct table_fixture *f, uint32_t i, enum shape shape) {
    int n = 0;
    switch (shape) {
    case BY_HOST:
        n = snprintf(f->texts[i], sizeof f->texts[i], "service-%u.example.org", i);
        break;
    case BY_PREFIX:
        n = snprintf(f->texts[i], sizeof f->texts[i], "/team-%u/service-%u", i % 100, i);
        break;
    case BY_HEADER:
        n = snprintf(f->texts[i], sizeof f->texts[i], "tenant-%u", i);
        break;
    }
    return vx_slice(f->texts[i], (size_t)n);
}

/* Ten thousand routes that differ in host, in prefix (two segments on one host) or in a header's value. */
static struct table_fixture *table_new(enum shape shape) {
    struct table_fixture *f = calloc(1, sizeof *f);
    f->matches = calloc(ROUTES, sizeof *f->matches);
    f->entries = calloc(ROUTES, sizeof *f->entries);
    f->texts = calloc(ROUTES, sizeof *f->texts);
    vx_arena_init(&f->arena, NULL, 0, &memory);
    for (uint32_t i = 0; i < ROUTES; i++) {
        struct vx_config_match *m = &f->matches[i];
        m->host = shape == BY_HOST ? text_of(f, i, shape) : VX_SLICE("api.example.org");
        m->path_prefix = shape == BY_PREFIX ? text_of(f, i, shape) : VX_SLICE("/");
        if (shape == BY_HEADER) {
            m->headers = calloc(1, sizeof *m->headers);
            m->header_count = 1;
            m->headers[0] = (struct vx_config_header_match){VX_SLICE("x-tenant"), text_of(f, i, shape)};
        }
        f->entries[i] = (struct vx_route_entry){m, i};
    }
    f->table = vx_route_table_build(&f->arena, f->entries, ROUTES, NULL);
    return f;
}

static void table_requests(struct table_fixture *f, enum shape shape) {
    static char paths[REQUESTS][96];
    static const char *const names[] = {"host",         "user-agent", "accept", "accept-encoding",
                                        "x-request-id", "cookie"};
    struct vx_random random = {7};
    for (uint32_t r = 0; r < REQUESTS; r++) {
        const struct vx_config_match *m = &f->matches[vx_random_below(&random, ROUTES)];
        struct vx_request *q = &f->requests[r];
        int n = snprintf(paths[r], sizeof paths[r], "%.*s/v1/items/%u", VX_SLICE_ARG(m->path_prefix), r);
        q->path = vx_slice(paths[r], (size_t)n);
        if (shape != BY_PREFIX)
            q->path = vx_slice_skip(q->path, 1);
        q->host = m->host;
        q->method = VX_METHOD_GET;
        q->headers = (struct vx_headers){.items = f->headers[r], .capacity = 8};
        for (uint32_t h = 0; h < 6; h++)
            vx_headers_add(&q->headers, NULL, vx_header_id_of(vx_slice_of(names[h])), vx_slice_of(names[h]),
                           VX_SLICE("some value of this header"));
        if (m->header_count)
            vx_headers_add(&q->headers, NULL, VX_HEADER_OTHER, m->headers[0].name, m->headers[0].value);
    }
}

static void bench_table(const char *name, enum shape shape) {
    struct table_fixture *f = table_new(shape);
    double rounds[ROUNDS];
    uint32_t found = 0;
    table_requests(f, shape);
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t from = clock_ns();
        for (uint32_t i = 0; i < 20 * REQUESTS; i++)
            found += vx_route_table_find(f->table, &f->requests[i % REQUESTS]) != VX_ROUTE_NONE;
        rounds[r] = (double)(clock_ns() - from) / (20.0 * REQUESTS);
    }
    if (found != ROUNDS * 20u * REQUESTS) {
        fprintf(stderr, "%s: a request found no route\n", name);
        exit(1);
    }
    report(name, "ns", rounds);
    vx_arena_reset(&f->arena);
    for (uint32_t i = 0; i < ROUTES; i++)
        free(f->matches[i].headers);
    free(f->matches);
    free(f->entries);
    free(f->texts);
    free(f);
}

static void bench_breaker(const char *name) {
    static struct vx_breaker breaker;
    struct vx_config_breaker policy = {5, 50, 10000000000u, 3};
    double rounds[ROUNDS];
    uint32_t passed = 0;
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t from = clock_ns();
        for (uint32_t i = 0; i < 400000; i++) {
            uint8_t epoch = 0;
            passed += vx_breaker_admit(&breaker, &policy, start_ns, &epoch) == VX_BREAKER_PASS;
            vx_breaker_success(&breaker, &policy, false, epoch, start_ns);
        }
        rounds[r] = (double)(clock_ns() - from) / 400000;
    }
    if (passed != ROUNDS * 400000u)
        exit(1);
    report(name, "ns", rounds);
}

int main(void) {
    bench_score("score_packed_1000", 1000, vx_score_search_best());
    bench_score("score_packed_8", 8, vx_score_search_best());
    bench_score("score_portable_1000", 1000, vx_score_search_portable());
    bench_score("score_portable_8", 8, vx_score_search_portable());
    bench_pick("pick_peak_ewma_8", 8, 8, VX_BALANCE_PEAK_EWMA, 0);
    bench_pick("pick_peak_ewma_8_chained", 1, 8, VX_BALANCE_PEAK_EWMA, 0);
    bench_pick("pick_peak_ewma_1000", 1, 1000, VX_BALANCE_PEAK_EWMA, 0);
    bench_pick("pick_peak_ewma_8_1_down", 8, 8, VX_BALANCE_PEAK_EWMA, 1);
    bench_pick("pick_peak_ewma_1000_10_down", 1, 1000, VX_BALANCE_PEAK_EWMA, 10);
    bench_pick("pick_least_request_8", 8, 8, VX_BALANCE_LEAST_REQUEST, 0);
    bench_pick("pick_round_robin_8", 8, 8, VX_BALANCE_ROUND_ROBIN, 0);
    bench_pick("pick_random_8", 8, 8, VX_BALANCE_RANDOM, 0);
    bench_request("request_peak_ewma_8", 8);
    bench_request("request_peak_ewma_1000", 1000);
    bench_breaker("breaker_admit_and_success");
    bench_table("route_by_host_10000", BY_HOST);
    bench_table("route_by_prefix_10000", BY_PREFIX);
    bench_table("route_by_header_10000", BY_HEADER);
    bench_sharing("sharing_packed_1_thread", true, 1);
    bench_sharing("sharing_spread_1_thread", false, 1);
    bench_sharing("sharing_packed_2_threads", true, 2);
    bench_sharing("sharing_spread_2_threads", false, 2);
    return 0;
}
