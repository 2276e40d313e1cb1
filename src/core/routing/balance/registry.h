/* SPDX-License-Identifier: Apache-2.0 */
/* Where the shared state of backends lives: EWMA, active count, breaker and health outlast a snapshot. State is keyed
 * by identity (route name, backend id, address as written, resolved address), is counted by the sets that use it and
 * never moves while a set or a running request refers to it.
 *
 * Everything here runs on the control thread; workers only touch the atomics, through a set. */
#ifndef VX_CORE_ROUTING_BALANCE_REGISTRY_H
#define VX_CORE_ROUTING_BALANCE_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/arena.h"

struct vx_backend_group;

struct vx_backend_registry {
    struct vx_chunk_source *memory;
    struct vx_backend_group **buckets; /* groups by the hash of their route's name */
    uint32_t bucket_count;
    uint32_t group_count;
    uint32_t workers;
    uint64_t next_key;
};

/* `memory` is used by the control thread only and outlives the registry. `workers` is the number of workers that will
 * pick (>= 1), for their own counters. Nothing is allocated yet. */
void vx_backend_registry_init(struct vx_backend_registry *r, struct vx_chunk_source *memory,
                              uint32_t workers);

/* Gives back what no set uses and no request is active on. Dropping a set does that for its own route; this is for
 * what was still active then (a tunnel without snapshot), now and then. */
void vx_backend_registry_collect(struct vx_backend_registry *r);

/* Gives everything back. All sets are dropped and all tickets ended. */
void vx_backend_registry_destroy(struct vx_backend_registry *r);

#endif
