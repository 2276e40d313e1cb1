/* SPDX-License-Identifier: Apache-2.0 */
/* What WebSocket's handshake needs when it changes versions: HTTP/1.1 proves with a key and its digest that the server
 * meant it (RFC 6455 §4), HTTP/2 has no need of that (RFC 8441 §5.1). In the message model the handshake is
 * HTTP/1.1's: GET with Upgrade and Sec-WebSocket-Key, answered by 101. */
#ifndef VX_PROXY_HTTP2_WEBSOCKET_H
#define VX_PROXY_HTTP2_WEBSOCKET_H

#include "core/base/random.h"
#include "core/http/message.h"

/* Adds the Sec-WebSocket-Key that an HTTP/1.1 backend wants to see, in place of any that was sent. False: no memory. */
bool vx_websocket_add_key(struct vx_request *request, struct vx_arena *arena, struct vx_random *random);

/* Adds Sec-WebSocket-Accept to the 101 that the model makes of an HTTP/2 backend's 200: the digest of the key in
 * `request`, as the client of HTTP/1.1 wants to see it. Nothing without a key. False: no memory. */
bool vx_websocket_add_accept(struct vx_headers *headers, const struct vx_headers *request,
                             struct vx_arena *arena);

/* Takes Sec-WebSocket-Accept out of a 101 that goes to an HTTP/2 client. */
void vx_websocket_strip_accept(struct vx_headers *headers);

#endif
