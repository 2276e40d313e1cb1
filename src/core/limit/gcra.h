/* SPDX-License-Identifier: Apache-2.0 */
/* The generic cell rate algorithm (ITU-T I.371 §A, "virtual scheduling") on whole nanoseconds: all that is remembered of
 * a key is one moment, when it will have been paid off. A request moves that moment on by one interval; it passes while
 * the moment is not further ahead than the burst is worth. So from rest exactly `burst` requests pass at once, then one
 * an interval, and nothing has to run when time passes.
 *
 * How far the moment lies ahead is the key's debt. A limit's capacity is the debt that a whole burst makes.
 * All of it is pure; the clock is whatever counts nanoseconds upwards. */
#ifndef VX_CORE_LIMIT_GCRA_H
#define VX_CORE_LIMIT_GCRA_H

#include <stdbool.h>
#include <stdint.h>

struct vx_gcra {
    uint64_t interval_ns; /* >= 1: what one request costs */
    uint32_t burst;       /* >= 1 */
};

/* The longest capacity: what Lua's numbers count without loss, since Redis works on debts (104 days). */
#define VX_GCRA_CAPACITY_MAX_NS (UINT64_C(1) << 53)

/* `requests` (>= 1) in each `per_ns` (>= 1). The interval is rounded up: never more than the limit, and at most one
 * nanosecond an interval less. */
static inline struct vx_gcra vx_gcra(uint64_t requests, uint64_t per_ns, uint32_t burst) {
    return (struct vx_gcra){per_ns / requests + (per_ns % requests != 0), burst};
}

static inline uint64_t vx_gcra_capacity_ns(const struct vx_gcra *g) {
    return g->interval_ns * g->burst;
}

/* What a request of this cost adds to the debt. More than a burst never passes, so more need not be told apart. */
static inline uint64_t vx_gcra_price_ns(const struct vx_gcra *g, uint32_t cost) {
    return g->interval_ns * (cost <= g->burst ? cost : (uint64_t)g->burst + 1);
}

static inline uint64_t vx_gcra_debt_ns(uint64_t paid_off_ns, uint64_t now_ns) {
    return paid_off_ns > now_ns ? paid_off_ns - now_ns : 0;
}

/* How long until a request of this cost passes with this debt; 0: now. Of one that costs more than the burst: how long
 * until it would, were it one interval cheaper. */
static inline uint64_t vx_gcra_wait_ns(const struct vx_gcra *g, uint64_t debt_ns, uint32_t cost) {
    uint64_t after_ns = debt_ns + vx_gcra_price_ns(g, cost);
    uint64_t capacity_ns = vx_gcra_capacity_ns(g);
    return after_ns > capacity_ns ? after_ns - capacity_ns : 0;
}

/* Requests of cost 1 that would pass now. */
static inline uint32_t vx_gcra_remaining(const struct vx_gcra *g, uint64_t debt_ns) {
    uint64_t capacity_ns = vx_gcra_capacity_ns(g);
    return debt_ns < capacity_ns ? (uint32_t)((capacity_ns - debt_ns) / g->interval_ns) : 0;
}

/* One request: whether it passes. If so, *paid_off_ns is moved on. */
static inline bool vx_gcra_take(const struct vx_gcra *g, uint64_t *paid_off_ns, uint64_t now_ns,
                                uint32_t cost) {
    uint64_t debt_ns = vx_gcra_debt_ns(*paid_off_ns, now_ns);
    if (vx_gcra_wait_ns(g, debt_ns, cost))
        return false;
    *paid_off_ns = now_ns + debt_ns + vx_gcra_price_ns(g, cost);
    return true;
}

#endif
