/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual network. A wire joins the proxy's transport (a port, as the code under test sees it, behaving as
 * proxy/net/tcp.h promises) with an actor at its far end. Bytes travel in seeded segments with seeded delays through
 * bounded buffers; FIN and RST travel too, and a close with unread bytes resets, as a kernel would. */
#ifndef SIM_WIRE_H
#define SIM_WIRE_H

#include "sim/sim.h"

enum wire_state { WIRE_CONNECTING, WIRE_OPEN };

/* One direction. bytes[start..end) are sent and not yet read; the first `arrived` of them can be. */
struct wire_lane {
    char *bytes;
    size_t start, end, room;
    size_t arrived, capacity;
    uint64_t sent; /* ever put in */
    uint64_t read; /* ever taken out */
    bool fin, fin_arrived;
    bool moving;  /* a segment is on its way */
    bool blocked; /* the sender found it full and waits for room */
};

struct port {
    struct vx_transport base;
    struct sim *sim;
    struct wire *wire; /* NULL: closed, the memory goes at the end of the round */
    struct port *next;
};

/* Something changed at the far end: bytes, an end, a reset, room. `wire->gone` and the reads tell what. */
typedef void wire_changed_fn(struct sim *sim, struct wire *wire);

struct wire {
    struct vx_list link, ready;
    struct sim *sim;
    uint32_t number;
    struct port *port;     /* NULL: not accepted yet, or closed by the proxy */
    struct wire_lane up;   /* far end to proxy */
    struct wire_lane down; /* proxy to far end */
    char *pipe;            /* what move() took and could not write yet */
    size_t pipe_start, pipe_end;
    struct vx_address address; /* of the far end */
    wire_changed_fn *changed;
    void *actor;       /* NULL: nobody is there (any more) */
    struct host *host; /* dialed */
    uint8_t state;     /* enum wire_state */
    uint8_t outcome;   /* of a connect: 0 not known, 1 connected, 2 refused */
    bool dialed;
    bool wants_accept;
    bool ready_to_talk; /* connected, and the handshake is over if there is one */
    bool broken, shut_wanted;
    bool proxy_closed, proxy_reset; /* the proxy has closed, by a reset */
    bool reset_pending;             /* the proxy's kernel knows of a reset that the port has not told */
    bool far_closed;                /* the actor has closed */
    bool gone;                      /* a reset has reached the far end */
    bool dribbles, narrow;
};

/* A client connects: its wire waits to be accepted. */
struct wire *wire_connect(struct sim *sim, const struct vx_address *from, wire_changed_fn *changed,
                          void *actor);

/* The far end's calls. read: >0 bytes, 0 the end, -1 nothing now, -2 reset. write: bytes taken; when fewer than given,
 * `changed` follows. close: FIN, and whatever comes afterwards is answered by a reset. */
ssize_t wire_read(struct wire *w, char *to, size_t room);
size_t wire_write(struct wire *w, const char *bytes, size_t len);
void wire_shut(struct wire *w);
void wire_close(struct wire *w);
void wire_reset(struct wire *w);

/* What a kernel would report for this wire, to its port; in the proxy's round. */
void wire_deliver(struct wire *w);

/* Frees closed ports, at the end of a round; frees everything, at the end of the world. */
void wire_free_retired(struct sim *sim);
void wire_free_all(struct sim *sim);

void wire_dialer_init(struct sim *sim);

/* Longest way of a byte, for the far end's patience. */
#define WIRE_DELAY_MAX SIM_MS(3)

#endif
