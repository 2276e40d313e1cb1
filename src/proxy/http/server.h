/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server of one worker and listener: takes accepted transports, waits for the TLS handshake, starts the
 * connection of the negotiated protocol. All requests go to one handler. One worker's thread. */
#ifndef VX_PROXY_HTTP_SERVER_H
#define VX_PROXY_HTTP_SERVER_H

#include "core/config/model.h"
#include "core/http/h1_parse.h"
#include "core/ports/handler.h"
#include "proxy/runtime/runtime.h"

struct vx_http_server {
    struct vx_runtime *rt;
    struct vx_handler *handler;
    struct vx_h1_limits limits;
    struct vx_config_timeouts timeouts;
    uint64_t body_bytes; /* of one request; 0: no limit */
    /* Whether the certificate that the connection was made with speaks for `host`; NULL: a plain listener, otherwise
     * connections begin with a TLS handshake. */
    bool (*covers)(const struct vx_transport *transport, struct vx_slice host);
    /* A connection has come (+1) or gone (-1); NULL: nobody counts. */
    void (*counted)(void *user, int change);
    void *user;
    struct vx_list connections; /* every open one */
    uint32_t connection_count;
    bool draining;
};

/* `rt` and `handler` outlive the server; the rest is set by the caller before the first accept and may be changed
 * between rounds (reload). */
void vx_http_server_init(struct vx_http_server *s, struct vx_runtime *rt, struct vx_handler *handler);

/* Takes over `transport`, fresh from accept. Closes it when there is no memory. */
void vx_http_server_accept(struct vx_http_server *s, struct vx_transport *transport);

/* Stops keep-alive: idle connections close now, the others with their response. */
void vx_http_server_drain(struct vx_http_server *s);

/* Cuts what is still open. The connections are gone after the next vx_runtime_run_tasks. */
void vx_http_server_close_all(struct vx_http_server *s);

/* What every server connection begins with, so that the server can list, drain and count them. */
struct vx_server_connection {
    struct vx_list link;
    struct vx_http_server *server;
    void (*drain)(struct vx_server_connection *c); /* close when idle, else after the current response */
    void (*cut)(struct vx_server_connection *c);   /* close now */
};

/* For connections: list and count it; take it off again. */
void vx_server_connection_add(struct vx_http_server *s, struct vx_server_connection *c);
void vx_server_connection_remove(struct vx_server_connection *c);

#endif
