/* SPDX-License-Identifier: Apache-2.0 */
/* What guests do on a worker of their own accord, and not for a request that it serves: ticks, ends, word of queues, answers to
 * calls. Any number of them may fall due in one round of the worker's loop, each with `limits.time`, while requests wait for
 * the end of the round. So they take turns: some are run in a round, the others in the next ones, in the order in which they
 * asked. The worker's thread. */
#ifndef VX_FILTERS_PROXY_WASM_TURNS_H
#define VX_FILTERS_PROXY_WASM_TURNS_H

#include "core/base/list.h"
#include "core/base/timer.h"

enum { VX_PWASM_ROUND_NS = 5000000 }; /* of one round; a turn that has begun in time may end later */

struct vx_pwasm_turn {
    struct vx_list link; /* while it waits */
    void (*run)(struct vx_pwasm_turn *t, uint64_t now_ns);
};

/* Of one worker. */
struct vx_pwasm_turns {
    struct vx_timer_wheel *wheel; /* NULL: no worker is attached */
    struct vx_list waiting;       /* struct vx_pwasm_turn */
    struct vx_timer timer;        /* set while any wait and none is running */
    uint64_t round_ns;            /* the time of the round that used_ns is about */
    uint64_t used_ns;
    bool running;
    uint64_t (*clock_ns)(void); /* monotonic; tests have their own */
};

void vx_pwasm_turns_init(struct vx_pwasm_turns *ts);

static inline void vx_pwasm_turn_init(struct vx_pwasm_turn *t,
                                      void (*run)(struct vx_pwasm_turn *t, uint64_t now_ns)) {
    vx_list_init(&t->link);
    t->run = run;
}

/* Runs `t` once, before it returns if the round has time for it. It may be gone then. Not to be called while a guest runs.
 * Who waits already stays where it is. From inside of a turn: it runs when that one is over, at the earliest. */
void vx_pwasm_turn_ask(struct vx_pwasm_turns *ts, struct vx_pwasm_turn *t, uint64_t now_ns);

static inline bool vx_pwasm_turn_waits(const struct vx_pwasm_turn *t) {
    return !vx_list_empty(&t->link);
}

/* It is not run any more. Any thread that has the worker's things. */
static inline void vx_pwasm_turn_cancel(struct vx_pwasm_turn *t) {
    vx_list_remove(&t->link);
}

#endif
