/* SPDX-License-Identifier: Apache-2.0 */
/* The backends of one route in one snapshot: which slots of the registry it uses, with what weights, models and
 * policy. Immutable after the build; only the shared atomics behind it change. */
#ifndef VX_CORE_ROUTING_BALANCE_SET_H
#define VX_CORE_ROUTING_BALANCE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/slice.h"
#include "core/config/model.h"
#include "core/routing/balance/registry.h"
#include "core/routing/resilience/breaker.h"
#include "core/routing/resilience/health.h"

/* One address that requests can go to. A backend given by name has one endpoint for each of its addresses. */
struct vx_backend_endpoint {
    const struct vx_config_backend *backend; /* borrowed; lives as long as the set */
    struct vx_address address;               /* resolved; a UNIX path borrows as `backend` does */
};

struct vx_backend_set;
struct vx_backend_view; /* some of a set's endpoints: all, or those that list a model */

/* What metrics show of one endpoint; a snapshot of atomics that keep moving. */
struct vx_backend_stats {
    float ewma_us; /* 0: not measured yet */
    uint32_t active;
    enum vx_breaker_state breaker;
    enum vx_health_state health;
};

/* Builds the set of `route` in `arena`, taking over the state of endpoints that the registry knows and starting new
 * ones at the median of their peers. `endpoints` is copied; `route` is borrowed and must outlive the set. `count` may
 * be 0 (picks then find nothing). NULL: no memory, the registry is unchanged. Control thread. */
const struct vx_backend_set *vx_backend_set_build(struct vx_backend_registry *r, struct vx_arena *arena,
                                                  const struct vx_config_route *route,
                                                  const struct vx_backend_endpoint *endpoints, uint32_t count,
                                                  uint64_t now_ns);

/* Lets go of the state; what no other set and no open ticket uses is forgotten, so a reload builds the new set first.
 * Call once, before the arena is reset, when no exchange uses the snapshot any more; tickets
 * that were detached may still be open. Control thread. */
void vx_backend_set_drop(struct vx_backend_registry *r, const struct vx_backend_set *set);

uint32_t vx_backend_set_count(const struct vx_backend_set *set);

/* The endpoint at `index` (< count), in the order given to the build. Lives as long as the set. Any thread. */
const struct vx_backend_endpoint *vx_backend_set_endpoint(const struct vx_backend_set *set, uint32_t index);

/* A number that stays with an endpoint's identity as long as its state lives, and is never given to another one in
 * the life of the registry. For what workers key by backend, as their idle connections. Any thread. */
uint64_t vx_backend_set_key(const struct vx_backend_set *set, uint32_t index);

/* True when some backend of the route lists models; only then does a request's model matter. */
bool vx_backend_set_has_models(const struct vx_backend_set *set);

/* The endpoints that list `model` (compared exactly); all of them when no backend of the route lists any model; NULL
 * when no backend lists this one (404 no_model). Lives as long as the set. Any thread, allocates nothing. */
const struct vx_backend_view *vx_backend_set_model(const struct vx_backend_set *set, struct vx_slice model);

/* Any thread. */
struct vx_backend_stats vx_backend_set_stats(const struct vx_backend_set *set, uint32_t index);

/* The result of one active health check of an endpoint. True when that changed its state (for the log). One thread
 * at a time for each endpoint; workers may pick meanwhile. */
bool vx_backend_set_checked(const struct vx_backend_set *set, uint32_t index, bool passed, uint64_t now_ns);

/* Asks the route's retry budget for one more attempt of a request that failed; true takes it. The budget is the
 * worker's own share: each first pick by `worker` adds to it. Worker `worker` only. */
bool vx_backend_set_take_retry(const struct vx_backend_set *set, uint32_t worker, uint64_t now_ns);

#endif
