/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the HTTP/2 client: client.c (the port, one request's stream), client_head.c (heads of requests and
 * responses), client_connection.c (one connection's life), client_pool.c (which request goes where). */
#ifndef VX_PROXY_HTTP2_CLIENT_INTERNAL_H
#define VX_PROXY_HTTP2_CLIENT_INTERNAL_H

#include "proxy/http2/client.h"
#include "proxy/http2/session.h"

#define H2_CLIENT_STATES(X)                                                                                  \
    X(CONNECTING) /* no bytes yet; requests wait for it */                                                   \
    X(GREETING)   /* HTTP/2 is spoken, the backend's SETTINGS have not come; requests wait for it */         \
    X(OPEN)       /* takes new streams as far as the backend lets it */                                      \
    X(ENDING)     /* ends with its last stream */                                                            \
    X(CLOSED)     /* the memory goes at the end of the round */

enum h2_client_state {
#define X(name) H2_CLIENT_##name,
    H2_CLIENT_STATES(X)
#undef X
};

struct h2_client_connection;

/* One request on its way. In the caller's arena. */
struct h2_client_request {
    struct vx_upstream up;
    struct vx_h2_stream st;                  /* begun while `connection` is set */
    struct h2_client_connection *connection; /* NULL: waits, or its stream is over */
    struct vx_h2_pool *pool;
    const struct vx_target *target; /* a tunnel may outlive it */
    struct vx_request *request;
    struct vx_response response;
    struct h2_client_connection *waits_for; /* which is being set up; NULL: for none */
    struct vx_list link;                    /* in a connection's or the pool's list of waiting ones */
    struct vx_timer timer;                  /* while it waits in the queue; then of what is awaited */
    uint64_t deadline_ns;                   /* of what is awaited; 0: none */
    uint64_t before_bytes;                  /* of the connection, before the head */
    uint64_t end;                           /* number of the connection's end that it failed with; 0: alone */
    uint64_t idle_timeout_ns;               /* of the target */
    struct vx_headers *trailers;            /* of the request, once `ended` */
    bool queued;                            /* in the pool's queue, counted in shared->waiting */
    bool extended;                          /* sent as extended CONNECT, for a WebSocket */
    bool tunnel;                            /* which the backend has accepted */
    bool answered;                          /* the final head has come */
    bool ended;                             /* finish() was called: all of the body has been pushed */
    bool waits_room;                        /* push() took less than it was given while there was no stream */
};

struct h2_client_connection {
    struct vx_h2_session session;   /* from GREETING on */
    struct vx_transport *transport; /* CONNECTING */
    struct vx_h2_pool *pool;
    struct vx_target_shared *shared; /* NULL: it counts no longer */
    struct vx_list link;             /* in the pool's list */
    struct vx_list waiting;          /* requests that wait for it to be OPEN */
    struct vx_timer timer;
    struct vx_task reap;
    uint64_t deadline_ns; /* of what is awaited now; 0: none */
    uint64_t opened_ns;   /* the connect began */
    uint64_t heard_ns;    /* the last bytes came */
    uint64_t heard_bytes; /* session.received then */
    uint64_t
        end; /* its number among those of the pool, when a request has failed with it last; 0: none has */
    uint64_t idle_ns;      /* how long it may be without streams */
    uint64_t max_age_ns;   /* 0: no limit */
    uint32_t max_requests; /* 0: no limit */
    uint32_t requests;     /* begun on it */
    uint32_t waiting_count;
    uint8_t state; /* enum h2_client_state */
    bool pinged;   /* an answer is due by the deadline */
    bool keeps;    /* it may be idle; else it ends with its last stream */
    bool yielded;  /* it ends for the sake of other workers, whose requests wait */
};

struct vx_h2_pool {
    struct vx_h2_client *client;
    struct vx_target_shared *shared; /* whose connections the usable ones are */
    struct vx_list connections;      /* all that are not CLOSED; the first of them are filled first */
    struct vx_list queue;            /* requests that no connection has room for */
    struct vx_place_queue places;    /* they wait for */
    struct vx_task room;             /* a stream is over: it may have come */
    struct vx_timer turn;            /* at whose end other workers get one that they have asked for */
    uint32_t yielding;               /* connections that have yielded and still have their places */
    uint64_t ends;                   /* of connections that requests have failed with, counted up */
    uint64_t ends_counted;           /* up to this one they have counted against the backend */
    uint32_t stream_limit;           /* what the backend let a connection have last; 0: it has not said */
};

/* client.c */

/* Tells the user that the request has come to nothing; it will be released. */
void vx_h2_client_fail(struct h2_client_request *r, struct vx_error error, uint64_t now_ns);
/* What is awaited now is due so much later; 0: nothing is awaited. */
void vx_h2_client_expect(struct h2_client_request *r, uint64_t after_ns);

/* client_head.c */

/* Whether the request is to be sent as an extended CONNECT (RFC 8441). */
bool vx_h2_client_is_extended(const struct vx_request *request);
/* Writes the request's head. */
void vx_h2_client_write_head(struct vx_h2_fields *fields, const struct h2_client_request *r);
/* Reads the stream's last head into r->response. False: *error says why not. */
bool vx_h2_client_read_head(struct h2_client_request *r, struct vx_error *error);

/* client_connection.c */

/* Why its stream has failed, in the words that exchanges know; notes whether it is with its connection. */
struct vx_error vx_h2_client_explain(struct h2_client_request *r);
/* Begins to connect; NULL with *error filled: could not. The caller holds a place in shared. */
struct h2_client_connection *vx_h2_client_connect(struct vx_h2_pool *pool, const struct vx_target *target,
                                                  struct vx_error *error);
/* Begins the request's stream; the connection has room. False: no memory. */
bool vx_h2_client_bind(struct h2_client_connection *c, struct h2_client_request *r);
/* No new streams; it ends with the last one, at once when there is none. */
void vx_h2_client_end(struct h2_client_connection *c);
/* A stream of it was released. */
void vx_h2_client_stream_over(struct h2_client_connection *c);
/* Closes it without a word; it has no streams. */
void vx_h2_client_close(struct h2_client_connection *c);

/* client_pool.c */

/* The pool of this target, emptied first when its index has come to mean another one. NULL: no memory. */
struct vx_h2_pool *vx_h2_pool_of(struct vx_h2_client *client, const struct vx_target *target);
/* Gives the request a stream, or a place where it waits. False with *error filled: neither. */
bool vx_h2_pool_assign(struct vx_h2_pool *pool, struct h2_client_request *r, bool fresh,
                       struct vx_error *error);
/* Takes the request from wherever it waits. A connection that nobody waits for any more, and that is not to be kept, is
 * given up. */
void vx_h2_pool_unqueue(struct h2_client_request *r);
/* Whatever waits may find room now. From an event. */
void vx_h2_pool_serve(struct vx_h2_pool *pool, uint64_t now_ns);
/* The connection is OPEN: where other workers wait, its turn begins. */
void vx_h2_pool_opened(struct h2_client_connection *c);
/* A stream of an OPEN connection is over. True: other workers wait, and it ends for them. */
bool vx_h2_pool_yield(struct h2_client_connection *c);
/* The connection has closed: its place is free. */
void vx_h2_pool_closed(struct h2_client_connection *c);

#endif
