/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of an HTTP/2 connection: takes streams from the session, hands requests to the handler, keeps the
 * time limits, drains.
 *
 * Invariants
 *   1. A stream is the handler's from begin() until it lets go; before and after that it is ours.
 *   2. The handler hears of a request only when its head is complete and was not reset meanwhile: a client that opens
 *      and resets streams costs no backend anything.
 *   3. The handler is told of nothing from inside its own calls.
 *   4. The connection's memory goes at the end of the round after the session is over.
 *
 * stream    event                                 next      function
 * -         the peer opens it                     heading   accept
 * heading   head complete                         active    on_head
 * heading   head refused                          gone      on_head, refuse
 * heading   reset, malformed                      gone      on_failed
 * active    the user lets go                      gone      vx_h2_server_drop_stream
 * active    reset, connection over                active    on_failed (the user then lets go)
 *
 * connection  event                               next      function
 * open        drain                               leaving   drain: GOAWAY without a last stream, then with one
 * open        no stream for too long              closing   timed_out
 * leaving     the last stream is over             closing   the session
 * any         cut, write timeout                  over      cut, timed_out
 */
#include "proxy/http2/server.h"

#include <stdlib.h>

#include "proxy/http2/server_internal.h"
#include "proxy/http2/websocket.h"

enum {
    DRAIN_MS = 1000, /* the client's answer to the first GOAWAY is not waited for longer */
    LEAST_ARENA_BYTES = 128,
    STREAM_WINDOW_BYTES = 64 * 1024,
    STREAM_WINDOW_MAX_BYTES = 4 * 1024 * 1024,
    WINDOW_GROWTH_BYTES = 8 * 1024 * 1024,
};

static struct h2_server *connection_of(struct vx_h2_session *session) {
    return VX_CONTAINER_OF(session, struct h2_server, session);
}

static struct h2_server_stream *of(struct vx_h2_stream *st) {
    return VX_CONTAINER_OF(st, struct h2_server_stream, st);
}

/* Streams */

void vx_h2_server_arm_stream(struct h2_server_stream *s) {
    uint64_t at_ns = vx_sooner_ns(s->read_deadline_ns, s->writing.deadline_ns);
    vx_timer_arm(&h2_runtime(s->conn)->wheel, &s->timer, at_ns);
}

static void fail_user(struct h2_server_stream *s, struct vx_error error, uint64_t now_ns) {
    s->down.stream.error = error;
    s->down.stream.events->on_failed(s->down.stream.user, now_ns);
}

static void stream_timed_out(struct vx_timer *timer, uint64_t now_ns) {
    struct h2_server_stream *s = VX_CONTAINER_OF(timer, struct h2_server_stream, timer);
    if (vx_write_limit_is_over(&s->writing, now_ns)) {
        s->writing.deadline_ns = 0;
        if (s->active)
            fail_user(s, vx_error(VX_ERR_CLIENT_WRITE_TIMEOUT, false, "the client's window stays shut"),
                      now_ns);
        else
            vx_h2_server_drop_stream(s, NGHTTP2_CANCEL);
    } else if (s->read_deadline_ns && s->read_deadline_ns <= now_ns) {
        s->read_deadline_ns = 0;
        s->body_timed_out = true;
        s->down.stream.events->on_readable(s->down.stream.user, now_ns);
    } else {
        vx_h2_server_arm_stream(s);
    }
}

/* A chunk's size where a stream fits, as it does in all but the smallest of chunks. */
static size_t stream_bytes(const struct vx_chunk_source *source) {
    const size_t least = sizeof(struct h2_server_stream) + LEAST_ARENA_BYTES;
    return source->chunk_bytes > least ? source->chunk_bytes : least;
}

static struct vx_h2_stream *accept(struct vx_h2_session *session, int32_t id) {
    (void)id;
    struct h2_server *c = connection_of(session);
    struct vx_chunk_source *source = h2_runtime(c)->arenas;
    struct h2_server_stream *s = source->take(source, stream_bytes(source));
    if (!s)
        return NULL;
    *s = (struct h2_server_stream){
        .down =
            {
                .stream = {.ops = &vx_h2_server_stream_ops},
                .ops = &vx_h2_server_downstream_ops,
                .request = &s->request,
                .arena = &s->arena,
                .client = &c->client,
                .started_ns = h2_runtime(c)->now_ns,
            },
        .st = {.arena = &s->arena},
        .conn = c,
    };
    vx_timer_init(&s->timer, stream_timed_out);
    vx_arena_init(&s->arena, s + 1, stream_bytes(source) - sizeof *s, source);
    return &s->st;
}

void vx_h2_server_drop_stream(struct h2_server_stream *s, nghttp2_error_code code) {
    struct vx_runtime *rt = h2_runtime(s->conn);
    vx_h2_stream_release(&s->st, code);
    vx_timer_remove(&rt->wheel, &s->timer);
    vx_arena_reset(&s->arena);
    rt->arenas->give(rt->arenas, s, stream_bytes(rt->arenas));
}

static void tell_refused(struct h2_server_stream *s, const struct vx_error *error, uint64_t now_ns) {
    s->request.version = VX_HTTP_2;
    vx_server_tell_refusal(s->conn->base.server, &s->down, error, s->st.sent_bytes, now_ns);
}

/* Answers a request that never became one; only the stream is spoilt. A client whose window has no room for the few
 * bytes of the answer gets the status alone. */
static void refuse(struct h2_server_stream *s, const struct vx_error *error, uint64_t now_ns) {
    struct vx_response response;
    struct vx_header item;
    struct vx_slice body = vx_server_refusal(error, &s->arena, &response, &item);
    vx_h2_server_downstream_ops.respond(&s->down, &response);
    if (body.len && s->request.method != VX_METHOD_HEAD)
        vx_h2_server_stream_ops.push(&s->down.stream, body);
    tell_refused(s, error, now_ns);
    vx_h2_server_drop_stream(s, s->st.local_ended ? NGHTTP2_NO_ERROR : NGHTTP2_PROTOCOL_ERROR);
}

/* RFC 9113 §8.1.1: a message that cannot be one is an error of its stream. */
static bool is_malformed(const struct vx_error *error) {
    return error->code == VX_ERR_BAD_REQUEST || error->code == VX_ERR_BAD_FRAMING;
}

static void reset_malformed(struct h2_server_stream *s, const struct vx_error *error, uint64_t now_ns) {
    vx_h2_session_glitch(&s->conn->session, VX_H2_GLITCH_BAD_HEAD);
    tell_refused(s, error, now_ns);
    vx_h2_server_drop_stream(s, NGHTTP2_PROTOCOL_ERROR);
}

static bool read_request(struct h2_server_stream *s, struct vx_error *error) {
    struct vx_http_server *server = s->conn->base.server;
    struct vx_h2_head *head = &s->st.head;
    /* The head is told when more of the message may have come already. */
    s->request.headers = head->fields;
    s->request.method_text = head->pseudo.method;
    s->request.method = vx_method_of(head->pseudo.method);
    *error = vx_error(head->refused, false, "more header fields than allowed");
    if (head->refused)
        return false;
    if (!vx_h2_read_request(&head->pseudo, head->repeated, head->ended, &server->limits, &s->arena,
                            &s->request, error))
        return false;
    s->request.https = s->conn->client.https;
    if (s->request.upgrade && !vx_websocket_add_key(&s->request, &s->arena, &h2_runtime(s->conn)->random)) {
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
        return false;
    }
    *error = vx_error(vx_server_objection(server, s->conn->session.transport, &s->request), false, NULL);
    return error->code == VX_ERR_NONE;
}

static void on_head(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_server_stream *s = of(st);
    struct vx_error error;
    s->conn->served = true;
    s->down.head_bytes = st->head.bytes;
    if (!read_request(s, &error)) {
        if (is_malformed(&error))
            reset_malformed(s, &error, now_ns);
        else
            refuse(s, &error, now_ns);
        return;
    }
    s->active = true;
    struct vx_handler *handler = s->conn->base.server->handler;
    handler->begin(handler, &s->down, now_ns);
}

static void on_readable(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_server_stream *s = of(st);
    s->read_deadline_ns = 0; /* it has sent more, whenever the backend lets that be asked for */
    s->down.stream.events->on_readable(s->down.stream.user, now_ns);
}

static void on_writable(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_server_stream *s = of(st);
    s->down.stream.events->on_writable(s->down.stream.user, now_ns);
}

static void on_failed(struct vx_h2_stream *st, uint64_t now_ns) {
    struct h2_server_stream *s = of(st);
    if (s->active) {
        fail_user(s, st->error, now_ns);
        return;
    }
    if (is_malformed(&st->error))
        tell_refused(s, &st->error, now_ns);
    vx_h2_server_drop_stream(s, NGHTTP2_CANCEL);
}

/* The connection */

static void arm(struct h2_server *c) {
    uint64_t at_ns = vx_sooner_ns(c->quiet_deadline_ns, c->writing.deadline_ns);
    vx_timer_arm(&h2_runtime(c)->wheel, &c->timer, vx_sooner_ns(at_ns, c->drain_deadline_ns));
}

/* Which time limits hold now: a head that is not complete, a connection without streams, bytes that do not leave. */
static void on_progress(struct vx_h2_session *session, uint64_t now_ns) {
    struct h2_server *c = connection_of(session);
    const struct vx_config_timeouts *timeouts = &c->base.server->timeouts;
    struct vx_h2_stream *heading = session->parsing;
    if (heading) {
        if (heading != c->head_of)
            c->quiet_deadline_ns = now_ns + timeouts->header_ns;
    } else if (session->stream_count) {
        c->quiet_deadline_ns = 0;
    } else if (c->served) {
        c->quiet_deadline_ns = now_ns + timeouts->idle_ns;
    }
    c->head_of = heading;
    vx_write_limit_watch(&c->writing, vx_h2_session_pending(session), session->written,
                         now_ns + timeouts->write_ns);
    arm(c);
}

static void timed_out(struct vx_timer *timer, uint64_t now_ns) {
    struct h2_server *c = VX_CONTAINER_OF(timer, struct h2_server, timer);
    if (vx_write_limit_is_over(&c->writing, now_ns)) {
        vx_h2_session_cut(&c->session, vx_error(VX_ERR_CLIENT_WRITE_TIMEOUT, false, NULL));
        return;
    }
    if (c->drain_deadline_ns && c->drain_deadline_ns <= now_ns) {
        c->drain_deadline_ns = 0;
        vx_h2_session_shut(&c->session);
    }
    if (c->quiet_deadline_ns && c->quiet_deadline_ns <= now_ns) {
        c->quiet_deadline_ns = 0;
        struct vx_error late = vx_error(VX_ERR_REQUEST_TIMEOUT, false, "head not received in time");
        struct vx_h2_stream *heading = c->session.parsing;
        if (heading) {
            if (!of(heading)->active) /* else they are trailers, and the handler hears of it by on_failed */
                tell_refused(of(heading), &late, now_ns);
            vx_h2_session_end(&c->session, late);
        } else {
            vx_h2_session_shut(&c->session);
        }
    }
    arm(c);
}

static void reap(struct vx_task *task, uint64_t now_ns) {
    (void)now_ns;
    struct h2_server *c = VX_CONTAINER_OF(task, struct h2_server, reap);
    vx_h2_session_free(&c->session);
    free(c);
}

static void on_over(struct vx_h2_session *session, const struct vx_error *error, uint64_t now_ns) {
    (void)error;
    (void)now_ns;
    struct h2_server *c = connection_of(session);
    vx_timer_remove(&h2_runtime(c)->wheel, &c->timer);
    vx_server_connection_remove(&c->base);
    vx_runtime_defer(h2_runtime(c), &c->reap);
}

static void glitched(struct vx_h2_session *session, enum vx_h2_glitch kind, bool last) {
    const struct h2_server *c = connection_of(session);
    const struct vx_http_server *server = c->base.server;
    if (server->glitched)
        server->glitched(server->user, &c->client, kind, last);
}

static void drain(struct vx_server_connection *base) {
    struct h2_server *c = (struct h2_server *)base;
    if (c->drain_deadline_ns)
        return;
    vx_h2_session_announce_shut(&c->session);
    c->drain_deadline_ns = h2_runtime(c)->now_ns + (uint64_t)DRAIN_MS * 1000000;
    arm(c);
}

static void cut(struct vx_server_connection *base) {
    struct h2_server *c = (struct h2_server *)base;
    vx_h2_session_cut(&c->session, vx_error(VX_ERR_DRAINING, false, "cut at the end of the drain"));
}

static const struct vx_h2_session_ops session_ops = {
    .accept = accept,
    .on_head = on_head,
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
    .on_progress = on_progress,
    .on_over = on_over,
};

static const char *state(const struct vx_server_connection *base) {
    return ((const struct h2_server *)base)->session.stream_count ? "HTTP/2 with streams" : "HTTP/2 idle";
}

bool vx_h2_server_start(struct vx_http_server *server, struct vx_transport *transport,
                        struct vx_server_connection *from, struct vx_slice first) {
    struct h2_server *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    struct vx_h2_options options = {
        .ops = &session_ops,
        .limits = &server->limits,
        .windows = {STREAM_WINDOW_BYTES, STREAM_WINDOW_MAX_BYTES, WINDOW_GROWTH_BYTES},
        .concurrent_streams = server->concurrent_streams,
        .glitches_a_minute = server->glitches_a_minute,
        .glitched = glitched,
        .server = true,
    };
    c->base.server = server;
    c->base.drain = drain;
    c->base.cut = cut;
    c->base.state = state;
    vx_timer_init(&c->timer, timed_out);
    vx_task_init(&c->reap, reap);
    vx_server_describe_client(&c->client, c->remote_text, server->rt, transport);
    if (!vx_h2_session_start(&c->session, transport, server->rt, &options, first)) {
        free(c);
        return false;
    }
    if (from)
        vx_server_connection_replace(from, &c->base);
    else
        vx_server_connection_add(server, &c->base);
    /* A client that says nothing gets as long as for a head. */
    c->quiet_deadline_ns = server->rt->now_ns + server->timeouts.header_ns;
    arm(c);
    return true;
}
