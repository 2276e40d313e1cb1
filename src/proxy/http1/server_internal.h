/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the HTTP/1 server connection: server.c (reading heads, the life of the connection), server_stream.c
 * (the downstream that the handler sees) and server_rest.c (what of a request nobody reads). */
#ifndef VX_PROXY_HTTP1_SERVER_INTERNAL_H
#define VX_PROXY_HTTP1_SERVER_INTERNAL_H

#include "proxy/http/server.h"
#include "proxy/http/write_limit.h"
#include "proxy/http1/reader.h"
#include "proxy/http1/sink.h"

#define H1_SERVER_STATES(X)                                                                                  \
    X(IDLE)     /* between requests, nothing of a head seen */                                               \
    X(HEAD)     /* part of a head is here */                                                                 \
    X(ACTIVE)   /* a handler has the request */                                                              \
    X(FLUSHING) /* the response is complete, its last bytes wait for the client */                           \
    X(DISCARD)  /* the response is written, the rest of the request's body is read and thrown away */        \
    X(LINGER)   /* our side is shut; what still comes is thrown away */                                      \
    X(CLOSED)   /* the memory goes at the end of the round */

enum h1_server_state {
#define X(name) H1_SERVER_##name,
    H1_SERVER_STATES(X)
#undef X
};

/* What becomes of the connection once a response is written. */
enum h1_server_ending {
    H1_SERVER_STAYS,
    H1_SERVER_CLOSES,
    H1_SERVER_RESETS,  /* the only way left to say that the response is not whole */
    H1_SERVER_LINGERS, /* shut our side, then wait for the client to stop sending (RFC 9112 §9.6) */
};

struct h1_server;

/* One request and its response. Lies at the head of an arena chunk, the rest of which is the arena's first piece. */
struct h1_stream {
    struct vx_downstream down;
    struct h1_server *conn;
    struct vx_request request;
    struct vx_arena arena;
    struct vx_block *head; /* pins what the request's slices point into */
    bool response_begun;   /* a final head is in the sink */
    bool told_failure;
    bool closing;           /* the response said Connection: close */
    bool told_to_continue;  /* 100 (Continue) is in the sink */
    uint64_t earlier_bytes; /* of answers before this one, which were in the sink when it was begun */
    uint64_t head_ends_at;  /* the position in the sink of the empty line behind the response's fields */
};

struct h1_server {
    struct vx_server_connection base;
    struct vx_h1_reader reader;
    struct vx_h1_sink sink;
    struct h1_stream *stream; /* NULL while no byte of a request is here */
    struct vx_timer timer;
    struct vx_task task;
    struct vx_client_info client;
    char remote_text[VX_SERVER_REMOTE_TEXT_MAX];
    uint64_t read_deadline_ns;     /* 0: none */
    struct vx_write_limit writing; /* by the sink's progress */
    uint64_t throwing_until_ns;    /* DISCARD, LINGER: at the latest */
    uint64_t lingered_bytes;       /* thrown away by a connection that has no future */
    uint8_t state;                 /* enum h1_server_state */
    bool in_begin;                 /* the handler's begin() is on the stack */
    bool failed;                   /* the transport is broken */
    bool served;                   /* a request has been taken */
    bool body_timed_out;
    bool sends_later; /* whole answers are in the sink, to be sent by the task */
    uint8_t ending;   /* FLUSHING: enum h1_server_ending for what comes then */
};

extern const struct vx_stream_ops vx_h1_server_stream_ops;
extern const struct vx_downstream_ops vx_h1_server_downstream_ops;

/* server_rest.c */
enum h1_throwing {
    H1_THROWN_WAITS,  /* more may come */
    H1_THROWN_ENOUGH, /* all that was to be thrown away, or as much as anybody may send us for nothing */
    H1_THROWN_ENDED,  /* the client sends no more */
    H1_THROWN_FAILED, /* the transport is broken */
};
/* Whether the response's head may promise that the connection goes on, as far as the request's body is concerned. */
bool vx_h1_server_may_stay(const struct h1_stream *s, const struct vx_response *response);
/* The response is complete in the sink: a connection that cannot go on says so, if it is not too late. */
void vx_h1_server_say_close(struct h1_stream *s);
/* The request's body was read to its end, or what is left of it may be thrown away. Looks at no more than what is here. */
bool vx_h1_server_rest_is_small(const struct h1_server *c);
/* Reads and throws away: for a connection that `stays`, the rest of this body, otherwise whatever comes. */
enum h1_throwing vx_h1_server_throw_away(struct h1_server *c, bool stays);
/* From now on the client has a bounded time. */
void vx_h1_server_begin_throwing(struct h1_server *c);

/* server.c, for server_stream.c: */
void vx_h1_server_response_over(struct h1_server *c); /* the user has let go; the stream is still there */
void vx_h1_server_arm(struct h1_server *c);
void vx_h1_server_watch_writes(struct h1_server *c); /* after anything that may have left bytes in the sink */

static inline struct vx_runtime *h1_runtime(const struct h1_server *c) {
    return c->base.server->rt;
}

#endif
