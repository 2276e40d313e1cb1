/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the halves of the HTTP/2 server connection: server.c (its life, heads, time limits) and server_stream.c (the
 * downstream that the handler sees). */
#ifndef VX_PROXY_HTTP2_SERVER_INTERNAL_H
#define VX_PROXY_HTTP2_SERVER_INTERNAL_H

#include "proxy/http/server.h"
#include "proxy/http/write_limit.h"
#include "proxy/http2/session.h"

struct h2_server;

/* One request and its response. Lies at the head of an arena chunk, the rest of which is the arena's first piece. */
struct h2_server_stream {
    struct vx_downstream down;
    struct vx_h2_stream st;
    struct h2_server *conn;
    struct vx_request request;
    struct vx_arena arena;
    struct vx_timer timer;
    uint64_t read_deadline_ns;     /* 0: none */
    struct vx_write_limit writing; /* by st.sent_bytes: the client's window is shut */
    bool active;                   /* the handler has it */
    bool response_begun;           /* its final head has gone out */
    bool tunnel;
    bool body_timed_out;
};

struct h2_server {
    struct vx_server_connection base;
    struct vx_h2_session session;
    struct vx_client_info client;
    char remote_text[VX_SERVER_REMOTE_TEXT_MAX];
    struct vx_timer timer;
    struct vx_task reap;
    uint64_t quiet_deadline_ns;    /* no stream, or a head that is not complete; 0: none */
    struct vx_write_limit writing; /* by session.written */
    uint64_t drain_deadline_ns;    /* the second GOAWAY at the latest; 0: none */
    struct vx_h2_stream *head_of;  /* whose head the quiet deadline is for */
    bool served;
};

extern const struct vx_stream_ops vx_h2_server_stream_ops;
extern const struct vx_downstream_ops vx_h2_server_downstream_ops;

/* server.c: gives the stream's memory back. It is over for its user. */
void vx_h2_server_drop_stream(struct h2_server_stream *s, nghttp2_error_code code);
/* server.c: the stream's timer, from its two deadlines. */
void vx_h2_server_arm_stream(struct h2_server_stream *s);

static inline struct vx_runtime *h2_runtime(const struct h2_server *c) {
    return c->base.server->rt;
}

#endif
