/* SPDX-License-Identifier: Apache-2.0 */
/* See plugin.h. */
#include "filters/proxy_wasm/plugin.h"

#include <stdio.h>
#include <stdlib.h>

#include "filters/clock.h"

static struct vx_pwasm_plugin *plugin_of(struct vx_filter *f) {
    return VX_CONTAINER_OF(f, struct vx_pwasm_plugin, filter);
}

/* Streams */

static void *open(struct vx_filter *f, uint32_t worker, struct vx_filter_stream *stream, uint64_t now_ns) {
    struct vx_pwasm_seat *seat = &plugin_of(f)->seats[worker];
    bool ready = seat->state == VX_PWASM_SEAT_READY;
    return ready ? vx_pwasm_context_open(seat->vm, stream, now_ns) : NULL;
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
    uint64_t begun_ns = vx_clock_ns(CLOCK_MONOTONIC);
    bool fine = vx_pwasm_vm_call(vm, e, c, v, count, now_ns);
    vx_histogram_record(&seat->shared.duration, vx_clock_ns(CLOCK_MONOTONIC) - begun_ns);
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
        vx_pwasm_seat_reap(vm->owner);
}

static void enter(struct vx_filter *f, uint32_t worker, struct vx_snapshot *snapshot, uint64_t now_ns) {
    vx_pwasm_seat_enter(&plugin_of(f)->seats[worker], snapshot, now_ns);
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
        struct vx_pwasm_vm *vm = vx_pwasm_vm_start(&p->plan, hub->crews[i].worker, i, why);
        if (!vm)
            return false;
        vx_pwasm_seat_init(&p->seats[i], &p->plan, i, vm);
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
    p->plan.end_time_ns = config->limits.end_time_ns;
    p->plan.body_bytes = config->limits.body_bytes;
    p->plan.hub = hub;
    p->filter = (struct vx_filter){
        .ops = &ops,
        .name = p->plan.name,
        .wants = wants_of(&p->plan.code),
        .body_bytes = config->limits.body_bytes,
        .pause_ns = config->limits.pause_time_ns,
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
    for (uint32_t i = 0; i < p->seat_count; i++)
        vx_pwasm_seat_end_here(&p->seats[i]);
    vx_pwasm_plugin_free(&p->filter);
    return NULL;
}

void vx_pwasm_plugin_order(struct vx_filter *f, enum vx_pwasm_order order) {
    struct vx_pwasm_plugin *p = plugin_of(f);
    for (uint32_t i = 0; i < p->seat_count; i++)
        vx_pwasm_seat_order(&p->seats[i], order);
}

void vx_pwasm_plugin_order_on(struct vx_filter *f, uint32_t worker, enum vx_pwasm_order order) {
    vx_pwasm_seat_order(&plugin_of(f)->seats[worker], order);
}

bool vx_pwasm_plugin_has_ended(struct vx_filter *f) {
    struct vx_pwasm_plugin *p = plugin_of(f);
    bool ended = true;
    for (uint32_t i = 0; i < p->seat_count; i++)
        ended = vx_pwasm_seat_has_ended(&p->seats[i]) && ended;
    return ended;
}

uint32_t vx_pwasm_plugin_ending(const struct vx_filter *f) {
    const struct vx_pwasm_plugin *p = VX_CONTAINER_OF(f, const struct vx_pwasm_plugin, filter);
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->seat_count; i++)
        count += vx_pwasm_seat_is_ending(&p->seats[i]);
    return count;
}

void vx_pwasm_plugin_detach(struct vx_filter *f, uint32_t worker) {
    vx_pwasm_seat_end_here(&plugin_of(f)->seats[worker]);
}

void vx_pwasm_plugin_tend(struct vx_filter *f) {
    struct vx_pwasm_plugin *p = plugin_of(f);
    for (uint32_t i = 0; i < p->seat_count; i++)
        vx_pwasm_seat_tend(&p->seats[i]);
}

bool vx_pwasm_plugin_start_one(struct vx_filter *f) {
    struct vx_pwasm_plugin *p = plugin_of(f);
    for (uint32_t i = 0; i < p->seat_count; i++) {
        uint32_t at = (p->next_start + i) % p->seat_count;
        if (vx_pwasm_seat_start(&p->seats[at])) {
            p->next_start = at + 1;
            return true;
        }
    }
    return false;
}

void vx_pwasm_plugin_free(struct vx_filter *f) {
    struct vx_pwasm_plugin *p = plugin_of(f);
    for (uint32_t i = 0; i < p->seat_count; i++)
        vx_pwasm_seat_free(&p->seats[i]);
    if (p->plan.scope)
        vx_pwasm_scope_drop(p->plan.scope);
    vx_wasm_module_unload(&p->plan.code.module);
    free(p->seats);
    free(p->texts);
    free(p);
}
