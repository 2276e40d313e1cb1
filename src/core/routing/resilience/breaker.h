/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breaker of one backend, shared by all workers: one atomic word, so that every transition is one
 * compare-and-swap, and a sliding window of counts beside it that is only written while something fails.
 * The state machine stands at the head of breaker.c. */
#ifndef VX_CORE_ROUTING_RESILIENCE_BREAKER_H
#define VX_CORE_ROUTING_RESILIENCE_BREAKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/config/model.h"

#define VX_BREAKER_STATE_LIST(X)                                                                             \
    X(CLOSED, "closed")                                                                                      \
    X(OPEN, "open")                                                                                          \
    X(HALF_OPEN, "half_open")

enum vx_breaker_state {
#define X(name, text) VX_BREAKER_##name,
    VX_BREAKER_STATE_LIST(X)
#undef X
        VX_BREAKER_STATE_COUNT
};

enum {
    VX_BREAKER_BUCKETS = 8,
    VX_BREAKER_BUCKET_SHIFT = 30, /* a bucket is 2^30 ns (1.07 s), the window 8.6 s */
    VX_BREAKER_RATE_MINIMUM = 20, /* requests in the window before its rate is judged */
    VX_BREAKER_COUNT_MAX = 1023,  /* larger `failures` and `half_open_requests` act as this */
};

/* Zero is a closed breaker. */
struct vx_breaker {
    _Atomic uint64_t word;  /* state, counts and the end of the open time; see breaker.c */
    _Atomic uint32_t armed; /* window tick until which successes are counted, too */
    _Atomic uint64_t buckets[VX_BREAKER_BUCKETS]; /* tick, requests, failures */
};

enum vx_breaker_verdict {
    VX_BREAKER_PASS,  /* closed: nothing to give back */
    VX_BREAKER_TRIAL, /* one of the trial requests of the half-open state: *epoch goes with it */
    VX_BREAKER_DENY,
};

/* The stable word of a state, for metrics and logs. */
const char *vx_breaker_state_name(enum vx_breaker_state s);

/* The state; an open breaker whose time is over still reads open until a trial is let through.
 * Any thread. */
enum vx_breaker_state vx_breaker_state(const struct vx_breaker *b);

/* True when vx_breaker_admit would let a request through now. Changes nothing. Any thread. */
bool vx_breaker_ready(const struct vx_breaker *b, const struct vx_config_breaker *policy, uint64_t now_ns);

/* Asks to send a request. VX_BREAKER_TRIAL takes a permit, which exactly one of _success, _failure and _cancel gives
 * back. Any thread. */
enum vx_breaker_verdict vx_breaker_admit(struct vx_breaker *b, const struct vx_config_breaker *policy,
                                         uint64_t now_ns, uint8_t *epoch);

/* The result of a request that was let through; `trial` and `epoch` as vx_breaker_admit said. Results of earlier
 * epochs change nothing. True when this changed the state. Any thread. */
bool vx_breaker_success(struct vx_breaker *b, const struct vx_config_breaker *policy, bool trial,
                        uint8_t epoch, uint64_t now_ns);
bool vx_breaker_failure(struct vx_breaker *b, const struct vx_config_breaker *policy, bool trial,
                        uint8_t epoch, uint64_t now_ns);

/* Gives a trial's permit back without a result. Any thread. */
void vx_breaker_cancel(struct vx_breaker *b, uint8_t epoch);

/* Back to closed, everything forgotten. Any thread. */
void vx_breaker_reset(struct vx_breaker *b);

#endif
