/* SPDX-License-Identifier: Apache-2.0 */
/* See seat.h.
 *
 * Invariants
 *   1. Only the control thread starts VMs; only the worker uses them, until the seat has ended or the worker's thread has.
 *   2. A VM takes part from when its worker has entered (`home` is set) to its end. One that has died is in `dead` until the
 *      last of its streams and calls is gone.
 *   3. The timer runs only after the worker has entered; in READY only until who was isolated has proved steady, in ENDED
 *      not at all.
 *   4. ENDED is for good. The control thread frees a seat that has `ended` and of which no message is under way; so storing
 *      the first and counting down the second are the last things that the worker does with it.
 *
 * state           event                              next     function
 * READY           the VM dies                        WAITING  on_death
 * READY           the timer: it has lived for long   READY    on_timer
 * WAITING         the timer: the back-off is over    ASKED    on_timer
 * ASKED           the timer: a VM is there           READY    take
 * ASKED           the timer: it did not start        WAITING  on_timer
 * before ENDING   the order to end                   ENDING   begin_end
 * ENDING          its turn: the VM is told           ENDING   tell_end
 * ENDING          the VM needs no time (any more)    ENDING   tell_end, on_through
 * ENDING          the order to cut it short          ENDING   cut
 * ENDING          the VM dies                        ENDING   on_death
 * ENDING          no VM, alive or dead, is left      ENDED    look_around
 * before ENDED    the worker's thread is no more     ENDED    vx_pwasm_seat_end_here
 */
#include "filters/proxy_wasm/seat.h"

#include <stdio.h>

#include "core/exchange/snapshot.h"
#include "filters/proxy_wasm/call.h"
#include "filters/proxy_wasm/done.h"

enum {
    BACK_OFF_MS = 100, /* after the first failure; it doubles with each one */
    BACK_OFF_MAX_MS = 30000,
    POLL_MS = 10,      /* between looks whether a VM has been delivered, or is gone */
    STEADY_S = 60,     /* a VM that lived that long has not failed again */
    ISOLATED_FROM = 5, /* failures in a row */
};

static const uint64_t ms_ns = 1000000, second_ns = 1000000000;

static struct vx_pwasm_crew *crew_of(const struct vx_pwasm_seat *seat) {
    return &seat->plan->hub->crews[seat->worker];
}

static const struct vx_filter_worker *worker_of(const struct vx_pwasm_seat *seat) {
    return crew_of(seat)->worker;
}

static struct vx_timer_wheel *wheel_of(const struct vx_pwasm_seat *seat) {
    return worker_of(seat)->wheel;
}

/* Taking part */

static void take_part(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = seat->vm;
    seat->started_ns = now_ns;
    vm->taking_part = true;
    vm->now_ns = now_ns;
    vm->home = seat->home;
    vx_pwasm_hub_join(seat->plan->hub, vm);
    vx_pwasm_vm_set_tick(vm, vm->tick_ms);
    vx_pwasm_calls_launch(vm, now_ns);
}

static void stand_back(struct vx_pwasm_seat *seat, struct vx_pwasm_vm *vm) {
    if (!vm->taking_part)
        return;
    vm->taking_part = false;
    vx_pwasm_hub_leave(vm);
    vx_timer_remove(wheel_of(seat), &vm->tick);
    vx_timer_remove(wheel_of(seat), &vm->end_timer);
    vx_pwasm_turn_cancel(&vm->tick_turn);
    vx_pwasm_turn_cancel(&vm->end_turn);
}

void vx_pwasm_seat_enter(struct vx_pwasm_seat *seat, struct vx_snapshot *snapshot, uint64_t now_ns) {
    struct vx_snapshot *before = seat->home;
    if (seat->state >= VX_PWASM_SEAT_ENDING)
        return;
    seat->home = vx_snapshot_keep(snapshot, seat->worker);
    if (!before) {
        vx_list_push_back(&crew_of(seat)->seats, &seat->link);
        take_part(seat, now_ns);
        return;
    }
    if (seat->vm)
        seat->vm->home = seat->home;
    vx_snapshot_release(before, seat->worker);
}

/* Failures */

uint64_t vx_pwasm_seat_back_off_ns(const struct vx_pwasm_seat *seat) {
    uint64_t ms = seat->failures > 9 ? BACK_OFF_MAX_MS : (uint64_t)BACK_OFF_MS << (seat->failures - 1);
    return (ms < BACK_OFF_MAX_MS ? ms : BACK_OFF_MAX_MS) * ms_ns;
}

static void set_failures(struct vx_pwasm_seat *seat, uint32_t failures) {
    seat->failures = failures;
    atomic_store_explicit(&seat->shared.isolated, failures >= ISOLATED_FROM, memory_order_relaxed);
}

static void wait_for_next(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    set_failures(seat, seat->failures + 1);
    seat->state = VX_PWASM_SEAT_WAITING;
    vx_timer_set(wheel_of(seat), &seat->timer, now_ns + vx_pwasm_seat_back_off_ns(seat));
}

/* Gives back those whose last stream has closed and whose last call is gone. */
void vx_pwasm_seat_reap(struct vx_pwasm_seat *seat) {
    for (struct vx_list *at = seat->dead.next, *next; at != &seat->dead; at = next) {
        next = at->next;
        struct vx_pwasm_vm *vm = VX_CONTAINER_OF(at, struct vx_pwasm_vm, link);
        if (!vx_list_empty(&vm->streams) || !vx_list_empty(&vm->calls))
            continue;
        vx_list_remove(at);
        vx_pwasm_vm_end(vm);
    }
}

static void log_death(const struct vx_pwasm_seat *seat, const struct vx_pwasm_vm *vm) {
    char then[64] = "it was about to end";
    if (seat->state == VX_PWASM_SEAT_WAITING)
        snprintf(then, sizeof then, "failure %u in a row, the next one starts in %u ms", seat->failures,
                 (unsigned)(vx_pwasm_seat_back_off_ns(seat) / ms_ns));
    vx_pwasm_hub_log(seat->plan->hub, VX_LOG_ERROR,
                     "filter %.*s: its instance on worker %u ended by %s, %s: %s",
                     VX_SLICE_ARG(seat->plan->name), seat->worker, vx_wasm_fault_word(vm->fault.kind), then,
                     vm->fault.text);
}

static void on_death(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = vm->owner;
    if (now_ns - seat->started_ns >= STEADY_S * second_ns)
        set_failures(seat, 0);
    atomic_fetch_add_explicit(&seat->shared.traps, 1, memory_order_relaxed);
    stand_back(seat, vm);
    vx_pwasm_vm_bury(vm);
    vx_list_push_back(&seat->dead, &vm->link);
    seat->vm = NULL;
    if (seat->state == VX_PWASM_SEAT_READY)
        wait_for_next(seat, now_ns);
    else
        vx_timer_set(wheel_of(seat), &seat->timer, now_ns);
    log_death(seat, vm);
}

static void on_through(struct vx_pwasm_vm *vm, uint64_t now_ns);

static void seat_vm(struct vx_pwasm_seat *seat, struct vx_pwasm_vm *vm) {
    vm->owner = seat;
    vm->died = on_death;
    vm->through = on_through;
    seat->vm = vm;
    seat->state = VX_PWASM_SEAT_READY;
}

/* Takes the VM that was asked for. False: it is not there yet. */
static bool take(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = atomic_exchange_explicit(&seat->shared.delivered, NULL, memory_order_acquire);
    if (!vm)
        return false;
    seat_vm(seat, vm);
    take_part(seat, now_ns);
    if (seat->failures >= ISOLATED_FROM)
        vx_timer_set(wheel_of(seat), &seat->timer, now_ns + STEADY_S * second_ns);
    return true;
}

static void look_around(struct vx_pwasm_seat *seat, uint64_t now_ns);

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = VX_CONTAINER_OF(timer, struct vx_pwasm_seat, timer);
    if (seat->state == VX_PWASM_SEAT_ENDING) {
        look_around(seat, now_ns);
        return;
    }
    vx_pwasm_seat_reap(seat);
    if (seat->state == VX_PWASM_SEAT_READY) {
        set_failures(seat, 0);
        return;
    }
    if (seat->state == VX_PWASM_SEAT_WAITING) {
        seat->state = VX_PWASM_SEAT_ASKED;
        atomic_store_explicit(&seat->shared.wanted, true, memory_order_release);
    } else if (take(seat, now_ns)) {
        return;
    } else if (atomic_exchange_explicit(&seat->shared.refused, false, memory_order_acquire)) {
        wait_for_next(seat, now_ns);
        return;
    }
    vx_timer_set(wheel_of(seat), timer, now_ns + POLL_MS * ms_ns);
}

static void answer(struct vx_pwasm_seat *seat) {
    const struct vx_pwasm_plan *plan = seat->plan;
    struct vx_wasm_text why;
    struct vx_pwasm_vm *vm = vx_pwasm_vm_start(plan, worker_of(seat), seat->worker, &why);
    atomic_store_explicit(&seat->shared.wanted, false, memory_order_relaxed);
    if (vm) {
        atomic_store_explicit(&seat->shared.delivered, vm, memory_order_release);
        return;
    }
    vx_pwasm_hub_log(plan->hub, VX_LOG_ERROR, "filter %.*s does not start again on worker %u: %s",
                     VX_SLICE_ARG(plan->name), seat->worker, why.text);
    atomic_store_explicit(&seat->shared.refused, true, memory_order_release);
}

/* Ending, on the worker's thread */

static void end_vm(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = seat->vm;
    vx_pwasm_done_at_once(vm, now_ns);
    if (vm->dead)
        return;
    seat->vm = NULL;
    stand_back(seat, vm);
    vx_pwasm_vm_end(vm);
}

static void finish(struct vx_pwasm_seat *seat) {
    struct vx_snapshot *home = seat->home;
    seat->home = NULL;
    vx_list_remove(&seat->link);
    vx_pwasm_turn_cancel(&seat->end_turn); /* the VM may have died before its turn */
    seat->state = VX_PWASM_SEAT_ENDED;
    if (home)
        vx_snapshot_release(home, seat->worker);
    atomic_store_explicit(&seat->shared.isolated, 0, memory_order_relaxed);
    atomic_store_explicit(&seat->shared.ended, true, memory_order_release);
}

/* Whether it is over: a call that was telling a VM of something when it died goes only when that has returned. */
static void look_around(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    vx_pwasm_seat_reap(seat);
    if (seat->vm)
        return;
    if (vx_list_empty(&seat->dead)) {
        vx_timer_remove(wheel_of(seat), &seat->timer);
        finish(seat);
    } else {
        vx_timer_set(wheel_of(seat), &seat->timer, now_ns + POLL_MS * ms_ns);
    }
}

static bool is_cut(const struct vx_pwasm_seat *seat) {
    return atomic_load_explicit(&seat->shared.order, memory_order_acquire) == VX_PWASM_ORDER_CUT;
}

static void cut(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    if (seat->vm->root.phase == VX_PWASM_CONTEXT_WAITS)
        vx_pwasm_hub_log(seat->plan->hub, VX_LOG_WARN,
                         "filter %.*s: its instance on worker %u has not called proxy_done and is ended "
                         "without, because too many others wait",
                         VX_SLICE_ARG(seat->plan->name), seat->worker);
    vx_pwasm_done_hurry(seat->vm, now_ns);
}

static void tell_end(struct vx_pwasm_turn *turn, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = VX_CONTAINER_OF(turn, struct vx_pwasm_seat, end_turn);
    if (seat->vm && vx_pwasm_done_root(seat->vm, now_ns))
        end_vm(seat, now_ns);
    else if (seat->vm && is_cut(seat))
        cut(seat, now_ns);
    look_around(seat, now_ns);
}

static void begin_end(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    vx_timer_remove(wheel_of(seat), &seat->timer);
    seat->state = VX_PWASM_SEAT_ENDING;
    if (seat->vm)
        vx_pwasm_turn_ask(&crew_of(seat)->turns, &seat->end_turn, now_ns);
}

static void on_through(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = vm->owner;
    end_vm(seat, now_ns);
    look_around(seat, now_ns);
}

/* The control thread has given an order. */
static void hear(void *arg, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = arg;
    if (seat->state < VX_PWASM_SEAT_ENDING)
        begin_end(seat, now_ns);
    if (seat->vm && is_cut(seat) && !vx_pwasm_turn_waits(&seat->end_turn))
        cut(seat, now_ns);
    if (seat->state == VX_PWASM_SEAT_ENDING)
        look_around(seat, now_ns);
    atomic_fetch_sub_explicit(&seat->shared.messages, 1, memory_order_release);
}

/* Ending, on the control thread */

static void tell(struct vx_pwasm_seat *seat) {
    enum vx_pwasm_order order = atomic_load_explicit(&seat->shared.order, memory_order_relaxed);
    const struct vx_filter_worker *worker = worker_of(seat);
    if (seat->told >= order)
        return;
    atomic_fetch_add_explicit(&seat->shared.messages, 1, memory_order_relaxed);
    if (worker->post(worker, hear, seat))
        seat->told = order;
    else
        atomic_fetch_sub_explicit(&seat->shared.messages, 1, memory_order_relaxed);
}

void vx_pwasm_seat_order(struct vx_pwasm_seat *seat, enum vx_pwasm_order order) {
    if (order <= atomic_load_explicit(&seat->shared.order, memory_order_relaxed))
        return;
    atomic_store_explicit(&seat->shared.order, order, memory_order_release);
    if (worker_of(seat))
        tell(seat);
    else
        vx_pwasm_seat_end_here(seat);
}

bool vx_pwasm_seat_has_ended(struct vx_pwasm_seat *seat) {
    if (!atomic_load_explicit(&seat->shared.ended, memory_order_acquire)) {
        tell(seat);
        return false;
    }
    return atomic_load_explicit(&seat->shared.messages, memory_order_acquire) == 0;
}

bool vx_pwasm_seat_is_ending(const struct vx_pwasm_seat *seat) {
    return atomic_load_explicit(&seat->shared.order, memory_order_relaxed) &&
           !atomic_load_explicit(&seat->shared.ended, memory_order_acquire);
}

void vx_pwasm_seat_tend(struct vx_pwasm_seat *seat) {
    if (vx_pwasm_seat_is_ending(seat))
        tell(seat);
}

bool vx_pwasm_seat_start(struct vx_pwasm_seat *seat) {
    bool wanted = atomic_load_explicit(&seat->shared.wanted, memory_order_acquire) &&
                  !atomic_load_explicit(&seat->shared.order, memory_order_relaxed) &&
                  !atomic_load_explicit(&seat->shared.ended, memory_order_acquire);
    if (wanted)
        answer(seat);
    return wanted;
}

void vx_pwasm_seat_end_here(struct vx_pwasm_seat *seat) {
    atomic_store_explicit(&seat->shared.messages, 0, memory_order_relaxed); /* they will not be heard */
    if (seat->state == VX_PWASM_SEAT_ENDED)
        return;
    if (worker_of(seat))
        vx_timer_remove(wheel_of(seat), &seat->timer);
    if (seat->vm) {
        stand_back(seat, seat->vm);
        vx_pwasm_vm_end(seat->vm);
        seat->vm = NULL;
    }
    for (struct vx_list *at = seat->dead.next; at != &seat->dead; at = at->next)
        vx_pwasm_calls_drop(VX_CONTAINER_OF(at, struct vx_pwasm_vm, link));
    vx_pwasm_seat_reap(seat);
    VX_ASSERT(vx_list_empty(&seat->dead));
    finish(seat);
}

/* Coming and going */

void vx_pwasm_seat_init(struct vx_pwasm_seat *seat, const struct vx_pwasm_plan *plan, uint32_t worker,
                        struct vx_pwasm_vm *vm) {
    *seat = (struct vx_pwasm_seat){.plan = plan, .worker = worker};
    vx_list_init(&seat->link);
    vx_list_init(&seat->dead);
    vx_timer_init(&seat->timer, on_timer);
    vx_pwasm_turn_init(&seat->end_turn, tell_end);
    seat_vm(seat, vm);
}

void vx_pwasm_seat_free(struct vx_pwasm_seat *seat) {
    VX_ASSERT(seat->state == VX_PWASM_SEAT_ENDED);
    struct vx_pwasm_vm *delivered = atomic_load_explicit(&seat->shared.delivered, memory_order_acquire);
    if (delivered)
        vx_pwasm_vm_end(delivered);
}
