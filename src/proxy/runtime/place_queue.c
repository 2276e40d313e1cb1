/* SPDX-License-Identifier: Apache-2.0 */
/* See place_queue.h. */
#include "proxy/runtime/place_queue.h"

static void set_look(struct vx_place_queue *q) {
    vx_timer_set(&q->rt->wheel, &q->look, q->rt->now_ns + (uint64_t)VX_LOOK_AGAIN_MS * 1000000);
}

static void ask_others(struct vx_place_queue *q) {
    if (q->limited && q->places->ask)
        q->places->ask(q->places);
}

static void serve_now(struct vx_task *task, uint64_t now_ns) {
    struct vx_place_queue *q = VX_CONTAINER_OF(task, struct vx_place_queue, soon);
    q->serve(q, now_ns);
}

/* Others are asked again as well: they may not have heard, and what they use they give up only in their turn. */
static void look_again(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_place_queue *q = VX_CONTAINER_OF(timer, struct vx_place_queue, look);
    q->places->late += q->serve(q, now_ns);
    if (!q->count)
        return;
    set_look(q);
    ask_others(q);
}

void vx_place_queue_init(struct vx_place_queue *q, struct vx_places *places, struct vx_runtime *rt,
                         uint32_t (*serve)(struct vx_place_queue *q, uint64_t now_ns)) {
    *q = (struct vx_place_queue){.places = places, .rt = rt, .serve = serve};
    vx_list_init(&q->link);
    vx_task_init(&q->soon, serve_now);
    vx_timer_init(&q->look, look_again);
}

void vx_place_queue_free(struct vx_place_queue *q) {
    VX_ASSERT(!q->count);
    vx_timer_remove(&q->rt->wheel, &q->look);
    vx_task_cancel(&q->soon);
}

void vx_place_queue_serve_soon(struct vx_place_queue *q) {
    vx_runtime_defer(q->rt, &q->soon);
}

bool vx_place_queue_turn_is_over(const struct vx_place_queue *q) {
    return q->rt->now_ns >= q->turn_until_ns;
}

void vx_place_queue_begin_turn(struct vx_place_queue *q) {
    q->turn_until_ns = q->rt->now_ns + (uint64_t)VX_TURN_MS * 1000000;
}

/* A place is free and somebody waits for it: this worker, if it still has its turn or is the only one, or the next. */
static void pass(struct vx_place_queue *q, const struct vx_target_shared *shared, bool others_first) {
    if (q->count && !others_first && !vx_place_queue_turn_is_over(q))
        vx_place_queue_serve_soon(q);
    else if (vx_places_tell_next(q->places, shared))
        vx_place_queue_begin_turn(q);
    else if (q->count)
        vx_place_queue_serve_soon(q);
}

void vx_place_queue_enter(struct vx_place_queue *q, const struct vx_target *target) {
    struct vx_places *places = q->places;
    if (!q->count++) {
        vx_list_push_back(&places->queues, &q->link);
        q->shared = target->shared;
        set_look(q);
    }
    VX_ASSERT(q->shared == target->shared);
    if (vx_places_wait(places, target->shared, target->max_connections && !q->limited++))
        vx_place_queue_serve_soon(q);
    ask_others(q);
}

void vx_place_queue_leave(struct vx_place_queue *q, const struct vx_target *target) {
    if (!--q->count) {
        vx_list_remove(&q->link);
        vx_timer_unset(&q->look);
    }
    if (vx_places_wait_over(q->places, target, target->max_connections && !--q->limited))
        pass(q, target->shared, true); /* which others may have been told of already */
}

void vx_place_queue_give(struct vx_place_queue *q, struct vx_target_shared *shared, bool yielded) {
    vx_target_hold(shared);
    vx_target_give_place(shared);
    if (VX_UNLIKELY(vx_places_wanted(shared)))
        pass(q, shared, yielded);
    vx_target_let_go(shared);
}

/* Served in turns of their own, as a queue that has nothing more to wait for leaves the list. */
void vx_places_look(struct vx_places *p) {
    p->heard++;
    for (struct vx_list *at = p->queues.next; at != &p->queues; at = at->next)
        vx_place_queue_serve_soon(VX_CONTAINER_OF(at, struct vx_place_queue, link));
}
