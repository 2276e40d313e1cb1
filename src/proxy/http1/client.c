/* SPDX-License-Identifier: Apache-2.0 */
/* The client port over HTTP/1: the upstream that an exchange sees. */
#include "proxy/http1/client.h"

#include <stdlib.h>

#include "proxy/http1/client_internal.h"
#include "proxy/http1/server_internal.h"

static struct h1_client_request *of(struct vx_stream *s) {
    return (struct h1_client_request *)s;
}

static enum vx_pull pull(struct vx_stream *stream, struct vx_slice *bytes) {
    struct h1_client_request *r = of(stream);
    struct h1_client_connection *c = r->connection;
    if (!c)
        return VX_PULL_FAILED;
    enum vx_pull result = vx_h1_reader_pull(&c->reader, bytes, &stream->error);
    /* While it is the client that is slow, the backend owes us nothing. */
    vx_h1_client_set_deadline(c, result == VX_PULL_WAIT || c->reader.tunnel ? r->idle_timeout_ns : 0);
    return result;
}

static void consume(struct vx_stream *stream, size_t bytes) {
    struct h1_client_request *r = of(stream);
    r->up.received_bytes += bytes;
    vx_h1_reader_consume(&r->connection->reader, bytes);
}

static struct vx_headers *trailers(struct vx_stream *stream) {
    return of(stream)->connection->reader.trailers;
}

static size_t push(struct vx_stream *stream, struct vx_slice bytes) {
    struct h1_client_request *r = of(stream);
    struct h1_client_connection *c = r->connection;
    /* Nothing is taken before the connection stands: what was not taken can go to another backend. */
    if (!c || c->state == H1_CLIENT_CONNECTING) {
        r->waits_room = true;
        return 0;
    }
    uint64_t before = c->sink.sent;
    size_t taken = vx_h1_sink_push(&c->sink, bytes);
    r->waits_room = taken < bytes.len;
    vx_h1_client_note_sent(c, before);
    if (c->sink.tunnel)
        vx_h1_client_set_deadline(c, r->idle_timeout_ns); /* silence counts only when both are silent */
    return taken;
}

static void finish(struct vx_stream *stream, struct vx_headers *fields) {
    struct h1_client_request *r = of(stream);
    struct h1_client_connection *c = r->connection;
    r->ended = true;
    r->trailers = fields;
    if (!c)
        return; /* queued: the connection that it gets hears of it in vx_h1_client_bind */
    vx_h1_sink_finish(&c->sink, fields);
    if (c->state == H1_CLIENT_HEAD && vx_h1_sink_may_gather(&c->sink)) {
        c->sends_later = true;
        vx_runtime_defer(c->pool->client->rt, &c->task);
        return;
    }
    vx_h1_client_flush(c);
}

static void flush(struct vx_stream *stream) {
    struct h1_client_connection *c = of(stream)->connection;
    if (c)
        vx_h1_client_flush(c);
}

static void again(struct vx_stream *stream) {
    struct h1_client_connection *c = of(stream)->connection;
    if (c)
        vx_h1_reader_again(&c->reader, &c->task);
}

static int64_t move(struct vx_stream *from, struct vx_stream *to) {
    struct h1_client_request *r = of(from);
    if (!r->connection || to->ops != &vx_h1_server_stream_ops)
        return -1;
    int64_t moved = vx_h1_move(&r->connection->reader, &((struct h1_stream *)to)->conn->sink);
    if (moved > 0)
        r->up.received_bytes += (uint64_t)moved;
    /* As in pull(): where it is the client that takes no more, the backend owes us nothing. */
    bool waits = moved == 0 && !r->connection->reader.transport->readable;
    vx_h1_client_set_deadline(r->connection, waits ? r->idle_timeout_ns : 0);
    return moved;
}

static void release(struct vx_stream *stream) {
    struct h1_client_request *r = of(stream);
    vx_block_drop(r->head);
    r->head = NULL;
    if (!vx_list_empty(&r->link))
        vx_h1_pool_unqueue(r);
    struct h1_client_connection *c = r->connection;
    if (!c)
        return;
    r->connection = NULL;
    c->request = NULL;
    bool complete = c->state == H1_CLIENT_BODY && c->reader.ended && !c->reader.tunnel && c->sink.finished &&
                    !c->sink.failed && !vx_h1_sink_pending(&c->sink) && r->response.keep_alive &&
                    vx_buffer_len(&c->reader.in) == 0;
    bool tail = c->reader.tunnel && c->sink.finished && !c->sink.failed && vx_h1_sink_pending(&c->sink);
    if (complete)
        vx_h1_pool_return(c, r->target);
    else if (tail)
        vx_h1_client_leave(c);
    else
        vx_h1_client_close(c, false);
}

static bool describe(const struct vx_stream *stream, struct vx_carrier *out) {
    const struct h1_client_connection *c = ((const struct h1_client_request *)stream)->connection;
    if (!c || c->state == H1_CLIENT_CONNECTING)
        return false;
    vx_transport_describe(c->reader.transport, out);
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
    .move = move,
    .describe = describe,
    .release = release,
};

struct vx_h1_sink *vx_h1_client_sink(struct vx_stream *upstream) {
    if (upstream->ops != &stream_ops)
        return NULL;
    struct h1_client_connection *c = of(upstream)->connection;
    return c && c->state != H1_CLIENT_CONNECTING ? &c->sink : NULL;
}

void vx_h1_client_moved(struct vx_stream *upstream, uint64_t sent_before) {
    vx_h1_client_note_sent(of(upstream)->connection, sent_before);
}

static struct vx_upstream *open_request(struct vx_http_client *port, const struct vx_upstream_open *open,
                                        struct vx_error *error, uint64_t now_ns) {
    (void)now_ns;
    struct vx_h1_client *client = (struct vx_h1_client *)port;
    struct vx_h1_pool *pool = vx_h1_pool_of(client, open->target);
    struct h1_client_request *r = vx_arena_alloc(open->arena, sizeof *r);
    if (!pool || !r) {
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
        return NULL;
    }
    memset(r, 0, offsetof(struct h1_client_request, response));
    r->up.stream = (struct vx_stream){.ops = &stream_ops, .events = open->events, .user = open->user};
    r->pool = pool;
    r->target = open->target;
    r->idle_timeout_ns = open->target->idle_timeout_ns;
    r->request = open->request;
    r->arena = open->arena;
    vx_list_init(&r->link);
    return vx_h1_pool_assign(pool, r, open->fresh, error) ? &r->up : NULL;
}

void vx_h1_client_init(struct vx_h1_client *client, struct vx_runtime *rt, struct vx_places *places) {
    *client = (struct vx_h1_client){
        .port = {.open = open_request},
        .rt = rt,
        .limits = {.header_bytes = 64 * 1024, .headers = 256, .uri_bytes = 64 * 1024},
        .places = places,
    };
}
