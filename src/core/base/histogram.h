/* SPDX-License-Identifier: Apache-2.0 */
/* Durations in log-linear buckets: 1, 2, ... 9 times each power of ten from 1 us to 1000 s, so that bucket
 * bounds are round numbers in Prometheus' seconds. One worker writes with plain relaxed stores; readers add
 * up the histograms of all workers at any time, without locks. */
#ifndef VX_CORE_BASE_HISTOGRAM_H
#define VX_CORE_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    VX_HISTOGRAM_DECADES = 9,
    /* Up to 1 us; nine a decade; everything above. */
    VX_HISTOGRAM_BUCKETS = 1 + 9 * VX_HISTOGRAM_DECADES + 1,
};

/* All zero is an empty histogram. One writer. */
struct vx_histogram {
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t counts[VX_HISTOGRAM_BUCKETS];
};

/* A sum of histograms; plain numbers of the reader. All zero is empty. */
struct vx_histogram_sum {
    uint64_t sum_ns;
    uint64_t count; /* always the sum of counts[], whatever the writers do meanwhile */
    uint64_t counts[VX_HISTOGRAM_BUCKETS];
};

/* The bucket of a value; bucket i holds bound(i-1) < value <= bound(i). */
unsigned vx_histogram_index(uint64_t value_ns);

/* The largest value of bucket i in ns; UINT64_MAX for the last one (Prometheus: +Inf). */
uint64_t vx_histogram_bound_ns(unsigned i);

/* Counts one value. The histogram's one writer only. */
void vx_histogram_record(struct vx_histogram *h, uint64_t value_ns);

/* Adds `h` to `sum`. Any thread, while the writer goes on. */
void vx_histogram_add(struct vx_histogram_sum *sum, const struct vx_histogram *h);

/* How many values were <= bound_ns, which must be a bucket bound. */
uint64_t vx_histogram_at_most(const struct vx_histogram_sum *sum, uint64_t bound_ns);

#endif
