/* SPDX-License-Identifier: Apache-2.0 */
/* The downstream that a handler sees: one stream of an HTTP/2 connection. */
#include "core/base/decimal.h"
#include "proxy/http2/server_internal.h"
#include "proxy/http2/websocket.h"

static struct h2_server_stream *of(struct vx_stream *s) {
    return (struct h2_server_stream *)s;
}

/* While it is the backend that is slow, the client owes us nothing; in a tunnel nobody owes anything. */
static void await_body(struct h2_server_stream *s, bool client_owes) {
    if (client_owes && !s->tunnel) {
        s->read_deadline_ns = h2_runtime(s->conn)->now_ns + s->conn->base.server->timeouts.body_ns;
        vx_h2_server_arm_stream(s);
    } else {
        s->read_deadline_ns = 0; /* the timer finds nothing due when its place comes up */
    }
}

static enum vx_pull pull(struct vx_stream *stream, struct vx_slice *bytes) {
    struct h2_server_stream *s = of(stream);
    uint64_t limit = s->conn->base.server->body_bytes;
    if (s->body_timed_out) {
        stream->error = vx_error(VX_ERR_REQUEST_TIMEOUT, false, "body not received in time");
        return VX_PULL_FAILED;
    }
    if (limit && !s->tunnel && s->st.received_bytes > limit) {
        stream->error = vx_error(VX_ERR_BODY_TOO_LARGE, false, NULL);
        return VX_PULL_FAILED;
    }
    enum vx_pull result = vx_h2_stream_pull(&s->st, bytes);
    stream->whole = vx_h2_stream_is_whole(&s->st);
    if (result == VX_PULL_FAILED)
        stream->error = s->st.error;
    await_body(s, result == VX_PULL_WAIT);
    return result;
}

static void consume(struct vx_stream *stream, size_t bytes) {
    vx_h2_stream_consume(&of(stream)->st, bytes);
}

static struct vx_headers *trailers(struct vx_stream *stream) {
    return of(stream)->st.trailers;
}

static void watch_writes(struct h2_server_stream *s, bool waits) {
    uint64_t due_ns = h2_runtime(s->conn)->now_ns + s->conn->base.server->timeouts.write_ns;
    if (vx_write_limit_watch(&s->writing, waits, s->st.sent_bytes, due_ns))
        vx_h2_server_arm_stream(s);
}

static size_t push(struct vx_stream *stream, struct vx_slice bytes) {
    struct h2_server_stream *s = of(stream);
    size_t taken = vx_h2_stream_push(&s->st, bytes, stream->ending);
    watch_writes(s, taken < bytes.len);
    return taken;
}

/* The bytes leave at the end of the round, with those of the others. */
static void flush(struct vx_stream *stream) {
    struct h2_server_stream *s = of(stream);
    s->down.sent_bytes = s->st.sent_bytes;
}

static void finish(struct vx_stream *stream, struct vx_headers *fields) {
    struct h2_server_stream *s = of(stream);
    if (s->response_begun)
        vx_h2_stream_finish(&s->st, fields);
    flush(stream);
}

static void again(struct vx_stream *stream) {
    vx_h2_stream_again(&of(stream)->st);
}

/* A response that was cut must not look whole, and one that is whole ends what the client still sends for it. */
static void release(struct vx_stream *stream) {
    struct h2_server_stream *s = of(stream);
    nghttp2_error_code code = s->tunnel ? NGHTTP2_CONNECT_ERROR : NGHTTP2_INTERNAL_ERROR;
    vx_h2_server_drop_stream(s, s->st.local_ended ? NGHTTP2_NO_ERROR : code);
}

const struct vx_stream_ops vx_h2_server_stream_ops = {
    .pull = pull,
    .consume = consume,
    .trailers = trailers,
    .push = push,
    .finish = finish,
    .flush = flush,
    .again = again,
    .release = release,
};

static bool bodyless(const struct h2_server_stream *s, const struct vx_response *response) {
    return s->request.method == VX_METHOD_HEAD || response->status == 204 || response->status == 304 ||
           response->framing == VX_BODY_NONE;
}

static bool declares_length(const struct vx_response *response) {
    if (response->status == 204 || response->status < 200)
        return false;
    return response->framing == VX_BODY_LENGTH ||
           (response->framing == VX_BODY_NONE &&
            vx_headers_find(&response->headers, VX_HEADER_CONTENT_LENGTH));
}

static void add_status(struct vx_h2_fields *fields, uint16_t status) {
    char *digits = vx_arena_alloc(fields->arena, VX_DECIMAL_MAX_BYTES);
    if (!digits) {
        fields->no_memory = true;
        return;
    }
    vx_h2_fields_add(fields, VX_SLICE(":status"), vx_decimal(status, digits));
}

/* From here on the body follows, framed as the final head says. */
static void begin_body(struct h2_server_stream *s, const struct vx_response *response, bool ended) {
    s->response_begun = true;
    s->tunnel = response->status == 101;
    if (!s->tunnel && !ended)
        vx_h2_stream_begin_body(&s->st, vx_body_left_of(response->framing, response->body_bytes),
                                response->version);
}

static void respond(struct vx_downstream *d, struct vx_response *response) {
    enum { OURS = 3 }; /* :status, date and content-length */
    struct h2_server_stream *s = (struct h2_server_stream *)d;
    if (s->response_begun)
        return;
    bool switches = response->status == 101;
    bool interim = response->status < 200 && !switches;
    bool declared = declares_length(response);
    bool ended = response->status >= 200 && (bodyless(s, response) || (declared && !response->body_bytes));
    struct vx_h2_fields fields;
    vx_h2_fields_init(&fields, &s->arena, response->headers.count + (size_t)OURS);
    add_status(&fields, switches ? 200 : response->status);
    if (switches)
        vx_websocket_strip_accept(&response->headers);
    vx_h2_fields_add_headers(&fields, &response->headers);
    struct vx_slice date = vx_server_date(h2_runtime(s->conn), response);
    if (date.ptr)
        vx_h2_fields_add(&fields, vx_header_id_name(VX_HEADER_DATE), date);
    if (declared)
        vx_h2_fields_add_length(&fields, response->body_bytes);
    if (!interim)
        begin_body(s, response, ended);
    vx_h2_stream_respond(&s->st, &fields, ended);
    d->sent_bytes = s->st.sent_bytes;
}

const struct vx_downstream_ops vx_h2_server_downstream_ops = {.respond = respond};
