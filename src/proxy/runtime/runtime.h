/* SPDX-License-Identifier: Apache-2.0 */
/* What connections and exchanges of one worker share, free of any file descriptor, so that the simulator can give
 * the same: clock, timers, tasks for the end of the round, memory, randomness, the dialer.
 * Everything here belongs to one thread. */
#ifndef VX_PROXY_RUNTIME_RUNTIME_H
#define VX_PROXY_RUNTIME_RUNTIME_H

#include "core/base/arena.h"
#include "core/base/block.h"
#include "core/base/list.h"
#include "core/base/random.h"
#include "core/base/timer.h"
#include "proxy/net/transport.h"

/* Work put off to the end of the current round of events: how a port completes without calling back. */
struct vx_task {
    struct vx_list link;
    void (*run)(struct vx_task *task, uint64_t now_ns);
};

struct vx_runtime {
    uint64_t now_ns; /* CLOCK_MONOTONIC, read once a round */
    struct vx_slice
        date; /* the wall clock as a Date field says it, renewed each second; ptr NULL: there is none */
    struct vx_timer_wheel wheel;
    struct vx_list tasks;
    struct vx_list later;           /* tasks of the next round */
    struct vx_chunk_source *arenas; /* small chunks: an exchange's memory */
    struct vx_chunk_source *blocks; /* receive and send buffers */
    struct vx_random random;
    struct vx_dialer *dialer;
    uint32_t worker;             /* index, from 0 */
    uint64_t client_connections; /* that were started, for the ids of the next ones */
};

static inline void vx_task_init(struct vx_task *t, void (*run)(struct vx_task *, uint64_t)) {
    vx_list_init(&t->link);
    t->run = run;
}

/* Runs `t` at the end of this round, once, however often it is deferred until then. */
static inline void vx_runtime_defer(struct vx_runtime *rt, struct vx_task *t) {
    if (vx_list_empty(&t->link))
        vx_list_push_back(&rt->tasks, &t->link);
}

/* Runs `t` at the end of the next round, after whatever that brings: for work that never ends by itself and must let
 * others have their turn. A task that is deferred already stays where it is. */
static inline void vx_runtime_defer_next(struct vx_runtime *rt, struct vx_task *t) {
    if (vx_list_empty(&t->link))
        vx_list_push_back(&rt->later, &t->link);
}

/* It will not run (call before freeing what holds it). */
static inline void vx_task_cancel(struct vx_task *t) {
    vx_list_remove(&t->link);
}

/* Runs the deferred tasks, also those deferred meanwhile, up to a bound that keeps one round finite; true when some
 * are left for the next round, which is then not to wait. */
bool vx_runtime_run_tasks(struct vx_runtime *rt);

#endif
