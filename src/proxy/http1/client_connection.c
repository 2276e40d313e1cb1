/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/1 connection to a backend.
 *
 * Invariants
 *   1. A connection counts in shared->connections from before the connect until it is CLOSED.
 *   2. `request` is set in CONNECTING, HEAD and BODY until its user lets go; IDLE, LEAVING and CLOSED have none.
 *   3. Only a connection on which a response ended cleanly, with nothing behind it, becomes IDLE.
 *   4. A broken write is not yet the end: the backend may have answered before it stopped reading. What decides is the
 *      reading side.
 *   5. A user is told of a failure once, with the request already cut off from the connection.
 *
 * state       event                          next     function
 * CONNECTING  connected                      HEAD     connected
 * CONNECTING  failed, connect timeout        CLOSED   fail
 * HEAD        interim head                   HEAD     read_response
 * HEAD        final head                     BODY     read_response
 * HEAD        end, bad head, timeout         CLOSED   fail
 * BODY        user lets go, all is whole     IDLE     vx_h1_pool_return (or HEAD, for the next in the queue)
 * BODY        user lets go otherwise         CLOSED   vx_h1_client_close
 * BODY        idle timeout                   CLOSED   fail
 * BODY        user lets go, a tunnel's tail  LEAVING  vx_h1_client_leave
 * LEAVING     all written, broken, timeout   CLOSED   vx_h1_client_close
 * IDLE        taken                          HEAD     vx_h1_client_bind
 * IDLE        any event, idle timeout        CLOSED   vx_h1_client_close
 */
#include <stdlib.h>

#include "core/http/h1_write.h"
#include "proxy/http1/client_internal.h"

enum {
    LEAVING_MS = 10000,
    INTERIMS_MAX = 32, /* a response that has more of them before its final head is no use to anybody */
};

static struct vx_runtime *runtime(const struct h1_client_connection *c) {
    return c->pool->client->rt;
}

void vx_h1_client_set_deadline(struct h1_client_connection *c, uint64_t after_ns) {
    if (!after_ns) {
        c->deadline_ns = 0; /* the timer finds nothing due when its place comes up */
        return;
    }
    c->deadline_ns = runtime(c)->now_ns + after_ns;
    vx_timer_set(&runtime(c)->wheel, &c->timer, c->deadline_ns);
}

void vx_h1_client_close(struct h1_client_connection *c, bool reset) {
    VX_ASSERT(c->state != H1_CLIENT_CLOSED);
    vx_h1_pool_unlink(c);
    c->state = H1_CLIENT_CLOSED;
    c->reader.transport->ops->close(c->reader.transport, reset);
    vx_timer_remove(&runtime(c)->wheel, &c->timer);
    vx_buffer_release(&c->reader.in);
    vx_buffer_release(&c->sink.out);
    c->pool->client->connection_count--;
    vx_h1_pool_closed(c);
    vx_runtime_defer(runtime(c), &c->task);
}

void vx_h1_client_leave(struct h1_client_connection *c) {
    c->state = H1_CLIENT_LEAVING;
    vx_list_push_back(&c->pool->leaving, &c->link);
    vx_h1_client_set_deadline(c, (uint64_t)LEAVING_MS * 1000000);
}

static void leave_on(struct h1_client_connection *c) {
    vx_h1_sink_flush(&c->sink);
    if (c->sink.failed || !vx_h1_sink_pending(&c->sink))
        vx_h1_client_close(c, c->sink.failed);
}

static void fail(struct h1_client_connection *c, struct vx_error error, uint64_t now_ns) {
    struct h1_client_request *r = c->request;
    c->request = NULL;
    r->connection = NULL;
    r->up.sent = r->up.sent || c->sink.sent;
    vx_h1_client_close(c, false);
    r->up.stream.error = error;
    r->up.stream.events->on_failed(r->up.stream.user, now_ns);
}

/* Whether the backend has taken bytes since its time last began. */
static bool took_some(const struct h1_client_connection *c) {
    return c->sent_mark != vx_h1_sink_progress(&c->sink);
}

static void await_answer(struct h1_client_connection *c) {
    c->sent_mark = vx_h1_sink_progress(&c->sink);
    vx_h1_client_set_deadline(c, c->request->target->response_timeout_ns);
}

void vx_h1_client_note_sent(struct h1_client_connection *c, uint64_t sent_before) {
    struct h1_client_request *r = c->request;
    /* No event follows a failed write: what the backend said before is looked for at the end of the round. */
    if (VX_UNLIKELY(c->sink.failed))
        vx_runtime_defer(runtime(c), &c->task);
    bool more = c->sink.sent != sent_before;
    if (more) {
        r->up.sent = true;
        if (!r->up.sent_ns)
            r->up.sent_ns = runtime(c)->now_ns;
    }
    if (c->state == H1_CLIENT_HEAD && (more || took_some(c)))
        await_answer(c);
}

void vx_h1_client_flush(struct h1_client_connection *c) {
    uint64_t before = c->sink.sent;
    vx_h1_sink_flush(&c->sink);
    vx_h1_client_note_sent(c, before);
}

static struct vx_slice upgrade_value(const struct vx_request *request) {
    struct vx_header *h = request->upgrade ? vx_headers_find(&request->headers, VX_HEADER_UPGRADE) : NULL;
    return h ? vx_header_value(h) : VX_SLICE_NONE;
}

bool vx_h1_client_bind(struct h1_client_connection *c, struct h1_client_request *r) {
    struct vx_h1_request_write how = {
        .framing = r->request->framing,
        .body_bytes = r->request->body_bytes,
        .upgrade = upgrade_value(r->request),
    };
    char *room = vx_h1_sink_reserve(&c->sink, VX_H1_HEAD_USUAL_BYTES);
    size_t n = room ? vx_h1_write_request_head(room, vx_buffer_room(&c->sink.out), r->request, &how) : 0;
    if (VX_UNLIKELY(!n)) {
        size_t bound = vx_h1_request_head_max(r->request, &how);
        room = vx_h1_sink_reserve(&c->sink, bound);
        if (!room)
            return false;
        n = vx_h1_write_request_head(room, bound, r->request, &how);
    }
    vx_h1_sink_commit(&c->sink, n);
    vx_h1_sink_begin_body(&c->sink, r->request->framing, r->request->body_bytes);
    if (r->ended)
        vx_h1_sink_finish(&c->sink, r->trailers);
    c->sink.sent = c->sent_mark = 0;
    c->request = r;
    r->connection = c;
    r->up.reused = c->requests > 0;
    c->requests++;
    c->reader.got_bytes = false;
    vx_h1_parser_init(&c->reader.parser);
    if (c->state == H1_CLIENT_IDLE || c->state == H1_CLIENT_BODY) {
        c->state = H1_CLIENT_HEAD;
        await_answer(c); /* it may be a while until the request is sent: no other time counts any more */
    }
    return true;
}

static void connected(struct h1_client_connection *c, uint64_t now_ns) {
    struct h1_client_request *r = c->request;
    c->state = H1_CLIENT_HEAD;
    r->up.connect_ns = now_ns - c->opened_ns;
    atomic_fetch_add_explicit(&c->shared->connections_opened, 1, memory_order_relaxed);
    /* A body that waits goes out together with the head. */
    if (r->waits_room) {
        r->waits_room = false;
        r->up.stream.events->on_writable(r->up.stream.user, now_ns);
    }
    if (c->request)
        vx_h1_client_flush(c);
}

/* The backend's end or break before its answer was complete. */
static void lost(struct h1_client_connection *c, ssize_t io, uint64_t now_ns) {
    struct h1_client_request *r = c->request;
    if (c->reader.no_memory) {
        fail(c, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
        return;
    }
    bool silent = !c->reader.got_bytes;
    bool unsent = !r->up.sent && !c->sink.sent;
    const char *detail =
        r->up.reused && silent ? "a pooled connection was stale" : "closed before the response";
    fail(c, vx_error(io == 0 ? VX_ERR_BACKEND_CLOSED : VX_ERR_BACKEND_RESET, unsent, detail), now_ns);
}

/* Why this head cannot be passed on; NULL: it can. What is left of a framed request must not become a tunnel's first
 * bytes (RFC 9110 §7.8), and each interim response costs memory until the exchange is over. */
static const char *object(const struct h1_client_connection *c, const struct vx_response *response,
                          bool interim) {
    struct h1_client_request *r = c->request;
    if (interim)
        return ++r->interims > INTERIMS_MAX ? "too many interim responses" : NULL;
    if (response->status != 101)
        return NULL;
    if (!r->request->upgrade || !response->upgrade)
        return "101 without an upgrade";
    return c->sink.finished ? NULL : "101 before the request was complete";
}

/* Takes a complete head to the user. False: the connection is no longer this request's, or the body begins. */
static bool deliver(struct h1_client_connection *c, size_t head_bytes, uint64_t now_ns) {
    struct h1_client_request *r = c->request;
    struct vx_response *response = &r->response;
    bool interim = response->status < 200 && response->status != 101;
    const char *objection = object(c, response, interim);
    if (objection) {
        fail(c, vx_error(VX_ERR_BAD_RESPONSE, false, objection), now_ns);
        return false;
    }
    vx_block_drop(r->head);
    r->head = vx_block_hold(c->reader.in.block);
    c->reader.in.start += (uint32_t)head_bytes;
    r->up.received_bytes += head_bytes;
    if (!interim) {
        c->state = H1_CLIENT_BODY;
        vx_h1_client_set_deadline(c, 0);
        vx_h1_reader_begin_body(&c->reader, response->framing, response->body_bytes, 0, r->arena);
        if (response->status == 101) {
            vx_h1_reader_begin_tunnel(&c->reader);
            vx_h1_sink_begin_tunnel(&c->sink);
        }
    }
    r->up.stream.events->on_response(r->up.stream.user, response, now_ns);
    if (c->request != r || !interim)
        return false;
    vx_h1_parser_init(&c->reader.parser);
    return true;
}

static void read_response(struct h1_client_connection *c, uint64_t now_ns) {
    while (c->state == H1_CLIENT_HEAD) {
        if (vx_buffer_len(&c->reader.in)) {
            struct h1_client_request *r = c->request;
            struct vx_error error;
            size_t head_bytes = 0;
            enum vx_h1_result result = vx_h1_parse_response(
                &c->reader.parser, &c->pool->client->limits, vx_buffer_slice(&c->reader.in), r->arena,
                r->request->method, &r->response, &head_bytes, &error);
            if (result == VX_H1_ERROR) {
                fail(c, error, now_ns);
                return;
            }
            if (result == VX_H1_DONE) {
                if (!deliver(c, head_bytes, now_ns))
                    return;
                continue;
            }
        }
        ssize_t n = vx_h1_reader_fill(&c->reader);
        if (n == VX_IO_AGAIN)
            return;
        if (n <= 0) {
            lost(c, n, now_ns);
            return;
        }
    }
}

static void readable(struct h1_client_connection *c, uint64_t now_ns) {
    switch ((enum h1_client_state)c->state) {
    case H1_CLIENT_HEAD:
        read_response(c, now_ns);
        break;
    case H1_CLIENT_BODY:
        if (!c->reader.tunnel)
            vx_h1_client_set_deadline(c,
                                      0); /* it has sent more, whenever the client lets that be asked for */
        vx_h1_reader_tell(&c->reader, &c->request->up.stream, now_ns);
        break;
    case H1_CLIENT_IDLE:
        vx_h1_client_close(c, false);
        break;
    case H1_CLIENT_CONNECTING:
    case H1_CLIENT_LEAVING:
    case H1_CLIENT_CLOSED:
        break;
    }
}

static void writable(struct h1_client_connection *c, uint64_t now_ns) {
    struct h1_client_request *r = c->request;
    if (c->state == H1_CLIENT_CONNECTING) {
        connected(c, now_ns);
        return;
    }
    if (c->state == H1_CLIENT_LEAVING) {
        leave_on(c);
        return;
    }
    if (!r)
        return;
    vx_h1_client_flush(c);
    if ((c->sink.wants_room || r->waits_room) && !vx_h1_sink_pending(&c->sink) && !c->sink.failed) {
        c->sink.wants_room = false;
        r->waits_room = false;
        r->up.stream.events->on_writable(r->up.stream.user, now_ns);
    }
}

/* Nothing more can be sent: what was received decides. A tunnel whose backend has half-closed has received all there
 * is, and its user waits for room that will not come. */
static void look_for_answer(struct h1_client_connection *c, uint64_t now_ns) {
    readable(c, now_ns);
    if (c->request && c->sink.no_memory)
        fail(c, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
    else if (c->request && c->state == H1_CLIENT_BODY && c->reader.tunnel && c->reader.ended)
        fail(c, vx_error(VX_ERR_BACKEND_RESET, false, "reset behind its half-close"), now_ns);
}

static void broken(struct h1_client_connection *c, uint64_t now_ns) {
    if (c->state == H1_CLIENT_CONNECTING) {
        struct vx_error error = c->reader.transport->error;
        error.retryable = true;
        fail(c, error, now_ns);
        return;
    }
    if (c->state == H1_CLIENT_LEAVING) {
        vx_h1_client_close(c, true);
        return;
    }
    /* What the backend said before it broke may still lie in the socket. */
    c->reader.transport->readable = true;
    look_for_answer(c, now_ns);
}

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    struct h1_client_connection *c = t->owner;
    if (ready & VX_FAILED) {
        broken(c, now_ns);
        return;
    }
    if (ready & VX_WRITABLE)
        writable(c, now_ns);
    if (ready & (VX_READABLE | VX_PEER_SHUT))
        readable(c, now_ns);
}

/* What could not be done on the spot, or better is not: a request is to be sent; a write failed, or a user asked to be
 * called again; the queue's next request learns that it is on its way; a dead connection is freed. */
static void run_task(struct vx_task *task, uint64_t now_ns) {
    struct h1_client_connection *c = VX_CONTAINER_OF(task, struct h1_client_connection, task);
    if (c->state == H1_CLIENT_CLOSED) {
        free(c);
        return;
    }
    if (c->sends_later) {
        c->sends_later = false;
        if (c->request)
            vx_h1_client_flush(c);
    }
    bool woken = vx_h1_reader_woken(&c->reader);
    if (c->request && c->sink.failed)
        look_for_answer(c, now_ns);
    else if (c->request && woken)
        readable(c, now_ns);
    if (c->request && c->request->waits_room && !c->sink.failed)
        writable(c, now_ns);
}

static void timed_out(struct vx_timer *timer, uint64_t now_ns) {
    struct h1_client_connection *c = VX_CONTAINER_OF(timer, struct h1_client_connection, timer);
    if (!c->deadline_ns)
        return;
    if (c->deadline_ns > now_ns) {
        vx_timer_set(&runtime(c)->wheel, &c->timer, c->deadline_ns);
        return;
    }
    switch ((enum h1_client_state)c->state) {
    case H1_CLIENT_CONNECTING:
        fail(c, vx_error(VX_ERR_CONNECT_TIMEOUT, true, NULL), now_ns);
        break;
    case H1_CLIENT_HEAD:
        if (took_some(c))
            await_answer(c); /* nobody tells how a pipe drains, before it is empty */
        else if (vx_h1_sink_pending(&c->sink) || c->sink.wants_room)
            fail(c, vx_error(VX_ERR_WRITE_TIMEOUT, false, NULL), now_ns);
        else if (!c->sink.finished && !c->sink.failed)
            await_answer(c); /* the client is slow, not it */
        else
            fail(c, vx_error(VX_ERR_RESPONSE_TIMEOUT, false, NULL), now_ns);
        break;
    case H1_CLIENT_BODY:
        fail(c, vx_error(VX_ERR_BODY_TIMEOUT, false, NULL), now_ns);
        break;
    case H1_CLIENT_IDLE:
        vx_h1_client_close(c, false);
        break;
    case H1_CLIENT_LEAVING:
        vx_h1_client_close(c, true);
        break;
    case H1_CLIENT_CLOSED:
        break;
    }
}

struct h1_client_connection *vx_h1_client_connect(struct vx_h1_pool *pool, struct h1_client_request *request,
                                                  struct vx_error *error) {
    struct vx_runtime *rt = pool->client->rt;
    const struct vx_target *target = request->target;
    struct vx_dial dial = {
        .address = target->address, .tls = target->tls, .server_name = target->server_name};
    struct h1_client_connection *c = calloc(1, sizeof *c);
    struct vx_transport *transport = c ? rt->dialer->dial(rt->dialer, &dial, error) : NULL;
    if (!transport) {
        if (!c)
            *error = vx_error(VX_ERR_OUT_OF_MEMORY, true, NULL);
        free(c);
        return NULL;
    }
    vx_h1_reader_init(&c->reader, transport, rt, VX_BY_BACKEND, &pool->client->limits);
    vx_h1_sink_init(&c->sink, transport, rt);
    vx_list_init(&c->link);
    vx_timer_init(&c->timer, timed_out);
    vx_task_init(&c->task, run_task);
    c->pool = pool;
    c->shared = target->shared;
    c->opened_ns = rt->now_ns;
    c->state = H1_CLIENT_CONNECTING;
    transport->owner = c;
    transport->on_ready = on_ready;
    pool->client->connection_count++;
    if (!vx_h1_client_bind(c, request)) {
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, true, NULL);
        transport->ops->close(transport, true);
        pool->client->connection_count--;
        free(c);
        return NULL;
    }
    vx_h1_client_set_deadline(c, target->connect_timeout_ns);
    return c;
}
