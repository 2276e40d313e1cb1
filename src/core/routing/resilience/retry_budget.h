/* SPDX-License-Identifier: Apache-2.0 */
/* How many retries a route may add to its load: a percentage of the requests of the last seconds and a small floor,
 * so that a single failure on a quiet route can still be retried and a full outage is not multiplied.
 * One budget a route and worker: plain integers, each worker answers for its own share of the traffic. */
#ifndef VX_CORE_ROUTING_RESILIENCE_RETRY_BUDGET_H
#define VX_CORE_ROUTING_RESILIENCE_RETRY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum {
    VX_RETRY_BUCKETS = 8,
    VX_RETRY_BUCKET_SHIFT = 30, /* a bucket is 2^30 ns (1.07 s), the window 8.6 s */
    VX_RETRY_FLOOR = 10,        /* retries a window whatever the traffic */
};

/* Zero is an unused budget. */
struct vx_retry_budget {
    uint64_t tick; /* of the newest bucket */
    uint32_t requests[VX_RETRY_BUCKETS];
    uint32_t retries[VX_RETRY_BUCKETS];
};

void vx_retry_budget_advance(struct vx_retry_budget *b, uint64_t tick);

/* A request began (not a retry). */
static inline void vx_retry_budget_request(struct vx_retry_budget *b, uint64_t now_ns) {
    uint64_t tick = now_ns >> VX_RETRY_BUCKET_SHIFT;
    if (tick != b->tick)
        vx_retry_budget_advance(b, tick);
    b->requests[tick % VX_RETRY_BUCKETS]++;
}

/* Takes one retry out of the budget; false when it is used up (nothing changed). */
bool vx_retry_budget_take(struct vx_retry_budget *b, uint32_t percent, uint64_t now_ns);

#endif
