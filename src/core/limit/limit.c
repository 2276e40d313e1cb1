/* SPDX-License-Identifier: Apache-2.0 */
/* See limit.h. */
#include "core/limit/limit.h"

#include "core/base/decimal.h"

enum { VALUE_MAX_BYTES = 96 };

static const uint64_t second_ns = 1000000000;

struct text {
    char *start, *at;
};

static void put(struct text *t, struct vx_slice s) {
    memcpy(t->at, s.ptr, s.len);
    t->at += s.len;
}

/* Policies are named by where they come from, so that their names stay structured-field strings whatever a route is
 * called. */
static struct vx_slice name_of(const struct vx_config_rate_limit *config) {
    return config->scope.len ? VX_SLICE("\"route\";") : VX_SLICE("\"default\";");
}

/* `"name";` and two numbers, at most VALUE_MAX_BYTES. */
static struct vx_slice field(struct vx_arena *arena, struct vx_slice name, struct vx_slice first_key,
                             uint64_t first, struct vx_slice second_key, uint64_t second) {
    char digits[VX_DECIMAL_MAX_BYTES];
    char *start = vx_arena_alloc(arena, VALUE_MAX_BYTES);
    if (!start)
        return VX_SLICE_NONE;
    struct text t = {start, start};
    put(&t, name);
    put(&t, first_key);
    put(&t, vx_decimal(first, digits));
    put(&t, second_key);
    put(&t, vx_decimal(second, digits));
    return vx_slice(start, (size_t)(t.at - start));
}

/* The draft's window has whole seconds; the quota is scaled to it. */
static struct vx_slice policy_of(const struct vx_config_rate_limit *config, struct vx_arena *arena) {
    uint64_t window_s = vx_limit_whole(config->per_ns, second_ns);
    uint64_t rest_ns = window_s * second_ns - config->per_ns; /* below a second: the product fits */
    uint64_t quota = config->requests + config->requests * rest_ns / config->per_ns;
    return field(arena, name_of(config), VX_SLICE("q="), quota, VX_SLICE(";w="), window_s);
}

const struct vx_limit *vx_limit_build(const struct vx_config_rate_limit *config, struct vx_arena *arena) {
    struct vx_limit *limit = vx_arena_alloc(arena, sizeof *limit);
    if (!limit)
        return NULL;
    *limit = (struct vx_limit){
        .config = config,
        .gcra = vx_gcra(config->requests, config->per_ns, config->burst),
        .policy = policy_of(config, arena),
    };
    return limit->policy.ptr ? limit : NULL;
}

struct vx_slice vx_limit_state(const struct vx_limit *limit, uint64_t debt_ns, uint64_t ahead_ns,
                               struct vx_arena *arena) {
    return field(arena, name_of(limit->config), VX_SLICE("r="), vx_gcra_remaining(&limit->gcra, debt_ns),
                 VX_SLICE(";t="), vx_limit_whole(ahead_ns, second_ns));
}
