/* SPDX-License-Identifier: Apache-2.0 */
/* What one pool of connections, of whatever version of HTTP, does for its requests that wait for a place among
 * max_connections: who waits, whose turn it is, and who gets a place that comes free (places.h). The requests themselves
 * lie in a list of the pool's own.
 *
 * With fewer places than workers they pass from worker to worker, in a ring: one that the own queue could use stays for the
 * length of a turn, then goes to the next worker that waits. */
#ifndef VX_PROXY_RUNTIME_PLACE_QUEUE_H
#define VX_PROXY_RUNTIME_PLACE_QUEUE_H

#include "proxy/runtime/places.h"
#include "proxy/runtime/runtime.h"

enum {
    VX_TURN_MS =
        10, /* one connection at most in this time goes to other workers while this one could use it */
    VX_LOOK_AGAIN_MS = 1000 /* for places that nobody told of; see places.h */
};

struct vx_place_queue {
    struct vx_places *places;
    struct vx_runtime *rt;
    /* The pool's: takes places for those who wait, in their order; returns how many. From the loop. */
    uint32_t (*serve)(struct vx_place_queue *q, uint64_t now_ns);
    struct vx_list link;    /* in places->queues while any request waits */
    struct vx_task soon;    /* there may be a place for the first of them */
    struct vx_timer look;   /* set while any waits, for places that nobody told of */
    uint64_t turn_until_ns; /* until then a place that comes free is for the own requests first */
    /* What they wait for: all the same, as a pool's number means no other target while a request holds its snapshot. */
    const struct vx_target_shared *shared;
    uint32_t count; /* of requests that wait */
    /* Of them, those with a max_connections: only they wait for a place. It is each request's own, as a reload may bring a
     * limit, or take it away, while some wait. */
    uint32_t limited;
};

void vx_place_queue_init(struct vx_place_queue *q, struct vx_places *places, struct vx_runtime *rt,
                         uint32_t (*serve)(struct vx_place_queue *q, uint64_t now_ns));

/* Nothing of it will run. No request waits. */
void vx_place_queue_free(struct vx_place_queue *q);

/* One more request begins to wait. */
void vx_place_queue_enter(struct vx_place_queue *q, const struct vx_target *target);

/* One waits no longer, with a place or without. */
void vx_place_queue_leave(struct vx_place_queue *q, const struct vx_target *target);

/* A connection has closed: gives its place up, to the own requests or to other workers. `yielded`: it was closed for the
 * others, and the place is theirs first. */
void vx_place_queue_give(struct vx_place_queue *q, struct vx_target_shared *shared, bool yielded);

/* A place was taken, or one is being given to another worker. */
void vx_place_queue_begin_turn(struct vx_place_queue *q);
bool vx_place_queue_turn_is_over(const struct vx_place_queue *q);

/* Looks for places at the end of the round: where this is called a user's call may be on the stack. */
void vx_place_queue_serve_soon(struct vx_place_queue *q);

#endif
