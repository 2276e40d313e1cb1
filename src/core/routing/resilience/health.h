/* SPDX-License-Identifier: Apache-2.0 */
/* What active health checks have found out about one backend: results in a row turn it healthy or unhealthy. Only
 * the judgement; whoever does the I/O reports results here. There is no passive state beside it: the breaker is the
 * passive check (consecutive failures and failure rate of real requests), and a second machine fed by the same events
 * could only disagree with it.
 *
 * state     | result                          | next state
 * UNKNOWN   | passed                          | HEALTHY
 * UNKNOWN   | failed                          | UNHEALTHY
 * HEALTHY   | failed, `unhealthy` times a row | UNHEALTHY
 * UNHEALTHY | passed, `healthy` times a row   | HEALTHY
 * Other results only count or reset the row. UNKNOWN takes traffic, so that a start does not wait for checks; the
 * first result decides alone, so that a backend that is down at the start is left at once. */
#ifndef VX_CORE_ROUTING_RESILIENCE_HEALTH_H
#define VX_CORE_ROUTING_RESILIENCE_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/config/model.h"

#define VX_HEALTH_STATE_LIST(X)                                                                              \
    X(UNKNOWN, "unknown")                                                                                    \
    X(HEALTHY, "healthy")                                                                                    \
    X(UNHEALTHY, "unhealthy")

enum vx_health_state {
#define X(name, text) VX_HEALTH_##name,
    VX_HEALTH_STATE_LIST(X)
#undef X
        VX_HEALTH_STATE_COUNT
};

/* State in the low 2 bits, results in a row against it above. Zero is UNKNOWN. One writer, any readers. */
struct vx_health {
    _Atomic uint32_t word;
};

/* The stable word of a state, for metrics and logs. */
const char *vx_health_state_name(enum vx_health_state s);

static inline enum vx_health_state vx_health_state(const struct vx_health *h) {
    return (enum vx_health_state)(atomic_load_explicit(&h->word, memory_order_relaxed) & 3);
}

/* Takes one result in. True when the state changed. One thread at a time. */
bool vx_health_checked(struct vx_health *h, const struct vx_config_health_check *policy, bool passed);

/* Back to UNKNOWN. The writer's thread. */
void vx_health_reset(struct vx_health *h);

#endif
