/* SPDX-License-Identifier: Apache-2.0 */
/* How many retries a route may add to its load: a percentage of the requests of the last seconds and a small floor,
 * so that a single failure on a quiet route can still be retried and a full outage is not multiplied.
 *
 * One budget a route and worker: plain integers, each worker answers for its own share of the traffic. A request
 * costs it nothing: it is told the worker's running count of requests now and then, and whenever a retry is asked
 * for, and takes those since the last time as spread evenly over the time between. */
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
    uint64_t tick;     /* of the newest bucket */
    uint64_t requests; /* the running count when it was last told */
    uint64_t told_ns;  /* when that was */
    uint64_t asked[VX_RETRY_BUCKETS];
    uint32_t retried[VX_RETRY_BUCKETS];
};

/* Tells it the number of requests, retries left out, since it was zero. One thread. */
void vx_retry_budget_count(struct vx_retry_budget *b, uint64_t requests, uint64_t now_ns);

/* The same, and takes one retry out of the budget; false when it is used up. One thread. */
bool vx_retry_budget_take(struct vx_retry_budget *b, uint32_t percent, uint64_t requests, uint64_t now_ns);

#endif
