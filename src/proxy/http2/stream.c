/* SPDX-License-Identifier: Apache-2.0 */
/* One stream of a session: what has come for it and is not consumed, what its owner is to be told. */
#include "proxy/http2/session_internal.h"

enum { REFERENCE_MIN_BYTES = 4096 }; /* smaller pieces are copied: they would hold a whole block each */

void vx_h2_stream_begin(struct vx_h2_stream *st, struct vx_h2_session *s, int32_t id) {
    st->session = s;
    st->id = id;
    st->window = s->flow.windows.stream_bytes;
    vx_list_init(&st->ready);
    vx_list_init(&st->waiting);
    vx_list_init(&st->link);
    vx_list_push_back(&s->streams, &st->link);
    s->stream_count++;
}

struct vx_h2_stream *vx_h2_stream_of(struct vx_h2_session *s, int32_t id) {
    if (!s->latest || s->latest->id != id)
        s->latest = id ? nghttp2_session_get_stream_user_data(s->ng, id) : NULL;
    return s->latest;
}

void vx_h2_stream_pend(struct vx_h2_stream *st, enum vx_h2_pending what) {
    st->pending |= (uint8_t)what;
    if (vx_list_empty(&st->ready))
        vx_list_push_back(&st->session->ready, &st->ready);
    vx_h2_session_soon(st->session);
}

static void release_received(struct vx_h2_received *in) {
    vx_buffer_release(&in->first);
    in->behind_count = 0;
}

void vx_h2_stream_fail(struct vx_h2_stream *st, struct vx_error error) {
    if (st->failed)
        return;
    st->failed = true;
    if (!st->error.code)
        st->error = error;
    st->pending = 0;
    vx_list_remove(&st->waiting);
    release_received(&st->in);
    vx_h2_stream_pend(st, VX_H2_PENDING_FAILED);
}

static size_t received_len(const struct vx_h2_received *in) {
    size_t len = vx_buffer_len(&in->first);
    for (uint32_t i = 0; i < in->behind_count; i++)
        len += in->behind[i].end - in->behind[i].start;
    return len;
}

/* Copies all pieces, one behind the other. */
static void copy_received(const struct vx_h2_received *in, char *to) {
    if (!in->first.block)
        return;
    const char *data = in->first.block->data;
    size_t at = vx_buffer_len(&in->first);
    memcpy(to, data + in->first.start, at);
    for (uint32_t i = 0; i < in->behind_count; i++) {
        size_t len = in->behind[i].end - in->behind[i].start;
        memcpy(to + at, data + in->behind[i].start, len);
        at += len;
    }
}

/* Sees to room for `bytes` behind what has not been consumed, in memory that nobody else looks at. */
static bool make_room(struct vx_h2_stream *st, size_t bytes) {
    struct vx_buffer *first = &st->in.first;
    bool ours = first->block && first->block->holders == 1 && !st->in.behind_count;
    if (ours && vx_buffer_len(first) == 0)
        first->start = first->end = 0;
    if (ours && vx_buffer_room(first) >= bytes)
        return true;
    size_t waiting = received_len(&st->in);
    struct vx_block *block = vx_block_take(st->session->rt->blocks, (waiting + bytes) * (waiting ? 2 : 1));
    if (!block)
        return false;
    copy_received(&st->in, block->data);
    release_received(&st->in);
    *first = (struct vx_buffer){block, 0, (uint32_t)waiting};
    return true;
}

/* Takes `bytes` as they lie in the block that is being read. False: they must be copied. */
static bool refer(struct vx_h2_stream *st, struct vx_slice bytes) {
    enum { PIECES = sizeof st->in.behind / sizeof *st->in.behind };
    struct vx_h2_received *in = &st->in;
    struct vx_block *from = st->session->reading;
    bool first = vx_buffer_len(&in->first) == 0;
    if (!from ||
        (first ? bytes.len < REFERENCE_MIN_BYTES : in->first.block != from || in->behind_count == PIECES))
        return false;
    uint32_t start = (uint32_t)(bytes.ptr - from->data), end = start + (uint32_t)bytes.len;
    if (first) {
        release_received(in);
        in->first = (struct vx_buffer){vx_block_hold(from), start, end};
    } else {
        in->behind[in->behind_count++] = (struct vx_h2_piece){start, end};
    }
    return true;
}

bool vx_h2_stream_receive(struct vx_h2_stream *st, struct vx_slice bytes) {
    if (!refer(st, bytes)) {
        if (!make_room(st, bytes.len))
            return false;
        memcpy(st->in.first.block->data + st->in.first.end, bytes.ptr, bytes.len);
        st->in.first.end += (uint32_t)bytes.len;
    }
    st->received_bytes += bytes.len;
    if (st->waits_body)
        vx_h2_stream_pend(st, VX_H2_PENDING_READABLE);
    return true;
}

enum vx_pull vx_h2_stream_pull(struct vx_h2_stream *st, struct vx_slice *bytes) {
    st->waits_body = false;
    if (st->failed)
        return VX_PULL_FAILED;
    if (vx_buffer_len(&st->in.first)) {
        *bytes = vx_buffer_slice(&st->in.first);
        return VX_PULL_BYTES;
    }
    release_received(&st->in);
    if (st->remote_ended)
        return VX_PULL_END;
    st->waits_body = true;
    return VX_PULL_WAIT;
}

bool vx_h2_stream_is_whole(const struct vx_h2_stream *st) {
    return st->remote_ended && !st->trailers && !st->in.behind_count;
}

/* The peer may send again what was consumed, and more where the path can hold more. */
static void open_window(struct vx_h2_stream *st, size_t bytes) {
    struct vx_h2_session *s = st->session;
    int result = nghttp2_session_consume_stream(s->ng, st->id, bytes);
    uint32_t more = result == 0 ? vx_h2_flow_grow(&s->flow, st->window) : 0;
    if (more) {
        st->window += more;
        result = nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, st->id, (int32_t)st->window);
    }
    if (result == NGHTTP2_ERR_NOMEM)
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
    vx_h2_session_soon(s);
}

void vx_h2_stream_consume(struct vx_h2_stream *st, size_t bytes) {
    struct vx_h2_received *in = &st->in;
    in->first.start += (uint32_t)bytes;
    if (vx_buffer_len(&in->first) == 0 && in->behind_count) {
        in->first.start = in->behind[0].start;
        in->first.end = in->behind[0].end;
        in->behind_count--;
        memmove(in->behind, in->behind + 1, in->behind_count * sizeof *in->behind);
    }
    if (!st->remote_ended && !st->closed && bytes)
        open_window(st, bytes);
}

void vx_h2_stream_again(struct vx_h2_stream *st) {
    st->waits_body = true;
    vx_h2_stream_pend(st, VX_H2_PENDING_READABLE);
    vx_h2_session_soon(st->session);
}

void vx_h2_stream_release(struct vx_h2_stream *st, nghttp2_error_code code) {
    struct vx_h2_session *s = st->session;
    if (!s)
        return;
    st->session = NULL;
    vx_list_remove(&st->link);
    vx_list_remove(&st->ready);
    vx_list_remove(&st->waiting);
    release_received(&st->in);
    vx_h2_flow_stream_over(&s->flow, st->window);
    s->stream_count--;
    if (s->parsing == st)
        s->parsing = NULL;
    if (s->latest == st)
        s->latest = NULL;
    if (s->over)
        return;
    vx_h2_session_soon(s);
    if (st->closed)
        return;
    nghttp2_session_set_stream_user_data(s->ng, st->id, NULL);
    /* An end that waits for the peer's window still goes out, and then what is left of the stream (send.c). */
    bool ends_later = st->local_ended && !st->end_framed && !st->failed && code == NGHTTP2_NO_ERROR;
    if (!st->resetting && !ends_later &&
        nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, code) != 0)
        vx_h2_session_break(s, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
    vx_h2_session_pump(s);
}
