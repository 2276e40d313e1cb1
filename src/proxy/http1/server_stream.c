/* SPDX-License-Identifier: Apache-2.0 */
/* The downstream that a handler sees: one request and its response on an HTTP/1 connection. */
#include "core/http/h1_write.h"
#include "proxy/http1/client.h"
#include "proxy/http1/server_internal.h"

static struct h1_stream *of(struct vx_stream *s) {
    return (struct h1_stream *)s;
}

/* While it is the backend that is slow, the client owes us nothing; in a tunnel nobody owes anything. */
static void await_body(struct h1_server *c, bool client_owes) {
    if (client_owes && !c->sink.tunnel) {
        c->read_deadline_ns = h1_runtime(c)->now_ns + c->base.server->timeouts.body_ns;
        vx_h1_server_arm(c);
    } else {
        c->read_deadline_ns = 0;
    }
}

static enum vx_pull pull(struct vx_stream *stream, struct vx_slice *bytes) {
    struct h1_server *c = of(stream)->conn;
    if (c->body_timed_out) {
        stream->error = vx_error(VX_ERR_REQUEST_TIMEOUT, false, "body not received in time");
        return VX_PULL_FAILED;
    }
    enum vx_pull result = vx_h1_reader_pull(&c->reader, bytes, &stream->error);
    await_body(c, result == VX_PULL_WAIT);
    return result;
}

static void consume(struct vx_stream *stream, size_t bytes) {
    vx_h1_reader_consume(&of(stream)->conn->reader, bytes);
}

static struct vx_headers *trailers(struct vx_stream *stream) {
    return of(stream)->conn->reader.trailers;
}

static size_t push(struct vx_stream *stream, struct vx_slice bytes) {
    struct h1_server *c = of(stream)->conn;
    size_t taken = vx_h1_sink_push(&c->sink, bytes);
    if (taken < bytes.len)
        vx_h1_server_watch_writes(c);
    return taken;
}

/* Of this response, `bytes` of the sink's have gone, or are to go together with what is before them. */
static void note_sent(struct h1_stream *s, uint64_t bytes) {
    s->down.sent_bytes = bytes > s->earlier_bytes ? bytes - s->earlier_bytes : 0;
}

static void flush(struct vx_stream *stream) {
    struct h1_server *c = of(stream)->conn;
    vx_h1_sink_flush(&c->sink);
    note_sent(of(stream), c->sink.sent);
    vx_h1_server_watch_writes(c);
}

static void finish(struct vx_stream *stream, struct vx_headers *fields) {
    struct h1_server *c = of(stream)->conn;
    if (!c->reader.ended)
        vx_h1_server_say_close(of(stream));
    vx_h1_sink_finish(&c->sink, fields);
    if (vx_h1_sink_may_gather(&c->sink)) {
        note_sent(of(stream), vx_buffer_len(&c->sink.out));
        c->sends_later = true;
        vx_runtime_defer(h1_runtime(c), &c->task);
        return;
    }
    flush(stream);
}

static void again(struct vx_stream *stream) {
    struct h1_server *c = of(stream)->conn;
    vx_h1_reader_again(&c->reader, &c->task);
}

static int64_t move(struct vx_stream *from, struct vx_stream *to) {
    struct h1_stream *s = of(from);
    struct vx_h1_sink *sink = vx_h1_client_sink(to);
    if (!sink || s->conn->body_timed_out)
        return -1; /* pull() tells of the time limit */
    uint64_t sent_before = sink->sent;
    int64_t moved = vx_h1_move(&s->conn->reader, sink);
    vx_h1_client_moved(to, sent_before);
    await_body(s->conn, moved == 0 && !s->conn->reader.transport->readable);
    return moved;
}

static void release(struct vx_stream *stream) {
    struct h1_server *c = of(stream)->conn;
    vx_h1_server_response_over(c);
}

const struct vx_stream_ops vx_h1_server_stream_ops = {
    .pull = pull,
    .consume = consume,
    .trailers = trailers,
    .push = push,
    .finish = finish,
    .flush = flush,
    .again = again,
    .move = move,
    .release = release,
};

/* How this client is to be told where the body ends. */
static enum vx_framing frame(const struct h1_stream *s, const struct vx_response *response) {
    if (s->request.method == VX_METHOD_HEAD || response->status == 304 || response->status == 204 ||
        response->status < 200)
        return VX_BODY_NONE;
    if (response->framing == VX_BODY_CHUNKED || response->framing == VX_BODY_UNTIL_CLOSE)
        return s->request.version == VX_HTTP_10 ? VX_BODY_UNTIL_CLOSE : VX_BODY_CHUNKED;
    return response->framing;
}

static enum vx_h1_connection persistence(struct h1_stream *s, const struct vx_response *response,
                                         enum vx_framing framing) {
    struct h1_server *c = s->conn;
    s->closing = !s->request.keep_alive || framing == VX_BODY_UNTIL_CLOSE || c->base.server->draining ||
                 (!c->reader.ended && !vx_h1_server_may_stay(s, response));
    if (s->closing)
        return VX_H1_CONNECTION_CLOSE;
    return s->request.version == VX_HTTP_10 ? VX_H1_CONNECTION_KEEP_ALIVE : VX_H1_CONNECTION_DEFAULT;
}

static struct vx_slice upgrade_value(const struct vx_response *response) {
    struct vx_header *h = vx_headers_find(&response->headers, VX_HEADER_UPGRADE);
    return h ? vx_header_value(h) : VX_SLICE_NONE;
}

/* False: no memory. */
static bool write_head(struct vx_h1_sink *sink, const struct vx_response *response,
                       const struct vx_h1_response_write *how) {
    char *room = vx_h1_sink_reserve(sink, VX_H1_HEAD_USUAL_BYTES);
    size_t n = room ? vx_h1_write_response_head(room, vx_buffer_room(&sink->out), response, how) : 0;
    if (VX_UNLIKELY(!n)) {
        size_t bound = vx_h1_response_head_max(response, how);
        room = vx_h1_sink_reserve(sink, bound);
        if (!room)
            return false;
        n = vx_h1_write_response_head(room, bound, response, how);
    }
    vx_h1_sink_commit(sink, n);
    return true;
}

static void respond(struct vx_downstream *d, struct vx_response *response) {
    struct h1_stream *s = (struct h1_stream *)d;
    struct h1_server *c = s->conn;
    bool interim = response->status < 200 && response->status != 101;
    /* An HTTP/1.0 client knows no interim responses (RFC 9110 §15.2). */
    if (c->sink.failed || s->response_begun || (interim && s->request.version == VX_HTTP_10))
        return;
    enum vx_framing framing = frame(s, response);
    struct vx_h1_response_write how = {
        .framing = framing,
        .body_bytes = response->body_bytes,
        .declare_length = false,
        .connection = VX_H1_CONNECTION_DEFAULT,
        .upgrade = VX_SLICE_NONE,
        .date = vx_server_date(h1_runtime(c), response),
    };
    if (response->status == 101) {
        how.upgrade = upgrade_value(response);
    } else if (!interim) {
        how.connection = persistence(s, response, framing);
        how.declare_length = framing == VX_BODY_NONE && response->status != 204 &&
                             (response->framing == VX_BODY_LENGTH ||
                              vx_headers_find(&response->headers, VX_HEADER_CONTENT_LENGTH));
    }
    if (!write_head(&c->sink, response, &how)) {
        c->sink.failed = c->sink.no_memory = true;
        vx_h1_server_watch_writes(c);
        return;
    }
    if (interim) {
        s->told_to_continue = s->told_to_continue || response->status == 100;
        vx_h1_sink_flush(&c->sink);
        vx_h1_server_watch_writes(c);
        return;
    }
    s->response_begun = true;
    s->head_ends_at = vx_h1_sink_position(&c->sink) - strlen("\r\n");
    if (response->status == 101) {
        s->closing = true;
        vx_h1_sink_begin_tunnel(&c->sink);
        vx_h1_reader_begin_tunnel(&c->reader);
    } else {
        vx_h1_sink_begin_body(&c->sink, framing, response->body_bytes);
    }
}

const struct vx_downstream_ops vx_h1_server_downstream_ops = {.respond = respond};
