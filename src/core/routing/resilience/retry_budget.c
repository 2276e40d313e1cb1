/* SPDX-License-Identifier: Apache-2.0 */
/* The retry budget: counts of the last eight buckets of time, forgotten bucket by bucket. */
#include "core/routing/resilience/retry_budget.h"

#include <string.h>

static void forget_old(struct vx_retry_budget *b, uint64_t tick) {
    uint64_t passed = tick - b->tick;
    if (passed >= VX_RETRY_BUCKETS) {
        memset(b->asked, 0, sizeof b->asked);
        memset(b->retried, 0, sizeof b->retried);
    } else {
        for (uint64_t i = 1; i <= passed; i++) {
            b->asked[(b->tick + i) % VX_RETRY_BUCKETS] = 0;
            b->retried[(b->tick + i) % VX_RETRY_BUCKETS] = 0;
        }
    }
    b->tick = tick;
}

/* Puts `fresh` requests of the time from `from_ns` to `now_ns` into the buckets that it went over. */
static void spread(struct vx_retry_budget *b, uint64_t fresh, uint64_t from_ns, uint64_t now_ns) {
    const uint64_t bucket_ns = (uint64_t)1 << VX_RETRY_BUCKET_SHIFT;
    for (uint64_t i = 0; i < VX_RETRY_BUCKETS && i <= b->tick; i++) {
        uint64_t start_ns = (b->tick - i) * bucket_ns, end_ns = start_ns + bucket_ns;
        if (end_ns <= from_ns)
            return;
        start_ns = start_ns < from_ns ? from_ns : start_ns;
        end_ns = end_ns > now_ns ? now_ns : end_ns;
        double share = (double)(end_ns - start_ns) / (double)(now_ns - from_ns);
        b->asked[(b->tick - i) % VX_RETRY_BUCKETS] += (uint64_t)((double)fresh * share);
    }
}

void vx_retry_budget_count(struct vx_retry_budget *b, uint64_t requests, uint64_t now_ns) {
    uint64_t tick = now_ns >> VX_RETRY_BUCKET_SHIFT;
    uint64_t fresh = requests - b->requests, from_ns = b->told_ns;
    if (tick != b->tick)
        forget_old(b, tick);
    b->requests = requests;
    b->told_ns = now_ns;
    if (from_ns >> VX_RETRY_BUCKET_SHIFT == tick)
        b->asked[tick % VX_RETRY_BUCKETS] += fresh;
    else
        spread(b, fresh, from_ns, now_ns);
}

bool vx_retry_budget_take(struct vx_retry_budget *b, uint32_t percent, uint64_t requests, uint64_t now_ns) {
    vx_retry_budget_count(b, requests, now_ns);
    uint64_t asked = 0, retried = 0;
    for (int i = 0; i < VX_RETRY_BUCKETS; i++) {
        asked += b->asked[i];
        retried += b->retried[i];
    }
    if (retried >= VX_RETRY_FLOOR + asked * percent / 100)
        return false;
    b->retried[b->tick % VX_RETRY_BUCKETS]++;
    return true;
}
