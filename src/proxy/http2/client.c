/* SPDX-License-Identifier: Apache-2.0 */
/* The client port over HTTP/2: the upstream that an exchange sees. */
#include "proxy/http2/client.h"

#include "proxy/http2/client_internal.h"

static struct h2_client_request *of(struct vx_stream *s) {
    return (struct h2_client_request *)s;
}

void vx_h2_client_expect(struct h2_client_request *r, uint64_t after_ns) {
    struct vx_runtime *rt = r->pool->client->rt;
    r->deadline_ns = after_ns ? rt->now_ns + after_ns : 0;
    if (after_ns) /* else the timer finds nothing due when its place comes up */
        vx_timer_set(&rt->wheel, &r->timer, r->deadline_ns);
}

void vx_h2_client_fail(struct h2_client_request *r, struct vx_error error, uint64_t now_ns) {
    struct h2_client_connection *c = r->connection;
    r->deadline_ns = 0;
    if (c) {
        r->up.sent = r->up.sent || c->session.written > r->before_bytes;
        r->connection = NULL;
        vx_h2_stream_release(&r->st, NGHTTP2_CANCEL);
        vx_h2_client_stream_over(c);
    }
    r->up.stream.error = error;
    r->up.stream.events->on_failed(r->up.stream.user, now_ns);
}

static enum vx_pull pull(struct vx_stream *stream, struct vx_slice *bytes) {
    struct h2_client_request *r = of(stream);
    if (!r->connection)
        return VX_PULL_FAILED;
    enum vx_pull result = vx_h2_stream_pull(&r->st, bytes);
    stream->whole = vx_h2_stream_is_whole(&r->st);
    if (result == VX_PULL_FAILED)
        stream->error = vx_h2_client_explain(r);
    /* While it is the client that is slow, the backend owes us nothing. */
    vx_h2_client_expect(r, result == VX_PULL_WAIT || r->tunnel ? r->idle_timeout_ns : 0);
    return result;
}

static void consume(struct vx_stream *stream, size_t bytes) {
    struct h2_client_request *r = of(stream);
    r->up.received_bytes += bytes;
    if (r->connection)
        vx_h2_stream_consume(&r->st, bytes);
}

static struct vx_headers *trailers(struct vx_stream *stream) {
    return of(stream)->st.trailers;
}

static size_t push(struct vx_stream *stream, struct vx_slice bytes) {
    struct h2_client_request *r = of(stream);
    /* Nothing is taken before there is a stream: what was not taken can go to another backend. */
    if (!r->connection || (r->extended && !r->tunnel)) {
        r->waits_room = true;
        return 0;
    }
    size_t taken = vx_h2_stream_push(&r->st, bytes, stream->ending);
    r->up.reads = r->st.given_window;
    if (r->tunnel)
        vx_h2_client_expect(r, r->idle_timeout_ns); /* silence counts only when both are silent */
    return taken;
}

static void finish(struct vx_stream *stream, struct vx_headers *fields) {
    struct h2_client_request *r = of(stream);
    r->ended = true;
    r->trailers = fields;
    /* What was asked for may become a tunnel: only a tunnel's end ends the stream then. A request that still waits is
     * ended by vx_h2_client_bind. */
    if (r->connection && (!r->extended || r->tunnel))
        vx_h2_stream_finish(&r->st, fields);
}

/* What was pushed leaves at the end of the round, together with that of the other streams. */
static void flush(struct vx_stream *stream) {
    (void)stream;
}

static void again(struct vx_stream *stream) {
    struct h2_client_request *r = of(stream);
    if (r->connection)
        vx_h2_stream_again(&r->st);
}

static bool counts(struct vx_stream *stream) {
    struct h2_client_request *r = of(stream);
    if (!r->end)
        return true;
    if (r->end <= r->pool->ends_counted)
        return false;
    r->pool->ends_counted = r->end;
    return true;
}

static void release(struct vx_stream *stream) {
    struct h2_client_request *r = of(stream);
    struct h2_client_connection *c = r->connection;
    vx_timer_remove(&r->pool->client->rt->wheel, &r->timer);
    vx_h2_pool_unqueue(r);
    r->connection = NULL;
    if (!c)
        return;
    vx_h2_stream_release(&r->st, NGHTTP2_CANCEL);
    vx_h2_client_stream_over(c);
}

static bool describe(const struct vx_stream *stream, struct vx_carrier *out) {
    const struct h2_client_connection *c = ((const struct h2_client_request *)stream)->connection;
    if (!c || c->session.over)
        return false;
    vx_transport_describe(c->session.transport, out);
    return true;
}

static const struct vx_stream_ops stream_ops = {
    .pull = pull,
    .consume = consume,
    .trailers = trailers,
    .push = push,
    .finish = finish,
    .flush = flush,
    .again = again,
    .describe = describe,
    .counts = counts,
    .release = release,
};

static void timed_out(struct vx_timer *timer, uint64_t now_ns) {
    struct h2_client_request *r = VX_CONTAINER_OF(timer, struct h2_client_request, timer);
    if (!r->deadline_ns)
        return;
    if (r->deadline_ns > now_ns) {
        vx_timer_set(&r->pool->client->rt->wheel, &r->timer, r->deadline_ns);
    } else if (!r->connection) {
        vx_h2_pool_unqueue(r);
        vx_h2_client_fail(r, vx_error(VX_ERR_QUEUE_TIMEOUT, true, NULL), now_ns);
    } else if (r->answered) {
        vx_h2_client_fail(r, vx_error(VX_ERR_BODY_TIMEOUT, false, NULL), now_ns);
    } else if (!vx_list_empty(&r->st.waiting)) {
        vx_h2_client_fail(r, vx_error(VX_ERR_WRITE_TIMEOUT, false, NULL), now_ns);
    } else if (!r->ended) {
        vx_h2_client_expect(r, r->target->response_timeout_ns); /* the client is slow, not it */
    } else {
        vx_h2_client_fail(r, vx_error(VX_ERR_RESPONSE_TIMEOUT, false, NULL), now_ns);
    }
}

static struct vx_upstream *open_request(struct vx_http_client *port, const struct vx_upstream_open *open,
                                        struct vx_error *error, uint64_t now_ns) {
    (void)now_ns;
    struct vx_h2_client *client = (struct vx_h2_client *)port;
    struct vx_h2_pool *pool = vx_h2_pool_of(client, open->target);
    struct h2_client_request *r = vx_arena_alloc(open->arena, sizeof *r);
    if (!pool || !r) {
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
        return NULL;
    }
    *r = (struct h2_client_request){
        .up = {.stream = {.ops = &stream_ops, .events = open->events, .user = open->user}},
        .st = {.arena = open->arena},
        .pool = pool,
        .target = open->target,
        .request = open->request,
        .idle_timeout_ns = open->target->idle_timeout_ns,
        .extended = vx_h2_client_is_extended(open->request),
    };
    vx_list_init(&r->link);
    vx_timer_init(&r->timer, timed_out);
    return vx_h2_pool_assign(pool, r, open->fresh, error) ? &r->up : NULL;
}

void vx_h2_client_init(struct vx_h2_client *client, struct vx_runtime *rt, struct vx_places *places) {
    *client = (struct vx_h2_client){
        .port = {.open = open_request},
        .rt = rt,
        .limits = {.header_bytes = 64 * 1024, .headers = 256, .uri_bytes = 64 * 1024},
        .places = places,
    };
}
