/* SPDX-License-Identifier: Apache-2.0 */
/* See call.h: what all kinds of calls have in common, the way through the HTTP client.
 *
 * Invariants
 *   1. A call is in its VM's list from when it has an id until the guest has been told all of it.
 *   2. `up`, `snapshot` and, for a balanced backend, the ticket are there exactly while it is SENT; let_go() ends them.
 *   3. The guest is told in turns (turns.h) only, for which an event of the stream asks, or the timer: of one thing in each.
 *   4. While it is told, `telling` is set, and whatever ends the call meanwhile only notes it.
 *   5. It keeps the snapshot of the VM's home from when it was sent, for what the client has of it: targets, pools.
 *
 * state    event                           next     function
 * -        the guest calls, VM takes part  SENT     vx_pwasm_call_begin, launch
 * -        the guest calls, VM does not    WAITING  vx_pwasm_call_begin
 * WAITING  VM takes part, then the timer   SENT     vx_pwasm_calls_launch, on_timer
 * SENT     whole                           -        pull, ops->end
 * SENT     a pooled connection was stale   SENT     on_failed (once)
 * SENT     broken, timeout                 FAILED   lose
 * SENT     too large                       -        vx_pwasm_call_fail, ops->fail
 * -, SENT  could not even begin            FAILED   fail_soon
 * FAILED   its turn                        -        take_turn, ops->fail
 * any      VM dies or ends                 -        vx_pwasm_calls_drop
 */
#include "filters/proxy_wasm/call.h"

#include <stdlib.h>

#include "core/exchange/outcome.h"
#include "core/exchange/snapshot.h"
#include "filters/proxy_wasm/hub.h"

enum { CHUNK_BYTES = 4096 };

/* Ends */

static void let_go(struct vx_pwasm_call *c, enum vx_backend_outcome outcome, uint64_t now_ns) {
    if (vx_backend_ticket_open(&c->ticket))
        vx_backend_ticket_end(&c->ticket, outcome, now_ns);
    if (c->up)
        c->up->stream.ops->release(&c->up->stream);
    if (c->snapshot)
        vx_snapshot_release(c->snapshot, c->vm->worker_index);
    c->up = NULL;
    c->response = NULL;
    c->snapshot = NULL;
}

void vx_pwasm_call_free(struct vx_pwasm_call *c, enum vx_backend_outcome outcome, uint64_t now_ns) {
    struct vx_pwasm_vm *vm = c->vm;
    vx_list_remove(&c->link);
    let_go(c, outcome, now_ns);
    vx_pwasm_turn_cancel(&c->turn);
    if (vm->worker)
        vx_timer_remove(vm->worker->wheel, &c->timer);
    vx_arena_reset(&c->arena);
    free(c->out);
    free(c->got);
    free(c);
    vx_pwasm_vm_review(vm);
}

void vx_pwasm_call_abandon(struct vx_pwasm_call *c) {
    if (c->telling)
        c->ended = true;
    else
        vx_pwasm_call_free(c, VX_OUTCOME_NEUTRAL, c->vm->now_ns);
}

void vx_pwasm_call_fail(struct vx_pwasm_call *c, struct vx_error error, uint64_t now_ns) {
    c->error = error.code;
    let_go(c, vx_outcome_of(&c->ticket, c->up, &error), now_ns);
    c->ops->fail(c, now_ns);
}

static void launch(struct vx_pwasm_call *c, bool fresh, uint64_t now_ns);

/* The same for what comes outside of a turn. */
static void lose(struct vx_pwasm_call *c, struct vx_error error, uint64_t now_ns) {
    c->error = error.code;
    c->state = VX_PWASM_CALL_FAILED;
    let_go(c, vx_outcome_of(&c->ticket, c->up, &error), now_ns);
    vx_pwasm_hub_ask(c->vm, &c->turn, now_ns);
}

/* The guest may be running: it is told at the end of the round. */
static void fail_soon(struct vx_pwasm_call *c, enum vx_error_code error, uint64_t now_ns) {
    c->state = VX_PWASM_CALL_FAILED;
    c->error = error;
    vx_timer_set(c->vm->worker->wheel, &c->timer, now_ns);
}

static void on_timer(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_pwasm_call *c = VX_CONTAINER_OF(timer, struct vx_pwasm_call, timer);
    if (c->state == VX_PWASM_CALL_WAITING)
        launch(c, false, now_ns);
    else if (c->state == VX_PWASM_CALL_FAILED)
        vx_pwasm_hub_ask(c->vm, &c->turn, now_ns);
    else if (vx_pwasm_turn_waits(&c->turn))
        vx_timer_set(c->vm->worker->wheel, timer, now_ns); /* what has come in time is told first */
    else
        lose(c, vx_error(VX_ERR_RESPONSE_TIMEOUT, false, NULL), now_ns);
}

/* Sending */

bool vx_pwasm_call_put(struct vx_pwasm_call *c, struct vx_slice bytes) {
    if (bytes.len > VX_PWASM_CALL_OUT_MAX - c->out_len)
        return false;
    if (c->out_room - c->out_len < bytes.len) {
        size_t room = c->out_room * 2 > c->out_len + bytes.len ? c->out_room * 2 : c->out_len + bytes.len;
        char *grown = realloc(c->out, room);
        if (!grown)
            return false;
        c->out = grown;
        c->out_room = room;
    }
    if (bytes.len)
        memcpy(c->out + c->out_len, bytes.ptr, bytes.len);
    c->out_len += bytes.len;
    return true;
}

void vx_pwasm_call_push(struct vx_pwasm_call *c) {
    if (!c->up || c->finished)
        return;
    struct vx_stream *s = &c->up->stream;
    while (c->out_sent < c->out_len) {
        size_t n = s->ops->push(s, vx_slice(c->out + c->out_sent, c->out_len - c->out_sent));
        if (n == 0)
            return;
        c->out_sent += n;
    }
    if (c->whole) {
        s->ops->finish(s, c->trailers.count ? &c->trailers : NULL);
        c->finished = true;
    } else {
        c->out_len = c->out_sent = 0;
        s->ops->flush(s);
    }
}

/* Receiving */

bool vx_pwasm_call_keep(struct vx_pwasm_call *c, struct vx_slice bytes) {
    if (bytes.len > c->vm->plan->body_bytes - c->got_len)
        return false;
    if (c->got_room - c->got_len < bytes.len) {
        size_t room = c->got_room * 2 > c->got_len + bytes.len ? c->got_room * 2 : c->got_len + bytes.len;
        char *grown = realloc(c->got, room);
        if (!grown)
            return false;
        c->got = grown;
        c->got_room = room;
    }
    if (bytes.len)
        memcpy(c->got + c->got_len, bytes.ptr, bytes.len);
    c->got_len += bytes.len;
    return true;
}

/* Tells of the next piece of what has come. False: there is none yet, or the call is gone. */
static bool pull(struct vx_pwasm_call *c, uint64_t now_ns) {
    struct vx_stream *s = &c->up->stream;
    struct vx_slice bytes, rest;
    switch (s->ops->pull(s, &bytes)) {
    case VX_PULL_BYTES:
        rest = bytes;
        if (!c->ops->bytes(c, &rest, now_ns))
            return false;
        s->ops->consume(s, bytes.len - rest.len);
        return true;
    case VX_PULL_WAIT:
        break;
    case VX_PULL_END:
        c->ops->end(c, now_ns);
        break;
    case VX_PULL_FAILED:
        vx_pwasm_call_fail(c, s->error, now_ns);
        break;
    }
    return false;
}

static bool tell_head(struct vx_pwasm_call *c, uint64_t now_ns) {
    c->head_told = true;
    return c->ops->head(c, now_ns);
}

static void take_turn(struct vx_pwasm_turn *turn, uint64_t now_ns) {
    struct vx_pwasm_call *c = VX_CONTAINER_OF(turn, struct vx_pwasm_call, turn);
    if (c->state == VX_PWASM_CALL_FAILED)
        c->ops->fail(c, now_ns);
    else if (c->head_told ? pull(c, now_ns) : tell_head(c, now_ns))
        vx_pwasm_hub_ask(c->vm, turn, now_ns);
}

static void on_readable(void *user, uint64_t now_ns) {
    struct vx_pwasm_call *c = user;
    if (c->response)
        vx_pwasm_hub_ask(c->vm, &c->turn, now_ns);
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    vx_pwasm_call_push(user);
}

static void on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    struct vx_pwasm_call *c = user;
    if (response->status < 200)
        return;
    c->response = response;
    if (vx_backend_ticket_open(&c->ticket)) {
        bool failure = response->status >= 502 && response->status <= 504;
        if (!failure && c->up->sent_ns)
            vx_backend_ticket_sample(&c->ticket, now_ns - c->up->sent_ns, now_ns);
        vx_backend_ticket_settle(&c->ticket, failure ? VX_OUTCOME_FAILURE : VX_OUTCOME_SUCCESS, now_ns);
    }
    vx_pwasm_hub_ask(c->vm, &c->turn, now_ns);
}

/* A pooled connection that its backend had given up says nothing about the request. */
static bool was_stale(const struct vx_pwasm_call *c) {
    enum vx_error_code code = c->up->stream.error.code;
    bool safe = c->request.method == VX_METHOD_GET || c->request.method == VX_METHOD_HEAD;
    return c->up->reused && !c->again && c->whole && c->up->received_bytes == 0 && (safe || !c->up->sent) &&
           (code == VX_ERR_BACKEND_CLOSED || code == VX_ERR_BACKEND_RESET);
}

static void on_failed(void *user, uint64_t now_ns) {
    struct vx_pwasm_call *c = user;
    if (!was_stale(c)) {
        lose(c, c->up->stream.error, now_ns);
        return;
    }
    let_go(c, VX_OUTCOME_NEUTRAL, now_ns);
    c->again = true;
    c->finished = false;
    c->out_sent = 0;
    launch(c, true, now_ns);
}

static const struct vx_stream_events events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
    .on_response = on_response,
};

/* Where to */

static const struct vx_route *find_route(const struct vx_snapshot *s, struct vx_slice name) {
    for (uint32_t i = 0; i < s->route_count; i++)
        if (s->routes[i].set && vx_slice_eq(s->routes[i].config->name, name))
            return &s->routes[i];
    return NULL;
}

/* A backend by its address as configured, of whichever route has it first. */
static const struct vx_target *find_backend(const struct vx_snapshot *s, struct vx_slice name) {
    for (uint32_t r = 0; r < s->route_count; r++) {
        const struct vx_route *route = &s->routes[r];
        uint32_t count = route->set ? vx_backend_set_count(route->set) : 0;
        for (uint32_t i = 0; i < count; i++)
            if (vx_slice_eq(route->targets[i].name, name))
                return &route->targets[i];
    }
    return NULL;
}

bool vx_pwasm_call_knows(const struct vx_pwasm_vm *vm, struct vx_slice upstream, bool *http2) {
    const struct vx_route *route = find_route(vm->home, upstream);
    const struct vx_target *target = route ? NULL : find_backend(vm->home, upstream);
    if (route && vx_backend_set_count(route->set))
        target = &route->targets[0];
    *http2 = target && target->http2;
    return route || target;
}

/* NULL with *error when there is nowhere. */
static const struct vx_target *choose(struct vx_pwasm_call *c, enum vx_error_code *error, uint64_t now_ns) {
    const struct vx_route *route = find_route(c->snapshot, c->upstream_name);
    *error = VX_ERR_NO_BACKEND;
    if (!route)
        return find_backend(c->snapshot, c->upstream_name);
    struct vx_random random = {.state = now_ns ^ c->vm->serial << 32 ^ c->id};
    struct vx_pick_request request = {.worker = c->vm->worker_index, .random = &random, .now_ns = now_ns};
    switch (vx_backend_pick(route->set, &request, &c->ticket)) {
    case VX_PICKED:
        return &route->targets[c->ticket.index];
    case VX_PICK_BREAKER_OPEN:
        *error = VX_ERR_BREAKER_OPEN;
        break;
    case VX_PICK_NONE_HEALTHY:
        break;
    }
    return NULL;
}

static void launch(struct vx_pwasm_call *c, bool fresh, uint64_t now_ns) {
    const struct vx_filter_worker *worker = c->vm->worker;
    struct vx_error error = vx_error(VX_ERR_NO_BACKEND, false, NULL);
    c->snapshot = vx_snapshot_keep(c->vm->home, c->vm->worker_index);
    const struct vx_target *target = choose(c, &error.code, now_ns);
    if (target) {
        struct vx_upstream_open open = {
            .target = target,
            .request = &c->request,
            .arena = &c->arena,
            .events = &events,
            .user = c,
            .fresh = fresh,
        };
        c->up = worker->client->open(worker->client, &open, &error, now_ns);
    }
    if (!c->up) {
        let_go(c, error.source == VX_BY_BACKEND && target ? VX_OUTCOME_FAILURE : VX_OUTCOME_NEUTRAL, now_ns);
        fail_soon(c, error.code, now_ns);
        return;
    }
    c->state = VX_PWASM_CALL_SENT;
    if (c->timeout_ns && !c->again)
        vx_timer_set(worker->wheel, &c->timer, now_ns + c->timeout_ns);
    vx_pwasm_call_push(c);
}

void vx_pwasm_calls_launch(struct vx_pwasm_vm *vm, uint64_t now_ns) {
    for (struct vx_list *at = vm->calls.next; at != &vm->calls; at = at->next) {
        struct vx_pwasm_call *c = VX_CONTAINER_OF(at, struct vx_pwasm_call, link);
        if (c->state == VX_PWASM_CALL_WAITING)
            vx_timer_set(vm->worker->wheel, &c->timer, now_ns);
    }
}

void vx_pwasm_calls_drop(struct vx_pwasm_vm *vm) {
    for (struct vx_list *at = vm->calls.next, *next; at != &vm->calls; at = next) {
        next = at->next;
        vx_pwasm_call_abandon(VX_CONTAINER_OF(at, struct vx_pwasm_call, link));
    }
}

/* Making */

struct vx_pwasm_call *vx_pwasm_call_find(struct vx_pwasm_vm *vm, uint32_t id) {
    for (struct vx_list *at = vm->calls.next; at != &vm->calls; at = at->next) {
        struct vx_pwasm_call *c = VX_CONTAINER_OF(at, struct vx_pwasm_call, link);
        if (c->id == id && !c->ended)
            return c;
    }
    return NULL;
}

uint32_t vx_pwasm_call_count_fields(struct vx_field_map *map) {
    struct vx_field field;
    uint32_t count = 0;
    for (uint32_t at = 0; map && vx_field_map_next(map, &at, &field);)
        count++;
    return count;
}

struct vx_pwasm_call *vx_pwasm_call_make(struct vx_pwasm_vm *vm, const struct vx_pwasm_call_ops *ops) {
    struct vx_pwasm_call *c = vx_list_length(&vm->calls) < VX_PWASM_CALLS_MAX ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return NULL;
    c->vm = vm;
    c->ops = ops;
    c->heap = vx_heap(malloc, free, CHUNK_BYTES);
    vx_arena_init(&c->arena, c->first, sizeof c->first, &c->heap.source);
    vx_timer_init(&c->timer, on_timer);
    vx_pwasm_turn_init(&c->turn, take_turn);
    vx_list_init(&c->link);
    return c;
}

enum vx_pwasm_status vx_pwasm_call_fill(struct vx_pwasm_call *c, struct vx_slice upstream,
                                        const struct vx_field *fields, uint32_t count) {
    struct vx_field_map head = {.headers = &c->request.headers, .request = &c->request, .arena = &c->arena};
    c->upstream_name = vx_arena_copy(&c->arena, upstream);
    if (!c->upstream_name.ptr)
        return VX_PWASM_INTERNAL_FAILURE;
    for (uint32_t i = 0; i < count; i++) {
        /* An authority that is empty stands for the upstream's own. */
        bool own = !fields[i].value.len && (vx_slice_eq(fields[i].name, VX_SLICE(":authority")) ||
                                            vx_slice_eq(fields[i].name, VX_SLICE("host")));
        enum vx_field_result result =
            vx_field_map_add(&head, fields[i].name, own ? upstream : fields[i].value);
        if (result != VX_FIELD_DONE)
            return result == VX_FIELD_BAD ? VX_PWASM_BAD_ARGUMENT : VX_PWASM_INTERNAL_FAILURE;
    }
    vx_headers_remove(&c->request.headers, VX_HEADER_CONTENT_LENGTH); /* the client frames the body */
    return VX_PWASM_OK;
}

void vx_pwasm_call_begin(struct vx_pwasm_call *c, enum vx_pwasm_call_kind kind) {
    struct vx_pwasm_vm *vm = c->vm;
    if (++vm->last_call_id > UINT32_MAX / VX_PWASM_CALL_KINDS)
        vm->last_call_id = 1;
    c->id = vm->last_call_id * VX_PWASM_CALL_KINDS + kind;
    vx_list_push_back(&vm->calls, &c->link);
    if (vm->taking_part)
        launch(c, false, vm->now_ns);
}
