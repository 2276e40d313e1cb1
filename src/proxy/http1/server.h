/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of an HTTP/1 connection. */
#ifndef VX_PROXY_HTTP1_SERVER_H
#define VX_PROXY_HTTP1_SERVER_H

#include "proxy/http/server.h"

/* Begins to serve `transport`, which it owns from now on. False: no memory; the transport is still the caller's.
 * The connection ends itself. Worker's thread. */
bool vx_h1_server_start(struct vx_http_server *server, struct vx_transport *transport);

/* The memory of one idle connection on this level; its transport's comes on top. For the metrics. */
size_t vx_h1_server_bytes(void);

#endif
