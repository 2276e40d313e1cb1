/* SPDX-License-Identifier: Apache-2.0 */
/* See timer.h.
 *
 * Invariants
 *   1. A linked timer lies in the slot of `placed_ms`, which is > now_ms and, but for a deadline that was already past
 *      or is too far away, <= at_ms.
 *   2. Below the top level a slot's timers share all bits of time above the level's six with now_ms. So a slot is
 *      reached before any of a higher level, and the lowest level in use holds the next event.
 *   3. The top level wraps: its slot is up to 63 slots ahead of now_ms (12 days).
 *   4. A slot holds something exactly when its bit in `used` is set.
 */
#include "core/base/timer.h"

enum { SLOT_BITS = 6, TOP = VX_TIMER_LEVELS - 1, NS_PER_MS = 1000000 };

_Static_assert(VX_TIMER_SLOTS == 1 << SLOT_BITS, "a level is six bits of time");

void vx_timer_wheel_init(struct vx_timer_wheel *w, uint64_t now_ns) {
    w->now_ms = now_ns / NS_PER_MS;
    for (int level = 0; level < VX_TIMER_LEVELS; level++) {
        w->used[level] = 0;
        for (int slot = 0; slot < VX_TIMER_SLOTS; slot++)
            vx_list_init(&w->slots[level][slot]);
    }
}

static void unlink_timer(struct vx_timer_wheel *w, struct vx_timer *t) {
    struct vx_list *head = t->link.next == t->link.prev ? t->link.next : NULL;
    vx_list_remove(&t->link);
    if (!head)
        return;
    /* The last of its list, so its neighbour is the sentinel, which tells the slot (or is run_slot's own list). */
    uintptr_t offset = (uintptr_t)head - (uintptr_t)&w->slots[0][0];
    if (offset < sizeof w->slots) {
        size_t index = offset / sizeof *head;
        w->used[index / VX_TIMER_SLOTS] &= ~(UINT64_C(1) << index % VX_TIMER_SLOTS);
    }
}

void vx_timer_place(struct vx_timer_wheel *w, struct vx_timer *t) {
    if (!vx_list_empty(&t->link))
        unlink_timer(w, t);
    uint64_t at = t->at_ms > w->now_ms ? t->at_ms : w->now_ms + 1;
    uint64_t top_now = w->now_ms >> SLOT_BITS * TOP;
    uint64_t ahead = (at >> SLOT_BITS * TOP) - top_now;
    unsigned level = TOP;
    if (ahead >= VX_TIMER_SLOTS)
        at = (top_now + VX_TIMER_SLOTS - 1) << SLOT_BITS * TOP;
    else if (ahead == 0)
        level = (unsigned)(63 - __builtin_clzll((at ^ w->now_ms) | 1)) / SLOT_BITS;
    unsigned slot = at >> SLOT_BITS * level & (VX_TIMER_SLOTS - 1);
    t->placed_ms = at;
    vx_list_push_back(&w->slots[level][slot], &t->link);
    w->used[level] |= UINT64_C(1) << slot;
}

void vx_timer_remove(struct vx_timer_wheel *w, struct vx_timer *t) {
    t->at_ms = VX_TIMER_NEVER;
    if (!vx_list_empty(&t->link))
        unlink_timer(w, t);
}

struct next {
    uint64_t at_ms; /* VX_TIMER_NEVER: the wheel is empty */
    unsigned level, slot;
};

static struct next next_slot(const struct vx_timer_wheel *w) {
    for (unsigned level = 0; level < VX_TIMER_LEVELS; level++) {
        if (!w->used[level])
            continue;
        uint64_t now = w->now_ms >> SLOT_BITS * level;
        unsigned first = (now + 1) & (VX_TIMER_SLOTS - 1);
        uint64_t ahead = w->used[level] >> first | (first ? w->used[level] << (VX_TIMER_SLOTS - first) : 0);
        uint64_t steps = 1 + (unsigned)__builtin_ctzll(ahead);
        return (struct next){(now + steps) << SLOT_BITS * level, level, (now + steps) & (VX_TIMER_SLOTS - 1)};
    }
    return (struct next){VX_TIMER_NEVER, 0, 0};
}

static void run_slot(struct vx_timer_wheel *w, struct next next, uint64_t now_ns) {
    struct vx_list *slot = &w->slots[next.level][next.slot];
    struct vx_list due;
    vx_list_init(&due);
    if (!vx_list_empty(slot)) {
        vx_list_insert_before(slot, &due);
        vx_list_remove(slot);
    }
    w->used[next.level] &= ~(UINT64_C(1) << next.slot);
    struct vx_list *node;
    while ((node = vx_list_pop_front(&due))) {
        struct vx_timer *t = VX_CONTAINER_OF(node, struct vx_timer, link);
        if (t->at_ms == VX_TIMER_NEVER)
            continue;
        if (t->at_ms > next.at_ms) {
            vx_timer_place(w, t);
            continue;
        }
        t->at_ms = VX_TIMER_NEVER;
        t->fire(t, now_ns);
    }
}

void vx_timer_wheel_run(struct vx_timer_wheel *w, uint64_t now_ns) {
    uint64_t now_ms = now_ns / NS_PER_MS;
    if (now_ms < w->now_ms)
        return;
    for (;;) {
        struct next next = next_slot(w);
        if (next.at_ms > now_ms)
            break;
        w->now_ms = next.at_ms;
        run_slot(w, next, now_ns);
    }
    w->now_ms = now_ms;
}

uint64_t vx_timer_wheel_next_ns(const struct vx_timer_wheel *w, uint64_t now_ns) {
    uint64_t at_ms = next_slot(w).at_ms;
    if (at_ms == VX_TIMER_NEVER)
        return UINT64_MAX;
    return at_ms * NS_PER_MS > now_ns ? at_ms * NS_PER_MS - now_ns : 0;
}
