/* SPDX-License-Identifier: Apache-2.0 */
/* Peak EWMA as plain arithmetic, in microseconds and float32: an average that follows a rise at once and a fall by
 * and by, and the score that weighs it with the queue. No state, no atomics. */
#ifndef VX_CORE_ROUTING_BALANCE_EWMA_H
#define VX_CORE_ROUTING_BALANCE_EWMA_H

#include <stdint.h>
#include <string.h>

/* The average after a sample. 0 stands for not measured, so the first sample is taken as it is.
 * `decay` (alpha, 0 <= decay < 1) is the share of the old average that stays when the sample is below it. */
static inline float vx_ewma_next(float old_us, float sample_us, float decay) {
    return sample_us >= old_us ? sample_us : sample_us * (1.0f - decay) + old_us * decay;
}

/* Alpha for a backend that was left alone for `idle` whole seconds before this request: each of them halves what is
 * left of the old average, as if it had aged meanwhile. 0 leaves alpha as it is. */
static inline float vx_ewma_aged(float decay, uint32_t idle) {
    return idle >= 31 ? 0.0f : decay / (float)(1u << idle);
}

/* Lower is better. In this order in score.c, too, or equals would differ in the last bit. */
static inline float vx_ewma_score(float ewma_us, uint32_t active, float inverse_weight) {
    return (ewma_us + 1.0f) * inverse_weight * ((float)active + 1.0f);
}

/* A latency as a sample: microseconds, never 0, which stands for not measured. */
static inline float vx_ewma_sample_us(uint64_t latency_ns) {
    return latency_ns ? (float)latency_ns * 1e-3f : 1e-3f;
}

static inline float vx_float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t vx_bits_of_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

#endif
