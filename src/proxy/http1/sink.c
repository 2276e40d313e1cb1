/* SPDX-License-Identifier: Apache-2.0 */
/* See sink.h. */
#include "proxy/http1/sink.h"

#include "core/http/h1_write.h"

enum {
    COPY_MAX_BYTES = 4096,  /* pieces up to this size are copied behind what waits: cheaper than an iovec */
    CHUNK_LINES_BYTES = 24, /* size line and the CRLF behind the data */
    MOVE_MIN_BYTES = 64 * 1024,
    MOVE_STEP_BYTES = 1024 * 1024,
};

void vx_h1_sink_init(struct vx_h1_sink *s, struct vx_transport *transport, struct vx_runtime *rt) {
    *s = (struct vx_h1_sink){.transport = transport, .rt = rt, .finished = true};
}

/* What waits goes on in a block with room for `bytes` more. */
static __attribute__((noinline)) char *change_block(struct vx_h1_sink *s, size_t bytes) {
    if (!vx_buffer_renew(&s->out, s->rt->blocks, vx_buffer_len(&s->out) + bytes))
        return NULL;
    return s->out.block->data + s->out.end;
}

char *vx_h1_sink_reserve(struct vx_h1_sink *s, size_t bytes) {
    struct vx_buffer *out = &s->out;
    if (!out->block) {
        *out = (struct vx_buffer){vx_block_take(s->rt->blocks, bytes), 0, 0};
        return out->block ? out->block->data : NULL;
    }
    if (vx_buffer_len(out) == 0)
        out->start = out->end = 0;
    if (VX_UNLIKELY(vx_buffer_room(out) < bytes))
        return change_block(s, bytes);
    return out->block->data + out->end;
}

bool vx_h1_sink_insert(struct vx_h1_sink *s, uint64_t position, struct vx_slice bytes) {
    if (position < s->sent || !vx_h1_sink_reserve(s, bytes.len))
        return false;
    char *at = s->out.block->data + s->out.start + (position - s->sent);
    memmove(at + bytes.len, at, s->out.block->data + s->out.end - at);
    memcpy(at, bytes.ptr, bytes.len);
    s->out.end += (uint32_t)bytes.len;
    return true;
}

void vx_h1_sink_begin_body(struct vx_h1_sink *s, enum vx_framing framing, uint64_t body_bytes) {
    s->framing = (uint8_t)framing;
    s->left = vx_body_left_of(framing, body_bytes);
    s->chunk_left = 0;
    s->finished = false;
    s->wants_room = false;
}

void vx_h1_sink_begin_tunnel(struct vx_h1_sink *s) {
    vx_h1_sink_begin_body(s, VX_BODY_NONE, 0);
    s->tunnel = true;
}

/* Writes `count` slices of which the first is what waits in `out`; returns how many bytes of the others went. */
static inline size_t write_through(struct vx_h1_sink *s, struct vx_slice *slices, unsigned count) {
    if (!s->transport->writable)
        return 0;
    ssize_t n = s->transport->ops->write(s->transport, slices, count);
    if (n == VX_IO_FAILED)
        s->failed = true;
    if (n <= 0)
        return 0;
    s->sent += (uint64_t)n;
    size_t waiting = vx_buffer_len(&s->out);
    size_t ours = (size_t)n < waiting ? (size_t)n : waiting;
    s->out.start += (uint32_t)ours;
    return (size_t)n - ours;
}

static void shut(struct vx_h1_sink *s) {
    if (!s->finished || s->failed || s->shut || vx_h1_sink_pending(s))
        return;
    s->shut = true;
    s->transport->ops->shut(s->transport);
}

void vx_h1_sink_flush(struct vx_h1_sink *s) {
    if (!s->failed && vx_buffer_len(&s->out)) {
        struct vx_slice waiting = vx_buffer_slice(&s->out);
        write_through(s, &waiting, 1);
    }
    if (VX_UNLIKELY(s->tunnel))
        shut(s);
}

static void append(struct vx_h1_sink *s, struct vx_slice bytes) {
    memcpy(s->out.block->data + s->out.end, bytes.ptr, bytes.len);
    s->out.end += (uint32_t)bytes.len;
}

static bool chunked(const struct vx_h1_sink *s) {
    return s->framing == VX_BODY_CHUNKED;
}

/* The piece goes behind what waits. The caller made sure of the room. */
static void push_copy(struct vx_h1_sink *s, struct vx_slice bytes) {
    if (chunked(s))
        s->out.end += (uint32_t)vx_chunk_head(s->out.block->data + s->out.end, bytes.len);
    append(s, bytes);
    if (chunked(s))
        append(s, VX_SLICE("\r\n"));
}

/* The piece goes out from where it lies; returns how much of it went. */
static size_t push_reference(struct vx_h1_sink *s, struct vx_slice bytes) {
    struct vx_slice slices[3];
    unsigned count = 0;
    if (chunked(s)) {
        if (s->chunk_left == 0) {
            s->out.end += (uint32_t)vx_chunk_head(s->out.block->data + s->out.end, bytes.len);
            s->chunk_left = bytes.len;
        }
        if (bytes.len > s->chunk_left)
            bytes.len = s->chunk_left;
    }
    if (vx_buffer_len(&s->out))
        slices[count++] = vx_buffer_slice(&s->out);
    slices[count++] = bytes;
    bool ends_chunk = chunked(s) && bytes.len == s->chunk_left;
    if (ends_chunk)
        slices[count++] = VX_SLICE("\r\n");
    size_t went = write_through(s, slices, count);
    size_t taken = went < bytes.len ? went : bytes.len;
    if (chunked(s)) {
        s->chunk_left -= taken;
        if (ends_chunk && taken == bytes.len) {
            if (vx_buffer_len(&s->out) == 0)
                s->out.start = s->out.end = 0;
            append(s, vx_slice_skip(VX_SLICE("\r\n"), went - taken));
        }
    }
    return taken;
}

/* Nothing more is taken while bytes wait that the transport does not take. */
static bool blocked(const struct vx_h1_sink *s) {
    return !s->transport->writable && vx_h1_sink_pending(s);
}

static inline size_t push_some(struct vx_h1_sink *s, struct vx_slice bytes) {
    if (blocked(s) || !bytes.len)
        return 0;
    if (!vx_h1_sink_reserve(s, CHUNK_LINES_BYTES)) {
        /* There is room, so no event would have the user try again. */
        s->failed = s->no_memory = true;
        return 0;
    }
    bool fits = vx_buffer_room(&s->out) >= bytes.len + CHUNK_LINES_BYTES;
    if (bytes.len > COPY_MAX_BYTES || s->chunk_left || !fits)
        return push_reference(s, bytes);
    push_copy(s, bytes);
    return bytes.len;
}

size_t vx_h1_sink_push(struct vx_h1_sink *s, struct vx_slice bytes) {
    if (VX_UNLIKELY(s->failed))
        return 0;
    bytes = vx_body_left_cut(&s->left, bytes);
    bool in_chunk = s->chunk_left > 0;
    size_t taken = push_some(s, bytes);
    /* The chunk that a full connection had cut is over: what is behind it goes on as one of its own, or nobody would
     * be told of room that was there all the time. */
    if (in_chunk && !s->chunk_left && taken < bytes.len)
        taken += push_some(s, vx_slice_skip(bytes, taken));
    vx_body_left_count(&s->left, taken);
    if (taken < bytes.len)
        s->wants_room = true;
    return taken;
}

void vx_h1_sink_finish(struct vx_h1_sink *s, struct vx_headers *trailers) {
    if (s->failed || s->finished)
        return;
    if (chunked(s)) {
        size_t bound = vx_h1_last_chunk_max(trailers);
        char *room = vx_h1_sink_reserve(s, bound);
        if (!room) {
            s->failed = s->no_memory = true;
            return;
        }
        vx_h1_sink_commit(s, vx_h1_write_last_chunk(room, bound, trailers));
    }
    s->finished = s->left.bytes == 0;
}

/* Both sides plain, the bytes the same on both, and much of them left. */
static bool can_move(const struct vx_h1_reader *r, const struct vx_h1_sink *s) {
    if (!r->left.declared || r->left.bytes < MOVE_MIN_BYTES || vx_buffer_len(&r->in))
        return false;
    if (s->failed || chunked(s) || (s->left.declared && s->left.bytes < r->left.bytes))
        return false;
    return !r->transport->tls && !s->transport->tls && (s->tunnel || s->framing != VX_BODY_NONE);
}

static void count_moved(struct vx_h1_reader *r, struct vx_h1_sink *s, uint64_t n) {
    vx_body_left_count(&r->left, n);
    r->received += n;
    r->ended = r->left.bytes == 0;
    s->sent += n;
    vx_body_left_count(&s->left, n);
}

/* As vx_h1_move, but for what it leaves with the reader. */
static int64_t move(struct vx_h1_reader *r, struct vx_h1_sink *s) {
    if (!can_move(r, s))
        return -1;
    vx_h1_sink_flush(s);
    if (s->failed || !s->transport->writable || vx_buffer_len(&s->out)) {
        s->wants_room = true;
        return 0;
    }
    size_t step = r->left.bytes < MOVE_STEP_BYTES ? r->left.bytes : MOVE_STEP_BYTES;
    ssize_t n = r->transport->ops->move(r->transport, s->transport, step);
    if (n == VX_IO_AGAIN) {
        s->wants_room = !s->transport->writable || s->transport->pending_bytes > 0;
        return 0;
    }
    if (n <= 0)
        return -1; /* the copying path meets the same end or error and reports it */
    count_moved(r, s, (uint64_t)n);
    return n;
}

int64_t vx_h1_move(struct vx_h1_reader *r, struct vx_h1_sink *s) {
    int64_t moved = move(r, s);
    r->waits = moved == 0;
    return moved;
}

void vx_h1_sink_relax(struct vx_h1_sink *s) {
    if (vx_buffer_len(&s->out) == 0)
        vx_buffer_release(&s->out);
}
