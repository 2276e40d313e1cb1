/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half of an HTTP/1 connection: heads and small pieces gather in one buffer and leave in one system call,
 * large pieces go out by reference, framed as the head said (RFC 9112 §6). One worker's thread. */
#ifndef VX_PROXY_HTTP1_SINK_H
#define VX_PROXY_HTTP1_SINK_H

#include "core/http/body_left.h"
#include "core/ports/stream.h"
#include "proxy/http1/reader.h"
#include "proxy/runtime/runtime.h"

/* Room that nearly every head finds enough; only where it was not is the exact bound worked out. */
enum { VX_H1_HEAD_USUAL_BYTES = 4096 };

struct vx_h1_sink {
    struct vx_transport *transport;
    struct vx_runtime *rt;
    struct vx_buffer out;
    struct vx_body_left left;
    uint64_t chunk_left; /* of a chunk whose size line has gone out */
    uint64_t sent;       /* bytes given to the transport since the message was begun */
    uint8_t framing;     /* enum vx_framing */
    bool tunnel;
    bool shut;       /* a tunnel's writing half is closed */
    bool finished;   /* the message is complete in the buffer or beyond */
    bool wants_room; /* push() took less than it was given: tell the user when there is room */
    bool failed;     /* the transport is broken for writing, or memory was short */
    bool no_memory;  /* `failed` is our own fault */
};

void vx_h1_sink_init(struct vx_h1_sink *s, struct vx_transport *transport, struct vx_runtime *rt);

/* A new message: room for a head of at most `bytes` behind what is buffered. NULL: no memory. Commit what was used. */
char *vx_h1_sink_reserve(struct vx_h1_sink *s, size_t bytes);
static inline void vx_h1_sink_commit(struct vx_h1_sink *s, size_t bytes) {
    s->out.end += (uint32_t)bytes;
}

/* How the body after the head is framed. */
void vx_h1_sink_begin_body(struct vx_h1_sink *s, enum vx_framing framing, uint64_t body_bytes);

/* From now on no framing: bytes until the user finishes. */
void vx_h1_sink_begin_tunnel(struct vx_h1_sink *s);

/* See vx_stream_ops: push, finish (which leaves the flush to the caller), flush, which also half-closes a tunnel whose user
 * has finished, once all is written. A broken transport sets `failed`. */
size_t vx_h1_sink_push(struct vx_h1_sink *s, struct vx_slice bytes);
void vx_h1_sink_finish(struct vx_h1_sink *s, struct vx_headers *trailers);
void vx_h1_sink_flush(struct vx_h1_sink *s);

/* Where the next byte will stand, counted as `sent` counts. */
static inline uint64_t vx_h1_sink_position(const struct vx_h1_sink *s) {
    return s->sent + vx_buffer_len(&s->out);
}

/* Puts `bytes` before the byte at that position. False: it has gone to the transport, or no memory; nothing is changed. */
bool vx_h1_sink_insert(struct vx_h1_sink *s, uint64_t position, struct vx_slice bytes);

/* True while bytes wait for the transport, in our buffer or in its pipe. */
static inline bool vx_h1_sink_pending(const struct vx_h1_sink *s) {
    return vx_buffer_len(&s->out) > 0 || s->transport->pending_bytes > 0;
}

/* How much the transport has written out, up to a constant: it grows only when the far end takes bytes, while what move()
 * takes may lie in a pipe for long. */
static inline uint64_t vx_h1_sink_progress(const struct vx_h1_sink *s) {
    return s->sent - s->transport->pending_bytes;
}

/* See vx_stream_ops.move: from the reader's body into the sink's, when both are unframed bytes on plain sockets and
 * there is much to move. */
int64_t vx_h1_move(struct vx_h1_reader *r, struct vx_h1_sink *s);

/* All of a message lies in the buffer, and nothing keeps it there: it may go out at the end of the round, with what else
 * the round has made, which leaves the code of both the user's side and the kernel's in the cache. */
static inline bool vx_h1_sink_may_gather(const struct vx_h1_sink *s) {
    return s->sent == 0 && s->finished && !s->tunnel && !s->failed && vx_buffer_len(&s->out) > 0 &&
           s->transport->writable && s->transport->pending_bytes == 0;
}

/* Gives the buffer back when nothing waits in it. */
void vx_h1_sink_relax(struct vx_h1_sink *s);

#endif
