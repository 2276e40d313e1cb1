/* SPDX-License-Identifier: Apache-2.0 */
/* See vm.h.
 *
 * Invariants
 *   1. The guest is called by vx_pwasm_vm_call() only (and by its allocator's call inside one); `current` is set for
 *      exactly that long.
 *   2. Once dead it is not called again, and `died` has been told.
 *   3. Each context that the guest was told of is ended with proxy_on_done and proxy_on_delete, unless the VM died.
 */
#include "filters/proxy_wasm/vm.h"

#include <stdio.h>
#include <stdlib.h>

#include "filters/clock.h"
#include "filters/proxy_wasm/call.h"
#include "filters/proxy_wasm/done.h"
#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/hub.h"

enum { LOG_LINES_PER_SECOND = 100 };

static const uint64_t second_ns = 1000000000u;

uint64_t vx_pwasm_vm_wall_ns(const struct vx_pwasm_vm *vm) {
    return vm->worker ? vm->worker->wall_ns() : vx_clock_ns(CLOCK_REALTIME);
}

/* Calls */

static void die(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    vm->dead = true;
    for (struct vx_list *at = vm->streams.next; at != &vm->streams; at = at->next)
        vx_filter_fail(VX_CONTAINER_OF(at, struct vx_pwasm_context, link)->stream);
    if (vm->died)
        vm->died(vm, now_ns);
}

static bool call_within(struct vx_pwasm_vm *vm, const wasmtime_func_t *function,
                        struct vx_pwasm_context *context, wasmtime_val_raw_t *values, size_t count,
                        uint64_t budget_ns, uint64_t now_ns) {
    VX_ASSERT(!vm->current);
    vm->current = context;
    vm->now_ns = now_ns;
    bool fine = vx_wasm_instance_call(&vm->sandbox, function, values, count, budget_ns, &vm->fault);
    vm->current = NULL;
    vx_pwasm_output_end(vm);
    if (VX_UNLIKELY(!fine))
        die(vm, now_ns);
    return fine;
}

bool vx_pwasm_vm_call(struct vx_pwasm_vm *vm, enum vx_pwasm_export e, struct vx_pwasm_context *context,
                      wasmtime_val_raw_t *values, size_t count, uint64_t now_ns) {
    VX_ASSERT(vx_pwasm_vm_has(vm, e));
    if (vm->dead)
        return false;
    vm->logging = e == VX_PWASM_ON_LOG;
    bool fine = call_within(vm, &vm->functions[e], context, values, count, vm->plan->time_ns, now_ns);
    vm->logging = false;
    return fine;
}

uint8_t *vx_pwasm_vm_allocate(struct vx_pwasm_vm *vm, uint32_t n, uint32_t *address) {
    if (!vm->plan->code.allocator.len || vm->nested_fault || vm->sandbox.context == NULL)
        return NULL;
    /* A start function may call us before the instance is there to look anything up in. */
    if (wasmtime_funcref_is_null(&vm->allocator))
        return NULL;
    wasmtime_val_raw_t v[1] = {{.i32 = (int32_t)n}};
    if (!vx_wasm_instance_call(&vm->sandbox, &vm->allocator, v, 1, 0, &vm->fault)) {
        vm->nested_fault = true;
        return NULL;
    }
    *address = (uint32_t)v[0].i32;
    return *address ? vx_wasm_instance_bytes(&vm->sandbox, *address, n) : NULL;
}

/* Contexts */

static struct vx_pwasm_context **slot_of(struct vx_pwasm_vm *vm, uint32_t id) {
    return &vm->table[id & (VX_PWASM_TABLE_SIZE - 1)];
}

struct vx_pwasm_context *vx_pwasm_vm_find(struct vx_pwasm_vm *vm, uint32_t id) {
    struct vx_pwasm_context *c = *slot_of(vm, id);
    while (c && c->id != id)
        c = c->next;
    return c;
}

/* Ids go round after four thousand million streams; 0 is nobody's, and a stream may still be open under an old one. */
static uint32_t next_id(struct vx_pwasm_vm *vm) {
    do
        vm->last_id++;
    while (vm->last_id == 0 || vx_pwasm_vm_find(vm, vm->last_id));
    return vm->last_id;
}

static void enlist(struct vx_pwasm_vm *vm, struct vx_pwasm_context *c) {
    struct vx_pwasm_context **slot = slot_of(vm, c->id);
    c->next = *slot;
    *slot = c;
}

static bool create(struct vx_pwasm_context *c, uint32_t parent, uint64_t budget_ns, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    if (!vx_pwasm_vm_has(vm, VX_PWASM_ON_CONTEXT_CREATE))
        return true;
    wasmtime_val_raw_t v[2] = {{.i32 = (int32_t)c->id}, {.i32 = (int32_t)parent}};
    return call_within(vm, &vm->functions[VX_PWASM_ON_CONTEXT_CREATE], c, v, 2, budget_ns, now_ns);
}

void vx_pwasm_context_forget(struct vx_pwasm_context *c) {
    struct vx_pwasm_vm *vm = c->vm;
    struct vx_pwasm_context **at = slot_of(vm, c->id);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->stream = NULL;
    c->next = vm->free;
    vm->free = c;
}

struct vx_pwasm_context *vx_pwasm_context_open(struct vx_pwasm_vm *vm, struct vx_filter_stream *stream,
                                               uint64_t now_ns) {
    struct vx_pwasm_context *c = vm->free;
    if (c)
        vm->free = c->next;
    else
        c = malloc(sizeof *c);
    if (!c)
        return NULL;
    *c = (struct vx_pwasm_context){.vm = vm, .stream = stream, .id = next_id(vm)};
    enlist(vm, c);
    vx_list_init(&c->link);
    if (!vm->dead && create(c, VX_PWASM_ROOT_ID, vm->plan->time_ns, now_ns)) {
        vx_list_push_back(&vm->streams, &c->link);
        return c;
    }
    vx_pwasm_context_forget(c);
    return NULL;
}

void vx_pwasm_context_close(struct vx_pwasm_context *c, uint64_t now_ns) {
    vx_list_remove(&c->link); /* its own end is no failure of its stream */
    vx_pwasm_done_stream(c, now_ns);
}

/* Starting */

static void look_up(struct vx_pwasm_vm *vm) {
    static const char *const names[] = {
#define X(id, name, type) name,
        VX_PWASM_EXPORT_LIST(X)
#undef X
    };
    for (unsigned e = 0; e < VX_PWASM_EXPORT_COUNT; e++)
        if (vx_pwasm_vm_has(vm, (enum vx_pwasm_export)e))
            vx_wasm_instance_function(&vm->sandbox, vx_slice_of(names[e]), &vm->functions[e]);
    if (vm->plan->code.allocator.len)
        vx_wasm_instance_function(&vm->sandbox, vm->plan->code.allocator, &vm->allocator);
}

/* Calls an export outside of the ABI if there is one of that type. False: it failed. */
static bool call_if_any(struct vx_pwasm_vm *vm, const char *name, const char *type) {
    char found[VX_WASM_TYPE_MAX];
    wasmtime_func_t function;
    if (!vx_wasm_module_exports(&vm->plan->code.module, vx_slice_of(name), found) ||
        strcmp(found, type) != 0 || !vx_wasm_instance_function(&vm->sandbox, vx_slice_of(name), &function))
        return true;
    wasmtime_val_raw_t v[2] = {{0}};
    vm->now_ns = vx_clock_ns(CLOCK_MONOTONIC);
    return vx_wasm_instance_call(&vm->sandbox, &function, v, 2, vm->plan->start_time_ns, &vm->fault);
}

static bool exports(const struct vx_pwasm_vm *vm, const char *name) {
    char type[VX_WASM_TYPE_MAX];
    return vx_wasm_module_exports(&vm->plan->code.module, vx_slice_of(name), type);
}

/* A reactor has _initialize, and its own main then; a command has _start, which may end with proc_exit(0). */
static bool initialise(struct vx_pwasm_vm *vm) {
    if (exports(vm, "_initialize"))
        return call_if_any(vm, "_initialize", ":") &&
               (exports(vm, "main") ? call_if_any(vm, "main", "ii:i") : call_if_any(vm, "__main_void", ":i"));
    return call_if_any(vm, "_start", ":") ||
           (vm->fault.kind == VX_WASM_EXIT && strstr(vm->fault.text, "proc_exit(0)"));
}

/* One of the two start callbacks. False: it failed, or said no. */
static bool begin(struct vx_pwasm_vm *vm, enum vx_pwasm_export e, size_t config_bytes, const char *name,
                  struct vx_wasm_text *why) {
    if (!vx_pwasm_vm_has(vm, e))
        return true;
    wasmtime_val_raw_t v[2] = {{.i32 = VX_PWASM_ROOT_ID}, {.i32 = (int32_t)config_bytes}};
    if (!call_within(vm, &vm->functions[e], &vm->root, v, 2, vm->plan->start_time_ns,
                     vx_clock_ns(CLOCK_MONOTONIC))) {
        snprintf(why->text, sizeof why->text, "%s failed: %.380s", name, vm->fault.text);
        return false;
    }
    if (v[0].i32)
        return true;
    snprintf(why->text, sizeof why->text, "%s returned false: the plugin does not accept its configuration",
             name);
    return false;
}

static bool start(struct vx_pwasm_vm *vm, struct vx_wasm_text *why) {
    const struct vx_pwasm_plan *plan = vm->plan;
    bool fine = vx_wasm_instance_open(&vm->sandbox, &plan->code.module, vm, plan->memory_bytes,
                                      plan->start_time_ns, &vm->fault);
    if (fine) {
        look_up(vm);
        fine = initialise(vm);
    }
    vx_pwasm_output_end(vm);
    if (fine) {
        vm->root = (struct vx_pwasm_context){.vm = vm, .id = VX_PWASM_ROOT_ID};
        vx_list_init(&vm->root.link);
        vm->last_id = VX_PWASM_ROOT_ID;
        enlist(vm, &vm->root);
        fine = create(&vm->root, 0, plan->start_time_ns, vx_clock_ns(CLOCK_MONOTONIC));
    }
    if (!fine) {
        snprintf(why->text, sizeof why->text, "it does not start: %.380s", vm->fault.text);
        return false;
    }
    if (!begin(vm, VX_PWASM_ON_VM_START, plan->vm_config.len, "proxy_on_vm_start", why))
        return false;
    vm->configuring = true;
    fine = begin(vm, VX_PWASM_ON_CONFIGURE, plan->config.len, "proxy_on_configure", why);
    vm->configuring = false;
    return fine;
}

static void on_tick(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = VX_CONTAINER_OF(timer, struct vx_pwasm_vm, tick);
    vx_pwasm_hub_ask(vm, &vm->tick_turn, now_ns);
}

static void tick(struct vx_pwasm_turn *turn, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = VX_CONTAINER_OF(turn, struct vx_pwasm_vm, tick_turn);
    wasmtime_val_raw_t v[1] = {{.i32 = VX_PWASM_ROOT_ID}};
    if (vx_pwasm_vm_has(vm, VX_PWASM_ON_TICK))
        vx_pwasm_vm_call(vm, VX_PWASM_ON_TICK, &vm->root, v, 1, now_ns);
    if (!vm->dead && vm->tick_ms && vm->taking_part)
        vx_timer_set(vm->worker->wheel, &vm->tick, now_ns + vm->tick_ms * UINT64_C(1000000));
}

static void init(struct vx_pwasm_vm *vm, const struct vx_pwasm_plan *plan,
                 const struct vx_filter_worker *worker, uint32_t worker_index) {
    *vm = (struct vx_pwasm_vm){
        .plan = plan,
        .worker = worker,
        .worker_index = worker_index,
        .serial = atomic_fetch_add_explicit(&plan->hub->serial, 1, memory_order_relaxed) + 1,
        .log_tokens = LOG_LINES_PER_SECOND,
    };
    vx_list_init(&vm->streams);
    vx_pwasm_done_init(vm);
    vx_list_init(&vm->calls);
    vx_list_init(&vm->link);
    vx_timer_init(&vm->tick, on_tick);
    vx_pwasm_turn_init(&vm->tick_turn, tick);
}

void vx_pwasm_vm_lend(struct vx_pwasm_vm *vm, const struct vx_pwasm_plan *plan,
                      const struct vx_filter_worker *worker, uint32_t worker_index) {
    init(vm, plan, worker, worker_index);
    vm->root = (struct vx_pwasm_context){.vm = vm, .id = VX_PWASM_ROOT_ID};
    vm->current = &vm->root;
}

struct vx_pwasm_vm *vx_pwasm_vm_start(const struct vx_pwasm_plan *plan, const struct vx_filter_worker *worker,
                                      uint32_t worker_index, struct vx_wasm_text *why) {
    struct vx_pwasm_vm *vm = calloc(1, sizeof *vm);
    if (!vm) {
        snprintf(why->text, sizeof why->text, "there is no memory to start it");
        return NULL;
    }
    init(vm, plan, worker, worker_index);
    if (start(vm, why))
        return vm;
    vm->dead = true;
    vx_pwasm_vm_end(vm);
    return NULL;
}

/* Ending */

void vx_pwasm_vm_bury(struct vx_pwasm_vm *vm) {
    VX_ASSERT(vm->dead && !vm->current);
    vx_pwasm_calls_drop(vm);
    vx_pwasm_done_forget(vm);
    vx_wasm_instance_close(&vm->sandbox);
}

void vx_pwasm_vm_end(struct vx_pwasm_vm *vm) {
    VX_ASSERT(vx_list_empty(&vm->streams) && !vm->taking_part);
    vm->died = NULL;
    if (!vm->dead)
        vx_pwasm_done_at_once(vm, vx_clock_ns(CLOCK_MONOTONIC));
    vx_pwasm_calls_drop(vm);
    vx_wasm_instance_close(&vm->sandbox);
    for (struct vx_pwasm_context *c = vm->free, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(vm);
}

/* The rest */

void vx_pwasm_vm_set_tick(struct vx_pwasm_vm *vm, uint32_t period_ms) {
    vm->tick_ms = period_ms;
    if (!vm->taking_part)
        return;
    vx_pwasm_turn_cancel(&vm->tick_turn);
    if (period_ms) {
        /* Setting it again begins a new period, sooner or later than the one that runs. */
        vx_timer_remove(vm->worker->wheel, &vm->tick);
        vx_timer_set(vm->worker->wheel, &vm->tick, vm->now_ns + period_ms * UINT64_C(1000000));
    } else {
        vx_timer_unset(&vm->tick);
    }
}

bool vx_pwasm_vm_may_resume(const struct vx_pwasm_vm *vm) {
    return !vx_list_empty(&vm->calls) || (vm->tick_ms && vx_pwasm_vm_has(vm, VX_PWASM_ON_TICK)) ||
           (vm->queues && vx_pwasm_vm_has(vm, VX_PWASM_ON_QUEUE_READY));
}

void vx_pwasm_vm_review(struct vx_pwasm_vm *vm) {
    if (vm->dead || vx_pwasm_vm_may_resume(vm))
        return;
    for (struct vx_list *at = vm->streams.next; at != &vm->streams; at = at->next)
        vx_filter_review(VX_CONTAINER_OF(at, struct vx_pwasm_context, link)->stream);
}

/* Grants lines for the time that has passed since some were last granted. */
static bool take_line(struct vx_pwasm_vm *vm) {
    uint64_t granted = (vm->now_ns - vm->log_refill_ns) / (second_ns / LOG_LINES_PER_SECOND);
    if (granted) {
        vm->log_refill_ns = vm->now_ns;
        vm->log_tokens = granted > LOG_LINES_PER_SECOND - vm->log_tokens ? LOG_LINES_PER_SECOND
                                                                         : vm->log_tokens + (uint32_t)granted;
    }
    if (vm->log_tokens == 0) {
        vm->log_held_back++;
        return false;
    }
    vm->log_tokens--;
    return true;
}

void vx_pwasm_vm_log(struct vx_pwasm_vm *vm, uint32_t level, struct vx_slice text) {
    static const enum vx_log_level ours[VX_PWASM_LEVEL_COUNT] = {
        VX_LOG_DEBUG, VX_LOG_DEBUG, VX_LOG_INFO, VX_LOG_WARN, VX_LOG_ERROR, VX_LOG_ERROR,
    };
    const struct vx_pwasm_hub *hub = vm->plan->hub;
    if (!hub->log || ours[level] < hub->log->least || !take_line(vm))
        return;
    struct vx_slice name = vm->plan->name;
    char more[48] = "";
    if (vm->log_held_back)
        snprintf(more, sizeof more, " (and %u lines more held back)", vm->log_held_back);
    vm->log_held_back = 0;
    if (text.len > VX_PWASM_LOG_TEXT_MAX)
        text.len = VX_PWASM_LOG_TEXT_MAX;
    vx_pwasm_hub_log(hub, ours[level], "filter %.*s: %.*s%s", VX_SLICE_ARG(name), VX_SLICE_ARG(text), more);
}
