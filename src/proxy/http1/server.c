/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of an HTTP/1 connection: reads heads, hands requests to the handler, decides what follows.
 *
 * Invariants
 *   1. `stream` is set exactly while some byte of a request is here and its user has not let go.
 *   2. One request at a time: the next head is not parsed before the response to this one is in the sink as a whole
 *      (pipelining keeps its order without a queue). What the client has not taken at the end of a round stops the parsing.
 *   3. The handler is told of nothing from inside its own calls; it may let go of the stream inside any event.
 *   4. A connection whose framing is in doubt, or whose request was not read to its end, is never used again. What nobody
 *      reads to its end is server_rest.c's.
 *   5. In CLOSED the transport is closed already; only the memory is left, until the end of the round.
 *
 * state     event                         next       function
 * IDLE      first bytes                   HEAD       read_head
 * IDLE      end, idle timeout, drain      CLOSED     readable, timed_out, drain
 * HEAD      head complete                 ACTIVE     begin_request
 * HEAD      bad head, header timeout      FLUSHING   refuse
 * HEAD      end                           CLOSED     read_more
 * ACTIVE    user let go, all is done      IDLE       vx_h1_server_response_over, settle
 * ACTIVE    user let go, a rest of the    DISCARD    vx_h1_server_response_over, settle
 *           request's body is to come
 * ACTIVE    user let go, a small answer   IDLE       vx_h1_server_response_over (it leaves with those to the requests behind)
 *           of ours, requests behind it
 * ACTIVE    user let go, bytes wait       FLUSHING   vx_h1_server_response_over (a small answer: for the end of the round)
 * ACTIVE    user let go, response cut     CLOSED     vx_h1_server_response_over
 * IDLE      end of the round, answers     FLUSHING   writable
 *           are to be sent
 * FLUSHING  all written, may live         IDLE, DISCARD  settle
 * FLUSHING  all written, must not live    LINGER     settle
 * FLUSHING  more of the body              FLUSHING   throw_away (a client may write all before it reads)
 * FLUSHING  write timeout                 CLOSED     timed_out
 * IDLE      HTTP/2's preface              CLOSED     hand_over (the transport goes on as HTTP/2)
 * DISCARD   the rest is complete          IDLE       throw_away, settle
 * DISCARD   end, timeout                  CLOSED     throw_away, timed_out
 * LINGER    end, timeout, too much        CLOSED     throw_away, timed_out
 * any       transport broken              CLOSED     broken (ACTIVE: once the user has let go)
 */
#include "proxy/http1/server.h"

#include <stdlib.h>

#include "core/http/h1_write.h"
#include "proxy/http1/server_internal.h"
#include "proxy/http2/server.h"

enum {
    DRAIN_SILENT_MS = 1000,
    PIPELINE_BURST = 32, /* requests answered on the spot before others get their turn */
};

void vx_h1_server_arm(struct h1_server *c) {
    uint64_t at_ns = vx_sooner_ns(c->read_deadline_ns, c->writing.deadline_ns);
    vx_timer_arm(&h1_runtime(c)->wheel, &c->timer, at_ns);
}

void vx_h1_server_watch_writes(struct h1_server *c) {
    if (c->sink.failed) {
        vx_runtime_defer(h1_runtime(c), &c->task);
        return;
    }
    bool waits = vx_h1_sink_pending(&c->sink) || c->sink.wants_room;
    uint64_t due_ns = h1_runtime(c)->now_ns + c->base.server->timeouts.write_ns;
    if (vx_write_limit_watch(&c->writing, waits, vx_h1_sink_progress(&c->sink), due_ns))
        vx_h1_server_arm(c);
}

/* The connection is no longer ours, or closed. */
static void forget(struct h1_server *c) {
    c->state = H1_SERVER_CLOSED;
    vx_timer_remove(&h1_runtime(c)->wheel, &c->timer);
    vx_buffer_release(&c->reader.in);
    vx_buffer_release(&c->sink.out);
    vx_runtime_defer(h1_runtime(c), &c->task);
}

static void close_connection(struct h1_server *c, bool reset) {
    VX_ASSERT(c->state != H1_SERVER_CLOSED);
    c->reader.transport->ops->close(c->reader.transport, reset);
    vx_server_connection_remove(&c->base);
    forget(c);
}

static void drop_stream(struct h1_server *c) {
    struct h1_stream *s = c->stream;
    c->stream = NULL;
    vx_block_drop(s->head);
    vx_arena_reset(&s->arena);
    struct vx_chunk_source *source = h1_runtime(c)->arenas;
    source->give(source, s, source->chunk_bytes);
}

static bool take_stream(struct h1_server *c, uint64_t now_ns) {
    struct vx_chunk_source *source = h1_runtime(c)->arenas;
    struct h1_stream *s = source->take(source, source->chunk_bytes);
    if (!s)
        return false;
    memset(s, 0, sizeof *s);
    s->down.stream.ops = &vx_h1_server_stream_ops;
    s->down.ops = &vx_h1_server_downstream_ops;
    s->down.request = &s->request;
    s->down.arena = &s->arena;
    s->down.client = &c->client;
    s->down.started_ns = now_ns;
    s->conn = c;
    vx_arena_init(&s->arena, s + 1, source->chunk_bytes - sizeof *s, source);
    c->stream = s;
    c->state = H1_SERVER_HEAD;
    c->read_deadline_ns = now_ns + c->base.server->timeouts.header_ns; /* armed if the head is not whole */
    vx_h1_parser_init(&c->reader.parser);
    return true;
}

static void settle(struct h1_server *c, enum h1_server_ending ending);

/* What still comes is not for anybody: the rest of a body, or all of it where the connection ends. */
static void throw_away(struct h1_server *c) {
    bool flushing = c->state == H1_SERVER_FLUSHING;
    bool stays = flushing ? c->ending == H1_SERVER_STAYS : c->state == H1_SERVER_DISCARD;
    switch (vx_h1_server_throw_away(c, stays)) {
    case H1_THROWN_WAITS:
        break;
    case H1_THROWN_ENOUGH:
        if (!flushing && stays)
            settle(c, H1_SERVER_STAYS);
        else if (!flushing)
            close_connection(c, false);
        break;
    case H1_THROWN_ENDED:
        if (!flushing)
            close_connection(c, false);
        break;
    case H1_THROWN_FAILED:
        /* Where we linger, the response is with the kernel as a whole: it stays, also for a client of TLS that ended its
         * direction without a close_notify. */
        close_connection(c, c->state != H1_SERVER_LINGER);
        break;
    }
}

static void begin_discard(struct h1_server *c) {
    c->state = H1_SERVER_DISCARD;
    c->writing.deadline_ns = 0;
    vx_h1_sink_relax(&c->sink);
    vx_h1_reader_relax(&c->reader);
    vx_h1_server_begin_throwing(c);
    throw_away(c);
}

static void begin_linger(struct h1_server *c) {
    c->state = H1_SERVER_LINGER;
    c->writing.deadline_ns = 0;
    vx_buffer_release(&c->reader.in);
    vx_buffer_release(&c->sink.out);
    c->reader.transport->ops->shut(c->reader.transport);
    vx_h1_server_begin_throwing(c);
    throw_away(c);
}

/* The response is whole and written: the next request, or the end. */
static void settle(struct h1_server *c, enum h1_server_ending ending) {
    if (ending == H1_SERVER_LINGERS || (ending == H1_SERVER_STAYS && c->base.server->draining)) {
        begin_linger(c);
        return;
    }
    if (ending == H1_SERVER_CLOSES || ending == H1_SERVER_RESETS) {
        close_connection(c, ending == H1_SERVER_RESETS);
        return;
    }
    if (!c->reader.ended) {
        begin_discard(c);
        return;
    }
    c->state = H1_SERVER_IDLE;
    c->writing.deadline_ns = 0;
    c->throwing_until_ns = 0;
    c->read_deadline_ns = h1_runtime(c)->now_ns + c->base.server->timeouts.idle_ns;
    vx_h1_server_arm(c);
    vx_h1_sink_relax(&c->sink);
    vx_h1_reader_relax(&c->reader);
    bool more = c->reader.in.block || c->reader.transport->readable || c->reader.transport->peer_shut;
    if (more && !c->in_begin)
        vx_runtime_defer(h1_runtime(c), &c->task);
}

/* A client may write all before it reads: its answer waits for us to read what it has still to send. */
static bool reads_while_flushing(const struct h1_server *c) {
    return c->ending == H1_SERVER_LINGERS || (c->ending == H1_SERVER_STAYS && !c->reader.ended);
}

/* The response is whole, but not written. What has come meanwhile makes no edge any more. */
static void begin_flushing(struct h1_server *c, enum h1_server_ending ending) {
    c->state = H1_SERVER_FLUSHING;
    c->read_deadline_ns = 0;
    c->ending = (uint8_t)ending;
    if (c->reader.transport->readable && reads_while_flushing(c))
        vx_runtime_defer(h1_runtime(c), &c->task);
}

/* A close with bytes of the client unread, or on their way, would be answered with a reset, which could take our last
 * response with it; a client that asked for the close sends nothing more, if it does as it says. */
static enum h1_server_ending how_to_end(struct h1_server *c, const struct h1_stream *s) {
    if (c->sink.tunnel)
        return H1_SERVER_CLOSES;
    vx_h1_reader_skip(&c->reader);
    if (!c->reader.ended)
        return s->closing || !vx_h1_server_rest_is_small(c) ? H1_SERVER_LINGERS : H1_SERVER_STAYS;
    bool sends_on = vx_buffer_len(&c->reader.in) || c->reader.transport->readable;
    if (!s->request.keep_alive && !sends_on)
        return H1_SERVER_CLOSES;
    return s->closing ? H1_SERVER_LINGERS : H1_SERVER_STAYS;
}

/* The answer was given on the spot, and more requests are here: theirs may leave together with it. */
static bool may_go_on(const struct h1_server *c, enum h1_server_ending ending) {
    return c->in_begin && ending == H1_SERVER_STAYS && c->reader.ended && !c->base.server->draining &&
           vx_buffer_len(&c->reader.in) && vx_h1_sink_may_gather(&c->sink);
}

void vx_h1_server_response_over(struct h1_server *c) {
    struct h1_stream *s = c->stream;
    bool begun = s->response_begun;
    bool tunnel = c->sink.tunnel;
    enum h1_server_ending ending = how_to_end(c, s);
    drop_stream(c);
    if (c->sends_later && !begun)
        vx_h1_sink_flush(&c->sink); /* answers to the requests before */
    if (c->failed || c->sink.failed || !begun) {
        close_connection(c, !tunnel);
        return;
    }
    if (!c->sink.finished) {
        /* The client still gets what there was. A body that ends with the connection would look whole if it ended by
         * an orderly FIN. */
        ending = c->sink.framing == VX_BODY_UNTIL_CLOSE && !tunnel ? H1_SERVER_RESETS : H1_SERVER_CLOSES;
        vx_h1_sink_flush(&c->sink);
        if (c->sink.failed) {
            close_connection(c, true);
            return;
        }
    }
    if (may_go_on(c, ending)) {
        c->state = H1_SERVER_IDLE;
        return;
    }
    if (vx_h1_sink_pending(&c->sink)) {
        begin_flushing(c, ending);
        if (!c->sends_later)
            vx_h1_server_watch_writes(c);
        return;
    }
    settle(c, ending);
}

/* Answers a request that never became one; what is not HTTP gets no answer. */
static void refuse(struct h1_server *c, const struct vx_error *error, uint64_t now_ns) {
    struct vx_response response;
    struct vx_header item;
    struct vx_slice body = vx_server_refusal(error, &c->stream->arena, &response, &item);
    bool silent = response.status == 0;
    struct vx_h1_response_write how = {.framing = response.framing,
                                       .body_bytes = response.body_bytes,
                                       .connection = VX_H1_CONNECTION_CLOSE,
                                       .date = vx_server_date(h1_runtime(c), &response)};
    size_t bound = vx_h1_response_head_max(&response, &how);
    char *room = silent ? NULL : vx_h1_sink_reserve(&c->sink, bound + body.len);
    size_t n = room ? vx_h1_write_response_head(room, bound, &response, &how) : 0;
    if (n && body.len && c->stream->request.method != VX_METHOD_HEAD) {
        memcpy(room + n, body.ptr, body.len);
        n += body.len;
    }
    vx_server_tell_refusal(c->base.server, &c->stream->down, error, n, now_ns);
    drop_stream(c);
    if (n == 0) {
        close_connection(c, !silent);
        return;
    }
    vx_h1_sink_commit(&c->sink, n);
    c->sink.finished = true;
    begin_flushing(c, H1_SERVER_LINGERS);
    vx_h1_sink_flush(&c->sink);
    if (c->sink.failed)
        close_connection(c, true);
    else if (vx_h1_sink_pending(&c->sink))
        vx_h1_server_watch_writes(c);
    else
        settle(c, H1_SERVER_LINGERS);
}

/* Hands the complete request to the handler. */
static void begin_request(struct h1_server *c, size_t head_bytes, uint64_t now_ns) {
    struct h1_stream *s = c->stream;
    struct vx_http_server *server = c->base.server;
    s->request.https = c->client.https;
    enum vx_error_code objected = vx_server_objection(server, c->reader.transport, &s->request);
    if (objected != VX_ERR_NONE) {
        struct vx_error error = vx_error(objected, false, NULL);
        refuse(c, &error, now_ns);
        return;
    }
    s->down.head_bytes = head_bytes;
    s->head = vx_block_hold(c->reader.in.block);
    c->reader.in.start += (uint32_t)head_bytes;
    vx_h1_reader_begin_body(&c->reader, s->request.framing, s->request.body_bytes, server->body_bytes,
                            &s->arena);
    c->state = H1_SERVER_ACTIVE;
    c->served = true;
    s->earlier_bytes = vx_buffer_len(&c->sink.out);
    c->sink.sent = 0;
    c->sink.tunnel = false;
    c->read_deadline_ns = 0; /* the timer stays where it is: it finds nothing due and moves on */
    c->in_begin = true;
    server->handler->begin(server->handler, &s->down, now_ns);
    c->in_begin = false;
}

/* Whether the first line is a request line of another protocol than HTTP/1 (RTSP's, SIP's, HTTP/2's when it is mistaken):
 * a method that we do not know, a target, and a version that is none of HTTP's. Who sent it would not understand an
 * answer of ours. */
static bool is_foreign(const struct vx_h1_reader *r) {
    struct vx_slice line = vx_buffer_slice(&r->in), words[3];
    const char *end = line.ptr ? memchr(line.ptr, '\r', line.len) : NULL;
    if (!end)
        return false;
    line.len = (size_t)(end - line.ptr);
    for (unsigned i = 0; i < 3; i++) {
        const char *space = i < 2 ? memchr(line.ptr, ' ', line.len) : line.ptr + line.len;
        if (!space || space == line.ptr)
            return false;
        words[i] = vx_slice(line.ptr, (size_t)(space - line.ptr));
        line = vx_slice_skip(line, words[i].len + (i < 2));
    }
    return vx_method_of(words[0]) == VX_METHOD_OTHER && !vx_slice_starts_with(words[2], VX_SLICE("HTTP/")) &&
           !memchr(words[2].ptr, ' ', words[2].len);
}

/* Whether what is here may be the beginning of HTTP/2's preface; only the first bytes of a plain connection can be. */
static bool may_be_http2(const struct h1_server *c) {
    struct vx_slice bytes = vx_buffer_slice(&c->reader.in), preface = VX_H2_PREFACE;
    size_t len = bytes.len < preface.len ? bytes.len : preface.len;
    return !c->served && !c->reader.transport->tls &&
           vx_slice_eq(vx_slice(bytes.ptr, len), vx_slice(preface.ptr, len));
}

/* The client speaks HTTP/2 without having asked (RFC 9113 §3.3): the connection goes on as one of those. */
static void hand_over(struct h1_server *c) {
    struct vx_http_server *server = c->base.server;
    if (!vx_h2_server_start(server, c->reader.transport, &c->base, vx_buffer_slice(&c->reader.in))) {
        close_connection(c, true);
        return;
    }
    forget(c);
}

enum headway {
    HEAD_INCOMPLETE, /* more bytes are needed */
    HEAD_TAKEN,      /* the handler has a request */
    HEAD_OVER,       /* this connection takes no head any more */
};

/* Makes a request of the bytes that are here. */
static enum headway parse_head(struct h1_server *c, uint64_t now_ns) {
    if (may_be_http2(c)) {
        if (vx_buffer_len(&c->reader.in) < VX_H2_PREFACE.len)
            return HEAD_INCOMPLETE;
        hand_over(c);
        return HEAD_OVER;
    }
    if (!c->stream && !take_stream(c, now_ns)) {
        close_connection(c, true);
        return HEAD_OVER;
    }
    size_t head_bytes = 0;
    struct vx_error error;
    enum vx_h1_result result =
        vx_h1_parse_request(&c->reader.parser, &c->base.server->limits, vx_buffer_slice(&c->reader.in),
                            &c->stream->arena, &c->stream->request, &head_bytes, &error);
    if (result == VX_H1_MORE)
        return HEAD_INCOMPLETE;
    if (result == VX_H1_DONE) {
        begin_request(c, head_bytes, now_ns);
        return HEAD_TAKEN;
    }
    if (!c->served && error.code == VX_ERR_BAD_REQUEST && is_foreign(&c->reader))
        error = vx_error(VX_ERR_NOT_HTTP, false, "a request line of another protocol");
    refuse(c, &error, now_ns);
    return HEAD_OVER;
}

/* What was answered on the spot goes out before more is waited for. False: the client does not take it, or is gone; until
 * it does, no head is read, so none is late. */
static bool send_gathered(struct h1_server *c) {
    c->sends_later = false;
    vx_h1_sink_flush(&c->sink);
    vx_h1_sink_relax(&c->sink);
    bool sent = !c->sink.failed && !vx_h1_sink_pending(&c->sink);
    if (c->state == H1_SERVER_HEAD)
        c->read_deadline_ns = sent ? h1_runtime(c)->now_ns + c->base.server->timeouts.header_ns : 0;
    vx_h1_server_watch_writes(c);
    return sent;
}

/* More bytes of a head. False: none are here, or no head is taken any more. */
static bool read_more(struct h1_server *c) {
    if (c->sends_later && !send_gathered(c))
        return false;
    ssize_t n = vx_h1_reader_fill(&c->reader);
    if (n > 0)
        return true;
    if (n == VX_IO_AGAIN) {
        vx_h1_reader_relax(&c->reader);
        if (c->state == H1_SERVER_HEAD)
            vx_h1_server_arm(c);
        return false;
    }
    if (c->stream)
        drop_stream(c);
    close_connection(c, false);
    return false;
}

/* Reads and parses until a request is in a handler's hands, or nothing more is here. */
static void read_head(struct h1_server *c, uint64_t now_ns) {
    if (vx_h1_sink_pending(&c->sink) && !c->sends_later)
        return;
    for (unsigned burst = 0; c->state == H1_SERVER_IDLE || c->state == H1_SERVER_HEAD;) {
        enum headway made = vx_buffer_len(&c->reader.in) ? parse_head(c, now_ns) : HEAD_INCOMPLETE;
        if (made == HEAD_OVER)
            return;
        if (made == HEAD_TAKEN) {
            if (++burst < PIPELINE_BURST)
                continue;
            if (c->state != H1_SERVER_CLOSED)
                vx_runtime_defer(h1_runtime(c), &c->task);
            return;
        }
        if (!read_more(c))
            return;
    }
}

/* Tells the user, once, that both directions are broken. */
static void tell_failure(struct h1_server *c, struct vx_error error, uint64_t now_ns) {
    struct h1_stream *s = c->stream;
    if (s->told_failure)
        return;
    s->told_failure = true;
    s->down.stream.error = error;
    s->down.stream.events->on_failed(s->down.stream.user, now_ns);
}

static void broken(struct h1_server *c, struct vx_error error, uint64_t now_ns) {
    c->failed = true;
    if (c->state == H1_SERVER_ACTIVE) {
        c->stream->down.whole = c->stream->response_begun && c->sink.left.declared && !c->sink.left.bytes &&
                                !vx_h1_sink_pending(&c->sink);
        tell_failure(c, error, now_ns);
        return;
    }
    if (c->stream)
        drop_stream(c);
    close_connection(c, true);
}

static void writable(struct h1_server *c, uint64_t now_ns) {
    bool waited = vx_h1_sink_pending(&c->sink);
    vx_h1_sink_flush(&c->sink);
    if (c->state == H1_SERVER_HEAD && waited) {
        if (send_gathered(c))
            read_head(c, now_ns);
        return;
    }
    if (c->state == H1_SERVER_IDLE && waited) {
        c->state = H1_SERVER_FLUSHING;
        c->ending = H1_SERVER_STAYS;
    }
    if (c->state == H1_SERVER_FLUSHING) {
        if (c->sink.failed)
            close_connection(c, true);
        else if (!vx_h1_sink_pending(&c->sink))
            settle(c, c->ending);
        else
            vx_h1_server_watch_writes(c);
        return;
    }
    if (c->state != H1_SERVER_ACTIVE)
        return;
    if (c->sink.wants_room && !vx_h1_sink_pending(&c->sink) && !c->sink.failed) {
        c->sink.wants_room = false;
        c->stream->down.stream.events->on_writable(c->stream->down.stream.user, now_ns);
        if (c->state == H1_SERVER_CLOSED)
            return;
    }
    vx_h1_server_watch_writes(c);
}

static void readable(struct h1_server *c, uint64_t now_ns) {
    switch ((enum h1_server_state)c->state) {
    case H1_SERVER_IDLE:
    case H1_SERVER_HEAD:
        read_head(c, now_ns);
        break;
    case H1_SERVER_ACTIVE:
        c->read_deadline_ns = 0; /* it has sent more, whenever the backend lets that be asked for */
        vx_h1_reader_tell(&c->reader, &c->stream->down.stream, now_ns);
        break;
    case H1_SERVER_FLUSHING:
        if (reads_while_flushing(c))
            throw_away(c);
        break;
    case H1_SERVER_DISCARD:
    case H1_SERVER_LINGER:
        throw_away(c);
        break;
    case H1_SERVER_CLOSED:
        break;
    }
}

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    struct h1_server *c = t->owner;
    if (ready & VX_FAILED) {
        broken(c, vx_error(VX_ERR_CLIENT_GONE, false, t->error.detail), now_ns);
        return;
    }
    if (ready & VX_WRITABLE)
        writable(c, now_ns);
    if (ready & (VX_READABLE | VX_PEER_SHUT) && c->state != H1_SERVER_CLOSED)
        readable(c, now_ns);
}

/* Work that could not be done on the spot, or better is not: an answer to send, a failed write to tell, a pipelined
 * request, the memory of the dead. */
static void run_task(struct vx_task *task, uint64_t now_ns) {
    struct h1_server *c = VX_CONTAINER_OF(task, struct h1_server, task);
    if (c->state == H1_SERVER_CLOSED) {
        free(c);
        return;
    }
    bool sends = c->sends_later && vx_h1_sink_pending(&c->sink); /* or somebody was quicker */
    c->sends_later = false;
    if (sends) {
        writable(c, now_ns);
        if (c->state != H1_SERVER_ACTIVE && c->state != H1_SERVER_FLUSHING)
            return;
    }
    if (c->sink.failed) {
        struct vx_error gone = vx_error(VX_ERR_CLIENT_GONE, false, "write failed");
        broken(c, c->sink.no_memory ? vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL) : gone, now_ns);
        return;
    }
    if (c->state != H1_SERVER_ACTIVE || vx_h1_reader_woken(&c->reader))
        readable(c, now_ns);
}

static void read_timed_out(struct h1_server *c, uint64_t now_ns) {
    c->read_deadline_ns = 0;
    if (c->state == H1_SERVER_HEAD) {
        struct vx_error error = vx_error(VX_ERR_REQUEST_TIMEOUT, false, "head not received in time");
        refuse(c, &error, now_ns);
    } else if (c->state == H1_SERVER_ACTIVE) {
        c->body_timed_out = true;
        c->reader.waits = false;
        c->stream->down.stream.events->on_readable(c->stream->down.stream.user, now_ns);
    } else {
        close_connection(c, false);
    }
}

static void timed_out(struct vx_timer *timer, uint64_t now_ns) {
    struct h1_server *c = VX_CONTAINER_OF(timer, struct h1_server, timer);
    bool over = vx_write_limit_is_over(&c->writing, now_ns);
    if (over && c->writing.mark != vx_h1_sink_progress(&c->sink)) {
        vx_h1_server_watch_writes(c); /* nobody tells how a pipe drains, before it is empty */
    } else if (over) {
        c->writing.deadline_ns = 0;
        broken(c, vx_error(VX_ERR_CLIENT_WRITE_TIMEOUT, false, NULL), now_ns);
    } else if (c->read_deadline_ns && c->read_deadline_ns <= now_ns) {
        read_timed_out(c, now_ns);
    }
    if (c->state != H1_SERVER_CLOSED)
        vx_h1_server_arm(c);
}

static void drain(struct vx_server_connection *base) {
    struct h1_server *c = (struct h1_server *)base;
    if (c->state != H1_SERVER_IDLE || c->sends_later)
        return;
    /* A request may lie in the socket already; it is answered. A connection that has said nothing yet, and may just have
     * come out of the listener's queue, gets a moment. */
    uint64_t now_ns = h1_runtime(c)->now_ns;
    c->reader.transport->readable = true;
    read_head(c, now_ns);
    if (c->state != H1_SERVER_IDLE)
        return;
    if (c->served) {
        close_connection(c, false);
        return;
    }
    c->read_deadline_ns = now_ns + (uint64_t)DRAIN_SILENT_MS * 1000000;
    vx_h1_server_arm(c);
}

static void cut(struct vx_server_connection *base) {
    struct h1_server *c = (struct h1_server *)base;
    if (c->state != H1_SERVER_CLOSED)
        broken(c, vx_error(VX_ERR_DRAINING, false, "cut at the end of the drain"), h1_runtime(c)->now_ns);
}

size_t vx_h1_server_bytes(void) {
    return sizeof(struct h1_server);
}

static const char *state(const struct vx_server_connection *base) {
    static const char *const names[] = {
#define X(name) [H1_SERVER_##name] = "HTTP/1 " #name,
        H1_SERVER_STATES(X)
#undef X
    };
    return names[((const struct h1_server *)base)->state];
}

bool vx_h1_server_start(struct vx_http_server *server, struct vx_transport *transport) {
    struct h1_server *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    vx_h1_reader_init(&c->reader, transport, server->rt, VX_BY_CLIENT, &server->limits);
    vx_h1_sink_init(&c->sink, transport, server->rt);
    vx_timer_init(&c->timer, timed_out);
    vx_task_init(&c->task, run_task);
    vx_server_describe_client(&c->client, c->remote_text, server->rt, transport);
    c->base.drain = drain;
    c->base.cut = cut;
    c->base.state = state;
    transport->owner = c;
    transport->on_ready = on_ready;
    vx_server_connection_add(server, &c->base);
    c->state = H1_SERVER_IDLE;
    /* A client that connects and says nothing gets as long as for a head. */
    c->read_deadline_ns = server->rt->now_ns + server->timeouts.header_ns;
    vx_h1_server_arm(c);
    if (transport->readable)
        vx_runtime_defer(server->rt, &c->task);
    return true;
}
