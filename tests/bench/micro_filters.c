/* SPDX-License-Identifier: Apache-2.0 */
/* What filters cost a request: whole exchanges in memory, between a client and a backend that do nothing, with filters and
 * without; the difference is the filter's. Each line is one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "core/base/heap.h"
#include "core/exchange/exchange.h"
#include "core/routing/balance/pick.h"
#include "core/routing/balance/registry.h"
#include "core/routing/balance/set.h"
#include "core/routing/table.h"
#include "filters/filters.h"
#include "support/guest.h"

enum { ROUNDS = 21, ROUND_NS = 10 * 1000 * 1000, ARENA_BYTES = 16384 };

/* The two ends */

static enum vx_pull pull_nothing(struct vx_stream *s, struct vx_slice *bytes) {
    (void)s, (void)bytes;
    return VX_PULL_END;
}

static void consume(struct vx_stream *s, size_t bytes) {
    (void)s, (void)bytes;
}

static struct vx_headers *no_trailers(struct vx_stream *s) {
    (void)s;
    return NULL;
}

static size_t push(struct vx_stream *s, struct vx_slice bytes) {
    (void)s;
    return bytes.len;
}

static void finish(struct vx_stream *s, struct vx_headers *trailers) {
    (void)s, (void)trailers;
}

static void nothing(struct vx_stream *s) {
    (void)s;
}

static void respond(struct vx_downstream *d, struct vx_response *response) {
    (void)d;
    if (response->status != 200)
        abort(); /* a filter that fails costs something else */
}

static const struct vx_stream_ops stream_ops = {
    .pull = pull_nothing,
    .consume = consume,
    .trailers = no_trailers,
    .push = push,
    .finish = finish,
    .flush = nothing,
    .again = nothing,
    .release = nothing,
};

static const struct vx_downstream_ops downstream_ops = {.respond = respond};

struct end {
    struct vx_http_client client;
    struct vx_upstream up;
};

static struct vx_upstream *open_upstream(struct vx_http_client *self, const struct vx_upstream_open *open,
                                         struct vx_error *error, uint64_t now_ns) {
    struct end *e = VX_CONTAINER_OF(self, struct end, client);
    (void)error;
    e->up = (struct vx_upstream){.stream = {.ops = &stream_ops, .events = open->events, .user = open->user},
                                 .sent_ns = now_ns};
    return &e->up;
}

static void record(struct vx_recorder *self, const struct vx_exchange_record *r) {
    (void)self, (void)r;
}

static void retried(struct vx_recorder *self, const struct vx_route *route, const struct vx_target *target) {
    (void)self, (void)route, (void)target;
}

/* A proxy with one route and one backend */

struct bench {
    struct vx_proxy proxy;
    struct vx_recorder recorder;
    struct vx_random random;
    struct end end;
    struct vx_config config;
    struct vx_config_route route;
    struct vx_config_backend backend;
    struct vx_route made;
    struct vx_target target;
    struct vx_target_shared shared;
    struct vx_snapshot snapshot;
    struct vx_snapshot_users users;
    struct vx_backend_registry registry;
    struct vx_heap heap;
    struct vx_arena arena;
    struct vx_timer_wheel wheel;
    struct vx_filter_engine *engine;
    struct vx_filter *filters[1];
    struct vx_filter_chain chain;
    char memory[ARENA_BYTES];
};

static struct bench *new_bench(void) {
    struct bench *b = calloc(1, sizeof *b);
    if (!b)
        abort();
    struct vx_backend_endpoint endpoint = {&b->backend, {.kind = VX_ADDRESS_IP4, .port = 80, .ip = {10}}};
    struct vx_route_entry entry = {&b->route.match, 0};
    b->heap = vx_heap(malloc, free, 65536);
    vx_arena_init(&b->arena, NULL, 0, &b->heap.source);
    b->backend = (struct vx_config_backend){.id = 1, .address_text = VX_SLICE("b:80"), .weight = 1};
    b->route = (struct vx_config_route){.name = VX_SLICE("bench"),
                                        .has_match = true,
                                        .match = {.path_prefix = VX_SLICE("/")},
                                        .backends = &b->backend,
                                        .backend_count = 1,
                                        .ewma_decay = 0.5};
    b->config.routes = &b->route;
    b->config.route_count = 1;
    vx_backend_registry_init(&b->registry, &b->heap.source, 1);
    b->target = (struct vx_target){.name = b->backend.address_text, .shared = &b->shared};
    b->made = (struct vx_route){.config = &b->route, .targets = &b->target};
    b->made.set = vx_backend_set_build(&b->registry, &b->arena, &b->route, &endpoint, 1, 1);
    b->snapshot = (struct vx_snapshot){.config = &b->config,
                                       .table = vx_route_table_build(&b->arena, &entry, 1, NULL),
                                       .routes = &b->made,
                                       .route_count = 1};
    vx_snapshot_begin(&b->snapshot, &b->users, 1);
    b->recorder = (struct vx_recorder){record, retried};
    b->end.client.open = open_upstream;
    vx_timer_wheel_init(&b->wheel, 0);
    vx_proxy_init(&b->proxy, &b->end.client, &b->recorder, &b->random, &b->wheel, 0);
    vx_proxy_adopt(&b->proxy, &b->snapshot);
    return b;
}

/* One exchange, with a request and a response of a few fields. */
static void exchange(struct bench *b, const struct vx_client_info *client) {
    static const struct vx_header fields[] = {
        {"host", "example.org", 11, 4, VX_HEADER_HOST, 0},
        {"user-agent", "curl/7.88.1", 11, 10, VX_HEADER_USER_AGENT, 0},
        {"accept", "*/*", 3, 6, VX_HEADER_OTHER, 0},
    };
    struct vx_header items[24];
    struct vx_request request = {
        .method = VX_METHOD_GET,
        .version = VX_HTTP_11,
        .keep_alive = true,
        .method_text = VX_SLICE("GET"),
        .target = VX_SLICE("/"),
        .path = VX_SLICE("/"),
        .authority = VX_SLICE("example.org"),
        .host = VX_SLICE("example.org"),
        .headers = {.items = items, .count = 3, .capacity = 24, .present = UINT64_MAX},
    };
    struct vx_arena arena;
    struct vx_response response = {.status = 200, .version = VX_HTTP_11, .keep_alive = true};
    struct vx_downstream down = {.stream = {.ops = &stream_ops},
                                 .ops = &downstream_ops,
                                 .request = &request,
                                 .arena = &arena,
                                 .client = client};
    memcpy(items, fields, sizeof fields);
    vx_arena_init(&arena, b->memory, sizeof b->memory, &b->heap.source);
    b->proxy.handler.begin(&b->proxy.handler, &down, 1000000);
    b->end.up.stream.events->on_response(b->end.up.stream.user, &response, 1001000);
    vx_arena_reset(&arena);
}

static void run(struct bench *b, unsigned n) {
    static const struct vx_client_info client = {.remote_text = {"192.0.2.1", 9},
                                                 .remote = {.kind = VX_ADDRESS_IP4, .ip = {192, 0, 2, 1}}};
    for (unsigned i = 0; i < n; i++)
        exchange(b, &client);
}

/* Measuring */

static double time_of(struct bench *b, unsigned n) {
    uint64_t from = micro_cpu_ns();
    run(b, n);
    return (double)(micro_cpu_ns() - from) / n;
}

/* In turns with the bare exchange, so that both see the same machine. */
static void measure(struct bench *b, const char *name) {
    double ns[ROUNDS];
    unsigned n = 64;
    while (time_of(b, n) * n < ROUND_NS)
        n *= 2;
    for (int i = 0; i < ROUNDS; i++) {
        b->made.chain = NULL;
        double bare = time_of(b, n);
        b->made.chain = b->chain.count ? &b->chain : NULL;
        ns[i] = time_of(b, n) - (b->chain.count ? bare : 0);
    }
    micro_report(name, "ns", ns, ROUNDS);
}

/* There is one thread, so the worker's work can be done at once. */
static bool post_at_once(const struct vx_filter_worker *self, void (*work)(void *, uint64_t), void *arg) {
    (void)self;
    work(arg, 1);
    return true;
}

static uint64_t wall_ns(void) {
    return micro_clock_ns(CLOCK_REALTIME);
}

static void measure_guest(struct bench *b, const char *guest, const char *name) {
    struct vx_config_filter config = {.name = vx_slice_of(guest),
                                      .limits = {.memory_bytes = 1 << 20,
                                                 .time_ns = 1000000000,
                                                 .start_time_ns = 1000000000,
                                                 .body_bytes = 1 << 20}};
    struct vx_config_error error;
    struct vx_slice binary = vx_guest_load(guest);
    b->filters[0] = b->engine->load(b->engine, &config, binary, &error);
    vx_guest_free(binary);
    if (!b->filters[0]) {
        fprintf(stderr, "%s: %s\n", guest, error.text);
        exit(1);
    }
    b->chain = (struct vx_filter_chain){b->filters, 1};
    b->filters[0]->ops->enter(b->filters[0], 0, &b->snapshot, 1);
    measure(b, name);
    b->engine->drop(b->engine, b->filters[0]);
    b->chain.count = 0;
}

int main(void) {
    static const struct vx_config_wasm wasm = {.instances = 1000, .cache_path = {"off", 3}};
    struct bench *b = new_bench();
    struct vx_filter_worker worker = {&b->wheel, &b->end.client, post_at_once, wall_ns};
    b->engine = vx_filters_new(NULL);
    if (!b->engine)
        return 1;
    b->engine->attach(b->engine, 0, &worker);
    b->engine->configure(b->engine, &wasm);
    measure(b, "filters: an exchange without");
    measure_guest(b, "pass", "filters: execute, without memory");
    measure_guest(b, "pass_memory", "filters: execute, with memory");
    measure_guest(b, "add_header", "filters: a plugin that adds a header");
    vx_filters_free(b->engine);
    vx_backend_set_drop(&b->registry, b->made.set);
    vx_backend_registry_destroy(&b->registry);
    vx_arena_reset(&b->arena);
    free(b);
    return 0;
}
