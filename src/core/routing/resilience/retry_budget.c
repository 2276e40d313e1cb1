/* SPDX-License-Identifier: Apache-2.0 */
/* The retry budget: counts of the last eight buckets of time, forgotten bucket by bucket. */
#include "core/routing/resilience/retry_budget.h"

#include <string.h>

/* Makes `tick` the newest bucket and empties those that time has passed over. A clock that stands still or goes back
 * would reuse counts of the past, which only makes the budget stricter. */
void vx_retry_budget_advance(struct vx_retry_budget *b, uint64_t tick) {
    uint64_t passed = tick - b->tick;
    if (passed >= VX_RETRY_BUCKETS) {
        memset(b->requests, 0, sizeof b->requests);
        memset(b->retries, 0, sizeof b->retries);
    } else {
        for (uint64_t i = 1; i <= passed; i++) {
            b->requests[(b->tick + i) % VX_RETRY_BUCKETS] = 0;
            b->retries[(b->tick + i) % VX_RETRY_BUCKETS] = 0;
        }
    }
    b->tick = tick;
}

bool vx_retry_budget_take(struct vx_retry_budget *b, uint32_t percent, uint64_t now_ns) {
    uint64_t tick = now_ns >> VX_RETRY_BUCKET_SHIFT;
    if (tick != b->tick)
        vx_retry_budget_advance(b, tick);
    uint64_t requests = 0, retries = 0;
    for (int i = 0; i < VX_RETRY_BUCKETS; i++) {
        requests += b->requests[i];
        retries += b->retries[i];
    }
    if (retries >= VX_RETRY_FLOOR + requests * percent / 100)
        return false;
    b->retries[tick % VX_RETRY_BUCKETS]++;
    return true;
}
