/* SPDX-License-Identifier: Apache-2.0 */
/* A network in memory for the tests of connections: transports that behave as proxy/net/tcp.h promises (edge-triggered,
 * a short read empties, bounded room for writing, move() with a pipe), a dialer, a clock that a test turns, and the
 * memory of one worker. It checks that nothing is called after close(), and at the end that every block is back. */
#ifndef VX_TESTS_SUPPORT_FAKE_TRANSPORT_H
#define VX_TESTS_SUPPORT_FAKE_TRANSPORT_H

#include "proxy/runtime/runtime.h"
#include "proxy/runtime/slab.h"

enum { FAKE_TRANSPORTS = 64 };

#define FAKE_MS(n) ((uint64_t)(n)*1000000)
#define FAKE_S(n)  FAKE_MS((n)*1000)

struct fake_net;

struct fake_transport {
    struct vx_transport base;
    struct fake_net *net;
    char *in; /* what the peer has sent; start..end is unread */
    size_t in_start, in_end, in_room;
    char *out; /* what the peer has got, NUL-terminated */
    size_t out_len, out_room;
    char *pipe; /* what move() took and could not write */
    size_t pipe_len;
    size_t room; /* bytes that write() takes before it is full; SIZE_MAX: any number */
    bool fin;    /* the peer ends behind what it has sent */
    bool broken;
    unsigned reads, writes, moves, shuts;
    bool closed, reset; /* by us */
    bool dialed;
};

struct fake_net {
    struct vx_runtime rt;
    struct vx_slab arenas, blocks;
    struct vx_dialer dialer;
    struct vx_dial last_dial;
    struct fake_transport *all[FAKE_TRANSPORTS]; /* in order of making; dialed ones too */
    unsigned count;
    bool refuses; /* dial() fails at once */
    bool moves;   /* move() works */
};

void fake_net_init(struct fake_net *n);
/* Fails the test when memory is still used or a transport is open. */
void fake_net_free(struct fake_net *n);
/* The end of a round: runs what was deferred. */
void fake_net_round(struct fake_net *n);
/* Turns the clock on in steps of a millisecond, with timers and tasks. */
void fake_net_advance(struct fake_net *n, uint64_t ns);

/* As from accept: writable, nothing to read. */
struct fake_transport *fake_transport_new(struct fake_net *n);
/* The latest one that was dialed. */
struct fake_transport *fake_dialed(const struct fake_net *n);

/* What the peer does; each is one event and the round after it. */
void fake_connected(struct fake_transport *t);
void fake_send(struct fake_transport *t, const char *text);
void fake_send_bytes(struct fake_transport *t, const char *bytes, size_t len);
void fake_fin(struct fake_transport *t);    /* no more comes from the peer */
void fake_refuse(struct fake_transport *t); /* the connect fails */
void fake_break(struct fake_transport *t);  /* a reset with nothing left to read */
void fake_give_room(struct fake_transport *t, size_t bytes);

/* What the peer has got since the last call. Valid until the next call. */
const char *fake_received(struct fake_transport *t);

#endif
