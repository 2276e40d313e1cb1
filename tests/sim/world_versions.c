/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations of a world. Each version is built with the control thread's own code (proxy/control/generation.c) and
 * taken up as a worker takes it up; from one to the next, backends come and go and one route appears and disappears. */
#include <stdlib.h>

#include "proxy/control/pool_table.h"
#include "sim/exchange.h"
#include "sim/filters.h"
#include "sim/host.h"
#include "sim/world.h"

enum { LIMITED_CONNECTIONS = 2, LIMITED_QUEUE = 3 };

struct world_version {
    struct world_version *next;
    struct sim *sim;
    struct vx_generation *generation;
    struct vx_setup setup;
    struct vx_config config;
    struct vx_config_route routes[SIM_ROUTES];
    struct vx_config_backend backends[SIM_ROUTES][SIM_BACKENDS];
    char names[SIM_ROUTES][SIM_BACKENDS][VX_ADDRESS_TEXT_MAX];
    struct vx_tls_server *servers[1];
    struct vx_tls_client *clients[SIM_ROUTES];
    uint64_t identities[SIM_ROUTES];
    bool unused, released;
};

static struct vx_slice models[] = {{"alpha", 5}, {"beta", 4}, {"gamma", 5}};

uint32_t versions_max_connections(unsigned route) {
    return route == ROUTE_LIMITED ? LIMITED_CONNECTIONS : 0;
}

static void configure_backend(struct world_version *v, unsigned r, unsigned slot, unsigned b) {
    struct vx_config_backend *backend = &v->backends[r][slot];
    char *name = v->names[r][slot];
    const struct host *host = host_of(v->sim, r, b);
    *backend = (struct vx_config_backend){
        .id = b + 1,
        .address = host->address,
        .address_text = vx_slice(name, vx_address_format(&host->address, name)),
        .weight = 1 + b,
        .max_connections = versions_max_connections(r),
    };
    if (r == ROUTE_MODELS) {
        /* alpha; alpha, beta; beta, gamma */
        backend->ai_models = b == 0 ? models : models + b - 1;
        backend->ai_model_count = b == 0 ? 1 : 2;
    }
}

/* All backends stay but for one in each route now and then; the models' stay, so that a model never vanishes. */
static void configure_backends(struct world_version *v, unsigned r, uint64_t version) {
    struct vx_config_route *route = &v->routes[r];
    unsigned missing =
        version > 1 && r != ROUTE_MODELS ? (unsigned)(version + r) % (SIM_BACKENDS + 1) : SIM_BACKENDS;
    route->backends = v->backends[r];
    for (unsigned b = 0; b < SIM_BACKENDS; b++)
        if (b != missing)
            configure_backend(v, r, route->backend_count++, b);
}

/* In a row, for a breaker to open. */
static uint32_t failures_of(const struct scenario *s) {
    enum { NEVER = 1000 };
    if (s->nothing_done)
        return NEVER;
    return s->backends_sound ? 1 : 5;
}

static void configure_route(struct world_version *v, unsigned r, uint64_t version) {
    static const char *const names[] = {"main", "limited", "models", "rewritten", "redirected", "variable"};
    static const char *const prefixes[] = {"/a", "/b", "/m", "/w", "/r", "/v"};
    static const enum vx_balance_kind kinds[] = {VX_BALANCE_PEAK_EWMA,     VX_BALANCE_ROUND_ROBIN,
                                                 VX_BALANCE_LEAST_REQUEST, VX_BALANCE_RANDOM,
                                                 VX_BALANCE_PEAK_EWMA,     VX_BALANCE_PEAK_EWMA};
    struct vx_config_route *route = &v->routes[r];
    bool http2 = host_of(v->sim, r, 0)->http2;
    *route = (struct vx_config_route){
        .name = vx_slice_of(names[r]),
        .has_match = r != ROUTE_VARIABLE || version % 2 == 1,
        .match = {.path_prefix = vx_slice_of(prefixes[r])},
        .balance = kinds[r],
        .ewma_decay = 0.5,
        .redirect_code = 308,
        .connect_timeout_ns = SIM_MS(500),
        .response_timeout_ns = SIM_S(2),
        .idle_timeout_ns = SIM_S(3),
        .pool_idle_ns = SIM_S(4),
        .pool_max_age_ns = r == ROUTE_REWRITE ? SIM_MS(200) : 0,
        .pool_max_requests = r == ROUTE_MODELS ? 5 : 0,
        .pool_max_idle = r == ROUTE_LIMITED ? LIMITED_CONNECTIONS : 4,
        .queue_length = LIMITED_QUEUE,
        .http2 = http2,
        .queue_timeout_ns = SIM_MS(400),
        .retry_attempts = 2,
        .retry_budget_percent = 20,
        .breaker = {.failures = failures_of(v->sim->scenario),
                    .failure_rate_percent = v->sim->scenario->nothing_done ? 100 : 50,
                    .open_for_ns = SIM_MS(300),
                    .half_open_requests = 2},
    };
    route->rate_limit = limits_of_route(v->sim);
    if (r == ROUTE_REDIRECT)
        route->redirect_to = VX_SLICE("https://elsewhere.example/");
    else
        configure_backends(v, r, version);
    if (r == ROUTE_REWRITE)
        route->rewrite_path_prefix = VX_SLICE("/rewritten");
}

static void configure(struct world_version *v, uint64_t version) {
    for (unsigned r = 0; r < SIM_ROUTES; r++)
        configure_route(v, r, version);
    v->config = (struct vx_config){
        .workers = 1,
        .routes = v->routes,
        .route_count = SIM_ROUTES,
        .timeouts = {.header_ns = SIM_S(2),
                     .idle_ns = SIM_S(5),
                     .body_ns = SIM_S(3),
                     .write_ns = SIM_S(3),
                     .handshake_ns = SIM_S(2)},
        .limits = {.header_bytes = 16384,
                   .headers = 64,
                   .uri_bytes = 8192,
                   .body_bytes = v->sim->scenario->body_limit,
                   .buffered_body_bytes = SIM_BUFFERED_BODY},
    };
    v->setup = (struct vx_setup){
        .config = &v->config,
        .servers = v->servers,
        .clients = v->clients,
        .client_identities = v->identities,
        .holders = 1, /* ours: so the generation never frees it */
        .keepers = 1,
    };
    filters_configure(v->sim, &v->config, &v->setup);
}

static void became_unused(struct vx_snapshot *snapshot) {
    struct world_version *v = snapshot->owner;
    if (v->unused)
        sim_fail(v->sim, "version %llu became unused twice", (unsigned long long)snapshot->version);
    v->unused = true;
    vx_generation_retire(v->generation);
}

static void was_released(struct vx_snapshot *snapshot) {
    struct world_version *v = snapshot->owner;
    if (!v->unused || v->released)
        sim_fail(v->sim, "version %llu was released twice, or while it was used",
                 (unsigned long long)snapshot->version);
    v->released = true;
}

static struct world_version *make(struct sim *sim) {
    struct world_version *v = calloc(1, sizeof *v);
    if (!v)
        abort();
    v->sim = sim;
    uint64_t number = ++sim->version_count;
    configure(v, number);
    struct vx_generation_sources sources = {.registry = &sim->registry,
                                            .pools = &sim->pools,
                                            .metrics = sim->metrics,
                                            .names = &sim->names,
                                            .workers = 1};
    v->generation = vx_generation_new(&sources, &v->setup, number, sim->now_ns);
    if (!v->generation)
        abort();
    v->generation->snapshot.unused = became_unused;
    v->generation->snapshot.released = was_released;
    v->generation->snapshot.owner = v;
    v->next = sim->versions;
    sim->versions = v;
    return v;
}

/* As adopt() of proxy/control/worker.c. */
static void take_up(struct sim *sim, struct world_version *v) {
    vx_generation_enter(v->generation, 0, sim->now_ns);
    vx_proxy_adopt(&sim->proxy, &v->generation->snapshot);
    vx_http_clients_retire(&sim->upstreams, v->generation->pools_used, v->generation->pool_count);
    vx_snapshot_drop(&v->generation->snapshot, 0);
}

void versions_init(struct sim *sim) {
    sim->heap_memory = vx_heap(malloc, free, 65536);
    vx_backend_registry_init(&sim->registry, &sim->heap_memory.source, 1);
    sim->metrics = vx_metrics_new(1);
    if (!sim->metrics)
        abort();
    filters_init(sim);
    take_up(sim, make(sim));
}

void versions_adopt_next(struct sim *sim) {
    take_up(sim, make(sim));
}

void versions_collect(struct sim *sim) {
    struct world_version **at = &sim->versions;
    while (*at) {
        struct world_version *v = *at;
        if (!v->released) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        vx_generation_free(v->generation);
        sim->freed_versions++;
        free(v);
    }
}

const struct vx_route *versions_route(struct sim *sim, unsigned route) {
    const struct vx_route *r = &sim->proxy.snapshot->routes[route];
    return r->set ? r : NULL;
}

void versions_end(struct sim *sim) {
    filters_leave(sim);
    versions_collect(sim);
    if (sim->versions || sim->freed_versions != sim->version_count)
        sim_fail(sim, "%u of %u superseded snapshots are still in use",
                 sim->version_count - sim->freed_versions, sim->version_count);
    for (uint32_t i = 0; i < sim->pools.count; i++)
        if (sim->pools.entries[i].users)
            sim_fail(sim, "a pool number is still taken");
    vx_pool_table_free(&sim->pools);
    vx_backend_registry_collect(&sim->registry);
    if (sim->registry.group_count)
        sim_fail(sim, "the state of %u routes is still in use", sim->registry.group_count);
    vx_backend_registry_destroy(&sim->registry);
    filters_end(sim);
    vx_metrics_free(sim->metrics);
}
