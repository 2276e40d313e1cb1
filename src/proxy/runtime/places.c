/* SPDX-License-Identifier: Apache-2.0 */
/* See places.h. */
#include "proxy/runtime/places.h"

enum { WORD_BITS = 64, WORDS = VX_WORKERS_MAX / WORD_BITS };

static uint64_t bit_of(uint32_t worker) {
    return (uint64_t)1 << worker % WORD_BITS;
}

/* The waiting workers of one word, but for this one. */
static uint64_t others_in(const struct vx_places *p, const struct vx_target_shared *shared, uint32_t word) {
    uint64_t waiting = atomic_load_explicit(&shared->waiting_workers[word], memory_order_seq_cst);
    return word == p->worker / WORD_BITS ? waiting & ~bit_of(p->worker) : waiting;
}

void vx_places_init(struct vx_places *p, uint32_t worker) {
    *p = (struct vx_places){.worker = worker};
    vx_list_init(&p->queues);
}

bool vx_places_wait(const struct vx_places *p, struct vx_target_shared *shared, bool first) {
    if (first)
        atomic_fetch_or_explicit(&shared->waiting_workers[p->worker / WORD_BITS], bit_of(p->worker),
                                 memory_order_seq_cst);
    return atomic_fetch_add_explicit(&shared->waiting, 1, memory_order_seq_cst) == 0;
}

bool vx_places_wait_over(const struct vx_places *p, const struct vx_target *target, bool last) {
    struct vx_target_shared *shared = target->shared;
    if (last)
        atomic_fetch_and_explicit(&shared->waiting_workers[p->worker / WORD_BITS], ~bit_of(p->worker),
                                  memory_order_seq_cst);
    bool wanted = atomic_fetch_sub_explicit(&shared->waiting, 1, memory_order_seq_cst) > 1;
    return wanted && target->max_connections && vx_target_has_place(target);
}

bool vx_places_wanted_elsewhere(const struct vx_places *p, const struct vx_target_shared *shared) {
    if (!vx_places_wanted(shared))
        return false;
    for (uint32_t word = 0; word < WORDS; word++)
        if (others_in(p, shared, word))
            return true;
    return false;
}

/* Tells the first of `waiting` in this word, if there is any. */
static bool tell_one(struct vx_places *p, uint32_t word, uint64_t waiting) {
    if (!waiting)
        return false;
    p->tell(p, word * WORD_BITS + (uint32_t)__builtin_ctzll(waiting));
    p->told++;
    return true;
}

bool vx_places_tell_next(struct vx_places *p, const struct vx_target_shared *shared) {
    if (!p->tell)
        return false;
    uint32_t own = p->worker / WORD_BITS;
    uint64_t behind = ~(bit_of(p->worker) | (bit_of(p->worker) - 1));
    if (tell_one(p, own, others_in(p, shared, own) & behind))
        return true;
    for (uint32_t i = 1; i < WORDS; i++) {
        uint32_t word = (own + i) % WORDS;
        if (tell_one(p, word, others_in(p, shared, word)))
            return true;
    }
    return tell_one(p, own, others_in(p, shared, own) & ~behind);
}
