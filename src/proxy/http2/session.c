/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an HTTP/2 connection: see session.h.
 *
 * Invariants
 *   1. nghttp2 holds nothing to send between two calls of ours but ends of streams that wait for a window: what is
 *      submitted is turned into bytes at once, by vx_h2_session_pump, so it may point to memory that lives no longer
 *      than the call.
 *   2. Owners are told from `tell` alone, never from inside nghttp2 or from inside a call of theirs.
 *   3. One block is read at a time, then other connections have their turn: what a peer can make us do in one round
 *      is bounded.
 *   4. A stream is in `streams` from accept or open until it is released; `ready` and `waiting` hold only such.
 *   5. Once `over`, the transport is closed, no stream is left unfailed, and nothing is called any more. It is not over before
 *      a client's streams whose messages are complete have been read and released.
 *
 * state      event                                            next       function
 * running    both sides done, shut and no stream left         ending     settle
 * running    the peer broke the protocol, or was too much     ending     feed, vx_h2_session_glitch
 * running    transport broken, end of input, no memory        over       vx_h2_session_break, settle
 * ending     all written                                      lingering  settle
 * ending     transport broken                                 over       settle
 * lingering  end of input, LINGER_MS                          over       read_once, lingered
 */
#include "proxy/http2/session.h"

#include "proxy/http2/session_internal.h"

enum {
    READ_USUAL_BYTES = 0, /* a block of the worker's */
    READ_BULK_BYTES = 64 * 1024,
    WRITE_AT_BYTES = 48 * 1024, /* more than this is written before it grows further */
    FULL_FRAME_BYTES = 16 * 1024,
    CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024,
    LINGER_MS = 1000,
    LINGER_MAX_BYTES = 256 * 1024, /* of what still comes: who goes on sending is not waited for */
    CONTINUATIONS_MIN = 8,
    HEAD_BLOCK_MAX_BYTES = 4 * 1024 * 1024,
    ACKS_MAX = 10000, /* more than one read can ask for: they are sent behind each */
};

/* What a limit of nghttp2's own is set to where ours is the one that counts. */
static const uint64_t unlimited = UINT64_C(1) << 40;

void vx_h2_session_soon(struct vx_h2_session *s) {
    vx_runtime_defer(s->rt, &s->task);
}

void vx_h2_session_break(struct vx_h2_session *s, struct vx_error error) {
    if (!s->error.code)
        s->error = error;
    s->broken = true;
    vx_h2_session_soon(s);
}

char *vx_h2_session_reserve(struct vx_h2_session *s, size_t bytes) {
    if (s->out.block && vx_buffer_len(&s->out) == 0)
        s->out.start = s->out.end = 0;
    if (VX_LIKELY(vx_buffer_room(&s->out) >= bytes))
        return s->out.block->data + s->out.end;
    if (vx_buffer_len(&s->out) >= WRITE_AT_BYTES) {
        vx_h2_session_write(s);
        if (vx_buffer_len(&s->out) == 0)
            s->out.start = s->out.end = 0;
        if (vx_buffer_room(&s->out) >= bytes)
            return s->out.block->data + s->out.end;
    }
    size_t waiting = vx_buffer_len(&s->out), want = waiting + bytes;
    if (bytes >= FULL_FRAME_BYTES || want > s->rt->blocks->chunk_bytes) /* a body: there is more to it */
        want = waiting < WRITE_AT_BYTES ? WRITE_AT_BYTES + bytes : want * 2;
    if (!vx_buffer_renew(&s->out, s->rt->blocks, want)) {
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
        return NULL;
    }
    return s->out.block->data + s->out.end;
}

static struct vx_error lost(const struct vx_h2_session *s, bool orderly) {
    if (s->server)
        return vx_error(VX_ERR_CLIENT_GONE, false, "the connection is gone");
    return vx_error(orderly ? VX_ERR_BACKEND_CLOSED : VX_ERR_BACKEND_RESET, false, "the connection is gone");
}

void vx_h2_session_write(struct vx_h2_session *s) {
    if (s->broken || !s->transport->writable || vx_buffer_len(&s->out) == 0)
        return;
    struct vx_slice waiting = vx_buffer_slice(&s->out);
    ssize_t n = s->transport->ops->write(s->transport, &waiting, 1);
    if (n == VX_IO_FAILED) {
        vx_h2_session_break(s, lost(s, false));
    } else if (n > 0) {
        s->out.start += (uint32_t)n;
        s->written += (uint64_t)n;
        s->moved = true;
    }
}

/* The connection ends, with a word about it to the peer. */
static void end_for(struct vx_h2_session *s, nghttp2_error_code code, struct vx_error error) {
    if (s->ending || s->broken)
        return;
    s->error = error;
    s->ending = true;
    if (nghttp2_session_terminate_session(s->ng, code) != 0)
        s->broken = true;
    vx_h2_session_soon(s);
}

static struct vx_error misbehaved(const struct vx_h2_session *s, const char *detail) {
    return vx_error(s->server ? VX_ERR_BAD_REQUEST : VX_ERR_BAD_RESPONSE, false, detail);
}

void vx_h2_session_end_for(struct vx_h2_session *s, nghttp2_error_code code, const char *detail) {
    end_for(s, code, misbehaved(s, detail));
}

/* One that ends the connection counts as such where the limit alone would not have. */
static bool glitch(struct vx_h2_session *s, enum vx_h2_glitch kind, bool fatal, const char *detail) {
    if (s->ending)
        return false;
    bool last = !vx_h2_glitches_take(&s->glitches, s->rt->now_ns) || fatal;
    if (s->glitched)
        s->glitched(s, kind, last);
    if (last)
        vx_h2_session_end_for(s, NGHTTP2_ENHANCE_YOUR_CALM, detail);
    return !last;
}

void vx_h2_session_control_frame(struct vx_h2_session *s) {
    if (vx_h2_glitches_control(&s->glitches))
        vx_h2_session_glitch(s, VX_H2_GLITCH_CONTROL);
}

bool vx_h2_session_glitch(struct vx_h2_session *s, enum vx_h2_glitch kind) {
    return glitch(s, kind, false, "too many glitches");
}

/* Gives nghttp2 what came. */
static void feed(struct vx_h2_session *s, struct vx_slice bytes) {
    s->moved = true;
    nghttp2_ssize result = s->server
                               ? vx_h2_gate_feed(s, bytes)
                               : nghttp2_session_mem_recv2(s->ng, (const uint8_t *)bytes.ptr, bytes.len);
    s->received += bytes.len;
    if (result >= 0 || s->ending)
        return;
    switch (result) {
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        glitch(s, VX_H2_GLITCH_CONTINUATION, true, "a head in too many pieces");
        break;
    case NGHTTP2_ERR_FLOODED:
        glitch(s, VX_H2_GLITCH_CONTROL, true, "a flood of frames that want answers");
        break;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        vx_h2_session_end_for(s, NGHTTP2_PROTOCOL_ERROR, "no HTTP/2 preface");
        break;
    case NGHTTP2_ERR_NOMEM:
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
        break;
    default:
        vx_h2_session_end_for(s, NGHTTP2_PROTOCOL_ERROR, "a frame that breaks the protocol");
        break;
    }
}

/* Calls the owner of `st` for one thing. It may be gone afterwards. */
static void tell_one(struct vx_h2_session *s, struct vx_h2_stream *st, unsigned what, uint64_t now_ns) {
    switch (what) {
    case VX_H2_PENDING_HEAD:
        s->ops->on_head(st, now_ns);
        break;
    case VX_H2_PENDING_READABLE:
        st->waits_body = false;
        s->ops->on_readable(st, now_ns);
        break;
    case VX_H2_PENDING_WRITABLE:
        s->ops->on_writable(st, now_ns);
        break;
    default:
        s->ops->on_failed(st, now_ns);
        break;
    }
}

static void append_all(struct vx_list *to, struct vx_list *from) {
    for (struct vx_list *node; (node = vx_list_pop_front(from));)
        vx_list_push_back(to, node);
}

/* Tells owners what is pending: what was so when it began, so that it ends. */
static void tell(struct vx_h2_session *s, uint64_t now_ns) {
    struct vx_list turn;
    vx_list_init(&turn);
    append_all(&turn, &s->ready);
    for (struct vx_list *node; (node = vx_list_pop_front(&turn));) {
        struct vx_h2_stream *st = VX_CONTAINER_OF(node, struct vx_h2_stream, ready);
        unsigned what = st->pending & -st->pending;
        st->pending &= (uint8_t)~what;
        if (st->pending)
            vx_list_push_front(&turn, node);
        tell_one(s, st, what, now_ns);
    }
}

/* Streams that waited for room and have some now get their turn, the longest waiting first. Those that have none keep their
 * places, before those that have had a turn: all have their share of the connection's window. True: others may have room too
 * once the buffer is written. */
static bool wake(struct vx_h2_session *s, uint64_t now_ns) {
    struct vx_list turn, roomless;
    bool more = false;
    vx_list_init(&turn);
    vx_list_init(&roomless);
    append_all(&turn, &s->waiting);
    s->window_opened = false;
    for (struct vx_list *node; !more && (node = vx_list_pop_front(&turn));) {
        struct vx_h2_stream *st = VX_CONTAINER_OF(node, struct vx_h2_stream, waiting);
        if (vx_h2_stream_room(st) > 0)
            s->ops->on_writable(st, now_ns);
        else
            vx_list_push_back(&roomless, node);
        more = s->broken || vx_buffer_len(&s->out) >= H2_OUT_SOFT_BYTES;
    }
    append_all(&roomless, &turn);
    append_all(&roomless, &s->waiting);
    append_all(&s->waiting, &roomless);
    return more;
}

/* A stream of a client's both of whose messages are through: what came is to be read, whatever becomes of the connection. */
static bool is_whole(const struct vx_h2_session *s, const struct vx_h2_stream *st) {
    return !s->server && st->remote_ended && st->local_ended && !st->failed;
}

/* No stream gets anything any more. Returns how many are whole. */
static uint32_t fail_streams(struct vx_h2_session *s, uint64_t now_ns) {
    uint32_t whole = 0;
    for (struct vx_list *at = s->streams.next; at != &s->streams; at = at->next) {
        struct vx_h2_stream *st = VX_CONTAINER_OF(at, struct vx_h2_stream, link);
        if (is_whole(s, st) || st->failed)
            continue;
        st->cut = !st->error.code;
        vx_h2_stream_fail(st, s->error);
    }
    tell(s, now_ns);
    for (struct vx_list *at = s->streams.next; at != &s->streams; at = at->next)
        whole += is_whole(s, VX_CONTAINER_OF(at, struct vx_h2_stream, link));
    return whole;
}

static void tell_shut(struct vx_h2_session *s, uint64_t now_ns) {
    if (s->ops->on_shut && !s->shut_told)
        s->ops->on_shut(s, now_ns);
    s->shut_told = true;
}

static void finish(struct vx_h2_session *s, bool reset, uint64_t now_ns) {
    if (fail_streams(s, now_ns)) {
        s->broken = true; /* so the release of each leads here again, by settle */
        tell_shut(s, now_ns);
        return;
    }
    s->over = true;
    vx_timer_remove(&s->rt->wheel, &s->linger);
    s->transport->ops->close(s->transport, reset);
    vx_buffer_release(&s->out);
    vx_task_cancel(&s->task);
    vx_task_cancel(&s->read_task);
    s->ops->on_over(s, &s->error, now_ns);
}

/* All is said: our side shuts, and what still comes is thrown away for a moment, so that a reset does not take our last
 * frames from the peer. */
static void linger(struct vx_h2_session *s, uint64_t now_ns) {
    s->lingering = true;
    fail_streams(s, now_ns);
    s->transport->ops->shut(s->transport);
    vx_timer_set(&s->rt->wheel, &s->linger, now_ns + (uint64_t)LINGER_MS * 1000000);
    if (s->transport->readable)
        vx_runtime_defer_next(s->rt, &s->read_task);
    tell_shut(s, now_ns);
}

static void settle(struct vx_h2_session *s, uint64_t now_ns) {
    if (s->broken) {
        finish(s, true, now_ns);
        return;
    }
    if (s->lingering)
        return;
    if (!s->ending && !nghttp2_session_want_read(s->ng) && !nghttp2_session_want_write(s->ng)) {
        s->ending = true;
        if (!s->error.code && s->stream_count)
            s->error = misbehaved(s, "a frame that breaks the protocol");
    }
    if (s->shutting && !s->stream_count)
        s->ending = true;
    if (s->ending && !vx_h2_session_pending(s))
        linger(s, now_ns);
}

/* The owner's own events, each once for what led to it. */
static void tell_owner(struct vx_h2_session *s, uint64_t now_ns) {
    if (s->goaway_came && !s->goaway_told) {
        s->goaway_told = true;
        if (s->ops->on_goaway)
            s->ops->on_goaway(s, now_ns);
    }
    bool capacity = s->capacity_moved;
    s->capacity_moved = false;
    if (capacity && s->ops->on_capacity && !s->ending)
        s->ops->on_capacity(s, now_ns);
}

/* Sends what there is, and lets the streams that wait for room send on. True: there is more to do. */
static bool send_on(struct vx_h2_session *s, uint64_t now_ns) {
    bool more = false;
    vx_h2_session_pump(s);
    vx_h2_session_write(s);
    if (!vx_list_empty(&s->waiting) && (s->window_opened || s->transport->writable)) {
        more = wake(s, now_ns);
        vx_h2_session_pump(s); /* so that nghttp2 knows, when settle asks it, that a last head is out */
        vx_h2_session_write(s);
    }
    return more && s->transport->writable;
}

static void run_task(struct vx_task *task, uint64_t now_ns) {
    struct vx_h2_session *s = VX_CONTAINER_OF(task, struct vx_h2_session, task);
    bool more = false;
    tell(s, now_ns);
    if (!s->broken && !s->lingering) {
        tell_owner(s, now_ns);
        more = send_on(s, now_ns);
        if (s->moved && s->ops->on_progress)
            s->ops->on_progress(s, now_ns);
        s->moved = false;
    }
    if (vx_buffer_len(&s->out) == 0)
        vx_buffer_release(&s->out);
    /* What asked for this task meanwhile has been served by now, but for what is new for owners. */
    vx_task_cancel(&s->task);
    if (more || !vx_list_empty(&s->ready))
        vx_runtime_defer_next(s->rt, &s->task);
    else if (s->capacity_moved && s->ops->on_capacity)
        vx_h2_session_soon(s);
    settle(s, now_ns);
}

static void throw_away(struct vx_h2_session *s, uint64_t now_ns) {
    char scrap[16384];
    ssize_t n = s->transport->ops->read(s->transport, scrap, sizeof scrap);
    s->thrown_bytes += n > 0 ? (uint32_t)n : 0;
    if (n == 0 || n == VX_IO_FAILED || s->thrown_bytes > LINGER_MAX_BYTES)
        finish(s, false, now_ns);
    else if (s->transport->readable)
        vx_runtime_defer_next(s->rt, &s->read_task);
}

/* False: there is nothing to read, or it must wait. */
static bool may_read(const struct vx_h2_session *s) {
    return !s->over && !s->broken && s->transport->readable &&
           (s->lingering || (!s->ending && vx_buffer_len(&s->out) < H2_OUT_HARD_BYTES));
}

static void read_once(struct vx_h2_session *s, uint64_t now_ns) {
    if (!may_read(s))
        return;
    if (s->lingering) {
        throw_away(s, now_ns);
        return;
    }
    struct vx_block *block = vx_block_take(s->rt->blocks, s->read_bytes);
    if (!block) {
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
        return;
    }
    ssize_t n = s->transport->ops->read(s->transport, block->data, block->bytes);
    if (n > 0) {
        s->reading = block;
        feed(s, vx_slice(block->data, (size_t)n));
        s->reading = NULL;
        s->read_bytes = (size_t)n == block->bytes ? READ_BULK_BYTES : READ_USUAL_BYTES;
    } else if (n != VX_IO_AGAIN) {
        vx_h2_session_break(s, lost(s, n == 0));
    }
    vx_block_drop(block);
    tell(s, now_ns);
    vx_h2_session_soon(s);
    if (may_read(s))
        vx_runtime_defer_next(s->rt, &s->read_task);
}

static void read_on(struct vx_task *task, uint64_t now_ns) {
    read_once(VX_CONTAINER_OF(task, struct vx_h2_session, read_task), now_ns);
}

static void lingered(struct vx_timer *timer, uint64_t now_ns) {
    finish(VX_CONTAINER_OF(timer, struct vx_h2_session, linger), false, now_ns);
}

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    struct vx_h2_session *s = t->owner;
    if (ready & VX_FAILED) {
        vx_h2_session_break(s, s->server ? vx_error(VX_ERR_CLIENT_GONE, false, t->error.detail) : t->error);
        return;
    }
    if (ready & VX_WRITABLE)
        vx_h2_session_soon(s);
    if ((ready & VX_WRITABLE) && t->readable && vx_buffer_len(&s->out) >= H2_OUT_HARD_BYTES)
        vx_runtime_defer_next(s->rt, &s->read_task);
    if (ready & (VX_READABLE | VX_PEER_SHUT))
        read_once(s, now_ns);
}

static uint32_t continuations(const struct vx_h1_limits *limits) {
    enum { FRAME_BYTES = 16384 };
    uint32_t frames = limits->header_bytes / FRAME_BYTES + 2;
    return frames > CONTINUATIONS_MIN ? frames : CONTINUATIONS_MIN;
}

static nghttp2_option *make_option(const struct vx_h2_options *options) {
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    /* It would end the connection for a malformed message, and checks what h2_meaning.c checks anyway. */
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, HEAD_BLOCK_MAX_BYTES);
    nghttp2_option_set_max_continuations(option, continuations(options->limits));
    nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
    nghttp2_option_set_stream_reset_rate_limit(option, unlimited, unlimited);
    nghttp2_option_set_glitch_rate_limit(option, unlimited, unlimited);
    return option;
}

static bool make_session(struct vx_h2_session *s, const struct vx_h2_options *options) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option = make_option(options);
    if (!option)
        return false;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        nghttp2_option_del(option);
        return false;
    }
    vx_h2_set_receive_callbacks(callbacks);
    vx_h2_set_send_callbacks(callbacks);
    int result = s->server ? nghttp2_session_server_new2(&s->ng, callbacks, s, option)
                           : nghttp2_session_client_new2(&s->ng, callbacks, s, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return result == 0;
}

static bool submit_settings(struct vx_h2_session *s, const struct vx_h2_options *options) {
    nghttp2_settings_entry entries[6];
    size_t count = 0;
    entries[count++] =
        (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options->windows.stream_bytes};
    entries[count++] =
        (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options->limits->header_bytes};
    if (s->server) {
        entries[count++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, INT32_MAX}; /* see send.c */
        entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
        entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
    } else {
        entries[count++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    }
    return nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, entries, count) == 0 &&
           nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES) == 0;
}

bool vx_h2_session_start(struct vx_h2_session *s, struct vx_transport *transport, struct vx_runtime *rt,
                         const struct vx_h2_options *options, struct vx_slice first) {
    *s = (struct vx_h2_session){
        .ops = options->ops,
        .transport = transport,
        .rt = rt,
        .limits = options->limits,
        .glitched = options->glitched,
        .peer_limit = options->concurrent_streams,
        .server = options->server,
    };
    vx_list_init(&s->streams);
    vx_list_init(&s->ready);
    vx_list_init(&s->waiting);
    vx_task_init(&s->task, run_task);
    vx_task_init(&s->read_task, read_on);
    vx_timer_init(&s->linger, lingered);
    vx_h2_flow_init(&s->flow, &options->windows);
    vx_h2_gate_init(&s->gate, sizeof NGHTTP2_CLIENT_MAGIC - 1);
    vx_h2_glitches_init(&s->glitches, options->glitches_a_minute, rt->now_ns);
    if (!make_session(s, options))
        return false;
    if (!submit_settings(s, options)) {
        nghttp2_session_del(s->ng);
        return false;
    }
    transport->owner = s;
    transport->on_ready = on_ready;
    if (s->server)
        vx_h2_session_announce_limit(s, s->peer_limit);
    if (first.len)
        feed(s, first);
    if (transport->readable)
        vx_runtime_defer(rt, &s->read_task);
    vx_h2_session_soon(s);
    return true;
}

void vx_h2_session_free(struct vx_h2_session *s) {
    if (!s->over) {
        s->transport->ops->close(s->transport, false);
        vx_buffer_release(&s->out);
        vx_timer_remove(&s->rt->wheel, &s->linger);
    }
    vx_task_cancel(&s->task);
    vx_task_cancel(&s->read_task);
    nghttp2_session_del(s->ng);
    s->ng = NULL;
}

void vx_h2_session_end(struct vx_h2_session *s, struct vx_error error) {
    if (!s->over)
        end_for(s, NGHTTP2_NO_ERROR, error);
}

void vx_h2_session_shut(struct vx_h2_session *s) {
    if (s->over || s->ending)
        return;
    s->shutting = true;
    int32_t last = nghttp2_session_get_last_proc_stream_id(s->ng);
    if (nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        s->broken = true;
    vx_h2_session_soon(s);
}

void vx_h2_session_announce_shut(struct vx_h2_session *s) {
    if (s->over || s->ending)
        return;
    if (nghttp2_submit_shutdown_notice(s->ng) != 0 ||
        nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, vx_h2_farewell) != 0)
        s->broken = true;
    vx_h2_session_soon(s);
}

void vx_h2_session_cut(struct vx_h2_session *s, struct vx_error error) {
    if (!s->over)
        vx_h2_session_break(s, error);
}

void vx_h2_session_ping(struct vx_h2_session *s) {
    if (nghttp2_submit_ping(s->ng, NGHTTP2_FLAG_NONE, NULL) != 0)
        s->broken = true;
    vx_h2_session_soon(s);
}
