/* SPDX-License-Identifier: Apache-2.0 */
/* See world.h. */
#include "sim/world.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/runtime/slab.h"
#include "sim/client.h"
#include "sim/host.h"

static void *take_chunk(struct vx_chunk_source *source, size_t bytes) {
    struct sim_memory *m = VX_CONTAINER_OF(source, struct sim_memory, source);
    if (sim_fault_hits(m->sim, m->fault) || sim_chance(m->sim, m->sim->scenario->lost_memory))
        return NULL;
    /* Straight from malloc, not from a slab: so a sanitizer knows each chunk's true end, and its death. */
    void *chunk = aligned_alloc(16, (bytes + 15) / 16 * 16);
    if (!chunk)
        abort();
    memset(chunk, 0xa5, bytes);
    m->chunks++;
    m->bytes += bytes;
    return chunk;
}

static void give_chunk(struct vx_chunk_source *source, void *chunk, size_t bytes) {
    struct sim_memory *m = VX_CONTAINER_OF(source, struct sim_memory, source);
    if (m->chunks == 0 || m->bytes < bytes)
        sim_fail(m->sim, "a chunk was given back that was not taken");
    if (m->sim->mischief == SIM_LEAK && m->chunks == 1)
        return;
    m->chunks--;
    m->bytes -= bytes;
    free(chunk);
}

static void memory_init(struct sim *sim, struct sim_memory *m, size_t chunk_bytes, enum sim_fault fault) {
    *m = (struct sim_memory){.source = {take_chunk, give_chunk, chunk_bytes}, .sim = sim, .fault = fault};
}

static void configure_server(struct sim *sim) {
    const struct vx_config *config = sim->proxy.snapshot->config;
    sim->server.limits = (struct vx_h1_limits){
        .header_bytes = config->limits.header_bytes,
        .headers = (uint16_t)config->limits.headers,
        .uri_bytes = config->limits.uri_bytes,
        .merge_slashes = config->merge_slashes,
    };
    sim->server.timeouts = config->timeouts;
    sim->server.body_bytes = config->limits.body_bytes;
}

static bool covers(const struct vx_transport *transport, struct vx_slice host) {
    (void)transport, (void)host;
    return true;
}

void world_init(struct sim *sim) {
    sim->now_ns = SIM_S(1000);
    vx_list_init(&sim->wires);
    vx_list_init(&sim->ready);
    bool small = sim->scenario->small_chunks;
    memory_init(sim, &sim->arenas, small ? 512 : VX_SLAB_ARENA_BYTES, SIM_FAULT_ARENA);
    memory_init(sim, &sim->blocks, small ? 2048 : VX_SLAB_BLOCK_BYTES, SIM_FAULT_BLOCK);
    sim->rt.now_ns = sim->now_ns;
    vx_timer_wheel_init(&sim->rt.wheel, sim->now_ns);
    vx_list_init(&sim->rt.tasks);
    vx_list_init(&sim->rt.later);
    sim->rt.arenas = &sim->arenas.source;
    sim->rt.blocks = &sim->blocks.source;
    sim->rt.random.state = sim->seed * 31 + 7;
    sim->rt.dialer = &sim->dialer;
    wire_dialer_init(sim);
    hosts_init(sim);
    vx_http_clients_init(&sim->upstreams, &sim->rt);
    ports_init(sim);
    vx_proxy_init(&sim->proxy, &sim->client_port, &sim->recorder, &sim->rt.random, &sim->rt.wheel, 0);
    limits_init(sim);
    bans_init(sim);
    vx_http_server_init(&sim->server, &sim->rt, &sim->handler);
    versions_init(sim);
    configure_server(sim);
    sim->server.covers = sim->scenario->handshakes ? covers : NULL;
}

void world_drain(struct sim *sim) {
    vx_http_clients_drain(&sim->upstreams);
    vx_http_server_drain(&sim->server);
}

/* Events of the transports, in the order epoll might give them: any. */
static void deliver_events(struct sim *sim) {
    struct vx_list now;
    vx_list_init(&now);
    struct vx_list *node;
    while ((node = vx_list_pop_front(&sim->ready)) != NULL) {
        if (sim_chance(sim, 300))
            vx_list_push_front(&now, node);
        else
            vx_list_push_back(&now, node);
    }
    while ((node = vx_list_pop_front(&now)) != NULL)
        wire_deliver(VX_CONTAINER_OF(node, struct wire, ready));
}

void world_round(struct sim *sim) {
    sim->rounds++;
    sim->rt.now_ns = sim->now_ns;
    deliver_events(sim);
    limits_answer(sim);
    if (sim->reload_wanted) {
        sim->reload_wanted = false;
        versions_adopt_next(sim);
    }
    if (sim->drain_wanted) {
        sim->drain_wanted = false;
        world_drain(sim);
    }
    if (sim->cut_wanted) {
        sim->cut_wanted = false;
        vx_http_server_close_all(&sim->server);
    }
    sim->tasks_left = vx_runtime_run_tasks(&sim->rt);
    vx_timer_wheel_run(&sim->rt.wheel, sim->now_ns);
    wire_free_retired(sim);
    versions_collect(sim);
    checks_after_round(sim);
}

static void check_nothing_left(struct sim *sim) {
    if (sim->arenas.chunks || sim->blocks.chunks)
        sim_fail(sim, "%llu arena chunks and %llu blocks were not given back",
                 (unsigned long long)sim->arenas.chunks, (unsigned long long)sim->blocks.chunks);
    if (!vx_list_empty(&sim->rt.tasks))
        sim_fail(sim, "a task is left");
    for (int level = 0; level < VX_TIMER_LEVELS; level++)
        if (sim->rt.wheel.used[level])
            sim_fail(sim, "a timer is left");
    if (sim->accepted_open || sim->dialed_open || world_upstream_connections(sim))
        sim_fail(sim, "%u client and %u backend connections are still open", sim->accepted_open,
                 sim->dialed_open);
}

void world_end(struct sim *sim) {
    clients_check_done(sim);
    checks_at_end(sim);
    vx_http_clients_destroy(&sim->upstreams);
    vx_runtime_run_tasks(&sim->rt);
    wire_free_retired(sim);
    check_nothing_left(sim);
    exchange_check_all(sim);
    limits_end(sim);
    bans_end(sim);
    vx_snapshot_drop(sim->proxy.snapshot, 0);
    versions_end(sim);
    wire_free_all(sim);
    clients_free(sim);
    hosts_free(sim);
}
