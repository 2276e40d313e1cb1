/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out: heads, bodies, ends. Everything becomes bytes in the session's buffer inside the call that brings it, so
 * nothing of the owner's is copied twice and nothing waits in nghttp2. */
#include "proxy/http2/session_internal.h"

static void no_memory(struct vx_h2_session *s) {
    vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
}

/* Takes over the frame that nghttp2 has made next. Returns where it lies in s->out; NULL: there was none, or the session is
 * broken. */
static const uint8_t *take_frame(struct vx_h2_session *s) {
    const uint8_t *bytes;
    nghttp2_ssize n = nghttp2_session_mem_send2(s->ng, &bytes);
    if (n < 0)
        no_memory(s);
    char *room = n > 0 ? vx_h2_session_reserve(s, (size_t)n) : NULL;
    if (!room)
        return NULL;
    memcpy(room, bytes, (size_t)n);
    s->out.end += (uint32_t)n;
    return (const uint8_t *)room;
}

/* Whether nghttp2 has more to send behind this frame. CONTINUATION frames stand in none of its queues. */
static bool is_followed(const struct vx_h2_session *s, const uint8_t *frame) {
    bool head = frame[3] == NGHTTP2_HEADERS || frame[3] == NGHTTP2_CONTINUATION;
    bool whole = !head || frame[4] & NGHTTP2_FLAG_END_HEADERS;
    return !whole || nghttp2_session_get_outbound_queue_size(s->ng) > 0;
}

static void write_soon(struct vx_h2_session *s) {
    /* Where the transport takes nothing, its own event leads to the next write. */
    if (vx_buffer_len(&s->out) && s->transport->writable)
        vx_h2_session_soon(s);
}

void vx_h2_session_pump(struct vx_h2_session *s) {
    while (!s->broken && take_frame(s)) {
    }
    write_soon(s);
}

/* The same for a head that was submitted: nghttp2 is not asked once more whether there is nothing behind it. */
static void pump_head(struct vx_h2_session *s) {
    const uint8_t *frame;
    do {
        frame = s->broken ? NULL : take_frame(s);
    } while (frame && is_followed(s, frame));
    write_soon(s);
}

/* nghttp2 ends the connection for a stream too many where RFC 9113 §5.1.2 has that stream refused. So it knows of no limit:
 * receive.c holds the one that stands in our first frame. */
void vx_h2_session_announce_limit(struct vx_h2_session *s, uint32_t streams) {
    enum { ENTRY_BYTES = 6 };
    vx_h2_session_pump(s);
    if (s->broken || !s->out.block)
        return;
    uint8_t *frame = (uint8_t *)s->out.block->data + s->out.start;
    size_t end = VX_H2_FRAME_HEAD_BYTES + ((size_t)frame[1] << 8 | frame[2]);
    VX_ASSERT(frame[3] == NGHTTP2_SETTINGS && end <= vx_buffer_len(&s->out));
    for (size_t at = VX_H2_FRAME_HEAD_BYTES; at < end; at += ENTRY_BYTES)
        if (frame[at + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            for (unsigned i = 0; i < sizeof streams; i++)
                frame[at + 2 + i] = (uint8_t)(streams >> (24 - 8 * i));
}

/* nghttp2 asks how much of the body it may frame; the bytes themselves go by send_data. */
static nghttp2_ssize read_data(nghttp2_session *ng, int32_t id, uint8_t *to, size_t length, uint32_t *flags,
                               nghttp2_data_source *source, void *user) {
    (void)ng;
    (void)id;
    (void)to;
    (void)user;
    const struct vx_h2_stream *st = source->ptr;
    size_t n = st->out.len < length ? st->out.len : length;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == st->out.len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (!st->end_pushed)
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (nghttp2_ssize)n;
}

/* The end of a body whose bytes are all out. */
static nghttp2_ssize read_end(nghttp2_session *ng, int32_t id, uint8_t *to, size_t length, uint32_t *flags,
                              nghttp2_data_source *source, void *user) {
    (void)ng;
    (void)id;
    (void)to;
    (void)length;
    (void)source;
    (void)user;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return 0;
}

static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *user) {
    enum { FRAME_HEAD_BYTES = 9 };
    (void)ng;
    (void)frame;
    struct vx_h2_session *s = user;
    struct vx_h2_stream *st = source->ptr;
    char *room = vx_h2_session_reserve(s, FRAME_HEAD_BYTES + length);
    if (!room)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(room, head, FRAME_HEAD_BYTES);
    if (length)
        memcpy(room + FRAME_HEAD_BYTES, st->out.ptr, length);
    s->out.end += (uint32_t)(FRAME_HEAD_BYTES + length);
    st->out = vx_slice_skip(st->out, length);
    st->sent_bytes += FRAME_HEAD_BYTES + length;
    return 0;
}

static void reset_sent(struct vx_h2_session *s, const nghttp2_frame *frame) {
    uint32_t code = frame->rst_stream.error_code;
    vx_h2_gate_forgive(&s->gate, frame->hd.stream_id);
    /* For what the peer did on it; a malformed message has been counted when it came. */
    if (code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_FLOW_CONTROL_ERROR)
        vx_h2_session_glitch(s, VX_H2_GLITCH_BAD_FRAME);
}

/* The end of a message is out. Where its owner had let go before, what the peer still sends is not wanted. */
static void end_sent(struct vx_h2_session *s, int32_t id) {
    struct vx_h2_stream *st = vx_h2_stream_of(s, id);
    if (st)
        st->end_framed = true;
    else if (nghttp2_session_get_stream_remote_close(s->ng, id) == 0)
        nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    (void)ng;
    struct vx_h2_session *s = user;
    if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)
        vx_h2_glitches_work(&s->glitches);
    /* The other frames' bytes are counted where they are written; of a head only nghttp2 knows the length. */
    if (frame->hd.type == NGHTTP2_HEADERS) {
        struct vx_h2_stream *st = vx_h2_stream_of(s, frame->hd.stream_id);
        if (st)
            st->sent_bytes += 9 + frame->hd.length;
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
        end_sent(s, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        reset_sent(s, frame);
    return 0;
}

static int on_frame_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user) {
    (void)ng;
    (void)error;
    struct vx_h2_stream *st = vx_h2_stream_of(user, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_HEADERS && st)
        st->unsent = true;
    return 0;
}

void vx_h2_set_send_callbacks(nghttp2_session_callbacks *callbacks) {
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_sent);
}

size_t vx_h2_stream_room(struct vx_h2_stream *st) {
    struct vx_h2_session *s = st->session;
    if (vx_buffer_len(&s->out) >= H2_OUT_SOFT_BYTES)
        vx_h2_session_write(s);
    size_t waits = vx_buffer_len(&s->out);
    if (waits >= H2_OUT_SOFT_BYTES || s->broken)
        return 0;
    size_t room = H2_OUT_SOFT_BYTES - waits;
    int32_t stream = nghttp2_session_get_stream_remote_window_size(s->ng, st->id);
    int32_t connection = nghttp2_session_get_remote_window_size(s->ng);
    int32_t window = stream < connection ? stream : connection;
    if (window <= 0)
        return 0;
    return (size_t)window < room ? (size_t)window : room;
}

/* Frames st->out. Returns how much of it went. */
static size_t send_out(struct vx_h2_stream *st) {
    struct vx_h2_session *s = st->session;
    size_t before = st->out.len;
    nghttp2_data_provider2 provider = {.source = {.ptr = st}, .read_callback = read_data};
    int result = nghttp2_submit_data2(s->ng, NGHTTP2_FLAG_END_STREAM, st->id, &provider);
    if (result == NGHTTP2_ERR_NOMEM)
        no_memory(s);
    if (result == 0)
        vx_h2_session_pump(s);
    return before - st->out.len;
}

static void wait_for_room(struct vx_h2_stream *st) {
    if (vx_list_empty(&st->waiting))
        vx_list_push_back(&st->session->waiting, &st->waiting);
}

/* Whether END_STREAM goes with the next `n` bytes, `last` of those that push() was given. */
static bool ends_with(const struct vx_h2_stream *st, size_t n, bool last) {
    if (st->left.declared)
        return n == st->left.bytes && (last || st->ends_by_length);
    return last;
}

static size_t push_some(struct vx_h2_stream *st, struct vx_slice bytes, bool last) {
    size_t room = vx_h2_stream_room(st);
    if (room == 0)
        return 0;
    st->out = vx_slice(bytes.ptr, bytes.len < room ? bytes.len : room);
    st->end_pushed = ends_with(st, st->out.len, last && st->out.len == bytes.len);
    size_t taken = send_out(st);
    vx_body_left_count(&st->left, taken);
    st->local_ended = st->end_pushed && st->out.len == 0;
    st->end_pushed = false;
    st->out = VX_SLICE_NONE;
    return taken;
}

void vx_h2_stream_begin_body(struct vx_h2_stream *st, struct vx_body_left left, enum vx_http_version from) {
    st->left = left;
    /* Behind a length no trailers follow in HTTP/1, so the end can go with the last bytes. */
    st->ends_by_length = left.declared && from < VX_HTTP_2;
}

size_t vx_h2_stream_push(struct vx_h2_stream *st, struct vx_slice bytes, bool last) {
    struct vx_h2_session *s = st->session;
    bytes = vx_body_left_cut(&st->left, bytes);
    if (!s || st->closed || st->failed || st->local_ended || s->broken || !bytes.len)
        return 0;
    size_t taken = 0;
    while (taken < bytes.len) {
        size_t n = push_some(st, vx_slice_skip(bytes, taken), last);
        taken += n;
        if (n == 0)
            break;
    }
    if (taken < bytes.len && !st->closed)
        wait_for_room(st);
    return taken;
}

/* False: a field was too much for memory, or the head cannot be sent. */
static bool send_head(struct vx_h2_stream *st, const struct vx_h2_fields *fields, bool ended) {
    struct vx_h2_session *s = st->session;
    if (fields->no_memory) {
        vx_h2_stream_fail(st, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
        return false;
    }
    uint8_t flags = ended ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    int result = nghttp2_submit_headers(s->ng, flags, st->id, NULL, fields->items, fields->count, NULL);
    if (result == NGHTTP2_ERR_NOMEM)
        no_memory(s);
    if (result != 0)
        return false;
    st->local_ended = ended;
    pump_head(s);
    return !s->broken && !st->unsent;
}

bool vx_h2_stream_respond(struct vx_h2_stream *st, const struct vx_h2_fields *fields, bool ended) {
    if (!st->session || st->closed || st->failed || st->local_ended || st->session->broken)
        return false;
    if (send_head(st, fields, ended))
        return true;
    if (!st->closed && !st->session->broken) {
        st->resetting = true;
        nghttp2_submit_rst_stream(st->session->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
        vx_h2_session_soon(st->session);
    }
    return false;
}

void vx_h2_stream_finish(struct vx_h2_stream *st, const struct vx_headers *trailers) {
    struct vx_h2_session *s = st->session;
    if (!s || st->closed || st->failed || st->local_ended || st->left.bytes || s->broken)
        return;
    if (trailers && trailers->count) {
        struct vx_h2_fields fields;
        vx_h2_fields_init(&fields, st->arena, trailers->count);
        vx_h2_fields_add_headers(&fields, trailers);
        if (fields.count || fields.no_memory) {
            vx_h2_stream_respond(st, &fields, true);
            return;
        }
    }
    /* Even an empty frame of DATA waits while a window is shut: it is nghttp2's then, and refers to nothing of ours. */
    nghttp2_data_provider2 end = {.read_callback = read_end};
    if (nghttp2_submit_data2(s->ng, NGHTTP2_FLAG_END_STREAM, st->id, &end) == NGHTTP2_ERR_NOMEM)
        no_memory(s);
    st->local_ended = true;
    vx_h2_session_pump(s);
}

bool vx_h2_session_can_open(const struct vx_h2_session *s) {
    return !s->over && !s->broken && !s->ending && !s->shutting && !s->goaway_came &&
           s->stream_count < vx_h2_session_stream_limit(s) && nghttp2_session_check_request_allowed(s->ng);
}

uint32_t vx_h2_session_stream_limit(const struct vx_h2_session *s) {
    enum { GUESS = 100 };
    uint32_t limit = nghttp2_session_get_remote_settings(s->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return s->settings_came || limit < GUESS ? limit : GUESS;
}

static bool asks_for_head(const struct vx_h2_fields *fields) {
    for (size_t i = 0; i < fields->count && fields->items[i].name[0] == ':'; i++) {
        const nghttp2_nv *nv = &fields->items[i];
        if (nv->namelen == sizeof ":method" - 1 && memcmp(nv->name, ":method", nv->namelen) == 0)
            return nv->valuelen == 4 && memcmp(nv->value, "HEAD", 4) == 0;
    }
    return false;
}

bool vx_h2_session_open(struct vx_h2_session *s, struct vx_h2_stream *st, const struct vx_h2_fields *fields,
                        bool ended) {
    if (fields->no_memory)
        return false;
    uint8_t flags = ended ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    int32_t id = nghttp2_submit_headers(s->ng, flags, -1, NULL, fields->items, fields->count, st);
    if (id < 0) {
        if (id == NGHTTP2_ERR_NOMEM)
            no_memory(s);
        return false;
    }
    vx_h2_stream_begin(st, s, id);
    st->bodyless = asks_for_head(fields);
    st->local_ended = ended;
    pump_head(s);
    if (!st->unsent && !s->broken)
        return true;
    vx_h2_stream_release(st, NGHTTP2_CANCEL);
    return false;
}
