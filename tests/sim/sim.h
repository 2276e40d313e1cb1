/* SPDX-License-Identifier: Apache-2.0 */
/* The deterministic simulator: the proxy's own code between simulated clients and backends, over a virtual wire and
 * under a virtual clock. One struct sim is one world: everything in it follows from a scenario and a seed, so that what
 * went wrong once goes wrong again. One thread, no file descriptors.
 *
 * How a world runs (sim_run): actors (clients, backends, the wire) act through events on a heap, ordered by time and
 * then by age; whenever something of it concerns the proxy, the proxy gets a round as its event loop would give it:
 * transport events, tasks, timers, memory put off. After each round the invariants are checked. */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/heap.h"
#include "core/base/list.h"
#include "core/base/random.h"
#include "core/exchange/exchange.h"
#include "core/routing/balance/registry.h"
#include "proxy/control/generation.h"
#include "proxy/http/clients.h"
#include "proxy/http/server.h"
#include "sim/bans.h"
#include "sim/faults.h"
#include "sim/limits.h"
#include "sim/scenario.h"

struct sim;
struct exchange;
struct wire;
struct client;
struct host;
struct world_version;
struct sim_filters;

#define SIM_US(n) ((uint64_t)(n)*1000)
#define SIM_MS(n) ((uint64_t)(n)*1000000)
#define SIM_S(n)  ((uint64_t)(n)*1000000000)

typedef void sim_event_fn(struct sim *sim, void *actor, uint64_t arg);

struct sim_event {
    uint64_t at_ns, order;
    sim_event_fn *run;
    void *actor;
    uint64_t arg;
};

/* A chunk source that counts what is out and can be told to fail. */
struct sim_memory {
    struct vx_chunk_source source;
    struct sim *sim;
    enum sim_fault fault;
    uint64_t chunks, bytes; /* with users */
};

enum { SIM_ROUTES = 6, SIM_BACKENDS = 3, SIM_VERSIONS_MAX = 64 };

/* What is known of one backend of one route over the life of the world. */
struct sim_backend_watch {
    uint64_t key;    /* of the set's endpoint: another one, another history */
    uint8_t breaker; /* enum vx_breaker_state */
};

struct sim {
    const struct scenario *scenario;
    uint64_t seed;
    uint32_t wanted; /* exchanges to run */
    bool verbose;
    struct sim_fault_plan faults;
    enum sim_mischief mischief; /* what the self-test plants */

    struct vx_random random;
    uint64_t now_ns;
    struct sim_event *heap;
    size_t heap_count, heap_room;
    uint64_t order, rounds, digest;
    uint64_t still_rounds; /* rounds without time going on */

    /* The proxy. */
    struct vx_runtime rt;
    struct sim_memory arenas, blocks;
    struct vx_http_clients upstreams;
    struct vx_http_server server;
    struct vx_proxy proxy;
    struct vx_recorder recorder;
    struct vx_dialer dialer;
    struct vx_http_client client_port; /* stands between the exchange and `upstreams` */
    struct vx_handler handler;         /* stands between the server and `proxy` */
    struct sim_bans bans;
    struct sim_limits limits; /* the store of rate limits */
    bool tasks_left;

    /* The control thread's part. */
    struct vx_heap heap_memory;
    struct vx_backend_registry registry;
    struct vx_pool_table pools;
    struct vx_metrics *metrics;
    struct vx_names names;
    struct world_version *versions; /* the newest first */
    uint32_t version_count, freed_versions;
    bool reload_wanted, drain_wanted, cut_wanted;
    struct sim_filters *filters; /* NULL: the scenario has none */
    struct sim_backend_watch watches[SIM_ROUTES][SIM_BACKENDS];

    /* The wire. */
    struct vx_list wires;
    struct vx_list ready; /* the proxy is to hear of them in its next round */
    struct port *retired;
    uint32_t wire_count, accepted_open, dialed_open;

    /* The actors. */
    struct host *hosts; /* SIM_ROUTES * SIM_BACKENDS */
    struct client *clients;
    uint32_t clients_started, clients_open;
    struct exchange *exchanges; /* by id */
    uint32_t exchange_count, exchange_room;
    struct sim_stalled_push stalled_push;

    /* What was seen, for the checks at the end and the summary. */
    uint64_t records, begins, refusals, tunnels_begun, tunnels_ended;
    uint64_t answered, cut, own_answers, retries, attempts;
    uint64_t backend_connections, bytes_up, bytes_down;
    uint32_t breaker_openings;
    uint32_t since_wordless; /* connections since a backend last reset one before its first word */
    bool excuse_502, excuse_503, excuse_504; /* something happened to the world that explains them */
};

/* sim.c */

/* Runs `run` at now + after_ns. Actors live until the world ends, so nothing needs to be cancelled. */
void sim_after(struct sim *sim, uint64_t after_ns, sim_event_fn *run, void *actor, uint64_t arg);

/* Ends the program (exit status 1) with the reason, the seed, the step and the command that replays it. */
_Noreturn void sim_fail(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds what happened to the digest by which two runs are compared. */
static inline void sim_note(struct sim *sim, uint64_t what, uint64_t more) {
    sim->digest = (sim->digest ^ what) * 0x9e3779b97f4a7c15u;
    sim->digest = (sim->digest ^ sim->digest >> 29 ^ more) * 0xbf58476d1ce4e5b9u;
}

static inline uint32_t sim_below(struct sim *sim, uint32_t bound) {
    return vx_random_below(&sim->random, bound);
}

/* True `per_mille` times in a thousand. Draws nothing for 0, so that a scenario without a thing pays nothing. */
static inline bool sim_chance(struct sim *sim, uint32_t per_mille) {
    return per_mille && sim_below(sim, 1000) < per_mille;
}

/* From `low` to `high`, both included. */
static inline uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high) {
    return low + vx_random_next(&sim->random) % (high - low + 1);
}

/* A generator of its own for one thing, so that it stays the same when something else changes. */
static inline struct vx_random sim_random_for(const struct sim *sim, uint64_t a, uint64_t b) {
    struct vx_random r = {sim->seed ^ (a + 1) * 0xd1b54a32d192ed03u ^ (b + 1) * 0x8cb92ba72f3d8dd7u};
    vx_random_next(&r);
    return r;
}

/* Byte `at` of the pattern that belongs to `key`: no two keys share one, so bytes that ended up with the wrong exchange
 * or at the wrong place are seen at once. */
static inline unsigned char sim_pattern(uint64_t key, uint64_t at) {
    uint64_t z = key * 0x9e3779b97f4a7c15u + (at >> 3) * 0xd1b54a32d192ed03u;
    z = (z ^ z >> 31) * 0xbf58476d1ce4e5b9u;
    return (unsigned char)(z >> (at & 7) * 8);
}

struct sim_options {
    const struct scenario *scenario;
    uint64_t seed;
    uint32_t exchanges;
    bool verbose;
    struct sim_fault_plan faults;
    enum sim_mischief mischief;
};

struct sim_result {
    uint64_t digest, rounds, exchanges, answered, cut, own_answers, tunnels, retries, breaker_openings,
        virtual_ns;
    uint64_t fault_calls[SIM_FAULT_COUNT]; /* how often each port call was made */
};

/* Runs one world to its end, checks included. Does not return when an invariant is broken. */
struct sim_result sim_run(const struct sim_options *options);

#endif
