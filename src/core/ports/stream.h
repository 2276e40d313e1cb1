/* SPDX-License-Identifier: Apache-2.0 */
/* The two sides of an exchange. A downstream (what speaks HTTP to us) and an upstream (what we speak HTTP to) are both
 * streams: a source of body bytes one pulls from and a sink one pushes into. Bodies therefore move by one loop,
 * whatever the protocol versions, and backpressure is simply not pulling.
 *
 * Rules:
 *   1. Calls never call back. What a call completes or breaks later arrives through the user's events, from the loop.
 *   2. Nothing is read from the peer unless the user pulls.
 *   3. release() ends the user's interest: no event follows. The stream then decides by what was finished whether its
 *      connection can serve again, must linger, or be cut.
 */
#ifndef VX_CORE_PORTS_STREAM_H
#define VX_CORE_PORTS_STREAM_H

#include "core/base/address.h"
#include "core/base/arena.h"
#include "core/base/error.h"
#include "core/http/message.h"
#include "core/ports/tls_session.h"

enum vx_pull {
    VX_PULL_BYTES,  /* *bytes holds at least one byte */
    VX_PULL_WAIT,   /* nothing now; on_readable follows */
    VX_PULL_END,    /* the body is complete; trailers() may be asked */
    VX_PULL_FAILED, /* broken; stream->error says how. No event follows */
};

struct vx_stream;

/* The connection beneath an upstream. */
struct vx_carrier {
    struct vx_address local;          /* kind NONE: not known */
    const struct vx_tls_session *tls; /* NULL: plain. Goes with the connection, unless it is held */
};

/* What happens to a stream, told to its user. */
struct vx_stream_events {
    void (*on_readable)(void *user, uint64_t now_ns); /* pull again */
    void (*on_writable)(void *user, uint64_t now_ns); /* push again */
    /* The stream is broken (stream->error): nothing more can be pulled or pushed. Comes once at most. */
    void (*on_failed)(void *user, uint64_t now_ns);
    /* Upstreams only: a response head, interim (1xx but 101) or final. `response` lives until release(). */
    void (*on_response)(void *user, struct vx_response *response, uint64_t now_ns);
};

struct vx_stream_ops {
    /* Source. The bytes of one pull stay until consume() or the next pull; consume any part of them. */
    enum vx_pull (*pull)(struct vx_stream *s, struct vx_slice *bytes);
    void (*consume)(struct vx_stream *s, size_t bytes);
    /* After VX_PULL_END: the trailer fields, NULL when there are none. */
    struct vx_headers *(*trailers)(struct vx_stream *s);

    /* Sink. push() takes as many bytes as it can hold or send and returns how many; fewer than given: on_writable
     * follows. finish() ends the body (after all of it was pushed; in a tunnel: half-closes) and flushes. flush() sends what
     * push() and heads may have left in buffers; call it when nothing more is at hand. */
    size_t (*push)(struct vx_stream *s, struct vx_slice bytes);
    void (*finish)(struct vx_stream *s, struct vx_headers *trailers);
    void (*flush)(struct vx_stream *s);

    /* Asks for on_readable at the end of this round although nothing new has arrived: for users that stop pulling so
     * that others get their turn. */
    void (*again)(struct vx_stream *s);

    /* Moves body bytes from `from` (whose op this is) into `to` without passing user memory. Returns the bytes moved
     * (counted as consumed and pushed), 0 to wait for an event of the side that was not ready, -1: not possible
     * between these two now, pull and push instead. NULL: never possible. */
    int64_t (*move)(struct vx_stream *from, struct vx_stream *to);

    /* Upstreams only: tells of the connection that carries it. False: none does yet, or any more, and
     * *out is as it was. NULL: nothing is known. */
    bool (*describe)(const struct vx_stream *s, struct vx_carrier *out);

    /* Upstreams only, of one that a backend has failed: whether that is to count against the backend. Not if it failed with
     * others, on one connection, and one of them has counted. Asked at most once, by who would count it. NULL: it is. */
    bool (*counts)(struct vx_stream *s);

    void (*release)(struct vx_stream *s);
};

struct vx_stream {
    const struct vx_stream_ops *ops;
    const struct vx_stream_events *events;
    void *user;
    struct vx_error error;
    /* So that the end of a body can go with its last bytes, where the protocol has room for it: */
    bool
        whole; /* source: behind the bytes of this pull() nothing comes, no trailers either. May be left false */
    bool
        ending; /* sink, set by its user: once all that is pushed was taken, finish() follows, without trailers */
};

/* Who is at the other end of a downstream. Lives as long as its connection. */
struct vx_client_info {
    uint64_t id;              /* of the connection: no other one of the process has it */
    struct vx_address remote; /* the peer, or what PROXY protocol says of it */
    struct vx_address local;
    struct vx_slice remote_text; /* the peer's IP address as text; "unix:" where it has none */
    bool https;
    struct vx_slice server_name;      /* SNI; empty: none */
    const struct vx_tls_session *tls; /* NULL: plain */
};

struct vx_downstream;

struct vx_downstream_ops {
    /* Sends a response head: any number of interim ones, then one final. Fields of `response` are written as they are,
     * removed ones left out; framing and connection fields are the connection's own. A final 101 turns both
     * directions into a tunnel. Errors arrive as on_failed. */
    void (*respond)(struct vx_downstream *d, struct vx_response *response);
};

struct vx_downstream {
    struct vx_stream stream;
    const struct vx_downstream_ops *ops;
    struct vx_request *request;
    struct vx_arena *arena; /* lives until release() */
    const struct vx_client_info *client;
    uint64_t started_ns; /* first byte of the head seen */
    uint64_t head_bytes; /* of the request's head */
    uint64_t sent_bytes; /* on the wire for this response so far */
    bool whole;          /* with on_failed: the client had all of the response that its head promised */
};

struct vx_upstream {
    struct vx_stream stream;
    uint64_t sent_ns;    /* when the request's head had been handed to the connection; 0: not yet */
    uint64_t connect_ns; /* time the connection took, 0 when it was reused */
    uint64_t received_bytes;
    bool reused; /* the request went out on a pooled connection */
    bool sent;   /* some byte of the request may have reached the backend */
    bool reads;  /* the backend has shown that it reads the body */
};

#endif
