/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that does what the request's `x-do` asks for, and what its configuration says while it starts; it shows what it
 * saw in fields of the response. */
#include "proxy.h"

static uint32_t queue, counter, gauge, waiting, ticks, notices;
static uint32_t root_calls;

/* What the configuration names after `trap-in `. */
static char trap_place[16];
static size_t trap_place_n;

static void trap_if(const char *place) {
    if (same((struct text){trap_place, trap_place_n}, place))
        __builtin_trap();
}

EXPORT(proxy_on_context_create) void proxy_on_context_create(uint32_t id, uint32_t parent) {
    (void)id;
    if (parent)
        trap_if("create");
}

EXPORT(proxy_on_vm_start) int proxy_on_vm_start(uint32_t root, size_t n) {
    (void)root;
    (void)n;
    return 1;
}

static void spin(void) {
    for (volatile int i = 0;; i++)
        ;
}

/* Calls itself; the volatile keeps it from becoming a loop. */
static int nest(volatile int n) {
    if (n < 0)
        return n;
    volatile int more = n + 1;
    return nest(more) + n;
}

static void call_out(const char *upstream, size_t n, const char *path) {
    struct pairs p;
    uint32_t id;
    pairs_begin(&p, 4);
    pairs_put(&p, ":method", "POST", 4);
    pairs_put(&p, ":path", path, length(path));
    pairs_put(&p, ":authority", "auth.example", 12);
    pairs_put(&p, "x-asked", "yes", 3);
    if (proxy_http_call(upstream, n, p.room, p.text_at, "question", 8, NULL, 0, 2000, &id) != OK)
        say("http_call was refused");
}

EXPORT(proxy_on_configure) int proxy_on_configure(uint32_t root, size_t n) {
    (void)root;
    struct text config = {NULL, 0};
    heap_used = 0;
    proxy_get_buffer_bytes(PLUGIN_CONFIG, 0, n, &config.p, &config.n);
    if (begins(config, "refuse"))
        return 0;
    if (same(config, "trap"))
        __builtin_trap();
    if (begins(config, "spin"))
        spin();
    if (begins(config, "trap-in "))
        for (trap_place_n = 0; trap_place_n < config.n - 8 && trap_place_n < sizeof trap_place;
             trap_place_n++)
            trap_place[trap_place_n] = config.p[8 + trap_place_n];
    if (begins(config, "tick") || begins(config, "trap-in tick"))
        proxy_set_tick_period_milliseconds(20);
    if (begins(config, "queue") || begins(config, "trap-in queue"))
        proxy_register_shared_queue("jobs", 4, &queue);
    if (begins(config, "call ")) {
        call_out(config.p + 5, config.n - 5, "/at-start");
        say("called at start");
    }
    proxy_define_metric(0, "probe.requests", 14, &counter);
    proxy_define_metric(1, "probe_gauge", 11, &gauge);
    say("configured");
    return 1;
}

EXPORT(proxy_on_tick) void proxy_on_tick(uint32_t root) {
    (void)root;
    heap_used = 0;
    trap_if("tick");
    ticks++;
    proxy_record_metric(gauge, ticks);
    if (waiting && proxy_set_effective_context(waiting) == OK) {
        add(REQUEST_HEADERS, "x-from-tick", "1", 1);
        proxy_continue_stream(0);
        waiting = 0;
    }
}

EXPORT(proxy_on_queue_ready) void proxy_on_queue_ready(uint32_t root, uint32_t id) {
    (void)root;
    char *p;
    size_t n;
    heap_used = 0;
    notices++;
    trap_if("queue");
    while (proxy_dequeue_shared_queue(id, &p, &n) == OK)
        proxy_log(2, p, n);
}

EXPORT(proxy_on_http_call_response)
void proxy_on_http_call_response(uint32_t root, uint32_t id, uint32_t headers, size_t body,
                                 uint32_t trailers) {
    (void)root;
    (void)id;
    (void)trailers;
    heap_used = 0;
    root_calls++;
    trap_if("answer");
    if (!waiting || proxy_set_effective_context(waiting) != OK) {
        say("an answer came for nobody");
        return;
    }
    waiting = 0;
    struct text status = header(CALL_HEADERS, ":status"), text = {NULL, 0};
    proxy_get_buffer_bytes(CALL_BODY, 0, body, &text.p, &text.n);
    if (headers == 0) {
        proxy_send_local_response(502, NULL, 0, "no answer", 9, NULL, 0, -1);
    } else if (same(status, "200")) {
        add(REQUEST_HEADERS, "x-answer", text.p, text.n);
        proxy_continue_stream(0);
    } else {
        proxy_send_local_response(401, NULL, 0, text.p, text.n, NULL, 0, -1);
    }
}

/* gRPC: what came is gathered, and shown when it has ended. */

static char gathered[256];
static size_t gathered_n;

static void gather(const char *p, size_t n) {
    for (size_t i = 0; i < n && gathered_n < sizeof gathered; i++)
        gathered[gathered_n++] = p[i];
}

static void call_grpc(uint32_t id, struct text to, struct text method, int stream) {
    uint32_t call;
    struct pairs p;
    int32_t got;
    pairs_begin(&p, 1);
    pairs_put(&p, "x-meta", "data", 4);
    gathered_n = 0;
    waiting = id;
    if (stream) {
        got = proxy_grpc_stream(to.p, to.n, "t.T", 3, method.p, method.n, p.room, p.text_at, &call);
        if (got == OK) {
            proxy_grpc_send(call, "ab", 2, 0);
            proxy_grpc_send(call, "cde", 3, 1);
        }
    } else {
        got = proxy_grpc_call(to.p, to.n, "t.T", 3, method.p, method.n, p.room, p.text_at, "CANCELLED", 9,
                              2000, &call);
    }
    if (got != OK) {
        waiting = 0;
        proxy_send_local_response(599, NULL, 0, digits((uint64_t)got).p, 1, NULL, 0, -1);
    }
}

EXPORT(proxy_on_grpc_receive_initial_metadata)
void on_initial_metadata(uint32_t root, uint32_t id, uint32_t n) {
    (void)root;
    (void)id;
    (void)n;
    gather("<", 1);
}

EXPORT(proxy_on_grpc_receive) void on_grpc_receive(uint32_t root, uint32_t id, size_t n) {
    struct text message = {NULL, 0};
    (void)root;
    heap_used = 0;
    proxy_get_buffer_bytes(GRPC_MESSAGE, 0, n, &message.p, &message.n);
    gather("[", 1);
    gather(message.p, message.n);
    gather("]", 1);
    /* Of a call nothing more comes. */
    if (id % 4 == 1 && proxy_set_effective_context(waiting) == OK) {
        waiting = 0;
        add(REQUEST_HEADERS, "x-grpc", gathered, gathered_n);
        proxy_continue_stream(0);
    }
}

EXPORT(proxy_on_grpc_receive_trailing_metadata)
void on_trailing_metadata(uint32_t root, uint32_t id, uint32_t n) {
    (void)root;
    (void)id;
    (void)n;
    gather(">", 1);
}

EXPORT(proxy_on_grpc_close) void on_grpc_close(uint32_t root, uint32_t id, uint32_t status) {
    struct text message = {NULL, 0};
    uint32_t code = 0;
    (void)root;
    (void)id;
    heap_used = 0;
    proxy_get_status(&code, &message.p, &message.n);
    gather(digits(status).p, digits(status).n);
    gather(" ", 1);
    gather(message.p, message.n);
    if (!waiting || proxy_set_effective_context(waiting) != OK || code != status)
        return;
    waiting = 0;
    add(REQUEST_HEADERS, "x-grpc", gathered, gathered_n);
    proxy_continue_stream(0);
}

static void local_answer(void) {
    struct pairs p;
    pairs_begin(&p, 2);
    pairs_put(&p, "x-local", "yes", 3);
    pairs_put(&p, "content-length", "999", 3);
    proxy_send_local_response(418, "teapot", 6, "short and stout", 15, p.room, p.text_at, -1);
}

static void count_shared(void) {
    char *p;
    size_t n;
    uint32_t cas;
    for (;;) {
        uint64_t count = 0;
        cas = 0;
        if (proxy_get_shared_data("count", 5, &p, &n, &cas) == OK)
            for (size_t i = 0; i < n; i++)
                count = count * 10 + (uint64_t)(p[i] - '0');
        struct text next = digits(count + 1);
        if (proxy_set_shared_data("count", 5, next.p, next.n, cas) != CAS_MISMATCH) {
            proxy_set_property("count", 5, next.p, next.n);
            return;
        }
    }
}

static void misbehave(struct text what) {
    if (same(what, "trap"))
        __builtin_trap();
    if (same(what, "spin"))
        spin();
    if (same(what, "nest"))
        nest(0);
    if (same(what, "grow")) {
        while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1)
            ;
        __builtin_trap();
    }
    if (same(what, "pointers")) {
        int32_t got = proxy_log(2, (const char *)0xfffffff0, 0x7fffffff);
        got |= proxy_get_header_map_pairs(0, (char **)0xfffffffe, (size_t *)0xfffffffc);
        got |= proxy_send_local_response(200, (char *)1, 0xffffffff, NULL, 0, NULL, 0, -1);
        add(REQUEST_HEADERS, "x-status", digits((uint64_t)got).p, digits((uint64_t)got).n);
    }
}

EXPORT(proxy_on_request_headers) int proxy_on_request_headers(uint32_t id, uint32_t n, int end) {
    heap_used = 0;
    proxy_increment_metric(counter, 1);
    struct text what = header(REQUEST_HEADERS, "x-do"), to = header(REQUEST_HEADERS, "x-to");
    struct text count = digits(n);
    add(REQUEST_HEADERS, "x-fields", count.p, count.n);
    add(REQUEST_HEADERS, "x-end", end ? "1" : "0", 1);
    misbehave(what);
    if (same(what, "local"))
        local_answer();
    if (same(what, "path"))
        proxy_replace_header_map_value(REQUEST_HEADERS, ":path", 5, "/elsewhere?x=1", 14);
    if (same(what, "count"))
        count_shared();
    if (same(what, "close"))
        proxy_close_stream(0);
    if (same(what, "enqueue") && proxy_resolve_shared_queue("", 0, "jobs", 4, &queue) == OK)
        proxy_enqueue_shared_queue(queue, "job done", 8);
    if (same(what, "call")) {
        waiting = id;
        call_out(to.p, to.n, "/check");
        return PAUSE;
    }
    if (same(what, "grpc-call") || same(what, "grpc-stream")) {
        call_grpc(id, to, header(REQUEST_HEADERS, "x-method"), same(what, "grpc-stream"));
        return PAUSE;
    }
    if (same(what, "wait-for-tick")) {
        waiting = id;
        return PAUSE;
    }
    return same(what, "pause") ? PAUSE : CONTINUE;
}

/* The whole body in upper case, once it is there. */
static int raise(int type, size_t n, int end) {
    struct text body = {NULL, 0};
    heap_used = 0;
    if (!end)
        return PAUSE;
    if (proxy_get_buffer_bytes(type, 0, n, &body.p, &body.n) != OK)
        return CONTINUE;
    for (size_t i = 0; i < body.n; i++)
        if (body.p[i] >= 'a' && body.p[i] <= 'z')
            body.p[i] -= 'a' - 'A';
    proxy_set_buffer_bytes(type, 0, n, body.p, body.n);
    proxy_set_buffer_bytes(type, n, 0, "!!", 2);
    return CONTINUE;
}

EXPORT(proxy_on_request_body) int proxy_on_request_body(uint32_t id, size_t n, int end) {
    (void)id;
    heap_used = 0;
    trap_if("request-body");
    return same(header(REQUEST_HEADERS, "x-do"), "raise") ? raise(REQUEST_BODY, n, end) : CONTINUE;
}

static void show_property(const char *path, size_t n, const char *name) {
    struct text value = {NULL, 0};
    if (proxy_get_property(path, n, &value.p, &value.n) == OK)
        add(RESPONSE_HEADERS, name, value.p, value.n);
}

EXPORT(proxy_on_response_headers) int proxy_on_response_headers(uint32_t id, uint32_t n, int end) {
    (void)id;
    (void)n;
    (void)end;
    heap_used = 0;
    struct text what = header(REQUEST_HEADERS, "x-do");
    add(RESPONSE_HEADERS, "x-probe", "1", 1);
    show_property("request\0url_path", 16, "x-url-path");
    show_property("plugin_name", 11, "x-plugin");
    show_property("route_name", 10, "x-route");
    show_property("xds\0route_name", 14, "x-xds-route");
    show_property("count", 5, "x-count");
    if (same(what, "trap-response"))
        __builtin_trap();
    if (same(what, "raise-response"))
        proxy_remove_header_map_value(RESPONSE_HEADERS, "content-length", 14);
    return CONTINUE;
}

EXPORT(proxy_on_response_body) int proxy_on_response_body(uint32_t id, size_t n, int end) {
    (void)id;
    heap_used = 0;
    trap_if("response-body");
    return same(header(REQUEST_HEADERS, "x-do"), "raise-response") ? raise(RESPONSE_BODY, n, end) : CONTINUE;
}

EXPORT(proxy_on_done) int proxy_on_done(uint32_t id) {
    if (id != 1)
        trap_if("done");
    return 1;
}

EXPORT(proxy_on_log) void proxy_on_log(uint32_t id) {
    (void)id;
    heap_used = 0;
    if (same(header(REQUEST_HEADERS, "x-do"), "trap-log"))
        __builtin_trap();
}

EXPORT(proxy_on_delete) void proxy_on_delete(uint32_t id) {
    if (id != 1)
        trap_if("delete");
    if (id == 1)
        say("deleted");
}
