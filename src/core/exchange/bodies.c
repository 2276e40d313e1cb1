/* SPDX-License-Identifier: Apache-2.0 */
/* Moving bodies: one loop for both directions, and the gathering of a body whose `model` is wanted. */
#include "core/exchange/filtering.h"
#include "core/exchange/grpc.h"
#include "core/http/json_model.h"

enum {
    PUMP_ROUNDS = 32,               /* pieces moved before other connections get their turn */
    BULK_BYTES = 64 * 1024,         /* from here on it is worth asking for a move inside the kernel */
    GATHER_FIRST_BYTES = 16 * 1024, /* where the length is not known */
    KEEP_FIRST_BYTES = 1024,        /* of a body that went to a backend which may refuse it unread */
};

enum pumped {
    PUMP_WAITS,  /* for an event of either side */
    PUMP_ENDED,  /* the source is at its end */
    PUMP_FAILED, /* the source is broken */
};

static enum pumped pump(struct vx_stream *from, struct vx_stream *to, uint64_t *moved, bool bulk) {
    for (unsigned round = 0; round < PUMP_ROUNDS; round++) {
        if (bulk && from->ops->move) {
            int64_t n = from->ops->move(from, to);
            if (n == 0)
                return PUMP_WAITS;
            if (n > 0) {
                *moved += (uint64_t)n;
                continue;
            }
        }
        struct vx_slice bytes;
        switch (from->ops->pull(from, &bytes)) {
        case VX_PULL_WAIT:
            return PUMP_WAITS;
        case VX_PULL_END:
            return PUMP_ENDED;
        case VX_PULL_FAILED:
            return PUMP_FAILED;
        case VX_PULL_BYTES:
            break;
        }
        to->ending = from->whole;
        size_t taken = to->ops->push(to, bytes);
        if (taken) {
            from->ops->consume(from, taken);
            *moved += taken;
        }
        if (taken < bytes.len)
            return PUMP_WAITS;
    }
    from->ops->again(from);
    return PUMP_WAITS;
}

/* Sends what of a gathered body this attempt has not sent yet. False: the upstream takes no more now. */
static bool push_gathered(struct vx_exchange *x) {
    struct vx_stream *to = &x->up->stream;
    struct vx_slice rest = vx_slice_skip(x->gathered, x->gathered_sent);
    if (rest.len)
        x->gathered_sent += to->ops->push(to, rest);
    return x->gathered_sent == x->gathered.len;
}

bool vx_exchange_is_bulk(const struct vx_exchange *x) {
    return x->forwarded.framing == VX_BODY_LENGTH && x->forwarded.body_bytes >= BULK_BYTES;
}

/* Where the request's body comes from, and the response's. */
static struct vx_stream *request_source(struct vx_exchange *x, uint64_t now_ns) {
    return x->filtering ? vx_filtering_source(x, VX_FILTER_REQUEST, now_ns) : &x->down->stream;
}

static struct vx_stream *response_source(struct vx_exchange *x, uint64_t now_ns) {
    if (x->filtering)
        return vx_filtering_source(x, VX_FILTER_RESPONSE, now_ns);
    VX_CHECK(x->up);
    return &x->up->stream;
}

static void end_whole(struct vx_exchange *x, enum vx_backend_outcome outcome, uint64_t now_ns) {
    if (x->up)
        vx_exchange_drop_upstream(x, outcome, now_ns);
    vx_exchange_end(x, now_ns);
}

/* Room for `bytes` in one piece. False: no memory. */
static bool gather_room(struct vx_exchange *x, size_t bytes) {
    if (bytes <= x->gathered_room)
        return true;
    size_t room = x->gathered_room ? x->gathered_room * 2 : x->keeps ? KEEP_FIRST_BYTES : GATHER_FIRST_BYTES;
    bool declared = x->forwarded.framing == VX_BODY_LENGTH;
    if (declared && (!x->keeps || room > x->forwarded.body_bytes))
        room = x->forwarded.body_bytes;
    if (room < bytes)
        room = bytes;
    char *memory = vx_arena_alloc(x->down->arena, room);
    if (!memory)
        return false;
    if (x->gathered.len)
        memcpy(memory, x->gathered.ptr, x->gathered.len);
    x->gathered.ptr = memory;
    x->gathered_room = room;
    return true;
}

static void append_gathered(struct vx_exchange *x, struct vx_slice bytes) {
    memcpy((char *)x->gathered.ptr + x->gathered.len, bytes.ptr, bytes.len);
    x->gathered.len += bytes.len;
}

/* Keeps what went out. False: no longer, because it got too much, or the backend reads it and will not refuse it unread any
 * more, or memory is short. */
static bool keep(struct vx_exchange *x, struct vx_slice bytes) {
    uint64_t most = x->snapshot->config->limits.buffered_body_bytes;
    if (x->up->reads || x->gathered.len + bytes.len > most || !gather_room(x, x->gathered.len + bytes.len))
        return false;
    append_gathered(x, bytes);
    x->gathered_sent = x->gathered.len;
    return true;
}

/* Like pump(), with a copy kept of what goes out: a backend that refuses a stream has read none of it, and another one
 * gets the copy. Where keeping ends (x->keeps), pump() is the one to go on. */
static enum pumped pump_kept(struct vx_exchange *x, struct vx_stream *from) {
    struct vx_stream *to = &x->up->stream;
    for (unsigned round = 0; round < PUMP_ROUNDS && x->keeps; round++) {
        struct vx_slice bytes;
        switch (from->ops->pull(from, &bytes)) {
        case VX_PULL_WAIT:
            return PUMP_WAITS;
        case VX_PULL_END:
            x->gathered_whole = true;
            return PUMP_ENDED;
        case VX_PULL_FAILED:
            return PUMP_FAILED;
        case VX_PULL_BYTES:
            break;
        }
        to->ending = from->whole;
        size_t taken = to->ops->push(to, bytes);
        if (taken) {
            x->keeps = keep(x, vx_slice(bytes.ptr, taken));
            x->body_taken = !x->keeps;
            from->ops->consume(from, taken);
            x->request_bytes += taken;
        }
        if (taken < bytes.len)
            return PUMP_WAITS;
    }
    if (x->keeps)
        from->ops->again(from);
    return PUMP_WAITS;
}

bool vx_exchange_pump_request(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_stream *from = request_source(x, now_ns), *to = &x->up->stream;
    if (x->request_done)
        return true;
    if (!push_gathered(x)) {
        to->ops->flush(to);
        return true;
    }
    if (x->gathered_whole) {
        x->request_done = true;
        to->ops->finish(to, from->ops->trailers(from));
        return true;
    }
    bool none = x->forwarded.framing == VX_BODY_NONE && !x->tunnel && !x->filtering;
    enum pumped result = none ? PUMP_ENDED : PUMP_WAITS;
    if (x->keeps)
        result = pump_kept(x, from);
    if (!x->keeps && !none) {
        uint64_t before = x->request_bytes;
        result = pump(from, to, &x->request_bytes, vx_exchange_is_bulk(x));
        x->body_taken = x->body_taken || x->request_bytes != before;
    }
    switch (result) {
    case PUMP_WAITS:
        to->ops->flush(to);
        break;
    case PUMP_ENDED:
        x->request_done = true;
        to->ops->finish(to, x->tunnel ? NULL : from->ops->trailers(from));
        if (x->response_done) {
            end_whole(x, VX_OUTCOME_SUCCESS, now_ns);
            return false;
        }
        break;
    case PUMP_FAILED:
        vx_exchange_fail(x, from->error, now_ns);
        return false;
    }
    return true;
}

void vx_exchange_pump_response(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_stream *from = response_source(x, now_ns), *to = &x->down->stream;
    bool bulk = x->up && x->up->received_bytes >= BULK_BYTES;
    uint64_t moved = 0;
    struct vx_headers *trailers;
    bool failure;
    switch (pump(from, to, &moved, bulk)) {
    case PUMP_WAITS:
        to->ops->flush(to);
        break;
    case PUMP_ENDED:
        trailers = x->tunnel ? NULL : from->ops->trailers(from);
        failure = x->grpc && vx_exchange_grpc_trailers(x, trailers);
        to->ops->finish(to, trailers);
        /* A tunnel's other direction goes on until its own end, or until both are silent for too long. */
        if (x->tunnel && !x->request_done) {
            x->response_done = true;
            break;
        }
        end_whole(x, failure ? VX_OUTCOME_FAILURE : VX_OUTCOME_SUCCESS, now_ns);
        break;
    case PUMP_FAILED:
        vx_exchange_fail(x, from->error, now_ns);
        break;
    }
}

static void gathered_all(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_slice model;
    x->gathered_whole = true;
    x->request_bytes = x->gathered.len;
    switch (vx_json_model(x->gathered, x->down->arena, &model)) {
    case VX_JSON_MODEL_FOUND:
        vx_exchange_choose_model(x, model, now_ns);
        break;
    case VX_JSON_MODEL_NO_MEMORY:
        vx_exchange_fail(x, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
        break;
    case VX_JSON_MODEL_NONE:
    case VX_JSON_MODEL_INVALID: /* the backend is the one to complain */
        vx_exchange_attempt(x, false, now_ns);
        break;
    }
}

void vx_exchange_let_the_client_send(struct vx_exchange *x) {
    if (!x->forwarded.expects_continue)
        return;
    struct vx_response go_on = {.status = 100};
    x->forwarded.expects_continue = false;
    vx_headers_remove(&x->forwarded.headers, VX_HEADER_EXPECT);
    x->down->ops->respond(x->down, &go_on);
}

void vx_exchange_gather(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_stream *from = request_source(x, now_ns);
    uint64_t limit = x->snapshot->config->limits.buffered_body_bytes;
    if (x->forwarded.framing == VX_BODY_LENGTH && x->forwarded.body_bytes > limit) {
        vx_exchange_fail(x, vx_error(VX_ERR_BODY_TOO_LARGE, false, "larger than limits.buffered_body"),
                         now_ns);
        return;
    }
    vx_exchange_let_the_client_send(x);
    for (;;) {
        struct vx_slice bytes;
        switch (from->ops->pull(from, &bytes)) {
        case VX_PULL_WAIT:
            return;
        case VX_PULL_END:
            gathered_all(x, now_ns);
            return;
        case VX_PULL_FAILED:
            vx_exchange_fail(x, from->error, now_ns);
            return;
        case VX_PULL_BYTES:
            break;
        }
        if (x->gathered.len + bytes.len > limit) {
            vx_exchange_fail(x, vx_error(VX_ERR_BODY_TOO_LARGE, false, "larger than limits.buffered_body"),
                             now_ns);
            return;
        }
        if (!gather_room(x, x->gathered.len + bytes.len)) {
            vx_exchange_fail(x, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
            return;
        }
        append_gathered(x, bytes);
        from->ops->consume(from, bytes.len);
    }
}

void vx_exchange_choose_model(struct vx_exchange *x, struct vx_slice model, uint64_t now_ns) {
    x->view = vx_backend_set_model(x->route->set, model);
    if (x->view)
        vx_exchange_attempt(x, false, now_ns);
    else
        vx_exchange_fail(x, vx_error(VX_ERR_NO_MODEL, false, NULL), now_ns);
}
