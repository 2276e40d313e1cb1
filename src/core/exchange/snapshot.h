/* SPDX-License-Identifier: Apache-2.0 */
/* One state of the configuration, ready for use: immutable, shared by all workers, published by the control thread.
 * An exchange uses the snapshot it began with until it ends. Each worker counts its own users, so no counter is contended.
 *
 * A superseded snapshot goes in two steps:
 *   1. The last exchange on the last worker is over: `unused`. The control thread lets go of its filters. They may take
 *      their time to end, and need routes and backends for their own requests meanwhile.
 *   2. Whoever had kept it beyond that (vx_snapshot_keep) has released it on every worker: `released`. It is freed.
 * Who keeps it does not delay the first step: else a request that a filter never ends would keep the filter for ever. */
#ifndef VX_CORE_EXCHANGE_SNAPSHOT_H
#define VX_CORE_EXCHANGE_SNAPSHOT_H

#include <stdatomic.h>

#include "core/config/model.h"
#include "core/ports/http_client.h"

struct vx_route_table;
struct vx_backend_set;
struct vx_limit;         /* limit/limit.h */
struct vx_filter_chain;  /* ports/filter.h */
struct vx_route_metrics; /* the recorder's own; keyed by route name, outlives snapshots */

struct vx_route {
    const struct vx_config_route *config;
    const struct vx_backend_set *set;    /* NULL: a redirect */
    const struct vx_target *targets;     /* by the set's index */
    const struct vx_limit *limit;        /* NULL: none */
    const struct vx_filter_chain *chain; /* NULL: no filters */
    struct vx_route_metrics *metrics;
    uint32_t index;
};

/* The worker's own. */
struct vx_snapshot_users {
    _Alignas(64) uint32_t count; /* exchanges; the current snapshot counts one for being current */
    uint32_t keepers;            /* one for all exchanges together, and whoever else has kept it */
};

struct vx_snapshot {
    const struct vx_config *config;
    const struct vx_route_table *table; /* finds an index into routes */
    const struct vx_route *routes;
    uint32_t route_count;
    uint32_t worker_count;
    uint64_t version;                 /* counts up from 1 */
    struct vx_snapshot_users *users;  /* by worker */
    _Atomic uint32_t workers_left;    /* workers with exchanges of it; the step to `unused` is taken at 0 */
    _Atomic uint32_t workers_keeping; /* workers with keepers of it; the step to `released` is taken at 0 */
    /* Called once each, in this order, on the thread that let go last; NULL: nobody cares. */
    void (*unused)(struct vx_snapshot *snapshot);
    void (*released)(struct vx_snapshot *snapshot);
    void *owner;
};

/* Every worker counts as a user from the start, so that handing the snapshot to a worker hands over that hold. `users` has a
 * place for each worker. */
static inline void vx_snapshot_begin(struct vx_snapshot *s, struct vx_snapshot_users *users,
                                     uint32_t worker_count) {
    s->users = users;
    s->worker_count = worker_count;
    for (uint32_t i = 0; i < worker_count; i++)
        users[i] = (struct vx_snapshot_users){.count = 1, .keepers = 1};
    atomic_store_explicit(&s->workers_left, worker_count, memory_order_relaxed);
    atomic_store_explicit(&s->workers_keeping, worker_count, memory_order_relaxed);
}

/* One more user on this worker, which has some. */
static inline struct vx_snapshot *vx_snapshot_hold(struct vx_snapshot *s, uint32_t worker) {
    s->users[worker].count++;
    return s;
}

/* One keeper more on this worker, which has users or keepers. */
static inline struct vx_snapshot *vx_snapshot_keep(struct vx_snapshot *s, uint32_t worker) {
    s->users[worker].keepers++;
    return s;
}

/* One keeper less on this worker; `s` may be gone afterwards. */
static inline void vx_snapshot_release(struct vx_snapshot *s, uint32_t worker) {
    if (--s->users[worker].keepers)
        return;
    if (atomic_fetch_sub_explicit(&s->workers_keeping, 1, memory_order_acq_rel) == 1 && s->released)
        s->released(s);
}

/* One user less on this worker; `s` may be gone afterwards. */
static inline void vx_snapshot_drop(struct vx_snapshot *s, uint32_t worker) {
    if (--s->users[worker].count)
        return;
    if (atomic_fetch_sub_explicit(&s->workers_left, 1, memory_order_acq_rel) == 1 && s->unused)
        s->unused(s);
    vx_snapshot_release(s, worker);
}

#endif
