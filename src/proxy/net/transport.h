/* SPDX-License-Identifier: Apache-2.0 */
/* The byte-transport port: a two-way stream of bytes beneath the HTTP connections. Adapters: a TCP or UNIX socket on
 * the event loop, TLS over such a one, and the simulator's virtual wire. Only the loop and its adapters know file
 * descriptors.
 *
 * Rules for both sides:
 *   1. on_ready is called from the event loop only, never from inside a call of this port.
 *   2. Readiness is edge-triggered: after VX_READABLE the owner may read until VX_IO_AGAIN; only then comes another
 *      edge. `readable` and `writable` hold the state between edges, so an owner may stop reading (backpressure) and
 *      go on later without asking anybody.
 *   3. close() ends it: no event comes afterwards, the memory is the adapter's to free (not before the current round
 *      of events is over, so a stale event finds a closed transport, never freed memory).
 */
#ifndef VX_PROXY_NET_TRANSPORT_H
#define VX_PROXY_NET_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/address.h"
#include "core/base/error.h"
#include "core/base/slice.h"
#include "core/ports/stream.h"

enum vx_ready {
    VX_READABLE = 1, /* read() has something, or the end, or an error to tell */
    VX_WRITABLE = 2, /* write() has room again; the first one: connected, and for TLS the handshake is done */
    VX_FAILED =
        4, /* broken both ways (reset, timeout of the kernel, failed connect or handshake): see error */
    VX_PEER_SHUT = 8 /* the peer sends no more (FIN or close_notify); what it sent before can still be read */
};

enum vx_io {
    VX_IO_AGAIN = -1,      /* nothing now: an edge will follow */
    VX_IO_FAILED = -2,     /* broken; `error` says how */
    VX_IO_UNSUPPORTED = -3 /* move(): not between these two; copy instead */
};

struct vx_transport;

struct vx_transport_ops {
    /* Up to `room` bytes into `to`. >0 bytes read, 0 the peer's orderly end, else enum vx_io. A short read may already
     * have cleared `readable`. */
    ssize_t (*read)(struct vx_transport *t, char *to, size_t room);

    /* Gathers `count` slices (at most VX_WRITE_SLICES_MAX). >=0 bytes taken (a short count: the rest waits for
     * VX_WRITABLE), else VX_IO_AGAIN or VX_IO_FAILED. Never raises SIGPIPE. */
    ssize_t (*write)(struct vx_transport *t, const struct vx_slice *slices, unsigned count);

    /* Moves up to `bytes` from `from` to `to` inside the kernel (splice). >0 bytes moved out of `from` (all of them
     * are then on their way to `to`; what the pipe still holds goes out by `to`'s own writability and is counted in
     * to->pending_bytes), 0 the end of `from`, VX_IO_AGAIN when either side must wait, VX_IO_UNSUPPORTED. */
    ssize_t (*move)(struct vx_transport *from, struct vx_transport *to, size_t bytes);

    /* No more will be written: FIN, or close_notify and FIN. Reading goes on. */
    void (*shut)(struct vx_transport *t);

    /* Ends it. `reset`: drop what the kernel still holds and send RST, so that the peer cannot take a cut message
     * for a whole one. */
    void (*close)(struct vx_transport *t, bool reset);
};

enum { VX_WRITE_SLICES_MAX = 8 };

/* What is known of a TLS session once it is up. Slices live as long as the transport. */
struct vx_tls_info {
    struct vx_slice server_name; /* SNI, lower case; empty: none sent */
    struct vx_slice alpn;        /* "http/1.1", "h2" or empty */
    struct vx_tls_session session;
    uint32_t certificate; /* index of the certificate shown, among the listener's */
    bool resumed;
};

struct vx_transport {
    const struct vx_transport_ops *ops;
    /* Set by the owner before the loop runs again; `now_ns` is the loop's clock. */
    void (*on_ready)(struct vx_transport *t, uint32_t ready, uint64_t now_ns);
    void *owner;
    struct vx_error error;    /* valid after VX_FAILED or VX_IO_FAILED */
    struct vx_address remote; /* of the peer, or what the PROXY header said; IPv4-mapped already unmapped */
    struct vx_address local;
    const struct vx_tls_info *tls; /* NULL: plain */
    size_t pending_bytes;          /* taken by move(), or sealed by TLS, and not yet written out */
    bool readable, writable, peer_shut;
};

/* Where to connect to. */
struct vx_tls_client; /* a client TLS context (proxy/tls/), immutable, outlives its transports */
struct vx_dial {
    struct vx_address address;       /* IP4, IP6 or UNIX */
    const struct vx_tls_client *tls; /* NULL: plain */
    struct vx_slice server_name;     /* for SNI and verification */
};

/* Opens transports; one a worker (the simulator has its own). */
struct vx_dialer {
    /* A transport that is connecting: VX_WRITABLE or VX_FAILED follows as an event. NULL with *error filled: could
     * not even begin (no file descriptor, no memory). */
    struct vx_transport *(*dial)(struct vx_dialer *self, const struct vx_dial *to, struct vx_error *error);
};

/* What it tells of itself as the carrier of an upstream. */
static inline void vx_transport_describe(const struct vx_transport *t, struct vx_carrier *out) {
    bool ip = t->local.kind == VX_ADDRESS_IP4 || t->local.kind == VX_ADDRESS_IP6;
    *out = (struct vx_carrier){
        .local = ip ? t->local : (struct vx_address){.kind = VX_ADDRESS_NONE},
        .tls = t->tls ? &t->tls->session : NULL,
    };
}

#endif
