/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection to a backend.
 *
 * Invariants
 *   1. A connection counts in shared->connections from before the connect until it is CLOSED, or has only to say good-bye
 *      (`shared` is NULL then).
 *   2. Requests wait for a connection in CONNECTING and GREETING only; from then on each has a stream or stands in the pool's
 *      queue. No stream begins before the backend's SETTINGS are here: a connection that is reset before them (a listener
 *      that closes with it in its backlog) has carried no request, and none has to be guessed about.
 *   3. A request's `connection` is set exactly while it has a stream that was not released.
 *   4. A stream of which no byte has left the proxy, or of which the backend says that it did nothing, fails as one that
 *      may be sent again.
 *   5. A connection that has been silent is asked for a sign of life (PING) together with the first request on it. An
 *      idle one is left alone: backends of gRPC take pings without work for an attack.
 *
 * state       event                                    next     function
 * CONNECTING  connected, h2 agreed                     GREETING connected
 * CONNECTING  failed, no h2, connect timeout           CLOSED   fail_connect
 * GREETING    SETTINGS                                 OPEN     on_capacity
 * GREETING    broken, connect timeout                  CLOSED   on_over, timed_out
 * GREETING    GOAWAY, no HTTP/2, nobody wants it       ENDING   on_goaway, on_shut, vx_h2_client_end
 * OPEN        GOAWAY, too old, too many requests       ENDING   vx_h2_client_end
 * OPEN        its last stream over, nobody wants it    ENDING   vx_h2_client_stream_over
 * OPEN        idle for too long                        ENDING   timed_out
 * OPEN        no answer to a PING                      CLOSED   timed_out, on_over
 * ENDING      it does not take our last words          CLOSED   timed_out, on_over
 * any         broken, ended by either side             CLOSED   on_over
 */
#include <stdlib.h>

#include "proxy/http2/client_internal.h"

enum {
    SILENT_MS = 5000,      /* after so long without a byte a PING goes with the next request */
    PING_ANSWER_MS = 5000, /* so long the backend may take for its answer */
    GOOD_BYE_MS = 5000,    /* and so long to take our last words */
    WINDOW_BYTES = 64 * 1024,
    WINDOW_MAX_BYTES = 4 * 1024 * 1024,
    WINDOW_GROWTH_BYTES = 16 * 1024 * 1024,
    GLITCHES_A_MINUTE = 10000,
};

static struct vx_runtime *runtime(const struct h2_client_connection *c) {
    return c->pool->client->rt;
}

static struct h2_client_connection *of(struct vx_h2_session *s) {
    return VX_CONTAINER_OF(s, struct h2_client_connection, session);
}

static struct h2_client_request *request_of(struct vx_h2_stream *st) {
    return VX_CONTAINER_OF(st, struct h2_client_request, st);
}

static void set_deadline(struct h2_client_connection *c, uint64_t after_ns) {
    c->deadline_ns = after_ns ? runtime(c)->now_ns + after_ns : 0;
    if (after_ns) /* else the timer finds nothing due when its place comes up */
        vx_timer_set(&runtime(c)->wheel, &c->timer, c->deadline_ns);
}

/* It is of no more use to anybody. */
static void give_up_place(struct h2_client_connection *c) {
    if (c->shared)
        vx_h2_pool_closed(c);
    c->shared = NULL;
}

/* Takes it off everything; the memory goes at the end of the round, as it may be in use further up the stack. */
static void retire(struct h2_client_connection *c) {
    VX_ASSERT(c->state != H2_CLIENT_CLOSED);
    c->state = H2_CLIENT_CLOSED;
    vx_list_remove(&c->link);
    vx_timer_remove(&runtime(c)->wheel, &c->timer);
    c->pool->client->connection_count--;
    give_up_place(c);
    vx_runtime_defer(runtime(c), &c->reap);
}

static void reap(struct vx_task *task, uint64_t now_ns) {
    (void)now_ns;
    struct h2_client_connection *c = VX_CONTAINER_OF(task, struct h2_client_connection, reap);
    if (c->session.ng)
        vx_h2_session_free(&c->session);
    free(c);
}

/* --- Connecting ------------------------------------------------------------------------------------------------- */

/* The request fails with its connection, as others may: all that are told of it in one go have one number. */
static void note_end(struct h2_client_request *r, struct h2_client_connection *c) {
    if (!c->end || c->end != c->pool->ends)
        c->end = ++c->pool->ends;
    r->end = c->end;
}

/* All that waited for it hear of it, so that each may go elsewhere: nothing of them was sent. */
static void fail_waiting(struct h2_client_connection *c, struct vx_error error, uint64_t now_ns) {
    error.retryable = true;
    while (!vx_list_empty(&c->waiting)) {
        struct h2_client_request *r = VX_CONTAINER_OF(c->waiting.next, struct h2_client_request, link);
        vx_h2_pool_unqueue(r);
        note_end(r, c);
        vx_h2_client_fail(r, error, now_ns);
    }
}

static void fail_connect(struct h2_client_connection *c, struct vx_error error, uint64_t now_ns) {
    c->transport->ops->close(c->transport, false);
    retire(c);
    fail_waiting(c, error, now_ns);
}

/* Why a connection came to nothing before its backend had said anything in HTTP/2. */
static struct vx_error explain_greeting(const struct vx_error *error) {
    switch (error->code) {
    case VX_ERR_NONE:
    case VX_ERR_BAD_RESPONSE:
        return vx_error(VX_ERR_BAD_RESPONSE, true, "the backend does not speak HTTP/2");
    case VX_ERR_BACKEND_CLOSED:
        return vx_error(VX_ERR_CONNECT_FAILED, true, "closed before a word of HTTP/2");
    case VX_ERR_BACKEND_RESET:
        return vx_error(VX_ERR_CONNECT_FAILED, true, "reset before a word of HTTP/2");
    default:
        return *error;
    }
}

/* --- Streams ---------------------------------------------------------------------------------------------------- */

/* Whether a body may follow the head: whatever is not framed has none, and a WebSocket's bytes come later. */
static bool has_body(const struct h2_client_request *r) {
    const struct vx_request *request = r->request;
    return r->extended || request->framing == VX_BODY_CHUNKED ||
           (request->framing == VX_BODY_LENGTH && request->body_bytes > 0);
}

bool vx_h2_client_bind(struct h2_client_connection *c, struct h2_client_request *r) {
    struct vx_h2_session *s = &c->session;
    struct vx_runtime *rt = runtime(c);
    struct vx_h2_fields fields;
    vx_h2_client_write_head(&fields, r);
    r->before_bytes = s->written + vx_buffer_len(&s->out);
    if (!vx_h2_session_open(s, &r->st, &fields, !has_body(r)))
        return false;
    if (!r->extended)
        vx_h2_stream_begin_body(&r->st, vx_body_left_of(r->request->framing, r->request->body_bytes),
                                r->request->version);
    r->connection = c;
    r->up.reused = c->requests > 0;
    r->up.sent_ns = rt->now_ns;
    c->requests++;
    bool silent = !c->pinged && rt->now_ns - c->heard_ns > (uint64_t)SILENT_MS * 1000000;
    if (r->up.reused && silent) {
        vx_h2_session_ping(s);
        c->pinged = true;
    }
    /* While there are streams, their own time limits count, and the one for a PING. */
    if (silent || !c->pinged)
        set_deadline(c, c->pinged ? (uint64_t)PING_ANSWER_MS * 1000000 : 0);
    vx_h2_client_expect(r, r->target->response_timeout_ns);
    if (r->ended && !r->extended)
        vx_h2_stream_finish(&r->st, r->trailers);
    if (c->max_requests && c->requests >= c->max_requests)
        vx_h2_client_end(c);
    return true;
}

static void on_head(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_client_request *r = request_of(st);
    struct vx_error error;
    r->up.sent = true;
    if (!vx_h2_client_read_head(r, &error)) {
        vx_h2_client_fail(r, error, now_ns);
        return;
    }
    if (r->answered)
        vx_h2_client_expect(r, 0);
    /* A WebSocket that was refused had a request without a body. */
    if (r->answered && r->extended && !r->tunnel)
        vx_h2_stream_finish(st, NULL);
    r->up.stream.events->on_response(r->up.stream.user, &r->response, now_ns);
}

static void on_readable(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_client_request *r = request_of(st);
    if (!r->tunnel)
        vx_h2_client_expect(r, 0); /* it has sent more, whenever the client lets that be asked for */
    r->up.stream.events->on_readable(r->up.stream.user, now_ns);
}

static void on_writable(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_client_request *r = request_of(st);
    r->up.stream.events->on_writable(r->up.stream.user, now_ns);
}

/* Invariant 4. */
struct vx_error vx_h2_client_explain(struct h2_client_request *r) {
    const struct vx_h2_session *s = &r->connection->session;
    struct vx_error error = r->st.error;
    if (r->st.cut || (error.retryable && s->goaway_came))
        note_end(r, r->connection);
    if (error.retryable)
        return s->goaway_came ? vx_error(VX_ERR_BACKEND_CLOSED, true, "the connection was going away")
                              : vx_error(VX_ERR_BACKEND_REFUSED, true, "the stream was refused");
    if (r->st.code == NGHTTP2_HTTP_1_1_REQUIRED)
        return vx_error(VX_ERR_BAD_RESPONSE, false, "the backend wants HTTP/1.1 for this");
    error.retryable = s->written <= r->before_bytes;
    return error;
}

static void on_failed(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_client_request *r = request_of(st);
    vx_h2_client_fail(r, vx_h2_client_explain(r), now_ns);
}

/* The last word (GOAWAY) comes behind the last stream: some backends answer nothing more after it. */
static void say_good_bye(struct h2_client_connection *c) {
    give_up_place(c);
    vx_h2_session_shut(&c->session);
    set_deadline(c, (uint64_t)GOOD_BYE_MS * 1000000);
}

void vx_h2_client_stream_over(struct h2_client_connection *c) {
    vx_runtime_defer(runtime(c), &c->pool->room);
    if ((c->state == H2_CLIENT_OPEN && vx_h2_pool_yield(c)) || c->session.stream_count)
        return;
    if (c->state == H2_CLIENT_ENDING)
        say_good_bye(c);
    else if (c->state == H2_CLIENT_OPEN && c->keeps && !c->pool->client->draining)
        set_deadline(c, c->idle_ns);
    else
        vx_h2_client_end(c);
}

/* --- The connection --------------------------------------------------------------------------------------------- */

void vx_h2_client_end(struct h2_client_connection *c) {
    bool greets = c->state == H2_CLIENT_GREETING && !c->waiting_count;
    if (c->state != H2_CLIENT_OPEN && !greets)
        return;
    c->state = H2_CLIENT_ENDING;
    if (!c->session.stream_count)
        say_good_bye(c);
}

void vx_h2_client_close(struct h2_client_connection *c) {
    if (c->state == H2_CLIENT_CONNECTING)
        c->transport->ops->close(c->transport, false);
    else
        vx_h2_session_free(&c->session);
    retire(c);
}

static void on_capacity(struct vx_h2_session *s, uint64_t now_ns) {
    struct h2_client_connection *c = of(s);
    if (s->settings_came)
        c->pool->stream_limit = vx_h2_session_stream_limit(s);
    bool opens = s->settings_came && c->state == H2_CLIENT_GREETING;
    if (opens) {
        c->state = H2_CLIENT_OPEN;
        set_deadline(c, c->idle_ns);
        vx_h2_pool_opened(c);
    }
    vx_h2_pool_serve(c->pool, now_ns);
    /* Those that waited for it may have given up. */
    if (opens && !s->stream_count && (!c->keeps || c->pool->client->draining))
        vx_h2_client_end(c);
}

/* Who waited for it asks again at once. So it gives up its place first: it is not found any more then, and its place is. */
static void on_goaway(struct vx_h2_session *s, uint64_t now_ns) {
    struct h2_client_connection *c = of(s);
    if (c->state == H2_CLIENT_GREETING)
        give_up_place(c);
    fail_waiting(c, vx_error(VX_ERR_BACKEND_CLOSED, true, "the connection was going away"), now_ns);
    vx_h2_client_end(c);
    vx_h2_pool_serve(c->pool, now_ns);
}

static void on_progress(struct vx_h2_session *s, uint64_t now_ns) {
    struct h2_client_connection *c = of(s);
    if (s->received == c->heard_bytes)
        return;
    c->heard_bytes = s->received;
    c->heard_ns = now_ns;
    if (c->pinged && (c->state == H2_CLIENT_OPEN || s->stream_count))
        set_deadline(c, s->stream_count ? 0 : c->idle_ns);
    c->pinged = false;
}

static void on_shut(struct vx_h2_session *s, uint64_t now_ns) {
    struct h2_client_connection *c = of(s);
    give_up_place(c); /* first, as in on_goaway; though answers that came on it are still to be read */
    fail_waiting(c, explain_greeting(&s->error), now_ns);
    vx_h2_client_end(c);
}

static void on_over(struct vx_h2_session *s, const struct vx_error *error, uint64_t now_ns) {
    struct h2_client_connection *c = of(s);
    retire(c);
    fail_waiting(c, explain_greeting(error), now_ns);
}

static const struct vx_h2_session_ops session_ops = {
    .on_head = on_head,
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
    .on_capacity = on_capacity,
    .on_goaway = on_goaway,
    .on_progress = on_progress,
    .on_shut = on_shut,
    .on_over = on_over,
};

static bool start_session(struct h2_client_connection *c) {
    struct vx_h2_options options = {
        .ops = &session_ops,
        .limits = &c->pool->client->limits,
        .windows = {WINDOW_BYTES, WINDOW_MAX_BYTES, WINDOW_GROWTH_BYTES},
        .glitches_a_minute = GLITCHES_A_MINUTE,
    };
    return vx_h2_session_start(&c->session, c->transport, runtime(c), &options, VX_SLICE_NONE);
}

static void connected(struct h2_client_connection *c, uint64_t now_ns) {
    const struct vx_tls_info *tls = c->transport->tls;
    if (tls && !vx_slice_eq(tls->alpn, VX_SLICE("h2"))) {
        fail_connect(c, vx_error(VX_ERR_TLS_FAILED, true, "the backend does not offer HTTP/2 (ALPN h2)"),
                     now_ns);
        return;
    }
    if (!start_session(c)) {
        fail_connect(c, vx_error(VX_ERR_OUT_OF_MEMORY, true, NULL), now_ns);
        return;
    }
    c->state = H2_CLIENT_GREETING;
    c->heard_ns = now_ns;
    atomic_fetch_add_explicit(&c->shared->connections_opened, 1, memory_order_relaxed);
}

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    struct h2_client_connection *c = t->owner;
    if (ready & VX_FAILED)
        fail_connect(c, t->error, now_ns);
    else if (ready & VX_WRITABLE)
        connected(c, now_ns);
}

static void timed_out(struct vx_timer *timer, uint64_t now_ns) {
    struct h2_client_connection *c = VX_CONTAINER_OF(timer, struct h2_client_connection, timer);
    if (!c->deadline_ns)
        return;
    if (c->deadline_ns > now_ns)
        vx_timer_set(&runtime(c)->wheel, &c->timer, c->deadline_ns);
    else if (c->state == H2_CLIENT_CONNECTING)
        fail_connect(c, vx_error(VX_ERR_CONNECT_TIMEOUT, true, NULL), now_ns);
    else if (c->state == H2_CLIENT_GREETING)
        vx_h2_session_cut(&c->session,
                          vx_error(VX_ERR_CONNECT_TIMEOUT, true, "no word of HTTP/2 came in time"));
    else if (c->pinged)
        vx_h2_session_cut(&c->session, vx_error(VX_ERR_BACKEND_RESET, false, "no answer to a PING"));
    else if (c->state == H2_CLIENT_ENDING && !c->session.stream_count)
        vx_h2_session_cut(&c->session, vx_error(VX_ERR_BACKEND_RESET, false, "it takes nothing any more"));
    else
        vx_h2_client_end(c);
}

static bool dial(struct h2_client_connection *c, const struct vx_target *target, struct vx_error *error) {
    struct vx_runtime *rt = runtime(c);
    struct vx_dial to = {.address = target->address, .tls = target->tls, .server_name = target->server_name};
    c->transport = rt->dialer->dial(rt->dialer, &to, error);
    if (!c->transport)
        return false;
    c->transport->owner = c;
    c->transport->on_ready = on_ready;
    return true;
}

struct h2_client_connection *vx_h2_client_connect(struct vx_h2_pool *pool, const struct vx_target *target,
                                                  struct vx_error *error) {
    struct h2_client_connection *c = calloc(1, sizeof *c);
    if (!c) {
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, true, NULL);
        return NULL;
    }
    c->pool = pool;
    c->shared = target->shared;
    c->opened_ns = runtime(c)->now_ns;
    c->idle_ns = target->pool_idle_ns;
    c->max_age_ns = target->pool_max_age_ns;
    c->max_requests = target->max_requests;
    c->keeps = target->max_idle > 0;
    c->state = H2_CLIENT_CONNECTING;
    vx_list_init(&c->link);
    vx_list_init(&c->waiting);
    vx_timer_init(&c->timer, timed_out);
    vx_task_init(&c->reap, reap);
    if (!dial(c, target, error)) {
        free(c);
        return NULL;
    }
    pool->client->connection_count++;
    vx_list_push_back(&pool->connections, &c->link);
    set_deadline(c, target->connect_timeout_ns);
    return c;
}
