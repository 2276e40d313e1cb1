/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the exchange: exchange.c (its life), limit.c (rate limits), ban.c (bans), forward.c (attempts at
 * backends), bodies.c (moving bytes), fields.c (what changes in the heads), filtering.c (filters, when a route has any),
 * grpc.c (what is particular to gRPC calls). */
#ifndef VX_CORE_EXCHANGE_INTERNAL_H
#define VX_CORE_EXCHANGE_INTERNAL_H

#include "core/exchange/exchange.h"
#include "core/exchange/outcome.h"
#include "core/http/reply.h"

#define VX_EXCHANGE_STATES(X)                                                                                \
    X(LIMITING)   /* the store of rate limits has been asked and has not answered */                         \
    X(FILTERING)  /* the request's head is with the filters */                                               \
    X(GATHERING)  /* the body is read into memory because its `model` decides on the backend */              \
    X(FORWARDING) /* an attempt is under way, no final head has come back */                                 \
    X(HOLDING)    /* a final head, the backend's or ours, is with the filters */                             \
    X(RESPONDING) /* the final head has gone to the client; bodies move */                                   \
    X(REPLYING)   /* an answer of our own is going out, past no filters */                                   \
    X(ENDED)      /* recorded and let go; the memory is no longer ours */

enum vx_exchange_state {
#define X(name) VX_EXCHANGE_##name,
    VX_EXCHANGE_STATES(X)
#undef X
};

enum { VX_EXCHANGE_TRIED_MAX = 8 };

struct vx_exchange_grpc; /* grpc.h */
struct vx_filtering;     /* filtering.h */

/* Of an exchange on a limited route. */
struct vx_exchange_limit {
    struct vx_rate_request request;
    /* Of the route that took the request first; filters may send it to another. */
    const struct vx_limit *limit;
    struct vx_rate_store *store; /* the one that was asked */
    struct vx_exchange *exchange;
    uint64_t wait_ns; /* what a refused client was told */
};

struct vx_exchange {
    struct vx_proxy *proxy;
    struct vx_snapshot *snapshot; /* NULL once it is a tunnel */
    struct vx_downstream *down;
    struct vx_upstream *up; /* NULL: no attempt under way */
    const struct vx_route *route;
    const struct vx_backend_view *view; /* of the route's backends; NULL: all */
    const struct vx_target *target;     /* of the last attempt */
    struct vx_filtering *filtering;     /* NULL: no filters, or their part is over */
    struct vx_exchange_grpc *grpc;      /* NULL: no gRPC call */
    struct vx_backend_ticket ticket;    /* open exactly while `up` is set and the backend is a balanced one */
    struct vx_exchange_limit *limit;    /* NULL: not limited */
    struct vx_slice gathered; /* the body, or as much of its beginning as has been gathered or kept */
    size_t gathered_room;
    size_t gathered_sent; /* of it, in this attempt */
    uint64_t request_bytes, backend_ns;
    uint16_t attempts;
    uint8_t retries;        /* of them, those that `retries.attempts` bounds */
    uint8_t unread_retries; /* the free ones, of what backends had not begun */
    uint16_t status;        /* of the final head that went to the client; 0: none yet */
    enum vx_error_code error;
    const char *error_detail;
    uint8_t state;       /* enum vx_exchange_state */
    bool peer_trusted;   /* its X-Forwarded-* are believed */
    bool body_taken;     /* bytes of the request's body went to a backend and are gone */
    bool gathered_whole; /* the whole body lies in `gathered` */
    bool keeps;          /* what goes to the backend is kept in `gathered`, in case it is refused unread */
    bool request_done;   /* the request's body was finished towards this upstream */
    bool stale_retried;  /* the one free retry after a stale connection has been used */
    bool tunnel;
    bool response_done; /* a tunnel whose backend has half-closed */
    /* From here on nothing is cleared when an exchange begins. */
    struct vx_request forwarded; /* the request as backends get it; shares the header array */
    struct vx_slice client_ip;
    struct vx_address client_address;      /* the same one, to count by */
    struct vx_reply reply;                 /* in REPLYING */
    uint32_t tried[VX_EXCHANGE_TRIED_MAX]; /* `attempts` of them */
};

/* exchange.c */
extern const struct vx_stream_events vx_exchange_upstream_events;
void vx_exchange_fail(struct vx_exchange *x, struct vx_error error, uint64_t now_ns); /* ends it or replies */
void vx_exchange_end(struct vx_exchange *x, uint64_t now_ns);        /* records, lets go of all */
void vx_exchange_admitted(struct vx_exchange *x, uint64_t now_ns);   /* within its limit: goes on */
void vx_exchange_note(struct vx_exchange *x, struct vx_error error); /* the first one is recorded */
void vx_exchange_answer(struct vx_exchange *x, const struct vx_reply_content *content, uint64_t now_ns);
/* The filters have let the request's head pass. */
void vx_exchange_filtered(struct vx_exchange *x, bool reroute, uint64_t now_ns);
/* The final head goes to the client, and the body after it. */
void vx_exchange_send_head(struct vx_exchange *x, struct vx_response *response, uint64_t now_ns);

/* limit.c */
bool vx_exchange_limit_prepare(struct vx_exchange *x);          /* false: no memory */
void vx_exchange_limit(struct vx_exchange *x, uint64_t now_ns); /* of a limited route, prepared */
void vx_exchange_limit_cancel(struct vx_exchange *x); /* the store is not to tell an exchange that ends */
bool vx_exchange_limit_response(struct vx_exchange *x, struct vx_response *response); /* false: no memory */
void vx_exchange_limit_reply(struct vx_exchange *x, struct vx_reply_content *content);

/* ban.c */
bool vx_exchange_is_banned(const struct vx_exchange *x, uint64_t now_ns);
void vx_exchange_turn_away(struct vx_exchange *x, uint64_t now_ns);            /* ends it, or replies */
void vx_exchange_report_refusal(const struct vx_exchange *x, uint64_t now_ns); /* for its rate */

/* forward.c */
void vx_exchange_attempt(struct vx_exchange *x, bool fresh, uint64_t now_ns);
void vx_exchange_attempt_failed(struct vx_exchange *x, struct vx_error error, uint64_t now_ns);
void vx_exchange_drop_upstream(struct vx_exchange *x, enum vx_backend_outcome outcome, uint64_t now_ns);

/* bodies.c */
bool vx_exchange_is_bulk(const struct vx_exchange *x); /* the request's body may move inside the kernel */
bool vx_exchange_pump_request(struct vx_exchange *x, uint64_t now_ns); /* false: x may be gone */
void vx_exchange_pump_response(struct vx_exchange *x, uint64_t now_ns);
void vx_exchange_gather(struct vx_exchange *x,
                        uint64_t now_ns); /* goes on to the first attempt when it has the body */
void vx_exchange_choose_model(struct vx_exchange *x, struct vx_slice model, uint64_t now_ns);
/* The body is wanted here: a client that waits for leave gets it from us, and the backend is not asked for it. */
void vx_exchange_let_the_client_send(struct vx_exchange *x);

/* fields.c. False: no memory. */
void vx_exchange_identify(struct vx_exchange *x);     /* finds out who the client is; the first of all */
bool vx_exchange_edit_request(struct vx_exchange *x); /* says who the client is; before filters see it */
bool vx_exchange_edit_target(struct vx_exchange *x);  /* where it goes, as its route says; after them */
bool vx_exchange_edit_response(struct vx_exchange *x, struct vx_response *response);

#endif
