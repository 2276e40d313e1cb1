/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/2 client of one worker: requests of many exchanges as streams of few connections, one pool a target. */
#ifndef VX_PROXY_HTTP2_CLIENT_H
#define VX_PROXY_HTTP2_CLIENT_H

#include "core/http/h1_parse.h"
#include "core/ports/http_client.h"
#include "proxy/runtime/place_queue.h"
#include "proxy/runtime/runtime.h"
#include "proxy/telemetry/text.h"

struct vx_h2_pool;

struct vx_h2_client {
    struct vx_http_client port;
    struct vx_runtime *rt;
    struct vx_h1_limits limits; /* of a backend's heads */
    struct vx_h2_pool **pools;  /* by vx_target.pool */
    uint32_t pool_count;
    uint32_t connection_count;
    bool draining;            /* a connection ends with its last stream */
    struct vx_places *places; /* of the worker */
};

/* `rt` and `places` outlive the client. */
void vx_h2_client_init(struct vx_h2_client *client, struct vx_runtime *rt, struct vx_places *places);

/* Ends the connections of the pools whose bit is not set in `keep` (a bit per pool index below `count`), each with its
 * last stream, after a new snapshot was taken up. */
void vx_h2_client_retire(struct vx_h2_client *client, const uint64_t *keep, uint32_t count);

/* Gives up connections to targets for which requests of other workers wait: one each. */
void vx_h2_client_spare(struct vx_h2_client *client);

/* From now on connections end with their last stream. */
void vx_h2_client_drain(struct vx_h2_client *client);

/* Appends what there is of connections and waiting requests for `target` on this worker; nothing: no line. */
void vx_h2_client_dump(const struct vx_h2_client *client, const struct vx_target *target,
                       struct vx_text *out);

/* Closes every connection and frees the pools. All upstreams have been released. */
void vx_h2_client_destroy(struct vx_h2_client *client);

#endif
