/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated backends. Each delivery of a request is answered as the book plans it (exchange.h); what arrives is
 * checked to be exactly what the client sent, once, with the proxy's own fields added. */
#ifndef SIM_HOST_H
#define SIM_HOST_H

#include "sim/exchange.h"
#include "sim/message.h"
#include "sim/outgoing.h"
#include "sim/wire.h"

struct host {
    struct vx_address address;
    uint8_t route, index;
    uint32_t open; /* the proxy's connections to it */
    bool http2;    /* speaks it, and nothing else: all backends of its route do */
    struct host_conn *conns;
    struct host_h2 *h2_conns;
};

struct host_conn {
    struct sim *sim;
    struct wire *wire;
    struct host *host;
    struct host_conn *next;
    struct message in;
    struct outgoing out;
    struct exchange *e; /* of the request that is here; NULL: none */
    struct answer_plan plan;
    uint64_t body_at; /* of the answer */
    uint64_t tunnel_got;
    uint32_t served;       /* requests answered: tells an old event from a new one */
    bool lazy;             /* reads a little at a time */
    bool upload_over;      /* the request is here as a whole */
    bool answering;        /* the answer has begun */
    bool tunnel, finished; /* all of the answer is in `out` */
    bool reading_later;
    bool deaf;     /* reads no more */
    bool draining; /* has answered early: only waits for the proxy's end */
};

void hosts_init(struct sim *sim);
void hosts_free(struct sim *sim);

/* The backend with this address. */
struct host *host_at(struct sim *sim, const struct vx_address *address);

struct host *host_of(struct sim *sim, unsigned route, unsigned index);

/* A connection is made: from now on the wire has somebody at its end. */
void host_accept(struct sim *sim, struct wire *w);

/* host_h2.c: the same for backends that speak HTTP/2; frees what is left at the end of the world. */
void host_h2_accept(struct sim *sim, struct wire *w);
void host_h2_free(struct host *h);

/* host_check.c */

_Noreturn void host_odd(const struct sim *sim, const struct message_text *head, const char *what);

/* The request that came with this head to this backend. */
struct exchange *host_exchange_of(struct sim *sim, const struct host *h, const struct message_text *head);
void host_check_fields(const struct sim *sim, const struct exchange *e, const struct message_text *head);

/* Counts the delivery and says what becomes of it. */
struct answer_plan host_take_delivery(struct sim *sim, const struct wire *w, struct exchange *e);

/* An outage: every connection and every request of that time fails. */
bool host_is_down(struct sim *sim, const struct host *h);

/* host_answer.c */

/* Begins the answer to the request that is here; sends on what it can. */
void host_answer(struct sim *sim, void *actor, uint64_t served);
void host_send(struct host_conn *c);
/* Ends the connection as the plan wants it, now that the answer is out. */
void host_after_answer(struct host_conn *c);

/* host.c, for host_answer.c */
void host_next_request(struct host_conn *c);
void host_leave(struct host_conn *c, bool reset);

static inline uint64_t tunnel_key(const struct exchange *e, bool up) {
    return (up ? (uint64_t)1 << 40 : (uint64_t)1 << 41) + e->id;
}

#endif
