/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the backends that speak HTTP/2, by nghttp2's server sessions: host_h2.c (connections, and requests as
 * they arrive), host_h2_answer.c (answers). */
#ifndef SIM_HOST_H2_H
#define SIM_HOST_H2_H

#include "sim/host.h"
#include "support/h2_session.h"

/* One request on its stream. Lives until the world ends, as events know it. */
struct host_job {
    struct host_h2 *c;
    struct host_job *next;
    struct exchange *e; /* NULL: its head is not here as a whole */
    struct answer_plan plan;
    struct message head; /* its lines as HTTP/1 would have them, for message_field() */
    int32_t stream;
    uint32_t delivery;
    uint64_t got;     /* of the request's body */
    uint64_t sent;    /* of the answer's */
    bool left_out;    /* refused, reset or gone away from: nothing more is done for it */
    bool upload_over; /* the request is here as a whole */
    bool over;        /* the stream is closed */
};

struct host_h2 {
    struct sim *sim;
    struct wire *wire;
    struct host_h2 *next;
    nghttp2_session *ng;
    struct outgoing out;
    struct host_job *jobs;
    int32_t last;   /* stream that came */
    bool went_away; /* has said GOAWAY: streams behind `last` are left out */
    bool breaks;    /* ends in the middle of whatever it is doing, once `out` is written */
    bool lazy, reading_later;
    bool wordless; /* is reset before it says anything */
};

static inline bool host_h2_is_gone(const struct host_h2 *c) {
    return c->wire->far_closed;
}

/* host_h2.c */

/* Sends what there is to send. */
void host_h2_send(struct host_h2 *c);
/* No stream behind this one is looked at. */
void host_h2_go_away(struct host_h2 *c, int32_t last);
/* Ends the connection in the middle of its streams. */
void host_h2_cut(struct host_h2 *c, bool reset);
void host_h2_reset(struct host_job *job, uint32_t code);
bool host_h2_is_idle(const struct host_h2 *c);

/* host_h2_answer.c */

/* An event: begins the answer. */
void host_h2_answer(struct sim *sim, void *actor, uint64_t arg);
/* The end of the answer is out. */
void host_h2_after_answer(struct host_job *job);
void host_h2_interim(struct host_job *job, const char *status);

#endif
