/* SPDX-License-Identifier: Apache-2.0 */
/* What routing and balancing cost a request: the packed score, a pick with its shared atomics, a route among ten
 * thousand, the breaker. One JSON object a line: name, unit, and the median, lowest and highest of the rounds. A round
 * is the median of many samples of some ten microseconds, so that being scheduled away does not count. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "core/routing/balance/ewma.h"
#include "core/routing/balance/pick.h"
#include "core/routing/balance/state.h"
#include "core/routing/table.h"

enum { ROUNDS = 21, SAMPLES = 101, MAX_BACKENDS = 1000, MAX_ROUTES = 8, ROUTES = 10000, REQUESTS = 1024 };

static const uint64_t start_ns = 3600000000000u;

/* Nanoseconds that `work` takes for `operations` operations, once. */
typedef double sample_fn(void *context, uint32_t operations);

/* Runs the rounds and prints one line; `scale` turns nanoseconds an operation into the unit. */
static void measure(const char *name, const char *unit, double scale, sample_fn *sample, void *context,
                    uint32_t operations) {
    double rounds[ROUNDS], samples[SAMPLES];
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < SAMPLES; i++)
            samples[i] = sample(context, operations) * scale / operations;
        rounds[r] = micro_median(samples, SAMPLES);
    }
    micro_report(name, unit, rounds, ROUNDS);
}

/* The result of the work, so that no compiler leaves it out. */
static volatile uint32_t sink;

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

/* The sets of all routes lie side by side, as in a snapshot. */
static struct vx_arena snapshot = {.source = &memory};

/* A set of `count` backends with averages between 1 and 2 ms. */
struct fixture {
    struct vx_backend_registry registry;
    struct vx_config_route route;
    struct vx_config_backend backends[MAX_BACKENDS];
    struct vx_backend_endpoint endpoints[MAX_BACKENDS];
    const struct vx_backend_set *set;
    struct vx_random random;
};

static struct fixture *fixture_new(uint32_t count, enum vx_balance_kind balance, uint64_t seed) {
    struct fixture *f = calloc(1, sizeof *f);
    vx_backend_registry_init(&f->registry, &memory, 2);
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
    f->set = vx_backend_set_build(&f->registry, &snapshot, &f->route, f->endpoints, count, start_ns);
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
    free(f);
}

struct score_bench {
    const struct vx_backend_set *set;
    const struct vx_score_method *method;
    struct vx_random random;
};

static double sample_score(void *context, uint32_t operations) {
    struct score_bench *b = context;
    uint32_t sum = 0;
    uint64_t from = micro_clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < operations; i++)
        sum += b->method->lowest(&b->set->all, &b->random);
    uint64_t spent = micro_clock_ns(CLOCK_MONOTONIC) - from;
    sink = sum;
    return (double)spent;
}

/* Finding the lowest score among `count` backends in the shared atomics, nothing else: a search in nanoseconds, or
 * what each backend takes of it in picoseconds. */
static void bench_score(const char *name, const char *unit, uint32_t count,
                        const struct vx_score_search *search) {
    struct fixture *f = fixture_new(count, VX_BALANCE_PEAK_EWMA, 1);
    struct score_bench b = {f->set, count <= VX_LANES ? &search->ewma_line : &search->ewma_lines, {42}};
    measure(name, unit, strcmp(unit, "ns") == 0 ? 1 : 1000.0 / count, sample_score, &b, 20000 / count);
    fixture_free(f);
}

enum { TICKETS = 64 };

struct pick_bench {
    struct fixture *routes[MAX_ROUTES];
    const struct vx_backend_set *sets[MAX_ROUTES];
    uint32_t route_count; /* a power of two */
    struct vx_random random;
    uint64_t now_ns;
};

static void clear_active(const struct vx_backend_set *set) {
    for (uint32_t i = 0; i < set->count; i++)
        atomic_fetch_and(&set->places[i].line->active[set->places[i].lane], VX_LANE_SPECIAL);
}

/* vx_backend_pick as the exchange calls it, active count included. The tickets are not ended; their counts are taken
 * back between the samples. */
static double sample_pick(void *context, uint32_t operations) {
    struct pick_bench *b = context;
    struct vx_backend_ticket tickets[TICKETS];
    struct vx_pick_request request = {.random = &b->random, .now_ns = b->now_ns += 1000000};
    uint64_t from = micro_clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < operations; i++)
        vx_backend_pick(b->sets[i & (b->route_count - 1)], &request, &tickets[i % TICKETS]);
    uint64_t spent = micro_clock_ns(CLOCK_MONOTONIC) - from;
    for (uint32_t i = 0; i < b->route_count; i++)
        clear_active(b->sets[i]);
    return (double)spent;
}

/* Picks go round `routes` routes of `count` backends, of which `down` are unhealthy. With one route each pick waits
 * until the count that the pick before it has written can be read back, which no traffic does to it. */
static void bench_pick(const char *name, uint32_t routes, uint32_t count, enum vx_balance_kind balance,
                       uint32_t down) {
    struct pick_bench b = {.route_count = routes, .random = {42}, .now_ns = start_ns};
    for (uint32_t i = 0; i < routes; i++) {
        b.routes[i] = fixture_new(count, balance, i);
        b.sets[i] = b.routes[i]->set;
        b.routes[i]->route.health_check.enabled = true;
        for (uint32_t d = 0; d < down; d++)
            vx_backend_set_checked(b.sets[i], d * (count / (down + 1)), false, start_ns);
    }
    measure(name, "ns", 1, sample_pick, &b, count > 100 ? 128 : 2048);
    for (uint32_t i = 0; i < routes; i++)
        fixture_free(b.routes[i]);
}

/* Everything a request does here: pick, sample, settle, end. */
static double sample_request(void *context, uint32_t operations) {
    struct pick_bench *b = context;
    struct vx_pick_request request = {.random = &b->random, .now_ns = b->now_ns};
    struct vx_backend_ticket ticket;
    uint64_t from = micro_clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < operations; i++) {
        request.now_ns += 1000;
        vx_backend_pick(b->sets[0], &request, &ticket);
        vx_backend_ticket_sample(&ticket, 1000000 + (i & 1023), request.now_ns);
        vx_backend_ticket_settle(&ticket, VX_OUTCOME_SUCCESS, request.now_ns);
        vx_backend_ticket_end(&ticket, VX_OUTCOME_SUCCESS, request.now_ns);
    }
    b->now_ns = request.now_ns;
    return (double)(micro_clock_ns(CLOCK_MONOTONIC) - from);
}

static void bench_request(const char *name, uint32_t count) {
    struct pick_bench b = {.route_count = 1, .random = {42}, .now_ns = start_ns};
    b.routes[0] = fixture_new(count, VX_BALANCE_PEAK_EWMA, 1);
    b.sets[0] = b.routes[0]->set;
    measure(name, "ns", 1, sample_request, &b, count > 100 ? 128 : 1024);
    fixture_free(b.routes[0]);
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
    uint32_t held[4]; /* the four requests that this one has under way */
    uint32_t turn;
};

static _Atomic uint32_t *active_of(struct spread *s, bool packed, uint32_t i) {
    return packed ? &s->packed.active[i] : &s->own[i].active;
}

static _Atomic uint32_t *ewma_of(struct spread *s, bool packed, uint32_t i) {
    return packed ? &s->packed.ewma[i] : &s->own[i].ewma;
}

/* Picks the lowest of eight, begins there, and ends the oldest of the four under way with a sample. */
static void contend_once(struct contender *c) {
    uint32_t best = 0;
    float lowest = 1e30f;
    for (uint32_t i = 0; i < VX_LANES; i++) {
        uint32_t active = atomic_load_explicit(active_of(c->shared, c->packed, i), memory_order_relaxed);
        uint32_t ewma = atomic_load_explicit(ewma_of(c->shared, c->packed, i), memory_order_relaxed);
        float score = vx_ewma_score(vx_float_of_bits(ewma), active, 1.0f);
        best = score < lowest ? i : best;
        lowest = score < lowest ? score : lowest;
    }
    uint32_t *oldest = &c->held[c->turn++ % 4];
    atomic_fetch_add_explicit(active_of(c->shared, c->packed, best), 1, memory_order_relaxed);
    atomic_store_explicit(ewma_of(c->shared, c->packed, *oldest),
                          vx_bits_of_float(1000.0f + (float)(c->turn % 64)), memory_order_relaxed);
    atomic_fetch_sub_explicit(active_of(c->shared, c->packed, *oldest), 1, memory_order_relaxed);
    *oldest = best;
}

/* The other worker, on another CPU. */
struct opponent {
    struct contender contender;
    _Atomic uint32_t requests;
    _Atomic bool stop;
};

/* What a worker does between two requests: about a microsecond that touches none of this. */
static void think(void) {
    for (uint32_t i = 0; i < 2000; i++)
        __asm__ volatile("" ::: "memory");
}

static void *oppose(void *argument) {
    struct opponent *o = argument;
    while (!atomic_load_explicit(&o->stop, memory_order_relaxed)) {
        contend_once(&o->contender);
        atomic_fetch_add_explicit(&o->requests, 1, memory_order_relaxed);
        think();
    }
    return NULL;
}

struct sharing_bench {
    struct contender contender;
    struct opponent *opponent; /* NULL: alone */
};

/* Each request that is timed comes after one of the opponent, so that the lines are where that left them. */
static double sample_sharing(void *context, uint32_t operations) {
    struct sharing_bench *b = context;
    uint64_t spent = 0;
    for (uint32_t i = 0; i < operations; i++) {
        if (b->opponent) {
            uint32_t before = atomic_load_explicit(&b->opponent->requests, memory_order_relaxed);
            while (atomic_load_explicit(&b->opponent->requests, memory_order_relaxed) == before)
                continue;
        } else {
            think();
        }
        uint64_t from = micro_clock_ns(CLOCK_MONOTONIC);
        contend_once(&b->contender);
        spent += micro_clock_ns(CLOCK_MONOTONIC) - from;
    }
    return (double)spent;
}

static void contender_init(struct contender *c, struct spread *shared, bool packed) {
    *c = (struct contender){.shared = shared, .packed = packed, .held = {0, 1, 2, 3}};
    for (int i = 0; i < 4; i++)
        atomic_fetch_add(active_of(shared, packed, c->held[i]), 1);
}

static bool pin(pthread_t thread, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

static void bench_sharing(const char *name, bool packed, bool opposed) {
    struct spread *shared = aligned_alloc(64, sizeof *shared);
    struct sharing_bench b = {.opponent = NULL};
    struct opponent o = {.stop = false};
    pthread_t thread;
    memset(shared, 0, sizeof *shared);
    contender_init(&b.contender, shared, packed);
    contender_init(&o.contender, shared, packed);
    if (opposed) {
        pthread_create(&thread, NULL, oppose, &o);
        if (pin(pthread_self(), 0) && pin(thread, 1)) {
            b.opponent = &o;
            measure(name, "ns", 1, sample_sharing, &b, 20);
        } else {
            fprintf(stderr, "%s: needs two CPUs, not measured\n", name);
        }
        atomic_store(&o.stop, true);
        pthread_join(thread, NULL);
    } else {
        measure(name, "ns", 1, sample_sharing, &b, 20);
    }
    free(shared);
}

struct table_fixture {
    struct vx_arena arena;
    struct vx_config_match *matches;
    struct vx_route_entry *entries;
    char (*texts)[64];
    const struct vx_route_table *table;
    struct vx_request requests[REQUESTS];
    struct vx_header headers[REQUESTS][8];
    uint32_t turn;
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

static double sample_table(void *context, uint32_t operations) {
    struct table_fixture *f = context;
    uint64_t from = micro_clock_ns(CLOCK_MONOTONIC);
    uint32_t found = 0;
    for (uint32_t i = 0; i < operations; i++)
        found += vx_route_table_find(f->table, &f->requests[f->turn++ % REQUESTS]) != VX_ROUTE_NONE;
    uint64_t spent = micro_clock_ns(CLOCK_MONOTONIC) - from;
    if (found != operations) {
        fprintf(stderr, "a request found no route\n");
        exit(1);
    }
    return (double)spent;
}

static void bench_table(const char *name, enum shape shape) {
    struct table_fixture *f = table_new(shape);
    table_requests(f, shape);
    measure(name, "ns", 1, sample_table, f, 128);
    vx_arena_reset(&f->arena);
    for (uint32_t i = 0; i < ROUTES; i++)
        free(f->matches[i].headers);
    free(f->matches);
    free(f->entries);
    free(f->texts);
    free(f);
}

static double sample_breaker(void *context, uint32_t operations) {
    static const struct vx_config_breaker policy = {5, 50, 10000000000u, 3};
    struct vx_breaker *breaker = context;
    uint32_t passed = 0;
    uint64_t from = micro_clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < operations; i++) {
        uint8_t epoch = 0;
        passed += vx_breaker_admit(breaker, &policy, start_ns, &epoch) == VX_BREAKER_PASS;
        vx_breaker_success(breaker, &policy, false, epoch, start_ns);
    }
    uint64_t spent = micro_clock_ns(CLOCK_MONOTONIC) - from;
    sink = passed;
    return (double)spent;
}

int main(void) {
    bench_score("score_packed_1000", "ps/backend", 1000, vx_score_search_best());
    bench_score("score_portable_1000", "ps/backend", 1000, vx_score_search_portable());
    bench_score("choose_peak_ewma_8", "ns", 8, vx_score_search_best());
    bench_score("choose_peak_ewma_1000", "ns", 1000, vx_score_search_best());
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
    struct vx_breaker breaker = {0};
    measure("breaker_admit_and_success", "ns", 1, sample_breaker, &breaker, 2000);
    bench_table("route_by_host_10000", BY_HOST);
    bench_table("route_by_prefix_10000", BY_PREFIX);
    bench_table("route_by_header_10000", BY_HEADER);
    bench_sharing("sharing_packed_1_thread", true, false);
    bench_sharing("sharing_spread_1_thread", false, false);
    bench_sharing("sharing_packed_2_threads", true, true);
    bench_sharing("sharing_spread_2_threads", false, true);
    vx_arena_reset(&snapshot);
    return 0;
}
