/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy with one configuration, a recorder that remembers, a client and a downstream without connections, for the
 * tests of this folder. */
#ifndef VX_TESTS_EXCHANGE_FIXTURE_H
#define VX_TESTS_EXCHANGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/heap.h"
#include "core/exchange/exchange.h"
#include "core/routing/balance/pick.h"
#include "core/routing/table.h"
#include "support/fake_downstream.h"
#include "support/fake_upstream.h"

enum { FIXTURE_BACKENDS = 3 };

struct fixture {
    struct vx_proxy proxy;
    struct vx_recorder recorder;
    struct vx_exchange_record record; /* the last one; its borrowed parts are not to be used */
    unsigned records, begun, retries;
    char client_ip[64], backend[64];
    struct fake_client client;
    struct fake_downstream f;
    struct vx_random random;
    struct vx_timer_wheel wheel;
    struct vx_config config;
    struct vx_config_route routes[2];
    struct vx_config_backend backends[FIXTURE_BACKENDS];
    struct vx_prefix trusted;
    struct vx_route made[2];
    struct vx_target targets[FIXTURE_BACKENDS];
    struct vx_target_shared shared[FIXTURE_BACKENDS];
    struct vx_snapshot snapshot;
    struct vx_snapshot_users users;
    unsigned unused; /* the snapshot was told to be so often */
    struct vx_backend_registry registry;
    struct vx_heap heap;
    struct vx_arena arena;
    uint64_t now_ns;
};

static inline void fixture_record(struct vx_recorder *self, const struct vx_exchange_record *record) {
    struct fixture *x = VX_CONTAINER_OF(self, struct fixture, recorder);
    if (record->part == VX_RECORD_TUNNEL_BEGUN) {
        x->begun++;
        return;
    }
    x->records++;
    x->record = *record;
    assert_true(record->client_ip.len < sizeof x->client_ip && record->backend.len < sizeof x->backend);
    memset(x->client_ip, 0, sizeof x->client_ip);
    memcpy(x->client_ip, record->client_ip.ptr, record->client_ip.len);
    memset(x->backend, 0, sizeof x->backend);
    if (record->backend.len)
        memcpy(x->backend, record->backend.ptr, record->backend.len);
}

static inline void fixture_retried(struct vx_recorder *self, const struct vx_route *route,
                                   const struct vx_target *target) {
    assert_non_null(route);
    assert_non_null(target);
    VX_CONTAINER_OF(self, struct fixture, recorder)->retries++;
}

static inline void fixture_unused(struct vx_snapshot *snapshot) {
    ((struct fixture *)snapshot->owner)->unused++;
}

/* Route 0 takes /api below every host to three backends, route 1 redirects /old. Change the configuration, then
 * fixture_start. */
static inline struct fixture *fixture_new(void) {
    static const char *const names[FIXTURE_BACKENDS] = {"b0:80", "b1:80", "b2:80"};
    struct fixture *x = calloc(1, sizeof *x);
    assert_non_null(x);
    x->now_ns = UINT64_C(1000000000000);
    x->random.state = 5;
    x->routes[0] = (struct vx_config_route){
        .name = VX_SLICE("api"),
        .has_match = true,
        .match = {.path_prefix = VX_SLICE("/api")},
        .backends = x->backends,
        .backend_count = FIXTURE_BACKENDS,
        .balance = VX_BALANCE_ROUND_ROBIN,
        .retry_attempts = 2,
        .retry_budget_percent = 100,
    };
    x->routes[1] = (struct vx_config_route){.name = VX_SLICE("old"),
                                            .has_match = true,
                                            .match = {.path = VX_SLICE("/old")},
                                            .redirect_to = VX_SLICE("https://new.example/"),
                                            .redirect_code = 308};
    for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++)
        x->backends[i] =
            (struct vx_config_backend){.id = i + 1, .address_text = vx_slice_of(names[i]), .weight = 1};
    x->config.routes = x->routes;
    x->config.route_count = 2;
    x->config.limits.buffered_body_bytes = 1000;
    fake_client_init(&x->client);
    return x;
}

static inline void fixture_start(struct fixture *x) {
    struct vx_backend_endpoint endpoints[FIXTURE_BACKENDS];
    struct vx_route_entry entries[2];
    x->heap = vx_heap(malloc, free, 65536);
    vx_arena_init(&x->arena, NULL, 0, &x->heap.source);
    vx_backend_registry_init(&x->registry, &x->heap.source, 1);
    for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++) {
        endpoints[i] = (struct vx_backend_endpoint){
            &x->backends[i], {.kind = VX_ADDRESS_IP4, .port = 80, .ip = {10, 0, 0, (uint8_t)i}}};
        x->targets[i] =
            (struct vx_target){.name = x->backends[i].address_text, .shared = &x->shared[i], .pool = i};
    }
    for (uint32_t i = 0; i < 2; i++) {
        entries[i] = (struct vx_route_entry){&x->routes[i].match, i};
        x->made[i] = (struct vx_route){.config = &x->routes[i], .index = i};
    }
    x->made[0].set =
        vx_backend_set_build(&x->registry, &x->arena, &x->routes[0], endpoints, FIXTURE_BACKENDS, x->now_ns);
    x->made[0].targets = x->targets;
    x->snapshot = (struct vx_snapshot){
        .config = &x->config,
        .table = vx_route_table_build(&x->arena, entries, 2, NULL),
        .routes = x->made,
        .route_count = 2,
        .unused = fixture_unused,
        .owner = x,
    };
    vx_snapshot_begin(&x->snapshot, &x->users, 1);
    x->recorder = (struct vx_recorder){fixture_record, fixture_retried};
    vx_timer_wheel_init(&x->wheel, x->now_ns);
    vx_proxy_init(&x->proxy, &x->client.port, &x->recorder, &x->random, &x->wheel, 0);
    vx_proxy_adopt(&x->proxy, &x->snapshot);
    vx_snapshot_drop(&x->snapshot, 0);
}

static inline uint32_t fixture_active(const struct fixture *x) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < FIXTURE_BACKENDS; i++)
        n += vx_backend_set_stats(x->made[0].set, i).active;
    return n;
}

/* A request that is ready to be given fields and a body. */
static inline void fixture_request(struct fixture *x, enum vx_method method, const char *path) {
    fake_downstream_init(&x->f, method, path);
    x->f.request.authority = x->f.request.host = VX_SLICE("example.org");
    x->f.client.remote_text = VX_SLICE("192.0.2.1");
    x->f.client.remote = (struct vx_address){.kind = VX_ADDRESS_IP4, .ip = {192, 0, 2, 1}};
    fake_downstream_add_field(&x->f, "Host", "example.org");
}

static inline void fixture_begin(struct fixture *x) {
    fake_downstream_begin(&x->f, &x->proxy.handler, x->now_ns);
}

static inline struct fake_upstream *fixture_up(struct fixture *x) {
    return fake_client_last(&x->client);
}

/* Nothing may be left of the exchange, whose response may have been cut. */
static inline void fixture_check_over(const struct fixture *x) {
    assert_int_equal(x->f.released, 1);
    assert_int_equal(x->records, 1);
    assert_int_equal(x->proxy.active, 0);
    assert_int_equal(x->users.count, 1);
    assert_int_equal(fixture_active(x), 0);
}

static inline void fixture_free(struct fixture *x) {
    fixture_check_over(x);
    fake_downstream_free(&x->f);
    fake_client_free(&x->client);
    vx_snapshot_drop(&x->snapshot, 0);
    assert_int_equal(x->unused, 1);
    vx_backend_set_drop(&x->registry, x->made[0].set);
    vx_backend_registry_destroy(&x->registry);
    vx_arena_reset(&x->arena);
    free(x);
}

#endif
