/* SPDX-License-Identifier: Apache-2.0 */
/* A route's rate limit, ready for use, and what clients are told of it. */
#ifndef VX_CORE_LIMIT_LIMIT_H
#define VX_CORE_LIMIT_LIMIT_H

#include "core/config/model.h"
#include "core/limit/gcra.h"

/* Immutable; lives as long as its snapshot. */
struct vx_limit {
    const struct vx_config_rate_limit *config;
    struct vx_gcra gcra;
    struct vx_slice policy; /* the value of RateLimit-Policy */
};

/* Made from an enabled limit, in `arena`, for as long as `config` lives. NULL: no memory. */
const struct vx_limit *vx_limit_build(const struct vx_config_rate_limit *config, struct vx_arena *arena);

/* The value of RateLimit with this debt (draft-ietf-httpapi-ratelimit-headers-10 §4): what is left, and in how many
 * seconds, rounded up, `ahead_ns` is over. ptr NULL: no memory. */
struct vx_slice vx_limit_state(const struct vx_limit *limit, uint64_t debt_ns, uint64_t ahead_ns,
                               struct vx_arena *arena);

/* Durations are told in larger units, rounded up: who comes when he was told to is not refused again. */
static inline uint64_t vx_limit_whole(uint64_t ns, uint64_t unit_ns) {
    return ns / unit_ns + (ns % unit_ns != 0);
}

#endif
