/* SPDX-License-Identifier: Apache-2.0 */
/* The time limit for a client that takes nothing of what waits for it: it keeps a backend's connection busy, and memory of ours.
 *
 * Invariants
 *   1. There is a deadline exactly while something waits, as far as its owner has told.
 *   2. Whatever the client takes moves it on: only one that takes nothing at all meets it.
 */
#ifndef VX_PROXY_HTTP_WRITE_LIMIT_H
#define VX_PROXY_HTTP_WRITE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: nothing waits. */
struct vx_write_limit {
    uint64_t deadline_ns; /* 0: none */
    uint64_t mark;        /* how many bytes had gone out when it was set */
};

/* After anything that may have sent, or tried to: whether something waits now, how many bytes have gone out in all, and
 * when it would be too late, counted from now. True: the deadline is another one than before. */
static inline bool vx_write_limit_watch(struct vx_write_limit *limit, bool waits, uint64_t gone,
                                        uint64_t due_ns) {
    uint64_t before_ns = limit->deadline_ns;
    if (!waits) {
        limit->deadline_ns = 0;
    } else if (!before_ns || limit->mark != gone) {
        limit->deadline_ns = due_ns;
        limit->mark = gone;
    }
    return limit->deadline_ns != before_ns;
}

static inline bool vx_write_limit_is_over(const struct vx_write_limit *limit, uint64_t now_ns) {
    return limit->deadline_ns && limit->deadline_ns <= now_ns;
}

#endif
