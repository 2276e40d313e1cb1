/* SPDX-License-Identifier: Apache-2.0 */
/* See generation.h. */
#include "proxy/control/generation.h"

#include <stdlib.h>
#include <string.h>

#include "core/limit/limit.h"
#include "core/routing/balance/set.h"
#include "core/routing/table.h"

enum { ENDPOINTS_MAX = 65536, CHUNK_BYTES = 64 * 1024 };

/* How many endpoints the backends of a route have now. */
static uint32_t count_endpoints(const struct vx_generation *g, const struct vx_config_route *config) {
    uint32_t count = 0;
    for (uint32_t b = 0; b < config->backend_count; b++) {
        uint32_t n = 1;
        if (config->backends[b].address.kind == VX_ADDRESS_NAME)
            vx_names_find(g->sources.names, config->backends[b].address.text, &n);
        count += n;
    }
    return count < ENDPOINTS_MAX ? count : ENDPOINTS_MAX;
}

static void list_endpoints(const struct vx_generation *g, const struct vx_config_route *config,
                           struct vx_backend_endpoint *endpoints, uint32_t count) {
    uint32_t at = 0;
    for (uint32_t b = 0; b < config->backend_count; b++) {
        const struct vx_config_backend *backend = &config->backends[b];
        const struct vx_address *addresses = &backend->address;
        uint32_t n = 1;
        if (backend->address.kind == VX_ADDRESS_NAME)
            addresses = vx_names_find(g->sources.names, backend->address.text, &n);
        for (uint32_t i = 0; i < n && at < count; i++) {
            endpoints[at] = (struct vx_backend_endpoint){.backend = backend, .address = addresses[i]};
            endpoints[at++].address.port = backend->address.port;
        }
    }
}

/* The host part of a backend's address as written: what its certificate has to name. */
static struct vx_slice host_of(struct vx_generation *g, const struct vx_address *address) {
    if (address->kind == VX_ADDRESS_NAME)
        return address->text;
    char text[VX_ADDRESS_TEXT_MAX];
    return vx_arena_copy(&g->arena, vx_slice(text, vx_address_format_ip(address, text)));
}

static bool make_target(struct vx_generation *g, struct vx_route *route, uint32_t index,
                        struct vx_target *target) {
    const struct vx_config_route *config = route->config;
    const struct vx_backend_endpoint *endpoint = vx_backend_set_endpoint(route->set, index);
    uint32_t pool;
    if (!vx_pool_table_take(g->sources.pools, vx_backend_set_key(route->set, index),
                            g->setup->client_identities[route->index], &pool))
        return false;
    *target = (struct vx_target){
        .address = endpoint->address,
        .name = endpoint->backend->address_text,
        .tls = g->setup->clients[route->index],
        .http2 = config->http2,
        .server_name =
            config->tls.server_name.len ? config->tls.server_name : host_of(g, &endpoint->backend->address),
        .shared = g->sources.pools->entries[pool].shared,
        .pool = pool,
        .max_connections = endpoint->backend->max_connections,
        .max_idle = config->pool_max_idle,
        .max_requests = config->pool_max_requests,
        .queue_length = config->queue_length,
        .connect_timeout_ns = config->connect_timeout_ns,
        .response_timeout_ns = config->response_timeout_ns,
        .idle_timeout_ns = config->idle_timeout_ns,
        .pool_idle_ns = config->pool_idle_ns,
        .pool_max_age_ns = config->pool_max_age_ns,
        .queue_timeout_ns = config->queue_timeout_ns,
    };
    target->metrics = vx_metrics_backend(g->sources.metrics, route->metrics, target->name);
    return true;
}

static bool make_route(struct vx_generation *g, struct vx_route *route, uint32_t index, uint64_t now_ns) {
    const struct vx_config_route *config = &g->setup->config->routes[index];
    *route = (struct vx_route){.config = config, .index = index};
    route->metrics = vx_metrics_route(g->sources.metrics, config->name);
    g->routes_made = index + 1;
    if (config->rate_limit.enabled) {
        route->limit = vx_limit_build(&config->rate_limit, &g->arena);
        if (!route->limit)
            return false;
    }
    if (!config->backend_count)
        return true;
    uint32_t count = count_endpoints(g, config);
    struct vx_backend_endpoint *endpoints = malloc((count + 1) * sizeof *endpoints);
    struct vx_target *targets = vx_arena_alloc(&g->arena, (count + 1) * sizeof *targets);
    if (!endpoints || !targets) {
        free(endpoints);
        return false;
    }
    list_endpoints(g, config, endpoints, count);
    route->set = vx_backend_set_build(g->sources.registry, &g->arena, config, endpoints, count, now_ns);
    free(endpoints);
    if (!route->set)
        return false;
    memset(targets, 0, (count + 1) * sizeof *targets);
    route->targets = targets;
    for (uint32_t i = 0; i < count; i++)
        if (!make_target(g, route, i, &targets[i]))
            return false;
    return true;
}

/* The filters of one route, or of all those that name none; *out NULL: there are none. False: no memory. */
static bool make_chain(struct vx_generation *g, const struct vx_config_route *route,
                       const struct vx_filter_chain **out) {
    const struct vx_config *config = g->setup->config;
    uint32_t count = route ? route->filter_count : config->filter_count;
    *out = NULL;
    if (!count)
        return true;
    struct vx_filter_chain *chain = vx_arena_alloc(&g->arena, sizeof *chain);
    struct vx_filter **filters = vx_arena_alloc(&g->arena, count * sizeof *filters);
    if (!chain || !filters)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t f = i;
        if (route)
            for (f = 0; !vx_slice_eq(config->filters[f].name, route->filters[i].name);)
                f++;
        filters[i] = g->setup->filters[f];
    }
    *chain = (struct vx_filter_chain){filters, count};
    *out = chain;
    return true;
}

static bool make_chains(struct vx_generation *g, struct vx_route *routes) {
    const struct vx_filter_chain *all;
    if (!make_chain(g, NULL, &all))
        return false;
    for (uint32_t r = 0; r < g->snapshot.route_count; r++) {
        routes[r].chain = all;
        if (routes[r].config->filters_given && !make_chain(g, routes[r].config, &routes[r].chain))
            return false;
    }
    return true;
}

void vx_generation_enter(struct vx_generation *g, uint32_t worker, uint64_t now_ns) {
    const struct vx_setup *setup = g->setup;
    for (uint32_t i = 0; i < setup->config->filter_count; i++)
        setup->filters[i]->ops->enter(setup->filters[i], worker, &g->snapshot, now_ns);
}

static bool make_table(struct vx_generation *g) {
    const struct vx_config *config = g->setup->config;
    struct vx_route_entry *entries = malloc((config->route_count + 1) * sizeof *entries);
    if (!entries)
        return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->route_count; i++)
        if (config->routes[i].has_match)
            entries[count++] = (struct vx_route_entry){.match = &config->routes[i].match, .index = i};
    g->snapshot.table = vx_route_table_build(&g->arena, entries, count, NULL);
    free(entries);
    return g->snapshot.table != NULL;
}

static bool note_pools(struct vx_generation *g) {
    g->pool_count = g->sources.pools->count;
    g->pools_used = calloc(g->pool_count / 64 + 1, sizeof *g->pools_used);
    if (!g->pools_used)
        return false;
    for (uint32_t r = 0; r < g->snapshot.route_count; r++) {
        const struct vx_route *route = &g->snapshot.routes[r];
        for (uint32_t i = 0; route->set && i < vx_backend_set_count(route->set); i++) {
            uint32_t pool = route->targets[i].pool;
            g->pools_used[pool / 64] |= UINT64_C(1) << (pool % 64);
        }
    }
    return true;
}

static bool make_users(struct vx_generation *g) {
    uint32_t workers = g->sources.workers;
    struct vx_snapshot_users *users = aligned_alloc(64, workers * sizeof *users);
    if (users)
        vx_snapshot_begin(&g->snapshot, users, workers);
    return users != NULL;
}

struct vx_generation *vx_generation_new(const struct vx_generation_sources *sources, struct vx_setup *setup,
                                        uint64_t version, uint64_t now_ns) {
    struct vx_generation *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    vx_list_init(&g->link);
    g->sources = *sources;
    g->setup = vx_setup_keep(vx_setup_hold(setup));
    g->heap = vx_heap(malloc, free, CHUNK_BYTES);
    vx_arena_init(&g->arena, NULL, 0, &g->heap.source);
    const struct vx_config *config = setup->config;
    g->snapshot.config = config;
    g->snapshot.version = version;
    struct vx_route *routes = vx_arena_alloc(&g->arena, (config->route_count + 1) * sizeof *routes);
    bool made = routes != NULL;
    g->snapshot.routes = routes;
    for (uint32_t i = 0; made && i < config->route_count; i++)
        made = make_route(g, &routes[i], i, now_ns);
    g->snapshot.route_count = g->routes_made;
    if (made && make_chains(g, routes) && make_table(g) && note_pools(g) && make_users(g))
        return g;
    vx_generation_free(g);
    return NULL;
}

void vx_generation_retire(struct vx_generation *g) {
    if (!g->retired)
        vx_setup_drop(g->setup);
    g->retired = true;
}

void vx_generation_free(struct vx_generation *g) {
    vx_generation_retire(g);
    vx_list_remove(&g->link);
    const struct vx_route *routes = g->snapshot.routes;
    for (uint32_t r = 0; routes && r < g->routes_made; r++) {
        const struct vx_route *route = &routes[r];
        for (uint32_t i = 0; route->targets && i < vx_backend_set_count(route->set); i++) {
            if (!route->targets[i].shared)
                break; /* half built */
            vx_metrics_backend_drop(g->sources.metrics, route->targets[i].metrics);
            vx_pool_table_give(g->sources.pools, route->targets[i].pool);
        }
        vx_metrics_route_drop(g->sources.metrics, route->metrics);
        if (route->set)
            vx_backend_set_drop(g->sources.registry, route->set);
    }
    vx_pool_table_collect(g->sources.pools);
    free(g->pools_used);
    free(g->snapshot.users);
    vx_arena_reset(&g->arena);
    vx_setup_release(g->setup);
    free(g);
}
