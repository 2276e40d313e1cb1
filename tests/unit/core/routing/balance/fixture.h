/* SPDX-License-Identifier: Apache-2.0 */
/* A route with backends for the tests of this folder: configuration, registry with counted memory, sets. */
#ifndef VX_TESTS_ROUTING_BALANCE_FIXTURE_H
#define VX_TESTS_ROUTING_BALANCE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/routing/balance/ewma.h"
#include "core/routing/balance/pick.h"
#include "core/routing/balance/state.h"

enum { FIXTURE_BACKENDS = 2048, FIXTURE_SETS = 4, FIXTURE_WORKERS = 4 };

/* Memory that counts what is out and can refuse. */
struct fixture_memory {
    struct vx_chunk_source source;
    size_t out;
    long refuse_after; /* takes that still succeed; negative: all */
};

struct fixture {
    struct fixture_memory memory;
    struct vx_backend_registry registry;
    struct vx_config_route route;
    struct vx_config_backend backends[FIXTURE_BACKENDS];
    struct vx_backend_endpoint endpoints[FIXTURE_BACKENDS];
    uint32_t count;
    struct vx_arena arenas[FIXTURE_SETS];
    const struct vx_backend_set *sets[FIXTURE_SETS]; /* NULL: not built */
    const struct vx_backend_set *set;                /* sets[0] */
    struct vx_random random;
    uint64_t now_ns;
};

static inline void *fixture_take(struct vx_chunk_source *self, size_t bytes) {
    struct fixture_memory *m = VX_CONTAINER_OF(self, struct fixture_memory, source);
    if (m->refuse_after == 0)
        return NULL;
    m->refuse_after -= m->refuse_after > 0;
    m->out += bytes;
    return malloc(bytes);
}

static inline void fixture_give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    struct fixture_memory *m = VX_CONTAINER_OF(self, struct fixture_memory, source);
    assert_true(m->out >= bytes);
    m->out -= bytes;
    free(chunk);
}

static inline void fixture_add_backends(struct fixture *f, uint32_t count) {
    for (; count > 0; count--) {
        uint32_t i = f->count++;
        f->backends[i] =
            (struct vx_config_backend){.id = i + 1, .address_text = VX_SLICE("backend:80"), .weight = 1};
        f->endpoints[i] = (struct vx_backend_endpoint){
            &f->backends[i],
            {.kind = VX_ADDRESS_IP4, .port = 80, .ip = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}}};
    }
}

/* A route with `count` equal backends; no set is built yet. */
static inline struct fixture *fixture_new(uint32_t count, enum vx_balance_kind balance) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->memory = (struct fixture_memory){.source = {fixture_take, fixture_give, 4096}, .refuse_after = -1};
    vx_backend_registry_init(&f->registry, &f->memory.source, FIXTURE_WORKERS);
    for (int i = 0; i < FIXTURE_SETS; i++)
        vx_arena_init(&f->arenas[i], NULL, 0, &f->memory.source);
    f->route = (struct vx_config_route){
        .name = VX_SLICE("route"),
        .balance = balance,
        .ewma_decay = 0.5,
        .retry_budget_percent = 20,
        .breaker = {.failures = 5, .open_for_ns = 10000000000, .half_open_requests = 3},
    };
    fixture_add_backends(f, count);
    f->random.state = 99;
    f->now_ns = 1000000000000;
    return f;
}

static inline const struct vx_backend_set *fixture_build(struct fixture *f, int set) {
    assert_null(f->sets[set]);
    f->sets[set] =
        vx_backend_set_build(&f->registry, &f->arenas[set], &f->route, f->endpoints, f->count, f->now_ns);
    assert_non_null(f->sets[set]);
    f->set = f->sets[0];
    return f->sets[set];
}

static inline void fixture_drop(struct fixture *f, int set) {
    if (f->sets[set])
        vx_backend_set_drop(&f->registry, f->sets[set]);
    vx_arena_reset(&f->arenas[set]);
    f->sets[set] = NULL;
}

/* Drops what is left; nothing may be out afterwards. */
static inline void fixture_free(struct fixture *f) {
    for (int i = 0; i < FIXTURE_SETS; i++)
        fixture_drop(f, i);
    vx_backend_registry_destroy(&f->registry);
    assert_int_equal(f->memory.out, 0);
    free(f);
}

static inline void fixture_set_ewma(const struct vx_backend_set *set, uint32_t index, float ewma_us) {
    atomic_store(&set->places[index].line->ewma[set->places[index].lane], vx_bits_of_float(ewma_us));
}

static inline float fixture_ewma(const struct vx_backend_set *set, uint32_t index) {
    return vx_backend_set_stats(set, index).ewma_us;
}

static inline uint32_t fixture_active(const struct vx_backend_set *set, uint32_t index) {
    return vx_backend_set_stats(set, index).active;
}

static inline bool fixture_marked(const struct vx_backend_set *set, uint32_t index) {
    return atomic_load(&set->places[index].line->active[set->places[index].lane]) & VX_LANE_SPECIAL;
}

/* A first pick by worker 0. */
static inline enum vx_pick_result fixture_try(struct fixture *f, struct vx_backend_ticket *ticket) {
    struct vx_pick_request request = {.random = &f->random, .now_ns = f->now_ns};
    return vx_backend_pick(f->set, &request, ticket);
}

static inline struct vx_backend_ticket fixture_pick(struct fixture *f) {
    struct vx_backend_ticket ticket;
    assert_int_equal(fixture_try(f, &ticket), VX_PICKED);
    assert_true(vx_backend_ticket_open(&ticket));
    return ticket;
}

/* A whole request that took `latency_ns` of no time; the index that was picked. */
static inline uint32_t fixture_request(struct fixture *f, uint64_t latency_ns,
                                       enum vx_backend_outcome outcome) {
    struct vx_backend_ticket ticket = fixture_pick(f);
    if (outcome == VX_OUTCOME_SUCCESS)
        vx_backend_ticket_sample(&ticket, latency_ns, f->now_ns);
    vx_backend_ticket_end(&ticket, outcome, f->now_ns);
    return ticket.index;
}

#endif
