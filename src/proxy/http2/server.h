/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of an HTTP/2 connection. */
#ifndef VX_PROXY_HTTP2_SERVER_H
#define VX_PROXY_HTTP2_SERVER_H

#include "proxy/http/server.h"

/* What a client that means HTTP/2 says first (RFC 9113 §3.4). */
#define VX_H2_PREFACE VX_SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

/* Begins to serve `transport`, which it owns from now on; where it was another
 * connection's, `from` is that one, whose place is taken, and `first` what it has read already (borrowed).
 * False: no memory; the transport is still the caller's. The connection ends itself. Worker's thread. */
bool vx_h2_server_start(struct vx_http_server *server, struct vx_transport *transport,
                        struct vx_server_connection *from, struct vx_slice first);

#endif
