/* SPDX-License-Identifier: Apache-2.0 */
/* A generation is a snapshot with all that it is made of: the match table, the backends' sets and targets, its share of
 * the counters. Built by the control thread from a setup and the addresses that names have now; retired by it when no
 * exchange uses it any more, freed when nothing else keeps it. */
#ifndef VX_PROXY_CONTROL_GENERATION_H
#define VX_PROXY_CONTROL_GENERATION_H

#include "core/base/heap.h"
#include "core/exchange/snapshot.h"
#include "core/routing/balance/registry.h"
#include "proxy/control/names.h"
#include "proxy/control/pool_table.h"
#include "proxy/control/setup.h"
#include "proxy/net/loop.h"
#include "proxy/telemetry/metrics.h"

/* What outlives generations and is shared by them. */
struct vx_generation_sources {
    struct vx_backend_registry *registry;
    struct vx_pool_table *pools;
    struct vx_metrics *metrics;
    const struct vx_names *names;
    uint32_t workers;
};

struct vx_generation {
    struct vx_snapshot snapshot;
    struct vx_list link; /* in the control thread's list, from when it is used */
    struct vx_setup *setup;
    struct vx_heap heap; /* of the arena */
    struct vx_arena arena;
    struct vx_generation_sources sources;
    uint64_t *pools_used; /* a bit per pool number below pool_count: what workers keep */
    uint32_t pool_count;
    uint32_t routes_made;               /* of snapshot.routes, for the undoing of a half-built one */
    struct vx_message unused, released; /* what the snapshot has to tell the control thread */
    bool retired;                       /* its filters are not its own any more */
};

/* Builds one; holds `setup`. Every worker counts as a user of the snapshot from the start, in users[]: handing it to a
 * worker hands over that hold. NULL: no memory. Control thread. */
struct vx_generation *vx_generation_new(const struct vx_generation_sources *sources, struct vx_setup *setup,
                                        uint64_t version, uint64_t now_ns);

/* The worker takes it up, and so do its filters. That worker's thread. */
void vx_generation_enter(struct vx_generation *g, uint32_t worker, uint64_t now_ns);

/* No exchange uses it (`unused` of the snapshot): lets go of its filters, which may need the rest of it to come to their
 * end. Control thread. */
void vx_generation_retire(struct vx_generation *g);

/* Nobody keeps it (`released`), or it was never used. Control thread. */
void vx_generation_free(struct vx_generation *g);

#endif
