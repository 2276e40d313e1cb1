/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the HTTP/1 client: client.c (the port, one request's stream), client_connection.c (one
 * connection's life), pool.c (who gets which connection). */
#ifndef VX_PROXY_HTTP1_CLIENT_INTERNAL_H
#define VX_PROXY_HTTP1_CLIENT_INTERNAL_H

#include "proxy/http1/client.h"

#define H1_CLIENT_STATES(X)                                                                                  \
    X(CONNECTING) /* the request's head lies in the sink already */                                          \
    X(HEAD)       /* the response's head is awaited */                                                       \
    X(BODY)       /* its body is pulled; or a tunnel */                                                      \
    X(IDLE)       /* in the pool */                                                                          \
    X(LEAVING)    /* a tunnel whose user has let go; its last bytes wait for the backend */                  \
    X(CLOSED)     /* the memory goes at the end of the round */

enum h1_client_state {
#define X(name) H1_CLIENT_##name,
    H1_CLIENT_STATES(X)
#undef X
};

struct h1_client_connection;

/* One request on its way. In the caller's arena. */
struct h1_client_request {
    struct vx_upstream up;
    struct h1_client_connection *connection; /* NULL: queued, or its connection is gone */
    struct vx_h1_pool *pool;
    const struct vx_target *target; /* a tunnel may outlive it */
    struct vx_request *request;
    struct vx_arena *arena;
    struct vx_block *head; /* pins what the response's slices point into */
    struct vx_list link;   /* in the pool's queue */
    uint64_t queued_until_ns;
    uint64_t idle_timeout_ns;    /* of the target */
    struct vx_headers *trailers; /* of the request, once `ended` */
    uint16_t interims;           /* heads before the final one */
    bool ended;                  /* finish() was called: all of the body has been pushed */
    bool waits_room;             /* push() took less than it was given */
    struct vx_response response; /* not cleared when the request begins */
};

struct h1_client_connection {
    struct vx_h1_reader reader;
    struct vx_h1_sink sink;
    struct vx_h1_pool *pool;
    struct vx_target_shared *shared;
    struct h1_client_request *request; /* NULL: idle or closed */
    struct vx_list link;               /* in the pool's list of idle or of leaving ones */
    struct vx_timer timer;
    struct vx_task task;
    uint64_t deadline_ns; /* of what is awaited now; 0: none */
    uint64_t sent_mark;   /* the sink's progress when the answer's time last began */
    uint64_t opened_ns;   /* the connect began */
    uint32_t requests;    /* begun on it */
    uint8_t state;        /* enum h1_client_state */
    bool sends_later;     /* the whole request is in the sink, to be sent by the task */
};

struct vx_h1_pool {
    struct vx_h1_client *client;
    struct vx_target_shared *shared; /* whose connections the idle ones are */
    struct vx_list idle;             /* the last used first: the warmest, and the rest can age out */
    struct vx_list leaving;          /* connections in LEAVING */
    struct vx_list queue;            /* requests waiting because of max_connections */
    struct vx_place_queue places;    /* they wait for */
    struct vx_timer overdue;         /* the first of them may have waited too long */
    uint32_t idle_count;
};

/* client_connection.c */

/* Begins to connect for `request`; NULL with *error filled: could not. The caller holds a place in shared. */
struct h1_client_connection *vx_h1_client_connect(struct vx_h1_pool *pool, struct h1_client_request *request,
                                                  struct vx_error *error);
/* Puts the request's head into the sink of a connected or connecting connection. False: no memory. */
bool vx_h1_client_bind(struct h1_client_connection *c, struct h1_client_request *request);
/* Closes it; the request, if any, is cut off without a word. */
void vx_h1_client_close(struct h1_client_connection *c, bool reset);
/* Closes it once what waits in the sink has gone out, or a time limit is over. Its user has let go. */
void vx_h1_client_leave(struct h1_client_connection *c);
/* Sends what waits, and notes it. */
void vx_h1_client_flush(struct h1_client_connection *c);
/* After anything that may have sent: when the head left, and that the backend has the word now. */
void vx_h1_client_note_sent(struct h1_client_connection *c, uint64_t sent_before);
void vx_h1_client_set_deadline(struct h1_client_connection *c, uint64_t after_ns);

/* pool.c */

/* The pool of this target, emptied first when its index has come to mean another one. NULL: no memory. */
struct vx_h1_pool *vx_h1_pool_of(struct vx_h1_client *client, const struct vx_target *target);
/* Gives the request a connection, or a place in the queue. False with *error filled: neither. */
bool vx_h1_pool_assign(struct vx_h1_pool *pool, struct h1_client_request *request, bool fresh,
                       struct vx_error *error);
/* Takes the connection back from a request that is through with it. */
void vx_h1_pool_return(struct h1_client_connection *c, const struct vx_target *target);
/* The connection has closed: its place is free. */
void vx_h1_pool_closed(struct h1_client_connection *c);
/* Takes an idle or leaving connection off its list. */
void vx_h1_pool_unlink(struct h1_client_connection *c);
void vx_h1_pool_unqueue(struct h1_client_request *request);

#endif
