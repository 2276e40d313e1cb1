/* SPDX-License-Identifier: Apache-2.0 */
/* Places among a target's max_connections, which all workers share: who waits for one, and who is told when one is given up.
 * Taking and giving one is vx_target_take_place and vx_target_give_place; this is what pools of connections do around it.
 *
 * Invariants
 *   1. A worker's bit in shared->waiting_workers is set exactly while requests of that worker wait for a place, which only
 *      those with a max_connections do; whoever waits is counted in shared->waiting.
 *   2. Who comes takes no place while somebody waits: it belongs to them.
 *   3. Where a place is free and somebody waits, one of them is on its way to it, or being told. For: who gives a place up
 *      tells one that waits; who stops waiting, with a place or without, does so too if there is still a free one; and who
 *      is the first to wait looks once more, as a place may have become free before anybody knew of it. Each writes first
 *      and reads then, in one order over all threads, so that two of them cannot miss each other.
 *   4. A worker that is told may be busy for long, or find no use for the place, so whoever waits also looks by itself, rarely.
 *
 * Where nobody waits, giving a place up costs one read more, of the word beside the one just written. */
#ifndef VX_PROXY_RUNTIME_PLACES_H
#define VX_PROXY_RUNTIME_PLACES_H

#include "core/base/list.h"
#include "core/ports/http_client.h"

/* What one worker's pools know of the others. The worker's own thread. */
struct vx_places {
    uint32_t worker; /* this one's index */
    /* That worker is to look for places for its waiting requests. NULL: there are no others. */
    void (*tell)(struct vx_places *self, uint32_t worker);
    /* The others are to give up what they keep while somebody waits for it. NULL: there are no others. */
    void (*ask)(struct vx_places *self);
    struct vx_list queues; /* of this worker's pools, with requests that wait; see place_queue.h */
    uint64_t told;         /* others, of a place */
    uint64_t heard;        /* of a place by others */
    uint64_t late;         /* places that nobody told of, found by looking */
};

/* Nobody else is known yet. */
void vx_places_init(struct vx_places *p, uint32_t worker);

/* Another worker has told this one: its queues look for places, at the end of the round. */
void vx_places_look(struct vx_places *p);

/* A request of this worker begins to wait. `first`: it is the only one of the worker that waits for a place. True: look once
 * more. */
bool vx_places_wait(const struct vx_places *p, struct vx_target_shared *shared, bool first);

/* It no longer waits; `last`: it did for a place, and no other of the worker does. True: there is a free place and somebody
 * who waits for it, who has to be told. */
bool vx_places_wait_over(const struct vx_places *p, const struct vx_target *target, bool last);

/* Tells the next worker after this one that has requests waiting. False: there is none. */
bool vx_places_tell_next(struct vx_places *p, const struct vx_target_shared *shared);

/* Requests of whatever worker wait. */
static inline bool vx_places_wanted(const struct vx_target_shared *shared) {
    return atomic_load_explicit(&shared->waiting, memory_order_seq_cst) > 0;
}

/* Requests of other workers wait for a place. */
bool vx_places_wanted_elsewhere(const struct vx_places *p, const struct vx_target_shared *shared);

#endif
