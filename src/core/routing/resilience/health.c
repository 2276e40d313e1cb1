/* SPDX-License-Identifier: Apache-2.0 */
/* The judgement over active health checks; the table stands in health.h. */
#include "core/routing/resilience/health.h"

const char *vx_health_state_name(enum vx_health_state s) {
    static const char *const names[] = {
#define X(name, text) text,
        VX_HEALTH_STATE_LIST(X)
#undef X
    };
    return names[s];
}

bool vx_health_checked(struct vx_health *h, const struct vx_config_health_check *policy, bool passed) {
    uint32_t word = atomic_load_explicit(&h->word, memory_order_relaxed);
    enum vx_health_state state = (enum vx_health_state)(word & 3);
    enum vx_health_state said = passed ? VX_HEALTH_HEALTHY : VX_HEALTH_UNHEALTHY;
    uint32_t row = said == state ? 0 : (word >> 2) + 1;
    uint32_t needed = passed ? policy->healthy : policy->unhealthy;
    bool changed = said != state && (state == VX_HEALTH_UNKNOWN || row >= needed);
    if (changed) {
        state = said;
        row = 0;
    }
    atomic_store_explicit(&h->word, row << 2 | (uint32_t)state, memory_order_relaxed);
    return changed;
}

void vx_health_reset(struct vx_health *h) {
    atomic_store_explicit(&h->word, 0, memory_order_relaxed);
}
