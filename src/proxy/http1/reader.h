/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of an HTTP/1 connection: a receive buffer over the transport, and the body framing (RFC 9112 §6)
 * taken off what lies in it. Used by the server's and the client's side alike. One worker's thread. */
#ifndef VX_PROXY_HTTP1_READER_H
#define VX_PROXY_HTTP1_READER_H

#include "core/http/body_left.h"
#include "core/http/chunked.h"
#include "core/http/h1_parse.h"
#include "core/ports/stream.h"
#include "proxy/runtime/runtime.h"

struct vx_h1_reader {
    struct vx_transport *transport;
    struct vx_runtime *rt;
    struct vx_buffer in;
    struct vx_chunked chunked;
    struct vx_slice run; /* chunked: bytes of the current run that are not consumed */
    struct vx_body_left left;
    uint64_t received;           /* body bytes consumed */
    uint64_t limit;              /* of the body; 0: none */
    struct vx_headers *trailers; /* complete once `ended`; NULL: no trailer section */
    struct vx_arena *arena;      /* for trailers */
    const struct vx_h1_limits *limits;
    struct vx_h1_parser parser; /* of the head, then of the trailers */
    uint8_t framing;            /* enum vx_framing */
    uint8_t from;               /* enum vx_error_source: whose bytes these are */
    bool tunnel;                /* no framing: bytes until the peer's end */
    bool in_trailers;
    bool ended;
    bool got_bytes; /* since the head was begun */
    bool no_memory; /* why a fill failed */
    bool failed;    /* a pull failed: where the body ends is not known any more */
    bool waits;     /* pull() said WAIT, or move() met nothing: the user wants on_readable */
    bool woken;     /* again() was called: on_readable at the end of the round */
};

/* Binds the reader to its transport; nothing is allocated. */
void vx_h1_reader_init(struct vx_h1_reader *r, struct vx_transport *transport, struct vx_runtime *rt,
                       enum vx_error_source from, const struct vx_h1_limits *limits);

/* Reads once into the buffer, keeping what is unread in one piece, in a larger block if need be.
 * Returns as vx_transport_ops.read; VX_IO_FAILED also when there is no memory. */
ssize_t vx_h1_reader_fill(struct vx_h1_reader *r);

/* After a head: how its body is framed. `limit` in bytes, 0: none. */
void vx_h1_reader_begin_body(struct vx_h1_reader *r, enum vx_framing framing, uint64_t body_bytes,
                             uint64_t limit, struct vx_arena *arena);

/* From now on no framing: bytes until the peer's end. */
void vx_h1_reader_begin_tunnel(struct vx_h1_reader *r);

/* See vx_stream_ops.pull. VX_PULL_FAILED fills *error. */
enum vx_pull vx_h1_reader_pull(struct vx_h1_reader *r, struct vx_slice *bytes, struct vx_error *error);

void vx_h1_reader_consume(struct vx_h1_reader *r, size_t bytes);

/* How many bytes of the body are still to come from the peer, where that is known: a length was declared, or the end of a
 * chunked body without trailers lies in the buffer. False: not known. */
bool vx_h1_reader_owes(const struct vx_h1_reader *r, uint64_t *bytes);

/* Throws away what of the body lies in the buffer. */
void vx_h1_reader_skip(struct vx_h1_reader *r);

/* The same for what is still to come of a declared length: `bytes` of it were read past the buffer, which is empty. */
void vx_h1_reader_skipped(struct vx_h1_reader *r, uint64_t bytes);

/* See vx_stream_ops.again. More than one connection may move in a round, so `task` comes in it, and then asks
 * vx_h1_reader_woken. */
void vx_h1_reader_again(struct vx_h1_reader *r, struct vx_task *task);

/* True, once, after vx_h1_reader_again: on_readable is due, whatever was pulled meanwhile. */
bool vx_h1_reader_woken(struct vx_h1_reader *r);

/* More of the body may be here: tells the user of `stream`, if it waits. */
void vx_h1_reader_tell(struct vx_h1_reader *r, struct vx_stream *stream, uint64_t now_ns);

/* Gives the block back when nothing unread is in it. */
void vx_h1_reader_relax(struct vx_h1_reader *r);

#endif
