/* SPDX-License-Identifier: Apache-2.0 */
/* See plugin.h. Each worker has a seat with a VM of its own; when that dies, the control thread starts another one.
 *
 * Invariants
 *   1. `vm` is set exactly in READY. A VM that has died is in `dead` until the last of its streams has closed.
 *   2. The timer runs only while the worker takes part (entered > 0), and not in READY.
 *   3. Only the control thread starts VMs; only the worker uses them, until the plugin is freed.
 *
 * state    event                              next     function
 * READY    the VM dies                        WAITING  on_death
 * WAITING  the timer: the back-off is over    ASKED    on_timer
 * ASKED    the timer: a VM is there           READY    take
 * ASKED    the timer: it did not start        WAITING  on_timer
 * any      the worker leaves                  same     leave
 */
#include "filters/proxy_wasm/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "filters/proxy_wasm/call.h"

enum {
    BACK_OFF_MS = 100, /* after the first failure; it doubles with each one */
    BACK_OFF_MAX_MS = 30000,
    POLL_MS = 10,      /* between looks whether a VM has been delivered */
    STEADY_S = 60,     /* a VM that lived that long has not failed again */
    ISOLATED_FROM = 5, /* failures in a row */
};

static const uint64_t ms_ns = 1000000, second_ns = 1000000000;

static struct vx_pwasm_plugin *plugin_of(struct vx_filter *f) {
    return VX_CONTAINER_OF(f, struct vx_pwasm_plugin, filter);
}

static struct vx_timer_wheel *wheel_of(const struct vx_pwasm_seat *seat) {
    return seat->plugin->plan.hub->crews[seat->worker].worker->wheel;
}

/* Taking part */

static void take_part(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = seat->vm;
    vm->taking_part = true;
    vm->now_ns = now_ns;
    vx_pwasm_hub_join(seat->plugin->plan.hub, vm);
    vx_pwasm_vm_set_tick(vm, vm->tick_ms);
    vx_pwasm_calls_launch(vm, now_ns);
}

static void stand_back(struct vx_pwasm_seat *seat, struct vx_pwasm_vm *vm) {
    vm->taking_part = false;
    vx_pwasm_hub_leave(vm);
    vx_timer_remove(wheel_of(seat), &vm->tick);
}

static void enter(struct vx_filter *f, uint32_t worker, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = &plugin_of(f)->seats[worker];
    if (seat->entered++)
        return;
    if (seat->state != VX_PWASM_SEAT_READY) {
        vx_timer_set(wheel_of(seat), &seat->timer, now_ns);
        return;
    }
    seat->started_ns = now_ns;
    take_part(seat, now_ns);
}

static void leave(struct vx_filter *f, uint32_t worker) {
    struct vx_pwasm_seat *seat = &plugin_of(f)->seats[worker];
    if (--seat->entered)
        return;
    vx_timer_remove(wheel_of(seat), &seat->timer);
    /* A call may hold a later snapshot than the one that keeps the plugin. */
    for (struct vx_list *at = seat->dead.next; at != &seat->dead; at = at->next)
        vx_pwasm_calls_drop(VX_CONTAINER_OF(at, struct vx_pwasm_vm, link));
    if (seat->state != VX_PWASM_SEAT_READY)
        return;
    stand_back(seat, seat->vm);
    vx_pwasm_calls_recall(seat->vm);
}

/* Failures */

static uint64_t back_off_ns(const struct vx_pwasm_seat *seat) {
    uint64_t ms = seat->failures > 9 ? BACK_OFF_MAX_MS : (uint64_t)BACK_OFF_MS << (seat->failures - 1);
    return (ms < BACK_OFF_MAX_MS ? ms : BACK_OFF_MAX_MS) * ms_ns;
}

static void wait_for_next(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    seat->failures++;
    seat->state = VX_PWASM_SEAT_WAITING;
    atomic_store_explicit(&seat->shared.isolated, seat->failures >= ISOLATED_FROM, memory_order_relaxed);
    vx_timer_set(wheel_of(seat), &seat->timer, now_ns + back_off_ns(seat));
}

/* Gives back those whose last stream has closed and whose last call is gone. */
static void reap(struct vx_pwasm_seat *seat) {
    for (struct vx_list *at = seat->dead.next, *next; at != &seat->dead; at = next) {
        next = at->next;
        struct vx_pwasm_vm *vm = VX_CONTAINER_OF(at, struct vx_pwasm_vm, link);
        if (!vx_list_empty(&vm->streams) || !vx_list_empty(&vm->calls))
            continue;
        vx_list_remove(at);
        vx_pwasm_vm_end(vm);
    }
}

static void on_death(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = vm->owner;
    const struct vx_pwasm_plan *plan = &seat->plugin->plan;
    if (now_ns - seat->started_ns >= STEADY_S * second_ns)
        seat->failures = 0;
    atomic_fetch_add_explicit(&seat->shared.traps, 1, memory_order_relaxed);
    stand_back(seat, vm);
    vx_pwasm_vm_bury(vm);
    vx_list_push_back(&seat->dead, &vm->link);
    seat->vm = NULL;
    wait_for_next(seat, now_ns);
    vx_pwasm_hub_log(
        plan->hub, VX_LOG_ERROR,
        "filter %.*s: its instance on worker %u ended by %s, failure %u in a row, the next one starts in "
        "%u ms: %s",
        VX_SLICE_ARG(plan->name), seat->worker, vx_wasm_fault_word(vm->fault.kind), seat->failures,
        (unsigned)(back_off_ns(seat) / ms_ns), vm->fault.text);
}

static void seat_vm(struct vx_pwasm_seat *seat, struct vx_pwasm_vm *vm) {
    vm->owner = seat;
    vm->died = on_death;
    seat->vm = vm;
    seat->state = VX_PWASM_SEAT_READY;
}

/* Takes the VM that was asked for. False: it is not there yet. */
static bool take(struct vx_pwasm_seat *seat, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = atomic_exchange_explicit(&seat->shared.delivered, NULL, memory_order_acquire);
    if (!vm)
        return false;
    seat_vm(seat, vm);
    seat->started_ns = now_ns;
    take_part(seat, now_ns);
    return true;
}

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = VX_CONTAINER_OF(timer, struct vx_pwasm_seat, timer);
    reap(seat);
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
    const struct vx_pwasm_plan *plan = &seat->plugin->plan;
    struct vx_wasm_text why;
    struct vx_pwasm_vm *vm =
        vx_pwasm_vm_start(plan, plan->hub->crews[seat->worker].worker, seat->worker, &why);
    atomic_store_explicit(&seat->shared.wanted, false, memory_order_relaxed);
    if (vm) {
        atomic_store_explicit(&seat->shared.delivered, vm, memory_order_release);
        return;
    }
    vx_pwasm_hub_log(plan->hub, VX_LOG_ERROR, "filter %.*s does not start again on worker %u: %s",
                     VX_SLICE_ARG(plan->name), seat->worker, why.text);
    atomic_store_explicit(&seat->shared.refused, true, memory_order_release);
}

void vx_pwasm_plugin_tend(struct vx_filter *f) {
    struct vx_pwasm_plugin *p = plugin_of(f);
    for (uint32_t i = 0; i < p->seat_count; i++)
        if (atomic_load_explicit(&p->seats[i].shared.wanted, memory_order_acquire))
            answer(&p->seats[i]);
}

/* Streams */

static void *open(struct vx_filter *f, uint32_t worker, struct vx_filter_stream *stream, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = &plugin_of(f)->seats[worker];
    return seat->vm ? vx_pwasm_context_open(seat->vm, stream, now_ns) : NULL;
}

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * second_ns + (uint64_t)t.tv_nsec;
}

/* Headers and trailers take SDKs' wider range of actions: 0 goes on, and so does 2 of headers, which only ends the
 * message. All others hold. */
static enum vx_filter_verdict verdict_of(int32_t action, bool headers) {
    return action == 0 || (headers && action == 2) ? VX_FILTER_CONTINUE : VX_FILTER_PAUSE;
}

static enum vx_filter_verdict ask(struct vx_pwasm_context *c, enum vx_pwasm_export e, wasmtime_val_raw_t *v,
                                  size_t count, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    if (vm->dead)
        return VX_FILTER_FAILED;
    struct vx_pwasm_seat *seat = vm->owner;
    uint64_t begun_ns = clock_ns();
    bool fine = vx_pwasm_vm_call(vm, e, c, v, count, now_ns);
    vx_histogram_record(&seat->shared.duration, clock_ns() - begun_ns);
    if (!fine)
        return VX_FILTER_FAILED;
    return verdict_of(v[0].i32, e == VX_PWASM_ON_REQUEST_HEADERS || e == VX_PWASM_ON_RESPONSE_HEADERS);
}

static uint32_t count_fields(struct vx_filter_stream *stream, enum vx_filter_map which) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(stream, which, &writable);
    struct vx_field field;
    uint32_t count = 0;
    for (uint32_t at = 0; map && vx_field_map_next(map, &at, &field);)
        count++;
    return count;
}

static enum vx_filter_verdict on_headers(void *context, enum vx_filter_direction d, bool end,
                                         uint64_t now_ns) {
    struct vx_pwasm_context *c = context;
    bool request = d == VX_FILTER_REQUEST;
    enum vx_pwasm_export e = request ? VX_PWASM_ON_REQUEST_HEADERS : VX_PWASM_ON_RESPONSE_HEADERS;
    enum vx_filter_map map = request ? VX_FILTER_MAP_REQUEST_HEADERS : VX_FILTER_MAP_RESPONSE_HEADERS;
    wasmtime_val_raw_t v[3] = {
        {.i32 = (int32_t)c->id}, {.i32 = (int32_t)count_fields(c->stream, map)}, {.i32 = end}};
    bool told_end = c->vm->plan->code.told_end >> e & 1;
    return ask(c, e, v, told_end ? 3 : 2, now_ns);
}

static enum vx_filter_verdict on_body(void *context, enum vx_filter_direction d, size_t bytes, bool end,
                                      uint64_t now_ns) {
    struct vx_pwasm_context *c = context;
    wasmtime_val_raw_t v[3] = {{.i32 = (int32_t)c->id}, {.i32 = (int32_t)bytes}, {.i32 = end}};
    return ask(c, d == VX_FILTER_REQUEST ? VX_PWASM_ON_REQUEST_BODY : VX_PWASM_ON_RESPONSE_BODY, v, 3,
               now_ns);
}

static enum vx_filter_verdict on_trailers(void *context, enum vx_filter_direction d, uint64_t now_ns) {
    struct vx_pwasm_context *c = context;
    bool request = d == VX_FILTER_REQUEST;
    enum vx_filter_map map = request ? VX_FILTER_MAP_REQUEST_TRAILERS : VX_FILTER_MAP_RESPONSE_TRAILERS;
    wasmtime_val_raw_t v[2] = {{.i32 = (int32_t)c->id}, {.i32 = (int32_t)count_fields(c->stream, map)}};
    return ask(c, request ? VX_PWASM_ON_REQUEST_TRAILERS : VX_PWASM_ON_RESPONSE_TRAILERS, v, 2, now_ns);
}

static bool may_resume(void *context) {
    const struct vx_pwasm_context *c = context;
    return !c->vm->dead && vx_pwasm_vm_may_resume(c->vm);
}

static void log_stream(void *context, uint64_t now_ns) {
    struct vx_pwasm_context *c = context;
    wasmtime_val_raw_t v[1] = {{.i32 = (int32_t)c->id}};
    if (vx_pwasm_vm_has(c->vm, VX_PWASM_ON_LOG))
        vx_pwasm_vm_call(c->vm, VX_PWASM_ON_LOG, c, v, 1, now_ns);
}

static void close_stream(void *context, uint64_t now_ns) {
    struct vx_pwasm_context *c = context;
    struct vx_pwasm_vm *vm = c->vm;
    vx_pwasm_context_close(c, now_ns);
    if (VX_UNLIKELY(vm->dead))
        reap(vm->owner);
}

static const struct vx_filter_ops ops = {
    .open = open,
    .on_headers = on_headers,
    .on_body = on_body,
    .on_trailers = on_trailers,
    .may_resume = may_resume,
    .log = log_stream,
    .close = close_stream,
    .enter = enter,
    .leave = leave,
};

/* Coming and going */

static uint32_t wants_of(const struct vx_pwasm_code *code) {
    static const struct {
        enum vx_pwasm_export e;
        uint32_t want;
    } rows[] = {
        {VX_PWASM_ON_REQUEST_HEADERS, VX_FILTER_REQUEST_HEADERS},
        {VX_PWASM_ON_REQUEST_BODY, VX_FILTER_REQUEST_BODY},
        {VX_PWASM_ON_REQUEST_TRAILERS, VX_FILTER_REQUEST_TRAILERS},
        {VX_PWASM_ON_RESPONSE_HEADERS, VX_FILTER_RESPONSE_HEADERS},
        {VX_PWASM_ON_RESPONSE_BODY, VX_FILTER_RESPONSE_BODY},
        {VX_PWASM_ON_RESPONSE_TRAILERS, VX_FILTER_RESPONSE_TRAILERS},
    };
    uint32_t wants = code->edits_body ? VX_FILTER_EDITS_BODY : 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (vx_pwasm_code_has(code, rows[i].e))
            wants |= rows[i].want;
    return wants;
}

/* The configuration that was given may go before the plugin does. False: no memory. */
static bool copy_texts(struct vx_pwasm_plugin *p, const struct vx_config_filter *config) {
    const struct vx_slice from[] = {config->name, config->config, config->vm_config, config->root_id,
                                    config->vm_id};
    struct vx_slice *const to[] = {&p->plan.name, &p->plan.config, &p->plan.vm_config, &p->plan.root_id,
                                   &p->plan.vm_id};
    size_t bytes = 1;
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++)
        bytes += from[i].len;
    char *at = p->texts = malloc(bytes);
    for (size_t i = 0; at && i < sizeof from / sizeof from[0]; i++) {
        if (from[i].len)
            memcpy(at, from[i].ptr, from[i].len);
        *to[i] = vx_slice(at, from[i].len);
        at += from[i].len;
    }
    return at != NULL;
}

static bool start_seats(struct vx_pwasm_plugin *p, struct vx_wasm_text *why) {
    struct vx_pwasm_hub *hub = p->plan.hub;
    uint32_t count = hub->crew_count ? hub->crew_count : 1;
    p->seats = calloc(count, sizeof *p->seats);
    for (uint32_t i = 0; p->seats && i < count; i++) {
        struct vx_pwasm_seat *seat = &p->seats[i];
        seat->plugin = p;
        seat->worker = i;
        vx_list_init(&seat->dead);
        vx_timer_init(&seat->timer, on_timer);
        struct vx_pwasm_vm *vm = vx_pwasm_vm_start(&p->plan, hub->crews[i].worker, i, why);
        if (!vm)
            return false;
        seat_vm(seat, vm);
        p->seat_count = i + 1;
    }
    return p->seats != NULL;
}

static bool fill(struct vx_pwasm_plugin *p, struct vx_pwasm_hub *hub, const struct vx_config_filter *config) {
    if (!copy_texts(p, config))
        return false;
    p->plan.memory_bytes = config->limits.memory_bytes;
    p->plan.time_ns = config->limits.time_ns;
    p->plan.start_time_ns = config->limits.start_time_ns;
    p->plan.body_bytes = config->limits.body_bytes;
    p->plan.hub = hub;
    p->filter = (struct vx_filter){
        .ops = &ops,
        .name = p->plan.name,
        .wants = wants_of(&p->plan.code),
        .body_bytes = config->limits.body_bytes,
        .fails_open = config->fails_open,
        .body_continues = config->body_continues,
    };
    p->plan.scope = vx_pwasm_scope_hold(hub->shared, vx_pwasm_plan_vm_id(&p->plan));
    return p->plan.scope != NULL;
}

struct vx_filter *vx_pwasm_plugin_new(struct vx_pwasm_hub *hub, const struct vx_config_filter *config,
                                      struct vx_wasm_module *module, struct vx_wasm_text *why) {
    struct vx_pwasm_plugin *p = calloc(1, sizeof *p);
    snprintf(why->text, sizeof why->text, "there is no memory for it");
    if (!p || !vx_pwasm_code_init(&p->plan.code, module, why)) {
        vx_wasm_module_unload(module);
        free(p);
        return NULL;
    }
    if (fill(p, hub, config) && start_seats(p, why))
        return &p->filter;
    vx_pwasm_plugin_free(&p->filter);
    return NULL;
}

static void free_seat(struct vx_pwasm_seat *seat) {
    VX_ASSERT(!seat->entered);
    struct vx_pwasm_vm *delivered = atomic_load_explicit(&seat->shared.delivered, memory_order_acquire);
    reap(seat);
    if (delivered)
        vx_pwasm_vm_end(delivered);
    if (seat->vm)
        vx_pwasm_vm_end(seat->vm);
}

void vx_pwasm_plugin_free(struct vx_filter *f) {
    struct vx_pwasm_plugin *p = plugin_of(f);
    for (uint32_t i = 0; i < p->seat_count; i++)
        free_seat(&p->seats[i]);
    if (p->plan.scope)
        vx_pwasm_scope_drop(p->plan.scope);
    vx_wasm_module_unload(&p->plan.code.module);
    free(p->seats);
    free(p->texts);
    free(p);
}
