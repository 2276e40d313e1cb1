/* SPDX-License-Identifier: Apache-2.0 */
/* See reader.h. */
#include "proxy/http1/reader.h"

enum {
    ROOM_MIN_BYTES = 1024, /* with less room left in a block, reading goes on in a new one */
    /* Bodies that are large anyway are read in larger pieces; a block with its header is no more than a size class of the
     * allocator's. */
    BULK_BLOCK_BYTES = 64 * 1024 - sizeof(struct vx_block),
    BULK_BODY_BYTES = 32 * 1024,
};

void vx_h1_reader_init(struct vx_h1_reader *r, struct vx_transport *transport, struct vx_runtime *rt,
                       enum vx_error_source from, const struct vx_h1_limits *limits) {
    *r = (struct vx_h1_reader){.transport = transport, .rt = rt, .limits = limits, .from = (uint8_t)from};
}

/* The block size to read into next. */
static size_t wanted_bytes(const struct vx_h1_reader *r, size_t unread) {
    bool bulk = r->tunnel
                    ? false
                    : r->left.bytes > BULK_BODY_BYTES ||
                          (r->framing == VX_BODY_CHUNKED && vx_chunked_left(&r->chunked) > BULK_BODY_BYTES) ||
                          (r->framing == VX_BODY_UNTIL_CLOSE && r->received > BULK_BODY_BYTES);
    size_t want = bulk ? BULK_BLOCK_BYTES : 0;
    return want > unread * 2 ? want : unread * 2;
}

/* Sees to room behind the unread bytes. False: no memory. */
static bool make_room(struct vx_h1_reader *r) {
    size_t unread = vx_buffer_len(&r->in);
    if (r->in.block) {
        bool ours = r->in.block->holders == 1;
        if (ours && unread == 0)
            r->in.start = r->in.end = 0;
        if (vx_buffer_room(&r->in) >= ROOM_MIN_BYTES && (unread || r->in.block->bytes >= wanted_bytes(r, 0)))
            return true;
    }
    return vx_buffer_renew(&r->in, r->rt->blocks, wanted_bytes(r, unread));
}

ssize_t vx_h1_reader_fill(struct vx_h1_reader *r) {
    struct vx_transport *t = r->transport;
    if (!t->readable)
        return VX_IO_AGAIN;
    if (VX_UNLIKELY(!make_room(r))) {
        r->no_memory = true;
        return VX_IO_FAILED;
    }
    ssize_t n = t->ops->read(t, r->in.block->data + r->in.end, vx_buffer_room(&r->in));
    if (n > 0) {
        r->in.end += (uint32_t)n;
        r->got_bytes = true;
    }
    return n;
}

void vx_h1_reader_begin_body(struct vx_h1_reader *r, enum vx_framing framing, uint64_t body_bytes,
                             uint64_t limit, struct vx_arena *arena) {
    r->framing = (uint8_t)framing;
    r->left = vx_body_left_of(framing, body_bytes);
    r->received = 0;
    r->limit = limit;
    r->arena = arena;
    r->trailers = NULL;
    r->run = VX_SLICE_NONE;
    r->tunnel = false;
    r->in_trailers = r->failed = false;
    r->waits = r->woken = false;
    r->ended = framing == VX_BODY_NONE || (framing == VX_BODY_LENGTH && body_bytes == 0);
    if (framing == VX_BODY_CHUNKED)
        vx_chunked_init(&r->chunked);
}

void vx_h1_reader_begin_tunnel(struct vx_h1_reader *r) {
    r->left = (struct vx_body_left){0};
    r->tunnel = true;
    r->ended = false;
}

/* A body that stops before it is complete. */
static enum vx_pull cut_short(struct vx_h1_reader *r, ssize_t io, struct vx_error *error) {
    if (r->no_memory)
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
    else if (r->from == VX_BY_CLIENT)
        *error = vx_error(VX_ERR_CLIENT_GONE, false, "connection closed inside the body");
    else
        *error = vx_error(io == 0 ? VX_ERR_BACKEND_CLOSED : VX_ERR_BACKEND_RESET, false,
                          "connection closed inside the body");
    return VX_PULL_FAILED;
}

static enum vx_pull too_large(struct vx_error *error) {
    *error = vx_error(VX_ERR_BODY_TOO_LARGE, false, NULL);
    return VX_PULL_FAILED;
}

/* Fills the empty buffer; VX_PULL_BYTES when something lies in it now. */
static enum vx_pull refill(struct vx_h1_reader *r, struct vx_error *error) {
    ssize_t n = vx_h1_reader_fill(r);
    if (n > 0)
        return VX_PULL_BYTES;
    if (n == VX_IO_AGAIN)
        return VX_PULL_WAIT;
    if (n == 0 && (r->tunnel || r->framing == VX_BODY_UNTIL_CLOSE)) {
        r->ended = true;
        return VX_PULL_END;
    }
    return cut_short(r, n, error);
}

static enum vx_pull pull_trailers(struct vx_h1_reader *r, struct vx_error *error) {
    for (;;) {
        size_t consumed = 0;
        enum vx_h1_result result = vx_h1_parse_trailers(&r->parser, r->limits, vx_buffer_slice(&r->in),
                                                        r->arena, r->from, r->trailers, &consumed, error);
        if (result == VX_H1_ERROR)
            return VX_PULL_FAILED;
        if (result == VX_H1_DONE) {
            /* The fields point into this block, and whoever forwards them does so before the next pull. */
            r->in.start += (uint32_t)consumed;
            r->ended = true;
            return VX_PULL_END;
        }
        enum vx_pull more = refill(r, error);
        if (more != VX_PULL_BYTES)
            return more;
    }
}

static enum vx_pull pull_chunked(struct vx_h1_reader *r, struct vx_slice *bytes, struct vx_error *error) {
    if (r->in_trailers)
        return pull_trailers(r, error);
    while (r->run.len == 0) {
        if (vx_buffer_len(&r->in) == 0) {
            enum vx_pull more = refill(r, error);
            if (more != VX_PULL_BYTES)
                return more;
        }
        size_t consumed;
        enum vx_chunked_result result =
            vx_chunked_decode(&r->chunked, vx_buffer_slice(&r->in), &r->run, &consumed);
        r->in.start += (uint32_t)(consumed - r->run.len);
        switch (result) {
        case VX_CHUNKED_ERROR:
            *error = vx_error(r->from == VX_BY_CLIENT ? VX_ERR_BAD_FRAMING : VX_ERR_BAD_RESPONSE, false,
                              "bad chunked coding");
            return VX_PULL_FAILED;
        case VX_CHUNKED_DONE:
            r->ended = true;
            return VX_PULL_END;
        case VX_CHUNKED_TRAILERS:
            r->trailers = vx_arena_alloc(r->arena, sizeof *r->trailers);
            if (!r->trailers) {
                *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
                return VX_PULL_FAILED;
            }
            r->in_trailers = true;
            vx_h1_parser_init(&r->parser);
            return pull_trailers(r, error);
        case VX_CHUNKED_MORE:
        case VX_CHUNKED_DATA:
            break;
        }
    }
    if (r->limit && r->received + r->run.len > r->limit)
        return too_large(error);
    *bytes = r->run;
    return VX_PULL_BYTES;
}

static enum vx_pull pull_body(struct vx_h1_reader *r, struct vx_slice *bytes, struct vx_error *error) {
    if (r->ended)
        return VX_PULL_END;
    if (!r->tunnel && r->framing == VX_BODY_CHUNKED)
        return pull_chunked(r, bytes, error);
    if (vx_buffer_len(&r->in) == 0) {
        enum vx_pull more = refill(r, error);
        if (more != VX_PULL_BYTES)
            return more;
    }
    *bytes = vx_body_left_cut(&r->left, vx_buffer_slice(&r->in));
    return VX_PULL_BYTES;
}

enum vx_pull vx_h1_reader_pull(struct vx_h1_reader *r, struct vx_slice *bytes, struct vx_error *error) {
    enum vx_pull result = pull_body(r, bytes, error);
    r->waits = result == VX_PULL_WAIT;
    r->failed = r->failed || result == VX_PULL_FAILED;
    return result;
}

/* True: the end of the chunked body lies in the buffer, and *end is how far in. */
static bool find_chunked_end(const struct vx_h1_reader *r, size_t *end) {
    struct vx_chunked chunked = r->chunked;
    struct vx_slice in = vx_buffer_slice(&r->in), run;
    enum vx_chunked_result result;
    size_t consumed;
    *end = r->run.len;
    do {
        result = vx_chunked_decode(&chunked, vx_slice_skip(in, *end), &run, &consumed);
        *end += consumed;
    } while (result == VX_CHUNKED_DATA);
    return result == VX_CHUNKED_DONE;
}

bool vx_h1_reader_owes(const struct vx_h1_reader *r, uint64_t *bytes) {
    size_t here = vx_buffer_len(&r->in);
    *bytes = 0;
    if (r->ended)
        return true;
    if (r->failed || r->tunnel || r->in_trailers)
        return false;
    if (r->framing == VX_BODY_CHUNKED)
        return find_chunked_end(r, &here);
    *bytes = r->left.bytes > here ? r->left.bytes - here : 0;
    return r->left.declared;
}

void vx_h1_reader_skip(struct vx_h1_reader *r) {
    uint64_t owed;
    size_t here = vx_buffer_len(&r->in);
    if (r->ended || !vx_h1_reader_owes(r, &owed))
        return;
    if (r->framing == VX_BODY_CHUNKED) {
        find_chunked_end(r, &here);
        r->in.start += (uint32_t)here;
        r->ended = true;
        return;
    }
    vx_h1_reader_consume(r, vx_body_left_cut(&r->left, vx_buffer_slice(&r->in)).len);
}

void vx_h1_reader_skipped(struct vx_h1_reader *r, uint64_t bytes) {
    vx_body_left_count(&r->left, bytes);
    r->ended = r->left.bytes == 0;
}

void vx_h1_reader_again(struct vx_h1_reader *r, struct vx_task *task) {
    r->waits = r->woken = true;
    vx_runtime_defer(r->rt, task);
}

bool vx_h1_reader_woken(struct vx_h1_reader *r) {
    if (!r->woken)
        return false;
    r->woken = false;
    r->waits = true;
    return true;
}

void vx_h1_reader_tell(struct vx_h1_reader *r, struct vx_stream *stream, uint64_t now_ns) {
    if (!r->waits)
        return;
    r->waits = false;
    stream->events->on_readable(stream->user, now_ns);
}

void vx_h1_reader_consume(struct vx_h1_reader *r, size_t bytes) {
    r->in.start += (uint32_t)bytes;
    r->received += bytes;
    if (r->tunnel)
        return;
    if (r->framing == VX_BODY_CHUNKED) {
        r->run = vx_slice_skip(r->run, bytes);
    } else if (r->left.declared) {
        vx_body_left_count(&r->left, bytes);
        r->ended = r->left.bytes == 0;
    }
}

void vx_h1_reader_relax(struct vx_h1_reader *r) {
    if (vx_buffer_len(&r->in) == 0)
        vx_buffer_release(&r->in);
}
