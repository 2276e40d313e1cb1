/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, for what filters measure while a callback runs: there the round's time stands still. */
#ifndef VX_FILTERS_CLOCK_H
#define VX_FILTERS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* What the clock shows now. Any thread. */
static inline uint64_t vx_clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

#endif
