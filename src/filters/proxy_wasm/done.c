/* SPDX-License-Identifier: Apache-2.0 */
/* See done.h.
 *
 * Invariants
 *   1. The contexts in vm->waiting are those of streams that WAIT or are DONE: first those that are done, then the others,
 *      the oldest first. All wait equally long, so the first one is due first.
 *   2. They have no stream any more, but their ids are known, so that the guest can make them effective.
 *   3. The root is deleted last.
 *   4. Nothing is deleted under the guest's feet: what it says is done is seen to by the timer.
 *   5. The timer is set while anybody waits and the VM takes part, or the turn that it leads to waits, and only then.
 *   6. A turn (turns.h) deletes one context, so that no round of the loop has to see to all of them.
 *
 * phase  event                               next   function
 * LIVE   on_done returns true                GONE   vx_pwasm_done_stream; of the root: DONE, vx_pwasm_done_root
 * LIVE   on_done returns false               WAITS  wait_for
 * WAITS  proxy_done                          DONE   vx_pwasm_done_say
 * WAITS  limits.end_time is over             GONE   end_one
 * WAITS  too many wait, it is the oldest     GONE   wait_for
 * DONE   the timer; the root: is the last    GONE   end_one
 * WAITS  it is hurried                       DONE   vx_pwasm_done_hurry
 * any    the VM ends                         GONE   vx_pwasm_done_at_once
 */
#include "filters/proxy_wasm/done.h"

#include <inttypes.h>

#include "filters/proxy_wasm/hub.h"

/* proxy_on_done. False: the guest asks for time. */
static bool ask(struct vx_pwasm_context *c, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    wasmtime_val_raw_t v[1] = {{.i32 = (int32_t)c->id}};
    return !vx_pwasm_vm_has(vm, VX_PWASM_ON_DONE) ||
           !vx_pwasm_vm_call(vm, VX_PWASM_ON_DONE, c, v, 1, now_ns) || v[0].i32;
}

static void tell_deleted(struct vx_pwasm_context *c, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    wasmtime_val_raw_t v[1] = {{.i32 = (int32_t)c->id}};
    c->phase = VX_PWASM_CONTEXT_GONE;
    if (vx_pwasm_vm_has(vm, VX_PWASM_ON_DELETE))
        vx_pwasm_vm_call(vm, VX_PWASM_ON_DELETE, c, v, 1, now_ns);
}

static struct vx_pwasm_context *first_of(struct vx_pwasm_vm *vm) {
    return vx_list_empty(&vm->waiting) ? NULL
                                       : VX_CONTAINER_OF(vm->waiting.next, struct vx_pwasm_context, link);
}

static void delete_first(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    struct vx_pwasm_context *c = first_of(vm);
    vx_list_remove(&c->link);
    vm->waiting_count--;
    tell_deleted(c, now_ns);
    vx_pwasm_context_forget(c);
}

static uint64_t due_ns(const struct vx_pwasm_context *c) {
    return c->phase == VX_PWASM_CONTEXT_DONE ? 0 : c->end_ns;
}

static bool root_is_due(const struct vx_pwasm_vm *vm, uint64_t now_ns) {
    const struct vx_pwasm_context *root = &vm->root;
    return root->phase != VX_PWASM_CONTEXT_LIVE &&
           (root->end_ns <= now_ns || (root->phase == VX_PWASM_CONTEXT_DONE && vx_list_empty(&vm->waiting)));
}

static void set_timer(struct vx_pwasm_vm *vm) {
    const struct vx_pwasm_context *c = first_of(vm);
    uint64_t at_ns = c ? due_ns(c) : UINT64_MAX;
    if (vm->root.phase != VX_PWASM_CONTEXT_LIVE && vm->root.end_ns < at_ns)
        at_ns = root_is_due(vm, vm->now_ns) ? 0 : vm->root.end_ns;
    if (at_ns == UINT64_MAX)
        vx_timer_unset(&vm->end_timer);
    else
        vx_timer_set(vm->worker->wheel, &vm->end_timer, at_ns > vm->now_ns ? at_ns : vm->now_ns);
}

static void complain(const struct vx_pwasm_vm *vm) {
    vx_pwasm_hub_log(vm->plan->hub, VX_LOG_WARN,
                     "filter %.*s: its instance on worker %u has not called proxy_done within %" PRIu64
                     " ms (limits.end_time) and is ended without",
                     VX_SLICE_ARG(vm->plan->name), vm->worker_index, vm->plan->end_time_ns / 1000000);
}

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = VX_CONTAINER_OF(timer, struct vx_pwasm_vm, end_timer);
    vx_pwasm_hub_ask(vm, &vm->end_turn, now_ns);
}

/* One context in each turn. */
static void end_one(struct vx_pwasm_turn *turn, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = VX_CONTAINER_OF(turn, struct vx_pwasm_vm, end_turn);
    const struct vx_pwasm_context *c = first_of(vm);
    vm->now_ns = now_ns;
    if (c && due_ns(c) <= now_ns) {
        delete_first(vm, now_ns);
        if (!vm->dead)
            vx_pwasm_hub_ask(vm, turn, now_ns);
    } else if (!root_is_due(vm, now_ns)) {
        set_timer(vm);
    } else {
        if (vm->root.phase == VX_PWASM_CONTEXT_WAITS)
            complain(vm);
        vm->through(vm, now_ns);
    }
}

/* Where nothing of the guest runs any more, nothing could call proxy_done. */
static bool may_wait(const struct vx_pwasm_vm *vm) {
    return !vm->dead && vm->taking_part && vm->plan->end_time_ns;
}

static void wait_for(struct vx_pwasm_context *c, uint64_t now_ns) {
    c->phase = VX_PWASM_CONTEXT_WAITS;
    c->end_ns = now_ns + c->vm->plan->end_time_ns;
}

void vx_pwasm_done_stream(struct vx_pwasm_context *c, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    if (ask(c, now_ns) || !may_wait(vm)) {
        tell_deleted(c, now_ns);
        vx_pwasm_context_forget(c);
        return;
    }
    vm->now_ns = now_ns;
    wait_for(c, now_ns);
    c->stream = NULL;
    vx_list_push_back(&vm->waiting, &c->link);
    if (++vm->waiting_count > VX_PWASM_WAITING_MAX)
        delete_first(vm, now_ns);
    if (!vm->dead)
        set_timer(vm);
}

bool vx_pwasm_done_root(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    bool done = ask(&vm->root, now_ns);
    if (vm->dead)
        return false;
    vm->now_ns = now_ns;
    wait_for(&vm->root, now_ns);
    if (done)
        vm->root.phase = VX_PWASM_CONTEXT_DONE;
    if (!may_wait(vm) || root_is_due(vm, now_ns))
        return true;
    set_timer(vm);
    return false;
}

void vx_pwasm_done_at_once(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    if (vm->root.phase == VX_PWASM_CONTEXT_LIVE)
        (void)ask(&vm->root, now_ns);
    while (first_of(vm))
        delete_first(vm, now_ns);
    if (vm->root.phase != VX_PWASM_CONTEXT_GONE)
        tell_deleted(&vm->root, now_ns);
}

void vx_pwasm_done_hurry(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    for (struct vx_list *at = vm->waiting.next; at != &vm->waiting; at = at->next)
        VX_CONTAINER_OF(at, struct vx_pwasm_context, link)->phase = VX_PWASM_CONTEXT_DONE;
    vm->root.phase = VX_PWASM_CONTEXT_DONE;
    vx_pwasm_hub_ask(vm, &vm->end_turn, now_ns);
}

void vx_pwasm_done_forget(struct vx_pwasm_vm *vm) {
    for (struct vx_pwasm_context *c; (c = first_of(vm));) {
        vx_list_remove(&c->link);
        vx_pwasm_context_forget(c);
    }
    vm->waiting_count = 0;
}

bool vx_pwasm_done_say(struct vx_pwasm_context *c) {
    struct vx_pwasm_vm *vm = c->vm;
    if (c->phase != VX_PWASM_CONTEXT_WAITS)
        return false;
    c->phase = VX_PWASM_CONTEXT_DONE;
    if (c != &vm->root) {
        vx_list_remove(&c->link);
        vx_list_push_front(&vm->waiting, &c->link);
    }
    if (vm->taking_part)
        vx_timer_set(vm->worker->wheel, &vm->end_timer, vm->now_ns);
    return true;
}

void vx_pwasm_done_init(struct vx_pwasm_vm *vm) {
    vx_list_init(&vm->waiting);
    vx_timer_init(&vm->end_timer, on_timer);
    vx_pwasm_turn_init(&vm->end_turn, end_one);
}
