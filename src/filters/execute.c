/* SPDX-License-Identifier: Apache-2.0 */
/* See execute.h. */
#include "filters/execute.h"

#include <stdio.h>
#include <stdlib.h>

#include "filters/clock.h"
#include "filters/proxy_wasm/call.h"

enum {
    ISOLATED_FROM = 5, /* failures in a row */
    BACK_OFF_MS = 100, /* then; doubled with each further one */
    BACK_OFF_MAX_MS = 30000,
};

static const uint64_t ms_ns = 1000000;

struct vx_execute_run {
    struct vx_execute_seat *seat;
    struct vx_filter_stream *stream;
    struct vx_execute_run *next; /* in the seat's list of free ones */
};

static struct vx_execute *execute_of(struct vx_filter *f) {
    return VX_CONTAINER_OF(f, struct vx_execute, filter);
}

/* Running the guest */

static bool call(struct vx_pwasm_vm *vm, struct vx_slice name, int32_t *result) {
    const struct vx_pwasm_plan *plan = vm->plan;
    wasmtime_func_t function;
    wasmtime_val_raw_t v[1] = {{0}};
    if (!vx_wasm_instance_function(&vm->sandbox, name, &function) ||
        !vx_wasm_instance_call(&vm->sandbox, &function, v, 1, plan->time_ns, &vm->fault))
        return false;
    *result = v[0].i32;
    return true;
}

static bool open_sandbox(const struct vx_execute *x, struct vx_pwasm_vm *vm, uint64_t time_ns) {
    const struct vx_wasm_module *module = &x->plan.code.module;
    if (vm->sandbox.room)
        return vx_wasm_instance_renew(&vm->sandbox, module, time_ns, &vm->fault);
    if (x->slim)
        return vx_wasm_instance_open_slim(&vm->sandbox, module, vm, time_ns, &vm->fault);
    return vx_wasm_instance_open(&vm->sandbox, module, vm, x->plan.memory_bytes, time_ns, &vm->fault);
}

/* A slim sandbox stays where it is, out of use, while its store has room for the next. */
static void end_run(struct vx_pwasm_vm *vm, bool keep_store) {
    vx_pwasm_output_end(vm);
    if (!keep_store || !vm->sandbox.room)
        vx_wasm_instance_close(&vm->sandbox);
    if (!vx_list_empty(&vm->calls))
        vx_pwasm_calls_drop(vm); /* nobody is left to hear of them */
}

static void publish(struct vx_execute_seat *seat, uint32_t running) {
    const struct vx_wasm_instance *sandbox = &seat->vm.sandbox;
    uint32_t made = sandbox->store && seat->filter->slim ? VX_WASM_SLIM_SERIES - sandbox->room : 0;
    atomic_store_explicit(&seat->shared.running, running, memory_order_relaxed);
    atomic_store_explicit(&seat->shared.over, made, memory_order_relaxed);
}

/* A fresh sandbox, `execute` in it, and its end. False: vm->fault says what went wrong. */
static bool run_guest(struct vx_execute_seat *seat, int32_t *result) {
    const struct vx_execute *x = seat->filter;
    struct vx_pwasm_vm *vm = &seat->vm;
    vm->nested_fault = false;
    /* The last run's has gone: a start function must not meet it. */
    wasmtime_funcref_set_null(&vm->allocator);
    publish(seat, 1);
    bool fine = open_sandbox(x, vm, x->plan.time_ns);
    if (fine && x->plan.code.allocator.len)
        vx_wasm_instance_function(&vm->sandbox, x->plan.code.allocator, &vm->allocator);
    fine = fine && (!x->initialises || call(vm, VX_SLICE("_initialize"), result)) &&
           call(vm, VX_SLICE("execute"), result);
    end_run(vm, fine);
    publish(seat, 0);
    return fine;
}

static void report(struct vx_execute_seat *seat, const char *text) {
    atomic_fetch_add_explicit(&seat->shared.traps, 1, memory_order_relaxed);
    vx_pwasm_vm_log(&seat->vm, VX_PWASM_LEVEL_ERROR, vx_slice_of(text));
}

/* The guest failed. One that does it again and again is left alone for a while. */
static enum vx_filter_verdict fail(struct vx_execute_seat *seat, const char *text, uint64_t now_ns) {
    report(seat, text);
    if (++seat->failures >= ISOLATED_FROM) {
        uint32_t beyond = seat->failures - ISOLATED_FROM;
        uint64_t ms = beyond < 9 ? (uint64_t)BACK_OFF_MS << beyond : BACK_OFF_MAX_MS;
        seat->again_ns = now_ns + (ms < BACK_OFF_MAX_MS ? ms : BACK_OFF_MAX_MS) * ms_ns;
        atomic_store_explicit(&seat->shared.isolated, 1, memory_order_relaxed);
    }
    return VX_FILTER_FAILED;
}

/* The answer that a status stands for: an error of the proxy's own form. */
static void answer(struct vx_filter_stream *stream, uint16_t status) {
    static const struct vx_field json = {VX_SLICE("content-type"), VX_SLICE("application/json")};
    struct vx_slice reason = vx_status_reason(status);
    char body[128];
    int n = snprintf(body, sizeof body, "{\"error\":\"%.*s\"}", VX_SLICE_ARG(reason));
    struct vx_filter_answer answer = {.status = status,
                                      .body = vx_slice(body, (size_t)n),
                                      .fields = &json,
                                      .field_count = 1,
                                      .grpc_status = -1};
    vx_filter_answer(stream, &answer);
}

static enum vx_filter_verdict judge(struct vx_execute_seat *seat, struct vx_filter_stream *stream,
                                    int32_t result, uint64_t now_ns) {
    char text[64];
    if (result != 200 && (result < 400 || result > 599)) {
        snprintf(text, sizeof text, "`execute` returned %d, which is neither 200 nor 400 to 599", result);
        return fail(seat, text, now_ns);
    }
    if (seat->failures) {
        seat->failures = 0;
        atomic_store_explicit(&seat->shared.isolated, 0, memory_order_relaxed);
    }
    if (result != 200)
        answer(stream, (uint16_t)result);
    return VX_FILTER_CONTINUE;
}

/* The port */

static void *open(struct vx_filter *f, uint32_t worker, struct vx_filter_stream *stream, uint64_t now_ns) {
    struct vx_execute_seat *seat = &execute_of(f)->seats[worker];
    struct vx_execute_run *run = seat->free;
    (void)now_ns;
    if (run)
        seat->free = run->next;
    else
        run = malloc(sizeof *run);
    if (run)
        *run = (struct vx_execute_run){.seat = seat, .stream = stream};
    return run;
}

static enum vx_filter_verdict on_headers(void *context, enum vx_filter_direction d, bool end,
                                         uint64_t now_ns) {
    struct vx_execute_run *run = context;
    struct vx_execute_seat *seat = run->seat;
    struct vx_pwasm_vm *vm = &seat->vm;
    int32_t result = 0;
    (void)d, (void)end;
    if (seat->failures >= ISOLATED_FROM && now_ns < seat->again_ns)
        return VX_FILTER_FAILED;
    uint64_t begun_ns = vx_clock_ns(CLOCK_MONOTONIC);
    vm->root.stream = run->stream;
    vm->now_ns = now_ns;
    bool fine = run_guest(seat, &result);
    vm->root.stream = NULL;
    vx_histogram_record(&seat->shared.duration, vx_clock_ns(CLOCK_MONOTONIC) - begun_ns);
    return fine ? judge(seat, run->stream, result, now_ns) : fail(seat, vm->fault.text, now_ns);
}

/* What the guest has asked for while it ran (to continue, an answer) has had its effect when it returned. */
static bool may_resume(void *context) {
    (void)context;
    return false;
}

static void log_stream(void *context, uint64_t now_ns) {
    (void)context, (void)now_ns;
}

static void close_stream(void *context, uint64_t now_ns) {
    struct vx_execute_run *run = context;
    (void)now_ns;
    run->next = run->seat->free;
    run->seat->free = run;
}

/* It has nothing that runs outside of requests. */
static void enter(struct vx_filter *f, uint32_t worker, struct vx_snapshot *snapshot, uint64_t now_ns) {
    (void)f, (void)worker, (void)snapshot, (void)now_ns;
}

static const struct vx_filter_ops ops = {
    .open = open,
    .on_headers = on_headers, /* the only callback that it wants */
    .may_resume = may_resume,
    .log = log_stream,
    .close = close_stream,
    .enter = enter,
};

/* Coming and going */

static bool exports(const struct vx_wasm_module *module, struct vx_slice name, const char *type) {
    char found[VX_WASM_TYPE_MAX];
    return vx_wasm_module_exports(module, name, found) && strcmp(found, type) == 0;
}

bool vx_execute_is(const struct vx_wasm_module *module) {
    char type[VX_WASM_TYPE_MAX];
    return vx_wasm_module_exports(module, VX_SLICE("execute"), type) && !vx_pwasm_code_is(module);
}

static struct vx_slice find_allocator(const struct vx_wasm_module *module) {
    static const struct vx_slice names[] = {{"proxy_on_memory_allocate", 24}, {"malloc", 6}};
    for (unsigned i = 0; i < 2; i++)
        if (exports(module, names[i], "i:i"))
            return names[i];
    return VX_SLICE_NONE;
}

static bool make_seats(struct vx_execute *x) {
    struct vx_pwasm_hub *hub = x->plan.hub;
    x->seat_count = hub->crew_count ? hub->crew_count : 1;
    x->seats = calloc(x->seat_count, sizeof *x->seats);
    for (uint32_t i = 0; x->seats && i < x->seat_count; i++) {
        x->seats[i].filter = x;
        vx_pwasm_vm_lend(&x->seats[i].vm, &x->plan, hub->crews[i].worker, i);
    }
    return x->seats != NULL;
}

/* A sandbox that cannot be made now could not be made for a request either. */
static bool try_once(struct vx_execute *x, struct vx_wasm_text *why) {
    struct vx_pwasm_vm *vm = &x->seats[0].vm;
    x->slim = true;
    bool opens = open_sandbox(x, vm, x->plan.start_time_ns);
    if (!opens) {
        x->slim = false;
        opens = open_sandbox(x, vm, x->plan.start_time_ns);
    }
    if (!opens)
        snprintf(why->text, sizeof why->text, "it does not start: %.380s", vm->fault.text);
    end_run(vm, false);
    return opens;
}

static bool fill(struct vx_execute *x, struct vx_pwasm_hub *hub, const struct vx_config_filter *config) {
    const struct vx_wasm_module *module = &x->plan.code.module;
    x->name = malloc(config->name.len + 1);
    if (!x->name)
        return false;
    memcpy(x->name, config->name.ptr, config->name.len);
    x->initialises = exports(module, VX_SLICE("_initialize"), ":");
    x->plan.code.version = VX_PWASM_0_2_1;
    x->plan.code.allocator = find_allocator(module);
    x->plan.name = vx_slice(x->name, config->name.len);
    x->plan.memory_bytes = config->limits.memory_bytes;
    x->plan.time_ns = config->limits.time_ns;
    x->plan.start_time_ns = config->limits.start_time_ns;
    x->plan.hub = hub;
    x->filter = (struct vx_filter){
        .ops = &ops,
        .name = x->plan.name,
        .wants = VX_FILTER_REQUEST_HEADERS,
        .fails_open = config->fails_open,
    };
    return make_seats(x);
}

/* What the module or its settings have that no `execute` module can have; NULL: nothing. */
static const char *find_misfit(const struct vx_config_filter *config, const struct vx_wasm_module *module) {
    if (!exports(module, VX_SLICE("execute"), ":i"))
        return "its `execute` must take nothing and return an i32";
    if (config->config.len || config->vm_config.len || config->root_id.len || config->vm_id.len)
        return "`config`, `vm_config`, `root_id` and `vm_id` are for Proxy-WASM plugins, and it exports "
               "`execute`";
    if (config->body_continues)
        return "`on_headers_pause` is for Proxy-WASM plugins, and it exports `execute`";
    if (config->limits.of_plugins)
        return "the limits `end_time`, `pause_time` and `body` are for Proxy-WASM plugins, and it exports "
               "`execute`";
    return NULL;
}

struct vx_filter *vx_execute_new(struct vx_pwasm_hub *hub, const struct vx_config_filter *config,
                                 struct vx_wasm_module *module, struct vx_wasm_text *why) {
    const char *misfit = find_misfit(config, module);
    struct vx_execute *x = misfit ? NULL : calloc(1, sizeof *x);
    snprintf(why->text, sizeof why->text, "%s", misfit ? misfit : "there is no memory for it");
    if (!x) {
        vx_wasm_module_unload(module);
        return NULL;
    }
    x->plan.code.module = *module;
    if (fill(x, hub, config) && try_once(x, why))
        return &x->filter;
    vx_execute_free(&x->filter);
    return NULL;
}

void vx_execute_free(struct vx_filter *f) {
    struct vx_execute *x = execute_of(f);
    for (uint32_t i = 0; x->seats && i < x->seat_count; i++) {
        vx_wasm_instance_close(&x->seats[i].vm.sandbox);
        for (struct vx_execute_run *run = x->seats[i].free, *next; run; run = next) {
            next = run->next;
            free(run);
        }
    }
    vx_wasm_module_unload(&x->plan.code.module);
    free(x->seats);
    free(x->name);
    free(x);
}
