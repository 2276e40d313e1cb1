/* SPDX-License-Identifier: Apache-2.0 */
/* Hierarchical timing wheel (Varghese and Lauck 1987), one a worker, with a tick of 1 ms.
 * Deadlines here are mostly pushed back (each request renews the idle time), so a later deadline is only stored:
 * the timer stays where it is and moves on when its old place comes up. Setting is then one store. */
#ifndef VX_CORE_BASE_TIMER_H
#define VX_CORE_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"

enum { VX_TIMER_LEVELS = 5, VX_TIMER_SLOTS = 64 };

struct vx_timer {
    struct vx_list link;
    uint64_t at_ms;     /* when it should fire; VX_TIMER_NEVER: not set */
    uint64_t placed_ms; /* where it lies in the wheel; meaningful while linked */
    void (*fire)(struct vx_timer *t, uint64_t now_ns);
};

#define VX_TIMER_NEVER UINT64_MAX

struct vx_timer_wheel {
    uint64_t now_ms;
    uint64_t used[VX_TIMER_LEVELS]; /* a bit per slot that holds something */
    struct vx_list slots[VX_TIMER_LEVELS][VX_TIMER_SLOTS];
};

void vx_timer_wheel_init(struct vx_timer_wheel *w, uint64_t now_ns);

/* `fire` runs on the worker's thread from vx_timer_wheel_run, with the timer unset. */
static inline void vx_timer_init(struct vx_timer *t, void (*fire)(struct vx_timer *, uint64_t)) {
    vx_list_init(&t->link);
    t->at_ms = VX_TIMER_NEVER;
    t->placed_ms = 0;
    t->fire = fire;
}

void vx_timer_place(struct vx_timer_wheel *w, struct vx_timer *t);

/* Fires at or up to 1 ms after `at_ns` (same clock as the wheel), replacing any earlier setting. */
static inline void vx_timer_set(struct vx_timer_wheel *w, struct vx_timer *t, uint64_t at_ns) {
    t->at_ms = at_ns / 1000000 + 1;
    if (vx_list_empty(&t->link) || t->placed_ms > t->at_ms)
        vx_timer_place(w, t);
}

/* It will not fire; it may stay linked until its place comes up, so before freeing call vx_timer_remove. */
static inline void vx_timer_unset(struct vx_timer *t) {
    t->at_ms = VX_TIMER_NEVER;
}

/* Fires at the deadline, if there is one: 0 is none. */
static inline void vx_timer_arm(struct vx_timer_wheel *w, struct vx_timer *t, uint64_t deadline_ns) {
    if (deadline_ns)
        vx_timer_set(w, t, deadline_ns);
    else
        vx_timer_unset(t);
}

/* The sooner of two deadlines, of which 0 is none. */
static inline uint64_t vx_sooner_ns(uint64_t a_ns, uint64_t b_ns) {
    return b_ns && (!a_ns || b_ns < a_ns) ? b_ns : a_ns;
}

/* It will not fire and is no longer linked. */
void vx_timer_remove(struct vx_timer_wheel *w, struct vx_timer *t);

/* Fires everything due at `now_ns`. Timers may be set and removed from inside. */
void vx_timer_wheel_run(struct vx_timer_wheel *w, uint64_t now_ns);

/* Nanoseconds until vx_timer_wheel_run next has work (possibly only moving timers), UINT64_MAX when empty. */
uint64_t vx_timer_wheel_next_ns(const struct vx_timer_wheel *w, uint64_t now_ns);

#endif
