/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client of one worker: one port, behind it a client for each version of HTTP that a target may speak. */
#ifndef VX_PROXY_HTTP_CLIENTS_H
#define VX_PROXY_HTTP_CLIENTS_H

#include "proxy/http1/client.h"
#include "proxy/http2/client.h"

struct vx_http_clients {
    struct vx_http_client port;
    struct vx_h1_client h1;
    struct vx_h2_client h2;
    /* Of this worker, for both. Who is told looks there with vx_places_look; who is asked spares with vx_http_clients_spare. */
    struct vx_places places;
};

/* `rt` outlives the clients. */
void vx_http_clients_init(struct vx_http_clients *clients, struct vx_runtime *rt);

/* Gives up the connections of the pools whose bit is not set in `keep` (a bit per pool index below `count`), after a new
 * snapshot was taken up. Running requests are not touched. */
void vx_http_clients_retire(struct vx_http_clients *clients, const uint64_t *keep, uint32_t count);

/* Gives up connections to targets for which requests of other workers wait. */
void vx_http_clients_spare(struct vx_http_clients *clients);

/* Nothing is kept for requests to come: a connection closes with its last one. */
void vx_http_clients_drain(struct vx_http_clients *clients);

/* Appends what there is of connections and waiting requests for `target` on this worker; nothing: no line. */
void vx_http_clients_dump(const struct vx_http_clients *clients, const struct vx_target *target,
                          struct vx_text *out);

/* Closes every connection. All upstreams have been released. */
void vx_http_clients_destroy(struct vx_http_clients *clients);

#endif
