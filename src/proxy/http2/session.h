/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection (RFC 9113), whichever side of it we are: frames between a transport and streams, by nghttp2.
 * The server connection and the client connection are its two owners. One worker's thread, no file descriptors.
 *
 * How an owner uses it
 *   1. It embeds a struct vx_h2_session in its connection and a struct vx_h2_stream in each request, and calls
 *      vx_h2_session_start. From then on the session owns the transport's events; the owner is told through `ops`.
 *   2. Nothing of `ops` but `accept` is called from inside a call of the owner's: events come from the loop, one stream
 *      after the other. Inside any of them the owner may open, answer, reset and release streams.
 *   3. A server gets streams by `accept`. A client asks vx_h2_session_can_open and then calls vx_h2_session_open; when
 *      there was no room, `on_capacity` tells of it.
 *   4. A complete head comes by `on_head`: the request's, or each interim and then the final one of a response; it
 *      lies in st->head, its slices in the stream's arena. Trailers come with the end of the body: st->trailers.
 *   5. A body is pulled and pushed by the vx_h2_stream_ functions, which do what struct vx_stream_ops says of the
 *      operations of their names. Both bodies may also be a tunnel's (extended CONNECT): nothing here differs.
 *   6. A stream that fails is told once (`on_failed`); what it had received before is dropped.
 *   7. vx_h2_stream_release ends the owner's interest, at any time, once for each stream that was accepted or opened:
 *      afterwards no event comes and the memory is the owner's again. A stream that is not over is reset with `code`.
 *   8. When the connection is over (both sides are done, it broke, or the owner asked for it), `on_failed` has come for
 *      each stream that was left, then comes `on_over`, once: the transport is closed. The owner then calls
 *      vx_h2_session_free, then or later, but not from inside another event. A client's stream on which both sides have
 *      ended does not fail with its connection: what came is read to its end, and `on_over` waits for its release.
 *
 * What is sent gathers in one buffer and leaves in one write at the end of the round. Received bytes are bounded by the
 * streams' windows, which are given back as the owner consumes; the connection's window is given back at once, so that
 * no stream that is not read can hold up its siblings. */
#ifndef VX_PROXY_HTTP2_SESSION_H
#define VX_PROXY_HTTP2_SESSION_H

#include <nghttp2/nghttp2.h>

#include "core/http/body_left.h"
#include "core/http/h1_parse.h"
#include "core/ports/stream.h"
#include "proxy/http2/fields.h"
#include "proxy/http2/flow.h"
#include "proxy/http2/gate.h"
#include "proxy/http2/glitch.h"
#include "proxy/runtime/runtime.h"

struct vx_h2_session;

/* What a stream's owner has still to be told of. */
enum vx_h2_pending {
    VX_H2_PENDING_HEAD = 1,
    VX_H2_PENDING_READABLE = 2,
    VX_H2_PENDING_WRITABLE = 4,
    VX_H2_PENDING_FAILED = 8,
};

/* Bytes of a body, in one block. Several frames of it that one read has brought lie there as they came, in pieces. */
struct vx_h2_received {
    struct vx_buffer first;
    struct vx_h2_piece {
        uint32_t start, end;
    } behind[7]; /* the pieces behind `first` */
    uint32_t behind_count;
};

struct vx_h2_stream {
    struct vx_h2_session *session; /* NULL: not begun, or released */
    struct vx_arena *arena;        /* of the request; set by the owner, outlives the stream */
    struct vx_list link;           /* in session->streams */
    struct vx_list ready;          /* in session->ready while something of `pending` is set */
    struct vx_list waiting;        /* in session->waiting: push() had no room */
    struct vx_h2_received in;      /* and not consumed */
    struct vx_slice out;           /* what push() is giving away: only during that call */
    struct vx_body_left left;      /* of the body we send */
    struct vx_h2_head head;        /* the last complete one */
    struct vx_h2_head arriving;    /* the one that is not complete */
    struct vx_headers *trailers;   /* received behind the body; NULL: none */
    struct vx_error error;         /* why it failed */
    uint64_t sent_bytes;           /* frames of this stream given to the connection, their headers included */
    uint64_t received_bytes;       /* of the body */
    uint64_t declared_bytes;       /* of the body, while has_length */
    uint32_t window;               /* what the peer may send before we give some of it back */
    uint32_t code;                 /* of the RST_STREAM that closed it, an nghttp2_error_code */
    int32_t id;
    uint8_t pending;     /* enum vx_h2_pending */
    uint8_t interims;    /* heads before the final one, told or not */
    bool in_section;     /* a field section is arriving */
    bool has_length;     /* the head says how long the body is */
    bool bodyless;       /* client: of a HEAD or a 304, whose length says nothing about this message */
    bool head_done;      /* the final head is here: what follows are trailers */
    bool waits_body;     /* pull() said WAIT */
    bool remote_ended;   /* the peer has sent all of it */
    bool local_ended;    /* we have */
    bool end_framed;     /* and the frame that says so is out */
    bool ends_by_length; /* no trailers can follow what we send: the last byte ends the stream */
    bool end_pushed;     /* the bytes in `out` are the last: END_STREAM goes with them */
    bool unsent;         /* a head of ours could not be sent */
    bool resetting;      /* our RST_STREAM is on its way */
    bool failed;         /* on_failed is due, or has come */
    bool cut;            /* because its connection is over */
    bool given_window;   /* the peer has enlarged it for this stream: it reads what it gets */
    bool closed;         /* no frame of it will be sent or received any more */
};

struct vx_h2_session_ops {
    /* Server: the peer opens a stream. The owner gives its memory, zeroed but for `arena`; NULL: none left, the stream
     * is refused. */
    struct vx_h2_stream *(*accept)(struct vx_h2_session *s, int32_t id);
    void (*on_head)(struct vx_h2_stream *st, uint64_t now_ns);
    void (*on_readable)(struct vx_h2_stream *st, uint64_t now_ns); /* after pull() said WAIT, or again() */
    void (*on_writable)(struct vx_h2_stream *st,
                        uint64_t now_ns); /* after push() took less than it was given */
    /* st->error says how, st->code what the peer's RST_STREAM said. A client's st->error.retryable is set where the
     * peer has said that it did nothing (REFUSED_STREAM, or a GOAWAY that leaves the stream out). */
    void (*on_failed)(struct vx_h2_stream *st, uint64_t now_ns);
    /* There may be room for streams again: settings have come, or a stream is over. NULL: not wanted. */
    void (*on_capacity)(struct vx_h2_session *s, uint64_t now_ns);
    /* The peer wants no new streams; those it has are served to their end. NULL: not wanted. */
    void (*on_goaway)(struct vx_h2_session *s, uint64_t now_ns);
    /* Something has arrived, or all that was to be sent has gone: for the owner's time limits. NULL: not wanted. */
    void (*on_progress)(struct vx_h2_session *s, uint64_t now_ns);
    /* Nothing will come or go any more, and on_failed has come for each stream but those of a client that are complete:
     * on_over follows once the peer has heard our last word and those are released. NULL: not wanted. */
    void (*on_shut)(struct vx_h2_session *s, uint64_t now_ns);
    void (*on_over)(struct vx_h2_session *s, const struct vx_error *error, uint64_t now_ns);
};

struct vx_h2_options {
    const struct vx_h2_session_ops *ops;
    const struct vx_h1_limits *limits; /* of the peer's heads; outlives the session */
    struct vx_h2_windows windows;
    uint32_t concurrent_streams; /* that a client may have open with us */
    uint32_t glitches_a_minute;  /* more of them end the connection; 0: no limit */
    /* For the metrics; `last`: the connection is ended for it. NULL: nobody counts. */
    void (*glitched)(struct vx_h2_session *s, enum vx_h2_glitch kind, bool last);
    bool server;
};

struct vx_h2_session {
    const struct vx_h2_session_ops *ops;
    nghttp2_session *ng;
    struct vx_transport *transport;
    struct vx_runtime *rt;
    const struct vx_h1_limits *limits;
    struct vx_task task;      /* the end of the round: tells what is pending, then writes */
    struct vx_task read_task; /* the next round: reads on */
    struct vx_timer linger;
    struct vx_buffer out;     /* frames that wait for the transport */
    struct vx_block *reading; /* what nghttp2 is looking at: only during a read */
    struct vx_list streams;   /* not released yet */
    struct vx_list ready;
    struct vx_list waiting; /* for room or for the peer's window; the one that has waited longest first */
    struct vx_h2_stream *parsing; /* whose field section is arriving */
    struct vx_h2_stream
        *latest;            /* the one that was looked for last, while it is neither closed nor released */
    struct vx_h2_gate gate; /* server */
    struct vx_h2_flow flow;
    struct vx_h2_glitches glitches;
    void (*glitched)(struct vx_h2_session *s, enum vx_h2_glitch kind, bool last);
    struct vx_error error; /* why it ends */
    uint64_t written;      /* bytes the transport has taken */
    uint64_t received;     /* bytes that came from it */
    uint32_t stream_count; /* of `streams` */
    uint32_t peer_streams; /* that the peer has opened and that are not closed; server */
    uint32_t peer_limit;   /* of them */
    uint32_t read_bytes;   /* what the next read asks for */
    uint32_t thrown_bytes; /* while lingering */
    bool server;
    bool window_opened;  /* a stream in `waiting` may have got room */
    bool moved;          /* on_progress is due */
    bool settings_came;  /* the peer's first ones */
    bool capacity_moved; /* on_capacity is due */
    bool goaway_came;    /* on_goaway is due, then stays set: no more streams */
    bool goaway_told;
    bool shut_told; /* on_shut */
    bool broken;    /* the transport, or memory, has failed: nothing more is sent */
    bool shutting;  /* ends with the last stream */
    bool ending;    /* closes once what waits has been written */
    bool lingering; /* our side is shut; what still comes is thrown away */
    bool over;
};

/* Begins to speak HTTP/2 on `transport`, whose owner it becomes; the preface lies ready in `out`. `first`: bytes that
 * were read from it already (borrowed for the call; they are looked at by the end of the round's task at the latest).
 * False: no memory; the transport is still the caller's. */
bool vx_h2_session_start(struct vx_h2_session *s, struct vx_transport *transport, struct vx_runtime *rt,
                         const struct vx_h2_options *options, struct vx_slice first);

/* Gives everything back, after on_over, or in place of it: then the transport is closed without a word, and the
 * streams have been released. */
void vx_h2_session_free(struct vx_h2_session *s);

/* Whether the peer lets us open one more stream. Client. */
bool vx_h2_session_can_open(const struct vx_h2_session *s);

/* How many streams the peer lets us have at once; before its SETTINGS have come: our guess of 100. */
uint32_t vx_h2_session_stream_limit(const struct vx_h2_session *s);

/* Opens `st`, zeroed but for its arena, and sends the head; `ended`: no body follows. The fields are read during the
 * call only. False: no memory, or it cannot be sent; st is as it was. Client. */
bool vx_h2_session_open(struct vx_h2_session *s, struct vx_h2_stream *st, const struct vx_h2_fields *fields,
                        bool ended);

/* No new streams any more: GOAWAY. The connection ends when the last stream is over. */
void vx_h2_session_shut(struct vx_h2_session *s);

/* Says GOAWAY and ends the connection, streams or not, which fail with `error`. */
void vx_h2_session_end(struct vx_h2_session *s, struct vx_error error);

/* The first half of a graceful end: tells a client to go elsewhere with what it has not sent yet (RFC 9113 §6.8).
 * When it has heard, vx_h2_session_shut follows by itself; the owner calls it where that takes too long. */
void vx_h2_session_announce_shut(struct vx_h2_session *s);

/* Cuts the connection; on_over comes from the round's task. */
void vx_h2_session_cut(struct vx_h2_session *s, struct vx_error error);

/* Something the owner found out: one more glitch. False: the connection ends for it. */
bool vx_h2_session_glitch(struct vx_h2_session *s, enum vx_h2_glitch kind);

/* A PING of the owner's, to see whether the peer is there (on_progress tells of anything that arrives). */
void vx_h2_session_ping(struct vx_h2_session *s);

/* True while frames wait for the transport. */
static inline bool vx_h2_session_pending(const struct vx_h2_session *s) {
    return vx_buffer_len(&s->out) > 0 || s->transport->pending_bytes > 0;
}

/* Streams: see `struct vx_stream_ops`. */

/* The body behind our head, before its first push: how long it is, and the version of the message that it comes from. A
 * body that nothing was said of has any length. */
void vx_h2_stream_begin_body(struct vx_h2_stream *st, struct vx_body_left left, enum vx_http_version from);

enum vx_pull vx_h2_stream_pull(struct vx_h2_stream *st, struct vx_slice *bytes);
/* Behind VX_PULL_BYTES: vx_stream.whole. */
bool vx_h2_stream_is_whole(const struct vx_h2_stream *st);
void vx_h2_stream_consume(struct vx_h2_stream *st, size_t bytes);
/* `last`: vx_stream.ending. */
size_t vx_h2_stream_push(struct vx_h2_stream *st, struct vx_slice bytes, bool last);
void vx_h2_stream_finish(struct vx_h2_stream *st, const struct vx_headers *trailers);
void vx_h2_stream_again(struct vx_h2_stream *st);

/* Sends a head (server: of a response, interim or final). `ended`: no body follows. The fields are read during the call
 * only. False: it cannot be sent, the stream has been reset. */
bool vx_h2_stream_respond(struct vx_h2_stream *st, const struct vx_h2_fields *fields, bool ended);

void vx_h2_stream_release(struct vx_h2_stream *st, nghttp2_error_code code);

#endif
