/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated clients. One is one connection with a few requests on it, sent with seeded manners; each answer is held
 * against what the book says (exchange.h). */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "sim/exchange.h"
#include "sim/message.h"
#include "sim/outgoing.h"
#include "sim/wire.h"

struct client {
    struct sim *sim;
    struct wire *wire;
    struct client *next;
    struct vx_address address;
    struct message in;
    struct outgoing out;
    uint32_t first, count; /* its requests' numbers */
    uint32_t built;        /* requests whose bytes are in `out` or gone */
    uint32_t answered;     /* answers complete */
    uint64_t sent, got;    /* bytes */
    uint64_t vanish_at;    /* bytes both ways after which it leaves; UINT64_MAX: stays */
    uint64_t tunnel_sent;
    struct answer_plan plan; /* of the answer that is being read */
    struct h2_side *h2;      /* it speaks HTTP/2; NULL: HTTP/1 */
    uint64_t late;           /* tells an old event from a new one */
    bool pipelined, half_closes, slow, stalls, stays, vanish_resets;
    bool gate;       /* the body waits for 100 */
    bool final_head; /* the final head of the current answer is here */
    bool own_answer; /* it is the proxy's own */
    bool must_close; /* the proxy has to close after this answer */
    bool tunnel, tunnel_over;
    bool mute;      /* neither reads nor writes any more */
    bool goes_mute; /* instead of vanishing */
    bool write_later, read_later, shut, done;
};

/* Starts clients until enough exchanges are under way or done. */
void clients_start(struct sim *sim);
void clients_free(struct sim *sim);

/* At the end: none is left waiting. */
void clients_check_done(struct sim *sim);

/* client.c, for client_answer.c */
static inline struct exchange *client_current(const struct client *c) {
    return exchange_at(c->sim, c->first + c->answered);
}
void client_send(struct client *c);
void client_gate_opens(struct client *c);
void client_answer_done(struct client *c);
void client_leave(struct client *c, bool reset);
void client_excuse_rest(struct client *c); /* what it does now may cost it the answers it has not got */

/* client_answer.c: reads and judges. False: the connection is over. */
bool client_take(struct client *c, const char *at, size_t left);
/* The proxy has ended the connection. */
void client_ended(struct client *c, bool reset);

/* client_h2.c: the same for clients that speak HTTP/2 */
enum { CLIENT_H2_AT_ONCE_MAX = 4 }; /* streams of one connection */
void client_h2_adapt(struct exchange *e);
void client_h2_init(struct client *c);
void client_h2_changed(struct sim *sim, struct wire *w);
void client_h2_send(struct client *c);
void client_h2_free(struct client *c);

/* request.c */
void request_head(struct sim *sim, const struct exchange *e, struct outgoing *o);
void request_body(struct sim *sim, const struct exchange *e, struct outgoing *o);

#endif
