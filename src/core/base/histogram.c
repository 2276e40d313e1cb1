/* SPDX-License-Identifier: Apache-2.0 */
/* See histogram.h. */
#include "core/base/histogram.h"

#include "core/base/assert.h"

enum { PER_DECADE = 9, FIRST_POWER = 3, LAST = VX_HISTOGRAM_BUCKETS - 1 };

#define E3 UINT64_C(1000)

static const uint64_t powers[] = {
    1,
    10,
    100,
    E3,
    E3 * 10,
    E3 * 100,
    E3 *E3,
    E3 *E3 * 10,
    E3 *E3 * 100,
    E3 *E3 *E3,
    E3 *E3 *E3 * 10,
    E3 *E3 *E3 * 100,
    E3 *E3 *E3 *E3,
};

/* 1/power in 64 bits after a shift by `bits`, rounded up: exact for every value below 10^13. */
struct reciprocal {
    uint64_t scaled;
    unsigned bits;
};

#define RECIPROCAL(power, shift)                                                                             \
    { (uint64_t)(((unsigned __int128)1 << (64 + (shift))) / (power) + 1), (shift) }

static const struct reciprocal reciprocals[VX_HISTOGRAM_DECADES] = {
    RECIPROCAL(E3, 9),          RECIPROCAL(E3 * 10, 13),         RECIPROCAL(E3 * 100, 16),
    RECIPROCAL(E3 *E3, 19),     RECIPROCAL(E3 *E3 * 10, 23),     RECIPROCAL(E3 *E3 * 100, 26),
    RECIPROCAL(E3 *E3 *E3, 29), RECIPROCAL(E3 *E3 *E3 * 10, 33), RECIPROCAL(E3 *E3 *E3 * 100, 36),
};

unsigned vx_histogram_index(uint64_t value_ns) {
    if (value_ns <= powers[FIRST_POWER])
        return 0;
    uint64_t v = value_ns - 1; /* bounds belong to the bucket below them */
    if (v >= powers[FIRST_POWER + VX_HISTOGRAM_DECADES])
        return LAST;
    unsigned top_bit = 63 - (unsigned)__builtin_clzll(v);
    unsigned power = top_bit * 1233 >> 12; /* log10(2) = 1233/4096; at most one too small */
    power += v >= powers[power + 1];
    const struct reciprocal *r = &reciprocals[power - FIRST_POWER];
    uint64_t digit = (uint64_t)((unsigned __int128)v * r->scaled >> 64) >> r->bits;
    return (power - FIRST_POWER) * PER_DECADE + (unsigned)digit;
}

uint64_t vx_histogram_bound_ns(unsigned i) {
    VX_CHECK(i < VX_HISTOGRAM_BUCKETS);
    if (i == LAST)
        return UINT64_MAX;
    if (i == 0)
        return powers[FIRST_POWER];
    return ((i - 1) % PER_DECADE + 2) * powers[FIRST_POWER + (i - 1) / PER_DECADE];
}

static void bump(_Atomic uint64_t *counter, uint64_t by) {
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + by, memory_order_relaxed);
}

void vx_histogram_record(struct vx_histogram *h, uint64_t value_ns) {
    bump(&h->counts[vx_histogram_index(value_ns)], 1);
    bump(&h->sum_ns, value_ns);
}

void vx_histogram_add(struct vx_histogram_sum *sum, const struct vx_histogram *h) {
    sum->sum_ns += atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
    for (unsigned i = 0; i < VX_HISTOGRAM_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        sum->counts[i] += n;
        sum->count += n;
    }
}

uint64_t vx_histogram_at_most(const struct vx_histogram_sum *sum, uint64_t bound_ns) {
    unsigned last = vx_histogram_index(bound_ns);
    VX_CHECK(vx_histogram_bound_ns(last) == bound_ns);
    uint64_t n = 0;
    for (unsigned i = 0; i <= last; i++)
        n += sum->counts[i];
    return n;
}
