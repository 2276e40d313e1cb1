/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants of the proxy as a whole, held after every round and when all has come to rest. */
#include "core/routing/balance/set.h"
#include "sim/client.h"
#include "sim/host.h"
#include "sim/world.h"

/* closed → open → half-open → closed or open. */
static bool legal(enum vx_breaker_state from, enum vx_breaker_state to) {
    switch (from) {
    case VX_BREAKER_CLOSED:
        return to != VX_BREAKER_HALF_OPEN;
    case VX_BREAKER_OPEN:
        return to != VX_BREAKER_CLOSED;
    default:
        return true;
    }
}

static void watch_breaker(struct sim *sim, const struct vx_backend_set *set, uint32_t index,
                          struct sim_backend_watch *watch, enum vx_breaker_state state) {
    uint64_t key = vx_backend_set_key(set, index);
    if (watch->key != key)
        *watch = (struct sim_backend_watch){.key = key, .breaker = VX_BREAKER_CLOSED};
    if (watch->breaker == state)
        return;
    if (!legal((enum vx_breaker_state)watch->breaker, state))
        sim_fail(sim, "a breaker went from %s to %s",
                 vx_breaker_state_name((enum vx_breaker_state)watch->breaker), vx_breaker_state_name(state));
    if (sim->scenario->backends_sound)
        sim_fail(sim, "the breaker of a faultless backend went %s", vx_breaker_state_name(state));
    sim->breaker_openings += state == VX_BREAKER_OPEN;
    watch->breaker = (uint8_t)state;
}

/* Returns the requests active on the route's backends. */
static uint32_t check_route(struct sim *sim, unsigned r, bool at_rest) {
    const struct vx_route *route = versions_route(sim, r);
    uint32_t active = 0;
    for (uint32_t i = 0; route && i < vx_backend_set_count(route->set); i++) {
        const struct vx_target *target = &route->targets[i];
        struct vx_backend_stats stats = vx_backend_set_stats(route->set, i);
        active += stats.active;
        watch_breaker(sim, route->set, i, &sim->watches[r][target->address.ip[3]], stats.breaker);
        uint32_t connections = atomic_load(&target->shared->connections);
        uint32_t waiting = atomic_load(&target->shared->waiting);
        if (target->max_connections && connections > target->max_connections)
            sim_fail(sim, "%u connections to a backend that may have %u", connections,
                     target->max_connections);
        if (waiting > target->queue_length)
            sim_fail(sim, "%u requests wait in a queue of %u", waiting, target->queue_length);
        if (at_rest && (stats.active || waiting))
            sim_fail(sim, "all is at rest, but a backend of route %u has %u active and %u waiting requests",
                     r, stats.active, waiting);
    }
    return active;
}

/* Open connections as the pools count them: those of current backends and of retired ones. */
static uint32_t counted_connections(const struct sim *sim) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < sim->pools.count; i++)
        if (sim->pools.entries[i].shared)
            sum += atomic_load(&sim->pools.entries[i].shared->connections);
    for (uint32_t i = 0; i < sim->pools.retired_count; i++)
        sum += atomic_load(&sim->pools.retired[i]->connections);
    return sum;
}

static void check_counts(struct sim *sim) {
    if (sim->server.connection_count != sim->accepted_open)
        sim_fail(sim, "the server counts %u connections, %u are open", sim->server.connection_count,
                 sim->accepted_open);
    if (world_upstream_connections(sim) != sim->dialed_open)
        sim_fail(sim, "the clients count %u connections, %u are open", world_upstream_connections(sim),
                 sim->dialed_open);
    uint32_t counted = counted_connections(sim);
    /* One of HTTP/2 that has only to say good-bye no longer takes a place. */
    if (sim->scenario->http2_backends ? counted > sim->dialed_open : counted != sim->dialed_open)
        sim_fail(sim, "the backends count %u connections, %u are open", counted, sim->dialed_open);
    uint32_t streams = sim->scenario->http2 ? CLIENT_H2_AT_ONCE_MAX : 1;
    if (sim->proxy.active > sim->accepted_open * streams)
        sim_fail(sim, "%u exchanges on %u connections", sim->proxy.active, sim->accepted_open);
}

void checks_after_round(struct sim *sim) {
    uint32_t active = 0;
    check_counts(sim);
    for (unsigned r = 0; r < SIM_ROUTES; r++)
        active += check_route(sim, r, false);
    if (active > sim->proxy.active)
        sim_fail(sim, "%u requests are active on backends, but there are only %u exchanges", active,
                 sim->proxy.active);
}

void checks_at_end(struct sim *sim) {
    if (sim->proxy.active || sim->server.connection_count)
        sim_fail(sim, "all is at rest, but there are %u exchanges and %u client connections",
                 sim->proxy.active, sim->server.connection_count);
    for (unsigned r = 0; r < SIM_ROUTES; r++)
        check_route(sim, r, true);
    /* Where nothing is wrong, most requests find a connection that is there already. */
    if (sim->scenario->reuses && sim->attempts > 100 && sim->backend_connections * 3 > sim->attempts)
        sim_fail(sim, "%llu attempts took %llu connections: they are not used again",
                 (unsigned long long)sim->attempts, (unsigned long long)sim->backend_connections);
    uint64_t ended = sim->begins + sim->refusals + sim->tunnels_begun;
    if (sim->records != ended)
        sim_fail(sim, "%llu requests and tunnels, but %llu records", (unsigned long long)ended,
                 (unsigned long long)sim->records);
}
