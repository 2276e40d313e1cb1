/* SPDX-License-Identifier: Apache-2.0 */
/* See turns.h.
 *
 * Invariants
 *   1. In each round one turn is run if any waits, and others while those of the round have taken less than VX_PWASM_ROUND_NS.
 *   2. They are run in the order in which they asked, so none is passed over however often others ask.
 *   3. None is run inside another one.
 */
#include "filters/proxy_wasm/turns.h"

#include "filters/clock.h"

static uint64_t monotonic_ns(void) {
    return vx_clock_ns(CLOCK_MONOTONIC);
}

static bool has_time(struct vx_pwasm_turns *ts, uint64_t now_ns) {
    if (ts->round_ns != now_ns) {
        ts->round_ns = now_ns;
        ts->used_ns = 0;
    }
    return ts->used_ns < VX_PWASM_ROUND_NS;
}

static void run_some(struct vx_pwasm_turns *ts, uint64_t now_ns) {
    ts->running = true;
    while (!vx_list_empty(&ts->waiting) && has_time(ts, now_ns)) {
        struct vx_list *first = vx_list_pop_front(&ts->waiting);
        struct vx_pwasm_turn *t = VX_CONTAINER_OF(first, struct vx_pwasm_turn, link);
        uint64_t begun_ns = ts->clock_ns();
        t->run(t, now_ns);
        ts->used_ns += ts->clock_ns() - begun_ns;
    }
    ts->running = false;
    if (!vx_list_empty(&ts->waiting))
        vx_timer_set(ts->wheel, &ts->timer, now_ns);
}

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    run_some(VX_CONTAINER_OF(timer, struct vx_pwasm_turns, timer), now_ns);
}

void vx_pwasm_turn_ask(struct vx_pwasm_turns *ts, struct vx_pwasm_turn *t, uint64_t now_ns) {
    if (vx_pwasm_turn_waits(t))
        return;
    vx_list_push_back(&ts->waiting, &t->link);
    if (!ts->running)
        run_some(ts, now_ns);
}

void vx_pwasm_turns_init(struct vx_pwasm_turns *ts) {
    *ts = (struct vx_pwasm_turns){.clock_ns = monotonic_ns};
    vx_list_init(&ts->waiting);
    vx_timer_init(&ts->timer, on_timer);
}
