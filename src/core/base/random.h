/* SPDX-License-Identifier: Apache-2.0 */
/* A small seeded generator (splitmix64): randomness is an argument everywhere, so that a
 * simulated run replays from its seed. Not for secrets. */
#ifndef VX_CORE_BASE_RANDOM_H
#define VX_CORE_BASE_RANDOM_H

#include <stdint.h>

struct vx_random {
    uint64_t state;
};

/* Next 64 bits (splitmix64, Steele, Lea and Flood 2014). */
static inline uint64_t vx_random_next(struct vx_random *r) {
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); bound > 0. The bias of the multiply-shift is below 2^-32 for the bounds used here. */
static inline uint32_t vx_random_below(struct vx_random *r, uint32_t bound) {
    return (uint32_t)(((vx_random_next(r) >> 32) * bound) >> 32);
}

#endif
