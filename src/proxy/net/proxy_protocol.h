/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt): a header before everything else
 * that tells who the client really is. A pure parser, and the step that reads the header from a new socket.
 */
#ifndef VX_PROXY_NET_PROXY_PROTOCOL_H
#define VX_PROXY_NET_PROXY_PROTOCOL_H

#include <stddef.h>

#include "core/base/address.h"
#include "proxy/net/tcp.h"

struct vx_proxy_header {
    /* kind NONE: the header says nothing (LOCAL, UNKNOWN, UNSPEC, UNIX addresses): the socket's own ones
     * hold. */
    struct vx_address source, destination;
};

enum {
    VX_PROXY_V1_MAX = 107,     /* §2.1, CRLF included */
    VX_PROXY_HEADER_MAX = 4096 /* what we take of version 2 with its TLVs */
};

/* Looks at the first `len` bytes of a connection. >0: a whole header of that many bytes, *out is filled; 0:
 * more bytes are needed; -1: not a header, or a malformed one. Pure. */
int vx_proxy_protocol_parse(const char *bytes, size_t len, struct vx_proxy_header *out);

/* Reading the header. Owns the transport until it calls back. */
struct vx_proxy_await;

/* Reads the header from `t` (a fresh socket transport), then calls back once, from the loop: `t` with its
 * addresses replaced and `readable` set, or NULL when the header was malformed, cut or late (the connection
 * is closed then). NULL with `t` closed: no memory. */
struct vx_proxy_await *vx_proxy_await_start(struct vx_tcp *tcp, struct vx_transport *t, uint64_t timeout_ns,
                                            void (*done)(void *user, struct vx_proxy_await *a,
                                                         struct vx_transport *t, uint64_t now_ns),
                                            void *user);

/* Gives up: closes the connection, calls nobody. Not from inside `done`. */
void vx_proxy_await_cancel(struct vx_proxy_await *a);

#endif
