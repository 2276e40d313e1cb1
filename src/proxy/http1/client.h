/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1 client of one worker: connections to backends, kept in pools of idle ones, one pool a target. */
#ifndef VX_PROXY_HTTP1_CLIENT_H
#define VX_PROXY_HTTP1_CLIENT_H

#include "core/ports/http_client.h"
#include "proxy/http1/sink.h"
#include "proxy/runtime/place_queue.h"
#include "proxy/runtime/runtime.h"
#include "proxy/telemetry/text.h"

struct vx_h1_pool;

struct vx_h1_client {
    struct vx_http_client port;
    struct vx_runtime *rt;
    struct vx_h1_limits limits; /* of a backend's heads */
    struct vx_h1_pool **pools;  /* by vx_target.pool */
    uint32_t pool_count;
    uint32_t connection_count;
    bool draining;            /* nothing goes back to a pool */
    struct vx_places *places; /* of the worker */
};

/* `rt` and `places` outlive the client. */
void vx_h1_client_init(struct vx_h1_client *client, struct vx_runtime *rt, struct vx_places *places);

/* Closes the idle connections of the pools whose bit is not set in `keep` (a bit per pool index below `count`), after
 * a new snapshot was taken up. Running requests are not touched. */
void vx_h1_client_retire(struct vx_h1_client *client, const uint64_t *keep, uint32_t count);

/* Appends what there is of connections and waiting requests for `target` on this worker; nothing: no line. */
void vx_h1_client_dump(const struct vx_h1_client *client, const struct vx_target *target,
                       struct vx_text *out);

/* Closes idle connections to targets for which requests of other workers wait. */
void vx_h1_client_spare(struct vx_h1_client *client);

/* Closes every connection and frees the pools. All upstreams have been released. */
void vx_h1_client_destroy(struct vx_h1_client *client);

/* The sink beneath an upstream of this client, when it is ready for a body; else NULL. For vx_h1_move. */
struct vx_h1_sink *vx_h1_client_sink(struct vx_stream *upstream);

/* After a vx_h1_move into that sink, whose `sent` was `sent_before`: what went out counts as sent and as progress. */
void vx_h1_client_moved(struct vx_stream *upstream, uint64_t sent_before);

#endif
