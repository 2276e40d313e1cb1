/* SPDX-License-Identifier: Apache-2.0 */
/* One state of the configuration, ready for use: immutable, shared by all workers, published by the control thread.
 * An exchange keeps the snapshot it began with until it ends. Each worker counts its own users, so no counter is
 * contended; the last user of a superseded snapshot tells the control thread, which frees it. */
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

struct vx_snapshot_users {
    _Alignas(64) uint32_t count; /* the worker's own; the current snapshot counts one for being current */
};

struct vx_snapshot {
    const struct vx_config *config;
    const struct vx_route_table *table; /* finds an index into routes */
    const struct vx_route *routes;
    uint32_t route_count;
    uint32_t worker_count;
    uint64_t version;                /* counts up from 1 */
    struct vx_snapshot_users *users; /* by worker */
    _Atomic uint32_t workers_left;   /* workers that still use it; the control thread frees at 0 */
    /* Called by each worker when its last user has gone, on the thread that let go; NULL: nobody cares. */
    void (*left)(struct vx_snapshot *snapshot, uint32_t worker);
    /* Called by the worker whose last user went when it was the last of all; NULL: nobody cares. */
    void (*unused)(struct vx_snapshot *snapshot);
    void *owner;
};

/* One more user on this worker. */
static inline struct vx_snapshot *vx_snapshot_hold(struct vx_snapshot *s, uint32_t worker) {
    s->users[worker].count++;
    return s;
}

/* One user less on this worker; `s` may be gone afterwards. */
static inline void vx_snapshot_drop(struct vx_snapshot *s, uint32_t worker) {
    if (--s->users[worker].count)
        return;
    if (s->left)
        s->left(s, worker);
    if (atomic_fetch_sub_explicit(&s->workers_left, 1, memory_order_acq_rel) == 1 && s->unused)
        s->unused(s);
}

#endif
